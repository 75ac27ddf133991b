/*
 * Channels that are shared through Redis: see the header.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_mirror.h"


ngx_int_t
ngx_http_gateway_mirror_publish(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info, ngx_http_gateway_mirror_pt done,
    void *data, ngx_http_gateway_mirror_op_t **op)
{
    return ngx_http_gateway_channel_publish(zone, name, m, expected, info);
}


ngx_int_t
ngx_http_gateway_mirror_delete(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op)
{
    return ngx_http_gateway_channel_delete(zone, name);
}


ngx_int_t
ngx_http_gateway_mirror_sync(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *names, ngx_uint_t n, ngx_http_gateway_mirror_pt done,
    void *data, ngx_http_gateway_mirror_op_t **op)
{
    return NGX_OK;
}


void
ngx_http_gateway_mirror_cancel(ngx_http_gateway_mirror_op_t *op)
{
}
