#include <string.h>

#include "jwt.h"

#define NAME_MAX_LEN 256 /* of a name that is compared without its case */
#define ESCAPE_LEN 6     /* of the longest escape of one character */


static unsigned char
lower(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') ? (unsigned char) (c | 0x20) : c;
}


static bool
name_like(const gw_json_t *key, gw_str_t name)
{
    unsigned char buf[NAME_MAX_LEN * ESCAPE_LEN + 2];
    size_t i;

    if (name.len > NAME_MAX_LEN
        || key->text.len > name.len * ESCAPE_LEN + 2
        || gw_json_string_decode(key, buf) != name.len)
    {
        return false;
    }

    for (i = 0; i < name.len; i++) {
        if (lower(buf[i]) != lower(name.data[i])) {
            return false;
        }
    }

    return true;
}


int
gw_jwt_find(gw_str_t object, gw_str_t name, gw_json_t *v)
{
    const unsigned char *it;
    gw_json_t json, key, value;
    int rc;

    if (gw_json_parse(object, &json) != GW_OK || json.type != GW_JSON_OBJECT) {
        return GW_DECLINED;
    }

    rc = GW_DECLINED;

    for (it = NULL; gw_json_next(&json, &it, &key, &value); /* void */) {

        if (gw_json_string_equal(&key, name)) {
            *v = value;
            return GW_OK;
        }

        if (rc != GW_OK && name_like(&key, name)) {
            *v = value;
            rc = GW_OK;
        }
    }

    return rc;
}


static unsigned char *
put_compact(unsigned char *p, gw_str_t text)
{
    size_t i;
    bool quoted;
    unsigned char c;

    quoted = false;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (c == '"') {
            quoted = !quoted;

        } else if (quoted && c == '\\') {
            *p++ = c;
            c = text.data[++i];

        } else if (!quoted
                   && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
        {
            continue;
        }

        *p++ = c;
    }

    return p;
}


/* As in gw_jwt_render(), save that an array is compact JSON too. */
static unsigned char *
put_element(unsigned char *p, const gw_json_t *v)
{
    size_t n;

    switch (v->type) {

    case GW_JSON_NULL:
        return p;

    case GW_JSON_STRING:
        n = gw_json_string_decode(v, p);
        return (n == (size_t) -1) ? p : p + n;

    default:
        return put_compact(p, v->text);
    }
}


size_t
gw_jwt_render(const gw_json_t *v, unsigned char *buf)
{
    const unsigned char *it;
    unsigned char *p;
    gw_json_t element;

    if (v->type != GW_JSON_ARRAY) {
        return (size_t) (put_element(buf, v) - buf);
    }

    p = buf;

    for (it = NULL; gw_json_next(v, &it, NULL, &element); /* void */) {
        p = put_element(p, &element);
        *p++ = ',';
    }

    return (p == buf) ? 0 : (size_t) (p - buf) - 1;
}


static bool
element_equal(const gw_json_t *v, gw_str_t value)
{
    switch (v->type) {

    case GW_JSON_STRING:
        return gw_json_string_equal(v, value);

    case GW_JSON_NUMBER:
    case GW_JSON_TRUE:
    case GW_JSON_FALSE:
        return v->text.len == value.len
               && memcmp(v->text.data, value.data, value.len) == 0;

    default:
        return false;
    }
}


bool
gw_jwt_equal(const gw_json_t *v, gw_str_t value)
{
    const unsigned char *it;
    gw_json_t element;

    if (v->type != GW_JSON_ARRAY) {
        return element_equal(v, value);
    }

    for (it = NULL; gw_json_next(v, &it, NULL, &element); /* void */) {
        if (element_equal(&element, value)) {
            return true;
        }
    }

    return false;
}
