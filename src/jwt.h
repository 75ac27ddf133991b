/*
 * JSON Web Tokens (RFC 7519) in the compact form of a signed JWS (RFC 7515
 * 7.1), verified by RFC 8725's advice.
 *
 * What comes out is a token that is verified, or nothing but a status: no
 * claim of a token that did not verify can be read.
 *
 * Keys are chosen by the caller's sets alone. `jwk`, `jku`, `x5u`, `x5c` and
 * `x5t` in a token's header are ignored. A token with `kid` is tried with the
 * keys of that kid, else with those that have none; without kid, with all of
 * its family. A key verifies only the algorithms of its own family: RSA RS*
 * and PS*, oct HS*, P-256 ES256, P-384 ES384, P-521 ES512, OKP EdDSA; less
 * what its own `alg` or the policy does not allow. `none` is never taken.
 *
 * Signatures are checked before the payload is parsed.
 *
 * Refused as malformed: tokens over GW_JWT_MAX bytes; more or fewer than three
 * parts; base64url written in any but the one way; JSON that is not an object,
 * has duplicate members, U+0000, invalid UTF-8, integers beyond 64 bits, reals
 * beyond a double, or nesting deeper than GW_JWT_DEPTH_MAX; any `crit`, since
 * no extension is understood; `b64` other than true (RFC 7797); `alg` or `kid`
 * that is not a string; exp, nbf or iat that is not a number or does not fit
 * 64 bits.
 *
 * The same limits as in jwk.h hold for threads and OpenSSL's error queue.
 */

#ifndef GW_JWT_H_INCLUDED
#define GW_JWT_H_INCLUDED

#include <jansson.h>

#include "gw.h"
#include "json_scan.h"
#include "jwk.h"

#define GW_JWT_MAX 16384
#define GW_JWT_DEPTH_MAX 32

/*
 * The values of $gateway_jwt_status. gw_jwt_verify() gives all but MISSING,
 * CLAIM and REVOKED, which are the caller's to find.
 */
typedef enum {
    GW_JWT_OK = 0,
    GW_JWT_MISSING,
    GW_JWT_MALFORMED,
    GW_JWT_SIGNATURE,   /* keys were tried, none verifies it */
    GW_JWT_EXPIRED,
    GW_JWT_EARLY,       /* before nbf */
    GW_JWT_CLAIM,
    GW_JWT_REVOKED,
    GW_JWT_UNKNOWN_KEY, /* no key to try */
    GW_JWT_ALGORITHM,   /* unknown, not allowed, or not of the key's family */
    GW_JWT_STATUSES
} gw_jwt_status_e;

/* "ok", "unknown-key" etc.; static. */
const char *gw_jwt_status_name(gw_jwt_status_e status);

/* A verified token. Owns all that its accessors return. */
typedef struct gw_jwt_s gw_jwt_t;

typedef struct {
    gw_jwk_set_t *const *sets; /* borrowed; those that are NULL are passed
                                  over (a source without an answer yet) */
    size_t nsets;
    uint32_t algorithms;       /* of gw_jwt_alg_bit(); 0: no restriction but
                                  the key's own */
    int64_t now;               /* ms since 1970 */
    int64_t leeway;            /* ms, not negative, on exp and nbf */
} gw_jwt_policy_t;

typedef struct {
    gw_jwt_status_e status;
    const char *reason; /* static, one sentence without quotes or backslashes:
                           fit for error_description (RFC 6750 3) */
    bool unknown_kid;   /* the token names a kid that no set has, whatever the
                           status: worth one fetch of the sets */
    gw_jwt_t *jwt;      /* GW_JWT_OK: to be destroyed by the caller, else
                           NULL */
} gw_jwt_result_t;

/*
 * Verifies the bytes of a token, which may be anything. Fills *result and
 * returns its status. Without memory the status is MALFORMED.
 */
gw_jwt_status_e gw_jwt_verify(gw_jwt_result_t *result, gw_str_t token,
    const gw_jwt_policy_t *policy);

/*
 * Looks at the clock again, for a token that was verified before: GW_JWT_OK,
 * EXPIRED or EARLY. Valid while nbf - leeway <= now < exp + leeway; times as
 * in gw_jwt_policy_t. A fraction of a second in a claim counts to the ms.
 */
gw_jwt_status_e gw_jwt_check_time(const gw_jwt_t *jwt, int64_t now,
    int64_t leeway);

/* Destroying NULL does nothing. */
void gw_jwt_destroy(gw_jwt_t *jwt);

/*
 * The decoded parts as trees, borrowed; each is built by the first call, and
 * costs more than the rest of a verification by HS256. NULL: no memory. Take
 * a reference (json_incref) to keep an object for longer than the token; never
 * change it. For single members gw_jwt_find() is faster.
 */
json_t *gw_jwt_header(gw_jwt_t *jwt);
json_t *gw_jwt_payload(gw_jwt_t *jwt);

/* The same as text, exactly as it was signed; borrowed. */
gw_str_t gw_jwt_header_text(const gw_jwt_t *jwt);
gw_str_t gw_jwt_payload_text(const gw_jwt_t *jwt);

/* Claim exp in seconds since 1970, rounded up. false: it has none. */
bool gw_jwt_expires(const gw_jwt_t *jwt, int64_t *exp);

/* Claim iat in ms since 1970; INT64_MIN: it has none. */
int64_t gw_jwt_issued(const gw_jwt_t *jwt);

gw_jwt_alg_e gw_jwt_algorithm(const gw_jwt_t *jwt);

/* Bytes that the token holds by now, roughly, for a cache that counts them.
   A tree that is built later adds up to 30 times the text of its part. */
size_t gw_jwt_memory(const gw_jwt_t *jwt);

/*
 * Finds a member of gw_jwt_header_text() or gw_jwt_payload_text() by its exact
 * name, else without regard to (ASCII) case, the first in the text: GW_OK and
 * *v, whose text points into the given one, or GW_DECLINED.
 */
int gw_jwt_find(gw_str_t object, gw_str_t name, gw_json_t *v);

/*
 * Renders what gw_jwt_find() found as the value of a variable into buf, which
 * has room for v->text.len bytes; returns the length.
 *
 * A string is its characters, a number and a boolean as written, null empty,
 * an array its elements joined by ',' (an array or object among them as
 * compact JSON), an object compact JSON: as written, without white space.
 */
size_t gw_jwt_render(const gw_json_t *v, unsigned char *buf);

/*
 * Whether what gw_jwt_find() found equals value: a string by its characters, a
 * number or a boolean as written; an array, if one of its elements does. null
 * and objects equal nothing.
 */
bool gw_jwt_equal(const gw_json_t *v, gw_str_t value);

#endif /* GW_JWT_H_INCLUDED */
