/*
 * Channels that are shared through Redis: see the header.
 *
 * What is published goes to Redis by a script that does it once, whatever
 * happens. Where the connection is lost meanwhile it waits for the next one,
 * within the time-out, and is sent once more; what has timed out is published
 * on this node alone. While Redis is away all is.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_mirror_int.h"


static void ngx_http_gateway_mirror_publish_handler(void *data,
    redisReply *reply);
static void ngx_http_gateway_mirror_timer(ngx_event_t *ev);


ngx_int_t
ngx_http_gateway_mirror_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_zone_t *first)
{
    ngx_http_gateway_mirror_t  *mirror, *other;

    mirror = ngx_pcalloc(cf->pool, sizeof(*mirror));
    if (mirror == NULL) {
        return NGX_ERROR;
    }

    mirror->zone = zone;
    zone->mirror = mirror;

    (void) ngx_sprintf(mirror->digest, "%08xD",
                       ngx_crc32_long(zone->name.data, zone->name.len));

    ngx_rbtree_init(&mirror->fetches, &mirror->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&mirror->ops);
    ngx_queue_init(&mirror->flying);
    ngx_queue_init(&mirror->waiting);

    mirror->timer.handler = ngx_http_gateway_mirror_timer;
    mirror->timer.data = mirror;
    mirror->timer.log = &cf->cycle->new_log;

    ngx_http_gateway_mirror_script_init();

    if (first) {
        other = ngx_http_gateway_mirror_get(first);
        mirror->next = other->next;
        other->next = mirror;
        return NGX_OK;
    }

    return ngx_http_gateway_redis_use(cf, zone->redis,
                                      &ngx_http_gateway_mirror_user, mirror);
}


static void
ngx_http_gateway_mirror_free(ngx_http_gateway_mirror_op_t *op)
{
    /* clang's analyzer knows nothing of queues */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    ngx_queue_remove(&op->all);
    ngx_destroy_pool(op->pool);
}


void
ngx_http_gateway_mirror_exit(ngx_http_gateway_channel_zone_t *zone)
{
    ngx_queue_t                *q, *next;
    ngx_http_gateway_mirror_t  *mirror;

    mirror = ngx_http_gateway_mirror_get(zone);

    if (mirror == NULL) {
        return;
    }

    for (q = ngx_queue_head(&mirror->ops);
         q != ngx_queue_sentinel(&mirror->ops);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_http_gateway_mirror_free(
            ngx_queue_data(q, ngx_http_gateway_mirror_op_t, all));
    }

    ngx_http_gateway_mirror_fetches_free(mirror);
}


static ngx_http_gateway_mirror_op_t *
ngx_http_gateway_mirror_op(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, size_t size, ngx_http_gateway_mirror_pt done, void *data)
{
    ngx_pool_t                    *pool;
    ngx_http_gateway_mirror_op_t  *op;

    pool = ngx_create_pool(2048 + ngx_min(size, 4096), ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(*op));

    if (op && name) {
        op->name.len = name->len;
        op->name.data = ngx_pstrdup(pool, name);
    }

    if (op == NULL || (name && op->name.data == NULL)) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    op->pool = pool;
    op->mirror = ngx_http_gateway_mirror_get(zone);
    op->done = done;
    op->data = data;
    op->serial = ++op->mirror->serial;
    op->generation = ngx_http_gateway_redis_generation(zone->redis);
    op->deadline = ngx_current_msec
                   + ngx_http_gateway_redis_conf(zone->redis)->timeout;

    ngx_queue_insert_tail(&op->mirror->ops, &op->all);

    return op;
}


static void
ngx_http_gateway_mirror_finish(ngx_http_gateway_mirror_op_t *op,
    ngx_int_t rc, ngx_http_gateway_channel_info_t *info)
{
    void                        *data;
    ngx_http_gateway_mirror_pt   done;

    done = op->done;
    data = op->data;

    ngx_http_gateway_mirror_free(op);

    if (done) {
        done(data, rc, info);
    }
}


/* Publishes here, in an epoch of the node's own; unless it has been seen to
 * have been published by Redis after all. */

static void
ngx_http_gateway_mirror_here(ngx_http_gateway_mirror_op_t *op)
{
    ngx_int_t                         rc;
    ngx_http_gateway_channel_info_t   info, known;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = op->mirror->zone;
    rc = NGX_DECLINED;
    ngx_memzero(&known, sizeof(known));

    if (op->once) {
        ngx_http_gateway_mirror_finish(op, NGX_ERROR, NULL);
        return;
    }

    if (op->sent) {
        ngx_shmtx_lock(&zone->shpool->mutex);
        rc = ngx_http_gateway_mirror_give_up(op->mirror, op->id, &known);
        ngx_shmtx_unlock(&zone->shpool->mutex);
    }

    if (rc == NGX_OK) {
        ngx_memzero(&info, sizeof(info));
        (void) ngx_http_gateway_channel_info(zone, &op->name, &info);
        info.seq = known.seq;
        ngx_memcpy(info.epoch, known.epoch, GW_EPOCH_LEN);
        ngx_http_gateway_count(zone->published, 1);

    } else {
        rc = ngx_http_gateway_channel_publish(zone, &op->name, &op->m,
                                              op->expected, &info);
    }

    ngx_http_gateway_mirror_finish(op, rc, &info);
}


/* Until Redis is back, or the time is over; in the order of publishing. */

static void
ngx_http_gateway_mirror_wait(ngx_http_gateway_mirror_op_t *op)
{
    ngx_msec_int_t                 left;
    ngx_queue_t                   *q;
    ngx_http_gateway_mirror_t     *mirror;
    ngx_http_gateway_mirror_op_t  *other;

    mirror = op->mirror;

    for (q = ngx_queue_last(&mirror->waiting);
         q != ngx_queue_sentinel(&mirror->waiting);
         q = ngx_queue_prev(q))
    {
        other = ngx_queue_data(q, ngx_http_gateway_mirror_op_t, queue);

        if (other->serial < op->serial) {
            break;
        }
    }

    ngx_queue_insert_after(q, &op->queue);

    left = mirror->hung ? 0 : (ngx_msec_int_t)
                              (op->deadline - ngx_current_msec);
    left = ngx_max(left, 1);

    if (!mirror->timer.timer_set
        || (ngx_msec_int_t) (mirror->timer.timer.key - ngx_current_msec)
           > left)
    {
        mirror->timer.log = ngx_cycle->log;
        ngx_add_timer(&mirror->timer, left);
    }
}


static void
ngx_http_gateway_mirror_send(ngx_http_gateway_mirror_op_t *op)
{
    if (ngx_http_gateway_mirror_script_publish(op,
                                     ngx_http_gateway_mirror_publish_handler)
        == NULL)
    {
        ngx_http_gateway_mirror_here(op);
        return;
    }

    op->sent++;
    ngx_queue_insert_tail(&op->mirror->flying, &op->queue);
}


/* The first of those waiting has no time left: all are published here. */

static void
ngx_http_gateway_mirror_timer(ngx_event_t *ev)
{
    ngx_queue_t                   *q;
    ngx_http_gateway_mirror_t     *mirror;
    ngx_http_gateway_mirror_op_t  *op;

    mirror = ev->data;

    while (!ngx_queue_empty(&mirror->waiting)) {
        q = ngx_queue_head(&mirror->waiting);
        op = ngx_queue_data(q, ngx_http_gateway_mirror_op_t, queue);
        /* clang's analyzer knows nothing of queues */
        ngx_queue_remove(q); /* NOLINT(clang-analyzer-core.NullDereference) */

        ngx_http_gateway_mirror_here(op);
    }
}


void
ngx_http_gateway_mirror_up(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_queue_t                    waiting, *q;
    ngx_http_gateway_mirror_t     *mirror;
    ngx_http_gateway_mirror_op_t  *op;

    for (mirror = data; mirror; mirror = mirror->next) {

        mirror->hung = 0;

        if (ngx_queue_empty(&mirror->waiting)) {
            continue;
        }

        if (mirror->timer.timer_set) {
            ngx_del_timer(&mirror->timer);
        }

        ngx_queue_init(&waiting);
        ngx_queue_add(&waiting, &mirror->waiting);
        ngx_queue_init(&mirror->waiting);

        while (!ngx_queue_empty(&waiting)) {
            q = ngx_queue_head(&waiting);
            op = ngx_queue_data(q, ngx_http_gateway_mirror_op_t, queue);
            ngx_queue_remove(q);

            ngx_http_gateway_mirror_send(op);
        }
    }

    ngx_http_gateway_mirror_begin(data);
}


void
ngx_http_gateway_mirror_down(ngx_http_gateway_redis_t *redis, void *data)
{
    /* who waits for an answer is told that there will be none */
}


/* There is no answer. What was in time waits for another connection, once. */

static void
ngx_http_gateway_mirror_lost(ngx_http_gateway_mirror_op_t *op)
{
    ngx_http_gateway_mirror_t  *mirror;

    mirror = op->mirror;

    if ((ngx_msec_int_t) (op->deadline - ngx_current_msec) <= 0) {
        mirror->hung = !ngx_http_gateway_redis_up(mirror->zone->redis);

    } else if (op->sent == 1 && !mirror->hung) {

        if (ngx_http_gateway_redis_up(mirror->zone->redis)
            && ngx_queue_empty(&mirror->waiting))
        {
            ngx_http_gateway_mirror_send(op);
            return;
        }

        ngx_http_gateway_mirror_wait(op);
        return;
    }

    ngx_http_gateway_mirror_here(op);
}


static void
ngx_http_gateway_mirror_publish_handler(void *data, redisReply *reply)
{
    ngx_http_gateway_mirror_op_t *op = data;

    u_char                            wake[NGX_HTTP_GATEWAY_MAX_WORKERS];
    ngx_uint_t                        fetch, at_once;
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_channel_info_t   info;
    ngx_http_gateway_mirror_reply_t   r;

    zone = op->mirror->zone;
    ngx_queue_remove(&op->queue);

    if (reply == NULL) {
        ngx_http_gateway_mirror_lost(op);
        return;
    }

    if (ngx_http_gateway_mirror_reply(op->mirror, reply, &r) != NGX_OK
        || r.status == NGX_HTTP_GATEWAY_MIRROR_LATE)
    {
        ngx_http_gateway_mirror_here(op);
        return;
    }

    if (r.status == NGX_HTTP_GATEWAY_MIRROR_CONFLICT) {
        ngx_memzero(&info, sizeof(info));
        info.seq = r.seq;

        if (r.epoch) {
            ngx_memcpy(info.epoch, r.epoch, GW_EPOCH_LEN);
        }

        ngx_http_gateway_mirror_finish(op, NGX_DECLINED, &info);
        return;
    }

    ngx_memzero(wake, sizeof(wake));
    at_once = 0;

    ngx_shmtx_lock(&zone->shpool->mutex);

    fetch = ngx_http_gateway_mirror_adopt(op, &r, wake, &at_once, &info);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_http_gateway_mirror_appended(op->mirror, &op->name, wake, at_once);
    ngx_http_gateway_count(zone->published, 1);

    if (fetch) {
        (void) ngx_http_gateway_mirror_fetch(op->mirror, &op->name, 1, NULL,
                                             0);
    }

    ngx_http_gateway_mirror_finish(op, NGX_OK, &info);
}


static ngx_http_gateway_mirror_op_t *
ngx_http_gateway_mirror_publish_op(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_mirror_pt done, void *data)
{
    size_t                         size;
    gw_str_t                       blob;
    ngx_http_gateway_mirror_op_t  *op;

    size = gw_blob_size(m);

    op = size ? ngx_http_gateway_mirror_op(zone, name, size, done, data)
              : NULL;

    if (op == NULL) {
        return NULL;
    }

    op->expected = expected;
    op->blob.len = size;
    op->blob.data = ngx_pnalloc(op->pool, size);

    if (op->blob.data == NULL) {
        ngx_http_gateway_mirror_free(op);
        return NULL;
    }

    (void) gw_blob_write(op->blob.data, m);

    blob = ngx_http_gateway_span(&op->blob);

    if (gw_blob_open(blob, &op->m) != GW_OK) {
        ngx_http_gateway_mirror_free(op);
        return NULL;
    }

    return op;
}


ngx_int_t
ngx_http_gateway_mirror_publish(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info, ngx_http_gateway_mirror_pt done,
    void *data, ngx_http_gateway_mirror_op_t **op)
{
    ngx_uint_t                     up;
    ngx_http_gateway_mirror_t     *mirror;
    ngx_http_gateway_mirror_op_t  *o;

    if (!ngx_http_gateway_mirror_shared(zone, name)) {
        return ngx_http_gateway_channel_publish(zone, name, m, expected,
                                                info);
    }

    mirror = ngx_http_gateway_mirror_get(zone);
    up = ngx_http_gateway_redis_up(zone->redis);

    if (!up && ngx_queue_empty(&mirror->waiting)
        && ngx_queue_empty(&mirror->flying))
    {
        return ngx_http_gateway_channel_publish(zone, name, m, expected,
                                                info);
    }

    if (m->time == 0) {
        m->time = ngx_http_gateway_time_ms();
    }

    o = ngx_http_gateway_mirror_publish_op(zone, name, m, expected, done,
                                           data);
    if (o == NULL) {
        return NGX_ERROR;
    }

    /* from here on what is announced of it is taken */

    ngx_shmtx_lock(&zone->shpool->mutex);
    (void) ngx_http_gateway_channel_obtain(zone, name);
    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (!up || !ngx_queue_empty(&mirror->waiting)) {
        ngx_http_gateway_mirror_wait(o);

    } else if (ngx_http_gateway_mirror_script_publish(o,
                                     ngx_http_gateway_mirror_publish_handler)
               == NULL)
    {
        ngx_http_gateway_mirror_free(o);
        return ngx_http_gateway_channel_publish(zone, name, m, expected,
                                                info);

    } else {
        o->sent++;
        ngx_queue_insert_tail(&mirror->flying, &o->queue);
    }

    if (done) {
        *op = o;
    }

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_gateway_mirror_publish_once(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, const u_char *id,
    ngx_uint_t again, ngx_http_gateway_mirror_pt done, void *data)
{
    ngx_http_gateway_mirror_t        *mirror;
    ngx_http_gateway_mirror_op_t     *o;
    ngx_http_gateway_channel_info_t   info;

    if (!ngx_http_gateway_mirror_shared(zone, name)) {
        return ngx_http_gateway_channel_publish(zone, name, m, -1, &info);
    }

    mirror = ngx_http_gateway_mirror_get(zone);

    if (!ngx_http_gateway_redis_up(zone->redis)
        || !ngx_queue_empty(&mirror->waiting))
    {
        return NGX_ERROR;
    }

    if (m->time == 0) {
        m->time = ngx_http_gateway_time_ms();
    }

    o = ngx_http_gateway_mirror_publish_op(zone, name, m, -1, done, data);

    if (o == NULL) {
        return NGX_ERROR;
    }

    o->once = 1;
    o->again = (again != 0);
    ngx_memcpy(o->id, id, GW_PUBLISH_ID_LEN);

    if (ngx_http_gateway_mirror_script_publish(o,
                                     ngx_http_gateway_mirror_publish_handler)
        == NULL)
    {
        ngx_http_gateway_mirror_free(o);
        return NGX_ERROR;
    }

    o->sent++;
    ngx_queue_insert_tail(&mirror->flying, &o->queue);

    return NGX_AGAIN;
}


static void
ngx_http_gateway_mirror_delete_handler(void *data, redisReply *reply)
{
    ngx_http_gateway_mirror_op_t *op = data;

    ngx_int_t                         rc;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_mirror_reply_t   r;

    zone = op->mirror->zone;

    if (reply == NULL
        || ngx_http_gateway_mirror_reply(op->mirror, reply, &r) != NGX_OK
        || r.status == NGX_HTTP_GATEWAY_MIRROR_LATE)
    {
        rc = ngx_http_gateway_channel_delete(zone, &op->name);
        ngx_http_gateway_mirror_finish(op, rc, NULL);
        return;
    }

    rc = NGX_DECLINED;

    if (r.status == NGX_HTTP_GATEWAY_MIRROR_DONE) {
        rc = NGX_OK;

        ngx_shmtx_lock(&zone->shpool->mutex);

        ch = ngx_http_gateway_channel_lookup(zone, &op->name);

        if (ch && !ngx_http_gateway_mirror_same(ch, r.epoch)) {
            ch->mirror.behind = 1;
            ngx_http_gateway_mirror_touch(zone, ch);
        }

        ngx_shmtx_unlock(&zone->shpool->mutex);
    }

    ngx_http_gateway_mirror_finish(op, rc, NULL);
}


ngx_int_t
ngx_http_gateway_mirror_delete(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op)
{
    ngx_http_gateway_mirror_op_t  *o;

    if (!ngx_http_gateway_mirror_shared(zone, name)
        || !ngx_http_gateway_redis_up(zone->redis))
    {
        return ngx_http_gateway_channel_delete(zone, name);
    }

    o = ngx_http_gateway_mirror_op(zone, name, 0, done, data);
    if (o == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_gateway_mirror_script_delete(o,
                                      ngx_http_gateway_mirror_delete_handler)
        == NULL)
    {
        ngx_http_gateway_mirror_free(o);
        return ngx_http_gateway_channel_delete(zone, name);
    }

    if (done) {
        *op = o;
    }

    return NGX_AGAIN;
}


static ngx_uint_t
ngx_http_gateway_mirror_ready(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name)
{
    ngx_uint_t                   ready;
    ngx_http_gateway_channel_t  *ch;

    if (!ngx_http_gateway_mirror_shared(zone, name)) {
        return 1;
    }

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);
    ready = ch && ngx_http_gateway_mirror_in_step(zone, ch);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return ready;
}


/* look: one that is not to be made, and is fetched in any case */

static ngx_int_t
ngx_http_gateway_mirror_fetch_all(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *names, ngx_uint_t n, ngx_uint_t look,
    ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op)
{
    ngx_uint_t                     i;
    ngx_http_gateway_waiter_t     *waiter;
    ngx_http_gateway_mirror_op_t  *o;

    o = NULL;

    for (i = 0; i < n; i++) {

        if (!look && ngx_http_gateway_mirror_ready(zone, &names[i])) {
            continue;
        }

        if (o == NULL) {
            o = ngx_http_gateway_mirror_op(zone, NULL, 0, done, data);
            if (o == NULL) {
                return NGX_ERROR;
            }

            o->waiters = ngx_palloc(o->pool, n * sizeof(*o->waiters));
            if (o->waiters == NULL) {
                ngx_http_gateway_mirror_free(o);
                return NGX_ERROR;
            }
        }

        waiter = &o->waiters[o->nwaiters];
        waiter->op = o;

        if (ngx_http_gateway_mirror_fetch(o->mirror, &names[i], !look,
                                          waiter, 0)
            == NGX_AGAIN)
        {
            o->nwaiters++;
            o->fetches++;
        }
    }

    if (o == NULL) {
        return NGX_OK;
    }

    if (o->fetches == 0) {
        ngx_http_gateway_mirror_free(o);
        return NGX_OK;
    }

    *op = o;

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_gateway_mirror_sync(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *names, ngx_uint_t n, ngx_http_gateway_mirror_pt done,
    void *data, ngx_http_gateway_mirror_op_t **op)
{
    if (zone->redis == NULL || !ngx_http_gateway_redis_up(zone->redis)) {
        return NGX_OK;
    }

    return ngx_http_gateway_mirror_fetch_all(zone, names, n, 0, done, data,
                                             op);
}


ngx_int_t
ngx_http_gateway_mirror_look(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op)
{
    if (!ngx_http_gateway_mirror_shared(zone, name)
        || !ngx_http_gateway_redis_up(zone->redis))
    {
        return NGX_OK;
    }

    return ngx_http_gateway_mirror_fetch_all(zone, name, 1, 1, done, data,
                                             op);
}


void
ngx_http_gateway_mirror_fetched(ngx_http_gateway_mirror_op_t *op)
{
    if (--op->fetches == 0) {
        ngx_http_gateway_mirror_finish(op, NGX_OK, NULL);
    }
}


void
ngx_http_gateway_mirror_cancel(ngx_http_gateway_mirror_op_t *op)
{
    ngx_uint_t  i;

    op->done = NULL;

    if (op->nwaiters == 0) {
        /* it goes on */
        return;
    }

    for (i = 0; i < op->nwaiters; i++) {
        ngx_queue_remove(&op->waiters[i].queue);
    }

    ngx_http_gateway_mirror_free(op);
}
