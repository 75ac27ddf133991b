/*
 * Patterns and names, compared with a matcher that follows the definition by
 * recursion.
 *
 * Input: pattern, a zero byte, the literal end of the pattern (none: no zero
 * byte or nothing after it), a zero byte, the name.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/pattern.h"
#include "../../src/utf8.h"


static unsigned steps;


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static bool
separator(const unsigned char *p, const unsigned char *end)
{
    return p == end || *p == ':' || *p == '.' || *p == '/';
}


/* p from the text of a pattern, whose stars end at `stars`. */
static bool
reference(gw_str_t text, const unsigned char *p, const unsigned char *stars,
    const unsigned char *n, const unsigned char *nend)
{
    bool alone;
    const unsigned char *end, *after;

    end = text.data + text.len;

    if (steps == 0) {
        return false;
    }

    steps--;

    if (p == end) {
        return n == nend;
    }

    if (p >= stars || *p != '*') {
        return n < nend && *n == *p
               && reference(text, p + 1, stars, n + 1, nend);
    }

    for (after = p; after < stars && *after == '*'; after++) { /* void */ }

    if (after - p > 1) {
        while (n < nend) {
            if (reference(text, after, stars, ++n, nend)) {
                return true;
            }
        }

        return false;
    }

    alone = (p == text.data || separator(p - 1, end)) && separator(after, end);

    if (!alone && reference(text, after, stars, n, nend)) {
        return true;
    }

    while (n < nend && !separator(n, nend)) {
        if (reference(text, after, stars, ++n, nend)) {
            return true;
        }
    }

    return false;
}


static gw_str_t
part(const uint8_t **data, size_t *size)
{
    gw_str_t s;
    const uint8_t *zero;

    zero = *size > 0 ? memchr(*data, 0, *size) : NULL;

    s.data = *data;
    s.len = zero != NULL ? (size_t) (zero - *data) : *size;
    *data += s.len + (zero != NULL);
    *size -= s.len + (zero != NULL);

    return s;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool match, refused;
    size_t n, literal_len;
    gw_str_t pattern, literal, name, text, compiled;
    unsigned char *p, *t;

    pattern = part(&data, &size);
    literal = part(&data, &size);
    name.data = data;
    name.len = size;

    gw_channel_name_valid(name);

    p = malloc(pattern.len + literal.len + 1);
    t = malloc(pattern.len + literal.len + 1);
    check(p != NULL && t != NULL);

    n = gw_pattern_compile(p, pattern);
    check(n <= pattern.len);

    literal_len = 0;
    refused = literal.len > 0
              && gw_pattern_literal(p + n, &literal_len, literal) != GW_OK;

    compiled.data = p;
    compiled.len = n + literal_len;
    match = gw_pattern_match(compiled, name);

    if (!refused && gw_utf8_valid(pattern.data, pattern.len)
        && gw_utf8_valid(literal.data, literal.len) && name.len <= 255)
    {
        memcpy(t, pattern.data, pattern.len);
        memcpy(t + pattern.len, literal.data, literal.len);
        text.data = t;
        text.len = pattern.len + literal.len;
        steps = 20000;

        n = text.len > 0
            && reference(text, t, t + pattern.len, name.data,
                         name.data + name.len);

        check(steps == 0 || match == (n != 0));
    }

    free(p);
    free(t);

    return 0;
}
