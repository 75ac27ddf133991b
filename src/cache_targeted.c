#include <string.h>

#include "cache_control.h"


/* Types of bare items (RFC 8941, 3.3). */
typedef enum {
    SF_ERROR = 0,
    SF_INTEGER,
    SF_DECIMAL,
    SF_STRING,
    SF_TOKEN,
    SF_BYTES,
    SF_BOOLEAN,
    SF_LIST      /* 3.1.1 */
} sf_type_e;

typedef struct {
    sf_type_e type;
    int64_t number;  /* of an integer, or a boolean */
} sf_item_t;

typedef struct {
    const unsigned char *p;
    const unsigned char *end;
} sf_t;


static bool
is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}


static bool
is_small(unsigned char c)
{
    return c >= 'a' && c <= 'z';
}


static bool
at(const sf_t *t, unsigned char c)
{
    return t->p < t->end && *t->p == c;
}


static void
skip(sf_t *t, const char *blanks)
{
    while (t->p < t->end && *t->p != '\0' && strchr(blanks, *t->p) != NULL) {
        t->p++;
    }
}


/* 4.2.4: at most 15 digits, or 12 and three after the point. */
static sf_type_e
parse_number(sf_t *t, int64_t *number)
{
    int64_t sign;
    unsigned whole, fraction;

    sign = 1;
    *number = 0;

    if (at(t, '-')) {
        sign = -1;
        t->p++;
    }

    for (whole = 0; t->p < t->end && is_digit(*t->p); whole++) {

        if (whole == 15) {
            return SF_ERROR;
        }

        *number = *number * 10 + (*t->p++ - '0');
    }

    *number *= sign;

    if (whole == 0 || !at(t, '.')) {
        return whole > 0 ? SF_INTEGER : SF_ERROR;
    }

    t->p++;

    for (fraction = 0; t->p < t->end && is_digit(*t->p); fraction++) {
        t->p++;
    }

    return whole <= 12 && fraction >= 1 && fraction <= 3 ? SF_DECIMAL
                                                         : SF_ERROR;
}


/* 4.2.5 */
static sf_type_e
parse_string(sf_t *t)
{
    unsigned char c;

    t->p++;

    while (t->p < t->end) {
        c = *t->p++;

        if (c == '"') {
            return SF_STRING;
        }

        if (c == '\\') {
            if (t->p == t->end || (*t->p != '"' && *t->p != '\\')) {
                return SF_ERROR;
            }

            t->p++;

        } else if (c < 0x20 || c > 0x7e) {
            return SF_ERROR;
        }
    }

    return SF_ERROR;
}


/* 4.2.6 */
static sf_type_e
parse_token(sf_t *t)
{
    gw_str_t c;

    while (t->p < t->end) {
        c.data = t->p;
        c.len = 1;

        if (*t->p != ':' && *t->p != '/' && !gw_http_token(c)) {
            break;
        }

        t->p++;
    }

    return SF_TOKEN;
}


/* 4.2.7; what is in it is not decoded. */
static sf_type_e
parse_bytes(sf_t *t)
{
    t->p++;

    while (t->p < t->end && *t->p != ':') {

        if (!is_small(*t->p | 0x20) && !is_digit(*t->p) && *t->p != '+'
            && *t->p != '/' && *t->p != '=')
        {
            return SF_ERROR;
        }

        t->p++;
    }

    if (t->p == t->end) {
        return SF_ERROR;
    }

    t->p++;

    return SF_BYTES;
}


/* 4.2.3.1 */
static sf_type_e
parse_bare_item(sf_t *t, int64_t *number)
{
    unsigned char c;

    if (t->p == t->end) {
        return SF_ERROR;
    }

    c = *t->p;

    if (c == '-' || is_digit(c)) {
        return parse_number(t, number);
    }

    if (c == '"') {
        return parse_string(t);
    }

    if (c == ':') {
        return parse_bytes(t);
    }

    if (c == '?') {
        if (t->end - t->p < 2 || (t->p[1] != '0' && t->p[1] != '1')) {
            return SF_ERROR;
        }

        *number = t->p[1] - '0';
        t->p += 2;

        return SF_BOOLEAN;
    }

    return c == '*' || (is_small(c | 0x20) && c >= 'A') ? parse_token(t)
                                                        : SF_ERROR;
}


/* 4.2.3.3 */
static bool
parse_key(sf_t *t, gw_str_t *key)
{
    key->data = t->p;

    if (t->p == t->end || (!is_small(*t->p) && *t->p != '*')) {
        return false;
    }

    while (t->p < t->end
           && (is_small(*t->p) || is_digit(*t->p) || *t->p == '_'
               || *t->p == '-' || *t->p == '.' || *t->p == '*'))
    {
        t->p++;
    }

    key->len = t->p - key->data;

    return true;
}


/* 4.2.3.2: checked, and left out. */
static bool
parse_parameters(sf_t *t)
{
    int64_t number;
    gw_str_t key;

    while (at(t, ';')) {
        t->p++;
        skip(t, " ");

        if (!parse_key(t, &key)) {
            return false;
        }

        if (at(t, '=')) {
            t->p++;

            if (parse_bare_item(t, &number) == SF_ERROR) {
                return false;
            }
        }
    }

    return true;
}


/* 4.2.1.2 */
static sf_type_e
parse_inner_list(sf_t *t)
{
    int64_t number;

    t->p++;

    while (t->p < t->end) {
        skip(t, " ");

        if (at(t, ')')) {
            t->p++;
            return SF_LIST;
        }

        if (parse_bare_item(t, &number) == SF_ERROR || !parse_parameters(t)
            || (!at(t, ' ') && !at(t, ')')))
        {
            return SF_ERROR;
        }
    }

    return SF_ERROR;
}


/* A member of the dictionary as a directive. */
static bool
set_directive(gw_cache_control_t *cc, gw_str_t key, const sf_item_t *item)
{
    uint32_t n;
    gw_cache_control_t one;

    gw_cache_control_init(&one);
    gw_cache_control_add(&one, key, gw_str("0"));

    if (one.flags != 0) {
        /* a list of fields, or whatever else, is as if it were true */
        if (item->type == SF_BOOLEAN && item->number == 0) {
            cc->flags &= ~one.flags;
        } else {
            cc->flags |= one.flags;
        }

        return true;
    }

    if (one.max_age == 0 || one.s_maxage == 0 || one.stale_if_error == 0
        || one.stale_while_revalidate == 0)
    {
        if (item->type != SF_INTEGER) {
            return false;
        }

        n = item->number < 0 ? 0
            : item->number > GW_DELTA_MAX ? GW_DELTA_MAX
                                          : (uint32_t) item->number;

        /* the last one counts (4.2.2) */
        cc->max_age = one.max_age == 0 ? n : cc->max_age;
        cc->s_maxage = one.s_maxage == 0 ? n : cc->s_maxage;
        cc->stale_if_error = one.stale_if_error == 0 ? n : cc->stale_if_error;
        cc->stale_while_revalidate = one.stale_while_revalidate == 0
                                     ? n : cc->stale_while_revalidate;
    }

    return true;
}


/* 4.2.2: one line. */
static bool
parse_dictionary(gw_cache_control_t *cc, gw_str_t line)
{
    sf_t t;
    gw_str_t key;
    sf_item_t item;

    t.p = line.data;
    t.end = line.data + line.len;

    for ( ;; ) {
        item.type = SF_BOOLEAN;
        item.number = 1;

        if (!parse_key(&t, &key)) {
            return false;
        }

        if (at(&t, '=')) {
            t.p++;
            item.type = at(&t, '(') ? parse_inner_list(&t)
                                    : parse_bare_item(&t, &item.number);
        }

        if (item.type == SF_ERROR || !parse_parameters(&t)
            || !set_directive(cc, key, &item))
        {
            return false;
        }

        skip(&t, " \t");

        if (t.p == t.end) {
            return true;
        }

        if (*t.p++ != ',') {
            return false;
        }

        skip(&t, " \t");
    }
}


int
gw_cache_control_targeted(gw_cache_control_t *cc, gw_fields_t fields,
    gw_str_t name)
{
    size_t i;
    bool any;
    gw_str_t line;

    any = false;
    gw_cache_control_init(cc);

    for (i = 0; i < fields.n; i++) {

        if (!gw_field_is(fields.fields[i].name, name)) {
            continue;
        }

        line = gw_http_trim(fields.fields[i].value);

        if (line.len == 0) {
            continue;
        }

        if (!parse_dictionary(cc, line)) {
            gw_cache_control_init(cc);
            return GW_DECLINED;
        }

        any = true;
    }

    return any ? GW_OK : GW_DECLINED;
}
