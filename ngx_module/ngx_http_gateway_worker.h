/*
 * Worker slots and wake-ups.
 *
 * Every worker process, of every generation alive during a reload, takes one
 * slot of a table in shared memory for as long as it lives. A slot has an
 * eventfd, made by the master before it forks, so that any worker can wake
 * any other. What a dead worker held in a zone is released by whoever finds
 * it dead: a new worker at its start, or the worker with the lowest slot,
 * which looks once a second.
 */

#ifndef NGX_HTTP_GATEWAY_WORKER_H_INCLUDED
#define NGX_HTTP_GATEWAY_WORKER_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_GATEWAY_MAX_WORKERS  256


/*
 * What a feature wants to be told. Static in the feature's file and
 * registered once per configuration (preconfiguration or a directive), by
 * ngx_http_gateway_worker_listen().
 */

typedef struct {
    /* this worker was woken; runs in the event loop, once per wake-up */
    void                         (*woken)(void);

    /*
     * The worker that had this slot is dead (killed, or ended): release what
     * it held. Called in a living worker before the slot is given out again,
     * and in an ending worker for its own slot. Zones must be locked by the
     * callee.
     */
    void                         (*died)(ngx_uint_t slot);
} ngx_http_gateway_listener_t;


ngx_int_t ngx_http_gateway_worker_listen(ngx_conf_t *cf,
    ngx_http_gateway_listener_t *listener);

/* This process's slot; NGX_HTTP_GATEWAY_MAX_WORKERS where it has none (all
 * are taken: logged at `alert` once; such a worker serves, but receives
 * nothing from others). */
extern ngx_uint_t  ngx_http_gateway_slot;

/* Makes the worker in that slot call its `woken`. Cheap when a wake-up is
 * pending already: one atomic test, no system call. Never call it with a
 * zone's mutex held. */
void ngx_http_gateway_worker_wake(ngx_uint_t slot);


#endif /* NGX_HTTP_GATEWAY_WORKER_H_INCLUDED */
