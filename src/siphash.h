/*
 * SipHash (Aumasson and Bernstein, 2012): short hashes under a secret key,
 * for tables whose keys come from outside. Who does not know the key can
 * neither find two that meet nor fill one bucket.
 *
 * Words are read in the byte order of the machine: the results are for this
 * machine alone, and on little-endian ones equal those of the reference.
 */

#ifndef GW_SIPHASH_H_INCLUDED
#define GW_SIPHASH_H_INCLUDED

#include "gw.h"

/* SipHash-1-3, 64 bits: for tables that compare the keys as well. */
uint64_t gw_siphash(const uint64_t key[2], const void *data, size_t len);

/*
 * SipHash-1-3, 128 bits: stands for the key itself, also where it is not
 * kept. Among 2^32 keys two have the same with a chance of 2^-65. The other
 * is SipHash-2-4, of which there are vectors: for what outlives a process, or
 * is seen from outside.
 */
void gw_siphash128(const uint64_t key[2], const void *data, size_t len,
    uint64_t digest[2]);
void gw_siphash128_2_4(const uint64_t key[2], const void *data, size_t len,
    uint64_t digest[2]);

#endif /* GW_SIPHASH_H_INCLUDED */
