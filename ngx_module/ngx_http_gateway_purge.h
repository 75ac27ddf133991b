/*
 * A purge on its way: what it names, and how far it is. The work is done in
 * slices, between which the lock is free and other requests are served; then
 * it is told to the subscribers of the channel cache:invalidate.
 */

#ifndef NGX_HTTP_GATEWAY_PURGE_H_INCLUDED
#define NGX_HTTP_GATEWAY_PURGE_H_INCLUDED


#include "ngx_http_gateway_cache_int.h"


typedef struct ngx_http_gateway_purge_s  ngx_http_gateway_purge_t;

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
};


/* What is not named here is the caller's to fill before run(). */
ngx_int_t ngx_http_gateway_purge_init(ngx_http_gateway_purge_t *job,
    ngx_http_gateway_cache_zone_t *zone, ngx_pool_t *pool, ngx_log_t *log);

/* Does the first slice at once, and the rest by events. */
void ngx_http_gateway_purge_run(ngx_http_gateway_purge_t *job);

void ngx_http_gateway_purge_cancel(ngx_http_gateway_purge_t *job);


#endif /* NGX_HTTP_GATEWAY_PURGE_H_INCLUDED */
