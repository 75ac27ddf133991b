/*
 * A connection without a socket, under a request that no client made. It is
 * one of worker_connections; nothing is registered with the kernel for it,
 * and nginx's code for a client's connection may look at it, but never reads
 * or writes. It seems to come from 127.0.0.1.
 */

#ifndef NGX_HTTP_GATEWAY_CONNECTION_H_INCLUDED
#define NGX_HTTP_GATEWAY_CONNECTION_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Logs as the location does. NULL: no memory or no free connection. The
 * caller sets data to the request. */
ngx_connection_t *ngx_http_gateway_connection_create(
    ngx_http_core_loc_conf_t *clcf);

/* Frees it with its pool; the request is gone already. */
void ngx_http_gateway_connection_close(ngx_connection_t *c);

/* Closes one that has a socket, to a server, with its pool: nobody waits for
 * what TLS has to say at its end. */
void ngx_http_gateway_connection_drop(ngx_connection_t *c);


#endif /* NGX_HTTP_GATEWAY_CONNECTION_H_INCLUDED */
