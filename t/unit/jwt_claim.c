/* Claims as variables and as what gateway_jwt_claim compares. */

#include "guard.h"

#include <stdio.h>

#include "../../src/jwt.h"


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ (const unsigned char *) s, strlen(s) };
}


static void
finds_the_exact_name_else_without_case(void **state)
{
    gw_json_t v;
    size_t i;
    char *longest, *text;

    struct {
        const char *object;
        const char *name;
        const char *value; /* NULL: none */
    } cases[] = {
        { "{\"sub\":1}", "sub", "1" },
        { "{\"Sub\":1,\"sub\":2}", "sub", "2" },
        { "{\"SUB\":1,\"Sub\":2}", "sub", "1" },
        { "{\"sub\":1,\"SUB\":2}", "SUB", "2" },
        { "{\"userId\":1}", "userid", "1" },
        { "{\"user\\u0049d\":1}", "userid", "1" },
        { "{\"user\\u0049d\":1}", "userId", "1" },
        { "{\"a\":{\"b\":1}}", "b", NULL },
        { "{\"ab\":1}", "a", NULL },
        { "{\"a\":1}", "ab", NULL },
        { "{\"[\":1}", "{", NULL }, /* differ by the bit that case is */
        { "{\"\xc3\x84\":1}", "\xc3\xa4", NULL },
        { "{\"\":1}", "", "1" },
        { "{}", "a", NULL },
        { "[\"a\"]", "a", NULL },
        { "nonsense", "a", NULL },
        { "", "a", NULL },
        { " { \"a\" : 1.50 } ", "a", "1.50" },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i].value == NULL) {
            assert_int_equal(
                gw_jwt_find(str(cases[i].object), str(cases[i].name), &v),
                GW_DECLINED);
            continue;
        }

        assert_int_equal(
            gw_jwt_find(str(cases[i].object), str(cases[i].name), &v), GW_OK);
        assert_int_equal(v.text.len, strlen(cases[i].value));
        assert_memory_equal(v.text.data, cases[i].value, v.text.len);
    }

    /* names of any length, short and long against each other */

    longest = calloc(1, 5001);
    memset(longest, 'n', 5000);
    text = malloc(5100);
    sprintf(text, "{\"%s\":1}", longest);
    assert_int_equal(gw_jwt_find(str(text), str(longest), &v), GW_OK);
    assert_int_equal(gw_jwt_find(str(text), str("n"), &v), GW_DECLINED);
    assert_int_equal(gw_jwt_find(str("{\"n\":1}"), str(longest), &v),
                     GW_DECLINED);
    longest[0] = 'N';
    assert_int_equal(gw_jwt_find(str(text), str(longest), &v), GW_DECLINED);
    longest[256] = '\0';
    sprintf(text, "{\"n%s\":1}", longest + 1);
    assert_int_equal(gw_jwt_find(str(text), str(longest), &v), GW_OK);
    free(longest);
    free(text);
}


static void
renders_values_as_variables(void **state)
{
    static const char *const cases[][2] = {
        { "\"abc\"", "abc" },
        { "\"\"", "" },
        { "\"a\\\"b\\\\c\\/d\"", "a\"b\\c/d" },
        { "\"\\u00e9\\ud83d\\ude00\\n\"", "\xc3\xa9\xf0\x9f\x98\x80\n" },
        { "1", "1" },
        { "1.0", "1.0" },
        { "-0", "-0" },
        { "1E3", "1E3" },
        { "9007199254740993", "9007199254740993" },
        { "0.1000", "0.1000" },
        { "true", "true" },
        { "false", "false" },
        { "null", "" },
        { "[]", "" },
        { "[ ]", "" },
        { "[\"a\",\"b\"]", "a,b" },
        { "[\"a\", 1.50, true, null, \"\"]", "a,1.50,true,," },
        { "[[1, 2], {\"a\" : [ 3 ]}]", "[1,2],{\"a\":[3]}" },
        { "[\"a,b\"]", "a,b" },
        { "{}", "{}" },
        { "{ \"a b\" : \"c  d\\\" e\",\n\t\"f\" : [ 1 , 2.0 ] }",
          "{\"a b\":\"c  d\\\" e\",\"f\":[1,2.0]}" },
        { "{\"\\\\\" : 1}", "{\"\\\\\":1}" },
    };
    char object[200];
    unsigned char *buf;
    gw_json_t v;
    size_t i, n;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sprintf(object, "{\"c\":%s}", cases[i][0]);
        assert_int_equal(gw_jwt_find(str(object), str("c"), &v), GW_OK);

        buf = guard_room(0, v.text.len);
        n = gw_jwt_render(&v, buf);

        if (n != strlen(cases[i][1]) || memcmp(buf, cases[i][1], n) != 0) {
            fail_msg("%s: %.*s", cases[i][0], (int) n, buf);
        }
    }
}


static void
compares_values_with_text(void **state)
{
    char object[200];
    gw_json_t v;
    size_t i;

    struct {
        const char *json;
        const char *value;
        bool equal;
    } cases[] = {
        { "\"a\"", "a", true },
        { "\"a\"", "A", false },
        { "\"a\"", "", false },
        { "\"a\"", "ab", false },
        { "\"ab\"", "a", false },
        { "\"\"", "", true },
        { "\"\\u0061\"", "a", true },
        { "\"a\"", "\"a\"", false },
        { "1", "1", true },
        { "1", "1.0", false },
        { "1.0", "1.0", true },
        { "1.0", "1", false },
        { "\"1\"", "1", true },
        { "true", "true", true },
        { "true", "1", false },
        { "\"true\"", "true", true },
        { "false", "false", true },
        { "false", "", false },
        { "null", "", false },
        { "null", "null", false },
        { "[\"a\",\"b\"]", "b", true },
        { "[\"a\",\"b\"]", "a,b", false },
        { "[\"a\",\"b\"]", "c", false },
        { "[1,true]", "1", true },
        { "[1,true]", "true", true },
        { "[]", "", false },
        { "[null]", "", false },
        { "[\"\"]", "", true },
        { "[[\"a\"]]", "a", false },
        { "[{\"a\":1}]", "{\"a\":1}", false },
        { "{\"a\":\"a\"}", "a", false },
        { "{}", "{}", false },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sprintf(object, "{\"c\":%s}", cases[i].json);
        assert_int_equal(gw_jwt_find(str(object), str("c"), &v), GW_OK);

        if (gw_jwt_equal(&v, str(cases[i].value)) != cases[i].equal) {
            fail_msg("%s and %s", cases[i].json, cases[i].value);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_exact_name_else_without_case),
        cmocka_unit_test(renders_values_as_variables),
        cmocka_unit_test(compares_values_with_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
