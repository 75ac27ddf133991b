#include "fields.h"

#include <stdio.h>

#include "../../src/redis_reply.h"


static void
kinds_of_errors(void **unused)
{
    size_t i;
    gw_redis_error_t error;

    static const struct {
        const char *text;
        gw_redis_error_e kind;
    } cases[] = {
        { "MOVED 3999 127.0.0.1:6381", GW_REDIS_MOVED },
        { "ASK 3999 127.0.0.1:6381", GW_REDIS_ASK },
        { "TRYAGAIN Multiple keys request during rehashing of slot",
          GW_REDIS_TRYAGAIN },
        { "CLUSTERDOWN Hash slot not served", GW_REDIS_CLUSTERDOWN },
        { "READONLY You can't write against a read only replica.",
          GW_REDIS_OTHER },
        { "MASTERDOWN Link with MASTER is down", GW_REDIS_OTHER },
        { "LOADING Redis is loading the dataset in memory",
          GW_REDIS_OTHER },
        { "BUSY Redis is busy running a script.", GW_REDIS_OTHER },
        { "NOSCRIPT No matching script. Please use EVAL.",
          GW_REDIS_OTHER },
        { "OOM command not allowed when used memory > 'maxmemory'.",
          GW_REDIS_OTHER },
        { "NOAUTH Authentication required.", GW_REDIS_OTHER },
        { "WRONGPASS invalid username-password pair", GW_REDIS_OTHER },
        { "NOPERM this user has no permissions", GW_REDIS_OTHER },
        { "ERR unknown command 'SSUBSCRIBE', with args", GW_REDIS_OTHER },
        { "ERR unknown", GW_REDIS_OTHER },
        { "BUSYGROUP Consumer Group name already exists", GW_REDIS_OTHER },
        { "READONLY", GW_REDIS_OTHER },
        { "readonly", GW_REDIS_OTHER },
        { " READONLY", GW_REDIS_OTHER },
        { "", GW_REDIS_OTHER },
        { " ", GW_REDIS_OTHER },
        { "MOVED", GW_REDIS_OTHER },
        { "MOVED 1", GW_REDIS_MOVED },
        { "MOVED  a:1", GW_REDIS_OTHER },
        { "MOVED 16384 a:1", GW_REDIS_OTHER },
        { "ASK -1 a:1", GW_REDIS_OTHER },
        { "ASK 01 a:1", GW_REDIS_OTHER },
        { "ASK 99999999999999999999999999 a:1", GW_REDIS_OTHER },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gw_redis_error_parse(&error, text_of(cases[i].text));
        assert_int_equal(error.kind, cases[i].kind);
    }
}


/* As host, port, whether IPv6; no port: no address to be used. */
static void
where_redirects_go(void **unused)
{
    size_t i;
    gw_redis_error_t error;

    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
        bool ipv6;
    } cases[] = {
        { "MOVED 16383 127.0.0.1:6381", "127.0.0.1", 6381, false },
        { "MOVED 16383 ::1:6381", "::1", 6381, true },
        { "MOVED 16383 fe80::1:2:65535", "fe80::1:2", 65535, true },
        { "MOVED 16383 h_1-a.example.com:1", "h_1-a.example.com", 1, false },
        { "MOVED 16383 :6381", "", 6381, false },
        { "MOVED 16383 ?:6381", "", 0, false },
        { "MOVED 16383 h", "", 0, false },
        { "MOVED 16383 h:", "", 0, false },
        { "MOVED 16383 h:0", "", 0, false },
        { "MOVED 16383 h:65536", "", 0, false },
        { "MOVED 16383 h:06381", "", 0, false },
        { "MOVED 16383 h:6381 ", "", 0, false },
        { "MOVED 16383 h/:6381", "", 0, false },
        { "MOVED 16383", "", 0, false },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gw_redis_error_parse(&error, text_of(cases[i].text));
        assert_int_equal(error.kind, GW_REDIS_MOVED);
        assert_int_equal(error.slot, 16383);
        assert_text(error.host.host, cases[i].host);
        assert_int_equal(error.host.port, cases[i].port);
        assert_int_equal(error.host.ipv6, cases[i].ipv6);
    }
}


static void
long_hosts(void **unused)
{
    char name[257];
    gw_redis_host_t host;

    (void) unused;

    memset(name, 'a', sizeof(name));
    name[256] = '\0';
    assert_int_equal(gw_redis_host_check(&host, text_of(name + 1), 1), GW_OK);
    assert_int_equal(gw_redis_host_check(&host, text_of(name), 1), GW_ERROR);
    assert_int_equal(gw_redis_host_check(&host, text_of("a"), 0), GW_ERROR);
    assert_int_equal(gw_redis_host_check(&host, text_of("a"), 65536),
                     GW_ERROR);
    assert_int_equal(gw_redis_host_check(&host, text_of("a"), -1), GW_ERROR);
    assert_int_equal(gw_redis_host_check(&host, text_of("a"), INT64_MIN),
                     GW_ERROR);
}


static void
numbers(void **unused)
{
    size_t i;
    int64_t n;

    static const struct {
        const char *text;
        int64_t max;
        int64_t n;          /* -1: none */
    } cases[] = {
        { "0", 0, 0 }, { "1", 0, -1 }, { "5", 5, 5 }, { "6", 5, -1 },
        { "9", 5, -1 }, { "10", 10, 10 }, { "11", 10, -1 }, { "00", 9, -1 },
        { "9223372036854775807", INT64_MAX, INT64_MAX },
        { "9223372036854775808", INT64_MAX, -1 },
        { "99999999999999999999", INT64_MAX, -1 },
        { "", 9, -1 }, { "-1", 9, -1 }, { "1a", 99, -1 }, { "/", 99, -1 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        n = -1;
        assert_int_equal(gw_redis_number(text_of(cases[i].text), cases[i].max,
                                         &n),
                         cases[i].n < 0 ? GW_ERROR : GW_OK);
        assert_int_equal(n, cases[i].n);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_errors),
        cmocka_unit_test(where_redirects_go),
        cmocka_unit_test(long_hosts),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
