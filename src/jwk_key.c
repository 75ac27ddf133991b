#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "base64url.h"
#include "jwk_key.h"
#include "jwt_json.h"

#define RSA_BYTES_MAX (GW_JWK_RSA_BITS_MAX / 8)
#define EXPONENT_BYTES_MAX (GW_JWK_RSA_EXPONENT_BITS_MAX / 8)

#define NO_MEMORY "no memory"
#define UNCOMPRESSED 0x04 /* SEC 1 2.3.3: both coordinates follow */


static bool
equals(gw_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


/*
 * Decodes a member that holds bytes into buf. GW_OK, or GW_ERROR: it is not
 * there, not base64url, empty, or longer than max.
 */
static int
get_bytes(const json_t *jwk, const char *name, unsigned char *buf, size_t max,
    size_t *len)
{
    gw_str_t text;

    text = gw_jwt_json_string(jwk, name);

    if (text.len == 0 || gw_base64url_decoded_len(text.len) > max) {
        return GW_ERROR;
    }

    return gw_base64url_decode(buf, len, text) == GW_OK && *len > 0 ? GW_OK
                                                                    : GW_ERROR;
}


static EVP_PKEY *
from_params(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *ctx;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


static EVP_PKEY *
rsa_pkey(const BIGNUM *n, const BIGNUM *e)
{
    EVP_PKEY *pkey;
    OSSL_PARAM *params;
    OSSL_PARAM_BLD *bld;

    pkey = NULL;
    params = NULL;
    bld = OSSL_PARAM_BLD_new();

    if (bld != NULL && n != NULL && e != NULL
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
    {
        params = OSSL_PARAM_BLD_to_param(bld);
    }

    if (params != NULL) {
        pkey = from_params("RSA", params);
    }

    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);

    return pkey;
}


/* RFC 7518 6.3.1. A zero byte in front of n, which some write, is let pass. */
static int
rsa_from_json(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    unsigned char nb[RSA_BYTES_MAX + 1], eb[EXPONENT_BYTES_MAX + 1];
    BIGNUM *n, *e;
    size_t nlen, elen;

    if (get_bytes(jwk, "n", nb, sizeof(nb), &nlen) != GW_OK) {
        *why = "\"n\" is missing, too long, or not base64url";
        return GW_ERROR;
    }

    if (get_bytes(jwk, "e", eb, sizeof(eb), &elen) != GW_OK) {
        *why = "\"e\" is missing, too long, or not base64url";
        return GW_ERROR;
    }

    n = BN_bin2bn(nb, (int) nlen, NULL);
    e = BN_bin2bn(eb, (int) elen, NULL);

    key->pkey = rsa_pkey(n, e);

    BN_free(n);
    BN_free(e);

    if (key->pkey == NULL) {
        *why = "not an RSA key";
        return GW_ERROR;
    }

    return GW_OK;
}


/* RFC 7518 6.2.1. That the point is on the curve is for OpenSSL to say. */
static int
ec_from_json(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    unsigned char point[1 + 2 * GW_JWT_EC_BYTES_MAX];
    const gw_jwk_curve_t *c;
    gw_str_t crv;
    OSSL_PARAM params[3];
    size_t x, y;

    crv = gw_jwt_json_string(jwk, "crv");

    for (c = gw_jwk_curves; c < gw_jwk_curves + GW_JWK_CURVES; c++) {
        if (equals(crv, c->crv)) {
            break;
        }
    }

    if (c == gw_jwk_curves + GW_JWK_CURVES) {
        *why = "\"crv\" is none of P-256, P-384, P-521";
        return GW_ERROR;
    }

    point[0] = UNCOMPRESSED;

    if (get_bytes(jwk, "x", point + 1, c->size, &x) != GW_OK || x != c->size
        || get_bytes(jwk, "y", point + 1 + x, c->size, &y) != GW_OK || y != x)
    {
        *why = "\"x\" or \"y\" is missing, not base64url, or not as long as "
               "the curve wants";
        return GW_ERROR;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 (char *) c->group, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                  point, 1 + x + y);
    params[2] = OSSL_PARAM_construct_end();

    key->pkey = from_params("EC", params);

    if (key->pkey == NULL) {
        *why = "the point is not on the curve";
        return GW_ERROR;
    }

    return GW_OK;
}


static int
okp_from_json(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    unsigned char public[57];
    const gw_jwk_okp_t *o;
    gw_str_t crv;
    size_t len;

    crv = gw_jwt_json_string(jwk, "crv");

    for (o = gw_jwk_okps; o < gw_jwk_okps + GW_JWK_OKPS; o++) {
        if (equals(crv, o->crv)) {
            break;
        }
    }

    if (o == gw_jwk_okps + GW_JWK_OKPS) {
        *why = "\"crv\" is neither Ed25519 nor Ed448";
        return GW_ERROR;
    }

    if (get_bytes(jwk, "x", public, o->public_len, &len) != GW_OK
        || len != o->public_len)
    {
        *why = "\"x\" is missing, not base64url, or not as long as the curve "
               "wants";
        return GW_ERROR;
    }

    key->pkey = EVP_PKEY_new_raw_public_key(o->id, NULL, public, len);

    if (key->pkey == NULL) {
        *why = "not a key of its curve";
        return GW_ERROR;
    }

    return GW_OK;
}


static int
oct_from_json(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    gw_str_t k;
    size_t len;

    k = gw_jwt_json_string(jwk, "k");
    len = gw_base64url_decoded_len(k.len);

    if (len == 0 || len > GW_JWK_SECRET_MAX) {
        *why = "\"k\" is missing, empty, or too long";
        return GW_ERROR;
    }

    key->secret = OPENSSL_malloc(len);
    if (key->secret == NULL) {
        *why = NO_MEMORY;
        return GW_ERROR;
    }

    key->secret_len = len;

    if (gw_base64url_decode(key->secret, &len, k) != GW_OK) {
        *why = "\"k\" is not base64url";
        return GW_ERROR;
    }

    /* RFC 7518 3.2: as long as the hash, or longer */

    if (len < 32) {
        *why = "\"k\" is shorter than 32 bytes";
        return GW_ERROR;
    }

    key->algorithms = gw_jwt_alg_bit(GW_JWT_HS256)
                      | (len >= 48 ? gw_jwt_alg_bit(GW_JWT_HS384) : 0)
                      | (len >= 64 ? gw_jwt_alg_bit(GW_JWT_HS512) : 0);

    return GW_OK;
}


int
gw_jwk_from_json(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    gw_str_t kty;
    int rc;

    kty = gw_jwt_json_string(jwk, "kty");

    if (equals(kty, "oct")) {
        return oct_from_json(key, jwk, why);
    }

    if (equals(kty, "RSA")) {
        rc = rsa_from_json(key, jwk, why);

    } else if (equals(kty, "EC")) {
        rc = ec_from_json(key, jwk, why);

    } else if (equals(kty, "OKP")) {
        rc = okp_from_json(key, jwk, why);

    } else {
        *why = "\"kty\" is none of RSA, EC, OKP, oct";
        rc = GW_ERROR;
    }

    if (rc == GW_OK) {
        rc = gw_jwk_accept(key, why);
    }

    if (rc != GW_OK) {
        ERR_clear_error();
    }

    return rc;
}


int
gw_jwk_from_secret(gw_jwk_t *key, gw_str_t bytes, const char **why)
{
    if (bytes.len > 0 && bytes.data[bytes.len - 1] == '\n') {
        bytes.len--;
    }

    if (bytes.len == 0) {
        *why = "the secret is empty";
        return GW_ERROR;
    }

    if (bytes.len > GW_JWK_SECRET_MAX) {
        *why = "the secret is longer than 65536 bytes";
        return GW_ERROR;
    }

    key->secret = OPENSSL_memdup(bytes.data, bytes.len);
    if (key->secret == NULL) {
        *why = NO_MEMORY;
        return GW_ERROR;
    }

    key->secret_len = bytes.len;
    key->algorithms = GW_JWT_FAMILY_OCT;

    return GW_OK;
}
