#include "fields.h"

#include "../../src/cache_tag.h"


/* Tags, joined by '|'. */
static void
lists(void **unused)
{
    size_t i, n;
    char out[512];
    gw_str_t list, tag;

    static const char *const cases[][2] = {
        { "a", "a" }, { "a,b", "a|b" }, { "a b", "a|b" },
        { " a ,\tb,, c ", "a|b|c" }, { "", "" }, { " , ", "" },
        { "a:1/x Z\xc3\xa9", "a:1/x|Z\xc3\xa9" }, { "a\x7f,b\001,c", "c" },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        list = text_of(cases[i][0]);

        for (n = 0; gw_cache_tag_next(&list, &tag); n += tag.len) {
            if (n > 0) {
                out[n++] = '|';
            }
            memcpy(out + n, tag.data, tag.len);
        }

        assert_text((gw_str_t){ (unsigned char *) out, n }, cases[i][1]);
    }
}


static void
long_tags_are_passed_over(void **unused)
{
    gw_str_t list, tag;
    char text[300];

    (void) unused;

    memset(text, 'a', sizeof(text));
    memcpy(text + 255, ",b", 3);
    list = text_of(text);
    assert_true(gw_cache_tag_next(&list, &tag));
    assert_int_equal(tag.len, 255);

    memset(text, 'a', sizeof(text));
    memcpy(text + 256, ",b", 3);
    list = text_of(text);
    assert_true(gw_cache_tag_next(&list, &tag));
    assert_text(tag, "b");
    assert_false(gw_cache_tag_next(&list, &tag));
}


static bool
matches(const char *pattern, const char *key)
{
    return gw_cache_glob((gw_str_t){ guard_copy(0, pattern, strlen(pattern)),
                                     strlen(pattern) },
                         text_of(key));
}


static void
patterns(void **unused)
{
    size_t i;

    static const struct { const char *p; const char *key; bool match; }
    cases[] = {
        { "*", "", true }, { "*", "abc", true }, { "", "", true },
        { "", "a", false }, { "abc", "abc", true }, { "abc", "abcd", false },
        { "abc", "ab", false }, { "a*", "a", true }, { "a*", "abc", true },
        { "a*", "ba", false }, { "*c", "abc", true }, { "*c", "abcd", false },
        { "a*c", "ac", true }, { "a*c", "a/b/c", true },
        { "a*a", "a", false }, { "ab*ba", "aba", false },
        { "ab*ba", "abba", true }, { "*b*", "abc", true },
        { "*b*", "ac", false }, { "**", "", true }, { "a**c", "abc", true },
        { "*ab*ab", "ab", false }, { "*ab*ab", "abxab", true },
        { "a*b*c*d", "a1b2c3d", true }, { "a*b*c*d", "a1c2b3d", false },
        { "*aab*", "aaab", true }, { "a?c", "abc", false },
        { "http://h/x*", "http://h/x?y=*", true }, { "A*", "abc", false },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (matches(cases[i].p, cases[i].key) != cases[i].match) {
            fail_msg("%s and %s", cases[i].p, cases[i].key);
        }
    }
}


/* Where backtracking would not come to an end. */
static void
hostile_patterns_take_no_time(void **unused)
{
    unsigned i;
    static char pattern[8192], key[16384];

    (void) unused;

    memset(key, 'a', sizeof(key) - 1);

    for (i = 0; i + 2 < sizeof(pattern); i += 2) {
        memcpy(pattern + i, "a*", 2);
    }

    assert_true(matches(pattern, key));
    pattern[i] = 'b';
    assert_false(matches(pattern, key));

    memset(pattern, 'a', sizeof(pattern) - 1);
    pattern[0] = '*';
    pattern[4096] = 'b';
    pattern[sizeof(pattern) - 2] = '*';

    for (i = 0; i < 100; i++) {
        assert_false(matches(pattern, key));
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(long_tags_are_passed_over),
        cmocka_unit_test(patterns),
        cmocka_unit_test(hostile_patterns_take_no_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
