#include "fields.h"

#include <stdio.h>

#include "../../src/redis_slot.h"


/* As CLUSTER KEYSLOT of Redis 7.0 answers. */
static void
slots_of_keys(void **unused)
{
    size_t i;

    static const struct {
        const char *key;
        uint16_t slot;
    } cases[] = {
        { "", 0 },
        { "a", 15495 },
        { "123456789", 12739 },
        { "foo", 12182 },
        { "{}", 15257 },
        { "{}x", 10595 },
        { "{user1000}.following", 3443 },
        { "{user1000}.followers", 3443 },
        { "foo{}{bar}", 8363 },
        { "foo{{bar}}zap", 4015 },
        { "foo{bar}{zap}", 5061 },
        { "{a", 10276 },
        { "a}", 5921 },
        { "a}{b", 11640 },
        { "gw:{0}m:x", 13907 },
        { "gw:{255}m:x", 14163 },
        { "{0}", 13907 },
        { "{255}", 14163 },
        { "gw:nodes", 6339 },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(gw_redis_slot(text_of(cases[i].key)),
                         cases[i].slot);
    }
}


static void
any_byte_counts(void **unused)
{
    gw_str_t key;

    (void) unused;

    key.data = guard_copy(3, "a\0b\xff\n", 5);
    key.len = 5;
    assert_int_equal(gw_redis_slot(key), 9267);
}


/* With 256 buckets each master of a large Cluster gets its share. */
static void
buckets_have_slots_of_their_own(void **unused)
{
    char key[16];
    size_t i, j;
    uint16_t slots[256];

    (void) unused;

    for (i = 0; i < 256; i++) {
        snprintf(key, sizeof(key), "gw:{%u}m:c", (unsigned) i);
        slots[i] = gw_redis_slot(text_of(key));

        for (j = 0; j < i; j++) {
            assert_int_not_equal(slots[i], slots[j]);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_keys),
        cmocka_unit_test(any_byte_counts),
        cmocka_unit_test(buckets_have_slots_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
