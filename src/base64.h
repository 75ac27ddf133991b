/*
 * Base64 with padding (RFC 4648 section 4).
 */

#ifndef GW_BASE64_H_INCLUDED
#define GW_BASE64_H_INCLUDED

#include "gw.h"

/* Characters that n bytes take, not terminated; n up to SIZE_MAX / 2. */
#define gw_base64_encoded_size(n) (((n) + 2) / 3 * 4)

/* Encodes n bytes into out, which must not overlap; returns the end. */
unsigned char *gw_base64_encode(unsigned char *out, const unsigned char *in,
    size_t n);

#endif /* GW_BASE64_H_INCLUDED */
