/*
 * Keys as verification uses them: what jwk.c makes and jwt.c tries. Internal
 * to the JWT files.
 *
 * All that OpenSSL can prepare is prepared with the key, so that a signature
 * costs one digest and one public-key operation: EVP_PKEY_verify() on a
 * context that stays initialised. EdDSA hashes the message itself (RFC 8032),
 * and HMAC is keyed again for each message.
 */

#ifndef GW_JWT_CRYPTO_H_INCLUDED
#define GW_JWT_CRYPTO_H_INCLUDED

#include <openssl/evp.h>

#include "jwk.h"

#define GW_JWT_SIGNATURE_MAX (GW_JWK_RSA_BITS_MAX / 8)
#define GW_JWT_EC_BYTES_MAX 66 /* of a coordinate of P-521 */

struct gw_jwt_lib_s {
    EVP_MD *sha[3]; /* SHA-256, SHA-384, SHA-512 */
    EVP_MAC *hmac;
    EVP_MD_CTX *digest; /* scratch */
};

typedef struct {
    gw_str_t kid; /* data is NULL without one; owned */
    uint32_t algorithms; /* that it may verify: gw_jwt_alg_bit() */
    size_t size; /* of an RSA or OKP signature; of an EC coordinate */
    EVP_PKEY *pkey; /* RSA, EC, OKP */
    EVP_PKEY_CTX *verify[GW_JWT_ALGS]; /* RSA, EC: one per algorithm */
    EVP_MD_CTX *message; /* OKP */
    EVP_MAC_CTX *mac[3]; /* oct */
    unsigned char *secret; /* oct, owned; wiped when freed */
    size_t secret_len;
    unsigned char order[GW_JWT_EC_BYTES_MAX]; /* EC: n, big-endian */
} gw_jwk_t;

struct gw_jwk_set_s {
    gw_jwt_lib_t *lib;
    gw_jwk_t *keys;
    size_t nkeys;
};

/* Families, as algorithms that a key of each could verify. */
#define GW_JWT_FAMILY_OCT                                                     \
    (gw_jwt_alg_bit(GW_JWT_HS256) | gw_jwt_alg_bit(GW_JWT_HS384)              \
     | gw_jwt_alg_bit(GW_JWT_HS512))
#define GW_JWT_FAMILY_RSA                                                     \
    (gw_jwt_alg_bit(GW_JWT_RS256) | gw_jwt_alg_bit(GW_JWT_RS384)              \
     | gw_jwt_alg_bit(GW_JWT_RS512) | gw_jwt_alg_bit(GW_JWT_PS256)            \
     | gw_jwt_alg_bit(GW_JWT_PS384) | gw_jwt_alg_bit(GW_JWT_PS512))

/*
 * Makes the contexts for key->algorithms, once pkey or secret is there. GW_OK
 * or GW_ERROR; either way the key is released with gw_jwk_clear().
 */
int gw_jwk_prepare(gw_jwk_t *key, const gw_jwt_lib_t *lib);

/* Frees all that the key owns, and zeroes it. */
void gw_jwk_clear(gw_jwk_t *key);

/*
 * Whether signature is key's of input by alg, which must be one of
 * key->algorithms. Leaves no error in OpenSSL's queue.
 */
bool gw_jwk_verify(gw_jwk_t *key, const gw_jwt_lib_t *lib, gw_jwt_alg_e alg,
    gw_str_t input, gw_str_t signature);

#endif /* GW_JWT_CRYPTO_H_INCLUDED */
