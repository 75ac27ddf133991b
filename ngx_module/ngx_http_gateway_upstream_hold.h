/*
 * An attempt on hold.
 *
 * nginx asks peer.get for a server and wants an answer at once. A hook that
 * has none yet (a retry waits for its time, a refusal must not happen in the
 * middle of nginx's own code) puts the attempt on hold: nginx is given a
 * connection without a socket, which for it is one that does not connect yet.
 * It ends by resume(), leave(), or with the request; the client's leaving is
 * noticed by nginx as ever.
 *
 * peer.free is not called for a hold, no failure is counted, and nothing is
 * logged; $upstream_addr and its kin show attempts only. A hold is one of
 * worker_connections.
 */

#ifndef NGX_HTTP_GATEWAY_UPSTREAM_HOLD_H_INCLUDED
#define NGX_HTTP_GATEWAY_UPSTREAM_HOLD_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Called once, from the event loop; it ends the hold by one of the two
 * functions below. */
typedef void (*ngx_http_gateway_hold_pt)(ngx_http_request_t *r, void *data);

/*
 * To be called from a peer.get hook, which returns what this does: NGX_AGAIN,
 * and after msec (0: as soon as nginx is done with its own part) handler is
 * called; or NGX_ERROR, on which nginx answers 500. pc is r->upstream's. The
 * hook holds no peer then: what an inner get gave it has given back.
 */
ngx_int_t ngx_http_gateway_upstream_hold(ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_msec_t msec,
    ngx_http_gateway_hold_pt handler, void *data);

/*
 * Ends the hold: nginx calls peer.get again, with peer.tries as it was, also
 * where that is 0 and where proxy_next_upstream would not allow it. r may be
 * gone on return. Only from the handler.
 */
void ngx_http_gateway_upstream_resume(ngx_http_request_t *r);

/*
 * Ends the upstream without an answer. r goes on to be the caller's, with one
 * count: it is to be ended by ngx_http_finalize_request(), or sent elsewhere
 * by ngx_http_named_location() and finalized with NGX_DONE. Only from the
 * handler.
 */
void ngx_http_gateway_upstream_leave(ngx_http_request_t *r);


#endif /* NGX_HTTP_GATEWAY_UPSTREAM_HOLD_H_INCLUDED */
