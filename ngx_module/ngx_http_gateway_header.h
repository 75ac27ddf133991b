/*
 * Header fields by name, where nginx has no place of their own for them.
 */

#ifndef NGX_HTTP_GATEWAY_HEADER_H_INCLUDED
#define NGX_HTTP_GATEWAY_HEADER_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Of the request's headers of that name the one of that number, from 0; NULL:
 * there are not as many. */
ngx_table_elt_t *ngx_http_gateway_header_find(ngx_http_request_t *r,
    char *name, ngx_uint_t number);

/* Adds one to the response; name is static, value lives as long as r. */
ngx_int_t ngx_http_gateway_header_add(ngx_http_request_t *r, char *name,
    u_char *value, size_t len);


#endif /* NGX_HTTP_GATEWAY_HEADER_H_INCLUDED */
