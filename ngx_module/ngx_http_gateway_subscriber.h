/*
 * What the endpoint counts of its connections.
 */

#ifndef NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED
#define NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED


#include "ngx_http_gateway_websocket.h"


void ngx_http_gateway_subscriber_opened(
    ngx_http_gateway_subscriber_loc_conf_t *conf);
void ngx_http_gateway_subscriber_closed(
    ngx_http_gateway_subscriber_loc_conf_t *conf);

/* A raw client's message was not published: it may not. */
void ngx_http_gateway_subscriber_refused(
    ngx_http_gateway_subscriber_loc_conf_t *conf);


/* Whether a browser's page of this origin may open a connection:
 * ngx_http_gateway_origin.c. host is the request's own, with its port. */
ngx_uint_t ngx_http_gateway_origin_allowed(
    ngx_http_gateway_subscriber_loc_conf_t *conf, ngx_str_t *origin,
    ngx_str_t *host);

/* gateway_origin_allow */
char *ngx_http_gateway_origin_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_GATEWAY_SUBSCRIBER_H_INCLUDED */
