/*
 * What the endpoint counts of its connections.
 */

#ifndef NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED
#define NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED


#include "ngx_http_gateway_websocket.h"


/* Ends all connections of a worker that is ending. */
void ngx_http_gateway_websocket_exit(void);

/* Goes on with a handshake whose channels have been joined; rc: NGX_OK, or a
 * status. */
void ngx_http_gateway_subscriber_resume(ngx_http_request_t *r, ngx_int_t rc);

void ngx_http_gateway_subscriber_opened(
    ngx_http_gateway_subscriber_loc_conf_t *conf);
void ngx_http_gateway_subscriber_closed(
    ngx_http_gateway_subscriber_loc_conf_t *conf);


/* The handshake: ngx_http_gateway_handshake.c */

/* RFC 6455 4.2.1, in its order; *key is what the answer is made of. NGX_OK,
 * or a status. */
ngx_int_t ngx_http_gateway_handshake_check(ngx_http_request_t *r,
    ngx_str_t *key);

/* NGX_OK or 403 */
ngx_int_t ngx_http_gateway_handshake_origin(ngx_http_request_t *r,
    ngx_http_gateway_subscriber_loc_conf_t *conf);

/* The subprotocol to answer, empty for none; *json: v1. NGX_OK or 400 */
ngx_int_t ngx_http_gateway_handshake_protocol(ngx_http_request_t *r,
    ngx_str_t *protocol, ngx_uint_t *json);

/* Sends the 101: NGX_OK, NGX_AGAIN, NGX_ERROR, or what a header filter makes
 * of it. */
ngx_int_t ngx_http_gateway_handshake_answer(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *protocol);


/* Whether a browser's page of this origin may open a connection:
 * ngx_http_gateway_origin.c. host is the request's own, with its port. */
ngx_uint_t ngx_http_gateway_origin_allowed(
    ngx_http_gateway_subscriber_loc_conf_t *conf, ngx_str_t *origin,
    ngx_str_t *host);

/* gateway_origin_allow */
char *ngx_http_gateway_origin_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED */
