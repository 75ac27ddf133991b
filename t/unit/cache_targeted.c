#include "fields.h"

#include <stdio.h>

#include "../../src/cache_control.h"


#define NONE GW_CC_NONE


static gw_cache_control_t
response(const char *text)
{
    gw_cache_control_t cc;

    gw_cache_control_response(&cc, fields(0, text));

    return cc;
}


/* RFC 9213, 2.1 and 2.2 */
static void
it_replaces_cache_control(void **unused)
{
    gw_cache_control_t cc;

    (void) unused;

    cc = response("Cache-Control: no-store, max-age=1\n"
                  "CDN-Cache-Control: max-age=3600");
    assert_int_equal(cc.flags, GW_CC_TARGETED);
    assert_int_equal(cc.max_age, 3600);

    cc = response("CDN-Cache-Control: no-store\nCache-Control: max-age=9");
    assert_int_equal(cc.flags, GW_CC_TARGETED|GW_CC_NO_STORE);
    assert_int_equal(cc.max_age, NONE);

    cc = response("CDN-Cache-Control: foobar, private\n"
                  "CDN-Cache-Control: no-cache, stale-if-error=4");
    assert_int_equal(cc.flags, GW_CC_TARGETED|GW_CC_PRIVATE|GW_CC_NO_CACHE);
    assert_int_equal(cc.stale_if_error, 4);
}


/* RFC 8941, 4.2: what is a dictionary, and what its values mean here */
static void
values(void **unused)
{
    size_t i;
    uint32_t max_age;
    gw_cache_control_t cc;

    /* -1: the field is ignored, -2: it counts, but says no max-age */
    static const struct { const char *text; int64_t max_age; } cases[] = {
        { "max-age=3600", 3600 },
        { "max-age=0", 0 },
        { "max-age=-5", 0 },
        { "max-age=2147483648", 2147483648 },
        { "max-age=99999999999", 2147483648 },
        { "max-age=999999999999999", 2147483648 },
        { "max-age=9999999999999999", -1 },
        { "max-age=1, max-age=2", 2 },
        { "max-age=2;a;b=1;c=\"x\", y=(1 a \"b\";q=?1)", 2 },
        { "max-age=2; a", 2 },
        { "a , \tmax-age=2", 2 },
        { "a=:YWJj:, b=*t/x:y, c=-1.5, d=?0, max-age=2", 2 },
        { "a=(), max-age=2", 2 },
        { "a", -2 },
        { "no-store=?0", -2 },

        { "", -1 },
        { "max-age=\"10000\"", -1 },
        { "max-age=1.0", -1 },
        { "max-age", -1 },
        { "max-age=10000, &&&&&", -1 },
        { "max-age =100", -1 },
        { "max-age= 100", -1 },
        { "MaX-aGe=3600", -1 },
        { "max-age=100,", -1 },
        { "max-age=100 x", -1 },
        { "max-age=", -1 },
        { "max-age=-", -1 },
        { "a=\"x", -1 }, { "a=\"\\", -1 }, { "a=\"\\x\"", -1 },
        { "a=\"\xc3\xa9\"", -1 }, { "a=:Y", -1 }, { "a=:*:", -1 },
        { "a=?", -1 }, { "a=?2", -1 }, { "a=(", -1 }, { "a=(1", -1 },
        { "a=(1,2)", -1 }, { "a=(\"x\"1)", -1 }, { "a;", -1 },
        { "a;B", -1 }, { "a;b=", -1 }, { "a=1.", -1 },
        { "a=1.1234", -1 }, { "a=1234567890123.1", -1 }, { "a=@1", -1 },
        { "=1", -1 }, { ";", -1 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[256];

        snprintf(line, sizeof(line), "CDN-Cache-Control: %s", cases[i].text);
        cc = response(line);
        max_age = cases[i].max_age < 0 ? NONE : (uint32_t) cases[i].max_age;

        if (cc.max_age != max_age
            || ((cc.flags & GW_CC_TARGETED) != 0) != (cases[i].max_age != -1))
        {
            fail_msg("%s: %u %x", cases[i].text, cc.max_age, cc.flags);
        }
    }

    assert_int_equal(response("CDN-Cache-Control: no-store, no-store=?0")
                     .flags, GW_CC_TARGETED);
    assert_int_equal(response("CDN-Cache-Control: no-cache=\"a\"").flags,
                     GW_CC_TARGETED|GW_CC_NO_CACHE);
    assert_int_equal(response("CDN-Cache-Control: a,\nCache-Control: private")
                     .flags, GW_CC_PRIVATE);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_replaces_cache_control),
        cmocka_unit_test(values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
