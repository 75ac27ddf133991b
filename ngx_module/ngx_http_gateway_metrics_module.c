/*
 * Counters, gauges and histograms: see the headers.
 */

#include "ngx_http_gateway_metrics_int.h"
#include "../src/utf8.h"


static void *ngx_http_gateway_metrics_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_metrics_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_http_gateway_metrics_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_gateway_metrics_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_metrics_died(ngx_uint_t slot);


/* takes what is counted where no row is: in the master, or without a slot */
static int64_t  ngx_http_gateway_metrics_dummy[NGX_HTTP_GATEWAY_METRIC_CELLS];

int64_t  *ngx_http_gateway_cells = ngx_http_gateway_metrics_dummy;


static ngx_http_gateway_listener_t  ngx_http_gateway_metrics_listener = {
    NULL,
    ngx_http_gateway_metrics_died
};


static uint64_t  ngx_http_gateway_metric_bounds_us[] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
    500000, 1000000
};


static ngx_http_module_t  ngx_http_gateway_metrics_module_ctx = {
    NULL,                                      /* preconfiguration */
    NULL,                                      /* postconfiguration */
    ngx_http_gateway_metrics_create_main_conf, /* create main configuration */
    NULL,                                      /* init main configuration */
    NULL,                                      /* create server conf */
    NULL,                                      /* merge server conf */
    NULL,                                      /* create location conf */
    NULL                                       /* merge location conf */
};


ngx_module_t  ngx_http_gateway_metrics_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_metrics_module_ctx,      /* module context */
    NULL,                                      /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    ngx_http_gateway_metrics_init_module,      /* init module */
    ngx_http_gateway_metrics_init_process,     /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    NULL,                                      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_gateway_metrics_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_pcalloc(cf->pool, sizeof(*mmcf));
    if (mmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mmcf->metrics, cf->pool, 32, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->collectors, cf->pool, 4,
                          sizeof(ngx_http_gateway_metric_collector_t))
           != NGX_OK)
    {
        return NULL;
    }

    return mmcf;
}


ngx_int_t
ngx_http_gateway_metrics_use(ngx_conf_t *cf)
{
    ngx_str_t                              name;
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_metrics_module);

    if (mmcf->zone) {
        return NGX_OK;
    }

    ngx_str_set(&name, "gateway_metrics");

    mmcf->zone = ngx_shared_memory_add(cf, &name,
                                       NGX_HTTP_GATEWAY_METRIC_ZONE,
                                       &ngx_http_gateway_metrics_module);
    if (mmcf->zone == NULL) {
        return NGX_ERROR;
    }

    mmcf->zone->init = ngx_http_gateway_metrics_init_zone;
    mmcf->zone->data = mmcf;

    return ngx_http_gateway_worker_listen(cf,
                                          &ngx_http_gateway_metrics_listener);
}


ngx_http_gateway_metric_t *
ngx_http_gateway_metric(ngx_conf_t *cf, ngx_http_gateway_metric_type_e type,
    char *name, ngx_str_t *labels, char *help)
{
    size_t                                  len;
    ngx_uint_t                              i;
    ngx_http_gateway_metric_t              *m, **mp;
    ngx_http_gateway_metrics_main_conf_t   *mmcf;

    static ngx_str_t  none = ngx_null_string;

    mmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_metrics_module);
    len = ngx_strlen(name);
    labels = labels ? labels : &none;
    mp = mmcf->metrics.elts;

    for (i = 0; i < mmcf->metrics.nelts; i++) {
        m = mp[i];

        if (m->type == type && m->name.len == len
            && ngx_strncmp(m->name.data, name, len) == 0
            && m->labels.len == labels->len
            && (labels->len == 0
                || ngx_memcmp(m->labels.data, labels->data, labels->len) == 0))
        {
            return m;
        }
    }

    if (ngx_http_gateway_metrics_use(cf) != NGX_OK) {
        return NULL;
    }

    m = ngx_pcalloc(cf->pool, sizeof(*m));
    mp = ngx_array_push(&mmcf->metrics);

    if (m == NULL || mp == NULL) {
        return NULL;
    }

    m->name.data = (u_char *) name;
    m->name.len = len;
    m->help.data = (u_char *) help;
    m->help.len = ngx_strlen(help);
    m->type = type;

    *mp = m;

    if (labels->len) {
        m->labels.len = labels->len;
        m->labels.data = ngx_pstrdup(cf->pool, labels);

        if (m->labels.data == NULL) {
            return NULL;
        }
    }

    return m;
}


/*
 * The text format wants UTF-8. A value that is not is shown with each of its
 * bytes beyond ASCII as `?`.
 */

ngx_int_t
ngx_http_gateway_metric_label(ngx_conf_t *cf, ngx_str_t *label, char *name,
    ngx_str_t *value)
{
    u_char      *p, c;
    ngx_uint_t   i, valid;

    p = ngx_pnalloc(cf->pool, ngx_strlen(name) + sizeof("=\"\"")
                              + 2 * value->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    valid = gw_utf8_valid(value->data, value->len);

    label->data = p;
    p = ngx_sprintf(p, "%s=\"", name);

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (c == '\\' || c == '"') {
            *p++ = '\\';

        } else if (c == '\n') {
            *p++ = '\\';
            c = 'n';

        } else if (c >= 0x80 && !valid) {
            c = '?';
        }

        *p++ = c;
    }

    *p++ = '"';
    label->len = p - label->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_collector(ngx_conf_t *cf, ngx_http_gateway_collect_pt collect,
    void *data)
{
    ngx_uint_t                             i;
    ngx_http_gateway_metric_collector_t   *c;
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_metrics_module);
    c = mmcf->collectors.elts;

    for (i = 0; i < mmcf->collectors.nelts; i++) {
        if (c[i].collect == collect && c[i].data == data) {
            return NGX_OK;
        }
    }

    c = ngx_array_push(&mmcf->collectors);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->collect = collect;
    c->data = data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_metrics_create(ngx_slab_pool_t *shpool)
{
    ngx_http_gateway_metrics_shctx_t  *sh;

    sh = ngx_slab_calloc(shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->past = ngx_slab_calloc(shpool, NGX_HTTP_GATEWAY_METRIC_ROW);
    if (sh->past == NULL) {
        return NGX_ERROR;
    }

    /* for what has no room, a histogram at most */
    sh->ncells = NGX_HTTP_GATEWAY_METRIC_SPAN;
    sh->entries[0].span = NGX_HTTP_GATEWAY_METRIC_SPAN;

    shpool->log_nomem = 0;
    shpool->data = sh;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_gateway_metrics_key(ngx_http_gateway_metric_t *m, u_char *key)
{
    return ngx_sprintf(key, "%V{%V}", &m->name, &m->labels) - key;
}


/* The cell of that metric; 0: it has none. */

static ngx_uint_t
ngx_http_gateway_metrics_find(ngx_http_gateway_metrics_shctx_t *sh,
    ngx_http_gateway_metric_t *m, u_char *key, size_t len, uint32_t hash)
{
    ngx_uint_t                        i;
    ngx_http_gateway_metric_entry_t  *e;

    for (i = sh->entries[0].span; i < sh->ncells; i++) {
        e = &sh->entries[i];

        if (e->len == len && e->hash == hash && e->type == m->type
            && ngx_memcmp(e->key, key, len) == 0)
        {
            return i;
        }
    }

    return 0;
}


/*
 * Takes cells from metrics that neither this nor the running configuration
 * has. Workers of older ones, ending still, may add to them once more: that
 * is accepted where 2048 cells do not suffice.
 */

static ngx_uint_t
ngx_http_gateway_metrics_reuse(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_uint_t span)
{
    ngx_uint_t                         i, n, slot;
    ngx_http_gateway_metric_entry_t   *e;
    ngx_http_gateway_metrics_shctx_t  *sh;

    sh = mmcf->sh;
    n = 0;

    for (i = sh->entries[0].span; i < sh->ncells && n < span; i++) {
        e = &sh->entries[i];

        if (e->span && e->epoch == sh->epoch) {
            i += e->span - 1;
            n = 0;
            continue;
        }

        n++;
    }

    /* the last may be longer than what is left to take: its rest is free */

    if (n < span) {
        return 0;
    }

    i -= span;

    for (n = i; n < i + span; n++) {
        e = &sh->entries[n];

        if (e->key) {
            ngx_slab_free_locked(mmcf->shpool, e->key);
        }

        ngx_memzero(e, sizeof(*e));

        sh->past[n] = 0;

        for (slot = 0; slot < NGX_HTTP_GATEWAY_MAX_WORKERS; slot++) {
            if (sh->rows[slot]) {
                sh->rows[slot][n] = 0;
            }
        }
    }

    return i;
}


static ngx_uint_t
ngx_http_gateway_metrics_room(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_uint_t span)
{
    ngx_uint_t                         i;
    ngx_http_gateway_metrics_shctx_t  *sh;

    sh = mmcf->sh;
    i = sh->ncells;

    if (i + span <= NGX_HTTP_GATEWAY_METRIC_CELLS) {
        sh->ncells += span;
        return i;
    }

    return ngx_http_gateway_metrics_reuse(mmcf, span);
}


static ngx_uint_t
ngx_http_gateway_metrics_add(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_http_gateway_metric_t *m, u_char *key, size_t len, uint32_t hash)
{
    u_char                            *p;
    ngx_uint_t                         cell, span;
    ngx_http_gateway_metric_entry_t   *e;
    ngx_http_gateway_metrics_shctx_t  *sh;

    sh = mmcf->sh;
    span = m->type == NGX_HTTP_GATEWAY_HISTOGRAM
           ? NGX_HTTP_GATEWAY_METRIC_SPAN : 1;

    p = ngx_slab_alloc_locked(mmcf->shpool, len);
    if (p == NULL) {
        return 0;
    }

    cell = ngx_http_gateway_metrics_room(mmcf, span);
    if (cell == 0) {
        ngx_slab_free_locked(mmcf->shpool, p);
        return 0;
    }

    ngx_memcpy(p, key, len);

    e = &sh->entries[cell];
    e->key = p;
    e->len = len;
    e->hash = hash;
    e->type = m->type;
    e->span = span;
    e->epoch = sh->epoch;

    ngx_memset(&sh->gauge[cell], m->type == NGX_HTTP_GATEWAY_GAUGE, span);

    return cell;
}


/* Gives a cell to each metric that has one already, if `old`, or has none. */

static ngx_int_t
ngx_http_gateway_metrics_assign(ngx_http_gateway_metrics_main_conf_t *mmcf,
    ngx_uint_t old, ngx_log_t *log)
{
    u_char                      *key;
    size_t                       len, size;
    uint32_t                     hash;
    ngx_uint_t                   i;
    ngx_http_gateway_metric_t  **m;

    m = mmcf->metrics.elts;
    size = 0;

    for (i = 0; i < mmcf->metrics.nelts; i++) {
        size = ngx_max(size, m[i]->name.len + m[i]->labels.len + 2);
    }

    key = ngx_alloc(size + 1, log);
    if (key == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < mmcf->metrics.nelts; i++) {

        if (m[i]->cell) {
            continue;
        }

        len = ngx_http_gateway_metrics_key(m[i], key);
        hash = ngx_crc32_long(key, len);

        if (old) {
            m[i]->cell = ngx_http_gateway_metrics_find(mmcf->sh, m[i], key,
                                                       len, hash);
            mmcf->sh->entries[m[i]->cell].epoch = mmcf->sh->epoch;
            continue;
        }

        m[i]->cell = ngx_http_gateway_metrics_add(mmcf, m[i], key, len, hash);

        if (m[i]->cell == 0) {
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "no room for gateway metric \"%*s\"", len, key);
        }
    }

    ngx_free(key);

    return NGX_OK;
}


void
ngx_http_gateway_metrics_recover(ngx_http_gateway_metrics_shctx_t *sh)
{
    if (sh->fold.pending) {
        sh->past[sh->fold.cell] = sh->fold.past;
        sh->rows[sh->fold.slot][sh->fold.cell] = 0;
        ngx_memory_barrier();
        sh->fold.pending = 0;
    }
}


static ngx_int_t
ngx_http_gateway_metrics_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_int_t                              rc;
    ngx_uint_t                             i;
    ngx_http_gateway_metric_t            **m;
    ngx_http_gateway_metrics_main_conf_t  *mmcf, *omcf;

    mmcf = zone->data;
    omcf = data;

    mmcf->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (omcf == NULL && !zone->shm.exists
        && ngx_http_gateway_metrics_create(mmcf->shpool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    mmcf->sh = mmcf->shpool->data;

    ngx_shmtx_lock(&mmcf->shpool->mutex);

    ngx_http_gateway_metrics_recover(mmcf->sh);

    mmcf->sh->epoch++;

    /* those of the running configuration, which it keeps if this one fails */

    if (omcf) {
        m = omcf->metrics.elts;

        for (i = 0; i < omcf->metrics.nelts; i++) {
            mmcf->sh->entries[m[i]->cell].epoch = mmcf->sh->epoch;
        }
    }

    rc = ngx_http_gateway_metrics_assign(mmcf, 1, zone->shm.log);

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_metrics_assign(mmcf, 0, zone->shm.log);
    }

    ngx_shmtx_unlock(&mmcf->shpool->mutex);

    return rc;
}


/*
 * Adds the counters of a slot to the past, and leaves its row all zero, so
 * doing it twice changes nothing. Called with the mutex.
 */

static void
ngx_http_gateway_metrics_fold(ngx_http_gateway_metrics_shctx_t *sh,
    ngx_uint_t slot)
{
    int64_t     *row;
    ngx_uint_t   i;

    ngx_http_gateway_metrics_recover(sh);

    row = sh->rows[slot];

    for (i = 0; row && i < NGX_HTTP_GATEWAY_METRIC_CELLS; i++) {

        if (row[i] == 0) {
            continue;
        }

        if (sh->gauge[i]) {
            row[i] = 0;
            continue;
        }

        sh->fold.slot = slot;
        sh->fold.cell = i;
        sh->fold.past = sh->past[i] + row[i];
        ngx_memory_barrier();
        sh->fold.pending = 1;
        ngx_memory_barrier();

        ngx_http_gateway_metrics_recover(sh);
    }

    sh->alive[slot] = 0;
}


static ngx_http_gateway_metrics_main_conf_t *
ngx_http_gateway_metrics_conf(ngx_cycle_t *cycle)
{
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_metrics_module);

    return mmcf && mmcf->sh ? mmcf : NULL;
}


static void
ngx_http_gateway_metrics_died(ngx_uint_t slot)
{
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    if (slot == ngx_http_gateway_slot) {
        ngx_http_gateway_cells = ngx_http_gateway_metrics_dummy;
    }

    mmcf = ngx_http_gateway_metrics_conf((ngx_cycle_t *) ngx_cycle);

    if (mmcf == NULL || slot >= NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return;
    }

    ngx_shmtx_lock(&mmcf->shpool->mutex);
    ngx_http_gateway_metrics_fold(mmcf->sh, slot);
    ngx_shmtx_unlock(&mmcf->shpool->mutex);
}


/* From here on this process counts in its slot's row. */

static void
ngx_http_gateway_metrics_attach(ngx_cycle_t *cycle)
{
    int64_t                               *row;
    ngx_uint_t                             slot;
    ngx_http_gateway_metrics_shctx_t      *sh;
    ngx_http_gateway_metrics_main_conf_t  *mmcf;

    ngx_http_gateway_cells = ngx_http_gateway_metrics_dummy;

    mmcf = ngx_http_gateway_metrics_conf(cycle);
    slot = ngx_http_gateway_slot;

    if (mmcf == NULL || slot >= NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return;
    }

    sh = mmcf->sh;

    ngx_shmtx_lock(&mmcf->shpool->mutex);

    ngx_http_gateway_metrics_recover(sh);

    row = sh->rows[slot];

    if (row == NULL) {
        row = ngx_slab_calloc_locked(mmcf->shpool,
                                     NGX_HTTP_GATEWAY_METRIC_ROW);
        sh->rows[slot] = row;
    }

    if (row) {
        sh->alive[slot] = 1;
        ngx_http_gateway_cells = row;
    }

    ngx_shmtx_unlock(&mmcf->shpool->mutex);

    if (row == NULL) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "no memory for the metrics of a worker");
    }
}


/*
 * Without a master init_process() is not called again on a reload, and what
 * was the zone may be gone after this.
 */

static ngx_int_t
ngx_http_gateway_metrics_init_module(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_SINGLE && !ngx_test_config
        && ngx_http_gateway_slot != NGX_HTTP_GATEWAY_MAX_WORKERS)
    {
        ngx_http_gateway_metrics_attach(cycle);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_metrics_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        ngx_http_gateway_metrics_attach(cycle);
    }

    return NGX_OK;
}


void
ngx_http_gateway_observe(ngx_http_gateway_metric_t *m, uint64_t us)
{
    int64_t     *cells;
    ngx_uint_t   i;

    cells = &ngx_http_gateway_cells[m->cell];

    /* a difference of times, and the clock went back */
    if (us > INT64_MAX) {
        us = 0;
    }

    for (i = 0; i < NGX_HTTP_GATEWAY_METRIC_BUCKETS - 1; i++) {
        if (us <= ngx_http_gateway_metric_bounds_us[i]) {
            break;
        }
    }

    cells[i]++;
    cells[NGX_HTTP_GATEWAY_METRIC_SUM] += us;
}
