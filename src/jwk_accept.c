#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "jwk_key.h"

const gw_jwk_curve_t gw_jwk_curves[GW_JWK_CURVES] = {
    { "P-256", "prime256v1", 32, GW_JWT_ES256 },
    { "P-384", "secp384r1", 48, GW_JWT_ES384 },
    { "P-521", "secp521r1", 66, GW_JWT_ES512 },
};

const gw_jwk_okp_t gw_jwk_okps[GW_JWK_OKPS] = {
    { "Ed25519", EVP_PKEY_ED25519, 32, 64 },
    { "Ed448", EVP_PKEY_ED448, 57, 114 },
};


static const char *
rsa_numbers_wrong(const BIGNUM *n, const BIGNUM *e)
{
    if (BN_num_bits(n) < GW_JWK_RSA_BITS_MIN) {
        return "the RSA key has less than 2048 bits";
    }

    if (BN_num_bits(n) > GW_JWK_RSA_BITS_MAX || !BN_is_odd(n)) {
        return "the RSA modulus is even or has more than 16384 bits";
    }

    if (BN_num_bits(e) > GW_JWK_RSA_EXPONENT_BITS_MAX || !BN_is_odd(e)
        || BN_is_one(e))
    {
        return "the RSA exponent is even, 1, or has more than 64 bits";
    }

    return NULL;
}


static int
rsa_accept(gw_jwk_t *key, const char **why)
{
    BIGNUM *n, *e;

    n = NULL;
    e = NULL;

    if (EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1
        && EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1)
    {
        *why = rsa_numbers_wrong(n, e);
        key->size = (size_t) BN_num_bytes(n);

    } else {
        *why = "not an RSA key";
    }

    BN_free(n);
    BN_free(e);

    key->algorithms = GW_JWT_FAMILY_RSA;

    return *why == NULL ? GW_OK : GW_ERROR;
}


/* Whether the curve is given by its name. Parameters written out may look
   like a known curve and have another base point. */
static bool
ec_named(const EVP_PKEY *pkey)
{
    int explicit;

    return EVP_PKEY_get_int_param(
               pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
               &explicit)
               == 1
           && !explicit;
}


static bool
public_valid(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx;
    bool valid;

    ctx = EVP_PKEY_CTX_new(pkey, NULL);
    valid = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);

    return valid;
}


static int
ec_accept(gw_jwk_t *key, const char **why)
{
    const gw_jwk_curve_t *c;
    BIGNUM *order;
    char group[32];
    bool ok;

    if (!ec_named(key->pkey)
        || EVP_PKEY_get_group_name(key->pkey, group, sizeof(group), NULL) != 1)
    {
        *why = "its curve is not one by name";
        return GW_ERROR;
    }

    for (c = gw_jwk_curves; c < gw_jwk_curves + GW_JWK_CURVES; c++) {
        if (strcmp(group, c->group) == 0) {
            break;
        }
    }

    if (c == gw_jwk_curves + GW_JWK_CURVES) {
        *why = "its curve is none of P-256, P-384, P-521";
        return GW_ERROR;
    }

    order = NULL;
    ok = public_valid(key->pkey)
         && EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_EC_ORDER, &order)
                == 1
         && BN_bn2binpad(order, key->order, (int) c->size) == (int) c->size;
    BN_free(order);

    if (!ok) {
        *why = "the point is not on the curve";
        return GW_ERROR;
    }

    key->size = c->size;
    key->algorithms = gw_jwt_alg_bit(c->alg);

    return GW_OK;
}


int
gw_jwk_accept(gw_jwk_t *key, const char **why)
{
    const gw_jwk_okp_t *o;
    int id;

    *why = NULL;
    id = EVP_PKEY_get_base_id(key->pkey);

    if (id == EVP_PKEY_RSA) {
        return rsa_accept(key, why);
    }

    if (id == EVP_PKEY_EC) {
        return ec_accept(key, why);
    }

    for (o = gw_jwk_okps; o < gw_jwk_okps + GW_JWK_OKPS; o++) {
        if (id == o->id) {
            key->size = o->signature_len;
            key->algorithms = gw_jwt_alg_bit(GW_JWT_EDDSA);
            return GW_OK;
        }
    }

    *why = "its type is none of RSA, EC, Ed25519, Ed448";

    return GW_ERROR;
}
