#include "guard.h"
#include "memory.h"

#include <stdio.h>
#include <time.h>

#include "../../src/envelope.h"


#define DAY 86400000u
#define LAST 253402300799999u /* 9999-12-31T23:59:59.999Z */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))


typedef struct {
    const char *text;
    uint64_t ms;
} moment_t;


/* Written and read. */
static const moment_t moments[] = {
    { "1970-01-01T00:00:00.001Z", 1 },
    { "1970-01-01T00:00:00.999Z", 999 },
    { "1970-01-01T00:00:01.000Z", 1000 },
    { "1970-01-01T23:59:59.999Z", DAY - 1 },
    { "1970-01-02T00:00:00.000Z", DAY },
    { "1970-12-31T23:59:59.999Z", 31535999999u },
    { "1972-02-29T12:00:00.000Z", 68212800000u },
    { "1999-12-31T23:59:59.999Z", 946684799999u },
    { "2000-02-29T00:00:00.000Z", 951782400000u },
    { "2000-03-01T00:00:00.000Z", 951868800000u },
    { "2001-09-09T01:46:40.000Z", 1000000000000u },
    { "2026-01-31T23:59:59.999Z", 1769903999999u },
    { "2038-01-19T03:14:08.000Z", 2147483648000u },
    { "2100-02-28T23:59:59.999Z", 4107542399999u },
    { "2100-03-01T00:00:00.000Z", 4107542400000u },
    { "2106-02-07T06:28:16.000Z", 4294967296000u },
    { "2400-02-29T00:00:00.000Z", 13574563200000u },
    { "9999-12-31T23:59:59.999Z", LAST },
};

/* Read only: RFC 3339 section 5.6 and 5.8, all of one moment each. */
static const moment_t spellings[] = {
    { "1985-04-12T23:20:50.52Z", 482196050520u },
    { "1996-12-19T16:39:57-08:00", 851042397000u },
    { "1996-12-20T00:39:57Z", 851042397000u },
    { "1996-12-20t00:39:57z", 851042397000u },
    { "1996-12-20T00:39:57+00:00", 851042397000u },
    { "1996-12-20T00:39:57-00:00", 851042397000u },
    { "1996-12-20T06:24:57+05:45", 851042397000u },
    { "1996-12-20T24:39:57+24:00", 0 },
    { "1996-12-20T23:38:57+22:59", 851042397000u },
    { "1996-12-19T01:40:57-22:59", 851042397000u },
    { "1996-12-20T00:39:57.1Z", 851042397100u },
    { "1996-12-20T00:39:57.12Z", 851042397120u },
    { "1996-12-20T00:39:57.123Z", 851042397123u },
    { "1996-12-20T00:39:57.1239Z", 851042397123u },
    { "1996-12-20T00:39:57.0009Z", 851042397000u },
    { "1996-12-20T00:39:57.123456789012345678901234567890+00:00",
      851042397123u },
    { "1990-12-31T23:59:60Z", 662688000000u },      /* a leap second */
    { "1990-12-31T15:59:60-08:00", 662688000000u },
    { "1970-01-01T01:00:00+01:00", 0 },
    { "1970-01-01T00:59:59.999+01:00", 0 },         /* before 1970 */
    { "1970-01-01T00:00:00-01:00", 3600000 },
    { "1969-12-31T23:30:00-01:00", 1800000 },       /* 1970 in UTC */
    { "9999-12-31T23:59:59.999+00:01", LAST - 60000 },
};

static const char *malformed[] = {
    "", "Z", "now", "0", "1996", "851042397",
    "1996-12-20", "00:39:57Z",
    "1996-12-20T00:39Z",
    "1996-12-20T00:39:57",            /* no offset */
    "1996-12-20 00:39:57Z",
    "1996-12-20T00:39:57 Z",
    " 1996-12-20T00:39:57Z",
    "1996-12-20T00:39:57Z ",
    "1996-12-20T00:39:57ZZ",
    "1996-12-20T00:39:57Z+00:00",
    "1996-12-20T00:39:57.Z",
    "1996-12-20T00:39:57.",
    "1996-12-20T00:39:57,5Z",
    "1996-12-20T00:39:57.5.5Z",
    "1996-12-20T00:39:57.-5Z",
    "1996-12-20T00:39:57+0000",
    "1996-12-20T00:39:57+00",
    "1996-12-20T00:39:57+00:",
    "1996-12-20T00:39:57+00:0",
    "1996-12-20T00:39:57+0:00",
    "1996-12-20T00:39:57+00:000",
    "1996-12-20T00:39:57+24:00",
    "1996-12-20T00:39:57-00:60",
    "1996-12-20T00:39:57*00:00",
    "96-12-20T00:39:57Z",
    "+1996-12-20T00:39:57Z",
    "-1996-12-20T00:39:57Z",
    "11996-12-20T00:39:57Z",
    "1996-1-20T00:39:57Z",
    "1996-12-2T00:39:57Z",
    "19961220T003957Z",
    "1996/12/20T00:39:57Z",
    "1996\r12\r20T00:39:57Z",         /* '\r' and '-' differ in one bit */
    "1996-12-20T00\03239\03257Z",       /* so do these and ':' */
    "1996-12-20\02400:39:57Z",
    "1996-12-20T00:39:57\x1a",
    "1996-00-20T00:39:57Z",
    "1996-13-20T00:39:57Z",
    "1996-12-00T00:39:57Z",
    "1996-12-32T00:39:57Z",
    "1996-12-20T24:00:00Z",
    "1996-12-20T00:60:00Z",
    "1996-12-20T00:00:61Z",
    "1996-12-20T-1:00:00Z",
    "1996-12-20T00:39:5aZ",
    "1996-12-20T00:39:57\xc2\xa0Z",
    "1969-12-31T23:59:59.999Z",
    "0000-01-01T00:00:00Z",
};

/* Days that the calendar does not have, RFC 3339 section 5.7. */
static const char *no_days[] = {
    "2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-02-31T00:00:00Z",
    "2024-02-30T00:00:00Z", "2000-02-30T00:00:00Z", "2100-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z", "2026-06-31T00:00:00Z", "2026-09-31T00:00:00Z",
    "2026-11-31T00:00:00Z",
};


static uint64_t
parse(const char *text, size_t n)
{
    return gw_timestamp_parse((gw_str_t){ guard_copy(0, text, n), n });
}


static void
parse_is(const char *text, uint64_t ms)
{
    uint64_t got;

    got = parse(text, strlen(text));

    if (got != ms) {
        fail_msg("%s: %llu", text, (unsigned long long) got);
    }
}


/* Exactly as many bytes as are announced, nothing behind them. */
static const char *
format(uint64_t ms)
{
    unsigned char *p;

    static char text[GW_TIMESTAMP_LEN + 1];

    p = guard_room(1, GW_TIMESTAMP_LEN);
    assert_ptr_equal(gw_timestamp(p, ms), p + GW_TIMESTAMP_LEN);
    memcpy(text, p, GW_TIMESTAMP_LEN);

    return text;
}


/* The same by the C library. */
static const char *
reference(uint64_t ms)
{
    time_t t;
    struct tm tm;

    static char text[64];

    t = ms / 1000;
    assert_non_null(gmtime_r(&t, &tm));
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (unsigned) (ms % 1000));

    return text;
}


static void
there_and_back(uint64_t ms)
{
    const char *text;

    text = format(ms);
    assert_string_equal(text, reference(ms));
    assert_int_equal(parse(text, GW_TIMESTAMP_LEN), ms);
}


static void
moments_are_written_in_utc_with_ms(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(moments); i++) {
        assert_string_equal(format(moments[i].ms), moments[i].text);
    }

    assert_string_equal(format(0), "1970-01-01T00:00:00.000Z");
}


static void
after_the_year_9999_is_its_last_moment(void **unused)
{
    (void) unused;

    assert_string_equal(format(LAST + 1), "9999-12-31T23:59:59.999Z");
    assert_string_equal(format((uint64_t) 1 << 62),
                        "9999-12-31T23:59:59.999Z");
    assert_string_equal(format(UINT64_MAX), "9999-12-31T23:59:59.999Z");
}


static void
what_is_written_is_read(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(moments); i++) {
        parse_is(moments[i].text, moments[i].ms);
    }
}


static void
every_spelling_is_read(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(spellings); i++) {
        parse_is(spellings[i].text, spellings[i].ms);
    }
}


static void
what_is_malformed_is_0(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(malformed); i++) {
        parse_is(malformed[i], 0);
    }

    assert_int_equal(gw_timestamp_parse((gw_str_t){ NULL, 0 }), 0);
}


static void
days_that_do_not_exist_are_malformed(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(no_days); i++) {
        parse_is(no_days[i], 0);
    }
}


static void
what_is_cut_is_malformed(void **unused)
{
    size_t i;

    static const char text[] = "1996-12-19T16:39:57.123-08:00";

    (void) unused;

    for (i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(parse(text, i), 0);
    }
}


/* Each byte replaced by each other one: read only where the rest is still of
   the grammar. */
static void
one_wrong_byte_is_malformed(void **unused)
{
    size_t i;
    unsigned c;
    bool digit, good;

    static const char text[] = "1996-12-19T16:39:57.123-08:00";
    char s[sizeof(text)];

    (void) unused;

    for (i = 0; i < sizeof(text) - 1; i++) {
        digit = text[i] >= '0' && text[i] <= '9';

        for (c = 0; c < 256; c++) {
            memcpy(s, text, sizeof(text));
            s[i] = c;

            good = digit ? c >= '0' && c <= '9'
                         : s[i] == text[i] || s[i] == (text[i] | 0x20);

            /* the sign may be the other one, and a digit in the place of the
               point is none */
            good = good || (i == 23 && c == '+');

            if (!good && parse(s, sizeof(text) - 1) != 0) {
                fail_msg("byte %zu as 0x%02x is read", i, c);
            }
        }
    }
}


/* Every day there is for a while, then one in thirteen, so that all weeks,
   months and centuries come. */
static void
the_calendar_is_that_of_the_c_library(void **unused)
{
    uint64_t day;

    (void) unused;

    there_and_back(1);

    for (day = 1; day <= LAST / DAY; day += day < 20000 ? 1 : 13) {
        there_and_back(day * DAY);
        assert_string_equal(format(day * DAY - 1), reference(day * DAY - 1));
    }
}


static void
random_moments_go_there_and_back(void **unused)
{
    size_t i;
    uint64_t seed, ms;

    (void) unused;

    seed = 42;

    for (i = 0; i < 20000; i++) {
        ms = (uint64_t) random_next(&seed) << 32 | random_next(&seed);
        there_and_back(1 + ms % LAST);
    }
}


static void
number_is_decimal(uint64_t v)
{
    size_t n;
    char text[32];
    unsigned char *p;

    n = snprintf(text, sizeof(text), "%llu", (unsigned long long) v);
    p = guard_room(0, n);
    assert_ptr_equal(gw_uint(p, v), p + n);
    assert_memory_equal(p, text, n);
}


static void
numbers_are_written_in_decimal(void **unused)
{
    size_t i;
    uint64_t v;
    unsigned char *p;

    (void) unused;

    for (i = 0; i < 3 * 64; i++) {
        v = ((uint64_t) 1 << i / 3) + i % 3 - 1;
        number_is_decimal(v);
    }

    for (v = 1; v < UINT64_MAX / 10; v *= 10) {
        number_is_decimal(v - 1);
        number_is_decimal(v);
    }

    p = guard_room(0, GW_UINT_LEN);
    assert_ptr_equal(gw_uint(p, UINT64_MAX), p + GW_UINT_LEN);
    assert_memory_equal(p, "18446744073709551615", GW_UINT_LEN);
}


static void
copies_end_where_they_say(void **unused)
{
    unsigned char *p;

    (void) unused;

    p = guard_room(0, 3);
    assert_ptr_equal(gw_copy(p, gw_str("abc")), p + 3);
    assert_memory_equal(p, "abc", 3);
    assert_ptr_equal(gw_copy(p, (gw_str_t){ NULL, 0 }), p);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_written_in_utc_with_ms),
        cmocka_unit_test(after_the_year_9999_is_its_last_moment),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_spelling_is_read),
        cmocka_unit_test(what_is_malformed_is_0),
        cmocka_unit_test(days_that_do_not_exist_are_malformed),
        cmocka_unit_test(what_is_cut_is_malformed),
        cmocka_unit_test(one_wrong_byte_is_malformed),
        cmocka_unit_test(the_calendar_is_that_of_the_c_library),
        cmocka_unit_test(random_moments_go_there_and_back),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(copies_end_where_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
