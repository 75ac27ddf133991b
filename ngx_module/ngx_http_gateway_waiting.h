/*
 * A request that waits for a channel, see ngx_http_gateway_mirror.h: it is
 * answered later, unless its client has left meanwhile.
 *
 *     w = ngx_http_gateway_waiting_create(r, answer);
 *     rc = ngx_http_gateway_mirror_...(..., ngx_http_gateway_waiting_done, w,
 *                                      &w->op);
 *     return rc == NGX_AGAIN ? ngx_http_gateway_waiting_begin(w)
 *                            : answer(r, rc, &info);
 */

#ifndef NGX_HTTP_GATEWAY_WAITING_H_INCLUDED
#define NGX_HTTP_GATEWAY_WAITING_H_INCLUDED


#include "ngx_http_gateway_mirror.h"


/* What the request is finalized with. */
typedef ngx_int_t (*ngx_http_gateway_answer_pt)(ngx_http_request_t *r,
    ngx_int_t rc, ngx_http_gateway_channel_info_t *info);

typedef struct {
    ngx_http_request_t            *request;
    ngx_http_gateway_answer_pt     answer;
    ngx_http_gateway_mirror_op_t  *op;
} ngx_http_gateway_waiting_t;


/* In the request's pool; NULL: no memory. */
ngx_http_gateway_waiting_t *ngx_http_gateway_waiting_create(
    ngx_http_request_t *r, ngx_http_gateway_answer_pt answer);

/* Keeps the request: NGX_DONE, for a content handler. */
ngx_int_t ngx_http_gateway_waiting_begin(ngx_http_gateway_waiting_t *w);

void ngx_http_gateway_waiting_done(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info);


#endif /* NGX_HTTP_GATEWAY_WAITING_H_INCLUDED */
