#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include "ecdsa.h"
#include "jwt_crypto.h"

typedef struct {
    const char *name;
    unsigned char sha; /* index into gw_jwt_lib_t.sha */
    unsigned char hash_len;
} alg_t;

static const alg_t algs[GW_JWT_ALGS] = {
    [GW_JWT_HS256] = { "HS256", 0, 32 }, [GW_JWT_HS384] = { "HS384", 1, 48 },
    [GW_JWT_HS512] = { "HS512", 2, 64 }, [GW_JWT_RS256] = { "RS256", 0, 32 },
    [GW_JWT_RS384] = { "RS384", 1, 48 }, [GW_JWT_RS512] = { "RS512", 2, 64 },
    [GW_JWT_PS256] = { "PS256", 0, 32 }, [GW_JWT_PS384] = { "PS384", 1, 48 },
    [GW_JWT_PS512] = { "PS512", 2, 64 }, [GW_JWT_ES256] = { "ES256", 0, 32 },
    [GW_JWT_ES384] = { "ES384", 1, 48 }, [GW_JWT_ES512] = { "ES512", 2, 64 },
    [GW_JWT_EDDSA] = { "EdDSA", 0, 0 },
};

static const char *const sha_names[3] = { "SHA256", "SHA384", "SHA512" };


int
gw_jwt_alg_parse(gw_str_t name, gw_jwt_alg_e *alg)
{
    int i;

    /* all names have five characters */
    if (name.len != 5) {
        return GW_DECLINED;
    }

    for (i = 0; i < GW_JWT_ALGS; i++) {
        if (memcmp(name.data, algs[i].name, 5) == 0) {
            *alg = (gw_jwt_alg_e) i;
            return GW_OK;
        }
    }

    return GW_DECLINED;
}


const char *
gw_jwt_alg_name(gw_jwt_alg_e alg)
{
    return algs[alg].name;
}


gw_jwt_lib_t *
gw_jwt_lib_create(void)
{
    gw_jwt_lib_t *lib;
    int i;

    lib = OPENSSL_zalloc(sizeof(*lib));
    if (lib == NULL) {
        goto failed;
    }

    for (i = 0; i < 3; i++) {
        lib->sha[i] = EVP_MD_fetch(NULL, sha_names[i], NULL);
        if (lib->sha[i] == NULL) {
            goto failed;
        }
    }

    lib->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    lib->digest = EVP_MD_CTX_new();

    if (lib->hmac == NULL || lib->digest == NULL) {
        goto failed;
    }

    return lib;

failed:

    gw_jwt_lib_destroy(lib);
    ERR_clear_error();

    return NULL;
}


void
gw_jwt_lib_destroy(gw_jwt_lib_t *lib)
{
    int i;

    if (lib == NULL) {
        return;
    }

    for (i = 0; i < 3; i++) {
        EVP_MD_free(lib->sha[i]);
    }

    EVP_MAC_free(lib->hmac);
    EVP_MD_CTX_free(lib->digest);
    OPENSSL_free(lib);
}


static int
prepare_mac(gw_jwk_t *key, const gw_jwt_lib_t *lib, gw_jwt_alg_e alg)
{
    EVP_MAC_CTX *ctx;
    OSSL_PARAM params[2];

    ctx = EVP_MAC_CTX_new(lib->hmac);
    if (ctx == NULL) {
        return GW_ERROR;
    }

    key->mac[alg - GW_JWT_HS256] = ctx;

    params[0] = OSSL_PARAM_construct_utf8_string(
        OSSL_MAC_PARAM_DIGEST, (char *) sha_names[algs[alg].sha], 0);
    params[1] = OSSL_PARAM_construct_end();

    return EVP_MAC_init(ctx, key->secret, key->secret_len, params) == 1
               ? GW_OK
               : GW_ERROR;
}


static int
prepare_verify(gw_jwk_t *key, const gw_jwt_lib_t *lib, gw_jwt_alg_e alg)
{
    EVP_PKEY_CTX *ctx;
    const EVP_MD *md;

    ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    if (ctx == NULL) {
        return GW_ERROR;
    }

    key->verify[alg] = ctx;
    md = lib->sha[algs[alg].sha];

    if (EVP_PKEY_verify_init(ctx) != 1) {
        return GW_ERROR;
    }

    /* the digest comes after the padding, which says what may be one */

    if ((gw_jwt_alg_bit(alg) & GW_JWT_FAMILY_RSA)
        && EVP_PKEY_CTX_set_rsa_padding(ctx, alg >= GW_JWT_PS256
                                                 ? RSA_PKCS1_PSS_PADDING
                                                 : RSA_PKCS1_PADDING)
               != 1)
    {
        return GW_ERROR;
    }

    if (EVP_PKEY_CTX_set_signature_md(ctx, md) != 1) {
        return GW_ERROR;
    }

    /* RFC 7518 3.5: MGF1 with the same hash, salt of the hash's size */

    if (alg >= GW_JWT_PS256 && alg <= GW_JWT_PS512
        && (EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) != 1
            || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, algs[alg].hash_len) != 1))
    {
        return GW_ERROR;
    }

    return GW_OK;
}


int
gw_jwk_prepare(gw_jwk_t *key, const gw_jwt_lib_t *lib)
{
    int i, rc;
    uint32_t bit;

    for (i = 0; i < GW_JWT_ALGS; i++) {

        bit = gw_jwt_alg_bit(i);
        if (!(key->algorithms & bit)) {
            continue;
        }

        if (bit & GW_JWT_FAMILY_OCT) {
            rc = prepare_mac(key, lib, (gw_jwt_alg_e) i);

        } else if (i == GW_JWT_EDDSA) {
            key->message = EVP_MD_CTX_new();
            rc = (key->message != NULL) ? GW_OK : GW_ERROR;

        } else {
            rc = prepare_verify(key, lib, (gw_jwt_alg_e) i);
        }

        if (rc != GW_OK) {
            ERR_clear_error();
            return GW_ERROR;
        }
    }

    return GW_OK;
}


void
gw_jwk_clear(gw_jwk_t *key)
{
    int i;

    for (i = 0; i < GW_JWT_ALGS; i++) {
        EVP_PKEY_CTX_free(key->verify[i]);
    }

    for (i = 0; i < 3; i++) {
        EVP_MAC_CTX_free(key->mac[i]);
    }

    EVP_MD_CTX_free(key->message);
    EVP_PKEY_free(key->pkey);
    OPENSSL_clear_free(key->secret, key->secret_len);
    OPENSSL_free((void *) key->kid.data);

    memset(key, 0, sizeof(*key));
}


static bool
verify_mac(EVP_MAC_CTX *ctx, const gw_jwk_t *key, gw_jwt_alg_e alg,
    gw_str_t input, gw_str_t signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t len;

    if (signature.len != algs[alg].hash_len) {
        return false;
    }

    return EVP_MAC_init(ctx, key->secret, key->secret_len, NULL) == 1
           && EVP_MAC_update(ctx, input.data, input.len) == 1
           && EVP_MAC_final(ctx, mac, &len, sizeof(mac)) == 1
           && len == signature.len
           && CRYPTO_memcmp(mac, signature.data, len) == 0;
}


static bool
verify_eddsa(const gw_jwk_t *key, gw_str_t input, gw_str_t signature)
{
    if (signature.len != key->size) {
        return false;
    }

    return EVP_DigestVerifyInit(key->message, NULL, NULL, NULL, key->pkey) == 1
           && EVP_DigestVerify(key->message, signature.data, signature.len,
                               input.data, input.len)
                  == 1;
}


static bool
verify_digest(const gw_jwk_t *key, const gw_jwt_lib_t *lib, gw_jwt_alg_e alg,
    gw_str_t input, gw_str_t signature)
{
    unsigned char der[gw_ecdsa_der_max(GW_JWT_EC_BYTES_MAX)];
    unsigned char hash[EVP_MAX_MD_SIZE];

    if (!(gw_jwt_alg_bit(alg) & GW_JWT_FAMILY_RSA)) {

        if (signature.len != 2 * key->size
            || gw_ecdsa_to_der(der, &signature.len, signature.data, key->order,
                               key->size)
                   != GW_OK)
        {
            return false;
        }

        signature.data = der;

    } else if (signature.len != key->size) {
        return false;
    }

    return EVP_DigestInit_ex2(lib->digest, lib->sha[algs[alg].sha], NULL) == 1
           && EVP_DigestUpdate(lib->digest, input.data, input.len) == 1
           && EVP_DigestFinal_ex(lib->digest, hash, NULL) == 1
           && EVP_PKEY_verify(key->verify[alg], signature.data, signature.len,
                              hash, algs[alg].hash_len)
                  == 1;
}


bool
gw_jwk_verify(gw_jwk_t *key, const gw_jwt_lib_t *lib, gw_jwt_alg_e alg,
    gw_str_t input, gw_str_t signature)
{
    bool valid;

    if (gw_jwt_alg_bit(alg) & GW_JWT_FAMILY_OCT) {
        valid = verify_mac(key->mac[alg - GW_JWT_HS256], key, alg, input,
                           signature);

    } else if (alg == GW_JWT_EDDSA) {
        valid = verify_eddsa(key, input, signature);

    } else {
        valid = verify_digest(key, lib, alg, input, signature);
    }

    if (!valid) {
        ERR_clear_error();
    }

    return valid;
}
