/*
 * gateway_jwt_revoked: tokens that are valid, but revoked; and what is open
 * for such a token.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt_int.h"
#include "ngx_http_gateway_revoke.h"


struct ngx_http_gateway_jwt_watch_s {
    ngx_http_gateway_revoke_watch_t   revoke;
};


static ngx_int_t ngx_http_gateway_jwt_revocable(
    ngx_http_gateway_jwt_token_t *token);


char *
ngx_http_gateway_jwt_revoked_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_str_t  *value;

    if (jlcf->revoked != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts != 2 || value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"gateway_jwt_revoked\": accepted is the "
                           "name of one \"gateway_channel_zone\"");
        return NGX_CONF_ERROR;
    }

    jlcf->revoked = ngx_http_gateway_channel_zone_get(cf, &value[1]);

    return jlcf->revoked ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* What the zone keeps has to cover a token as long as any location takes it.
 */

void
ngx_http_gateway_jwt_revoked_merge(ngx_http_gateway_jwt_loc_conf_t *conf,
    ngx_http_gateway_jwt_loc_conf_t *prev)
{
    ngx_conf_merge_ptr_value(conf->revoked, prev->revoked, NULL);

    if (conf->revoked && conf->keys) {
        conf->revoked->leeway = ngx_max(conf->revoked->leeway, conf->leeway);
    }
}


/* Looked at again only after something was revoked. */

gw_jwt_status_e
ngx_http_gateway_jwt_revoked(ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_http_gateway_jwt_token_t *token, const char **reason)
{
    uint64_t                          version;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = jlcf->revoked;

    if (zone == NULL) {
        return GW_JWT_OK;
    }

    version = ngx_http_gateway_revoke_version(zone);

    if (version == 0
        || (token->cleared == version && token->cleared_by == zone))
    {
        return GW_JWT_OK;
    }

    if (ngx_http_gateway_jwt_revocable(token) != NGX_OK) {
        *reason = "out of memory";
        return GW_JWT_MALFORMED;
    }

    if (ngx_http_gateway_revoke_covers(zone, &token->revocable)) {
        *reason = "the token has been revoked";
        return GW_JWT_REVOKED;
    }

    token->cleared = version;
    token->cleared_by = zone;

    return GW_JWT_OK;
}


/* Digests of jti and sub, made when they are first needed. */

static ngx_int_t
ngx_http_gateway_jwt_revocable(ngx_http_gateway_jwt_token_t *token)
{
    u_char         *p;
    gw_str_t        value;
    gw_json_t       object, jti;
    gw_revocable_t  it;

    if (token->digested) {
        return NGX_OK;
    }

    ngx_memzero(&it, sizeof(it));
    it.issued = gw_jwt_issued(token->jwt);

    if (token->identity.subject.data) {
        value.data = token->identity.subject.data;
        value.len = token->identity.subject.len;

        if (gw_revocation_sub(it.sub, value) != GW_OK) {
            return NGX_ERROR;
        }
    }

    if (gw_json_parse(gw_jwt_payload_text(token->jwt), &object) != GW_OK) {
        return NGX_ERROR;
    }

    if (gw_json_member(&object, gw_str("jti"), &jti) == GW_OK
        && (jti.type == GW_JSON_STRING || jti.type == GW_JSON_NUMBER))
    {
        p = ngx_alloc(jti.text.len, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;
        value.len = gw_jwt_render(&jti, p);

        if (gw_revocation_jti(it.jti, value) != GW_OK) {
            ngx_free(p);
            return NGX_ERROR;
        }

        ngx_free(p);
    }

    token->revocable = it;
    token->digested = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_jwt_watch(ngx_http_request_t *r,
    ngx_http_gateway_jwt_watch_t **watch, void (*handler)(void *data),
    void *data)
{
    ngx_http_gateway_jwt_ctx_t        *ctx;
    ngx_http_gateway_jwt_watch_t      *w;
    ngx_http_gateway_jwt_loc_conf_t   *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r->main, ngx_http_gateway_jwt_module);

    if (jlcf->keys == NULL || jlcf->revoked == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_gateway_jwt_ctx(r);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->taken == NULL) {
        return NGX_OK;
    }

    if (ngx_http_gateway_jwt_revocable(ctx->taken) != NGX_OK) {
        return NGX_ERROR;
    }

    w = *watch;

    if (w) {
        ngx_http_gateway_revoke_unwatch(&w->revoke);

    } else {
        w = ngx_alloc(sizeof(*w), r->connection->log);
        if (w == NULL) {
            return NGX_ERROR;
        }

        *watch = w;
    }

    w->revoke.zone = jlcf->revoked;
    w->revoke.token = ctx->taken->revocable;
    w->revoke.handler = handler;
    w->revoke.data = data;

    ngx_http_gateway_revoke_watch(&w->revoke);

    return NGX_OK;
}


void
ngx_http_gateway_jwt_unwatch(ngx_http_gateway_jwt_watch_t *watch)
{
    ngx_http_gateway_revoke_unwatch(&watch->revoke);
    ngx_free(watch);
}
