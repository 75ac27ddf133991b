#include "fields.h"

#include "../../src/cache_status.h"


/* RFC 9211, 2; its examples among them. */
static void
members(void **unused)
{
    size_t i, n, size;
    unsigned char *out;

    static const struct { gw_cache_status_t s; const char *text; } cases[] = {
        { { .cache = { (const unsigned char *) "main", 4 }, .hit = true },
          "main; hit" },
        { { .cache = { (const unsigned char *) "main", 4 }, .hit = true,
            .has_ttl = true, .ttl = 376 }, "main; hit; ttl=376" },
        { { .cache = { (const unsigned char *) "main", 4 }, .hit = true,
            .has_ttl = true, .ttl = -412 }, "main; hit; ttl=-412" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_URI_MISS, .collapsed = true },
          "main; fwd=uri-miss; collapsed" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_STALE, .fwd_status = 304, .has_ttl = true,
            .ttl = 60, .stored = true },
          "main; fwd=stale; fwd-status=304; ttl=60; stored" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_VARY_MISS, .stored = true },
          "main; fwd=vary-miss; stored" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_BYPASS,
            .detail = { (const unsigned char *) "set-cookie", 10 } },
          "main; fwd=bypass; detail=set-cookie" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_METHOD }, "main; fwd=method" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_REQUEST }, "main; fwd=request" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_PARTIAL }, "main; fwd=partial" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .fwd = GW_FWD_MISS }, "main; fwd=miss" },
        { { .cache = { (const unsigned char *) "main", 4 },
            .hit = true, .stored = true, .collapsed = true }, "main; hit" },

        /* what is no token is a string (RFC 8941, 3.3.3, 3.3.4) */
        { { .cache = { (const unsigned char *) "1a", 2 }, .hit = true },
          "\"1a\"; hit" },
        { { .cache = { (const unsigned char *) "a \"b\\\n\xc3", 7 },
            .hit = true }, "\"a \\\"b\\\\??\"; hit" },
        { { .cache = { (const unsigned char *) "", 0 }, .hit = true },
          "\"\"; hit" },
        { { .cache = { (const unsigned char *) "a", 1 }, .hit = true,
            .has_ttl = true, .ttl = INT64_MAX },
          "a; hit; ttl=999999999999999" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size = strlen(cases[i].text);

        for (n = 0; n < size; n++) {
            assert_int_equal(gw_cache_status_write(guard_room(0, n), n,
                                                   &cases[i].s), 0);
        }

        out = guard_room(0, size);
        n = gw_cache_status_write(out, size, &cases[i].s);
        assert_text((gw_str_t){ out, n }, cases[i].text);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
