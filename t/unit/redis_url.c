#include "fields.h"

#include <stdio.h>

#include "../../src/redis_url.h"


static unsigned char buffer[4096];


/* The parts in one line, as "kind tls user|password|host:port,…|…|db". */
static const char *
parts(const char *text)
{
    int rc;
    char *p;
    size_t i;
    gw_str_t s;
    const char *message;
    gw_redis_url_t url;

    static char out[4096];
    static const char *const kinds[] = {
        "server", "unix", "sentinel", "cluster"
    };

    s = text_of(text);
    rc = gw_redis_url_parse(&url, buffer, s, &message);

    if (rc != GW_OK) {
        assert_int_equal(rc, GW_ERROR);
        assert_non_null(message);
        return message;
    }

    assert_null(message);

    p = out + sprintf(out, "%s%s %.*s|%s%.*s|", kinds[url.kind],
                      url.tls ? "+tls" : "", (int) url.user.len,
                      (const char *) url.user.data,
                      url.password.data != NULL ? ":" : "",
                      (int) url.password.len,
                      (const char *) url.password.data);

    for (i = 0; i < url.nhosts; i++) {
        p += sprintf(p, url.hosts[i].ipv6 ? "%s[%.*s]:%u" : "%s%.*s:%u",
                     i > 0 ? "," : "", (int) url.hosts[i].host.len,
                     (const char *) url.hosts[i].host.data,
                     (unsigned) url.hosts[i].port);
    }

    sprintf(p, "|%.*s%.*s|%u", (int) url.path.len,
            (const char *) url.path.data, (int) url.master.len,
            (const char *) url.master.data, (unsigned) url.db);

    return out;
}


static void
what_is_accepted(void **unused)
{
    size_t i;

    static const char *const cases[][2] = {
        { "redis://h", "server ||h:6379||0" },
        { "redis://h/", "server ||h:6379||0" },
        { "redis://127.0.0.1:1/15", "server ||127.0.0.1:1||15" },
        { "redis://h_1-x.example:65535/2147483647",
          "server ||h_1-x.example:65535||2147483647" },
        { "rediss://user:pass@h", "server+tls user|:pass|h:6379||0" },
        { "redis://:pass@h", "server |:pass|h:6379||0" },
        { "redis://user@h", "server user||h:6379||0" },
        { "redis://user:@h", "server user|:|h:6379||0" },
        { "redis://u%40%3a:p%2F%2f%25:@x@h", "server u@:|:p//%:@x|h:6379||0" },
        { "redis://:%c3%a9%20@h", "server |:\xc3\xa9 |h:6379||0" },
        { "redis://[::1]", "server ||[::1]:6379||0" },
        { "redis://[fe80::1.2.3.4]:7/1", "server ||[fe80::1.2.3.4]:7||1" },
        { "unix:/run/r.sock", "unix |||/run/r.sock|0" },
        { "unix:/run/r@%20.sock?db=3", "unix |||/run/r@%20.sock|3" },
        { "redis+sentinel://a/m", "sentinel ||a:26379|m|0" },
        { "redis+sentinel://a,b:2,[::3]:3/m%2fm/4",
          "sentinel ||a:26379,b:2,[::3]:3|m/m|4" },
        { "rediss+sentinel://u:p@a:1/m/", "sentinel+tls u|:p|a:1|m|0" },
        { "redis+cluster://a,b:2", "cluster ||a:6379,b:2||0" },
        { "rediss+cluster://:p@a/", "cluster+tls |:p|a:6379||0" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(parts(cases[i][0]), cases[i][1]);
    }
}


static void
what_is_not(void **unused)
{
    size_t i;

    static const char *const cases[][2] = {
        { "", "begins with" },
        { "redis:/", "begins with" },
        { "http://h", "begins with" },
        { "REDIS://h", "begins with" },
        { "redis+unix://h", "begins with" },
        { "redis://", "a host is" },
        { "redis://:1", "a host is" },
        { "redis://u:p@", "a host is" },
        { "redis://a,b", "a host is" },
        { "redis://a?db=1", "a host is" },
        { "redis://[::1", "a host is" },
        { "redis://[]:1", "a host is" },
        { "redis://[::1]x", "a host is" },
        { "redis://[g::1]", "a host is" },
        { "redis://::1", "a host is" },
        { "redis://a::1", "a port is" },
        { "redis://a:", "a port is" },
        { "redis://[::1]:", "a port is" },
        { "redis://a:0", "a port is" },
        { "redis://a:65536", "a port is" },
        { "redis://a:99999999999999999999999", "a port is" },
        { "redis://a:+1", "a port is" },
        { "redis://a/x", "a database is" },
        { "redis://a/-1", "a database is" },
        { "redis://a/1/", "a database is" },
        { "redis://a/2147483648", "a database is" },
        { "redis://@a", "before \"@\"" },
        { "redis://:%@a", "hexadecimal" },
        { "redis://:%4@a", "hexadecimal" },
        { "redis://:%4x@a", "hexadecimal" },
        { "redis://%g4@a", "hexadecimal" },
        { "redis://:a%00@a", "hexadecimal" },
        { "redis://:a%0a@a", "hexadecimal" },
        { "redis://:a%7f@a", "hexadecimal" },
        { "redis://:a/b@a", "%2F" },
        { "redis://u/v:p@a", "%2F" },
        { "redis+sentinel://u:p/q@a/m", "%2F" },
        { "redis+cluster://:p/@a,b", "%2F" },
        { "redis://:a b@a", "white space" },
        { "redis://:a\001@a", "white space" },
        { "redis://\xc3\xa9", "white space" },
        { "unix:", "a path" },
        { "unix:r.sock", "a path" },
        { "unix:?db=1", "a path" },
        { "unix:/r?", "a path" },
        { "unix:/r?d=1", "a path" },
        { "unix:/r?db=", "a database is" },
        { "unix:/r?db=1&", "a database is" },
        { "redis+sentinel://a", "master's name" },
        { "redis+sentinel://a/", "master's name" },
        { "redis+sentinel://a//1", "master's name" },
        { "redis+sentinel://a/m/x", "a database is" },
        { "redis+sentinel://a/%m", "hexadecimal" },
        { "redis+sentinel://a,/m", "a host is" },
        { "redis+sentinel://,a/m", "a host is" },
        { "redis+sentinel:///m", "a host is" },
        { "redis+cluster://a/0", "no databases" },
        { "redis+cluster://", "a host is" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strstr(parts(cases[i][0]), cases[i][1]) == NULL) {
            fail_msg("\"%s\": %s", cases[i][0], parts(cases[i][0]));
        }
    }
}


static void
limits(void **unused)
{
    size_t i, n;
    char text[512], end[16];

    (void) unused;

    for (n = 32; n <= 33; n++) {
        strcpy(text, "redis+cluster://");

        for (i = 0; i < n; i++) {
            strcat(text, i > 0 ? ",h" : "h");
        }

        assert_int_equal(strncmp(parts(text), "cluster", 7) == 0, n == 32);
    }

    for (n = 107; n <= 108; n++) {
        memset(text, 'a', sizeof(text));
        memcpy(text, "unix:/", 6);
        strcpy(end, "?db=1");
        strcpy(text + 5 + n, end);

        assert_int_equal(strncmp(parts(text), "unix |", 6) == 0, n == 107);
    }
}


static void
shown_without_the_secret(void **unused)
{
    size_t i;
    gw_str_t s;
    unsigned char *p;

    static const char *const cases[][2] = {
        { "redis://h:1/2", "redis://h:1/2" },
        { "redis://user:secret@h:1", "redis://***@h:1" },
        { "rediss+cluster://:se/cr@et@a,b", "rediss+cluster://***@a,b" },
        { "rdis://user:secret@h", "***@h" },
        { "redis://@", "redis://***@" },
        { "redis:@//h", "***@//h" },
        { "@", "***@" },
        { "", "" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s = text_of(cases[i][0]);
        p = guard_room(0, s.len + 3);
        s.len = gw_redis_url_show(p, s) - p;
        s.data = p;
        assert_text(s, cases[i][1]);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_accepted),
        cmocka_unit_test(what_is_not),
        cmocka_unit_test(limits),
        cmocka_unit_test(shown_without_the_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
