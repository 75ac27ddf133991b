/*
 * Servers of an upstream that a feature has taken out.
 *
 * nginx asks no more of ngx_http_upstream_rr_peer_t.down than whether it is
 * zero, and has only 1 in it itself. Each feature sets and clears one bit of
 * its own, under the write lock of the peers, and leaves the others.
 */

#ifndef NGX_HTTP_GATEWAY_PEERS_H_INCLUDED
#define NGX_HTTP_GATEWAY_PEERS_H_INCLUDED


#define NGX_HTTP_GATEWAY_DOWN_HEALTH   0x100
#define NGX_HTTP_GATEWAY_DOWN_BREAKER  0x200


#endif /* NGX_HTTP_GATEWAY_PEERS_H_INCLUDED */
