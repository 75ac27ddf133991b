/*
 * ECDSA signatures of JWS, r and s as two big-endian numbers of the size of a
 * coordinate (RFC 7518 3.4), as DER, which OpenSSL reads (RFC 3279 2.2.3).
 */

#ifndef GW_ECDSA_H_INCLUDED
#define GW_ECDSA_H_INCLUDED

#include "gw.h"

/* Room for a signature by a key with coordinates of `size` bytes: two
   integers with tag, length and a leading zero, one sequence. */
#define gw_ecdsa_der_max(size) (2 * ((size) + 3) + 3)

/*
 * Converts the 2 * size bytes at rs, size at most 122. order is the curve's
 * order n in size bytes. GW_OK and *len bytes at der, or GW_DECLINED: r or s
 * is not within 1 ... n - 1.
 */
int gw_ecdsa_to_der(unsigned char *der, size_t *len, const unsigned char *rs,
    const unsigned char *order, size_t size);

#endif /* GW_ECDSA_H_INCLUDED */
