/*
 * Between the fan-out (hubs) and the clients (members).
 */

#ifndef NGX_HTTP_GATEWAY_FANOUT_H_INCLUDED
#define NGX_HTTP_GATEWAY_FANOUT_H_INCLUDED


#include "ngx_http_gateway_client.h"
#include "ngx_http_gateway_channel_zone.h"


#define NGX_HTTP_GATEWAY_IOVS  256  /* vectors of one system call */


/* A piece of a client's own queue. */

struct ngx_http_gateway_out_s {
    ngx_http_gateway_out_t        *next;
    size_t                         len;
    size_t                         pos;
    u_char                         data[1];
};


struct ngx_http_gateway_member_s {
    ngx_http_gateway_client_t     *client;
    ngx_http_gateway_hub_t        *hub;
    ngx_queue_t                    in_client;
    ngx_queue_t                    in_behind;
    gw_cursor_t                    cursor;     /* where it is behind */
    uint64_t                       live_from;  /* by_log: where it joined */
    uint64_t                       published;  /* of the hub, when counted */
    uint32_t                       sent;       /* by_log: of the frame there */
    uint32_t                       index;      /* in the row */
    unsigned                       behind:1;
    unsigned                       by_log:1;   /* reads records, not frames */
    unsigned                       no_echo:1;
};


/* Dense, so that a run reads ahead; 16 bytes a member. */
typedef struct {
    ngx_http_gateway_client_t     *client;
    ngx_http_gateway_member_t     *member;
} ngx_http_gateway_place_t;


typedef struct {
    ngx_http_gateway_place_t      *place;
    uint32_t                       n;
    uint32_t                       max;
} ngx_http_gateway_row_t;


/* One moment of a channel: the same place in a form and in the log. */
typedef struct {
    gw_cursor_t                    form;
    gw_cursor_t                    log;
    uint64_t                       published;  /* messages before it */
} ngx_http_gateway_mark_t;


typedef enum {
    NGX_HTTP_GATEWAY_HUB_IDLE = 0,
    NGX_HTTP_GATEWAY_HUB_RUNNING
} ngx_http_gateway_hub_state_e;


struct ngx_http_gateway_hub_s {
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_channel_t    *channel;
    ngx_http_gateway_reader_t     *reader;

    ngx_uint_t                     members;
    ngx_http_gateway_row_t         row[GW_FORMS];
    ngx_queue_t                    behind;

    /* what a run sends: from `done` to `head`, both at frames' starts */
    ngx_http_gateway_mark_t        done[GW_FORMS];
    ngx_http_gateway_mark_t        head[GW_FORMS];
    uint64_t                       news_us;

    ngx_uint_t                     form;       /* the run is at row[form] */
    uint32_t                       next;       /* ... at this place */
    ngx_http_gateway_hub_state_e   state;

    ngx_queue_t                    in_work;
    unsigned                       working:1;  /* in the work queue */
    unsigned                       growing:1;  /* news since the last pass */
    unsigned                       passes:4;   /* waited for more */
};


/* The place of a form's head now. The mutex is held. */
void ngx_http_gateway_hub_mark(ngx_http_gateway_hub_t *hub, gw_form_e form,
    ngx_http_gateway_mark_t *mark);

/* Takes a hub that is going away out of the work queue. */
void ngx_http_gateway_hub_dequeue(ngx_http_gateway_hub_t *hub);

/* The member's hub has room to free or members to serve: look at it soon. */
void ngx_http_gateway_hub_touch(ngx_http_gateway_hub_t *hub);

/* From the row to those behind, at the cursor; and back where it has
 * everything. */
void ngx_http_gateway_member_fall_behind(ngx_http_gateway_member_t *m,
    gw_cursor_t *at);
void ngx_http_gateway_member_catch_up(ngx_http_gateway_member_t *m);
void ngx_http_gateway_member_count(ngx_http_gateway_member_t *m);

ngx_int_t ngx_http_gateway_hub_join(ngx_http_gateway_member_t *m,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered);
void ngx_http_gateway_hub_rejoin(ngx_http_gateway_member_t *m,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered);
void ngx_http_gateway_hub_leave(ngx_http_gateway_member_t *m);

/* Sends vectors; returns bytes, NGX_AGAIN or NGX_ERROR. Where the socket
 * took less than all, its write event will come. */
ssize_t ngx_http_gateway_client_send(ngx_http_gateway_client_t *client,
    struct iovec *iov, ngx_uint_t n, size_t total);

/* The socket took less than all: its write event goes on. */
void ngx_http_gateway_client_blocked(ngx_http_gateway_client_t *client);

/* Sends from frames, up to the position; from records, at most max of them,
 * 0 for all. As below. */
ngx_int_t ngx_http_gateway_member_send_frames(ngx_http_gateway_member_t *m,
    uint64_t end);
ngx_int_t ngx_http_gateway_member_send_records(ngx_http_gateway_member_t *m,
    ngx_uint_t max);

/* Moves the rest of a frame that is half sent to the client's own queue. */
void ngx_http_gateway_member_uncut(ngx_http_gateway_member_t *m);

/* Sends to the member what its hub has for it. NGX_OK: it has everything;
 * NGX_AGAIN, NGX_ERROR (lost). */
ngx_int_t ngx_http_gateway_member_send(ngx_http_gateway_member_t *m);

/* After a row's send took `sent` of `total` bytes from `start`. */
void ngx_http_gateway_member_short(ngx_http_gateway_member_t *m,
    gw_cursor_t *start, size_t sent, size_t total);

static ngx_inline gw_form_e
ngx_http_gateway_client_form(ngx_http_gateway_client_t *client)
{
    return client->raw ? GW_FORM_RAW : GW_FORM_V1;
}


#endif /* NGX_HTTP_GATEWAY_FANOUT_H_INCLUDED */
