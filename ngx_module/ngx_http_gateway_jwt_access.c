/*
 * The decision about a token: in the access phase, for a token that comes as
 * a message, and (without a decision) for variables.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_compat.h"
#include "ngx_http_gateway_grpc.h"
#include "ngx_http_gateway_jwt_int.h"


/* A token as a message. One per request, used again. */

struct ngx_http_gateway_jwt_auth_s {
    ngx_http_gateway_jwt_ctx_t         ctx;      /* of the candidate */
    ngx_http_gateway_jwt_handler_pt    handler;
    void                              *data;
    u_char                            *text;     /* while it waits */
};


static void ngx_http_gateway_jwt_ctx_cleanup(void *data);
static void ngx_http_gateway_jwt_cancel(void *data);
static ngx_int_t ngx_http_gateway_jwt_check(ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_jwt_hold(ngx_http_request_t *r,
    ngx_http_gateway_jwt_token_t *token);
static void ngx_http_gateway_jwt_hold_cleanup(void *data);
static ngx_int_t ngx_http_gateway_jwt_refuse(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_int_t ngx_http_gateway_jwt_decide(
    ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_jwt_pending(
    ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_jwt_claims(
    ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_jwt_requires(
    ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_uint_t ngx_http_gateway_jwt_handshake(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_jwt_park(ngx_http_gateway_jwt_ctx_t *ctx);
static void ngx_http_gateway_jwt_resume(void *data);
static void ngx_http_gateway_jwt_done(ngx_http_gateway_jwt_ctx_t *ctx,
    ngx_int_t rc);
static ngx_int_t ngx_http_gateway_jwt_challenge(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_jwt_candidate(
    ngx_http_gateway_jwt_auth_t *auth);
static void ngx_http_gateway_jwt_candidate_resume(void *data);


ngx_http_gateway_jwt_ctx_t *
ngx_http_gateway_jwt_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_gateway_jwt_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_jwt_module);

    if (ctx) {
        return ctx;
    }

    if (r->internal || r->filter_finalize) {

        /* an internal redirect has cleared the modules' contexts */

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_http_gateway_jwt_ctx_cleanup) {
                ngx_http_set_ctx(r, cln->data, ngx_http_gateway_jwt_module);
                return cln->data;
            }
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(*ctx));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(*ctx));

    cln->handler = ngx_http_gateway_jwt_ctx_cleanup;
    ctx->request = r;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_jwt_module);

    return ctx;
}


static void
ngx_http_gateway_jwt_ctx_cleanup(void *data)
{
    ngx_http_gateway_jwt_ctx_t *ctx = data;

    ngx_http_gateway_jwt_refresh_cancel(&ctx->wait);

    if (ctx->auth) {
        ngx_http_gateway_jwt_refresh_cancel(&ctx->auth->ctx.wait);

        if (ctx->auth->text) {
            ngx_free(ctx->auth->text);
            ctx->auth->text = NULL;
        }
    }
}


ngx_http_gateway_jwt_ctx_t *
ngx_http_gateway_jwt_look(ngx_http_request_t *r)
{
    ngx_http_gateway_jwt_ctx_t       *ctx;
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    r = r->main;
    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_jwt_module);

    if (jlcf->keys == NULL) {
        return NULL;
    }

    ctx = ngx_http_gateway_jwt_ctx(r);
    if (ctx == NULL) {
        return NULL;
    }

    if (ctx->conf != jlcf) {

        /* first, or in another location: what was decided there is void */

        ctx->conf = jlcf;
        ctx->token = NULL;
        ctx->status = GW_JWT_MISSING;
        ctx->reason = NULL;
        ctx->found = 0;
        ctx->known = 0;
        ctx->awaits = 0;
    }

    if (!ctx->known && ngx_http_gateway_jwt_check(ctx) != NGX_OK) {
        return NULL;
    }

    return ctx;
}


ngx_int_t
ngx_http_gateway_jwt_valid(ngx_http_request_t *r)
{
    ngx_http_gateway_jwt_ctx_t  *ctx;

    ctx = ngx_http_gateway_jwt_look(r);

    if (ctx == NULL) {
        return NGX_DECLINED;
    }

    if (ctx->token) {
        return NGX_OK;
    }

    return ctx->known ? NGX_DECLINED : NGX_AGAIN;
}


/* Finds and verifies the token; known is left unset where keys may come. */

static ngx_int_t
ngx_http_gateway_jwt_check(ngx_http_gateway_jwt_ctx_t *ctx)
{
    gw_jwt_result_t                   result;
    ngx_http_gateway_jwt_token_t     *token;
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    jlcf = ctx->conf;

    if (!ctx->found) {
        ngx_str_null(&ctx->text);

        if (ngx_http_gateway_jwt_token_find(ctx->request, ctx, jlcf,
                                            &ctx->text)
            == NGX_ERROR)
        {
            return NGX_ERROR;
        }

        ctx->found = 1;
    }

    if (ctx->text.data == NULL) {
        ctx->status = GW_JWT_MISSING;
        ctx->reason = "no token";
        ctx->known = 1;
        return NGX_OK;
    }

    ctx->status = ngx_http_gateway_jwt_cache_verify(jlcf, &ctx->text,
                                                    &result, &token);
    ctx->reason = result.reason;
    ctx->unknown_kid = result.unknown_kid;

    if (ctx->status == GW_JWT_OK) {
        ctx->known = 1;
        ctx->status = ngx_http_gateway_jwt_revoked(jlcf, token, &ctx->reason);

        if (ctx->status != GW_JWT_OK) {
            ngx_http_gateway_jwt_token_release(token);
            return NGX_OK;
        }

        if (ngx_http_gateway_jwt_hold(ctx->request, token) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx->token = token;

        return NGX_OK;
    }

    ctx->known = 1;

    if (ctx->status == GW_JWT_SIGNATURE
        || ctx->status == GW_JWT_UNKNOWN_KEY
        || ctx->status == GW_JWT_ALGORITHM)
    {
        if (!ngx_http_gateway_jwt_refresh_ready(jlcf->keys)
            || (ctx->unknown_kid && !ctx->wait.asked))
        {
            ctx->known = 0;
        }
    }

    return NGX_OK;
}


/* Takes the reference over: the token lives as long as the request. */

static ngx_int_t
ngx_http_gateway_jwt_hold(ngx_http_request_t *r,
    ngx_http_gateway_jwt_token_t *token)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        ngx_http_gateway_jwt_token_release(token);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_gateway_jwt_hold_cleanup;
    cln->data = token;

    return NGX_OK;
}


static void
ngx_http_gateway_jwt_hold_cleanup(void *data)
{
    ngx_http_gateway_jwt_token_release(data);
}


ngx_int_t
ngx_http_gateway_jwt_access_handler(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_http_gateway_jwt_ctx_t       *ctx;
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_jwt_module);

    if (jlcf->keys == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_gateway_jwt_look(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->wait.queued) {
        return NGX_AGAIN;
    }

    if (ctx->status == GW_JWT_MISSING && jlcf->message && jlcf->messages
        && ngx_http_gateway_jwt_handshake(r))
    {
        ctx->awaits = 1;
        return NGX_OK;
    }

    rc = ngx_http_gateway_jwt_decide(ctx);

    if (rc == NGX_AGAIN) {
        return ngx_http_gateway_jwt_park(ctx);
    }

    ngx_http_gateway_jwt_done(ctx, rc);

    if (rc == NGX_HTTP_UNAUTHORIZED
        && ngx_http_gateway_jwt_challenge(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_gateway_jwt_refuse(r, rc);
}


/* A gRPC call is refused in its own terms, unless something else may still
 * let it in. */

static ngx_int_t
ngx_http_gateway_jwt_refuse(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (rc != NGX_HTTP_UNAUTHORIZED && rc != NGX_HTTP_FORBIDDEN) {
        return rc;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r != r->main || clcf->satisfy == NGX_HTTP_SATISFY_ANY
        || !ngx_http_gateway_grpc_call(r))
    {
        return rc;
    }

    return rc == NGX_HTTP_UNAUTHORIZED
           ? ngx_http_gateway_grpc_refuse(r,
                                        NGX_HTTP_GATEWAY_GRPC_UNAUTHENTICATED,
                                        "the token is missing or not valid")
           : ngx_http_gateway_grpc_refuse(r,
                                       NGX_HTTP_GATEWAY_GRPC_PERMISSION_DENIED,
                                       "the token does not allow this");
}


/* NGX_OK, NGX_AGAIN (wait is filled), or the status to refuse with. */

static ngx_int_t
ngx_http_gateway_jwt_decide(ngx_http_gateway_jwt_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (!ctx->known) {
        rc = ngx_http_gateway_jwt_pending(ctx);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ctx->token == NULL) {
        return NGX_HTTP_UNAUTHORIZED;
    }

    rc = ngx_http_gateway_jwt_claims(ctx);

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_jwt_requires(ctx);
    }

    if (rc == NGX_OK) {
        ctx->taken = ctx->token;
    }

    return rc;
}


/* No key verified the token, but keys may come. NGX_OK: none will. */

static ngx_int_t
ngx_http_gateway_jwt_pending(ngx_http_gateway_jwt_ctx_t *ctx)
{
    ngx_uint_t                    ready;
    ngx_http_gateway_jwt_keys_t  *keys;
    ngx_http_gateway_jwt_wait_t  *wait;

    wait = &ctx->wait;
    keys = ctx->conf->keys;

    if (!wait->started) {
        wait->started = 1;
        wait->deadline = ngx_current_msec + NGX_HTTP_GATEWAY_JWT_WAIT;
    }

    ready = ngx_http_gateway_jwt_refresh_ready(keys);

    if ((ngx_msec_int_t) (wait->deadline - ngx_current_msec) > 0) {

        if (!ready) {
            wait->kid = 0;
            return NGX_AGAIN;
        }

        if (!wait->asked) {
            wait->asked = 1;

            if (ngx_http_gateway_jwt_refresh_ask(keys)) {
                wait->kid = 1;
                return NGX_AGAIN;
            }
        }
    }

    ctx->known = 1;

    if (!ready) {
        ctx->reason = "no answer with keys yet";
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_claims(ngx_http_gateway_jwt_ctx_t *ctx)
{
    gw_str_t                       name, text;
    gw_json_t                      payload, v;
    ngx_str_t                      value;
    ngx_uint_t                     i, n;
    ngx_array_t                   *claims;
    ngx_http_complex_value_t      *cv;
    ngx_http_gateway_jwt_claim_t  *claim;

    claims = ctx->conf->claims;

    if (claims == NULL) {
        return NGX_OK;
    }

    if (gw_json_parse(gw_jwt_payload_text(ctx->token->jwt), &payload)
        != GW_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    claim = claims->elts;

    for (i = 0; i < claims->nelts; i++) {

        name.data = claim[i].name.data;
        name.len = claim[i].name.len;

        if (gw_json_member(&payload, name, &v) != GW_OK) {
            goto refused;
        }

        cv = claim[i].values.elts;

        for (n = 0; n < claim[i].values.nelts; n++) {

            if (ngx_http_complex_value(ctx->request, &cv[n], &value)
                != NGX_OK)
            {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            text.data = value.data;
            text.len = value.len;

            /* a variable without a value is no value to equal */

            if (value.len && gw_jwt_equal(&v, text)) {
                break;
            }
        }

        if (n == claim[i].values.nelts) {
            goto refused;
        }
    }

    return NGX_OK;

refused:

    ctx->status = GW_JWT_CLAIM;
    ctx->reason = "a claim is missing or has another value than required";

    return claim[i].error;
}


static ngx_int_t
ngx_http_gateway_jwt_requires(ngx_http_gateway_jwt_ctx_t *ctx)
{
    ngx_str_t                        value;
    ngx_uint_t                       i, n;
    ngx_array_t                     *requires;
    ngx_http_complex_value_t        *cv;
    ngx_http_gateway_jwt_require_t  *require;

    requires = ctx->conf->requires;

    if (requires == NULL) {
        return NGX_OK;
    }

    require = requires->elts;

    for (i = 0; i < requires->nelts; i++) {

        cv = require[i].values.elts;

        for (n = 0; n < require[i].values.nelts; n++) {

            if (ngx_http_complex_value(ctx->request, &cv[n], &value)
                != NGX_OK)
            {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            if (value.len == 0 || (value.len == 1 && value.data[0] == '0')) {
                ctx->status = GW_JWT_CLAIM;
                ctx->reason = "a required condition does not hold";

                return require[i].error;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_gateway_jwt_handshake(ngx_http_request_t *r)
{
    ngx_str_t  *value;

    if (r->method != NGX_HTTP_GET || r->headers_in.upgrade == NULL) {
        return 0;
    }

    value = &r->headers_in.upgrade->value;

    return ngx_strlcasestrn(value->data, value->data + value->len,
                            (u_char *) "websocket", 9 - 1)
           != NULL;
}


/* The request waits in the access phase; a client that leaves is noticed. */

static ngx_int_t
ngx_http_gateway_jwt_park(ngx_http_gateway_jwt_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (!ctx->cleanup) {

        /* the pool's cleanup is too late: a request may end before it */

        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        cln->handler = ngx_http_gateway_jwt_cancel;
        cln->data = &ctx->wait;
        ctx->cleanup = 1;
    }

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ctx->wait.handler = ngx_http_gateway_jwt_resume;
    ctx->wait.data = ctx;

    ngx_http_gateway_jwt_refresh_wait(ctx->conf->keys, &ctx->wait);

    return NGX_AGAIN;
}


static void
ngx_http_gateway_jwt_cancel(void *data)
{
    ngx_http_gateway_jwt_refresh_cancel(data);
}


static void
ngx_http_gateway_jwt_resume(void *data)
{
    ngx_http_gateway_jwt_ctx_t *ctx = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


/* Counts the decision, and logs it if it is a refusal. */

static void
ngx_http_gateway_jwt_done(ngx_http_gateway_jwt_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t                *r;
    ngx_http_gateway_jwt_main_conf_t  *jmcf;

    r = ctx->request;
    jmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_jwt_module);

    ngx_http_gateway_count(jmcf->tokens[ctx->status], 1);

    r->variables[jmcf->status_index].valid = 0;
    r->variables[jmcf->status_index].not_found = 0;

    if (rc == NGX_OK) {
        return;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "gateway_jwt \"%V\" refused a request: %s (%s)",
                  &ctx->conf->keys->name, gw_jwt_status_name(ctx->status),
                  ctx->reason ? ctx->reason : "");
}


/* RFC 6750 3: no error where no token was sent. */

static ngx_int_t
ngx_http_gateway_jwt_challenge(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx)
{
    u_char           *p;
    size_t            len;
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_http_gateway_header_single(h);
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->lowcase_key = (u_char *) "www-authenticate";

    if (ctx->status == GW_JWT_MISSING) {
        ngx_str_set(&h->value, "Bearer");

    } else {
        len = sizeof("Bearer error=\"invalid_token\", "
                     "error_description=\"\"") - 1
              + ngx_strlen(ctx->reason);

        p = ngx_pnalloc(r->pool, len);
        if (p == NULL) {
            h->hash = 0;
            return NGX_ERROR;
        }

        h->value.data = p;
        h->value.len = ngx_sprintf(p, "Bearer error=\"invalid_token\", "
                                   "error_description=\"%s\"", ctx->reason)
                       - p;
    }

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


ngx_uint_t
ngx_http_gateway_jwt_required(ngx_http_request_t *r)
{
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_get_module_loc_conf(r->main, ngx_http_gateway_jwt_module);

    return jlcf->keys != NULL;
}


ngx_http_gateway_identity_t *
ngx_http_gateway_jwt_identity(ngx_http_request_t *r)
{
    ngx_http_gateway_jwt_ctx_t  *ctx;

    if (!ngx_http_gateway_jwt_required(r)) {
        return NULL;
    }

    ctx = ngx_http_gateway_jwt_ctx(r);

    return (ctx && ctx->taken) ? &ctx->taken->identity : NULL;
}


ngx_uint_t
ngx_http_gateway_jwt_awaits_message(ngx_http_request_t *r)
{
    ngx_http_gateway_jwt_ctx_t  *ctx;

    if (!ngx_http_gateway_jwt_required(r)) {
        return 0;
    }

    ctx = ngx_http_gateway_jwt_ctx(r);

    return ctx && ctx->awaits && ctx->taken == NULL;
}


ngx_int_t
ngx_http_gateway_jwt_authenticate(ngx_http_request_t *r, ngx_str_t *token,
    ngx_http_gateway_jwt_handler_pt handler, void *data)
{
    ngx_int_t                         rc;
    ngx_http_gateway_jwt_ctx_t       *ctx;
    ngx_http_gateway_jwt_auth_t      *auth;
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    r = r->main;
    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_jwt_module);

    if (jlcf->keys == NULL) {
        return NGX_HTTP_UNAUTHORIZED;
    }

    ctx = ngx_http_gateway_jwt_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (ctx->auth == NULL) {
        ctx->auth = ngx_pcalloc(r->pool, sizeof(*ctx->auth));
        if (ctx->auth == NULL) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }
    }

    auth = ctx->auth;

    if (auth->ctx.wait.queued) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_memzero(auth, sizeof(*auth));

    auth->handler = handler;
    auth->data = data;
    auth->ctx.request = r;
    auth->ctx.conf = jlcf;
    auth->ctx.found = 1;
    auth->ctx.text = *token;

    if (token->len == 0) {

        /* an empty token is one that is malformed, not one that is missing */

        auth->ctx.text.data = (u_char *) "";
    }

    rc = ngx_http_gateway_jwt_candidate(auth);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    auth->text = ngx_alloc(token->len + 1, r->connection->log);
    if (auth->text == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_memcpy(auth->text, token->data, token->len);
    auth->ctx.text.data = auth->text;

    auth->ctx.wait.handler = ngx_http_gateway_jwt_candidate_resume;
    auth->ctx.wait.data = auth;

    ngx_http_gateway_jwt_refresh_wait(jlcf->keys, &auth->ctx.wait);

    return NGX_AGAIN;
}


/*
 * The decision about a candidate. While it is made, the candidate is what
 * variables see; it stays so only if it is taken.
 */

static ngx_int_t
ngx_http_gateway_jwt_candidate(ngx_http_gateway_jwt_auth_t *auth)
{
    ngx_int_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_gateway_jwt_ctx_t  *ctx;

    r = auth->ctx.request;
    ctx = ngx_http_gateway_jwt_ctx(r);

    if (ngx_http_gateway_jwt_check(&auth->ctx) != NGX_OK) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_http_set_ctx(r, &auth->ctx, ngx_http_gateway_jwt_module);

    rc = ngx_http_gateway_jwt_decide(&auth->ctx);

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_jwt_module);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ngx_http_gateway_jwt_done(&auth->ctx, rc);

    if (rc == NGX_OK || ctx->taken == NULL) {
        ctx->conf = auth->ctx.conf;
        ctx->status = auth->ctx.status;
        ctx->reason = auth->ctx.reason;
        ctx->token = auth->ctx.token;
        ctx->found = 1;
        ctx->known = 1;
        ngx_str_null(&ctx->text);
    }

    if (rc == NGX_OK) {
        ctx->taken = auth->ctx.taken;
        ctx->awaits = 0;
        return NGX_OK;
    }

    return (rc == NGX_HTTP_UNAUTHORIZED || rc == NGX_HTTP_FORBIDDEN)
           ? rc : NGX_HTTP_SERVICE_UNAVAILABLE;
}


static void
ngx_http_gateway_jwt_candidate_resume(void *data)
{
    ngx_http_gateway_jwt_auth_t *auth = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = auth->ctx.request;

    rc = ngx_http_gateway_jwt_candidate(auth);

    if (rc == NGX_AGAIN) {
        ngx_http_gateway_jwt_refresh_wait(auth->ctx.conf->keys,
                                          &auth->ctx.wait);
        return;
    }

    ngx_free(auth->text);
    auth->text = NULL;

    auth->handler(r, rc, auth->data);
}
