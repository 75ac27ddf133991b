/*
 * What the files of the breaker share. A zone of shared memory:
 *
 *     sh ── generation    transitions so far, of all its breakers
 *        ── entries[n]    "backend", or by server "backend\n10.0.0.1:80"
 *                           breaker    src/breaker.h
 *                           held[]     its probes, by worker slot
 *                           out        by server: takes no traffic when open
 *
 * All entries are of one size and stay where they are: a worker of an earlier
 * configuration that still has a pointer to one that was given to another
 * name may miscount there, and no more than that. All but looking at
 * `generation` is done with the zone's mutex.
 */

#ifndef NGX_HTTP_GATEWAY_BREAKER_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_BREAKER_INT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../src/breaker.h"
#include "ngx_http_gateway_breaker.h"
#include "ngx_http_gateway_metrics.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_BREAKER_KEY     256

/* kinds of failures, before the statuses from 400 to 599 */
#define NGX_HTTP_GATEWAY_BREAKER_ERROR    0
#define NGX_HTTP_GATEWAY_BREAKER_TIMEOUT  1
#define NGX_HTTP_GATEWAY_BREAKER_SLOW     2


typedef struct {
    gw_breaker_t                   breaker;
    uint32_t                       hash;
    uint32_t                       len;       /* of key; 0: free */
    uint32_t                       name_len;  /* of the upstream's name in it */
    uint32_t                       out;
    ngx_uint_t                     epoch;     /* of its last configuration */
    uint16_t                       held[NGX_HTTP_GATEWAY_MAX_WORKERS + 1];
    u_char                         key[NGX_HTTP_GATEWAY_BREAKER_KEY];
} ngx_http_gateway_breaker_entry_t;


typedef struct {
    ngx_atomic_t                   generation;
    ngx_uint_t                     epoch;     /* configurations so far */
    ngx_uint_t                     nentries;
    ngx_http_gateway_breaker_entry_t  entries[1];
} ngx_http_gateway_breaker_sh_t;


typedef struct {
    ngx_str_t                      name;
    ngx_shm_zone_t                *shm_zone;
    ngx_slab_pool_t               *shpool;
    ngx_http_gateway_breaker_sh_t *sh;
    ngx_array_t                    confs;     /* of pointers */
} ngx_http_gateway_breaker_zone_t;


/* Of one upstream. */

typedef struct {
    ngx_http_gateway_breaker_zone_t  *zone;   /* NULL: no breaker */
    ngx_http_upstream_srv_conf_t  *upstream;
    ngx_http_upstream_init_peer_pt init;      /* the original */

    gw_breaker_conf_t              core;
    ngx_msec_t                     slow;      /* 0: none is */
    ngx_uint_t                     max_ejected;  /* percent */
    ngx_uint_t                     scope_peer;   /* as configured */
    ngx_uint_t                     by_peer;      /* and several servers */

    ngx_uint_t                     on_set;
    u_char                         on_error;
    u_char                         on_timeout;
    u_char                         on_status[200];  /* from 400 */

    ngx_http_gateway_breaker_entry_t  *entry;    /* not by server */
    ngx_array_t                    entries;      /* by server: pointers */

    /* of this worker: what its marks on servers are as of */
    ngx_atomic_uint_t              generation;
    ngx_msec_t                     due;       /* 0: no server is open */

    ngx_str_t                      label;        /* upstream="name" */
    ngx_http_gateway_metric_t     *to[3];
    ngx_http_gateway_metric_t     *seconds;
} ngx_http_gateway_breaker_conf_t;


typedef enum {
    NGX_HTTP_GATEWAY_FALLBACK_STALE = 0,
    NGX_HTTP_GATEWAY_FALLBACK_LOCATION,
    NGX_HTTP_GATEWAY_FALLBACK_CODE
} ngx_http_gateway_fallback_e;

typedef struct {
    ngx_http_gateway_fallback_e    type;
    ngx_str_t                      name;
    ngx_int_t                      code;
} ngx_http_gateway_fallback_t;

typedef struct {
    ngx_array_t                   *fallback;  /* NULL: 503 */
} ngx_http_gateway_breaker_loc_conf_t;


/* A named location that has to be there when all has been read. */

typedef struct {
    ngx_str_t                      name;
    ngx_http_core_srv_conf_t      *cscf;
} ngx_http_gateway_fallback_name_t;

typedef struct {
    ngx_array_t                    zones;     /* of pointers */
    ngx_array_t                    names;
} ngx_http_gateway_breaker_main_conf_t;


/* What a request has to do with breakers, until its end; kept in its pool's
 * cleanups, so also over internal redirects. */

typedef struct {
    ngx_http_request_t            *request;
    ngx_http_upstream_t           *upstream;   /* whose calls are wrapped */
    ngx_int_t                    (*process_header)(ngx_http_request_t *r);
    ngx_int_t                    (*reinit_request)(ngx_http_request_t *r);
    void                         (*finalize_request)(ngx_http_request_t *r,
                                       ngx_int_t rc);

    ngx_http_gateway_breaker_conf_t  *conf;    /* of the last attempt */
    ngx_http_gateway_breaker_entry_t *entry;   /* NULL: nothing under way */
    gw_breaker_ticket_t            ticket;
    ngx_msec_t                     start;
    ngx_int_t                      rc;         /* upstream's end */
    ngx_uint_t                     status;     /* of the last attempt */
    uint64_t                       wait;       /* ms, where refused */

    /* the one that decided last */
    gw_breaker_state_e             state;

    unsigned                       decided:1;
    unsigned                       header:1;   /* there, and well */
    unsigned                       observed:1;
} ngx_http_gateway_breaker_ctx_t;


extern ngx_module_t  ngx_http_gateway_breaker_module;


/* zone */

char *ngx_http_gateway_breaker_zone(ngx_conf_t *cf,
    ngx_http_gateway_breaker_conf_t *bcf, ngx_str_t *value);
ngx_int_t ngx_http_gateway_breaker_zones_ready(ngx_conf_t *cf);

ngx_http_gateway_breaker_main_conf_t *ngx_http_gateway_breaker_main_conf(
    void);
void ngx_http_gateway_breaker_died(ngx_uint_t slot);

/* The entry of that server, or NULL. */
ngx_http_gateway_breaker_entry_t *ngx_http_gateway_breaker_of_server(
    ngx_http_gateway_breaker_conf_t *bcf, ngx_str_t *server);

/*
 * Asks for an attempt: NGX_OK, and ctx has it, or NGX_DECLINED. Transitions
 * are reported.
 */
ngx_int_t ngx_http_gateway_breaker_begin(ngx_http_gateway_breaker_ctx_t *ctx,
    ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_gateway_breaker_entry_t *e);

/* Tells the outcome of what ctx has under way, if anything; kind says what
 * failed: one of those above, or the status. */
void ngx_http_gateway_breaker_end(ngx_http_gateway_breaker_ctx_t *ctx,
    gw_breaker_outcome_e outcome, ngx_uint_t kind);

/* Whether another attempt would be refused now. */
ngx_uint_t ngx_http_gateway_breaker_closed_to(
    ngx_http_gateway_breaker_conf_t *bcf);

/* Makes half-open what is due, in all zones; returns ms until the next is,
 * 0: none is open. */
ngx_msec_t ngx_http_gateway_breaker_sweep(void);

/* Servers' marks as the states are now. */
void ngx_http_gateway_breaker_mark(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_upstream_srv_conf_t *us);


/* peer */

ngx_int_t ngx_http_gateway_breaker_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
ngx_http_gateway_breaker_ctx_t *ngx_http_gateway_breaker_ctx(
    ngx_http_request_t *r, ngx_uint_t create);


/* refuse */

/* A hold's handler; data is ctx. */
void ngx_http_gateway_breaker_refuse(ngx_http_request_t *r, void *data);


/* report */

/* Tells of a transition, without the mutex. server: by server, else NULL. */
void ngx_http_gateway_breaker_report(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server, gw_breaker_change_e change, ngx_uint_t kind,
    uint64_t wait, ngx_log_t *log);
void ngx_http_gateway_breaker_woken(void);
ngx_int_t ngx_http_gateway_breaker_metrics(ngx_conf_t *cf,
    ngx_http_gateway_breaker_conf_t *bcf);

char *ngx_http_gateway_breaker_name(gw_breaker_state_e state);


#endif /* NGX_HTTP_GATEWAY_BREAKER_INT_H_INCLUDED */
