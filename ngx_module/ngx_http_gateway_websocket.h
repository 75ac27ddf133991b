/*
 * A WebSocket that ends here: one open connection of gateway_subscriber.
 *
 *   HANDSHAKE  made by the content handler; the 101 is on its way
 *   AUTH       open, a token must come as the first message; the request is
 *              kept, because what follows is evaluated in it
 *   OPEN       the request is gone: all that is left is this structure, the
 *              connection, and what they point to
 *   CLOSING    a Close frame has been queued; the peer's is awaited
 */

#ifndef NGX_HTTP_GATEWAY_WEBSOCKET_H_INCLUDED
#define NGX_HTTP_GATEWAY_WEBSOCKET_H_INCLUDED


#include "ngx_http_gateway_client.h"
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_limit.h"
#include "ngx_http_gateway_text.h"
#include "../src/pattern.h"
#include "../src/ws_frame.h"


/* Close codes: RFC 6455 7.4.1, and 4000 + the HTTP status. */
#define NGX_HTTP_GATEWAY_CLOSE_NORMAL        1000
#define NGX_HTTP_GATEWAY_CLOSE_GOING_AWAY    1001
#define NGX_HTTP_GATEWAY_CLOSE_NO_STATUS     1005
#define NGX_HTTP_GATEWAY_CLOSE_ABNORMAL      1006
#define NGX_HTTP_GATEWAY_CLOSE_INTERNAL      1011
#define NGX_HTTP_GATEWAY_CLOSE_TRY_LATER     1013
#define NGX_HTTP_GATEWAY_CLOSE_UNAUTHORIZED  4401
#define NGX_HTTP_GATEWAY_CLOSE_FORBIDDEN     4403
#define NGX_HTTP_GATEWAY_CLOSE_TIMEOUT       4408
#define NGX_HTTP_GATEWAY_CLOSE_TOO_SLOW      4413
#define NGX_HTTP_GATEWAY_CLOSE_RATE_LIMITED  4429

#define NGX_HTTP_GATEWAY_ID_LEN  32  /* hex digits of a connectionId */

#define NGX_HTTP_GATEWAY_AUTH_TIMEOUT  10000  /* ms, for the first token */


typedef struct {
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_metric_t        *connections;
    size_t                            max_message;
    ngx_msec_t                        ping;          /* 0: off */
    ngx_msec_t                        ping_timeout;
    size_t                            send_buffer;
    ngx_array_t                      *origins;
    ngx_flag_t                        any_origin;
} ngx_http_gateway_subscriber_loc_conf_t;


typedef enum {
    NGX_HTTP_GATEWAY_WS_HANDSHAKE = 0,
    NGX_HTTP_GATEWAY_WS_AUTH,
    NGX_HTTP_GATEWAY_WS_OPEN,
    NGX_HTTP_GATEWAY_WS_CLOSING
} ngx_http_gateway_ws_state_e;


typedef struct ngx_http_gateway_recovery_s  ngx_http_gateway_recovery_t;
typedef struct ngx_http_gateway_waits_s  ngx_http_gateway_waits_t;


typedef struct {
    size_t                        len;
    size_t                        size;
    u_char                        data[1];
} ngx_http_gateway_parts_t;


/* As small as it can be: there is one for each open connection, and little
 * else. */

typedef struct {
    ngx_http_gateway_client_t     client;       /* must be first */

    gw_ws_decoder_t               decoder;
    ngx_http_gateway_ws_state_e   state;
    unsigned                      json:1;       /* the v1 envelope */
    unsigned                      verifying:1;  /* a token, keys awaited */
    unsigned                      deaf:1;       /* input is thrown away */
    unsigned                      peer_closed:1;
    unsigned                      shut:1;       /* our Close has gone out */
    unsigned                      failed:1;     /* lost in the handshake */
    unsigned                      revoked:1;    /* in the handshake */

    ngx_http_gateway_parts_t     *message;      /* one in several parts */

    ngx_event_t                  *upgrade;      /* posted, in the request */
    ngx_http_request_t           *request;      /* until it is open */
    ngx_http_request_t           *renewal;      /* while a token is checked */
    ngx_http_gateway_subscriber_loc_conf_t
                                 *conf;
    void                        **srv_conf;
    void                        **loc_conf;

    ngx_http_gateway_allow_t      allow;
    ngx_http_gateway_limit_messages_t
                                 *limits;       /* NULL: none on messages */
    ngx_str_t                     channel;      /* gateway_channel; its name
                                                   there, while it is joined */
    ngx_str_t                     user;         /* data NULL: none */
    time_t                        expires;      /* claim exp, 0: never */
    time_t                        ends;         /* with leeway; 0: never */
    ngx_http_gateway_jwt_watch_t *watch;        /* NULL: not to be revoked */
    time_t                        opened;
    ngx_msec_t                    heard;        /* when bytes last came */
    ngx_msec_t                    ping_at;
    uint32_t                      refused;      /* raw messages in a row */
    uint32_t                      close_code;
    ngx_http_gateway_recovery_t  *recovery;
    ngx_http_gateway_waits_t     *waits;        /* NULL: for nothing */
    ngx_str_t                     request_id;   /* of a renewal under way */

    uint64_t                      bytes_in;
    uint64_t                      messages_in;
    ngx_queue_t                   in_worker;    /* all that are open */
    u_char                        id[NGX_HTTP_GATEWAY_ID_LEN / 2];
} ngx_http_gateway_websocket_t;


/* Its connectionId in hex, in a buffer of NGX_HTTP_GATEWAY_ID_LEN. */
#define ngx_http_gateway_websocket_id(ws, buf)                               \
    ngx_hex_dump(buf, (ws)->id, NGX_HTTP_GATEWAY_ID_LEN / 2)

/* Made for a request, and freed with it until it has taken the connection
 * over. NULL: no memory. */
ngx_http_gateway_websocket_t *ngx_http_gateway_websocket_create(
    ngx_http_request_t *r, ngx_http_gateway_subscriber_loc_conf_t *conf,
    ngx_uint_t json);

/*
 * Joins the channels of the request's location and arguments, and queues
 * what a client is told on opening. NGX_OK, 400, 403, 500 or 503; NGX_AGAIN:
 * the channels come into step first, and ngx_http_gateway_subscriber_resume()
 * or ngx_http_gateway_websocket_admit() is called when they have been joined.
 */
ngx_int_t ngx_http_gateway_websocket_open(ngx_http_gateway_websocket_t *ws,
    ngx_http_request_t *r);

/* The second half of it, with the names of the channels. */
ngx_int_t ngx_http_gateway_websocket_join(ngx_http_gateway_websocket_t *ws,
    ngx_array_t *names);

/* The 101 is sent: takes the connection over, in an event of its own. */
void ngx_http_gateway_websocket_upgrade(ngx_http_gateway_websocket_t *ws);

/* Sends Close and leaves all channels; what is queued goes out first. The
 * reason is for the log, and goes to the client. */
void ngx_http_gateway_websocket_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code, char *reason);

/* The token has come as a message: joins the channels, lets go of the
 * request. */
void ngx_http_gateway_websocket_authenticated(
    ngx_http_gateway_websocket_t *ws);

/* The same, when the channels have been joined or not: rc says. */
void ngx_http_gateway_websocket_admit(ngx_http_gateway_websocket_t *ws,
    ngx_int_t rc);

/* Sets the timer for the next ping or the token's end. */
void ngx_http_gateway_websocket_schedule(ngx_http_gateway_websocket_t *ws);


/* Between opening and the rest: ngx_http_gateway_websocket_open.c */

void ngx_http_gateway_websocket_free(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_websocket_read_handler(ngx_event_t *rev);

/* Writes the end's log line, frees it and closes the connection. */
void ngx_http_gateway_websocket_finish(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_websocket_write_handler(ngx_event_t *wev);
void ngx_http_gateway_websocket_lost(ngx_http_gateway_client_t *client,
    ngx_http_gateway_lost_e reason);
void ngx_http_gateway_websocket_input(ngx_http_gateway_websocket_t *ws,
    u_char *p, size_t n);
void ngx_http_gateway_websocket_peer_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code);

/* Sends what has been queued, and ends a connection that has nothing more to
 * say. NGX_DONE: it has ended, and is gone. */
ngx_int_t ngx_http_gateway_websocket_after(ngx_http_gateway_websocket_t *ws);


/* The v1 protocol: ngx_http_gateway_v1.c */

/* One message of the client's; binary ones too. */
void ngx_http_gateway_v1_message(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *message);

void ngx_http_gateway_v1_established(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_v1_auth_ok(ngx_http_gateway_websocket_t *ws,
    gw_str_t *request_id);
void ngx_http_gateway_v1_challenge(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_v1_reconnecting(ngx_http_gateway_websocket_t *ws,
    char *reason);

/* The answer to a message that a limit has rejected. */
void ngx_http_gateway_v1_rate_limit(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *message, ngx_http_gateway_limit_told_t *told);

/* The answer to the channels that were joined unasked. */
typedef struct {
    ngx_str_t                        name;
    ngx_http_gateway_channel_info_t  info;
    ngx_uint_t                       recovered;
} ngx_http_gateway_joined_t;

void ngx_http_gateway_v1_subscribed(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_joined_t *joined, ngx_uint_t n, gw_str_t *request_id);

/* payload.resource, decoded; NGX_DECLINED: not a channel's name. */
#define NGX_HTTP_GATEWAY_NAME_TEXT  (6 * GW_CHANNEL_NAME_MAX + 2)

ngx_int_t ngx_http_gateway_v1_name(gw_json_t *value, u_char *buf,
    ngx_str_t *name);
ngx_int_t ngx_http_gateway_v1_resource(gw_json_t *payload, u_char *buf,
    ngx_str_t *name);

/* {"resource":…,"sequenceNumber":…,"epoch":…  without its end */
void ngx_http_gateway_v1_state(ngx_http_gateway_text_t *t, ngx_str_t *name,
    ngx_http_gateway_channel_info_t *info);

void ngx_http_gateway_v1_subscribe(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);
void ngx_http_gateway_v1_unsubscribe(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);

/* Begins a message, up to its payload; ends and queues it. */
ngx_http_gateway_text_t *ngx_http_gateway_v1_begin(char *type);
void ngx_http_gateway_v1_end(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_text_t *text, gw_str_t *request_id);

/* The same out of turn: it overtakes the answers to what is under way. */
void ngx_http_gateway_v1_end_now(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_text_t *text, gw_str_t *request_id);

/* The answer to publish; rc as of ngx_http_gateway_channel_publish(). */
void ngx_http_gateway_v1_published(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *name, ngx_int_t rc, ngx_http_gateway_channel_info_t *info,
    gw_str_t *request_id);

/* code: one of the contract's; details: JSON or NULL */
void ngx_http_gateway_v1_error(ngx_http_gateway_websocket_t *ws, char *code,
    char *message, ngx_str_t *details, gw_str_t *request_id);


void ngx_http_gateway_v1_bad(ngx_http_gateway_websocket_t *ws, char *message,
    gw_str_t *request_id);


/* Waiting for Redis: ngx_http_gateway_websocket_wait.c */

/*
 * Publishes for the client. NGX_AGAIN: it is under way, or the client is
 * lost; ngx_http_gateway_v1_published() is called in its turn, unless
 * request_id is NULL. Anything else is the outcome.
 */
ngx_int_t ngx_http_gateway_websocket_publish(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *name, gw_message_t *m, int64_t expected,
    ngx_http_gateway_channel_info_t *info, gw_str_t *request_id);

/*
 * Before a message joins channels or reads them. NGX_OK: they are in step,
 * and what the client has published is; NGX_AGAIN: leave it, the message will
 * come again; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_gateway_websocket_sync(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *names, ngx_uint_t n);

/* The same before opening; the names (ngx_str_t) are the request's. */
ngx_int_t ngx_http_gateway_waits_open(ngx_http_gateway_websocket_t *ws,
    ngx_array_t *names);

/* Hands a v1 message on, and keeps it where it has to wait. */
void ngx_http_gateway_waits_message(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *message);

/* Whether nothing is to be decoded or read now. */
#define ngx_http_gateway_websocket_paused(ws)                                \
    ((ws)->waits && ngx_http_gateway_waits_paused((ws)->waits))

ngx_uint_t ngx_http_gateway_waits_paused(ngx_http_gateway_waits_t *waits);

/* Keeps what was read, while it is paused. NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_waits_keep(ngx_http_gateway_websocket_t *ws,
    u_char *p, size_t len);

/* Whether answers wait for their turn; lets one more wait behind them. */
ngx_uint_t ngx_http_gateway_waits_turns(ngx_http_gateway_waits_t *waits);
void ngx_http_gateway_waits_answer(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *answer);

/* Whether the peer's Close, or its end, waits for answers; it comes again. */
ngx_uint_t ngx_http_gateway_waits_close(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t code);
ngx_uint_t ngx_http_gateway_waits_end(ngx_http_gateway_websocket_t *ws);

/* Gives up what is waited for, but for what was read; frees all. */
void ngx_http_gateway_waits_drop(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_waits_free(ngx_http_gateway_websocket_t *ws);


/* Tokens that come as messages: ngx_http_gateway_websocket_auth.c */

void ngx_http_gateway_websocket_token(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *token, gw_str_t *request_id);
ngx_int_t ngx_http_gateway_websocket_identify(
    ngx_http_gateway_websocket_t *ws, ngx_http_request_t *r);
void ngx_http_gateway_websocket_revoked(void *data);


/* recovery:request: ngx_http_gateway_recovery.c */

void ngx_http_gateway_recovery_start(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);

/* Goes on as far as the client takes it. */
void ngx_http_gateway_recovery_continue(ngx_http_gateway_websocket_t *ws);
void ngx_http_gateway_recovery_free(ngx_http_gateway_websocket_t *ws);


#endif /* NGX_HTTP_GATEWAY_WEBSOCKET_H_INCLUDED */
