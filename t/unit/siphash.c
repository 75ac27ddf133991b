/*
 * Tests of src/siphash.c: the reference's vectors (key 00 01 .. 0f, data 00
 * 01 ..), for a little-endian machine.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "siphash.h"


static uint64_t key[2];
static unsigned char data[64];


static void
digest_of(size_t len, unsigned char out[16])
{
    uint64_t digest[2];

    gw_siphash128_2_4(key, data, len, digest);
    memcpy(out, digest, 16);
}


static void
test_reference_128(void **state)
{
    unsigned char out[16];

    static const unsigned char none[16] = {
        0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
        0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93
    };
    static const unsigned char one[16] = {
        0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44,
        0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45
    };
    static const unsigned char two[16] = {
        0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7,
        0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff, 0xe4
    };

    (void) state;

    digest_of(0, out);
    assert_memory_equal(out, none, 16);
    digest_of(1, out);
    assert_memory_equal(out, one, 16);
    digest_of(2, out);
    assert_memory_equal(out, two, 16);
}


/* Each byte and the length matter, at every length around a word's end. */

static void
test_everything_counts(void **state)
{
    size_t len, i;
    uint64_t before, short_one[2], short_other[2];
    unsigned char out[16], other[16];

    (void) state;

    for (len = 0; len < 40; len++) {
        before = gw_siphash(key, data, len);
        digest_of(len, out);

        assert_true(before != gw_siphash(key, data, len + 1));
        digest_of(len + 1, other);
        assert_memory_not_equal(out, other, 16);

        gw_siphash128(key, data, len, short_one);
        gw_siphash128(key, data, len + 1, short_other);
        assert_memory_not_equal(short_one, short_other, 16);

        for (i = 0; i < len; i++) {
            data[i] ^= 0x80;
            assert_true(before != gw_siphash(key, data, len));
            digest_of(len, other);
            assert_memory_not_equal(out, other, 16);
            gw_siphash128(key, data, len, short_other);
            assert_true(short_one[0] != short_other[0]);
            assert_true(short_one[1] != short_other[1]);
            data[i] ^= 0x80;
        }
    }
}


static void
test_key_counts(void **state)
{
    uint64_t before;

    (void) state;

    before = gw_siphash(key, data, 20);
    key[1] ^= 1;
    assert_true(before != gw_siphash(key, data, 20));
    key[1] ^= 1;
    assert_true(before == gw_siphash(key, data, 20));
}


int
main(void)
{
    size_t i;
    unsigned char bytes[16];

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) i;
    }

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char) i;
    }

    memcpy(key, bytes, sizeof(key));

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_128),
        cmocka_unit_test(test_everything_counts),
        cmocka_unit_test(test_key_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
