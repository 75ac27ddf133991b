/*
 * gateway_cache: requests that are served while another one's answer comes.
 *
 * The header goes out at once, and what there is of the body; a worker that
 * is woken sends what has come since. Only bodies of a known size are
 * followed, whose memory has been taken before: of these nothing but their
 * source can fail, and then the connection is closed before the length that
 * was promised.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_CACHE_SPANS  16


#define NGX_HTTP_GATEWAY_CACHE_FOLLOW_TIMER  60000  /* ms */


typedef struct {
    ngx_queue_t                     queue;
    ngx_http_gateway_cache_ctx_t   *ctx;
    gw_store_cursor_t               cursor;
    uint64_t                        seen;      /* bytes handed on */
    uint64_t                        size;      /* of all */
    ngx_event_t                     timer;     /* keeps an ending worker */
} ngx_http_gateway_cache_follower_t;


static void ngx_http_gateway_cache_follow_wait(
    ngx_http_gateway_cache_follower_t *f);
static void ngx_http_gateway_cache_follow_timer(ngx_event_t *ev);
static void ngx_http_gateway_cache_follow_cancel(void *data);
static void ngx_http_gateway_cache_follow_on(
    ngx_http_gateway_cache_follower_t *f);
static void ngx_http_gateway_cache_follow_write(ngx_http_request_t *r);


static ngx_queue_t  ngx_http_gateway_cache_followers;


void
ngx_http_gateway_cache_follow_init(void)
{
    ngx_queue_init(&ngx_http_gateway_cache_followers);
}


ngx_uint_t
ngx_http_gateway_cache_follow_fits(ngx_http_gateway_cache_ctx_t *ctx)
{
    int64_t              now;
    gw_cache_decision_t  d;

    if (ctx->info.state == GW_STORE_ABORTED
        || ctx->info.body_size == GW_STORE_UNKNOWN || !ctx->meta.ready)
    {
        return 0;
    }

    now = ngx_http_gateway_cache_now();
    d = gw_cache_decide(&ctx->req, &ctx->meta.policy, now, false,
                        GW_FWD_URI_MISS);

    if (d.verdict != GW_CACHE_HIT) {
        return 0;
    }

    ctx->status = NGX_HTTP_GATEWAY_CACHE_HIT;
    ctx->fwd = d.fwd;
    ctx->ttl = d.ttl;
    ctx->has_ttl = 1;

    return 1;
}


ngx_int_t
ngx_http_gateway_cache_follow(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_int_t                           rc;
    ngx_http_request_t                 *r;
    ngx_http_cleanup_t                 *cln;
    ngx_http_gateway_cache_follower_t  *f;

    r = ctx->request;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    f = ngx_pcalloc(r->pool, sizeof(*f));
    cln = ngx_http_cleanup_add(r, 0);

    if (f == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    f->ctx = ctx;
    f->size = ctx->info.body_size;
    ngx_queue_init(&f->queue);
    f->timer.handler = ngx_http_gateway_cache_follow_timer;
    f->timer.data = f;
    f->timer.log = r->connection->log;

    cln->handler = ngx_http_gateway_cache_follow_cancel;
    cln->data = f;

    /* the length of the whole, in the header and for ranges */
    ctx->info.body_len = f->size;

    if (ngx_http_gateway_cache_read(ctx) != NGX_OK
        || ngx_http_gateway_cache_headers(ctx) != NGX_OK
        || ngx_http_gateway_cache_report(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->answered = 1;

    rc = ngx_http_send_header(r);

    if (rc != NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    gw_store_cursor(ctx->zone->sh->store, &ctx->ref, GW_STORE_BODY, 0, 0,
                    &f->cursor);

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_gateway_cache_follow_write;

    ngx_http_gateway_cache_follow_on(f);

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_gateway_cache_follow_cancel(void *data)
{
    ngx_http_gateway_cache_follower_t *f = data;

    ngx_queue_remove(&f->queue);
    ngx_queue_init(&f->queue);

    if (f->timer.timer_set) {
        ngx_del_timer(&f->timer);
    }
}


/* A worker that is to end goes on as long as there are timers: who fetches
 * may be in another one. */

static void
ngx_http_gateway_cache_follow_wait(ngx_http_gateway_cache_follower_t *f)
{
    ngx_queue_insert_tail(&ngx_http_gateway_cache_followers, &f->queue);
    ngx_add_timer(&f->timer, NGX_HTTP_GATEWAY_CACHE_FOLLOW_TIMER);
}


static void
ngx_http_gateway_cache_follow_timer(ngx_event_t *ev)
{
    ngx_add_timer(ev, NGX_HTTP_GATEWAY_CACHE_FOLLOW_TIMER);
}


/* The next n bytes as buffers that point into the store. */

static ngx_chain_t *
ngx_http_gateway_cache_follow_body(ngx_http_gateway_cache_follower_t *f,
    uint64_t n)
{
    size_t               i, count;
    gw_str_t             spans[NGX_HTTP_GATEWAY_CACHE_SPANS];
    ngx_buf_t           *b;
    ngx_chain_t         *out, **ll, *cl;
    ngx_http_request_t  *r;

    r = f->ctx->request;
    out = NULL;
    ll = &out;
    b = NULL;

    gw_store_more(&f->cursor, n);

    do {
        count = gw_store_spans(f->ctx->zone->sh->store, &f->cursor, spans,
                               NGX_HTTP_GATEWAY_CACHE_SPANS);

        for (i = 0; i < count || out == NULL; i++) {
            b = ngx_calloc_buf(r->pool);
            cl = ngx_alloc_chain_link(r->pool);

            if (b == NULL || cl == NULL) {
                return NULL;
            }

            if (i < count) {
                b->pos = (u_char *) spans[i].data;
                b->last = b->pos + spans[i].len;
                b->start = b->pos;
                b->end = b->last;
                b->memory = 1;
            }

            cl->buf = b;
            cl->next = NULL;
            *ll = cl;
            ll = &cl->next;
        }
    } while (count == NGX_HTTP_GATEWAY_CACHE_SPANS);

    f->seen += n;

    if (f->seen == f->size) {
        b->last_buf = 1;
        b->last_in_chain = 1;

    } else {
        b->flush = 1;
    }

    return out;
}


/* send_timeout counts while the client does not take what it was sent. */

static ngx_int_t
ngx_http_gateway_cache_follow_arm(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->buffered || r->connection->buffered) {

        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

    } else if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


/* Sends what there is; the request may be gone on return. */

static void
ngx_http_gateway_cache_follow_on(ngx_http_gateway_cache_follower_t *f)
{
    ngx_int_t                      rc;
    gw_store_info_t                info;
    ngx_chain_t                   *out;
    ngx_http_request_t            *r;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = f->ctx;
    r = ctx->request;

    ngx_http_gateway_cache_follow_cancel(f);

    gw_store_progress(ngx_http_gateway_cache_lock(ctx->zone),
                      (unsigned) ngx_http_gateway_slot, &ctx->ref, f->seen,
                      &info);
    ngx_http_gateway_cache_unlock(ctx->zone);

    if (info.body_len > f->seen || f->size == 0) {
        out = ngx_http_gateway_cache_follow_body(f, info.body_len - f->seen);
        rc = out ? ngx_http_output_filter(r, out) : NGX_ERROR;

        if (rc == NGX_ERROR || f->seen == f->size) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (ngx_http_gateway_cache_follow_arm(r) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        /* the slot is noted only where nothing new was there */

        ngx_http_gateway_cache_follow_wait(f);

        gw_store_progress(ngx_http_gateway_cache_lock(ctx->zone),
                          (unsigned) ngx_http_gateway_slot, &ctx->ref,
                          f->seen, &info);
        ngx_http_gateway_cache_unlock(ctx->zone);

        if (info.body_len > f->seen) {
            ngx_http_gateway_worker_wake(ngx_http_gateway_slot);
            return;
        }

    } else {
        ngx_http_gateway_cache_follow_wait(f);
    }

    if (info.state == GW_STORE_FILLING) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "gateway_cache \"%V\": the answer that was followed has "
                  "ended after %uL of %uL bytes", &ctx->zone->name, f->seen,
                  f->size);

    ngx_http_finalize_request(r, NGX_ERROR);
}


void
ngx_http_gateway_cache_follow_woken(void)
{
    ngx_queue_t                         woken, *q;
    ngx_connection_t                   *c;
    ngx_http_gateway_cache_follower_t  *f;

    if (ngx_queue_empty(&ngx_http_gateway_cache_followers)) {
        return;
    }

    ngx_queue_init(&woken);
    ngx_queue_add(&woken, &ngx_http_gateway_cache_followers);
    ngx_queue_init(&ngx_http_gateway_cache_followers);

    while (!ngx_queue_empty(&woken)) {
        q = ngx_queue_head(&woken);
        f = ngx_queue_data(q, ngx_http_gateway_cache_follower_t, queue);
        c = f->ctx->request->connection;

        ngx_http_set_log_request(c->log, f->ctx->request);

        ngx_http_gateway_cache_follow_on(f);
        ngx_http_run_posted_requests(c);
    }
}


/* The client can take more of what it was sent. */

static void
ngx_http_gateway_cache_follow_write(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR
        || ngx_http_gateway_cache_follow_arm(r) != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}
