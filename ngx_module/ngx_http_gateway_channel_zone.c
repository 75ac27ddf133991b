/*
 * The shared memory of gateway_channel_zone: a directory of channels, what
 * each worker still needs of them, and publishing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>

#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_mirror.h"
#include "../src/json_scan.h"
#include "../src/pattern.h"


/* How many channels one full-zone operation looks at, at most: it holds the
 * mutex meanwhile. */
#define NGX_HTTP_GATEWAY_EVICT_STEPS  256


static void *
ngx_http_gateway_slab_alloc(void *ctx, size_t size)
{
    return ngx_slab_alloc_locked(ctx, size);
}


static void
ngx_http_gateway_slab_free(void *ctx, void *p)
{
    ngx_slab_free_locked(ctx, p);
}


gw_alloc_t
ngx_http_gateway_channel_alloc(ngx_http_gateway_channel_zone_t *zone)
{
    gw_alloc_t  a;

    a.alloc = ngx_http_gateway_slab_alloc;
    a.free = ngx_http_gateway_slab_free;
    a.ctx = zone->shpool;

    return a;
}


uint64_t
ngx_http_gateway_monotonic_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static uint64_t
ngx_http_gateway_now_ms(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


ngx_http_gateway_channel_t *
ngx_http_gateway_channel_lookup(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name)
{
    uint32_t                        hash;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;
    hash = ngx_crc32_short(name->data, name->len);

    /* the node is the channel's first member */
    return (ngx_http_gateway_channel_t *)
               ngx_str_rbtree_lookup(&sh->rbtree, name, hash);
}


ngx_http_gateway_channel_t *
ngx_http_gateway_channel_obtain(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name)
{
    size_t                          size;
    u_char                          random[GW_EPOCH_LEN];
    ngx_http_gateway_channel_t     *ch;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch) {
        ngx_queue_remove(&ch->lru);
        ngx_queue_insert_head(&sh->lru, &ch->lru);
        return ch;
    }

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return NULL;
    }

    size = offsetof(ngx_http_gateway_channel_t, name) + name->len;

    do {
        ch = ngx_slab_alloc_locked(zone->shpool, size);
    } while (ch == NULL && ngx_http_gateway_channel_evict(zone, NULL));

    if (ch == NULL) {
        return NULL;
    }

    ngx_memcpy(ch->name, name->data, name->len);
    ch->sn.str.data = ch->name;
    ch->sn.str.len = name->len;
    ch->sn.node.key = ngx_crc32_short(name->data, name->len);

    gw_channel_log_init(&ch->log, random);
    ngx_queue_init(&ch->readers);
    ngx_memzero(&ch->mirror, sizeof(ch->mirror));

    if (sh->mirror) {
        ch->mirror.stamp = ++sh->mirror->stamp;
        ngx_queue_insert_tail(&sh->mirror->channels, &ch->mirror.in_walk);
    }

    ngx_rbtree_insert(&sh->rbtree, &ch->sn.node);
    ngx_queue_insert_head(&sh->lru, &ch->lru);
    sh->channels++;

    return ch;
}


void
ngx_http_gateway_channel_remove(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    gw_alloc_t                      a;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;
    a = ngx_http_gateway_channel_alloc(zone);

    ngx_rbtree_delete(&sh->rbtree, &ch->sn.node);
    ngx_queue_remove(&ch->lru);
    sh->channels--;

    if (sh->mirror) {
        ngx_queue_remove(&ch->mirror.in_walk);

        if (ch->mirror.counted) {
            ngx_queue_remove(&ch->mirror.in_counts);
        }
    }

    gw_channel_log_free(&ch->log, &a);
    ngx_slab_free_locked(zone->shpool, ch);
}


static gw_lows_t
ngx_http_gateway_channel_lows(ngx_http_gateway_channel_t *ch)
{
    gw_lows_t                   lows;
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_http_gateway_reader_t  *reader;

    lows = GW_LOWS_NONE;

    for (q = ngx_queue_head(&ch->readers);
         q != ngx_queue_sentinel(&ch->readers);
         q = ngx_queue_next(q))
    {
        reader = ngx_queue_data(q, ngx_http_gateway_reader_t, in_channel);

        lows.log = ngx_min(lows.log, reader->lows.log);

        for (i = 0; i < GW_FORMS; i++) {
            lows.form[i] = ngx_min(lows.form[i], reader->lows.form[i]);
        }
    }

    return lows;
}


static void
ngx_http_gateway_channel_trim_to(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, uint64_t history)
{
    uint64_t    now;
    gw_lows_t   lows;
    gw_alloc_t  a;

    a = ngx_http_gateway_channel_alloc(zone);
    lows = ngx_http_gateway_channel_lows(ch);
    now = ngx_http_gateway_now_ms();

    gw_channel_log_trim(&ch->log, history,
                        now > zone->history_ttl ? now - zone->history_ttl : 0,
                        &lows, &a);
}


void
ngx_http_gateway_channel_trim(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    ngx_http_gateway_channel_trim_to(zone, ch, zone->history);
}


/*
 * The least recently used channel goes first: whole where nobody reads it,
 * else its history. A channel with readers counts as used.
 */

ngx_uint_t
ngx_http_gateway_channel_evict(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *keep)
{
    size_t                          before;
    ngx_uint_t                      n;
    ngx_queue_t                    *q;
    ngx_http_gateway_channel_t     *ch;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;

    for (n = 0; n < NGX_HTTP_GATEWAY_EVICT_STEPS && n < sh->channels; n++) {

        q = ngx_queue_last(&sh->lru);
        ch = ngx_queue_data(q, ngx_http_gateway_channel_t, lru);

        if (ch != keep && ngx_queue_empty(&ch->readers)
            && !(ch->mirror.counted && zone->redis
                 && ngx_http_gateway_redis_generation(zone->redis)))
        {
            ngx_http_gateway_channel_remove(zone, ch);
            return 1;
        }

        before = gw_channel_log_memory(&ch->log);
        ngx_http_gateway_channel_trim_to(zone, ch, 0);

        ngx_queue_remove(&ch->lru);
        ngx_queue_insert_head(&sh->lru, &ch->lru);

        if (gw_channel_log_memory(&ch->log) < before) {
            return 1;
        }
    }

    return 0;
}


ngx_http_gateway_reader_t *
ngx_http_gateway_reader_obtain(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    ngx_queue_t                    *q;
    ngx_http_gateway_reader_t      *reader;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;

    if (ngx_http_gateway_slot >= NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return NULL;
    }

    for (q = ngx_queue_head(&ch->readers);
         q != ngx_queue_sentinel(&ch->readers);
         q = ngx_queue_next(q))
    {
        reader = ngx_queue_data(q, ngx_http_gateway_reader_t, in_channel);

        if (reader->slot == ngx_http_gateway_slot) {
            return reader;
        }
    }

    do {
        reader = ngx_slab_calloc_locked(zone->shpool, sizeof(*reader));
    } while (reader == NULL && ngx_http_gateway_channel_evict(zone, ch));

    if (reader == NULL) {
        return NULL;
    }

    reader->channel = ch;
    reader->slot = ngx_http_gateway_slot;
    reader->lows = GW_LOWS_NONE;

    ngx_queue_insert_tail(&ch->readers, &reader->in_channel);
    ngx_queue_insert_tail(&sh->slots[reader->slot].readers, &reader->in_slot);

    return reader;
}


ngx_int_t
ngx_http_gateway_reader_open(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_reader_t *reader, gw_form_e form)
{
    gw_alloc_t  a;

    if (reader->opened[form]) {
        return NGX_OK;
    }

    a = ngx_http_gateway_channel_alloc(zone);

    while (gw_channel_log_open(&reader->channel->log, form, &a) != GW_OK) {

        if (!ngx_http_gateway_channel_evict(zone, reader->channel)) {
            return NGX_ERROR;
        }
    }

    reader->opened[form] = 1;
    reader->lows.form[form] = reader->channel->log.form[form].head;
    reader->lows.log = ngx_min(reader->lows.log,
                               reader->channel->log.log.head);

    return NGX_OK;
}


void
ngx_http_gateway_reader_drop(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_reader_t *reader)
{
    gw_alloc_t                   a;
    ngx_uint_t                   i;
    ngx_http_gateway_channel_t  *ch;

    ch = reader->channel;
    a = ngx_http_gateway_channel_alloc(zone);

    ngx_queue_remove(&reader->in_channel);
    ngx_queue_remove(&reader->in_slot);

    if (reader->dirty) {
        ngx_queue_remove(&reader->in_dirty);
    }

    for (i = 0; i < GW_FORMS; i++) {
        if (reader->opened[i]) {
            gw_channel_log_close(&ch->log, i, &a);
        }
    }

    ngx_slab_free_locked(zone->shpool, reader);

    ngx_http_gateway_channel_count(zone, ch);
    ngx_http_gateway_channel_trim(zone, ch);
}


void
ngx_http_gateway_channel_count(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;

    if (zone->redis && !ch->mirror.counted) {
        ch->mirror.counted = 1;
        ngx_queue_insert_tail(&sh->mirror->counts, &ch->mirror.in_counts);
    }
}


ngx_uint_t
ngx_http_gateway_channel_subscribers(ngx_http_gateway_channel_t *ch)
{
    ngx_uint_t                  n;
    ngx_queue_t                *q;
    ngx_http_gateway_reader_t  *reader;

    n = 0;

    for (q = ngx_queue_head(&ch->readers);
         q != ngx_queue_sentinel(&ch->readers);
         q = ngx_queue_next(q))
    {
        reader = ngx_queue_data(q, ngx_http_gateway_reader_t, in_channel);
        n += reader->subscribers;
    }

    return n;
}


/*
 * A worker that is marked already is on its way; only this one must see to
 * it itself that not too much gathers.
 */

ngx_uint_t
ngx_http_gateway_channel_notify(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, size_t size, u_char *wake,
    ngx_uint_t *at_once)
{
    uint64_t                        now;
    ngx_uint_t                      n;
    ngx_queue_t                    *q;
    ngx_http_gateway_reader_t      *reader;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;
    now = 0;
    n = 0;

    for (q = ngx_queue_head(&ch->readers);
         q != ngx_queue_sentinel(&ch->readers);
         q = ngx_queue_next(q))
    {
        reader = ngx_queue_data(q, ngx_http_gateway_reader_t, in_channel);

        n += reader->subscribers;
        reader->news += size;

        if (reader->slot == ngx_http_gateway_slot
            && reader->news > NGX_HTTP_GATEWAY_BURST)
        {
            *at_once = 1;
        }

        if (reader->dirty) {
            continue;
        }

        if (now == 0) {
            now = ngx_http_gateway_monotonic_us();
        }

        reader->dirty = 1;
        reader->news_us = now;
        ngx_queue_insert_tail(&sh->slots[reader->slot].dirty,
                              &reader->in_dirty);
        wake[reader->slot] = 1;
    }

    return n;
}


static ngx_int_t
ngx_http_gateway_channel_append(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info, u_char *wake, ngx_uint_t *at_once)
{
    gw_alloc_t                   a;
    ngx_http_gateway_channel_t  *ch;

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (expected >= 0 && (uint64_t) expected != (ch ? ch->log.seq : 0)) {
        ngx_memzero(info, sizeof(*info));

        if (ch) {
            ngx_http_gateway_channel_describe(zone, ch, info);
        }

        return NGX_DECLINED;
    }

    ch = ngx_http_gateway_channel_obtain(zone, name);

    if (ch == NULL) {
        return NGX_ERROR;
    }

    if (zone->redis) {
        ngx_http_gateway_mirror_local(zone, ch);
    }

    a = ngx_http_gateway_channel_alloc(zone);

    while (gw_channel_log_append(&ch->log, m, &a) != GW_OK) {

        if (!ngx_http_gateway_channel_evict(zone, ch)) {
            return NGX_ERROR;
        }
    }

    ngx_http_gateway_channel_trim(zone, ch);
    ngx_http_gateway_channel_describe(zone, ch, info);

    info->subscribers = ngx_http_gateway_channel_notify(zone, ch,
                                                        m->payload.len, wake,
                                                        at_once);

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_channel_publish(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info)
{
    u_char      resource[GW_CHANNEL_NAME_MAX * 6 + 2];
    u_char      wake[NGX_HTTP_GATEWAY_MAX_WORKERS];
    gw_str_t    plain;
    ngx_int_t   rc;
    ngx_uint_t  at_once;

    plain.data = name->data;
    plain.len = name->len;

    m->resource.data = resource;
    m->resource.len = gw_json_quote(resource, plain) - resource;

    if (m->time == 0) {
        m->time = ngx_http_gateway_now_ms();
    }

    ngx_memzero(wake, sizeof(wake));
    at_once = 0;

    ngx_shmtx_lock(&zone->shpool->mutex);

    rc = ngx_http_gateway_channel_append(zone, name, m, expected, info, wake,
                                         &at_once);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (rc == NGX_ERROR) {
        ngx_http_gateway_count(zone->dropped_full, 1);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_channel_zone \"%V\" is full: a message for "
                      "\"%V\" was not published", &zone->name, name);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_gateway_count(zone->published, 1);
    ngx_http_gateway_channel_wake(wake, at_once);

    return NGX_OK;
}


void
ngx_http_gateway_channel_wake(u_char *wake, ngx_uint_t at_once)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {

        if (wake[i] && i != ngx_http_gateway_slot) {
            ngx_http_gateway_worker_wake(i);
        }
    }

    if (at_once
        || (ngx_http_gateway_slot < NGX_HTTP_GATEWAY_MAX_WORKERS
            && wake[ngx_http_gateway_slot]))
    {
        ngx_http_gateway_fanout_post(at_once);
    }
}


void
ngx_http_gateway_channel_describe(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, ngx_http_gateway_channel_info_t *info)
{
    info->seq = ch->log.seq;
    info->first = ch->log.first;
    info->next_seq = 0;
    info->subscribers = ngx_http_gateway_channel_subscribers(ch);
    ngx_memcpy(info->epoch, ch->log.epoch, GW_EPOCH_LEN);

    if (zone->redis && ngx_http_gateway_redis_generation(zone->redis)) {
        info->subscribers += ch->mirror.others;
    }
}


ngx_int_t
ngx_http_gateway_channel_info(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_channel_t  *ch;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch) {
        ngx_http_gateway_channel_trim(zone, ch);
        ngx_http_gateway_channel_describe(zone, ch, info);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return ch ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_gateway_channel_delete(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name)
{
    u_char                       random[GW_EPOCH_LEN];
    ngx_int_t                    rc;
    ngx_http_gateway_channel_t  *ch;

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch) {
        rc = NGX_OK;

        if (ngx_queue_empty(&ch->readers)) {
            ngx_http_gateway_channel_remove(zone, ch);

        } else {
            gw_channel_log_restart(&ch->log, random);

            if (zone->redis) {
                ngx_http_gateway_mirror_local(zone, ch);
            }

            ngx_http_gateway_channel_trim(zone, ch);
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


/* Copies one envelope; the mutex is held for its length only. */

static ngx_int_t
ngx_http_gateway_channel_read_locked(ngx_http_gateway_channel_t *ch,
    ngx_http_gateway_channel_info_t *info, uint64_t *seq, ngx_pool_t *pool,
    ngx_str_t *envelope)
{
    ngx_int_t    rc;
    gw_cursor_t  c;
    gw_record_t  r;

    if (*seq < ch->log.first) {
        *seq = ch->log.first;
    }

    if (*seq > ch->log.seq) {
        return NGX_DONE;
    }

    if (info->next_seq && info->next_seq <= *seq) {
        c = info->next;
        rc = gw_channel_log_next(&ch->log, *seq - 1, &c);

    } else {
        rc = gw_channel_log_since(&ch->log, *seq - 1, &c);
    }

    if (rc != GW_OK) {
        return NGX_DONE;
    }

    gw_record_peek(&c, &r);

    envelope->len = r.envelope_len;
    envelope->data = ngx_pnalloc(pool, r.envelope_len);
    if (envelope->data == NULL) {
        return NGX_ERROR;
    }

    info->next = gw_record_envelope(&c);
    gw_stream_read(&info->next, envelope->data, r.envelope_len);

    info->next = c;
    gw_stream_skip(&info->next, r.size);
    info->next_seq = r.seq + 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_channel_read(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_channel_info_t *info, uint64_t *seq,
    ngx_pool_t *pool, ngx_str_t *envelope)
{
    ngx_int_t                    rc;
    ngx_http_gateway_channel_t  *ch;

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch && ngx_memcmp(ch->log.epoch, info->epoch, GW_EPOCH_LEN) == 0) {
        rc = ngx_http_gateway_channel_read_locked(ch, info, seq, pool,
                                                  envelope);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}
