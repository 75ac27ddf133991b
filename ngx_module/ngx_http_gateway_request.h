/*
 * Requests that no client made.
 *
 * Background work (fetching keys; later events and health checks) runs in
 * internal locations of the configuration, so that whatever nginx can proxy
 * to, it can reach. Such a request has a connection without a socket and a
 * main request bound to the configuration of a location; the work itself is
 * a subrequest, whose response header and body are captured, never sent.
 *
 * As in any subrequest, access and limit checks of the location do not
 * apply, and nothing is written to the access log (unless log_subrequest is
 * on). $remote_addr is 127.0.0.1, $host the server's first name.
 */

#ifndef NGX_HTTP_GATEWAY_REQUEST_H_INCLUDED
#define NGX_HTTP_GATEWAY_REQUEST_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * A main request without a client, for evaluating variables and complex
 * values, in the server and location given by the three configuration arrays
 * (r->main_conf, r->srv_conf, r->loc_conf of another request, or those kept
 * at configuration time). They, and so the cycle they belong to, must
 * outlive the request. NULL: no memory or no free connection (logged). The
 * caller destroys it; that also ends a fetch in flight, without its handler
 * being called.
 */
ngx_http_request_t *ngx_http_gateway_request_create(void **main_conf,
    void **srv_conf, void **loc_conf);

/* r's pool is gone on return, save where a thread still works for it. */
void ngx_http_gateway_request_destroy(ngx_http_request_t *r);

typedef struct {
    ngx_uint_t    status;         /* 502 when there was no whole answer */
    ngx_str_t     body;           /* in the request's pool */
    ngx_str_t     content_type;   /* as sent; empty without one */
    unsigned      too_big:1;      /* the body was longer than max_body; body
                                     is empty then */
} ngx_http_gateway_response_t;

/* Called once, from the event loop, never from within fetch(). It may
 * destroy the request. */
typedef void (*ngx_http_gateway_fetch_pt)(ngx_http_request_t *r,
    ngx_http_gateway_response_t *res, void *data);

/*
 * Runs the location `uri` (with optional ?args) in the background within r,
 * made by ngx_http_gateway_request_create(). body NULL: GET, else POST of
 * these bytes as application/json; uri and body are copied. One fetch per
 * request. NGX_OK, or NGX_ERROR: the handler will not be called.
 */
ngx_int_t ngx_http_gateway_request_fetch(ngx_http_request_t *r,
    ngx_str_t *uri, ngx_str_t *body, size_t max_body,
    ngx_http_gateway_fetch_pt handler, void *data);


#endif /* NGX_HTTP_GATEWAY_REQUEST_H_INCLUDED */
