/*
 * An attempt on hold: see the header.
 *
 * The hold lives in the pool of its connection. Whatever ends it, nginx
 * destroys that pool: on its way to the next attempt after it has decided
 * that there is one and before it asks for it, or when it ends the upstream.
 * So all that was changed to steer that decision is put right there.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_upstream_hold.h"

#include <sys/eventfd.h>


typedef struct {
    ngx_event_t                event;
    ngx_http_request_t        *request;
    ngx_connection_t          *connection;

    ngx_http_gateway_hold_pt   handler;
    void                      *data;

    /* what resume() replaces for a moment; NULL: it has not */
    ngx_http_upstream_conf_t  *conf;
    ngx_uint_t                 tries;

    ngx_msec_t                 delay;
    unsigned                   started:1;
} ngx_http_gateway_hold_t;


static ngx_connection_t *ngx_http_gateway_hold_connection(ngx_log_t *log);
static void ngx_http_gateway_hold_event(ngx_event_t *ev);
static void ngx_http_gateway_hold_cleanup(void *data);
static ngx_http_gateway_hold_t *ngx_http_gateway_hold_of(
    ngx_connection_t *c);


/* takes what nginx says of a socket that is none */
static ngx_log_t     ngx_http_gateway_hold_silence;

/* A descriptor that is certainly no socket, for nginx to find that out. */
static ngx_socket_t  ngx_http_gateway_hold_fd = (ngx_socket_t) -1;


ngx_int_t
ngx_http_gateway_upstream_hold(ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_msec_t msec,
    ngx_http_gateway_hold_pt handler, void *data)
{
    ngx_connection_t         *c;
    ngx_pool_cleanup_t       *cln;
    ngx_http_gateway_hold_t  *hold;

    c = ngx_http_gateway_hold_connection(r->connection->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    hold = ngx_pcalloc(c->pool, sizeof(*hold));
    cln = ngx_pool_cleanup_add(c->pool, 0);

    if (hold == NULL || cln == NULL) {
        ngx_destroy_pool(c->pool);
        ngx_close_connection(c);
        return NGX_ERROR;
    }

    hold->request = r;
    hold->connection = c;
    hold->handler = handler;
    hold->data = data;
    hold->event.handler = ngx_http_gateway_hold_event;
    hold->event.data = hold;
    hold->event.log = r->connection->log;
    hold->delay = msec;

    cln->handler = ngx_http_gateway_hold_cleanup;
    cln->data = hold;

    pc->connection = c;
    pc->sockaddr = NULL;
    pc->name = NULL;
    pc->cached = 0;

    ngx_post_event(&hold->event, &ngx_posted_events);

    return NGX_AGAIN;
}


static ngx_connection_t *
ngx_http_gateway_hold_connection(ngx_log_t *log)
{
    ngx_connection_t  *c;

    if (ngx_http_gateway_hold_fd == (ngx_socket_t) -1) {
        ngx_http_gateway_hold_fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (ngx_http_gateway_hold_fd == (ngx_socket_t) -1) {
            ngx_log_error(NGX_LOG_CRIT, log, ngx_errno, "eventfd() failed");
            return NULL;
        }
    }

    c = ngx_get_connection(ngx_http_gateway_hold_fd, log);
    if (c == NULL) {
        return NULL;
    }

    /* closing it closes no descriptor */
    c->shared = 1;

    c->log = log;
    c->log_error = NGX_ERROR_ERR;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->read->log = log;
    c->write->log = log;

    c->pool = ngx_create_pool(512, log);
    if (c->pool == NULL) {
        ngx_close_connection(c);
        return NULL;
    }

    return c;
}


static void
ngx_http_gateway_hold_event(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_gateway_hold_t  *hold;

    hold = ev->data;

    if (!hold->started) {
        hold->started = 1;

        /* nginx's own, for a connection that takes too long */

        if (hold->connection->write->timer_set) {
            ngx_del_timer(hold->connection->write);
        }

        if (hold->delay) {
            ngx_add_timer(ev, hold->delay);
            return;
        }
    }

    c = hold->request->connection;

    ngx_http_set_log_request(c->log, hold->request);

    hold->handler(hold->request, hold->data);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_gateway_hold_cleanup(void *data)
{
    ngx_http_gateway_hold_t *hold = data;

    ngx_array_t          *states;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = hold->request;
    u = r->upstream;
    states = r->upstream_states;

    if (hold->event.posted) {
        ngx_delete_posted_event(&hold->event);
    }

    if (hold->event.timer_set) {
        ngx_del_timer(&hold->event);
    }

    if (hold->conf) {
        u->conf = hold->conf;
        u->peer.tries = hold->tries;
    }

    /* the last is the hold's own, which was no attempt */

    states->nelts--;
    u->state = states->nelts
               ? (ngx_http_upstream_state_t *) states->elts + states->nelts - 1
               : NULL;
}


static ngx_http_gateway_hold_t *
ngx_http_gateway_hold_of(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_gateway_hold_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/*
 * To nginx the connection has failed: it asks the socket for an error, gets
 * one (there is no socket), and tries again.
 */

void
ngx_http_gateway_upstream_resume(ngx_http_request_t *r)
{
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;
    ngx_http_gateway_hold_t   *hold;

    u = r->upstream;

    hold = ngx_http_gateway_hold_of(u->peer.connection);
    conf = ngx_palloc(r->pool, sizeof(*conf));

    if (hold == NULL || conf == NULL) {
        ngx_http_gateway_upstream_leave(r);
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    *conf = *u->conf;
    conf->next_upstream = NGX_HTTP_UPSTREAM_FT_ERROR
                          |NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;
    conf->next_upstream_timeout = 0;

    hold->conf = u->conf;
    hold->tries = u->peer.tries;

    u->conf = conf;
    u->peer.tries = 1;

    hold->connection->log = &ngx_http_gateway_hold_silence;

    u->read_event_handler(r, u);
}


void
ngx_http_gateway_upstream_leave(ngx_http_request_t *r)
{
    /* nginx gives a count back here */
    r->main->count++;

    (*r->upstream->cleanup)(r);

    /* looks at the upstream that was */
    r->read_event_handler = ngx_http_block_reading;
}
