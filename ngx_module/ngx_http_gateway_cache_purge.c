/*
 * Purges: of the purge interface, and of what upstreams ask for.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_channel.h"
#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_purge.h"
#include "ngx_http_gateway_text.h"
#include "../src/cache_tag.h"
#include "../src/json_scan.h"


#define NGX_HTTP_GATEWAY_PURGE_SLICE  64  /* calls of the store */


static void ngx_http_gateway_purge_slice(ngx_event_t *ev);


ngx_int_t
ngx_http_gateway_purge_init(ngx_http_gateway_purge_t *job,
    ngx_http_gateway_cache_zone_t *zone, ngx_pool_t *pool, ngx_log_t *log)
{
    ngx_memzero(job, sizeof(*job));

    job->zone = zone;
    job->pool = pool;
    job->event.handler = ngx_http_gateway_purge_slice;
    job->event.data = job;
    job->event.log = log;

    if (ngx_array_init(&job->keys, pool, 4, sizeof(gw_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_array_init(&job->tags, pool, 4, sizeof(gw_str_t));
}


void
ngx_http_gateway_purge_run(ngx_http_gateway_purge_t *job)
{
    ngx_http_gateway_purge_slice(&job->event);
}


void
ngx_http_gateway_purge_cancel(ngx_http_gateway_purge_t *job)
{
    if (job->event.timer_set) {
        ngx_del_timer(&job->event);
    }

    ngx_http_gateway_purge_remote_cancel(job);
}


void
ngx_http_gateway_purge_rewind(ngx_http_gateway_purge_t *job)
{
    job->key = 0;
    job->tag = 0;
    job->matched = 0;
    job->purge.begun = false;
    job->purge.bucket = 0;
}


static bool
ngx_http_gateway_purge_match(void *data, gw_str_t key)
{
    return gw_cache_glob(*(gw_str_t *) data, key);
}


/* One call of the store: GW_AGAIN, there is more to do. */

static int
ngx_http_gateway_purge_step(ngx_http_gateway_purge_t *job)
{
    int             rc;
    gw_str_t       *s;
    gw_store_t     *store;
    unsigned char   digest[GW_STORE_DIGEST];

    static unsigned char  key[GW_STORE_MAX_KEY];

    if (job->key < job->keys.nelts) {
        s = (gw_str_t *) job->keys.elts + job->key;

        ngx_http_gateway_cache_digest(job->zone, s->data, s->len, digest);

        store = ngx_http_gateway_cache_lock(job->zone);
        rc = gw_store_purge_key(store, &job->purge, digest);
        ngx_http_gateway_cache_unlock(job->zone);

        job->key += (rc != GW_AGAIN);

        return GW_AGAIN;
    }

    if (job->tag < job->tags.nelts) {
        s = (gw_str_t *) job->tags.elts + job->tag++;

        store = ngx_http_gateway_cache_lock(job->zone);
        gw_store_purge_tag(store, &job->purge,
                           ngx_http_gateway_cache_tag(job->zone, *s));
        ngx_http_gateway_cache_unlock(job->zone);

        return GW_AGAIN;
    }

    store = ngx_http_gateway_cache_lock(job->zone);

    if (job->pattern.len && !job->matched) {
        rc = gw_store_purge_match(store, &job->purge,
                                  ngx_http_gateway_purge_match,
                                  &job->pattern, key);
        if (rc != GW_AGAIN) {
            job->matched = 1;
            rc = GW_AGAIN;
        }

    } else {
        rc = gw_store_purge_end(store, &job->purge);
    }

    ngx_http_gateway_cache_unlock(job->zone);

    return rc;
}


void
ngx_http_gateway_purge_relay(ngx_http_gateway_purge_t *job)
{
    u_char                             *p;
    ngx_str_t                           body;
    ngx_uint_t                          i;
    ngx_array_t                        *a;
    gw_message_t                        m;
    ngx_http_gateway_channel_info_t     info;
    ngx_http_gateway_channel_zone_t   **zones;

    static ngx_str_t  name = ngx_string("cache:invalidate");

    a = ngx_http_gateway_channel_zones();
    zones = a->elts;

    if (a->nelts == 0 || job->payload.len == 0) {
        return;
    }

    p = ngx_pnalloc(job->pool, job->payload.len
                    + sizeof("{\"type\":\"cache:invalidate\",\"payload\":}"));
    if (p == NULL) {
        return;
    }

    body.data = p;
    body.len = ngx_sprintf(p, "{\"type\":\"cache:invalidate\",\"payload\":"
                           "%V}", &job->payload)
               - p;

    for (i = 0; i < a->nelts; i++) {

        if (ngx_http_gateway_message_init(&m, job->pool, &body,
                                          NGX_HTTP_GATEWAY_BODY_JSON)
            != NGX_OK
            || body.len > zones[i]->max_message
            || ngx_http_gateway_channel_publish(zones[i], &name, &m, -1,
                                                &info)
               != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ERR, job->event.log, 0,
                          "gateway_cache: could not tell the subscribers "
                          "of \"%V\" in channel zone \"%V\"",
                          &name, &zones[i]->name);
        }
    }
}


static void
ngx_http_gateway_purge_slice(ngx_event_t *ev)
{
    ngx_http_gateway_purge_t *job = ev->data;

    ngx_uint_t  i;

    for (i = 0; ngx_http_gateway_purge_step(job) == GW_AGAIN; i++) {

        if (i == NGX_HTTP_GATEWAY_PURGE_SLICE) {

            /* in the next round; a worker that is to end waits for timers, but
             * not for posted events */

            job->later = 1;
            ngx_add_timer(ev, 0);
            return;
        }
    }

    if (job->zone->redis && !job->local) {
        job->local = 1;

        if (ngx_http_gateway_purge_remote(job) == NGX_AGAIN) {
            job->later = 1;
            return;
        }
    }

    ngx_http_gateway_purge_relay(job);

    job->done(job);
}


/* An object that both levels had is one. */

void
ngx_http_gateway_purge_remote_done(ngx_http_gateway_purge_t *job,
    uint64_t remote, uint64_t local)
{
    job->op = NULL;
    job->purge.purged += local;
    job->purge.purged = ngx_max(job->purge.purged, remote);

    ngx_http_gateway_purge_relay(job);

    job->done(job);
}


ngx_int_t
ngx_http_gateway_purge_names(ngx_pool_t *pool, ngx_array_t *to,
    ngx_array_t *from)
{
    u_char      *p;
    gw_str_t    *s, *copy;
    ngx_uint_t   i;

    s = from->elts;

    for (i = 0; i < from->nelts; i++) {
        copy = ngx_array_push(to);
        p = ngx_pnalloc(pool, s[i].len + 1);

        if (copy == NULL || p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, s[i].data, s[i].len);
        copy->data = p;
        copy->len = s[i].len;
    }

    return NGX_OK;
}


static u_char *
ngx_http_gateway_purge_quote(u_char *p, char *name, ngx_array_t *a)
{
    gw_str_t    *s;
    ngx_uint_t   i;

    p = ngx_sprintf(p, "\"%s\":[", name);
    s = a->elts;

    for (i = 0; i < a->nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = gw_json_quote(p, s[i]);
    }

    *p++ = ']';

    return p;
}


/* {"keys":[...],"tags":[...]}, of both only what there is */

static ngx_int_t
ngx_http_gateway_purge_payload(ngx_http_gateway_purge_t *job)
{
    u_char       *p;
    size_t        len;
    gw_str_t     *s;
    ngx_uint_t    i, n;
    ngx_array_t  *a[2];

    a[0] = &job->keys;
    a[1] = &job->tags;
    len = sizeof("{\"keys\":[],\"tags\":[]}");

    for (n = 0; n < 2; n++) {
        s = a[n]->elts;

        for (i = 0; i < a[n]->nelts; i++) {
            len += gw_json_quoted_size(s[i]) + 1;
        }
    }

    p = ngx_pnalloc(job->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    job->payload.data = p;
    *p++ = '{';

    if (job->keys.nelts) {
        p = ngx_http_gateway_purge_quote(p, "keys", &job->keys);
    }

    if (job->keys.nelts && job->tags.nelts) {
        *p++ = ',';
    }

    if (job->tags.nelts) {
        p = ngx_http_gateway_purge_quote(p, "tags", &job->tags);
    }

    *p++ = '}';
    job->payload.len = p - job->payload.data;

    return NGX_OK;
}


static void
ngx_http_gateway_purge_forget(ngx_http_gateway_purge_t *job)
{
    ngx_destroy_pool(job->pool);
}


ngx_http_gateway_purge_t *
ngx_http_gateway_purge_create(ngx_http_gateway_cache_zone_t *zone)
{
    ngx_pool_t                *pool;
    ngx_http_gateway_purge_t  *job;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_palloc(pool, sizeof(*job));

    if (job == NULL
        || ngx_http_gateway_purge_init(job, zone, pool, ngx_cycle->log)
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->done = ngx_http_gateway_purge_forget;

    return job;
}


static ngx_int_t
ngx_http_gateway_purge_detached(ngx_http_gateway_cache_zone_t *zone,
    ngx_array_t *keys, ngx_array_t *tags, ngx_uint_t tell)
{
    ngx_http_gateway_purge_t  *job;

    job = ngx_http_gateway_purge_create(zone);
    if (job == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_gateway_purge_names(job->pool, &job->keys, keys) != NGX_OK
        || ngx_http_gateway_purge_names(job->pool, &job->tags, tags) != NGX_OK
        || (tell && ngx_http_gateway_purge_payload(job) != NGX_OK))
    {
        ngx_destroy_pool(job->pool);
        return NGX_ERROR;
    }

    ngx_http_gateway_purge_run(job);

    return NGX_OK;
}


ngx_uint_t
ngx_http_gateway_purge_teller(ngx_array_t *a)
{
    ngx_uint_t                       i;
    ngx_http_gateway_cache_zone_t  **zones;

    zones = a->elts;

    for (i = 0; i < a->nelts; i++) {
        if (zones[i]->redis) {
            return i;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_gateway_cache_purge(ngx_http_request_t *r, ngx_array_t *keys,
    ngx_array_t *tags)
{
    ngx_uint_t                           i, teller;
    ngx_http_gateway_cache_zone_t      **zones;
    ngx_http_gateway_cache_loc_conf_t   *clcf;
    ngx_http_gateway_cache_main_conf_t  *cmcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_cache_module);

    if (clcf->zone) {
        return ngx_http_gateway_purge_detached(clcf->zone, keys, tags, 1);
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_cache_module);
    zones = cmcf->zones.elts;
    teller = ngx_http_gateway_purge_teller(&cmcf->zones);

    for (i = 0; i < cmcf->zones.nelts; i++) {
        if (ngx_http_gateway_purge_detached(zones[i], keys, tags, i == teller)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
