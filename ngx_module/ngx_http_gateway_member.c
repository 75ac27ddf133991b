/*
 * A member that is behind: what its channel still has for it, from frames or
 * from records of the log, and what happens where a send ends inside a frame.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_fanout.h"
#include "../src/ws_frame.h"


/* Records that one system call may carry. */
#define NGX_HTTP_GATEWAY_RECORDS  64


/*
 * Advances by what was sent, and finds out whether that ends inside a frame:
 * then nothing else may be sent before its end. OpenSSL must be given the
 * bytes again that it did not take, so there the attempt counts.
 */

static void
ngx_http_gateway_member_advance(ngx_http_gateway_member_t *m, size_t sent,
    size_t total)
{
    size_t                      n;
    u_char                      header[GW_WS_MAX_SERVER_HEADER];
    uint64_t                    after, target, head;
    gw_cursor_t                 at, peek;
    ngx_http_gateway_client_t  *client;

    client = m->client;
    at = m->cursor;
    head = m->hub->head[ngx_http_gateway_client_form(client)].form.pos;
    after = at.pos + sent;
    target = after;

    if (client->ssl) {
        /* it takes a vector at a time, which is at most a chunk */
        target += ngx_min(total - sent, GW_CHUNK_MAX);
    }

    client->bytes_out += sent;

    gw_stream_skip(&m->cursor, sent);

    if (after == head) {
        client->cut = NULL;
        return;
    }

    if (client->cut == m) {
        gw_stream_skip(&at, client->cut_end - at.pos);
    }

    while (at.pos < target) {
        peek = at;
        n = ngx_min(sizeof(header), head - at.pos);
        gw_stream_read(&peek, header, n);
        gw_stream_skip(&at, gw_ws_frame_size(header, n));
    }

    client->cut = at.pos > after ? m : NULL;
    client->cut_end = at.pos;
}


void
ngx_http_gateway_member_short(ngx_http_gateway_member_t *m,
    gw_cursor_t *start, size_t sent, size_t total)
{
    ngx_http_gateway_member_fall_behind(m, start);
    ngx_http_gateway_member_advance(m, sent, total);

    if (sent < total) {
        ngx_http_gateway_client_blocked(m->client);
        return;
    }

    /* there was more than one call could carry: no other channel may send
     * before this frame's end */
    (void) ngx_http_gateway_member_send(m);
}


ngx_int_t
ngx_http_gateway_member_send_frames(ngx_http_gateway_member_t *m,
    uint64_t end)
{
    size_t                      total;
    ssize_t                     n;
    ngx_uint_t                  iovs;
    ngx_http_gateway_client_t  *client;

    static struct iovec  iov[NGX_HTTP_GATEWAY_IOVS];

    client = m->client;

    while (m->cursor.pos < end) {

        total = 0;
        iovs = gw_stream_vectors(&m->cursor, end, iov,
                                 NGX_HTTP_GATEWAY_IOVS, &total);

        n = ngx_http_gateway_client_send(client, iov, iovs, total);

        if (n == NGX_ERROR) {
            ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
            return NGX_ERROR;
        }

        ngx_http_gateway_member_advance(m, n == NGX_AGAIN ? 0 : n, total);

        if (n != (ssize_t) total) {
            ngx_http_gateway_client_blocked(client);
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* The frame that a record is sent as: opcode and payload. */

static gw_cursor_t
ngx_http_gateway_record_frame(ngx_http_gateway_client_t *client,
    gw_cursor_t *c, gw_record_t *r, ngx_uint_t *opcode, size_t *len)
{
    if (client->raw) {
        *opcode = r->opcode;
        *len = r->raw_len;
        return gw_record_raw(c, r);
    }

    *opcode = GW_WS_TEXT;
    *len = r->envelope_len;
    return gw_record_envelope(c);
}


static ngx_uint_t
ngx_http_gateway_record_skipped(ngx_http_gateway_member_t *m, gw_cursor_t *c,
    gw_record_t *r)
{
    if (r->quiet && c->pos >= m->live_from) {
        return 1;
    }

    return m->no_echo && r->origin == m->client->origin;
}


/* Describes frames of at most max records by vectors; their headers stand in
 * a buffer of this process. */

static ngx_uint_t
ngx_http_gateway_member_vectors(ngx_http_gateway_member_t *m, uint64_t head,
    struct iovec *iov, ngx_uint_t max, size_t *total)
{
    size_t       len, hlen, skip;
    gw_cursor_t  c, body;
    gw_record_t  r;
    ngx_uint_t   n, k, opcode;

    static u_char  headers[NGX_HTTP_GATEWAY_RECORDS]
                          [GW_WS_MAX_SERVER_HEADER];

    c = m->cursor;
    skip = m->sent;
    n = 0;

    for (k = 0; k < max && c.pos < head && n + 2 < NGX_HTTP_GATEWAY_IOVS; ) {

        gw_record_peek(&c, &r);

        if (!ngx_http_gateway_record_skipped(m, &c, &r)) {

            body = ngx_http_gateway_record_frame(m->client, &c, &r, &opcode,
                                                 &len);
            hlen = gw_ws_frame_header(headers[k], opcode, len);

            if (skip < hlen) {
                iov[n].iov_base = headers[k] + skip;
                iov[n].iov_len = hlen - skip;
                *total += iov[n++].iov_len;
                skip = 0;

            } else {
                skip -= hlen;
            }

            gw_stream_skip(&body, skip);
            len -= skip;
            skip = 0;

            n += gw_stream_vectors(&body, body.pos + len, iov + n,
                                   NGX_HTTP_GATEWAY_IOVS - n, total);
            k++;
        }

        gw_stream_skip(&c, r.size);
    }

    return n;
}


static void
ngx_http_gateway_member_advance_records(ngx_http_gateway_member_t *m,
    uint64_t head, size_t sent)
{
    size_t       len;
    gw_record_t  r;
    ngx_uint_t   opcode;

    m->client->bytes_out += sent;

    while (m->cursor.pos < head) {

        gw_record_peek(&m->cursor, &r);

        if (!ngx_http_gateway_record_skipped(m, &m->cursor, &r)) {

            (void) ngx_http_gateway_record_frame(m->client, &m->cursor, &r,
                                                 &opcode, &len);
            len += gw_ws_frame_header_size(len);

            if (sent < len - m->sent) {
                m->sent += sent;
                return;
            }

            sent -= len - m->sent;
            m->sent = 0;
            m->client->messages_out++;
            ngx_http_gateway_count(m->hub->zone->delivered, 1);
        }

        gw_stream_skip(&m->cursor, r.size);
    }
}


/* max: records to send at most, 0 for all there are. */

ngx_int_t
ngx_http_gateway_member_send_records(ngx_http_gateway_member_t *m,
    ngx_uint_t max)
{
    size_t                      total;
    ssize_t                     n;
    uint64_t                    head;
    ngx_uint_t                  iovs, batch;
    ngx_http_gateway_client_t  *client;

    static struct iovec  iov[NGX_HTTP_GATEWAY_IOVS];

    client = m->client;
    head = m->hub->head[ngx_http_gateway_client_form(client)].log.pos;
    batch = max ? max : NGX_HTTP_GATEWAY_RECORDS;

    while (m->cursor.pos < head) {

        total = 0;
        iovs = ngx_http_gateway_member_vectors(m, head, iov, batch, &total);

        n = total ? ngx_http_gateway_client_send(client, iov, iovs, total)
                  : 0;

        if (n == NGX_ERROR) {
            ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
            return NGX_ERROR;
        }

        ngx_http_gateway_member_advance_records(m, head,
                                                n == NGX_AGAIN ? 0 : n);

        client->cut = m->sent ? m : NULL;

        if (n != (ssize_t) total) {

            if (client->ssl) {
                client->cut = m;
            }

            ngx_http_gateway_client_blocked(client);
            return NGX_AGAIN;
        }

        if (max && client->cut == NULL) {
            break;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_member_send(ngx_http_gateway_member_t *m)
{
    gw_form_e  form;

    if (m->by_log) {
        return ngx_http_gateway_member_send_records(m, 0);
    }

    form = ngx_http_gateway_client_form(m->client);

    return ngx_http_gateway_member_send_frames(m,
                                               m->hub->head[form].form.pos);
}


/* Copies the rest of the frame at a member's cursor and goes past it. */

static ngx_http_gateway_out_t *
ngx_http_gateway_member_take(ngx_http_gateway_member_t *m)
{
    size_t                      len, hlen, rest;
    u_char                      frame[GW_WS_MAX_SERVER_HEADER];
    gw_cursor_t                 body;
    gw_record_t                 r;
    ngx_uint_t                  opcode;
    ngx_http_gateway_out_t     *out;
    ngx_http_gateway_client_t  *client;

    client = m->client;
    hlen = 0;
    len = 0;

    if (m->by_log) {
        gw_record_peek(&m->cursor, &r);
        body = ngx_http_gateway_record_frame(client, &m->cursor, &r, &opcode,
                                             &len);
        hlen = gw_ws_frame_header(frame, opcode, len);
        rest = hlen + len;

    } else {
        rest = client->cut_end - m->cursor.pos;
    }

    out = ngx_alloc(offsetof(ngx_http_gateway_out_t, data) + rest,
                    client->connection->log);
    if (out == NULL) {
        return NULL;
    }

    out->len = rest;
    out->pos = 0;

    if (!m->by_log) {
        gw_stream_read(&m->cursor, out->data, rest);
        return out;
    }

    ngx_memcpy(out->data, frame, hlen);
    gw_stream_read(&body, out->data + hlen, len);
    out->pos = m->sent;

    gw_stream_skip(&m->cursor, r.size);
    m->sent = 0;

    return out;
}


/*
 * The rest of a frame that is half sent, or that OpenSSL has been given,
 * becomes the first piece of the client's own queue, so that the member can
 * go elsewhere.
 */

void
ngx_http_gateway_member_uncut(ngx_http_gateway_member_t *m)
{
    ngx_http_gateway_out_t     *out;
    ngx_http_gateway_client_t  *client;

    client = m->client;

    if (client->cut != m) {
        return;
    }

    client->cut = NULL;

    out = ngx_http_gateway_member_take(m);

    if (out == NULL) {
        ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
        return;
    }

    out->next = client->out;

    if (client->out == NULL) {
        client->out_last = &out->next;
    }

    client->out = out;
    client->out_size += out->len - out->pos;
    client->cut_queued = 1;
    client->blocked = 1;
}
