/*
 * gateway_cache: looks a request up, and decides what is done with it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_worker.h"
#include "../src/cache_validate.h"
#include "../src/cache_vary.h"


static ngx_int_t ngx_http_gateway_cache_init(
    ngx_http_gateway_cache_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_cache_look(
    ngx_http_gateway_cache_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_cache_find(
    ngx_http_gateway_cache_ctx_t *ctx, int64_t now, gw_cache_fwd_e *miss);
static ngx_int_t ngx_http_gateway_cache_ask(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t lock);
static ngx_int_t ngx_http_gateway_cache_fetch(
    ngx_http_gateway_cache_ctx_t *ctx, ngx_uint_t validate);
static void ngx_http_gateway_cache_refresh(ngx_http_gateway_cache_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_cache_update(
    ngx_http_gateway_cache_ctx_t *ctx);


ngx_int_t
ngx_http_gateway_cache_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_gateway_cache_ctx_t       *ctx;
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_cache_module);

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_cache_module);

    if (ctx == NULL && r->internal) {
        ctx = ngx_http_gateway_cache_ctx(r);

        if (ctx) {

            /* what a redirect made of a request that was looked up before:
             * it asks as the client did */

            ngx_http_gateway_cache_restore(ctx);

            return NGX_DECLINED;
        }
    }

    if (clcf->zone == NULL || clcf->never || r->content_handler == NULL) {
        return NGX_DECLINED;
    }

    if (ctx && ctx->background) {
        return ngx_http_gateway_cache_update(ctx);
    }

    if (r != r->main) {
        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        ctx = ngx_http_gateway_cache_ctx_create(r, clcf);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        rc = ngx_http_gateway_cache_init(ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_gateway_cache_look(ctx);
}


ngx_int_t
ngx_http_gateway_cache_key(ngx_http_request_t *r, ngx_str_t *key)
{
    u_char                             *p;
    ngx_str_t                           host, *scheme;
    ngx_http_variable_value_t          *v;
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    static ngx_str_t  http = ngx_string("http");
    static ngx_str_t  https = ngx_string("https");
    static ngx_str_t  name = ngx_string("host");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_cache_module);

    if (clcf->key) {
        return ngx_http_complex_value(r, clcf->key, key);
    }

    /* $scheme$host$request_uri */

    host = r->headers_in.server;

    if (host.len == 0) {
        v = ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));

        if (v && !v->not_found) {
            host.data = v->data;
            host.len = v->len;
        }
    }

    scheme = &http;

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        scheme = &https;
    }
#else
    (void) https;
#endif

    key->len = scheme->len + host.len + r->unparsed_uri.len;

    p = ngx_pnalloc(r->pool, key->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->data = p;
    p = ngx_cpymem(p, scheme->data, scheme->len);
    p = ngx_cpymem(p, host.data, host.len);
    ngx_memcpy(p, r->unparsed_uri.data, r->unparsed_uri.len);

    return NGX_OK;
}


/* Whether any value is neither empty nor 0, or whether all are. */

static ngx_int_t
ngx_http_gateway_cache_test(ngx_http_request_t *r, ngx_array_t *values,
    ngx_uint_t all)
{
    ngx_str_t                  s;
    ngx_uint_t                 i, set;
    ngx_http_complex_value_t  *cv;

    if (values == NULL) {
        return all ? NGX_OK : NGX_DECLINED;
    }

    cv = values->elts;

    for (i = 0; i < values->nelts; i++) {

        if (ngx_http_complex_value(r, &cv[i], &s) != NGX_OK) {
            return NGX_ERROR;
        }

        set = (s.len > 1 || (s.len == 1 && s.data[0] != '0'));

        if (set != all) {
            return all ? NGX_DECLINED : NGX_OK;
        }
    }

    return all ? NGX_OK : NGX_DECLINED;
}


/* NGX_OK: it may be looked up; NGX_DECLINED: it passes by. */

static ngx_int_t
ngx_http_gateway_cache_init(ngx_http_gateway_cache_ctx_t *ctx)
{
    gw_str_t                            method;
    ngx_str_t                           key;
    ngx_int_t                           rc;
    gw_fields_t                         fields;
    ngx_http_request_t                 *r;
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    r = ctx->request;
    clcf = ctx->conf;

    if (ngx_http_gateway_cache_key(r, &key) != NGX_OK
        || ngx_http_gateway_cache_request_fields(r, &r->headers_in.headers,
                                                 &fields)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    method.data = r->method_name.data;
    method.len = r->method_name.len;

    gw_cache_request_parse(&ctx->req, method, fields);

    ctx->status = NGX_HTTP_GATEWAY_CACHE_BYPASS;
    ctx->fwd = GW_FWD_BYPASS;
    ctx->no_store = 1;

    if (key.len <= GW_STORE_MAX_KEY) {
        ctx->id.text.data = key.data;
        ctx->id.text.len = key.len;
        ctx->keyed = 1;

        ngx_http_gateway_cache_digest(ctx->zone, key.data, key.len,
                                      ctx->id.key);
    }

    rc = ngx_http_gateway_cache_test(r, clcf->store, 1);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->req.get) {
        ctx->status = NGX_HTTP_GATEWAY_CACHE_NONE;
        ctx->fwd = GW_FWD_METHOD;
        ctx->no_store = (rc != NGX_OK);
        return NGX_DECLINED;
    }

    /* a body is no part of the key, and an upgraded connection no answer */

    if (!ctx->keyed || r->headers_in.upgrade
        || r->headers_in.content_length_n > 0 || r->headers_in.chunked)
    {
        return NGX_DECLINED;
    }

    ctx->no_store = (rc != NGX_OK);

    rc = ngx_http_gateway_cache_test(r, clcf->bypass, 0);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* not looked up, but the answer may replace what is stored */

    return ngx_http_gateway_cache_fetch(ctx, 0);
}


/* Gives up the lead, which it does not need any more. */

static void
ngx_http_gateway_cache_yield(ngx_http_gateway_cache_ctx_t *ctx)
{
    if (ctx->fill) {
        ngx_http_gateway_cache_store_abort(ctx, 0);
    }
}


static ngx_int_t
ngx_http_gateway_cache_hit(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_gateway_cache_yield(ctx);

    ctx->status = ctx->ttl < 0 ? NGX_HTTP_GATEWAY_CACHE_STALE
                               : NGX_HTTP_GATEWAY_CACHE_HIT;

    if (ctx->remote && ctx->remote->found && ctx->ttl >= 0) {
        ctx->status = NGX_HTTP_GATEWAY_CACHE_REDIS;
        ctx->detail = gw_str("redis");
    }

    return ngx_http_gateway_cache_serve(ctx);
}


static ngx_int_t
ngx_http_gateway_cache_look(ngx_http_gateway_cache_ctx_t *ctx)
{
    int64_t              now;
    ngx_int_t            rc;
    ngx_uint_t           late;
    gw_cache_fwd_e       miss;
    gw_cache_decision_t  d;

    now = ngx_http_gateway_cache_now();

    rc = ngx_http_gateway_cache_find(ctx, now, &miss);

    if (rc != NGX_OK) {
        return rc;
    }

    d = gw_cache_decide(&ctx->req, ctx->pinned ? &ctx->meta.policy : NULL,
                        now,
                        (ctx->conf->stale & NGX_HTTP_GATEWAY_CACHE_ON_UPDATING)
                        != 0,
                        miss);

    ctx->fwd = d.fwd;
    ctx->ttl = d.ttl;
    ctx->has_ttl = ctx->pinned;

    switch (d.verdict) {

    case GW_CACHE_HIT:
        return ngx_http_gateway_cache_hit(ctx);

    case GW_CACHE_UPDATING:
        ngx_http_gateway_cache_yield(ctx);

        ctx->status = NGX_HTTP_GATEWAY_CACHE_UPDATING;
        ctx->fwd = GW_FWD_NONE;

        if (ctx->remote == NULL || !ctx->remote->other) {
            ngx_http_gateway_cache_refresh(ctx);
        }

        return ngx_http_gateway_cache_serve(ctx);

    case GW_CACHE_ONLY_IF_CACHED:
        ctx->status = NGX_HTTP_GATEWAY_CACHE_MISS;

        rc = ngx_http_gateway_cache_ask(ctx, 0);

        return rc == NGX_DECLINED ? NGX_HTTP_GATEWAY_TIME_OUT : rc;

    default:
        break;
    }

    ctx->status = NGX_HTTP_GATEWAY_CACHE_MISS;

    /*
     * What was fetched since this request came, and still cannot be used for
     * it, will not be better next time: nobody waits for that twice.
     */

    late = ctx->pinned && ctx->collapsed
           && ctx->meta.policy.response_time >= ctx->arrived;

    if (ctx->req.head || d.fwd == GW_FWD_REQUEST || !ctx->conf->lock || late)
    {
        ctx->alone = 1;
    }

    return ngx_http_gateway_cache_fetch(ctx,
                                        d.verdict == GW_CACHE_REVALIDATE);
}


ngx_int_t
ngx_http_gateway_cache_variant_text(ngx_http_gateway_cache_ctx_t *ctx,
    gw_str_t spec, u_char *text, size_t *len)
{
    ngx_list_t          *list;
    gw_fields_t          fields;
    ngx_http_request_t  *r;

    r = ctx->request;
    list = ctx->stripped ? &ctx->saved->headers_in.headers
                         : &r->headers_in.headers;

    if (ngx_http_gateway_cache_request_fields(r, list, &fields) != NGX_OK
        || gw_vary_text(text, NGX_HTTP_GATEWAY_CACHE_VARY, len, spec, fields)
           != GW_OK)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_variant(ngx_http_gateway_cache_ctx_t *ctx,
    gw_str_t spec, unsigned char *digest)
{
    size_t  len;
    u_char  text[NGX_HTTP_GATEWAY_CACHE_VARY];

    if (spec.len == 0) {
        ngx_memzero(digest, GW_STORE_DIGEST);
        return NGX_OK;
    }

    if (ngx_http_gateway_cache_variant_text(ctx, spec, text, &len) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_gateway_cache_digest(ctx->zone, text, len, digest);

    return NGX_OK;
}


/* With the lock. */

static ngx_uint_t
ngx_http_gateway_cache_get(ngx_http_gateway_cache_ctx_t *ctx,
    gw_store_t *store, int64_t now)
{
    if (gw_store_get(store, (unsigned) ngx_http_gateway_slot, now, &ctx->id,
                     &ctx->ref)
        != GW_OK)
    {
        return 0;
    }

    gw_store_info(store, &ctx->ref, &ctx->info);
    ngx_memcpy(&ctx->meta, ctx->info.meta, sizeof(ctx->meta));

    ctx->pinned = 1;

    return 1;
}


/* Pins what is stored for the request. On a miss the id is what would be
 * stored, as far as that is known. */

static ngx_int_t
ngx_http_gateway_cache_find(ngx_http_gateway_cache_ctx_t *ctx, int64_t now,
    gw_cache_fwd_e *miss)
{
    size_t            i, n, last, len;
    u_char            text[NGX_HTTP_GATEWAY_CACHE_LANGUAGE_TEXT];
    gw_str_t          spec;
    gw_fields_t       fields;
    gw_store_t       *store;
    unsigned char     variants[GW_STORE_SPECS + 2][GW_STORE_DIGEST];
    gw_store_spec_t   specs[GW_STORE_SPECS];

    *miss = GW_FWD_URI_MISS;
    ngx_memzero(ctx->id.variant, GW_STORE_DIGEST);

    store = ngx_http_gateway_cache_lock(ctx->zone);

    ctx->looked = gw_store_stored(store);
    ctx->stamp = gw_store_stamp(store);
    n = gw_store_specs(store, ctx->id.key, specs);

    if (n == 0) {
        (void) ngx_http_gateway_cache_get(ctx, store, now);
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (n == 0) {
        return NGX_OK;
    }

    *miss = GW_FWD_VARY_MISS;
    last = n;

    for (i = 0; i < n; i++) {
        spec.data = specs[i].text;
        spec.len = specs[i].len;

        if (ngx_http_gateway_cache_variant(ctx, spec, variants[i]) != NGX_OK)
        {
            ctx->status = NGX_HTTP_GATEWAY_CACHE_BYPASS;
            ctx->fwd = GW_FWD_BYPASS;
            ctx->no_store = 1;
            return NGX_DECLINED;
        }

        if (gw_field_is(spec, gw_str("accept-language")) && last == n
            && ngx_http_gateway_cache_request_fields(ctx->request,
                                          &ctx->request->headers_in.headers,
                                          &fields)
               == NGX_OK
            && ngx_http_gateway_cache_preferred(fields, text, &len)
               == NGX_OK)
        {
            ngx_http_gateway_cache_digest(ctx->zone, text, len, variants[n]);
            last = n + 1;
        }
    }

    ngx_memzero(variants[last], GW_STORE_DIGEST);

    store = ngx_http_gateway_cache_lock(ctx->zone);

    for (i = 0; i <= last; i++) {
        ngx_memcpy(ctx->id.variant, variants[i], GW_STORE_DIGEST);

        if (ngx_http_gateway_cache_get(ctx, store, now)) {
            break;
        }
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (!ctx->pinned) {
        ngx_memcpy(ctx->id.variant, variants[0], GW_STORE_DIGEST);
    }

    return NGX_OK;
}


void
ngx_http_gateway_cache_unpin(ngx_http_gateway_cache_ctx_t *ctx)
{
    if (ctx->pinned) {
        ctx->pinned = 0;
        gw_store_unpin(ngx_http_gateway_cache_lock(ctx->zone), &ctx->ref);
        ngx_http_gateway_cache_unlock(ctx->zone);
    }
}


/* Pins what another one is filling; 0: it is not to be followed. */

static ngx_uint_t
ngx_http_gateway_cache_attach(ngx_http_gateway_cache_ctx_t *ctx)
{
    gw_store_t  *store;

    store = ngx_http_gateway_cache_lock(ctx->zone);

    if (gw_store_attach(store, (unsigned) ngx_http_gateway_slot, &ctx->id,
                        &ctx->ref)
        == GW_OK)
    {
        gw_store_info(store, &ctx->ref, &ctx->info);
        ngx_memcpy(&ctx->meta, ctx->info.meta, sizeof(ctx->meta));
        ctx->pinned = 1;
        ctx->collapsed = 1;
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (!ctx->pinned) {
        return 0;
    }

    /* what was read of a stale one is no longer it */
    ctx->stored.fields = NULL;

    if (ngx_http_gateway_cache_follow_fits(ctx)) {
        return 1;
    }

    ngx_http_gateway_cache_unpin(ctx);

    return 0;
}


/* Asks level 2: what it has is found when the phases run again. */

static ngx_int_t
ngx_http_gateway_cache_ask(ngx_http_gateway_cache_ctx_t *ctx, ngx_uint_t lock)
{
    ngx_int_t  rc;

    /* where the client wants upstream's own answer it has nothing to say */

    if (ctx->zone->redis == NULL
        || ctx->status == NGX_HTTP_GATEWAY_CACHE_BYPASS
        || ctx->fwd == GW_FWD_REQUEST)
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_gateway_cache_remote_look(ctx, lock);

    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_gateway_cache_unpin(ctx);
    ctx->stored.fields = NULL;

    return NGX_AGAIN;
}


/* GW_OK: it leads, or did before; else as gw_store_lead(). late: what it leads
 * for may have been stored since it was looked for. */

static int
ngx_http_gateway_cache_lead(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t *late)
{
    int          rc;
    gw_store_t  *store;

    rc = GW_DECLINED;
    *late = 0;

    store = ngx_http_gateway_cache_lock(ctx->zone);

    if (ctx->fill) {
        rc = GW_OK;

    } else if (!ctx->alone) {
        rc = gw_store_lead(store, (unsigned) ngx_http_gateway_slot,
                           ngx_http_gateway_cache_now(), &ctx->id, true,
                           &ctx->fill);

        *late = (rc == GW_OK && gw_store_stored(store) != ctx->looked);
    }

    ctx->stamp = gw_store_stamp(store);

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (rc != GW_OK) {
        ctx->fill = 0;
    }

    return rc;
}


/* Goes on to the content handler, alone or for all who ask for the same, or
 * waits for who does. */

static ngx_int_t
ngx_http_gateway_cache_fetch(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t validate)
{
    int                      rc;
    ngx_uint_t               late;
    ngx_http_headers_out_t  *out;

    if (ctx->status == NGX_HTTP_GATEWAY_CACHE_BYPASS) {
        ctx->alone = 1;
    }

    rc = ngx_http_gateway_cache_lead(ctx, &late);

    if (rc == GW_AGAIN) {
        ngx_http_gateway_cache_unpin(ctx);
        ngx_http_gateway_cache_remote_release(ctx, 0);

        return ngx_http_gateway_cache_attach(ctx)
               ? ngx_http_gateway_cache_follow(ctx)
               : ngx_http_gateway_cache_park(ctx);
    }

    if (late) {

        /* once: from here on nobody else stores it */

        ngx_http_gateway_cache_unpin(ctx);
        ctx->stored.fields = NULL;

        return ngx_http_gateway_cache_look(ctx);
    }

    /* what is known not to be cacheable is not in level 2 either */

    if (ctx->fill || ctx->alone) {
        rc = ngx_http_gateway_cache_ask(ctx, ctx->fill != 0);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    ctx->saved = ngx_palloc(ctx->request->pool, sizeof(*ctx->saved));

    if (ctx->saved == NULL
        || (validate && ngx_http_gateway_cache_read(ctx) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * The client's conditions and ranges go upstream where what comes back
     * is not expected to be stored, and are answered here else.
     */

    ctx->conditional = validate;

    if ((ctx->fill || validate)
        && ngx_http_gateway_cache_strip(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out = &ctx->request->headers_out;

    ctx->fetching = 1;
    ctx->request_time = ngx_http_gateway_cache_now();
    ctx->saved->headers_out = *out;
    ctx->saved->headers_out_last = out->headers.last->nelts;

    return NGX_DECLINED;
}


/* The ctx of the background update, which holds what it may confirm. */

static ngx_int_t
ngx_http_gateway_cache_background(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_http_request_t *sr)
{
    gw_store_t                    *store;
    ngx_http_gateway_cache_ctx_t  *bg;

    static ngx_str_t  get = ngx_string("GET");

    /* whatever fails, the client sees none of it */

    sr->header_only = 1;

    bg = ngx_http_gateway_cache_ctx_create(sr, ctx->conf);
    if (bg == NULL) {
        return NGX_ERROR;
    }

    bg->background = 1;

    if (ctx->remote) {

        /* with the right to fetch */

        bg->remote = ctx->remote;
        bg->remote->ctx = bg;
        ctx->remote = NULL;
    }

    bg->saved = ngx_palloc(sr->pool, sizeof(*bg->saved));
    if (bg->saved == NULL) {
        return NGX_ERROR;
    }

    sr->method = NGX_HTTP_GET;
    sr->method_name = get;
    sr->header_only = 0;

    bg->fetching = 1;
    bg->keyed = 1;
    bg->req = ctx->req;
    bg->req.head = 0;
    bg->id = ctx->id;
    bg->fill = ctx->fill;
    bg->stamp = ctx->stamp;
    bg->request_time = ngx_http_gateway_cache_now();
    ctx->fill = 0;

    store = ngx_http_gateway_cache_lock(bg->zone);
    (void) ngx_http_gateway_cache_get(bg, store, bg->request_time);
    ngx_http_gateway_cache_unlock(bg->zone);

    bg->conditional = (bg->pinned
                       && ngx_http_gateway_cache_read(bg) == NGX_OK);

    return NGX_OK;
}


/*
 * The background update: a clone of the request, whose response goes into
 * the store and nowhere else. Nothing happens where another one is at it.
 */

static void
ngx_http_gateway_cache_refresh(ngx_http_gateway_cache_ctx_t *ctx)
{
    int                  rc;
    gw_store_t          *store;
    gw_store_fill_t      fill;
    ngx_http_request_t  *r, *sr;

    r = ctx->request;

    if (ctx->no_store) {
        return;
    }

    store = ngx_http_gateway_cache_lock(ctx->zone);

    rc = gw_store_lead(store, (unsigned) ngx_http_gateway_slot,
                       ngx_http_gateway_cache_now(), &ctx->id, false, &fill);

    ctx->stamp = gw_store_stamp(store);

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (rc != GW_OK) {
        return;
    }

    ctx->fill = fill;
    r->preserve_body = 1;

    if (ngx_http_subrequest(r, &r->uri, &r->args, &sr, NULL,
                            NGX_HTTP_SUBREQUEST_CLONE
                            |NGX_HTTP_SUBREQUEST_BACKGROUND)
        != NGX_OK
        || ngx_http_gateway_cache_background(ctx, sr) != NGX_OK)
    {
        ngx_http_gateway_cache_store_abort(ctx, 0);
    }
}


/* In the background update, before upstream is asked: another node may have
 * what is wanted, or be fetching it. */

static ngx_int_t
ngx_http_gateway_cache_update(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->saved == NULL) {
        return NGX_ERROR;
    }

    if (ctx->zone->redis) {
        rc = ngx_http_gateway_cache_remote_look(ctx, ctx->conf->lock);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        if (ctx->remote && (ctx->remote->other || ctx->remote->fresh)) {
            ngx_http_gateway_cache_store_abort(ctx, 0);
            ngx_http_finalize_request(ctx->request, NGX_OK);
            return NGX_DONE;
        }
    }

    return ngx_http_gateway_cache_strip(ctx) == NGX_OK ? NGX_DECLINED
                                                       : NGX_ERROR;
}
