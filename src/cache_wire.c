#include <string.h>

#include "bytes.h"
#include "cache_store.h"
#include "cache_wire.h"

#define VERSION '1'
#define PREFIX (1 + 2 * GW_WIRE_DIGITS)
#define FIXED (PREFIX + 2 * 2 + 3 * 4 + 4 * 8 + 3 * 4 + 2 * 2)
#define FIELD 7            /* bytes before a field's name */
#define MAX_TAGS 65535
#define MAX_TIME INT64_C(9007199254740991)
#define FLAGS 0x3fu
#define SECONDS UINT32_C(0x80000000)


/* --- writing -------------------------------------------------------------- */

static unsigned char *
put_text(unsigned char *p, gw_str_t s)
{
    if (s.len > 0) {
        memcpy(p, s.data, s.len);
    }

    return p + s.len;
}


/* A moment as a number of fixed width; what does not fit is as good as its
   end. */
static unsigned char *
put_digits(unsigned char *p, int64_t n)
{
    unsigned i;
    uint64_t left;

    left = n < 0 ? 0 : (uint64_t) n;
    left = left > UINT64_C(999999999999999) ? UINT64_C(999999999999999) : left;

    for (i = GW_WIRE_DIGITS; i > 0; i--) {
        p[i - 1] = (unsigned char) ('0' + left % 10);
        left /= 10;
    }

    return p + GW_WIRE_DIGITS;
}


static size_t
fields_size(const gw_wire_field_t *fields, size_t n)
{
    size_t i, size;

    size = 0;

    for (i = 0; i < n; i++) {
        if (fields[i].name.len > 65535
            || fields[i].value.len > GW_STORE_MAX_HEADER)
        {
            return GW_STORE_MAX_HEADER + 1;
        }

        size += FIELD + fields[i].name.len + fields[i].value.len;

        if (size > GW_STORE_MAX_HEADER) {
            return size;
        }
    }

    return size;
}


size_t
gw_wire_size(const gw_wire_object_t *o, const gw_wire_field_t *fields,
    size_t n)
{
    size_t size;

    size = fields_size(fields, n);

    if (size > GW_STORE_MAX_HEADER || o->key.len > GW_STORE_MAX_KEY
        || o->spec.len > GW_STORE_MAX_SPEC || o->tags.len > MAX_TAGS
        || o->body.len > UINT32_MAX)
    {
        return 0;
    }

    return FIXED + o->key.len + o->spec.len + o->tags.len + size;
}


unsigned char *
gw_wire_write(unsigned char *p, const gw_wire_object_t *o,
    const gw_wire_field_t *fields, size_t n)
{
    size_t i;
    const gw_cache_meta_t *m;

    m = &o->meta;

    *p++ = VERSION;
    p = put_digits(p, m->response_time - m->initial_age_ms
                      + (int64_t) m->lifetime * 1000);
    p = put_digits(p, m->response_time);

    p = gw_put_be(p, m->status, 2);
    p = gw_put_be(p, m->flags, 2);
    p = gw_put_be(p, m->lifetime, 4);
    p = gw_put_be(p, m->stale_while_revalidate, 4);
    p = gw_put_be(p, m->stale_if_error, 4);
    p = gw_put_be(p, (uint64_t) m->initial_age_ms, 8);
    p = gw_put_be(p, (uint64_t) m->date, 8);
    p = gw_put_be(p, (uint64_t) m->last_modified, 8);
    p = gw_put_be(p, (uint64_t) o->dead_at, 8);
    p = gw_put_be(p, o->key.len, 4);
    p = gw_put_be(p, fields_size(fields, n), 4);
    p = gw_put_be(p, o->body.len, 4);
    p = gw_put_be(p, o->spec.len, 2);
    p = gw_put_be(p, o->tags.len, 2);

    p = put_text(p, o->key);
    p = put_text(p, o->spec);
    p = put_text(p, o->tags);

    for (i = 0; i < n; i++) {
        *p++ = fields[i].mark;
        p = gw_put_be(p, fields[i].name.len, 2);
        p = gw_put_be(p, fields[i].value.len, 4);
        p = put_text(p, fields[i].name);
        p = put_text(p, fields[i].value);
    }

    return p;
}


/* --- reading -------------------------------------------------------------- */

static uint64_t
get(const unsigned char **p, size_t bytes)
{
    uint64_t n;

    n = gw_get_be(*p, bytes);
    *p += bytes;

    return n;
}


static gw_str_t
get_text(const unsigned char **p, size_t len)
{
    gw_str_t s;

    s.data = *p;
    s.len = len;
    *p += len;

    return s;
}


static int64_t
get_digits(const unsigned char **p)
{
    unsigned i;
    int64_t n;

    n = 0;

    for (i = 0; i < GW_WIRE_DIGITS; i++, (*p)++) {
        if (**p < '0' || **p > '9') {
            return -1;
        }

        n = n * 10 + (**p - '0');
    }

    return n;
}


bool
gw_wire_field(gw_str_t *fields, gw_wire_field_t *f)
{
    size_t name, value;
    const unsigned char *p;

    if (fields->len < FIELD) {
        return false;
    }

    p = fields->data;
    f->mark = *p++;
    name = (size_t) get(&p, 2);
    value = (size_t) get(&p, 4);

    if (name > fields->len - FIELD || value > fields->len - FIELD - name) {
        return false;
    }

    f->name = get_text(&p, name);
    f->value = get_text(&p, value);
    fields->len -= FIELD + name + value;
    fields->data = p;

    return true;
}


/* What may stand in a field's value: nothing that ends a line. */
static bool
plain(gw_str_t s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f) {
            return false;
        }
    }

    return true;
}


static bool
fields_good(gw_str_t fields)
{
    gw_wire_field_t f;

    while (gw_wire_field(&fields, &f)) {
        if (!gw_http_token(f.name) || !plain(f.value)) {
            return false;
        }
    }

    return fields.len == 0;
}


/* Names in small letters, joined by commas. */
static bool
spec_good(gw_str_t spec)
{
    size_t i;
    gw_str_t member;

    if (spec.len > GW_STORE_MAX_SPEC) {
        return false;
    }

    for (i = 0, member = spec; i < spec.len; i++) {

        if (spec.data[i] >= 'A' && spec.data[i] <= 'Z') {
            return false;
        }

        if (spec.data[i] == ',') {
            member.len = (size_t) (spec.data + i - member.data);

            if (!gw_http_token(member)) {
                return false;
            }

            member.data = spec.data + i + 1;
            member.len = spec.len - i - 1;
        }
    }

    return spec.len == 0 || gw_http_token(member);
}


static bool
between(int64_t n, int64_t least)
{
    return n >= least && n <= MAX_TIME;
}


static bool
meta_good(const gw_cache_meta_t *m, int64_t fresh)
{
    return m->status >= 200 && m->status <= 599 && (m->flags & ~FLAGS) == 0
           && m->lifetime <= SECONDS
           && m->stale_while_revalidate <= SECONDS
           && m->stale_if_error <= SECONDS
           && between(m->response_time, 0) && between(m->initial_age_ms, 0)
           && between(m->date, -MAX_TIME)
           && (m->last_modified == GW_NO_DATE
               || between(m->last_modified, -MAX_TIME))
           && fresh >= 0;
}


int
gw_wire_read(gw_wire_object_t *o, gw_str_t text)
{
    size_t key, fields, body, spec, tags;
    int64_t fresh;
    gw_cache_meta_t *m;
    const unsigned char *p;

    if (text.len < FIXED || text.data[0] != VERSION) {
        return GW_ERROR;
    }

    m = &o->meta;
    memset(m, 0, sizeof(*m));
    p = text.data + 1;

    fresh = get_digits(&p);
    p = text.data + GW_WIRE_MADE;
    m->response_time = get_digits(&p);
    p = text.data + PREFIX;

    m->status = (uint16_t) get(&p, 2);
    m->flags = (uint16_t) get(&p, 2);
    m->lifetime = (uint32_t) get(&p, 4);
    m->stale_while_revalidate = (uint32_t) get(&p, 4);
    m->stale_if_error = (uint32_t) get(&p, 4);
    m->initial_age_ms = (int64_t) get(&p, 8);
    m->date = (int64_t) get(&p, 8);
    m->last_modified = (int64_t) get(&p, 8);
    o->dead_at = (int64_t) get(&p, 8);

    key = (size_t) get(&p, 4);
    fields = (size_t) get(&p, 4);
    body = (size_t) get(&p, 4);
    spec = (size_t) get(&p, 2);
    tags = (size_t) get(&p, 2);

    if (key > GW_STORE_MAX_KEY || fields > GW_STORE_MAX_HEADER
        || text.len - FIXED != key + fields + body + spec + tags
        || !meta_good(m, fresh) || !between(o->dead_at, 0))
    {
        return GW_ERROR;
    }

    o->key = get_text(&p, key);
    o->spec = get_text(&p, spec);
    o->tags = get_text(&p, tags);
    o->fields = get_text(&p, fields);
    o->body = get_text(&p, body);

    return spec_good(o->spec) && fields_good(o->fields) ? GW_OK : GW_ERROR;
}


/* --- purges --------------------------------------------------------------- */

static unsigned
decimals(size_t n)
{
    unsigned d;

    for (d = 1; n > 9; d++) {
        n /= 10;
    }

    return d;
}


size_t
gw_wire_item_size(size_t len)
{
    return 2 + decimals(len) + len;
}


unsigned char *
gw_wire_item_write(unsigned char *p, char what, gw_str_t s)
{
    size_t len;
    unsigned i, d;

    *p++ = (unsigned char) what;

    d = decimals(s.len);

    for (i = d, len = s.len; i > 0; i--) {
        p[i - 1] = (unsigned char) ('0' + len % 10);
        len /= 10;
    }

    p += d;
    *p++ = ':';

    return put_text(p, s);
}


int
gw_wire_item(gw_str_t *text, char *what, gw_str_t *s)
{
    size_t i, len;

    if (text->len == 0) {
        return GW_DECLINED;
    }

    if (text->data[0] < 'a' || text->data[0] > 'z') {
        return GW_ERROR;
    }

    for (i = 1, len = 0; i < text->len && text->data[i] != ':'; i++) {

        if (text->data[i] < '0' || text->data[i] > '9' || i > 9) {
            return GW_ERROR;
        }

        len = len * 10 + (size_t) (text->data[i] - '0');
    }

    if (i < 2 || i == text->len || len > text->len - i - 1) {
        return GW_ERROR;
    }

    *what = (char) text->data[0];
    s->data = text->data + i + 1;
    s->len = len;

    text->data += i + 1 + len;
    text->len -= i + 1 + len;

    return GW_OK;
}
