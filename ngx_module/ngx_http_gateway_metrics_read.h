/*
 * Reading the metrics of ngx_http_gateway_metrics.h, for the status endpoint.
 */

#ifndef NGX_HTTP_GATEWAY_METRICS_READ_H_INCLUDED
#define NGX_HTTP_GATEWAY_METRICS_READ_H_INCLUDED


#include "ngx_http_gateway_metrics.h"


#define NGX_HTTP_GATEWAY_METRIC_BUCKETS  15


/* Upper bounds in seconds, as Prometheus writes them; the last is "+Inf". */
extern char  *ngx_http_gateway_metric_bounds[NGX_HTTP_GATEWAY_METRIC_BUCKETS];


/* One series as it was at the moment of reading. */

typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        labels;    /* in the text format */
    ngx_str_t                        help;
    ngx_http_gateway_metric_type_e   type;
    ngx_uint_t                       order;     /* of registration */
    int64_t                          value;     /* not of a histogram */

    /* of a histogram; each bucket includes those below it */
    int64_t                          sum;       /* us */
    int64_t                          buckets[NGX_HTTP_GATEWAY_METRIC_BUCKETS];
} ngx_http_gateway_sample_t;


/* Makes the zone, so that workers are counted also where nothing else is. */
ngx_int_t ngx_http_gateway_metrics_use(ngx_conf_t *cf);

/*
 * All series of this request's configuration, what collectors tell included,
 * in r's pool: an array of ngx_http_gateway_sample_t, sorted by name, those
 * of one name in the order of their registration. NULL: no memory.
 */
ngx_array_t *ngx_http_gateway_metrics_read(ngx_http_request_t *r);

/* Workers that have a slot, also those that are ending after a reload. */
ngx_uint_t ngx_http_gateway_metrics_workers(ngx_http_request_t *r);


#endif /* NGX_HTTP_GATEWAY_METRICS_READ_H_INCLUDED */
