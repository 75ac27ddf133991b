/*
 * gateway_cache: answers from the store. The header's values and the body
 * are sent from shared memory as they stand there; the object is pinned as
 * long as the request's pool lives.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "ngx_http_gateway_compat.h"
#include "ngx_http_gateway_header.h"
#include "../src/cache_validate.h"
#include "../src/http_range.h"


#define NGX_HTTP_GATEWAY_CACHE_SPANS  16


ngx_int_t
ngx_http_gateway_cache_read(ngx_http_gateway_cache_ctx_t *ctx)
{
    size_t              n;
    gw_str_t            span;
    ngx_str_t           text;
    gw_store_t         *store;
    gw_store_cursor_t   c;

    if (ctx->stored.fields) {
        return NGX_OK;
    }

    store = ctx->zone->sh->store;

    gw_store_cursor(store, &ctx->ref, GW_STORE_HEADER, 0,
                    ctx->info.header_len, &c);

    n = gw_store_spans(store, &c, &span, 1);

    text.len = ctx->info.header_len;
    text.data = n ? (u_char *) span.data : (u_char *) "";

    if (n && span.len < text.len) {
        text.data = ngx_pnalloc(ctx->request->pool, text.len);
        if (text.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(text.data, span.data, span.len);
        (void) gw_store_copy(store, &c, text.data + span.len,
                             text.len - span.len);
    }

    return ngx_http_gateway_cache_decode(ctx->request->pool, &text,
                                         (ngx_uint_t) ctx->meta.fields,
                                         &ctx->stored);
}


/* As nginx does with what comes from upstream. */

static void
ngx_http_gateway_cache_content_type(ngx_http_request_t *r, gw_field_t *f)
{
    u_char  *p, *end, *last;

    r->headers_out.content_type.data = (u_char *) f->value.data;
    r->headers_out.content_type.len = f->value.len;
    r->headers_out.content_type_len = f->value.len;
    r->headers_out.content_type_lowcase = NULL;

    end = (u_char *) f->value.data + f->value.len;
    last = ngx_strlchr((u_char *) f->value.data, end, ';');

    if (last == NULL) {
        return;
    }

    for (p = last + 1; p < end && *p == ' '; p++) { /* void */ }

    if (end - p < 8 || ngx_strncasecmp(p, (u_char *) "charset=", 8) != 0) {
        return;
    }

    p += 8;

    r->headers_out.content_type_len = last - f->value.data;

    if (end - p >= 2 && *p == '"' && end[-1] == '"') {
        p++;
        end--;
    }

    r->headers_out.charset.data = p;
    r->headers_out.charset.len = end - p;
}


static ngx_int_t
ngx_http_gateway_cache_field(ngx_http_gateway_cache_ctx_t *ctx,
    gw_field_t *f, ngx_http_gateway_cache_hint_t *hint)
{
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_http_gateway_header_single(h);
    h->key.data = (u_char *) f->name.data;
    h->key.len = f->name.len;
    h->value.data = (u_char *) f->value.data;
    h->value.len = f->value.len;
    h->lowcase_key = hint->lowcase;

    switch (hint->kind) {

    case NGX_HTTP_GATEWAY_CACHE_CONTENT_ENCODING:
        r->headers_out.content_encoding = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_DATE:
        r->headers_out.date = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_SERVER:
        r->headers_out.server = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_ETAG:
        r->headers_out.etag = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_LAST_MODIFIED:
        r->headers_out.last_modified = h;
        r->headers_out.last_modified_time =
                        ctx->meta.policy.last_modified == GW_NO_DATE
                        ? -1 : (time_t) ctx->meta.policy.last_modified;
        break;

    case NGX_HTTP_GATEWAY_CACHE_LOCATION:
        r->headers_out.location = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_EXPIRES:
        r->headers_out.expires = h;
        break;

    case NGX_HTTP_GATEWAY_CACHE_CACHE_CONTROL:
        return ngx_http_gateway_cache_control(r, h);

    default:
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_cache_age(ngx_http_gateway_cache_ctx_t *ctx)
{
    u_char   *p;
    int64_t   age;

    age = gw_cache_age_ms(&ctx->meta.policy, ngx_http_gateway_cache_now());

    p = ngx_pnalloc(ctx->request->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_header_add(ctx->request, "Age", p,
                                       ngx_sprintf(p, "%L", age / 1000) - p);
}


/* What the client's conditions and range make of it: whether it is a 304, and
 * whether a part is sent. */

static ngx_int_t
ngx_http_gateway_cache_select(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t *modified, ngx_uint_t *partial)
{
    int64_t              now;
    gw_fields_t          request, stored;
    gw_range_t           range;
    ngx_http_request_t  *r;

    *modified = 1;
    *partial = 0;

    if (!ctx->req.conditional && !ctx->req.range) {
        return NGX_OK;
    }

    r = ctx->request;
    now = ngx_http_gateway_cache_now();

    if (ngx_http_gateway_cache_request_fields(r, &r->headers_in.headers,
                                              &request)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    stored.fields = ctx->stored.fields;
    stored.n = ctx->stored.n;

    *modified = !gw_cache_not_modified(&ctx->meta.policy, stored, request,
                                       now);

    *partial = *modified && ctx->req.range
               && gw_range_select(&range, &ctx->req, request,
                                  &ctx->meta.policy, stored,
                                  ctx->info.body_len, now)
                  != GW_RANGE_WHOLE;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_headers(ngx_http_gateway_cache_ctx_t *ctx)
{
    size_t               i;
    ngx_uint_t           modified, partial;
    gw_field_t          *f;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_gateway_cache_select(ctx, &modified, &partial) != NGX_OK) {
        return NGX_ERROR;
    }

    r->disable_not_modified = 1;
    r->headers_out.status = modified ? ctx->meta.policy.status
                                     : NGX_HTTP_NOT_MODIFIED;
    r->headers_out.status_line.len = 0;
    r->headers_out.last_modified_time = -1;
    r->headers_out.content_length_n = -1;

    if (modified && r->headers_out.status != NGX_HTTP_NO_CONTENT) {
        r->headers_out.content_length_n = ctx->info.body_len;
    }

    /* nginx's filter cuts the part out, unless a filter changes the body */

    r->allow_ranges = partial;
    r->single_range = partial;

    for (i = 0; i < ctx->stored.n; i++) {
        f = &ctx->stored.fields[i];

        if (ctx->stored.hints[i].hidden
            || (!modified && !gw_cache_304_sends(f->name)))
        {
            continue;
        }

        switch (ctx->stored.hints[i].kind) {

        case NGX_HTTP_GATEWAY_CACHE_CONTENT_TYPE:
            ngx_http_gateway_cache_content_type(r, f);
            continue;

        case NGX_HTTP_GATEWAY_CACHE_ACCEPT_RANGES:
            if (partial) {
                continue;
            }

            break;

        case NGX_HTTP_GATEWAY_CACHE_CONTENT_LENGTH:
        case NGX_HTTP_GATEWAY_CACHE_AGE:
            continue;

        default:
            break;
        }

        if (ngx_http_gateway_cache_field(ctx, f, &ctx->stored.hints[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_gateway_cache_age(ctx);
}


ngx_chain_t *
ngx_http_gateway_cache_body(ngx_http_gateway_cache_ctx_t *ctx)
{
    size_t               i, n;
    gw_str_t             spans[NGX_HTTP_GATEWAY_CACHE_SPANS];
    ngx_buf_t           *b;
    gw_store_t          *store;
    ngx_chain_t         *out, **ll, *cl;
    gw_store_cursor_t    c;
    ngx_http_request_t  *r;

    r = ctx->request;
    store = ctx->zone->sh->store;
    out = NULL;
    ll = &out;
    b = NULL;

    gw_store_cursor(store, &ctx->ref, GW_STORE_BODY, 0, ctx->info.body_len,
                    &c);

    do {
        n = gw_store_spans(store, &c, spans, NGX_HTTP_GATEWAY_CACHE_SPANS);

        /* an empty body is one buffer too */

        for (i = 0; i < n || out == NULL; i++) {
            b = ngx_calloc_buf(r->pool);
            cl = ngx_alloc_chain_link(r->pool);

            if (b == NULL || cl == NULL) {
                return NULL;
            }

            if (i < n) {
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
    } while (n == NGX_HTTP_GATEWAY_CACHE_SPANS);

    b->last_buf = 1;
    b->last_in_chain = 1;

    return out;
}


ngx_int_t
ngx_http_gateway_cache_serve(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_gateway_cache_read(ctx) != NGX_OK
        || ngx_http_gateway_cache_headers(ctx) != NGX_OK
        || ngx_http_gateway_cache_report(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->answered = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_OK && !r->header_only) {
        out = ngx_http_gateway_cache_body(ctx);
        rc = out ? ngx_http_output_filter(r, out) : NGX_ERROR;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


ngx_int_t
ngx_http_gateway_cache_report(ngx_http_gateway_cache_ctx_t *ctx)
{
    u_char             *p;
    size_t              size, len;
    gw_cache_status_t   s;

    if (ctx->status) {
        ngx_http_gateway_count(ctx->zone->requests[ctx->status], 1);
    }

    if (ctx->fwd == GW_FWD_NONE && ctx->detail.len == 0) {
        p = ngx_pnalloc(ctx->request->pool,
                        ctx->zone->hit.len + NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        len = ngx_sprintf(p, "%V%L", &ctx->zone->hit, ctx->ttl) - p;

        return ngx_http_gateway_header_add(ctx->request, "Cache-Status", p,
                                           len);
    }

    ngx_memzero(&s, sizeof(s));

    s.cache.data = ctx->zone->name.data;
    s.cache.len = ctx->zone->name.len;
    s.hit = (ctx->fwd == GW_FWD_NONE);
    s.fwd = ctx->fwd;
    s.fwd_status = (unsigned) ctx->fwd_status;
    s.has_ttl = ctx->has_ttl;
    s.ttl = ctx->ttl;
    s.stored = ctx->stored_now;
    s.collapsed = ctx->collapsed;
    s.detail = ctx->detail;

    size = 2 * s.cache.len + 2 * s.detail.len + GW_CACHE_STATUS_LEN;

    p = ngx_pnalloc(ctx->request->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = gw_cache_status_write(p, size, &s);

    return ngx_http_gateway_header_add(ctx->request, "Cache-Status", p, len);
}
