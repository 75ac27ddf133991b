/*
 * Channels that are shared through Redis: publishing, and being in step.
 *
 * With redis= on its zone a channel's sequence and history are Redis's; every
 * node has a mirror of them in its own zone, from which its clients are
 * served. What is published goes to Redis first and comes into all mirrors
 * from there. Without redis=, or while Redis is away, all is done at once on
 * this node, in an epoch of its own.
 *
 * Use these in place of ngx_http_gateway_channel_publish() and before
 * ngx_http_gateway_channel_info(), _read() and joining.
 */

#ifndef NGX_HTTP_GATEWAY_MIRROR_H_INCLUDED
#define NGX_HTTP_GATEWAY_MIRROR_H_INCLUDED


#include "ngx_http_gateway_channel.h"


/* Something under way; freed before done is called, or by cancel. */
typedef struct ngx_http_gateway_mirror_op_s  ngx_http_gateway_mirror_op_t;

/* rc as of ngx_http_gateway_channel_publish(); of a sync always NGX_OK, and
 * info is NULL. Called once, from the event loop. */
typedef void (*ngx_http_gateway_mirror_pt)(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info);

/*
 * Publishes. NGX_AGAIN: *op is under way, done will be called (in the order
 * of publishing, for one channel); info is not filled. Anything else is the
 * outcome, at once, as of ngx_http_gateway_channel_publish(). What m points to
 * is copied. done NULL: nobody wants to know, op is not set. It takes at most
 * the Redis's timeout.
 */
ngx_int_t ngx_http_gateway_mirror_publish(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name, gw_message_t *m,
    int64_t expected, ngx_http_gateway_channel_info_t *info,
    ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op);

/*
 * The same for what may come again, under the id (GW_PUBLISH_ID_LEN
 * characters) that it comes with each time: it is published once, as far back
 * as the history goes, and some tens of messages at least. again: it may not
 * be the first time. Never on this node alone: NGX_ERROR where Redis is away
 * or takes no more now, or there is no memory; it is to come again then. m's
 * type must fit GW_BLOB_TYPE_MAX.
 */
ngx_int_t ngx_http_gateway_mirror_publish_once(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name, gw_message_t *m,
    const u_char *id, ngx_uint_t again, ngx_http_gateway_mirror_pt done,
    void *data);

/* Drops the channel's messages; rc as of ngx_http_gateway_channel_delete(). */
ngx_int_t ngx_http_gateway_mirror_delete(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name,
    ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op);

/*
 * Brings the mirrors of the channels into step with Redis, so that joining
 * and reading give what they give on any node. NGX_OK: they are, or Redis is
 * away; NGX_AGAIN: done will be called; NGX_ERROR: no memory. The names are
 * copied. Where the zone has no Redis this costs one comparison.
 */
ngx_int_t ngx_http_gateway_mirror_sync(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *names, ngx_uint_t n, ngx_http_gateway_mirror_pt done,
    void *data, ngx_http_gateway_mirror_op_t **op);

/* The same for one channel that is only to be looked at: it does not come into
 * being, and how many subscribers it has is asked for in any case. */
ngx_int_t ngx_http_gateway_mirror_look(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_mirror_pt done, void *data,
    ngx_http_gateway_mirror_op_t **op);

/* done will not be called any more; what was published is published. */
void ngx_http_gateway_mirror_cancel(ngx_http_gateway_mirror_op_t *op);


/* For the zone's own files. */

/* At configuration time, once zone->redis is known; first is another zone of
 * the same Redis, NULL: there is none. */
ngx_int_t ngx_http_gateway_mirror_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_zone_t *first);

/* In shared memory, after a start or a reload; nothing without redis=. */
ngx_int_t ngx_http_gateway_mirror_init_zone(
    ngx_http_gateway_channel_zone_t *zone);

/* At a worker's end, after the client's: what was under way is freed. */
void ngx_http_gateway_mirror_exit(ngx_http_gateway_channel_zone_t *zone);

/* What follows is in an epoch of this node's own. The mutex is held. */
struct ngx_http_gateway_channel_s;
void ngx_http_gateway_mirror_local(ngx_http_gateway_channel_zone_t *zone,
    struct ngx_http_gateway_channel_s *ch);

/* Whether other nodes are to hear of the channel: not of those on which each
 * node tells of itself. */
ngx_uint_t ngx_http_gateway_mirror_shared(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name);


#endif /* NGX_HTTP_GATEWAY_MIRROR_H_INCLUDED */
