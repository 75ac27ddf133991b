#include <string.h>

#include "json_text.h"


#define INT63_DIGITS 19 /* of 2^63 - 1 */


/* The four digits after \u. */
static unsigned
hex4(const unsigned char *p)
{
    return (unsigned) gw_json_hex_digit(p[0]) << 12
           | (unsigned) gw_json_hex_digit(p[1]) << 8
           | (unsigned) gw_json_hex_digit(p[2]) << 4
           | (unsigned) gw_json_hex_digit(p[3]);
}


static size_t
utf8_write(unsigned char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = c;
        return 1;
    }

    if (c < 0x800) {
        out[0] = 0xc0 | c >> 6;
        out[1] = 0x80 | (c & 0x3f);
        return 2;
    }

    if (c < 0x10000) {
        out[0] = 0xe0 | c >> 12;
        out[1] = 0x80 | (c >> 6 & 0x3f);
        out[2] = 0x80 | (c & 0x3f);
        return 3;
    }

    out[0] = 0xf0 | c >> 18;
    out[1] = 0x80 | (c >> 12 & 0x3f);
    out[2] = 0x80 | (c >> 6 & 0x3f);
    out[3] = 0x80 | (c & 0x3f);

    return 4;
}


/*
 * Decodes the digits of \u at *p, and the low surrogate that has to follow a
 * high one; returns the number of bytes in out, or 0 for a lone surrogate or
 * U+0000.
 */
static size_t
unicode_decode(const unsigned char **p, const unsigned char *end,
    unsigned char *out)
{
    unsigned c, low;

    c = hex4(*p);
    *p += 4;

    if (c >= 0xd800 && c <= 0xdbff) {

        if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') {
            return 0;
        }

        low = hex4(*p + 2);

        if (low < 0xdc00 || low > 0xdfff) {
            return 0;
        }

        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        *p += 6;

    } else if (c == 0 || (c >= 0xdc00 && c <= 0xdfff)) {
        return 0;
    }

    return utf8_write(out, c);
}


/* The same for any escape; *p is after its backslash. */
static size_t
escape_decode(const unsigned char **p, const unsigned char *end,
    unsigned char *out)
{
    unsigned char c;

    c = *(*p)++;

    switch (c) {
    case 'u':
        return unicode_decode(p, end, out);
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    case 'n':
        c = '\n';
        break;
    case 'r':
        c = '\r';
        break;
    case 't':
        c = '\t';
        break;
    }

    *out = c;

    return 1;
}


bool
gw_json_string_equal(const gw_json_t *string, gw_str_t s)
{
    size_t n, done;
    unsigned char buf[4];
    const unsigned char *p, *q, *end;

    /* Decoding never makes a string longer. */
    if (string->type != GW_JSON_STRING || string->text.len - 2 < s.len) {
        return false;
    }

    p = string->text.data + 1;
    end = p + string->text.len - 2;
    done = 0;

    while (p < end) {

        if (*p == '\\') {
            p++;
            n = escape_decode(&p, end, buf);
            q = buf;

        } else {
            q = p;
            p = gw_json_plain_skip(p, end);
            n = p - q;
        }

        if (n == 0 || n > s.len - done || memcmp(s.data + done, q, n) != 0) {
            return false;
        }

        done += n;
    }

    return done == s.len;
}


size_t
gw_json_string_decode(const gw_json_t *string, unsigned char *buf)
{
    size_t n;
    unsigned char *out;
    const unsigned char *p, *q, *end;

    if (string->type != GW_JSON_STRING) {
        return (size_t) -1;
    }

    p = string->text.data + 1;
    end = p + string->text.len - 2;
    out = buf;

    while (p < end) {

        if (*p == '\\') {
            p++;
            n = escape_decode(&p, end, out);

        } else {
            q = p;
            p = gw_json_plain_skip(p, end);
            n = p - q;
            memmove(out, q, n);
        }

        if (n == 0) {
            return (size_t) -1;
        }

        out += n;
    }

    return out - buf;
}


int
gw_json_uint(const gw_json_t *number, uint64_t *n)
{
    size_t i;
    uint64_t v;
    unsigned char c;

    if (number->type != GW_JSON_NUMBER || number->text.len > INT63_DIGITS) {
        return GW_DECLINED;
    }

    v = 0;

    for (i = 0; i < number->text.len; i++) {
        c = number->text.data[i];

        if (c < '0' || c > '9') {
            return GW_DECLINED;
        }

        v = v * 10 + (c - '0');
    }

    if (v > INT64_MAX) {
        return GW_DECLINED;
    }

    *n = v;

    return GW_OK;
}


/* The letter of a character's short escape, or 0. */
static unsigned char
short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}


size_t
gw_json_quoted_size(gw_str_t s)
{
    size_t size;
    const unsigned char *p, *end;

    size = 2 + s.len;

    if (s.len == 0) {
        return size;
    }

    end = s.data + s.len;

    for (p = s.data; (p = gw_json_plain_skip(p, end)) < end; p++) {
        size += short_escape(*p) ? 1 : sizeof("\\u0000") - 2;
    }

    return size;
}


unsigned char *
gw_json_quote(unsigned char *p, gw_str_t s)
{
    unsigned char c;
    const unsigned char *q, *start, *end;

    static const char hex[] = "0123456789abcdef";

    *p++ = '"';

    q = s.data;
    end = s.len > 0 ? q + s.len : q;

    while (q < end) {
        start = q;
        q = gw_json_plain_skip(q, end);

        memcpy(p, start, q - start);
        p += q - start;

        if (q == end) {
            break;
        }

        *p++ = '\\';
        c = short_escape(*q);

        if (c) {
            *p++ = c;

        } else {
            memcpy(p, "u00", 3);
            p[3] = hex[*q >> 4];
            p[4] = hex[*q & 0xf];
            p += 5;
        }

        q++;
    }

    *p++ = '"';

    return p;
}
