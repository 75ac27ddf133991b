/*
 * What other features ask of gateway_cache.
 */

#ifndef NGX_HTTP_GATEWAY_CACHE_H_INCLUDED
#define NGX_HTTP_GATEWAY_CACHE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * A location whose handler makes the response itself, or streams without an
 * end, says so in its directive: gateway_cache there is an error, and what it
 * inherits does not count.
 */
void ngx_http_gateway_cache_never(ngx_conf_t *cf);

/*
 * Purges keys and tags (arrays of gw_str_t, which are copied) in the zone of
 * r's location, or in all where it has none, and tells the subscribers of
 * cache:invalidate. It may go on after r has ended. NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_gateway_cache_purge(ngx_http_request_t *r,
    ngx_array_t *keys, ngx_array_t *tags);

/*
 * Purges what a JSON object {keys?, pattern?, tags?, cascade?} names, in all
 * zones, and tells the subscribers of cache:invalidate. NGX_OK, NGX_DECLINED:
 * it is malformed or names nothing, NGX_BUSY: too many are under way, or
 * NGX_ERROR.
 */
ngx_int_t ngx_http_gateway_cache_purge_object(ngx_str_t *object);


#endif /* NGX_HTTP_GATEWAY_CACHE_H_INCLUDED */
