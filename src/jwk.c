#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "jwk.h"
#include "jwk_key.h"
#include "jwt_json.h"

#define DEPTH_MAX 32
#define KID_SHOWN 64


/* The key's place and kid, for messages. */
static void
describe(char *buf, size_t size, size_t index, gw_str_t kid)
{
    size_t i;

    for (i = 0; i < kid.len; i++) {
        if (kid.data[i] <= ' ' || kid.data[i] >= 0x7f || kid.data[i] == '"'
            || kid.data[i] == '\\')
        {
            break;
        }
    }

    if (kid.len == 0 || kid.len > KID_SHOWN || i < kid.len) {
        snprintf(buf, size, "key %zu", index + 1);
        return;
    }

    snprintf(buf, size, "key %zu (kid \"%.*s\")", index + 1, (int) kid.len,
             (const char *) kid.data);
}


static void
report(const gw_jwk_parse_t *p, gw_jwk_level_e level, const char *subject,
    const char *what)
{
    char text[256];

    if (p->report != NULL) {
        snprintf(text, sizeof(text), "%s: %s", subject, what);
        p->report(p->data, level, text);
    }
}


static bool
array_holds(const json_t *array, const char *text)
{
    size_t i;
    const char *s;

    for (i = 0; i < json_array_size(array); i++) {
        s = json_string_value(json_array_get(array, i));
        if (s != NULL && strcmp(s, text) == 0) {
            return true;
        }
    }

    return false;
}


/*
 * Whether `use` and `key_ops` let the key verify (RFC 7517 4.2, 4.3). GW_OK;
 * GW_DECLINED, it has another purpose; GW_ERROR, they make no sense.
 */
static int
purpose(const json_t *jwk, const char **why)
{
    const json_t *use, *ops;

    use = json_object_get(jwk, "use");
    ops = json_object_get(jwk, "key_ops");

    if ((use != NULL && !json_is_string(use))
        || (ops != NULL && !json_is_array(ops)))
    {
        *why = "\"use\" is not a string or \"key_ops\" not an array";
        return GW_ERROR;
    }

    if ((use != NULL && strcmp(json_string_value(use), "sig") != 0)
        || (ops != NULL && !array_holds(ops, "verify")))
    {
        *why = "not a key for verifying, by its \"use\" or \"key_ops\"";
        return GW_DECLINED;
    }

    return GW_OK;
}


/* Narrows what the key's family may do to its own `alg` (RFC 7517 4.4). */
static int
narrow(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    const json_t *v;
    gw_jwt_alg_e alg;

    v = json_object_get(jwk, "alg");
    if (v == NULL) {
        return GW_OK;
    }

    if (!json_is_string(v)
        || gw_jwt_alg_parse(gw_jwt_json_string(jwk, "alg"), &alg) != GW_OK)
    {
        *why = "\"alg\" is not an algorithm of signatures that is known here";
        return GW_ERROR;
    }

    key->algorithms &= gw_jwt_alg_bit(alg);

    if (key->algorithms == 0) {
        *why = "its \"alg\" does not go with its type, curve or length";
        return GW_ERROR;
    }

    return GW_OK;
}


static int
set_kid(gw_jwk_t *key, const json_t *jwk, const char **why)
{
    const json_t *v;

    v = json_object_get(jwk, "kid");
    if (v == NULL) {
        return GW_OK;
    }

    if (!json_is_string(v)) {
        *why = "\"kid\" is not a string";
        return GW_ERROR;
    }

    /* one byte more, so that an empty kid is something */

    key->kid.len = json_string_length(v);
    key->kid.data = OPENSSL_memdup(json_string_value(v), key->kid.len + 1);

    if (key->kid.data == NULL) {
        *why = "no memory";
        return GW_ERROR;
    }

    return GW_OK;
}


static int
prepare(gw_jwk_t *key, const gw_jwt_lib_t *lib, const char **why)
{
    if (gw_jwk_prepare(key, lib) != GW_OK) {
        *why = "OpenSSL has no use for it";
        return GW_ERROR;
    }

    return GW_OK;
}


/* GW_OK, or GW_DECLINED or GW_ERROR as in purpose(); *why says why not. */
static int
take_key(gw_jwk_t *key, const json_t *jwk, const gw_jwt_lib_t *lib,
    const char **why)
{
    int rc;

    if (!json_is_object(jwk)) {
        *why = "not an object";
        return GW_ERROR;
    }

    rc = purpose(jwk, why);
    if (rc != GW_OK) {
        return rc;
    }

    if (gw_jwk_from_json(key, jwk, why) != GW_OK
        || narrow(key, jwk, why) != GW_OK || set_kid(key, jwk, why) != GW_OK)
    {
        return GW_ERROR;
    }

    return prepare(key, lib, why);
}


static gw_jwk_set_t *
set_create(gw_jwt_lib_t *lib, size_t n)
{
    gw_jwk_set_t *set;

    set = OPENSSL_zalloc(sizeof(*set));
    if (set == NULL) {
        return NULL;
    }

    set->lib = lib;
    set->keys = OPENSSL_zalloc((n ? n : 1) * sizeof(*set->keys));

    if (set->keys == NULL) {
        OPENSSL_free(set);
        return NULL;
    }

    return set;
}


void
gw_jwk_set_destroy(gw_jwk_set_t *set)
{
    size_t i;

    if (set == NULL) {
        return;
    }

    for (i = 0; i < set->nkeys; i++) {
        gw_jwk_clear(&set->keys[i]);
    }

    OPENSSL_free(set->keys);
    OPENSSL_free(set);
}


size_t
gw_jwk_set_count(const gw_jwk_set_t *set)
{
    return set->nkeys;
}


static int
fail(gw_jwk_parse_t *p, const char *text)
{
    snprintf(p->error, sizeof(p->error), "%s", text);
    ERR_clear_error();

    return GW_ERROR;
}


static int
take_keys(gw_jwt_lib_t *lib, const json_t *keys, gw_jwk_parse_t *p,
    gw_jwk_set_t **out)
{
    char subject[KID_SHOWN + 48];
    const char *why, *last;
    const json_t *jwk;
    gw_jwk_set_t *set;
    gw_jwk_t *key;
    size_t i;
    int rc;

    set = set_create(lib, json_array_size(keys));
    if (set == NULL) {
        return fail(p, "no memory");
    }

    last = "there is none";

    for (i = 0; i < json_array_size(keys); i++) {
        jwk = json_array_get(keys, i);
        key = &set->keys[set->nkeys];
        describe(subject, sizeof(subject), i, gw_jwt_json_string(jwk, "kid"));

        rc = take_key(key, jwk, lib, &why);

        if (rc != GW_OK) {
            gw_jwk_clear(key);
            report(p, rc == GW_DECLINED ? GW_JWK_INFO : GW_JWK_WARN, subject,
                   why);
            last = why;
            continue;
        }

        set->nkeys++;

        if (json_object_get(jwk, "d") != NULL) {
            report(p, GW_JWK_WARN, subject,
                   "taken, but its private part does not belong here");
        }
    }

    if (set->nkeys == 0) {
        gw_jwk_set_destroy(set);
        snprintf(p->error, sizeof(p->error), "no usable key: %s", last);
        return GW_ERROR;
    }

    *out = set;

    return GW_OK;
}


int
gw_jwk_set_parse_jwks(gw_jwt_lib_t *lib, gw_str_t text, gw_jwk_parse_t *p,
    gw_jwk_set_t **set)
{
    unsigned line;
    json_t *json, *keys;
    int rc;

    *set = NULL;
    p->error[0] = '\0';

    if (text.len > GW_JWK_DOCUMENT_MAX) {
        return fail(p, "is larger than 1 MB");
    }

    json = gw_jwt_json_object(text, DEPTH_MAX, &line);
    if (json == NULL) {
        snprintf(p->error, sizeof(p->error),
                 "not a JSON object without duplicate members (line %u)",
                 line);
        return GW_ERROR;
    }

    keys = json_object_get(json, "keys");

    if (!json_is_array(keys)) {
        rc = fail(p, "not a JWK Set: it has no array \"keys\"");

    } else if (json_array_size(keys) > GW_JWK_KEYS_MAX) {
        rc = fail(p, "holds more than 512 keys");

    } else {
        rc = take_keys(lib, keys, p, set);
    }

    json_decref(json);

    return rc;
}


typedef int (*parse_one_pt)(gw_jwk_t *key, gw_str_t text, const char **why);


static int
take_one(gw_jwt_lib_t *lib, gw_str_t text, gw_jwk_parse_t *p,
    gw_jwk_set_t **out, parse_one_pt parse)
{
    const char *why;
    gw_jwk_set_t *set;

    *out = NULL;
    p->error[0] = '\0';

    set = set_create(lib, 1);
    if (set == NULL) {
        return fail(p, "no memory");
    }

    /* counted at once, so that it is cleared with the set */
    set->nkeys = 1;

    if (parse(set->keys, text, &why) != GW_OK
        || prepare(set->keys, lib, &why) != GW_OK)
    {
        gw_jwk_set_destroy(set);
        return fail(p, why);
    }

    *out = set;

    return GW_OK;
}


int
gw_jwk_set_parse_secret(gw_jwt_lib_t *lib, gw_str_t bytes, gw_jwk_parse_t *p,
    gw_jwk_set_t **set)
{
    if (take_one(lib, bytes, p, set, gw_jwk_from_secret) != GW_OK) {
        return GW_ERROR;
    }

    if ((*set)->keys->secret_len < 32) {
        report(p, GW_JWK_WARN, "secret",
               "shorter than 32 bytes, so it can be guessed (RFC 7518 3.2)");
    }

    return GW_OK;
}


int
gw_jwk_set_parse_pem(gw_jwt_lib_t *lib, gw_str_t text, gw_jwk_parse_t *p,
    gw_jwk_set_t **set)
{
    return take_one(lib, text, p, set, gw_jwk_from_pem);
}
