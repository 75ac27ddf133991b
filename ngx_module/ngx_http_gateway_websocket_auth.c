/*
 * Tokens of an open WebSocket: the first one, where it comes as a message,
 * and renewals.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_websocket.h"
#include "ngx_http_gateway_request.h"


static void ngx_http_gateway_websocket_verified(ngx_http_request_t *r,
    ngx_int_t rc, void *data);
static void ngx_http_gateway_websocket_first(ngx_http_gateway_websocket_t *ws,
    ngx_int_t rc);
static void ngx_http_gateway_websocket_renewed(
    ngx_http_gateway_websocket_t *ws, ngx_int_t rc);


/* Keeps who the token says it is. */

ngx_int_t
ngx_http_gateway_websocket_identify(ngx_http_gateway_websocket_t *ws,
    ngx_http_request_t *r)
{
    ngx_http_gateway_identity_t  *identity;

    identity = ngx_http_gateway_jwt_identity(r);

    if (identity == NULL) {
        return NGX_OK;
    }

    ws->expires = identity->expires;
    ws->ends = identity->ends;

    if (ngx_http_gateway_jwt_watch(r, &ws->watch,
                                   ngx_http_gateway_websocket_revoked, ws)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (identity->subject.data == NULL || ws->user.data) {
        return NGX_OK;
    }

    ws->user.data = ngx_alloc(identity->subject.len + 1,
                              ws->client.connection->log);
    if (ws->user.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ws->user.data, identity->subject.data, identity->subject.len);
    ws->user.len = identity->subject.len;

    return NGX_OK;
}


/* The token that it was opened with, or the last that renewed it. */

void
ngx_http_gateway_websocket_revoked(void *data)
{
    ngx_http_gateway_websocket_t *ws = data;

    if (ws->state == NGX_HTTP_GATEWAY_WS_HANDSHAKE) {
        /* the 101 goes first */
        ws->revoked = 1;
        return;
    }

    ngx_http_gateway_websocket_close(ws, NGX_HTTP_GATEWAY_CLOSE_UNAUTHORIZED,
                                     "the token has been revoked");

    (void) ngx_http_gateway_websocket_after(ws);
}


static ngx_int_t
ngx_http_gateway_websocket_keep_id(ngx_http_gateway_websocket_t *ws,
    gw_str_t *request_id)
{
    if (ws->request_id.data) {
        ngx_free(ws->request_id.data);
        ngx_str_null(&ws->request_id);
    }

    if (request_id == NULL || request_id->len == 0) {
        return NGX_OK;
    }

    ws->request_id.data = ngx_alloc(request_id->len,
                                    ws->client.connection->log);
    if (ws->request_id.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ws->request_id.data, request_id->data, request_id->len);
    ws->request_id.len = request_id->len;

    return NGX_OK;
}


/*
 * A renewal is checked in a request without a client, in the location that
 * the connection was opened at: its own request is long gone.
 */

void
ngx_http_gateway_websocket_token(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *token, gw_str_t *request_id)
{
    ngx_int_t             rc;
    ngx_http_request_t   *r;
    ngx_http_conf_ctx_t  *ctx;

    if (ws->verifying) {
        if (!ws->json) {
            return;
        }

        ngx_http_gateway_v1_error(ws, "unauthorized",
                                  "another token is being checked", NULL,
                                  request_id);
        return;
    }

    r = ws->request;

    if (r == NULL) {
        ctx = (ngx_http_conf_ctx_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                   ngx_http_module);
        r = ngx_http_gateway_request_create(ctx->main_conf, ws->srv_conf,
                                            ws->loc_conf);
        ws->renewal = r;
    }

    if (r == NULL
        || ngx_http_gateway_websocket_keep_id(ws, request_id) != NGX_OK)
    {
        if (ws->renewal) {
            ngx_http_gateway_request_destroy(ws->renewal);
            ws->renewal = NULL;
        }

        ngx_http_gateway_v1_error(ws, "unavailable", "no memory", NULL,
                                  request_id);
        return;
    }

    if (!ngx_http_gateway_jwt_required(r)) {
        /* nobody asks for tokens here */
        rc = NGX_HTTP_UNAUTHORIZED;

    } else {
        ws->verifying = 1;
        rc = ngx_http_gateway_jwt_authenticate(r, token,
                                         ngx_http_gateway_websocket_verified,
                                               ws);
    }

    if (rc != NGX_AGAIN) {
        ws->verifying = 0;

        if (ws->request) {
            ngx_http_gateway_websocket_first(ws, rc);

        } else {
            ngx_http_gateway_websocket_renewed(ws, rc);
        }
    }
}


static void
ngx_http_gateway_websocket_verified(ngx_http_request_t *r, ngx_int_t rc,
    void *data)
{
    ngx_http_gateway_websocket_t *ws = data;

    ws->verifying = 0;

    if (ws->request) {
        ngx_http_gateway_websocket_first(ws, rc);

    } else {
        ngx_http_gateway_websocket_renewed(ws, rc);
    }

    (void) ngx_http_gateway_websocket_after(ws);
}


static void
ngx_http_gateway_websocket_first(ngx_http_gateway_websocket_t *ws,
    ngx_int_t rc)
{
    gw_str_t  id;

    if (ws->state != NGX_HTTP_GATEWAY_WS_AUTH) {
        return;
    }

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_HTTP_UNAUTHORIZED:
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_UNAUTHORIZED,
                                         "the token was refused");
        return;

    case NGX_HTTP_FORBIDDEN:
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_FORBIDDEN,
                                         "the token is not enough");
        return;

    default:
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_TRY_LATER,
                                         "the token cannot be checked now");
        return;
    }

    if (ws->json) {

        if (ngx_http_gateway_websocket_identify(ws, ws->request) != NGX_OK) {
            ngx_http_gateway_client_lose(&ws->client,
                                         NGX_HTTP_GATEWAY_LOST_MEMORY);
            return;
        }

        id = ngx_http_gateway_span(&ws->request_id);
        ngx_http_gateway_v1_auth_ok(ws, &id);
    }

    ngx_http_gateway_websocket_authenticated(ws);
}


static ngx_uint_t
ngx_http_gateway_websocket_same_user(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_identity_t *identity)
{
    return (ws->user.data == NULL) == (identity->subject.data == NULL)
           && ws->user.len == identity->subject.len
           && (ws->user.data == NULL
               || ngx_memcmp(ws->user.data, identity->subject.data,
                             ws->user.len) == 0);
}


static void
ngx_http_gateway_websocket_renewed(ngx_http_gateway_websocket_t *ws,
    ngx_int_t rc)
{
    char                         *why;
    gw_str_t                      id;
    ngx_http_request_t           *r;
    ngx_http_gateway_identity_t  *identity;

    r = ws->renewal;
    ws->renewal = NULL;

    why = NULL;
    id = ngx_http_gateway_span(&ws->request_id);

    if (rc != NGX_OK) {
        why = "the token was refused";

    } else {
        identity = ngx_http_gateway_jwt_identity(r);

        if (!ngx_http_gateway_websocket_same_user(ws, identity)) {
            why = "the token is somebody else's";

        } else if (ngx_http_gateway_allow_renew(r, &ws->allow) != NGX_OK
                   || ngx_http_gateway_jwt_watch(r, &ws->watch,
                                     ngx_http_gateway_websocket_revoked, ws)
                      != NGX_OK)
        {
            why = "no memory";

        } else {
            ws->expires = identity->expires;
            ws->ends = identity->ends;
        }
    }

    ngx_http_gateway_request_destroy(r);

    if (ws->state != NGX_HTTP_GATEWAY_WS_OPEN) {
        return;
    }

    if (why) {
        ngx_http_gateway_v1_error(ws, "unauthorized", why, NULL, &id);
        return;
    }

    ngx_http_gateway_v1_auth_ok(ws, &id);
    ngx_http_gateway_websocket_schedule(ws);
}
