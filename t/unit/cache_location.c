#include "fields.h"

#include "../../src/cache_validate.h"


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ (const unsigned char *) s, strlen(s) };
}


/* RFC 3986, 5.4.1 and 5.4.2, with the path and query of http://a/b/c/d;p?q,
   and what it says of origins (RFC 9111, 4.4). */
static void
references(void **unused)
{
    size_t i, len, room;
    unsigned char *out;

    static const struct {
        const char *host;
        const char *location;
        const char *target;  /* NULL: declined */
    } cases[] = {
        { "a", "g", "/b/c/g" }, { "a", "./g", "/b/c/g" },
        { "a", "g/", "/b/c/g/" }, { "a", "/g", "/g" },
        { "a", "?y", "/b/c/d;p?y" }, { "a", "g?y", "/b/c/g?y" },
        { "a", "#s", "/b/c/d;p?q" }, { "a", "g#s", "/b/c/g" },
        { "a", "g?y#s", "/b/c/g?y" }, { "a", ";x", "/b/c/;x" },
        { "a", "g;x?y#s", "/b/c/g;x?y" }, { "a", "", "/b/c/d;p?q" },
        { "a", ".", "/b/c/" }, { "a", "./", "/b/c/" }, { "a", "..", "/b/" },
        { "a", "../", "/b/" }, { "a", "../g", "/b/g" },
        { "a", "../..", "/" }, { "a", "../../g", "/g" },
        { "a", "../../../g", "/g" }, { "a", "/./g", "/g" },
        { "a", "/../g", "/g" }, { "a", "g.", "/b/c/g." },
        { "a", ".g", "/b/c/.g" }, { "a", "g..", "/b/c/g.." },
        { "a", "..g", "/b/c/..g" }, { "a", "./../g", "/b/g" },
        { "a", "./g/.", "/b/c/g/" }, { "a", "g/./h", "/b/c/g/h" },
        { "a", "g/../h", "/b/c/h" }, { "a", "g;x=1/../y", "/b/c/y" },
        { "a", "g?y/../x", "/b/c/g?y/../x" }, { "a", "/a//b", "/a//b" },

        { "a", "http://a/x?y#z", "/x?y" }, { "a", "HTTP://A/x", "/x" },
        { "a", "//a/x", "/x" }, { "a", "http://a", "/" },
        { "a", "http://a?y", "/?y" }, { "a", "http://a/../x", "/x" },
        { "a:80", "http://a/x", "/x" }, { "a", "http://a:80/x", "/x" },
        { "a", "http://a:/x", "/x" }, { "a:8080", "http://a:8080/x", "/x" },
        { "a", " /x ", "/x" },

        { "a", "http://b/x", NULL }, { "a", "//b/x", NULL },
        { "a", "http://ab/x", NULL }, { "a", "https://a/x", NULL },
        { "a", "http://a:8080/x", NULL }, { "a:8080", "http://a/x", NULL },
        { "a", "http://a@b/x", NULL }, { "a", "http://b@a/x", NULL },
        { "a", "g:h", NULL }, { "a", "http:g", NULL },
        { "a", "mailto:x", NULL }, { "a", "/a b", NULL },
        { "a", "/a\r\nb", NULL }, { "a", "///x", NULL },
    };

    (void) unused;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int rc;

        room = strlen("/b/c/d;p?q") + strlen(cases[i].location) + 1;
        out = guard_room(0, room);
        rc = gw_cache_location(out, room, &len, str("http"),
                               str(cases[i].host), str("/b/c/d;p?q"),
                               text_of(cases[i].location));

        if (rc != (cases[i].target != NULL ? GW_OK : GW_DECLINED)) {
            fail_msg("%s: %d", cases[i].location, rc);
        }

        if (rc == GW_OK) {
            assert_text((gw_str_t){ out, len }, cases[i].target);
        }
    }

    out = guard_room(0, 10);
    assert_int_equal(gw_cache_location(out, 10, &len, str("http"), str("a"),
                                       str("/b"), str("/cdefghijk")),
                     GW_ERROR);
    assert_int_equal(gw_cache_location(out, 10, &len, str("http"), str("a"),
                                       str("*"), str("/c")), GW_DECLINED);
    assert_int_equal(gw_cache_location(out, 10, &len, str("https"),
                                       str("a:443"), str("/"), str("//a")),
                     GW_OK);
    assert_text((gw_str_t){ out, len }, "/");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
