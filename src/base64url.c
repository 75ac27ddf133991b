#include "base64url.h"


#define BAD 0x80 /* a bit that no value has */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789-_";

/* clang-format off */
static const uint8_t values[256] = {
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD,  62, BAD, BAD,
     52,  53,  54,  55,  56,  57,  58,  59,
     60,  61, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD,   0,   1,   2,   3,   4,   5,   6,
      7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,
     23,  24,  25, BAD, BAD, BAD, BAD,  63,
    BAD,  26,  27,  28,  29,  30,  31,  32,
     33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,
     49,  50,  51, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
};
/* clang-format on */


/* The last two or three characters: one or two bytes, whose unused bits are
   zero. */
static int
decode_tail(unsigned char *out, const unsigned char *p, size_t n)
{
    uint32_t v;

    if (n == 1) {
        return GW_ERROR;
    }

    v = (uint32_t) values[p[0]] << 18 | (uint32_t) values[p[1]] << 12;
    if ((values[p[0]] | values[p[1]]) & BAD) {
        return GW_ERROR;
    }

    out[0] = (unsigned char) (v >> 16);

    if (n == 2) {
        return (v & 0xffff) ? GW_ERROR : GW_OK;
    }

    if (values[p[2]] & BAD) {
        return GW_ERROR;
    }

    v |= (uint32_t) values[p[2]] << 6;
    out[1] = (unsigned char) (v >> 8);

    return (v & 0xff) ? GW_ERROR : GW_OK;
}


int
gw_base64url_decode(unsigned char *out, size_t *len, gw_str_t text)
{
    const unsigned char *p, *end;
    uint32_t v;
    uint8_t bad;

    *len = gw_base64url_decoded_len(text.len);
    p = text.data;
    bad = 0;

    if (text.len == 0) {
        return GW_OK;
    }

    for (end = p + text.len / 4 * 4; p != end; p += 4, out += 3) {
        bad |= values[p[0]] | values[p[1]] | values[p[2]] | values[p[3]];
        v = (uint32_t) values[p[0]] << 18 | (uint32_t) values[p[1]] << 12
            | (uint32_t) values[p[2]] << 6 | (uint32_t) values[p[3]];

        out[0] = (unsigned char) (v >> 16);
        out[1] = (unsigned char) (v >> 8);
        out[2] = (unsigned char) v;
    }

    if (bad & BAD) {
        return GW_ERROR;
    }

    return (text.len % 4) ? decode_tail(out, p, text.len % 4) : GW_OK;
}


unsigned char *
gw_base64url_encode(unsigned char *out, gw_str_t bytes)
{
    const unsigned char *p;
    size_t n;

    p = bytes.data;

    for (n = bytes.len; n >= 3; n -= 3, p += 3) {
        *out++ = (unsigned char) alphabet[p[0] >> 2];
        *out++ = (unsigned char) alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = (unsigned char) alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *out++ = (unsigned char) alphabet[p[2] & 63];
    }

    if (n == 0) {
        return out;
    }

    *out++ = (unsigned char) alphabet[p[0] >> 2];

    if (n == 1) {
        *out++ = (unsigned char) alphabet[(p[0] & 3) << 4];
        return out;
    }

    *out++ = (unsigned char) alphabet[(p[0] & 3) << 4 | p[1] >> 4];
    *out++ = (unsigned char) alphabet[(p[1] & 15) << 2];

    return out;
}
