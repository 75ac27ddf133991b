/*
 * Unsigned integers as bytes of a fixed width, 1 to 8, wherever they stand in
 * memory: _be the most significant byte first, _le the least. What does not
 * fit loses its upper bits; a signed number travels as its two's complement.
 */

#ifndef GW_BYTES_H_INCLUDED
#define GW_BYTES_H_INCLUDED

#include "gw.h"


/* Returns the end. */
static inline unsigned char *
gw_put_be(unsigned char *p, uint64_t n, size_t bytes)
{
    size_t i;

    for (i = bytes; i > 0; i--) {
        p[i - 1] = (unsigned char) n;
        n >>= 8;
    }

    return p + bytes;
}


static inline uint64_t
gw_get_be(const unsigned char *p, size_t bytes)
{
    uint64_t n;

    for (n = 0; bytes > 0; bytes--) {
        n = n << 8 | *p++;
    }

    return n;
}


/* Returns the end. */
static inline unsigned char *
gw_put_le(unsigned char *p, uint64_t n, size_t bytes)
{
    for ( /* void */ ; bytes > 0; bytes--) {
        *p++ = (unsigned char) n;
        n >>= 8;
    }

    return p;
}


static inline uint64_t
gw_get_le(const unsigned char *p, size_t bytes)
{
    uint64_t n;

    for (n = 0; bytes > 0; bytes--) {
        n = n << 8 | p[bytes - 1];
    }

    return n;
}

#endif /* GW_BYTES_H_INCLUDED */
