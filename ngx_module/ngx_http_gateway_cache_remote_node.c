/*
 * gateway_cache's second level: what a node's leader does for all its workers.
 * It purges level 1 of what other nodes have purged, and finds out what was
 * purged while nobody here was listening.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_purge.h"
#include "ngx_http_gateway_text.h"


static void ngx_http_gateway_cache_remote_up(ngx_http_gateway_redis_t *redis,
    void *data);
static void ngx_http_gateway_cache_remote_subscribed(
    ngx_http_gateway_redis_t *redis, void *data);
static void ngx_http_gateway_cache_remote_message(
    ngx_http_gateway_redis_t *redis, ngx_str_t *topic, ngx_uint_t bucket,
    ngx_str_t *payload, void *data);
static void ngx_http_gateway_cache_remote_tick(
    ngx_http_gateway_redis_t *redis, void *data);


ngx_http_gateway_redis_user_t  ngx_http_gateway_cache_remote_user = {
    ngx_http_gateway_cache_remote_up,
    NULL,
    ngx_http_gateway_cache_remote_subscribed,
    ngx_http_gateway_cache_remote_message,
    ngx_http_gateway_cache_remote_tick,
    ngx_string("purge"),
    0
};


static void
ngx_http_gateway_cache_remote_up(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_cache_remote_catch_up(redis);

    /* it may have been subscribed before commands were taken */

    if (ngx_http_gateway_redis_leads(redis)) {
        ngx_http_gateway_cache_remote_subscribed(redis, data);
    }
}


/* Everything, here and, unless `local`, everywhere. */

static void
ngx_http_gateway_cache_remote_drop(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t local)
{
    ngx_http_gateway_purge_t  *job;

    job = ngx_http_gateway_purge_create(zone);

    if (job == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_cache \"%V\": no memory to purge it",
                      &zone->name);
        ngx_http_gateway_purge_owe(zone, 0, 1);
        return;
    }

    job->pattern = gw_str("*");
    job->local = local;

    ngx_http_gateway_purge_run(job);
}


void
ngx_http_gateway_cache_remote_died(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t slot)
{
    uint64_t  bit;

    if (slot >= GW_STORE_SLOTS) {
        return;
    }

    bit = (uint64_t) 1 << (slot % 64);

    (void) ngx_http_gateway_cache_lock(zone);

    if (zone->sh->owes[slot / 64] & bit) {
        zone->sh->owes[slot / 64] &= ~bit;
        zone->sh->lost = 1;
    }

    ngx_http_gateway_cache_unlock(zone);
}


static void
ngx_http_gateway_cache_remote_tick(ngx_http_gateway_redis_t *redis,
    void *data)
{
    ngx_http_gateway_cache_zone_t *zone = data;

    /* where this one would be lost too it waits */

    if (!zone->sh->lost || !ngx_http_gateway_redis_up(redis)
        || ngx_http_gateway_purge_full())
    {
        return;
    }

    zone->sh->lost = 0;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "gateway_cache \"%V\": a purge that was to be handed to "
                  "Redis is lost, everything is purged", &zone->name);

    ngx_http_gateway_cache_remote_drop(zone, 0);
}


void
ngx_http_gateway_cache_purge_others(ngx_http_gateway_cache_zone_t *zone,
    ngx_str_t *key)
{
    gw_str_t                  *s;
    ngx_http_gateway_purge_t  *job;

    job = ngx_http_gateway_purge_create(zone);
    s = job ? ngx_array_push(&job->keys) : NULL;

    if (s == NULL) {
        ngx_http_gateway_purge_owe(zone, 0, 1);

        if (job) {
            ngx_destroy_pool(job->pool);
        }

        return;
    }

    *s = ngx_http_gateway_span(key);

    /* what it needs is copied */

    job->local = 1;
    (void) ngx_http_gateway_purge_remote(job);
    ngx_http_gateway_purge_remote_cancel(job);

    ngx_destroy_pool(job->pool);
}


/* --- what other nodes have purged ----------------------------------------- */

/* The items of a purge into a job: NGX_OK; NGX_DECLINED: of another zone, or
 * ours; NGX_ERROR. The spans are the text's. */

static ngx_int_t
ngx_http_gateway_cache_remote_items(ngx_http_gateway_purge_t *job,
    gw_str_t text)
{
    int        rc;
    char       what;
    gw_str_t   s, *to;

    while ((rc = gw_wire_item(&text, &what, &s)) == GW_OK) {

        switch (what) {

        case 'z':
            if (s.len != job->zone->name.len
                || ngx_memcmp(s.data, job->zone->name.data, s.len) != 0)
            {
                return NGX_DECLINED;
            }

            break;

        case 'n':
            if (s.len == NGX_HTTP_GATEWAY_NODE_LEN
                && ngx_memcmp(s.data,
                              ngx_http_gateway_redis_node(job->zone->redis),
                              s.len)
                   == 0)
            {
                return NGX_DECLINED;
            }

            break;

        case 'c':
            job->purge.cascade = true;
            break;

        case 'k':
        case 't':
            to = ngx_array_push(what == 'k' ? &job->keys : &job->tags);
            if (to == NULL) {
                return NGX_ERROR;
            }

            *to = s;
            break;

        case 'p':
            job->pattern = s;
            break;

        case 'm':
            job->payload.data = (u_char *) s.data;
            job->payload.len = s.len;
            break;

        default:
            break;
        }
    }

    return rc == GW_DECLINED ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_gateway_cache_remote_apply(ngx_http_gateway_cache_zone_t *zone,
    u_char *data, size_t len)
{
    u_char                    *p;
    gw_str_t                   text;
    ngx_int_t                  rc;
    ngx_http_gateway_purge_t  *job;

    if (len == 0) {
        return;
    }

    job = ngx_http_gateway_purge_create(zone);
    p = job ? ngx_pnalloc(job->pool, len) : NULL;

    if (p == NULL) {
        ngx_http_gateway_purge_owe(zone, 0, 1);

        if (job) {
            ngx_destroy_pool(job->pool);
        }

        return;
    }

    ngx_memcpy(p, data, len);
    text.data = p;
    text.len = len;

    rc = ngx_http_gateway_cache_remote_items(job, text);

    if (rc != NGX_OK) {

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "gateway_cache \"%V\": a purge of another node "
                          "cannot be read", &zone->name);
        }

        ngx_destroy_pool(job->pool);
        return;
    }

    job->local = 1;

    ngx_http_gateway_purge_run(job);
}


static void
ngx_http_gateway_cache_remote_seen(ngx_http_gateway_cache_zone_t *zone,
    u_char *id, size_t len)
{
    if (len >= NGX_HTTP_GATEWAY_CACHE_ENTRY) {
        return;
    }

    (void) ngx_http_gateway_cache_lock(zone);
    ngx_memcpy(zone->sh->entry, id, len);
    zone->sh->entry[len] = '\0';
    ngx_http_gateway_cache_unlock(zone);
}


static void
ngx_http_gateway_cache_remote_message(ngx_http_gateway_redis_t *redis,
    ngx_str_t *topic, ngx_uint_t bucket, ngx_str_t *payload, void *data)
{
    ngx_http_gateway_cache_zone_t *zone = data;

    u_char     *p, *last;
    char        what;
    gw_str_t    text, name;

    last = payload->data + payload->len;
    p = ngx_strlchr(payload->data, last, ' ');

    if (p == NULL) {
        return;
    }

    text.data = p + 1;
    text.len = last - text.data;
    p++;

    /* ids are of the zone's own stream */

    if (gw_wire_item(&text, &what, &name) != GW_OK || what != 'z'
        || name.len != zone->name.len
        || ngx_memcmp(name.data, zone->name.data, name.len) != 0)
    {
        return;
    }

    /* who takes over from here asks for what was missed before it too */

    if (!zone->behind) {
        ngx_http_gateway_cache_remote_seen(zone, payload->data,
                                           p - 1 - payload->data);
    }

    ngx_http_gateway_cache_remote_apply(zone, p, last - p);
}


/* --- what was missed ------------------------------------------------------ */

static void ngx_http_gateway_cache_remote_missed(void *data,
    redisReply *reply);


static ngx_int_t
ngx_http_gateway_cache_remote_ask(ngx_http_gateway_cache_zone_t *zone)
{
    u_char       word[NGX_HTTP_GATEWAY_CACHE_EPOCH / 2];
    u_char       text[NGX_HTTP_GATEWAY_CACHE_EPOCH];
    gw_str_t     none;
    ngx_int_t    rc;
    ngx_str_t    argv[5];
    ngx_uint_t   bucket;
    ngx_pool_t  *pool;

    static u_char  zero[] = "0-0";

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    bucket = ngx_http_gateway_redis_bucket(&zone->name);
    ngx_memzero(&none, sizeof(none));
    rc = NGX_ERROR;

    if (RAND_bytes(word, sizeof(word)) == 1
        && ngx_http_gateway_cache_remote_key(zone, pool, bucket, "p:", none,
                                             &argv[0])
           == NGX_OK
        && ngx_http_gateway_cache_remote_key(zone, pool, bucket, "e:", none,
                                             &argv[1])
           == NGX_OK)
    {
        argv[2].data = zone->sh->entry[0] ? zone->sh->entry : zero;
        argv[2].len = ngx_strlen(argv[2].data);
        argv[3].data = zone->sh->epoch;
        argv[3].len = zone->sh->epoch[0] ? sizeof(zone->sh->epoch) : 0;
        argv[4].data = text;
        argv[4].len = ngx_hex_dump(text, word, sizeof(word)) - text;

        if (ngx_http_gateway_redis_eval(zone->redis,
                                        &ngx_http_gateway_cache_script_missed,
                                        argv, 5, 2,
                                        ngx_http_gateway_cache_remote_missed,
                                        zone))
        {
            zone->asking = 1;
            rc = NGX_OK;
        }
    }

    ngx_destroy_pool(pool);

    return rc;
}


static void
ngx_http_gateway_cache_remote_subscribed(ngx_http_gateway_redis_t *redis,
    void *data)
{
    ngx_http_gateway_cache_zone_t *zone = data;

    zone->behind = 1;

    /* what is known when the answer comes is what the next one goes on from */

    if (zone->asking) {
        zone->again = 1;
        return;
    }

    /* while no commands are taken it is asked later: level 1 stays */

    if (ngx_http_gateway_redis_up(redis)
        && ngx_http_gateway_cache_remote_ask(zone) != NGX_OK)
    {
        ngx_http_gateway_cache_remote_drop(zone, 1);
    }
}


/* Whether nothing can have been missed, because nothing is here. */

static ngx_uint_t
ngx_http_gateway_cache_remote_empty(ngx_http_gateway_cache_zone_t *zone)
{
    gw_store_stat_t  stat;

    gw_store_stat(ngx_http_gateway_cache_lock(zone), &stat);
    ngx_http_gateway_cache_unlock(zone);

    return stat.objects == 0 && stat.fills == 0;
}


static void
ngx_http_gateway_cache_remote_unknown(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t log)
{
    if (ngx_http_gateway_cache_remote_empty(zone)) {
        return;
    }

    if (log) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_cache \"%V\": what other nodes have purged "
                      "meanwhile is not known, level 1 is purged",
                      &zone->name);
    }

    ngx_http_gateway_cache_remote_drop(zone, 1);
}


static void
ngx_http_gateway_cache_remote_missed(void *data, redisReply *reply)
{
    ngx_http_gateway_cache_zone_t *zone = data;

    size_t        i;
    ngx_uint_t    again;
    redisReply  **e, *list;

    again = zone->again;
    zone->asking = 0;
    zone->again = 0;

    if (reply == NULL) {

        /* asked again when Redis is back; but if it is not lost, what was
         * missed stays missed */

        if (ngx_http_gateway_redis_up(zone->redis)) {
            ngx_http_gateway_cache_remote_unknown(zone, 0);
        }

        return;
    }

    e = reply->element;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4
        || e[0]->type != REDIS_REPLY_STRING
        || e[1]->type != REDIS_REPLY_INTEGER
        || e[2]->type != REDIS_REPLY_STRING
        || e[3]->type != REDIS_REPLY_ARRAY)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "gateway_cache \"%V\": unexpected answer of Redis%s%s",
                      &zone->name,
                      reply->type == REDIS_REPLY_ERROR ? ": " : "",
                      reply->type == REDIS_REPLY_ERROR ? reply->str : "");
        ngx_http_gateway_cache_remote_unknown(zone, 0);
        return;
    }

    list = e[3];

    for (i = 0; i < list->elements; i++) {
        if (list->element[i]->type == REDIS_REPLY_STRING) {
            ngx_http_gateway_cache_remote_apply(zone,
                                        (u_char *) list->element[i]->str,
                                        list->element[i]->len);
        }
    }

    if (e[1]->integer == 0) {
        ngx_http_gateway_cache_remote_unknown(zone, 1);
    }

    (void) ngx_http_gateway_cache_lock(zone);
    ngx_memzero(zone->sh->epoch, sizeof(zone->sh->epoch));

    if (e[0]->len == sizeof(zone->sh->epoch)) {
        ngx_memcpy(zone->sh->epoch, e[0]->str, e[0]->len);
    }

    ngx_http_gateway_cache_unlock(zone);

    ngx_http_gateway_cache_remote_seen(zone, (u_char *) e[2]->str, e[2]->len);

    if (list->elements < 100 && !again) {
        zone->behind = 0;

    } else if (ngx_http_gateway_cache_remote_ask(zone) != NGX_OK) {
        ngx_http_gateway_cache_remote_unknown(zone, 1);
    }
}
