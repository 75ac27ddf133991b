/*
 * gateway_cache: requests that wait for the answer to another one.
 *
 * The store notes only which workers have somebody waiting. A worker that is
 * woken runs the phases of all its waiting requests again; each looks up
 * anew, and answers, takes the lead or goes on waiting.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"


static void ngx_http_gateway_cache_timeout(ngx_event_t *ev);
static void ngx_http_gateway_cache_cancel(void *data);


static ngx_queue_t  ngx_http_gateway_cache_waiting;


void
ngx_http_gateway_cache_wait_init(void)
{
    ngx_queue_init(&ngx_http_gateway_cache_waiting);
}


ngx_int_t
ngx_http_gateway_cache_hold(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;

    r = ctx->request;

    if (!ctx->cleanup) {

        /* the pool's cleanup is too late: a request may end before it */

        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_http_gateway_cache_cancel;
        cln->data = ctx;
        ctx->cleanup = 1;
    }

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_park(ngx_http_gateway_cache_ctx_t *ctx)
{
    int64_t  left;

    if (ngx_http_gateway_cache_hold(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    left = ctx->arrived + (int64_t) ctx->conf->lock_timeout
           - ngx_http_gateway_cache_now();

    ctx->timer.handler = ngx_http_gateway_cache_timeout;
    ctx->timer.data = ctx;
    ctx->timer.log = ctx->request->connection->log;

    ngx_add_timer(&ctx->timer, (ngx_msec_t) ngx_max(left, 1));

    ngx_queue_insert_tail(&ngx_http_gateway_cache_waiting, &ctx->queue);
    ctx->waiting = 1;
    ctx->collapsed = 1;

    return NGX_AGAIN;
}


static void
ngx_http_gateway_cache_cancel(void *data)
{
    ngx_http_gateway_cache_ctx_t *ctx = data;

    ngx_http_gateway_cache_remote_cancel(ctx);

    if (!ctx->waiting) {
        return;
    }

    ctx->waiting = 0;
    ngx_queue_remove(&ctx->queue);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


/* In the event loop: one answer may serve all that wait here. */

void
ngx_http_gateway_cache_woken(void)
{
    ngx_queue_t   woken, *q;

    ngx_http_gateway_cache_follow_woken();

    if (ngx_queue_empty(&ngx_http_gateway_cache_waiting)) {
        return;
    }

    /* who goes on waiting is queued anew; who is destroyed removes itself */

    ngx_queue_init(&woken);
    ngx_queue_add(&woken, &ngx_http_gateway_cache_waiting);
    ngx_queue_init(&ngx_http_gateway_cache_waiting);

    while (!ngx_queue_empty(&woken)) {
        q = ngx_queue_head(&woken);

        ngx_http_gateway_cache_resume(
                     ngx_queue_data(q, ngx_http_gateway_cache_ctx_t, queue));
    }
}


static void
ngx_http_gateway_cache_timeout(ngx_event_t *ev)
{
    ngx_http_gateway_cache_ctx_t *ctx = ev->data;

    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                  "gateway_cache \"%V\": waited too long for the answer to "
                  "another request", &ctx->zone->name);

    ctx->alone = 1;

    ngx_http_gateway_cache_resume(ctx);
}


void
ngx_http_gateway_cache_resume(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    ngx_http_gateway_cache_cancel(ctx);

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}
