#include "guard.h"

#include "../../src/ws_frame.h"


#define mem_is(p, s) assert_memory_equal(p, s, sizeof(s) - 1)


/* RFC 6455 5.7 and the edges of 5.2's three forms. */
static void
headers_take_the_shortest_form(void **unused)
{
    unsigned char b[GW_WS_MAX_SERVER_HEADER];

    (void) unused;

    assert_int_equal(gw_ws_frame_header(b, GW_WS_TEXT, 5), 2);
    mem_is(b, "\x81\x05");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_PING, 0), 2);
    mem_is(b, "\x89\x00");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_BINARY, 125), 2);
    mem_is(b, "\x82\x7d");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_BINARY, 126), 4);
    mem_is(b, "\x82\x7e\x00\x7e");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_BINARY, 256), 4);
    mem_is(b, "\x82\x7e\x01\x00");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_BINARY, 65535), 4);
    mem_is(b, "\x82\x7e\xff\xff");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_BINARY, 65536), 10);
    mem_is(b, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");

    assert_int_equal(gw_ws_frame_header(b, GW_WS_CLOSE,
                                        0x0123456789abcdefu), 10);
    mem_is(b, "\x88\x7f\x01\x23\x45\x67\x89\xab\xcd\xef");
}


static void
frame_size_reads_the_header_back(void **unused)
{
    size_t i, n, size;
    unsigned char b[GW_WS_MAX_SERVER_HEADER];

    static const uint64_t sizes[] = { 0, 1, 125, 126, 65535, 65536,
                                      1u << 31, (uint64_t) 1 << 40 };

    (void) unused;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size = gw_ws_frame_header(b, GW_WS_TEXT, sizes[i]);

        assert_int_equal(size, gw_ws_frame_header_size(sizes[i]));

        for (n = 0; n < size; n++) {
            assert_int_equal(gw_ws_frame_size(guard_copy(0, b, n), n), 0);
        }

        assert_int_equal(gw_ws_frame_size(guard_copy(0, b, size), size),
                         size + sizes[i]);
    }
}


static void
masked_headers_are_four_bytes_longer(void **unused)
{
    (void) unused;

    assert_int_equal(gw_ws_header_size((const unsigned char *) "\x81\x85", 2),
                     6);
    assert_int_equal(gw_ws_header_size((const unsigned char *) "\x81\xfe", 2),
                     8);
    assert_int_equal(gw_ws_header_size((const unsigned char *) "\x81\xff", 2),
                     14);
    assert_int_equal(gw_ws_header_size((const unsigned char *) "\x81", 1), 2);
}


/* Of any length, at any alignment, from any byte of the mask, and nothing
   beside it. */
static void
unmask_is_xor_with_the_repeated_mask(void **unused)
{
    size_t n, i;
    unsigned pos, shift;
    unsigned char *p;

    static const uint8_t mask[4] = { 0x12, 0x34, 0x56, 0x78 };

    (void) unused;

    for (n = 0; n < 80; n++) {
        for (pos = 0; pos < 4; pos++) {
            for (shift = 0; shift < 16; shift++) {
                p = guard_room(0, n + shift + 16);
                memset(p, 0xa5, n + shift + 16);

                gw_ws_unmask(p + 16, n, mask, pos);

                for (i = 0; i < n; i++) {
                    assert_int_equal(p[16 + i], 0xa5 ^ mask[(pos + i) & 3]);
                }

                for (i = 0; i < 16; i++) {
                    assert_int_equal(p[i], 0xa5);
                }

                for (i = 0; i < shift; i++) {
                    assert_int_equal(p[16 + n + i], 0xa5);
                }
            }
        }
    }
}


static void
unmask_twice_is_nothing(void **unused)
{
    unsigned char *p;

    static const uint8_t mask[4] = { 0xff, 0, 1, 0x80 };

    (void) unused;

    p = guard_copy(0, "Zwei Boxkaempfer jagen Eva quer durch Sylt", 42);
    gw_ws_unmask(p, 42, mask, 3);
    assert_memory_not_equal(p, "Zwei Boxkaempfer jagen Eva quer durch Sylt",
                            42);
    gw_ws_unmask(p, 42, mask, 3);
    assert_memory_equal(p, "Zwei Boxkaempfer jagen Eva quer durch Sylt", 42);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_take_the_shortest_form),
        cmocka_unit_test(frame_size_reads_the_header_back),
        cmocka_unit_test(masked_headers_are_four_bytes_longer),
        cmocka_unit_test(unmask_is_xor_with_the_repeated_mask),
        cmocka_unit_test(unmask_twice_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
