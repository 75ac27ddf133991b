/*
 * A text that grows: for the JSON that the gateway itself writes.
 *
 * There is one in a worker, used from begin to end without a pause, so that
 * an answer costs no allocation.
 */

#ifndef NGX_HTTP_GATEWAY_TEXT_H_INCLUDED
#define NGX_HTTP_GATEWAY_TEXT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "../src/gw.h"
#include "../src/json_scan.h"


typedef struct {
    u_char      *data;
    size_t       len;
    size_t       size;
    ngx_uint_t   failed;    /* there was no memory: it is incomplete */
} ngx_http_gateway_text_t;


/* Empties the worker's text, and gives memory back that a large one took. */
ngx_http_gateway_text_t *ngx_http_gateway_text(void);

/* Gives its memory back, at the worker's end. */
void ngx_http_gateway_text_done(void);

void ngx_http_gateway_text_add(ngx_http_gateway_text_t *t, const void *data,
    size_t len);
void ngx_http_gateway_text_string(ngx_http_gateway_text_t *t, gw_str_t s);
void ngx_http_gateway_text_uint(ngx_http_gateway_text_t *t, uint64_t n);
void ngx_http_gateway_text_time(ngx_http_gateway_text_t *t, uint64_t ms);

#define ngx_http_gateway_text_literal(t, s)                                  \
    ngx_http_gateway_text_add(t, s, sizeof(s) - 1)


static ngx_inline gw_str_t
ngx_http_gateway_span(ngx_str_t *s)
{
    gw_str_t  span;

    span.data = s->data;
    span.len = s->len;

    return span;
}


static ngx_inline uint64_t
ngx_http_gateway_time_ms(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


#endif /* NGX_HTTP_GATEWAY_TEXT_H_INCLUDED */
