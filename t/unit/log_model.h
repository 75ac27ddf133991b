/*
 * A channel's log beside a model of it that keeps everything for good. Bytes
 * say what happens: random ones in the unit test, the fuzzer's in its target.
 *
 * The includer defines CHECK(condition) first.
 */

#ifndef LOG_MODEL_H_INCLUDED
#define LOG_MODEL_H_INCLUDED

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "memory.h"
#include "../../src/channel_log.h"
#include "../../src/ws_frame.h"

#define MODEL_MESSAGES 400
#define MODEL_READERS 6
#define MODEL_LOG GW_FORMS /* reads the records, not a form */

typedef struct {
    gw_record_t record;          /* as it must be found; offsets apart */
    char epoch[GW_EPOCH_LEN];
    unsigned char *body[2];      /* raw, envelope */
    size_t len[2];
    unsigned char *frame[2];     /* the same as frames */
    size_t frame_len[2];
} model_message_t;

typedef struct {
    bool used;
    unsigned kind;      /* gw_form_e or MODEL_LOG */
    gw_cursor_t c;
    size_t next;        /* message that it stands in */
    size_t off;         /* bytes of its frame seen */
} model_reader_t;

typedef struct {
    gw_channel_log_t log;
    gw_alloc_t a;
    memory_t memory;
    uint64_t now;
    uint64_t first;     /* as the log's */
    size_t base;        /* messages before this epoch */
    size_t n;
    model_message_t message[MODEL_MESSAGES];
    model_reader_t reader[MODEL_READERS];
} model_t;

typedef struct {
    const uint8_t *data;
    size_t len;
} model_input_t;


static inline unsigned
model_take(model_input_t *in)
{
    if (in->len == 0) {
        return 0;
    }

    in->len--;

    return *in->data++;
}


/* The contract of an envelope, by another parser. m->payload is whole. */
static inline void
model_envelope_check(const void *text, size_t len, const gw_message_t *m,
    uint64_t seq, const char *epoch)
{
    time_t t;
    json_t *e, *v, *name;
    char when[64];
    const struct tm *tm;

    e = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    CHECK(e != NULL && json_is_object(e));
    CHECK(json_object_size(e) == (m->base64 ? 7 : 6));

    v = m->type.len > 0
        ? json_loadb((const char *) m->type.data, m->type.len,
                     JSON_DECODE_ANY, NULL)
        : json_string("message");
    CHECK(v != NULL && json_equal(json_object_get(e, "type"), v));
    json_decref(v);

    v = json_loadb((const char *) m->payload.data, m->payload.len,
                   JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    CHECK(v != NULL && json_equal(json_object_get(e, "payload"), v));
    json_decref(v);

    v = json_object_get(e, "encoding");
    CHECK((v != NULL) == m->base64);
    CHECK(v == NULL || strcmp(json_string_value(v), "base64") == 0);

    t = m->time / 1000;
    tm = gmtime(&t);
    snprintf(when, sizeof(when), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
             tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour,
             tm->tm_min, tm->tm_sec, (unsigned) (m->time % 1000));
    v = json_object_get(e, "timestamp");
    CHECK(v != NULL && strcmp(json_string_value(v), when) == 0);

    name = json_loadb((const char *) m->resource.data, m->resource.len,
                      JSON_DECODE_ANY, NULL);
    CHECK(name != NULL && json_equal(json_object_get(e, "resource"), name));
    json_decref(name);

    v = json_object_get(e, "sequenceNumber");
    CHECK(json_is_integer(v) && (uint64_t) json_integer_value(v) == seq);

    v = json_object_get(e, "epoch");
    CHECK(v != NULL && json_string_length(v) == GW_EPOCH_LEN);
    CHECK(memcmp(json_string_value(v), epoch, GW_EPOCH_LEN) == 0);

    json_decref(e);
}


/* RFC 6455 5.2, of one whole unmasked message; to be freed. */
static inline unsigned char *
model_frame(uint8_t opcode, const void *body, size_t len, size_t *size)
{
    int shift;
    unsigned char *p, *frame;

    p = frame = malloc(len + 10);
    CHECK(frame != NULL);

    *p++ = 0x80 | opcode;
    *p++ = len < 126 ? len : len < 65536 ? 126 : 127;

    if (len >= 126) {
        for (shift = len < 65536 ? 8 : 56; shift >= 0; shift -= 8) {
            *p++ = (uint64_t) len >> shift;
        }
    }

    if (len > 0) {
        memcpy(p, body, len);
    }

    *size = p + len - frame;

    return frame;
}


static inline unsigned char *
model_copy(gw_cursor_t c, size_t n)
{
    unsigned char *p;

    p = malloc(n + 1);
    CHECK(p != NULL);
    gw_stream_read(&c, p, n);

    return p;
}


/* Takes what has been appended into the model, having checked it. */
static inline void
model_record(model_t *m, const gw_message_t *in, gw_cursor_t at)
{
    size_t i;
    gw_cursor_t end;
    gw_record_t *r;
    model_message_t *e;

    e = &m->message[m->n];
    r = &e->record;

    gw_record_peek(&at, r);

    CHECK(r->seq == m->n - m->base + 1);
    CHECK(r->time == in->time && r->origin == in->origin);
    CHECK(r->opcode == in->opcode && r->priority == in->priority);
    CHECK(r->raw_len == in->raw.len);

    end = at;
    gw_stream_skip(&end, r->size);
    CHECK(end.pos == m->log.log.head);

    e->len[GW_FORM_RAW] = r->raw_len;
    e->len[GW_FORM_V1] = r->envelope_len;
    e->body[GW_FORM_RAW] = model_copy(gw_record_raw(&at, r), r->raw_len);
    e->body[GW_FORM_V1] = model_copy(gw_record_envelope(&at),
                                     r->envelope_len);
    memcpy(e->epoch, m->log.epoch, GW_EPOCH_LEN);

    CHECK(in->raw.len == 0 || memcmp(e->body[GW_FORM_RAW], in->raw.data,
                                     in->raw.len) == 0);
    model_envelope_check(e->body[GW_FORM_V1], e->len[GW_FORM_V1], in, r->seq,
                         m->log.epoch);

    for (i = 0; i < 2; i++) {
        e->frame[i] = model_frame(i == GW_FORM_RAW ? in->opcode : GW_WS_TEXT,
                                  e->body[i], e->len[i], &e->frame_len[i]);
    }

    m->n++;
}


/* One of the shapes in which messages come: JSON, text, bytes, typed. */
static inline void
model_message(gw_message_t *in, char *text, size_t n, unsigned kind)
{
    size_t i;

    memset(in, 0, sizeof(*in));
    in->opcode = GW_WS_TEXT;
    in->resource = gw_str("\"room:\\\"1\\\"\"");

    for (i = 0; i < n; i++) {
        text[i + 1] = 'a' + (i * 7 + n) % 26;
    }

    text[0] = '"';
    text[n + 1] = '"';

    in->payload = (gw_str_t){ (unsigned char *) text, n + 2 };

    switch (kind % 4) {

    case 0: /* JSON: the payload is the body */
        in->raw = in->payload;
        break;

    case 1: /* text: the body, quoted */
        in->raw = (gw_str_t){ in->payload.data + 1, n };
        break;

    case 2:
        in->raw = (gw_str_t){ in->payload.data + 1, n };
        in->opcode = GW_WS_BINARY;
        in->base64 = true;
        break;

    default: /* typed: the payload is a part of the body */
        in->type = gw_str("\"tick\"");
        in->raw = in->payload;
        in->payload = gw_str("{\"n\":[1,2.5,null,\"\\u0000\"]}");
    }
}


static inline void
model_append(model_t *m, model_input_t *op, size_t fail)
{
    int rc;
    size_t n, bytes;
    char *text;
    unsigned kind;
    gw_cursor_t at;
    gw_message_t in;
    gw_channel_log_t old;

    kind = model_take(op);
    n = model_take(op);
    n = kind & 0x80 ? n * 70 : kind & 0x40 ? n * 16 + 100 : n;
    n = kind == 0xff ? n * 4 : n;

    if (m->n == MODEL_MESSAGES) {
        return;
    }

    text = malloc(n + 2);
    CHECK(text != NULL);

    model_message(&in, text, n, kind);
    m->now += kind >> 2 & 7;
    in.time = m->now;
    in.origin = n * 1000003;
    in.priority = kind % 3;

    old = m->log;
    bytes = m->memory.bytes;
    at = gw_stream_head(&m->log.log);
    m->memory.fail = fail;
    rc = gw_channel_log_append(&m->log, &in, &m->a);

    if (fail > 0 && m->memory.fail == 0) {
        CHECK(rc == GW_ERROR);
        CHECK(m->log.log.head == old.log.head);
        CHECK(m->log.form[0].head == old.form[0].head);
        CHECK(m->log.form[1].head == old.form[1].head);
        CHECK(m->memory.bytes == bytes);

    } else {
        CHECK(rc == GW_OK);
        old.seq++;
        old.published++;

        if (at.chunk == NULL) {
            at.chunk = m->log.log.first;
        }

        model_record(m, &in, at);
    }

    m->memory.fail = 0;
    CHECK(m->log.seq == old.seq && m->log.first == old.first);
    CHECK(m->log.published == old.published);
    free(text);
}


/* Bytes that a reader of a form has got must be its next ones. */
static inline void
model_expect(model_t *m, model_reader_t *r, const unsigned char *p, size_t n)
{
    size_t k;
    model_message_t *e;

    while (n > 0) {
        CHECK(r->next < m->n);
        e = &m->message[r->next];

        k = e->frame_len[r->kind] - r->off;
        k = k < n ? k : n;

        if (p != NULL) {
            CHECK(memcmp(e->frame[r->kind] + r->off, p, k) == 0);
            p += k;
        }

        r->off += k;
        n -= k;

        if (r->off == e->frame_len[r->kind]) {
            r->off = 0;
            r->next++;
        }
    }
}


static inline void
model_read_form(model_t *m, model_reader_t *r, size_t n, unsigned how)
{
    size_t i, k, left, total;
    struct iovec iov[4];
    unsigned char *p;

    left = m->log.form[r->kind].head - r->c.pos;
    n = n < left ? n : left;

    if (how % 3 == 0) {
        p = model_copy(r->c, n);
        gw_stream_skip(&r->c, n);
        model_expect(m, r, p, n);
        free(p);

    } else if (how % 3 == 1) {
        total = 0;
        k = gw_stream_vectors(&r->c, r->c.pos + n, iov, 4, &total);

        for (i = 0; i < k; i++) {
            model_expect(m, r, iov[i].iov_base, iov[i].iov_len);
        }

        CHECK(total <= n && (total == n || k == 4));
        gw_stream_skip(&r->c, total);

    } else {
        gw_stream_skip(&r->c, n);
        model_expect(m, r, NULL, n);
    }
}


/* The next record; they are those of the message, byte for byte. */
static inline void
model_read_record(model_t *m, model_reader_t *r)
{
    gw_record_t got;
    unsigned char *p;
    model_message_t *e;

    CHECK(r->next < m->n);
    e = &m->message[r->next++];

    gw_record_peek(&r->c, &got);
    CHECK(memcmp(&got, &e->record, sizeof(got)) == 0);

    p = model_copy(gw_record_envelope(&r->c), got.envelope_len);
    CHECK(memcmp(p, e->body[GW_FORM_V1], got.envelope_len) == 0);
    free(p);

    p = model_copy(gw_record_raw(&r->c, &got), got.raw_len);
    CHECK(memcmp(p, e->body[GW_FORM_RAW], got.raw_len) == 0);
    free(p);

    gw_stream_skip(&r->c, got.size);
}


static inline void
model_read(model_t *m, model_reader_t *r, size_t n, unsigned how)
{
    if (!r->used) {
        return;
    }

    if (r->kind < MODEL_LOG) {
        model_read_form(m, r, n, how);
        return;
    }

    for (/* void */; n > 0 && r->c.pos < m->log.log.head; n -= n % 7 + 1) {
        model_read_record(m, r);
        n = n < 8 ? 1 : n;
    }
}


/* All that is there. */
static inline void
model_drain(model_t *m, model_reader_t *r)
{
    gw_stream_t *s;

    if (!r->used) {
        return;
    }

    s = r->kind < MODEL_LOG ? &m->log.form[r->kind] : &m->log.log;

    while (r->c.pos < s->head) {
        model_read(m, r, SIZE_MAX, 0);
    }

    CHECK(r->next == m->n && r->off == 0);
}


/* Any number since which may be asked; *c is at the message it says. */
static inline void
model_since(model_t *m, uint64_t seq, gw_cursor_t *c)
{
    int rc;
    gw_record_t got;

    rc = gw_channel_log_since(&m->log, seq, c);
    CHECK(rc == (seq <= m->log.seq && seq + 1 >= m->first ? GW_OK
                                                          : GW_DECLINED));

    if (rc == GW_OK && seq == m->log.seq) {
        CHECK(c->pos == m->log.log.head);

    } else if (rc == GW_OK) {
        gw_record_peek(c, &got);
        CHECK(memcmp(&got, &m->message[m->base + seq].record, sizeof(got))
              == 0);
    }
}


/* A reader of the log has come for what it missed, and goes on in a form,
   so that it counts among the readers of that. */
static inline void
model_join(model_t *m, model_reader_t *r, unsigned kind, unsigned missed)
{
    uint64_t seq;
    gw_form_e form;

    if (r->used) {
        return;
    }

    r->kind = kind % (MODEL_LOG + 1);
    form = r->kind < MODEL_LOG ? r->kind : GW_FORM_V1;

    CHECK(gw_channel_log_open(&m->log, form, &m->a) == GW_OK);
    r->used = true;
    r->next = m->n;
    r->off = 0;

    if (r->kind < MODEL_LOG) {
        r->c = gw_stream_head(&m->log.form[r->kind]);
        return;
    }

    seq = m->first - 1 + missed % (m->log.seq + 2 - m->first);
    model_since(m, seq, &r->c);
    r->next = m->base + seq;
}


static inline void
model_leave(model_t *m, model_reader_t *r)
{
    if (r->used) {
        gw_channel_log_close(&m->log,
                             r->kind < MODEL_LOG ? r->kind : GW_FORM_V1,
                             &m->a);
        r->used = false;
    }
}


/* What is kept for positions from low to the head, chunks' headers and the
   pages at both ends included. */
static inline size_t
model_bound(const gw_stream_t *s, uint64_t low)
{
    low = low < s->head ? low : s->head;

    return (s->head - low) * 21 / 20 + 3 * GW_CHUNK_MAX;
}


static inline void
model_trim(model_t *m, uint64_t history, uint64_t oldest)
{
    size_t i, bound;
    uint64_t kept, *low;
    gw_lows_t lows;
    model_reader_t *r;

    lows = GW_LOWS_NONE;

    for (i = 0; i < MODEL_READERS; i++) {
        r = &m->reader[i];

        if (r->used) {
            low = r->kind < MODEL_LOG ? &lows.form[r->kind] : &lows.log;
            *low = *low < r->c.pos ? *low : r->c.pos;
        }
    }

    gw_channel_log_trim(&m->log, history, oldest, &lows, &m->a);

    while (m->first <= m->log.seq
           && (m->log.seq + 1 - m->first > history
               || m->message[m->base + m->first - 1].record.time < oldest))
    {
        m->first++;
    }

    CHECK(m->log.first == m->first);
    CHECK(m->log.seq == m->n - m->base);

    kept = m->log.log.head;

    for (i = m->base + m->first - 1; i < m->n; i++) {
        kept -= m->message[i].record.size;
    }

    bound = model_bound(&m->log.log, kept < lows.log ? kept : lows.log);

    for (i = 0; i < GW_FORMS; i++) {
        bound += model_bound(&m->log.form[i], lows.form[i]);
        CHECK(m->log.readers[i] > 0 || m->log.form[i].first == NULL);
    }

    CHECK(m->memory.bytes <= bound);
}


static inline void
model_restart(model_t *m, unsigned how)
{
    unsigned char random[GW_EPOCH_LEN];

    memset(random, how, sizeof(random));
    random[how % GW_EPOCH_LEN]++;
    gw_channel_log_restart(&m->log, random);

    m->base = m->n;
    m->first = 1;

    CHECK(m->log.seq == 0 && m->log.first == 1);
    CHECK(m->log.published == m->n);
}


static inline void
model_step(model_t *m, model_input_t *op)
{
    unsigned what, how;
    gw_cursor_t c;
    model_reader_t *r;

    static const uint64_t history[] = { 0, 1, 2, 5, 20, 1000, UINT64_MAX };

    what = model_take(op);
    how = what >> 4;
    r = &m->reader[how % MODEL_READERS];

    switch (what & 15) {

    case 0: case 1: case 2: case 3: case 4:
        model_append(m, op, 0);
        break;

    case 5:
        model_append(m, op, how + 1);
        break;

    case 6: case 7: case 8:
        how = model_take(op);
        model_read(m, r, how * (how & 1 ? 61 : 3), how >> 1);
        break;

    case 9:
        model_drain(m, r);
        break;

    case 10:
        how = model_take(op);
        model_join(m, r, how, how >> 2);
        break;

    case 11:
        model_leave(m, r);
        break;

    case 12:
        model_restart(m, how);
        break;

    case 13:
        how = model_take(op);
        model_since(m, how < 250 ? how : UINT64_MAX - 255 + how, &c);
        break;

    default:
        model_trim(m, history[how % 7], how < 8 ? 0 : m->now - how);
    }

    CHECK(gw_channel_log_memory(&m->log) == m->memory.bytes);
}


/* All that the bytes say, and then an end in which nothing may be left. */
static inline void
model_run(const uint8_t *data, size_t len)
{
    size_t i;
    model_t *m;
    model_input_t op;

    static const unsigned char random[GW_EPOCH_LEN] = "0123456789ab";

    m = calloc(1, sizeof(*m));
    CHECK(m != NULL);

    op = (model_input_t){ data, len };
    m->a = memory_allocator(&m->memory);
    m->now = 1767225600000u;
    m->first = 1;
    gw_channel_log_init(&m->log, random);

    while (op.len > 0) {
        model_step(m, &op);
    }

    for (i = 0; i < MODEL_READERS; i++) {
        model_drain(m, &m->reader[i]);
    }

    model_trim(m, 0, 0);

    for (i = 0; i < MODEL_READERS; i++) {
        model_leave(m, &m->reader[i]);
    }

    model_trim(m, 0, 0);
    CHECK(m->memory.blocks <= 2);

    gw_channel_log_free(&m->log, &m->a);
    CHECK(m->memory.blocks == 0 && m->memory.bytes == 0);

    for (i = 0; i < m->n; i++) {
        free(m->message[i].body[0]);
        free(m->message[i].body[1]);
        free(m->message[i].frame[0]);
        free(m->message[i].frame[1]);
    }

    free(m);
}

#endif /* LOG_MODEL_H_INCLUDED */
