#include "guard.h"

#include "../../src/base64.h"


static void
encodes_to(const char *in, size_t n, const char *out)
{
    size_t size;
    unsigned char *p;

    size = gw_base64_encoded_size(n);
    assert_int_equal(size, strlen(out));

    p = guard_room(1, size);
    assert_ptr_equal(gw_base64_encode(p, guard_copy(0, in, n), n), p + size);
    assert_memory_equal(p, out, size);
}


/* RFC 4648 section 10 */
static void
rfc_4648_vectors(void **unused)
{
    (void) unused;

    encodes_to("", 0, "");
    encodes_to("f", 1, "Zg==");
    encodes_to("fo", 2, "Zm8=");
    encodes_to("foo", 3, "Zm9v");
    encodes_to("foob", 4, "Zm9vYg==");
    encodes_to("fooba", 5, "Zm9vYmE=");
    encodes_to("foobar", 6, "Zm9vYmFy");
}


static void
all_digits_are_in_their_place(void **unused)
{
    (void) unused;

    encodes_to("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f"
               "\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f"
               "\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf"
               "\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf", 48,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
               "0123456789+/");
    encodes_to("\xff", 1, "/w==");
    encodes_to("\xff\xff", 2, "//8=");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_4648_vectors),
        cmocka_unit_test(all_digits_are_in_their_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
