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


#define NGX_HTTP_GATEWAY_TYPE_MAX  255  /* bytes */


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


ngx_int_t
ngx_http_gateway_message_priority(ngx_str_t *value, ngx_uint_t *priority)
{
    ngx_uint_t  i;

    static ngx_str_t  priorities[] = {
        ngx_string("low"), ngx_string("normal"), ngx_string("high")
    };

    for (i = 0; i < sizeof(priorities) / sizeof(priorities[0]); i++) {
        if (value->len == priorities[i].len
            && ngx_strncasecmp(value->data, priorities[i].data, value->len)
               == 0)
        {
            *priority = i;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_gateway_message_type(ngx_pool_t *pool, ngx_str_t *value,
    gw_str_t *type)
{
    u_char    *p;
    gw_str_t   s;

    s.data = value->data;
    s.len = value->len;

    if (s.len == 0 || s.len > NGX_HTTP_GATEWAY_TYPE_MAX
        || !gw_utf8_valid(s.data, s.len))
    {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(pool, gw_json_quoted_size(s));
    if (p == NULL) {
        return NGX_ERROR;
    }

    type->data = p;
    type->len = gw_json_quote(p, s) - p;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_message_body(ngx_http_request_t *r, size_t max,
    ngx_str_t *body)
{
    off_t         size;
    size_t        n;
    ssize_t       rc;
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_str_null(body);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        body->data = cl->buf->pos;
        body->len = cl->buf->last - cl->buf->pos;

        return body->len > max ? NGX_HTTP_REQUEST_ENTITY_TOO_LARGE : NGX_OK;
    }

    size = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > (off_t) max) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    p = ngx_pnalloc(r->pool, size + 1);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = p;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        if (!b->in_file) {
            /* "Content-Length: 0" gives a buffer with nothing but flags */
            continue;
        }

        n = b->file_last - b->file_pos;
        rc = ngx_read_file(b->file, p, n, b->file_pos);

        if (rc != (ssize_t) n) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        p += n;
    }

    body->len = p - body->data;

    return NGX_OK;
}
