/*
 * gateway_cache: unsafe methods invalidate what is stored for their target
 * (RFC 9111, 4.4).
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "../src/cache_validate.h"


/* The key of r, were its target another one. */

static ngx_int_t
ngx_http_gateway_cache_key_of(ngx_http_request_t *r, ngx_str_t *target,
    ngx_str_t *key)
{
    u_char                     *p, *dst, *src;
    ngx_int_t                   rc;
    ngx_str_t                   uri, args, unparsed, name;
    ngx_uint_t                  i, n;
    ngx_http_variable_t        *v;
    ngx_http_variable_value_t  *variables;
    ngx_http_core_main_conf_t  *cmcf;

    static ngx_str_t  names[] = {
        ngx_string("request_uri"), ngx_string("uri"),
        ngx_string("document_uri"), ngx_string("args"),
        ngx_string("query_string"), ngx_string("is_args"), ngx_null_string
    };

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    v = cmcf->variables.elts;
    n = cmcf->variables.nelts;

    variables = r->variables;
    uri = r->uri;
    args = r->args;
    unparsed = r->unparsed_uri;

    r->variables = ngx_palloc(r->pool, n * sizeof(*variables));
    dst = ngx_pnalloc(r->pool, target->len + 1);

    if (r->variables == NULL || dst == NULL) {
        r->variables = variables;
        return NGX_ERROR;
    }

    ngx_memcpy(r->variables, variables, n * sizeof(*variables));

    for (i = 0; i < n; i++) {

        name = v[i].name;

        for (p = NULL, rc = 0; names[rc].len; rc++) {
            if (names[rc].len == name.len
                && ngx_strncmp(names[rc].data, name.data, name.len) == 0)
            {
                p = name.data;
            }
        }

        if (p || (name.len > 4 && ngx_strncmp(name.data, "arg_", 4) == 0)) {
            r->variables[i].valid = 0;
            r->variables[i].not_found = 0;
        }
    }

    r->unparsed_uri = *target;
    r->uri = *target;
    ngx_str_null(&r->args);

    p = ngx_strlchr(target->data, target->data + target->len, '?');

    if (p) {
        r->uri.len = p - target->data;
        r->args.data = p + 1;
        r->args.len = target->data + target->len - r->args.data;
    }

    src = r->uri.data;
    n = r->uri.len;
    r->uri.data = dst;
    ngx_unescape_uri(&dst, &src, n, 0);
    r->uri.len = dst - r->uri.data;

    rc = ngx_http_gateway_cache_key(r, key);

    r->variables = variables;
    r->uri = uri;
    r->args = args;
    r->unparsed_uri = unparsed;

    return rc;
}


/* Location or Content-Location as a target of this origin: NGX_OK, or
 * NGX_DECLINED: it is none. */

static ngx_int_t
ngx_http_gateway_cache_resolve(ngx_http_request_t *r, gw_str_t location,
    ngx_str_t *target)
{
    size_t    size;
    gw_str_t  scheme, host, base;

    if (location.data == NULL || r->headers_in.host == NULL) {
        return NGX_DECLINED;
    }

    scheme = gw_str("http");

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        scheme = gw_str("https");
    }
#endif

    host.data = r->headers_in.host->value.data;
    host.len = r->headers_in.host->value.len;
    base.data = r->unparsed_uri.data;
    base.len = r->unparsed_uri.len;

    size = location.len + base.len + 2;

    target->data = ngx_pnalloc(r->pool, size);
    if (target->data == NULL) {
        return NGX_DECLINED;
    }

    return gw_cache_location(target->data, size, &target->len, scheme, host,
                             base, location)
           == GW_OK ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_gateway_cache_invalidate_location(ngx_http_gateway_cache_ctx_t *ctx,
    gw_str_t location)
{
    ngx_str_t  target, key;

    if (ngx_http_gateway_cache_resolve(ctx->request, location, &target)
        == NGX_OK
        && ngx_http_gateway_cache_key_of(ctx->request, &target, &key)
           == NGX_OK)
    {
        (void) ngx_http_gateway_cache_purge_one(ctx->zone, &key);
    }
}


void
ngx_http_gateway_cache_invalidate(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    gw_str_t             method;
    ngx_str_t            key;
    ngx_http_request_t  *r;

    r = ctx->request;

    method.data = r->method_name.data;
    method.len = r->method_name.len;

    if (!gw_cache_invalidates(method, (unsigned) ctx->fwd_status)) {
        return;
    }

    if (ctx->keyed) {
        key.data = (u_char *) ctx->id.text.data;
        key.len = ctx->id.text.len;
        (void) ngx_http_gateway_cache_purge_one(ctx->zone, &key);
    }

    ngx_http_gateway_cache_invalidate_location(ctx,
                            gw_field_find(fields, gw_str("location")));
    ngx_http_gateway_cache_invalidate_location(ctx,
                            gw_field_find(fields, gw_str("content-location")));
}


ngx_uint_t
ngx_http_gateway_cache_represents(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    ngx_str_t            target;
    ngx_http_request_t  *r;

    r = ctx->request;

    return r->method == NGX_HTTP_POST && ctx->keyed
           && ctx->fwd_status == NGX_HTTP_OK
           && ngx_http_gateway_cache_resolve(r,
                    gw_field_find(fields, gw_str("content-location")), &target)
              == NGX_OK
           && target.len == r->unparsed_uri.len
           && ngx_memcmp(target.data, r->unparsed_uri.data, target.len) == 0;
}
