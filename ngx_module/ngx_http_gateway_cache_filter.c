/*
 * gateway_cache: what the content handler sends passes here first, before
 * ranges, compression and substitution. It is stored, or replaced by what is
 * stored: after a 304, and where a stale response may stand for an error.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "../src/cache_validate.h"
#include "../src/http_range.h"


static ngx_int_t ngx_http_gateway_cache_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_cache_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_gateway_cache_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_gateway_cache_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_gateway_cache_body_filter;

    return NGX_OK;
}


/* Whether the header is upstream's own, and not nginx's error, or that of
 * what an internal redirect has led to. */

static ngx_uint_t
ngx_http_gateway_cache_of_upstream(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    return r->upstream && r->err_status == 0
           && r->upstream->headers_in.status_n == r->headers_out.status
           && ngx_http_get_module_ctx(r, ngx_http_gateway_cache_module)
              == ctx;
}


static ngx_uint_t
ngx_http_gateway_cache_configured(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t status, ngx_uint_t upstream)
{
    ngx_uint_t  mask;

    switch (status) {

    case 500:
        mask = NGX_HTTP_GATEWAY_CACHE_ON_500;
        break;

    case 501:
        mask = NGX_HTTP_GATEWAY_CACHE_ON_501;
        break;

    case 502:
        mask = upstream ? NGX_HTTP_GATEWAY_CACHE_ON_502
                        : NGX_HTTP_GATEWAY_CACHE_ON_ERROR;
        break;

    case 503:
        mask = upstream ? NGX_HTTP_GATEWAY_CACHE_ON_503
                        : NGX_HTTP_GATEWAY_CACHE_ON_BREAKER;
        break;

    case 504:
        mask = upstream ? NGX_HTTP_GATEWAY_CACHE_ON_504
                        : NGX_HTTP_GATEWAY_CACHE_ON_TIMEOUT;
        break;

    default:
        mask = NGX_HTTP_GATEWAY_CACHE_ON_OTHER;
        break;
    }

    return (ctx->conf->stale & mask) != 0;
}


static ngx_uint_t
ngx_http_gateway_cache_stands_in(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t status, ngx_uint_t upstream)
{
    return ctx->fetching && ctx->pinned && status >= 500
           && gw_cache_stale_on_error(&ctx->req, &ctx->meta.policy,
                     ngx_http_gateway_cache_now(),
                     ngx_http_gateway_cache_configured(ctx, status, upstream));
}


/* The stored response instead of the one at hand. */

static ngx_int_t
ngx_http_gateway_cache_replace(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    /* as they were before the content handler */

    r->err_status = 0;
    r->headers_out = ctx->saved->headers_out;
    r->headers_out.headers.last->nelts = ctx->saved->headers_out_last;
    r->headers_out.headers.last->next = NULL;

    if (ngx_http_gateway_cache_read(ctx) != NGX_OK
        || ngx_http_gateway_cache_headers(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->replace = 1;

    return NGX_OK;
}


/*
 * gateway_breaker_fallback stale: the request was not let to its upstream. It
 * is asked for by the operator, whatever gateway_cache_stale says.
 */

ngx_int_t
ngx_http_gateway_cache_breaker(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_chain_t                   *out;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_cache_module);

    if (ctx == NULL || ctx->background || ctx->answered || !ctx->fetching
        || !ctx->pinned
        || !gw_cache_stale_on_error(&ctx->req, &ctx->meta.policy,
                                    ngx_http_gateway_cache_now(), true))
    {
        return NGX_DECLINED;
    }

    ngx_http_gateway_cache_restore(ctx);
    ngx_http_gateway_cache_store_abort(ctx,
                                       NGX_HTTP_GATEWAY_CACHE_MARK_ERROR);

    ctx->status = NGX_HTTP_GATEWAY_CACHE_STALE;
    ctx->answered = 1;

    if (ngx_http_gateway_cache_replace(ctx) != NGX_OK
        || ngx_http_gateway_cache_report(ctx) != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }

    ctx->sent = 1;
    rc = ngx_http_send_header(r);

    if (rc == NGX_OK && !r->header_only) {
        out = ngx_http_gateway_cache_body(ctx);
        rc = out ? ngx_http_next_body_filter(r, out) : NGX_ERROR;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_OK;
}


/* A condition or range that was kept from upstream is answered here. */

static ngx_int_t
ngx_http_gateway_cache_answer(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    int64_t              now;
    gw_str_t             name;
    gw_range_t           range;
    ngx_uint_t           i;
    gw_fields_t          request;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->fwd_status != NGX_HTTP_OK || ctx->req.head
        || !(ctx->req.conditional || ctx->req.range))
    {
        return NGX_OK;
    }

    if (ngx_http_gateway_cache_request_fields(r, &r->headers_in.headers,
                                              &request)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    now = ngx_http_gateway_cache_now();

    if (!gw_cache_not_modified(&ctx->fetched, fields, request, now)) {

        if (ctx->req.range && r->headers_out.content_length_n >= 0
            && gw_range_select(&range, &ctx->req, request, &ctx->fetched,
                               fields, r->headers_out.content_length_n, now)
               != GW_RANGE_WHOLE)
        {
            r->allow_ranges = 1;
            r->single_range = 1;
        }

        return NGX_OK;
    }

    r->headers_out.status = NGX_HTTP_NOT_MODIFIED;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_type.len = 0;
    ngx_http_clear_content_length(r);

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            name.data = h[i].key.data;
            name.len = h[i].key.len;

            if (!gw_cache_304_sends(name)) {
                h[i].hash = 0;
            }
        }
    }

    r->headers_out.content_encoding = NULL;

    ctx->drain = 1;

    return NGX_OK;
}


/* The answer to a method that is neither GET nor HEAD. */

static ngx_int_t
ngx_http_gateway_cache_method(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    gw_cache_control_t  cc;

    ngx_http_gateway_cache_invalidate(ctx, fields);

    if (ctx->no_store
        || !ngx_http_gateway_cache_represents(ctx, fields))
    {
        return NGX_OK;
    }

    /* it is stored only where its lifetime is stated */

    gw_cache_control_response(&cc, fields);

    if (cc.max_age == GW_CC_NONE && cc.s_maxage == GW_CC_NONE
        && gw_field_find(fields, gw_str("expires")).data == NULL)
    {
        return NGX_OK;
    }

    ctx->req.get = true;
    ctx->request_time = ctx->arrived;
    ctx->stamp = gw_store_stamp(ngx_http_gateway_cache_lock(ctx->zone));
    ngx_http_gateway_cache_unlock(ctx->zone);

    return ngx_http_gateway_cache_store_begin(ctx, fields);
}


static ngx_int_t
ngx_http_gateway_cache_upstream(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t stripped)
{
    gw_fields_t          fields;
    ngx_http_request_t  *r;

    r = ctx->request;
    ctx->fwd_status = r->headers_out.status;

    if (!ctx->fetching && ctx->fwd != GW_FWD_METHOD) {
        return NGX_OK;
    }

    if (ngx_http_gateway_cache_response_fields(r, &fields) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->fwd == GW_FWD_METHOD) {
        return ngx_http_gateway_cache_method(ctx, fields);
    }

    if (ctx->conditional && ctx->fwd_status == NGX_HTTP_NOT_MODIFIED) {

        if (ngx_http_gateway_cache_store_update(ctx, fields) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx->status = NGX_HTTP_GATEWAY_CACHE_REVALIDATED;

        return ctx->background ? NGX_OK : ngx_http_gateway_cache_replace(ctx);
    }

    if (ngx_http_gateway_cache_stands_in(ctx, ctx->fwd_status, 1)) {
        ngx_http_gateway_cache_store_abort(ctx,
                                           NGX_HTTP_GATEWAY_CACHE_MARK_ERROR);
        ctx->status = NGX_HTTP_GATEWAY_CACHE_STALE;

        return ctx->background ? NGX_OK : ngx_http_gateway_cache_replace(ctx);
    }

    if (ngx_http_gateway_cache_store_begin(ctx, fields) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->has_ttl = ctx->stored_now;
    ctx->ttl = gw_cache_ttl_ms(&ctx->fetched, ngx_http_gateway_cache_now())
               / 1000;

    return (stripped && !ctx->background)
           ? ngx_http_gateway_cache_answer(ctx, fields) : NGX_OK;
}


static ngx_int_t
ngx_http_gateway_cache_not_upstream(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_uint_t           status;
    ngx_http_request_t  *r;

    r = ctx->request;
    status = r->err_status ? r->err_status : r->headers_out.status;

    ngx_http_gateway_cache_store_abort(ctx, status >= 500
                                       ? NGX_HTTP_GATEWAY_CACHE_MARK_ERROR
                                       : NGX_HTTP_GATEWAY_CACHE_MARK);

    if (ngx_http_gateway_cache_stands_in(ctx, status, 0)) {
        ctx->status = NGX_HTTP_GATEWAY_CACHE_STALE;

        return ctx->background ? NGX_OK : ngx_http_gateway_cache_replace(ctx);
    }

    ctx->has_ttl = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_cache_header_filter(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_uint_t                     stripped;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = ngx_http_gateway_cache_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->answered) {
        return ctx->background ? NGX_OK : ngx_http_next_header_filter(r);
    }

    ctx->answered = 1;

    stripped = ctx->stripped;
    ngx_http_gateway_cache_restore(ctx);

    rc = ngx_http_gateway_cache_of_upstream(ctx)
         ? ngx_http_gateway_cache_upstream(ctx, stripped)
         : ngx_http_gateway_cache_not_upstream(ctx);

    if (rc != NGX_OK || ctx->background) {
        return rc;
    }

    if (ngx_http_gateway_cache_report(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_next_header_filter(r);

    if (!ctx->filling || !r->header_only || rc != NGX_OK) {
        return rc;
    }

    if (ctx->drain) {

        /* nginx would not read the body of a 304, but it is to be stored */

        r->header_only = 0;

    } else {
        ngx_http_gateway_cache_store_end(ctx);
    }

    return rc;
}


/* Takes what is in the chain as sent; whether its end was there. */

static ngx_uint_t
ngx_http_gateway_cache_consume(ngx_chain_t *in)
{
    ngx_uint_t  last;

    last = 0;

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
        last |= in->buf->last_buf;
    }

    return last;
}


static ngx_int_t
ngx_http_gateway_cache_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                     *b;
    ngx_uint_t                     last;
    ngx_chain_t                   *out, cl;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = ngx_http_gateway_cache_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    if (ctx->filling) {
        ngx_http_gateway_cache_store_body(ctx, in);
    }

    if (ctx->background) {
        (void) ngx_http_gateway_cache_consume(in);
        return NGX_OK;
    }

    if (ctx->replace) {
        (void) ngx_http_gateway_cache_consume(in);

        if (ctx->sent || r->header_only) {
            return ngx_http_next_body_filter(r, NULL);
        }

        ctx->sent = 1;

        out = ngx_http_gateway_cache_body(ctx);

        return out ? ngx_http_next_body_filter(r, out) : NGX_ERROR;
    }

    if (!ctx->drain || r->header_only) {
        return ngx_http_next_body_filter(r, in);
    }

    last = ngx_http_gateway_cache_consume(in);

    if (ctx->sent && !last) {
        return ngx_http_next_body_filter(r, NULL);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    ctx->sent = 1;
    b->flush = 1;
    b->last_buf = last;
    b->last_in_chain = last;

    cl.buf = b;
    cl.next = NULL;

    return ngx_http_next_body_filter(r, &cl);
}
