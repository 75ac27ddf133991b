#include <string.h>

#include "json_text.h"


typedef struct {
    const unsigned char *p;
    const unsigned char *end;
    uint64_t objects; /* a bit for each open container, the innermost lowest:
                         whether it is an object */
    unsigned depth;
} scan_t;


/* From after a backslash to after the escape, or NULL. */
static const unsigned char *
escape_check(const unsigned char *p, const unsigned char *end)
{
    int i;

    if (p == end) {
        return NULL;
    }

    switch (*p++) {

    case '"': case '\\': case '/':
    case 'b': case 'f': case 'n': case 'r': case 't':
        return p;

    case 'u':
        if (end - p < 4) {
            return NULL;
        }

        for (i = 0; i < 4; i++) {
            if (gw_json_hex_digit(p[i]) < 0) {
                return NULL;
            }
        }

        return p + 4;

    default:
        return NULL;
    }
}


/* From after the opening quote to after the closing one, or NULL. */
static const unsigned char *
string_check(const unsigned char *p, const unsigned char *end)
{
    for ( ;; ) {
        p = gw_json_plain_skip(p, end);

        if (p == end) {
            return NULL;
        }

        if (*p == '"') {
            return p + 1;
        }

        if (*p != '\\') {
            return NULL;
        }

        p = escape_check(p + 1, end);

        if (p == NULL) {
            return NULL;
        }
    }
}


/* One digit or more, or NULL. */
static const unsigned char *
digits_check(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *start;

    start = p;

    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }

    return p > start ? p : NULL;
}


static const unsigned char *
number_check(const unsigned char *p, const unsigned char *end)
{
    if (*p == '-') {
        p++;
    }

    if (p < end && *p == '0') {
        p++;

    } else {
        p = digits_check(p, end);

        if (p == NULL) {
            return NULL;
        }
    }

    if (p < end && *p == '.') {
        p = digits_check(p + 1, end);

        if (p == NULL) {
            return NULL;
        }
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;

        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }

        p = digits_check(p, end);
    }

    return p;
}


static const unsigned char *
word_check(const unsigned char *p, const unsigned char *end, gw_str_t word)
{
    if ((size_t) (end - p) < word.len || memcmp(p, word.data, word.len) != 0) {
        return NULL;
    }

    return p + word.len;
}


static const unsigned char *
scalar_check(const unsigned char *p, const unsigned char *end)
{
    switch (*p) {
    case '"':
        return string_check(p + 1, end);
    case 'n':
        return word_check(p, end, gw_str("null"));
    case 't':
        return word_check(p, end, gw_str("true"));
    case 'f':
        return word_check(p, end, gw_str("false"));
    default:
        return number_check(p, end);
    }
}


/* From where a member may stand to its value, or NULL. */
static const unsigned char *
name_check(const unsigned char *p, const unsigned char *end)
{
    p = gw_json_space_skip(p, end);

    if (p == end || *p != '"') {
        return NULL;
    }

    p = string_check(p + 1, end);

    if (p == NULL) {
        return NULL;
    }

    p = gw_json_space_skip(p, end);

    return p < end && *p == ':' ? p + 1 : NULL;
}


/*
 * Opens a container: GW_AGAIN, and its first value is next; GW_OK, and it was
 * empty; or GW_ERROR.
 */
static int
container_open(scan_t *s)
{
    bool object;

    if (s->depth == GW_JSON_MAX_DEPTH) {
        return GW_ERROR;
    }

    object = *s->p == '{';
    s->p = gw_json_space_skip(s->p + 1, s->end);

    if (s->p < s->end && *s->p == (object ? '}' : ']')) {
        s->p++;
        return GW_OK;
    }

    s->depth++;
    s->objects = s->objects << 1 | object;

    if (object) {
        s->p = name_check(s->p, s->end);
    }

    return s->p != NULL ? GW_AGAIN : GW_ERROR;
}


/*
 * Goes on after a value: GW_AGAIN, and there is another one; GW_OK, and it
 * was the outermost; or GW_ERROR.
 */
static int
value_close(scan_t *s)
{
    bool object;

    while (s->depth > 0) {
        object = s->objects & 1;
        s->p = gw_json_space_skip(s->p, s->end);

        if (s->p == s->end) {
            return GW_ERROR;
        }

        if (*s->p == ',') {
            s->p++;

            if (object) {
                s->p = name_check(s->p, s->end);
            }

            return s->p != NULL ? GW_AGAIN : GW_ERROR;
        }

        if (*s->p != (object ? '}' : ']')) {
            return GW_ERROR;
        }

        s->p++;
        s->depth--;
        s->objects >>= 1;
    }

    return GW_OK;
}


/* To the end of the value at s->p: GW_OK or GW_ERROR. */
static int
value_check(scan_t *s)
{
    int rc;

    do {
        s->p = gw_json_space_skip(s->p, s->end);

        if (s->p == s->end) {
            return GW_ERROR;
        }

        if (*s->p == '{' || *s->p == '[') {
            rc = container_open(s);

        } else {
            s->p = scalar_check(s->p, s->end);
            rc = s->p != NULL ? GW_OK : GW_ERROR;
        }

        if (rc == GW_OK) {
            rc = value_close(s);
        }

    } while (rc == GW_AGAIN);

    return rc;
}


int
gw_json_parse(gw_str_t text, gw_json_t *v)
{
    scan_t s;
    const unsigned char *start;

    if (text.len == 0) {
        return GW_ERROR;
    }

    s.end = text.data + text.len;
    s.p = start = gw_json_space_skip(text.data, s.end);
    s.objects = 0;
    s.depth = 0;

    if (value_check(&s) != GW_OK || gw_json_space_skip(s.p, s.end) != s.end) {
        return GW_ERROR;
    }

    gw_json_value_set(v, start, s.p);

    return GW_OK;
}
