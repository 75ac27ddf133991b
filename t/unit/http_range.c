#include "fields.h"

#include "../../src/http_range.h"


#define T0 INT64_C(1764028800)       /* s: Tue, 25 Nov 2025 00:00:00 GMT */
#define STORED "Date: Tue, 25 Nov 2025 00:00:00 GMT\n"                       \
    "Last-Modified: Mon, 24 Nov 2025 00:00:00 GMT\nETag: \"a\"\n"


/* RFC 9110, 14.1.1, 14.1.2 */
static void
ranges(void **unused)
{
    size_t i;
    gw_range_e e;
    gw_range_t r;

    static const struct {
        const char *value;
        uint64_t size;
        gw_range_e e;
        uint64_t first;
        uint64_t last;
    } cases[] = {
        { "bytes=0-1", 11, GW_RANGE_PART, 0, 1 },
        { "BYTES=0-1", 11, GW_RANGE_PART, 0, 1 },
        { "bytes=1-", 11, GW_RANGE_PART, 1, 10 },
        { "bytes=-1", 11, GW_RANGE_PART, 10, 10 },
        { "bytes=-11", 11, GW_RANGE_PART, 0, 10 },
        { "bytes=-99", 11, GW_RANGE_PART, 0, 10 },
        { "bytes=0-99", 11, GW_RANGE_PART, 0, 10 },
        { "bytes=10-10", 11, GW_RANGE_PART, 10, 10 },
        { "bytes=0-0", 1, GW_RANGE_PART, 0, 0 },
        { "bytes= 0-1 ,", 11, GW_RANGE_PART, 0, 1 },
        { "bytes=1-99999999999999999999999", 11, GW_RANGE_PART, 1, 10 },
        { "bytes=-99999999999999999999999", 11, GW_RANGE_PART, 0, 10 },

        { "bytes=11-", 11, GW_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=11-12", 11, GW_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=99999999999999999999999-", 11, GW_RANGE_UNSATISFIABLE, 0,
          0 },
        { "bytes=-0", 11, GW_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=0-", 0, GW_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=-1", 0, GW_RANGE_UNSATISFIABLE, 0, 0 },

        { "bytes=2-1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=0-1,3-4", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=-", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=a-", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=1-b", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=0 - 1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes=--1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "bytes 0-1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "lines=0-1", 11, GW_RANGE_WHOLE, 0, 0 },
        { "", 11, GW_RANGE_WHOLE, 0, 0 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        e = gw_range_parse(&r, text_of(cases[i].value), cases[i].size);

        if (e != cases[i].e
            || (e == GW_RANGE_PART && (r.first != cases[i].first
                                       || r.last != cases[i].last)))
        {
            fail_msg("%s: %d", cases[i].value, e);
        }
    }
}


static gw_range_e
answer(const char *method, const char *request, unsigned status,
    const char *stored)
{
    gw_range_t r;
    gw_fields_t f, s;
    gw_cache_meta_t meta;
    gw_cache_request_t req, get;
    gw_cache_rules_t rules = { .lifetime = 60 };

    f = fields(0, request);
    s = fields(1, stored);
    gw_cache_request_parse(&get, gw_str("GET"), (gw_fields_t){ NULL, 0 });
    gw_cache_store(&meta, &get, (uint16_t) status, s, T0 * 1000, T0 * 1000,
                   &rules);
    gw_cache_request_parse(&req, (gw_str_t){ (const unsigned char *) method,
                                             strlen(method) }, f);

    return gw_range_select(&r, &req, f, &meta, s, 10, T0 * 1000);
}


/* 13.1.5, 14.2 */
static void
when_a_range_is_sent(void **unused)
{
    size_t i;

    static const struct { const char *if_range; gw_range_e e; } cases[] = {
        { "\"a\"", GW_RANGE_PART },
        { "\"b\"", GW_RANGE_WHOLE },
        { "W/\"a\"", GW_RANGE_WHOLE },
        { "Mon, 24 Nov 2025 00:00:00 GMT", GW_RANGE_PART },
        { "Monday, 24-Nov-25 00:00:00 GMT", GW_RANGE_PART },
        { "Mon, 24 Nov 2025 00:00:01 GMT", GW_RANGE_WHOLE },
        { "Mon, 24 Nov 2003 00:00:00 GMT", GW_RANGE_WHOLE },
        { "", GW_RANGE_WHOLE },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128] = "Range: bytes=0-1\nIf-Range: ";

        strcat(text, cases[i].if_range);

        if (answer("GET", text, 200, STORED) != cases[i].e) {
            fail_msg("%s", cases[i].if_range);
        }
    }

    assert_int_equal(answer("GET", "Range: bytes=0-1", 200, STORED),
                     GW_RANGE_PART);
    assert_int_equal(answer("HEAD", "Range: bytes=0-1", 200, STORED),
                     GW_RANGE_WHOLE);
    assert_int_equal(answer("GET", "Range: bytes=0-1", 404, STORED),
                     GW_RANGE_WHOLE);
    assert_int_equal(answer("GET", "x: y", 200, STORED), GW_RANGE_WHOLE);

    /* weak: modified in the second in which it was sent (8.8.2.2) */
    assert_int_equal(answer("GET", "Range: bytes=0-1\n"
                            "If-Range: Tue, 25 Nov 2025 00:00:00 GMT", 200,
                            "Date: Tue, 25 Nov 2025 00:00:00 GMT\n"
                            "Last-Modified: Tue, 25 Nov 2025 00:00:00 GMT"),
                     GW_RANGE_WHOLE);
    assert_int_equal(answer("GET", "Range: bytes=0-1\nIf-Range: W/\"a\"", 200,
                            "ETag: W/\"a\""), GW_RANGE_WHOLE);
}


/* 14.4 */
static void
content_range(void **unused)
{
    size_t n;
    gw_range_t r;
    unsigned char *out;

    (void) unused;

    out = guard_room(0, 14);
    r.first = 0;
    r.last = 4;
    n = gw_range_write(out, &r, 10);
    assert_text((gw_str_t){ out, n }, "bytes 0-4/10");

    n = gw_range_write(out, NULL, 10);
    assert_text((gw_str_t){ out, n }, "bytes */10");

    out = guard_room(0, GW_CONTENT_RANGE_LEN);
    r.first = r.last = UINT64_MAX;
    n = gw_range_write(out, &r, UINT64_MAX);
    assert_text((gw_str_t){ out, n }, "bytes 18446744073709551615-"
                "18446744073709551615/18446744073709551615");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(when_a_range_is_sent),
        cmocka_unit_test(content_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
