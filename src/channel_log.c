#include <string.h>

#include "channel_log.h"
#include "envelope.h"
#include "ws_frame.h"


#define PARTS 7

/*
 * An envelope in pieces, so that it is put into each stream without being
 * assembled first. buf holds what the gateway adds.
 */
typedef struct {
    gw_str_t part[PARTS];
    size_t len;
    size_t payload_off;
    unsigned char buf[192];
} envelope_t;


static void
epoch_set(gw_channel_log_t *l, const unsigned char *random)
{
    size_t i;

    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

    for (i = 0; i < GW_EPOCH_LEN; i++) {
        l->epoch[i] = digits[random[i] & 63];
    }
}


void
gw_channel_log_init(gw_channel_log_t *l, const unsigned char *random)
{
    memset(l, 0, sizeof(*l));
    l->first = 1;
    epoch_set(l, random);
}


void
gw_channel_log_free(gw_channel_log_t *l, const gw_alloc_t *a)
{
    size_t i;

    gw_stream_reset(&l->log, a);

    for (i = 0; i < GW_FORMS; i++) {
        gw_stream_reset(&l->form[i], a);
    }
}


/*
 * {"type":T,"payload":P,"encoding":"base64","timestamp":S,"resource":R,
 *  "sequenceNumber":N,"epoch":E}
 */
static void
envelope_build(envelope_t *e, const gw_channel_log_t *l,
    const gw_message_t *m)
{
    size_t i;
    unsigned char *p, *start;

    e->part[0] = gw_str("{\"type\":");
    e->part[1] = m->type.len > 0 ? m->type : gw_str("\"message\"");
    e->part[2] = gw_str(",\"payload\":");
    e->part[3] = m->payload;

    p = e->buf;

    if (m->base64) {
        p = gw_copy(p, gw_str(",\"encoding\":\"base64\""));
    }

    p = gw_copy(p, gw_str(",\"timestamp\":\""));
    p = gw_timestamp(p, m->time);
    p = gw_copy(p, gw_str("\",\"resource\":"));
    e->part[4] = (gw_str_t){ e->buf, p - e->buf };

    e->part[5] = m->resource;

    start = p;
    p = gw_copy(p, gw_str(",\"sequenceNumber\":"));
    p = gw_uint(p, l->seq + 1);
    p = gw_copy(p, gw_str(",\"epoch\":\""));
    p = gw_copy(p, (gw_str_t){ (unsigned char *) l->epoch, GW_EPOCH_LEN });
    p = gw_copy(p, gw_str("\"}"));
    e->part[6] = (gw_str_t){ start, p - start };

    e->payload_off = e->part[0].len + e->part[1].len + e->part[2].len;
    e->len = 0;

    for (i = 0; i < PARTS; i++) {
        e->len += e->part[i].len;
    }
}


static void
envelope_put(const envelope_t *e, gw_cursor_t *w)
{
    size_t i;

    for (i = 0; i < PARTS; i++) {
        gw_stream_put(w, e->part[i].data, e->part[i].len);
    }
}


/* Whether the raw body is a part of the envelope, stored once with it. */
static bool
raw_is_payload(const gw_message_t *m)
{
    return m->raw.data == m->payload.data && m->raw.len == m->payload.len;
}


static size_t
record_size(const gw_message_t *m, const envelope_t *e)
{
    return sizeof(gw_record_t) + e->len
           + (raw_is_payload(m) ? 0 : m->raw.len);
}


static void
record_put(gw_channel_log_t *l, const gw_message_t *m, const envelope_t *e,
    bool quiet)
{
    gw_cursor_t w;
    gw_record_t r;

    memset(&r, 0, sizeof(r));
    r.seq = l->seq + 1;
    r.time = m->time;
    r.origin = m->origin;
    r.envelope_len = e->len;
    r.raw_len = m->raw.len;
    r.raw_off = raw_is_payload(m) ? e->payload_off : e->len;
    r.size = record_size(m, e);
    r.opcode = m->opcode;
    r.priority = m->priority;
    r.quiet = quiet;

    w = gw_stream_head(&l->log);

    if (l->first == l->seq + 1) {
        l->oldest = w;
    }

    gw_stream_put(&w, &r, sizeof(r));
    envelope_put(e, &w);

    if (!raw_is_payload(m)) {
        gw_stream_put(&w, m->raw.data, m->raw.len);
    }

    gw_stream_commit(&l->log, &w);
}


static void
frame_put(gw_stream_t *s, uint8_t opcode, size_t len, const gw_str_t *raw,
    const envelope_t *e)
{
    size_t n;
    gw_cursor_t w;
    unsigned char header[GW_WS_MAX_SERVER_HEADER];

    w = gw_stream_head(s);

    n = gw_ws_frame_header(header, opcode, len);
    gw_stream_put(&w, header, n);

    if (raw != NULL) {
        gw_stream_put(&w, raw->data, raw->len);

    } else {
        envelope_put(e, &w);
    }

    gw_stream_commit(s, &w);
}


int
gw_channel_log_append(gw_channel_log_t *l, const gw_message_t *m,
    const gw_alloc_t *a)
{
    size_t n;
    envelope_t e;
    gw_chunk_t *log_end, *raw_end;
    gw_stream_t *raw, *v1;

    envelope_build(&e, l, m);

    raw = l->readers[GW_FORM_RAW] > 0 ? &l->form[GW_FORM_RAW] : NULL;
    v1 = l->readers[GW_FORM_V1] > 0 ? &l->form[GW_FORM_V1] : NULL;

    /* all the memory first: a failure then leaves nothing half written */

    log_end = gw_stream_end(&l->log);
    raw_end = raw != NULL ? gw_stream_end(raw) : NULL;

    if (gw_stream_reserve(&l->log, record_size(m, &e), a) != GW_OK) {
        return GW_ERROR;
    }

    n = gw_ws_frame_header_size(m->raw.len) + m->raw.len;

    if (raw != NULL && gw_stream_reserve(raw, n, a) != GW_OK) {
        gw_stream_cut(&l->log, log_end, a);
        return GW_ERROR;
    }

    n = gw_ws_frame_header_size(e.len) + e.len;

    if (v1 != NULL && gw_stream_reserve(v1, n, a) != GW_OK) {
        gw_stream_cut(&l->log, log_end, a);

        if (raw != NULL) {
            gw_stream_cut(raw, raw_end, a);
        }

        return GW_ERROR;
    }

    record_put(l, m, &e, false);

    if (raw != NULL) {
        frame_put(raw, m->opcode, m->raw.len, &m->raw, NULL);
    }

    if (v1 != NULL) {
        frame_put(v1, GW_WS_TEXT, e.len, NULL, &e);
    }

    l->seq++;
    l->published++;

    return GW_OK;
}


int
gw_channel_log_append_quiet(gw_channel_log_t *l, const gw_message_t *m,
    const gw_alloc_t *a)
{
    envelope_t e;

    envelope_build(&e, l, m);

    if (gw_stream_reserve(&l->log, record_size(m, &e), a) != GW_OK) {
        return GW_ERROR;
    }

    record_put(l, m, &e, true);

    l->seq++;

    return GW_OK;
}


void
gw_record_peek(const gw_cursor_t *c, gw_record_t *r)
{
    gw_cursor_t at;

    at = *c;
    gw_stream_read(&at, r, sizeof(*r));
}


gw_cursor_t
gw_record_envelope(const gw_cursor_t *c)
{
    gw_cursor_t at;

    at = *c;
    gw_stream_skip(&at, sizeof(gw_record_t));

    return at;
}


gw_cursor_t
gw_record_raw(const gw_cursor_t *c, const gw_record_t *r)
{
    gw_cursor_t at;

    at = *c;
    gw_stream_skip(&at, sizeof(gw_record_t) + (uint64_t) r->raw_off);

    return at;
}


void
gw_channel_log_trim(gw_channel_log_t *l, uint64_t history, uint64_t oldest,
    const gw_lows_t *lows, const gw_alloc_t *a)
{
    size_t i;
    uint64_t low;
    gw_record_t r;

    while (l->first <= l->seq) {
        gw_record_peek(&l->oldest, &r);

        if (l->seq + 1 - l->first <= history && r.time >= oldest) {
            break;
        }

        gw_stream_skip(&l->oldest, r.size);

        /* a writer that died has left a number that was given twice */
        l->first = r.seq + 1;
    }

    low = l->first <= l->seq ? l->oldest.pos : l->log.head;
    low = low < lows->log ? low : lows->log;

    gw_stream_trim(&l->log, low, a);

    for (i = 0; i < GW_FORMS; i++) {
        gw_stream_trim(&l->form[i], lows->form[i], a);
    }
}


void
gw_channel_log_restart(gw_channel_log_t *l, const unsigned char *random)
{
    l->seq = 0;
    l->first = 1;
    epoch_set(l, random);
}


void
gw_channel_log_restart_at(gw_channel_log_t *l, const unsigned char *epoch,
    uint64_t seq)
{
    l->seq = seq;
    l->first = seq + 1;
    memcpy(l->epoch, epoch, GW_EPOCH_LEN);
}


int
gw_channel_log_open(gw_channel_log_t *l, gw_form_e form, const gw_alloc_t *a)
{
    gw_chunk_t *end;

    /* a reader's cursor needs a chunk to stand in, here and in the log */

    end = gw_stream_end(&l->form[form]);

    if (gw_stream_reserve(&l->form[form], 1, a) != GW_OK) {
        return GW_ERROR;
    }

    if (gw_stream_reserve(&l->log, 1, a) != GW_OK) {
        gw_stream_cut(&l->form[form], end, a);
        return GW_ERROR;
    }

    l->readers[form]++;

    return GW_OK;
}


void
gw_channel_log_close(gw_channel_log_t *l, gw_form_e form,
    const gw_alloc_t *a)
{
    if (--l->readers[form] == 0) {
        gw_stream_reset(&l->form[form], a);
    }
}


static int
find_after(const gw_channel_log_t *l, uint64_t seq, gw_cursor_t *c)
{
    gw_record_t r;

    if (seq > l->seq || seq + 1 < l->first) {
        return GW_DECLINED;
    }

    if (seq == l->seq) {
        *c = gw_stream_head(&l->log);
        return GW_OK;
    }

    for (gw_record_peek(c, &r); r.seq <= seq; gw_record_peek(c, &r)) {
        gw_stream_skip(c, r.size);
    }

    return GW_OK;
}


int
gw_channel_log_since(const gw_channel_log_t *l, uint64_t seq, gw_cursor_t *c)
{
    *c = l->oldest;

    return find_after(l, seq, c);
}


int
gw_channel_log_next(const gw_channel_log_t *l, uint64_t seq, gw_cursor_t *c)
{
    if (c->pos < l->oldest.pos) {
        *c = l->oldest;
    }

    return find_after(l, seq, c);
}


static size_t
stream_memory(const gw_stream_t *s)
{
    size_t n;
    const gw_chunk_t *c;

    n = 0;

    for (c = s->first; c != NULL; c = c->next) {
        n += sizeof(*c) + c->size;
    }

    return n;
}


size_t
gw_channel_log_memory(const gw_channel_log_t *l)
{
    size_t i, n;

    n = stream_memory(&l->log);

    for (i = 0; i < GW_FORMS; i++) {
        n += stream_memory(&l->form[i]);
    }

    return n;
}
