#include "guard.h"

#include <setjmp.h>

#define CHECK(condition) assert_true(condition)

#include "log_model.h"


#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW 1767225600123u

static const unsigned char zeros[GW_EPOCH_LEN];

static gw_alloc_t a;
static memory_t memory;
static gw_channel_log_t l;


static int
each_set_up(void **unused)
{
    (void) unused;

    a = memory_allocator(&memory);
    memset(&l, 0xff, sizeof(l));
    gw_channel_log_init(&l, zeros);

    return 0;
}


static int
each_tear_down(void **unused)
{
    (void) unused;

    if (gw_channel_log_memory(&l) != memory.bytes) {
        return -1;
    }

    gw_channel_log_free(&l, &a);

    return memory.blocks == 0 && memory.bytes == 0 ? 0 : -1;
}


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ (const unsigned char *) s, strlen(s) };
}


/* A JSON body that is its own payload. */
static gw_message_t
json_message(const char *payload)
{
    gw_message_t m;

    memset(&m, 0, sizeof(m));
    m.payload = str(payload);
    m.raw = m.payload;
    m.resource = gw_str("\"news\"");
    m.time = NOW;
    m.opcode = GW_WS_TEXT;

    return m;
}


/* Text of n bytes, and the same quoted; to be freed. */
static char *
text_message(gw_message_t *m, size_t n)
{
    char *text;

    text = malloc(n + 2);
    assert_non_null(text);
    model_message(m, text, n, 1);
    m->time = NOW;

    return text;
}


static int
append(const gw_message_t *m)
{
    return gw_channel_log_append(&l, m, &a);
}


static void
append_at(uint64_t time)
{
    gw_message_t m;

    m = json_message("{\"at\":1}");
    m.time = time;
    assert_int_equal(append(&m), GW_OK);
}


static void
append_text(size_t n)
{
    char *text;
    gw_message_t m;

    text = text_message(&m, n);
    assert_int_equal(append(&m), GW_OK);
    free(text);
}


static void
trim(uint64_t history, uint64_t oldest)
{
    gw_channel_log_trim(&l, history, oldest, &GW_LOWS_NONE, &a);
}


static void
open_form(gw_form_e form)
{
    assert_int_equal(gw_channel_log_open(&l, form, &a), GW_OK);
}


static gw_cursor_t
since(uint64_t seq)
{
    gw_cursor_t c;

    assert_int_equal(gw_channel_log_since(&l, seq, &c), GW_OK);

    return c;
}


static void
gone_since(uint64_t seq)
{
    gw_cursor_t c;

    assert_int_equal(gw_channel_log_since(&l, seq, &c), GW_DECLINED);
}


static gw_record_t
record_after(uint64_t seq)
{
    gw_cursor_t c;
    gw_record_t r;

    c = since(seq);
    gw_record_peek(&c, &r);

    return r;
}


/* The cursor reads exactly these bytes, and they are all there are. */
static void
rest_is(const gw_stream_t *s, gw_cursor_t *c, const void *p, size_t n)
{
    unsigned char *got;

    assert_int_equal(s->head - c->pos, n);
    got = model_copy(*c, n);
    gw_stream_skip(c, n);
    assert_true(memcmp(got, p, n) == 0);
    free(got);
}


/* What was appended last, in the log and in both forms from the cursors. */
static void
last_is(const gw_message_t *m, gw_cursor_t form[GW_FORMS])
{
    size_t n;
    gw_cursor_t c;
    gw_record_t r;
    unsigned char *envelope, *raw, *frame;

    c = since(l.seq - 1);
    gw_record_peek(&c, &r);
    assert_int_equal(r.seq, l.seq);
    assert_int_equal(r.raw_len, m->raw.len);

    raw = model_copy(gw_record_raw(&c, &r), r.raw_len);
    assert_true(memcmp(raw, m->raw.data, m->raw.len) == 0);

    envelope = model_copy(gw_record_envelope(&c), r.envelope_len);
    model_envelope_check(envelope, r.envelope_len, m, l.seq, l.epoch);

    frame = model_frame(m->opcode, raw, r.raw_len, &n);
    rest_is(&l.form[GW_FORM_RAW], &form[GW_FORM_RAW], frame, n);
    free(frame);

    frame = model_frame(GW_WS_TEXT, envelope, r.envelope_len, &n);
    rest_is(&l.form[GW_FORM_V1], &form[GW_FORM_V1], frame, n);
    free(frame);

    free(envelope);
    free(raw);
}


static void
open_both(gw_cursor_t form[GW_FORMS])
{
    open_form(GW_FORM_RAW);
    open_form(GW_FORM_V1);
    form[GW_FORM_RAW] = gw_stream_head(&l.form[GW_FORM_RAW]);
    form[GW_FORM_V1] = gw_stream_head(&l.form[GW_FORM_V1]);
}


static void
a_new_log_has_no_messages_and_no_memory(void **unused)
{
    (void) unused;

    assert_int_equal(l.seq, 0);
    assert_int_equal(l.first, 1);
    assert_int_equal(l.published, 0);
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(gw_channel_log_memory(&l), 0);

    assert_int_equal(since(0).pos, 0);
    gone_since(1);
    gone_since(UINT64_MAX);

    trim(0, UINT64_MAX);
    assert_int_equal(l.first, 1);
}


static void
epochs_are_made_of_64_characters(void **unused)
{
    size_t i;
    unsigned c;
    bool seen[256];
    unsigned char random[GW_EPOCH_LEN];

    (void) unused;

    memset(seen, 0, sizeof(seen));

    for (c = 0; c < 256; c++) {
        memset(random, c, sizeof(random));
        gw_channel_log_init(&l, random);

        for (i = 1; i < GW_EPOCH_LEN; i++) {
            assert_int_equal(l.epoch[i], l.epoch[0]);
        }

        assert_non_null(memchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz_-",
                               l.epoch[0], 64));
        assert_true(c < 64 || seen[(unsigned char) l.epoch[0]]);
        assert_true(c >= 64 || !seen[(unsigned char) l.epoch[0]]);
        seen[(unsigned char) l.epoch[0]] = true;
    }

    /* each character by its own byte */
    for (i = 0; i < GW_EPOCH_LEN; i++) {
        random[i] = i + 1;
    }

    gw_channel_log_init(&l, random);

    for (i = 1; i < GW_EPOCH_LEN; i++) {
        assert_null(memchr(l.epoch, l.epoch[i], i));
    }
}


static void
messages_are_numbered_from_1(void **unused)
{
    uint64_t i;

    (void) unused;

    for (i = 1; i <= 300; i++) {
        append_at(NOW + i);
        assert_int_equal(l.seq, i);
        assert_int_equal(l.published, i);
        assert_int_equal(record_after(i - 1).seq, i);
        assert_int_equal(record_after(i - 1).time, NOW + i);
    }

    assert_int_equal(l.first, 1);
}


static void
json_is_the_payload_as_it_is(void **unused)
{
    size_t i;
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    static const char *payload[] = {
        "{}", "[]", "null", "true", "0", "-1.5e3", "\"\"", "\"text\"",
        " { \"a\" : [ 1 , 2 ] }\n", "{\"type\":1}", "[[[[[[]]]]]]",
        "\"\\u00e4\\n\\\"\\\\\\u0000\"", "\"\xc3\xa4\xf0\x9f\x98\x80\"",
        "{\"payload\":{\"payload\":{\"epoch\":\"}\"}}}",
    };

    (void) unused;

    open_both(form);

    for (i = 0; i < COUNT(payload); i++) {
        m = json_message(payload[i]);
        assert_int_equal(append(&m), GW_OK);
        last_is(&m, form);
    }
}


static void
the_envelope_is_as_the_protocol_says(void **unused)
{
    json_t *e, *want;
    gw_cursor_t c;
    gw_record_t r;
    gw_message_t m;
    unsigned char *envelope;

    (void) unused;

    m = json_message("{\"value\":[1,2]}");
    m.type = gw_str("\"stock:update\"");
    m.resource = gw_str("\"stock:ACME \\\"A\\\"\"");
    m.time = 1769903999999u;
    assert_int_equal(append(&m), GW_OK);

    c = since(0);
    gw_record_peek(&c, &r);
    envelope = model_copy(gw_record_envelope(&c), r.envelope_len);
    e = json_loadb((char *) envelope, r.envelope_len, 0, NULL);
    want = json_pack("{s:s, s:{s:[i,i]}, s:s, s:s, s:i, s:s}",
                     "type", "stock:update",
                     "payload", "value", 1, 2,
                     "timestamp", "2026-01-31T23:59:59.999Z",
                     "resource", "stock:ACME \"A\"",
                     "sequenceNumber", 1,
                     "epoch", "000000000000");

    assert_non_null(e);
    assert_non_null(want);
    assert_true(json_equal(e, want));

    json_decref(e);
    json_decref(want);
    free(envelope);
}


static void
text_is_quoted_in_the_envelope_only(void **unused)
{
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    m = json_message("\"say \\\"hello\\\"\\n\"");
    m.raw = gw_str("say \"hello\"\n");
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);
}


static void
bytes_are_base64_in_the_envelope_only(void **unused)
{
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    m = json_message("\"AP+AAAo=\"");
    m.raw = gw_str("\x00\xff\x80\x00\n");
    m.opcode = GW_WS_BINARY;
    m.base64 = true;
    assert_int_equal(append(&m), GW_OK);
    assert_int_equal(record_after(0).opcode, GW_WS_BINARY);
    last_is(&m, form);
}


static void
a_typed_body_keeps_its_type_and_payload(void **unused)
{
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    m = json_message("{\"type\":\"a\\u0020b\",\"payload\":[7],\"x\":1}");
    m.type = (gw_str_t){ m.raw.data + 8, 10 };
    m.payload = (gw_str_t){ m.raw.data + 29, 3 };
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);
}


static void
a_record_keeps_who_and_how(void **unused)
{
    gw_record_t r;
    gw_message_t m;

    (void) unused;

    m = json_message("1");
    m.origin = 0x123456789abcdef0u;
    m.priority = GW_PRIORITY_HIGH;
    m.time = 253402300799999u;
    assert_int_equal(append(&m), GW_OK);

    r = record_after(0);
    assert_int_equal(r.origin, 0x123456789abcdef0u);
    assert_int_equal(r.priority, GW_PRIORITY_HIGH);
    assert_int_equal(r.opcode, GW_WS_TEXT);
    assert_int_equal(r.time, 253402300799999u);
}


static void
a_body_that_is_the_payload_is_stored_once(void **unused)
{
    size_t n;
    char *text;
    gw_record_t r;
    gw_message_t m;

    (void) unused;

    n = 50000;
    text = malloc(n + 2);
    assert_non_null(text);

    model_message(&m, text, n, 0);
    assert_int_equal(append(&m), GW_OK);
    r = record_after(0);
    assert_true(r.raw_off + r.raw_len <= r.envelope_len);
    assert_int_equal(r.size, sizeof(r) + r.envelope_len);
    assert_in_range(l.log.head, n, n + 1000);

    /* and twice where it differs */
    model_message(&m, text, n, 1);
    assert_int_equal(append(&m), GW_OK);
    r = record_after(1);
    assert_true(r.raw_off >= r.envelope_len);
    assert_in_range(l.log.head, 3 * n, 3 * n + 2000);

    free(text);
}


/* JSON with blanks around it, for which raw subscribers get these too. */
static void
a_body_may_begin_like_the_payload(void **unused)
{
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    m = json_message("[1,2] \r\n");
    m.payload.len = 5;
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);

    m = json_message(" [1,2]");
    m.payload.data++;
    m.payload.len--;
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);
}


static void
messages_of_all_sizes_come_whole(void **unused)
{
    size_t i;
    char *text;
    unsigned kind;
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    static const size_t sizes[] = {
        0, 1, 124, 125, 126, 127, 483, 484, 485, 4071, 4072, 4073, 65533,
        65534, 65535, 65536, 65537, 1048576,
    };

    (void) unused;

    open_both(form);

    for (i = 0; i < COUNT(sizes); i++) {
        text = malloc(sizes[i] + 2);
        assert_non_null(text);

        for (kind = 0; kind < 4; kind++) {
            model_message(&m, text, sizes[i], kind);
            m.time = NOW;
            assert_int_equal(append(&m), GW_OK);
            last_is(&m, form);
        }

        free(text);
    }
}


/* The envelope is longer than the body, so its frame's header changes its
   form at another size. */
static void
the_envelope_is_framed_by_its_own_length(void **unused)
{
    size_t n, more;
    char *text;
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    text = text_message(&m, 60000);
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);
    free(text);

    more = record_after(0).envelope_len - 60000;

    for (n = 65535 - more - 2; n <= 65535 - more + 2; n++) {
        text = text_message(&m, n);
        assert_int_equal(append(&m), GW_OK);
        assert_int_equal(record_after(l.seq - 1).envelope_len, n + more);
        last_is(&m, form);
        free(text);
    }
}


static void
forms_are_written_only_while_somebody_reads(void **unused)
{
    gw_cursor_t c;

    (void) unused;

    append_at(NOW);
    assert_null(l.form[GW_FORM_RAW].first);
    assert_null(l.form[GW_FORM_V1].first);

    open_form(GW_FORM_V1);
    open_form(GW_FORM_V1);
    assert_int_equal(l.form[GW_FORM_V1].head, 0);
    append_at(NOW);
    assert_null(l.form[GW_FORM_RAW].first);
    assert_true(l.form[GW_FORM_V1].head > 0);

    /* who comes later sees what comes later */
    open_form(GW_FORM_RAW);
    c = gw_stream_head(&l.form[GW_FORM_RAW]);
    append_at(NOW);
    rest_is(&l.form[GW_FORM_RAW], &c, "\x81\x08{\"at\":1}", 10);

    gw_channel_log_close(&l, GW_FORM_V1, &a);
    assert_non_null(l.form[GW_FORM_V1].first);
    gw_channel_log_close(&l, GW_FORM_V1, &a);
    assert_null(l.form[GW_FORM_V1].first);

    append_at(NOW);
    assert_null(l.form[GW_FORM_V1].first);
    rest_is(&l.form[GW_FORM_RAW], &c, "\x81\x08{\"at\":1}", 10);

    open_form(GW_FORM_V1);
    assert_int_equal(l.form[GW_FORM_V1].head, 0);
}


static void
opening_gives_a_cursor_a_place_to_stand(void **unused)
{
    gw_cursor_t c, log;

    (void) unused;

    open_form(GW_FORM_RAW);
    c = gw_stream_head(&l.form[GW_FORM_RAW]);
    log = since(0);
    assert_non_null(c.chunk);
    assert_non_null(log.chunk);

    append_text(10000);
    gw_stream_skip(&c, 4 + 10000);
    assert_int_equal(c.pos, l.form[GW_FORM_RAW].head);
    gw_stream_skip(&log, record_after(0).size);
    assert_int_equal(log.pos, l.log.head);
}


static void
opening_without_memory_changes_nothing(void **unused)
{
    size_t fail;
    gw_channel_log_t old;

    (void) unused;

    old = l;

    for (fail = 1; fail <= 2; fail++) {
        memory.fail = fail;
        assert_int_equal(gw_channel_log_open(&l, GW_FORM_RAW, &a), GW_ERROR);
        assert_int_equal(memory.blocks, 0);
        assert_memory_equal(&l, &old, sizeof(l));
    }

    open_form(GW_FORM_RAW);
    assert_int_equal(l.readers[GW_FORM_RAW], 1);
}


static void
history_by_number(void **unused)
{
    size_t i;
    uint64_t seq;

    (void) unused;

    for (i = 1; i <= 100; i++) {
        append_at(NOW + i);
        trim(10, 0);
        assert_int_equal(l.first, i <= 10 ? 1 : i - 9);

        for (seq = l.first - 1; seq < l.seq; seq++) {
            assert_int_equal(record_after(seq).seq, seq + 1);
        }

        if (l.first > 1) {
            gone_since(l.first - 2);
            gone_since(0);
        }

        assert_int_equal(since(l.seq).pos, l.log.head);
        gone_since(l.seq + 1);
        gone_since(UINT64_MAX);
    }

    trim(UINT64_MAX, 0);
    assert_int_equal(l.first, 91);

    trim(1, 0);
    assert_int_equal(l.first, 100);
    assert_int_equal(record_after(99).time, NOW + 100);
}


static void
history_by_age(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 1; i <= 10; i++) {
        append_at(NOW + i);
    }

    trim(UINT64_MAX, NOW + 1);
    assert_int_equal(l.first, 1);

    trim(UINT64_MAX, NOW + 4);
    assert_int_equal(l.first, 4);
    assert_int_equal(record_after(3).seq, 4);
    gone_since(2);

    trim(2, NOW + 7);
    assert_int_equal(l.first, 9);

    trim(5, NOW + 10);
    assert_int_equal(l.first, 10);

    trim(UINT64_MAX, NOW + 11);
    assert_int_equal(l.first, 11);
    gone_since(9);
    assert_int_equal(since(10).pos, l.log.head);
}


static void
no_history_keeps_the_numbers(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 1; i <= 500; i++) {
        append_at(NOW);
        trim(0, 0);
        assert_int_equal(l.seq, i);
        assert_int_equal(l.first, i + 1);
        gone_since(i - 1);
        assert_int_equal(since(i).pos, l.log.head);
        assert_true(memory.bytes <= 2 * GW_CHUNK_MAX);
    }

    /* the next is kept until it is trimmed */
    append_at(NOW + 1);
    assert_int_equal(record_after(500).time, NOW + 1);
}


static void
memory_comes_back_after_a_burst(void **unused)
{
    size_t i;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    open_both(form);

    for (i = 0; i < 50; i++) {
        append_text(30000);
    }

    assert_true(memory.bytes > 50 * 30000 * 4);

    trim(0, 0);
    assert_true(memory.bytes <= 3 * GW_CHUNK_MAX);

    gw_channel_log_close(&l, GW_FORM_RAW, &a);
    gw_channel_log_close(&l, GW_FORM_V1, &a);
    assert_true(memory.bytes <= GW_CHUNK_MAX);
}


/* Also where a message fills a chunk to its last byte, and a reader of the
   form or of the log has seen just that. */
static void
trimming_keeps_what_a_reader_stands_on(void **unused)
{
    size_t n;
    gw_lows_t lows;
    gw_cursor_t c, log;
    gw_record_t r;

    (void) unused;

    for (n = 0; n < 500; n++) {
        open_form(GW_FORM_RAW);

        append_text(n);
        log = since(1);
        c = gw_stream_head(&l.form[GW_FORM_RAW]);
        append_text(9000);
        append_text(1);

        lows = GW_LOWS_NONE;
        lows.log = log.pos;
        lows.form[GW_FORM_RAW] = c.pos;
        gw_channel_log_trim(&l, 0, 0, &lows, &a);
        assert_int_equal(l.first, 4);

        gw_stream_skip(&c, 4 + 9000);
        rest_is(&l.form[GW_FORM_RAW], &c, "\x81\x01""b", 3);

        gw_record_peek(&log, &r);
        assert_int_equal(r.seq, 2);
        gw_stream_skip(&log, r.size);
        gw_record_peek(&log, &r);
        assert_int_equal(r.seq, 3);
        log = gw_record_raw(&log, &r);
        rest_is(&l.log, &log, "b", 1);

        gw_channel_log_free(&l, &a);
        gw_channel_log_init(&l, zeros);
    }
}


static void
restart_begins_an_epoch_from_1(void **unused)
{
    gw_cursor_t form[GW_FORMS];
    gw_message_t m;
    char old[GW_EPOCH_LEN];
    unsigned char random[GW_EPOCH_LEN];

    (void) unused;

    open_both(form);
    append_at(NOW);
    append_at(NOW);
    append_at(NOW);
    trim(2, 0);

    memcpy(old, l.epoch, sizeof(old));
    memset(random, 77, sizeof(random));
    gw_channel_log_restart(&l, random);

    assert_memory_not_equal(l.epoch, old, sizeof(old));
    assert_int_equal(l.seq, 0);
    assert_int_equal(l.first, 1);
    assert_int_equal(l.published, 3);
    assert_int_equal(since(0).pos, l.log.head);
    gone_since(1);
    gone_since(3);

    /* readers go on: the old messages are still before them */
    gw_stream_skip(&form[GW_FORM_RAW], 3 * 10);
    assert_int_equal(form[GW_FORM_RAW].pos, l.form[GW_FORM_RAW].head);
    form[GW_FORM_V1] = gw_stream_head(&l.form[GW_FORM_V1]);

    m = json_message("\"new\"");
    assert_int_equal(append(&m), GW_OK);
    assert_int_equal(l.seq, 1);
    assert_int_equal(l.published, 4);
    last_is(&m, form);

    trim(0, 0);
    gw_channel_log_restart(&l, zeros);
    assert_int_equal(append(&m), GW_OK);
    last_is(&m, form);
}


static void
a_mirror_goes_on_at_anothers_number(void **unused)
{
    gw_record_t r;
    gw_cursor_t form[GW_FORMS], c;
    gw_message_t m;

    static const unsigned char epoch[] = "0123456789ab";

    (void) unused;

    open_both(form);
    append_at(NOW);

    gw_channel_log_restart_at(&l, epoch, 41);
    assert_memory_equal(l.epoch, epoch, GW_EPOCH_LEN);
    assert_int_equal(l.seq, 41);
    assert_int_equal(l.first, 42);
    assert_int_equal(since(41).pos, l.log.head);
    gone_since(40);
    gone_since(42);

    m = json_message("\"new\"");
    assert_int_equal(append(&m), GW_OK);
    assert_int_equal(l.seq, 42);
    c = since(41);
    gw_record_peek(&c, &r);
    assert_int_equal(r.seq, 42);
    assert_int_equal(r.quiet, 0);
}


static void
what_is_appended_quietly_is_history_alone(void **unused)
{
    uint64_t head[GW_FORMS];
    gw_record_t r;
    gw_cursor_t form[GW_FORMS], c;
    gw_message_t m;

    (void) unused;

    open_both(form);
    append_at(NOW);
    head[GW_FORM_RAW] = l.form[GW_FORM_RAW].head;
    head[GW_FORM_V1] = l.form[GW_FORM_V1].head;

    m = json_message("\"old\"");
    assert_int_equal(gw_channel_log_append_quiet(&l, &m, &a), GW_OK);

    assert_int_equal(l.seq, 2);
    assert_int_equal(l.published, 1);
    assert_int_equal(l.form[GW_FORM_RAW].head, head[GW_FORM_RAW]);
    assert_int_equal(l.form[GW_FORM_V1].head, head[GW_FORM_V1]);

    c = since(1);
    gw_record_peek(&c, &r);
    assert_int_equal(r.seq, 2);
    assert_int_equal(r.quiet, 1);

    memory.fail = 1;
    m.raw.len = m.payload.len = 0;
    while (gw_channel_log_append_quiet(&l, &m, &a) == GW_OK) { /* void */ }
    memory.fail = 0;
}


/* From states that are near and far from the end of a chunk. */
static void
appending_without_memory_changes_nothing(void **unused)
{
    int rc;
    char *text;
    size_t fail, before, bytes, n;
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];
    gw_channel_log_t old;

    (void) unused;

    for (before = 0; before < 3000; before += 331) {
        for (n = 10, fail = 1; n < 30000; fail++) {
            open_both(form);
            append_text(before);
            form[0] = gw_stream_head(&l.form[0]);
            form[1] = gw_stream_head(&l.form[1]);

            text = text_message(&m, n);
            old = l;
            bytes = memory.bytes;
            memory.fail = fail;
            rc = append(&m);

            if (memory.fail > 0) {
                assert_int_equal(rc, GW_OK);
                memory.fail = 0;
                n = n * 10;
                fail = 0;

            } else {
                assert_int_equal(rc, GW_ERROR);
                assert_memory_equal(&l, &old, sizeof(l));
                assert_int_equal(memory.bytes, bytes);
                assert_int_equal(append(&m), GW_OK);
            }

            last_is(&m, form);
            free(text);
            gw_channel_log_free(&l, &a);
            gw_channel_log_init(&l, zeros);
        }
    }
}


static void
begin_to_write(gw_stream_t *s, size_t n)
{
    gw_cursor_t w;
    unsigned char junk[5000];

    memset(junk, 0xee, sizeof(junk));
    assert_int_equal(gw_stream_reserve(s, n, &a), GW_OK);
    w = gw_stream_head(s);
    gw_stream_put(&w, junk, n);
}


static void
a_writer_that_dies_leaves_no_trace(void **unused)
{
    size_t n;
    char *text;
    gw_message_t m;
    gw_cursor_t form[GW_FORMS];

    (void) unused;

    for (n = 0; n < 5000; n += 499) {
        open_both(form);

        text = text_message(&m, 5000 - n);
        assert_int_equal(append(&m), GW_OK);
        last_is(&m, form);
        free(text);

        begin_to_write(&l.log, n);
        begin_to_write(&l.form[GW_FORM_RAW], n);
        begin_to_write(&l.form[GW_FORM_V1], n);

        text = text_message(&m, 700);
        assert_int_equal(append(&m), GW_OK);
        assert_int_equal(l.seq, 2);
        last_is(&m, form);
        free(text);

        gw_channel_log_free(&l, &a);
        gw_channel_log_init(&l, zeros);
    }
}


static void
readers_at_all_distances_see_every_message(void **unused)
{
    size_t i;
    uint64_t seed;
    uint8_t ops[1500];

    (void) unused;

    seed = 7;

    for (i = 0; i < 100; i++) {
        random_fill(&seed, ops, sizeof(ops));
        model_run(ops, 10 + i * (sizeof(ops) - 10) / 100);
    }
}


/* Reading on from where a record ended finds what looking from the oldest one
   does, also when that record has left the history meanwhile. */
static void
reading_goes_on_where_it_stopped(void **state)
{
    uint64_t seq;
    gw_cursor_t c, fresh;
    gw_record_t r;

    (void) state;

    for (seq = 1; seq <= 60; seq++) {
        append_text(seq * 40);
    }

    c = since(0);

    for (seq = 1; seq <= 30; seq++) {
        assert_int_equal(gw_channel_log_next(&l, seq - 1, &c), GW_OK);
        gw_record_peek(&c, &r);
        assert_int_equal(r.seq, seq);
        gw_stream_skip(&c, r.size);
    }

    trim(10, 0);
    assert_int_equal(gw_channel_log_next(&l, 30, &c), GW_DECLINED);

    assert_int_equal(gw_channel_log_next(&l, 55, &c), GW_OK);
    fresh = since(55);
    assert_int_equal(c.pos, fresh.pos);

    assert_int_equal(gw_channel_log_next(&l, 60, &c), GW_OK);
    assert_int_equal(c.pos, l.log.head);
}


/* A writer that died between its two stores left the head beyond the chunk
   that is noted as the last. */
static void
a_writer_may_die_inside_a_commit(void **state)
{
    gw_chunk_t *early;
    gw_cursor_t c;
    gw_record_t r;
    uint64_t seq;

    (void) state;

    append_text(10);
    early = l.log.last;

    for (seq = 2; seq <= 9; seq++) {
        append_text(500);
    }

    assert_ptr_not_equal(l.log.last, early);
    l.log.last = early;

    append_text(20);

    c = since(0);

    for (seq = 1; seq <= 10; seq++) {
        gw_record_peek(&c, &r);
        assert_int_equal(r.seq, seq);
        gw_stream_skip(&c, r.size);
    }

    assert_int_equal(c.pos, l.log.head);
}


#define test(f) cmocka_unit_test_setup_teardown(f, each_set_up, each_tear_down)


int
main(void)
{
    const struct CMUnitTest tests[] = {
        test(reading_goes_on_where_it_stopped),
        test(a_writer_may_die_inside_a_commit),
        test(a_new_log_has_no_messages_and_no_memory),
        test(epochs_are_made_of_64_characters),
        test(messages_are_numbered_from_1),
        test(json_is_the_payload_as_it_is),
        test(the_envelope_is_as_the_protocol_says),
        test(text_is_quoted_in_the_envelope_only),
        test(bytes_are_base64_in_the_envelope_only),
        test(a_typed_body_keeps_its_type_and_payload),
        test(a_record_keeps_who_and_how),
        test(a_body_that_is_the_payload_is_stored_once),
        test(a_body_may_begin_like_the_payload),
        test(messages_of_all_sizes_come_whole),
        test(the_envelope_is_framed_by_its_own_length),
        test(forms_are_written_only_while_somebody_reads),
        test(opening_gives_a_cursor_a_place_to_stand),
        test(opening_without_memory_changes_nothing),
        test(history_by_number),
        test(history_by_age),
        test(no_history_keeps_the_numbers),
        test(memory_comes_back_after_a_burst),
        test(trimming_keeps_what_a_reader_stands_on),
        test(restart_begins_an_epoch_from_1),
        test(a_mirror_goes_on_at_anothers_number),
        test(what_is_appended_quietly_is_history_alone),
        test(appending_without_memory_changes_nothing),
        test(a_writer_that_dies_leaves_no_trace),
        test(readers_at_all_distances_see_every_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
