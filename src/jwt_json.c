#include <string.h>

#include "jwt_json.h"
#include "utf8.h"

#define PLAIN_MEMBERS 32 /* of one object */
#define PLAIN_DIGITS 17  /* of a number, sign and point included: no overflow,
                            however it is read */


/*
 * Whether brackets nest no deeper than depth. Looked at before the parser is,
 * since that one recurses, and its own limit is in the thousands.
 */
static bool
depth_within(gw_str_t text, unsigned depth)
{
    const unsigned char *p, *end;
    unsigned level;
    bool quoted;

    level = 0;
    quoted = false;
    end = text.data + text.len;

    for (p = text.data; p < end; p++) {

        switch (*p) {

        case '"':
            quoted = !quoted;
            break;

        case '\\':
            /* outside of strings it is an error that the parser will find */
            p++;
            break;

        case '{':
        case '[':
            if (!quoted && ++level > depth) {
                return false;
            }
            break;

        case '}':
        case ']':
            if (!quoted && level > 0) {
                level--;
            }
            break;
        }
    }

    return true;
}


json_t *
gw_jwt_json_object(gw_str_t text, unsigned depth, unsigned *line)
{
    json_t *json;
    gw_json_t root;
    json_error_t error;

    if (line != NULL) {
        *line = 0;
    }

    if (!depth_within(text, depth)) {
        return NULL;
    }

    json = json_loadb((const char *) text.data, text.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (json == NULL) {
        if (line != NULL && error.line > 0) {
            *line = (unsigned) error.line;
        }

        return NULL;
    }

    /* it overlooks U+0000 behind a number, which a scan does not */

    if (gw_json_parse(text, &root) != GW_OK || root.type != GW_JSON_OBJECT) {
        json_decref(json);
        return NULL;
    }

    return json;
}


gw_str_t
gw_jwt_json_string(const json_t *object, const char *name)
{
    gw_str_t s;
    const json_t *v;

    v = json_object_get(object, name);

    s.data = (const unsigned char *) json_string_value(v);
    s.len = json_string_length(v);

    return s;
}


static bool
plain_scalar(const gw_json_t *v)
{
    size_t i;

    if (v->type == GW_JSON_STRING) {
        return memchr(v->text.data, '\\', v->text.len) == NULL;
    }

    if (v->type != GW_JSON_NUMBER) {
        return true;
    }

    for (i = 0; i < v->text.len; i++) {
        if (v->text.data[i] == 'e' || v->text.data[i] == 'E') {
            return false;
        }
    }

    return v->text.len <= PLAIN_DIGITS;
}


/* Whether key, without escapes, is none of those before it. */
static bool
is_new(const gw_str_t *keys, size_t n, const gw_json_t *key)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (keys[i].len == key->text.len
            && memcmp(keys[i].data, key->text.data, key->text.len) == 0)
        {
            return false;
        }
    }

    return true;
}


/*
 * Whether a value that is valid JSON and UTF-8 is acceptable beyond doubt.
 * Recurses to the depth that was checked before.
 */
static bool
plain(const gw_json_t *v)
{
    const unsigned char *it;
    gw_str_t keys[PLAIN_MEMBERS];
    gw_json_t key, member;
    size_t n;

    if (v->type != GW_JSON_OBJECT && v->type != GW_JSON_ARRAY) {
        return plain_scalar(v);
    }

    n = 0;
    memset(&key, 0, sizeof(key));

    for (it = NULL; gw_json_next(v, &it, &key, &member); /* void */) {

        if (v->type == GW_JSON_OBJECT) {
            if (n == PLAIN_MEMBERS || !plain_scalar(&key)
                || !is_new(keys, n, &key))
            {
                return false;
            }

            keys[n++] = key.text;
        }

        if (!plain(&member)) {
            return false;
        }
    }

    return true;
}


int
gw_jwt_json_open(gw_jwt_json_t *json, gw_str_t text, unsigned depth)
{
    json->text = text;
    json->tree = NULL;

    if (!depth_within(text, depth) || !gw_utf8_valid(text.data, text.len)
        || gw_json_parse(text, &json->root) != GW_OK
        || json->root.type != GW_JSON_OBJECT)
    {
        return GW_ERROR;
    }

    if (plain(&json->root)) {
        return GW_OK;
    }

    json->tree = gw_jwt_json_object(text, depth, NULL);

    return (json->tree != NULL) ? GW_OK : GW_ERROR;
}


json_t *
gw_jwt_json_tree(gw_jwt_json_t *json)
{
    if (json->tree == NULL) {
        json->tree = json_loadb((const char *) json->text.data,
                                json->text.len, JSON_REJECT_DUPLICATES, NULL);
    }

    return json->tree;
}


void
gw_jwt_json_close(gw_jwt_json_t *json)
{
    json_decref(json->tree);
    json->tree = NULL;
}
