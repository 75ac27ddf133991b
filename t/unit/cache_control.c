#include "fields.h"

#include "../../src/cache_control.h"


#define NONE GW_CC_NONE


static gw_cache_control_t
response(const char *text)
{
    gw_cache_control_t cc;

    gw_cache_control_response(&cc, fields(0, text));

    return cc;
}


static gw_cache_control_t
request(const char *text)
{
    gw_cache_control_t cc;

    gw_cache_control_request(&cc, fields(0, text));

    return cc;
}


/* RFC 9111, 5.2.2; RFC 5861, 3 and 4 */
static void
directives_of_responses(void **unused)
{
    gw_cache_control_t cc;

    (void) unused;

    cc = response("cache-control: foobar, MaX-aGe=3600, No-StOrE\n"
                  "Cache-Control: s-maxage=5,stale-while-revalidate=6 , "
                  "stale-if-error=7, PRIVATE, public, must-revalidate");

    assert_int_equal(cc.max_age, 3600);
    assert_int_equal(cc.s_maxage, 5);
    assert_int_equal(cc.stale_while_revalidate, 6);
    assert_int_equal(cc.stale_if_error, 7);
    assert_int_equal(cc.flags, GW_CC_NO_STORE|GW_CC_PRIVATE|GW_CC_PUBLIC
                               |GW_CC_MUST_REVALIDATE);

    cc = response("Cache-Control: no-cache, proxy-revalidate, "
                  "must-understand, immutable, no-transform");
    assert_int_equal(cc.flags, GW_CC_NO_CACHE|GW_CC_PROXY_REVALIDATE
                               |GW_CC_MUST_UNDERSTAND);
    assert_int_equal(cc.max_age, NONE);

    assert_int_equal(response("x: y").flags, 0);
    assert_int_equal(response("Cache-Control: no-stores, nostore").flags, 0);

    /* 5.4: Pragma is for requests only */
    assert_int_equal(response("Pragma: no-cache").flags, 0);
}


/* 4.2.1, 5.2: what is wrong or there twice */
static void
numbers(void **unused)
{
    size_t i;

    static const struct { const char *text; uint32_t max_age; } cases[] = {
        { "Cache-Control: max-age=0", 0 },
        { "Cache-Control: max-age=\"3600\"", 3600 },
        { "Cache-Control: max-age=003600", 3600 },
        { "Cache-Control: max-age=2147483649", 2147483648u },
        { "Cache-Control: max-age=99999999999", 2147483648u },
        { "Cache-Control: max-age='3600'", 0 },
        { "Cache-Control: max-age=-3600", 0 },
        { "Cache-Control: max-age=3600.0", 0 },
        { "Cache-Control: max-age=3600a", 0 },
        { "Cache-Control: max-age=a3600", 0 },
        { "Cache-Control: max-age=", 0 },
        { "Cache-Control: max-age", 0 },
        { "Cache-Control: max-age =3600", 0 },
        { "Cache-Control: max-age= 3600", 0 },
        { "Cache-Control: max-age=\"3600", 0 },
        { "Cache-Control: extension=\"max-age=3600\", max-age=1", 1 },
        { "Cache-Control: max-age=1, extension=\"max-age=3600\"", 1 },
        { "Cache-Control: extension=\"max-age=3600\", max-age=\"1\"", 1 },
        { "Cache-Control: extension=\"max-age=3600, max-age=1\"", NONE },
        { "Cache-Control: max-age=1800, max-age=1", 1 },
        { "Cache-Control: max-age=1\nCache-Control: max-age=1800", 1 },
        { "Cache-Control: max-age=1800, max-age=x", 0 },
        { "Cache-Control: x-max-age=1, max-agee=2", NONE },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (response(cases[i].text).max_age != cases[i].max_age) {
            fail_msg("%s: %u", cases[i].text, response(cases[i].text).max_age);
        }
    }
}


/* 5.2.2.4, 5.2.2.7: as without the lists */
static void
lists_of_fields(void **unused)
{
    (void) unused;

    assert_int_equal(response("Cache-Control: no-cache=\"a, b\"").flags,
                     GW_CC_NO_CACHE);
    assert_int_equal(response("Cache-Control: private=set-cookie").flags,
                     GW_CC_PRIVATE);
    assert_int_equal(response("Cache-Control: x=\"a, no-store\"").flags, 0);
}


/* 5.2.1, 5.4 */
static void
directives_of_requests(void **unused)
{
    gw_cache_control_t cc;

    (void) unused;

    cc = request("Cache-Control: max-age=10, min-fresh=20, max-stale=30, "
                 "only-if-cached, no-store, stale-if-error=5");
    assert_int_equal(cc.max_age, 10);
    assert_int_equal(cc.min_fresh, 20);
    assert_int_equal(cc.max_stale, 30);
    assert_int_equal(cc.stale_if_error, 5);
    assert_int_equal(cc.flags, GW_CC_ONLY_IF_CACHED|GW_CC_NO_STORE);

    assert_int_equal(request("Cache-Control: max-stale").max_stale,
                     GW_CC_ANY);
    assert_int_equal(request("Cache-Control: max-stale=x").max_stale, 0);
    assert_int_equal(request("Cache-Control: max-stale, max-stale=3")
                     .max_stale, 3);
    assert_int_equal(request("Cache-Control: min-fresh=1, min-fresh=3")
                     .min_fresh, 3);
    assert_int_equal(request("Cache-Control: min-fresh=x").min_fresh,
                     GW_DELTA_MAX);

    assert_int_equal(request("Pragma: a, NO-cache").flags, GW_CC_NO_CACHE);
    assert_int_equal(request("Pragma: no-cache\nCache-Control: a").flags, 0);
    assert_int_equal(request("Pragma: unrecognised-extension").flags, 0);

    /* targeted fields are for responses */
    assert_int_equal(request("CDN-Cache-Control: no-store").flags, 0);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directives_of_responses),
        cmocka_unit_test(numbers),
        cmocka_unit_test(lists_of_fields),
        cmocka_unit_test(directives_of_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
