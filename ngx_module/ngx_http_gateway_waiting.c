/*
 * Requests that wait for a channel.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_waiting.h"


static void
ngx_http_gateway_waiting_cleanup(void *data)
{
    ngx_http_gateway_waiting_t *w = data;

    if (w->op) {
        ngx_http_gateway_mirror_cancel(w->op);
        w->op = NULL;
    }
}


ngx_http_gateway_waiting_t *
ngx_http_gateway_waiting_create(ngx_http_request_t *r,
    ngx_http_gateway_answer_pt answer)
{
    ngx_http_cleanup_t          *cln;
    ngx_http_gateway_waiting_t  *w;

    cln = ngx_http_cleanup_add(r, sizeof(*w));
    if (cln == NULL) {
        return NULL;
    }

    w = cln->data;
    w->request = r;
    w->answer = answer;
    w->op = NULL;

    cln->handler = ngx_http_gateway_waiting_cleanup;

    return w;
}


ngx_int_t
ngx_http_gateway_waiting_begin(ngx_http_gateway_waiting_t *w)
{
    ngx_http_request_t  *r;

    r = w->request;

    r->main->count++;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (r == r->main) {
        r->read_event_handler = ngx_http_test_reading;
    }

    return NGX_DONE;
}


void
ngx_http_gateway_waiting_done(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_waiting_t *w = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    w->op = NULL;
    r = w->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (r == r->main) {
        r->read_event_handler = ngx_http_block_reading;
    }

    ngx_http_finalize_request(r, w->answer(r, rc, info));
    ngx_http_run_posted_requests(c);
}
