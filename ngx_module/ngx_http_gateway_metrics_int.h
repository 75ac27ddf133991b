/*
 * What the files of the metrics share. The zone:
 *
 *     shctx     registry: for each cell what it counts, and the fold
 *     past      one row: the counters of workers that are no more
 *     rows[0]   one for each worker slot, made when the slot is first used
 *     ...
 *     keys      name{labels} of each metric
 *
 * Only the process that reads a configuration writes the registry; workers
 * know the numbers of their cells from the configuration. All but adding to
 * one's own row is done with the zone's mutex.
 */

#ifndef NGX_HTTP_GATEWAY_METRICS_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_METRICS_INT_H_INCLUDED


#include "ngx_http_gateway_metrics_read.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_METRIC_CELLS  2048
#define NGX_HTTP_GATEWAY_METRIC_SUM    NGX_HTTP_GATEWAY_METRIC_BUCKETS

/* of a histogram: its buckets, each without those below it, and the sum */
#define NGX_HTTP_GATEWAY_METRIC_SPAN   (NGX_HTTP_GATEWAY_METRIC_BUCKETS + 1)

#define NGX_HTTP_GATEWAY_METRIC_ROW                                          \
    (NGX_HTTP_GATEWAY_METRIC_CELLS * sizeof(int64_t))

/* all rows, and room for the registry, the past and long names */
#define NGX_HTTP_GATEWAY_METRIC_ZONE                                         \
    ((NGX_HTTP_GATEWAY_MAX_WORKERS + 48) * NGX_HTTP_GATEWAY_METRIC_ROW)


/* What stands in the first cell of a metric; len 0: the cell is not one. */

typedef struct {
    u_char                          *key;       /* name{labels} */
    uint32_t                         len;
    uint32_t                         hash;
    ngx_uint_t                       epoch;     /* of its last use */
    uint8_t                          type;
    uint8_t                          span;      /* cells */
} ngx_http_gateway_metric_entry_t;


/*
 * What adding a cell to the past is about to do. Written first, so that where
 * the worker that does it dies in between, it is done again to the same end.
 */

typedef struct {
    ngx_uint_t                       pending;
    ngx_uint_t                       slot;
    ngx_uint_t                       cell;
    int64_t                          past;
} ngx_http_gateway_metric_fold_t;


typedef struct {
    ngx_uint_t                       epoch;     /* configurations so far */
    ngx_uint_t                       ncells;    /* no cell is used beyond */
    ngx_http_gateway_metric_fold_t   fold;
    int64_t                         *past;
    int64_t                         *rows[NGX_HTTP_GATEWAY_MAX_WORKERS];
    u_char                           alive[NGX_HTTP_GATEWAY_MAX_WORKERS];
    u_char                           gauge[NGX_HTTP_GATEWAY_METRIC_CELLS];
    ngx_http_gateway_metric_entry_t  entries[NGX_HTTP_GATEWAY_METRIC_CELLS];
} ngx_http_gateway_metrics_shctx_t;


typedef struct {
    ngx_http_gateway_collect_pt      collect;
    void                            *data;
} ngx_http_gateway_metric_collector_t;


typedef struct {
    ngx_array_t                       metrics;      /* of pointers */
    ngx_array_t                       collectors;
    ngx_shm_zone_t                   *zone;
    ngx_slab_pool_t                  *shpool;
    ngx_http_gateway_metrics_shctx_t *sh;           /* NULL: no zone yet */
} ngx_http_gateway_metrics_main_conf_t;


/*
 * Does again what a worker that died while adding to the past left half. To
 * be called with the mutex, before anything else is done with the rows.
 */
void ngx_http_gateway_metrics_recover(ngx_http_gateway_metrics_shctx_t *sh);


extern ngx_module_t  ngx_http_gateway_metrics_module;


#endif /* NGX_HTTP_GATEWAY_METRICS_INT_H_INCLUDED */
