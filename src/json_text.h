/*
 * What the files of the JSON scanner share; nobody else includes it.
 *
 *   json_scan.c    validates: gw_json_parse()
 *   json_walk.c    finds: gw_json_next(), gw_json_member()
 *   json_string.c  decodes and writes: the rest of json_scan.h
 */

#ifndef GW_JSON_TEXT_H_INCLUDED
#define GW_JSON_TEXT_H_INCLUDED

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "json_scan.h"


static inline const unsigned char *
gw_json_space_skip(const unsigned char *p, const unsigned char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }

    return p;
}


/* To the first quote, backslash or control character. */
static inline const unsigned char *
gw_json_plain_skip(const unsigned char *p, const unsigned char *end)
{
#if defined(__SSE2__)
    int found;
    __m128i v, stop;

    while (end - p >= 16) {
        v = _mm_loadu_si128((const __m128i *) p);

        stop = _mm_cmpeq_epi8(v, _mm_min_epu8(v, _mm_set1_epi8(0x1f)));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));

        found = _mm_movemask_epi8(stop);

        if (found) {
            return p + __builtin_ctz((unsigned) found);
        }

        p += 16;
    }
#endif

    while (p < end && *p >= 0x20 && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/* The value of a hexadecimal digit, or -1. */
static inline int
gw_json_hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static inline gw_json_type_e
gw_json_value_type(unsigned char first)
{
    switch (first) {
    case '"':
        return GW_JSON_STRING;
    case '{':
        return GW_JSON_OBJECT;
    case '[':
        return GW_JSON_ARRAY;
    case 'n':
        return GW_JSON_NULL;
    case 't':
        return GW_JSON_TRUE;
    case 'f':
        return GW_JSON_FALSE;
    default:
        return GW_JSON_NUMBER;
    }
}


static inline void
gw_json_value_set(gw_json_t *v, const unsigned char *start,
    const unsigned char *end)
{
    v->type = gw_json_value_type(*start);
    v->text.data = start;
    v->text.len = end - start;
}

#endif /* GW_JSON_TEXT_H_INCLUDED */
