/*
 * The sending side of one subscribed connection: its own queue, and what its
 * channels have for it while it is behind.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_fanout.h"
#include "../src/ws_frame.h"


static ngx_int_t ngx_http_gateway_client_flush_all(
    ngx_http_gateway_client_t *client);
static ngx_int_t ngx_http_gateway_client_flush_out(
    ngx_http_gateway_client_t *client);
static void ngx_http_gateway_client_lost_handler(ngx_event_t *ev);


static ngx_queue_t  ngx_http_gateway_lost;
static ngx_event_t  ngx_http_gateway_lost_event;


void
ngx_http_gateway_client_init(ngx_http_gateway_client_t *client,
    ngx_connection_t *c)
{
    client->fd = c->fd;
    client->connection = c;
    client->ssl = (c->ssl != NULL);
    client->blocked = 1;
    client->held = 1;
    client->out_last = &client->out;

    ngx_queue_init(&client->members);

#if (NGX_SSL)
    if (c->ssl) {
        /* what is sent again may stand elsewhere by then */
        SSL_set_mode(c->ssl->connection,
                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
#endif
}


void
ngx_http_gateway_client_close(ngx_http_gateway_client_t *client)
{
    ngx_http_gateway_out_t  *out;

    client->cut = NULL;

    ngx_http_gateway_client_leave_all(client);

    while (client->out) {
        out = client->out;
        client->out = out->next;
        ngx_free(out);
    }

    if (client->lost) {
        ngx_queue_remove(&client->in_lost);
    }
}


void
ngx_http_gateway_client_lose(ngx_http_gateway_client_t *client,
    ngx_http_gateway_lost_e reason)
{
    ngx_event_t  *ev;

    if (client->lost) {
        return;
    }

    client->lost = 1;
    client->blocked = 1;
    client->reason = reason;

    ev = &ngx_http_gateway_lost_event;

    if (ev->handler == NULL) {
        ngx_queue_init(&ngx_http_gateway_lost);
        ev->handler = ngx_http_gateway_client_lost_handler;
        ev->log = ngx_cycle->log;
    }

    ngx_queue_insert_tail(&ngx_http_gateway_lost, &client->in_lost);

    ngx_post_event(ev, &ngx_posted_events);
}


static void
ngx_http_gateway_client_lost_handler(ngx_event_t *ev)
{
    ngx_queue_t                *q;
    ngx_http_gateway_client_t  *client;

    while (!ngx_queue_empty(&ngx_http_gateway_lost)) {
        q = ngx_queue_head(&ngx_http_gateway_lost);
        ngx_queue_remove(q);

        client = ngx_queue_data(q, ngx_http_gateway_client_t, in_lost);
        client->lost = 0;
        client->on_lost(client, client->reason);
    }
}


ngx_uint_t
ngx_http_gateway_client_idle(ngx_http_gateway_client_t *client)
{
    return client->out == NULL && client->cut == NULL;
}


/* The socket took less than all: its write event goes on. */

void
ngx_http_gateway_client_blocked(ngx_http_gateway_client_t *client)
{
    ngx_event_t  *wev;

    client->blocked = 1;

    wev = client->connection->write;
    wev->ready = 0;

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
    }
}


static ssize_t
ngx_http_gateway_client_send_ssl(ngx_http_gateway_client_t *client,
    struct iovec *iov, ngx_uint_t n)
{
    size_t             sent, done;
    ssize_t            rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = client->connection;
    sent = 0;

    for (i = 0; i < n; i++) {

        for (done = 0; done < iov[i].iov_len; done += rc) {

            rc = c->send(c, (u_char *) iov[i].iov_base + done,
                         iov[i].iov_len - done);

            if (rc == NGX_AGAIN) {
                return sent ? (ssize_t) sent : NGX_AGAIN;
            }

            if (rc <= 0) {
                return NGX_ERROR;
            }

            sent += rc;
        }
    }

    return sent;
}


ssize_t
ngx_http_gateway_client_send(ngx_http_gateway_client_t *client,
    struct iovec *iov, ngx_uint_t n, size_t total)
{
    ssize_t    rc;
    ngx_err_t  err;

    if (client->ssl) {
        return ngx_http_gateway_client_send_ssl(client, iov, n);
    }

    for ( ;; ) {
        rc = (n == 1) ? send(client->fd, iov->iov_base, total, 0)
                      : writev(client->fd, iov, n);

        if (rc >= 0) {
            return rc;
        }

        err = ngx_socket_errno;

        if (err == NGX_EAGAIN) {
            return NGX_AGAIN;
        }

        if (err != NGX_EINTR) {
            ngx_log_error(NGX_LOG_INFO, client->connection->log, err,
                          "sending to a subscriber failed");
            return NGX_ERROR;
        }
    }
}


void
ngx_http_gateway_client_queue(ngx_http_gateway_client_t *client,
    ngx_uint_t opcode, ngx_str_t *payload)
{
    size_t                   size;
    u_char                  *p;
    ngx_http_gateway_out_t  *out;

    if (client->lost) {
        return;
    }

    size = gw_ws_frame_header_size(payload->len) + payload->len;

    out = ngx_alloc(offsetof(ngx_http_gateway_out_t, data) + size,
                    client->connection->log);
    if (out == NULL) {
        ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_MEMORY);
        return;
    }

    out->next = NULL;
    out->len = size;
    out->pos = 0;

    p = out->data;
    p += gw_ws_frame_header(p, opcode, payload->len);
    ngx_memcpy(p, payload->data, payload->len);

    *client->out_last = out;
    client->out_last = &out->next;
    client->out_size += size;

    /* channel data must not overtake it */
    client->blocked = 1;
}


static void
ngx_http_gateway_client_drop_queue(ngx_http_gateway_client_t *client)
{
    ngx_http_gateway_out_t  *out, *next, *keep;

    keep = NULL;
    out = client->out;

    if (out && (out->pos > 0 || client->cut_queued
                || (client->ssl && !client->connection->write->ready)))
    {
        /* begun, or in OpenSSL's hands, which wants the same bytes again */
        keep = out;
        out = out->next;
        keep->next = NULL;
    }

    for ( /* void */ ; out; out = next) {
        next = out->next;
        client->out_size -= out->len - out->pos;
        ngx_free(out);
    }

    client->out = keep;
    client->out_last = keep ? &keep->next : &client->out;
}


void
ngx_http_gateway_client_overflow(ngx_http_gateway_client_t *client)
{
    uint64_t                    n;
    gw_form_e                   form;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    form = ngx_http_gateway_client_form(client);

    for (q = ngx_queue_head(&client->members);
         q != ngx_queue_sentinel(&client->members);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_client);

        /* one that has joined since the last snapshot begins after it */
        if (m->behind && m->hub->head[form].published > m->published) {
            /* by_log: what was left when it joined is not known exactly */
            n = m->hub->head[form].published - m->published;
            ngx_http_gateway_count(m->hub->zone->dropped_overflow, n);
        }
    }

    ngx_http_gateway_client_drop_queue(client);
    ngx_http_gateway_client_leave_all(client);
}


void
ngx_http_gateway_client_check(ngx_http_gateway_client_t *client)
{
    size_t                      unsent;
    uint64_t                    from, head;
    gw_form_e                   form;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    if (client->lost || !client->blocked || client->held) {
        return;
    }

    form = ngx_http_gateway_client_form(client);
    unsent = client->out_size;

    for (q = ngx_queue_head(&client->members);
         client->behind && q != ngx_queue_sentinel(&client->members);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_client);

        if (!m->behind) {
            continue;
        }

        if (m->by_log) {
            /* what it is catching up with does not count */
            from = ngx_max(m->cursor.pos, m->live_from);
            head = m->hub->head[form].log.pos;

        } else {
            from = m->cursor.pos;
            head = m->hub->head[form].form.pos;
        }

        unsent += head > from ? head - from : 0;
    }

    if (unsent > client->send_buffer) {
        ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_OVERFLOW);
    }
}


void
ngx_http_gateway_client_flush(ngx_http_gateway_client_t *client)
{
    ngx_int_t                   rc;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    if (client->lost || client->held) {
        return;
    }

    if (!client->connection->write->ready) {
        ngx_http_gateway_client_check(client);
        return;
    }

    rc = ngx_http_gateway_client_flush_all(client);

    if (rc != NGX_OK) {
        ngx_http_gateway_client_check(client);
        return;
    }

    client->blocked = 0;

    for (q = ngx_queue_head(&client->members);
         client->behind && q != ngx_queue_sentinel(&client->members);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_client);

        if (m->behind) {
            ngx_http_gateway_member_catch_up(m);
        }
    }
}


static ngx_int_t
ngx_http_gateway_client_flush_all(ngx_http_gateway_client_t *client)
{
    ngx_int_t                   rc;
    uint64_t                    before;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    m = client->cut;

    if (m) {
        rc = m->by_log
             ? ngx_http_gateway_member_send_records(m, 1)
             : ngx_http_gateway_member_send_frames(m, client->cut_end);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_gateway_client_flush_out(client);

    if (rc != NGX_OK) {
        return rc;
    }

    for (q = ngx_queue_head(&client->members);
         client->behind && q != ngx_queue_sentinel(&client->members);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_client);

        if (!m->behind) {
            continue;
        }

        before = m->cursor.pos;

        rc = ngx_http_gateway_member_send(m);

        if (m->cursor.pos != before) {
            /* memory that this member kept may be free now */
            ngx_http_gateway_hub_touch(m->hub);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_client_flush_out(ngx_http_gateway_client_t *client)
{
    size_t                   total, left;
    ssize_t                  n;
    ngx_uint_t               iovs;
    ngx_http_gateway_out_t  *out;

    static struct iovec  iov[NGX_HTTP_GATEWAY_IOVS];

    while (client->out) {

        total = 0;
        iovs = 0;

        for (out = client->out;
             out && iovs < NGX_HTTP_GATEWAY_IOVS;
             out = out->next)
        {
            iov[iovs].iov_base = out->data + out->pos;
            iov[iovs].iov_len = out->len - out->pos;
            total += iov[iovs++].iov_len;
        }

        n = ngx_http_gateway_client_send(client, iov, iovs, total);

        if (n == NGX_ERROR) {
            ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
            return NGX_ERROR;
        }

        left = n == NGX_AGAIN ? 0 : n;
        client->bytes_out += left;
        client->out_size -= left;

        while (client->out && left >= client->out->len - client->out->pos) {
            out = client->out;
            left -= out->len - out->pos;
            client->out = out->next;
            client->cut_queued = 0;
            ngx_free(out);
        }

        if (client->out == NULL) {
            client->out_last = &client->out;

        } else {
            client->out->pos += left;
        }

        if (n != (ssize_t) total) {
            ngx_http_gateway_client_blocked(client);
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


static ngx_http_gateway_member_t *
ngx_http_gateway_client_member(ngx_http_gateway_client_t *client,
    ngx_str_t *name)
{
    ngx_str_t                  *s;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    for (q = ngx_queue_head(&client->members);
         q != ngx_queue_sentinel(&client->members);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_client);
        s = &m->hub->channel->sn.str;

        if (s->len == name->len
            && ngx_memcmp(s->data, name->data, s->len) == 0)
        {
            return m;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_gateway_client_joined(ngx_http_gateway_client_t *client,
    ngx_str_t *name)
{
    return ngx_http_gateway_client_member(client, name) != NULL;
}


ngx_str_t *
ngx_http_gateway_client_channel(ngx_http_gateway_client_t *client,
    ngx_str_t *name)
{
    return &ngx_http_gateway_client_member(client, name)->hub->channel->sn.str;
}


ngx_int_t
ngx_http_gateway_client_join(ngx_http_gateway_client_t *client,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered)
{
    ngx_http_gateway_member_t  *m;

    m = ngx_http_gateway_client_member(client, name);

    /* from here to the flush nothing may overtake the answer */
    client->blocked = 1;

    if (m) {
        ngx_http_gateway_member_uncut(m);
        ngx_http_gateway_hub_rejoin(m, join, info, recovered);
        return NGX_OK;
    }

    m = ngx_calloc(sizeof(*m), client->connection->log);
    if (m == NULL) {
        return NGX_ERROR;
    }

    m->client = client;

    if (ngx_http_gateway_hub_join(m, zone, name, join, info, recovered)
        != NGX_OK)
    {
        ngx_free(m);
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&client->members, &m->in_client);

    return NGX_OK;
}


static void
ngx_http_gateway_member_leave(ngx_http_gateway_member_t *m)
{
    ngx_http_gateway_member_uncut(m);
    ngx_queue_remove(&m->in_client);
    ngx_http_gateway_hub_leave(m);
    ngx_free(m);
}


ngx_int_t
ngx_http_gateway_client_leave(ngx_http_gateway_client_t *client,
    ngx_str_t *name)
{
    ngx_http_gateway_member_t  *m;

    m = ngx_http_gateway_client_member(client, name);

    if (m == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_gateway_member_leave(m);

    return NGX_OK;
}


void
ngx_http_gateway_client_leave_all(ngx_http_gateway_client_t *client)
{
    ngx_queue_t  *q, *next;

    for (q = ngx_queue_head(&client->members);
         q != ngx_queue_sentinel(&client->members);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_http_gateway_member_leave(
                  ngx_queue_data(q, ngx_http_gateway_member_t, in_client));
    }
}
