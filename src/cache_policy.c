#include <string.h>

#include "cache_policy.h"


static bool
str_is(gw_str_t a, gw_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}


bool
gw_cache_method_safe(gw_str_t method)
{
    return str_is(method, gw_str("GET")) || str_is(method, gw_str("HEAD"))
           || str_is(method, gw_str("OPTIONS"))
           || str_is(method, gw_str("TRACE"));
}


void
gw_cache_request_parse(gw_cache_request_t *req, gw_str_t method,
    gw_fields_t fields)
{
    bool get;
    size_t i;
    gw_str_t name;

    get = str_is(method, gw_str("GET"));

    req->head = str_is(method, gw_str("HEAD"));
    req->get = get || req->head;
    req->authorization = false;
    req->conditional = false;
    req->range = false;

    gw_cache_control_request(&req->cc, fields);

    for (i = 0; i < fields.n; i++) {
        name = fields.fields[i].name;

        switch (name.len) {

        case 5:
            if (gw_field_is(name, gw_str("Range"))) {
                req->range = get;
            }
            break;

        case 13:
            if (gw_field_is(name, gw_str("Authorization"))) {
                req->authorization = true;

            } else if (gw_field_is(name, gw_str("If-None-Match"))) {
                req->conditional = true;
            }
            break;

        case 17:
            if (gw_field_is(name, gw_str("If-Modified-Since"))) {
                req->conditional = true;
            }
            break;
        }
    }
}


int64_t
gw_cache_age_ms(const gw_cache_meta_t *meta, int64_t now)
{
    int64_t resident;

    resident = now > meta->response_time ? now - meta->response_time : 0;

    return meta->initial_age_ms + resident;
}


int64_t
gw_cache_ttl_ms(const gw_cache_meta_t *meta, int64_t now)
{
    return (int64_t) meta->lifetime * 1000 - gw_cache_age_ms(meta, now);
}


int64_t
gw_cache_dead_at(const gw_cache_meta_t *meta, uint32_t stale, uint32_t keep)
{
    int64_t window;
    bool validator;

    window = meta->stale_while_revalidate > meta->stale_if_error
             ? meta->stale_while_revalidate : meta->stale_if_error;
    window = stale > window ? stale : window;

    if (meta->flags & (GW_CACHE_NO_STALE|GW_CACHE_NO_CACHE)) {
        window = 0;
    }

    validator = (meta->flags & (GW_CACHE_HAS_ETAG|GW_CACHE_HAS_MODIFIED)) != 0;

    if (validator && keep > window) {
        window = keep;
    }

    return meta->response_time - meta->initial_age_ms
           + ((int64_t) meta->lifetime + window) * 1000;
}


/* Whether it may be used `stale` ms after its lifetime, because of max-stale
   (5.2.1.2). */
static bool
max_stale_allows(const gw_cache_request_t *req, int64_t stale)
{
    return req->cc.max_stale == GW_CC_ANY
           || (req->cc.max_stale != GW_CC_NONE
               && stale <= (int64_t) req->cc.max_stale * 1000);
}


/* Whether the request wants a younger or fresher one (5.2.1.1, 5.2.1.3,
   5.2.1.4). */
static bool
request_declines(const gw_cache_request_t *req, int64_t age, int64_t ttl)
{
    /* as for freshness, an age equal to max-age is too old */
    return (req->cc.flags & GW_CC_NO_CACHE)
           || (req->cc.max_age != GW_CC_NONE
               && age >= (int64_t) req->cc.max_age * 1000
               && !max_stale_allows(req, age
                                    - (int64_t) req->cc.max_age * 1000))
           || (req->cc.min_fresh != GW_CC_NONE
               && ttl < (int64_t) req->cc.min_fresh * 1000);
}


static gw_cache_verdict_e
judge(const gw_cache_request_t *req, const gw_cache_meta_t *meta,
    int64_t age, int64_t ttl, bool updating, gw_cache_fwd_e *fwd)
{
    *fwd = GW_FWD_NONE;

    if (meta->flags & GW_CACHE_NO_CACHE) {
        *fwd = GW_FWD_STALE;
        return GW_CACHE_REVALIDATE;
    }

    if (request_declines(req, age, ttl)) {
        *fwd = ttl > 0 ? GW_FWD_REQUEST : GW_FWD_STALE;
        return GW_CACHE_REVALIDATE;
    }

    if (ttl > 0) {
        return GW_CACHE_HIT;
    }

    *fwd = GW_FWD_STALE;

    if (meta->flags & GW_CACHE_NO_STALE) {
        return GW_CACHE_REVALIDATE;
    }

    if (max_stale_allows(req, -ttl)) {
        *fwd = GW_FWD_NONE;
        return GW_CACHE_HIT;
    }

    if (updating || -ttl < (int64_t) meta->stale_while_revalidate * 1000) {
        return GW_CACHE_UPDATING;
    }

    return GW_CACHE_REVALIDATE;
}


gw_cache_decision_t
gw_cache_decide(const gw_cache_request_t *req, const gw_cache_meta_t *meta,
    int64_t now, bool updating, gw_cache_fwd_e miss)
{
    int64_t age, ttl;
    gw_cache_decision_t d;

    memset(&d, 0, sizeof(d));

    if (!req->get) {
        d.verdict = GW_CACHE_MISS;
        d.fwd = GW_FWD_METHOD;
        return d;
    }

    if (meta == NULL) {
        d.verdict = GW_CACHE_MISS;
        d.fwd = miss;

    } else {
        age = gw_cache_age_ms(meta, now);
        ttl = (int64_t) meta->lifetime * 1000 - age;

        d.age = age / 1000;
        d.ttl = ttl >= 0 ? ttl / 1000 : -((-ttl + 999) / 1000);

        if (req->cc.flags & GW_CC_NO_STORE) {
            d.verdict = GW_CACHE_MISS;
            d.fwd = GW_FWD_REQUEST;

        } else {
            d.verdict = judge(req, meta, age, ttl, updating, &d.fwd);
        }
    }

    /* what is served stale while it is validated comes from here, too */
    if ((d.verdict == GW_CACHE_MISS || d.verdict == GW_CACHE_REVALIDATE)
        && (req->cc.flags & GW_CC_ONLY_IF_CACHED))
    {
        d.verdict = GW_CACHE_ONLY_IF_CACHED;
    }

    return d;
}


bool
gw_cache_stale_on_error(const gw_cache_request_t *req,
    const gw_cache_meta_t *meta, int64_t now, bool configured)
{
    int64_t ttl, window;

    if (meta->flags & (GW_CACHE_NO_STALE|GW_CACHE_NO_CACHE)) {
        return false;
    }

    ttl = gw_cache_ttl_ms(meta, now);

    /* fresh, but the request wanted it validated: an answer that is as good
       as any from here */
    if (ttl > 0 || configured) {
        return true;
    }

    window = meta->stale_if_error;

    if (req->cc.stale_if_error != GW_CC_NONE
        && req->cc.stale_if_error > window)
    {
        window = req->cc.stale_if_error;
    }

    return -ttl < window * 1000;
}
