/*
 * What the files of gateway_limit share. A zone, in the slab's pages:
 *
 *     shctx      sizes, the order of last use, the rate that counts
 *     nodes[]    one for each key, 112 bytes, numbered from 1
 *     shares[]   with redis=: one more for each key, 48 bytes
 *     buckets[]  one for each node, 4 bytes: the first node of its chain
 *
 * A node has no key but its 128-bit digest under a secret of the zone, so
 * that all nodes are of one size, and a full zone gives the node that was
 * used least recently to the new key. All of it is touched with the zone's
 * mutex only. A worker that is killed inside leaves `busy` set; who comes
 * next puts chains and order together again from the nodes.
 */

#ifndef NGX_HTTP_GATEWAY_LIMIT_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_LIMIT_INT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_limit.h"
#include "ngx_http_gateway_metrics.h"
#include "ngx_http_gateway_redis.h"
#include "../src/limit_batch.h"


#define NGX_HTTP_GATEWAY_LIMIT_REQUEST     0
#define NGX_HTTP_GATEWAY_LIMIT_CONNECTION  1
#define NGX_HTTP_GATEWAY_LIMIT_MESSAGE     2

#define NGX_HTTP_GATEWAY_LIMIT_DRAFT       0
#define NGX_HTTP_GATEWAY_LIMIT_LEGACY      1
#define NGX_HTTP_GATEWAY_LIMIT_OFF         2

/* of one location, of all kinds */
#define NGX_HTTP_GATEWAY_LIMIT_MOST        8

#define NGX_HTTP_GATEWAY_LIMIT_MIN_ZONE    (8 * 4096)

/* sync=, in ms */
#define NGX_HTTP_GATEWAY_LIMIT_SYNC        100
#define NGX_HTTP_GATEWAY_LIMIT_SYNC_MIN    10
#define NGX_HTTP_GATEWAY_LIMIT_SYNC_MAX    10000

/* that are sent in one exchange, at most */
#define NGX_HTTP_GATEWAY_LIMIT_BATCHES     8


typedef struct {
    uint64_t                        digest[2];
    uint32_t                        next;        /* of its chain, 0: none */
    uint32_t                        newer;       /* by last use, 0: none */
    uint32_t                        older;
    uint32_t                        generation;  /* of the rate it counts by */
    gw_window_t                     window;
} ngx_http_gateway_limit_node_t;


typedef struct {
    uint64_t                        secret[2];
    uint32_t                        nnodes;
    uint32_t                        used;        /* nodes[1..used] */
    uint32_t                        newest;
    uint32_t                        oldest;
    uint32_t                        generation;  /* of rate and key */
    uint32_t                        busy;
    uint64_t                        key_hash;    /* of the key's text */
    gw_window_rate_t                rate;
    ngx_http_gateway_limit_node_t  *nodes;       /* nodes[0] is not used */
    uint32_t                       *buckets;

    /* over several nodes; the rest is used with shares only */

    gw_share_t                     *shares;      /* by node, or NULL */
    gw_share_round_t                round;
    uint32_t                        unsent;      /* keys with something to be
                                                    told, a chain by `next` */
    uint32_t                        first;
    uint32_t                        last;
    uint32_t                        version;     /* of the secret */
    uint32_t                        alone;       /* N while nobody hears us */
    uint32_t                        common;      /* we do exchange: was said */
    ngx_msec_t                      heard;       /* the last exchange, or 0 */
    uint64_t                        place;       /* hash of Redis and keys */
    uint64_t                        id[2];       /* of the last entry read */
    uint64_t                        doubt;       /* the last number, and how
                                                    many: batches that were
                                                    handed on, but may have
                                                    been told */
    ngx_uint_t                      ndoubt;
} ngx_http_gateway_limit_sh_t;


typedef struct ngx_http_gateway_limit_sync_s  ngx_http_gateway_limit_sync_t;


/* One gateway_limit_zone. */

typedef struct {
    ngx_str_t                       name;
    ngx_str_t                       key_text;
    ngx_http_complex_value_t        key;
    ngx_int_t                       variable;    /* the key is just this one,
                                                    NGX_ERROR: it is not */
    unsigned                        claim:1;     /* key is of the token */
    gw_window_rate_t                rate;
    ngx_str_t                       window;      /* T as written */
    ngx_str_t                       policy;      /* "name";q=100;w=60 */
    ngx_str_t                       item;        /* "name";r= */

    ngx_shm_zone_t                 *shm_zone;    /* NULL: not defined */
    ngx_slab_pool_t                *shpool;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_sync_t  *sync;        /* with redis=, or NULL */

    ngx_http_gateway_metric_t      *passed;
    ngx_http_gateway_metric_t      *rejected;
    ngx_http_gateway_metric_t      *rejected_dry_run;
    ngx_str_t                       label;       /* zone="name" */
} ngx_http_gateway_limit_zone_t;


/* With redis=: what stands in the configuration, and of the worker that
 * exchanges the counts. */

struct ngx_http_gateway_limit_sync_s {
    ngx_http_gateway_limit_zone_t  *zone;
    ngx_http_gateway_redis_t       *redis;
    ngx_msec_t                      interval;    /* sync= */
    ngx_msec_t                      patience;    /* without an exchange */

    ngx_str_t                       stream;      /* keys in Redis */
    ngx_str_t                       secret;

    uint64_t                        place;       /* as in the zone */

    ngx_event_t                     timer;
    ngx_http_gateway_redis_command_t
                                   *command;     /* in flight */
    u_char                         *batches;     /* not known to be told */
    size_t                          sizes[NGX_HTTP_GATEWAY_LIMIT_BATCHES];
    ngx_uint_t                      nbatches;
    uint64_t                        number;      /* of the last of them */
    ngx_msec_t                      made;        /* their ages are of then */
    ngx_uint_t                      todo;        /* keys, in this round */
    unsigned                        middle:1;    /* the timer is for the middle
                                                    of a round */
    unsigned                        reading:1;   /* the command is of it */
    unsigned                        sent:1;      /* and has the batches */
    unsigned                        doubt:1;     /* they may have been told */
    unsigned                        refused:1;   /* an error answered them */
    unsigned                        fresh:1;     /* nothing was read since
                                                    Redis was away */
    unsigned                        failed:1;    /* which was logged */
};


/* One gateway_limit. */

typedef struct {
    ngx_http_gateway_limit_zone_t  *zone;
    ngx_uint_t                      on;
    ngx_http_complex_value_t       *cost;        /* NULL: 1 */
    unsigned                        dry_run:1;
} ngx_http_gateway_limit_t;


/* One limit of one request or message. */

typedef struct {
    ngx_http_gateway_limit_t       *limit;
    uint64_t                        digest[2];
    uint32_t                        cost;
    unsigned                        rejected:1;
    unsigned                        charged:1;
    uint64_t                        now;         /* ms, when it was charged */
    gw_window_state_t               state;
    ngx_http_gateway_limit_node_t  *node;        /* with the mutex only */
} ngx_http_gateway_limit_item_t;


typedef struct {
    ngx_array_t                    *limits;      /* NULL: none */
    unsigned                        claims:1;    /* some key is a claim */
    ngx_uint_t                      status;
    ngx_uint_t                      headers;
    ngx_uint_t                      log_level;
} ngx_http_gateway_limit_loc_conf_t;


/* Of a main request; survives internal redirects, as a pool's cleanup. */

typedef struct {
    ngx_uint_t                      n;
    unsigned                        later:1;     /* claims are still to come */
    unsigned                        rejected:1;
    unsigned                        told:1;      /* headers are added */
    ngx_http_gateway_limit_item_t   items[1];
} ngx_http_gateway_limit_ctx_t;


extern ngx_module_t  ngx_http_gateway_limit_module;


/* zone: configuration */

typedef struct {
    ngx_array_t                     zones;       /* of pointers */
} ngx_http_gateway_limit_main_conf_t;

char *ngx_http_gateway_limit_zone_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

/* The zone of that name, which may be defined later; NULL: no memory. */
ngx_http_gateway_limit_zone_t *ngx_http_gateway_limit_zone_get(
    ngx_conf_t *cf, ngx_str_t *name);


/* zone: shared memory */

ngx_int_t ngx_http_gateway_limit_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

/* In a worker of the new configuration: where key or rate are not those that
 * the zone counts by, it starts anew. */
void ngx_http_gateway_limit_zone_adopt(ngx_http_gateway_limit_zone_t *zone,
    ngx_log_t *log);

void ngx_http_gateway_limit_digest(ngx_http_gateway_limit_zone_t *zone,
    ngx_str_t *key, uint64_t digest[2]);

/*
 * Checks all items, and where all admit that are not dry runs charges those
 * that admit; peek: charges none. There are NGX_HTTP_GATEWAY_LIMIT_MOST at
 * most, each of another zone. NGX_OK, or NGX_BUSY: some rejected; the items
 * say which.
 */
ngx_int_t ngx_http_gateway_limit_take(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n, ngx_uint_t peek);

/* Gives back what was charged. */
void ngx_http_gateway_limit_refund(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n);

/*
 * Over several nodes. A round begins; what was charged in the last one is
 * told: of so many keys at most, which it returns, *last is behind them in
 * buf. Then what others have told, as of `age` ms ago, is entered.
 */
void ngx_http_gateway_limit_round(ngx_http_gateway_limit_zone_t *zone);
ngx_uint_t ngx_http_gateway_limit_tell(ngx_http_gateway_limit_zone_t *zone,
    u_char *buf, ngx_uint_t n, u_char **last);
void ngx_http_gateway_limit_hear(ngx_http_gateway_limit_zone_t *zone,
    gw_limit_batch_t *batch, uint64_t age);

/* A batch of `tell`, as of `age` ms ago, is to be told again; or, with `told`,
 * has been after all. */
void ngx_http_gateway_limit_untell(ngx_http_gateway_limit_zone_t *zone,
    gw_limit_batch_t *batch, uint64_t age, ngx_uint_t told);

/* Keys are counted under another secret from here on, and anew. */
void ngx_http_gateway_limit_agree(ngx_http_gateway_limit_zone_t *zone,
    u_char *secret);

/* For metrics: bytes in use. */
size_t ngx_http_gateway_limit_used(ngx_http_gateway_limit_zone_t *zone);


/* sync */

/* redis= and sync= of a zone, when all its parameters are read. */
char *ngx_http_gateway_limit_sync_conf(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *redis,
    ngx_msec_t interval);

ngx_int_t ngx_http_gateway_limit_sync_init(
    ngx_http_gateway_limit_zone_t *zone, ngx_cycle_t *cycle);

/* This worker exchanges counts no longer: what it could not tell goes back
 * into the zone, for the next. */
void ngx_http_gateway_limit_sync_leave(ngx_http_gateway_limit_sync_t *sync);


/* request */

ngx_int_t ngx_http_gateway_limit_preaccess_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_gateway_limit_precontent_handler(ngx_http_request_t *r);

/* NULL: nothing was limited */
ngx_http_gateway_limit_ctx_t *ngx_http_gateway_limit_ctx(
    ngx_http_request_t *r);

/* NGX_OK: item is filled; NGX_DECLINED: its key is empty; NGX_ERROR */
ngx_int_t ngx_http_gateway_limit_item(ngx_http_request_t *r,
    ngx_http_gateway_limit_t *limit, ngx_http_gateway_limit_item_t *item);

/* NGX_OK; NGX_DECLINED: it is empty; NGX_ERROR */
ngx_int_t ngx_http_gateway_limit_key(ngx_http_request_t *r,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *key);

/* Counts what became of the items, and logs what rejected. */
void ngx_http_gateway_limit_report(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n, ngx_uint_t level, ngx_log_t *log);

/* The item with the least left, a rejecting one first; NULL: there is none */
ngx_http_gateway_limit_item_t *ngx_http_gateway_limit_least(
    ngx_http_gateway_limit_item_t *items, ngx_uint_t n, ngx_uint_t dry_run);

#define ngx_http_gateway_limit_seconds(ms)  (((ms) + 999) / 1000)


/* headers */

ngx_int_t ngx_http_gateway_limit_headers_add(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t headers);


#endif /* NGX_HTTP_GATEWAY_LIMIT_INT_H_INCLUDED */
