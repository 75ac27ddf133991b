#include "guard.h"

#include <stdio.h>

#include "../../src/http_answer.h"


typedef struct {
    const char *text;
    size_t len;
    int rc;          /* after all of it */
    unsigned status; /* what follows is of a complete one */
    bool keep;
    size_t rest; /* bytes behind the answer */
} case_t;

#define T(s) s, sizeof(s) - 1
#define H11 "HTTP/1.1 200 OK\r\n"

static const case_t cases[] = {

    /* framed by a length */
    { T(H11 "Content-Length: 2\r\n\r\nok"), GW_OK, 200, true, 0 },
    { T(H11 "content-length:2\r\n\r\nokHTTP"), GW_OK, 200, true, 4 },
    { T(H11 "Content-Length: \t0 \r\n\r\n"), GW_OK, 200, true, 0 },
    { T(H11 "Content-Length: 2\nX: y\n\nok"), GW_OK, 200, true, 0 },
    { T(H11 "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
      GW_OK, 200, true, 0 },
    { T(H11 "Content-Length: 3\r\n\r\nok"), GW_AGAIN, 0, false, 0 },
    { T("HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n"), GW_OK, 503, true, 0 },
    { T("HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"), GW_OK, 999, true, 0 },

    /* no body */
    { T("HTTP/1.1 204 No Content\r\n\r\nx"), GW_OK, 204, true, 1 },
    { T("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"), GW_OK, 304, true, 0 },

    /* chunks */
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
      GW_OK, 200, true, 0 },
    { T(H11 "transfer-encoding: CHUNKED\r\n\r\n0A;x=\"y\"\r\n0123456789\r\n"
        "000\r\nA: b\r\n\r\nz"), GW_OK, 200, true, 1 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
      GW_AGAIN, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n"
        "0\r\n\r\n"), GW_OK, 200, false, 0 },

    /* whether the connection stays (RFC 9112 9.3) */
    { T(H11 "Connection: close\r\nContent-Length: 0\r\n\r\n"),
      GW_OK, 200, false, 0 },
    { T(H11 "Connection: x, CLOSE ,\r\nContent-Length: 0\r\n\r\n"),
      GW_OK, 200, false, 0 },
    { T(H11 "Connection: closed\r\nContent-Length: 0\r\n\r\n"),
      GW_OK, 200, true, 0 },
    { T("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
      GW_OK, 200, false, 0 },
    { T("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n"
        "Content-Length: 0\r\n\r\n"), GW_OK, 200, true, 0 },

    /* interim answers */
    { T("HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\n"
        "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
        H11 "Content-Length: 1\r\n\r\nx"), GW_OK, 200, true, 0 },
    { T("HTTP/1.1 101 Switching\r\n\r\n"), GW_ERROR, 0, false, 0 },

    /* until the end */
    { T(H11 "\r\nabc"), GW_AGAIN, 0, false, 0 },

    /* not an answer */
    { T("HTTP/2 200 OK\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.1  200\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.1 20\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.1 2000\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.1 099 x\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.x 200 x\r\n"), GW_ERROR, 0, false, 0 },
    { T("http/1.1 200 OK\r\n"), GW_ERROR, 0, false, 0 },
    { T("\r\n"), GW_ERROR, 0, false, 0 },
    { T("HTTP/1.1 200 O\0K\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "no colon\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 ": x\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "A : x\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "A: x\r\n y\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "A: x\rB: y\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: -1\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: \r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: 1, 1\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: 0x1\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: 1000000000000000000\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Content-Length: 1\r\nContent-Length: 2\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: gzip, chunked\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: identity\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n\r\n"), GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\nx\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n"),
      GW_ERROR, 0, false, 0 },
    { T(H11 "Transfer-Encoding: chunked\r\n\r\n2\r\nokx\r\n"),
      GW_ERROR, 0, false, 0 },
};


/* In pieces of n bytes; returns the result, *rest: what was not used. */
static int
feed(gw_http_answer_t *a, const char *text, size_t len, size_t n, size_t *rest)
{
    int rc;
    size_t at, piece, used;
    unsigned char *p;

    memset(a, 0, sizeof(*a));
    rc = GW_AGAIN;

    for (at = 0; at < len && rc == GW_AGAIN; at += used) {
        piece = len - at < n ? len - at : n;
        p = guard_room(0, piece);
        memcpy(p, text + at, piece);

        rc = gw_http_answer_feed(a, p, piece, &used);
        assert_in_range(used, 1, piece);
        assert_true(rc != GW_AGAIN || used == piece);
    }

    *rest = len - at;

    return rc;
}


static void
test_answers(void **state)
{
    int rc;
    size_t i, n, rest, used;
    gw_http_answer_t a;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (n = 1; n <= cases[i].len; n++) {
            rc = feed(&a, cases[i].text, cases[i].len, n, &rest);

            if (rc != cases[i].rc) {
                fail_msg("%s: %d", cases[i].text, rc);
            }

            if (rc == GW_OK) {
                assert_int_equal(a.status, cases[i].status);
                assert_int_equal(a.keep, cases[i].keep);
                assert_int_equal(rest, cases[i].rest);
                assert_int_equal(gw_http_answer_end(&a), GW_OK);
            }

            if (rc == GW_ERROR) {
                assert_int_equal(gw_http_answer_feed(&a,
                                 (const unsigned char *) "x", 1, &used),
                                 GW_ERROR);
                assert_int_equal(used, 0);
                assert_int_equal(gw_http_answer_end(&a), GW_ERROR);
            }
        }
    }
}


static void
test_end(void **state)
{
    size_t rest;
    gw_http_answer_t a;

    (void) state;

    feed(&a, T(H11 "\r\nabc"), 100, &rest);
    assert_int_equal(gw_http_answer_end(&a), GW_OK);
    assert_int_equal(a.status, 200);
    assert_false(a.keep);

    feed(&a, T(H11 "\r\n"), 100, &rest);
    assert_int_equal(gw_http_answer_end(&a), GW_OK);

    feed(&a, T(H11), 100, &rest);
    assert_int_equal(gw_http_answer_end(&a), GW_ERROR);

    feed(&a, T(H11 "Content-Length: 3\r\n\r\nab"), 100, &rest);
    assert_int_equal(gw_http_answer_end(&a), GW_ERROR);

    feed(&a, T(H11 "Transfer-Encoding: chunked\r\n\r\n2\r\nok"), 100, &rest);
    assert_int_equal(gw_http_answer_end(&a), GW_ERROR);

    memset(&a, 0, sizeof(a));
    assert_int_equal(gw_http_answer_end(&a), GW_ERROR);
}


/* Feeds text again and again; after how many bytes that ended it. */
static size_t
flood(gw_http_answer_t *a, const char *begin, const char *text, int *rc)
{
    size_t used, n;

    memset(a, 0, sizeof(*a));
    *rc = gw_http_answer_feed(a, (const unsigned char *) begin, strlen(begin),
                              &used);

    for (n = 0; *rc == GW_AGAIN && n < 10 * GW_HTTP_ANSWER_BODY; n += used) {
        *rc = gw_http_answer_feed(a, (const unsigned char *) text,
                                  strlen(text), &used);
    }

    return n;
}


static void
test_limits(void **state)
{
    int rc;
    size_t n;
    gw_http_answer_t a;

    (void) state;

    n = flood(&a, H11, "X: y\r\n", &rc);
    assert_int_equal(rc, GW_ERROR);
    assert_in_range(n, GW_HTTP_ANSWER_HEAD - 100, GW_HTTP_ANSWER_HEAD);

    n = flood(&a, "", "x", &rc);
    assert_int_equal(rc, GW_ERROR);
    assert_in_range(n, GW_HTTP_ANSWER_HEAD - 100, GW_HTTP_ANSWER_HEAD + 1);

    flood(&a, "", "HTTP/1.1 100 Continue\r\n\r\n", &rc);
    assert_int_equal(rc, GW_ERROR);

    flood(&a, H11 "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", &rc);
    assert_int_equal(rc, GW_ERROR);

    flood(&a, H11 "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", &rc);
    assert_int_equal(rc, GW_ERROR);

    n = flood(&a, H11 "\r\n", "0123456789", &rc);
    assert_int_equal(rc, GW_OK);
    assert_false(a.keep);
    assert_in_range(n, GW_HTTP_ANSWER_BODY, GW_HTTP_ANSWER_BODY + 20);

    flood(&a, H11 "Content-Length: 999999999999999999\r\n\r\n", "0123456789",
          &rc);
    assert_int_equal(rc, GW_OK);
    assert_false(a.keep);
}


/* Of a line that is too long only the names that matter are missed. */
static void
test_long_lines(void **state)
{
    size_t rest;
    char text[2048];
    gw_http_answer_t a;

    (void) state;

    snprintf(text, sizeof(text), H11 "Cookie: %0300d\r\n%0300d\r\n"
             "Content-Length: 0\r\n\r\n", 1, 2);
    assert_int_equal(feed(&a, text, strlen(text), 7, &rest), GW_OK);
    assert_true(a.keep);

    snprintf(text, sizeof(text), H11 "Content-Length: %0300d\r\n", 1);
    assert_int_equal(feed(&a, text, strlen(text), 7, &rest), GW_ERROR);

    snprintf(text, sizeof(text), H11 "Connection: %0300d\r\n"
             "Content-Length: 0\r\n\r\n", 1);
    assert_int_equal(feed(&a, text, strlen(text), 7, &rest), GW_OK);
    assert_false(a.keep);

    snprintf(text, sizeof(text), "HTTP/1.1 200 %0300d\r\n"
             "Transfer-Encoding: chunked\r\n\r\n0;%0300d\r\n\r\n", 1, 2);
    assert_int_equal(feed(&a, text, strlen(text), 7, &rest), GW_OK);
    assert_true(a.keep);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_long_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
