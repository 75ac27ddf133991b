#include "guard.h"

#include "../../src/ecdsa.h"


typedef struct {
    size_t size;
    const char *rs;
    const char *der;
    size_t len;
} pair_t;


/* The order is all ones here, but for the last bit. */
static int
convert(unsigned char *der, size_t *len, const void *rs, size_t size)
{
    unsigned char order[122];

    memset(order, 0xff, size);
    order[size - 1] = 0xfe;

    return gw_ecdsa_to_der(der, len, guard_copy(0, rs, 2 * size),
                           guard_copy(1, order, size), size);
}


static void
writes_the_shortest_positive_integers(void **state)
{
    static const pair_t pairs[] = {
        { 2, "\x01\x02\x03\x04", "\x30\x08\x02\x02\x01\x02\x02\x02\x03\x04",
          10 },
        { 2, "\x00\x02\x00\x7f", "\x30\x06\x02\x01\x02\x02\x01\x7f", 8 },
        { 2, "\x00\x80\x80\x00",
          "\x30\x09\x02\x02\x00\x80\x02\x03\x00\x80\x00", 11 },
        { 1, "\x01\xfd", "\x30\x07\x02\x01\x01\x02\x02\x00\xfd", 9 },
    };
    unsigned char *der;
    size_t i, len;

    (void) state;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        der = guard_room(2, gw_ecdsa_der_max(pairs[i].size));
        assert_int_equal(convert(der, &len, pairs[i].rs, pairs[i].size),
                         GW_OK);
        assert_int_equal(len, pairs[i].len);
        assert_memory_equal(der, pairs[i].der, len);
    }
}


/* P-521 needs the long form of a length. */
static void
fills_the_room_at_most(void **state)
{
    static const size_t sizes[] = { 32, 48, 66, 122 };
    unsigned char rs[244], *der;
    size_t i, len;

    (void) state;

    memset(rs, 0xf0, sizeof(rs));

    for (i = 0; i < 4; i++) {
        der = guard_room(2, gw_ecdsa_der_max(sizes[i]));
        assert_int_equal(convert(der, &len, rs, sizes[i]), GW_OK);
        assert_int_equal(len, gw_ecdsa_der_max(sizes[i])
                                  - (sizes[i] < 60 ? 1 : 0));
        assert_int_equal(der[0], 0x30);
        assert_int_equal(der[1], sizes[i] < 60 ? len - 2 : 0x81);
    }
}


static void
declines_what_is_not_within_the_order(void **state)
{
    static const char *const bad[] = {
        "\x00\x00\x01\x01", "\x01\x01\x00\x00", "\xff\xfe\x01\x01",
        "\x01\x01\xff\xfe", "\xff\xff\x01\x01", "\x01\x01\xff\xff",
    };
    unsigned char *der;
    size_t i, len;

    (void) state;

    der = guard_room(2, gw_ecdsa_der_max(2));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(convert(der, &len, bad[i], 2), GW_DECLINED);
    }

    assert_int_equal(convert(der, &len, "\xff\xfd\x00\x01", 2), GW_OK);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_shortest_positive_integers),
        cmocka_unit_test(fills_the_room_at_most),
        cmocka_unit_test(declines_what_is_not_within_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
