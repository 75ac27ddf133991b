#include "fields.h"


static void
names_are_found_in_any_case(void **unused)
{
    gw_fields_t f;

    (void) unused;

    f = fields(0, "a: 1\nCache-Control: x\ncache-control: y\nb:");

    assert_text(gw_field_find(f, gw_str("CACHE-control")), "x");
    assert_text(gw_field_find(f, gw_str("B")), "");
    assert_non_null(gw_field_find(f, gw_str("b")).data);
    assert_null(gw_field_find(f, gw_str("cache")).data);
    assert_null(gw_field_find((gw_fields_t){ NULL, 0 }, gw_str("a")).data);

    /* only letters have case: '@' and '`' differ in that bit, too */
    assert_false(gw_field_is(gw_str("@"), gw_str("`")));
    assert_false(gw_field_is(gw_str("["), gw_str("{")));
}


/* RFC 9110, 5.6.1 and 5.6.4: members, joined by '|'. */
static void
lists(void **unused)
{
    size_t i, n;
    char out[256];
    gw_str_t member;
    gw_members_t m;

    static const char *const cases[][2] = {
        { "a: x", "x" },
        { "a: x, y ,\tz", "x|y|z" },
        { "a: ,, x,, ,y,", "x|y" },
        { "a:", "" },
        { "a: ,", "" },
        { "b: n\na: x\nA: y, z\nb: n", "x|y|z" },
        { "a:\na: *", "*" },
        { "a: x=\"1,2\", y", "x=\"1,2\"|y" },
        { "a: \"a\\\",b\", c", "\"a\\\",b\"|c" },
        { "a: \"\\\\\", c", "\"\\\\\"|c" },
        { "a: x=\"1, y\na: z", "x=\"1, y|z" },
        { "a: \"\\", "\"\\" },
        { "a: x y, z", "x y|z" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gw_members_init(&m, fields(0, cases[i][0]), gw_str("a"));
        n = 0;

        while (gw_members_next(&m, &member)) {
            assert_true(n + member.len + 1 < sizeof(out));
            if (n > 0) {
                out[n++] = '|';
            }
            memcpy(out + n, member.data, member.len);
            n += member.len;
        }

        assert_text((gw_str_t){ (unsigned char *) out, n }, cases[i][1]);
    }

    assert_true(gw_field_lists(fields(0, "c: close, X-a"), gw_str("C"),
                               gw_str("x-A")));
    assert_false(gw_field_lists(fields(0, "c: X-ab"), gw_str("c"),
                                gw_str("x-a")));
}


/* RFC 9110, 5.6.2 */
static void
tokens(void **unused)
{
    (void) unused;

    assert_true(gw_http_token(gw_str("aZ09!#$%&'*+-.^_`|~")));
    assert_false(gw_http_token(gw_str("")));
    assert_false(gw_http_token(gw_str("a b")));
    assert_false(gw_http_token(gw_str("a=b")));
    assert_false(gw_http_token(gw_str("a\0b")));
    assert_false(gw_http_token(gw_str("\xc3\xa9")));
}


/* RFC 9111, 1.2.2: beyond 2^31 it is 2^31, and never an error. */
static void
seconds(void **unused)
{
    size_t i;
    uint32_t n;

    static const struct { const char *text; int64_t n; } cases[] = {
        { "0", 0 }, { "3600", 3600 }, { "003600", 3600 },
        { "2147483647", 2147483647 }, { "2147483648", 2147483648 },
        { "2147483649", 2147483648 }, { "99999999999", 2147483648 },
        { "99999999999999999999999999999999999999", 2147483648 },
        { "", -1 }, { "-1", -1 }, { "+1", -1 }, { "1.0", -1 }, { "1a", -1 },
        { "a1", -1 }, { " 1", -1 }, { "'1'", -1 }, { "\"1\"", -1 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i].n < 0) {
            assert_int_equal(gw_http_delta(text_of(cases[i].text), &n),
                             GW_ERROR);
        } else {
            assert_int_equal(gw_http_delta(text_of(cases[i].text), &n), GW_OK);
            assert_int_equal(n, cases[i].n);
        }
    }
}


/* RFC 9110, 8.8.3.2, its table of examples first. */
static void
entity_tags(void **unused)
{
    size_t i;
    gw_etag_t a, b;

    static const struct {
        const char *a;
        const char *b;
        bool strong;
        bool weak;
    } cases[] = {
        { "W/\"1\"", "W/\"1\"", false, true },
        { "W/\"1\"", "W/\"2\"", false, false },
        { "W/\"1\"", "\"1\"", false, true },
        { "\"1\"", "\"1\"", true, true },
        { "\"1\"", "\"2\"", false, false },
        { " \"1\" ", "\"1\"", true, true },
        { "\"a\"", "\"A\"", false, false },
        { "\"\"", "\"\"", true, true },
        { "\"abc\"", "\"ab\"", false, false },
        { "", "", false, false },
        { "abc", "abc", true, true },
        { "abc", "\"abc\"", false, false },
        { "w/\"1\"", "W/\"1\"", false, false },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        a = gw_etag_parse(text_of(cases[i].a));
        b = gw_etag_parse((gw_str_t){ (const unsigned char *) cases[i].b,
                                      strlen(cases[i].b) });
        assert_int_equal(gw_etag_equal_strong(a, b), cases[i].strong);
        assert_int_equal(gw_etag_equal_weak(a, b), cases[i].weak);
        assert_int_equal(gw_etag_equal_weak(b, a), cases[i].weak);
    }

    assert_null(gw_etag_parse((gw_str_t){ NULL, 0 }).tag.data);
}


static void
quotes(void **unused)
{
    (void) unused;

    assert_text(gw_http_unquote(gw_str("\"a b\"")), "a b");
    assert_text(gw_http_unquote(gw_str("\"\"")), "");
    assert_text(gw_http_unquote(gw_str("\"")), "\"");
    assert_text(gw_http_unquote(gw_str("\"a")), "\"a");
    assert_text(gw_http_unquote(gw_str("\"a\"b\"")), "\"a\"b\"");
    assert_text(gw_http_unquote(gw_str("\"\\a\"")), "\"\\a\"");
    assert_text(gw_http_unquote(gw_str("a")), "a");
    assert_text(gw_http_trim(gw_str(" \t a b \t")), "a b");
    assert_text(gw_http_trim(gw_str(" \t")), "");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(lists),
        cmocka_unit_test(tokens),
        cmocka_unit_test(seconds),
        cmocka_unit_test(entity_tags),
        cmocka_unit_test(quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
