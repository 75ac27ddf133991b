#include <stdlib.h>
#include <string.h>

#include "base64url.h"
#include "jwt.h"
#include "jwt_crypto.h"
#include "jwt_token.h"

#define SECONDS_MAX (INT64_MAX / 1000)
#define TWO_63 9223372036854775808.0 /* a double holds it exactly */

/* A token's three parts as they came, and what is known of it by now. */
typedef struct {
    gw_str_t part[3];
    gw_str_t input;     /* what is signed: two parts and the dot */
    gw_str_t signature; /* decoded */
    gw_json_t kid;      /* a string, escapes and all */
    bool has_kid;
    gw_jwt_t *jwt;
    const char *reason;
} token_t;


static gw_jwt_status_e
refuse(token_t *t, gw_jwt_status_e status, const char *reason)
{
    t->reason = reason;
    return status;
}


/* Finds the parts; exactly three, none but the signature empty. */
static int
split(token_t *t, gw_str_t token)
{
    const unsigned char *p, *dot, *end;
    int i;

    p = token.data;
    end = p + token.len;

    for (i = 0; i < 2; i++) {
        dot = (p == end) ? NULL : memchr(p, '.', (size_t) (end - p));
        if (dot == NULL || dot == p) {
            return GW_ERROR;
        }

        t->part[i] = (gw_str_t){ p, (size_t) (dot - p) };
        p = dot + 1;
    }

    /* a further dot is no character of base64url */

    t->part[2] = (gw_str_t){ p, (size_t) (end - p) };
    t->input = (gw_str_t){ token.data, (size_t) (p - 1 - token.data) };

    return GW_OK;
}


static int
decode(gw_str_t *out, unsigned char *buf, gw_str_t part)
{
    out->data = buf;

    return gw_base64url_decode(buf, &out->len, part);
}


/* Decodes the parts: two to keep, and the signature into sig, which has room
   for GW_JWT_SIGNATURE_MAX bytes. */
static gw_jwt_status_e
decode_parts(token_t *t, unsigned char *sig)
{
    gw_jwt_t *jwt;
    size_t header, payload;

    header = gw_base64url_decoded_len(t->part[0].len);
    payload = gw_base64url_decoded_len(t->part[1].len);

    if (gw_base64url_decoded_len(t->part[2].len) > GW_JWT_SIGNATURE_MAX) {
        return refuse(t, GW_JWT_MALFORMED, "the signature is too long");
    }

    jwt = calloc(1, sizeof(*jwt) + header + payload);
    if (jwt == NULL) {
        return refuse(t, GW_JWT_MALFORMED, "no memory for the token");
    }

    t->jwt = jwt;
    jwt->size = header + payload;

    if (decode(&jwt->header.text, jwt->text, t->part[0]) != GW_OK
        || decode(&jwt->payload.text, jwt->text + header, t->part[1]) != GW_OK
        || decode(&t->signature, sig, t->part[2]) != GW_OK)
    {
        return refuse(t, GW_JWT_MALFORMED,
                      "the token is not three parts in base64url");
    }

    return GW_JWT_OK;
}


/* GW_OK, or GW_DECLINED: no algorithm that is known. */
static int
read_alg(gw_jwt_alg_e *out, const gw_json_t *v)
{
    unsigned char buf[64];
    gw_str_t name;

    /* all names are short, whatever escapes they are written with */

    if (v->text.len > sizeof(buf)) {
        return GW_DECLINED;
    }

    name.data = buf;
    name.len = gw_json_string_decode(v, buf);

    return gw_jwt_alg_parse(name, out);
}


/* Reads the header: alg, kid, and what must not be there (RFC 7515 4.1). */
static gw_jwt_status_e
read_header(token_t *t)
{
    const unsigned char *it;
    gw_json_t alg, key, v;
    gw_jwt_json_t *header;

    header = &t->jwt->header;

    if (gw_jwt_json_open(header, header->text, GW_JWT_DEPTH_MAX) != GW_OK) {
        return refuse(t, GW_JWT_MALFORMED,
                      "the header is not an acceptable JSON object");
    }

    alg.type = GW_JSON_NULL;

    for (it = NULL; gw_json_next(&header->root, &it, &key, &v); /* void */) {

        if (gw_json_string_equal(&key, gw_str("alg"))) {
            alg = v;

        } else if (gw_json_string_equal(&key, gw_str("kid"))) {
            t->kid = v;
            t->has_kid = true;

        } else if (gw_json_string_equal(&key, gw_str("crit"))) {
            return refuse(t, GW_JWT_MALFORMED,
                          "the header has crit and no extension is known");

        } else if (gw_json_string_equal(&key, gw_str("b64"))
                   && v.type != GW_JSON_TRUE)
        {
            return refuse(t, GW_JWT_MALFORMED, "the header has b64");
        }
    }

    if (alg.type != GW_JSON_STRING
        || (t->has_kid && t->kid.type != GW_JSON_STRING))
    {
        return refuse(t, GW_JWT_MALFORMED,
                      "alg is missing or alg or kid is not a string");
    }

    if (read_alg(&t->jwt->alg, &alg) != GW_OK) {
        return refuse(t, GW_JWT_ALGORITHM, "the algorithm is not supported");
    }

    return GW_JWT_OK;
}


/* What became of trying keys. */
typedef struct {
    size_t found; /* keys of that kind */
    size_t tried; /* ... that may verify the algorithm */
    bool verified;
} attempt_t;


typedef enum {
    KEYS_ALL,
    KEYS_OF_KID,
    KEYS_WITHOUT_KID
} keys_e;


static bool
is_of(const gw_jwk_t *key, keys_e which, const token_t *t)
{
    switch (which) {

    case KEYS_OF_KID:
        return key->kid.data != NULL && gw_json_string_equal(&t->kid, key->kid);

    case KEYS_WITHOUT_KID:
        return key->kid.data == NULL;

    default:
        return true;
    }
}


static void
try_keys(attempt_t *a, const token_t *t, const gw_jwt_policy_t *policy,
    keys_e which)
{
    gw_jwk_set_t *set;
    gw_jwk_t *key;
    size_t i, k;

    memset(a, 0, sizeof(*a));

    for (i = 0; i < policy->nsets; i++) {
        set = policy->sets[i];

        for (k = 0; set != NULL && k < set->nkeys; k++) {
            key = &set->keys[k];

            if (!is_of(key, which, t)) {
                continue;
            }

            a->found++;

            if (!(key->algorithms & gw_jwt_alg_bit(t->jwt->alg))) {
                continue;
            }

            a->tried++;

            if (gw_jwk_verify(key, set->lib, t->jwt->alg, t->input,
                              t->signature))
            {
                a->verified = true;
                return;
            }
        }
    }
}


static gw_jwt_status_e
check_signature(token_t *t, const gw_jwt_policy_t *policy, bool *unknown_kid)
{
    attempt_t a;

    if (policy->algorithms != 0
        && !(policy->algorithms & gw_jwt_alg_bit(t->jwt->alg)))
    {
        return refuse(t, GW_JWT_ALGORITHM, "the algorithm is not allowed");
    }

    try_keys(&a, t, policy, t->has_kid ? KEYS_OF_KID : KEYS_ALL);

    if (a.found == 0 && t->has_kid) {
        *unknown_kid = true;
        try_keys(&a, t, policy, KEYS_WITHOUT_KID);

        if (a.tried == 0) {
            return refuse(t, GW_JWT_UNKNOWN_KEY, "the kid is not known");
        }
    }

    if (a.found == 0) {
        return refuse(t, GW_JWT_UNKNOWN_KEY, "there is no key to try");
    }

    if (a.tried == 0) {
        return refuse(t, GW_JWT_ALGORITHM,
                      "the algorithm is not one of the key");
    }

    if (!a.verified) {
        return refuse(t, GW_JWT_SIGNATURE, "the signature does not verify");
    }

    return GW_JWT_OK;
}


/* Seconds in ms; what would overflow is as far away as can be said. */
static int64_t
seconds_ms(int64_t s)
{
    if (s > SECONDS_MAX) {
        return INT64_MAX;
    }

    return (s < -SECONDS_MAX) ? INT64_MIN : s * 1000;
}


/* The same of a number with a fraction, rounded up. GW_OK, or GW_ERROR: it
   does not fit 64 bits. */
static int
real_ms(double d, int64_t *ms)
{
    /* what is no number compares false */

    if (!(d < TWO_63 && d >= -TWO_63)) {
        return GW_ERROR;
    }

    d *= 1000;

    if (!(d < TWO_63 && d >= -TWO_63)) {
        *ms = (d > 0) ? INT64_MAX : INT64_MIN;
        return GW_OK;
    }

    *ms = (int64_t) d;
    *ms += ((double) *ms < d);

    return GW_OK;
}


/* A NumericDate (RFC 7519 2) in ms. GW_OK, or GW_ERROR: it is no number or
   does not fit 64 bits. */
static int
read_time(gw_jwt_json_t *payload, const char *name, const gw_json_t *v,
    int64_t *ms)
{
    const json_t *number;
    uint64_t n;

    if (v->type != GW_JSON_NUMBER) {
        return GW_ERROR;
    }

    if (gw_json_uint(v, &n) == GW_OK) {
        *ms = seconds_ms((int64_t) n);
        return GW_OK;
    }

    /* a sign, a fraction or an exponent: the tree knows what it means */

    number = json_object_get(gw_jwt_json_tree(payload), name);

    if (json_is_integer(number)) {
        *ms = seconds_ms(json_integer_value(number));
        return GW_OK;
    }

    return json_is_real(number) ? real_ms(json_real_value(number), ms)
                                : GW_ERROR;
}


static gw_jwt_status_e
read_payload(token_t *t)
{
    const unsigned char *it;
    gw_json_t key, v;
    gw_jwt_t *jwt;
    int rc;

    jwt = t->jwt;
    jwt->exp = INT64_MAX;
    jwt->nbf = INT64_MIN;
    jwt->iat = INT64_MIN;

    if (gw_jwt_json_open(&jwt->payload, jwt->payload.text, GW_JWT_DEPTH_MAX)
        != GW_OK)
    {
        return refuse(t, GW_JWT_MALFORMED,
                      "the payload is not an acceptable JSON object");
    }

    rc = GW_OK;
    it = NULL;

    while (rc == GW_OK && gw_json_next(&jwt->payload.root, &it, &key, &v)) {

        if (gw_json_string_equal(&key, gw_str("exp"))) {
            rc = read_time(&jwt->payload, "exp", &v, &jwt->exp);
            jwt->expires = true;

        } else if (gw_json_string_equal(&key, gw_str("nbf"))) {
            rc = read_time(&jwt->payload, "nbf", &v, &jwt->nbf);

        } else if (gw_json_string_equal(&key, gw_str("iat"))) {
            rc = read_time(&jwt->payload, "iat", &v, &jwt->iat);
        }
    }

    if (rc != GW_OK) {
        return refuse(t, GW_JWT_MALFORMED,
                      "exp, nbf or iat is not a number within range");
    }

    return GW_JWT_OK;
}


static gw_jwt_status_e
verify(token_t *t, gw_str_t token, const gw_jwt_policy_t *policy,
    bool *unknown_kid)
{
    unsigned char sig[GW_JWT_SIGNATURE_MAX];
    gw_jwt_status_e status;

    if (token.len > GW_JWT_MAX) {
        return refuse(t, GW_JWT_MALFORMED, "the token is too long");
    }

    if (split(t, token) != GW_OK) {
        return refuse(t, GW_JWT_MALFORMED, "the token is not three parts");
    }

    status = decode_parts(t, sig);

    if (status == GW_JWT_OK) {
        status = read_header(t);
    }

    if (status == GW_JWT_OK) {
        status = check_signature(t, policy, unknown_kid);
    }

    if (status == GW_JWT_OK) {
        status = read_payload(t);
    }

    if (status == GW_JWT_OK) {
        status = gw_jwt_check_time(t->jwt, policy->now, policy->leeway);

        t->reason = (status == GW_JWT_EXPIRED) ? "the token has expired"
                    : (status == GW_JWT_EARLY) ? "the token is not valid yet"
                                               : "the token is valid";
    }

    return status;
}


gw_jwt_status_e
gw_jwt_verify(gw_jwt_result_t *result, gw_str_t token,
    const gw_jwt_policy_t *policy)
{
    token_t t;

    memset(&t, 0, sizeof(t));
    memset(result, 0, sizeof(*result));

    result->status = verify(&t, token, policy, &result->unknown_kid);
    result->reason = t.reason;

    if (result->status == GW_JWT_OK) {
        result->jwt = t.jwt;

    } else {
        gw_jwt_destroy(t.jwt);
    }

    return result->status;
}
