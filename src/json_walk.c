#include <string.h>

#include "json_text.h"


/*
 * All of this walks text that has been validated. The ends are looked at
 * nevertheless, so that a mistaken caller reads nothing beyond them.
 */

static const unsigned char *
string_skip(const unsigned char *p, const unsigned char *end)
{
    for (p++; p < end; p++) {
        p = gw_json_plain_skip(p, end);

        if (p == end || *p == '"') {
            break;
        }

        if (*p == '\\' && end - p > 1) {
            p++;
        }
    }

    return p < end ? p + 1 : end;
}


static const unsigned char *
container_skip(const unsigned char *p, const unsigned char *end)
{
    size_t depth;

    depth = 0;

    while (p < end) {
        switch (*p) {

        case '"':
            p = string_skip(p, end);
            continue;

        case '{': case '[':
            depth++;
            break;

        case '}': case ']':
            if (--depth == 0) {
                return p + 1;
            }

            break;
        }

        p++;
    }

    return end;
}


static const unsigned char *
value_skip(const unsigned char *p, const unsigned char *end)
{
    if (*p == '"') {
        return string_skip(p, end);
    }

    if (*p == '{' || *p == '[') {
        return container_skip(p, end);
    }

    while (p < end && (*p > ' ' && *p != ',' && *p != ']' && *p != '}')) {
        p++;
    }

    return p;
}


/* To the next thing that is neither space nor the given mark. */
static const unsigned char *
mark_skip(const unsigned char *p, const unsigned char *end, unsigned char mark)
{
    p = gw_json_space_skip(p, end);

    if (p < end && *p == mark) {
        p = gw_json_space_skip(p + 1, end);
    }

    return p;
}


bool
gw_json_next(const gw_json_t *container, const unsigned char **it,
    gw_json_t *key, gw_json_t *v)
{
    const unsigned char *p, *end, *start;

    if (container->type < GW_JSON_ARRAY) {
        return false;
    }

    /* Without the closing bracket. */
    end = container->text.data + container->text.len - 1;

    p = *it != NULL ? *it : container->text.data + 1;
    p = mark_skip(p, end, ',');

    if (p == end) {
        *it = p;
        return false;
    }

    if (container->type == GW_JSON_OBJECT) {
        start = p;
        p = string_skip(p, end);

        if (key != NULL) {
            gw_json_value_set(key, start, p);
        }

        p = mark_skip(p, end, ':');

        if (p == end) {
            return false;
        }
    }

    start = p;
    p = value_skip(p, end);
    gw_json_value_set(v, start, p);
    *it = p;

    return true;
}


int
gw_json_member(const gw_json_t *object, gw_str_t name, gw_json_t *v)
{
    int rc;
    gw_json_t key, value, found = { GW_JSON_NULL, { NULL, 0 } };
    const unsigned char *it;

    if (object->type != GW_JSON_OBJECT) {
        return GW_DECLINED;
    }

    it = NULL;
    rc = GW_DECLINED;

    while (gw_json_next(object, &it, &key, &value)) {
        if (gw_json_string_equal(&key, name)) {
            found = value;
            rc = GW_OK;
        }
    }

    if (rc == GW_OK) {
        *v = found; /* only now, as v may be the object itself */
    }

    return rc;
}


static bool
key_equal(const gw_json_t *key, gw_str_t name)
{
    if (key->text.len == name.len + 2) {
        return memcmp(key->text.data + 1, name.data, name.len) == 0;
    }

    /* only escapes make it longer */
    return key->text.len > name.len + 2 && gw_json_string_equal(key, name);
}


void
gw_json_members(const gw_json_t *object, const gw_str_t *names,
    gw_json_t *values, size_t n)
{
    size_t i;
    gw_json_t key, value;
    const unsigned char *it;

    for (i = 0; i < n; i++) {
        values[i] = (gw_json_t){ GW_JSON_NULL, { NULL, 0 } };
    }

    if (object->type != GW_JSON_OBJECT) {
        return;
    }

    it = NULL;

    while (gw_json_next(object, &it, &key, &value)) {
        for (i = 0; i < n; i++) {
            if (key_equal(&key, names[i])) {
                values[i] = value;
                break;
            }
        }
    }
}
