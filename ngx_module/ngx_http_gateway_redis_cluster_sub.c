/*
 * Subscriptions in a Cluster. Each topic that is sharded is subscribed to at
 * the master of its slot, the others at any one; each node that has topics
 * has a link of its own for them.
 *
 * They are complete when each was confirmed by the node that its slot is on
 * now. Whatever takes one away, a link that is lost, a node that says that it
 * has not the slot any more, or a new map, ends that: only with the next
 * confirmation of all it begins anew.
 */

#include "ngx_http_gateway_redis_cluster.h"


static void ngx_http_gateway_redis_cluster_distribute(
    ngx_http_gateway_redis_cluster_ctx_t *ctx);


static void
ngx_http_gateway_redis_topic_lost(ngx_http_gateway_redis_topic_t *topic)
{
    if (topic->state == ngx_http_gateway_redis_topic_sent) {
        ngx_queue_remove(&topic->queue);
    }

    if (topic->node) {
        topic->node->topics--;
        topic->node = NULL;
    }

    topic->state = ngx_http_gateway_redis_topic_none;
}


/* Links. */

static void
ngx_http_gateway_redis_cluster_sub_up(ngx_http_gateway_redis_link_t *link)
{
    /* from here on nothing but messages and confirmations comes */
    link->pushes = 1;

    ngx_http_gateway_redis_cluster_distribute(link->redis->routing);
}


static void
ngx_http_gateway_redis_cluster_sub_lost(ngx_http_gateway_redis_member_t *node)
{
    ngx_uint_t                             i;
    ngx_http_gateway_redis_t              *redis;
    ngx_http_gateway_redis_topic_t        *topic;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    redis = node->sub.redis;
    ctx = redis->routing;

    for (i = 0; i < ctx->ntopics && node->topics; i++) {
        topic = &ctx->topics[i];

        if (topic->node == node) {
            ngx_http_gateway_redis_topic_lost(topic);
        }
    }

    ngx_http_gateway_redis_share_lost(redis);
}


/* It is tried again as long as topics belong there. */

static void
ngx_http_gateway_redis_cluster_sub_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t  *redis;

    redis = link->redis;

    if (redis->up && ++redis->deaf > 1 && !redis->told_deaf) {
        redis->told_deaf = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" cannot be subscribed to, %V: %s",
                      &redis->conf.name, &link->server->name, link->reason);
    }

    ngx_http_gateway_redis_cluster_sub_lost(link->data);
    ngx_http_gateway_redis_cluster_refresh(redis->routing);
}


/* Its name is in the reply; NULL: it is none of ours. */

static ngx_http_gateway_redis_topic_t *
ngx_http_gateway_redis_topic_find(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    redisReply *reply)
{
    ngx_int_t   bucket;
    ngx_str_t   name;
    ngx_uint_t  i;

    for (i = 0; i < ctx->ntopics; i++) {

        if (ngx_http_gateway_redis_share_topic(ctx->redis, i, ctx->buf, &name,
                                               &bucket)
            == NGX_OK
            && name.len == (size_t) reply->len
            && ngx_memcmp(name.data, reply->str, name.len) == 0)
        {
            return &ctx->topics[i];
        }
    }

    return NULL;
}


static void
ngx_http_gateway_redis_cluster_confirmed(ngx_http_gateway_redis_member_t *node)
{
    ngx_queue_t                     *q;
    ngx_http_gateway_redis_topic_t  *topic;

    if (ngx_queue_empty(&node->sent)) {
        ngx_http_gateway_redis_link_fail(&node->sub, "it confirms what was "
                                         "not asked for");
        return;
    }

    q = ngx_queue_head(&node->sent);
    ngx_queue_remove(q);

    topic = ngx_queue_data(q, ngx_http_gateway_redis_topic_t, queue);
    topic->state = ngx_http_gateway_redis_topic_confirmed;

    if (ngx_queue_empty(&node->sent)) {
        ngx_http_gateway_redis_cluster_distribute(node->sub.redis->routing);
    }
}


/* The answer to the oldest SSUBSCRIBE: the map was wrong. */

static void
ngx_http_gateway_redis_cluster_refused(ngx_http_gateway_redis_member_t *node,
    redisReply *reply)
{
    gw_str_t                               text;
    gw_redis_error_t                       error;
    ngx_http_gateway_redis_link_t         *link;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    link = &node->sub;
    ctx = link->redis->routing;

    text.data = (u_char *) reply->str;
    text.len = reply->len;
    gw_redis_error_parse(&error, text);

    if ((error.kind != GW_REDIS_MOVED && error.kind != GW_REDIS_ASK)
        || ngx_queue_empty(&node->sent))
    {
        ngx_http_gateway_redis_link_fail(link, "it refuses to subscribe: %s",
                                         reply->str);
        return;
    }

    ngx_http_gateway_redis_topic_lost(
        ngx_queue_data(ngx_queue_head(&node->sent),
                       ngx_http_gateway_redis_topic_t, queue));

    if (error.kind == GW_REDIS_MOVED) {
        (void) ngx_http_gateway_redis_cluster_moved(ctx, &error,
                                                    link->server);
    }
}


/* Unasked: the slot has gone to another node. */

static void
ngx_http_gateway_redis_cluster_taken(ngx_http_gateway_redis_member_t *node,
    redisReply *channel)
{
    ngx_http_gateway_redis_topic_t        *topic;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = node->sub.redis->routing;

    topic = channel->type == REDIS_REPLY_STRING
            ? ngx_http_gateway_redis_topic_find(ctx, channel) : NULL;

    if (topic == NULL || topic->node != node
        || topic->state != ngx_http_gateway_redis_topic_confirmed)
    {
        return;
    }

    ngx_http_gateway_redis_topic_lost(topic);
    ngx_http_gateway_redis_share_lost(ctx->redis);
    ngx_http_gateway_redis_cluster_refresh(ctx);
}


static ngx_uint_t
ngx_http_gateway_redis_says(redisReply *reply, const char *word, size_t len)
{
    return (size_t) reply->len == len
           && ngx_memcmp(reply->str, word, len) == 0;
}


#define ngx_http_gateway_redis_says(reply, word)                             \
    ngx_http_gateway_redis_says(reply, word, sizeof(word) - 1)


static void
ngx_http_gateway_redis_cluster_push(ngx_http_gateway_redis_link_t *link,
    redisReply *reply)
{
    redisReply                     *what;
    ngx_http_gateway_redis_member_t  *node;

    node = link->data;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_gateway_redis_cluster_refused(node, reply);
        return;
    }

    if (reply->type == REDIS_REPLY_STATUS) {
        /* PONG */
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        ngx_http_gateway_redis_link_fail(link, "it sends what is no message");
        return;
    }

    what = reply->element[0];

    if (ngx_http_gateway_redis_says(what, "ssubscribe")
        || ngx_http_gateway_redis_says(what, "subscribe"))
    {
        ngx_http_gateway_redis_cluster_confirmed(node);

    } else if (ngx_http_gateway_redis_says(what, "sunsubscribe")
               || ngx_http_gateway_redis_says(what, "unsubscribe"))
    {
        ngx_http_gateway_redis_cluster_taken(node, reply->element[1]);

    } else {
        ngx_http_gateway_redis_share_message(link->redis, reply);
    }
}


void
ngx_http_gateway_redis_cluster_sub_init(ngx_http_gateway_redis_member_t *node)
{
    ngx_queue_init(&node->sent);

    ngx_http_gateway_redis_link_init(&node->sub, node->link.redis);

    /* a master that became a replica still tells what it knows */
    node->sub.any_role = 1;
    node->sub.cluster = 1;
    node->sub.up = ngx_http_gateway_redis_cluster_sub_up;
    node->sub.down = ngx_http_gateway_redis_cluster_sub_down;
    node->sub.push = ngx_http_gateway_redis_cluster_push;
    node->sub.data = node;
}


/* Topics. */

static ngx_int_t
ngx_http_gateway_redis_cluster_topics(
    ngx_http_gateway_redis_cluster_ctx_t *ctx)
{
    ngx_int_t   bucket;
    ngx_str_t   name;
    ngx_uint_t  i, n;

    n = ngx_http_gateway_redis_share_topics(ctx->redis);

    ctx->buf = ngx_palloc(ngx_cycle->pool,
                          ngx_http_gateway_redis_share_room(ctx->redis));
    ctx->topics = ngx_pcalloc(ngx_cycle->pool, n * sizeof(*ctx->topics));

    if (ctx->buf == NULL || ctx->topics == NULL) {
        ctx->topics = NULL;
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_http_gateway_redis_share_topic(ctx->redis, i, ctx->buf, &name,
                                               &bucket)
            != NGX_OK)
        {
            break;
        }

        ctx->topics[i].slot = bucket < 0 ? -1
                              : gw_redis_slot(ngx_http_gateway_span(&name));
    }

    ctx->ntopics = i;

    return NGX_OK;
}


/* Where topics of no slot are: as long as it is there, the same. */

static ngx_http_gateway_redis_member_t *
ngx_http_gateway_redis_cluster_any(ngx_http_gateway_redis_cluster_ctx_t *ctx)
{
    ngx_queue_t                    *q;
    ngx_http_gateway_redis_member_t  *node;

    if (ctx->any && ctx->any->master && ctx->any->link.ready) {
        return ctx->any;
    }

    ctx->any = NULL;

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->master && node->link.ready) {
            ctx->any = node;
            break;
        }
    }

    return ctx->any;
}


static ngx_int_t
ngx_http_gateway_redis_topic_say(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    ngx_http_gateway_redis_topic_t *topic, ngx_str_t *command)
{
    ngx_int_t  bucket;
    ngx_str_t  argv[2];

    argv[0] = *command;

    if (ngx_http_gateway_redis_share_topic(ctx->redis, topic - ctx->topics,
                                           ctx->buf, &argv[1], &bucket)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_redis_command_on(&topic->node->sub, argv, 2, NULL,
                                             NULL);
}


static ngx_int_t
ngx_http_gateway_redis_topic_send(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    ngx_http_gateway_redis_topic_t *topic)
{
    ngx_str_t  command;

    if (topic->slot >= 0 && ctx->sharded) {
        ngx_str_set(&command, "SSUBSCRIBE");
    } else {
        ngx_str_set(&command, "SUBSCRIBE");
    }

    if (ngx_http_gateway_redis_topic_say(ctx, topic, &command) != NGX_OK) {
        return NGX_ERROR;
    }

    topic->state = ngx_http_gateway_redis_topic_sent;
    ngx_queue_insert_tail(&topic->node->sent, &topic->queue);

    return NGX_OK;
}


/* It is to be at another node. One of a slot is taken away by the node itself;
 * any other would come from both, as long as the old one has topics. */

static void
ngx_http_gateway_redis_topic_leave(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    ngx_http_gateway_redis_topic_t *topic)
{
    ngx_str_t  command;

    if (topic->state == ngx_http_gateway_redis_topic_confirmed
        && topic->slot < 0)
    {
        ngx_str_set(&command, "UNSUBSCRIBE");
        (void) ngx_http_gateway_redis_topic_say(ctx, topic, &command);
    }

    ngx_http_gateway_redis_topic_lost(topic);
}


/* Sees to it that a topic is where it belongs. NGX_OK: it is. A confirmation
 * that is due is waited for, whatever the map says by now: they are told
 * apart by their order alone. */

static ngx_int_t
ngx_http_gateway_redis_topic_check(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    ngx_http_gateway_redis_topic_t *topic)
{
    ngx_http_gateway_redis_member_t  *node;

    if (topic->state == ngx_http_gateway_redis_topic_sent) {
        return NGX_AGAIN;
    }

    node = topic->slot >= 0 && ctx->sharded
           ? ctx->slots[topic->slot]
           : ngx_http_gateway_redis_cluster_any(ctx);

    if (topic->node != node) {
        ngx_http_gateway_redis_topic_leave(ctx, topic);

        topic->node = node;

        if (node) {
            node->topics++;
        }
    }

    if (node && topic->state == ngx_http_gateway_redis_topic_confirmed) {
        /* a node that does not answer sends no messages either */
        return node->link.ready ? NGX_OK : NGX_AGAIN;
    }

    if (node == NULL) {
        return NGX_AGAIN;
    }

    if (!node->subscribing) {
        node->subscribing = 1;
        ngx_http_gateway_redis_link_start(&node->sub, &node->place.server, 0);
    }

    if (node->sub.ready) {
        (void) ngx_http_gateway_redis_topic_send(ctx, topic);
    }

    return NGX_AGAIN;
}


static void
ngx_http_gateway_redis_cluster_distribute(
    ngx_http_gateway_redis_cluster_ctx_t *ctx)
{
    ngx_uint_t     i, missing;
    static u_char  several[] = "0000000000000000000000000000000000000000";

    missing = 0;

    for (i = 0; i < ctx->ntopics; i++) {
        missing += ngx_http_gateway_redis_topic_check(ctx, &ctx->topics[i])
                   != NGX_OK;
    }

    if (missing) {
        ngx_http_gateway_redis_share_lost(ctx->redis);
        return;
    }

    if (ctx->redis->told_deaf) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" is subscribed to again",
                      &ctx->redis->conf.name);
    }

    ctx->redis->deaf = 0;
    ctx->redis->told_deaf = 0;

    ngx_http_gateway_redis_share_subscribed(ctx->redis, several);
}


void
ngx_http_gateway_redis_cluster_subscribe(ngx_http_gateway_redis_t *redis)
{
    ngx_queue_t                           *q;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx == NULL || !ctx->mapped || !ctx->known
        || (ctx->topics == NULL
            && ngx_http_gateway_redis_cluster_topics(ctx) != NGX_OK))
    {
        return;
    }

    ngx_http_gateway_redis_cluster_distribute(ctx);

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->subscribing && node->topics == 0) {
            node->subscribing = 0;
            ngx_http_gateway_redis_link_stop(&node->sub);
        }
    }
}


void
ngx_http_gateway_redis_cluster_unsubscribe(ngx_http_gateway_redis_t *redis)
{
    ngx_queue_t                           *q;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->subscribing) {
            node->subscribing = 0;
            ngx_http_gateway_redis_link_stop(&node->sub);
            ngx_http_gateway_redis_cluster_sub_lost(node);
        }
    }

    ngx_http_gateway_redis_share_lost(redis);
}
