#include <string.h>

#include "ecdsa.h"

#define DER_INTEGER 0x02
#define DER_SEQUENCE 0x30
#define DER_LONG_LENGTH_1 0x81 /* one byte of length follows */


static bool
in_range(const unsigned char *v, const unsigned char *order, size_t size)
{
    size_t i;
    unsigned char any;

    any = 0;
    for (i = 0; i < size; i++) {
        any |= v[i];
    }

    return any != 0 && memcmp(v, order, size) < 0;
}


/* A positive integer in the fewest bytes, the first of them below 0x80. */
static unsigned char *
put_integer(unsigned char *p, const unsigned char *v, size_t size)
{
    size_t pad;

    while (size > 1 && *v == 0) {
        v++;
        size--;
    }

    pad = *v >> 7;

    *p++ = DER_INTEGER;
    *p++ = (unsigned char) (size + pad);

    if (pad) {
        *p++ = 0;
    }

    memcpy(p, v, size);

    return p + size;
}


int
gw_ecdsa_to_der(unsigned char *der, size_t *len, const unsigned char *rs,
    const unsigned char *order, size_t size)
{
    unsigned char body[gw_ecdsa_der_max(122)];
    unsigned char *p;
    size_t n;

    if (!in_range(rs, order, size) || !in_range(rs + size, order, size)) {
        return GW_DECLINED;
    }

    p = put_integer(body, rs, size);
    p = put_integer(p, rs + size, size);
    n = (size_t) (p - body);

    p = der;
    *p++ = DER_SEQUENCE;

    if (n >= 0x80) {
        *p++ = DER_LONG_LENGTH_1;
    }

    *p++ = (unsigned char) n;
    memcpy(p, body, n);

    *len = (size_t) (p - der) + n;

    return GW_OK;
}
