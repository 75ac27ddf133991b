/*
 * Keys that verify tokens: JSON Web Keys (RFC 7517, RFC 7518 6, RFC 8037), PEM
 * and shared secrets, each parsed once into a form that verifies at the speed
 * of the bare cryptography.
 *
 * A set is what one source (a JWKS file, an answer of a JWKS URI, a PEM file,
 * a secret) holds, and is never changed: a source that is read again gives a
 * new set, and the old one is destroyed. A token is tried with several sets at
 * once (gw_jwt_policy_t), so a named key set of many sources is an array.
 *
 * Nothing here is global. A lib object holds what OpenSSL would otherwise look
 * up for each verification; it is made once per process or configuration, and
 * outlives all sets made with it. Both survive a fork. None of it may be used
 * by two threads at once: keys hold contexts that a verification writes to.
 *
 * OpenSSL's error queue is never left with an error of ours in it: a call that
 * fails clears it, because the caller's TLS code reads the same queue.
 *
 * No message ever holds key material.
 */

#ifndef GW_JWK_H_INCLUDED
#define GW_JWK_H_INCLUDED

#include "gw.h"

/* The algorithms of RFC 7518 3.1 and RFC 8037 3.1. `none` has no number. */
typedef enum {
    GW_JWT_HS256 = 0,
    GW_JWT_HS384,
    GW_JWT_HS512,
    GW_JWT_RS256,
    GW_JWT_RS384,
    GW_JWT_RS512,
    GW_JWT_PS256,
    GW_JWT_PS384,
    GW_JWT_PS512,
    GW_JWT_ES256,
    GW_JWT_ES384,
    GW_JWT_ES512,
    GW_JWT_EDDSA, /* Ed25519 and Ed448, as the key says */
    GW_JWT_ALGS
} gw_jwt_alg_e;

/* Algorithms as a set. */
#define gw_jwt_alg_bit(alg) ((uint32_t) 1 << (alg))
#define GW_JWT_ALG_ALL (gw_jwt_alg_bit(GW_JWT_ALGS) - 1)

/*
 * The algorithm of this exact name (RFC 7518 names are case-sensitive): GW_OK
 * and *alg, or GW_DECLINED. For the directive as for a token's `alg`.
 */
int gw_jwt_alg_parse(gw_str_t name, gw_jwt_alg_e *alg);

/* "HS256" etc.; static. */
const char *gw_jwt_alg_name(gw_jwt_alg_e alg);

/* Limits of what is taken as a key. */
#define GW_JWK_DOCUMENT_MAX (1024 * 1024) /* bytes of a JWKS or PEM */
#define GW_JWK_KEYS_MAX 512               /* keys of a JWKS */
#define GW_JWK_RSA_BITS_MIN 2048          /* RFC 7518 3.3 */
#define GW_JWK_RSA_BITS_MAX 16384
#define GW_JWK_RSA_EXPONENT_BITS_MAX 64   /* odd and at least 3 */
#define GW_JWK_SECRET_MAX 65536           /* bytes */

typedef struct gw_jwt_lib_s gw_jwt_lib_t;
typedef struct gw_jwk_set_s gw_jwk_set_t;

/*
 * Fetches digests and the like from OpenSSL. NULL: no memory, or OpenSSL has
 * no SHA-2 or HMAC. Destroying NULL does nothing. Destroy it after the sets.
 */
gw_jwt_lib_t *gw_jwt_lib_create(void);
void gw_jwt_lib_destroy(gw_jwt_lib_t *lib);

/*
 * Told about keys that were not taken or look wrong while a source is parsed.
 * text is one line of printable ASCII without a newline, which names the key
 * by its position from 1 and its kid where that is short and printable; it
 * lives until the callback returns.
 *
 * GW_JWK_INFO  a key that is not meant for verifying tokens (`use` "enc",
 *              `key_ops` without "verify", an `alg` of encryption): normal
 * GW_JWK_WARN  a key that cannot be used (RSA under 2048 bits, a point off
 *              the curve, ...), or can and should not (a short secret)
 */
typedef enum {
    GW_JWK_INFO = 0,
    GW_JWK_WARN
} gw_jwk_level_e;

typedef void (*gw_jwk_report_pt)(void *data, gw_jwk_level_e level,
    const char *text);

/* How a source is parsed. Zero it for nothing to be reported. */
typedef struct {
    gw_jwk_report_pt report; /* may be NULL */
    void *data;              /* for report */
    char error[160];         /* after GW_ERROR: what is wrong, one line of
                                printable ASCII, terminated by a zero */
} gw_jwk_parse_t;

/*
 * Each of these makes a set of its own, to be destroyed by the caller: GW_OK
 * and *set, or GW_ERROR, p->error, and *set is NULL. The text is not kept.
 *
 * jwks: a JWK Set (RFC 7517 5), an object with an array `keys`. Keys that
 *     cannot be used are reported and skipped; none left is an error. Members
 *     that are not understood are ignored; of a private key only the public
 *     part is taken, with a warning. Duplicate members, nesting deeper than
 *     32, and integers over 64 bits make the document an error. An `oct` key
 *     must be as long as the hash (RFC 7518 3.2): it serves those of HS256,
 *     HS384, HS512 for which it is, and one under 32 bytes is skipped.
 *
 * secret: the bytes of a file, less one '\n' at the end, for HS256, HS384 and
 *     HS512, without kid. Empty is an error. One under 32 bytes is taken with
 *     a warning, since an operator who wrote it into a file of its own has no
 *     other way to name the secret of a system that is what it is.
 *
 * pem: one public key (PUBLIC KEY or RSA PUBLIC KEY) or certificate (only its
 *     key counts, not its dates or issuer), without kid. Text around it is
 *     ignored. A private key, or more than one of them, is an error.
 */
int gw_jwk_set_parse_jwks(gw_jwt_lib_t *lib, gw_str_t text,
    gw_jwk_parse_t *p, gw_jwk_set_t **set);
int gw_jwk_set_parse_secret(gw_jwt_lib_t *lib, gw_str_t bytes,
    gw_jwk_parse_t *p, gw_jwk_set_t **set);
int gw_jwk_set_parse_pem(gw_jwt_lib_t *lib, gw_str_t text,
    gw_jwk_parse_t *p, gw_jwk_set_t **set);

/* Secrets are wiped. Destroying NULL does nothing. */
void gw_jwk_set_destroy(gw_jwk_set_t *set);

/* Keys in the set; at least 1. */
size_t gw_jwk_set_count(const gw_jwk_set_t *set);

#endif /* GW_JWK_H_INCLUDED */
