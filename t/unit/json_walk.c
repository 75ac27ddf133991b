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


/* Members as "key=value;", elements as "value;", exactly as written. */
static void
walks_to(const char *text, const char *what)
{
    char out[512];
    size_t n;
    gw_json_t c, key, v;
    const unsigned char *it;

    c = parse(text);
    it = NULL;
    n = 0;

    while (gw_json_next(&c, &it, &key, &v)) {
        if (c.type == GW_JSON_OBJECT) {
            assert_int_equal(key.type, GW_JSON_STRING);
            memcpy(out + n, key.text.data, key.text.len);
            n += key.text.len;
            out[n++] = '=';
        }

        memcpy(out + n, v.text.data, v.text.len);
        n += v.text.len;
        out[n++] = ';';
    }

    out[n] = '\0';
    assert_string_equal(out, what);

    assert_false(gw_json_next(&c, &it, &key, &v));
}


static void
elements_in_order_as_written(void **unused)
{
    (void) unused;

    walks_to("[]", "");
    walks_to("[ ]", "");
    walks_to("[1]", "1;");
    walks_to(" [ 1.0 , \"a,]\" ,[2,[3]], {\"x\":[4]} ,null,true , false ] ",
             "1.0;\"a,]\";[2,[3]];{\"x\":[4]};null;true;false;");
    walks_to("[\"\\\"\",\"\\\\\",\"]\"]", "\"\\\"\";\"\\\\\";\"]\";");
    walks_to("[\n1\t,\r2\n]", "1;2;");
    walks_to("[[],{},\"\"]", "[];{};\"\";");
}


static void
members_in_order_as_written(void **unused)
{
    (void) unused;

    walks_to("{}", "");
    walks_to("{ }", "");
    walks_to("{\"a\":1}", "\"a\"=1;");
    walks_to(" { \"a\" : 1 , \"b\\\"\" : { \"c\" : \"}\" } , \"a\":-2e5 } ",
             "\"a\"=1;\"b\\\"\"={ \"c\" : \"}\" };\"a\"=-2e5;");
    walks_to("{\":\":\",\",\"{\":\"}\"}", "\":\"=\",\";\"{\"=\"}\";");
}


static void
values_know_their_type(void **unused)
{
    size_t i;
    gw_json_t c, v;
    const unsigned char *it;

    static const gw_json_type_e types[] = {
        GW_JSON_NULL, GW_JSON_FALSE, GW_JSON_TRUE, GW_JSON_NUMBER,
        GW_JSON_NUMBER, GW_JSON_STRING, GW_JSON_ARRAY, GW_JSON_OBJECT
    };

    (void) unused;

    c = parse("[null,false,true,0,-1,\"\",[],{}]");
    it = NULL;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_true(gw_json_next(&c, &it, NULL, &v));
        assert_int_equal(v.type, types[i]);
    }

    assert_false(gw_json_next(&c, &it, NULL, &v));
}


static void
what_was_found_can_be_walked(void **unused)
{
    gw_json_t c, v;
    const unsigned char *it;

    (void) unused;

    c = parse("{\"a\":[7,{\"b\":8}]}");
    assert_int_equal(gw_json_member(&c, gw_str("a"), &c), GW_OK);

    it = NULL;
    assert_true(gw_json_next(&c, &it, NULL, &v));
    assert_true(gw_json_next(&c, &it, NULL, &v));
    assert_int_equal(gw_json_member(&v, gw_str("b"), &v), GW_OK);
    assert_int_equal(v.text.len, 1);
    assert_int_equal(*v.text.data, '8');
}


static void
scalars_hold_nothing(void **unused)
{
    size_t i;
    gw_json_t c, v;
    const unsigned char *it;

    static const char *const texts[] = { "1", "null", "\"[1]\"", "true" };

    (void) unused;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        c = parse(texts[i]);
        it = NULL;
        assert_false(gw_json_next(&c, &it, NULL, &v));
        assert_int_equal(gw_json_member(&c, gw_str("1"), &v), GW_DECLINED);
    }

    c = parse("[\"a\",1]");
    assert_int_equal(gw_json_member(&c, gw_str("a"), &v), GW_DECLINED);
}


static void
member_is(const char *text, gw_str_t name, const char *value)
{
    gw_json_t o, v;

    o = parse(text);

    if (value == NULL) {
        assert_int_equal(gw_json_member(&o, name, &v), GW_DECLINED);
        return;
    }

    assert_int_equal(gw_json_member(&o, name, &v), GW_OK);
    assert_int_equal(v.text.len, strlen(value));
    assert_memory_equal(v.text.data, value, v.text.len);
}


static void
members_by_name(void **unused)
{
    (void) unused;

    member_is("{\"a\":1,\"b\":2}", gw_str("b"), "2");
    member_is("{\"a\":1,\"b\":2}", gw_str("c"), NULL);
    member_is("{\"a\":1}", gw_str("A"), NULL);
    member_is("{\"a\":1}", gw_str(""), NULL);
    member_is("{\"ab\":1}", gw_str("a"), NULL);
    member_is("{\"a\":1}", gw_str("ab"), NULL);
    member_is("{\"\":1}", gw_str(""), "1");
    member_is("{\"x\":{\"a\":1}}", gw_str("a"), NULL);
    member_is("{\"x\":\"a\"}", gw_str("a"), NULL);
    member_is("{}", gw_str("a"), NULL);
}


/* As in ECMAScript; a check and a use can then not see different ones. */
static void
the_last_of_several_members_counts(void **unused)
{
    (void) unused;

    member_is("{\"a\":1,\"b\":2,\"a\":3}", gw_str("a"), "3");
    member_is("{\"a\":1,\"\\u0061\":[2]}", gw_str("a"), "[2]");
}


static void
escapes_in_names_are_understood(void **unused)
{
    (void) unused;

    member_is("{\"t\\u0079pe\":1}", gw_str("type"), "1");
    member_is("{\"a\\/b\":1}", gw_str("a/b"), "1");
    member_is("{\"\\ud83d\\ude00\":1}", gw_str("\xf0\x9f\x98\x80"), "1");
    member_is("{\"a\\u0000\":1}", gw_str("a\0"), NULL);
}


static void
several_members_in_one_walk(void **unused)
{
    size_t i;
    gw_json_t object, found[3];

    static const gw_str_t names[] = {
        { (const unsigned char *) "a", 1 },
        { (const unsigned char *) "bc", 2 },
        { (const unsigned char *) "none", 4 }
    };

    (void) unused;

    object = parse("{\"bc\":1, \"\\u0061\":[2],\"abc\":3,\"\":4,\"b\":5,"
                   "\"b\\u0063\" : null,\"nonee\":6}");
    gw_json_members(&object, names, found, 3);

    assert_int_equal(found[0].type, GW_JSON_ARRAY);
    assert_memory_equal(found[0].text.data, "[2]", 3);
    assert_int_equal(found[1].type, GW_JSON_NULL);
    assert_int_equal(found[1].text.len, 4);
    assert_int_equal(found[2].text.len, 0);

    object = parse("[\"a\"]");
    gw_json_members(&object, names, found, 3);

    for (i = 0; i < 3; i++) {
        assert_int_equal(found[i].type, GW_JSON_NULL);
        assert_int_equal(found[i].text.len, 0);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_in_order_as_written),
        cmocka_unit_test(members_in_order_as_written),
        cmocka_unit_test(values_know_their_type),
        cmocka_unit_test(what_was_found_can_be_walked),
        cmocka_unit_test(scalars_hold_nothing),
        cmocka_unit_test(members_by_name),
        cmocka_unit_test(the_last_of_several_members_counts),
        cmocka_unit_test(escapes_in_names_are_understood),
        cmocka_unit_test(several_members_in_one_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
