/*
 * The breaker, for the features that look at it or that it asks.
 */

#ifndef NGX_HTTP_GATEWAY_BREAKER_H_INCLUDED
#define NGX_HTTP_GATEWAY_BREAKER_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The state as of now, for a request's own configuration: "closed", "open",
 * "half-open"; NULL: there is no breaker. server NULL: the upstream's as a
 * whole (with scope=peer "open" where each of its servers is); else the one
 * of that server ("address:port", as nginx names peers), NULL where it is not
 * known or the breaker is not by peer.
 */
char *ngx_http_gateway_breaker_look(ngx_http_upstream_srv_conf_t *us,
    ngx_str_t *server);

/* Whether it keeps one state per server (scope=peer and several of them). */
ngx_uint_t ngx_http_gateway_breaker_by_peer(ngx_http_upstream_srv_conf_t *us);


/*
 * Whether another attempt of this request at its upstream would be refused
 * now: it makes none then, and the client gets the last answer. 0 without a
 * breaker, before the first attempt, and with scope=peer.
 */
ngx_uint_t ngx_http_gateway_breaker_refuses(ngx_http_request_t *r);


/*
 * What serves `gateway_breaker_fallback stale`: set by the feature that keeps
 * responses, in its preconfiguration. Called when the request has left its
 * upstream: NGX_DECLINED, and the next of the list is tried, or the request
 * was ended (finalized, or sent elsewhere) and is gone. NULL: there is none.
 */
typedef ngx_int_t (*ngx_http_gateway_breaker_stale_pt)(ngx_http_request_t *r);

extern ngx_http_gateway_breaker_stale_pt  ngx_http_gateway_breaker_stale;


#endif /* NGX_HTTP_GATEWAY_BREAKER_H_INCLUDED */
