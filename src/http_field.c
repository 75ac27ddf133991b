#include <string.h>

#include "http_field.h"


static unsigned char
lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}


bool
gw_field_is(gw_str_t a, gw_str_t b)
{
    size_t i;

    if (a.len != b.len) {
        return false;
    }

    for (i = 0; i < a.len; i++) {
        if (a.data[i] != b.data[i] && lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }

    return true;
}


gw_str_t
gw_field_find(gw_fields_t list, gw_str_t name)
{
    size_t i;

    for (i = 0; i < list.n; i++) {
        if (gw_field_is(list.fields[i].name, name)) {
            return list.fields[i].value.data != NULL ? list.fields[i].value
                                                     : gw_str("");
        }
    }

    return (gw_str_t){ NULL, 0 };
}


gw_str_t
gw_http_trim(gw_str_t s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }

    while (s.len > 0
           && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
    {
        s.len--;
    }

    return s;
}


/* Bytes up to the comma that ends the first member. */
static size_t
member_length(gw_str_t s)
{
    size_t i;
    bool quoted;

    quoted = false;

    for (i = 0; i < s.len; i++) {

        if (quoted && s.data[i] == '\\') {
            i++;

        } else if (s.data[i] == '"') {
            quoted = !quoted;

        } else if (s.data[i] == ',' && !quoted) {
            break;
        }
    }

    return i < s.len ? i : s.len;
}


bool
gw_member_cut(gw_str_t *value, gw_str_t *member)
{
    size_t n;

    while (value->len > 0) {
        n = member_length(*value);

        *member = gw_http_trim((gw_str_t){ value->data, n });

        if (n < value->len) {
            n++;
        }

        value->data += n;
        value->len -= n;

        if (member->len > 0) {
            return true;
        }
    }

    return false;
}


void
gw_members_init(gw_members_t *m, gw_fields_t list, gw_str_t name)
{
    m->list = list;
    m->name = name;
    m->line = 0;
    m->rest = gw_str("");
}


bool
gw_members_next(gw_members_t *m, gw_str_t *member)
{
    const gw_field_t *field;

    while (!gw_member_cut(&m->rest, member)) {

        do {
            if (m->line == m->list.n) {
                return false;
            }

            field = &m->list.fields[m->line++];

        } while (!gw_field_is(field->name, m->name));

        m->rest = field->value;
    }

    return true;
}


bool
gw_field_lists(gw_fields_t list, gw_str_t name, gw_str_t token)
{
    gw_str_t member;
    gw_members_t m;

    gw_members_init(&m, list, name);

    while (gw_members_next(&m, &member)) {
        if (gw_field_is(member, token)) {
            return true;
        }
    }

    return false;
}


bool
gw_http_token(gw_str_t s)
{
    size_t i;
    unsigned char c;

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (!(lower(c) >= 'a' && lower(c) <= 'z') && !(c >= '0' && c <= '9')
            && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
        {
            return false;
        }
    }

    return s.len > 0;
}


gw_str_t
gw_http_unquote(gw_str_t s)
{
    if (s.len < 2 || s.data[0] != '"' || s.data[s.len - 1] != '"'
        || memchr(s.data + 1, '"', s.len - 2) != NULL
        || memchr(s.data, '\\', s.len) != NULL)
    {
        return s;
    }

    return (gw_str_t){ s.data + 1, s.len - 2 };
}


int
gw_http_delta(gw_str_t s, uint32_t *seconds)
{
    size_t i;
    uint64_t n;

    n = 0;

    for (i = 0; i < s.len; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            return GW_ERROR;
        }

        n = n * 10 + (s.data[i] - '0');

        if (n > GW_DELTA_MAX) {
            n = GW_DELTA_MAX;
        }
    }

    *seconds = (uint32_t) n;

    return s.len > 0 ? GW_OK : GW_ERROR;
}


gw_etag_t
gw_etag_parse(gw_str_t s)
{
    gw_etag_t etag;

    etag.tag = s.data != NULL ? gw_http_trim(s) : s;
    etag.weak = false;

    if (etag.tag.len > 2 && etag.tag.data[0] == 'W' && etag.tag.data[1] == '/')
    {
        etag.weak = true;
        etag.tag.data += 2;
        etag.tag.len -= 2;
    }

    if (etag.tag.len == 0) {
        etag.tag.data = NULL;
    }

    return etag;
}


bool
gw_etag_equal_weak(gw_etag_t a, gw_etag_t b)
{
    return a.tag.data != NULL && b.tag.data != NULL
           && a.tag.len == b.tag.len
           && memcmp(a.tag.data, b.tag.data, a.tag.len) == 0;
}


bool
gw_etag_equal_strong(gw_etag_t a, gw_etag_t b)
{
    return !a.weak && !b.weak && gw_etag_equal_weak(a, b);
}
