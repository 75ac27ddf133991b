#include "fields.h"

#include "../../src/redis_info.h"


static const char *text = "# Server\r\n"
                          "redis_version:7.0.15\r\n"
                          "run_id:abc\r\n"
                          "\r\n"
                          "# Replication\r\n"
                          "role:master\r\n"
                          "empty:\r\n"
                          "role:slave\r\n"
                          "plain:1\n"
                          "a:b:c\r\n"
                          "last:2";


static void
values(void **unused)
{
    size_t i;
    gw_str_t info = { (const unsigned char *) text, strlen(text) }, value;

    static const struct { const char *name, *value; } cases[] = {
        { "redis_version", "7.0.15" },
        { "run_id", "abc" },
        { "role", "master" }, /* the first */
        { "empty", "" },
        { "plain", "1" },
        { "a", "b:c" },
        { "last", "2" },
        { "run", NULL },
        { "un_id", NULL },
        { "# Server", NULL },
        { "role:master", NULL },
        { "none", NULL },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i].value == NULL) {
            assert_int_equal(gw_redis_info(info, cases[i].name, &value),
                             GW_DECLINED);
            continue;
        }

        assert_int_equal(gw_redis_info(info, cases[i].name, &value), GW_OK);
        assert_int_equal(value.len, strlen(cases[i].value));
        assert_memory_equal(value.data, cases[i].value, value.len);
    }
}


/* Cut off anywhere, nothing behind the end is looked at. */
static void
cut(void **unused)
{
    size_t len;
    gw_str_t info, value;

    (void) unused;

    for (len = 0; len <= strlen(text); len++) {
        info.data = test_malloc(len ? len : 1);
        info.len = len;
        memcpy((void *) (uintptr_t) info.data, text, len);

        if (gw_redis_info(info, "last", &value) == GW_OK) {
            assert_true(len >= strlen(text) - 1);
            assert_true(value.data + value.len <= info.data + info.len);
        }

        test_free((void *) (uintptr_t) info.data);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
