#include <stdlib.h>
#include <string.h>

#include "jwt_token.h"

static const char *const status_names[GW_JWT_STATUSES] = {
    [GW_JWT_OK] = "ok",
    [GW_JWT_MISSING] = "missing",
    [GW_JWT_MALFORMED] = "malformed",
    [GW_JWT_SIGNATURE] = "signature",
    [GW_JWT_EXPIRED] = "expired",
    [GW_JWT_EARLY] = "early",
    [GW_JWT_CLAIM] = "claim",
    [GW_JWT_REVOKED] = "revoked",
    [GW_JWT_UNKNOWN_KEY] = "unknown-key",
    [GW_JWT_ALGORITHM] = "algorithm",
};


const char *
gw_jwt_status_name(gw_jwt_status_e status)
{
    return status_names[status];
}


static int64_t
add(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum)) {
        return (b > 0) ? INT64_MAX : INT64_MIN;
    }

    return sum;
}


gw_jwt_status_e
gw_jwt_check_time(const gw_jwt_t *jwt, int64_t now, int64_t leeway)
{
    if (jwt->expires && now >= add(jwt->exp, leeway)) {
        return GW_JWT_EXPIRED;
    }

    if (now < add(jwt->nbf, -leeway)) {
        return GW_JWT_EARLY;
    }

    return GW_JWT_OK;
}


void
gw_jwt_destroy(gw_jwt_t *jwt)
{
    if (jwt == NULL) {
        return;
    }

    gw_jwt_json_close(&jwt->header);
    gw_jwt_json_close(&jwt->payload);
    free(jwt);
}


json_t *
gw_jwt_header(gw_jwt_t *jwt)
{
    return gw_jwt_json_tree(&jwt->header);
}


json_t *
gw_jwt_payload(gw_jwt_t *jwt)
{
    return gw_jwt_json_tree(&jwt->payload);
}


gw_str_t
gw_jwt_header_text(const gw_jwt_t *jwt)
{
    return jwt->header.text;
}


gw_str_t
gw_jwt_payload_text(const gw_jwt_t *jwt)
{
    return jwt->payload.text;
}


bool
gw_jwt_expires(const gw_jwt_t *jwt, int64_t *exp)
{
    if (!jwt->expires) {
        return false;
    }

    *exp = jwt->exp / 1000 + (jwt->exp % 1000 > 0);

    return true;
}


int64_t
gw_jwt_issued(const gw_jwt_t *jwt)
{
    return jwt->iat;
}


gw_jwt_alg_e
gw_jwt_algorithm(const gw_jwt_t *jwt)
{
    return jwt->alg;
}


/* As jansson allocates on 64-bit machines, hash buckets included. */
static size_t
tree_memory(json_t *json)
{
    const char *name;
    json_t *v;
    size_t i, n;

    if (json == NULL) {
        return 0;
    }

    switch (json_typeof(json)) {

    case JSON_OBJECT:
        n = 224;
        json_object_foreach(json, name, v)
        {
            n += 96 + strlen(name) + tree_memory(v);
        }
        return n;

    case JSON_ARRAY:
        n = 128;
        for (i = 0; i < json_array_size(json); i++) {
            n += 16 + tree_memory(json_array_get(json, i));
        }
        return n;

    case JSON_STRING:
        return 64 + json_string_length(json);

    default:
        return 32;
    }
}


size_t
gw_jwt_memory(const gw_jwt_t *jwt)
{
    return sizeof(*jwt) + jwt->size + tree_memory(jwt->header.tree)
           + tree_memory(jwt->payload.tree);
}
