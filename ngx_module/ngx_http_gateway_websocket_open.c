/*
 * The beginning of a WebSocket: made for a request, it joins its channels and
 * takes the connection over.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>

#include "ngx_http_gateway_request.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_subscriber.h"


#define NGX_HTTP_GATEWAY_UPGRADE_RETRY  20  /* ms */


static void ngx_http_gateway_websocket_log(ngx_http_request_t *r);
static void ngx_http_gateway_websocket_cleanup(void *data);
static void ngx_http_gateway_websocket_take_over(ngx_event_t *ev);


static ngx_queue_t  ngx_http_gateway_websockets;


ngx_http_gateway_websocket_t *
ngx_http_gateway_websocket_create(ngx_http_request_t *r,
    ngx_http_gateway_subscriber_loc_conf_t *conf, ngx_uint_t json)
{
    u_char                         id[NGX_HTTP_GATEWAY_ID_LEN / 2];
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_websocket_t  *ws;

    if (RAND_bytes(id, sizeof(id)) != 1) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    ws = ngx_calloc(sizeof(*ws), r->connection->log);
    if (ws == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_gateway_websocket_cleanup;
    cln->data = ws;

    ngx_http_gateway_client_init(&ws->client, r->connection);
    ws->client.raw = !json;
    ws->client.send_buffer = conf->send_buffer;
    ws->client.on_lost = ngx_http_gateway_websocket_lost;
    ngx_memcpy(&ws->client.origin, id, sizeof(uint64_t));
    ngx_memcpy(ws->id, id, sizeof(id));

    gw_ws_decoder_init(&ws->decoder,
                       ngx_min(conf->max_message, conf->zone->max_message),
                       true);

    ws->json = json;
    ws->conf = conf;
    ws->request = r;
    ws->srv_conf = r->srv_conf;
    ws->loc_conf = r->loc_conf;
    ws->opened = ngx_time();
    ws->heard = ngx_current_msec;
    ws->close_code = NGX_HTTP_GATEWAY_CLOSE_ABNORMAL;

    return ws;
}


/* Frees all but the connection. */

void
ngx_http_gateway_websocket_free(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_waits_free(ws);
    ngx_http_gateway_client_close(&ws->client);
    ngx_http_gateway_allow_free(&ws->allow);
    ngx_http_gateway_recovery_free(ws);

    if (ws->renewal) {
        ngx_http_gateway_request_destroy(ws->renewal);
    }

    if (ws->watch) {
        ngx_http_gateway_jwt_unwatch(ws->watch);
    }

    if (ws->limits) {
        ngx_free(ws->limits);
    }

    if (ws->message) {
        ngx_free(ws->message);
    }

    if (ws->user.data) {
        ngx_free(ws->user.data);
    }

    if (ws->request_id.data) {
        ngx_free(ws->request_id.data);
    }

    ngx_free(ws);
}


/* The request is going. Before the connection has been taken over that is
 * the end; afterwards it is what was wanted. */

static void
ngx_http_gateway_websocket_cleanup(void *data)
{
    ngx_http_gateway_websocket_t *ws = data;

    if (ws->request == NULL) {
        return;
    }

    ws->request = NULL;

    if (ws->state == NGX_HTTP_GATEWAY_WS_HANDSHAKE) {

        if (ws->upgrade && ws->upgrade->posted) {
            ngx_delete_posted_event(ws->upgrade);
        }

        if (ws->upgrade && ws->upgrade->timer_set) {
            ngx_del_timer(ws->upgrade);
        }

        ngx_http_gateway_websocket_free(ws);
    }
}


static ngx_int_t
ngx_http_gateway_websocket_join_one(ngx_http_gateway_websocket_t *ws,
    ngx_array_t *joined, ngx_str_t *name)
{
    ngx_http_gateway_join_t     join;
    ngx_http_gateway_joined_t  *j;

    j = ngx_array_push(joined);
    if (j == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&join, sizeof(join));
    j->name = *name;

    if (ngx_http_gateway_client_join(&ws->client, ws->conf->zone, name, &join,
                                     &j->info, &j->recovered)
        != NGX_OK)
    {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_websocket_join(ngx_http_gateway_websocket_t *ws,
    ngx_array_t *names)
{
    ngx_int_t    rc;
    ngx_str_t   *name;
    ngx_uint_t   i;
    ngx_array_t  joined;

    if (ngx_array_init(&joined, ws->request->pool, 2,
                       sizeof(ngx_http_gateway_joined_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        if (ngx_http_gateway_client_joined(&ws->client, &name[i])) {
            continue;
        }

        rc = ngx_http_gateway_websocket_join_one(ws, &joined, &name[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ws->channel.len) {
        ws->channel = *ngx_http_gateway_client_channel(&ws->client,
                                                       &ws->channel);
    }

    if (ws->json) {
        /* before what the channels have: that waits for the queue */
        ngx_http_gateway_v1_established(ws);
    }

    if (ws->json && joined.nelts) {
        ngx_http_gateway_v1_subscribed(ws, joined.elts, joined.nelts, NULL);
    }

    return NGX_OK;
}


/* Channels that the client names itself, by ?channel= once or more. */

static ngx_int_t
ngx_http_gateway_websocket_args(ngx_http_gateway_websocket_t *ws,
    ngx_http_request_t *r, ngx_array_t *names)
{
    u_char     *p, *end, *last, *dst, *src;
    ngx_str_t   name, *channel;

    end = r->args.data + r->args.len;

    for (p = r->args.data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, '&');
        last = last ? last : end;

        if (last - p < 8 || ngx_strncmp(p, "channel=", 8) != 0) {
            continue;
        }

        src = p + 8;
        dst = ngx_pnalloc(r->pool, last - src + 1);
        if (dst == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        name.data = dst;
        ngx_unescape_uri(&dst, &src, last - src, 0);
        name.len = dst - name.data;

        if (!gw_channel_name_valid(ngx_http_gateway_span(&name))) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "gateway_subscriber: the \"channel\" argument is "
                          "not a channel's name");
            return NGX_HTTP_BAD_REQUEST;
        }

        if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_SUBSCRIBE,
                                      &name))
        {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "gateway_subscriber: channel \"%V\" is not allowed",
                          &name);
            return NGX_HTTP_FORBIDDEN;
        }

        channel = ngx_array_push(names);
        if (channel == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *channel = name;
    }

    return NGX_OK;
}


/* All is checked before any is joined. */

ngx_int_t
ngx_http_gateway_websocket_open(ngx_http_gateway_websocket_t *ws,
    ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ngx_str_t    *name;
    ngx_array_t  *names;

    names = ngx_array_create(r->pool, 2, sizeof(ngx_str_t));

    if (names == NULL
        || ngx_http_gateway_websocket_identify(ws, r) != NGX_OK
        || ngx_http_gateway_allow_init(r, &ws->allow) != NGX_OK
        || ngx_http_gateway_limit_messages_init(r, &ws->limits) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_channel_name(r, &ws->channel);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "gateway_subscriber: gateway_channel is not a "
                      "channel's name");
        return rc == NGX_DECLINED ? NGX_HTTP_BAD_REQUEST
                                  : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_gateway_revoke_channel(&ws->channel)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "gateway_subscriber: nobody can join \"%V\"",
                      &ws->channel);
        return NGX_HTTP_FORBIDDEN;
    }

    if (ws->channel.len) {
        name = ngx_array_push(names);
        if (name == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *name = ws->channel;
    }

    rc = ngx_http_gateway_websocket_args(ws, r, names);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_gateway_waits_open(ws, names);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    return rc == NGX_OK ? ngx_http_gateway_websocket_join(ws, names)
                        : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/*
 * nginx is still using the request further up the stack: the connection is
 * taken over when that has been left.
 */

void
ngx_http_gateway_websocket_upgrade(ngx_http_gateway_websocket_t *ws)
{
    ngx_event_t         *ev;
    ngx_http_request_t  *r;

    r = ws->request;

    ev = ngx_pcalloc(r->pool, sizeof(*ev));
    if (ev == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ev->handler = ngx_http_gateway_websocket_take_over;
    ev->data = ws;
    ev->log = r->connection->log;

    ws->upgrade = ev;

    ngx_post_event(ev, &ngx_posted_events);
}


/* The request's memory is given back, as for an idle keep-alive connection.
 */

static void
ngx_http_gateway_websocket_release(ngx_http_gateway_websocket_t *ws)
{
    ngx_buf_t              *b;
    ngx_chain_t            *cl;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_connection_t  *hc;

    r = ws->request;
    c = ws->client.connection;
    hc = r->http_connection;

    ws->request = NULL;

    ngx_http_free_request(r, 0);
    c->destroyed = 0;
    c->data = ws;

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }

#endif

    b = c->buffer;

    if (b && b->start) {
        /* nobody looks at it again: the connection ends with this use */
        if (ngx_pfree(c->pool, b->start) == NGX_OK) {
            b->start = NULL;
            b->pos = NULL;
        }
    }

    for (cl = hc->free; cl; cl = cl->next) {
        ngx_pfree(c->pool, cl->buf->start);
    }

    for (cl = hc->busy; cl; cl = cl->next) {
        ngx_pfree(c->pool, cl->buf->start);
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

    c->log->action = "serving a WebSocket";
}


/* The access log's line is written when the WebSocket opens, also where its
 * request is kept for the token that is still to come. */

static void
ngx_http_gateway_websocket_log(ngx_http_request_t *r)
{
    ngx_uint_t                  i;
    ngx_http_handler_pt        *handler;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    handler = cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.elts;

    for (i = 0; i < cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.nelts; i++) {
        (void) handler[i](r);
    }

    r->logged = 1;
}


/*
 * The worker is ending, and its clients with it: those that take a Close at
 * once get one. Done while the worker's part of the channels is still there.
 */

void
ngx_http_gateway_websocket_exit(void)
{
    ngx_queue_t                   *q;
    ngx_http_gateway_websocket_t  *ws;

    if (ngx_http_gateway_websockets.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_gateway_websockets)) {
        q = ngx_queue_head(&ngx_http_gateway_websockets);
        ws = ngx_queue_data(q, ngx_http_gateway_websocket_t, in_worker);

        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_GOING_AWAY,
                                         "the server is going away");
        ngx_http_gateway_client_flush(&ws->client);
        ngx_http_gateway_websocket_finish(ws);
    }
}


/* The connection is this module's from now on. */

static void
ngx_http_gateway_websocket_adopt(ngx_http_gateway_websocket_t *ws)
{
    ngx_connection_t  *c;

    c = ws->client.connection;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        /* the rest of a frame is copied where its channel is left */
        SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

#endif

    c->read->handler = ngx_http_gateway_websocket_read_handler;
    c->write->handler = ngx_http_gateway_websocket_write_handler;

    if (ngx_http_gateway_websockets.next == NULL) {
        ngx_queue_init(&ngx_http_gateway_websockets);
    }

    ngx_queue_insert_tail(&ngx_http_gateway_websockets, &ws->in_worker);

    ngx_http_gateway_subscriber_opened(ws->conf);

    if (ngx_http_gateway_jwt_awaits_message(ws->request)) {
        ws->state = NGX_HTTP_GATEWAY_WS_AUTH;
        c->data = ws;

        ngx_http_gateway_websocket_log(ws->request);

        if (ws->json) {
            ngx_http_gateway_v1_challenge(ws);
        }

    } else {
        ws->state = NGX_HTTP_GATEWAY_WS_OPEN;
        ngx_http_gateway_websocket_release(ws);
    }

    ngx_http_gateway_websocket_schedule(ws);

    ws->client.held = 0;
}


static void
ngx_http_gateway_websocket_take_over(ngx_event_t *ev)
{
    size_t                         n;
    u_char                        *early;
    ngx_buf_t                     *b;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_gateway_websocket_t  *ws;

    ws = ev->data;
    r = ws->request;
    c = ws->client.connection;

    if (r->main->count > 1 || r->blocked) {
        /* a background subrequest, such as a mirror's, needs it still; its
         * end is told to nobody */
        ngx_add_timer(ev, NGX_HTTP_GATEWAY_UPGRADE_RETRY);
        return;
    }

    ws->upgrade = NULL;

    /* frames may have come with the handshake already */

    b = r->header_in;
    n = b->last - b->pos;
    early = n ? ngx_alloc(n, c->log) : NULL;

    if (ws->failed || (n && early == NULL)) {

        if (early) {
            ngx_free(early);
        }

        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    if (n) {
        ngx_memcpy(early, b->pos, n);
    }

    ngx_http_gateway_websocket_adopt(ws);

    if (ws->revoked) {
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_UNAUTHORIZED,
                                         "the token has been revoked");
    }

    if (n) {
        ws->bytes_in += n;
        ngx_http_gateway_websocket_input(ws, early, n);
        ngx_free(early);
    }

    if (ngx_http_gateway_websocket_after(ws) == NGX_OK) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* The token has been taken: what was put off until now. */

void
ngx_http_gateway_websocket_authenticated(ngx_http_gateway_websocket_t *ws)
{
    ngx_int_t  rc;

    if (ngx_http_gateway_limit_opened(ws->request) != NGX_OK) {
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_RATE_LIMITED,
                                         "too many connections");
        return;
    }

    rc = ngx_http_gateway_websocket_open(ws, ws->request);

    if (rc != NGX_AGAIN) {
        ngx_http_gateway_websocket_admit(ws, rc);
    }
}


void
ngx_http_gateway_websocket_admit(ngx_http_gateway_websocket_t *ws,
    ngx_int_t rc)
{
    if (rc != NGX_OK) {
        ngx_http_gateway_websocket_close(ws,
                  (rc == NGX_HTTP_FORBIDDEN || rc == NGX_HTTP_BAD_REQUEST)
                  ? NGX_HTTP_GATEWAY_CLOSE_FORBIDDEN
                  : NGX_HTTP_GATEWAY_CLOSE_TRY_LATER,
                  "the channels cannot be joined");
        return;
    }

    ws->state = NGX_HTTP_GATEWAY_WS_OPEN;
    ngx_http_gateway_websocket_release(ws);
    ngx_http_gateway_websocket_schedule(ws);
}
