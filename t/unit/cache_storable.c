#include "fields.h"

#include "../../src/cache_policy.h"


#define T0 INT64_C(1764028800)       /* s: Tue, 25 Nov 2025 00:00:00 GMT */
#define DATE "Date: Tue, 25 Nov 2025 00:00:00 GMT\n"
#define LATER "Expires: Tue, 25 Nov 2025 01:00:00 GMT\n" /* 3600 s */
#define MODIFIED "Last-Modified: Mon, 24 Nov 2025 00:00:00 GMT\n"

static const gw_cache_rules_t plain = { .lifetime = GW_CC_NONE };

static gw_cache_meta_t meta;


static gw_cache_store_e
store_as(const char *method, const char *request, unsigned status,
    const char *response, gw_cache_rules_t rules)
{
    gw_cache_request_t req;

    gw_cache_request_parse(&req, (gw_str_t){ (const unsigned char *) method,
                                             strlen(method) },
                           fields(1, request));

    return gw_cache_store(&meta, &req, (uint16_t) status, fields(0, response),
                          T0 * 1000, T0 * 1000, &rules);
}


static gw_cache_store_e
store(const char *response)
{
    return store_as("GET", "", 200, response, plain);
}


/* RFC 9111, 3 */
static const struct {
    const char *method;
    const char *request;
    unsigned status;
    const char *response;
    gw_cache_store_e e;
} responses[] = {
    { "GET", "", 200, "Cache-Control: max-age=9", GW_CACHE_STORE },
    { "GET", "", 200, "Cache-Control: s-maxage=9", GW_CACHE_STORE },
    { "GET", "", 200, DATE LATER, GW_CACHE_STORE },
    { "GET", "Cookie: a=b", 200, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 200, "CDN-Cache-Control: max-age=9\n"
      "Cache-Control: no-store", GW_CACHE_STORE },

    /* any final status with a lifetime (15.1 of RFC 9110) */
    { "GET", "", 203, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 204, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 299, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 302, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 404, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 499, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 503, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 599, DATE LATER, GW_CACHE_STORE },
    { "GET", "", 100, DATE LATER, GW_CACHE_NOT_STATUS },
    { "GET", "", 199, DATE LATER, GW_CACHE_NOT_STATUS },
    { "GET", "", 206, DATE LATER, GW_CACHE_NOT_STATUS },
    { "GET", "", 304, DATE LATER, GW_CACHE_NOT_STATUS },
    { "GET", "", 600, DATE LATER, GW_CACHE_NOT_STATUS },

    { "HEAD", "", 200, DATE LATER, GW_CACHE_NOT_METHOD },
    { "POST", "", 200, DATE LATER, GW_CACHE_NOT_METHOD },
    { "get", "", 200, DATE LATER, GW_CACHE_NOT_METHOD },

    /* 5.2.1.5, 5.2.2.5, 5.2.2.7 */
    { "GET", "Cache-Control: no-store", 200, DATE LATER,
      GW_CACHE_NOT_REQUEST },
    { "GET", "", 200, "Cache-Control: max-age=9, no-store",
      GW_CACHE_NOT_STORE },
    { "GET", "", 200, "Cache-Control: private, max-age=9",
      GW_CACHE_NOT_PRIVATE },

    /* 5.2.2.3 */
    { "GET", "", 599, "Cache-Control: max-age=9, must-understand",
      GW_CACHE_NOT_STATUS },
    { "GET", "", 200, "Cache-Control: max-age=9, must-understand, "
      "no-store", GW_CACHE_STORE },

    /* 3.5 */
    { "GET", "Authorization: x", 200, DATE LATER,
      GW_CACHE_NOT_AUTHORIZED },
    { "GET", "Authorization: x", 200, "Cache-Control: max-age=9",
      GW_CACHE_NOT_AUTHORIZED },
    { "GET", "Authorization: x", 200, "Cache-Control: max-age=9, public",
      GW_CACHE_STORE },
    { "GET", "Authorization: x", 200, "Cache-Control: s-maxage=9",
      GW_CACHE_STORE },
    { "GET", "Authorization: x", 200,
      "Cache-Control: max-age=9, must-revalidate", GW_CACHE_STORE },
    { "GET", "Authorization: x", 200,
      "Cache-Control: max-age=9, proxy-revalidate",
      GW_CACHE_NOT_AUTHORIZED },

    /* 4.1 */
    { "GET", "", 200, DATE LATER "Vary: *", GW_CACHE_NOT_VARY },
    { "GET", "", 200, DATE LATER "Vary: a, *", GW_CACHE_NOT_VARY },
    { "GET", "", 200, DATE LATER "Vary:\nVary: *", GW_CACHE_NOT_VARY },
    { "GET", "", 200, DATE LATER "Vary: a, b", GW_CACHE_STORE },

    { "GET", "", 200, DATE LATER "Set-Cookie: a=b", GW_CACHE_NOT_COOKIE },

    /* nothing says how long; with a validator a 304 can say it */
    { "GET", "", 200, DATE, GW_CACHE_NOT_FRESH },
    { "GET", "", 200, "ETag: \"1\"", GW_CACHE_STORE },
    { "GET", "", 200, DATE MODIFIED, GW_CACHE_STORE },
    { "GET", "", 403, "ETag: \"1\"", GW_CACHE_NOT_FRESH },
    { "GET", "", 403, "ETag: \"1\"\nCache-Control: public",
      GW_CACHE_STORE },
    { "GET", "", 403, "ETag: \"1\"\nCache-Control: no-cache",
      GW_CACHE_STORE },

    /* of no use at any time */
    { "GET", "", 200, "Cache-Control: max-age=0", GW_CACHE_NOT_USEFUL },
    { "GET", "", 200, DATE "Expires: 0", GW_CACHE_NOT_USEFUL },
    { "GET", "", 200, "Cache-Control: max-age=9\nAge: 9",
      GW_CACHE_NOT_USEFUL },
    { "GET", "", 200, "Cache-Control: no-cache, max-age=9",
      GW_CACHE_NOT_USEFUL },
    { "GET", "", 200, "Cache-Control: no-cache\nETag: \"1\"",
      GW_CACHE_STORE },
    { "GET", "", 200, "Cache-Control: max-age=0, stale-if-error=9",
      GW_CACHE_STORE },
    { "GET", "", 200, "Cache-Control: max-age=0, "
      "stale-while-revalidate=9, must-revalidate", GW_CACHE_NOT_USEFUL },
};


static void
what_may_be_stored(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        gw_str_t name = gw_cache_store_name(
            store_as(responses[i].method, responses[i].request,
                     responses[i].status, responses[i].response, plain));

        if (name.data != gw_cache_store_name(responses[i].e).data) {
            fail_msg("%s %u %s: %.*s", responses[i].method, responses[i].status,
                     responses[i].response, (int) name.len, name.data);
        }
    }
}


static void
what_the_caller_says(void **unused)
{
    gw_cache_rules_t rules;

    (void) unused;

    rules = plain;
    rules.authorized = true;
    assert_int_equal(store_as("GET", "", 200, DATE LATER, rules),
                     GW_CACHE_NOT_AUTHORIZED);

    rules = plain;
    rules.store_cookies = true;
    assert_int_equal(store_as("GET", "", 200, DATE LATER "Set-Cookie: a",
                              rules), GW_CACHE_STORE);

    rules = plain;
    rules.keep_stale = true;
    assert_int_equal(store_as("GET", "", 200, "Cache-Control: max-age=0",
                              rules), GW_CACHE_STORE);
    assert_int_equal(store_as("GET", "", 200, "Cache-Control: max-age=0, "
                              "must-revalidate", rules), GW_CACHE_NOT_USEFUL);

    /* a lifetime for responses that state none */
    rules = plain;
    rules.lifetime = 60;
    assert_int_equal(store_as("GET", "", 500, DATE, rules), GW_CACHE_STORE);
    assert_int_equal(meta.lifetime, 60);
    assert_int_equal(meta.flags & GW_CACHE_EXPLICIT, 0);
    store_as("GET", "", 200, "Cache-Control: max-age=5", rules);
    assert_int_equal(meta.lifetime, 5);
    store_as("GET", "", 200, DATE "Expires: x", rules);
    assert_int_equal(meta.lifetime, 0);
    assert_int_equal(store_as("GET", "", 200, "Cache-Control: no-store",
                              rules), GW_CACHE_NOT_STORE);
}


/* 4.2.2: a tenth of the time since it was modified, a day at most */
static void
heuristics(void **unused)
{
    unsigned status;
    bool by_default;
    gw_cache_rules_t rules;

    (void) unused;

    rules = plain;
    rules.heuristic = true;

    for (status = 200; status < 600; status++) {
        if (status == 206 || status == 304) {
            continue;
        }

        by_default = gw_cache_status_heuristic(status);

        assert_int_equal(store_as("GET", "", status, DATE MODIFIED, rules),
                         by_default ? GW_CACHE_STORE : GW_CACHE_NOT_FRESH);
        assert_int_equal(meta.lifetime, by_default ? 8640 : 0);
    }

    assert_int_equal(store_as("GET", "", 599, DATE MODIFIED
                              "Cache-Control: public", rules),
                     GW_CACHE_STORE);
    assert_int_equal(meta.lifetime, 8640);
    assert_int_equal(meta.flags & GW_CACHE_HEURISTIC, GW_CACHE_HEURISTIC);

    store_as("GET", "", 200, DATE
             "Last-Modified: Mon, 24 Nov 2003 00:00:00 GMT", rules);
    assert_int_equal(meta.lifetime, 86400);

    /* modified after it was sent */
    store_as("GET", "", 200, DATE
             "Last-Modified: Mon, 24 Nov 2030 00:00:00 GMT", rules);
    assert_int_equal(meta.lifetime, 0);

    store_as("GET", "", 200, DATE MODIFIED, plain);
    assert_int_equal(meta.lifetime, 0);

    assert_true(gw_cache_status_heuristic(404));
    assert_false(gw_cache_status_heuristic(201));
    assert_false(gw_cache_status_heuristic(302));
    assert_false(gw_cache_status_heuristic(403));
    assert_false(gw_cache_status_heuristic(502));
}


/* 4.2.1 */
static void
lifetimes(void **unused)
{
    size_t i;

    static const struct { const char *response; uint32_t lifetime; } cases[] =
    {
        { "Cache-Control: max-age=1, s-maxage=3600", 3600 },
        { "Cache-Control: s-maxage=1, max-age=3600", 1 },
        { "Cache-Control: max-age=0\n" DATE LATER, 0 },
        { "Cache-Control: max-age=7\n" DATE "Expires: 0", 7 },
        { DATE LATER, 3600 },
        { LATER, 3600 },
        { "Date: foo\n" LATER, 3600 },
        { DATE "Expires: 0", 0 },
        { DATE "Expires: " "Tue, 25 Nov 2025 00:00:00 GMT", 0 },
        { DATE "Expires: " "Mon, 24 Nov 2025 00:00:00 GMT", 0 },
        { DATE "Expires: " "Fri, 31 Dec 9999 00:00:00 GMT", 2147483648u },
        { DATE LATER "Expires: Tue, 25 Nov 2025 00:00:09 GMT", 9 },
        { DATE LATER "Expires: x", 0 },
        { "Date: Tue, 25 Nov 2025 00:59:50 GMT\n" LATER, 10 },
        { "CDN-Cache-Control: max-age=5\n" DATE LATER, 5 },
        { "CDN-Cache-Control: public\n" DATE LATER, 0 },
        { "CDN-Cache-Control: max-age=5x\n" DATE LATER, 3600 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        store(cases[i].response);

        if (meta.lifetime != cases[i].lifetime) {
            fail_msg("%s: %u", cases[i].response, meta.lifetime);
        }
    }
}


/* 4.2.3, 5.1: the initial age */
static void
ages(void **unused)
{
    size_t i;
    gw_cache_request_t req;

    static const struct { const char *response; int64_t age; } cases[] = {
        { DATE, 0 },
        { "Age: 30", 30 },
        { "Date: Mon, 24 Nov 2025 23:59:50 GMT", 10 },
        { "Date: Mon, 24 Nov 2025 23:59:50 GMT\nAge: 25", 25 },
        { "Date: Mon, 24 Nov 2025 23:59:50 GMT\nAge: 5", 10 },
        { "Date: Tue, 25 Nov 2025 00:00:10 GMT\nAge: 15", 15 },
        { "Date: foo", 0 },
        { "Age: 7200, 0", 7200 },
        { "Age: 0,7200", 0 },
        { "Age: 7200\nAge: 0", 7200 },
        { "Age: 0\nAge: 0", 0 },
        { "Age: 99999999999", 2147483648 },

        /* no number: ignored (5.1) */
        { "Age: abc", 0 },
        { "Age: -7200", 0 },
        { "Age: 7200.0", 0 },
        { "Age:", 0 },
        { "Age: ;", 0 },

        /* parameters are not defined */
        { "Age: 7200;foo=bar", 7200 },
        { "Age: 7200 ; foo=111", 7200 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        store(cases[i].response);

        if (meta.initial_age_ms != cases[i].age * 1000) {
            fail_msg("%s: %lld", cases[i].response,
                     (long long) meta.initial_age_ms);
        }
    }

    /* the time that the answer took, and a second of Date that is not over */
    gw_cache_request_parse(&req, gw_str("GET"), fields(1, ""));
    gw_cache_store(&meta, &req, 200, fields(0, DATE "Age: 3"),
                   T0 * 1000 - 1500, T0 * 1000 + 999, &plain);
    assert_int_equal(meta.initial_age_ms, 3000 + 2499);
    gw_cache_store(&meta, &req, 200, fields(0, DATE), T0 * 1000 + 999,
                   T0 * 1000 + 999, &plain);
    assert_int_equal(meta.initial_age_ms, 0);

    /* a clock that was set back meanwhile */
    gw_cache_store(&meta, &req, 200, fields(0, DATE), T0 * 1000 + 5000,
                   T0 * 1000, &plain);
    assert_int_equal(meta.initial_age_ms, 0);
}


static void
flags(void **unused)
{
    (void) unused;

    store(DATE MODIFIED "ETag: W/\"1\"\nCache-Control: max-age=1, "
          "must-revalidate, stale-while-revalidate=2, stale-if-error=3");
    assert_int_equal(meta.flags, GW_CACHE_HAS_ETAG|GW_CACHE_HAS_MODIFIED
                                 |GW_CACHE_EXPLICIT|GW_CACHE_NO_STALE);
    assert_int_equal(meta.stale_while_revalidate, 2);
    assert_int_equal(meta.stale_if_error, 3);
    assert_true(meta.last_modified == T0 - 86400);
    assert_true(meta.date == T0);
    assert_int_equal(meta.status, 200);

    store("Cache-Control: s-maxage=1\nLast-Modified: x\nETag:");
    assert_int_equal(meta.flags, GW_CACHE_EXPLICIT|GW_CACHE_NO_STALE);
    store("Cache-Control: max-age=1, proxy-revalidate");
    assert_int_equal(meta.flags, GW_CACHE_EXPLICIT|GW_CACHE_NO_STALE);
    store("Cache-Control: max-age=1, no-cache");
    assert_int_equal(meta.flags, GW_CACHE_EXPLICIT|GW_CACHE_NO_CACHE);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_stored),
        cmocka_unit_test(what_the_caller_says),
        cmocka_unit_test(heuristics),
        cmocka_unit_test(lifetimes),
        cmocka_unit_test(ages),
        cmocka_unit_test(flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
