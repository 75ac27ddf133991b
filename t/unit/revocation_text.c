#include "guard.h"

#include "../../src/revocation.h"

#define NOW INT64_C(1800000000000)


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ guard_copy(0, s, strlen(s)), strlen(s) };
}


static int
parse(const char *body, gw_revocation_t *r)
{
    const char *why;
    int rc;

    why = NULL;
    rc = gw_revocation_parse(str(body), NOW, r, &why);
    assert_true((rc == GW_OK) == (why == NULL));

    return rc;
}


static void
jti_and_exp(void **state)
{
    (void) state;
    gw_revocation_t r;
    unsigned char digest[GW_REVOCATION_DIGEST];

    assert_int_equal(parse(" {\"jti\":\"a\\u0062\",\"exp\":1800000001,"
                           "\"why\":[1]} ", &r), GW_OK);
    assert_int_equal(r.before, GW_REVOCATION_TIME_MAX);
    assert_int_equal(r.until, NOW + 1000);
    assert_int_equal(gw_revocation_jti(digest, str("ab")), GW_OK);
    assert_memory_equal(r.digest, digest, sizeof(digest));
    assert_int_equal(gw_revocation_sub(digest, str("ab")), GW_OK);
    assert_memory_not_equal(r.digest, digest, sizeof(digest));

    /* a time of the past is none of its business */
    assert_int_equal(parse("{\"jti\":\"a\",\"exp\":0}", &r), GW_OK);
    assert_int_equal(r.until, 0);
}


static void
sub_and_before(void **state)
{
    (void) state;
    gw_revocation_t r;
    unsigned char digest[GW_REVOCATION_DIGEST];

    assert_int_equal(parse("{\"sub\":\"u\",\"before\":1800000000}", &r),
                     GW_OK);
    assert_int_equal(r.before, NOW);
    assert_int_equal(r.until, NOW + GW_REVOCATION_DAY);

    assert_int_equal(parse("{\"before\":1.8000000005e9,\"sub\":12,"
                           "\"exp\":1800000000.0011}", &r), GW_OK);
    assert_int_equal(r.before, NOW + 500);
    assert_int_equal(r.until, NOW + 2);
    assert_int_equal(gw_revocation_sub(digest, str("12")), GW_OK);
    assert_memory_equal(r.digest, digest, sizeof(digest));

    assert_int_equal(parse("{\"sub\":\"u\",\"before\":1e300,"
                           "\"exp\":9007199254740993}", &r), GW_OK);
    assert_int_equal(r.before, GW_REVOCATION_TIME_MAX);
    assert_int_equal(r.until, GW_REVOCATION_TIME_MAX);
}


static void
all_else_is_malformed(void **state)
{
    (void) state;
    gw_revocation_t r;
    size_t i;
    static const char *bad[] = {
        "", "x", "[]", "\"jti\"", "{}", "{\"exp\":1}", "{\"before\":1}",
        "{\"jti\":\"a\"}", "{\"sub\":\"a\"}", "{\"sub\":\"a\",\"exp\":1}",
        "{\"jti\":\"a\",\"before\":1}",
        "{\"jti\":\"a\",\"sub\":\"b\",\"exp\":1,\"before\":1}",
        "{\"jti\":\"\",\"exp\":1}", "{\"jti\":null,\"exp\":1}",
        "{\"jti\":true,\"exp\":1}", "{\"jti\":[\"a\"],\"exp\":1}",
        "{\"jti\":\"\\ud800\",\"exp\":1}", "{\"jti\":\"\\u0000\",\"exp\":1}",
        "{\"jti\":\"\xff\",\"exp\":1}", "{\"jti\":\"a\",\"exp\":\"1\"}",
        "{\"jti\":\"a\",\"exp\":-1}", "{\"jti\":\"a\",\"exp\":null}",
        "{\"jti\":\"a\",\"exp\":1}}",
        "{\"jti\":\"a\",\"exp\":"
        "100000000000000000000000000000000000000000}",
        "{\"sub\":\"a\",\"before\":\"1\"}", "{\"sub\":\"a\",\"before\":{}}",
        "{\"sub\":\"a\",\"before\":1,\"exp\":\"x\"}",
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(bad[i], &r), GW_DECLINED);
    }
}


static void
a_value_is_as_long_as_a_token_at_most(void **state)
{
    (void) state;
    static char body[GW_REVOCATION_TEXT_MAX + 100];
    gw_revocation_t r;
    size_t n;
    int more;

    for (more = 0; more < 2; more++) {
        strcpy(body, "{\"jti\":\"");
        n = strlen(body);
        memset(body + n, 'x', GW_REVOCATION_TEXT_MAX - 2 + more);
        strcpy(body + n + GW_REVOCATION_TEXT_MAX - 2 + more,
               "\",\"exp\":1}");
        assert_int_equal(parse(body, &r), more ? GW_DECLINED : GW_OK);
    }
}


static void
words_come_back_as_they_were(void **state)
{
    (void) state;
    gw_revocation_t r, back;
    unsigned char buf[2 * GW_REVOCATION_WORD_MAX + 4], *p;
    gw_str_t text;

    memset(&r, 0xe7, sizeof(r));
    r.before = GW_REVOCATION_TIME_MAX;
    r.until = 0;

    buf[0] = ' ';
    p = gw_revocation_encode(buf + 1, &r);
    *p++ = ' ';
    r.until = GW_REVOCATION_TIME_MAX;
    p = gw_revocation_encode(p, &r);
    assert_in_range(p - buf, 1, sizeof(buf));

    text = (gw_str_t){ guard_copy(0, buf, (size_t) (p - buf)),
                       (size_t) (p - buf) };

    assert_int_equal(gw_revocation_decode(&text, &back), GW_OK);
    assert_memory_equal(back.digest, r.digest, sizeof(r.digest));
    assert_int_equal(back.before, GW_REVOCATION_TIME_MAX);
    assert_int_equal(back.until, 0);
    assert_int_equal(gw_revocation_decode(&text, &back), GW_OK);
    assert_int_equal(back.until, GW_REVOCATION_TIME_MAX);
    assert_int_equal(gw_revocation_decode(&text, &back), GW_AGAIN);
}


static void
other_words_are_passed_over(void **state)
{
    (void) state;
    gw_revocation_t r;
    gw_str_t text;
    int n;

    text = str("x AAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAA: "
               "AAAAAAAAAAAAAAAAAAAAAA:1 AAAAAAAAAAAAAAAAAAAAAA:1: "
               "AAAAAAAAAAAAAAAAAAAAAA:1:2:3 AAAAAAAAAAAAAAAAAAAAAA::2 "
               "AAAAAAAAAAAAAAAAAAAAAA:-1:2 AAAAAAAAAAAAAAAAAAAAAB:1:2 "
               "AAAAAAAAAAAAAAAAAAAAAA:9007199254740993:2 "
               "AAAAAAAAAAAAAAAAAAAAAA:1:99999999999999999999999999 "
               "AAAAAAAAAAAAAAAAAAAAAA:1:2   ");

    for (n = 0; gw_revocation_decode(&text, &r) == GW_DECLINED; n++) {
        /* void */
    }

    assert_int_equal(n, 11);
    assert_int_equal(r.before, 1);
    assert_int_equal(r.until, 2);
    assert_int_equal(gw_revocation_decode(&text, &r), GW_AGAIN);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jti_and_exp),
        cmocka_unit_test(sub_and_before),
        cmocka_unit_test(all_else_is_malformed),
        cmocka_unit_test(a_value_is_as_long_as_a_token_at_most),
        cmocka_unit_test(words_come_back_as_they_were),
        cmocka_unit_test(other_words_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
