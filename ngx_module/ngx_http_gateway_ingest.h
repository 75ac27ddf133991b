/*
 * What services publish through Redis itself: entries of <prefix>publish.
 */

#ifndef NGX_HTTP_GATEWAY_INGEST_H_INCLUDED
#define NGX_HTTP_GATEWAY_INGEST_H_INCLUDED


#include "ngx_http_gateway_channel.h"


/* At configuration time, once all zones are known. */
ngx_int_t ngx_http_gateway_ingest_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t **zones, ngx_uint_t n);


#endif /* NGX_HTTP_GATEWAY_INGEST_H_INCLUDED */
