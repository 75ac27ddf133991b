/*
 * Refusals in gRPC's own terms.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_grpc.h"
#include "ngx_http_gateway_header.h"


ngx_uint_t
ngx_http_gateway_grpc_call(ngx_http_request_t *r)
{
    u_char     end;
    ngx_str_t  *type;

    static ngx_str_t  grpc = ngx_string("application/grpc");

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    if (type->len < grpc.len
        || ngx_strncasecmp(type->data, grpc.data, grpc.len) != 0)
    {
        return 0;
    }

    if (type->len == grpc.len) {
        return 1;
    }

    end = type->data[grpc.len];

    return end == '+' || end == ';' || end == ' ';
}


ngx_int_t
ngx_http_gateway_grpc_refuse(ngx_http_request_t *r, ngx_uint_t status,
    char *message)
{
    u_char     *p;
    ngx_int_t   rc;

    /* of a call over HTTP/1.1 it would be taken for the next request */

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    rc = NGX_ERROR;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);

    if (p
        && ngx_http_gateway_header_add(r, "grpc-status", p,
                                       ngx_sprintf(p, "%ui", status) - p)
           == NGX_OK
        && ngx_http_gateway_header_add(r, "grpc-message",
                                       (u_char *) message,
                                       ngx_strlen(message))
           == NGX_OK)
    {
        r->headers_out.status = NGX_HTTP_OK;
        ngx_str_null(&r->headers_out.status_line);
        ngx_str_set(&r->headers_out.content_type, "application/grpc");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
        ngx_str_null(&r->headers_out.charset);
        ngx_http_clear_content_length(r);
        ngx_http_clear_accept_ranges(r);
        ngx_http_clear_last_modified(r);
        ngx_http_clear_etag(r);

        /* nothing follows: the block of headers is the end of the stream */
        r->header_only = 1;

        rc = ngx_http_send_header(r);
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}
