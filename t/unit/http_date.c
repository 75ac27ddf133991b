#include "fields.h"

#include "../../src/http_date.h"


#define NOW INT64_C(1764028800) /* 2025-11-25 */


/* RFC 9110, 5.6.7 */
static void
three_forms(void **unused)
{
    size_t i;

    static const struct { const char *text; int64_t t; } cases[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
        { "Sun Nov  6 08:49:37 1994", 784111777 },
        { "Sun Nov 16 08:49:37 1994", 784975777 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Wed, 31 Dec 1969 23:59:59 GMT", -1 },
        { "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 },
        { "Tue, 19 Jan 2038 14:14:08 GMT", 2147523248 },
        { "Sun, 21 Nov 2286 04:46:39 GMT", 10000039599 },
        { "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
        { "Thu, 31 Dec 1998 23:59:60 GMT", 915148800 },

        /* names in any case; the day of the week is not checked */
        { "THU, 18 AUG 2050 02:01:18 gMT", 2544400878 },
        { "Mon, 18 Aug 2050 02:01:18 GMT", 2544400878 },
        { "Thu Aug 18 02:01:18 2050", 2544400878 },

        /* two digits: at most 50 years ahead */
        { "Thursday, 18-Aug-50 02:01:18 GMT", 2544400878 },
        { "Monday, 01-Jan-75 00:00:00 GMT", 3313526400 },
        { "Thursday, 01-Jan-76 00:00:00 GMT", 189302400 },
        { "Tuesday, 29-Feb-00 00:00:00 GMT", 951782400 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (gw_http_date_parse(text_of(cases[i].text), NOW) != cases[i].t) {
            fail_msg("%s: %lld", cases[i].text, (long long)
                     gw_http_date_parse(text_of(cases[i].text), NOW));
        }
    }
}


static void
nothing_else(void **unused)
{
    size_t i;

    static const char *const cases[] = {
        "", "0", "-1", "foo", "S", "Sun", "Sun,", "Sunday", "Sunday, 06-Nov-9",
        "Thu, 18 Aug 2050 02:01:18 UTC", "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 2050 02:01:18", "Thu, 18 Aug 50 02:01:18 GMT",
        "Thu 18 Aug 2050 02:01:18 GMT", "Thu, 18  Aug  2050 02:01:18 GMT",
        "Thu, 18-Aug-2050 02:01:18 GMT", "Thu, 18 Aug 2050 02.01.18 GMT",
        "Thu, 18 Aug 2050 2:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT ",
        " Thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT,",
        "Thu, 31 Apr 2050 02:01:18 GMT", "Thu, 29 Feb 2100 02:01:18 GMT",
        "Thu, 00 Apr 2050 02:01:18 GMT", "Thu, 18 Aug 2050 24:01:18 GMT",
        "Thu, 18 Aug 2050 02:60:18 GMT", "Thu, 18 Aug 2050 02:01:61 GMT",
        "Thu, 18 Aug 1600 02:01:18 GMT", "Thu, 18 Aux 2050 02:01:18 GMT",
        "Thx, 18 Aug 2050 02:01:18 GMT", "Thursday, 31-Feb-50 02:01:18 GMT",
        "Thu Aug 8 02:01:18 2050", "Thu Aug   8 02:01:18 2050"
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (gw_http_date_parse(text_of(cases[i]), NOW) != GW_NO_DATE) {
            fail_msg("%s", cases[i]);
        }
    }
}


/* Each day of 9 centuries, and the ends of what can be written. */
static void
what_is_written_is_read(void **unused)
{
    int64_t t;
    unsigned char *out;

    (void) unused;

    out = guard_room(0, GW_HTTP_DATE_LEN);

    for (t = INT64_C(-11644473600); t < INT64_C(17000000000); t += 86399) {
        gw_http_date_write(out, t);
        assert_true(gw_http_date_parse((gw_str_t){ out, GW_HTTP_DATE_LEN },
                                       NOW) == t);
    }

    gw_http_date_write(out, 784111777);
    assert_memory_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT", 29);
    gw_http_date_write(out, INT64_MIN);
    assert_memory_equal(out, "Mon, 01 Jan 1601 00:00:00 GMT", 29);
    gw_http_date_write(out, INT64_MAX);
    assert_memory_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT", 29);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forms),
        cmocka_unit_test(nothing_else),
        cmocka_unit_test(what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
