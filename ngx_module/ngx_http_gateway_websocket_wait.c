/*
 * What a WebSocket waits for, where its channels are shared through Redis:
 * publishing, and the channels that it joins or reads coming into step.
 *
 * Publishing does not hold the client up: its next messages are taken while
 * Redis is asked, and what they are answered with takes its turn behind. A
 * message that joins or reads waits for both, what was published and the
 * channels; it is kept meanwhile, with what came after it. So all that a
 * client sees, and does, is in the order in which it sent it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_mirror.h"
#include "ngx_http_gateway_subscriber.h"


#define NGX_HTTP_GATEWAY_MAX_TURNS  64  /* then nothing more is taken */


/* What is under way, or an answer behind it. */

typedef struct ngx_http_gateway_turn_s  ngx_http_gateway_turn_t;

struct ngx_http_gateway_turn_s {
    ngx_http_gateway_turn_t         *next;
    ngx_http_gateway_websocket_t    *ws;
    ngx_http_gateway_mirror_op_t    *op;       /* NULL: it may be answered */
    ngx_int_t                        rc;
    ngx_http_gateway_channel_info_t  info;
    unsigned                         published:1;  /* else data is an answer */
    ngx_str_t                        data;     /* with the channel's name */
    gw_str_t                         request_id;
};


/* There is one only while something waits. */

struct ngx_http_gateway_waits_s {
    ngx_event_t                      event;    /* posted: something is done */

    ngx_http_gateway_turn_t         *turns;
    ngx_http_gateway_turn_t        **last;
    ngx_uint_t                       n;        /* of them */
    size_t                           size;     /* of their answers */

    ngx_http_gateway_mirror_op_t    *sync;
    ngx_array_t                     *names;    /* to be joined on opening */
    ngx_http_gateway_parts_t        *message;  /* to be looked at again */
    ngx_http_gateway_parts_t        *input;    /* what came after that */
    ngx_uint_t                       code;     /* of the peer's Close */

    unsigned                         holding:1; /* a message, or opening */
    unsigned                         synced:1;  /* for what is held */
    unsigned                         closing:1; /* the peer's Close came */
    unsigned                         ended:1;   /* the peer has ended */
    unsigned                         full:1;
    unsigned                         answering:1;
};


static ngx_http_gateway_turn_t  *ngx_http_gateway_spare_turn;


static void ngx_http_gateway_waits_handler(ngx_event_t *ev);


static ngx_http_gateway_waits_t *
ngx_http_gateway_waits_get(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_waits_t  *w;

    if (ws->waits) {
        return ws->waits;
    }

    w = ngx_calloc(sizeof(*w), ws->client.connection->log);
    if (w == NULL) {
        return NULL;
    }

    w->event.handler = ngx_http_gateway_waits_handler;
    w->event.data = ws;
    w->event.log = ngx_cycle->log;

    w->last = &w->turns;

    ws->waits = w;

    return w;
}


/* The first is over. */

static void
ngx_http_gateway_turn_free(ngx_http_gateway_waits_t *w)
{
    ngx_http_gateway_turn_t  *turn;

    turn = w->turns;
    w->turns = turn->next;

    if (w->turns == NULL) {
        w->last = &w->turns;
    }

    w->n--;
    w->size -= turn->data.len;

    if (turn->data.data) {
        ngx_free(turn->data.data);
    }

    ngx_free(turn);
}


static void
ngx_http_gateway_parts_free(ngx_http_gateway_parts_t **parts)
{
    if (*parts) {
        ngx_free(*parts);
        *parts = NULL;
    }
}


static ngx_http_gateway_parts_t *
ngx_http_gateway_parts_copy(ngx_http_gateway_websocket_t *ws, u_char *p,
    size_t len)
{
    ngx_http_gateway_parts_t  *parts;

    parts = ngx_alloc(offsetof(ngx_http_gateway_parts_t, data) + len,
                      ws->client.connection->log);

    if (parts) {
        ngx_memcpy(parts->data, p, len);
        parts->len = len;
        parts->size = len;
    }

    return parts;
}


/* Gives up all but the input, in which the peer's Close may stand. */

static void
ngx_http_gateway_waits_cancel(ngx_http_gateway_waits_t *w)
{
    while (w->turns) {

        if (w->turns->op) {
            ngx_http_gateway_mirror_cancel(w->turns->op);
        }

        ngx_http_gateway_turn_free(w);
    }

    if (w->sync) {
        ngx_http_gateway_mirror_cancel(w->sync);
        w->sync = NULL;
    }

    ngx_http_gateway_parts_free(&w->message);

    w->names = NULL;
    w->holding = 0;
    w->closing = 0;
    w->ended = 0;
    w->full = 0;
}


void
ngx_http_gateway_waits_drop(ngx_http_gateway_websocket_t *ws)
{
    if (ws->waits) {
        ngx_http_gateway_waits_cancel(ws->waits);
        ngx_post_event(&ws->waits->event, &ngx_posted_events);
    }
}


void
ngx_http_gateway_waits_free(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;

    if (w == NULL) {
        return;
    }

    ws->waits = NULL;

    ngx_http_gateway_waits_cancel(w);
    ngx_http_gateway_parts_free(&w->input);

    if (w->event.posted) {
        ngx_delete_posted_event(&w->event);
    }

    ngx_free(w);
}


static ngx_uint_t
ngx_http_gateway_waits_held(ngx_http_gateway_waits_t *w)
{
    return w->holding || w->closing || w->ended || w->full;
}


/* What was kept goes before what is read: also where nothing holds it any more,
 * but its turn is still to come. */

ngx_uint_t
ngx_http_gateway_waits_paused(ngx_http_gateway_waits_t *w)
{
    return w->input || ngx_http_gateway_waits_held(w);
}


ngx_uint_t
ngx_http_gateway_waits_turns(ngx_http_gateway_waits_t *w)
{
    return !w->answering && w->turns;
}


static void
ngx_http_gateway_turn_add(ngx_http_gateway_waits_t *w,
    ngx_http_gateway_turn_t *turn)
{
    *w->last = turn;
    w->last = &turn->next;

    w->n++;
    w->size += turn->data.len;

    if (w->n >= NGX_HTTP_GATEWAY_MAX_TURNS
        || w->size > turn->ws->client.send_buffer)
    {
        w->full = 1;
    }
}


void
ngx_http_gateway_waits_answer(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *answer)
{
    ngx_http_gateway_turn_t  *turn;

    turn = ngx_calloc(sizeof(*turn), ws->client.connection->log);

    if (turn) {
        turn->data.data = ngx_alloc(answer->len, ws->client.connection->log);
    }

    if (turn == NULL || turn->data.data == NULL) {
        if (turn) {
            ngx_free(turn);
        }

        ngx_http_gateway_client_lose(&ws->client,
                                     NGX_HTTP_GATEWAY_LOST_MEMORY);
        return;
    }

    ngx_memcpy(turn->data.data, answer->data, answer->len);
    turn->data.len = answer->len;
    turn->ws = ws;

    ngx_http_gateway_turn_add(ws->waits, turn);
}


static void
ngx_http_gateway_waits_published(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_turn_t *turn = data;

    turn->op = NULL;
    turn->rc = rc;

    if (info) {
        turn->info = *info;
    }

    ngx_post_event(&turn->ws->waits->event, &ngx_posted_events);
}


/* What the answer needs; a raw client gets none. */

static ngx_int_t
ngx_http_gateway_turn_keep(ngx_http_gateway_turn_t *turn, ngx_str_t *name,
    gw_str_t *request_id)
{
    u_char  *p;

    p = ngx_alloc(name->len + request_id->len,
                  turn->ws->client.connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    turn->data.data = p;
    turn->data.len = name->len;

    p = ngx_cpymem(p, name->data, name->len);

    turn->request_id.data = p;
    turn->request_id.len = request_id->len;

    if (request_id->len) {
        ngx_memcpy(p, request_id->data, request_id->len);
    }

    return NGX_OK;
}


/* The turn is made before it is known whether it will be needed: where it is
 * not, as without a Redis, it is there for the next. */

ngx_int_t
ngx_http_gateway_websocket_publish(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info, gw_str_t *request_id)
{
    ngx_int_t                  rc;
    ngx_http_gateway_turn_t   *turn;
    ngx_http_gateway_waits_t  *w;

    m->origin = ws->client.origin;
    turn = ngx_http_gateway_spare_turn;

    if (turn == NULL) {
        turn = ngx_calloc(sizeof(*turn), ws->client.connection->log);
        if (turn == NULL) {
            return NGX_ERROR;
        }

        ngx_http_gateway_spare_turn = turn;
    }

    rc = ngx_http_gateway_mirror_publish(ws->conf->zone, name, m, expected,
                                         info,
                                         ngx_http_gateway_waits_published,
                                         turn, &turn->op);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_http_gateway_spare_turn = NULL;

    turn->ws = ws;
    turn->published = 1;

    w = ngx_http_gateway_waits_get(ws);

    if (w == NULL
        || (request_id
            && ngx_http_gateway_turn_keep(turn, name, request_id) != NGX_OK))
    {
        /* it is published, but who asked for it cannot be told */
        ngx_http_gateway_mirror_cancel(turn->op);
        ngx_free(turn);
        ngx_http_gateway_client_lose(&ws->client,
                                     NGX_HTTP_GATEWAY_LOST_MEMORY);
        return NGX_AGAIN;
    }

    ngx_http_gateway_turn_add(w, turn);

    return NGX_AGAIN;
}


void
ngx_http_gateway_waits_exit(void)
{
    if (ngx_http_gateway_spare_turn) {
        ngx_free(ngx_http_gateway_spare_turn);
        ngx_http_gateway_spare_turn = NULL;
    }
}


static void
ngx_http_gateway_waits_synced(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_websocket_t *ws = data;

    ws->waits->sync = NULL;
    ws->waits->synced = 1;

    ngx_post_event(&ws->waits->event, &ngx_posted_events);
}


ngx_int_t
ngx_http_gateway_websocket_sync(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *names, ngx_uint_t n)
{
    ngx_int_t                      rc;
    ngx_http_gateway_waits_t      *w;
    ngx_http_gateway_mirror_op_t  *op;

    w = ws->waits;

    if (w && w->turns) {
        w->holding = 1;
        return NGX_AGAIN;
    }

    if (w && w->synced) {
        return NGX_OK;
    }

    op = NULL;
    rc = ngx_http_gateway_mirror_sync(ws->conf->zone, names, n,
                                      ngx_http_gateway_waits_synced, ws, &op);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    w = ngx_http_gateway_waits_get(ws);

    if (w == NULL) {
        ngx_http_gateway_mirror_cancel(op);
        return NGX_ERROR;
    }

    w->sync = op;
    w->holding = 1;

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_gateway_waits_open(ngx_http_gateway_websocket_t *ws,
    ngx_array_t *names)
{
    ngx_int_t  rc;

    if (names->nelts == 0) {
        return NGX_OK;
    }

    rc = ngx_http_gateway_websocket_sync(ws, names->elts, names->nelts);

    if (rc == NGX_AGAIN) {
        ws->waits->names = names;
    }

    return rc;
}


ngx_int_t
ngx_http_gateway_waits_keep(ngx_http_gateway_websocket_t *ws, u_char *p,
    size_t len)
{
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;
    w->input = ngx_http_gateway_parts_copy(ws, p, len);

    return w->input ? NGX_OK : NGX_ERROR;
}


/* A message that something holds comes again: what it needs is there then, or
 * more of it. */

void
ngx_http_gateway_waits_message(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *message)
{
    ngx_http_gateway_waits_t  *w;

    ngx_http_gateway_v1_message(ws, opcode, message);

    w = ws->waits;

    if (w == NULL || !w->holding || w->names || w->message) {
        return;
    }

    w->message = ngx_http_gateway_parts_copy(ws, message->data, message->len);

    if (w->message == NULL) {
        ngx_http_gateway_websocket_close(ws, NGX_HTTP_GATEWAY_CLOSE_TRY_LATER,
                                         "no memory");
    }
}


ngx_uint_t
ngx_http_gateway_waits_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code)
{
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;

    if (w == NULL || !ws->json || w->turns == NULL) {
        return 0;
    }

    w->closing = 1;
    w->code = code;

    return 1;
}


ngx_uint_t
ngx_http_gateway_waits_end(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;

    if (w == NULL || !ws->json || w->turns == NULL) {
        return 0;
    }

    w->ended = 1;

    return 1;
}


/* Answers whose turn has come. */

static void
ngx_http_gateway_waits_answers(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_turn_t   *turn;
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;
    w->answering = 1;

    while (w->turns && w->turns->op == NULL) {

        turn = w->turns;

        if (!turn->published) {
            ngx_http_gateway_client_queue(&ws->client, GW_WS_TEXT,
                                          &turn->data);
            ngx_http_gateway_client_check(&ws->client);

        } else if (ws->json) {
            ngx_http_gateway_v1_published(ws, &turn->data, turn->rc,
                                          &turn->info, &turn->request_id);
        }

        ngx_http_gateway_turn_free(w);
    }

    w->answering = 0;

    if (w->n <= NGX_HTTP_GATEWAY_MAX_TURNS / 2
        && w->size <= ws->client.send_buffer / 2)
    {
        w->full = 0;
    }
}


/* What was held, now that all before it is done. */

static void
ngx_http_gateway_waits_release(ngx_http_gateway_websocket_t *ws)
{
    ngx_str_t                  s;
    ngx_array_t               *names;
    ngx_http_gateway_parts_t  *message;
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;
    names = w->names;
    message = w->message;

    w->holding = 0;
    w->names = NULL;
    w->message = NULL;

    if (names) {
        ngx_http_gateway_websocket_admit(ws,
                                   ngx_http_gateway_websocket_join(ws, names));

    } else if (message) {
        s.data = message->data;
        s.len = message->len;

        ngx_http_gateway_waits_message(ws, GW_WS_TEXT, &s);

        ngx_free(message);
    }

    w->synced = 0;

    if (w->closing) {
        w->closing = 0;
        ngx_http_gateway_websocket_peer_close(ws, w->code);
    }

    w->ended = 0;
}


static void
ngx_http_gateway_waits_go_on(ngx_http_gateway_websocket_t *ws)
{
    ngx_event_t               *rev;
    ngx_uint_t                 paused;
    ngx_http_gateway_parts_t  *input;
    ngx_http_gateway_waits_t  *w;

    w = ws->waits;
    paused = ngx_http_gateway_waits_paused(w);

    ngx_http_gateway_waits_answers(ws);

    if (w->turns == NULL && w->sync == NULL) {
        ngx_http_gateway_waits_release(ws);
    }

    input = w->input;

    if (input && !ngx_http_gateway_waits_held(w)) {
        w->input = NULL;
        ngx_http_gateway_websocket_input(ws, input->data, input->len);
        ngx_free(input);
    }

    if (ngx_http_gateway_waits_paused(w)) {
        return;
    }

    rev = ws->client.connection->read;

    if (paused && (rev->ready || rev->eof)) {
        ngx_post_event(rev, &ngx_posted_events);
    }

    if (w->turns == NULL) {
        ngx_http_gateway_waits_free(ws);
    }
}


static void
ngx_http_gateway_waits_handler(ngx_event_t *ev)
{
    ngx_array_t                   *names;
    ngx_http_gateway_websocket_t  *ws;

    ws = ev->data;

    if (ws->state != NGX_HTTP_GATEWAY_WS_HANDSHAKE) {
        ngx_http_gateway_waits_go_on(ws);
        (void) ngx_http_gateway_websocket_after(ws);
        return;
    }

    names = ws->waits->names;
    ngx_http_gateway_waits_free(ws);

    ngx_http_gateway_subscriber_resume(ws->request,
                                   ngx_http_gateway_websocket_join(ws, names));
}
