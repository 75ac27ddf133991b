/*
 * What a location says of channels; shared by the channel module's files.
 */

#ifndef NGX_HTTP_GATEWAY_CHANNEL_CONF_H_INCLUDED
#define NGX_HTTP_GATEWAY_CHANNEL_CONF_H_INCLUDED


#include "ngx_http_gateway_channel.h"


/* A pattern of gateway_subscribe_allow, in pieces: text, or a variable. */

typedef struct {
    ngx_str_t                      text;      /* compiled */
    ngx_int_t                      variable;  /* index, -1 for text */
} ngx_http_gateway_allow_piece_t;

typedef struct {
    u_char                        *fixed;     /* patterns without variables */
    size_t                         fixed_len;
    ngx_array_t                    dynamic;   /* of arrays of pieces */
} ngx_http_gateway_allow_conf_t;

typedef struct {
    ngx_http_complex_value_t      *channel;
    ngx_http_gateway_allow_conf_t *allow[2];
    ngx_str_t                      claim;
} ngx_http_gateway_channel_loc_conf_t;


extern ngx_module_t  ngx_http_gateway_channel_module;


char *ngx_http_gateway_allow_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_GATEWAY_CHANNEL_CONF_H_INCLUDED */
