/*
 * Small writers for the JSON that the gateway itself makes.
 */

#ifndef GW_ENVELOPE_H_INCLUDED
#define GW_ENVELOPE_H_INCLUDED

#include "gw.h"

#define GW_TIMESTAMP_LEN (sizeof("2026-01-31T23:59:59.999Z") - 1)
#define GW_UINT_LEN (sizeof("18446744073709551615") - 1)

/* Writes ms since 1970 as RFC 3339 in UTC; returns the end. Up to the year
   9999; later times are written as its last millisecond. */
unsigned char *gw_timestamp(unsigned char *p, uint64_t ms);

/*
 * Reads an RFC 3339 time, with any fraction and offset: ms since 1970, or 0
 * when it is not one (or before 1970).
 */
uint64_t gw_timestamp_parse(gw_str_t s);

/* Writes a decimal number; returns the end. */
unsigned char *gw_uint(unsigned char *p, uint64_t n);

/* Copies a span; returns the end. */
unsigned char *gw_copy(unsigned char *p, gw_str_t s);

#endif /* GW_ENVELOPE_H_INCLUDED */
