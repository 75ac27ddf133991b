/*
 * Limits on requests and openings.
 *
 * They are checked in the preaccess phase, before anybody looks at the token,
 * and count bad tokens too. Those whose key is a claim count valid tokens
 * alone: reading the claim verifies the token, but only once the others have
 * room, so that a flood of tokens is not a flood of signatures. All of them
 * are charged together or not at all. Where the token has to wait for its
 * keys its limits are left to the precontent phase, when gateway_jwt has
 * taken it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_grpc.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_limit_int.h"


static ngx_http_gateway_limit_ctx_t *ngx_http_gateway_limit_ctx_create(
    ngx_http_request_t *r, ngx_uint_t n);
static void ngx_http_gateway_limit_ctx_cleanup(void *data);
static ngx_uint_t ngx_http_gateway_limit_opening(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_limit_gather(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t claims);
static uint32_t ngx_http_gateway_limit_cost(ngx_http_request_t *r,
    ngx_http_gateway_limit_t *limit);
static ngx_int_t ngx_http_gateway_limit_done(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t first, ngx_int_t rc);


ngx_int_t
ngx_http_gateway_limit_preaccess_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_gateway_limit_ctx_t       *ctx;
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);

    if (llcf->limits == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    if (ngx_http_gateway_limit_ctx(r)) {
        /* counted before an internal redirect */
        return NGX_DECLINED;
    }

    ctx = ngx_http_gateway_limit_ctx_create(r, llcf->limits->nelts);

    if (ctx == NULL
        || ngx_http_gateway_limit_gather(r, ctx, 0) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (llcf->claims) {

        if (ctx->n) {
            rc = ngx_http_gateway_limit_take(ctx->items, ctx->n, 1);

            if (rc != NGX_OK) {
                return ngx_http_gateway_limit_done(r, ctx, 0, rc);
            }
        }

        if (ngx_http_gateway_limit_gather(r, ctx, 1) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ctx->n == 0) {
        return NGX_DECLINED;
    }

    rc = ngx_http_gateway_limit_take(ctx->items, ctx->n, 0);

    return ngx_http_gateway_limit_done(r, ctx, 0, rc);
}


ngx_int_t
ngx_http_gateway_limit_precontent_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_uint_t                     before;
    ngx_http_gateway_limit_ctx_t  *ctx;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_limit_module);

    if (ctx == NULL || !ctx->later) {
        return NGX_DECLINED;
    }

    ctx->later = 0;
    before = ctx->n;

    if (ngx_http_gateway_limit_gather(r, ctx, 1) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = NGX_OK;

    if (ctx->n > before) {
        rc = ngx_http_gateway_limit_take(&ctx->items[before],
                                         ctx->n - before, 0);
    }

    if (rc != NGX_OK) {
        ngx_http_gateway_limit_refund(ctx->items, before);
    }

    return ngx_http_gateway_limit_done(r, ctx, before, rc);
}


ngx_int_t
ngx_http_gateway_limit_opened(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_uint_t                          before;
    ngx_http_gateway_limit_ctx_t       *ctx;
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);

    if (llcf->limits == NULL || !llcf->claims) {
        return NGX_OK;
    }

    ctx = ngx_http_gateway_limit_ctx(r);

    if (ctx == NULL) {
        return NGX_OK;
    }

    before = ctx->n;

    if (ngx_http_gateway_limit_gather(r, ctx, 1) != NGX_OK
        || ctx->n == before)
    {
        return NGX_OK;
    }

    rc = ngx_http_gateway_limit_take(&ctx->items[before], ctx->n - before, 0);

    ngx_http_gateway_limit_report(&ctx->items[before], ctx->n - before,
                                  llcf->log_level, r->connection->log);
    return rc;
}


ngx_http_gateway_limit_ctx_t *
ngx_http_gateway_limit_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_limit_ctx_t  *ctx;

    r = r->main;
    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_limit_module);

    if (ctx || (!r->internal && !r->filter_finalize)) {
        return ctx;
    }

    /* an internal redirect has cleared the modules' contexts */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_gateway_limit_ctx_cleanup) {
            ngx_http_set_ctx(r, cln->data, ngx_http_gateway_limit_module);
            return cln->data;
        }
    }

    return NULL;
}


static ngx_http_gateway_limit_ctx_t *
ngx_http_gateway_limit_ctx_create(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_limit_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(*ctx)
                               + n * sizeof(ngx_http_gateway_limit_item_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_gateway_limit_ctx_cleanup;

    ctx = cln->data;
    ngx_memzero(ctx, offsetof(ngx_http_gateway_limit_ctx_t, items));

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_limit_module);

    return ctx;
}


/* Only to be found again by. */

static void
ngx_http_gateway_limit_ctx_cleanup(void *data)
{
}


/* A WebSocket or an event stream. */

static ngx_uint_t
ngx_http_gateway_limit_opening(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    static ngx_str_t  stream = ngx_string("text/event-stream");

    h = r->headers_in.upgrade;

    if (h && h->value.len == 9
        && ngx_strncasecmp(h->value.data, (u_char *) "websocket", 9) == 0)
    {
        return 1;
    }

    for (i = 0; (h = ngx_http_gateway_header_find(r, "Accept", i)); i++) {
        if (ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                             stream.data, stream.len - 1))
        {
            return 1;
        }
    }

    return 0;
}


/* Adds the limits that apply: those by claims, or all others. */

static ngx_int_t
ngx_http_gateway_limit_gather(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t claims)
{
    ngx_int_t                           rc;
    ngx_uint_t                          i;
    ngx_http_gateway_limit_t           *limit;
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    if (claims) {
        rc = ngx_http_gateway_jwt_valid(r);

        if (rc != NGX_OK) {
            ctx->later = (rc == NGX_AGAIN);
            return NGX_OK;
        }
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);
    limit = llcf->limits->elts;

    for (i = 0; i < llcf->limits->nelts; i++) {

        if (limit[i].on == NGX_HTTP_GATEWAY_LIMIT_MESSAGE
            || limit[i].zone->claim != claims
            || (limit[i].on == NGX_HTTP_GATEWAY_LIMIT_CONNECTION
                && !ngx_http_gateway_limit_opening(r)))
        {
            continue;
        }

        rc = ngx_http_gateway_limit_item(r, &limit[i], &ctx->items[ctx->n]);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            ctx->n++;
        }
    }

    return NGX_OK;
}


/* One variable is taken as it is, without a copy. */

ngx_int_t
ngx_http_gateway_limit_key(ngx_http_request_t *r,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *key)
{
    ngx_http_variable_value_t  *v;

    if (zone->variable == NGX_ERROR) {

        if (ngx_http_complex_value(r, &zone->key, key) != NGX_OK) {
            return NGX_ERROR;
        }

        return key->len ? NGX_OK : NGX_DECLINED;
    }

    v = ngx_http_get_flushed_variable(r, zone->variable);

    if (v == NULL || v->not_found || v->len == 0) {
        return NGX_DECLINED;
    }

    key->data = v->data;
    key->len = v->len;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_limit_item(ngx_http_request_t *r,
    ngx_http_gateway_limit_t *limit, ngx_http_gateway_limit_item_t *item)
{
    ngx_int_t  rc;
    ngx_str_t  key;

    rc = ngx_http_gateway_limit_key(r, limit->zone, &key);

    if (rc != NGX_OK) {
        return rc;
    }

    item->limit = limit;
    item->rejected = 0;
    item->charged = 0;
    item->cost = limit->cost ? ngx_http_gateway_limit_cost(r, limit) : 1;

    ngx_http_gateway_limit_digest(limit->zone, &key, item->digest);

    return NGX_OK;
}


static uint32_t
ngx_http_gateway_limit_cost(ngx_http_request_t *r,
    ngx_http_gateway_limit_t *limit)
{
    ngx_uint_t  i;
    uint64_t    cost;
    ngx_str_t   value;

    if (ngx_http_complex_value(r, limit->cost, &value) != NGX_OK
        || value.len == 0)
    {
        return 1;
    }

    cost = 0;

    for (i = 0; i < value.len; i++) {

        if (value.data[i] < '0' || value.data[i] > '9') {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "gateway_limit zone \"%V\": the cost \"%V\" is not "
                          "a whole number, 1 is taken",
                          &limit->zone->name, &value);
            return 1;
        }

        cost = ngx_min(cost * 10 + (value.data[i] - '0'), 0xffffffff);
    }

    return (uint32_t) cost;
}


/* Items from first on were decided now. */

static ngx_int_t
ngx_http_gateway_limit_done(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t first, ngx_int_t rc)
{
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);

    ngx_http_gateway_limit_report(&ctx->items[first], ctx->n - first,
                                  llcf->log_level, r->connection->log);

    ctx->rejected = (rc != NGX_OK);

    if (ngx_http_gateway_limit_headers_add(r, ctx, llcf->headers) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_http_gateway_grpc_call(r)) {
        return ngx_http_gateway_grpc_refuse(r,
                               NGX_HTTP_GATEWAY_GRPC_RESOURCE_EXHAUSTED,
                               "rate limit exceeded");
    }

    return llcf->status;
}


void
ngx_http_gateway_limit_report(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n, ngx_uint_t level, ngx_log_t *log)
{
    ngx_uint_t                      i, passed;
    ngx_http_gateway_limit_zone_t  *zone;

    static char  *what[] = { "requests", "connections", "messages" };

    passed = 1;

    for (i = 0; i < n; i++) {
        if (items[i].rejected && !items[i].limit->dry_run) {
            passed = 0;
        }
    }

    for (i = 0; i < n; i++) {
        zone = items[i].limit->zone;

        if (!items[i].rejected) {

            if (passed) {
                /* what another one rejected was not counted here */
                ngx_http_gateway_count(zone->passed, 1);
            }

            continue;
        }

        ngx_http_gateway_count(items[i].limit->dry_run
                               ? zone->rejected_dry_run : zone->rejected, 1);

        if (items[i].state.retry == GW_WINDOW_NEVER) {
            ngx_log_error(level, log, 0,
                          "limiting %s%s by zone \"%V\": a cost of %uD never "
                          "passes a limit of %uD in %V",
                          what[items[i].limit->on],
                          items[i].limit->dry_run ? ", dry run," : "",
                          &zone->name, items[i].cost, zone->rate.limit,
                          &zone->window);
            continue;
        }

        ngx_log_error(level, log, 0,
                      "limiting %s%s by zone \"%V\": %uD in %V, %uD left, "
                      "a cost of %uD passes in %uL ms",
                      what[items[i].limit->on],
                      items[i].limit->dry_run ? ", dry run," : "",
                      &zone->name, zone->rate.limit, &zone->window,
                      items[i].state.remaining, items[i].cost,
                      items[i].state.retry);
    }
}


ngx_http_gateway_limit_item_t *
ngx_http_gateway_limit_least(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n, ngx_uint_t dry_run)
{
    ngx_uint_t                      i;
    ngx_http_gateway_limit_item_t  *least, *item;

    least = NULL;

    for (i = 0; i < n; i++) {
        item = &items[i];

        if (item->limit->dry_run && !dry_run) {
            continue;
        }

        if (least == NULL
            || (item->rejected && !least->rejected)
            || (item->rejected == least->rejected
                && item->state.remaining < least->state.remaining))
        {
            least = item;
        }
    }

    return least;
}
