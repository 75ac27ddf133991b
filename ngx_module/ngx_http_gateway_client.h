/*
 * The sending side of one subscribed connection, and the fan-out.
 *
 * A client is a member of the hubs of its channels (a hub is a channel in
 * this worker). Members that have everything stand in the hub's row, and a
 * run of the fan-out sends the same bytes to each of them straight from
 * shared memory. A member that could not take all of it is behind: it has a
 * cursor of its own, and goes on from there when its socket can be written.
 * So what waits for a slow client is a position, not a queue; it is bounded
 * by send_buffer all the same, because it keeps the channel's memory.
 *
 * What is for one client alone (answers, pings) goes to its own queue, which
 * is sent before further channel data, never inside a frame.
 */

#ifndef NGX_HTTP_GATEWAY_CLIENT_H_INCLUDED
#define NGX_HTTP_GATEWAY_CLIENT_H_INCLUDED


#include "ngx_http_gateway_channel.h"


typedef struct ngx_http_gateway_client_s  ngx_http_gateway_client_t;
typedef struct ngx_http_gateway_member_s  ngx_http_gateway_member_t;
typedef struct ngx_http_gateway_out_s     ngx_http_gateway_out_t;
typedef struct ngx_http_gateway_hub_s     ngx_http_gateway_hub_t;


typedef enum {
    NGX_HTTP_GATEWAY_LOST_PEER = 1,   /* reset, or gone */
    NGX_HTTP_GATEWAY_LOST_OVERFLOW,   /* too slow: send_buffer is full */
    NGX_HTTP_GATEWAY_LOST_MEMORY
} ngx_http_gateway_lost_e;


struct ngx_http_gateway_client_s {

    /* what a fan-out touches */

    ngx_socket_t                   fd;
    unsigned                       blocked:1;   /* channel data must wait */
    unsigned                       ssl:1;
    unsigned                       lost:1;
    unsigned                       held:1;      /* not to be written yet */
    unsigned                       raw:1;       /* form: raw, else v1 */
    unsigned                       cut_queued:1; /* out begins inside a frame */
    uint64_t                       bytes_out;
    uint64_t                       messages_out;
    ngx_connection_t              *connection;

    /* the rest */

    ngx_http_gateway_out_t        *out;
    ngx_http_gateway_out_t       **out_last;
    size_t                         out_size;    /* unsent bytes in out */
    size_t                         send_buffer;
    ngx_http_gateway_member_t     *cut;         /* sent up to inside a frame */
    uint64_t                       cut_end;     /* where that frame ends */
    uint64_t                       origin;      /* of what it publishes */
    ngx_uint_t                     behind;      /* members that are */
    ngx_queue_t                    members;
    ngx_queue_t                    in_lost;
    ngx_http_gateway_lost_e        reason;

    /* called once, from an event of its own; may free the client */
    void                         (*on_lost)(ngx_http_gateway_client_t *client,
                                            ngx_http_gateway_lost_e reason);
};


typedef struct {
    uint64_t                       since;       /* last seq it has seen */
    u_char                         epoch[GW_EPOCH_LEN];
    unsigned                       recover:1;   /* since and epoch count */
    unsigned                       no_echo:1;   /* not what it published */
} ngx_http_gateway_join_t;


/* form and send_buffer are set by the caller; starts blocked until
 * ngx_http_gateway_client_open(). */
void ngx_http_gateway_client_init(ngx_http_gateway_client_t *client,
    ngx_connection_t *c);

/* Leaves all channels and frees what is queued; not the connection. */
void ngx_http_gateway_client_close(ngx_http_gateway_client_t *client);

/*
 * Joins a channel, or changes an existing membership. *recovered says
 * whether what was missed will come (true where nothing was asked). Delivery
 * begins at the next ngx_http_gateway_client_flush().
 *
 * NGX_OK, or NGX_ERROR: the zone is full or there is no memory
 */
ngx_int_t ngx_http_gateway_client_join(ngx_http_gateway_client_t *client,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered);

ngx_uint_t ngx_http_gateway_client_joined(ngx_http_gateway_client_t *client,
    ngx_str_t *name);

/* The name of a channel that it has joined, valid until it leaves. */
ngx_str_t *ngx_http_gateway_client_channel(ngx_http_gateway_client_t *client,
    ngx_str_t *name);

/* NGX_OK, or NGX_DECLINED: it was not a member. */
ngx_int_t ngx_http_gateway_client_leave(ngx_http_gateway_client_t *client,
    ngx_str_t *name);

/* Leaves all channels at once; a frame that is half sent is kept. */
void ngx_http_gateway_client_leave_all(ngx_http_gateway_client_t *client);

/*
 * Queues a frame: its header and up to two pieces of payload. Nothing is
 * sent before ngx_http_gateway_client_flush(). Where there is no memory, or
 * too much is unsent, the client is lost.
 */
void ngx_http_gateway_client_queue(ngx_http_gateway_client_t *client,
    ngx_uint_t opcode, ngx_str_t *payload);

/* Closes a client that holds more than its send_buffer. */
void ngx_http_gateway_client_check(ngx_http_gateway_client_t *client);

/* Leaves all channels and drops what is queued and not begun; counts it. */
void ngx_http_gateway_client_overflow(ngx_http_gateway_client_t *client);

/* Sends what there is, as far as the socket takes it; called after queueing
 * and from the connection's write event. */
void ngx_http_gateway_client_flush(ngx_http_gateway_client_t *client);

/* Ends the client soon, in an event of its own. */
void ngx_http_gateway_client_lose(ngx_http_gateway_client_t *client,
    ngx_http_gateway_lost_e reason);

/* Whether everything has been handed to the kernel. */
ngx_uint_t ngx_http_gateway_client_idle(ngx_http_gateway_client_t *client);


#endif /* NGX_HTTP_GATEWAY_CLIENT_H_INCLUDED */
