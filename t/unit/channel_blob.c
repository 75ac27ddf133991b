#include "guard.h"

#include "../../src/channel_blob.h"
#include "../../src/ws_frame.h"


#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define EPOCH "0123456789ab"
#define NODE "ABCDEFGHIJKL"
#define ID "--__--__--__"


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ (const unsigned char *) s, strlen(s) };
}


static bool
same(gw_str_t a, gw_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


static gw_message_t
message(const char *raw, const char *payload, const char *type)
{
    gw_message_t m;

    memset(&m, 0, sizeof(m));
    m.raw = str(raw);
    m.payload = str(payload);
    m.type = str(type);
    m.time = UINT64_C(0x0102030405060708);
    m.origin = UINT64_MAX - 1;
    m.opcode = GW_WS_TEXT;
    m.priority = GW_PRIORITY_HIGH;

    return m;
}


/* Encoded at the end of a page. */
static gw_str_t
encode(const gw_message_t *m)
{
    size_t n;
    unsigned char *blob;

    static unsigned char buf[4096];

    n = gw_blob_size(m);
    assert_in_range(n, GW_BLOB_HEADER, sizeof(buf));
    assert_ptr_equal(gw_blob_write(buf, m), buf + n);

    blob = guard_copy(0, buf, n);

    return (gw_str_t){ blob, n };
}


static bool
stored_once(const gw_message_t *m)
{
    return m->raw.data == m->payload.data && m->raw.len == m->payload.len;
}


static void
goes_round(const gw_message_t *m)
{
    gw_str_t blob;
    gw_message_t out;

    blob = encode(m);

    assert_int_equal(gw_blob_read(blob, &out), GW_OK);
    assert_true(same(out.raw, m->raw));
    assert_true(same(out.payload, m->payload));
    assert_true(same(out.type, m->type));
    assert_int_equal(out.resource.len, 0);
    assert_true(out.time == m->time && out.origin == m->origin);
    assert_int_equal(out.opcode, m->opcode);
    assert_int_equal(out.priority, m->priority);
    assert_int_equal(out.base64, m->base64);
    assert_int_equal(stored_once(&out), stored_once(m));

    assert_int_equal(gw_blob_open(blob, &out), GW_OK);
    assert_true(same(out.payload, m->payload));
}


static void
a_message_goes_round(void **unused)
{
    gw_message_t m;

    (void) unused;

    m = message("text", "\"text\"", "");
    goes_round(&m);

    m = message("{\"type\":\"t\",\"payload\":[1.50]}", "", "\"t\"");
    m.payload = (gw_str_t){ m.raw.data + 22, 6 };
    goes_round(&m);
    assert_int_equal(gw_blob_size(&m), GW_BLOB_HEADER + m.raw.len + 3);

    m = message("", "1e400", "\"\\ud800\"");
    m.payload = m.raw = str(" [1]");
    m.priority = GW_PRIORITY_LOW;
    goes_round(&m);
    assert_int_equal(gw_blob_size(&m), GW_BLOB_HEADER + 4 + 8);

    m = message("\xff\xfe", "\"//4=\"", "");
    m.opcode = GW_WS_BINARY;
    m.base64 = true;
    goes_round(&m);

    m = message("", "\"\"", "");
    goes_round(&m);
}


/* Nodes of other versions read it. */

static void
the_bytes_are_these(void **unused)
{
    gw_str_t blob;
    gw_message_t m;

    static const unsigned char bytes[] = {
        1, GW_PRIORITY_HIGH << 2, 1, 2, 3, 4, 5, 6, 7, 8,
        255, 255, 255, 255, 255, 255, 255, 254,
        0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 3, 255, 255, 255, 255,
        'h', 'i', '"', 'h', 'i', '"', '"', 't', '"'
    };

    (void) unused;

    m = message("hi", "\"hi\"", "\"t\"");
    blob = encode(&m);

    assert_int_equal(blob.len, sizeof(bytes));
    assert_memory_equal(blob.data, bytes, sizeof(bytes));
}


static void
what_is_not_a_message_is_refused(void **unused)
{
    size_t i;
    gw_message_t m, out;

    static const struct {
        const char *raw, *payload, *type;
        uint8_t opcode;
        bool base64;
    } bad[] = {
        { "x", "", "", GW_WS_TEXT, false },
        { "x", "x", "", GW_WS_TEXT, false },
        { "x", "\"\xff\"", "", GW_WS_TEXT, false },
        { "x", "1,\"a\":2", "", GW_WS_TEXT, false },
        { "\xff", "1", "", GW_WS_TEXT, false },
        { "\xff", "1", "", GW_WS_BINARY, true },
        { "x", "1", "t", GW_WS_TEXT, false },
        { "x", "1", "1", GW_WS_TEXT, false },
        { "x", "1", " \"t\"", GW_WS_TEXT, false },
        { "x", "1", "\"t\",\"a\":\"b\"", GW_WS_TEXT, false },
        { "x", "1", "\"\xc0\x80\"", GW_WS_TEXT, false },
    };

    (void) unused;

    for (i = 0; i < COUNT(bad); i++) {
        m = message(bad[i].raw, bad[i].payload, bad[i].type);
        m.opcode = bad[i].opcode;
        m.base64 = bad[i].base64;
        assert_int_equal(gw_blob_read(encode(&m), &out), GW_ERROR);
    }
}


/* Every byte of the header changed in every way, and every length. */
static void
a_damaged_blob_is_refused_or_a_message(void **unused)
{
    size_t i, n;
    unsigned value;
    gw_str_t blob;
    gw_message_t m, out;
    unsigned char copy[256];

    (void) unused;

    m = message("ab\"x\"", "\"x\"", "\"t\"");
    m.payload = (gw_str_t){ m.raw.data + 2, 3 };
    blob = encode(&m);
    n = blob.len;
    memcpy(copy, blob.data, n);

    for (i = 0; i < n; i++) {
        assert_int_equal(gw_blob_read((gw_str_t){ guard_copy(0, copy, i), i },
                                      &out), GW_ERROR);
    }

    memcpy(copy + n, "\"", 1);
    assert_int_equal(gw_blob_read((gw_str_t){ guard_copy(0, copy, n + 1),
                                              n + 1 }, &out), GW_ERROR);

    for (i = 0; i < GW_BLOB_HEADER; i++) {
        for (value = 0; value < 256; value++) {
            copy[i] ^= value;
            (void) gw_blob_read((gw_str_t){ guard_copy(0, copy, n), n }, &out);
            copy[i] ^= value;
        }
    }

    copy[0] = 2;
    assert_int_equal(gw_blob_read((gw_str_t){ copy, n }, &out), GW_ERROR);
    copy[0] = 1;
    copy[1] |= 0x10;
    assert_int_equal(gw_blob_read((gw_str_t){ copy, n }, &out), GW_ERROR);
    copy[1] = 3 << 2;
    assert_int_equal(gw_blob_read((gw_str_t){ copy, n }, &out), GW_ERROR);
}


static void
what_is_too_large_has_no_size(void **unused)
{
    gw_message_t m;

    (void) unused;

    m = message("", "1", "");
    m.raw.len = 0xffffffff;
    assert_int_equal(gw_blob_size(&m), 0);

    m = message("", "1", "");
    m.type.len = GW_BLOB_TYPE_MAX + 1;
    assert_int_equal(gw_blob_size(&m), 0);
}


static int
news_read(const char *text, gw_news_t *news)
{
    size_t n;

    n = strlen(text);

    return gw_news_read((gw_str_t){ guard_copy(0, text, n), n }, news);
}


static void
announcements_are_read(void **unused)
{
    gw_news_t news;

    (void) unused;

    assert_int_equal(news_read("m" EPOCH NODE ID "17:4:a:bcrest", &news),
                     GW_OK);
    assert_int_equal(news.kind, GW_NEWS_MESSAGE);
    assert_memory_equal(news.epoch, EPOCH, GW_EPOCH_LEN);
    assert_memory_equal(news.node, NODE, GW_NODE_LEN);
    assert_memory_equal(news.id, ID, GW_PUBLISH_ID_LEN);
    assert_int_equal(news.seq, 17);
    assert_true(same(news.name, str("a:bc")));
    assert_true(same(news.rest, str("rest")));

    assert_int_equal(news_read("d" EPOCH NODE ID "0:1:a", &news), GW_OK);
    assert_int_equal(news.rest.len, 0);
    assert_int_equal(news_read("c" EPOCH NODE ID "0:1:ax", &news), GW_OK);
}


static void
what_is_not_an_announcement_is_refused(void **unused)
{
    size_t i;
    gw_news_t news;

    static const char *bad[] = {
        "", "m", "m" EPOCH, "m" EPOCH NODE ID, "m" EPOCH NODE ID "1",
        "m" EPOCH NODE ID "1:", "m" EPOCH NODE ID "1:1",
        "m" EPOCH NODE ID "1:1:", "m" EPOCH NODE ID ":1:a",
        "m" EPOCH NODE ID "1::a", "m" EPOCH NODE ID "1:2:a",
        "m" EPOCH NODE ID "1:0:", "m" EPOCH NODE ID "0:1:a",
        "m" EPOCH NODE ID "-1:1:a", "m" EPOCH NODE ID "1.0:1:a",
        "m" EPOCH NODE ID "9007199254740993:1:a",
        "m" EPOCH NODE ID "00000000000000001:1:a",
        "m" EPOCH NODE ID "1:18446744073709551617:a",
        "m" EPOCH NODE ID "1:1:\n", "m" EPOCH NODE ID "1:1:\xff",
        "x" EPOCH NODE ID "1:1:a", "m012345678 ab" NODE ID "1:1:a",
    };

    (void) unused;

    for (i = 0; i < COUNT(bad); i++) {
        assert_int_equal(news_read(bad[i], &news), GW_ERROR);
    }

    assert_int_equal(news_read("m" EPOCH NODE ID "9007199254740992:1:a",
                               &news), GW_OK);
}


static void
counters_are_walked(void **unused)
{
    size_t i;
    uint64_t n;
    gw_str_t list;
    const unsigned char *at, *counter;

    static const char text[] = NODE "01234567" "12\n" NODE "89abcdef" "0\n";
    static const char *bad[] = {
        "", NODE, NODE "01234567", NODE "01234567" "\n",
        NODE "01234567" "1", NODE "01234567" "x\n", NODE "01234567" "-1\n",
        NODE "01234567" "99999999999999999\n",
    };

    (void) unused;

    list.len = sizeof(text) - 1;
    list.data = guard_copy(0, text, list.len);
    at = list.data;

    assert_true(gw_counts_next(list, &at, &counter, &n));
    assert_int_equal(n, 12);
    assert_memory_equal(counter, NODE "01234567", GW_COUNT_LEN);
    assert_true(gw_counts_next(list, &at, &counter, &n));
    assert_int_equal(n, 0);
    assert_memory_equal(counter, NODE "89abcdef", GW_COUNT_LEN);
    assert_false(gw_counts_next(list, &at, &counter, &n));

    for (i = 0; i < COUNT(bad); i++) {
        list = (gw_str_t){ guard_copy(0, bad[i], strlen(bad[i])),
                           strlen(bad[i]) };
        at = list.data;
        assert_false(gw_counts_next(list, &at, &counter, &n));
    }
}


static void
words_and_numbers(void **unused)
{
    uint64_t n;

    (void) unused;

    assert_true(gw_word_valid(str("azAZ09_-"), 8));
    assert_false(gw_word_valid(str("azAZ09_-"), 7));
    assert_false(gw_word_valid(str("a b"), 3));
    assert_false(gw_word_valid(str("a/b"), 3));

    assert_int_equal(gw_seq_read(str("0"), &n), GW_OK);
    assert_int_equal(n, 0);
    assert_int_equal(gw_seq_read(str("9007199254740992"), &n), GW_OK);
    assert_true(n == UINT64_C(9007199254740992));
    assert_int_equal(gw_seq_read(str("9007199254740993"), &n), GW_ERROR);
    assert_int_equal(gw_seq_read(str(""), &n), GW_ERROR);
    assert_int_equal(gw_seq_read(str("1 "), &n), GW_ERROR);
    assert_int_equal(gw_seq_read(str("00000000000000001"), &n), GW_ERROR);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_round),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(what_is_not_a_message_is_refused),
        cmocka_unit_test(a_damaged_blob_is_refused_or_a_message),
        cmocka_unit_test(what_is_too_large_has_no_size),
        cmocka_unit_test(announcements_are_read),
        cmocka_unit_test(what_is_not_an_announcement_is_refused),
        cmocka_unit_test(counters_are_walked),
        cmocka_unit_test(words_and_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
