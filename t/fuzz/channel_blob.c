/*
 * What comes from Redis: a message, an announcement, a list of counters. What
 * is taken for a message is written and read again, and goes into a log whose
 * envelope must be JSON.
 *
 * Input: one of them, whichever it may be.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/channel_blob.h"
#include "../../src/json_scan.h"
#include "../unit/memory.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static bool
same(gw_str_t a, gw_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


static void
log_it(gw_message_t *m)
{
    gw_json_t v;
    gw_alloc_t a;
    memory_t memory;
    gw_cursor_t c;
    gw_record_t r;
    unsigned char *text;
    gw_channel_log_t l;

    static const unsigned char epoch[GW_EPOCH_LEN] = "0123456789ab";

    a = memory_allocator(&memory);
    gw_channel_log_init(&l, epoch);
    gw_channel_log_restart_at(&l, epoch, 7);

    m->resource = gw_str("\"c\"");
    check(gw_channel_log_append_quiet(&l, m, &a) == GW_OK);
    check(gw_channel_log_since(&l, 7, &c) == GW_OK);

    gw_record_peek(&c, &r);
    check(r.seq == 8 && r.quiet);

    text = malloc(r.envelope_len);
    c = gw_record_envelope(&c);
    gw_stream_read(&c, text, r.envelope_len);
    check(gw_json_parse((gw_str_t){ text, r.envelope_len }, &v) == GW_OK
          && v.type == GW_JSON_OBJECT);
    free(text);

    gw_channel_log_free(&l, &a);
}


static void
again(gw_message_t *m)
{
    size_t n;
    gw_message_t out;
    unsigned char *blob;

    n = gw_blob_size(m);
    check(n > 0);

    blob = malloc(n);
    check(gw_blob_write(blob, m) == blob + n);
    check(gw_blob_read((gw_str_t){ blob, n }, &out) == GW_OK);
    check(same(m->raw, out.raw) && same(m->payload, out.payload)
          && same(m->type, out.type) && m->time == out.time
          && m->origin == out.origin && m->opcode == out.opcode
          && m->priority == out.priority && m->base64 == out.base64);
    free(blob);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t n;
    gw_str_t text;
    gw_news_t news;
    gw_message_t m;
    const unsigned char *at, *counter;

    text = (gw_str_t){ data, size };

    if (gw_news_read(text, &news) == GW_OK) {
        check(news.name.data + news.name.len == news.rest.data);
        check(news.rest.data + news.rest.len == data + size);
        text = news.rest;
    }

    if (gw_blob_read(text, &m) == GW_OK) {
        again(&m);

        /* nested one deeper, an envelope may be too deep to parse */
        if (m.payload.len < 64) {
            log_it(&m);
        }
    }

    at = text.data;

    while (gw_counts_next(text, &at, &counter, &n)) {
        check(counter + GW_COUNT_LEN < at && at <= text.data + text.len);
    }

    return 0;
}
