/*
 * From a body to a message.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel.h"
#include "../src/base64.h"
#include "../src/json_scan.h"
#include "../src/utf8.h"
#include "../src/ws_frame.h"


static ngx_int_t
ngx_http_gateway_message_json(gw_message_t *m, gw_str_t body)
{
    gw_json_t  value, type, payload;

    if (gw_json_parse(body, &value) != GW_OK) {
        return NGX_DECLINED;
    }

    m->opcode = GW_WS_TEXT;
    m->raw = body;
    m->payload = value.text;

    if (gw_json_member(&value, gw_str("type"), &type) == GW_OK
        && type.type == GW_JSON_STRING
        && gw_json_member(&value, gw_str("payload"), &payload) == GW_OK)
    {
        m->type = type.text;
        m->payload = payload.text;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_message_text(gw_message_t *m, ngx_pool_t *pool,
    gw_str_t body)
{
    u_char  *p;

    p = ngx_pnalloc(pool, gw_json_quoted_size(body));
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->opcode = GW_WS_TEXT;
    m->raw = body;
    m->payload.data = p;
    m->payload.len = gw_json_quote(p, body) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_message_binary(gw_message_t *m, ngx_pool_t *pool,
    gw_str_t body)
{
    u_char  *p;

    p = ngx_pnalloc(pool, gw_base64_encoded_size(body.len) + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->opcode = GW_WS_BINARY;
    m->base64 = true;
    m->raw = body;
    m->payload.data = p;

    *p++ = '"';
    p = gw_base64_encode(p, body.data, body.len);
    *p++ = '"';

    m->payload.len = p - m->payload.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_message_init(gw_message_t *m, ngx_pool_t *pool,
    ngx_str_t *body, ngx_http_gateway_body_e kind)
{
    gw_str_t    b;
    ngx_uint_t  utf8;

    b.data = body->len ? body->data : (u_char *) "";
    b.len = body->len;

    ngx_memzero(m, sizeof(*m));
    m->priority = GW_PRIORITY_NORMAL;

    if (kind == NGX_HTTP_GATEWAY_BODY_BINARY) {
        return ngx_http_gateway_message_binary(m, pool, b);
    }

    utf8 = gw_utf8_valid(b.data, b.len);

    if (kind != NGX_HTTP_GATEWAY_BODY_TEXT && utf8
        && ngx_http_gateway_message_json(m, b) == NGX_OK)
    {
        return NGX_OK;
    }

    if (kind == NGX_HTTP_GATEWAY_BODY_JSON) {
        return NGX_DECLINED;
    }

    if (utf8) {
        return ngx_http_gateway_message_text(m, pool, b);
    }

    return kind == NGX_HTTP_GATEWAY_BODY_TEXT
           ? NGX_DECLINED
           : ngx_http_gateway_message_binary(m, pool, b);
}
