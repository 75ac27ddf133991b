/*
 * Refusals in gRPC's own terms.
 *
 * A gRPC client takes any HTTP status but 200 for a broken server, and looks
 * for the outcome of its call in trailers. So a call is refused with a
 * response that is nothing but trailers ("Trailers-Only" in gRPC's
 * PROTOCOL-HTTP2): HTTP 200, grpc-status and grpc-message in the only block
 * of headers.
 */

#ifndef NGX_HTTP_GATEWAY_GRPC_H_INCLUDED
#define NGX_HTTP_GATEWAY_GRPC_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Status codes of gRPC. */
#define NGX_HTTP_GATEWAY_GRPC_PERMISSION_DENIED   7
#define NGX_HTTP_GATEWAY_GRPC_RESOURCE_EXHAUSTED  8
#define NGX_HTTP_GATEWAY_GRPC_UNAVAILABLE         14
#define NGX_HTTP_GATEWAY_GRPC_UNAUTHENTICATED     16


/* Whether the request is a gRPC call: by its Content-Type, application/grpc
 * alone or followed by "+" or ";" (so gRPC-Web is none). */
ngx_uint_t ngx_http_gateway_grpc_call(ngx_http_request_t *r);

/*
 * Sends the refusal of a call and finalizes the request; header fields that
 * were added to r->headers_out before go with it. message is static, and of
 * printable ASCII without "%". A handler of a phase returns what this does,
 * and touches r no more: NGX_DONE.
 */
ngx_int_t ngx_http_gateway_grpc_refuse(ngx_http_request_t *r,
    ngx_uint_t status, char *message);


#endif /* NGX_HTTP_GATEWAY_GRPC_H_INCLUDED */
