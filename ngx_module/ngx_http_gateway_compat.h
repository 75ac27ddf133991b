/*
 * What differs between the versions of nginx that are supported (1.22 on).
 * Every test of nginx_version stands here.
 */

#ifndef NGX_HTTP_GATEWAY_COMPAT_H_INCLUDED
#define NGX_HTTP_GATEWAY_COMPAT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Headers that may occur several times became linked lists in 1.23.0: a
 * header made here has to end its list.
 */

#if (nginx_version >= 1023000)
#define ngx_http_gateway_header_single(h)  (h)->next = NULL
#else
#define ngx_http_gateway_header_single(h)
#endif


/* Finds a cookie over all Cookie headers: NGX_OK or NGX_DECLINED. */

static ngx_inline ngx_int_t
ngx_http_gateway_cookie(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value)
{
#if (nginx_version >= 1023000)

    return ngx_http_parse_multi_header_lines(r, r->headers_in.cookie, name,
                                             value)
           ? NGX_OK : NGX_DECLINED;

#else

    return ngx_http_parse_multi_header_lines(&r->headers_in.cookies, name,
                                             value) != NGX_DECLINED
           ? NGX_OK : NGX_DECLINED;

#endif
}


/* An empty list of Cookie headers, for requests that no client made. */

static ngx_inline ngx_int_t
ngx_http_gateway_cookies_init(ngx_http_request_t *r)
{
#if (nginx_version >= 1023000)

    return NGX_OK;

#else

    return ngx_array_init(&r->headers_in.cookies, r->pool, 1,
                          sizeof(ngx_table_elt_t *));

#endif
}


/* Makes a header, already in the list of those of the response, the next of
 * its Cache-Control headers. */

static ngx_inline ngx_int_t
ngx_http_gateway_cache_control(ngx_http_request_t *r, ngx_table_elt_t *h)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  **last;

    for (last = &r->headers_out.cache_control; *last; last = &(*last)->next) {
        /* void */
    }

    *last = h;

    return NGX_OK;

#else

    ngx_table_elt_t  **last;

    if (r->headers_out.cache_control.elts == NULL
        && ngx_array_init(&r->headers_out.cache_control, r->pool, 2,
                          sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    last = ngx_array_push(&r->headers_out.cache_control);
    if (last == NULL) {
        return NGX_ERROR;
    }

    *last = h;

    return NGX_OK;

#endif
}


#endif /* NGX_HTTP_GATEWAY_COMPAT_H_INCLUDED */
