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


#endif /* NGX_HTTP_GATEWAY_CACHE_H_INCLUDED */
