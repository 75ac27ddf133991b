/*
 * Reading the metrics: see the header.
 */

#include "ngx_http_gateway_metrics_int.h"


typedef struct {
    ngx_pool_t                       *pool;
    ngx_array_t                      *samples;
    ngx_uint_t                        failed;
} ngx_http_gateway_metrics_reading_t;


char  *ngx_http_gateway_metric_bounds[NGX_HTTP_GATEWAY_METRIC_BUCKETS] = {
    "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
    "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "+Inf"
};


/*
 * With the mutex, as a row that is being added to the past would be missing
 * or be there twice.
 */

static int64_t *
ngx_http_gateway_metrics_snapshot(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_pool_t *pool)
{
    int64_t                           *sums, *row;
    ngx_uint_t                         i, n, slot;
    ngx_http_gateway_metrics_shctx_t  *sh;

    sums = ngx_pcalloc(pool, NGX_HTTP_GATEWAY_METRIC_ROW);
    if (sums == NULL || mmcf->sh == NULL) {
        return sums;
    }

    sh = mmcf->sh;

    ngx_shmtx_lock(&mmcf->shpool->mutex);

    ngx_http_gateway_metrics_recover(sh);

    n = sh->ncells;
    ngx_memcpy(sums, sh->past, n * sizeof(int64_t));

    for (slot = 0; slot < NGX_HTTP_GATEWAY_MAX_WORKERS; slot++) {
        row = sh->rows[slot];

        if (row && sh->alive[slot]) {
            for (i = 0; i < n; i++) {
                sums[i] += row[i];
            }
        }
    }

    ngx_shmtx_unlock(&mmcf->shpool->mutex);

    return sums;
}


static void
ngx_http_gateway_metrics_emit(void *data, char *name, ngx_str_t *labels,
    char *help, ngx_http_gateway_metric_type_e type, int64_t value)
{
    ngx_http_gateway_sample_t          *s;
    ngx_http_gateway_metrics_reading_t *reading = data;

    s = ngx_array_push(reading->samples);
    if (s == NULL) {
        reading->failed = 1;
        return;
    }

    ngx_memzero(s, sizeof(*s));

    s->name.data = (u_char *) name;
    s->name.len = ngx_strlen(name);
    s->help.data = (u_char *) help;
    s->help.len = ngx_strlen(help);
    s->type = type;
    s->value = value;

    if (labels && labels->len) {
        s->labels.len = labels->len;
        s->labels.data = ngx_pstrdup(reading->pool, labels);

        if (s->labels.data == NULL) {
            s->labels.len = 0;
            reading->failed = 1;
        }
    }
}


static ngx_int_t
ngx_http_gateway_metrics_registered(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_http_gateway_metrics_reading_t *reading)
{
    int64_t                    *sums, n;
    ngx_uint_t                  i, b;
    ngx_http_gateway_sample_t  *s;
    ngx_http_gateway_metric_t **m;

    sums = ngx_http_gateway_metrics_snapshot(mmcf, reading->pool);
    if (sums == NULL) {
        return NGX_ERROR;
    }

    m = mmcf->metrics.elts;

    for (i = 0; i < mmcf->metrics.nelts; i++) {

        if (m[i]->cell == 0) {
            /* had no room: a number would be of several together */
            continue;
        }

        s = ngx_array_push(reading->samples);
        if (s == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(s, sizeof(*s));

        s->name = m[i]->name;
        s->labels = m[i]->labels;
        s->help = m[i]->help;
        s->type = m[i]->type;

        if (m[i]->type != NGX_HTTP_GATEWAY_HISTOGRAM) {
            s->value = sums[m[i]->cell];
            continue;
        }

        for (b = 0, n = 0; b < NGX_HTTP_GATEWAY_METRIC_BUCKETS; b++) {
            n += sums[m[i]->cell + b];
            s->buckets[b] = n;
        }

        s->sum = sums[m[i]->cell + NGX_HTTP_GATEWAY_METRIC_SUM];
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_gateway_metrics_cmp(const void *one, const void *two)
{
    int                               rc;
    const ngx_http_gateway_sample_t  *a = one, *b = two;

    rc = ngx_strcmp(a->name.data, b->name.data);

    return rc ? rc : (a->order < b->order ? -1 : 1);
}


ngx_array_t *
ngx_http_gateway_metrics_read(ngx_http_request_t *r)
{
    ngx_uint_t                             i;
    ngx_http_gateway_sample_t             *s;
    ngx_http_gateway_metric_collector_t   *c;
    ngx_http_gateway_metrics_reading_t     reading;
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_metrics_module);

    reading.pool = r->pool;
    reading.failed = 0;
    reading.samples = ngx_array_create(r->pool, mmcf->metrics.nelts + 16,
                                       sizeof(ngx_http_gateway_sample_t));

    if (reading.samples == NULL
        || ngx_http_gateway_metrics_registered(mmcf, &reading) != NGX_OK)
    {
        return NULL;
    }

    c = mmcf->collectors.elts;

    for (i = 0; i < mmcf->collectors.nelts; i++) {
        c[i].collect(c[i].data, ngx_http_gateway_metrics_emit, &reading,
                     r->pool);
    }

    if (reading.failed) {
        return NULL;
    }

    s = reading.samples->elts;

    for (i = 0; i < reading.samples->nelts; i++) {
        s[i].order = i;
    }

    ngx_qsort(s, i, sizeof(*s), ngx_http_gateway_metrics_cmp);

    return reading.samples;
}


ngx_uint_t
ngx_http_gateway_metrics_workers(ngx_http_request_t *r)
{
    ngx_uint_t                             n, slot;
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_metrics_module);

    for (n = 0, slot = 0; slot < NGX_HTTP_GATEWAY_MAX_WORKERS; slot++) {
        if (mmcf->sh && mmcf->sh->alive[slot]) {
            n++;
        }
    }

    return n;
}
