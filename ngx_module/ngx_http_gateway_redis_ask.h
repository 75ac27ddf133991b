/*
 * What the routes share that find their servers by asking: of Sentinels for
 * the master, of nodes of a Cluster for its slots.
 */

#ifndef NGX_HTTP_GATEWAY_REDIS_ASK_H_INCLUDED
#define NGX_HTTP_GATEWAY_REDIS_ASK_H_INCLUDED


#include "ngx_http_gateway_redis_int.h"
#include "../src/redis_reply.h"


/* A server that was told at run time, with all its bytes. Not to be copied:
 * it points into itself. */

typedef struct {
    ngx_http_gateway_redis_server_t     server;
    ngx_addr_t                          addr;
    ngx_sockaddr_t                      sockaddr;
    u_char                              host[GW_REDIS_HOST_MAX + 1];
    u_char                              name[GW_REDIS_HOST_MAX
                                             + sizeof("[]:65535") - 1];
} ngx_http_gateway_redis_place_t;

/* The rest (TLS, user, password, database) is as that of the URL. */
void ngx_http_gateway_redis_place_set(ngx_http_gateway_redis_place_t *place,
    ngx_http_gateway_redis_t *redis, gw_redis_host_t *host);
ngx_uint_t ngx_http_gateway_redis_place_is(
    ngx_http_gateway_redis_place_t *place, gw_redis_host_t *host);

/* The two parts of an address in a reply, the port as a number or as digits.
 * NGX_ERROR: it is none. */
ngx_int_t ngx_http_gateway_redis_address(redisReply *host, redisReply *port,
    gw_redis_host_t *address);


/*
 * Asks one server after another the same question: the first that answers is
 * asked again every `interval`, and when told, the next when that one fails
 * or its answer is no good.
 */

typedef struct ngx_http_gateway_redis_ask_s  ngx_http_gateway_redis_ask_t;

struct ngx_http_gateway_redis_ask_s {
    ngx_http_gateway_redis_t           *redis;
    ngx_str_t                          *argv;
    ngx_uint_t                          argc;
    ngx_msec_t                          interval;

    /* The i-th server, NULL: there are only i. Asked for again before each
     * attempt. */
    ngx_http_gateway_redis_server_t  *(*server)(
                                           ngx_http_gateway_redis_t *redis,
                                           ngx_uint_t i);
    /* NGX_ERROR: ask the next. It may change the interval. */
    ngx_int_t                         (*answer)(
                                           ngx_http_gateway_redis_t *redis,
                                           redisReply *reply);
    /* A server could not be asked; link's reason says why. */
    void                              (*failed)(
                                           ngx_http_gateway_redis_t *redis,
                                           ngx_http_gateway_redis_link_t *l);

    ngx_http_gateway_redis_link_t       link;
    ngx_event_t                         timer;
    ngx_uint_t                          i;
    ngx_uint_t                          failures;  /* in a row */
    unsigned                            waiting:1; /* for an answer */
    unsigned                            again:1;   /* when it has come */
};

/* The upper part is filled in; link.sentinel and such may be set between. */
void ngx_http_gateway_redis_ask_init(ngx_http_gateway_redis_ask_t *ask);
void ngx_http_gateway_redis_ask_start(ngx_http_gateway_redis_ask_t *ask);
void ngx_http_gateway_redis_ask_stop(ngx_http_gateway_redis_ask_t *ask);

/* Within so many ms. */
void ngx_http_gateway_redis_ask_soon(ngx_http_gateway_redis_ask_t *ask,
    ngx_msec_t delay);
/* Another one than now. */
void ngx_http_gateway_redis_ask_next(ngx_http_gateway_redis_ask_t *ask);


/* Commands that will be sent again a little later, or when a link is up, as
 * long as their time is not over. */

typedef struct {
    ngx_http_gateway_redis_t           *redis;
    ngx_queue_t                         commands;
    ngx_uint_t                          n;
    ngx_event_t                         timer;
} ngx_http_gateway_redis_wait_t;

void ngx_http_gateway_redis_wait_init(ngx_http_gateway_redis_wait_t *wait,
    ngx_http_gateway_redis_t *redis);
/* NGX_DECLINED: too much waits, or it was sent too often. */
ngx_int_t ngx_http_gateway_redis_wait_add(ngx_http_gateway_redis_wait_t *wait,
    ngx_http_gateway_redis_command_t *cmd);
void ngx_http_gateway_redis_wait_send(ngx_http_gateway_redis_wait_t *wait);
void ngx_http_gateway_redis_wait_stop(ngx_http_gateway_redis_wait_t *wait);


#endif /* NGX_HTTP_GATEWAY_REDIS_ASK_H_INCLUDED */
