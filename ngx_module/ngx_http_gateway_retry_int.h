/*
 * gateway_retry: what its files share. The directive is in _module.c, what
 * happens to a request in _peer.c.
 */

#ifndef NGX_HTTP_GATEWAY_RETRY_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_RETRY_INT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_metrics.h"
#include "../src/retry.h"


/* One directive; its locations share it. */

typedef struct {
    ngx_uint_t                        attempts;
    ngx_uint_t                        on;       /* NGX_HTTP_UPSTREAM_FT_... */
    ngx_uint_t                        share;    /* percent */
    gw_retry_backoff_t                backoff;

    /* not of the configuration: each worker writes its own copy */
    gw_retry_budget_t                *budget;
} ngx_http_gateway_retry_t;


typedef struct {
    ngx_http_gateway_retry_t         *retry;
} ngx_http_gateway_retry_loc_conf_t;


/* An upstream, and what was its peer.init. */

typedef struct {
    ngx_http_upstream_srv_conf_t     *upstream;
    ngx_http_upstream_init_peer_pt    init;
} ngx_http_gateway_retry_wrapped_t;


typedef struct {
    ngx_http_gateway_retry_wrapped_t *wrapped;  /* by address */
    ngx_uint_t                        n;
    ngx_http_gateway_metric_t        *retried;  /* NULL: nobody retries */
    ngx_http_gateway_metric_t        *refused;
} ngx_http_gateway_retry_main_conf_t;


/* What an attempt may fail by; status 0: not by a status. */

typedef struct {
    ngx_str_t                         name;
    ngx_uint_t                        status;
    ngx_uint_t                        mask;
} ngx_http_gateway_retry_cause_t;


/* Ends with a mask of 0. In the order of the documentation. */
extern ngx_http_gateway_retry_cause_t  ngx_http_gateway_retry_causes[];

/* In the place of peer.init of each upstream. */
ngx_int_t ngx_http_gateway_retry_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* Attempts so far; 0: nothing was passed on, or without gateway_retry. */
ngx_uint_t ngx_http_gateway_retry_attempts(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_gateway_retry_module;


#endif /* NGX_HTTP_GATEWAY_RETRY_INT_H_INCLUDED */
