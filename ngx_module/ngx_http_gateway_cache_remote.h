/*
 * gateway_cache's second level: what all nodes share through Redis.
 *
 * <p> is Redis's prefix, <b> the bucket of the cache key, <z> the zone's name:
 *
 *   <p>{<b>}o:<z>:<key>   hash: s, its specs, newest first, a line each; t,
 *                         its tags, a line each; one field a variant: -, or
 *                         v and the SHA-256 of what the request said; a and
 *                         that of a language, whose value is @ and a field
 *   <p>{<b>}k:<z>:<key>   hash: variant -> who fetches it and until when, or
 *                         ! and how long it counts as not cacheable
 *   <p>{<b>}t:<z>:<tag>   sorted set: keys by when they expire
 *   <p>{<b>}x:<z>:k<key>  when it was purged (ms), so that what was asked for
 *                 :t<tag> before that is not stored after it
 *                 :*
 *   <p>{<b>}p:<z>         stream: the last purges; <b> is of the zone's name
 *   <p>{<b>}e:<z>         a random word: from whenever the stream is whole
 *   <p>purge              channel: purges as they happen
 *
 *   _remote.c        scripts, keys, the zone's part
 *   _remote_look.c   looks a request up, puts what is found into level 1
 *   _remote_store.c  stores, and gives the right to fetch back
 *   _remote_purge.c  purges level 2
 *   _remote_owed.c   purges that could not be done when they were asked for
 *   _remote_tell.c   tells the other nodes
 *   _remote_node.c   what other nodes have purged, and what was missed
 */

#ifndef NGX_HTTP_GATEWAY_CACHE_REMOTE_H_INCLUDED
#define NGX_HTTP_GATEWAY_CACHE_REMOTE_H_INCLUDED


#include "ngx_http_gateway_cache_int.h"
#include "ngx_http_gateway_purge.h"
#include "ngx_http_gateway_redis.h"
#include "../src/cache_wire.h"


#define NGX_HTTP_GATEWAY_CACHE_FIELD   33     /* bytes of a variant's name */
#define NGX_HTTP_GATEWAY_CACHE_RUN_ID  40
#define NGX_HTTP_GATEWAY_CACHE_TOKEN   64

/* A spec that a response may have been stored with, and what the request says
 * in its fields. */

typedef struct {
    gw_str_t                            spec;
    u_char                              field
                                          [NGX_HTTP_GATEWAY_CACHE_FIELD];
    u_char                              alias
                                          [NGX_HTTP_GATEWAY_CACHE_FIELD];
    unsigned                            aliased:1;
} ngx_http_gateway_cache_candidate_t;


/* A request's dealings with level 2; of its pool. */

struct ngx_http_gateway_cache_remote_s {
    ngx_http_gateway_cache_ctx_t       *ctx;
    ngx_http_gateway_redis_command_t   *command;   /* NULL: none */
    ngx_event_t                         timer;     /* until it looks again */
    ngx_msec_t                          delay;

    ngx_str_t                           object;    /* keys of Redis */
    ngx_str_t                           locks;

    u_char                              token[NGX_HTTP_GATEWAY_CACHE_TOKEN];
    size_t                              token_len;
    ngx_msec_t                          lock;      /* 0: does not ask for it */

    ngx_http_gateway_cache_candidate_t  candidates[GW_STORE_SPECS + 1];
    ngx_uint_t                          ncandidates;
    int64_t                             have;      /* response_time; -1 */

    /* when upstream is asked, by Redis's clock and server; 0: not known */
    uint64_t                            begun;
    u_char                              run_id
                                          [NGX_HTTP_GATEWAY_CACHE_RUN_ID];

    /* what is being stored */
    gw_store_id_t                       id;
    gw_str_t                            spec;
    gw_str_t                            tags;      /* joined by blanks */
    ngx_http_gateway_cache_candidate_t  variant;

    unsigned                            done:1;    /* was looked up */
    unsigned                            found:1;
    unsigned                            fresh:1;   /* what was found */
    unsigned                            held:1;    /* the right to fetch */
    unsigned                            other:1;   /* another node has it */
    unsigned                            narrowed:1;  /* Redis's own specs */
    unsigned                            storing:1;
};


/* _remote.c */

extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_look;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_store;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_release;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_key;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_bucket;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_tell;
extern ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_missed;

/* redis=name in gateway_cache_zone. */
ngx_int_t ngx_http_gateway_cache_remote_use(ngx_conf_t *cf,
    ngx_http_gateway_cache_zone_t *zone, ngx_str_t *name);

/* A key of Redis: what is as above, of the bucket; text follows the zone. */
ngx_int_t ngx_http_gateway_cache_remote_key(
    ngx_http_gateway_cache_zone_t *zone, ngx_pool_t *pool, ngx_uint_t bucket,
    char *what, gw_str_t text, ngx_str_t *key);

/* NULL: no memory. */
ngx_http_gateway_cache_remote_t *ngx_http_gateway_cache_remote_ctx(
    ngx_http_gateway_cache_ctx_t *ctx);

/* What the request says in the spec's fields: NGX_OK, NGX_DECLINED. */
ngx_int_t ngx_http_gateway_cache_remote_candidate(
    ngx_http_gateway_cache_ctx_t *ctx, gw_str_t spec,
    ngx_http_gateway_cache_candidate_t *c);

/* The name of a variant. */
void ngx_http_gateway_cache_remote_field(u_char *field, u_char kind,
    const void *text, size_t len);


/* _remote_purge.c */

typedef enum {
    NGX_HTTP_GATEWAY_PURGE_STAMP = 0,  /* nothing on its way is stored */
    NGX_HTTP_GATEWAY_PURGE_BY_KEY,
    NGX_HTTP_GATEWAY_PURGE_BY_TAG,
    NGX_HTTP_GATEWAY_PURGE_SCAN,
    NGX_HTTP_GATEWAY_PURGE_CASCADE,
    NGX_HTTP_GATEWAY_PURGE_LOCAL,
    NGX_HTTP_GATEWAY_PURGE_TELL,
    NGX_HTTP_GATEWAY_PURGE_END
} ngx_http_gateway_purge_phase_e;


struct ngx_http_gateway_cache_op_s {
    ngx_http_gateway_purge_t        job;       /* level 1; must be first */
    ngx_queue_t                     queue;     /* of those that are kept */
    ngx_str_t                       payload;   /* told by the other nodes */
    ngx_array_t                     others;    /* of gw_str_t: cascade */

    ngx_http_gateway_purge_t       *asked;     /* who waits; NULL: nobody */
    ngx_event_t                     start;

    ngx_http_gateway_purge_phase_e  phase;
    ngx_uint_t                      bucket;    /* where the phase goes on */
    ngx_uint_t                      next;
    ngx_uint_t                      flight;
    uint64_t                        purged;
    unsigned                        failed:1;
    unsigned                        kept:1;
    unsigned                        pumping:1;
};


/* Goes on as far as it can; the op may be gone on return. */
void ngx_http_gateway_purge_pump(ngx_http_gateway_cache_op_t *op);


/* _remote_owed.c */

/* Keeps it to do it again; it may be gone on return. */
void ngx_http_gateway_purge_keep(ngx_http_gateway_cache_op_t *op);

/* An error of Redis: where it will pass the op has failed, to be kept; doing
 * it again would not help else. */
void ngx_http_gateway_purge_refused(ngx_http_gateway_cache_op_t *op,
    redisReply *reply);

/* Whether this worker keeps as many as it may. */
ngx_uint_t ngx_http_gateway_purge_full(void);

/* It is done. */
void ngx_http_gateway_purge_paid(ngx_http_gateway_cache_op_t *op);

/* Whether this worker owes the zone something; lost: nobody knows what. */
void ngx_http_gateway_purge_owe(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t owes, ngx_uint_t lost);

/* Tells who has asked, if anybody waits. */
void ngx_http_gateway_purge_answered(ngx_http_gateway_cache_op_t *op);

/* In a worker, when Redis is there (again). */
void ngx_http_gateway_cache_remote_catch_up(
    ngx_http_gateway_redis_t *redis);


/* _remote_tell.c */

/* One command: of what was asked for, or of the tags that it came to. */
void ngx_http_gateway_purge_tell(ngx_http_gateway_cache_op_t *op,
    ngx_uint_t others);


/* _remote_node.c */

extern ngx_http_gateway_redis_user_t  ngx_http_gateway_cache_remote_user;


#endif /* NGX_HTTP_GATEWAY_CACHE_REMOTE_H_INCLUDED */
