/*
 * Variables of gateway_jwt. Reading one verifies the request's token, by the
 * policy of its location, if that was not done before. They are never cached:
 * a token may come later, as a message.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt_int.h"


#define NGX_HTTP_GATEWAY_JWT_CLAIM   0
#define NGX_HTTP_GATEWAY_JWT_HEADER  1


static ngx_int_t ngx_http_gateway_jwt_variable_member(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_jwt_variable_header(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_jwt_variable_render(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_str_t *name, size_t prefix,
    ngx_uint_t header);
static ngx_int_t ngx_http_gateway_jwt_variable_payload(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_jwt_variable_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_gateway_jwt_variables[] = {

    { ngx_string("gateway_jwt_claim_"), NULL,
      ngx_http_gateway_jwt_variable_member, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

    { ngx_string("gateway_jwt_header_"), NULL,
      ngx_http_gateway_jwt_variable_header, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

    { ngx_string("gateway_jwt_payload"), NULL,
      ngx_http_gateway_jwt_variable_payload, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("gateway_jwt_status"), NULL,
      ngx_http_gateway_jwt_variable_status, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_gateway_jwt_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_gateway_jwt_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_variable_member(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    return ngx_http_gateway_jwt_variable_render(r, v, (ngx_str_t *) data,
                                          sizeof("gateway_jwt_claim_") - 1,
                                          NGX_HTTP_GATEWAY_JWT_CLAIM);
}


static ngx_int_t
ngx_http_gateway_jwt_variable_header(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    return ngx_http_gateway_jwt_variable_render(r, v, (ngx_str_t *) data,
                                          sizeof("gateway_jwt_header_") - 1,
                                          NGX_HTTP_GATEWAY_JWT_HEADER);
}


static ngx_int_t
ngx_http_gateway_jwt_variable_render(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_str_t *name, size_t prefix,
    ngx_uint_t header)
{
    gw_str_t                     object, member;
    gw_json_t                    value;
    ngx_http_gateway_jwt_ctx_t  *ctx;

    ctx = ngx_http_gateway_jwt_look(r);

    if (ctx == NULL || ctx->token == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    object = header ? gw_jwt_header_text(ctx->token->jwt)
                    : gw_jwt_payload_text(ctx->token->jwt);

    member.data = name->data + prefix;
    member.len = name->len - prefix;

    if (gw_jwt_find(object, member, &value) != GW_OK) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, value.text.len + 1);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = gw_jwt_render(&value, v->data);
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_variable_payload(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    gw_str_t                     payload;
    ngx_http_gateway_jwt_ctx_t  *ctx;

    ctx = ngx_http_gateway_jwt_look(r);

    if (ctx == NULL || ctx->token == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    /* the token lives as long as the request's pool */

    payload = gw_jwt_payload_text(ctx->token->jwt);

    v->data = (u_char *) payload.data;
    v->len = payload.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_variable_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_gateway_jwt_ctx_t  *ctx;

    ctx = ngx_http_gateway_jwt_look(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = (u_char *) gw_jwt_status_name(ctx->status);
    v->len = ngx_strlen(v->data);
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
