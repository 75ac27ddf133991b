/*
 * Sentinels: one is asked once a second for the master's address. When the
 * connection to the master is lost, or it is no master any more, the next is
 * asked, until one tells a server that says itself that it is the master.
 *
 * Commands and subscriptions are on one server: both move at once, also when
 * the old one goes on answering, because nobody has told it of its successor.
 */

#include "ngx_http_gateway_redis_ask.h"


#define NGX_HTTP_GATEWAY_REDIS_SENTINEL_INTERVAL  1000   /* ms */
#define NGX_HTTP_GATEWAY_REDIS_SENTINEL_HURRY     200    /* without a master */


typedef struct {
    ngx_http_gateway_redis_ask_t        ask;
    ngx_http_gateway_redis_wait_t       wait;
    ngx_str_t                           argv[3];
    ngx_http_gateway_redis_server_t    *sentinels;

    /* the master's; the other was the last one's, or is the next one's */
    ngx_http_gateway_redis_place_t      places[2];
    ngx_http_gateway_redis_place_t     *place;       /* NULL: not yet known */

    uint32_t                            reason;      /* digest of what was
                                                      * logged, 0: nothing */
} ngx_http_gateway_redis_sentinel_ctx_t;


static ngx_http_gateway_redis_server_t *
ngx_http_gateway_redis_sentinel_server(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i)
{
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;

    return i < redis->nservers ? &ctx->sentinels[i] : NULL;
}


/*
 * Many Sentinels have no password where the servers have one, and refuse it;
 * so it is given to those only that want one, the next time.
 */

static void
ngx_http_gateway_redis_sentinel_failed(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t *link)
{
    uint32_t                                reason;
    ngx_http_gateway_redis_server_t        *server;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;
    server = link->server;

    if (ngx_strstr(link->reason, "NOAUTH")) {
        server->user = redis->servers[0].user;
        server->password = redis->servers[0].password;

    } else if (ngx_strstr(link->reason, "AUTH")) {
        ngx_str_null(&server->user);
        ngx_str_null(&server->password);
    }

    reason = ngx_murmur_hash2((u_char *) link->reason,
                              ngx_strlen(link->reason));

    if (ctx->reason != reason) {
        ctx->reason = reason;
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": Sentinel %V: %s",
                      &redis->conf.name, &server->name, link->reason);
    }

    if (!redis->link->ready && ctx->ask.failures + 1 >= redis->nservers) {
        ngx_http_gateway_redis_is_down(redis, &server->name, link->reason);
    }
}


static void
ngx_http_gateway_redis_sentinel_up(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t               *redis;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    redis = link->redis;
    ctx = redis->routing;
    ctx->ask.interval = NGX_HTTP_GATEWAY_REDIS_SENTINEL_INTERVAL;

    ngx_http_gateway_redis_is_up(redis);
    ngx_http_gateway_redis_wait_send(&ctx->wait);
}


/*
 * The one that was asked may be the last to learn of a new master. And a
 * server that was demoted may keep its subscribers, and tell them nothing: so
 * they are not left there.
 */

static void
ngx_http_gateway_redis_sentinel_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = link->redis->routing;
    ctx->ask.interval = NGX_HTTP_GATEWAY_REDIS_SENTINEL_HURRY;

    ngx_http_gateway_redis_is_down(link->redis, &link->server->name,
                                   link->reason);

    ngx_http_gateway_redis_share_lost(link->redis);
    ngx_http_gateway_redis_link_stop(link->redis->subscription);

    ngx_http_gateway_redis_ask_next(&ctx->ask);
}


static void
ngx_http_gateway_redis_sentinel_switch(ngx_http_gateway_redis_t *redis,
    gw_redis_host_t *host)
{
    ngx_http_gateway_redis_place_t         *place;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;
    place = ctx->place == &ctx->places[0] ? &ctx->places[1] : &ctx->places[0];

    ngx_http_gateway_redis_place_set(place, redis, host);

    if (ctx->place) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": the master is %V, no longer %V",
                      &redis->conf.name, &place->server.name,
                      &ctx->place->server.name);
    }

    if (redis->link->ready) {
        ngx_http_gateway_redis_is_down(redis, &ctx->place->server.name,
                                       "it is the master no more");
    }

    ctx->place = place;
    ctx->ask.interval = NGX_HTTP_GATEWAY_REDIS_SENTINEL_HURRY;

    redis->link->backoff = NGX_HTTP_GATEWAY_REDIS_BACKOFF;
    ngx_http_gateway_redis_link_start(redis->link, &place->server, 0);

    ngx_http_gateway_redis_share_lost(redis);
    ngx_http_gateway_redis_link_stop(redis->subscription);
}


/* INFO, as in the handshake: not every user may ask for ROLE. */

static void
ngx_http_gateway_redis_sentinel_role(void *data, redisReply *reply)
{
    gw_str_t                   info;
    ngx_http_gateway_redis_t  *redis;

    if (reply == NULL) {
        return;
    }

    redis = data;

    if (reply->type == REDIS_REPLY_STRING) {
        info.data = (u_char *) reply->str;
        info.len = reply->len;

        if (ngx_http_gateway_redis_info_is(info, "role", "master")) {
            return;
        }
    }

    ngx_http_gateway_redis_link_fail(redis->link, "it is the master no more");
}


static ngx_int_t
ngx_http_gateway_redis_sentinel_answer(ngx_http_gateway_redis_t *redis,
    redisReply *reply)
{
    ngx_str_t                               argv[2];
    gw_redis_host_t                         host;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || ngx_http_gateway_redis_address(reply->element[0], reply->element[1],
                                          &host)
           != NGX_OK
        || host.host.len == 0)
    {
        ngx_http_gateway_redis_link_reason(&ctx->ask.link,
                                           "it knows no such master",
                                           sizeof("it knows no such master")
                                           - 1);
        ngx_http_gateway_redis_sentinel_failed(redis, &ctx->ask.link);
        return NGX_ERROR;
    }

    ctx->reason = 0;

    if (ctx->place == NULL
        || !ngx_http_gateway_redis_place_is(ctx->place, &host))
    {
        ngx_http_gateway_redis_sentinel_switch(redis, &host);
        return NGX_OK;
    }

    if (redis->link->ready) {
        ngx_str_set(&argv[0], "INFO");
        ngx_str_set(&argv[1], "replication");
        (void) ngx_http_gateway_redis_command_on(redis->link, argv, 2,
                   ngx_http_gateway_redis_sentinel_role, redis);
    }

    return NGX_OK;
}


static ngx_http_gateway_redis_server_t *
ngx_http_gateway_redis_sentinel_copies(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                        i;
    ngx_http_gateway_redis_server_t  *copies;

    copies = ngx_palloc(ngx_cycle->pool, redis->nservers * sizeof(*copies));
    if (copies == NULL) {
        return NULL;
    }

    for (i = 0; i < redis->nservers; i++) {
        copies[i] = redis->servers[i];
        ngx_str_null(&copies[i].user);
        ngx_str_null(&copies[i].password);
    }

    return copies;
}


static void
ngx_http_gateway_redis_sentinel_start(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_ask_t           *ask;
    ngx_http_gateway_redis_link_t          *link;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = ngx_pcalloc(ngx_cycle->pool, sizeof(*ctx));
    link = ngx_pcalloc(ngx_cycle->pool, sizeof(*link));
    redis->subscription = ngx_http_gateway_redis_subscription(redis);

    if (ctx == NULL || link == NULL || redis->subscription == NULL) {
        return;
    }

    ctx->sentinels = ngx_http_gateway_redis_sentinel_copies(redis);
    if (ctx->sentinels == NULL) {
        return;
    }

    redis->routing = ctx;
    redis->link = link;

    ngx_http_gateway_redis_link_init(link, redis);
    link->server = redis->servers;
    link->up = ngx_http_gateway_redis_sentinel_up;
    link->down = ngx_http_gateway_redis_sentinel_down;

    ngx_http_gateway_redis_wait_init(&ctx->wait, redis);

    ngx_str_set(&ctx->argv[0], "SENTINEL");
    ngx_str_set(&ctx->argv[1], "GET-MASTER-ADDR-BY-NAME");
    ctx->argv[2] = redis->master;

    ask = &ctx->ask;
    ask->redis = redis;
    ask->argv = ctx->argv;
    ask->argc = 3;
    ask->interval = NGX_HTTP_GATEWAY_REDIS_SENTINEL_HURRY;
    ask->server = ngx_http_gateway_redis_sentinel_server;
    ask->answer = ngx_http_gateway_redis_sentinel_answer;
    ask->failed = ngx_http_gateway_redis_sentinel_failed;

    ngx_http_gateway_redis_ask_init(ask);
    ask->link.sentinel = 1;
    ngx_http_gateway_redis_ask_start(ask);
}


static void
ngx_http_gateway_redis_sentinel_stop(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;

    if (ctx) {
        ngx_http_gateway_redis_ask_stop(&ctx->ask);
        ngx_http_gateway_redis_wait_stop(&ctx->wait);
        ngx_http_gateway_redis_link_stop(redis->link);
        ngx_http_gateway_redis_link_stop(redis->subscription);
    }
}


/* READONLY: it was the master a moment ago. Nothing was done, so the command
 * is sent to the new one, where that is found in time. */

static ngx_int_t
ngx_http_gateway_redis_sentinel_error(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply)
{
    ngx_uint_t                              again;
    ngx_http_gateway_redis_sentinel_ctx_t  *ctx;

    ctx = redis->routing;
    again = ngx_http_gateway_redis_error_is(reply, "READONLY");

    ngx_http_gateway_redis_link_fail(link, "it answers %s", reply->str);

    return again ? ngx_http_gateway_redis_wait_add(&ctx->wait, cmd)
           : NGX_DECLINED;
}


/* The rest is as with one server. */

static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_sentinel_pick(ngx_http_gateway_redis_t *redis,
    int slot)
{
    return ngx_http_gateway_redis_standalone.pick(redis, slot);
}


static ngx_uint_t
ngx_http_gateway_redis_sentinel_masters(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t **links)
{
    return ngx_http_gateway_redis_standalone.masters(redis, links);
}


static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_sentinel_master(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i)
{
    return ngx_http_gateway_redis_standalone.master(redis, i);
}


static void
ngx_http_gateway_redis_sentinel_subscribe(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_standalone.subscribe(redis);
}


static void
ngx_http_gateway_redis_sentinel_unsubscribe(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_standalone.unsubscribe(redis);
}


static void
ngx_http_gateway_redis_sentinel_follow(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_standalone.follow(redis);
}


ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_sentinel = {
    ngx_http_gateway_redis_sentinel_start,
    ngx_http_gateway_redis_sentinel_stop,
    NULL,
    ngx_http_gateway_redis_sentinel_pick,
    ngx_http_gateway_redis_sentinel_error,
    ngx_http_gateway_redis_sentinel_masters,
    ngx_http_gateway_redis_sentinel_master,
    ngx_http_gateway_redis_sentinel_subscribe,
    ngx_http_gateway_redis_sentinel_unsubscribe,
    ngx_http_gateway_redis_sentinel_follow
};
