/*
 * Shared channels: getting what a mirror lacks.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_mirror_int.h"


static void ngx_http_gateway_fetch_handler(void *data, redisReply *reply);


ngx_http_gateway_fetch_t *
ngx_http_gateway_mirror_fetching(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name)
{
    return (ngx_http_gateway_fetch_t *)
               ngx_str_rbtree_lookup(&mirror->fetches, name,
                                     ngx_crc32_short(name->data, name->len));
}


/* Remembers where the channel is, and asks for what is after it. */

static ngx_int_t
ngx_http_gateway_fetch_send(ngx_http_gateway_fetch_t *fetch)
{
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = fetch->mirror->zone;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_obtain(zone, &fetch->name);

    if (ch) {
        fetch->stamp = ch->mirror.stamp;
        fetch->since = 0;
        ngx_memset(fetch->epoch, '-', GW_EPOCH_LEN);

        if (ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_SHARED) {
            ngx_memcpy(fetch->epoch, ch->log.epoch, GW_EPOCH_LEN);
            fetch->since = ch->log.seq;
        }

        if (!ngx_queue_empty(&ch->readers)) {
            fetch->create = 1;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (ch == NULL) {
        /* the zone is full: it goes on as it is */
        return NGX_DECLINED;
    }

    return ngx_http_gateway_mirror_script_fetch(fetch,
                                              ngx_http_gateway_fetch_handler)
           ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_gateway_fetch_unhold(ngx_http_gateway_fetch_t *fetch)
{
    if (fetch->held_pool) {
        ngx_destroy_pool(fetch->held_pool);
        fetch->held_pool = NULL;
    }

    fetch->held = NULL;
    fetch->held_last = &fetch->held;
    fetch->held_size = 0;
}


static void
ngx_http_gateway_fetch_free(ngx_http_gateway_fetch_t *fetch)
{
    ngx_rbtree_delete(&fetch->mirror->fetches, &fetch->sn.node);
    ngx_http_gateway_fetch_unhold(fetch);
    ngx_destroy_pool(fetch->pool);
}


void
ngx_http_gateway_mirror_fetches_free(ngx_http_gateway_mirror_t *mirror)
{
    while (mirror->fetches.root != mirror->fetches.sentinel) {
        ngx_http_gateway_fetch_free((ngx_http_gateway_fetch_t *)
                                    mirror->fetches.root);
    }
}


ngx_int_t
ngx_http_gateway_mirror_fetch(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, ngx_uint_t create, ngx_http_gateway_waiter_t *waiter,
    ngx_uint_t walk)
{
    ngx_int_t                  rc;
    ngx_pool_t                *pool;
    ngx_http_gateway_fetch_t  *fetch;

    fetch = ngx_http_gateway_mirror_fetching(mirror, name);

    if (fetch) {
        fetch->create |= create;
        goto wait;
    }

    if (!ngx_http_gateway_redis_up(mirror->zone->redis)) {
        return NGX_DECLINED;
    }

    pool = ngx_create_pool(2048, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    fetch = ngx_pcalloc(pool, sizeof(*fetch));

    if (fetch) {
        fetch->name.len = name->len;
        fetch->name.data = ngx_pstrdup(pool, name);
    }

    if (fetch == NULL || fetch->name.data == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    fetch->pool = pool;
    fetch->mirror = mirror;
    fetch->create = create;
    fetch->held_last = &fetch->held;
    fetch->generation =
                    ngx_http_gateway_redis_generation(mirror->zone->redis);
    ngx_queue_init(&fetch->waiters);

    rc = ngx_http_gateway_fetch_send(fetch);

    if (rc != NGX_OK) {
        ngx_http_gateway_mirror_sh(mirror->zone)->again = 1;
        ngx_destroy_pool(pool);
        return rc;
    }

    fetch->sn.str = fetch->name;
    fetch->sn.node.key = ngx_crc32_short(name->data, name->len);
    ngx_rbtree_insert(&mirror->fetches, &fetch->sn.node);

    if (walk) {
        fetch->walk = 1;
        mirror->walking++;
    }

wait:

    if (waiter) {
        ngx_queue_insert_tail(&fetch->waiters, &waiter->queue);
    }

    return NGX_AGAIN;
}


/* It is over, one way or the other. */

static void
ngx_http_gateway_fetch_end(ngx_http_gateway_fetch_t *fetch)
{
    ngx_uint_t                  walk;
    ngx_queue_t                 waiters, *q;
    ngx_http_gateway_mirror_t  *mirror;
    ngx_http_gateway_waiter_t  *waiter;

    mirror = fetch->mirror;
    walk = fetch->walk;

    ngx_queue_init(&waiters);

    if (!ngx_queue_empty(&fetch->waiters)) {
        ngx_queue_add(&waiters, &fetch->waiters);
    }

    ngx_http_gateway_fetch_free(fetch);

    if (walk) {
        mirror->walking--;
        ngx_http_gateway_mirror_walk(mirror);
    }

    while (!ngx_queue_empty(&waiters)) {
        q = ngx_queue_head(&waiters);
        ngx_queue_remove(q);
        waiter = ngx_queue_data(q, ngx_http_gateway_waiter_t, queue);
        ngx_queue_init(q);

        ngx_http_gateway_mirror_fetched(waiter->op);
    }
}


/* What was held is lost: the channel must be fetched again some time. */

static void
ngx_http_gateway_fetch_fail(ngx_http_gateway_fetch_t *fetch)
{
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = fetch->mirror->zone;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ngx_http_gateway_mirror_sh(zone)->again = 1;

    ch = ngx_http_gateway_channel_lookup(zone, &fetch->name);

    if (ch && ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_FRESH
        && ngx_queue_empty(&ch->readers) && !fetch->create)
    {
        /* it came into being only to be looked at */
        ngx_http_gateway_channel_remove(zone, ch);

    } else if (ch) {
        /* whoever joins now goes on from here: what follows is not history */
        ch->mirror.history = 0;
        ch->mirror.behind = 1;
        ngx_http_gateway_mirror_touch(zone, ch);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_http_gateway_fetch_end(fetch);
}


static void
ngx_http_gateway_fetch_again(ngx_http_gateway_fetch_t *fetch)
{
    if (ngx_http_gateway_fetch_send(fetch) != NGX_OK) {
        ngx_http_gateway_fetch_fail(fetch);
    }
}


/* "number-1", message, id, … */

static ngx_int_t
ngx_http_gateway_fetch_decode(ngx_http_gateway_fetch_t *fetch,
    redisReply *entries, ngx_http_gateway_fetched_t *e, ngx_uint_t n)
{
    gw_str_t      s, blob;
    ngx_uint_t    i;
    redisReply  **part;

    for (i = 0; i < n; i++) {
        part = &entries->element[3 * i];

        if (part[0]->type != REDIS_REPLY_STRING || part[0]->len < 3) {
            return NGX_ERROR;
        }

        s.data = (u_char *) part[0]->str;
        s.len = part[0]->len - 2;

        if (gw_seq_read(s, &e[i].seq) != GW_OK || e[i].seq == 0) {
            return NGX_ERROR;
        }

        ngx_memzero(&e[i].m, sizeof(e[i].m));

        if (part[1]->type == REDIS_REPLY_STRING) {
            blob.data = (u_char *) part[1]->str;
            blob.len = part[1]->len;

            if (ngx_http_gateway_mirror_decode(fetch->mirror, &fetch->name,
                                               blob, &e[i].m)
                != NGX_OK)
            {
                e[i].m.payload.len = 0;
            }
        }

        e[i].id = (part[2]->type == REDIS_REPLY_STRING
                   && part[2]->len == GW_PUBLISH_ID_LEN)
                  ? (u_char *) part[2]->str : NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_fetch_apply(ngx_http_gateway_fetch_t *fetch,
    redisReply *reply)
{
    u_char                            wake[NGX_HTTP_GATEWAY_MAX_WORKERS];
    ngx_int_t                         rc;
    ngx_uint_t                        n, at_once;
    ngx_pool_t                       *pool;
    ngx_http_gateway_fetched_t       *e;
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_mirror_reply_t   r;

    zone = fetch->mirror->zone;

    if (ngx_http_gateway_mirror_reply(fetch->mirror, reply, &r) != NGX_OK) {
        return NGX_ERROR;
    }

    n = r.entries ? r.entries->elements / 3 : 0;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    e = ngx_palloc(pool, (n + 1) * sizeof(*e));

    if (e == NULL
        || ngx_http_gateway_fetch_decode(fetch, r.entries, e, n) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_memzero(wake, sizeof(wake));
    at_once = 0;

    ngx_shmtx_lock(&zone->shpool->mutex);

    rc = ngx_http_gateway_mirror_take(fetch, &r, e, n, wake, &at_once);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_http_gateway_mirror_appended(fetch->mirror, &fetch->name, wake,
                                     at_once);
    ngx_destroy_pool(pool);

    return rc;
}


static void
ngx_http_gateway_fetch_handler(void *data, redisReply *reply)
{
    ngx_http_gateway_fetch_t *fetch = data;

    ngx_int_t  rc;

    rc = reply ? ngx_http_gateway_fetch_apply(fetch, reply) : NGX_ERROR;

    switch (rc) {

    case NGX_OK:
        ngx_http_gateway_fetch_unhold(fetch);
        ngx_http_gateway_fetch_end(fetch);
        return;

    case NGX_AGAIN:
        ngx_http_gateway_fetch_again(fetch);
        return;

    case NGX_DECLINED:

        if (++fetch->tries < NGX_HTTP_GATEWAY_MIRROR_TRIES) {
            fetch->generation = ngx_http_gateway_redis_generation(
                                                fetch->mirror->zone->redis);
            ngx_http_gateway_fetch_again(fetch);
            return;
        }

        /* fall through */

    default: /* NGX_ERROR */
        ngx_http_gateway_fetch_fail(fetch);
    }
}


/* An announcement that cannot be appended yet; the mutex is not needed. */

void
ngx_http_gateway_mirror_hold(ngx_http_gateway_fetch_t *fetch,
    gw_news_t *news, ngx_uint_t quiet)
{
    u_char                   *p;
    gw_str_t                  blob;
    ngx_http_gateway_held_t  *held;

    if (fetch->lost
        || fetch->held_size + news->rest.len > NGX_HTTP_GATEWAY_MIRROR_HELD)
    {
        goto lost;
    }

    if (fetch->held_pool == NULL) {
        fetch->held_pool = ngx_create_pool(4096, ngx_cycle->log);

        if (fetch->held_pool == NULL) {
            goto lost;
        }
    }

    held = ngx_pcalloc(fetch->held_pool, sizeof(*held));
    p = ngx_pnalloc(fetch->held_pool, news->rest.len + 1);

    if (held == NULL || p == NULL) {
        goto lost;
    }

    ngx_memcpy(p, news->rest.data, news->rest.len);
    blob.data = p;
    blob.len = news->rest.len;

    held->seq = news->seq;
    held->quiet = quiet;
    ngx_memcpy(held->epoch, news->epoch, GW_EPOCH_LEN);

    if (ngx_http_gateway_mirror_decode(fetch->mirror, &fetch->name, blob,
                                       &held->m)
        != NGX_OK)
    {
        held->m.payload.len = 0;
    }

    *fetch->held_last = held;
    fetch->held_last = &held->next;
    fetch->held_size += news->rest.len + sizeof(*held);

    return;

lost:

    /* from here on nothing is contiguous any more */
    fetch->lost = 1;
}


/* The announcements held, up to the number before `before`, go in. NGX_OK or
 * NGX_DECLINED: some do not fit. */

static ngx_int_t
ngx_http_gateway_fetch_held(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_channel_t *ch, uint64_t before, u_char *wake,
    ngx_uint_t *at_once)
{
    ngx_int_t                 rc;
    ngx_http_gateway_held_t  *held;

    rc = NGX_OK;

    for (held = fetch->held; held; held = held->next) {

        if (!ngx_http_gateway_mirror_same(ch, held->epoch)) {
            rc = NGX_DECLINED;
            continue;
        }

        if (held->seq <= ch->log.seq || held->seq >= before) {
            continue;
        }

        if (held->seq > ch->log.seq + 1) {
            rc = NGX_DECLINED;
            continue;
        }

        ngx_http_gateway_mirror_append(fetch->mirror, ch,
                                       held->m.payload.len ? &held->m : NULL,
                                       held->quiet, wake, at_once);
    }

    return rc;
}


/*
 * Where the log has to begin anew so that what was fetched can be appended:
 * in another epoch, or behind messages that Redis has no more. What others
 * published while this node was on its own is history; what has been announced
 * since is not.
 */

static ngx_int_t
ngx_http_gateway_fetch_base(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_channel_t *ch, ngx_http_gateway_mirror_reply_t *reply,
    uint64_t first)
{
    uint64_t                          base;
    ngx_uint_t                        same, history;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = fetch->mirror->zone;
    same = ngx_http_gateway_mirror_same(ch, reply->epoch);

    if (same && (first <= ch->log.seq + 1
                 || ngx_http_gateway_mirror_in_step(zone, ch)))
    {
        return NGX_OK;
    }

    if (ch->mirror.stamp != fetch->stamp) {
        return NGX_DECLINED;
    }

    base = first - 1;

    if (ch->mirror.heard
        && ngx_memcmp(ch->mirror.heard_epoch, reply->epoch, GW_EPOCH_LEN) == 0
        && ch->mirror.heard - 1 < base)
    {
        base = ch->mirror.heard - 1;
    }

    if (!same || base > ch->log.seq) {
        history = same ? ch->mirror.history
                  : ch->mirror.state != NGX_HTTP_GATEWAY_CHANNEL_SHARED;

        ngx_http_gateway_mirror_restart(zone, ch, reply->epoch, base);
        ch->mirror.history = history;
        fetch->stamp = ch->mirror.stamp;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_gateway_fetch_quiet(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_channel_t *ch, ngx_http_gateway_fetched_t *e)
{
    if (e->seq <= ch->mirror.been) {
        return 1;
    }

    if (ch->mirror.history
        && !(ch->mirror.heard && e->seq >= ch->mirror.heard
             && ngx_http_gateway_mirror_same(ch, ch->mirror.heard_epoch)))
    {
        return 1;
    }

    /* what timed out here was published here, whatever became of it */

    return e->id && ngx_http_gateway_mirror_given_up(fetch->mirror, e->id);
}


static ngx_int_t
ngx_http_gateway_fetch_none(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_channel_t *ch)
{
    if (ch->mirror.stamp != fetch->stamp
        || !ngx_queue_empty(&ch->readers)
        || fetch->create)
    {
        return NGX_DECLINED;
    }

    ngx_http_gateway_channel_remove(fetch->mirror->zone, ch);

    return NGX_OK;
}


/* All up to the number seq was fetched: whether the channel is in step. */

static ngx_int_t
ngx_http_gateway_fetch_settle(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_channel_t *ch, uint64_t seq, u_char *wake,
    ngx_uint_t *at_once)
{
    uint64_t                          generation;
    ngx_int_t                         rc;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = fetch->mirror->zone;

    rc = ngx_http_gateway_fetch_held(fetch, ch, UINT64_MAX, wake, at_once);
    ngx_http_gateway_fetch_unhold(fetch);

    if (rc != NGX_OK || fetch->lost || ch->mirror.stamp != fetch->stamp
        || ch->log.seq < seq)
    {
        if (rc != NGX_OK || fetch->lost) {
            fetch->lost = 0;
            ngx_http_gateway_mirror_touch(zone, ch);
        }

        return NGX_DECLINED;
    }

    generation = ngx_http_gateway_redis_generation(zone->redis);

    if (generation && generation != fetch->generation) {
        /* what was missed before it began may have come after this answer */
        fetch->generation = generation;
        ch->mirror.history = 0;
        return NGX_AGAIN;
    }

    ngx_http_gateway_mirror_settled(ch, fetch->generation);

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_mirror_take(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_mirror_reply_t *reply, ngx_http_gateway_fetched_t *e,
    ngx_uint_t n, u_char *wake, ngx_uint_t *at_once)
{
    uint64_t                          first;
    ngx_uint_t                        i;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = fetch->mirror->zone;
    ch = ngx_http_gateway_channel_lookup(zone, &fetch->name);

    if (ch == NULL) {
        return NGX_DECLINED;
    }

    if (reply->status != NGX_HTTP_GATEWAY_MIRROR_DONE) {
        return ngx_http_gateway_fetch_none(fetch, ch);
    }

    ch->mirror.others = reply->others;

    first = n ? e->seq : reply->seq + 1;

    if (ngx_http_gateway_fetch_base(fetch, ch, reply, first) != NGX_OK) {
        return NGX_DECLINED;
    }

    (void) ngx_http_gateway_fetch_held(fetch, ch, first, wake, at_once);

    for (i = 0; i < n; i++, e++) {

        if (e->seq <= ch->log.seq || e->seq > reply->seq) {
            continue;
        }

        if (e->seq > ch->log.seq + 1) {

            if (ngx_http_gateway_mirror_in_step(zone, ch)) {
                break;
            }

            ngx_http_gateway_mirror_restart(zone, ch, reply->epoch,
                                            e->seq - 1);
            fetch->stamp = ch->mirror.stamp;
        }

        ngx_http_gateway_mirror_append(fetch->mirror, ch,
                                       e->m.payload.len ? &e->m : NULL,
                                       ngx_http_gateway_fetch_quiet(fetch, ch,
                                                                    e),
                                       wake, at_once);
    }

    if (n && reply->more && ch->log.seq < reply->seq) {
        return ch->mirror.stamp == fetch->stamp && ch->log.seq > fetch->since
               ? NGX_AGAIN : NGX_DECLINED;
    }

    return ngx_http_gateway_fetch_settle(fetch, ch, reply->seq, wake, at_once);
}
