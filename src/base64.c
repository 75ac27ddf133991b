#include "base64.h"


static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";


unsigned char *
gw_base64_encode(unsigned char *out, const unsigned char *in, size_t n)
{
    uint32_t v;

    while (n >= 3) {
        v = (uint32_t) in[0] << 16 | (uint32_t) in[1] << 8 | in[2];

        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = digits[v >> 6 & 63];
        *out++ = digits[v & 63];

        in += 3;
        n -= 3;
    }

    if (n > 0) {
        v = (uint32_t) in[0] << 16 | (n == 2 ? (uint32_t) in[1] << 8 : 0);

        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = n == 2 ? digits[v >> 6 & 63] : '=';
        *out++ = '=';
    }

    return out;
}
