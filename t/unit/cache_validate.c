#include "fields.h"

#include <stdio.h>

#include "../../src/cache_validate.h"


#define T0 INT64_C(1764028800)       /* s: Tue, 25 Nov 2025 00:00:00 GMT */
#define DATE "Date: Tue, 25 Nov 2025 00:00:00 GMT\n"
#define MODIFIED "Last-Modified: Mon, 24 Nov 2025 00:00:00 GMT\n"


static gw_cache_meta_t
meta_of(unsigned status, gw_fields_t stored)
{
    gw_cache_meta_t meta;
    gw_cache_request_t req;
    gw_cache_rules_t rules = { .lifetime = 60 };

    gw_cache_request_parse(&req, gw_str("GET"), (gw_fields_t){ NULL, 0 });
    gw_cache_store(&meta, &req, (uint16_t) status, stored, T0 * 1000,
                   T0 * 1000, &rules);

    return meta;
}


/* RFC 9111, 3.1; RFC 9110, 7.6.1 */
static void
fields_that_are_stored(void **unused)
{
    size_t i;
    gw_fields_t f;

    static const char *const never[] = {
        "connection", "Keep-Alive", "Proxy-Authenticate",
        "Proxy-Authentication-Info", "Proxy-Authorization",
        "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade", "a", "B"
    };
    static const char *const always[] = {
        "c", "ETag", "Set-Cookie", "Content-Length", "Clear-Site-Data",
        "Cache-Control", "Age", "Trailer"
    };

    (void) unused;

    f = fields(0, "Connection: close, A\nConnection: b");

    for (i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        assert_false(gw_cache_keeps(f, text_of(never[i])));
    }

    for (i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        assert_true(gw_cache_keeps(f, text_of(always[i])));
    }
}


/* 4.3.1 */
static void
conditions(void **unused)
{
    gw_fields_t f;
    gw_cache_meta_t meta;
    gw_cache_conditions_t c;

    (void) unused;

    f = fields(0, DATE MODIFIED "etag: W/\"x\"");
    meta = meta_of(200, f);
    gw_cache_conditions(&c, &meta, f);
    assert_text(c.if_none_match, "W/\"x\"");
    assert_text(c.if_modified_since, "Mon, 24 Nov 2025 00:00:00 GMT");

    f = fields(0, DATE "Last-Modified: yesterday");
    meta = meta_of(200, f);
    gw_cache_conditions(&c, &meta, f);
    assert_null(c.if_none_match.data);
    assert_null(c.if_modified_since.data);
}


/* 4.3.4 */
static void
answers_about_the_stored_response(void **unused)
{
    size_t i;

    static const struct {
        const char *stored;
        const char *fresh;
        bool confirms;
    } cases[] = {
        { "ETag: \"1\"", "ETag: \"1\"", true },
        { "ETag: \"1\"", "ETag: \"2\"", false },
        { "ETag: \"1\"", "ETag: W/\"1\"", true },
        { "ETag: W/\"1\"", "ETag: W/\"1\"", true },
        { "ETag: W/\"1\"", "ETag: \"1\"", false },
        { "ETag: W/\"1\"", "ETag: W/\"2\"", false },
        { MODIFIED, "ETag: \"1\"", false },
        { "ETag: \"1\"", DATE, true },
        { "ETag: \"1\"\n" MODIFIED, MODIFIED, true },
        { MODIFIED, MODIFIED, true },
        { MODIFIED, "Last-Modified: Tue, 25 Nov 2025 00:00:00 GMT", false },
        { "ETag: \"1\"\n" MODIFIED, "ETag: \"1\"\nLast-Modified: x", true },
        { DATE, DATE, true },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (gw_cache_confirms(fields(0, cases[i].stored),
                              fields(1, cases[i].fresh)) != cases[i].confirms)
        {
            fail_msg("%s / %s", cases[i].stored, cases[i].fresh);
        }
    }
}


/* 3.2: what a 304 changes */
static void
updates(void **unused)
{
    size_t i, j, n, len;
    char text[512];
    gw_field_t out[16];

    static const struct {
        const char *stored;
        const char *fresh;
        const char *after;
    } cases[] = {
        { "a: 1\nb: 2", "b: 3", "a: 1\nb: 3\n" },
        { "a: 1", "A: 2\nA: 3", "A: 2\nA: 3\n" },
        { "a: 1\na: 2", "a: 3", "a: 3\n" },
        { "a: 1", "c: 2", "a: 1\nc: 2\n" },
        { "a: 1\nAge: 5\nDate: x", "b: 2", "a: 1\nb: 2\n" },
        { "Age: 5\nDate: x", "Age: 1\nDate: y", "Age: 1\nDate: y\n" },

        { "Content-Type: a\nContent-Location: b\nContent-Foo: c",
          "Content-Type: A\nContent-Location: B\nContent-Foo: C",
          "Content-Type: A\nContent-Location: B\nContent-Foo: C\n" },
        { "Content-Encoding: a\nContent-Length: 1\nContent-MD5: m\n"
          "Content-Range: r\nETag: \"1\"",
          "Content-Encoding: b\nContent-Length: 0\nContent-MD5: n\n"
          "Content-Range: s\nETag: W/\"1\"",
          "Content-Encoding: a\nContent-Length: 1\nContent-MD5: m\n"
          "Content-Range: r\nETag: \"1\"\n" },

        /* of that connection only */
        { "a: 1", "Connection: a, keep-alive\na: 2\nKeep-Alive: 5",
          "a: 1\n" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        n = gw_cache_merge(out, fields(0, cases[i].stored),
                           fields(1, cases[i].fresh));

        for (j = 0, len = 0; j < n; j++) {
            len += (size_t) snprintf(text + len, sizeof(text) - len,
                                     "%.*s: %.*s\n", (int) out[j].name.len,
                                     out[j].name.data,
                                     (int) out[j].value.len,
                                     out[j].value.data);
        }

        assert_text((gw_str_t){ (unsigned char *) text, len },
                    cases[i].after);
    }
}


/* 4.3.5 */
static void
answers_to_head(void **unused)
{
    size_t i;
    gw_fields_t f;
    gw_cache_meta_t meta;

    static const struct {
        const char *fresh;
        unsigned status;
        gw_cache_head_e effect;
    } cases[] = {
        { "ETag: \"1\"\nContent-Length: 10", 200, GW_CACHE_HEAD_UPDATE },
        { "a: b", 200, GW_CACHE_HEAD_UPDATE },
        { "Content-Length: 11", 200, GW_CACHE_HEAD_STALE },
        { "Content-Length: 10x", 200, GW_CACHE_HEAD_STALE },
        { "Content-Length:", 200, GW_CACHE_HEAD_STALE },
        { "Content-Length: 184467440737095516170", 200, GW_CACHE_HEAD_STALE },
        { "ETag: \"2\"", 200, GW_CACHE_HEAD_STALE },
        { "Last-Modified: x", 200, GW_CACHE_HEAD_STALE },
        { "ETag: \"2\"", 410, GW_CACHE_HEAD_NOTHING },
        { "ETag: \"2\"", 500, GW_CACHE_HEAD_NOTHING },
        { "ETag: \"1\"", 304, GW_CACHE_HEAD_NOTHING },
    };

    (void) unused;

    f = fields(0, DATE MODIFIED "ETag: \"1\"\nContent-Length: 10");
    meta = meta_of(200, f);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (gw_cache_head(&meta, f, 10, cases[i].status,
                          fields(1, cases[i].fresh)) != cases[i].effect)
        {
            fail_msg("%u %s", cases[i].status, cases[i].fresh);
        }
    }
}


/* 4.3.2; RFC 9110, 13.1.2, 13.1.3, 13.2.2 */
static void
conditions_of_clients(void **unused)
{
    size_t i;
    gw_fields_t f;
    gw_cache_meta_t meta;

    static const struct {
        const char *stored;
        const char *request;
        bool not_modified;
    } cases[] = {
        { "ETag: \"a\"", "If-None-Match: \"a\"", true },
        { "ETag: \"a\"", "If-None-Match: \"b\"", false },
        { "ETag: W/\"a\"", "If-None-Match: W/\"a\"", true },
        { "ETag: W/\"a\"", "If-None-Match: \"a\"", true },
        { "ETag: \"a\"", "If-None-Match: W/\"a\"", true },
        { "ETag: \"a\"", "If-None-Match: \"a\", \"1\", \"2\"", true },
        { "ETag: \"a\"", "If-None-Match: \"1\", \"a\", \"2\"", true },
        { "ETag: \"a\"", "If-None-Match: \"1\"\nIf-None-Match: \"a\"", true },
        { "ETag: \"a,b\"", "If-None-Match: \"1\",\"a,b\"", true },
        { "ETag: \"a\xc3\xbc\"", "If-None-Match: \"a\xc3\xbc\"", true },
        { "ETag: a", "If-None-Match: a", true },
        { "ETag: \"a\"", "If-None-Match: *", true },
        { "x: y", "If-None-Match: *", true },
        { "x: y", "If-None-Match: \"a\"", false },
        { "ETag: \"a\"", "x: y", false },

        /* If-None-Match goes first, whatever the other says */
        { MODIFIED "ETag: \"a\"", "If-None-Match: \"a\"\n"
          "If-Modified-Since: Mon, 24 Nov 2003 00:00:00 GMT", true },
        { MODIFIED "ETag: \"a\"", "If-None-Match: \"b\"\n"
          "If-Modified-Since: Mon, 24 Nov 2025 00:00:00 GMT", false },
        { MODIFIED, "If-None-Match: \"b\"\n"
          "If-Modified-Since: Mon, 24 Nov 2025 00:00:00 GMT", false },

        { MODIFIED, "If-Modified-Since: Mon, 24 Nov 2025 00:00:00 GMT",
          true },
        { MODIFIED, "If-Modified-Since: Monday, 24-Nov-25 00:00:00 GMT",
          true },
        { MODIFIED, "If-Modified-Since: Mon, 24 Nov 2025 00:10:00 GMT",
          true },
        { MODIFIED, "If-Modified-Since: Sun, 23 Nov 2025 00:00:00 GMT",
          false },
        { MODIFIED, "If-Modified-Since: Mon", false },

        /* without Last-Modified, Date */
        { DATE, "If-Modified-Since: Tue, 25 Nov 2025 00:00:00 GMT", true },
        { DATE, "If-Modified-Since: Mon, 24 Nov 2025 23:59:59 GMT", false },

        /* for origin servers */
        { "ETag: \"a\"", "If-Match: \"b\"", false },
        { MODIFIED, "If-Unmodified-Since: Mon, 24 Nov 2003 00:00:00 GMT",
          false },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f = fields(0, cases[i].stored);
        meta = meta_of(200, f);

        if (gw_cache_not_modified(&meta, f, fields(1, cases[i].request),
                                  T0 * 1000) != cases[i].not_modified)
        {
            fail_msg("%s / %s", cases[i].stored, cases[i].request);
        }
    }

    /* 13.2.1: only where the answer would be a 200 */
    f = fields(0, "ETag: \"a\"");
    meta = meta_of(404, f);
    assert_false(gw_cache_not_modified(&meta, f,
                                       fields(1, "If-None-Match: \"a\""),
                                       T0 * 1000));

    /* RFC 9110, 15.4.5 */
    assert_true(gw_cache_304_sends(gw_str("ETag")));
    assert_true(gw_cache_304_sends(gw_str("cache-control")));
    assert_true(gw_cache_304_sends(gw_str("Content-Location")));
    assert_false(gw_cache_304_sends(gw_str("content-length")));
    assert_false(gw_cache_304_sends(gw_str("Content-Type")));
}


/* 4.4 */
static void
unsafe_methods(void **unused)
{
    (void) unused;

    assert_true(gw_cache_invalidates(gw_str("POST"), 200));
    assert_true(gw_cache_invalidates(gw_str("PUT"), 204));
    assert_true(gw_cache_invalidates(gw_str("DELETE"), 303));
    assert_true(gw_cache_invalidates(gw_str("M-SEARCH"), 200));
    assert_true(gw_cache_invalidates(gw_str("PATCH"), 399));
    assert_false(gw_cache_invalidates(gw_str("POST"), 400));
    assert_false(gw_cache_invalidates(gw_str("POST"), 500));
    assert_false(gw_cache_invalidates(gw_str("POST"), 100));
    assert_false(gw_cache_invalidates(gw_str("GET"), 200));
    assert_false(gw_cache_invalidates(gw_str("HEAD"), 200));
    assert_false(gw_cache_invalidates(gw_str("OPTIONS"), 200));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_that_are_stored),
        cmocka_unit_test(conditions),
        cmocka_unit_test(answers_about_the_stored_response),
        cmocka_unit_test(updates),
        cmocka_unit_test(answers_to_head),
        cmocka_unit_test(conditions_of_clients),
        cmocka_unit_test(unsafe_methods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
