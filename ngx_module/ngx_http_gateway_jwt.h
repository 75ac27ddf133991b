/*
 * What other features ask of gateway_jwt.
 */

#ifndef NGX_HTTP_GATEWAY_JWT_H_INCLUDED
#define NGX_HTTP_GATEWAY_JWT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../src/gw.h"


/* A verified token. Lives as long as the request's pool. */

typedef struct {
    gw_str_t       payload;       /* a JSON object, as it was signed */
    ngx_str_t      subject;       /* claim sub; data is NULL without one */
    time_t         expires;       /* claim exp, 0 without one */
    time_t         ends;          /* the same with gateway_jwt_leeway */
} ngx_http_gateway_identity_t;


/* Something open for a token that may be revoked. */
typedef struct ngx_http_gateway_jwt_watch_s  ngx_http_gateway_jwt_watch_t;


/* Whether gateway_jwt is on in the request's location. */
ngx_uint_t ngx_http_gateway_jwt_required(ngx_http_request_t *r);

/*
 * Verifies r's token, if that was not done before, without deciding anything.
 *
 * NGX_OK: it is valid; NGX_AGAIN: keys that may verify it are awaited, the
 * access phase waits for them; NGX_DECLINED: there is none, it is not valid,
 * or nobody asks for one here
 */
ngx_int_t ngx_http_gateway_jwt_valid(ngx_http_request_t *r);

/* The identity that gateway_jwt took for this request; NULL where there is
 * none (no gateway_jwt, or the token is still to come as a message). */
ngx_http_gateway_identity_t *ngx_http_gateway_jwt_identity(
    ngx_http_request_t *r);

/*
 * A location whose handler asks for a token as a message says so in its
 * directive (gateway_subscriber, gateway_websocket_pass), at configuration
 * time, in the location's context. Anywhere else, such as under proxy_pass,
 * the source `message` lets nobody in.
 */
void ngx_http_gateway_jwt_accepts_message(ngx_conf_t *cf);

/* Whether the request was let in without a token because `message` is one of
 * its sources and it is a WebSocket handshake: the token must follow. */
ngx_uint_t ngx_http_gateway_jwt_awaits_message(ngx_http_request_t *r);

/*
 * Verifies a token that came as a message, by the policy of r's location
 * (keys, algorithms, claims, require), and makes it r's identity. Any bytes
 * may be passed; they are copied where it has to wait. One at a time per
 * request: a further call while one waits is refused with 503. A token that
 * is refused changes nothing; an earlier identity stays valid memory in any
 * case. r may be a request of a client, or one made without a client by
 * ngx_http_gateway_request_create() with the location's configuration.
 *
 * NGX_OK         taken: ngx_http_gateway_jwt_identity(r) gives it
 * NGX_AGAIN      keys are being fetched; handler is called later, once, from
 *                the event loop, with NGX_OK, 401, 403 or 503. A request
 *                that is freed meanwhile is forgotten (pool cleanup)
 * 401, 403, 503  refused, 503 where no keys can be had; logged
 */
typedef void (*ngx_http_gateway_jwt_handler_pt)(ngx_http_request_t *r,
    ngx_int_t rc, void *data);

ngx_int_t ngx_http_gateway_jwt_authenticate(ngx_http_request_t *r,
    ngx_str_t *token, ngx_http_gateway_jwt_handler_pt handler, void *data);

/*
 * handler is called from the event loop when the token that was taken for r
 * is revoked (gateway_jwt_revoked), or soon where it is by now; maybe more
 * than once. *watch is NULL at first, and stays so where there is nothing to
 * watch; with a newer token it is handed in again. It belongs to the caller,
 * and outlives r. NGX_OK, or NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_gateway_jwt_watch(ngx_http_request_t *r,
    ngx_http_gateway_jwt_watch_t **watch, void (*handler)(void *data),
    void *data);
void ngx_http_gateway_jwt_unwatch(ngx_http_gateway_jwt_watch_t *watch);

/*
 * The subprotocol to answer where neither v1 nor raw was offered: "jwt" or
 * "bearer" if the client offered it, else empty. And whether an offered
 * protocol name carries a token or is such a marker (never to be passed on).
 */
void ngx_http_gateway_jwt_subprotocol(ngx_http_request_t *r,
    ngx_str_t *protocol);
ngx_uint_t ngx_http_gateway_jwt_subprotocol_private(ngx_http_request_t *r,
    ngx_str_t *name);


#endif /* NGX_HTTP_GATEWAY_JWT_H_INCLUDED */
