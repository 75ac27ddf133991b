/*
 * Counters, gauges and histograms.
 *
 * Each worker slot has a row of 64-bit cells in shared memory, which only
 * that worker writes: no lock and no atomic operation on a hot path, one add
 * to memory. Reading sums the rows. Cells are named in shared memory, so they
 * keep their values over a reload, also when the configuration changes. When
 * a worker ends or dies its counters are added to a row of the past, and its
 * gauges are forgotten.
 */

#ifndef NGX_HTTP_GATEWAY_METRICS_H_INCLUDED
#define NGX_HTTP_GATEWAY_METRICS_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    NGX_HTTP_GATEWAY_COUNTER = 0,
    NGX_HTTP_GATEWAY_GAUGE,          /* also goes down */
    NGX_HTTP_GATEWAY_HISTOGRAM       /* of seconds, buckets fixed */
} ngx_http_gateway_metric_type_e;


/* From the configuration's pool; `cell` is set when zones are initialised. */

typedef struct {
    ngx_str_t                        name;     /* gateway_..._total */
    ngx_str_t                        labels;   /* zone="z",reason="full" */
    ngx_str_t                        help;
    ngx_http_gateway_metric_type_e   type;
    ngx_uint_t                       cell;
} ngx_http_gateway_metric_t;


/*
 * Registers a metric at configuration time; asking again for the same name
 * and labels returns the same metric. labels is already in the text format
 * (name="value", values escaped) and is copied. NULL: no memory, was logged.
 */
ngx_http_gateway_metric_t *ngx_http_gateway_metric(ngx_conf_t *cf,
    ngx_http_gateway_metric_type_e type, char *name, ngx_str_t *labels,
    char *help);

/* Writes name="value" with value escaped for labels above. */
ngx_int_t ngx_http_gateway_metric_label(ngx_conf_t *cf, ngx_str_t *label,
    char *name, ngx_str_t *value);

/* This worker's row; cell 0 takes what has no room. Never NULL. */
extern int64_t  *ngx_http_gateway_cells;

#define ngx_http_gateway_count(m, n)                                         \
    (ngx_http_gateway_cells[(m)->cell] += (n))

/* Adds one observation to a histogram; us: microseconds. */
void ngx_http_gateway_observe(ngx_http_gateway_metric_t *m, uint64_t us);


/*
 * Values that are computed when they are read (such as zone bytes): called
 * in a worker for each reading, at most once per registered collector.
 * A collector calls emit() once per value.
 */

typedef void (*ngx_http_gateway_emit_pt)(void *ctx, char *name,
    ngx_str_t *labels, char *help, ngx_http_gateway_metric_type_e type,
    int64_t value);
typedef void (*ngx_http_gateway_collect_pt)(void *data,
    ngx_http_gateway_emit_pt emit, void *ctx, ngx_pool_t *pool);

ngx_int_t ngx_http_gateway_collector(ngx_conf_t *cf,
    ngx_http_gateway_collect_pt collect, void *data);


#endif /* NGX_HTTP_GATEWAY_METRICS_H_INCLUDED */
