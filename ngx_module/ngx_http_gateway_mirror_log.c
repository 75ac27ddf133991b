/*
 * The mirror of a shared channel, in shared memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>

#include "ngx_http_gateway_mirror_int.h"


#define NGX_HTTP_GATEWAY_IDS_PUBLISHED  0
#define NGX_HTTP_GATEWAY_IDS_GIVEN_UP   1


/* Where redis= is new, gone or another, what is there is of this node alone. */

static void
ngx_http_gateway_mirror_part(ngx_http_gateway_channel_sh_t *sh)
{
    ngx_queue_t                 *q;
    ngx_http_gateway_channel_t  *ch;

    ngx_queue_init(&sh->mirror->channels);
    ngx_queue_init(&sh->mirror->counts);

    for (q = ngx_queue_head(&sh->lru);
         q != ngx_queue_sentinel(&sh->lru);
         q = ngx_queue_next(q))
    {
        ch = ngx_queue_data(q, ngx_http_gateway_channel_t, lru);

        ngx_memzero(&ch->mirror, sizeof(ch->mirror));
        ch->mirror.state = NGX_HTTP_GATEWAY_CHANNEL_LOCAL;
        ch->mirror.stamp = ++sh->mirror->stamp;
        ngx_queue_insert_tail(&sh->mirror->channels, &ch->mirror.in_walk);
    }
}


ngx_int_t
ngx_http_gateway_mirror_init_zone(ngx_http_gateway_channel_zone_t *zone)
{
    uint32_t                        redis;
    ngx_str_t                      *name;
    ngx_http_gateway_mirror_sh_t   *msh;
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;
    redis = 0;

    if (zone->redis) {
        name = &ngx_http_gateway_redis_conf(zone->redis)->name;
        redis = ngx_crc32_long(name->data, name->len) | 1;
    }

    if (redis == (sh->mirror ? sh->mirror->redis : 0)) {
        return NGX_OK;
    }

    msh = sh->mirror;

    if (msh == NULL) {
        msh = ngx_slab_calloc(zone->shpool, sizeof(*msh));
        if (msh == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_shmtx_lock(&zone->shpool->mutex);

    sh->mirror = msh;
    msh->redis = redis;
    ngx_http_gateway_mirror_part(sh);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return NGX_OK;
}


ngx_uint_t
ngx_http_gateway_mirror_shared(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name)
{
    ngx_uint_t  i;

    static ngx_str_t  own[] = {
        ngx_string("system:circuit"),
        ngx_string("cache:invalidate")
    };

    if (zone->redis == NULL) {
        return 0;
    }

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (name->len == own[i].len
            && ngx_memcmp(name->data, own[i].data, name->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_gateway_mirror_decode(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, gw_str_t blob, gw_message_t *m)
{
    if (gw_blob_read(blob, m) == GW_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_channel_zone \"%V\": what Redis has for \"%V\" is "
                  "not a message", &mirror->zone->name, name);

    return NGX_ERROR;
}


void
ngx_http_gateway_mirror_touch(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    ch->mirror.stamp = ++ngx_http_gateway_mirror_sh(zone)->stamp;
}


ngx_uint_t
ngx_http_gateway_mirror_same(ngx_http_gateway_channel_t *ch,
    const u_char *epoch)
{
    return ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_SHARED
           && ngx_memcmp(ch->log.epoch, epoch, GW_EPOCH_LEN) == 0;
}


ngx_uint_t
ngx_http_gateway_mirror_in_step(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    uint64_t  generation;

    generation = ngx_http_gateway_redis_generation(zone->redis);

    return generation
           && ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_SHARED
           && ch->mirror.generation == generation
           && !ch->mirror.behind;
}


void
ngx_http_gateway_mirror_settled(ngx_http_gateway_channel_t *ch,
    uint64_t generation)
{
    ch->mirror.generation = generation;
    ch->mirror.behind = 0;
    ch->mirror.history = 0;
    ch->mirror.heard = 0;
}


/* A shared epoch, for another: should it come back, what has been here is not
 * delivered again. */

static void
ngx_http_gateway_mirror_leave(ngx_http_gateway_channel_t *ch)
{
    ch->mirror.left = ch->log.seq;
    ngx_memcpy(ch->mirror.left_epoch, ch->log.epoch, GW_EPOCH_LEN);
}


void
ngx_http_gateway_mirror_local(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch)
{
    u_char      fresh[GW_EPOCH_LEN];
    ngx_uint_t  i;

    if (ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_LOCAL) {
        return;
    }

    if (ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_SHARED) {

        if (RAND_bytes(fresh, sizeof(fresh)) != 1) {
            for (i = 0; i < sizeof(fresh); i++) {
                fresh[i] = (u_char) ngx_random();
            }
        }

        ngx_http_gateway_mirror_leave(ch);
        gw_channel_log_restart(&ch->log, fresh);
    }

    ch->mirror.state = NGX_HTTP_GATEWAY_CHANNEL_LOCAL;
    ch->mirror.generation = 0;

    if (ngx_queue_empty(&ch->readers)) {
        /* else they still wait for what was heard of in the epoch left */
        ch->mirror.heard = 0;
    }

    ngx_http_gateway_mirror_touch(zone, ch);
}


void
ngx_http_gateway_mirror_restart(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, const u_char *epoch, uint64_t seq)
{
    uint64_t  been;

    if (!ngx_http_gateway_mirror_same(ch, epoch)) {

        been = ngx_memcmp(ch->mirror.left_epoch, epoch, GW_EPOCH_LEN) == 0
               ? ch->mirror.left : 0;

        if (ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_SHARED) {
            ngx_http_gateway_mirror_leave(ch);
        }

        ch->mirror.been = been;
        ch->mirror.history = 0;
    }

    gw_channel_log_restart_at(&ch->log, epoch, seq);
    ch->mirror.state = NGX_HTTP_GATEWAY_CHANNEL_SHARED;

    ngx_http_gateway_mirror_touch(zone, ch);
}


void
ngx_http_gateway_mirror_append(ngx_http_gateway_mirror_t *mirror,
    ngx_http_gateway_channel_t *ch, gw_message_t *m, ngx_uint_t quiet,
    u_char *wake, ngx_uint_t *at_once)
{
    int                               rc;
    u_char                            resource[GW_CHANNEL_NAME_MAX * 6 + 2];
    gw_alloc_t                        a;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;

    if (m) {
        m->resource.data = resource;
        m->resource.len = gw_json_quote(resource,
                                        ngx_http_gateway_span(&ch->sn.str))
                          - resource;

        a = ngx_http_gateway_channel_alloc(zone);

        do {
            rc = quiet ? gw_channel_log_append_quiet(&ch->log, m, &a)
                       : gw_channel_log_append(&ch->log, m, &a);
        } while (rc != GW_OK && ngx_http_gateway_channel_evict(zone, ch));

        if (rc == GW_OK) {
            ngx_http_gateway_channel_trim(zone, ch);

            if (!quiet) {
                (void) ngx_http_gateway_channel_notify(zone, ch,
                                                       m->payload.len, wake,
                                                       at_once);
            }

            return;
        }

        ngx_http_gateway_count(zone->dropped_full, 1);
        mirror->full = 1;
    }

    /* the numbers go on behind it */

    gw_channel_log_restart_at(&ch->log, (u_char *) ch->log.epoch,
                              ch->log.seq + 1);
}


void
ngx_http_gateway_mirror_appended(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, u_char *wake, ngx_uint_t at_once)
{
    if (mirror->full) {
        mirror->full = 0;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_channel_zone \"%V\" is full: a message of "
                      "\"%V\" does not reach this node",
                      &mirror->zone->name, name);
    }

    ngx_http_gateway_channel_wake(wake, at_once);
}


void
ngx_http_gateway_mirror_heard(ngx_http_gateway_channel_t *ch,
    const u_char *epoch, uint64_t seq)
{
    /* an announcement that was long on its way, of what has been here */

    if (seq <= ch->mirror.left
        && ngx_memcmp(ch->mirror.left_epoch, epoch, GW_EPOCH_LEN) == 0)
    {
        return;
    }

    /* what another worker has published may be answered first */

    if (ch->mirror.heard == 0 || seq < ch->mirror.heard
        || ngx_memcmp(ch->mirror.heard_epoch, epoch, GW_EPOCH_LEN) != 0)
    {
        ch->mirror.heard = seq;
        ngx_memcpy(ch->mirror.heard_epoch, epoch, GW_EPOCH_LEN);
    }
}


ngx_uint_t
ngx_http_gateway_mirror_adopt(ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_mirror_reply_t *reply, u_char *wake,
    ngx_uint_t *at_once, ngx_http_gateway_channel_info_t *info)
{
    uint64_t                          generation;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = op->mirror->zone;
    generation = ngx_http_gateway_redis_generation(zone->redis);

    ngx_memzero(info, sizeof(*info));
    info->seq = reply->seq;
    info->first = reply->seq;
    info->subscribers = reply->others;
    ngx_memcpy(info->epoch, reply->epoch, GW_EPOCH_LEN);

    ch = ngx_http_gateway_channel_lookup(zone, &op->name);

    if (ch == NULL) {
        return 0;
    }

    ch->mirror.others = info->subscribers;
    info->subscribers += ngx_http_gateway_channel_subscribers(ch);

    if (ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_FRESH
        && reply->seq == 1)
    {
        /* nothing has been announced since the channel is known here */

        ngx_http_gateway_mirror_restart(zone, ch, reply->epoch, 0);

        if (generation == op->generation && !ch->mirror.behind) {
            ch->mirror.generation = generation;
        }
    }

    if (ngx_http_gateway_mirror_same(ch, reply->epoch)) {

        if (reply->seq == ch->log.seq + 1) {
            ngx_http_gateway_mirror_append(op->mirror, ch, &op->m, 0, wake,
                                           at_once);
        }

        if (reply->seq <= ch->log.seq) {
            return 0;
        }
    }

    if (generation) {
        /* it will be announced, after what is missing */
        return 0;
    }

    ngx_http_gateway_mirror_heard(ch, reply->epoch, reply->seq);
    ch->mirror.behind = 1;
    ngx_http_gateway_mirror_touch(zone, ch);

    return !ngx_queue_empty(&ch->readers);
}


ngx_uint_t
ngx_http_gateway_mirror_others(ngx_http_gateway_mirror_t *mirror,
    gw_str_t counts)
{
    u_char                    *node;
    uint64_t                   n;
    ngx_uint_t                 sum;
    const u_char              *at, *counter;
    ngx_http_gateway_redis_t  *redis;

    redis = mirror->zone->redis;
    node = ngx_http_gateway_redis_node(redis);
    at = counts.data;
    sum = 0;

    while (gw_counts_next(counts, &at, &counter, &n)) {

        if (ngx_memcmp(counter, node, GW_NODE_LEN) == 0
            && ngx_memcmp(counter + GW_NODE_LEN, mirror->digest,
                          sizeof(mirror->digest))
               == 0)
        {
            continue;
        }

        if (n > NGX_MAX_INT32_VALUE
            || !ngx_http_gateway_redis_alive(redis, (u_char *) counter))
        {
            continue;
        }

        sum += n;
    }

    return sum;
}


static ngx_http_gateway_published_t *
ngx_http_gateway_mirror_ids_find(ngx_http_gateway_published_t *ids,
    const u_char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_GATEWAY_PUBLISHED; i++) {
        if (ngx_memcmp(ids[i].id, id, GW_PUBLISH_ID_LEN) == 0) {
            return &ids[i];
        }
    }

    return NULL;
}


void
ngx_http_gateway_mirror_published(ngx_http_gateway_mirror_t *mirror,
    gw_news_t *news)
{
    ngx_http_gateway_mirror_sh_t  *msh;
    ngx_http_gateway_published_t  *id;

    msh = ngx_http_gateway_mirror_sh(mirror->zone);

    id = &msh->ids[NGX_HTTP_GATEWAY_IDS_PUBLISHED]
                  [msh->published++ % NGX_HTTP_GATEWAY_PUBLISHED];

    ngx_memcpy(id->id, news->id, GW_PUBLISH_ID_LEN);
    ngx_memcpy(id->epoch, news->epoch, GW_EPOCH_LEN);
    id->seq = news->seq;
}


ngx_uint_t
ngx_http_gateway_mirror_given_up(ngx_http_gateway_mirror_t *mirror,
    const u_char *id)
{
    ngx_http_gateway_mirror_sh_t  *msh;

    msh = ngx_http_gateway_mirror_sh(mirror->zone);

    return msh->given_up
           && ngx_http_gateway_mirror_ids_find(
                  msh->ids[NGX_HTTP_GATEWAY_IDS_GIVEN_UP], id);
}


ngx_int_t
ngx_http_gateway_mirror_give_up(ngx_http_gateway_mirror_t *mirror,
    u_char *id, ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_mirror_sh_t  *msh;
    ngx_http_gateway_published_t  *known;

    msh = ngx_http_gateway_mirror_sh(mirror->zone);

    known = ngx_http_gateway_mirror_ids_find(
                msh->ids[NGX_HTTP_GATEWAY_IDS_PUBLISHED], id);

    if (known) {
        ngx_memcpy(info->epoch, known->epoch, GW_EPOCH_LEN);
        info->seq = known->seq;
        return NGX_OK;
    }

    known = &msh->ids[NGX_HTTP_GATEWAY_IDS_GIVEN_UP]
                     [msh->given_up++ % NGX_HTTP_GATEWAY_PUBLISHED];

    ngx_memcpy(known->id, id, GW_PUBLISH_ID_LEN);

    return NGX_DECLINED;
}
