#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "bytes.h"
#include "ws_frame.h"


#define LENGTH_16 126 /* the length follows in 2 bytes */
#define LENGTH_64 127 /* ... in 8 */


size_t
gw_ws_frame_header_size(uint64_t len)
{
    return len < LENGTH_16 ? 2 : len <= UINT16_MAX ? 4 : 10;
}


size_t
gw_ws_frame_header(unsigned char *p, uint8_t opcode, uint64_t len)
{
    size_t size;

    size = gw_ws_frame_header_size(len);

    p[0] = GW_WS_FIN | opcode;
    p[1] = size == 2 ? len : size == 4 ? LENGTH_16 : LENGTH_64;

    (void) gw_put_be(p + 2, len, size - 2);

    return size;
}


size_t
gw_ws_length_size(const unsigned char *h)
{
    switch (h[1] & GW_WS_LENGTH) {
    case LENGTH_16:
        return 2;
    case LENGTH_64:
        return 8;
    default:
        return 0;
    }
}


size_t
gw_ws_header_size(const unsigned char *h, size_t n)
{
    if (n < 2) {
        return 2;
    }

    return 2 + gw_ws_length_size(h) + (h[1] & GW_WS_MASKED ? 4 : 0);
}


uint64_t
gw_ws_payload_length(const unsigned char *h)
{
    size_t n;

    n = gw_ws_length_size(h);

    if (n == 0) {
        return h[1] & GW_WS_LENGTH;
    }

    return gw_get_be(h + 2, n);
}


uint64_t
gw_ws_frame_size(const unsigned char *p, size_t n)
{
    size_t size;

    size = gw_ws_header_size(p, n);

    return n < size ? 0 : size + gw_ws_payload_length(p);
}


bool
gw_ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


#if defined(__SSE2__)

/* XORs what is whole vectors of n bytes; returns how much that was. */
static size_t
unmask_vectors(unsigned char *p, size_t n, uint64_t mask)
{
    size_t i;
    __m128i m, v;

    m = _mm_set1_epi64x((long long) mask);

    for (i = 0; n - i >= 16; i += 16) {
        v = _mm_loadu_si128((const __m128i *) (p + i));
        _mm_storeu_si128((__m128i *) (p + i), _mm_xor_si128(v, m));
    }

    return i;
}

#endif


void
gw_ws_unmask(unsigned char *p, size_t n, const uint8_t mask[4], unsigned pos)
{
    size_t i;
    uint8_t m[8];
    uint64_t m64, w;

    for (i = 0; i < 8; i++) {
        m[i] = mask[(pos + i) & 3];
    }

    memcpy(&m64, m, 8);

#if defined(__SSE2__)
    i = unmask_vectors(p, n, m64);
#else
    i = 0;
#endif

    for ( /* void */ ; n - i >= 8; i += 8) {
        memcpy(&w, p + i, 8);
        w ^= m64;
        memcpy(p + i, &w, 8);
    }

    for ( /* void */ ; i < n; i++) {
        p[i] ^= m[i & 3];
    }
}
