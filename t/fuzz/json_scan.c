/*
 * Any bytes as JSON, compared with jansson. Where both take the text all of
 * its values must be the same. They may differ where
 *
 *   - containers are nested deeper than GW_JSON_MAX_DEPTH,
 *   - a number is outside of what jansson stores,
 *   - a string has an escaped surrogate without its other half,
 *   - a member's name has U+0000 in it,
 *   - there are zero bytes, of which jansson overlooks some,
 *
 * and input that is not UTF-8 is only scanned.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../../src/json_scan.h"
#include "../../src/utf8.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static void
same_string(const gw_json_t *v, const char *s, size_t len)
{
    size_t n;
    unsigned char *buf;

    buf = malloc(v->text.len);
    check(buf != NULL);

    n = gw_json_string_decode(v, buf);

    if (memchr(s, 0, len) != NULL) {
        check(n == (size_t) -1);

    } else {
        check(n == len && memcmp(buf, s, len) == 0);
        check(gw_json_string_equal(v, (gw_str_t){ buf, n }));
        check(n == 0 || !gw_json_string_equal(v, (gw_str_t){ buf, n - 1 }));
    }

    free(buf);
}


static void
same_number(const gw_json_t *v, const json_t *j)
{
    uint64_t n;
    char buf[32];

    if (json_is_integer(j) && v->text.data[0] != '-') {
        check(gw_json_uint(v, &n) == GW_OK);
        check(n == (uint64_t) json_integer_value(j));
        return;
    }

    check(gw_json_uint(v, &n) == GW_DECLINED);

    if (json_is_integer(j)) {
        check(v->text.len < sizeof(buf));
        memcpy(buf, v->text.data, v->text.len);
        buf[v->text.len] = '\0';
        check(strtoll(buf, NULL, 10) == json_integer_value(j));
    }
}


static void same(const gw_json_t *v, const json_t *j);


static void
same_object(const gw_json_t *v, const json_t *j)
{
    size_t n;
    json_t *member;
    gw_json_t key, value;
    const char *name;
    gw_str_t s;
    const unsigned char *it;

    n = 0;
    it = NULL;

    while (gw_json_next(v, &it, &key, &value)) {
        check(key.type == GW_JSON_STRING);
        n++;
    }

    /* Jansson keeps the last of several. */
    check(n >= json_object_size(j));

    json_object_foreach((json_t *) j, name, member) {
        s.data = (const unsigned char *) name;
        s.len = strlen(name);
        check(gw_json_member(v, s, &value) == GW_OK);
        same(&value, member);
    }
}


static void
same_array(const gw_json_t *v, const json_t *j)
{
    size_t n;
    gw_json_t value;
    const unsigned char *it;

    n = 0;
    it = NULL;

    while (gw_json_next(v, &it, NULL, &value)) {
        check(n < json_array_size(j));
        same(&value, json_array_get(j, n++));
    }

    check(n == json_array_size(j));
}


static void
same(const gw_json_t *v, const json_t *j)
{
    switch (v->type) {
    case GW_JSON_NULL:
        check(json_is_null(j));
        break;
    case GW_JSON_FALSE:
        check(json_is_false(j));
        break;
    case GW_JSON_TRUE:
        check(json_is_true(j));
        break;
    case GW_JSON_NUMBER:
        check(json_is_number(j));
        same_number(v, j);
        break;
    case GW_JSON_STRING:
        check(json_is_string(j));
        same_string(v, json_string_value(j), json_string_length(j));
        break;
    case GW_JSON_ARRAY:
        check(json_is_array(j));
        same_array(v, j);
        break;
    case GW_JSON_OBJECT:
        check(json_is_object(j));
        same_object(v, j);
        break;
    }
}


/* Whether brackets, those in strings too, might nest too deep. */
static bool
may_be_deep(const uint8_t *p, size_t n)
{
    size_t i, open;

    open = 0;

    for (i = 0; i < n; i++) {
        open += p[i] == '[' || p[i] == '{';
    }

    return open > GW_JSON_MAX_DEPTH;
}


static bool
has_surrogate(const uint8_t *p, size_t n)
{
    size_t i;

    for (i = 0; i + 4 <= n; i++) {
        if (p[i] == '\\' && p[i + 1] == 'u' && (p[i + 2] | 0x20) == 'd'
            && p[i + 3] > '7')
        {
            return true;
        }
    }

    return false;
}


/* Any UTF-8 without U+0000 comes back from its quoted form. */
static void
quote(gw_str_t s)
{
    size_t n;
    gw_json_t v;
    unsigned char *p, *buf;

    n = gw_json_quoted_size(s);
    p = malloc(n);
    buf = malloc(n);
    check(p != NULL && buf != NULL);
    check(gw_json_quote(p, s) == p + n);

    check(gw_json_parse((gw_str_t){ p, n }, &v) == GW_OK);
    check(v.type == GW_JSON_STRING && v.text.len == n);

    if (memchr(s.data, 0, s.len) == NULL) {
        check(gw_json_string_decode(&v, buf) == s.len);
        check(memcmp(buf, s.data, s.len) == 0);
        check(gw_json_string_equal(&v, s));
    }

    free(p);
    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int rc;
    json_t *j;
    gw_json_t v;
    json_error_t err;

    if (size == 0) {
        return 0;
    }

    rc = gw_json_parse((gw_str_t){ data, size }, &v);

    if (!gw_utf8_valid(data, size)) {
        return 0;
    }

    quote((gw_str_t){ data, size });

    j = json_loadb((const char *) data, size,
                   JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);

    if (j != NULL && rc == GW_OK) {
        same(&v, j);

    } else if (j != NULL) {
        check(may_be_deep(data, size) || memchr(data, 0, size) != NULL);

    } else if (rc == GW_OK) {
        check(json_error_code(&err) == json_error_numeric_overflow
              || json_error_code(&err) == json_error_null_byte_in_key
              || has_surrogate(data, size));
    }

    json_decref(j);

    return 0;
}
