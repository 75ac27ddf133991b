/* Documents read in place are accepted just as their trees would be. */

#include "guard.h"

#include <stdio.h>

#include "../../src/jwt_json.h"

#define DEPTH 4

typedef struct {
    const char *text;
    bool accepted;
    bool plain; /* its tree is left for later */
} case_t;

static const case_t cases[] = {
    { "{}", true, true },
    { " {\"a\":[1,-2.5,true,null,\"x\"],\"b\":{\"a\":{}}}\n", true, true },
    { "{\"a\":\"\xc3\xa9\"}", true, true },
    { "{\"a\":12345678901234567}", true, true },
    { "{\"a\":123456789012345678}", true, false },
    { "{\"a\":9223372036854775807}", true, false },
    { "{\"a\":9223372036854775808}", false, false },
    { "{\"a\":1e3}", true, false },
    { "{\"a\":1E3}", true, false },
    { "{\"a\":1e999}", false, false },
    { "{\"a\":\"\\n\"}", true, false },
    { "{\"\\u0061\":1}", true, false },
    { "{\"\\u0061\":1,\"a\":1}", false, false },
    { "{\"a\":1,\"a\":1}", false, false },
    { "{\"a\":1,\"b\":{\"a\":1,\"a\":2}}", false, false },
    { "{\"a\":\"\\u0000\"}", false, false },
    { "{\"a\":\"\\ud800\"}", false, false },
    { "{\"a\":[[[]]]}", true, true },
    { "{\"a\":[[[[]]]]}", false, false },
    { "{\"a\":\"[[[[[[\"}", true, true },
    { "{\"a\":\"\\\"[[[[[[\"}", true, false },
    { "[]", false, false },
    { "{}{}", false, false },
    { "{\"a\"}", false, false },
    { "{\"\xff\":1}", false, false },
    { "", false, false },
};


static gw_str_t
text_of(const char *s)
{
    return (gw_str_t){ guard_copy(0, s, strlen(s)), strlen(s) };
}


static void
is_of_one_opinion_with_the_tree(void **state)
{
    gw_jwt_json_t json;
    json_t *tree;
    size_t i;
    int rc;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rc = gw_jwt_json_open(&json, text_of(cases[i].text), DEPTH);
        tree = gw_jwt_json_object(text_of(cases[i].text), DEPTH, NULL);

        if ((rc == GW_OK) != cases[i].accepted
            || (tree != NULL) != cases[i].accepted)
        {
            fail_msg("%s", cases[i].text);
        }

        if (rc == GW_OK) {
            assert_int_equal(json.tree == NULL, cases[i].plain);
            assert_true(json_equal(gw_jwt_json_tree(&json), tree));
            assert_ptr_equal(gw_jwt_json_tree(&json), json.tree);
            gw_jwt_json_close(&json);
        }

        json_decref(tree);
    }
}


static void
knows_duplicates_among_many_members(void **state)
{
    gw_jwt_json_t json;
    char text[2000], *p;
    int i, n;

    (void) state;

    for (n = 1; n < 100; n++) {
        p = text + sprintf(text, "{");
        for (i = 0; i < n; i++) {
            p += sprintf(p, "\"%d\":%d,", i, i);
        }

        sprintf(p, "\"x\":1}");
        assert_int_equal(gw_jwt_json_open(&json, text_of(text), DEPTH),
                         GW_OK);
        gw_jwt_json_close(&json);

        sprintf(p, "\"%d\":1}", n - 1);
        assert_int_equal(gw_jwt_json_open(&json, text_of(text), DEPTH),
                         GW_ERROR);
    }
}


static void
says_in_which_line_the_error_is(void **state)
{
    unsigned line;

    (void) state;

    assert_null(gw_jwt_json_object(text_of("{\n\n\"a\" 1}"), DEPTH, &line));
    assert_int_equal(line, 3);
    assert_null(gw_jwt_json_object(text_of("[[[[[]]]]]"), DEPTH, &line));
    assert_int_equal(line, 0);
}


static void
gives_members_that_are_strings(void **state)
{
    gw_str_t s;
    json_t *tree;

    (void) state;

    tree = gw_jwt_json_object(text_of("{\"a\":\"x\",\"b\":1,\"c\":\"\"}"),
                              DEPTH, NULL);
    s = gw_jwt_json_string(tree, "a");
    assert_int_equal(s.len, 1);
    assert_memory_equal(s.data, "x", 1);

    s = gw_jwt_json_string(tree, "c");
    assert_int_equal(s.len, 0);
    assert_non_null(s.data);

    s = gw_jwt_json_string(tree, "b");
    assert_null(s.data);
    s = gw_jwt_json_string(tree, "d");
    assert_null(s.data);

    json_decref(tree);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_of_one_opinion_with_the_tree),
        cmocka_unit_test(knows_duplicates_among_many_members),
        cmocka_unit_test(says_in_which_line_the_error_is),
        cmocka_unit_test(gives_members_that_are_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
