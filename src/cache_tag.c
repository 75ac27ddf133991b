#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem() */
#endif

#include <string.h>

#include "cache_tag.h"


static bool
separates(unsigned char c)
{
    return c == ',' || c == ' ' || c == '\t';
}


bool
gw_cache_tag_next(gw_str_t *list, gw_str_t *tag)
{
    bool good;
    size_t i;
    unsigned char c;

    for ( ;; ) {

        while (list->len > 0 && separates(list->data[0])) {
            list->data++;
            list->len--;
        }

        if (list->len == 0) {
            return false;
        }

        good = true;

        for (i = 0; i < list->len && !separates(list->data[i]); i++) {
            c = list->data[i];
            good = good && c > 0x20 && c != 0x7f;
        }

        tag->data = list->data;
        tag->len = i;
        list->data += i;
        list->len -= i;

        if (good && i <= GW_CACHE_TAG_MAX) {
            return true;
        }
    }
}


/* The text before the first star, which is cut off with the star. False:
   there is no star, and all is left. */
static bool
cut_literal(gw_str_t *pattern, gw_str_t *literal)
{
    const unsigned char *star;

    star = pattern->len > 0 ? memchr(pattern->data, '*', pattern->len) : NULL;

    if (star == NULL) {
        return false;
    }

    literal->data = pattern->data;
    literal->len = star - pattern->data;
    pattern->data += literal->len + 1;
    pattern->len -= literal->len + 1;

    return true;
}


static bool
equal(const unsigned char *p, gw_str_t s)
{
    return s.len == 0 || memcmp(p, s.data, s.len) == 0;
}


/*
 * What is before the first star must begin the key, what is after the last
 * must end it, and what is between is looked for from left to right, each
 * as early as can be: if any way matches, this one does.
 */
bool
gw_cache_glob(gw_str_t pattern, gw_str_t key)
{
    gw_str_t literal;
    const unsigned char *found;

    if (!cut_literal(&pattern, &literal)) {
        return pattern.len == key.len && equal(key.data, pattern);
    }

    if (literal.len > key.len || !equal(key.data, literal)) {
        return false;
    }

    key.data += literal.len;
    key.len -= literal.len;

    while (cut_literal(&pattern, &literal)) {

        if (literal.len == 0) {
            continue;
        }

        found = memmem(key.data, key.len, literal.data, literal.len);

        if (found == NULL) {
            return false;
        }

        found += literal.len;
        key.len -= found - key.data;
        key.data = found;
    }

    return pattern.len <= key.len
           && equal(key.data + key.len - pattern.len, pattern);
}
