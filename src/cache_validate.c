#include <string.h>

#include "cache_validate.h"


#define NAME(s) { (const unsigned char *) (s), sizeof(s) - 1 }

/* Of one connection (RFC 9110, 7.6.1), or of a proxy (RFC 9111, 3.1). */
static const gw_str_t never_stored[] = {
    NAME("Connection"),
    NAME("Keep-Alive"),
    NAME("Proxy-Authenticate"),
    NAME("Proxy-Authentication-Info"),
    NAME("Proxy-Authorization"),
    NAME("Proxy-Connection"),
    NAME("TE"),
    NAME("Transfer-Encoding"),
    NAME("Upgrade")
};

/* They describe the stored bytes, which a 304 does not change (3.2). */
static const gw_str_t never_updated[] = {
    NAME("Content-Encoding"),
    NAME("Content-Length"),
    NAME("Content-MD5"),
    NAME("Content-Range"),
    NAME("ETag")
};

/* They describe a content that a 304 has not (RFC 9110, 15.4.5). */
static const gw_str_t never_with_304[] = {
    NAME("Content-Encoding"),
    NAME("Content-Language"),
    NAME("Content-Length"),
    NAME("Content-MD5"),
    NAME("Content-Range"),
    NAME("Content-Type"),
    NAME("Transfer-Encoding")
};

#define among(name, list)                                                     \
    is_among(name, list, sizeof(list) / sizeof((list)[0]))


static bool
is_among(gw_str_t name, const gw_str_t *list, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (gw_field_is(name, list[i])) {
            return true;
        }
    }

    return false;
}


bool
gw_cache_keeps(gw_fields_t fields, gw_str_t name)
{
    return !among(name, never_stored)
           && !gw_field_lists(fields, gw_str("Connection"), name);
}


void
gw_cache_conditions(gw_cache_conditions_t *c, const gw_cache_meta_t *meta,
    gw_fields_t stored)
{
    c->if_none_match = (gw_str_t){ NULL, 0 };
    c->if_modified_since = (gw_str_t){ NULL, 0 };

    if (meta->flags & GW_CACHE_HAS_ETAG) {
        c->if_none_match = gw_field_find(stored, gw_str("ETag"));
    }

    if (meta->flags & GW_CACHE_HAS_MODIFIED) {
        c->if_modified_since = gw_field_find(stored, gw_str("Last-Modified"));
    }
}


static bool
same_text(gw_str_t a, gw_str_t b)
{
    a = gw_http_trim(a);
    b = gw_http_trim(b);

    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}


bool
gw_cache_confirms(gw_fields_t stored, gw_fields_t fresh)
{
    gw_str_t modified, before;
    gw_etag_t etag, known;

    etag = gw_etag_parse(gw_field_find(fresh, gw_str("ETag")));
    known = gw_etag_parse(gw_field_find(stored, gw_str("ETag")));

    if (etag.tag.data != NULL) {

        /* a weak tag identifies what a weak comparison says (4.3.4); where
           a strong one is stored, servers that compress make it weak */
        return known.tag.data == NULL || etag.weak
               ? gw_etag_equal_weak(etag, known)
               : gw_etag_equal_strong(etag, known);
    }

    modified = gw_field_find(fresh, gw_str("Last-Modified"));
    before = gw_field_find(stored, gw_str("Last-Modified"));

    return modified.data == NULL || before.data == NULL
           || same_text(modified, before);
}


static bool
updates(gw_fields_t fresh, gw_str_t name)
{
    return !among(name, never_updated) && gw_cache_keeps(fresh, name);
}


size_t
gw_cache_merge(gw_field_t *out, gw_fields_t stored, gw_fields_t fresh)
{
    size_t i, n;
    gw_str_t name;

    n = 0;

    for (i = 0; i < stored.n; i++) {
        name = stored.fields[i].name;

        if (gw_field_is(name, gw_str("Age"))
            || gw_field_is(name, gw_str("Date"))
            || (gw_field_find(fresh, name).data != NULL
                && updates(fresh, name)))
        {
            continue;
        }

        out[n++] = stored.fields[i];
    }

    for (i = 0; i < fresh.n; i++) {
        if (updates(fresh, fresh.fields[i].name)) {
            out[n++] = fresh.fields[i];
        }
    }

    return n;
}


gw_cache_head_e
gw_cache_head(const gw_cache_meta_t *meta, gw_fields_t stored,
    uint64_t length, unsigned status, gw_fields_t fresh)
{
    size_t i;
    uint64_t n;
    gw_str_t value;

    if (status != 200 || meta->status != 200) {
        return GW_CACHE_HEAD_NOTHING;
    }

    if (!gw_cache_confirms(stored, fresh)) {
        return GW_CACHE_HEAD_STALE;
    }

    value = gw_http_trim(gw_field_find(fresh, gw_str("Content-Length")));

    for (n = 0, i = 0; i < value.len && i < 18; i++) {

        if (value.data[i] < '0' || value.data[i] > '9') {
            break;
        }

        n = n * 10 + (value.data[i] - '0');
    }

    /* also what is no number is not the stored length */
    return value.data == NULL || (value.len > 0 && i == value.len
                                  && n == length)
           ? GW_CACHE_HEAD_UPDATE : GW_CACHE_HEAD_STALE;
}


static bool
none_match(gw_fields_t stored, gw_fields_t request, bool *found)
{
    gw_str_t member;
    gw_etag_t etag;
    gw_members_t m;

    etag = gw_etag_parse(gw_field_find(stored, gw_str("ETag")));

    *found = false;
    gw_members_init(&m, request, gw_str("If-None-Match"));

    while (gw_members_next(&m, &member)) {
        *found = true;

        if ((member.len == 1 && member.data[0] == '*')
            || gw_etag_equal_weak(gw_etag_parse(member), etag))
        {
            return false;
        }
    }

    return true;
}


bool
gw_cache_not_modified(const gw_cache_meta_t *meta, gw_fields_t stored,
    gw_fields_t request, int64_t now)
{
    bool found, differs;
    int64_t since;
    gw_str_t value;

    if (meta->status != 200) {
        return false;
    }

    differs = none_match(stored, request, &found);

    if (found) {
        return !differs;
    }

    value = gw_field_find(request, gw_str("If-Modified-Since"));

    if (value.data == NULL) {
        return false;
    }

    since = gw_http_date_parse(gw_http_trim(value), now / 1000);

    return since != GW_NO_DATE
           && since >= (meta->last_modified != GW_NO_DATE
                        ? meta->last_modified : meta->date);
}


bool
gw_cache_304_sends(gw_str_t name)
{
    return !among(name, never_with_304);
}


bool
gw_cache_invalidates(gw_str_t method, unsigned status)
{
    return status >= 200 && status < 400 && !gw_cache_method_safe(method);
}
