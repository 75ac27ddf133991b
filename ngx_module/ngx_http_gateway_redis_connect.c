/*
 * Connecting a link: the name is resolved, the socket connected, TLS and the
 * handshake done; one timer for all of it.
 */

#include "ngx_http_gateway_redis_int.h"


static void
ngx_http_gateway_redis_link_connected(ngx_http_gateway_redis_link_t *link)
{
    ngx_connection_t  *c;

    c = link->connection;

    c->read->handler = ngx_http_gateway_redis_link_read;
    c->write->handler = ngx_http_gateway_redis_link_write;

    link->reader = ngx_http_gateway_redis_reader(link);

    if (link->reader == NULL) {
        ngx_http_gateway_redis_link_fail(link, "no memory");
        return;
    }

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    link->connected = 1;
    link->heard = ngx_current_msec;
    link->reply_bytes = 0;
    link->reply_elements = 0;
    link->nscripts = 0;

    if (ngx_http_gateway_redis_hello(link) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, "no memory");
        return;
    }

    /* what a server says unasked is not waited for */
    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, NULL);
        return;
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


#if (NGX_SSL)

static void
ngx_http_gateway_redis_link_secured(ngx_connection_t *c)
{
    long                            rc;
    ngx_http_gateway_redis_link_t  *link;

    link = c->data;

    rc = SSL_get_verify_result(c->ssl->connection);

    if (link->redis->ssl_verify && rc != X509_V_OK) {
        ngx_http_gateway_redis_link_fail(link, "the certificate is not "
                                         "accepted: %s",
                                         X509_verify_cert_error_string(rc));
        return;
    }

    if (!c->ssl->handshaked) {
        ngx_http_gateway_redis_link_fail(link, link->reason[0] ? NULL
                                         : "the TLS handshake failed");
        return;
    }

    if (link->redis->ssl_verify
        && ngx_http_gateway_redis_tls_check(c, link->server) != NGX_OK)
    {
        ngx_http_gateway_redis_link_fail(link, "the certificate is not for "
                                         "\"%V\"", &link->server->host);
        return;
    }

    ngx_http_gateway_redis_link_connected(link);
}


static void
ngx_http_gateway_redis_link_secure(ngx_http_gateway_redis_link_t *link)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = link->connection;

    if (ngx_http_gateway_redis_tls_start(c, link->redis, link->server)
        != NGX_OK)
    {
        ngx_http_gateway_redis_link_fail(link, "no memory for TLS");
        return;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_gateway_redis_link_secured;
        return;
    }

    ngx_http_gateway_redis_link_secured(c);
}

#endif


static void
ngx_http_gateway_redis_link_open(ngx_event_t *ev)
{
    int                             err;
    socklen_t                       len;
    ngx_connection_t               *c;
    ngx_http_gateway_redis_link_t  *link;

    c = ev->data;
    link = c->data;

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_gateway_redis_link_fail(link, "connecting failed: %s",
                                         strerror(err));
        return;
    }

    if (ev->write == 0 && !c->write->ready) {
        return;
    }

#if (NGX_SSL)

    if (link->server->tls) {
        if (c->ssl == NULL) {
            ngx_http_gateway_redis_link_secure(link);
        }

        return;
    }

#endif

    ngx_http_gateway_redis_link_connected(link);
}


static void
ngx_http_gateway_redis_link_connect(ngx_http_gateway_redis_link_t *link,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    link->reason[0] = '\0';

    ngx_memzero(&pc, sizeof(pc));

    pc.sockaddr = sockaddr;
    pc.socklen = socklen;
    pc.name = &link->server->name;
    pc.get = ngx_event_get_peer;
    pc.log = &link->log;
    pc.log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(&pc);

    c = pc.connection;
    link->connection = c;

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_gateway_redis_link_fail(link, link->reason[0] ? NULL
                                               : "connecting failed");
        return;
    }

    c->data = link;
    c->pool = ngx_create_pool(512, &link->log);

    if (c->pool == NULL) {
        ngx_http_gateway_redis_link_fail(link, "no memory");
        return;
    }

    if (sockaddr->sa_family != AF_UNIX && ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, NULL);
        return;
    }

    c->read->handler = ngx_http_gateway_redis_link_open;
    c->write->handler = ngx_http_gateway_redis_link_open;

    if (rc == NGX_OK) {
        ngx_http_gateway_redis_link_open(c->write);
    }
}


static void
ngx_http_gateway_redis_link_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_sockaddr_t                  sa;
    socklen_t                       socklen;
    ngx_resolver_addr_t            *addr;
    ngx_http_gateway_redis_link_t  *link;

    link = ctx->data;

    if (ctx->state) {
        ngx_http_gateway_redis_link_fail(link, "\"%V\" could not be resolved: "
                                         "%s", &link->server->host,
                                         ngx_resolver_strerror(ctx->state));
        return;
    }

    addr = &ctx->addrs[link->attempt % ctx->naddrs];
    socklen = ngx_min(addr->socklen, (socklen_t) sizeof(sa));

    ngx_memcpy(&sa, addr->sockaddr, socklen);
    ngx_inet_set_port(&sa.sockaddr, link->server->port);

    ngx_resolve_name_done(ctx);
    link->resolving = NULL;

    ngx_http_gateway_redis_link_connect(link, &sa.sockaddr, socklen);
}


static void
ngx_http_gateway_redis_link_resolve(ngx_http_gateway_redis_link_t *link)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = link->redis->resolver ? ngx_resolve_start(link->redis->resolver,
                                                    NULL)
                                : NULL;

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_http_gateway_redis_link_fail(link, "there is no resolver for "
                                         "\"%V\"", &link->server->host);
        return;
    }

    ctx->name = link->server->host;
    ctx->handler = ngx_http_gateway_redis_link_resolved;
    ctx->data = link;
    ctx->timeout = link->redis->connect_timeout;
    ctx->cancelable = 1;

    link->resolving = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        /* it has freed the context */
        link->resolving = NULL;
        ngx_http_gateway_redis_link_fail(link, "\"%V\" could not be resolved",
                                         &link->server->host);
    }
}


void
ngx_http_gateway_redis_link_retry(ngx_event_t *ev)
{
    ngx_addr_t                     *addr;
    ngx_http_gateway_redis_link_t  *link;

    link = ev->data;

    ngx_add_timer(&link->timer, link->redis->connect_timeout);

    if (link->server->naddrs == 0) {
        ngx_http_gateway_redis_link_resolve(link);
        return;
    }

    addr = &link->server->addrs[link->attempt % link->server->naddrs];

    ngx_http_gateway_redis_link_connect(link, addr->sockaddr, addr->socklen);
}
