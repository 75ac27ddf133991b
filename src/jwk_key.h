/*
 * One key from its JSON or its PEM. Internal to the JWT files.
 */

#ifndef GW_JWK_KEY_H_INCLUDED
#define GW_JWK_KEY_H_INCLUDED

#include <jansson.h>

#include "jwt_crypto.h"

#define GW_JWK_CURVES 3
#define GW_JWK_OKPS 2

typedef struct {
    const char *crv;   /* RFC 7518 6.2.1.1 */
    const char *group; /* as OpenSSL names it */
    size_t size;       /* of a coordinate in bytes */
    gw_jwt_alg_e alg;
} gw_jwk_curve_t;

typedef struct {
    const char *crv; /* RFC 8037 2 */
    int id;
    size_t public_len;
    size_t signature_len;
} gw_jwk_okp_t;

extern const gw_jwk_curve_t gw_jwk_curves[GW_JWK_CURVES];
extern const gw_jwk_okp_t gw_jwk_okps[GW_JWK_OKPS];

/*
 * Each fills pkey or secret, size, order and algorithms (all that the family
 * has) of a zeroed key. GW_OK, or GW_ERROR and *why, static: what is wrong
 * with it. Either way the key is released with gw_jwk_clear().
 */
int gw_jwk_from_json(gw_jwk_t *key, const json_t *jwk, const char **why);
int gw_jwk_from_pem(gw_jwk_t *key, gw_str_t text, const char **why);
int gw_jwk_from_secret(gw_jwk_t *key, gw_str_t bytes, const char **why);

/*
 * For a key whose pkey is set, from wherever: size, order and algorithms, and
 * whether its numbers will do. Returns like those above.
 */
int gw_jwk_accept(gw_jwk_t *key, const char **why);

#endif /* GW_JWK_KEY_H_INCLUDED */
