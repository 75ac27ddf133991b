#include "guard.h"

#include "../../src/pattern.h"


typedef struct {
    const char *pattern;
    const char *name;
    bool match;
} case_t;

static const case_t cases[] = {

    /* Without stars a pattern is a name. */
    { "room:one", "room:one", true },
    { "room:one", "room:on", false },
    { "room:one", "room:one2", false },
    { "room:one", "Room:one", false },
    { "stra\xc3\x9f""e", "stra\xc3\x9f""e", true },
    { "", "a", false },
    { "", "", false },

    /* '*' alone in its segment: one byte at least. */
    { "*", "a", true },
    { "*", "abc", true },
    { "*", "", false },
    { "user:*", "user:alice", true },
    { "user:*", "user:", false },
    { "user:*", "user", false },
    { "*:x", "a:x", true },
    { "*:x", ":x", false },
    { "a.*.b", "a.x.b", true },
    { "a.*.b", "a..b", false },

    /* ... within other text: none, too. */
    { "room-*", "room-", true },
    { "room-*", "room-7", true },
    { "*-log", "-log", true },
    { "a*c", "ac", true },
    { "a*c", "abbbc", true },
    { "a*c", "abbb", false },
    { "a*b*c", "aXbYc", true },
    { "a*b*c", "abbbcbc", true },
    { "a*b*c", "acb", false },
    { "x:*y", "x:y", true },

    /* Segments end at ':', '.' and '/', and nowhere else. */
    { "user:*", "user:a:b", false },
    { "user:*", "user:a.b", false },
    { "user:*", "user:a/b", false },
    { "user:*", "user:a-b_c d", true },
    { "*", "a:b", false },
    { "a*c", "a:c", false },
    { "*:*", "a:b", true },
    { "*:*", "a:b:c", false },
    { "*.*/*", "a.b/c", true },

    /* '**' goes across, and needs one byte. */
    { "**", "a", true },
    { "**", "a:b.c/d", true },
    { "**", ":", true },
    { "**", "", false },
    { "orders:**", "orders:eu:1", true },
    { "orders:**", "orders:", false },
    { "orders:**", "orders", false },
    { "a:**:z", "a:b:c:z", true },
    { "a:**:z", "a::z", false },
    { "a:**:z", "a:b:z:y", false },
    { "a**b", "ab", false },
    { "a**b", "a:b", true },
    { "**:x:**", "a:b:x:c", true },
    { "**:x:**", "x:x:x", true },
    { "**:x:**", "a:y:c", false },
    { "**a*:z", "a:b:a1:z", true },
    { "**a*:z", "xa:y:bab:z", true },
    { "***", "a:b", true },
    { "***", "", false },

    /* Nothing else is special. */
    { "a?c", "abc", false },
    { "a?c", "a?c", true },
    { "[ab]", "a", false },
    { "[ab]", "[ab]", true },
    { "a\\*", "a\\b", true },
};


static gw_str_t
str(unsigned slot, const char *s)
{
    return (gw_str_t){ guard_copy(slot, s, strlen(s)), strlen(s) };
}


static void
patterns_match_whole_names(void **unused)
{
    bool match;
    size_t i, n;
    gw_str_t text;
    unsigned char *out;

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text = str(0, cases[i].pattern);
        out = guard_room(1, text.len);
        n = gw_pattern_compile(out, text);
        assert_in_range(n, 0, text.len);

        out = guard_copy(2, out, n);
        match = gw_pattern_match((gw_str_t){ out, n },
                                 str(3, cases[i].name));

        if (match != cases[i].match) {
            fail_msg("%s and %s", cases[i].pattern, cases[i].name);
        }
    }
}


/* "user:" + value + ":*" against a name. */
static bool
with_value(const char *value, const char *name)
{
    size_t n, len;
    unsigned char out[600];

    n = gw_pattern_compile(out, gw_str("user:"));

    if (gw_pattern_literal(out + n, &len, str(0, value)) != GW_OK) {
        return false;
    }

    n += len;
    n += gw_pattern_compile(out + n, gw_str(":*"));

    return gw_pattern_match((gw_str_t){ guard_copy(1, out, n), n },
                            str(2, name));
}


static void
values_match_literally(void **unused)
{
    (void) unused;

    assert_true(with_value("alice", "user:alice:x"));
    assert_false(with_value("alice", "user:bob:x"));
    assert_false(with_value("alice", "user:alice:"));

    assert_true(with_value("*", "user:*:x"));
    assert_false(with_value("*", "user:bob:x"));
    assert_false(with_value("**", "user:bob:x"));
    assert_true(with_value("a*", "user:a*:x"));
    assert_false(with_value("a*", "user:ab:x"));
}


static void
values_that_could_reach_further_are_declined(void **unused)
{
    size_t i, len;
    unsigned char out[16];

    static const char *const values[] = {
        "", ":", "a:b", "a.b", "a/b", ".", "a:", "/a", "\xff", "\xfe",
        "a\xfe", "\xf8"
    };

    (void) unused;

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(gw_pattern_literal(out, &len, str(0, values[i])),
                         GW_DECLINED);
    }
}


/* Or a byte of the configuration would act as a star. */
static void
the_marks_of_stars_cannot_be_written(void **unused)
{
    size_t n;
    unsigned char out[4];

    (void) unused;

    n = gw_pattern_compile(out, gw_str("\xff\xfe"));
    assert_false(gw_pattern_match((gw_str_t){ out, n }, gw_str("ab")));
    assert_false(gw_pattern_match((gw_str_t){ out, n }, gw_str("a")));
}


/* Where backtracking would not come to an end. */
static void
many_stars_take_no_time(void **unused)
{
    size_t i, n;
    gw_str_t name;
    unsigned char text[600], out[600], a[GW_CHANNEL_NAME_MAX];

    (void) unused;

    memset(a, 'a', sizeof(a));
    name.data = a;
    name.len = sizeof(a);

    for (i = 0; i < 300; i += 3) {
        memcpy(text + i, "a**", 3);
    }

    text[i++] = 'b';

    n = gw_pattern_compile(out, (gw_str_t){ text, i });
    assert_false(gw_pattern_match((gw_str_t){ out, n }, name));

    for (i = 0; i < 400; i += 2) {
        memcpy(text + i, "a*", 2);
    }

    n = gw_pattern_compile(out, (gw_str_t){ text, i });
    assert_true(gw_pattern_match((gw_str_t){ out, n }, name));
}


static void
names_over_255_bytes_match_nothing(void **unused)
{
    unsigned char name[GW_CHANNEL_NAME_MAX + 1], all;

    (void) unused;

    all = GW_PATTERN_GLOBSTAR;
    memset(name, 'a', sizeof(name));

    assert_true(gw_pattern_match((gw_str_t){ &all, 1 },
                                 (gw_str_t){ name, 255 }));
    assert_false(gw_pattern_match((gw_str_t){ &all, 1 },
                                  (gw_str_t){ name, 256 }));
    assert_false(gw_pattern_match((gw_str_t){ name, 256 },
                                  (gw_str_t){ name, 256 }));
}


static void
channel_names(void **unused)
{
    size_t i;
    char name[257];

    static const char *const good[] = {
        "a", "room:one", "a b", "*", "\xc3\xa9", "\xe2\x82\xac:1",
        "\xf0\x9f\x98\x80", "\xc2\xa0", "~"
    };
    static const char *const bad[] = {
        "", "a\n", "\t", "a\x1f", "\x7f", "\xc2\x80", "a\xc2\x9f", "\xff",
        "a\xc3", "\xc0\x80", "\xed\xa0\x80"
    };

    (void) unused;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gw_channel_name_valid(str(0, good[i])));
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(gw_channel_name_valid(str(0, bad[i])));
    }

    assert_false(gw_channel_name_valid(gw_str("a\0b")));

    memset(name, 'n', 256);
    name[256] = '\0';
    assert_false(gw_channel_name_valid(str(0, name)));
    assert_true(gw_channel_name_valid(str(0, name + 1)));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_names),
        cmocka_unit_test(values_match_literally),
        cmocka_unit_test(values_that_could_reach_further_are_declined),
        cmocka_unit_test(the_marks_of_stars_cannot_be_written),
        cmocka_unit_test(many_stars_take_no_time),
        cmocka_unit_test(names_over_255_bytes_match_nothing),
        cmocka_unit_test(channel_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
