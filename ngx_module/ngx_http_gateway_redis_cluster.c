/*
 * A Cluster: the map of its slots, and one link to each master.
 *
 * The map is fetched from any node, again every few seconds, and at once when
 * a node is lost or says that a slot is not with it. A command that was not
 * carried out for such a reason is sent again, where it belongs by then, or a
 * little later.
 */

#include "ngx_http_gateway_redis_cluster.h"


#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_NODES     1024
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_IDLE      10000   /* ms */

/* ms, between two questions; the leader's subscriptions depend on it */
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_INTERVAL  5000
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_LEADER    1000
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_HURRY     200
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_SOON      20


static ngx_http_gateway_redis_server_t *
    ngx_http_gateway_redis_cluster_server(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i);
static ngx_int_t ngx_http_gateway_redis_cluster_answer(
    ngx_http_gateway_redis_t *redis, redisReply *reply);
static void ngx_http_gateway_redis_cluster_failed(
    ngx_http_gateway_redis_t *redis, ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_cluster_up(
    ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_cluster_down(
    ngx_http_gateway_redis_link_t *link);


static ngx_str_t  ngx_http_gateway_redis_spublish = ngx_string("SPUBLISH");
static ngx_str_t  ngx_http_gateway_redis_publish = ngx_string("PUBLISH");


/* Nodes. */

static ngx_http_gateway_redis_member_t *
ngx_http_gateway_redis_cluster_node(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    gw_redis_host_t *host, ngx_http_gateway_redis_server_t *by)
{
    ngx_queue_t                    *q;
    gw_redis_host_t                 full;
    ngx_http_gateway_redis_member_t  *node;

    full = *host;

    if (full.host.len == 0) {
        full.host = ngx_http_gateway_span(&by->host);
        full.ipv6 = ngx_strlchr(by->host.data, by->host.data + by->host.len,
                                ':')
                    != NULL;
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (ngx_http_gateway_redis_place_is(&node->place, &full)) {
            node->used = ngx_current_msec;
            return node;
        }
    }

    if (ctx->nnodes == NGX_HTTP_GATEWAY_REDIS_CLUSTER_NODES) {
        return NULL;
    }

    node = ngx_calloc(sizeof(*node), ngx_cycle->log);
    if (node == NULL) {
        return NULL;
    }

    ngx_http_gateway_redis_place_set(&node->place, ctx->redis, &full);
    node->used = ngx_current_msec;

    ngx_queue_insert_tail(&ctx->nodes, &node->queue);
    ctx->nnodes++;

    ngx_http_gateway_redis_link_init(&node->link, ctx->redis);
    node->link.cluster = 1;
    node->link.up = ngx_http_gateway_redis_cluster_up;
    node->link.down = ngx_http_gateway_redis_cluster_down;
    node->link.data = node;

    ngx_http_gateway_redis_cluster_sub_init(node);

    ngx_http_gateway_redis_link_start(&node->link, &node->place.server, 0);

    return node;
}


/* It has slots. Before, as a replica, it was of no use, and was tried less and
 * less often. */

static void
ngx_http_gateway_redis_cluster_serves(ngx_http_gateway_redis_member_t *node)
{
    ngx_http_gateway_redis_link_t  *link;

    link = &node->link;

    if (!node->master && link->retry.timer_set) {
        link->backoff = NGX_HTTP_GATEWAY_REDIS_BACKOFF;
        ngx_http_gateway_redis_link_later(link, 0);
    }

    node->master = 1;
}


/* Those that have had no slot for some time, and nothing to answer. Not to be
 * called by what a node's link calls. */

static void
ngx_http_gateway_redis_cluster_tidy(ngx_http_gateway_redis_cluster_ctx_t *ctx)
{
    ngx_queue_t                    *q, *next;
    ngx_http_gateway_redis_member_t  *node;

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = next)
    {
        next = ngx_queue_next(q);
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->master || node->topics || node->subscribing
            || ngx_current_msec - node->used
               < NGX_HTTP_GATEWAY_REDIS_CLUSTER_IDLE
            || (node->link.ready && node->link.ncommands))
        {
            continue;
        }

        if (ctx->any == node) {
            ctx->any = NULL;
        }

        ngx_http_gateway_redis_link_stop(&node->link);
        ngx_queue_remove(q);
        ctx->nnodes--;
        ngx_free(node);
    }
}


/* It is up when one master is, and all have been tried; but gateway_redis_up
 * is 0 while this worker lacks one, as it is without the slots there. */

static void
ngx_http_gateway_redis_cluster_check(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    ngx_http_gateway_redis_link_t *link)
{
    ngx_uint_t                      ready, untried, masters;
    ngx_queue_t                    *q;
    ngx_http_gateway_redis_member_t  *node;

    ready = 0;
    untried = 0;
    masters = 0;

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        /* what was taken out of the queue before is not here any more, which
         * clang's analyzer cannot know */
        if (node->master) { /* NOLINT(clang-analyzer-unix.Malloc) */
            masters++;
            ready += node->link.ready;
            untried += !node->tried;
        }
    }

    ctx->ask.interval = !ctx->mapped || ready < masters
                        ? NGX_HTTP_GATEWAY_REDIS_CLUSTER_HURRY
                        : ctx->redis->leads
                        ? NGX_HTTP_GATEWAY_REDIS_CLUSTER_LEADER
                        : NGX_HTTP_GATEWAY_REDIS_CLUSTER_INTERVAL;

    if (ready && !untried && ctx->known) {
        ngx_http_gateway_redis_is_up(ctx->redis);

    } else if (link && ready == 0 && untried == 0) {
        ngx_http_gateway_redis_is_down(ctx->redis, &link->server->name,
                                       link->reason);
    }

    if (ctx->redis->up) {
        ngx_http_gateway_redis_share_away(ctx->redis, ready < masters);
    }
}


/*
 * Redis 7 and later. All nodes of a Cluster are taken to be alike: while one
 * is upgraded after the other, the last that was asked counts. Where this user
 * may not ask, the version tells: who announces and who listens must agree,
 * also where they are of different users.
 */

static void
ngx_http_gateway_redis_cluster_sharded(void *data, redisReply *reply)
{
    ngx_http_gateway_redis_link_t         *link;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    if (reply == NULL) {
        return;
    }

    link = data;
    ctx = link->redis->routing;
    ctx->known = 1;
    ctx->sharded = reply->type == REDIS_REPLY_ERROR
                   ? link->version >= 7
                   : reply->type == REDIS_REPLY_ARRAY && reply->elements == 1
                     && reply->element[0]->type == REDIS_REPLY_ARRAY;

    ngx_http_gateway_redis_cluster_check(ctx, NULL);
    ngx_http_gateway_redis_wait_send(&ctx->wait);
}


static void
ngx_http_gateway_redis_cluster_up(ngx_http_gateway_redis_link_t *link)
{
    ngx_str_t                              argv[3];
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    node = link->data;
    node->tried = 1;
    ctx = link->redis->routing;

    if (node->told) {
        node->told = 0;
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": node %V is back",
                      &link->redis->conf.name, &link->server->name);
    }

    ngx_str_set(&argv[0], "COMMAND");
    ngx_str_set(&argv[1], "INFO");
    argv[2] = ngx_http_gateway_redis_spublish;

    (void) ngx_http_gateway_redis_command_on(link, argv, 3,
               ngx_http_gateway_redis_cluster_sharded, link);

    ngx_http_gateway_redis_cluster_check(ctx, link);
    ngx_http_gateway_redis_wait_send(&ctx->wait);
}


static void
ngx_http_gateway_redis_cluster_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    node = link->data;
    ctx = link->redis->routing;

    if (node->serves && !node->told) {
        node->told = 1;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": node %V is away: %s",
                      &link->redis->conf.name, &link->server->name,
                      link->reason);
    }

    node->tried = 1;

    ngx_http_gateway_redis_cluster_check(ctx, link);
    ngx_http_gateway_redis_cluster_refresh(ctx);
}


/* The map. */

void
ngx_http_gateway_redis_cluster_refresh(
    ngx_http_gateway_redis_cluster_ctx_t *ctx)
{
    ngx_http_gateway_redis_ask_soon(&ctx->ask,
                                    NGX_HTTP_GATEWAY_REDIS_CLUSTER_SOON);
}


/* [first, last, [host, port, ...], replicas ...] */

static ngx_int_t
ngx_http_gateway_redis_cluster_range(redisReply *range, gw_redis_host_t *host)
{
    redisReply  *master;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3
        || range->element[0]->type != REDIS_REPLY_INTEGER
        || range->element[1]->type != REDIS_REPLY_INTEGER
        || range->element[0]->integer < 0
        || range->element[1]->integer >= GW_REDIS_SLOTS
        || range->element[0]->integer > range->element[1]->integer)
    {
        return NGX_ERROR;
    }

    master = range->element[2];

    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_redis_address(master->element[0],
                                          master->element[1], host);
}


static ngx_int_t
ngx_http_gateway_redis_cluster_apply(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    redisReply *reply)
{
    long long                       slot;
    ngx_uint_t                      i;
    redisReply                     *range;
    ngx_queue_t                    *q;
    gw_redis_host_t                 host;
    ngx_http_gateway_redis_member_t  *node;

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);
        node->serves = 0;
    }

    ngx_memzero(ctx->slots, sizeof(ctx->slots));

    for (i = 0; i < reply->elements; i++) {
        range = reply->element[i];

        if (ngx_http_gateway_redis_cluster_range(range, &host) != NGX_OK) {
            return NGX_ERROR;
        }

        node = ngx_http_gateway_redis_cluster_node(ctx, &host,
                                                   ctx->ask.link.server);
        if (node == NULL) {
            return NGX_ERROR;
        }

        node->serves = 1;

        for (slot = range->element[0]->integer;
             slot <= range->element[1]->integer;
             slot++)
        {
            ctx->slots[slot] = node;
        }
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->serves) {
            ngx_http_gateway_redis_cluster_serves(node);

        } else {
            node->master = 0;
        }
    }

    return NGX_OK;
}


/* NULL, or what is wrong with it. Each slot is there once at most. */

static char *
ngx_http_gateway_redis_cluster_wrong(redisReply *reply)
{
    long long         n;
    ngx_uint_t        i;
    redisReply       *range;
    gw_redis_host_t   host;

    if (reply->type == REDIS_REPLY_ERROR) {
        return reply->str;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        return "its CLUSTER SLOTS is no list";
    }

    if (reply->elements == 0) {
        /* it was taken out of the Cluster, or that is not made yet */
        return "it knows of no slots";
    }

    n = 0;

    for (i = 0; i < reply->elements; i++) {
        range = reply->element[i];

        if (ngx_http_gateway_redis_cluster_range(range, &host) != NGX_OK) {
            return "its CLUSTER SLOTS holds what is no range of slots";
        }

        n += range->element[1]->integer - range->element[0]->integer + 1;

        if (n > GW_REDIS_SLOTS) {
            return "its CLUSTER SLOTS has too many slots";
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_gateway_redis_cluster_answer(ngx_http_gateway_redis_t *redis,
    redisReply *reply)
{
    char                                  *wrong;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    wrong = ngx_http_gateway_redis_cluster_wrong(reply);

    if (wrong) {
        ngx_http_gateway_redis_link_reason(&ctx->ask.link, wrong,
                                           ngx_strlen(wrong));
        ngx_http_gateway_redis_cluster_failed(redis, &ctx->ask.link);
        return NGX_ERROR;
    }

    if (ngx_http_gateway_redis_cluster_apply(ctx, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->mapped = 1;

    ngx_http_gateway_redis_cluster_tidy(ctx);
    ngx_http_gateway_redis_cluster_check(ctx, NULL);
    ngx_http_gateway_redis_wait_send(&ctx->wait);

    return NGX_OK;
}


/* Those of the URL, then all that were heard of. */

static ngx_http_gateway_redis_server_t *
ngx_http_gateway_redis_cluster_server(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i)
{
    ngx_queue_t                           *q;
    gw_redis_host_t                        host;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    if (i < redis->nservers) {
        return &redis->servers[i];
    }

    ctx = redis->routing;
    i -= redis->nservers;

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        if (i-- > 0) {
            continue;
        }

        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        /* the node may be gone before the link is */
        host.host = ngx_http_gateway_span(&node->place.server.host);
        host.port = node->place.server.port;
        host.ipv6 = node->place.server.name.data[0] == '[';
        ngx_http_gateway_redis_place_set(&ctx->asked, redis, &host);
        return &ctx->asked.server;
    }

    return NULL;
}


static void
ngx_http_gateway_redis_cluster_failed(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (!redis->up && ctx->ask.failures + 1 >= redis->nservers) {
        ngx_http_gateway_redis_is_down(redis, &link->server->name,
                                       link->reason);
    }
}


/* Commands. */

static int
ngx_http_gateway_redis_cluster_slot(ngx_str_t *key)
{
    return gw_redis_slot(ngx_http_gateway_span(key));
}


static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_cluster_pick(ngx_http_gateway_redis_t *redis, int slot)
{
    ngx_queue_t                           *q;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx == NULL) {
        return NULL;
    }

    if (slot >= 0) {
        node = ctx->slots[slot];
        return node && node->link.ready ? &node->link : NULL;
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->master && node->link.ready) {
            return &node->link;
        }
    }

    return NULL;
}


ngx_http_gateway_redis_member_t *
ngx_http_gateway_redis_cluster_moved(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    gw_redis_error_t *error, ngx_http_gateway_redis_server_t *by)
{
    ngx_http_gateway_redis_member_t  *node;

    ngx_http_gateway_redis_cluster_refresh(ctx);

    if (error->host.port == 0) {
        return NULL;
    }

    node = ngx_http_gateway_redis_cluster_node(ctx, &error->host, by);

    if (node) {
        ngx_http_gateway_redis_cluster_serves(node);
        ctx->slots[error->slot] = node;
    }

    return node;
}


/* ASK: this command only, and not before ASKING. */

static ngx_int_t
ngx_http_gateway_redis_cluster_ask(ngx_http_gateway_redis_cluster_ctx_t *ctx,
    gw_redis_error_t *error, ngx_http_gateway_redis_server_t *by,
    ngx_http_gateway_redis_command_t *cmd)
{
    ngx_str_t                       argv[1];
    ngx_http_gateway_redis_member_t  *node;

    node = error->host.port
           ? ngx_http_gateway_redis_cluster_node(ctx, &error->host, by) : NULL;

    ngx_str_set(&argv[0], "ASKING");

    if (node == NULL || !node->link.ready
        || cmd->tries >= NGX_HTTP_GATEWAY_REDIS_TRIES
        || ngx_http_gateway_redis_command_on(&node->link, argv, 1, NULL, NULL)
           != NGX_OK)
    {
        /* by then there may be a link; the first node will say ASK again */
        return ngx_http_gateway_redis_wait_add(&ctx->wait, cmd);
    }

    return ngx_http_gateway_redis_link_send(&node->link, cmd);
}


static ngx_int_t
ngx_http_gateway_redis_cluster_error(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply)
{
    gw_str_t                               text;
    gw_redis_error_t                       error;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    text.data = (u_char *) reply->str;
    text.len = reply->len;
    gw_redis_error_parse(&error, text);

    switch (error.kind) {

    case GW_REDIS_MOVED:
        node = ngx_http_gateway_redis_cluster_moved(ctx, &error,
                                                    link->server);

        if (node && node->link.ready
            && cmd->tries < NGX_HTTP_GATEWAY_REDIS_TRIES
            && ngx_http_gateway_redis_link_send(&node->link, cmd) == NGX_OK)
        {
            return NGX_OK;
        }

        return ngx_http_gateway_redis_wait_add(&ctx->wait, cmd);

    case GW_REDIS_ASK:
        return ngx_http_gateway_redis_cluster_ask(ctx, &error, link->server,
                                                  cmd);

    case GW_REDIS_TRYAGAIN:
        /*
         * Some of the keys are there yet, or none was ever: until the slot
         * has arrived, for which there is the whole time of the command.
         */
        cmd->tries -= ngx_min(cmd->tries, 2);
        return ngx_http_gateway_redis_wait_add(&ctx->wait, cmd);

    case GW_REDIS_CLUSTERDOWN:
        /* a part of it, perhaps: others may know better */
        if (ctx->ask.link.ready) {
            ngx_http_gateway_redis_ask_next(&ctx->ask);
        }

        return NGX_DECLINED;

    default:
        ngx_http_gateway_redis_link_fail(link, "it answers %s", reply->str);
        return NGX_DECLINED;
    }
}


static ngx_uint_t
ngx_http_gateway_redis_cluster_masters(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t **links)
{
    ngx_uint_t                             n;
    ngx_queue_t                           *q;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    n = 0;
    ctx = redis->routing;

    if (ctx == NULL) {
        return 0;
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (!node->master) {
            continue;
        }

        if (links) {
            links[n] = node->link.ready ? &node->link : NULL;
        }

        n++;
    }

    return n;
}


static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_cluster_master(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i)
{
    ngx_queue_t                           *q;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx == NULL) {
        return NULL;
    }

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        if (node->master && i-- == 0) {
            return node->link.ready ? &node->link : NULL;
        }
    }

    return NULL;
}


ngx_str_t *
ngx_http_gateway_redis_publish_command(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    if (redis->route != &ngx_http_gateway_redis_cluster) {
        return &ngx_http_gateway_redis_publish;
    }

    ctx = redis->routing;

    return ctx && ctx->sharded ? &ngx_http_gateway_redis_spublish
           : &ngx_http_gateway_redis_publish;
}


static void
ngx_http_gateway_redis_cluster_start(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_ask_t          *ask;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = ngx_pcalloc(ngx_cycle->pool, sizeof(*ctx));
    if (ctx == NULL) {
        return;
    }

    redis->routing = ctx;
    ctx->redis = redis;

    ngx_queue_init(&ctx->nodes);
    ngx_http_gateway_redis_wait_init(&ctx->wait, redis);

    ngx_str_set(&ctx->argv[0], "CLUSTER");
    ngx_str_set(&ctx->argv[1], "SLOTS");

    ask = &ctx->ask;
    ask->redis = redis;
    ask->argv = ctx->argv;
    ask->argc = 2;
    ask->interval = NGX_HTTP_GATEWAY_REDIS_CLUSTER_HURRY;
    ask->server = ngx_http_gateway_redis_cluster_server;
    ask->answer = ngx_http_gateway_redis_cluster_answer;
    ask->failed = ngx_http_gateway_redis_cluster_failed;

    ngx_http_gateway_redis_ask_init(ask);
    ask->link.cluster = 1;
    ngx_http_gateway_redis_ask_start(ask);
}


static void
ngx_http_gateway_redis_cluster_stop(ngx_http_gateway_redis_t *redis)
{
    ngx_queue_t                           *q, *next;
    ngx_http_gateway_redis_member_t         *node;
    ngx_http_gateway_redis_cluster_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx == NULL) {
        return;
    }

    ngx_http_gateway_redis_ask_stop(&ctx->ask);
    ngx_http_gateway_redis_wait_stop(&ctx->wait);

    for (q = ngx_queue_head(&ctx->nodes);
         q != ngx_queue_sentinel(&ctx->nodes);
         q = next)
    {
        next = ngx_queue_next(q);
        node = ngx_queue_data(q, ngx_http_gateway_redis_member_t, queue);

        ngx_http_gateway_redis_link_stop(&node->link);
        ngx_http_gateway_redis_link_stop(&node->sub);
        ngx_free(node);
    }

    ngx_queue_init(&ctx->nodes);

    redis->routing = NULL;
}


ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_cluster = {
    ngx_http_gateway_redis_cluster_start,
    ngx_http_gateway_redis_cluster_stop,
    ngx_http_gateway_redis_cluster_slot,
    ngx_http_gateway_redis_cluster_pick,
    ngx_http_gateway_redis_cluster_error,
    ngx_http_gateway_redis_cluster_masters,
    ngx_http_gateway_redis_cluster_master,
    ngx_http_gateway_redis_cluster_subscribe,
    ngx_http_gateway_redis_cluster_unsubscribe,
    NULL
};
