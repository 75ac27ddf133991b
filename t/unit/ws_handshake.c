#include "guard.h"

#include "../../src/ws_handshake.h"


static gw_str_t
str(unsigned slot, const char *s)
{
    return (gw_str_t){ guard_copy(slot, s, strlen(s)), strlen(s) };
}


/* RFC 6455 1.3 */
static void
accept_of_the_rfc_key(void **unused)
{
    unsigned char *out;

    (void) unused;

    out = guard_room(1, GW_WS_ACCEPT_LEN);
    assert_int_equal(gw_ws_accept(out, str(0, "dGhlIHNhbXBsZSBub25jZQ==")),
                     GW_OK);
    assert_memory_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                        GW_WS_ACCEPT_LEN);
}


/* 4.1, 4.2.1: base64 of 16 bytes. */
static void
keys(void **unused)
{
    size_t i;

    static const char *const good[] = {
        "dGhlIHNhbXBsZSBub25jZQ==",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "+/+/+/+/+/+/+/+/+/+/+w==",
    };
    static const char *const bad[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",     /* padding missing */
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZXM=",    /* 17 bytes */
        "dGhlIHNhbXBsZSBub25j",        /* 15 bytes */
        "dGhlIHNhbXBsZSBub25jZQ== ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub2-jZQ==",    /* base64url's digits */
        "dGhlIHNhbXBsZSBub2_jZQ==",
        "dGhlIHNhbXBsZS=ub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ=A",
        "dGhlIHNhbXBsZSBub25jZXMt",    /* 18 bytes */
        " GhlIHNhbXBsZSBub25jZQ==",
    };

    (void) unused;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gw_ws_key_valid(str(0, good[i])));
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(gw_ws_key_valid(str(0, bad[i])));
    }
}


/* Walks the list: its tokens joined by '|', and '!' where it is malformed. */
static void
walks_to(const char *list, const char *what)
{
    int rc;
    char out[256];
    size_t n;
    gw_str_t left, token;

    left = str(0, list);
    n = 0;

    while ((rc = gw_ws_token_next(&left, &token)) == GW_OK) {
        assert_in_range(token.len, 1, 100);

        if (n > 0) {
            out[n++] = '|';
        }

        memcpy(out + n, token.data, token.len);
        n += token.len;
    }

    if (rc == GW_ERROR) {
        out[n++] = '!';
    }

    out[n] = '\0';
    assert_string_equal(out, what);

    assert_int_equal(left.len, 0);
    assert_int_equal(gw_ws_token_next(&left, &token), GW_DECLINED);
}


static void
lists_of_tokens(void **unused)
{
    (void) unused;

    walks_to("", "");
    walks_to("v1", "v1");
    walks_to("v1,raw", "v1|raw");
    walks_to("v1, raw", "v1|raw");
    walks_to(" \tv1 \t,\t raw ", "v1|raw");
    walks_to("jwt, eyJhbGciOiJIUzI1NiJ9.e30.a-b_c", "jwt|"
             "eyJhbGciOiJIUzI1NiJ9.e30.a-b_c");
    walks_to("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ");
}


/* RFC 7230 section 7: a recipient takes a list with empty elements. */
static void
empty_elements_are_skipped(void **unused)
{
    (void) unused;

    walks_to(",", "");
    walks_to(" , ,", "");
    walks_to(",v1,,raw,", "v1|raw");
    walks_to("v1 , , raw", "v1|raw");
}


static void
what_is_no_token_is_malformed(void **unused)
{
    (void) unused;

    walks_to("v1 raw", "!");
    walks_to("v1, a b", "v1!");
    walks_to("jwt, abc=", "jwt!");
    walks_to("jwt, =", "jwt!");
    walks_to("a/b", "!");
    walks_to("v1, \"quoted\"", "v1!");
    walks_to("v1;q=1", "!");
    walks_to("v1, {", "v1!");
    walks_to("v\xc3\xa9", "!");
    walks_to("v1\x7f", "!");
    walks_to("v1\r\nX: y", "!");
}


static void
zero_bytes_are_no_token(void **unused)
{
    gw_str_t list, token;

    (void) unused;

    list = gw_str("a\0b");
    assert_int_equal(gw_ws_token_next(&list, &token), GW_ERROR);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_of_the_rfc_key),
        cmocka_unit_test(keys),
        cmocka_unit_test(lists_of_tokens),
        cmocka_unit_test(empty_elements_are_skipped),
        cmocka_unit_test(what_is_no_token_is_malformed),
        cmocka_unit_test(zero_bytes_are_no_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
