/*
 * The breaker in a request's upstream: asks before each attempt, and tells
 * its outcome, one for each.
 *
 * The hook stands outside of everything that chooses or keeps connections: it
 * wraps what the upstream's own peer.init has set up.
 *
 *   get             asks; where it is refused, the request leaves its upstream
 *   process_header  a failure by status or time; a probe's success; both
 *                   before nginx thinks of another attempt
 *   finalize        how the response ended: whole, cut off, too late, or left
 *                   by its client
 *   free            an attempt that failed; else what finalize said
 */

#include "ngx_http_gateway_breaker_int.h"
#include "ngx_http_gateway_connection.h"
#include "ngx_http_gateway_upstream_hold.h"


/* What one peer.init has set up. */

typedef struct {
    ngx_http_gateway_breaker_ctx_t   *ctx;
    ngx_http_gateway_breaker_conf_t  *conf;
    ngx_http_upstream_srv_conf_t     *upstream;

    void                             *data;
    ngx_event_get_peer_pt             get;
    ngx_event_free_peer_pt            free;

#if (NGX_SSL || NGX_COMPAT)
    ngx_event_set_peer_session_pt     set_session;
    ngx_event_save_peer_session_pt    save_session;
#endif
} ngx_http_gateway_breaker_peer_t;


static ngx_int_t ngx_http_gateway_breaker_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_gateway_breaker_get_server(
    ngx_peer_connection_t *pc, ngx_http_gateway_breaker_peer_t *bp);
static void ngx_http_gateway_breaker_free(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static ngx_int_t ngx_http_gateway_breaker_process_header(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_breaker_reinit_request(
    ngx_http_request_t *r);
static void ngx_http_gateway_breaker_finalize(ngx_http_request_t *r,
    ngx_int_t rc);

#if (NGX_SSL || NGX_COMPAT)
static ngx_int_t ngx_http_gateway_breaker_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_gateway_breaker_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


/* The request ends, by whatever way: a probe goes back. */

static void
ngx_http_gateway_breaker_cleanup(void *data)
{
    ngx_http_gateway_breaker_end(data, GW_BREAKER_NOTHING, 0);
}


ngx_http_gateway_breaker_ctx_t *
ngx_http_gateway_breaker_ctx(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_pool_cleanup_t              *cln;
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_breaker_module);

    if (ctx) {
        return ctx;
    }

    if (r->internal || r->filter_finalize) {

        /* an internal redirect has cleared the modules' contexts; the pool
         * is that of all subrequests */

        for (cln = r->pool->cleanup; cln; cln = cln->next) {

            if (cln->handler != ngx_http_gateway_breaker_cleanup) {
                continue;
            }

            ctx = cln->data;

            if (ctx->request == r) {
                ngx_http_set_ctx(r, ctx, ngx_http_gateway_breaker_module);
                return ctx;
            }
        }
    }

    if (!create) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(*ctx));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(*ctx));
    ctx->request = r;

    cln->handler = ngx_http_gateway_breaker_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_breaker_module);

    return ctx;
}


ngx_int_t
ngx_http_gateway_breaker_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t              *u;
    ngx_http_gateway_breaker_ctx_t   *ctx;
    ngx_http_gateway_breaker_conf_t  *bcf;
    ngx_http_gateway_breaker_peer_t  *bp;

    bcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_gateway_breaker_module);

    if (bcf->by_peer) {

        if (bcf->due && ngx_current_msec >= bcf->due) {
            (void) ngx_http_gateway_breaker_sweep();
        }

        if (bcf->generation != bcf->zone->sh->generation) {
            ngx_http_gateway_breaker_mark(bcf, us);
        }
    }

    if (bcf->init(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx = ngx_http_gateway_breaker_ctx(r, 1);
    bp = ngx_palloc(r->pool, sizeof(*bp));

    if (ctx == NULL || bp == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    bp->ctx = ctx;
    bp->conf = bcf;
    bp->upstream = us;
    bp->data = u->peer.data;
    bp->get = u->peer.get;
    bp->free = u->peer.free;

    u->peer.data = bp;
    u->peer.get = ngx_http_gateway_breaker_get;
    u->peer.free = ngx_http_gateway_breaker_free;

#if (NGX_SSL || NGX_COMPAT)
    bp->set_session = u->peer.set_session;
    bp->save_session = u->peer.save_session;
    u->peer.set_session = ngx_http_gateway_breaker_set_session;
    u->peer.save_session = ngx_http_gateway_breaker_save_session;
#endif

    if (ctx->upstream != u) {
        ctx->upstream = u;
        ctx->status = 0;
        ctx->process_header = u->process_header;
        ctx->reinit_request = u->reinit_request;
        ctx->finalize_request = u->finalize_request;
        u->process_header = ngx_http_gateway_breaker_process_header;
        u->reinit_request = ngx_http_gateway_breaker_reinit_request;
        u->finalize_request = ngx_http_gateway_breaker_finalize;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_breaker_refused(ngx_peer_connection_t *pc,
    ngx_http_gateway_breaker_peer_t *bp)
{
    bp->ctx->conf = bp->conf;

    return ngx_http_gateway_upstream_hold(bp->ctx->request, pc, 0,
                                          ngx_http_gateway_breaker_refuse,
                                          bp->ctx);
}


static ngx_int_t
ngx_http_gateway_breaker_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_breaker_peer_t *bp = data;

    ngx_int_t                        rc;
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = bp->ctx;
    ctx->start = ngx_current_msec;
    ctx->observed = 0;
    ctx->rc = NGX_DONE;

    if (bp->conf->by_peer) {
        rc = ngx_http_gateway_breaker_get_server(pc, bp);

        if (rc == NGX_DECLINED) {
            return ngx_http_gateway_breaker_refused(pc, bp);
        }

    } else {

        if (ngx_http_gateway_breaker_begin(ctx, bp->conf, bp->conf->entry)
            != NGX_OK)
        {
            return ngx_http_gateway_breaker_refused(pc, bp);
        }

        rc = bp->get(pc, bp->data);
    }

    if (rc != NGX_OK && rc != NGX_DONE) {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
    }

    return rc;
}


/* Gives a server back that was not used. */

static void
ngx_http_gateway_breaker_give_back(ngx_peer_connection_t *pc,
    ngx_http_gateway_breaker_peer_t *bp)
{
    ngx_uint_t  tries;

    tries = pc->tries;

    if (pc->connection) {
        ngx_http_gateway_connection_drop(pc->connection);
        pc->connection = NULL;
    }

    bp->free(pc, bp->data, 0);

    pc->sockaddr = NULL;
    pc->cached = 0;
    pc->tries = tries;
}


/*
 * Servers that are open are marked as down; of the half-open ones those whose
 * probes are all taken are passed over. NGX_DECLINED: none may be used now
 * because of this.
 */

static ngx_int_t
ngx_http_gateway_breaker_get_server(ngx_peer_connection_t *pc,
    ngx_http_gateway_breaker_peer_t *bp)
{
    ngx_int_t                          rc;
    ngx_uint_t                         n, refused;
    ngx_http_gateway_breaker_entry_t  *e;

    if (bp->conf->generation != bp->conf->zone->sh->generation) {
        ngx_http_gateway_breaker_mark(bp->conf, bp->upstream);
    }

    refused = (bp->conf->due != 0);

    for (n = bp->conf->entries.nelts + 1; n; n--) {

        rc = bp->get(pc, bp->data);

        if (rc == NGX_BUSY && refused) {

            if (!bp->ctx->decided) {
                bp->ctx->decided = 1;
                bp->ctx->state = GW_BREAKER_OPEN;
            }

            bp->ctx->wait = bp->conf->due > ngx_current_msec
                            ? bp->conf->due - ngx_current_msec : 0;

            return NGX_DECLINED;
        }

        if (rc != NGX_OK && rc != NGX_DONE) {
            return rc;
        }

        e = pc->name
            ? ngx_http_gateway_breaker_of_server(bp->conf, pc->name) : NULL;

        if (e == NULL
            || ngx_http_gateway_breaker_begin(bp->ctx, bp->conf, e) == NGX_OK)
        {
            return rc;
        }

        refused = 1;
        ngx_http_gateway_breaker_give_back(pc, bp);
    }

    return NGX_DECLINED;
}


static void
ngx_http_gateway_breaker_observe(ngx_http_gateway_breaker_ctx_t *ctx)
{
    if (!ctx->observed) {
        ctx->observed = 1;
        ngx_http_gateway_observe(ctx->conf->seconds,
                            (uint64_t) (ngx_current_msec - ctx->start) * 1000);
    }
}


/*
 * A protocol's parser puts its next step in u->process_header, and its first
 * where a request is made again: the hook is taken out before such a call, and
 * put back after it.
 */

static ngx_int_t
ngx_http_gateway_breaker_process_header(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_uint_t                        status;
    ngx_http_upstream_t              *u;
    ngx_http_gateway_breaker_ctx_t   *ctx;
    ngx_http_gateway_breaker_conf_t  *bcf;

    ctx = ngx_http_gateway_breaker_ctx(r, 0);
    u = r->upstream;

    u->process_header = ctx->process_header;

    rc = u->process_header(r);

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_gateway_breaker_process_header;

    if (rc != NGX_OK || ctx->entry == NULL) {
        return rc;
    }

    bcf = ctx->conf;
    status = u->headers_in.status_n;
    ctx->status = status;

    ngx_http_gateway_breaker_observe(ctx);

    if (status >= 400 && status < 600 && bcf->on_status[status - 400]) {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_FAILURE, status);

    } else if (bcf->slow && ngx_current_msec - ctx->start > bcf->slow) {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_FAILURE,
                                     NGX_HTTP_GATEWAY_BREAKER_SLOW);

    } else if (ctx->ticket.probe || u->upgrade) {

        /* neither holds a probe for as long as a stream may last, nor is a
         * tunnel's end the upstream's failure */

        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_SUCCESS, 0);

    } else {
        ctx->header = 1;
    }

    /* no attempt follows: this very answer, with its body, is the client's */

    if (u->peer.tries > 1 && ngx_http_gateway_breaker_closed_to(bcf)) {
        u->peer.tries = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_breaker_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_upstream_t             *u;
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = ngx_http_gateway_breaker_ctx(r, 0);
    u = r->upstream;

    u->process_header = ctx->process_header;

    rc = ctx->reinit_request(r);

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_gateway_breaker_process_header;

    return rc;
}


static void
ngx_http_gateway_breaker_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = ngx_http_gateway_breaker_ctx(r, 0);

    ctx->rc = rc;

    ctx->finalize_request(r, rc);
}


/* NGX_PEER_FAILED: nginx has given the attempt up. */

static void
ngx_http_gateway_breaker_failed(ngx_http_gateway_breaker_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_uint_t         timedout;
    ngx_connection_t  *c;

    if (ctx->header) {

        /* because of a status that is none of gateway_breaker_on */

        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_SUCCESS, 0);
        return;
    }

    c = pc->connection;
    timedout = c && (c->read->timedout || c->write->timedout);

    if (pc->cached && !timedout
        && ctx->request->upstream->state->bytes_received == 0)
    {
        /* a connection that was kept, and closed by the server meanwhile */

        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
        return;
    }

    ctx->status = timedout ? NGX_HTTP_GATEWAY_TIME_OUT : NGX_HTTP_BAD_GATEWAY;

    ngx_http_gateway_breaker_observe(ctx);

    if (timedout ? ctx->conf->on_timeout : ctx->conf->on_error) {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_FAILURE,
                                     timedout
                                     ? NGX_HTTP_GATEWAY_BREAKER_TIMEOUT
                                     : NGX_HTTP_GATEWAY_BREAKER_ERROR);
        return;
    }

    ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
}


/* nginx has ended the upstream. */

static void
ngx_http_gateway_breaker_ended(ngx_http_gateway_breaker_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_uint_t            timedout;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;

    if (!ctx->header) {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
        return;
    }

    c = pc->connection;
    timedout = ctx->rc == NGX_HTTP_GATEWAY_TIME_OUT
               || (c && c->read->timedout);

    if (u->header_sent
        && (ctx->rc == NGX_HTTP_BAD_GATEWAY
            || ctx->rc == NGX_HTTP_GATEWAY_TIME_OUT))
    {
        if (timedout ? ctx->conf->on_timeout : ctx->conf->on_error) {
            ngx_http_gateway_breaker_end(ctx, GW_BREAKER_FAILURE,
                                         timedout
                                         ? NGX_HTTP_GATEWAY_BREAKER_TIMEOUT
                                         : NGX_HTTP_GATEWAY_BREAKER_ERROR);
            return;
        }

        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
        return;
    }

    /* done, or an answer that nginx replaces by its own */

    if (ctx->rc == NGX_OK || ctx->rc == NGX_DECLINED
        || (!u->header_sent && ctx->rc >= NGX_HTTP_SPECIAL_RESPONSE
            && ctx->rc == (ngx_int_t) ctx->status))
    {
        ngx_http_gateway_breaker_end(ctx, GW_BREAKER_SUCCESS, 0);
        return;
    }

    ngx_http_gateway_breaker_end(ctx, GW_BREAKER_NOTHING, 0);
}


static void
ngx_http_gateway_breaker_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_gateway_breaker_peer_t *bp = data;

    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = bp->ctx;

    if (ctx->entry) {

        if (state & NGX_PEER_FAILED) {
            ngx_http_gateway_breaker_failed(ctx, pc);

        } else if (state & NGX_PEER_NEXT) {
            ngx_http_gateway_breaker_end(ctx, GW_BREAKER_SUCCESS, 0);

        } else {
            ngx_http_gateway_breaker_ended(ctx, pc);
        }
    }

    bp->free(pc, bp->data, state);

    if ((state & NGX_PEER_FAILED)
        && ngx_http_gateway_breaker_closed_to(bp->conf))
    {
        pc->tries = 0;
    }
}


#if (NGX_SSL || NGX_COMPAT)

static ngx_int_t
ngx_http_gateway_breaker_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_breaker_peer_t *bp = data;

    return bp->set_session(pc, bp->data);
}


static void
ngx_http_gateway_breaker_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_breaker_peer_t *bp = data;

    bp->save_session(pc, bp->data);
}

#endif


ngx_uint_t
ngx_http_gateway_breaker_refuses(ngx_http_request_t *r)
{
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = ngx_http_gateway_breaker_ctx(r, 0);

    return ctx && ctx->conf && ctx->upstream == r->upstream
           && ngx_http_gateway_breaker_closed_to(ctx->conf);
}
