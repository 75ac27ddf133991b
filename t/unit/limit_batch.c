/*
 * Tests of src/limit_batch.c.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "limit_batch.h"


static const unsigned char node[] = "node-1_AbcXY";
static const uint64_t digest[2] = { 0x0102030405060708u, 0xf1f2f3f4f5f6f7f8u };

static unsigned char buf[GW_LIMIT_BATCH_SIZE + GW_LIMIT_BATCH_DELTA];


static void
what_is_put_comes_out(void **state)
{
    int i;
    uint64_t found[2];
    unsigned char *p;
    gw_limit_batch_t batch;
    gw_share_delta_t delta;

    static const gw_share_delta_t deltas[] = {
        { 1, 0 }, { -1, 99 }, { INT32_MAX, UINT32_MAX }, { INT32_MIN, 1 }
    };

    (void) state;

    p = gw_limit_batch_begin(buf, node, 0x1122334455667788u);

    for (i = 0; i < 4; i++) {
        p = gw_limit_batch_put(p, digest, &deltas[i]);
    }

    assert_int_equal(p - buf,
                     GW_LIMIT_BATCH_HEAD + 4 * GW_LIMIT_BATCH_DELTA);
    assert_int_equal(buf[GW_LIMIT_BATCH_HEAD], 0x08);

    gw_limit_batch_age(buf, p - buf, 1000);

    assert_int_equal(gw_limit_batch_open(&batch, buf, p - buf), GW_OK);
    assert_memory_equal(batch.node, node, GW_LIMIT_BATCH_NODE);
    assert_true(batch.number == 0x1122334455667788u);

    for (i = 0; i < 4; i++) {
        assert_int_equal(gw_limit_batch_next(&batch, found, &delta), GW_OK);
        assert_memory_equal(found, digest, sizeof(digest));
        assert_int_equal(delta.count, deltas[i].count);
        assert_int_equal(delta.age, deltas[i].age == UINT32_MAX
                                        ? UINT32_MAX
                                        : deltas[i].age + 1000);
    }

    assert_int_equal(gw_limit_batch_next(&batch, found, &delta), GW_DECLINED);
}


static void
what_is_none_is_refused(void **state)
{
    size_t len;
    gw_limit_batch_t batch;

    (void) state;

    gw_limit_batch_begin(buf, node, 1);

    for (len = 0; len < sizeof(buf); len++) {
        assert_int_equal(gw_limit_batch_open(&batch, buf, len),
                         len >= GW_LIMIT_BATCH_HEAD
                                 && len <= GW_LIMIT_BATCH_SIZE
                                 && (len - GW_LIMIT_BATCH_HEAD)
                                            % GW_LIMIT_BATCH_DELTA
                                        == 0
                             ? GW_OK
                             : GW_ERROR);
    }

    buf[0] = GW_LIMIT_BATCH_VERSION + 1;
    assert_int_equal(gw_limit_batch_open(&batch, buf, GW_LIMIT_BATCH_HEAD),
                     GW_ERROR);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_comes_out),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
