/*
 * A channel zone's shared memory. Only the zone itself and the fan-out know
 * it; everything here needs the zone's mutex.
 *
 *   sh ── rbtree ── channel ── log, forms              (src/channel_log.h)
 *    │               └─ readers ── reader: worker slot 0, its lows
 *    │                              reader: worker slot 1
 *    ├─ lru: channels, the latest used first
 *    ├─ revoked tokens                               (src/revocation.h)
 *    └─ slot[n]: readers of that worker; those with news for it
 *
 * A reader stands for all subscribers of one channel in one worker. It says
 * what that worker still needs; what no reader needs and history does not
 * keep is freed. When a worker dies its readers are dropped, and with them
 * everything it held.
 */

#ifndef NGX_HTTP_GATEWAY_CHANNEL_ZONE_H_INCLUDED
#define NGX_HTTP_GATEWAY_CHANNEL_ZONE_H_INCLUDED


#include "ngx_http_gateway_channel.h"
#include "../src/channel_blob.h"
#include "ngx_http_gateway_worker.h"
#include "../src/revocation.h"


/* What may gather for this worker's own subscribers before they are served
 * ahead of further publishers. */
#define NGX_HTTP_GATEWAY_BURST  (64 * 1024)


/* Where a channel's epoch comes from, in a zone with redis=. */

typedef enum {
    NGX_HTTP_GATEWAY_CHANNEL_FRESH = 0,  /* nothing is known of it yet */
    NGX_HTTP_GATEWAY_CHANNEL_SHARED,     /* from Redis */
    NGX_HTTP_GATEWAY_CHANNEL_LOCAL       /* this node's own */
} ngx_http_gateway_channel_state_e;


/*
 * What a node knows of a channel that is shared through Redis. It is in step
 * where generation is that of the subscription and it is not behind.
 */

typedef struct {
    ngx_http_gateway_channel_state_e
                                   state;
    uint64_t                       generation;  /* nothing missed in it */
    uint64_t                       stamp;    /* see .._mirror_touch() */
    uint64_t                       heard;    /* first number announced that
                                              * could not be appended, 0 */
    u_char                         heard_epoch[GW_EPOCH_LEN];
    uint64_t                       left;     /* the newest when a shared
                                              * epoch was last left */
    u_char                         left_epoch[GW_EPOCH_LEN];
    uint64_t                       been;     /* up to here this epoch has been
                                              * here before */
    uint64_t                       walk;     /* the last that came by */
    ngx_uint_t                     others;   /* subscribers of other nodes */
    ngx_uint_t                     told;     /* ... that they know of here */
    ngx_queue_t                    in_walk;
    ngx_queue_t                    in_counts;
    unsigned                       behind:1;
    unsigned                       history:1;  /* what is fetched now is */
    unsigned                       counted:1;  /* in_counts */
    unsigned                       retell:1;   /* even if not changed */
} ngx_http_gateway_channel_mirror_t;


typedef struct ngx_http_gateway_channel_s  ngx_http_gateway_channel_t;

struct ngx_http_gateway_channel_s {
    ngx_str_node_t                 sn;
    ngx_queue_t                    lru;
    ngx_queue_t                    readers;
    gw_channel_log_t               log;
    ngx_http_gateway_channel_mirror_t
                                   mirror;
    u_char                         name[1];
};


typedef struct {
    ngx_queue_t                    in_channel;
    ngx_queue_t                    in_slot;
    ngx_queue_t                    in_dirty;
    ngx_http_gateway_channel_t    *channel;
    ngx_uint_t                     slot;
    ngx_uint_t                     subscribers;
    ngx_uint_t                     opened[GW_FORMS];
    gw_lows_t                      lows;
    uint64_t                       news_us;  /* first unserved publish */
    size_t                         news;     /* bytes published since then */
    void                          *hub;      /* in its worker's memory */
    ngx_uint_t                     dirty;    /* has news for its worker */
} ngx_http_gateway_reader_t;


typedef struct {
    ngx_queue_t                    readers;
    ngx_queue_t                    dirty;
} ngx_http_gateway_channel_slot_t;


/* What this node has published, so that nobody gets it twice. */

#define NGX_HTTP_GATEWAY_PUBLISHED  256

typedef struct {
    u_char                         id[GW_PUBLISH_ID_LEN];
    u_char                         epoch[GW_EPOCH_LEN];
    uint64_t                       seq;      /* 0: given up */
} ngx_http_gateway_published_t;


typedef struct {
    uint32_t                       redis;    /* digest of its name, 0: none */
    uint64_t                       stamp;    /* the last given out */
    uint64_t                       walk;     /* the one under way */
    ngx_uint_t                     again;    /* walk: something was not got */
    ngx_queue_t                    channels; /* those to be walked first */
    ngx_queue_t                    counts;   /* whose subscribers changed */
    ngx_uint_t                     published;
    ngx_uint_t                     given_up;
    ngx_http_gateway_published_t   ids[2][NGX_HTTP_GATEWAY_PUBLISHED];
} ngx_http_gateway_mirror_sh_t;


typedef struct {
    ngx_rbtree_t                   rbtree;
    ngx_rbtree_node_t              sentinel;
    ngx_queue_t                    lru;
    ngx_uint_t                     channels;
    ngx_http_gateway_mirror_sh_t  *mirror;   /* NULL: without redis= */
    gw_revocations_t               revoked;
    ngx_http_gateway_channel_slot_t
                                   slots[NGX_HTTP_GATEWAY_MAX_WORKERS];
} ngx_http_gateway_channel_sh_t;


gw_alloc_t ngx_http_gateway_channel_alloc(
    ngx_http_gateway_channel_zone_t *zone);

ngx_http_gateway_channel_t *ngx_http_gateway_channel_lookup(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name);

/* Finds or makes; drops what was used least recently where there is no
 * room. NULL: the zone is full. */
ngx_http_gateway_channel_t *ngx_http_gateway_channel_obtain(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name);

/* Frees memory of channels used least recently; 0: there is nothing left to
 * free. `keep` itself is not removed, but may lose history. */
ngx_uint_t ngx_http_gateway_channel_evict(
    ngx_http_gateway_channel_zone_t *zone, ngx_http_gateway_channel_t *keep);

/* This worker's reader of the channel, made where there is none. NULL: the
 * zone is full, or the worker has no slot. */
ngx_http_gateway_reader_t *ngx_http_gateway_reader_obtain(
    ngx_http_gateway_channel_zone_t *zone, ngx_http_gateway_channel_t *ch);

/* Opens a form for the reader, once. NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_reader_open(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_reader_t *reader, gw_form_e form);

void ngx_http_gateway_reader_drop(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_reader_t *reader);

/* Forgets what is too old or too much, and what no reader needs. */
void ngx_http_gateway_channel_trim(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch);

/* Marks the workers that have subscribers for what was appended; returns how
 * many these have. _wake() then, without the mutex. */
ngx_uint_t ngx_http_gateway_channel_notify(
    ngx_http_gateway_channel_zone_t *zone, ngx_http_gateway_channel_t *ch,
    size_t size, u_char *wake, ngx_uint_t *at_once);
void ngx_http_gateway_channel_wake(u_char *wake, ngx_uint_t at_once);

/* The number of a channel's subscribers has changed. */
void ngx_http_gateway_channel_count(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch);

/* Subscribers on this node, in this zone. */
ngx_uint_t ngx_http_gateway_channel_subscribers(
    ngx_http_gateway_channel_t *ch);

/* Out of the zone; it must have no readers. */
void ngx_http_gateway_channel_remove(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch);

void ngx_http_gateway_channel_describe(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, ngx_http_gateway_channel_info_t *info);

/* Called by the zone, without the mutex, when this worker has news itself:
 * serves it soon; at once where more than a burst has gathered. */
void ngx_http_gateway_fanout_post(ngx_uint_t at_once);

/* Frees what is kept for the next member. */
void ngx_http_gateway_hub_exit(void);

/* The zones of this worker's configuration. */
ngx_array_t *ngx_http_gateway_channel_zones(void);

uint64_t ngx_http_gateway_monotonic_us(void);


#endif /* NGX_HTTP_GATEWAY_CHANNEL_ZONE_H_INCLUDED */
