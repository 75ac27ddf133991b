/*
 * SipHash.
 */

#include "siphash.h"

#include <string.h>


static inline uint64_t
rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}


static inline void
round_of(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);

    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}


static inline void
rounds(uint64_t v[4], unsigned n)
{
    while (n--) {
        round_of(v);
    }
}


static inline void
start(uint64_t v[4], const uint64_t key[2])
{
    v[0] = key[0] ^ 0x736f6d6570736575u;
    v[1] = key[1] ^ 0x646f72616e646f6du;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;
}


static inline void
absorb(uint64_t v[4], unsigned c, const unsigned char *p, size_t len)
{
    size_t n;
    uint64_t m;

    for (n = len; n >= 8; n -= 8, p += 8) {
        memcpy(&m, p, 8);

        v[3] ^= m;
        rounds(v, c);
        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

    while (n) {
        n--;
        m |= (uint64_t) p[n] << (8 * n);
    }

    v[3] ^= m;
    rounds(v, c);
    v[0] ^= m;
}


static inline uint64_t
word(const uint64_t v[4])
{
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


uint64_t
gw_siphash(const uint64_t key[2], const void *data, size_t len)
{
    uint64_t v[4];

    start(v, key);
    absorb(v, 1, data, len);

    v[2] ^= 0xff;
    rounds(v, 3);

    return word(v);
}


static inline void
digest128(const uint64_t key[2], unsigned c, unsigned d, const void *data,
    size_t len, uint64_t digest[2])
{
    uint64_t v[4];

    start(v, key);
    v[1] ^= 0xee;

    absorb(v, c, data, len);

    v[2] ^= 0xee;
    rounds(v, d);
    digest[0] = word(v);

    v[1] ^= 0xdd;
    rounds(v, d);
    digest[1] = word(v);
}


void
gw_siphash128(const uint64_t key[2], const void *data, size_t len,
    uint64_t digest[2])
{
    digest128(key, 1, 3, data, len, digest);
}


void
gw_siphash128_2_4(const uint64_t key[2], const void *data, size_t len,
    uint64_t digest[2])
{
    digest128(key, 2, 4, data, len, digest);
}
