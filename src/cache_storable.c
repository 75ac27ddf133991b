#include <string.h>

#include "cache_policy.h"


#define HEURISTIC_PART 10      /* of the time since it was modified (4.2.2) */
#define HEURISTIC_MAX 86400u


gw_str_t
gw_cache_store_name(gw_cache_store_e e)
{
    switch (e) {

    case GW_CACHE_STORE:
        return gw_str("stored");
    case GW_CACHE_NOT_METHOD:
        return gw_str("method");
    case GW_CACHE_NOT_STATUS:
        return gw_str("status");
    case GW_CACHE_NOT_REQUEST:
        return gw_str("request-no-store");
    case GW_CACHE_NOT_STORE:
        return gw_str("no-store");
    case GW_CACHE_NOT_PRIVATE:
        return gw_str("private");
    case GW_CACHE_NOT_AUTHORIZED:
        return gw_str("authorization");
    case GW_CACHE_NOT_COOKIE:
        return gw_str("set-cookie");
    case GW_CACHE_NOT_VARY:
        return gw_str("vary");
    case GW_CACHE_NOT_FRESH:
        return gw_str("no-lifetime");
    case GW_CACHE_NOT_USEFUL:
        return gw_str("stale-at-once");
    }

    return gw_str("unknown");
}


/* RFC 9110, 15.1; 206 needs what this cache does not do. */
bool
gw_cache_status_heuristic(unsigned status)
{
    switch (status) {

    case 200: case 203: case 204: case 300: case 301: case 308: case 404:
    case 405: case 410: case 414: case 501:
        return true;
    }

    return false;
}


/* The final ones of RFC 9110, 15, but 206 and 304, which need more than to be
   stored and sent; and of RFC 4918, 6585, 7725, 8297 and 8470. */
bool
gw_cache_status_understood(unsigned status)
{
    return (status >= 200 && status <= 205)
           || (status >= 300 && status <= 303)
           || status == 305 || status == 307 || status == 308
           || (status >= 400 && status <= 417)
           || (status >= 421 && status <= 426)
           || status == 428 || status == 429 || status == 431
           || status == 451 || (status >= 500 && status <= 505)
           || status == 507 || status == 511;
}


/*
 * Age (5.1), s. Of several values the first counts, and what is no number is
 * ignored. Parameters are not defined: what stands before them counts.
 */
static uint32_t
age_value(gw_fields_t fields)
{
    uint32_t age;
    gw_str_t member;
    gw_members_t m;
    const unsigned char *end;

    gw_members_init(&m, fields, gw_str("Age"));

    if (!gw_members_next(&m, &member)) {
        return 0;
    }

    end = memchr(member.data, ';', member.len);

    if (end != NULL) {
        member.len = (size_t) (end - member.data);
        member = gw_http_trim(member);
    }

    return gw_http_delta(member, &age) == GW_OK ? age : 0;
}


/* The age when it came (4.2.3). */
static void
set_age(gw_cache_meta_t *meta, gw_fields_t fields, int64_t request_time,
    int64_t response_time)
{
    int64_t received, apparent, corrected, delay;

    received = response_time / 1000;
    meta->date = gw_http_date_parse(
        gw_http_trim(gw_field_find(fields, gw_str("Date"))), received);

    if (meta->date == GW_NO_DATE) {
        /* RFC 9110, 6.6.1 */
        meta->date = received;
    }

    /* Date has whole seconds: compare with whole seconds */
    apparent = received > meta->date ? (received - meta->date) * 1000 : 0;

    delay = response_time > request_time ? response_time - request_time : 0;
    corrected = (int64_t) age_value(fields) * 1000 + delay;

    meta->response_time = response_time;
    meta->initial_age_ms = apparent > corrected ? apparent : corrected;
}


/* Expires (5.3) as seconds after Date; what cannot be read is the past. */
static bool
expires_lifetime(const gw_cache_meta_t *meta, gw_fields_t fields,
    uint32_t *lifetime)
{
    bool found;
    size_t i;
    int64_t expires, n;

    found = false;

    for (i = 0; i < fields.n; i++) {

        if (!gw_field_is(fields.fields[i].name, gw_str("Expires"))) {
            continue;
        }

        expires = gw_http_date_parse(gw_http_trim(fields.fields[i].value),
                                     meta->response_time / 1000);
        n = expires == GW_NO_DATE || expires <= meta->date
            ? 0 : expires - meta->date;
        n = n > GW_DELTA_MAX ? GW_DELTA_MAX : n;

        if (!found || n < *lifetime) {
            *lifetime = (uint32_t) n;
        }

        found = true;
    }

    return found;
}


/* 4.2.1, in its order; false: nothing says how long. */
static bool
set_lifetime(gw_cache_meta_t *meta, const gw_cache_control_t *cc,
    gw_fields_t fields, const gw_cache_rules_t *rules)
{
    int64_t n;

    meta->flags |= GW_CACHE_EXPLICIT;

    if (cc->s_maxage != GW_CC_NONE) {
        meta->lifetime = cc->s_maxage;
        return true;
    }

    if (cc->max_age != GW_CC_NONE) {
        meta->lifetime = cc->max_age;
        return true;
    }

    /* RFC 9213, 2.1: with CDN-Cache-Control Expires does not count */
    if (!(cc->flags & GW_CC_TARGETED)
        && expires_lifetime(meta, fields, &meta->lifetime))
    {
        return true;
    }

    meta->flags &= (uint16_t) ~GW_CACHE_EXPLICIT;

    if (rules->lifetime != GW_CC_NONE) {
        meta->lifetime = rules->lifetime;
        return true;
    }

    if (rules->heuristic && meta->last_modified != GW_NO_DATE
        && (gw_cache_status_heuristic(meta->status)
            || (cc->flags & GW_CC_PUBLIC)))
    {
        n = (meta->date - meta->last_modified) / HEURISTIC_PART;
        n = n < 0 ? 0 : n > HEURISTIC_MAX ? HEURISTIC_MAX : n;

        meta->lifetime = (uint32_t) n;
        meta->flags |= GW_CACHE_HEURISTIC;
        return true;
    }

    return false;
}


static void
set_validators(gw_cache_meta_t *meta, gw_fields_t fields)
{
    gw_str_t value;

    value = gw_field_find(fields, gw_str("ETag"));

    if (gw_etag_parse(value).tag.data != NULL) {
        meta->flags |= GW_CACHE_HAS_ETAG;
    }

    value = gw_http_trim(gw_field_find(fields, gw_str("Last-Modified")));
    meta->last_modified = gw_http_date_parse(value,
                                             meta->response_time / 1000);

    if (meta->last_modified != GW_NO_DATE) {
        meta->flags |= GW_CACHE_HAS_MODIFIED;
    }
}


/* What the response allows when it is stale (4.2.4; RFC 5861). */
static void
set_stale(gw_cache_meta_t *meta, const gw_cache_control_t *cc)
{
    if (cc->flags & GW_CC_NO_CACHE) {
        meta->flags |= GW_CACHE_NO_CACHE;
    }

    if ((cc->flags & (GW_CC_MUST_REVALIDATE|GW_CC_PROXY_REVALIDATE))
        || cc->s_maxage != GW_CC_NONE)
    {
        meta->flags |= GW_CACHE_NO_STALE;
    }

    if (cc->stale_while_revalidate != GW_CC_NONE) {
        meta->stale_while_revalidate = cc->stale_while_revalidate;
    }

    if (cc->stale_if_error != GW_CC_NONE) {
        meta->stale_if_error = cc->stale_if_error;
    }
}


/* What forbids it whatever its lifetime is (3, 3.5, 5.2). */
static gw_cache_store_e
forbidden(const gw_cache_request_t *req, const gw_cache_control_t *cc,
    unsigned status, gw_fields_t fields, const gw_cache_rules_t *rules)
{
    bool understand;

    if (!req->get || req->head) {
        return GW_CACHE_NOT_METHOD;
    }

    understand = (cc->flags & GW_CC_MUST_UNDERSTAND) != 0;

    if (status < 200 || status > 599 || status == 206 || status == 304
        || (understand && !gw_cache_status_understood(status)))
    {
        return GW_CACHE_NOT_STATUS;
    }

    if (req->cc.flags & GW_CC_NO_STORE) {
        return GW_CACHE_NOT_REQUEST;
    }

    /* 5.2.2.3: no-store beside it is for those who know less */
    if ((cc->flags & GW_CC_NO_STORE) && !understand) {
        return GW_CACHE_NOT_STORE;
    }

    if (cc->flags & GW_CC_PRIVATE) {
        return GW_CACHE_NOT_PRIVATE;
    }

    if ((rules->authorized || req->authorization)
        && !(cc->flags & (GW_CC_PUBLIC|GW_CC_MUST_REVALIDATE))
        && cc->s_maxage == GW_CC_NONE)
    {
        return GW_CACHE_NOT_AUTHORIZED;
    }

    if (!rules->store_cookies
        && gw_field_find(fields, gw_str("Set-Cookie")).data != NULL)
    {
        return GW_CACHE_NOT_COOKIE;
    }

    return gw_field_lists(fields, gw_str("Vary"), gw_str("*"))
           ? GW_CACHE_NOT_VARY : GW_CACHE_STORE;
}


gw_cache_store_e
gw_cache_store(gw_cache_meta_t *meta, const gw_cache_request_t *req,
    uint16_t status, gw_fields_t fields, int64_t request_time,
    int64_t response_time, const gw_cache_rules_t *rules)
{
    bool useful, lasts;
    gw_cache_store_e e;
    gw_cache_control_t cc;

    memset(meta, 0, sizeof(*meta));
    meta->status = status;

    gw_cache_control_response(&cc, fields);

    set_age(meta, fields, request_time, response_time);
    set_validators(meta, fields);
    set_stale(meta, &cc);
    lasts = set_lifetime(meta, &cc, fields, rules);

    e = forbidden(req, &cc, status, fields, rules);

    if (e != GW_CACHE_STORE) {
        return e;
    }

    /* 3: a status that is cacheable by default, or public, may be stored
       without a lifetime; it is of use with a validator */
    if (!lasts && !gw_cache_status_heuristic(status)
        && !(cc.flags & (GW_CC_PUBLIC|GW_CC_NO_CACHE)))
    {
        return GW_CACHE_NOT_FRESH;
    }

    useful = (meta->flags & (GW_CACHE_HAS_ETAG|GW_CACHE_HAS_MODIFIED)) != 0;

    if (!useful && !(meta->flags & GW_CACHE_NO_CACHE)) {
        useful = gw_cache_ttl_ms(meta, response_time) > 0
                 || (!(meta->flags & GW_CACHE_NO_STALE)
                     && (rules->keep_stale || meta->stale_while_revalidate
                         || meta->stale_if_error));
    }

    if (!useful) {
        return lasts ? GW_CACHE_NOT_USEFUL : GW_CACHE_NOT_FRESH;
    }

    return GW_CACHE_STORE;
}
