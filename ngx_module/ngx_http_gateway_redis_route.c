/*
 * Which link a command takes, where there is one server at a time: the first
 * of the URLs that works. And what a worker does when Redis comes and goes.
 */

#include "ngx_http_gateway_redis_int.h"


/* channels in one SUBSCRIBE */
#define NGX_HTTP_GATEWAY_REDIS_SUBSCRIBE  64


static void ngx_http_gateway_redis_route_up(
    ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_route_down(
    ngx_http_gateway_redis_link_t *link);


void
ngx_http_gateway_redis_is_up(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    if (redis->up) {
        return;
    }

    if (redis->told) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" is back", &redis->conf.name);
    }

    redis->up = 1;
    redis->told = 0;
    ngx_http_gateway_redis_share_away(redis, 0);

    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        if (use[i].user->up) {
            use[i].user->up(redis, use[i].data);
        }
    }
}


void
ngx_http_gateway_redis_is_down(ngx_http_gateway_redis_t *redis,
    ngx_str_t *server, char *reason)
{
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    if (!redis->told) {
        redis->told = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" is away, %V: %s; what uses it "
                      "goes on without", &redis->conf.name, server, reason);
    }

    if (!redis->up) {
        return;
    }

    redis->up = 0;
    ngx_http_gateway_redis_share_away(redis, 1);

    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        if (use[i].user->down) {
            use[i].user->down(redis, use[i].data);
        }
    }
}


/* The subscriptions: to be on the same server as the commands. */

static void
ngx_http_gateway_redis_subscription_up(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t  *redis;

    redis = link->redis;
    redis->confirmed = 0;

    if (redis->link->ready
        && ngx_memcmp(redis->link->run_id, link->run_id,
                      NGX_HTTP_GATEWAY_REDIS_RUN_ID)
           != 0)
    {
        ngx_http_gateway_redis_link_fail(link, "it is another server");
        return;
    }

    if (ngx_http_gateway_redis_subscribe_all(link) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, "no memory");
    }
}


static void
ngx_http_gateway_redis_subscription_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t  *redis;

    redis = link->redis;

    ngx_http_gateway_redis_share_lost(redis);

    /* where all of it is away that is said already, or will be at once */
    if (redis->up && ++redis->deaf > 1 && !redis->told_deaf) {
        redis->told_deaf = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" cannot be subscribed to, %V: %s",
                      &redis->conf.name, &link->server->name, link->reason);
    }

    link->server = redis->link->server;
}


static void
ngx_http_gateway_redis_subscription_confirmed(
    ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t  *redis;

    redis = link->redis;

    if (++redis->confirmed != ngx_http_gateway_redis_share_topics(redis)) {
        return;
    }

    if (redis->told_deaf) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_redis \"%V\" is subscribed to again",
                      &redis->conf.name);
    }

    redis->deaf = 0;
    redis->told_deaf = 0;

    ngx_http_gateway_redis_share_subscribed(redis, link->run_id);
}


static void
ngx_http_gateway_redis_subscription_push(ngx_http_gateway_redis_link_t *link,
    redisReply *reply)
{
    redisReply  *what;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_gateway_redis_link_fail(link, "it refuses SUBSCRIBE: %s",
                                         reply->str);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        ngx_http_gateway_redis_link_fail(link, "it sends what is no message");
        return;
    }

    what = reply->element[0];

    if (what->len == sizeof("subscribe") - 1
        && ngx_memcmp(what->str, "subscribe", what->len) == 0)
    {
        ngx_http_gateway_redis_subscription_confirmed(link);
        return;
    }

    ngx_http_gateway_redis_share_message(link->redis, reply);
}


ngx_int_t
ngx_http_gateway_redis_subscribe_all(ngx_http_gateway_redis_link_t *link)
{
    size_t      room;
    u_char     *buf;
    ngx_int_t   rc, bucket;
    ngx_str_t   argv[1 + NGX_HTTP_GATEWAY_REDIS_SUBSCRIBE];
    ngx_uint_t  i, n;

    room = ngx_http_gateway_redis_share_room(link->redis);

    buf = ngx_alloc(room * NGX_HTTP_GATEWAY_REDIS_SUBSCRIBE, ngx_cycle->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "SUBSCRIBE");
    n = 0;

    for (i = 0; /* void */ ; i++) {
        rc = ngx_http_gateway_redis_share_topic(link->redis, i,
                                                buf + n * room, &argv[n + 1],
                                                &bucket);
        if (rc == NGX_OK) {
            n++;
        }

        if (n == NGX_HTTP_GATEWAY_REDIS_SUBSCRIBE || (rc == NGX_DONE && n)) {

            if (ngx_http_gateway_redis_command_on(link, argv, n + 1, NULL,
                                                  NULL)
                != NGX_OK)
            {
                rc = NGX_ERROR;
                break;
            }

            n = 0;
        }

        if (rc == NGX_DONE) {
            break;
        }
    }

    ngx_free(buf);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    link->pushes = 1;

    return NGX_OK;
}


ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_subscription(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_link_t  *link;

    link = ngx_pcalloc(ngx_cycle->pool, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }

    ngx_http_gateway_redis_link_init(link, redis);

    link->up = ngx_http_gateway_redis_subscription_up;
    link->down = ngx_http_gateway_redis_subscription_down;
    link->push = ngx_http_gateway_redis_subscription_push;

    return link;
}


static void
ngx_http_gateway_redis_route_subscribe(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_link_t  *link;

    link = redis->subscription;

    if (redis->link == NULL || !redis->link->ready || link->connection
        || link->resolving || link->retry.timer_set)
    {
        return;
    }

    ngx_http_gateway_redis_link_start(link, redis->link->server, 0);
}


static void
ngx_http_gateway_redis_route_unsubscribe(ngx_http_gateway_redis_t *redis)
{
    if (redis->link) {
        ngx_http_gateway_redis_link_stop(redis->subscription);
    }

    ngx_http_gateway_redis_share_lost(redis);
}


/* Whether the leader is subscribed to another server. */

static ngx_uint_t
ngx_http_gateway_redis_route_strays(ngx_http_gateway_redis_link_t *link)
{
    u_char  run_id[NGX_HTTP_GATEWAY_REDIS_RUN_ID];

    return ngx_http_gateway_redis_share_server(link->redis, run_id)
           && ngx_memcmp(run_id, link->run_id, sizeof(run_id)) != 0;
}


/*
 * All workers of a node use one server: one that has moved on to another URL
 * for a reason of its own comes back.
 */

static void
ngx_http_gateway_redis_route_follow(ngx_http_gateway_redis_t *redis)
{
    if (redis->link && redis->link->ready
        && ngx_http_gateway_redis_route_strays(redis->link))
    {
        redis->strayed = 1;
        ngx_http_gateway_redis_link_fail(redis->link, "the node uses another "
                                         "server");
    }
}


static void
ngx_http_gateway_redis_route_start(ngx_http_gateway_redis_t *redis)
{
    redis->link = ngx_pcalloc(ngx_cycle->pool, sizeof(*redis->link));
    redis->subscription = ngx_http_gateway_redis_subscription(redis);

    if (redis->link == NULL || redis->subscription == NULL) {
        redis->link = NULL;
        return;
    }

    ngx_http_gateway_redis_link_init(redis->link, redis);

    redis->link->up = ngx_http_gateway_redis_route_up;
    redis->link->down = ngx_http_gateway_redis_route_down;

    ngx_http_gateway_redis_link_start(redis->link, redis->servers, 0);
}


static void
ngx_http_gateway_redis_route_stop(ngx_http_gateway_redis_t *redis)
{
    if (redis->link) {
        ngx_http_gateway_redis_link_stop(redis->link);
        ngx_http_gateway_redis_link_stop(redis->subscription);
    }
}


static void
ngx_http_gateway_redis_route_up(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_t       *redis;
    ngx_http_gateway_redis_link_t  *subscription;

    redis = link->redis;

    /* a worker of before a reload may find no other: it is not back */
    if (redis->strayed && !redis->leads
        && ngx_http_gateway_redis_route_strays(link))
    {
        ngx_http_gateway_redis_link_fail(link, "the node uses another "
                                         "server");
        return;
    }

    redis->strayed = 0;
    redis->failures = 0;

    subscription = redis->subscription;

    if (subscription->ready
        && ngx_memcmp(subscription->run_id, link->run_id,
                      NGX_HTTP_GATEWAY_REDIS_RUN_ID)
           != 0)
    {
        ngx_http_gateway_redis_link_fail(subscription,
                                         "commands go to another server");
    }

    ngx_http_gateway_redis_is_up(redis);
}


/* The next URL is tried, soon where not all have been. Away it is, and that
 * is said, when it was there or none has worked. */

static void
ngx_http_gateway_redis_route_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_str_t                 *server;
    ngx_http_gateway_redis_t  *redis;

    redis = link->redis;
    server = &link->server->name;

    if (++link->server == redis->servers + redis->nservers) {
        link->server = redis->servers;
    }

    if (redis->up || ++redis->failures >= redis->nservers) {
        ngx_http_gateway_redis_is_down(redis, server, link->reason);
    }

    if (redis->failures < redis->nservers && redis->nservers > 1) {
        ngx_http_gateway_redis_link_later(link, 1);
    }
}


static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_route_pick(ngx_http_gateway_redis_t *redis, int slot)
{
    return redis->link && redis->link->ready ? redis->link : NULL;
}


/* Whatever it is, this server cannot serve: the handshake will tell when one
 * can. */

static ngx_int_t
ngx_http_gateway_redis_route_error(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply)
{
    ngx_http_gateway_redis_link_fail(link, "it answers %s", reply->str);

    return NGX_DECLINED;
}


static ngx_http_gateway_redis_link_t *
ngx_http_gateway_redis_route_master(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i)
{
    return i == 0 ? ngx_http_gateway_redis_route_pick(redis, -1) : NULL;
}


static ngx_uint_t
ngx_http_gateway_redis_route_masters(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_link_t **links)
{
    if (links) {
        links[0] = ngx_http_gateway_redis_route_master(redis, 0);
    }

    return 1;
}


ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_standalone = {
    ngx_http_gateway_redis_route_start,
    ngx_http_gateway_redis_route_stop,
    NULL,
    ngx_http_gateway_redis_route_pick,
    ngx_http_gateway_redis_route_error,
    ngx_http_gateway_redis_route_masters,
    ngx_http_gateway_redis_route_master,
    ngx_http_gateway_redis_route_subscribe,
    ngx_http_gateway_redis_route_unsubscribe,
    ngx_http_gateway_redis_route_follow
};
