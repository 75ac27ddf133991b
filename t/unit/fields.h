/*
 * Lists of header fields written as text, each with its bytes right before a
 * page that must not be touched.
 */

#ifndef FIELDS_H_INCLUDED
#define FIELDS_H_INCLUDED

#include "guard.h"

#include "../../src/http_field.h"

#define FIELDS_MAX 64

/*
 * "Name: value\nName: value"; each call with one slot (0 to 2) reuses the
 * memory of the one before. Slot 3 of guard.h is left to the test.
 */
static inline gw_fields_t
fields(unsigned slot, const char *text)
{
    static gw_field_t lines[3][FIELDS_MAX];
    size_t n, len;
    const unsigned char *p, *end, *eol, *colon;

    assert_in_range(slot, 0, 2);

    len = strlen(text);
    p = guard_copy(slot, text, len);
    end = p + len;

    for (n = 0; p < end; n++) {
        assert_true(n < FIELDS_MAX);

        eol = memchr(p, '\n', (size_t) (end - p));
        eol = eol != NULL ? eol : end;
        colon = memchr(p, ':', (size_t) (eol - p));
        assert_non_null(colon);

        lines[slot][n].name = (gw_str_t){ p, (size_t) (colon - p) };
        colon++;
        colon += colon < eol && *colon == ' ';
        lines[slot][n].value = (gw_str_t){ colon, (size_t) (eol - colon) };

        p = eol < end ? eol + 1 : end;
    }

    return (gw_fields_t){ lines[slot], n };
}


static inline gw_str_t
text_of(const char *s)
{
    return (gw_str_t){ guard_copy(3, s, strlen(s)), strlen(s) };
}


static inline void
assert_text(gw_str_t s, const char *expected)
{
    if (s.len != strlen(expected)
        || (s.len > 0 && memcmp(s.data, expected, s.len) != 0))
    {
        fail_msg("\"%.*s\" is not \"%s\"", (int) s.len,
                 s.data != NULL ? (const char *) s.data : "", expected);
    }
}

#endif /* FIELDS_H_INCLUDED */
