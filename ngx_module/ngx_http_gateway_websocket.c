/*
 * One open WebSocket: reading, pings, closing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_websocket.h"
#include "ngx_http_gateway_subscriber.h"


#define NGX_HTTP_GATEWAY_READ_SIZE      65536  /* one read, of all clients */
#define NGX_HTTP_GATEWAY_READS          8      /* in a row, then others */
#define NGX_HTTP_GATEWAY_LINGER         5000   /* for the peer's Close */
#define NGX_HTTP_GATEWAY_SEND_LINGER    60000  /* for ours to go out */
#define NGX_HTTP_GATEWAY_IDLE_TICK      60000  /* without pings */
#define NGX_HTTP_GATEWAY_MAX_REFUSED    1000   /* raw messages in a row */


static void ngx_http_gateway_websocket_tick(ngx_http_gateway_websocket_t *ws);
static void ngx_http_gateway_websocket_ended(ngx_http_gateway_websocket_t *ws,
    ssize_t n);


static u_char  ngx_http_gateway_read_buffer[NGX_HTTP_GATEWAY_READ_SIZE];


static void
ngx_http_gateway_websocket_timer(ngx_http_gateway_websocket_t *ws,
    ngx_msec_t msec)
{
    ngx_event_t  *rev;

    rev = ws->client.connection->read;

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    ngx_add_timer(rev, msec);
}


void
ngx_http_gateway_websocket_schedule(ngx_http_gateway_websocket_t *ws)
{
    time_t      left;
    ngx_msec_t  msec;

    switch (ws->state) {

    case NGX_HTTP_GATEWAY_WS_AUTH:
        ngx_http_gateway_websocket_timer(ws, NGX_HTTP_GATEWAY_AUTH_TIMEOUT);
        return;

    case NGX_HTTP_GATEWAY_WS_CLOSING:
        ngx_http_gateway_websocket_timer(ws,
                                 ngx_http_gateway_client_idle(&ws->client)
                                 ? NGX_HTTP_GATEWAY_LINGER
                                 : NGX_HTTP_GATEWAY_SEND_LINGER);
        return;

    default:
        break;
    }

    msec = NGX_HTTP_GATEWAY_IDLE_TICK;

    if (ws->conf->ping) {
        if (ws->ping_at == 0) {
            ws->ping_at = ngx_current_msec + ws->conf->ping;
        }

        msec = ws->ping_at - ngx_current_msec;

        if ((ngx_msec_int_t) (ws->heard + ws->conf->ping_timeout
                              - ws->ping_at) < 0)
        {
            msec = ws->heard + ws->conf->ping_timeout - ngx_current_msec;
        }

        if ((ngx_msec_int_t) msec < 1) {
            msec = 1;
        }
    }

    if (ws->ends) {
        left = ws->ends - ngx_time();
        left = ngx_max(left, 0);

        if (left <= (time_t) (msec / 1000)) {
            /* to the second's border, as ngx_time() sees it */
            msec = left ? left * 1000 : 1;
        }
    }

    ngx_http_gateway_websocket_timer(ws, msec);
}


static void
ngx_http_gateway_websocket_tick(ngx_http_gateway_websocket_t *ws)
{
    ngx_str_t  empty;

    switch (ws->state) {

    case NGX_HTTP_GATEWAY_WS_AUTH:

        if (ws->waits) {
            /* a token has come: it is the channels that take their time */
            break;
        }

        ngx_http_gateway_websocket_close(ws, NGX_HTTP_GATEWAY_CLOSE_TIMEOUT,
                                         "no token came in time");
        return;

    case NGX_HTTP_GATEWAY_WS_CLOSING:
        /* the peer had its time */
        ws->deaf = 1;
        ws->peer_closed = 1;
        ngx_http_gateway_client_lose(&ws->client, NGX_HTTP_GATEWAY_LOST_PEER);
        return;

    default:
        break;
    }

    if (ws->ends && ngx_time() >= ws->ends) {
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_UNAUTHORIZED,
                                         "the token has expired");
        return;
    }

    if (ngx_http_gateway_websocket_paused(ws)) {
        /* nobody listens to it */
        ws->heard = ngx_current_msec;
    }

    if (ws->conf->ping) {

        if (ngx_current_msec - ws->heard >= ws->conf->ping_timeout) {
            ngx_http_gateway_websocket_close(ws,
                                             NGX_HTTP_GATEWAY_CLOSE_TIMEOUT,
                                             "no pong came in time");
            return;
        }

        if ((ngx_msec_int_t) (ws->ping_at - ngx_current_msec) <= 0) {
            ngx_str_set(&empty, "");
            ngx_http_gateway_client_queue(&ws->client, GW_WS_PING, &empty);
            ws->ping_at = ngx_current_msec + ws->conf->ping;
        }
    }

    ngx_http_gateway_websocket_schedule(ws);
}


void
ngx_http_gateway_websocket_read_handler(ngx_event_t *rev)
{
    ssize_t                        n;
    ngx_uint_t                     i;
    ngx_connection_t              *c;
    ngx_http_gateway_websocket_t  *ws;

    c = rev->data;
    ws = c->data;

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_http_gateway_websocket_tick(ws);

        (void) ngx_http_gateway_websocket_after(ws);
        return;
    }

    if (c->close && ws->state != NGX_HTTP_GATEWAY_WS_CLOSING) {
        /* worker_shutdown_timeout is over */
        ngx_http_gateway_websocket_close(ws,
                                         NGX_HTTP_GATEWAY_CLOSE_GOING_AWAY,
                                         "the server is going away");
    }

    for (i = 0; i < NGX_HTTP_GATEWAY_READS; i++) {

        if (ngx_http_gateway_websocket_paused(ws)) {
            break;
        }

        n = c->recv(c, ngx_http_gateway_read_buffer,
                    NGX_HTTP_GATEWAY_READ_SIZE);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_gateway_websocket_ended(ws, n);
            return;
        }

        ws->heard = ngx_current_msec;
        ws->bytes_in += n;

        if (!ws->deaf) {
            ngx_http_gateway_websocket_input(ws, ngx_http_gateway_read_buffer,
                                             n);
        }

        if (!rev->ready) {
            break;
        }
    }

    if (i == NGX_HTTP_GATEWAY_READS) {
        ngx_post_event(rev, &ngx_posted_next_events);

    } else if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_gateway_websocket_finish(ws);
        return;
    }

    (void) ngx_http_gateway_websocket_after(ws);
}


/*
 * The peer is gone, with Close or without. What it asked for before may still
 * reach one that has only ended its sending.
 */

static void
ngx_http_gateway_websocket_ended(ngx_http_gateway_websocket_t *ws, ssize_t n)
{
    ngx_event_t  *rev;

    rev = ws->client.connection->read;

    if (n == 0 && ngx_http_gateway_waits_end(ws)) {

        if (ngx_handle_read_event(rev, NGX_CLOSE_EVENT) != NGX_OK) {
            ngx_http_gateway_websocket_finish(ws);
            return;
        }

        (void) ngx_http_gateway_websocket_after(ws);
        return;
    }

    ws->deaf = 1;
    ws->peer_closed = 1;

    if (n < 0 || ws->client.lost) {
        ngx_http_gateway_websocket_finish(ws);
        return;
    }

    if (ws->state != NGX_HTTP_GATEWAY_WS_CLOSING) {
        ngx_http_gateway_client_flush(&ws->client);

        if (ws->recovery) {
            ngx_http_gateway_recovery_continue(ws);
        }

        ws->state = NGX_HTTP_GATEWAY_WS_CLOSING;
        ngx_http_gateway_client_leave_all(&ws->client);
        ngx_http_gateway_recovery_free(ws);
        ngx_http_gateway_waits_drop(ws);
    }

    if (ws->client.lost
        || ngx_handle_read_event(rev, NGX_CLOSE_EVENT) != NGX_OK)
    {
        ngx_http_gateway_websocket_finish(ws);
        return;
    }

    if (ngx_http_gateway_websocket_after(ws) == NGX_OK) {
        ngx_http_gateway_websocket_schedule(ws);
    }
}


void
ngx_http_gateway_websocket_write_handler(ngx_event_t *wev)
{
    ngx_connection_t              *c;
    ngx_http_gateway_websocket_t  *ws;

    c = wev->data;
    ws = c->data;

    if (!ws->client.blocked) {
        return;
    }

    (void) ngx_http_gateway_websocket_after(ws);
}


static void
ngx_http_gateway_websocket_end_sending(ngx_connection_t *c)
{
#if (NGX_HTTP_SSL)

    if (c->ssl) {
        (void) SSL_shutdown(c->ssl->connection);
        ERR_clear_error();
    }

#endif

    (void) ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN);
}


/* Sends what has been queued, and ends a connection that has nothing more to
 * say. NGX_DONE: it has ended, and is gone. */

ngx_int_t
ngx_http_gateway_websocket_after(ngx_http_gateway_websocket_t *ws)
{
    ngx_connection_t  *c;

    ngx_http_gateway_client_flush(&ws->client);

    if (ws->recovery) {
        ngx_http_gateway_recovery_continue(ws);
    }

    if (ws->state != NGX_HTTP_GATEWAY_WS_CLOSING
        || !ngx_http_gateway_client_idle(&ws->client))
    {
        return NGX_OK;
    }

    if (ws->peer_closed) {
        ngx_http_gateway_websocket_finish(ws);
        return NGX_DONE;
    }

    if (ws->shut) {
        return NGX_OK;
    }

    ws->shut = 1;
    ngx_http_gateway_websocket_schedule(ws);

    c = ws->client.connection;

    if (ws->deaf) {
        /* a peer that broke the protocol may never send a Close, or nobody
         * listens to it any more */
        ngx_http_gateway_websocket_end_sending(c);
    }

    return NGX_OK;
}


/* A raw client is told nothing of a message that was dropped, but must not go
 * on like that for ever. */

static void
ngx_http_gateway_websocket_refused(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code, char *reason)
{
    if (++ws->refused >= NGX_HTTP_GATEWAY_MAX_REFUSED) {
        ngx_http_gateway_websocket_close(ws, code, reason);
    }
}


static void
ngx_http_gateway_websocket_limited(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *message, ngx_http_gateway_limit_told_t *told)
{
    ngx_http_gateway_count(ws->conf->zone->dropped_limited, 1);

    if (ws->json) {
        ngx_http_gateway_v1_rate_limit(ws, message, told);
        return;
    }

    ngx_http_gateway_websocket_refused(ws,
                                       NGX_HTTP_GATEWAY_CLOSE_RATE_LIMITED,
                                       "its messages are over the limit");
}


static void
ngx_http_gateway_websocket_raw(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *body)
{
    ngx_int_t                         rc;
    ngx_pool_t                       *pool;
    gw_message_t                      m;
    ngx_http_gateway_channel_info_t   info;

    if (ws->state == NGX_HTTP_GATEWAY_WS_AUTH) {
        ngx_http_gateway_websocket_token(ws, body, NULL);
        return;
    }

    if (ws->channel.len == 0
        || !ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_PUBLISH,
                                     &ws->channel))
    {
        ngx_http_gateway_count(ws->conf->zone->dropped_forbidden, 1);
        ngx_http_gateway_websocket_refused(ws,
                                           NGX_HTTP_GATEWAY_CLOSE_FORBIDDEN,
                                           "publishing is not allowed");
        return;
    }

    ws->refused = 0;

    pool = ngx_create_pool(1024, ws->client.connection->log);
    if (pool == NULL) {
        return;
    }

    rc = ngx_http_gateway_message_init(&m, pool, body,
                                       opcode == GW_WS_BINARY
                                       ? NGX_HTTP_GATEWAY_BODY_BINARY
                                       : NGX_HTTP_GATEWAY_BODY_ANY);

    if (rc == NGX_OK) {
        (void) ngx_http_gateway_websocket_publish(ws, &ws->channel, &m, -1,
                                                  &info, NULL);
    }

    ngx_destroy_pool(pool);
}


static void
ngx_http_gateway_websocket_message(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, u_char *data, size_t len)
{
    ngx_str_t                      message;
    ngx_http_gateway_limit_told_t  told;

    ws->messages_in++;

    message.data = data;
    message.len = len;

    if (ws->limits
        && ngx_http_gateway_limit_message(ws->limits,
                                          ws->client.connection->log, &told)
           != NGX_OK)
    {
        ngx_http_gateway_websocket_limited(ws, &message, &told);
        return;
    }

    if (ws->json) {
        ngx_http_gateway_waits_message(ws, opcode, &message);

    } else {
        ngx_http_gateway_websocket_raw(ws, opcode, &message);
    }
}


/* A message in several parts is gathered, up to the limit that the decoder
 * has checked already. */

static ngx_int_t
ngx_http_gateway_websocket_gather(ngx_http_gateway_websocket_t *ws,
    gw_ws_event_t *ev)
{
    size_t                     len, size;
    ngx_http_gateway_parts_t  *parts;

    parts = ws->message;
    len = parts ? parts->len : 0;

    if (parts == NULL || len + ev->len > parts->size) {
        size = ngx_max(len + ev->len, 2 * len);

        parts = ngx_alloc(offsetof(ngx_http_gateway_parts_t, data) + size,
                          ws->client.connection->log);
        if (parts == NULL) {
            return NGX_ERROR;
        }

        if (ws->message) {
            ngx_memcpy(parts->data, ws->message->data, len);
            ngx_free(ws->message);
        }

        parts->size = size;
        ws->message = parts;
    }

    if (ev->len) {
        ngx_memcpy(parts->data + len, ev->data, ev->len);
    }

    parts->len = len + ev->len;

    return NGX_OK;
}


static void
ngx_http_gateway_websocket_data(ngx_http_gateway_websocket_t *ws,
    gw_ws_event_t *ev)
{
    if (ws->state == NGX_HTTP_GATEWAY_WS_CLOSING) {
        /* only the peer's Close matters now */
        return;
    }

    if (ev->first && ev->last) {
        ngx_http_gateway_websocket_message(ws, ev->opcode, ev->data, ev->len);
        return;
    }

    if (ngx_http_gateway_websocket_gather(ws, ev) != NGX_OK) {
        ngx_http_gateway_websocket_close(ws, NGX_HTTP_GATEWAY_CLOSE_TRY_LATER,
                                         "no memory");
        return;
    }

    if (!ev->last) {
        return;
    }

    ngx_http_gateway_websocket_message(ws, ev->opcode, ws->message->data,
                                       ws->message->len);

    ngx_free(ws->message);
    ws->message = NULL;
}


/* The peer's Close: the answer to ours, or the first one. */

void
ngx_http_gateway_websocket_peer_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code)
{
    if (ngx_http_gateway_waits_close(ws, code)) {
        return;
    }

    ws->peer_closed = 1;
    ws->deaf = 1;

    if (ws->state == NGX_HTTP_GATEWAY_WS_CLOSING) {
        return;
    }

    ngx_http_gateway_websocket_close(ws, code, NULL);
}


void
ngx_http_gateway_websocket_input(ngx_http_gateway_websocket_t *ws, u_char *p,
    size_t n)
{
    u_char         *end;
    ngx_int_t       rc;
    ngx_str_t       payload;
    gw_ws_event_t   ev;

    for (end = p + n; p < end && !ws->deaf; /* void */) {

        if (ngx_http_gateway_websocket_paused(ws)) {

            if (ngx_http_gateway_waits_keep(ws, p, end - p) != NGX_OK) {
                ws->deaf = 1;
                ngx_http_gateway_websocket_close(ws,
                                             NGX_HTTP_GATEWAY_CLOSE_TRY_LATER,
                                                 "no memory");
            }

            return;
        }

        if (ws->client.out_size > ws->client.send_buffer / 2) {
            /* one who asks much at once is not slow for that */
            ngx_http_gateway_client_flush(&ws->client);
            ngx_http_gateway_client_check(&ws->client);
        }

        rc = gw_ws_decode(&ws->decoder, &p, end, &ev);

        if (rc == GW_AGAIN) {
            return;
        }

        if (rc == GW_ERROR) {
            ws->deaf = 1;

            if (ws->state != NGX_HTTP_GATEWAY_WS_CLOSING) {
                ngx_http_gateway_websocket_close(ws, ws->decoder.close_code,
                                              (char *) ws->decoder.reason);
            }

            return;
        }

        switch (ev.type) {

        case GW_WS_EV_DATA:
            ngx_http_gateway_websocket_data(ws, &ev);
            break;

        case GW_WS_EV_PING:
            if (ws->state != NGX_HTTP_GATEWAY_WS_CLOSING) {
                payload.data = ev.data;
                payload.len = ev.len;
                ngx_http_gateway_client_queue(&ws->client, GW_WS_PONG,
                                              &payload);
            }

            break;

        case GW_WS_EV_PONG:
            break;

        case GW_WS_EV_CLOSE:
            ngx_http_gateway_websocket_peer_close(ws, ev.code);
            break;
        }
    }
}


/* reason NULL: it is the peer that closes, and gets its own code back. */

void
ngx_http_gateway_websocket_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code, char *reason)
{
    size_t     len;
    u_char     buf[GW_WS_MAX_CONTROL], id[NGX_HTTP_GATEWAY_ID_LEN];
    ngx_str_t  payload;

    if (ws->state == NGX_HTTP_GATEWAY_WS_CLOSING) {
        return;
    }

    if (reason) {
        ngx_http_gateway_websocket_id(ws, id);
        ngx_log_error(NGX_LOG_INFO, ws->client.connection->log, 0,
                      "closing WebSocket %*s with %ui: %s",
                      sizeof(id), id, code, reason);
    }

    ws->state = NGX_HTTP_GATEWAY_WS_CLOSING;
    ws->close_code = code;

    ngx_http_gateway_client_leave_all(&ws->client);
    ngx_http_gateway_recovery_free(ws);
    ngx_http_gateway_waits_drop(ws);

    payload.data = buf;
    payload.len = 0;

    if (code != NGX_HTTP_GATEWAY_CLOSE_NO_STATUS) {
        buf[0] = (u_char) (code >> 8);
        buf[1] = (u_char) code;
        payload.len = 2;
    }

    if (reason) {
        len = ngx_min(ngx_strlen(reason), sizeof(buf) - 2);
        ngx_memcpy(buf + 2, reason, len);
        payload.len += len;
    }

    ngx_http_gateway_client_queue(&ws->client, GW_WS_CLOSE, &payload);
    ngx_http_gateway_websocket_schedule(ws);
}


void
ngx_http_gateway_websocket_lost(ngx_http_gateway_client_t *client,
    ngx_http_gateway_lost_e reason)
{
    ngx_http_gateway_websocket_t  *ws;

    /* the client is the first member */
    ws = (ngx_http_gateway_websocket_t *) client;

    if (ws->state == NGX_HTTP_GATEWAY_WS_HANDSHAKE) {
        /* the request is still nginx's: it ends where it would be left */
        ws->failed = 1;
        return;
    }

    if (reason != NGX_HTTP_GATEWAY_LOST_OVERFLOW
        || ws->state == NGX_HTTP_GATEWAY_WS_CLOSING)
    {
        ngx_http_gateway_websocket_finish(ws);
        return;
    }

    ngx_http_gateway_client_overflow(client);
    ngx_http_gateway_waits_drop(ws);

    if (ws->json) {
        ngx_http_gateway_v1_reconnecting(ws, "too slow");
    }

    ngx_http_gateway_websocket_close(ws, NGX_HTTP_GATEWAY_CLOSE_TOO_SLOW,
                                     "too slow: gateway_send_buffer is full");

    (void) ngx_http_gateway_websocket_after(ws);
}


void
ngx_http_gateway_websocket_finish(ngx_http_gateway_websocket_t *ws)
{
    u_char               id[NGX_HTTP_GATEWAY_ID_LEN];
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ws->client.connection;
    r = ws->request;

    ngx_http_gateway_websocket_id(ws, id);

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "WebSocket %*s of user \"%V\" closed with %ui after %T s: "
                  "in %uL messages %uL bytes, out %uL messages %uL bytes",
                  sizeof(id), id, &ws->user, (ngx_uint_t) ws->close_code,
                  ngx_time() - ws->opened, ws->messages_in, ws->bytes_in,
                  ws->client.messages_out, ws->client.bytes_out);

    ngx_queue_remove(&ws->in_worker);
    ngx_http_gateway_subscriber_closed(ws->conf);

    if (r) {
        ws->request = NULL;
        ngx_http_free_request(r, 0);
        c->destroyed = 0;
    }

#if (NGX_HTTP_SSL)

    if (c->ssl && (!c->write->ready
                   || !ngx_http_gateway_client_idle(&ws->client)))
    {
        /* OpenSSL is inside a record, after which alone it can say more */
        c->error = 1;
    }

#endif

    ngx_http_gateway_websocket_free(ws);

    ngx_http_close_connection(c);
}
