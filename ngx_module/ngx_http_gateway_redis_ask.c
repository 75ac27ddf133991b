/*
 * Asking servers where commands have to go, and commands that have to wait
 * until that is known.
 */

#include "ngx_http_gateway_redis_ask.h"


#define NGX_HTTP_GATEWAY_REDIS_ASK_DELAY      100    /* ms, doubled */
#define NGX_HTTP_GATEWAY_REDIS_ASK_DOUBLINGS  4
#define NGX_HTTP_GATEWAY_REDIS_WAIT           50     /* ms */
#define NGX_HTTP_GATEWAY_REDIS_WAIT_MAX       4096   /* commands */


static void ngx_http_gateway_redis_ask_up(
    ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_ask_down(
    ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_ask_timer(ngx_event_t *ev);
static void ngx_http_gateway_redis_ask_answer(void *data, redisReply *reply);
static void ngx_http_gateway_redis_wait_timer(ngx_event_t *ev);


/* Places. */

/* A host that stands in the URL was looked up at the start, perhaps. */

static ngx_http_gateway_redis_server_t *
ngx_http_gateway_redis_place_known(ngx_http_gateway_redis_t *redis,
    ngx_str_t *host)
{
    ngx_uint_t                        i;
    ngx_http_gateway_redis_server_t  *server;

    for (i = 0; i < redis->nservers; i++) {
        server = &redis->servers[i];

        if (server->naddrs && server->host.len == host->len
            && server->addrs[0].socklen <= (socklen_t) sizeof(ngx_sockaddr_t)
            && ngx_memcmp(server->host.data, host->data, host->len) == 0)
        {
            return server;
        }
    }

    return NULL;
}


/* 0: a name, for the resolver. */

static ngx_uint_t
ngx_http_gateway_redis_place_addr(ngx_http_gateway_redis_place_t *place,
    ngx_http_gateway_redis_t *redis)
{
    in_addr_t                         in;
    ngx_str_t                        *host;
    struct sockaddr_in               *sin;
    ngx_http_gateway_redis_server_t  *known;
#if (NGX_HAVE_INET6)
    u_char                            in6[16];
    struct sockaddr_in6              *sin6;
#endif

    host = &place->server.host;
    in = ngx_inet_addr(host->data, host->len);
    known = ngx_http_gateway_redis_place_known(redis, host);

    if (in != INADDR_NONE) {
        sin = &place->sockaddr.sockaddr_in;
        sin->sin_family = AF_INET;
        sin->sin_addr.s_addr = in;
        place->addr.socklen = sizeof(*sin);

#if (NGX_HAVE_INET6)
    } else if (ngx_inet6_addr(host->data, host->len, in6) == NGX_OK) {
        sin6 = &place->sockaddr.sockaddr_in6;
        sin6->sin6_family = AF_INET6;
        ngx_memcpy(sin6->sin6_addr.s6_addr, in6, sizeof(in6));
        place->addr.socklen = sizeof(*sin6);
#endif

    } else if (known) {
        place->addr.socklen = known->addrs[0].socklen;
        ngx_memcpy(&place->sockaddr, known->addrs[0].sockaddr,
                   place->addr.socklen);

    } else {
        return 0;
    }

    ngx_inet_set_port(&place->sockaddr.sockaddr, place->server.port);
    place->addr.sockaddr = &place->sockaddr.sockaddr;
    place->addr.name = place->server.name;

    return 1;
}


void
ngx_http_gateway_redis_place_set(ngx_http_gateway_redis_place_t *place,
    ngx_http_gateway_redis_t *redis, gw_redis_host_t *host)
{
    ngx_http_gateway_redis_server_t  *server;

    ngx_memzero(place, sizeof(*place));

    server = &place->server;
    *server = redis->servers[0];

    server->host.data = place->host;
    server->host.len = ngx_min(host->host.len, sizeof(place->host) - 1);
    ngx_memcpy(place->host, host->host.data, server->host.len);

    server->port = host->port;

    server->name.data = place->name;
    server->name.len = ngx_slprintf(place->name,
                                    place->name + sizeof(place->name),
                                    host->ipv6 ? "[%V]:%ui" : "%V:%ui",
                                    &server->host, (ngx_uint_t) server->port)
                       - place->name;

    server->addrs = &place->addr;
    server->naddrs = ngx_http_gateway_redis_place_addr(place, redis);
}


ngx_uint_t
ngx_http_gateway_redis_place_is(ngx_http_gateway_redis_place_t *place,
    gw_redis_host_t *host)
{
    return place->server.port == host->port
           && place->server.host.len == host->host.len
           && ngx_memcmp(place->host, host->host.data, host->host.len) == 0;
}


ngx_int_t
ngx_http_gateway_redis_address(redisReply *host, redisReply *port,
    gw_redis_host_t *address)
{
    int64_t   n;
    gw_str_t  s;

    if (port->type == REDIS_REPLY_INTEGER) {
        n = port->integer;

    } else if (port->type == REDIS_REPLY_STRING) {
        s.data = (u_char *) port->str;
        s.len = port->len;

        if (gw_redis_number(s, 65535, &n) != GW_OK) {
            return NGX_ERROR;
        }

    } else {
        return NGX_ERROR;
    }

    /* of a Cluster nil: that of the node asked */
    s.data = (u_char *) "";
    s.len = 0;

    if (host->type == REDIS_REPLY_STRING) {
        s.data = (u_char *) host->str;
        s.len = host->len;

    } else if (host->type != REDIS_REPLY_NIL) {
        return NGX_ERROR;
    }

    return gw_redis_host_check(address, s, n) == GW_OK ? NGX_OK : NGX_ERROR;
}


/* Asking. */

void
ngx_http_gateway_redis_ask_init(ngx_http_gateway_redis_ask_t *ask)
{
    ngx_http_gateway_redis_link_init(&ask->link, ask->redis);

    ask->link.any_role = 1;
    ask->link.up = ngx_http_gateway_redis_ask_up;
    ask->link.down = ngx_http_gateway_redis_ask_down;
    ask->link.data = ask;

    ask->timer.handler = ngx_http_gateway_redis_ask_timer;
    ask->timer.data = ask;
    ask->timer.log = ngx_cycle->log;
    ask->timer.cancelable = 1;
}


static void
ngx_http_gateway_redis_ask_connect(ngx_http_gateway_redis_ask_t *ask,
    ngx_msec_t delay)
{
    ngx_http_gateway_redis_server_t  *server;

    ask->waiting = 0;
    ask->again = 0;

    server = ask->server(ask->redis, ask->i);

    if (server == NULL) {
        ask->i = 0;
        server = ask->server(ask->redis, 0);
    }

    ngx_http_gateway_redis_link_start(&ask->link, server, delay);
}


void
ngx_http_gateway_redis_ask_start(ngx_http_gateway_redis_ask_t *ask)
{
    /* not all workers ask the same one */
    for (ask->i = ngx_random() % 8; ask->i; ask->i--) {
        if (ask->server(ask->redis, ask->i)) {
            break;
        }
    }

    ngx_http_gateway_redis_ask_connect(ask, 0);
}


void
ngx_http_gateway_redis_ask_stop(ngx_http_gateway_redis_ask_t *ask)
{
    ngx_http_gateway_redis_link_stop(&ask->link);

    if (ask->timer.timer_set) {
        ngx_del_timer(&ask->timer);
    }
}


/* All were tried once without a pause, then it gets slower. */

void
ngx_http_gateway_redis_ask_next(ngx_http_gateway_redis_ask_t *ask)
{
    ngx_uint_t  n, rounds;
    ngx_msec_t  delay;

    for (n = 1; ask->server(ask->redis, n); n++) { /* void */ }

    delay = 0;
    rounds = ++ask->failures / n;

    if (rounds) {
        rounds = ngx_min(rounds - 1, NGX_HTTP_GATEWAY_REDIS_ASK_DOUBLINGS);
        delay = NGX_HTTP_GATEWAY_REDIS_ASK_DELAY << rounds;
        delay = delay / 2 + (ngx_msec_t) ngx_random() % delay;
    }

    ask->i++;
    ngx_http_gateway_redis_ask_connect(ask, delay);
}


void
ngx_http_gateway_redis_ask_soon(ngx_http_gateway_redis_ask_t *ask,
    ngx_msec_t delay)
{
    if (ask->waiting) {
        ask->again = 1;
        return;
    }

    if (ask->timer.timer_set) {

        if ((ngx_msec_int_t) (ask->timer.timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) delay)
        {
            return;
        }

        /* else nginx leaves it where the difference is small */
        ngx_del_timer(&ask->timer);
    }

    ngx_add_timer(&ask->timer, delay);
}


static void
ngx_http_gateway_redis_ask_timer(ngx_event_t *ev)
{
    ngx_http_gateway_redis_ask_t  *ask;

    ask = ev->data;

    if (!ask->link.ready || ask->waiting) {
        return;
    }

    if (ngx_http_gateway_redis_command_on(&ask->link, ask->argv, ask->argc,
            ngx_http_gateway_redis_ask_answer, ask)
        != NGX_OK)
    {
        ngx_http_gateway_redis_ask_soon(ask, ask->interval);
        return;
    }

    ask->waiting = 1;
}


static void
ngx_http_gateway_redis_ask_up(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_ask_soon(link->data, 0);
}


static void
ngx_http_gateway_redis_ask_down(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_ask_t  *ask;

    ask = link->data;

    ask->failed(ask->redis, link);
    ngx_http_gateway_redis_ask_next(ask);
}


static void
ngx_http_gateway_redis_ask_answer(void *data, redisReply *reply)
{
    ngx_uint_t                     again;
    ngx_http_gateway_redis_ask_t  *ask;

    if (reply == NULL) {
        /* the link was closed, who did it goes on */
        return;
    }

    ask = data;
    again = ask->again;
    ask->waiting = 0;
    ask->again = 0;

    if (ask->answer(ask->redis, reply) != NGX_OK) {
        ngx_http_gateway_redis_ask_next(ask);
        return;
    }

    ask->failures = 0;
    ngx_http_gateway_redis_ask_soon(ask, again ? NGX_HTTP_GATEWAY_REDIS_WAIT
                                               : ask->interval);
}


/* Waiting. */

void
ngx_http_gateway_redis_wait_init(ngx_http_gateway_redis_wait_t *wait,
    ngx_http_gateway_redis_t *redis)
{
    wait->redis = redis;
    ngx_queue_init(&wait->commands);

    wait->timer.handler = ngx_http_gateway_redis_wait_timer;
    wait->timer.data = wait;
    wait->timer.log = ngx_cycle->log;
}


ngx_int_t
ngx_http_gateway_redis_wait_add(ngx_http_gateway_redis_wait_t *wait,
    ngx_http_gateway_redis_command_t *cmd)
{
    if (wait->n == NGX_HTTP_GATEWAY_REDIS_WAIT_MAX
        || cmd->tries >= NGX_HTTP_GATEWAY_REDIS_TRIES)
    {
        return NGX_DECLINED;
    }

    cmd->link = NULL;
    ngx_queue_insert_tail(&wait->commands, &cmd->queue);
    wait->n++;

    if (!wait->timer.timer_set) {
        ngx_add_timer(&wait->timer, NGX_HTTP_GATEWAY_REDIS_WAIT);
    }

    return NGX_OK;
}


void
ngx_http_gateway_redis_wait_send(ngx_http_gateway_redis_wait_t *wait)
{
    ngx_uint_t                         i;
    ngx_queue_t                       *q;
    ngx_http_gateway_redis_link_t     *link;
    ngx_http_gateway_redis_command_t  *cmd;

    for (i = wait->n; i; i--) {
        q = ngx_queue_head(&wait->commands);
        cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);

        ngx_queue_remove(q);
        wait->n--;

        link = wait->redis->route->pick(wait->redis, cmd->slot);

        if (link && ngx_http_gateway_redis_link_send(link, cmd) == NGX_OK) {
            continue;
        }

        if ((ngx_msec_int_t) (cmd->expires - ngx_current_msec) <= 0) {
            ngx_http_gateway_redis_command_lost(cmd);
            continue;
        }

        ngx_queue_insert_tail(&wait->commands, q);
        wait->n++;
    }

    if (wait->n == 0 && wait->timer.timer_set) {
        ngx_del_timer(&wait->timer);
    }
}


static void
ngx_http_gateway_redis_wait_timer(ngx_event_t *ev)
{
    ngx_http_gateway_redis_wait_t  *wait;

    wait = ev->data;

    ngx_http_gateway_redis_wait_send(wait);

    if (wait->n) {
        ngx_add_timer(&wait->timer, NGX_HTTP_GATEWAY_REDIS_WAIT);
    }
}


void
ngx_http_gateway_redis_wait_stop(ngx_http_gateway_redis_wait_t *wait)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&wait->commands)) {
        q = ngx_queue_head(&wait->commands);
        ngx_queue_remove(q);

        ngx_http_gateway_redis_command_lost(
            ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue));
    }

    wait->n = 0;

    if (wait->timer.timer_set) {
        ngx_del_timer(&wait->timer);
    }
}
