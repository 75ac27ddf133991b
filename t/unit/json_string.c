#include "guard.h"

#include "../../src/json_scan.h"


static gw_json_t
parse(const char *s)
{
    gw_json_t v;

    assert_int_equal(gw_json_parse((gw_str_t){ guard_copy(0, s, strlen(s)),
                                               strlen(s) }, &v), GW_OK);
    return v;
}


typedef struct {
    const char *text;
    const char *value; /* NULL: has none */
} string_t;

static const string_t strings[] = {
    { "\"\"", "" },
    { "\"a\"", "a" },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
    { "\"\\u0041\\u00e4\\u20AC\\u20ac\"", "A\xc3\xa4\xe2\x82\xac\xe2\x82\xac" },
    { "\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
      "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf" },
    { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
    { "\"\\uD800\\uDC00\\udbff\\udfff\"",
      "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
    { "\"\xe2\x82\xac raw, 0123456789abcdef \\n 0123456789abcdef\"",
      "\xe2\x82\xac raw, 0123456789abcdef \n 0123456789abcdef" },
    { "\"\\ud800\"", NULL },
    { "\"\\udc00\"", NULL },
    { "\"\\ude00\\ud83d\"", NULL },
    { "\"\\ud83d\\ud83d\\ude00\"", NULL },
    { "\"\\ud83dx\\ude00\"", NULL },
    { "\"\\ud83d\\n\"", NULL },
    { "\"\\ud83dude00\"", NULL },
    { "\"\\ud83d \"", NULL },
    { "\"\\ud83d\\udbff\"", NULL },
    { "\"\\ud83d\\ue000\"", NULL },
    { "\"\\ud83d\\uffff\"", NULL },
    { "\"\\u0000\"", NULL },
    { "\"a\\u0000b\"", NULL },
};

#define COUNT (sizeof(strings) / sizeof(strings[0]))


static void
strings_decode(void **unused)
{
    size_t i, n;
    gw_json_t v;
    unsigned char *buf;

    (void) unused;

    for (i = 0; i < COUNT; i++) {
        v = parse(strings[i].text);
        buf = guard_room(1, v.text.len);
        n = gw_json_string_decode(&v, buf);

        if (strings[i].value == NULL) {
            assert_int_equal(n, (size_t) -1);
            continue;
        }

        assert_int_equal(n, strlen(strings[i].value));
        assert_memory_equal(buf, strings[i].value, n);
    }
}


static void
strings_decode_in_place(void **unused)
{
    size_t n;
    gw_json_t v;

    (void) unused;

    v = parse("\"\\u20ac and \\ud83d\\ude00, 0123456789abcdef\"");
    n = gw_json_string_decode(&v, (unsigned char *) v.text.data);
    assert_int_equal(n, 3 + 5 + 4 + 18);
    assert_memory_equal(v.text.data,
                        "\xe2\x82\xac and \xf0\x9f\x98\x80, 0123456789abcdef",
                        n);
}


static void
other_values_are_no_strings(void **unused)
{
    gw_json_t v;
    unsigned char buf[16];

    (void) unused;

    v = parse("12");
    assert_int_equal(gw_json_string_decode(&v, buf), (size_t) -1);
    assert_false(gw_json_string_equal(&v, gw_str("12")));
    assert_false(gw_json_string_equal(&v, gw_str("")));

    v = parse("[]");
    assert_int_equal(gw_json_string_decode(&v, buf), (size_t) -1);
    assert_false(gw_json_string_equal(&v, gw_str("")));
}


static void
strings_equal_what_they_decode_to(void **unused)
{
    size_t i, k;
    gw_json_t v;
    gw_str_t s;

    (void) unused;

    for (i = 0; i < COUNT; i++) {
        v = parse(strings[i].text);

        for (k = 0; k < COUNT; k++) {
            if (strings[k].value == NULL) {
                continue;
            }

            s.len = strlen(strings[k].value);
            s.data = guard_copy(1, strings[k].value, s.len);
            assert_int_equal(gw_json_string_equal(&v, s), i == k);
        }
    }

    v = parse("\"ab\\n\"");
    assert_false(gw_json_string_equal(&v, gw_str("ab")));
    assert_false(gw_json_string_equal(&v, gw_str("ab\n ")));
    assert_false(gw_json_string_equal(&v, gw_str("ab\\n")));

    v = parse("\"a\\u0000\"");
    assert_false(gw_json_string_equal(&v, gw_str("a\0")));
}


static void
whole_numbers(void **unused)
{
    size_t i;
    uint64_t n;
    gw_json_t v;

    static const struct {
        const char *text;
        uint64_t n;
    } good[] = {
        { "0", 0 }, { "7", 7 }, { "1234567890", 1234567890 },
        { "999999999999999999", 999999999999999999u },
        { "9223372036854775807", INT64_MAX },
    };
    static const char *const bad[] = {
        "-1", "-0", "1.0", "1e3", "0.5", "9223372036854775808",
        "9999999999999999999", "18446744073709551615",
        "18446744073709551617", "123456789012345678901234567890", "\"1\"",
        "null", "[1]"
    };

    (void) unused;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        v = parse(good[i].text);
        assert_int_equal(gw_json_uint(&v, &n), GW_OK);
        assert_true(n == good[i].n);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        v = parse(bad[i]);
        assert_int_equal(gw_json_uint(&v, &n), GW_DECLINED);
    }
}


static void
quoted(gw_str_t s, const char *what)
{
    size_t n;
    unsigned char *p;

    n = gw_json_quoted_size(s);
    assert_int_equal(n, strlen(what));

    p = guard_room(1, n);
    assert_ptr_equal(gw_json_quote(p, s), p + n);
    assert_memory_equal(p, what, n);
}


static void
strings_are_quoted(void **unused)
{
    (void) unused;

    quoted(gw_str(""), "\"\"");
    quoted((gw_str_t){ NULL, 0 }, "\"\"");
    quoted(gw_str("room:one"), "\"room:one\"");
    quoted(gw_str("\"\\/"), "\"\\\"\\\\/\"");
    quoted(gw_str("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    quoted(gw_str("\0\x01\x0b\x1f\x7f"),
           "\"\\u0000\\u0001\\u000b\\u001f\x7f\"");
    quoted(gw_str("\xe2\x82\xac"), "\"\xe2\x82\xac\"");
    quoted(gw_str("0123456789abcdef\n0123456789abcdef\""),
           "\"0123456789abcdef\\n0123456789abcdef\\\"\"");
}


static void
every_character_comes_back(void **unused)
{
    unsigned c;
    size_t n;
    gw_json_t v;
    unsigned char s[3], text[32], buf[32], *end;

    (void) unused;

    for (c = 1; c < 0x80; c++) {
        s[0] = 'a';
        s[1] = c;
        s[2] = 'b';

        end = gw_json_quote(text, (gw_str_t){ s, 3 });
        n = end - text;
        assert_int_equal(gw_json_parse((gw_str_t){ text, n }, &v), GW_OK);
        assert_int_equal(gw_json_string_decode(&v, buf), 3);
        assert_memory_equal(buf, s, 3);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_decode),
        cmocka_unit_test(strings_decode_in_place),
        cmocka_unit_test(other_values_are_no_strings),
        cmocka_unit_test(strings_equal_what_they_decode_to),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(strings_are_quoted),
        cmocka_unit_test(every_character_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
