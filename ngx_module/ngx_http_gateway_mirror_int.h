/*
 * What the files of the shared channels have in common.
 *
 *     _mirror.c         the interface: publishing, deleting, waiting
 *     _mirror_script.c  the scripts, and sending them
 *     _mirror_log.c     the mirror in shared memory
 *     _mirror_fetch.c   getting what is missing
 *     _mirror_news.c    announcements, and all that the leader does
 *
 * A mirror is in step where all that was announced since the leader has its
 * subscription is in it. What is announced can be appended where it is the
 * next number; else the channel is fetched: by the leader where it has
 * readers, by whoever needs it where not. Announcements that come meanwhile
 * are held. Fetches of several workers may cross: a channel's stamp, taken
 * when one begins, says at its end whether something has been missed.
 */

#ifndef NGX_HTTP_GATEWAY_MIRROR_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_MIRROR_INT_H_INCLUDED


#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_mirror.h"
#include "ngx_http_gateway_text.h"
#include "../src/pattern.h"


#define NGX_HTTP_GATEWAY_MIRROR_FETCHES  64   /* of the walk, at a time */
#define NGX_HTTP_GATEWAY_MIRROR_TRIES    4    /* of one fetch */
#define NGX_HTTP_GATEWAY_MIRROR_HELD     (4 * 1024 * 1024)  /* bytes */
#define NGX_HTTP_GATEWAY_MIRROR_PAGE     (1024 * 1024)      /* of a fetch */

#define NGX_HTTP_GATEWAY_MIRROR_META     86400000  /* ms, at least */
#define NGX_HTTP_GATEWAY_MIRROR_RETELL   1200      /* s */
#define NGX_HTTP_GATEWAY_MIRROR_AGAIN    5         /* s */


typedef struct ngx_http_gateway_mirror_s  ngx_http_gateway_mirror_t;

/* Of one zone, in this worker. */

struct ngx_http_gateway_mirror_s {
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_mirror_t        *next;     /* zone of the same Redis */
    u_char                            digest[8];  /* of the zone's name */

    ngx_rbtree_t                      fetches;  /* under way, by name */
    ngx_rbtree_node_t                 sentinel;
    ngx_uint_t                        walking;  /* those of the walk */
    time_t                            walked;   /* when it began */

    ngx_queue_t                       ops;      /* all that are under way */
    uint64_t                          serial;   /* of what is published */
    ngx_queue_t                       flying;   /* sent, not answered */
    ngx_queue_t                       waiting;  /* to be published again */
    ngx_event_t                       timer;    /* ... or here, then */
    ngx_uint_t                        hung;     /* Redis let one time out */
    ngx_uint_t                        full;     /* no room: not logged yet */
};

#define ngx_http_gateway_mirror_get(zone)                                    \
    ((ngx_http_gateway_mirror_t *) (zone)->mirror)

/* What all zones with redis= have of it in shared memory. */
#define ngx_http_gateway_mirror_sh(zone)                                     \
    (((ngx_http_gateway_channel_sh_t *) (zone)->sh)->mirror)


/* An announcement that waits for a fetch. */

typedef struct ngx_http_gateway_held_s  ngx_http_gateway_held_t;

struct ngx_http_gateway_held_s {
    ngx_http_gateway_held_t          *next;
    uint64_t                          seq;
    u_char                            epoch[GW_EPOCH_LEN];
    gw_message_t                      m;
    ngx_uint_t                        quiet;
};


/* Somebody who waits for a fetch; in the op's pool. */

typedef struct {
    ngx_queue_t                       queue;
    ngx_http_gateway_mirror_op_t     *op;
} ngx_http_gateway_waiter_t;


typedef struct {
    ngx_str_node_t                    sn;
    ngx_pool_t                       *pool;
    ngx_http_gateway_mirror_t        *mirror;
    ngx_str_t                         name;
    ngx_queue_t                       waiters;
    uint64_t                          generation;
    uint64_t                          stamp;
    ngx_uint_t                        tries;
    u_char                            epoch[GW_EPOCH_LEN];
    uint64_t                          since;
    ngx_pool_t                       *held_pool;
    ngx_http_gateway_held_t          *held;
    ngx_http_gateway_held_t         **held_last;
    size_t                            held_size;
    unsigned                          create:1;  /* make an epoch */
    unsigned                          walk:1;
    unsigned                          lost:1;    /* could not be held */
} ngx_http_gateway_fetch_t;


/* A message that was fetched. */

typedef struct {
    uint64_t                          seq;
    u_char                           *id;     /* NULL: it has none */
    gw_message_t                      m;      /* no payload: it is none */
} ngx_http_gateway_fetched_t;


/* What a script answered. */

typedef struct {
    ngx_int_t                         status;
    u_char                           *epoch;     /* NULL: none */
    uint64_t                          seq;
    ngx_uint_t                        others;    /* subscribers */
    redisReply                       *entries;   /* number, message, id, … */
    ngx_uint_t                        more;      /* entries */
} ngx_http_gateway_mirror_reply_t;

#define NGX_HTTP_GATEWAY_MIRROR_LATE      -1
#define NGX_HTTP_GATEWAY_MIRROR_CONFLICT  0      /* or: there is none */
#define NGX_HTTP_GATEWAY_MIRROR_DONE      1


struct ngx_http_gateway_mirror_op_s {
    ngx_queue_t                       all;       /* ops */
    ngx_queue_t                       queue;     /* flying or waiting */
    ngx_pool_t                       *pool;
    ngx_http_gateway_mirror_t        *mirror;
    ngx_str_t                         name;
    ngx_http_gateway_mirror_pt        done;
    void                             *data;

    /* publishing, deleting */
    gw_message_t                      m;
    ngx_str_t                         blob;
    int64_t                           expected;
    u_char                            id[GW_PUBLISH_ID_LEN];
    uint64_t                          serial;
    uint64_t                          generation;
    ngx_msec_t                        deadline;  /* ngx_current_msec */
    ngx_uint_t                        sent;
    unsigned                          once:1;    /* id is given; not here */
    unsigned                          again:1;   /* it may be known */

    /* waiting for fetches */
    ngx_uint_t                        fetches;
    ngx_http_gateway_waiter_t        *waiters;
    ngx_uint_t                        nwaiters;
};


/* Scripts. */

void ngx_http_gateway_mirror_script_init(void);
ngx_http_gateway_redis_command_t *ngx_http_gateway_mirror_script_publish(
    ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_redis_handler_pt handler);
ngx_http_gateway_redis_command_t *ngx_http_gateway_mirror_script_delete(
    ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_redis_handler_pt handler);
ngx_http_gateway_redis_command_t *ngx_http_gateway_mirror_script_fetch(
    ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_redis_handler_pt handler);
ngx_int_t ngx_http_gateway_mirror_script_count(
    ngx_http_gateway_mirror_t *mirror, ngx_str_t *name, ngx_uint_t n);

/* NGX_OK, or NGX_ERROR: it is none of ours (was logged). */
ngx_int_t ngx_http_gateway_mirror_reply(ngx_http_gateway_mirror_t *mirror,
    redisReply *reply, ngx_http_gateway_mirror_reply_t *out);


/* The mirror; the mutex is held, but for _decode(). */

/* A message as it came: NGX_OK, or NGX_ERROR: it is none (was logged). */
ngx_int_t ngx_http_gateway_mirror_decode(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, gw_str_t blob, gw_message_t *m);

/* Something has been missed, or another epoch begun: fetches under way must
 * know. */
void ngx_http_gateway_mirror_touch(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch);

/* Whether the channel's epoch is that one, from Redis. */
ngx_uint_t ngx_http_gateway_mirror_same(ngx_http_gateway_channel_t *ch,
    const u_char *epoch);

ngx_uint_t ngx_http_gateway_mirror_in_step(
    ngx_http_gateway_channel_zone_t *zone, ngx_http_gateway_channel_t *ch);

/* It is, in that generation, from here on. */
void ngx_http_gateway_mirror_settled(ngx_http_gateway_channel_t *ch,
    uint64_t generation);

/* Number seq of the channel's epoch, which must be the next one; NULL in
 * place of a message: it cannot be had. */
void ngx_http_gateway_mirror_append(ngx_http_gateway_mirror_t *mirror,
    ngx_http_gateway_channel_t *ch, gw_message_t *m, ngx_uint_t quiet,
    u_char *wake, ngx_uint_t *at_once);

/* What is left to do of that without the mutex: says what had no room, and
 * wakes the workers. */
void ngx_http_gateway_mirror_appended(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, u_char *wake, ngx_uint_t at_once);

void ngx_http_gateway_mirror_restart(ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_channel_t *ch, const u_char *epoch, uint64_t seq);

void ngx_http_gateway_mirror_heard(ngx_http_gateway_channel_t *ch,
    const u_char *epoch, uint64_t seq);

/* Subscribers of other nodes in a list of counters. */
ngx_uint_t ngx_http_gateway_mirror_others(ngx_http_gateway_mirror_t *mirror,
    gw_str_t counts);

/* What this worker has published, and Redis has taken, goes into the channel
 * where it is the next one. Whether the channel is to be fetched. */
ngx_uint_t ngx_http_gateway_mirror_adopt(ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_mirror_reply_t *reply, u_char *wake,
    ngx_uint_t *at_once, ngx_http_gateway_channel_info_t *info);

/* What this node has published has become known; whether it had been given
 * up; giving up: NGX_OK with epoch and number where it is known. */
void ngx_http_gateway_mirror_published(ngx_http_gateway_mirror_t *mirror,
    gw_news_t *news);
ngx_uint_t ngx_http_gateway_mirror_given_up(
    ngx_http_gateway_mirror_t *mirror, const u_char *id);
ngx_int_t ngx_http_gateway_mirror_give_up(ngx_http_gateway_mirror_t *mirror,
    u_char *id, ngx_http_gateway_channel_info_t *info);


/* Fetching. */

/* Joins a fetch or begins one. waiter may be NULL. NGX_AGAIN: the waiter's
 * op will be told by _mirror_fetched(); NGX_DECLINED: Redis is away;
 * NGX_ERROR: no memory. */
ngx_int_t ngx_http_gateway_mirror_fetch(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, ngx_uint_t create, ngx_http_gateway_waiter_t *waiter,
    ngx_uint_t walk);
void ngx_http_gateway_mirror_fetched(ngx_http_gateway_mirror_op_t *op);

void ngx_http_gateway_mirror_fetches_free(ngx_http_gateway_mirror_t *mirror);

/* The fetch under way for the channel, in this worker; NULL: none. */
ngx_http_gateway_fetch_t *ngx_http_gateway_mirror_fetching(
    ngx_http_gateway_mirror_t *mirror, ngx_str_t *name);
void ngx_http_gateway_mirror_hold(ngx_http_gateway_fetch_t *fetch,
    gw_news_t *news, ngx_uint_t quiet);

/* What a fetch got goes into the channel; the rest of the work of _fetch.
 * The mutex is held. NGX_OK; NGX_AGAIN: there is more to fetch;
 * NGX_DECLINED: it must begin anew. */
ngx_int_t ngx_http_gateway_mirror_take(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_mirror_reply_t *reply, ngx_http_gateway_fetched_t *e,
    ngx_uint_t n, u_char *wake, ngx_uint_t *at_once);


/* The leader's. */

extern ngx_http_gateway_redis_user_t  ngx_http_gateway_mirror_user;

/* Begins a walk over the channels of this and the zones after it, where this
 * worker leads; goes on with one. */
void ngx_http_gateway_mirror_begin(ngx_http_gateway_mirror_t *mirror);
void ngx_http_gateway_mirror_walk(ngx_http_gateway_mirror_t *mirror);

/* Commands are taken again; no longer. */
void ngx_http_gateway_mirror_up(ngx_http_gateway_redis_t *redis, void *data);
void ngx_http_gateway_mirror_down(ngx_http_gateway_redis_t *redis,
    void *data);


#endif /* NGX_HTTP_GATEWAY_MIRROR_INT_H_INCLUDED */
