#include "guard.h"

#include "../../src/json_scan.h"


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ guard_copy(0, s, strlen(s)), strlen(s) };
}


static void
taken(const char *text, gw_json_type_e type, const char *value)
{
    gw_json_t v;

    if (gw_json_parse(str(text), &v) != GW_OK) {
        fail_msg("refused: %s", text);
    }

    assert_int_equal(v.type, type);
    assert_int_equal(v.text.len, strlen(value));
    assert_memory_equal(v.text.data, value, v.text.len);
}


static void
all_taken(const char *const *texts, gw_json_type_e type)
{
    for ( /* void */ ; *texts != NULL; texts++) {
        taken(*texts, type, *texts);
    }
}


static void
all_refused(const char *const *texts)
{
    gw_json_t v;

    for ( /* void */ ; *texts != NULL; texts++) {
        if (gw_json_parse(str(*texts), &v) != GW_ERROR) {
            fail_msg("taken: %s", *texts);
        }
    }
}


/* RFC 8259 section 3 */
static void
words(void **unused)
{
    static const char *const bad[] = {
        "nul", "nulll", "tru", "True", "TRUE", "falsey", "fals", "undefined",
        "NaN", "n", "t", "f", NULL
    };

    (void) unused;

    taken("null", GW_JSON_NULL, "null");
    taken("true", GW_JSON_TRUE, "true");
    taken("false", GW_JSON_FALSE, "false");
    all_refused(bad);
}


/* Section 2: four characters, and no more. */
static void
white_space(void **unused)
{
    static const char *const bad[] = {
        "", " ", "\n\t\r ", "\v1", "\f1", "1\x0b", "\xc2\xa0""1",
        "\xef\xbb\xbf""1", "1 2", "1,", NULL
    };

    (void) unused;

    taken(" \t\r\n1 \t\r\n", GW_JSON_NUMBER, "1");
    taken(" [ 1 , { \"a\" : 2 } ] ", GW_JSON_ARRAY, "[ 1 , { \"a\" : 2 } ]");
    all_refused(bad);
}


static void
a_zero_byte_is_no_end(void **unused)
{
    gw_json_t v;

    (void) unused;

    assert_int_equal(gw_json_parse(gw_str("1\0"), &v), GW_ERROR);
    assert_int_equal(gw_json_parse(gw_str("\"a\0b\""), &v), GW_ERROR);
    assert_int_equal(gw_json_parse((gw_str_t){ NULL, 0 }, &v), GW_ERROR);
}


/* Section 6; of any size, as nothing is computed. */
static void
numbers(void **unused)
{
    static const char *const good[] = {
        "0", "-0", "1", "-1", "10", "1234567890", "0.0", "-0.5", "1.0",
        "1e5", "1E5", "1e+5", "1e-5", "1.25e10", "0e0", "1e999",
        "123456789012345678901234567890", NULL
    };
    static const char *const bad[] = {
        "-", "+1", "01", "-01", "00", ".5", "1.", "1.e5", "1e", "1e+", "-a",
        "1a", "0x10", "1.2.3", "1e5.5", "--1", "Infinity", "1_000", "e5",
        NULL
    };

    (void) unused;

    all_taken(good, GW_JSON_NUMBER);
    all_refused(bad);
}


/* Section 7 */
static void
strings(void **unused)
{
    static const char *const good[] = {
        "\"\"", "\"a\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0041\\uABCD\\uabcd\\u0000\"", "\"\\ud800\"", "\"\x7f\"",
        "\"\xe2\x82\xac\"", "\"'\"", "\"[{,:}]\"",
        "\"longer than one vector of sixteen bytes, \\\\ and then \\\"\"",
        NULL
    };
    static const char *const bad[] = {
        "\"", "\"a", "a\"", "\"\\\"", "\"\\", "\"\\a\"", "\"\\x41\"",
        "\"\\u\"", "\"\\u004\"", "\"\\u004g\"", "\"\\u00", "\"\\U0041\"",
        "\"\n\"", "\"\t\"", "\"\x1f\"", "\"\x01\"", "'a'", "\"a\"b\"",
        "\"longer than one vector of sixteen bytes, \n and then\"",
        "\"longer than one vector of sixteen bytes, never closed", NULL
    };

    (void) unused;

    all_taken(good, GW_JSON_STRING);
    all_refused(bad);
}


/* Section 7: in whole vectors and in what is left of them. */
static void
control_characters_anywhere_in_strings(void **unused)
{
    size_t n, i;
    unsigned c;
    gw_json_t v;
    gw_str_t text;
    unsigned char *p;

    (void) unused;

    for (n = 3; n < 60; n++) {
        text.len = n;
        text.data = p = guard_room(0, n);
        memset(p, 'a', n);
        p[0] = p[n - 1] = '"';
        assert_int_equal(gw_json_parse(text, &v), GW_OK);

        for (i = 1; i < n - 1; i++) {
            for (c = 0; c < 0x20; c++) {
                p[i] = c;
                assert_int_equal(gw_json_parse(text, &v), GW_ERROR);
            }

            p[i] = 0x20;
            assert_int_equal(gw_json_parse(text, &v), GW_OK);
            p[i] = 0xff;
            assert_int_equal(gw_json_parse(text, &v), GW_OK);
            p[i] = 'a';
        }
    }
}


/* Sections 4 and 5 */
static void
containers(void **unused)
{
    static const char *const arrays[] = {
        "[]", "[ ]", "[1]", "[1,2]", "[[],[[]],{}]", "[\"]\"]", "[null]",
        NULL
    };
    static const char *const objects[] = {
        "{}", "{ }", "{\"a\":1}", "{\"a\":1,\"a\":2}", "{\"\":[]}",
        "{\"a\":{\"b\":[{}]}}", "{\"}\":\"{\"}", NULL
    };
    static const char *const bad[] = {
        "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2]",
        "[}", "{]", "[1}", "{\"a\":1]", "{\"a\"}", "{\"a\":}", "{\"a\" 1}",
        "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "[]]",
        "{}}", "[[]", "{\"a\":{}", "[\"]", "{\"a\":1,2}", "[1:2]", "[\"a\":1]",
        "{\"a\"::1}", "{null:1}", "[] []", "{\"a\":1,", "{\"a\"", "{\"a\":",
        NULL
    };

    (void) unused;

    all_taken(arrays, GW_JSON_ARRAY);
    all_taken(objects, GW_JSON_OBJECT);
    all_refused(bad);
}


static void
nesting_has_a_limit(void **unused)
{
    size_t i, k, n, depth;
    gw_json_t v;
    gw_str_t text;
    unsigned char *p;

    static const char *const opens[] = { "[", "{\"a\":", NULL };

    (void) unused;

    for (i = 0; opens[i] != NULL; i++) {
        for (depth = 1; depth < 200; depth++) {
            n = strlen(opens[i]);
            text.len = depth * n + 1 + depth;
            text.data = p = guard_room(0, text.len);

            for (k = 0; k < depth; k++) {
                memcpy(p + k * n, opens[i], n);
            }

            p[depth * n] = '1';
            memset(p + depth * n + 1, i == 0 ? ']' : '}', depth);

            assert_int_equal(gw_json_parse(text, &v),
                             depth <= GW_JSON_MAX_DEPTH ? GW_OK : GW_ERROR);
        }
    }
}


static void
an_empty_container_counts_as_a_level(void **unused)
{
    gw_json_t v;
    unsigned char text[2 * (GW_JSON_MAX_DEPTH + 1)];

    (void) unused;

    memset(text, '[', GW_JSON_MAX_DEPTH + 1);
    memset(text + GW_JSON_MAX_DEPTH + 1, ']', GW_JSON_MAX_DEPTH + 1);

    assert_int_equal(gw_json_parse((gw_str_t){ text, sizeof(text) }, &v),
                     GW_ERROR);
    assert_int_equal(gw_json_parse((gw_str_t){ text + 1, sizeof(text) - 2 },
                                   &v), GW_OK);
}


/* Every beginning of a text is refused, and reads nothing after its end. */
static void
cut_texts_are_refused(void **unused)
{
    size_t n;
    gw_json_t v;
    gw_str_t text;

    static const char whole[] =
        "{\"type\":\"publish\",\"n\":[-1.5e+3,true,false,null,\"\\u20ac\\n\"],"
        "\"deep\":{\"a\":[[{}]]},\"text\":\"0123456789abcdef0123456789\"}";

    (void) unused;

    taken(whole, GW_JSON_OBJECT, whole);

    for (n = 0; n < sizeof(whole) - 1; n++) {
        text.data = guard_copy(0, whole, n);
        text.len = n;
        assert_int_equal(gw_json_parse(text, &v), GW_ERROR);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(white_space),
        cmocka_unit_test(a_zero_byte_is_no_end),
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(control_characters_anywhere_in_strings),
        cmocka_unit_test(containers),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(an_empty_container_counts_as_a_level),
        cmocka_unit_test(cut_texts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
