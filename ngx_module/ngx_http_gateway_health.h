/*
 * Active health checks, in five files: directives (_health_module.c), what
 * all workers know (_health_zone.c), each worker's view of the peers
 * (_health_peers.c), the client that asks them (_health_check.c), and the
 * endpoint gateway_health (_health_status.c).
 *
 * Every worker looks once a second which peers each checked upstream has, and
 * sets NGX_HTTP_GATEWAY_DOWN_HEALTH in those that the shared memory calls
 * down: nginx then gives them no requests, whatever the method of balancing.
 * A change between two looks is seen by the shared `generation`, compared
 * with each request.
 *
 * A peer is checked by the worker that holds its lease. A worker that takes a
 * lease keeps it by checking, gives it up when it ends, and loses it when it
 * dies or hangs past the lease's end.
 */

#ifndef NGX_HTTP_GATEWAY_HEALTH_H_INCLUDED
#define NGX_HTTP_GATEWAY_HEALTH_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_md5.h>

#include "ngx_http_gateway_metrics.h"
#include "../src/http_answer.h"


#define NGX_HTTP_GATEWAY_HEALTH_ENTRIES  2048
#define NGX_HTTP_GATEWAY_HEALTH_KEY      16     /* an MD5 */
#define NGX_HTTP_GATEWAY_HEALTH_NONE     ((ngx_uint_t) -1)
#define NGX_HTTP_GATEWAY_HEALTH_CODES    1000


/*
 * The zone "gateway_health", of a fixed size; it survives a reload.
 *
 *     +------------+---------+---------+----- - - -+------------+
 *     | generation | entry 0 | entry 1 |           | entry 2047 |
 *     +------------+---------+---------+----- - - -+------------+
 *
 * An entry belongs to the peer whose key it has, until no worker has seen
 * that peer for a minute and another needs the room. All is written under
 * shpool->mutex, but `generation` and `down` are also read without.
 */

typedef struct {
    u_char                               key[NGX_HTTP_GATEWAY_HEALTH_KEY];
    uint64_t                             last_check;  /* Unix ms; 0: never */

    /* these are ngx_current_msec, which counts the same in all processes */
    ngx_msec_t                           due;         /* the next check */
    ngx_msec_t                           lease;       /* the owner's, its end */
    ngx_msec_t                           seen;        /* by any worker */

    int32_t                              time;        /* ms; -1: no answer */
    uint16_t                             owner;       /* slot + 1; 0: none */
    uint16_t                             fails;       /* in a row */
    uint16_t                             passes;      /* in a row */
    uint8_t                              used;
    uint8_t                              scheduled;   /* `due` is set */
    ngx_atomic_t                         down;
} ngx_http_gateway_health_entry_t;


typedef struct {
    ngx_atomic_t                         generation;  /* of all `down` */
    ngx_http_gateway_health_entry_t
                                   entries[NGX_HTTP_GATEWAY_HEALTH_ENTRIES];
} ngx_http_gateway_health_shctx_t;


/* gateway_health_check of one upstream: its server configuration. */

typedef struct {
    ngx_http_upstream_srv_conf_t        *us;    /* NULL: no checks */
    ngx_http_upstream_init_peer_pt       init_peer;    /* what was wrapped */

    ngx_str_t                            uri;
    ngx_msec_t                           interval;
    ngx_msec_t                           timeout;
    ngx_uint_t                           passes;
    ngx_uint_t                           fails;
    u_char                               match[NGX_HTTP_GATEWAY_HEALTH_CODES];

    ngx_str_t                            request;      /* as it is sent */

    ngx_str_t                            label;        /* of its metrics */
    ngx_http_gateway_metric_t           *passed;
    ngx_http_gateway_metric_t           *failed;

#if (NGX_HTTP_SSL)
    ngx_ssl_t                           *ssl;   /* NULL: in the clear */
    ngx_str_t                            ssl_name;
    unsigned                             ssl_server_name:1;
    unsigned                             ssl_verify:1;
#endif

    /* the worker's own: of ngx_http_gateway_health_peer_t, from the heap */
    ngx_queue_t                          peers;
    ngx_uint_t                           look;         /* number of the look */
} ngx_http_gateway_health_srv_conf_t;


typedef struct {
    ngx_shm_zone_t                      *zone;      /* NULL: nothing checks */
    ngx_array_t                          checked;   /* of srv confs' pointers */
} ngx_http_gateway_health_main_conf_t;


/* One peer, as a worker knows it. */

typedef struct {
    ngx_queue_t                          queue;
    ngx_http_gateway_health_srv_conf_t  *conf;
    ngx_uint_t                           look;      /* the last that met it */
    ngx_uint_t                           number;    /* of those in upstream */
    ngx_uint_t                           total;

    ngx_uint_t                           entry;     /* in the zone; or NONE */
    u_char                               key[NGX_HTTP_GATEWAY_HEALTH_KEY];

    ngx_str_t                            name;      /* address:port */
    socklen_t                            socklen;
    ngx_sockaddr_t                       sockaddr;

    /* the check */
    ngx_event_t                          timer;     /* next one; time-out */
    ngx_peer_connection_t                pc;
    ngx_log_t                            log;
    ngx_connection_t                    *connection;
    gw_http_answer_t                     answer;
    size_t                               sent;
    ngx_msec_t                           start;
    unsigned                             owned:1;     /* the lease is ours */
    unsigned                             checking:1;
    unsigned                             connected:1;
    unsigned                             reused:1;    /* kept from before */
    unsigned                             answered:1;  /* a byte has come */
} ngx_http_gateway_health_peer_t;


extern ngx_module_t  ngx_http_gateway_health_module;


/* _health_zone.c */

ngx_int_t ngx_http_gateway_health_zone_add(ngx_conf_t *cf,
    ngx_http_gateway_health_main_conf_t *hmcf);

/* The running configuration's shared memory; NULL: nothing is checked. */
ngx_http_gateway_health_shctx_t *ngx_http_gateway_health_shared(void);

/* The key of a peer of that upstream. */
void ngx_http_gateway_health_key(u_char *key,
    ngx_http_upstream_srv_conf_t *us, ngx_http_upstream_rr_peer_t *peer);

/* A copy of the entry of that key; NGX_DECLINED: there is none. */
ngx_int_t ngx_http_gateway_health_read(u_char *key,
    ngx_http_gateway_health_entry_t *copy);

/* Finds or makes the entry of p, and notes that p is still there. Sets
 * p->entry to NONE where the zone is full of others. */
void ngx_http_gateway_health_seen(ngx_http_gateway_health_peer_t *p);

/* Takes the lease of p: in how many ms the next check is due; NGX_DECLINED:
 * another worker has it. */
ngx_msec_int_t ngx_http_gateway_health_take(ngx_http_gateway_health_peer_t *p);

/* Before a check: renews the lease and sets the time of the next check;
 * NGX_DECLINED: another worker has taken it. */
ngx_int_t ngx_http_gateway_health_renew(ngx_http_gateway_health_peer_t *p);

/* After a check. time: ms until the answer, -1: there was none. Returns in
 * how many ms the next is due, NGX_DECLINED: another worker has taken the
 * lease; *changed: p has gone down or come up by it. */
ngx_msec_int_t ngx_http_gateway_health_result(
    ngx_http_gateway_health_peer_t *p, ngx_uint_t passed, int32_t time,
    ngx_uint_t *changed);

/* Gives up all leases of a worker that ends or is dead. */
void ngx_http_gateway_health_release(ngx_uint_t slot);


/* _health_peers.c */

/* Looks which peers there are, marks those that are down and, in a worker
 * that may check, takes leases that nobody holds. */
void ngx_http_gateway_health_look(void);

/* Before a request picks a peer: the same without leases, where anything
 * has changed since it was last done. */
void ngx_http_gateway_health_apply(void);

/* This worker is ending: ends its checks, and gives its leases up. */
void ngx_http_gateway_health_quit(void);

/* The same, and forgets all peers: the configuration they are of goes. */
void ngx_http_gateway_health_stop(void);


/* _health_check.c */

/* The lease of p was taken: checks it in that many ms, and again until the
 * lease is lost. */
void ngx_http_gateway_health_check(ngx_http_gateway_health_peer_t *p,
    ngx_msec_t delay);

/* Ends the check and closes the connection of p. */
void ngx_http_gateway_health_end(ngx_http_gateway_health_peer_t *p);


/* _health_status.c */

ngx_int_t ngx_http_gateway_health_handler(ngx_http_request_t *r);

/* A collector; data: the main configuration. */
void ngx_http_gateway_health_collect(void *data,
    ngx_http_gateway_emit_pt emit, void *ctx, ngx_pool_t *pool);


#endif /* NGX_HTTP_GATEWAY_HEALTH_H_INCLUDED */
