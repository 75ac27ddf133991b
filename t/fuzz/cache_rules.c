/*
 * Requests and responses as a cache sees them: every rule is applied, and
 * what must hold whatever they say is checked.
 *
 * Input: method, a line feed, the request's fields, an empty line, the status
 * in two bytes, the response's fields, an empty line, those of a later one.
 * Fields are lines of a name, a colon and a value.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cache_status.h"
#include "../../src/cache_validate.h"
#include "../../src/cache_vary.h"
#include "../../src/http_range.h"

#define MAX_FIELDS 32
#define NOW INT64_C(1764028800000)

typedef struct {
    const uint8_t *p;
    const uint8_t *end;
} input_t;


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static gw_str_t
line(input_t *in)
{
    gw_str_t s;
    const uint8_t *eol;

    eol = in->p < in->end ? memchr(in->p, '\n', (size_t) (in->end - in->p))
                          : NULL;
    eol = eol != NULL ? eol : in->end;

    s.data = in->p;
    s.len = (size_t) (eol - in->p);
    in->p = eol < in->end ? eol + 1 : in->end;

    return s;
}


static gw_fields_t
fields(input_t *in, gw_field_t *out)
{
    size_t n;
    gw_str_t s;
    const uint8_t *colon;

    for (n = 0; n < MAX_FIELDS; n++) {
        s = line(in);

        if (s.len == 0) {
            break;
        }

        colon = memchr(s.data, ':', s.len);
        colon = colon != NULL ? colon : s.data + s.len;

        out[n].name.data = s.data;
        out[n].name.len = (size_t) (colon - s.data);
        colon += colon < s.data + s.len;
        out[n].value.data = colon;
        out[n].value.len = (size_t) (s.data + s.len - colon);
    }

    return (gw_fields_t){ out, n };
}


static void
check_vary(gw_fields_t request, gw_fields_t response)
{
    int rc;
    size_t len, n, again;
    gw_str_t names;
    unsigned char spec[256], text[512], text2[512];

    rc = gw_vary_spec(spec, sizeof(spec), &len, response);
    check(rc == GW_OK || rc == GW_DECLINED || rc == GW_ERROR);

    if (rc != GW_OK) {
        return;
    }

    check(len <= sizeof(spec));
    names.data = spec;
    names.len = len;

    if (gw_vary_text(text, sizeof(text), &n, names, request) != GW_OK) {
        return;
    }

    check(n <= sizeof(text) && (n > 0) == (len > 0));
    check(gw_vary_text(text2, n, &again, names, request) == GW_OK);
    check(again == n && memcmp(text, text2, n) == 0);
}


static void
check_decisions(const gw_cache_request_t *req, const gw_cache_meta_t *meta)
{
    int64_t at;
    gw_cache_decision_t d;

    for (at = -1000; at < INT64_C(5000000000000); at = at * 7 + 11000) {
        d = gw_cache_decide(req, meta, NOW + at, false, GW_FWD_MISS);

        check(d.verdict != GW_CACHE_HIT || req->get);
        check(d.age >= 0);
        check((d.verdict == GW_CACHE_HIT) == (d.fwd == GW_FWD_NONE));

        /* RFC 9111, 4.2.4 */
        if (gw_cache_ttl_ms(meta, NOW + at) <= 0
            && (meta->flags & (GW_CACHE_NO_STALE|GW_CACHE_NO_CACHE)))
        {
            check(d.verdict != GW_CACHE_HIT && d.verdict != GW_CACHE_UPDATING);
            check(!gw_cache_stale_on_error(req, meta, NOW + at, true));
        }
    }

    gw_cache_dead_at(meta, GW_DELTA_MAX, GW_DELTA_MAX);
}


static void
check_location(gw_fields_t response)
{
    size_t len, size;
    gw_str_t location;
    unsigned char *out;

    location = gw_field_find(response, gw_str("Location"));

    if (location.data == NULL) {
        return;
    }

    size = location.len + 8;
    out = malloc(size);
    check(out != NULL);

    if (gw_cache_location(out, size, &len, gw_str("http"), gw_str("a"),
                          gw_str("/b/c?d"), location) == GW_OK)
    {
        check(len > 0 && len <= size && out[0] == '/');
        check(memchr(out, '#', len) == NULL);
    }

    free(out);
}


static void
check_status(gw_str_t name, const gw_cache_decision_t *d)
{
    size_t i, n, size;
    unsigned char *out;
    gw_cache_status_t s;

    memset(&s, 0, sizeof(s));
    s.cache = name;
    s.detail = name;
    s.hit = d->verdict == GW_CACHE_HIT;
    s.fwd = d->fwd;
    s.has_ttl = true;
    s.ttl = d->ttl;

    size = 4 * name.len + GW_CACHE_STATUS_LEN;
    out = malloc(size);
    check(out != NULL);

    n = gw_cache_status_write(out, size, &s);
    check(n > 0 && n <= size);

    for (i = 0; i < n; i++) {
        check(out[i] >= 0x20 && out[i] < 0x7f);
    }

    free(out);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned status;
    input_t in;
    gw_str_t method;
    gw_range_t range;
    gw_field_t a[MAX_FIELDS], b[MAX_FIELDS], c[MAX_FIELDS];
    gw_field_t merged[2 * MAX_FIELDS];
    gw_fields_t request, response, fresh;
    gw_cache_meta_t meta;
    gw_cache_rules_t rules;
    gw_cache_request_t req;
    gw_cache_decision_t d;
    gw_cache_conditions_t cond;

    in.p = data;
    in.end = data + size;

    method = line(&in);
    request = fields(&in, a);
    status = 200;

    if (in.end - in.p >= 2) {
        status = (in.p[0] % 8u) * 100 + in.p[1] % 64u;
        in.p += 2;
    }

    response = fields(&in, b);
    fresh = fields(&in, c);

    memset(&rules, 0, sizeof(rules));
    rules.lifetime = size % 3 == 0 ? 60 : GW_CC_NONE;
    rules.heuristic = size % 2 == 0;

    gw_cache_request_parse(&req, method, request);
    gw_cache_store(&meta, &req, (uint16_t) status, response, NOW - 5, NOW,
                   &rules);
    check(meta.initial_age_ms >= 0 && meta.lifetime <= GW_DELTA_MAX);

    check_decisions(&req, &meta);
    check_vary(request, response);
    check_location(response);

    d = gw_cache_decide(&req, &meta, NOW, true, GW_FWD_MISS);
    check_status(method, &d);

    gw_cache_conditions(&cond, &meta, response);
    gw_cache_confirms(response, fresh);
    check(gw_cache_merge(merged, response, fresh) <= response.n + fresh.n);
    gw_cache_head(&meta, response, 10, 200, fresh);
    gw_cache_not_modified(&meta, response, request, NOW);

    if (gw_range_select(&range, &req, request, &meta, response, size, NOW)
        == GW_RANGE_PART)
    {
        check(range.first <= range.last && range.last < size);
    }

    return 0;
}
