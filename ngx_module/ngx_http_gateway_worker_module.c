/*
 * Worker slots and wake-ups: see the header.
 *
 * The listeners stand in the configuration and not in a static list, since a
 * reload that fails must leave the running configuration's list as it was.
 */

#include "ngx_http_gateway_worker.h"

#include <sys/eventfd.h>


#define NGX_HTTP_GATEWAY_MIN_SLOTS  32
#define NGX_HTTP_GATEWAY_TICK       1000    /* ms */


typedef struct {
    ngx_atomic_t                    wake;   /* 1: an eventfd write is due */
    ngx_pid_t                       pid;    /* 0: free */
    uid_t                           uid;
} ngx_http_gateway_slot_t;


typedef struct {
    ngx_http_gateway_slot_t         slots[NGX_HTTP_GATEWAY_MAX_WORKERS];
} ngx_http_gateway_worker_shctx_t;


typedef struct {
    ngx_array_t                     listeners;  /* of pointers */
    ngx_shm_zone_t                 *zone;
} ngx_http_gateway_worker_main_conf_t;


static void *ngx_http_gateway_worker_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_worker_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_http_gateway_worker_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_gateway_worker_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_worker_exit_process(ngx_cycle_t *cycle);


ngx_uint_t  ngx_http_gateway_slot = NGX_HTTP_GATEWAY_MAX_WORKERS;

/* made by the master, inherited by fork: a worker knows those before it */
static ngx_fd_t    ngx_http_gateway_fds[NGX_HTTP_GATEWAY_MAX_WORKERS];
static ngx_uint_t  ngx_http_gateway_nfds;

static ngx_slab_pool_t                  *ngx_http_gateway_worker_shpool;
static ngx_http_gateway_worker_shctx_t  *ngx_http_gateway_worker_sh;
static ngx_connection_t                 *ngx_http_gateway_worker_conn;
static ngx_event_t                       ngx_http_gateway_worker_tick_ev;


static ngx_http_module_t  ngx_http_gateway_worker_module_ctx = {
    NULL,                                      /* preconfiguration */
    NULL,                                      /* postconfiguration */
    ngx_http_gateway_worker_create_main_conf,  /* create main configuration */
    NULL,                                      /* init main configuration */
    NULL,                                      /* create server conf */
    NULL,                                      /* merge server conf */
    NULL,                                      /* create location conf */
    NULL                                       /* merge location conf */
};


ngx_module_t  ngx_http_gateway_worker_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_worker_module_ctx,       /* module context */
    NULL,                                      /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    ngx_http_gateway_worker_init_module,       /* init module */
    ngx_http_gateway_worker_init_process,      /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    ngx_http_gateway_worker_exit_process,      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_gateway_worker_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_worker_main_conf_t  *wmcf;

    wmcf = ngx_pcalloc(cf->pool, sizeof(*wmcf));
    if (wmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&wmcf->listeners, cf->pool, 4, sizeof(void *))
        != NGX_OK)
    {
        return NULL;
    }

    return wmcf;
}


ngx_int_t
ngx_http_gateway_worker_listen(ngx_conf_t *cf,
    ngx_http_gateway_listener_t *listener)
{
    size_t                                size;
    ngx_str_t                             name;
    ngx_uint_t                            i;
    ngx_http_gateway_listener_t         **l;
    ngx_http_gateway_worker_main_conf_t  *wmcf;

    wmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_worker_module);
    l = wmcf->listeners.elts;

    for (i = 0; i < wmcf->listeners.nelts; i++) {
        if (l[i] == listener) {
            return NGX_OK;
        }
    }

    if (wmcf->zone == NULL) {
        ngx_str_set(&name, "gateway_workers");
        size = 8 * ngx_pagesize
               + ngx_align(sizeof(ngx_http_gateway_worker_shctx_t),
                           ngx_pagesize);

        wmcf->zone = ngx_shared_memory_add(cf, &name, size,
                                           &ngx_http_gateway_worker_module);
        if (wmcf->zone == NULL) {
            return NGX_ERROR;
        }

        wmcf->zone->init = ngx_http_gateway_worker_init_zone;
    }

    l = ngx_array_push(&wmcf->listeners);
    if (l == NULL) {
        return NGX_ERROR;
    }

    *l = listener;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_worker_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                  *shpool;
    ngx_http_gateway_worker_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    shpool->data = sh;
    zone->data = sh;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_worker_init_module(ngx_cycle_t *cycle)
{
    ngx_fd_t                              fd;
    ngx_uint_t                            n;
    ngx_core_conf_t                      *ccf;
    ngx_http_gateway_worker_main_conf_t  *wmcf;

    wmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_worker_module);

    if (ngx_test_config || wmcf == NULL || wmcf->zone == NULL) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    n = ngx_max(NGX_HTTP_GATEWAY_MIN_SLOTS, 4 * ccf->worker_processes);
    n = ngx_min(n, NGX_HTTP_GATEWAY_MAX_WORKERS);

    while (ngx_http_gateway_nfds < n) {
        fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (fd == -1) {
            /* not fatal: an error here would end a running master */
            ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                          "eventfd() failed");
            break;
        }

        ngx_http_gateway_fds[ngx_http_gateway_nfds++] = fd;
    }

    return NGX_OK;
}


static ngx_http_gateway_worker_main_conf_t *
ngx_http_gateway_worker_conf(void)
{
    return ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_gateway_worker_module);
}


static void
ngx_http_gateway_worker_call(ngx_uint_t slot, ngx_uint_t died)
{
    ngx_uint_t                            i;
    ngx_http_gateway_listener_t         **l;
    ngx_http_gateway_worker_main_conf_t  *wmcf;

    wmcf = ngx_http_gateway_worker_conf();
    if (wmcf == NULL) {
        return;
    }

    l = wmcf->listeners.elts;

    for (i = 0; i < wmcf->listeners.nelts; i++) {
        if (died) {
            if (l[i]->died) {
                l[i]->died(slot);
            }

        } else if (l[i]->woken) {
            l[i]->woken();
        }
    }
}


/*
 * A pid of another user is a reused one only where the slot's worker ran as
 * this process does: `user` may have changed with a reload.
 */

static ngx_uint_t
ngx_http_gateway_worker_dead(ngx_uint_t i)
{
    ngx_http_gateway_slot_t  *s;

    s = &ngx_http_gateway_worker_sh->slots[i];

    if (s->pid == 0 || i == ngx_http_gateway_slot) {
        return 0;
    }

    if (s->pid == ngx_pid) {
        return 1;
    }

    if (kill(s->pid, 0) == 0) {
        return 0;
    }

    return ngx_errno == NGX_ESRCH
           || (ngx_errno == NGX_EPERM && s->uid == geteuid());
}


/*
 * The one that releases holds the slot meanwhile, so listeners run without
 * the mutex, and should it die too, the slot is found dead again.
 */

static void
ngx_http_gateway_worker_reap(void)
{
    ngx_uint_t                i, dead;
    ngx_http_gateway_slot_t  *s;

    for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
        s = &ngx_http_gateway_worker_sh->slots[i];

        if (s->pid == 0) {
            continue;
        }

        ngx_shmtx_lock(&ngx_http_gateway_worker_shpool->mutex);

        dead = ngx_http_gateway_worker_dead(i);
        if (dead) {
            s->pid = ngx_pid;
            s->uid = geteuid();
        }

        ngx_shmtx_unlock(&ngx_http_gateway_worker_shpool->mutex);

        if (dead) {
            ngx_http_gateway_worker_call(i, 1);
            ngx_memory_barrier();
            s->pid = 0;
        }
    }
}


/*
 * The eventfd is read first, then the flag cleared, then the work done. A
 * waker that comes before the clearing finds the flag set and writes nothing,
 * but what it published before (both compare-and-set are full barriers) is
 * seen by the work below. One that comes after writes again. The other way
 * round, its write could be swallowed with the flag left set for ever.
 */

static void
ngx_http_gateway_worker_handler(ngx_event_t *ev)
{
    uint64_t           n;
    ngx_connection_t  *c;

    c = ev->data;

    if (read(c->fd, &n, sizeof(n)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, ngx_errno,
                      "read() from eventfd failed");
    }

    (void) ngx_atomic_cmp_set(
               &ngx_http_gateway_worker_sh->slots[ngx_http_gateway_slot].wake,
               1, 0);

    ngx_http_gateway_worker_call(0, 0);
}


/*
 * Also works without being woken, once a second: a waker may have been killed
 * after it left work and before it said so, and what is marked as known is
 * not announced again. Or it was forked before this slot's eventfd was made.
 * An ending worker goes on with it; the timer, being cancelable, does not
 * keep it.
 */

static void
ngx_http_gateway_worker_tick(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_http_gateway_slot_t  *s;

    s = ngx_http_gateway_worker_sh->slots;

    for (i = 0; i < ngx_http_gateway_slot; i++) {
        if (s[i].pid && !ngx_http_gateway_worker_dead(i)) {
            break;
        }
    }

    if (i == ngx_http_gateway_slot) {
        ngx_http_gateway_worker_reap();
    }

    ngx_http_gateway_worker_handler(ngx_http_gateway_worker_conn->read);

    ngx_add_timer(ev, NGX_HTTP_GATEWAY_TICK);
}


static void
ngx_http_gateway_worker_claim(ngx_log_t *log)
{
    uint64_t                  n;
    ngx_uint_t                i;
    ngx_http_gateway_slot_t  *s;

    s = ngx_http_gateway_worker_sh->slots;

    ngx_shmtx_lock(&ngx_http_gateway_worker_shpool->mutex);

    for (i = 0; i < ngx_http_gateway_nfds; i++) {
        if (s[i].pid == 0) {
            s[i].pid = ngx_pid;
            s[i].uid = geteuid();
            ngx_http_gateway_slot = i;
            break;
        }
    }

    ngx_shmtx_unlock(&ngx_http_gateway_worker_shpool->mutex);

    if (i == ngx_http_gateway_nfds) {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "no free gateway worker slot");
        return;
    }

    /* what was left for the one before: in the handler's order */
    (void) !read(ngx_http_gateway_fds[i], &n, sizeof(n));
    (void) ngx_atomic_cmp_set(&s[i].wake, 1, 0);
}


static ngx_int_t
ngx_http_gateway_worker_init_process(ngx_cycle_t *cycle)
{
    ngx_event_t                          *ev;
    ngx_connection_t                     *c;
    ngx_http_gateway_worker_main_conf_t  *wmcf;

    wmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_worker_module);

    if ((ngx_process != NGX_PROCESS_WORKER
         && ngx_process != NGX_PROCESS_SINGLE)
        || wmcf == NULL || wmcf->zone == NULL)
    {
        return NGX_OK;
    }

    ngx_http_gateway_worker_sh = wmcf->zone->data;
    ngx_http_gateway_worker_shpool = (ngx_slab_pool_t *)
                                         wmcf->zone->shm.addr;

    ngx_http_gateway_worker_reap();
    ngx_http_gateway_worker_claim(cycle->log);

    if (ngx_http_gateway_slot == NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return NGX_OK;
    }

    c = ngx_get_connection(ngx_http_gateway_fds[ngx_http_gateway_slot],
                           cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_http_gateway_worker_handler;

    /* not a client's: no "open socket left" when the worker ends */
    c->read->channel = 1;
    c->write->channel = 1;

    ngx_http_gateway_worker_conn = c;

    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    ev = &ngx_http_gateway_worker_tick_ev;
    ev->handler = ngx_http_gateway_worker_tick;
    ev->data = c;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_GATEWAY_TICK);

    return NGX_OK;
}


static void
ngx_http_gateway_worker_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t  slot;

    slot = ngx_http_gateway_slot;

    if (slot == NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return;
    }

    ngx_http_gateway_worker_call(slot, 1);

    ngx_http_gateway_slot = NGX_HTTP_GATEWAY_MAX_WORKERS;
    ngx_memory_barrier();
    ngx_http_gateway_worker_sh->slots[slot].pid = 0;
}


void
ngx_http_gateway_worker_wake(ngx_uint_t slot)
{
    uint64_t                  one;
    ngx_http_gateway_slot_t  *s;

    if (ngx_http_gateway_worker_sh == NULL
        || slot >= NGX_HTTP_GATEWAY_MAX_WORKERS)
    {
        return;
    }

    s = &ngx_http_gateway_worker_sh->slots[slot];

    if (slot >= ngx_http_gateway_nfds) {
        /* made after this process was forked: the tick over there sees it */
        return;
    }

    if (!ngx_atomic_cmp_set(&s->wake, 0, 1)) {
        return;
    }

    one = 1;

    if (write(ngx_http_gateway_fds[slot], &one, sizeof(one)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "write() to eventfd failed");
    }
}
