/*
 * What a client is told of limits: RateLimit and RateLimit-Policy as in
 * draft-ietf-httpapi-ratelimit-headers, or the X-RateLimit-* in wide use, and
 * Retry-After (RFC 9110 10.2.3) where it was rejected.
 *
 * They are added where the decision falls, so that requests without limits
 * pass no filter for them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_limit_int.h"


static void ngx_http_gateway_limit_take_back(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_limit_draft(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_limit_legacy(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_limit_retry_after(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_limit_header_number(ngx_http_request_t *r,
    char *name, uint64_t n);


ngx_int_t
ngx_http_gateway_limit_headers_add(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx, ngx_uint_t headers)
{
    if (ctx->told) {
        ngx_http_gateway_limit_take_back(r);
    }

    ctx->told = 1;

    if (ctx->rejected
        && ngx_http_gateway_limit_retry_after(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    switch (headers) {

    case NGX_HTTP_GATEWAY_LIMIT_DRAFT:
        return ngx_http_gateway_limit_draft(r, ctx);

    case NGX_HTTP_GATEWAY_LIMIT_LEGACY:
        return ngx_http_gateway_limit_legacy(r, ctx);

    default:
        return NGX_OK;
    }
}


/* What was told before the token was known is told again, with its limits. */

static void
ngx_http_gateway_limit_take_back(ngx_http_request_t *r)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  names[] = {
        ngx_string("RateLimit-Policy"),
        ngx_string("RateLimit"),
        ngx_string("X-RateLimit-Limit"),
        ngx_string("X-RateLimit-Remaining"),
        ngx_string("X-RateLimit-Reset")
    };

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            for (n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
                if (h[i].key.len == names[n].len
                    && ngx_strncmp(h[i].key.data, names[n].data,
                                   names[n].len) == 0)
                {
                    h[i].hash = 0;
                }
            }
        }
    }
}


/* One item for each limit; the policies' texts are ready. */

static ngx_int_t
ngx_http_gateway_limit_draft(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx)
{
    size_t                          len;
    u_char                         *policy, *policy_end, *item, *item_end;
    ngx_uint_t                      i;
    ngx_http_gateway_limit_item_t  *it;
    ngx_http_gateway_limit_zone_t  *zone;

    len = 0;

    for (i = 0; i < ctx->n; i++) {
        zone = ctx->items[i].limit->zone;
        len += zone->policy.len + 2
               + zone->item.len + NGX_INT64_LEN + sizeof(";t=")
               + NGX_INT64_LEN + 2;
    }

    policy = ngx_pnalloc(r->pool, len);
    if (policy == NULL) {
        return NGX_ERROR;
    }

    policy_end = policy;

    for (i = 0; i < ctx->n; i++) {

        if (ctx->items[i].limit->dry_run) {
            continue;
        }

        if (policy_end != policy) {
            *policy_end++ = ',';
            *policy_end++ = ' ';
        }

        zone = ctx->items[i].limit->zone;
        policy_end = ngx_cpymem(policy_end, zone->policy.data,
                                zone->policy.len);
    }

    if (policy_end == policy) {
        return NGX_OK;
    }

    item = policy_end;
    item_end = item;

    for (i = 0; i < ctx->n; i++) {
        it = &ctx->items[i];

        if (it->limit->dry_run) {
            continue;
        }

        if (item_end != item) {
            *item_end++ = ',';
            *item_end++ = ' ';
        }

        zone = it->limit->zone;
        item_end = ngx_cpymem(item_end, zone->item.data, zone->item.len);
        item_end = ngx_sprintf(item_end, "%uD;t=%uL", it->state.remaining,
                               ngx_http_gateway_limit_seconds(
                                   it->state.reset));
    }

    if (ngx_http_gateway_header_add(r, "RateLimit-Policy", policy,
                                    policy_end - policy)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_header_add(r, "RateLimit", item, item_end - item);
}


static ngx_int_t
ngx_http_gateway_limit_legacy(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx)
{
    ngx_http_gateway_limit_item_t  *item;

    item = ngx_http_gateway_limit_least(ctx->items, ctx->n, 0);

    if (item == NULL) {
        return NGX_OK;
    }

    if (ngx_http_gateway_limit_header_number(r, "X-RateLimit-Limit",
                                             item->limit->zone->rate.limit)
        != NGX_OK
        || ngx_http_gateway_limit_header_number(r, "X-RateLimit-Remaining",
                                                item->state.remaining)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_limit_header_number(r, "X-RateLimit-Reset",
                        ngx_http_gateway_limit_seconds(item->state.reset));
}


/* When all would admit it; what never passes is told the period. */

static ngx_int_t
ngx_http_gateway_limit_retry_after(ngx_http_request_t *r,
    ngx_http_gateway_limit_ctx_t *ctx)
{
    uint64_t                        after, retry;
    ngx_uint_t                      i;
    ngx_http_gateway_limit_item_t  *item;

    after = 1;

    for (i = 0; i < ctx->n; i++) {
        item = &ctx->items[i];

        if (!item->rejected || item->limit->dry_run) {
            continue;
        }

        retry = item->state.retry;

        if (retry == GW_WINDOW_NEVER) {
            retry = item->limit->zone->rate.period;
        }

        after = ngx_max(after, retry);
    }

    return ngx_http_gateway_limit_header_number(r, "Retry-After",
                                   ngx_http_gateway_limit_seconds(after));
}


static ngx_int_t
ngx_http_gateway_limit_header_number(ngx_http_request_t *r, char *name,
    uint64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_header_add(r, name, p,
                                       ngx_sprintf(p, "%uL", n) - p);
}
