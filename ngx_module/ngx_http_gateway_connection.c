/*
 * A connection without a socket, see ngx_http_gateway_connection.h.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_connection.h"


static ngx_int_t ngx_http_gateway_connection_init(ngx_connection_t *c,
    ngx_http_core_loc_conf_t *clcf);
static void ngx_http_gateway_connection_write(ngx_event_t *wev);
static u_char *ngx_http_gateway_connection_log(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_connection_t *
ngx_http_gateway_connection_create(ngx_http_core_loc_conf_t *clcf)
{
    ngx_connection_t   *c;
    ngx_connection_t  **files;

    /* a table of connections by descriptor has no place for one without */

    files = ngx_cycle->files;
    ngx_cycle->files = NULL;

    c = ngx_get_connection(0, ngx_cycle->log);

    ngx_cycle->files = files;

    if (c == NULL) {
        return NULL;
    }

    c->fd = (ngx_socket_t) -1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    c->pool = ngx_create_pool(1024, ngx_cycle->log);

    if (c->pool == NULL
        || ngx_http_gateway_connection_init(c, clcf) != NGX_OK)
    {
        ngx_http_gateway_connection_close(c);
        return NULL;
    }

    return c;
}


static ngx_int_t
ngx_http_gateway_connection_init(ngx_connection_t *c,
    ngx_http_core_loc_conf_t *clcf)
{
    struct sockaddr_in  *sin;
    ngx_http_log_ctx_t  *lctx;

    c->log = ngx_pcalloc(c->pool, sizeof(*c->log));
    lctx = ngx_pcalloc(c->pool, sizeof(*lctx));
    sin = ngx_pcalloc(c->pool, sizeof(*sin));

    if (c->log == NULL || lctx == NULL || sin == NULL) {
        return NGX_ERROR;
    }

    *c->log = *clcf->error_log;

    lctx->connection = c;

    c->log->connection = c->number;
    c->log->handler = ngx_http_gateway_connection_log;
    c->log->data = lctx;
    c->log->action = NULL;
    c->log_error = NGX_ERROR_INFO;

    sin->sin_family = AF_INET;
    sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->sockaddr = (struct sockaddr *) sin;
    c->socklen = sizeof(*sin);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    ngx_str_set(&c->addr_text, "127.0.0.1");

    c->type = SOCK_STREAM;
    c->start_time = ngx_current_msec;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    /*
     * Ready for writing, so that upstreams pass on what they have; active
     * as far as needed for no event to be registered with the kernel.
     */

    c->read->active = 1;
    c->read->log = c->log;
    c->read->handler = ngx_http_empty_handler;

    c->write->active = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? 1 : 0;
    c->write->ready = 1;
    c->write->log = c->log;
    c->write->handler = ngx_http_gateway_connection_write;

    return NGX_OK;
}


/* The connection's end, as ngx_http_close_connection() without a socket. */

void
ngx_http_gateway_connection_close(ngx_connection_t *c)
{
    ngx_pool_t         *pool;
    ngx_connection_t  **files;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->active = 0;
    c->write->active = 0;
    c->read->closed = 1;
    c->write->closed = 1;

    c->destroyed = 1;
    pool = c->pool;

    ngx_reusable_connection(c, 0);

    files = ngx_cycle->files;
    ngx_cycle->files = NULL;

    c->fd = 0;
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    ngx_cycle->files = files;

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_http_gateway_connection_drop(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_SSL)

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

#endif

    pool = c->pool;
    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


/* The connection's timers may serve a phase handler, such as limit_req's. */

static void
ngx_http_gateway_connection_write(ngx_event_t *wev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = wev->data;
    r = c->data;

    if (wev->delayed && wev->timedout) {
        wev->delayed = 0;
        wev->timedout = 0;
    }

    if (r->write_event_handler) {
        r->write_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


static u_char *
ngx_http_gateway_connection_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                    *p;
    ngx_http_request_t        *r;
    ngx_http_log_ctx_t        *lctx;
    ngx_http_upstream_t       *u;
    ngx_http_core_srv_conf_t  *cscf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    lctx = log->data;
    r = lctx->request;

    if (r == NULL) {
        return buf;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    p = ngx_snprintf(buf, len, ", background request, server: %V",
                     &cscf->server_name);
    len -= p - buf;
    buf = p;

    r = lctx->current_request;

    if (r == NULL || r == r->main) {
        return buf;
    }

    p = ngx_snprintf(buf, len, ", subrequest: \"%V\"", &r->uri);
    len -= p - buf;
    buf = p;

    u = r->upstream;

    if (u && u->peer.name) {
        buf = ngx_snprintf(buf, len, ", upstream: \"%V%V%V\"",
                           &u->schema, u->peer.name, &u->uri);
    }

    return buf;
}
