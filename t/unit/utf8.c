#include "guard.h"

#include "../../src/utf8.h"


typedef struct {
    const char *text;
    size_t len;
    size_t bad; /* index of the first impossible byte; len: none */
} text_t;

#define GOOD(s) { s, sizeof(s) - 1, sizeof(s) - 1 }
#define BAD(s, at) { s, sizeof(s) - 1, at }


/* Whole characters, as in Autobahn's 6.5, 6.7, 6.9, 6.11, 6.17, 6.22. */
static const text_t valid[] = {
    GOOD(""),
    GOOD("\x00"),
    GOOD("\x7f"),
    GOOD("Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-"
         "UTF-8!!"),
    GOOD("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    GOOD("\xc2\x80"),             /* U+0080 */
    GOOD("\xdf\xbf"),             /* U+07FF */
    GOOD("\xe0\xa0\x80"),         /* U+0800 */
    GOOD("\xed\x9f\xbf"),         /* U+D7FF, before the surrogates */
    GOOD("\xee\x80\x80"),         /* U+E000, after them */
    GOOD("\xef\xbf\xbd"),
    GOOD("\xef\xbf\xbe"),         /* noncharacters are characters here */
    GOOD("\xef\xbf\xbf"),
    GOOD("\xf0\x90\x80\x80"),     /* U+10000 */
    GOOD("\xf3\xbf\xbf\xbf"),
    GOOD("\xf4\x8f\xbf\xbf"),     /* U+10FFFF */
    GOOD("0123456789abcdef0123456789abcde\xe2\x82\xac 0123456789abcdef"),
};

/* Autobahn's 6.8, 6.10, 6.12 to 6.16, 6.18 to 6.21. */
static const text_t invalid[] = {
    BAD("\x80", 0),                     /* continuation without a lead */
    BAD("\xbf", 0),
    BAD("\x80\xbf\x80", 0),
    BAD("a\x80", 1),
    BAD("\xc0\x80", 0),                 /* overlong U+0000 */
    BAD("\xc1\xbf", 0),
    BAD("\xe0\x80\x80", 1),
    BAD("\xe0\x9f\xbf", 1),
    BAD("\xf0\x80\x80\x80", 1),
    BAD("\xf0\x8f\xbf\xbf", 1),
    BAD("\xed\xa0\x80", 1),             /* surrogates */
    BAD("\xed\xbf\xbf", 1),
    BAD("\xf4\x90\x80\x80", 1),         /* over U+10FFFF */
    BAD("\xf5\x80\x80\x80", 0),
    BAD("\xf7\xbf\xbf\xbf", 0),
    BAD("\xf8\x88\x80\x80\x80", 0),     /* five and six bytes */
    BAD("\xfc\x84\x80\x80\x80\x80", 0),
    BAD("\xfe", 0),
    BAD("\xff", 0),
    BAD("\xc3(", 1),                    /* continuation missing */
    BAD("\xc3\xc3\xa4", 1),
    BAD("\xe2\x82(", 2),
    BAD("\xe2(\xac", 1),
    BAD("\xf0\x9f\x98(", 3),
    BAD("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80""edited",
        12),
    BAD("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80", 12),
    BAD("0123456789abcdef0123456789abcdef0123456\xff", 39),
    BAD("0123456789abcde\xe2\x82\xff", 17),
};

/* Good so far, but cut. */
static const text_t cut[] = {
    GOOD("\xc2"), GOOD("\xe0"), GOOD("\xe0\xa0"), GOOD("\xe2\x82"),
    GOOD("\xf0"), GOOD("\xf0\x9f"), GOOD("\xf0\x9f\x98"), GOOD("\xf4\x8f\xbf"),
    GOOD("0123456789abcdef0123456789abcdef\xe2\x82"),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))


static int
feed(uint8_t *state, const char *text, size_t n)
{
    return gw_utf8_feed(state, guard_copy(0, text, n), n);
}


static void
valid_text_is_accepted(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(valid); i++) {
        assert_true(gw_utf8_valid(guard_copy(0, valid[i].text, valid[i].len),
                                  valid[i].len));
    }
}


static void
invalid_text_is_refused(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(invalid); i++) {
        assert_false(gw_utf8_valid(
                         guard_copy(0, invalid[i].text, invalid[i].len),
                         invalid[i].len));
    }
}


static void
cut_text_is_not_valid_but_no_error(void **unused)
{
    size_t i;
    uint8_t state;

    (void) unused;

    for (i = 0; i < COUNT(cut); i++) {
        state = GW_UTF8_ACCEPT;
        assert_int_equal(feed(&state, cut[i].text, cut[i].len), GW_OK);
        assert_int_not_equal(state, GW_UTF8_ACCEPT);
        assert_false(gw_utf8_valid((const unsigned char *) cut[i].text,
                                   cut[i].len));
    }
}


static void
the_first_impossible_byte_fails_at_once(void **unused)
{
    size_t i, n;
    uint8_t state;

    (void) unused;

    for (i = 0; i < COUNT(invalid); i++) {
        state = GW_UTF8_ACCEPT;

        for (n = 0; n < invalid[i].bad; n++) {
            assert_int_equal(feed(&state, invalid[i].text + n, 1), GW_OK);
        }

        assert_int_equal(feed(&state, invalid[i].text + n, 1), GW_ERROR);
    }
}


static void
text_may_be_cut_anywhere(void **unused)
{
    size_t i, k;
    uint8_t state;

    (void) unused;

    for (i = 0; i < COUNT(valid); i++) {
        for (k = 0; k <= valid[i].len; k++) {
            state = GW_UTF8_ACCEPT;
            assert_int_equal(feed(&state, valid[i].text, k), GW_OK);
            assert_int_equal(feed(&state, valid[i].text + k,
                                  valid[i].len - k), GW_OK);
            assert_int_equal(state, GW_UTF8_ACCEPT);
        }
    }

    for (i = 0; i < COUNT(invalid); i++) {
        for (k = 0; k <= invalid[i].bad; k++) {
            state = GW_UTF8_ACCEPT;
            assert_int_equal(feed(&state, invalid[i].text, k), GW_OK);
            assert_int_equal(feed(&state, invalid[i].text + k,
                                  invalid[i].len - k), GW_ERROR);
        }
    }
}


static void
an_error_stays(void **unused)
{
    uint8_t state;

    (void) unused;

    state = GW_UTF8_ACCEPT;
    assert_int_equal(feed(&state, "\xff", 1), GW_ERROR);
    assert_int_equal(feed(&state, "", 0), GW_ERROR);
    assert_int_equal(feed(&state, "abc", 3), GW_ERROR);
}


/* By the numbers, against a plain reading of RFC 3629 section 3. */
static void
every_code_point_and_no_other_three_bytes(void **unused)
{
    unsigned c;
    uint8_t state;
    unsigned char b[3];

    (void) unused;

    for (c = 0; c < 0x10000; c++) {
        b[0] = 0xe0 | c >> 12;
        b[1] = 0x80 | (c >> 6 & 0x3f);
        b[2] = 0x80 | (c & 0x3f);

        state = GW_UTF8_ACCEPT;
        gw_utf8_feed(&state, b, 3);

        assert_int_equal(state == GW_UTF8_ACCEPT,
                         c >= 0x800 && (c < 0xd800 || c > 0xdfff));
    }
}


/* Words and vectors begin anywhere, and one bad byte may stand anywhere. */
static void
one_bad_byte_in_long_ascii_is_found(void **unused)
{
    size_t n, i;
    unsigned char *p;

    (void) unused;

    for (n = 1; n < 100; n++) {
        p = guard_room(0, n);
        memset(p, 'a', n);
        assert_true(gw_utf8_valid(p, n));

        for (i = 0; i < n; i++) {
            p[i] = 0x80;
            assert_false(gw_utf8_valid(p, n));
            p[i] = 'a';
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_is_accepted),
        cmocka_unit_test(invalid_text_is_refused),
        cmocka_unit_test(cut_text_is_not_valid_but_no_error),
        cmocka_unit_test(the_first_impossible_byte_fails_at_once),
        cmocka_unit_test(text_may_be_cut_anywhere),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(every_code_point_and_no_other_three_bytes),
        cmocka_unit_test(one_bad_byte_in_long_ascii_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
