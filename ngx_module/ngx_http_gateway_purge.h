/*
 * A purge on its way: what it names, and how far it is. The work is done in
 * slices, between which the lock is free and other requests are served. Where
 * the zone has a second level that is purged then, and other nodes are told;
 * at last the subscribers of the channel cache:invalidate are.
 */

#ifndef NGX_HTTP_GATEWAY_PURGE_H_INCLUDED
#define NGX_HTTP_GATEWAY_PURGE_H_INCLUDED


#include "ngx_http_gateway_cache_int.h"


typedef struct ngx_http_gateway_purge_s  ngx_http_gateway_purge_t;
typedef struct ngx_http_gateway_cache_op_s  ngx_http_gateway_cache_op_t;

struct ngx_http_gateway_purge_s {
    ngx_http_gateway_cache_zone_t  *zone;
    ngx_pool_t                     *pool;      /* of all of it */
    ngx_array_t                     keys;      /* of gw_str_t */
    ngx_array_t                     tags;
    gw_str_t                        pattern;   /* len 0: none */
    ngx_str_t                       payload;   /* to be told; len 0: nothing */
    gw_store_purge_t                purge;     /* cascade, purged */

    /* called once, in an event or from run(); may free the job */
    void                          (*done)(ngx_http_gateway_purge_t *job);

    ngx_uint_t                      key;       /* where it goes on */
    ngx_uint_t                      tag;
    ngx_event_t                     event;
    ngx_http_gateway_cache_op_t    *op;        /* in level 2 */
    unsigned                        matched:1; /* the pattern is done */
    unsigned                        local:1;   /* level 1 only */
    unsigned                        later:1;   /* run() has returned before */
};


/* What is not named here is the caller's to fill before run(). */
ngx_int_t ngx_http_gateway_purge_init(ngx_http_gateway_purge_t *job,
    ngx_http_gateway_cache_zone_t *zone, ngx_pool_t *pool, ngx_log_t *log);

/* Does the first slice at once, and the rest by events. */
void ngx_http_gateway_purge_run(ngx_http_gateway_purge_t *job);

void ngx_http_gateway_purge_cancel(ngx_http_gateway_purge_t *job);

/* From the beginning, when run() is called again. */
void ngx_http_gateway_purge_rewind(ngx_http_gateway_purge_t *job);

/* Copies names, an array of gw_str_t, to the end of another one. */
ngx_int_t ngx_http_gateway_purge_names(ngx_pool_t *pool, ngx_array_t *to,
    ngx_array_t *from);

/* A job that ends by itself, in a pool of its own; NULL: no memory. */
ngx_http_gateway_purge_t *ngx_http_gateway_purge_create(
    ngx_http_gateway_cache_zone_t *zone);


/* Which zone of a (pointers) tells of a purge of all of them: it is told
 * once, and on all nodes where any of them is shared. */
ngx_uint_t ngx_http_gateway_purge_teller(ngx_array_t *a);

/* Tells the subscribers of every channel zone what was purged. */
void ngx_http_gateway_purge_relay(ngx_http_gateway_purge_t *job);

/* {keys?, pattern?, tags?, cascade?} becomes the job's; the text stays where
 * it is. NGX_OK; NGX_DECLINED: malformed, or names nothing; NGX_ERROR. */
ngx_int_t ngx_http_gateway_purge_parse(ngx_http_gateway_purge_t *job,
    ngx_str_t *body);


/* _cache_remote_purge.c */

/* Purges level 2 and tells other nodes. NGX_AGAIN: remote_done() will be
 * called, with the numbers of objects in level 2 and, since, in level 1;
 * NGX_OK: it goes on by itself. */
ngx_int_t ngx_http_gateway_purge_remote(ngx_http_gateway_purge_t *job);
void ngx_http_gateway_purge_remote_cancel(ngx_http_gateway_purge_t *job);

void ngx_http_gateway_purge_remote_done(ngx_http_gateway_purge_t *job,
    uint64_t remote, uint64_t local);


#endif /* NGX_HTTP_GATEWAY_PURGE_H_INCLUDED */
