#include "fields.h"

#include "../../src/cache_policy.h"


#define T0 INT64_C(1764028800000)  /* ms */

static const char *const verdicts[] = {
    "hit", "updating", "revalidate", "miss", "504"
};


static gw_cache_request_t
request(const char *method, const char *text)
{
    gw_cache_request_t req;

    gw_cache_request_parse(&req, (gw_str_t){ (const unsigned char *) method,
                                             strlen(method) },
                           fields(1, text));

    return req;
}


static gw_cache_meta_t
response(const char *text)
{
    gw_cache_meta_t meta;
    gw_cache_request_t req;
    gw_cache_rules_t rules = { .lifetime = GW_CC_NONE };

    req = request("GET", "");
    gw_cache_store(&meta, &req, 200, fields(0, text), T0, T0, &rules);

    return meta;
}


/* RFC 9111, 4, 4.2.4, 5.2.1; RFC 5861, 3 */
static const struct {
    const char *response;
    const char *request;
    int64_t at;             /* ms after it was stored */
    const char *verdict;
    gw_cache_fwd_e fwd;
} requested[] = {
    /* 4.2: fresh while its lifetime is greater than its age */
    { "max-age=2", "a: b", 0, "hit", GW_FWD_NONE },
    { "max-age=2", "a: b", 1999, "hit", GW_FWD_NONE },
    { "max-age=2", "a: b", 2000, "revalidate", GW_FWD_STALE },
    { "max-age=0", "a: b", 0, "revalidate", GW_FWD_STALE },
    { "max-age=2\nAge: 1", "a: b", 999, "hit", GW_FWD_NONE },
    { "max-age=2\nAge: 1", "a: b", 1000, "revalidate", GW_FWD_STALE },
    { "max-age=2\nAge: x", "a: b", 1999, "hit", GW_FWD_NONE },
    { "no-cache, max-age=9", "a: b", 0, "revalidate", GW_FWD_STALE },

    /* 5.2.1.4 and 5.4 */
    { "max-age=9", "Cache-Control: no-cache", 0, "revalidate",
      GW_FWD_REQUEST },
    { "max-age=9", "Pragma: no-cache", 0, "revalidate", GW_FWD_REQUEST },
    { "max-age=9, immutable", "Cache-Control: no-cache", 0, "revalidate",
      GW_FWD_REQUEST },

    /* 5.2.1.1 */
    { "max-age=9", "Cache-Control: max-age=0", 0, "revalidate",
      GW_FWD_REQUEST },
    { "max-age=9", "Cache-Control: max-age=1", 999, "hit", GW_FWD_NONE },
    { "max-age=9", "Cache-Control: max-age=1", 1000, "revalidate",
      GW_FWD_REQUEST },
    { "max-age=3600\nAge: 1800", "Cache-Control: max-age=600", 0,
      "revalidate", GW_FWD_REQUEST },
    { "max-age=9", "Cache-Control: max-age=1, max-stale=2", 2000, "hit",
      GW_FWD_NONE },

    /* 5.2.1.3 */
    { "max-age=1500", "Cache-Control: min-fresh=1500", 0, "hit",
      GW_FWD_NONE },
    { "max-age=1500", "Cache-Control: min-fresh=1500", 1, "revalidate",
      GW_FWD_REQUEST },
    { "max-age=1500\nAge: 1000", "Cache-Control: min-fresh=1000", 0,
      "revalidate", GW_FWD_REQUEST },

    /* 5.2.1.2, but never against 4.2.4 */
    { "max-age=1", "Cache-Control: max-stale=5", 6000, "hit",
      GW_FWD_NONE },
    { "max-age=1", "Cache-Control: max-stale=5", 6001, "revalidate",
      GW_FWD_STALE },
    { "max-age=1", "Cache-Control: max-stale", 99999999, "hit",
      GW_FWD_NONE },
    { "max-age=1500\nAge: 2000", "Cache-Control: max-stale=1000", 0,
      "hit", GW_FWD_NONE },
    { "max-age=1, must-revalidate", "Cache-Control: max-stale", 2000,
      "revalidate", GW_FWD_STALE },
    { "max-age=1, proxy-revalidate", "Cache-Control: max-stale", 2000,
      "revalidate", GW_FWD_STALE },
    { "s-maxage=1", "Cache-Control: max-stale", 2000, "revalidate",
      GW_FWD_STALE },
    { "no-cache", "Cache-Control: max-stale", 0, "revalidate",
      GW_FWD_STALE },

    /* 5.2.1.5 */
    { "max-age=9", "Cache-Control: no-store", 0, "miss", GW_FWD_REQUEST },

    /* 5.2.1.7 */
    { "max-age=9", "Cache-Control: only-if-cached", 0, "hit",
      GW_FWD_NONE },
    { "max-age=9", "Cache-Control: only-if-cached", 9000, "504",
      GW_FWD_STALE },
    { "max-age=9", "Cache-Control: only-if-cached, no-cache", 0, "504",
      GW_FWD_REQUEST },
    { "max-age=1", "Cache-Control: only-if-cached, max-stale", 9000,
      "hit", GW_FWD_NONE },

    /* RFC 5861, 3 */
    { "max-age=1, stale-while-revalidate=4", "a: b", 4999, "updating",
      GW_FWD_STALE },
    { "max-age=1, stale-while-revalidate=4", "a: b", 5000, "revalidate",
      GW_FWD_STALE },
    { "max-age=1, stale-while-revalidate=4, must-revalidate", "a: b",
      2000, "revalidate", GW_FWD_STALE },
    { "s-maxage=1, stale-while-revalidate=4", "a: b", 2000, "revalidate",
      GW_FWD_STALE },
    { "max-age=1, stale-while-revalidate=4", "Cache-Control: no-cache",
      2000, "revalidate", GW_FWD_STALE },
};


static void
verdicts_of_requests(void **unused)
{
    size_t i;
    gw_cache_meta_t meta;
    gw_cache_request_t req;
    gw_cache_decision_t d;

    (void) unused;

    for (i = 0; i < sizeof(requested) / sizeof(requested[0]); i++) {
        char text[256] = "Cache-Control: ";

        strcat(text, requested[i].response);
        meta = response(text);
        req = request("GET", requested[i].request);
        d = gw_cache_decide(&req, &meta, T0 + requested[i].at, false,
                            GW_FWD_MISS);

        if (strcmp(verdicts[d.verdict], requested[i].verdict) != 0
            || d.fwd != requested[i].fwd)
        {
            fail_msg("%s; %s; %d: %s %d", requested[i].response,
                     requested[i].request, (int) requested[i].at,
                     verdicts[d.verdict], d.fwd);
        }
    }
}


static void
without_a_stored_response(void **unused)
{
    gw_cache_request_t req;
    gw_cache_decision_t d;
    gw_cache_meta_t meta;

    (void) unused;

    req = request("GET", "");
    d = gw_cache_decide(&req, NULL, T0, true, GW_FWD_VARY_MISS);
    assert_int_equal(d.verdict, GW_CACHE_MISS);
    assert_int_equal(d.fwd, GW_FWD_VARY_MISS);

    req = request("HEAD", "Cache-Control: only-if-cached");
    d = gw_cache_decide(&req, NULL, T0, true, GW_FWD_URI_MISS);
    assert_int_equal(d.verdict, GW_CACHE_ONLY_IF_CACHED);

    meta = response("Cache-Control: max-age=9");
    req = request("POST", "");
    d = gw_cache_decide(&req, &meta, T0, true, GW_FWD_URI_MISS);
    assert_int_equal(d.verdict, GW_CACHE_MISS);
    assert_int_equal(d.fwd, GW_FWD_METHOD);
}


static void
the_operator_lets_it_be_served_while_updating(void **unused)
{
    gw_cache_meta_t meta;
    gw_cache_request_t req;

    (void) unused;

    req = request("GET", "");
    meta = response("Cache-Control: max-age=1");
    assert_int_equal(gw_cache_decide(&req, &meta, T0 + 9000, true,
                                     GW_FWD_MISS).verdict, GW_CACHE_UPDATING);

    meta = response("Cache-Control: max-age=1, must-revalidate");
    assert_int_equal(gw_cache_decide(&req, &meta, T0 + 9000, true,
                                     GW_FWD_MISS).verdict,
                     GW_CACHE_REVALIDATE);
}


/* RFC 5861, 4; RFC 9111, 4.2.4 */
static void
instead_of_errors(void **unused)
{
    size_t i;
    gw_cache_meta_t meta;
    gw_cache_request_t req;

    static const struct {
        const char *response;
        const char *request;
        int64_t at;
        bool configured;
        bool stale;
    } cases[] = {
        { "max-age=1", "a: b", 2000, false, false },
        { "max-age=1", "a: b", 2000, true, true },
        { "max-age=1, stale-if-error=4", "a: b", 4999, false, true },
        { "max-age=1, stale-if-error=4", "a: b", 5000, false, false },
        { "max-age=1", "Cache-Control: stale-if-error=4", 4999, false, true },
        { "max-age=1", "Cache-Control: stale-if-error=4", 5000, false,
          false },
        { "max-age=1, stale-if-error=4, must-revalidate", "a: b", 2000, true,
          false },
        { "max-age=1, stale-if-error=4, proxy-revalidate", "a: b", 2000,
          true, false },
        { "s-maxage=1, stale-if-error=4", "a: b", 2000, true, false },
        { "max-age=1, stale-if-error=4, no-cache", "a: b", 0, true, false },
        { "max-age=9", "Cache-Control: no-cache", 0, false, true },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256] = "Cache-Control: ";

        strcat(text, cases[i].response);
        meta = response(text);
        req = request("GET", cases[i].request);

        if (gw_cache_stale_on_error(&req, &meta, T0 + cases[i].at,
                                    cases[i].configured) != cases[i].stale)
        {
            fail_msg("%s; %s; %d", cases[i].response, cases[i].request,
                     (int) cases[i].at);
        }
    }
}


/* 4.2.3, 5.1; RFC 9211, 2.4 */
static void
age_and_ttl(void **unused)
{
    gw_cache_meta_t meta;
    gw_cache_request_t req;
    gw_cache_decision_t d;

    (void) unused;

    req = request("GET", "");
    meta = response("Cache-Control: max-age=10\nAge: 3");

    assert_int_equal(gw_cache_age_ms(&meta, T0 + 1500), 4500);
    assert_int_equal(gw_cache_ttl_ms(&meta, T0 + 1500), 5500);

    d = gw_cache_decide(&req, &meta, T0 + 1500, false, GW_FWD_MISS);
    assert_int_equal(d.age, 4);
    assert_int_equal(d.ttl, 5);
    d = gw_cache_decide(&req, &meta, T0 + 7000, false, GW_FWD_MISS);
    assert_int_equal(d.ttl, 0);
    d = gw_cache_decide(&req, &meta, T0 + 7001, false, GW_FWD_MISS);
    assert_int_equal(d.ttl, -1);

    /* a clock that was set back does not make it younger than it came */
    assert_int_equal(gw_cache_age_ms(&meta, T0 - 99999), 3000);
}


static void
until_when_it_is_of_use(void **unused)
{
    gw_cache_meta_t meta;

    (void) unused;

    meta = response("Cache-Control: max-age=10\nAge: 3");
    assert_true(gw_cache_dead_at(&meta, 0, 99) == T0 + 7000);
    assert_true(gw_cache_dead_at(&meta, 5, 99) == T0 + 12000);

    meta = response("Cache-Control: max-age=10, stale-if-error=20, "
                    "stale-while-revalidate=5");
    assert_true(gw_cache_dead_at(&meta, 1, 99) == T0 + 30000);

    meta = response("Cache-Control: max-age=10, must-revalidate, "
                    "stale-if-error=20");
    assert_true(gw_cache_dead_at(&meta, 5, 99) == T0 + 10000);

    meta = response("Cache-Control: no-cache\nETag: \"1\"");
    assert_true(gw_cache_dead_at(&meta, 5, 99) == T0 + 99000);
}


/* RFC 9110, 9.1, 9.2.1 */
static void
requests(void **unused)
{
    gw_cache_request_t req;

    (void) unused;

    req = request("GET", "RANGE: x\nif-none-match: y\nauthorization: z");
    assert_true(req.get && !req.head && req.range && req.conditional
                && req.authorization);
    req = request("HEAD", "Range: x\nIf-Modified-Since: y\nIf-Match: z");
    assert_true(req.get && req.head && !req.range && req.conditional
                && !req.authorization);
    req = request("POST", "If-Match: x\nIf-Range: y");
    assert_true(!req.get && !req.conditional && !req.range);

    assert_true(gw_cache_method_safe(gw_str("OPTIONS")));
    assert_true(gw_cache_method_safe(gw_str("TRACE")));
    assert_false(gw_cache_method_safe(gw_str("M-SEARCH")));
    assert_false(gw_cache_method_safe(gw_str("get")));
    assert_false(gw_cache_method_safe(gw_str("")));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_of_requests),
        cmocka_unit_test(without_a_stored_response),
        cmocka_unit_test(the_operator_lets_it_be_served_while_updating),
        cmocka_unit_test(instead_of_errors),
        cmocka_unit_test(age_and_ttl),
        cmocka_unit_test(until_when_it_is_of_use),
        cmocka_unit_test(requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
