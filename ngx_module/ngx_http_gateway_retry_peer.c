/*
 * What gateway_retry does to a request.
 *
 * peer.init of every upstream is wrapped, outside of all others, so that a
 * breaker or a health check sees each attempt. Where the request's location
 * has gateway_retry, its peer.get, peer.free and process_header are wrapped
 * too, and its upstream configuration is a copy. nginx's own code still
 * decides and starts each attempt; it is told by that copy (what may be tried
 * again) and by peer.tries (whether there is another try), which is kept
 * apart from the balancer's.
 *
 *   process_header  a status to be tried again?  tries: 2 yes, 1 no, and the
 *                                                answer goes to the client
 *   free            an error or a time-out?      tries: 1 yes, 0 no
 *   get             waits on hold, then asks the balancer
 */

#include "ngx_http_gateway_breaker.h"
#include "ngx_http_gateway_retry_int.h"
#include "ngx_http_gateway_upstream_hold.h"


typedef struct {
    ngx_http_request_t               *request;
    ngx_http_gateway_retry_t         *retry;
    ngx_http_gateway_retry_wrapped_t *wrapped;

    /* what is wrapped; of the peer connection: data, tries and the hooks */
    ngx_peer_connection_t             inner;
    ngx_int_t                       (*process_header)(ngx_http_request_t *r);
    ngx_int_t                       (*reinit_request)(ngx_http_request_t *r);

    /* the server of the last attempt: a copy, it may be gone */
    ngx_sockaddr_t                    sockaddr;
    socklen_t                         socklen;
    ngx_str_t                         name;
    u_char                            text[NGX_SOCKADDR_STRLEN];

    ngx_uint_t                        attempts;
    ngx_msec_t                        asked;    /* by Retry-After */
    ngx_msec_t                        delay;

    unsigned                          active:1;  /* an attempt is under way */
    unsigned                          answered:1;
    unsigned                          invalid:1; /* its header */
    unsigned                          again:1;   /* there will be another */
} ngx_http_gateway_retry_ctx_t;


static ngx_http_gateway_retry_ctx_t *ngx_http_gateway_retry_create_ctx(
    ngx_http_request_t *r);
static void ngx_http_gateway_retry_cleanup(void *data);
static void ngx_http_gateway_retry_wrap(ngx_http_gateway_retry_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_retry_get(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_gateway_retry_resume(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_http_gateway_retry_get_inner(
    ngx_http_gateway_retry_ctx_t *ctx, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_gateway_retry_get_again(
    ngx_http_gateway_retry_ctx_t *ctx, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_gateway_retry_renew(
    ngx_http_gateway_retry_ctx_t *ctx, ngx_peer_connection_t *pc);
static ngx_uint_t ngx_http_gateway_retry_usable(
    ngx_http_upstream_rr_peers_t *peers);
static void ngx_http_gateway_retry_forgive(
    ngx_http_gateway_retry_ctx_t *ctx);
static void ngx_http_gateway_retry_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_gateway_retry_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_gateway_retry_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_gateway_retry_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static ngx_int_t ngx_http_gateway_retry_process_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_retry_reinit_request(ngx_http_request_t *r);
static void ngx_http_gateway_retry_read_after(
    ngx_http_gateway_retry_ctx_t *ctx);
static ngx_http_gateway_retry_cause_t *ngx_http_gateway_retry_failure(
    ngx_http_gateway_retry_ctx_t *ctx, ngx_peer_connection_t *pc);
static ngx_uint_t ngx_http_gateway_retry_decide(
    ngx_http_gateway_retry_ctx_t *ctx, ngx_http_gateway_retry_cause_t *cause);


static ngx_http_gateway_retry_wrapped_t *
ngx_http_gateway_retry_wrapped(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                           left, right, i;
    ngx_http_gateway_retry_wrapped_t    *w;
    ngx_http_gateway_retry_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_retry_module);

    w = rmcf->wrapped;
    left = 0;
    right = rmcf->n;

    while (left < right) {
        i = (left + right) / 2;

        if (w[i].upstream == us) {
            return &w[i];
        }

        if (w[i].upstream < us) {
            left = i + 1;

        } else {
            right = i;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_gateway_retry_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t                *u;
    ngx_http_upstream_conf_t           *conf;
    ngx_http_gateway_retry_t           *retry;
    ngx_http_gateway_retry_ctx_t       *ctx;
    ngx_http_gateway_retry_wrapped_t   *wrapped;
    ngx_http_gateway_retry_loc_conf_t  *rlcf;

    wrapped = ngx_http_gateway_retry_wrapped(r, us);

    if (wrapped == NULL) {
        return NGX_ERROR;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_retry_module);
    retry = rlcf->retry;

    if (retry == NULL) {
        return wrapped->init(r, us);
    }

    ctx = ngx_http_gateway_retry_create_ctx(r);
    conf = ngx_palloc(r->pool, sizeof(*conf));

    if (ctx == NULL || conf == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    ctx->retry = retry;
    ctx->wrapped = wrapped;
    if (wrapped->init(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    *conf = *u->conf;
    conf->next_upstream = retry->on;
    conf->next_upstream_tries = 0;
    conf->next_upstream_timeout = 0;
    u->conf = conf;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_retry_module);
    ngx_http_gateway_retry_wrap(ctx);
    u->peer.tries = 1;

    gw_retry_budget_request(retry->budget, ngx_current_msec);

    return NGX_OK;
}


/* In the pool's list of cleanups, where it outlives internal redirects. */

static ngx_http_gateway_retry_ctx_t *
ngx_http_gateway_retry_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_retry_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(*ctx));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_gateway_retry_cleanup;

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(*ctx));
    ctx->request = r;

    return ctx;
}


static void
ngx_http_gateway_retry_cleanup(void *data)
{
    /* is there to be found */
}


/* Puts the hooks of this module around those that are there. */

static void
ngx_http_gateway_retry_wrap(ngx_http_gateway_retry_ctx_t *ctx)
{
    ngx_http_upstream_t    *u;
    ngx_peer_connection_t  *pc;

    u = ctx->request->upstream;
    pc = &u->peer;

    ctx->inner = *pc;

    pc->data = ctx;
    pc->get = ngx_http_gateway_retry_get;
    pc->free = ngx_http_gateway_retry_free;

    if (pc->notify) {
        pc->notify = ngx_http_gateway_retry_notify;
    }

#if (NGX_HTTP_SSL)
    if (pc->set_session) {
        pc->set_session = ngx_http_gateway_retry_set_session;
    }

    if (pc->save_session) {
        pc->save_session = ngx_http_gateway_retry_save_session;
    }
#endif

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_gateway_retry_process_header;

    ctx->reinit_request = u->reinit_request;
    u->reinit_request = ngx_http_gateway_retry_reinit_request;
}


static ngx_int_t
ngx_http_gateway_retry_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_retry_ctx_t *ctx = data;

    ngx_int_t  rc;

    if (ctx->again) {
        ctx->again = 0;

        if (ctx->delay) {
            return ngx_http_gateway_upstream_hold(ctx->request, pc,
                                  ctx->delay, ngx_http_gateway_retry_resume,
                                  NULL);
        }
    }

    rc = ctx->attempts ? ngx_http_gateway_retry_get_again(ctx, pc)
                       : ngx_http_gateway_retry_get_inner(ctx, pc);

    /* without an address it is a hold of a hook inside: no attempt yet */

    if ((rc != NGX_OK && rc != NGX_DONE && rc != NGX_AGAIN)
        || pc->sockaddr == NULL)
    {
        return rc;
    }

    ctx->attempts++;
    ctx->active = 1;
    ctx->answered = 0;
    ctx->invalid = 0;
    ctx->asked = 0;

    ctx->socklen = 0;

    if (pc->socklen <= (socklen_t) sizeof(ctx->sockaddr)) {
        ngx_memcpy(&ctx->sockaddr, pc->sockaddr, pc->socklen);
        ctx->socklen = pc->socklen;
    }

    if (pc->name) {
        ctx->name.len = ngx_min(pc->name->len, NGX_SOCKADDR_STRLEN);
        ctx->name.data = ctx->text;
        ngx_memcpy(ctx->text, pc->name->data, ctx->name.len);
    }

    return rc;
}


static void
ngx_http_gateway_retry_resume(ngx_http_request_t *r, void *data)
{
    ngx_http_gateway_upstream_resume(r);
}


static ngx_int_t
ngx_http_gateway_retry_get_inner(ngx_http_gateway_retry_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_int_t   rc;
    ngx_uint_t  tries;

    tries = pc->tries;
    pc->tries = ctx->inner.tries;

    rc = ctx->inner.get(pc, ctx->inner.data);

    ctx->inner.tries = pc->tries;
    pc->tries = tries;

    return rc;
}


/*
 * Once the balancer has given each of its servers to this request, it is
 * asked as if for a new one. It may have none even then: max_fails has taken
 * them out, of which this request's own failures are a part.
 */

static ngx_int_t
ngx_http_gateway_retry_get_again(ngx_http_gateway_retry_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_int_t                      rc;
    ngx_http_upstream_rr_peers_t  *peers;

    peers = ctx->wrapped->upstream->peer.data;

    if (ctx->inner.tries && ngx_http_gateway_retry_usable(peers)) {
        rc = ngx_http_gateway_retry_get_inner(ctx, pc);

        if (rc != NGX_BUSY) {
            return rc;
        }
    }

    if (ngx_http_gateway_retry_renew(ctx, pc) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_gateway_retry_forgive(ctx);

    return ngx_http_gateway_retry_get_inner(ctx, pc);
}


/*
 * Calls peer.init again. What hooks put around the protocol's own functions
 * stays; they do that once for a request.
 */

static ngx_int_t
ngx_http_gateway_retry_renew(ngx_http_gateway_retry_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_int_t             rc;
    ngx_uint_t            tries;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;
    tries = pc->tries;

    u->process_header = ctx->process_header;
    u->reinit_request = ctx->reinit_request;

    pc->data = NULL;
    pc->notify = NULL;
#if (NGX_HTTP_SSL)
    pc->set_session = NULL;
    pc->save_session = NULL;
#endif

    rc = ctx->wrapped->init(ctx->request, ctx->wrapped->upstream);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_gateway_retry_wrap(ctx);
    pc->tries = tries;

    return NGX_OK;
}


/* Whether max_fails leaves a server that is not down. */

static ngx_uint_t
ngx_http_gateway_retry_usable(ngx_http_upstream_rr_peers_t *peers)
{
    ngx_uint_t                    usable;
    ngx_http_upstream_rr_peer_t  *peer;

    usable = 0;

    for ( /* void */ ; peers && !usable; peers = peers->next) {

        ngx_http_upstream_rr_peers_rlock(peers);

        for (peer = peers->peer; peer && !usable; peer = peer->next) {
            usable = !peer->down
                     && (peer->max_fails == 0
                         || peer->fails < peer->max_fails
                         || ngx_time() - peer->checked > peer->fail_timeout);
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }

    return usable;
}


/*
 * Where max_fails leaves none: lets the balancer believe that fail_timeout has
 * passed for one, which it then takes for one request, as it does to find out
 * whether a server is well again. It is the last one, or where that is down
 * the one that failed longest ago. All of nginx's methods of balancing are
 * built on these peers.
 */

static void
ngx_http_gateway_retry_forgive(ngx_http_gateway_retry_ctx_t *ctx)
{
    ngx_http_upstream_rr_peer_t   *peer, *best;
    ngx_http_upstream_rr_peers_t  *peers;

    peers = ctx->wrapped->upstream->peer.data;

    if (ngx_http_gateway_retry_usable(peers)) {
        return;
    }

    for (best = NULL; peers && best == NULL; peers = peers->next) {

        ngx_http_upstream_rr_peers_wlock(peers);

        for (peer = peers->peer; peer; peer = peer->next) {

            if (peer->down) {
                continue;
            }

            if (ngx_cmp_sockaddr(peer->sockaddr, peer->socklen,
                                 &ctx->sockaddr.sockaddr, ctx->socklen, 1)
                == NGX_OK)
            {
                best = peer;
                break;
            }

            if (best == NULL || peer->checked < best->checked) {
                best = peer;
            }
        }

        if (best) {
            best->checked = 0;
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }
}


static void
ngx_http_gateway_retry_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_gateway_retry_ctx_t *ctx = data;

    ngx_http_gateway_retry_cause_t  *cause;

    /* before anything inside touches the connection */
    cause = ngx_http_gateway_retry_failure(ctx, pc);

    pc->tries = ctx->inner.tries;
    ctx->inner.free(pc, ctx->inner.data, state);
    ctx->inner.tries = pc->tries;

    ctx->active = 0;

    /* nginx would give a failed keep-alive connection one try more */
    pc->cached = 0;

    if (!ctx->answered && (state & NGX_PEER_FAILED)) {
        ctx->again = ngx_http_gateway_retry_decide(ctx, cause);
    }

    pc->tries = ctx->again ? 1 : 0;
}


static void
ngx_http_gateway_retry_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_gateway_retry_ctx_t *ctx = data;

    ctx->inner.notify(pc, ctx->inner.data, type);
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_gateway_retry_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_retry_ctx_t *ctx = data;

    return ctx->inner.set_session(pc, ctx->inner.data);
}


static void
ngx_http_gateway_retry_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_gateway_retry_ctx_t *ctx = data;

    ctx->inner.save_session(pc, ctx->inner.data);
}

#endif


/*
 * The protocol's own parser puts its next step in u->process_header; so the
 * hook takes itself out before each call, and is back after it.
 */

static ngx_int_t
ngx_http_gateway_retry_process_header(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_uint_t                       status;
    ngx_http_upstream_t             *u;
    ngx_http_gateway_retry_ctx_t    *ctx;
    ngx_http_gateway_retry_cause_t  *cause;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_retry_module);

    u->process_header = ctx->process_header;

    rc = u->process_header(r);

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_gateway_retry_process_header;

    /* not of an attempt: a response that was cached */

    if (!ctx->active) {
        return rc;
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER
        || (rc == NGX_AGAIN && u->buffer.last == u->buffer.end))
    {
        ctx->invalid = 1;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    status = u->headers_in.status_n;
    u->peer.tries = 1;
    ctx->answered = 1;

    for (cause = ngx_http_gateway_retry_causes; cause->mask; cause++) {

        if (cause->status && cause->status == status) {
            ngx_http_gateway_retry_read_after(ctx);

            if (ngx_http_gateway_retry_decide(ctx, cause)) {
                ctx->again = 1;
                u->peer.tries = 2;
            }

            break;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_retry_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_upstream_t           *u;
    ngx_http_gateway_retry_ctx_t  *ctx;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_retry_module);

    u->process_header = ctx->process_header;
    u->reinit_request = ctx->reinit_request;

    rc = u->reinit_request(r);

    ctx->process_header = u->process_header;
    ctx->reinit_request = u->reinit_request;
    u->process_header = ngx_http_gateway_retry_process_header;
    u->reinit_request = ngx_http_gateway_retry_reinit_request;

    return rc;
}


/* Retry-After, of whatever answer: a number of seconds, or a date. */

static void
ngx_http_gateway_retry_read_after(ngx_http_gateway_retry_ctx_t *ctx)
{
    time_t            date;
    uint64_t          ms;
    gw_str_t          value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &ctx->request->upstream->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            part = part->next;

            if (part == NULL) {
                return;
            }

            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Retry-After") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Retry-After",
                               sizeof("Retry-After") - 1) == 0)
        {
            break;
        }
    }

    value.data = h[i].value.data;
    value.len = h[i].value.len;

    if (gw_retry_after(value, &ms) != GW_OK) {
        date = ngx_parse_http_time(h[i].value.data, h[i].value.len);

        if (date == NGX_ERROR || date <= ngx_time()) {
            return;
        }

        ms = (uint64_t) (date - ngx_time()) * 1000;
    }

    ctx->asked = ngx_min(ms, ctx->retry->backoff.max);
}


/* Why the attempt fails, if it fails without a status; as nginx tells. */

static ngx_http_gateway_retry_cause_t *
ngx_http_gateway_retry_failure(ngx_http_gateway_retry_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    if (pc->connection
        && (pc->connection->read->timedout
            || pc->connection->write->timedout))
    {
        return &ngx_http_gateway_retry_causes[1];
    }

    return &ngx_http_gateway_retry_causes[ctx->invalid ? 2 : 0];
}


/*
 * Whether there is to be another attempt. nginx asks the same of peer.tries,
 * the causes, the method and the body; here it is asked before, because only
 * what really is tried again may be taken from the budget.
 */

static ngx_uint_t
ngx_http_gateway_retry_decide(ngx_http_gateway_retry_ctx_t *ctx,
    ngx_http_gateway_retry_cause_t *cause)
{
    ngx_http_request_t                  *r;
    ngx_http_gateway_retry_t            *retry;
    ngx_http_gateway_retry_main_conf_t  *rmcf;

    r = ctx->request;
    retry = ctx->retry;

    if (ctx->attempts >= retry->attempts
        || (retry->on & cause->mask) == 0
        || r->connection->error)
    {
        return 0;
    }

    if (r->upstream->request_sent
        && (r->request_body_no_buffering
            || ((r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK|NGX_HTTP_PATCH))
                && !(retry->on & NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT))))
    {
        return 0;
    }

    if (ngx_http_gateway_breaker_refuses(r)) {
        return 0;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_retry_module);

    if (!gw_retry_budget_take(retry->budget, ngx_current_msec, retry->share)) {
        ngx_http_gateway_count(rmcf->refused, 1);
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "gateway_retry: no attempt %ui after \"%V\" of \"%V\", "
                      "the budget of %ui%% is used up", ctx->attempts + 1,
                      &cause->name, &ctx->name, retry->share);
        return 0;
    }

    ctx->delay = gw_retry_delay(&retry->backoff, ctx->attempts, ctx->asked,
                                ngx_random());

    ngx_http_gateway_count(rmcf->retried, 1);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "gateway_retry: attempt %ui of %ui in %M ms, after \"%V\" "
                  "of \"%V\"", ctx->attempts + 1, retry->attempts, ctx->delay,
                  &cause->name, &ctx->name);

    return 1;
}


ngx_uint_t
ngx_http_gateway_retry_attempts(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_retry_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        ctx = cln->data;

        if (cln->handler == ngx_http_gateway_retry_cleanup
            && ctx->request == r)
        {
            return ctx->attempts;
        }
    }

    return 0;
}
