#include <string.h>

#include "pattern.h"
#include "utf8.h"


#define NEVER_UTF8 0xf8 /* this byte and all above never occur in UTF-8 */

/* For each position of a name whether what is before it is matched. */
typedef struct {
    bool at[GW_CHANNEL_NAME_MAX + 1];
    size_t low; /* no position below is matched */
} reach_t;


static bool
is_separator(unsigned char c)
{
    return c == ':' || c == '.' || c == '/';
}


size_t
gw_pattern_compile(unsigned char *out, gw_str_t text)
{
    size_t i, n, stars;
    unsigned char c;

    n = 0;

    for (i = 0; i < text.len; i += stars > 0 ? stars : 1) {

        stars = 0;

        while (i + stars < text.len && text.data[i + stars] == '*') {
            stars++;
        }

        c = text.data[i] < NEVER_UTF8 ? text.data[i] : NEVER_UTF8;

        out[n++] = stars == 0 ? c
                   : stars == 1 ? GW_PATTERN_STAR : GW_PATTERN_GLOBSTAR;
    }

    return n;
}


int
gw_pattern_literal(unsigned char *out, size_t *len, gw_str_t value)
{
    size_t i;

    if (value.len == 0) {
        return GW_DECLINED;
    }

    for (i = 0; i < value.len; i++) {
        if (is_separator(value.data[i]) || value.data[i] >= NEVER_UTF8) {
            return GW_DECLINED;
        }
    }

    memcpy(out, value.data, value.len);
    *len = value.len;

    return GW_OK;
}


static void
reach_literal(reach_t *r, gw_str_t name, unsigned char c)
{
    size_t i;

    for (i = name.len; i > r->low; i--) {
        r->at[i] = r->at[i - 1] && name.data[i - 1] == c;
    }

    r->at[r->low++] = false;
}


/* Bytes of one segment, `least` of them (0 or 1) or more. */
static void
reach_star(reach_t *r, gw_str_t name, size_t least)
{
    size_t i;
    bool before, here;

    before = false;

    for (i = r->low; i <= name.len; i++) {
        here = before && !is_separator(name.data[i - 1]);
        before = here || r->at[i];
        r->at[i] = least == 0 ? before : here;
    }

    r->low += least;
}


/* One byte or more. */
static void
reach_globstar(reach_t *r, gw_str_t name)
{
    size_t i;
    bool before, here;

    before = false;

    for (i = r->low; i <= name.len; i++) {
        here = r->at[i];
        r->at[i] = before;
        before = before || here;
    }

    r->low++;
}


/* Whether the star at i is all of its segment. */
static bool
star_is_alone(gw_str_t pattern, size_t i)
{
    return (i == 0 || is_separator(pattern.data[i - 1]))
           && (i + 1 == pattern.len || is_separator(pattern.data[i + 1]));
}


/* The rest of a match, from the first star on. */
static bool
match_stars(gw_str_t pattern, gw_str_t name, size_t i)
{
    reach_t r;
    unsigned char c;

    memset(r.at, 0, name.len + 1);
    r.at[i] = true;
    r.low = i;

    for ( /* void */ ; i < pattern.len; i++) {

        c = pattern.data[i];

        if (c == GW_PATTERN_GLOBSTAR) {
            reach_globstar(&r, name);

        } else if (c == GW_PATTERN_STAR) {
            reach_star(&r, name, star_is_alone(pattern, i));

        } else {
            reach_literal(&r, name, c);
        }

        while (r.low <= name.len && !r.at[r.low]) {
            r.low++;
        }

        if (r.low > name.len) {
            return false;
        }
    }

    return r.at[name.len];
}


bool
gw_pattern_match(gw_str_t pattern, gw_str_t name)
{
    size_t i;

    if (name.len > GW_CHANNEL_NAME_MAX) {
        return false;
    }

    for (i = 0; i < pattern.len; i++) {

        if (pattern.data[i] >= GW_PATTERN_STAR) {
            return match_stars(pattern, name, i);
        }

        if (i == name.len || pattern.data[i] != name.data[i]) {
            return false;
        }
    }

    return i > 0 && i == name.len;
}


bool
gw_channel_name_valid(gw_str_t name)
{
    size_t i;
    unsigned char c;

    if (name.len == 0 || name.len > GW_CHANNEL_NAME_MAX
        || !gw_utf8_valid(name.data, name.len))
    {
        return false;
    }

    for (i = 0; i < name.len; i++) {
        c = name.data[i];

        if (c < 0x20 || c == 0x7f) {
            return false;
        }

        /* U+0080 to U+009F are c2 80 to c2 9f. */
        if (c == 0xc2 && name.data[i + 1] < 0xa0) {
            return false;
        }
    }

    return true;
}
