#include "guard.h"

#include "../../src/base64url.h"


typedef struct {
    const char *bytes;
    const char *text;
} pair_t;


/* RFC 4648 10, without padding, and what sets this alphabet apart. */
static const pair_t pairs[] = {
    { "", "" },
    { "f", "Zg" },
    { "fo", "Zm8" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg" },
    { "fooba", "Zm9vYmE" },
    { "foobar", "Zm9vYmFy" },
    { "\xfb\xff\xbf", "-_-_" },
};

static const char *const bad[] = {
    "Z",                          /* 4n + 1 */
    "Zm9vY",
    "Zg==",                       /* padding */
    "Zm8=",
    "Zm9v====",
    "=",
    "Zh",                         /* bits that carry nothing */
    "Zm9",
    "Zm9vYh",
    "Zm9vYmF",
    "Zm 9v",                      /* white space */
    "Zm9v\n",
    " Zm9v",
    "Zm9\tv",
    "++++",                       /* the other alphabet */
    "////",
    "Zm9.",
    "Zm\xc3\xa9",
    "\xff\xff\xff\xff",
};


static gw_str_t
text_of(const char *s)
{
    return (gw_str_t){ guard_copy(0, s, strlen(s)), strlen(s) };
}


static void
decodes_what_the_rfc_encodes(void **state)
{
    size_t i, len;
    unsigned char *out;

    (void) state;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        out = guard_room(1, gw_base64url_decoded_len(strlen(pairs[i].text)));

        assert_int_equal(gw_base64url_decode(out, &len, text_of(pairs[i].text)),
                         GW_OK);
        assert_int_equal(len, strlen(pairs[i].bytes));
        assert_memory_equal(out, pairs[i].bytes, len);
    }
}


static void
encodes_as_the_rfc_does(void **state)
{
    size_t i, n;
    unsigned char *out;

    (void) state;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        n = strlen(pairs[i].text);
        assert_int_equal(gw_base64url_encoded_len(strlen(pairs[i].bytes)), n);

        out = guard_room(1, n);
        assert_ptr_equal(gw_base64url_encode(out, text_of(pairs[i].bytes)),
                         out + n);
        assert_memory_equal(out, pairs[i].text, n);
    }
}


static void
refuses_any_other_way_to_write_it(void **state)
{
    size_t i, len;
    unsigned char *out;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        out = guard_room(1, gw_base64url_decoded_len(strlen(bad[i])));

        if (gw_base64url_decode(out, &len, text_of(bad[i])) != GW_ERROR) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}


/* Each text of two and three characters that decodes is what its bytes are
   encoded to: so no two texts are the same bytes. */
static void
has_one_text_for_each_bytes(void **state)
{
    unsigned char text[3], out[2], again[3];
    unsigned a, b, c;
    size_t len, taken;
    gw_str_t span;

    (void) state;

    taken = 0;
    span.data = text;

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            text[0] = (unsigned char) a;
            text[1] = (unsigned char) b;

            span.len = 2;

            if (gw_base64url_decode(out, &len, span) == GW_OK) {
                taken++;
                gw_base64url_encode(again, (gw_str_t){ out, len });
                assert_memory_equal(again, text, 2);
            }

            for (c = 'A'; c <= 'z'; c++) {
                text[2] = (unsigned char) c;

                span.len = 3;

                if (gw_base64url_decode(out, &len, span) == GW_OK) {
                    gw_base64url_encode(again, (gw_str_t){ out, len });
                    assert_memory_equal(again, text, 3);
                }
            }
        }
    }

    assert_int_equal(taken, 256);
}


static void
comes_back_at_all_lengths(void **state)
{
    unsigned char bytes[300];
    unsigned char *text, *out;
    size_t i, n, len;

    (void) state;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char) (i * 167 + 13);
    }

    for (n = 0; n <= sizeof(bytes); n++) {
        text = guard_room(0, gw_base64url_encoded_len(n));
        gw_base64url_encode(text, (gw_str_t){ bytes, n });
        out = guard_room(1, n);

        assert_int_equal(gw_base64url_decode(
                             out, &len,
                             (gw_str_t){ text, gw_base64url_encoded_len(n) }),
                         GW_OK);
        assert_int_equal(len, n);
        assert_memory_equal(out, bytes, n);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_the_rfc_encodes),
        cmocka_unit_test(encodes_as_the_rfc_does),
        cmocka_unit_test(refuses_any_other_way_to_write_it),
        cmocka_unit_test(has_one_text_for_each_bytes),
        cmocka_unit_test(comes_back_at_all_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
