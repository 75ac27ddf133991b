#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_gateway_text.h"
#include "../src/envelope.h"


#define NGX_HTTP_GATEWAY_TEXT_KEEP  (64 * 1024)


static ngx_http_gateway_text_t  ngx_http_gateway_the_text;


ngx_http_gateway_text_t *
ngx_http_gateway_text(void)
{
    ngx_http_gateway_text_t  *t;

    t = &ngx_http_gateway_the_text;

    if (t->size > NGX_HTTP_GATEWAY_TEXT_KEEP) {
        ngx_http_gateway_text_done();
    }

    t->len = 0;
    t->failed = 0;

    return t;
}


void
ngx_http_gateway_text_done(void)
{
    ngx_http_gateway_text_t  *t;

    t = &ngx_http_gateway_the_text;

    if (t->data) {
        ngx_free(t->data);
    }

    ngx_memzero(t, sizeof(*t));
}


/* Room for len more bytes; NULL where there is none. */

static u_char *
ngx_http_gateway_text_room(ngx_http_gateway_text_t *t, size_t len)
{
    size_t   size;
    u_char  *p;

    if (t->failed) {
        return NULL;
    }

    if (t->size - t->len < len) {

        size = ngx_max(2 * t->size, 1024);
        size = ngx_max(size, t->len + len);

        p = ngx_alloc(size, ngx_cycle->log);
        if (p == NULL) {
            t->failed = 1;
            return NULL;
        }

        if (t->data) {
            ngx_memcpy(p, t->data, t->len);
            ngx_free(t->data);
        }

        t->data = p;
        t->size = size;
    }

    return t->data + t->len;
}


void
ngx_http_gateway_text_add(ngx_http_gateway_text_t *t, const void *data,
    size_t len)
{
    u_char  *p;

    p = ngx_http_gateway_text_room(t, len);

    if (p && len) {
        ngx_memcpy(p, data, len);
        t->len += len;
    }
}


void
ngx_http_gateway_text_string(ngx_http_gateway_text_t *t, gw_str_t s)
{
    u_char  *p;

    p = ngx_http_gateway_text_room(t, gw_json_quoted_size(s));

    if (p) {
        t->len = gw_json_quote(p, s) - t->data;
    }
}


void
ngx_http_gateway_text_uint(ngx_http_gateway_text_t *t, uint64_t n)
{
    u_char  *p;

    p = ngx_http_gateway_text_room(t, GW_UINT_LEN);

    if (p) {
        t->len = gw_uint(p, n) - t->data;
    }
}


/* An RFC 3339 time as a JSON string. */

void
ngx_http_gateway_text_time(ngx_http_gateway_text_t *t, uint64_t ms)
{
    u_char  *p;

    p = ngx_http_gateway_text_room(t, GW_TIMESTAMP_LEN + 2);

    if (p) {
        *p++ = '"';
        p = gw_timestamp(p, ms);
        *p++ = '"';
        t->len = p - t->data;
    }
}
