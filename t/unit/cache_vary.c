#include "fields.h"

#include <stdio.h>

#include "../../src/cache_vary.h"


static unsigned char buf[512];


/* RFC 9111, 4.1 */
static void
specs(void **unused)
{
    int rc;
    size_t i, len;

    static const struct { const char *response; const char *spec; } cases[] =
    {
        { "x: y", "" },
        { "Vary:", "" },
        { "Vary: Foo", "foo" },
        { "Vary: Foo, bar,BAZ", "bar,baz,foo" },
        { "Vary: b\nvary: a\nVary: , B,", "a,b" },
        { "Vary: ab, a, abc", "a,ab,abc" },
        { "Vary: *", NULL },
        { "Vary: *, *", NULL },
        { "Vary: *\nVary: *", NULL },
        { "Vary: , *", NULL },
        { "Vary:\nVary: *", NULL },
        { "Vary: *, Foo", NULL },
        { "Vary: Foo, *", NULL },
        { "Vary: a b", NULL },
        { "Vary: \"a\"", NULL },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rc = gw_vary_spec(buf, sizeof(buf), &len,
                          fields(0, cases[i].response));

        assert_int_equal(rc, cases[i].spec != NULL ? GW_OK : GW_DECLINED);

        if (rc == GW_OK) {
            assert_text((gw_str_t){ buf, len }, cases[i].spec);
        }
    }

    assert_int_equal(gw_vary_spec(guard_room(3, 6), 6, &len,
                                  fields(0, "Vary: foo, bar")), GW_ERROR);
    assert_int_equal(gw_vary_spec(guard_room(3, 7), 7, &len,
                                  fields(0, "Vary: foo, bar")), GW_OK);
}


static void
too_many_names(void **unused)
{
    char text[256] = "Vary: ";
    size_t i, len;

    (void) unused;

    for (i = 0; i < 32; i++) {
        sprintf(text + strlen(text), "a%d,", (int) i);
    }

    assert_int_equal(gw_vary_spec(buf, sizeof(buf), &len, fields(0, text)),
                     GW_OK);
    strcat(text, "a0");
    assert_int_equal(gw_vary_spec(buf, sizeof(buf), &len, fields(0, text)),
                     GW_OK);
    strcat(text, ",b");
    assert_int_equal(gw_vary_spec(buf, sizeof(buf), &len, fields(0, text)),
                     GW_ERROR);
}


static void
texts(void **unused)
{
    int rc;
    size_t i, len;

    static const struct {
        const char *spec;
        const char *request;
        const char *text;
    } cases[] = {
        { "", "Foo: 1", "" },
        { "foo", "Foo: 1", "foo:1\n" },
        { "foo", "x: y", "foo\n" },
        { "foo", "Foo:", "foo:\n" },
        { "bar,foo", "Foo: 1\nBar: abc\nx: y", "bar:abc\nfoo:1\n" },
        { "foo", "Foo: 1, 2", "foo:1,2\n" },
        { "foo", "Foo: 1\nfoo: 2", "foo:1,2\n" },
        { "foo", "Foo:   1,2 ", "foo:1,2\n" },
        { "foo", "Foo: 2, 1", "foo:2,1\n" },
        { "foo", "Foo: \"a, b\",A b", "foo:\"a, b\",A b\n" },

        { "accept-language", "Accept-Language: en, de",
          "accept-language:de,en\n" },
        { "accept-language", "Accept-Language:  eN ,   De",
          "accept-language:de,en\n" },
        { "accept-language", "Accept-Language: fr;q=0.5, de;Q=1.0",
          "accept-language:de,fr;0.500\n" },
        { "accept-language", "Accept-Language: fr;q=0, de ; q=0.25",
          "accept-language:de;0.250,fr;0.000\n" },

        { "accept-encoding", "Accept-Encoding: gzip, deflate, br",
          "accept-encoding:br,deflate,gzip\n" },
        { "accept-encoding", "Accept-Encoding: BR,x-gzip;q=1.000, gzip",
          "accept-encoding:br,gzip\n" },
        { "accept-encoding", "Accept-Encoding: gzip, br;q=0",
          "accept-encoding:gzip\n" },
        { "accept-encoding", "Accept-Encoding: br;q=0",
          "accept-encoding:\n" },
        { "accept-encoding", "Accept-Encoding: *, br;q=0",
          "accept-encoding:*,br;0.000\n" },
        { "accept-encoding", "Accept-Encoding: identity;q=0, gzip",
          "accept-encoding:gzip,identity;0.000\n" },

        /* what is not of that form counts as it stands */
        { "accept-encoding", "Accept-Encoding: gzip;x=1, br",
          "accept-encoding:gzip;x=1,br\n" },
        { "accept-encoding", "Accept-Encoding: gzip;q=2, br",
          "accept-encoding:gzip;q=2,br\n" },
        { "accept-encoding", "Accept-Encoding: gzip;q=1.001",
          "accept-encoding:gzip;q=1.001\n" },
        { "accept-encoding", "Accept-Encoding: gzip;q=0.5, gzip",
          "accept-encoding:gzip;q=0.5,gzip\n" },
        { "accept-encoding", "Accept-Encoding: gzip;q=0.0001",
          "accept-encoding:gzip;q=0.0001\n" },

        { "foo", "Foo: a\001b", NULL },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rc = gw_vary_text(buf, sizeof(buf), &len, text_of(cases[i].spec),
                          fields(0, cases[i].request));

        assert_int_equal(rc, cases[i].text != NULL ? GW_OK : GW_ERROR);

        if (rc == GW_OK) {
            assert_text((gw_str_t){ buf, len }, cases[i].text);
        }
    }

    for (i = 0; i <= 6; i++) {
        assert_int_equal(gw_vary_text(guard_room(3, i), i, &len,
                                      gw_str("foo"), fields(0, "Foo: 1")),
                         i < 6 ? GW_ERROR : GW_OK);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs),
        cmocka_unit_test(too_many_names),
        cmocka_unit_test(texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
