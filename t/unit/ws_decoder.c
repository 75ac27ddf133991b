#include "guard.h"

#include <stdio.h>

#include "../../src/ws_frame.h"


#define MAX_MESSAGE 70000

#define FIN 0x80
#define TEXT GW_WS_TEXT
#define BINARY GW_WS_BINARY
#define CONT GW_WS_CONTINUATION
#define CLOSE GW_WS_CLOSE
#define PING GW_WS_PING
#define PONG GW_WS_PONG


/* What the client sends. */
static unsigned char in[GUARD_SIZE];
static size_t in_len;

/* What came of it: "text(..)" "binary(..)" "ping(..)" "pong(..)"
   "close(code,..)" one after another, and "!code" at an error. */
static char out[GUARD_SIZE];
static size_t out_len;

/* The message that is coming in. */
static char message[GUARD_SIZE];
static size_t message_len;
static bool message_open;

static gw_ws_decoder_t decoder;


static void
put(const void *p, size_t n)
{
    if (n > 0) {
        memcpy(in + in_len, p, n);
        in_len += n;
    }
}


/* A client's frame, its length written in `ext` bytes. */
static void
put_frame_ext(unsigned first, const char *payload, size_t len, size_t ext)
{
    size_t i;
    unsigned char b[14], *p;

    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

    p = b;
    *p++ = first;
    *p++ = 0x80 | (ext == 0 ? len : ext == 2 ? 126 : 127);

    for (i = ext; i > 0; i--) {
        *p++ = i > 4 ? 0 : len >> 8 * (i - 1);
    }

    memcpy(p, mask, 4);
    put(b, p + 4 - b);
    put(payload, len);

    for (i = 0; i < len; i++) {
        in[in_len - len + i] ^= mask[i & 3];
    }
}


static void
put_frame(unsigned first, const char *payload, size_t len)
{
    put_frame_ext(first, payload, len, len < 126 ? 0 : len < 65536 ? 2 : 8);
}


#define frame(first, s) put_frame(first, s, sizeof(s) - 1)
#define bytes(s) put(s, sizeof(s) - 1)


static void
log_event(const gw_ws_event_t *ev)
{
    char *p;

    p = out + out_len;

    switch (ev->type) {

    case GW_WS_EV_DATA:
        assert_int_equal(ev->first, !message_open);
        assert_true(ev->len > 0 || ev->last);

        memcpy(message + message_len, ev->data, ev->len);
        message_len += ev->len;
        message_open = !ev->last;

        if (ev->last) {
            p += sprintf(p, "%s(", ev->opcode == TEXT ? "text" : "binary");
            memcpy(p, message, message_len);
            p += message_len;
            *p++ = ')';
            message_len = 0;
        }

        break;

    case GW_WS_EV_CLOSE:
        p += sprintf(p, "close(%u,%.*s)", ev->code, (int) ev->len, ev->data);
        break;

    default:
        p += sprintf(p, "%s(%.*s)",
                     ev->type == GW_WS_EV_PING ? "ping" : "pong",
                     (int) ev->len, ev->data);
    }

    out_len = p - out;
}


/* Feeds a piece, which then ends where memory does. */
static int
feed(const unsigned char *p, size_t n)
{
    int rc;
    gw_ws_event_t ev;
    unsigned char *pos, *end;

    pos = guard_copy(0, p, n);
    end = pos + n;

    while (pos < end) {
        rc = gw_ws_decode(&decoder, &pos, end, &ev);
        assert_true(pos <= end);

        if (rc == GW_ERROR) {
            assert_non_null(decoder.reason);
            out_len += sprintf(out + out_len, "!%u", decoder.close_code);
            assert_int_equal(gw_ws_decode(&decoder, &pos, end, &ev),
                             GW_ERROR);
            return rc;
        }

        if (rc == GW_AGAIN) {
            assert_ptr_equal(pos, end);
            return rc;
        }

        log_event(&ev);
    }

    return GW_AGAIN;
}


static void
start(void)
{
    gw_ws_decoder_init(&decoder, MAX_MESSAGE, true);
    out_len = 0;
    message_len = 0;
    message_open = false;
}


static void
expect(const char *what, size_t len)
{
    if (out_len != len || memcmp(out, what, len) != 0) {
        fail_msg("got %.*s instead of %s", (int) out_len, out, what);
    }
}


/* All that was put must come to the same whole, byte by byte, and cut in two
   at any place (big inputs: around their frames' edges). */
static void
comes_to_len(const char *what, size_t len)
{
    size_t i;

    start();
    feed(in, in_len);
    expect(what, len);

    start();

    for (i = 0; i < in_len; i++) {
        if (feed(in + i, 1) == GW_ERROR) {
            break;
        }
    }

    expect(what, len);

    for (i = 1; i < in_len; i++) {

        if (i > 300 && i + 300 < in_len) {
            continue;
        }

        start();

        if (feed(in, i) != GW_ERROR) {
            feed(in + i, in_len - i);
        }

        expect(what, len);
    }

    in_len = 0;
}


#define comes_to(s) comes_to_len(s, sizeof(s) - 1)


static void
rfc_6455_examples(void **unused)
{
    (void) unused;

    /* 5.7: a masked "Hello". */
    bytes("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    comes_to("text(Hello)");

    /* 5.7: the masked pong of "Hello". */
    bytes("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    comes_to("pong(Hello)");
}


/* 5.2 */
static void
payloads_of_every_length_form(void **unused)
{
    size_t i, n;
    char *what;

    static const size_t sizes[] = { 0, 1, 7, 8, 9, 15, 16, 17, 125, 126, 127,
                                    128, 65535, 65536, MAX_MESSAGE };
    static char data[MAX_MESSAGE];

    (void) unused;

    for (i = 0; i < MAX_MESSAGE; i++) {
        data[i] = i * 7;
    }

    what = malloc(MAX_MESSAGE + 16);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        n = sizes[i];
        memcpy(what, "binary(", 7);
        memcpy(what + 7, data, n);
        what[7 + n] = ')';

        put_frame(FIN | BINARY, data, n);
        comes_to_len(what, n + 8);
    }

    free(what);
}


static void
several_messages_in_one_read(void **unused)
{
    (void) unused;

    frame(FIN | TEXT, "one");
    frame(FIN | BINARY, "two");
    frame(FIN | TEXT, "");
    frame(FIN | PONG, "");
    frame(FIN | TEXT, "three");
    comes_to("text(one)binary(two)text()pong()text(three)");
}


/* 5.4 */
static void
fragments_make_one_message(void **unused)
{
    (void) unused;

    frame(TEXT, "Hel");
    frame(CONT, "lo ");
    frame(FIN | CONT, "you");
    comes_to("text(Hello you)");

    frame(BINARY, "a");
    frame(FIN | CONT, "b");
    frame(FIN | TEXT, "c");
    comes_to("binary(ab)text(c)");
}


static void
fragments_may_be_empty(void **unused)
{
    (void) unused;

    frame(TEXT, "");
    frame(CONT, "");
    frame(FIN | CONT, "");
    comes_to("text()");

    frame(TEXT, "");
    frame(CONT, "mid");
    frame(FIN | CONT, "");
    comes_to("text(mid)");
}


/* 5.4, 5.5: control frames may stand between fragments. */
static void
control_frames_between_fragments(void **unused)
{
    (void) unused;

    frame(TEXT, "Hel");
    frame(FIN | PING, "are you there");
    frame(CONT, "lo");
    frame(FIN | PONG, "");
    frame(FIN | PING, "");
    frame(FIN | CONT, "!");
    frame(FIN | CLOSE, "\x03\xe8");
    comes_to("ping(are you there)pong()ping()text(Hello!)close(1000,)");

    /* A character may be cut by fragments with a ping between them. */
    frame(TEXT, "\xe2\x82");
    frame(FIN | PING, "\xff");
    frame(FIN | CONT, "\xac");
    comes_to("ping(\xff)text(\xe2\x82\xac)");
}


/* 5.5 */
static void
control_frames_of_125_bytes_and_no_more(void **unused)
{
    char data[200], what[200];

    (void) unused;

    memset(data, 'x', sizeof(data));
    sprintf(what, "ping(%.125s)", data);

    put_frame(FIN | PING, data, 125);
    comes_to_len(what, strlen(what));

    put_frame(FIN | PING, data, 126);
    comes_to("!1002");

    put_frame_ext(FIN | PING, data, 10, 2);
    comes_to("!1002");

    put_frame_ext(FIN | CLOSE, data, 10, 8);
    comes_to("!1002");
}


static void
fragmented_control_frames_fail(void **unused)
{
    (void) unused;

    frame(PING, "a");
    comes_to("!1002");

    frame(PONG, "");
    comes_to("!1002");

    frame(CLOSE, "\x03\xe8");
    comes_to("!1002");
}


/* 5.2: no extension has given these bits a meaning. */
static void
reserved_bits_fail(void **unused)
{
    unsigned rsv;

    (void) unused;

    for (rsv = 0x10; rsv < 0x80; rsv += 0x10) {
        frame(FIN | TEXT, "ok");
        frame(rsv | FIN | TEXT, "x");
        comes_to("text(ok)!1002");

        frame(rsv | FIN | PING, "");
        comes_to("!1002");
    }
}


static void
reserved_opcodes_fail(void **unused)
{
    unsigned op;

    (void) unused;

    for (op = 3; op < 16; op++) {
        if (op == 8) {
            op = 11;
        }

        frame(FIN | op, "");
        comes_to("!1002");

        frame(op, "x");
        comes_to("!1002");
    }
}


/* 5.1 */
static void
clients_must_mask_and_servers_must_not(void **unused)
{
    (void) unused;

    bytes("\x81\x02hi");
    comes_to("!1002");

    start();
    gw_ws_decoder_init(&decoder, MAX_MESSAGE, false);
    feed((const unsigned char *) "\x81\x02hi\x89\x01p\x82\x00", 9);
    expect("text(hi)ping(p)binary()", 23);

    start();
    gw_ws_decoder_init(&decoder, MAX_MESSAGE, false);
    feed((const unsigned char *) "\x81\x82", 2);
    expect("!1002", 5);
}


/* 5.2: the minimal number of bytes must be used. */
static void
lengths_must_be_minimal_and_of_63_bits(void **unused)
{
    (void) unused;

    put_frame_ext(FIN | TEXT, "hi", 2, 2);
    comes_to("!1002");

    put_frame_ext(FIN | TEXT, "hi", 2, 8);
    comes_to("!1002");

    memset(message, 'x', 65535);
    put_frame_ext(FIN | TEXT, message, 125, 2);
    comes_to("!1002");

    memset(message, 'x', 65535);
    put_frame_ext(FIN | TEXT, message, 65535, 8);
    comes_to("!1002");

    bytes("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask");
    comes_to("!1002");

    bytes("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffmask");
    comes_to("!1002");
}


static void
continuation_needs_a_message(void **unused)
{
    (void) unused;

    frame(FIN | CONT, "x");
    comes_to("!1002");

    frame(CONT, "");
    comes_to("!1002");

    frame(FIN | TEXT, "done");
    frame(FIN | CONT, "x");
    comes_to("text(done)!1002");

    frame(TEXT, "a");
    frame(FIN | CONT, "b");
    frame(CONT, "c");
    comes_to("text(ab)!1002");
}


static void
new_message_inside_another_fails(void **unused)
{
    (void) unused;

    frame(TEXT, "a");
    frame(FIN | TEXT, "b");
    comes_to("!1002");

    frame(BINARY, "");
    frame(FIN | PING, "p");
    frame(TEXT, "b");
    comes_to("ping(p)!1002");
}


static void
too_big_fails_when_announced(void **unused)
{
    (void) unused;

    /* MAX_MESSAGE + 1 in one frame, of which no payload comes. */
    start();
    feed((const unsigned char *) "\x82\xff\0\0\0\0\0\x01\x11\x71", 10);
    expect("!1009", 5);

    /* By 2^63 - 1, after which a sum would overflow. */
    start();
    put_frame(BINARY, "0123456789", 10);
    bytes("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff");
    comes_to("!1009");

    /* Over all fragments, control frames not counted. */
    memset(message, 'x', MAX_MESSAGE);
    put_frame(TEXT, message, 30000);
    frame(FIN | PING, "0123456789");
    put_frame(CONT, message, 40000);
    frame(FIN | CONT, "x");
    comes_to("ping(0123456789)!1009");

    /* The count begins anew with each message. */
    start();
    put_frame(TEXT, message, 30000);
    put_frame(FIN | CONT, message, 40000);
    frame(FIN | TEXT, "x");
    feed(in, in_len);
    in_len = 0;
    assert_int_equal(out_len, MAX_MESSAGE + 6 + 7);
}


/* 8.1, Autobahn 6.2 to 6.4. */
static void
text_is_utf8_over_all_fragments(void **unused)
{
    (void) unused;

    frame(FIN | TEXT, "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6");
    comes_to("text(Hello-\xc2\xb5@\xc3\x9f\xc3\xb6)");

    frame(TEXT, "\xce");
    frame(CONT, "\xba\xe1");
    frame(CONT, "");
    frame(CONT, "\xbd");
    frame(FIN | CONT, "\xb9");
    comes_to("text(\xce\xba\xe1\xbd\xb9)");

    frame(FIN | TEXT, "\xce\xba\xed\xa0\x80""edited");
    comes_to("!1007");

    frame(TEXT, "\xf4");
    frame(FIN | CONT, "\x90");
    comes_to("!1007");

    /* Cut by the message's end, with and without bytes in the last frame. */
    frame(FIN | TEXT, "\xe2\x82");
    comes_to("!1007");

    frame(TEXT, "\xe2\x82");
    frame(FIN | CONT, "");
    comes_to("!1007");

    /* A new message begins a new text. */
    frame(FIN | TEXT, "\xc3\xa4");
    frame(FIN | TEXT, "\xa4");
    comes_to("text(\xc3\xa4)!1007");

    /* Binary may be anything. */
    frame(BINARY, "\xff\xfe");
    frame(FIN | CONT, "\xc0\x80\xed\xa0\x80");
    comes_to("binary(\xff\xfe\xc0\x80\xed\xa0\x80)");
}


/* Autobahn 6.4.1 to 6.4.4: though the frame and the message go on. */
static void
impossible_text_fails_before_its_frame_ends(void **unused)
{
    (void) unused;

    put_frame(TEXT, "\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80""edited", 15);

    start();
    assert_int_equal(feed(in, 6 + 6), GW_AGAIN);
    assert_int_equal(message_len, 6);
    assert_int_equal(feed(in + 6 + 6, 1), GW_ERROR);
    expect("!1007", 5);

    in_len = 0;
}


static void
parts_come_as_soon_as_their_bytes(void **unused)
{
    size_t i;

    (void) unused;

    put_frame(FIN | TEXT, "0123456789", 10);

    start();
    feed(in, 6);
    assert_false(message_open);

    for (i = 0; i < 9; i++) {
        feed(in + 6 + i, 1);
        assert_true(message_open);
        assert_int_equal(message_len, i + 1);
        assert_int_equal(message[i], '0' + i);
    }

    feed(in + 6 + i, 1);
    expect("text(0123456789)", 16);

    in_len = 0;
}


/* An empty message is one event, first and last. */
static void
empty_message_is_one_event(void **unused)
{
    gw_ws_event_t ev;
    unsigned char *pos;

    (void) unused;

    start();
    frame(FIN | TEXT, "");
    pos = in;
    assert_int_equal(gw_ws_decode(&decoder, &pos, in + in_len, &ev), GW_OK);
    assert_ptr_equal(pos, in + in_len);
    assert_int_equal(ev.type, GW_WS_EV_DATA);
    assert_int_equal(ev.opcode, TEXT);
    assert_true(ev.first);
    assert_true(ev.last);
    assert_int_equal(ev.len, 0);

    assert_int_equal(gw_ws_decode(&decoder, &pos, in + in_len, &ev),
                     GW_AGAIN);
    in_len = 0;
}


static void
whole_payloads_stay_in_the_buffer(void **unused)
{
    gw_ws_event_t ev;
    unsigned char *pos;

    (void) unused;

    start();
    frame(FIN | TEXT, "hello");
    frame(FIN | PING, "ping");
    pos = in;
    assert_int_equal(gw_ws_decode(&decoder, &pos, in + in_len, &ev), GW_OK);
    assert_ptr_equal(ev.data, in + 6);
    assert_int_equal(gw_ws_decode(&decoder, &pos, in + in_len, &ev), GW_OK);
    assert_ptr_equal(ev.data, in + 6 + 5 + 6);
    in_len = 0;
}


/* 5.5.1, 7.4 */
static void
close_codes(void **unused)
{
    unsigned code;
    bool may;
    char data[2], what[32];

    (void) unused;

    for (code = 0; code < 65536; code++) {

        if (code > 5100 && code < 65500) {
            continue;
        }

        may = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
              || (code >= 3000 && code <= 4999);

        assert_int_equal(gw_ws_close_code_valid(code), may);

        data[0] = code >> 8;
        data[1] = code & 0xff;
        put_frame(FIN | CLOSE, data, 2);

        if (may) {
            sprintf(what, "close(%u,)", code);
            comes_to_len(what, strlen(what));

        } else {
            comes_to("!1002");
        }
    }
}


static void
close_payloads(void **unused)
{
    char data[126];

    (void) unused;

    frame(FIN | CLOSE, "");
    comes_to("close(1005,)");

    frame(FIN | CLOSE, "\x03");
    comes_to("!1002");

    frame(FIN | CLOSE, "\x03\xe8""bye \xe2\x82\xac");
    comes_to("close(1000,bye \xe2\x82\xac)");

    frame(FIN | CLOSE, "\x03\xe8\xce\xba\xed\xa0\x80");
    comes_to("!1007");

    frame(FIN | CLOSE, "\x03\xe8\xe2\x82");
    comes_to("!1007");

    memset(data, 'r', sizeof(data));
    memcpy(data, "\x0f\xa1", 2);
    put_frame(FIN | CLOSE, data, 125);
    start();
    feed(in, in_len);
    in_len = 0;
    assert_int_equal(out_len, 12 + 123);
}


/* 1.4: what comes after a close frame is discarded. */
static void
nothing_after_close_counts(void **unused)
{
    (void) unused;

    frame(TEXT, "half");
    frame(FIN | CLOSE, "\x03\xe9");
    frame(FIN | CONT, "x");
    frame(FIN | PING, "y");
    bytes("\xff\xff\xff\xff");
    comes_to("close(1001,)");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_6455_examples),
        cmocka_unit_test(payloads_of_every_length_form),
        cmocka_unit_test(several_messages_in_one_read),
        cmocka_unit_test(fragments_make_one_message),
        cmocka_unit_test(fragments_may_be_empty),
        cmocka_unit_test(control_frames_between_fragments),
        cmocka_unit_test(control_frames_of_125_bytes_and_no_more),
        cmocka_unit_test(fragmented_control_frames_fail),
        cmocka_unit_test(reserved_bits_fail),
        cmocka_unit_test(reserved_opcodes_fail),
        cmocka_unit_test(clients_must_mask_and_servers_must_not),
        cmocka_unit_test(lengths_must_be_minimal_and_of_63_bits),
        cmocka_unit_test(continuation_needs_a_message),
        cmocka_unit_test(new_message_inside_another_fails),
        cmocka_unit_test(too_big_fails_when_announced),
        cmocka_unit_test(text_is_utf8_over_all_fragments),
        cmocka_unit_test(impossible_text_fails_before_its_frame_ends),
        cmocka_unit_test(parts_come_as_soon_as_their_bytes),
        cmocka_unit_test(empty_message_is_one_event),
        cmocka_unit_test(whole_payloads_stay_in_the_buffer),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(close_payloads),
        cmocka_unit_test(nothing_after_close_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
