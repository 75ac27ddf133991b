/*
 * The client that checks a peer: one GET, over a connection that is kept as
 * long as the peer keeps it.
 *
 * A kept connection may be closed by the peer just when the next check uses
 * it. Where that happens before a byte of the answer has come, the check is
 * made again over a new connection, within the same time.
 *
 * Errors of single checks are not logged, only what they lead to: a peer that
 * is gone for a night would fill the log. So the connection has a log that
 * takes alerts alone.
 */

#include "ngx_http_gateway_connection.h"
#include "ngx_http_gateway_health.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_HEALTH_READ  4096


static void ngx_http_gateway_health_timer(ngx_event_t *ev);
static void ngx_http_gateway_health_connect(ngx_http_gateway_health_peer_t *p);
static void ngx_http_gateway_health_read_handler(ngx_event_t *rev);
static void ngx_http_gateway_health_write_handler(ngx_event_t *wev);


static void
ngx_http_gateway_health_arm(ngx_http_gateway_health_peer_t *p,
    ngx_msec_t delay)
{
    /* nginx would keep one that is set to about the same time */
    if (p->timer.timer_set) {
        ngx_del_timer(&p->timer);
    }

    if (ngx_exiting) {
        return;
    }

    p->timer.handler = ngx_http_gateway_health_timer;
    p->timer.data = p;
    p->timer.log = ngx_cycle->log;
    p->timer.cancelable = 1;

    ngx_add_timer(&p->timer, delay);
}


void
ngx_http_gateway_health_check(ngx_http_gateway_health_peer_t *p,
    ngx_msec_t delay)
{
    p->owned = 1;
    ngx_http_gateway_health_arm(p, delay);
}


static void
ngx_http_gateway_health_close(ngx_http_gateway_health_peer_t *p)
{
    ngx_connection_t  *c;

    c = p->connection;

    if (c) {
        p->connection = NULL;
        ngx_http_gateway_connection_drop(c);
    }
}


void
ngx_http_gateway_health_end(ngx_http_gateway_health_peer_t *p)
{
    if (p->timer.timer_set) {
        ngx_del_timer(&p->timer);
    }

    ngx_http_gateway_health_close(p);

    p->checking = 0;
    p->owned = 0;
}


static void
ngx_http_gateway_health_log(ngx_http_gateway_health_peer_t *p,
    ngx_uint_t passed, char *reason, ngx_err_t err)
{
    if (passed) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "gateway_health_check: \"%V\" of upstream \"%V\" is up "
                      "after %ui passed checks: status %ui", &p->name,
                      &p->conf->us->host, p->conf->passes,
                      (ngx_uint_t) p->answer.status);
        return;
    }

    if (reason == NULL) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "gateway_health_check: \"%V\" of upstream \"%V\" is "
                      "down after %ui failed checks: status %ui", &p->name,
                      &p->conf->us->host, p->conf->fails,
                      (ngx_uint_t) p->answer.status);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, err,
                  "gateway_health_check: \"%V\" of upstream \"%V\" is down "
                  "after %ui failed checks: %s", &p->name,
                  &p->conf->us->host, p->conf->fails, reason);
}


/* reason: why there is no answer; NULL: there is one, by its status. */

static void
ngx_http_gateway_health_done(ngx_http_gateway_health_peer_t *p, char *reason,
    ngx_err_t err)
{
    int32_t         time;
    ngx_uint_t      i, passed, changed;
    ngx_msec_int_t  delay;

    p->checking = 0;

    passed = reason == NULL && p->conf->match[p->answer.status];
    time = reason ? -1 : (int32_t) (ngx_current_msec - p->start);

    if (reason || !p->answer.keep) {
        ngx_http_gateway_health_close(p);

    } else {
        ngx_reusable_connection(p->connection, 1);
    }

    ngx_http_gateway_count(passed ? p->conf->passed : p->conf->failed, 1);

    delay = ngx_http_gateway_health_result(p, passed, time, &changed);

    if (delay == NGX_DECLINED) {
        ngx_http_gateway_health_end(p);
        return;
    }

    ngx_http_gateway_health_arm(p, delay);

    if (changed) {
        ngx_http_gateway_health_log(p, passed, reason, err);

        for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
            ngx_http_gateway_worker_wake(i);
        }
    }
}


/* The connection failed, or ended too early. */

static void
ngx_http_gateway_health_broken(ngx_http_gateway_health_peer_t *p,
    char *reason, ngx_err_t err)
{
    if (p->reused && !p->answered) {
        ngx_http_gateway_health_close(p);
        ngx_http_gateway_health_connect(p);
        return;
    }

    ngx_http_gateway_health_done(p, reason, err);
}


static void
ngx_http_gateway_health_send(ngx_http_gateway_health_peer_t *p)
{
    ssize_t            n;
    ngx_str_t         *request;
    ngx_connection_t  *c;

    c = p->connection;
    request = &p->conf->request;

    while (p->sent < request->len) {
        n = c->send(c, request->data + p->sent, request->len - p->sent);

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_gateway_health_done(p, "no event for writing", 0);
            }

            return;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_gateway_health_broken(p, "send() failed",
                                           ngx_socket_errno);
            return;
        }

        p->sent += n;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_gateway_health_done(p, "no event for writing", 0);
        return;
    }

    if (c->read->ready) {
        ngx_http_gateway_health_read_handler(c->read);
    }
}


static void
ngx_http_gateway_health_connected(ngx_http_gateway_health_peer_t *p)
{
    ngx_connection_t  *c;

    c = p->connection;

    p->connected = 1;

    c->read->handler = ngx_http_gateway_health_read_handler;
    c->write->handler = ngx_http_gateway_health_write_handler;

    ngx_http_gateway_health_send(p);
}


#if (NGX_HTTP_SSL)

static void
ngx_http_gateway_health_handshaken(ngx_connection_t *c)
{
    char                                *reason;
    ngx_http_gateway_health_peer_t      *p;
    ngx_http_gateway_health_srv_conf_t  *conf;

    p = c->data;
    conf = p->conf;
    reason = NULL;

    if (!c->ssl->handshaked) {
        reason = "TLS handshake failed";

    } else if (conf->ssl_verify
               && SSL_get_verify_result(c->ssl->connection) != X509_V_OK)
    {
        reason = "TLS certificate is not valid";

    } else if (conf->ssl_verify
               && ngx_ssl_check_host(c, &conf->ssl_name) != NGX_OK)
    {
        reason = "TLS certificate is for another name";
    }

    if (reason) {
        ngx_http_gateway_health_done(p, reason, 0);
        return;
    }

    ngx_http_gateway_health_connected(p);
}


static void
ngx_http_gateway_health_handshake(ngx_http_gateway_health_peer_t *p)
{
    ngx_connection_t                    *c;
    ngx_http_gateway_health_srv_conf_t  *conf;
    static const u_char                  alpn[] = "\x08http/1.1";

    c = p->connection;
    conf = p->conf;

    if (ngx_ssl_create_connection(conf->ssl, c, NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_http_gateway_health_done(p, "no TLS connection", 0);
        return;
    }

    /* grpc_pass has HTTP/2 there, which is not spoken here */

    if (SSL_set_alpn_protos(c->ssl->connection, alpn, sizeof(alpn) - 1) != 0
        || (conf->ssl_server_name
            && SSL_set_tlsext_host_name(c->ssl->connection,
                                        (char *) conf->ssl_name.data) == 0))
    {
        ngx_http_gateway_health_done(p, "no TLS connection", 0);
        return;
    }

    if (ngx_ssl_handshake(c) == NGX_AGAIN) {
        c->ssl->handler = ngx_http_gateway_health_handshaken;
        return;
    }

    ngx_http_gateway_health_handshaken(c);
}

#endif


static void
ngx_http_gateway_health_open(ngx_http_gateway_health_peer_t *p)
{
#if (NGX_HTTP_SSL)

    if (p->conf->ssl) {
        ngx_http_gateway_health_handshake(p);
        return;
    }

#endif

    ngx_http_gateway_health_connected(p);
}


static void
ngx_http_gateway_health_connect(ngx_http_gateway_health_peer_t *p)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    p->connected = 0;
    p->reused = 0;
    p->answered = 0;
    p->sent = 0;
    ngx_memzero(&p->answer, sizeof(p->answer));

    p->log = *ngx_cycle->log;
    p->log.log_level = ngx_min(p->log.log_level, NGX_LOG_ALERT);

    ngx_memzero(&p->pc, sizeof(p->pc));
    p->pc.sockaddr = &p->sockaddr.sockaddr;
    p->pc.socklen = p->socklen;
    p->pc.name = &p->name;
    p->pc.get = ngx_event_get_peer;
    p->pc.log = &p->log;
    p->pc.log_error = NGX_ERROR_ERR;

    rc = ngx_event_connect_peer(&p->pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_gateway_health_done(p, "connect() failed", ngx_socket_errno);
        return;
    }

    c = p->pc.connection;
    p->connection = c;

    c->data = p;
    c->idle = 1;
    c->read->handler = ngx_http_gateway_health_read_handler;
    c->write->handler = ngx_http_gateway_health_write_handler;

    c->pool = ngx_create_pool(256, &p->log);
    if (c->pool == NULL) {
        ngx_http_gateway_health_done(p, "no memory", 0);
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_gateway_health_open(p);
    }
}


static ngx_err_t
ngx_http_gateway_health_connect_error(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        return ngx_socket_errno;
    }

    return err;
}


static void
ngx_http_gateway_health_write_handler(ngx_event_t *wev)
{
    ngx_err_t                        err;
    ngx_connection_t                *c;
    ngx_http_gateway_health_peer_t  *p;

    c = wev->data;
    p = c->data;

    if (!p->checking) {
        return;
    }

    if (p->connected) {
        ngx_http_gateway_health_send(p);
        return;
    }

    err = ngx_http_gateway_health_connect_error(c);

    if (err) {
        ngx_http_gateway_health_done(p, "connect() failed", err);
        return;
    }

    ngx_http_gateway_health_open(p);
}


/* What has been received; NGX_OK: go on reading. */

static ngx_int_t
ngx_http_gateway_health_received(ngx_http_gateway_health_peer_t *p,
    u_char *buf, ssize_t n)
{
    int     rc;
    size_t  used;

    if (n == 0) {
        if (p->answered && gw_http_answer_end(&p->answer) == GW_OK) {
            ngx_http_gateway_health_done(p, NULL, 0);

        } else {
            ngx_http_gateway_health_broken(p, "connection was closed", 0);
        }

        return NGX_DONE;
    }

    p->answered = 1;

    rc = gw_http_answer_feed(&p->answer, buf, n, &used);

    if (rc == GW_AGAIN) {
        return NGX_OK;
    }

    /* more than was asked for: nothing can follow on this connection */

    if (used < (size_t) n || p->sent < p->conf->request.len) {
        p->answer.keep = 0;
    }

    ngx_http_gateway_health_done(p, rc == GW_OK ? NULL : "invalid answer", 0);

    return NGX_DONE;
}


static void
ngx_http_gateway_health_receive(ngx_http_gateway_health_peer_t *p)
{
    u_char             buf[NGX_HTTP_GATEWAY_HEALTH_READ];
    ssize_t            n;
    ngx_connection_t  *c;

    c = p->connection;

    do {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_http_gateway_health_done(p, "no event for reading", 0);
            }

            return;
        }

        if (n == NGX_ERROR) {
            ngx_http_gateway_health_broken(p, "recv() failed",
                                           ngx_socket_errno);
            return;
        }

    } while (ngx_http_gateway_health_received(p, buf, n) == NGX_OK);
}


static void
ngx_http_gateway_health_read_handler(ngx_event_t *rev)
{
    u_char                           byte;
    ngx_connection_t                *c;
    ngx_http_gateway_health_peer_t  *p;

    c = rev->data;
    p = c->data;

    if (c->close) {
        /* nginx is ending, or short of connections */

        if (ngx_exiting) {
            ngx_http_gateway_health_quit();

        } else if (!p->checking) {
            ngx_http_gateway_health_close(p);
        }

        return;
    }

    if (p->checking) {
        if (p->connected) {
            ngx_http_gateway_health_receive(p);
        }

        return;
    }

    /* Idle: an end, or bytes that nobody asked for. With TLS there may also
     * be a session ticket, which recv() takes by itself. */

    if (c->recv(c, &byte, 1) != NGX_AGAIN
        || ngx_handle_read_event(rev, 0) != NGX_OK)
    {
        ngx_http_gateway_health_close(p);
    }
}


static void
ngx_http_gateway_health_start(ngx_http_gateway_health_peer_t *p)
{
    p->checking = 1;
    p->start = ngx_current_msec;

    ngx_http_gateway_health_arm(p, p->conf->timeout);

    if (p->connection == NULL) {
        ngx_http_gateway_health_connect(p);
        return;
    }

    ngx_reusable_connection(p->connection, 0);

    p->reused = 1;
    p->answered = 0;
    p->sent = 0;
    ngx_memzero(&p->answer, sizeof(p->answer));

    ngx_http_gateway_health_send(p);
}


static void
ngx_http_gateway_health_timer(ngx_event_t *ev)
{
    ngx_http_gateway_health_peer_t  *p;

    p = ev->data;

    if (ngx_exiting) {
        ngx_http_gateway_health_quit();
        return;
    }

    if (p->checking) {
        ngx_http_gateway_health_done(p, p->connected ? "no answer in time"
                                        : "connection not made in time", 0);
        return;
    }

    if (ngx_http_gateway_health_renew(p) != NGX_OK) {
        ngx_http_gateway_health_end(p);
        return;
    }

    ngx_http_gateway_health_start(p);
}
