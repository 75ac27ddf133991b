/*
 * What a request gets that the breaker refused.
 */

#include "ngx_http_gateway_breaker_int.h"
#include "ngx_http_gateway_grpc.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_upstream_hold.h"


ngx_http_gateway_breaker_stale_pt  ngx_http_gateway_breaker_stale;


static void
ngx_http_gateway_breaker_refuse_code(ngx_http_request_t *r, uint64_t wait,
    ngx_int_t code)
{
    u_char    *p;
    uint64_t   seconds;

    if (ngx_http_gateway_grpc_call(r)) {
        (void) ngx_http_gateway_grpc_refuse(r,
                                            NGX_HTTP_GATEWAY_GRPC_UNAVAILABLE,
                                            "the upstream's circuit is open");
        return;
    }

    /* half-open, and others probe: soon */

    seconds = ngx_max((wait + 999) / 1000, 1);

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);

    if (p == NULL
        || ngx_http_gateway_header_add(r, "Retry-After", p,
                                       ngx_sprintf(p, "%uL", seconds) - p)
           != NGX_OK)
    {
        code = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_finalize_request(r, code);
}


void
ngx_http_gateway_breaker_refuse(ngx_http_request_t *r, void *data)
{
    ngx_http_gateway_breaker_ctx_t *ctx = data;

    uint64_t                             wait;
    ngx_uint_t                           i;
    ngx_http_gateway_fallback_t         *f;
    ngx_http_gateway_breaker_loc_conf_t *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_breaker_module);
    wait = ctx->wait;

    ngx_http_gateway_upstream_leave(r);

    if (ctx->status >= NGX_HTTP_SPECIAL_RESPONSE) {

        /* it opened between two attempts of this request */

        ngx_http_finalize_request(r, ctx->status);
        return;
    }

    f = blcf->fallback ? blcf->fallback->elts : NULL;

    for (i = 0; f && i < blcf->fallback->nelts; i++) {

        switch (f[i].type) {

        case NGX_HTTP_GATEWAY_FALLBACK_STALE:

            if (ngx_http_gateway_breaker_stale
                && ngx_http_gateway_breaker_stale(r) != NGX_DECLINED)
            {
                return;
            }

            continue;

        case NGX_HTTP_GATEWAY_FALLBACK_LOCATION:
            (void) ngx_http_named_location(r, &f[i].name);
            ngx_http_finalize_request(r, NGX_DONE);
            return;

        default: /* NGX_HTTP_GATEWAY_FALLBACK_CODE */
            ngx_http_gateway_breaker_refuse_code(r, wait, f[i].code);
            return;
        }
    }

    ngx_http_gateway_breaker_refuse_code(r, wait,
                                         NGX_HTTP_SERVICE_UNAVAILABLE);
}
