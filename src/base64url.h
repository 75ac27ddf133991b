/*
 * Base64url without padding (RFC 4648 5, RFC 7515 2), strictly.
 *
 * Each byte string has exactly one text that is accepted here: no padding, no
 * white space, no '+' or '/', no length of 4n + 1, and the bits of the last
 * character that carry nothing must be zero. So a token cannot be changed
 * without changing what it says.
 */

#ifndef GW_BASE64URL_H_INCLUDED
#define GW_BASE64URL_H_INCLUDED

#include "gw.h"

/* Bytes that a text of n characters decodes to, and the reverse. */
#define gw_base64url_decoded_len(n) ((n) / 4 * 3 + (n) % 4 * 3 / 4)
#define gw_base64url_encoded_len(n) ((n) / 3 * 4 + ((n) % 3 * 8 + 5) / 6)

/*
 * Decodes text into out, which has room for gw_base64url_decoded_len() bytes
 * and does not overlap text. GW_OK and *len, or GW_ERROR: not the one way to
 * write it (out may then hold anything). An empty text decodes to no bytes.
 */
int gw_base64url_decode(unsigned char *out, size_t *len, gw_str_t text);

/* Encodes; writes exactly gw_base64url_encoded_len() characters, no zero
   after them, and returns the end. */
unsigned char *gw_base64url_encode(unsigned char *out, gw_str_t bytes);

#endif /* GW_BASE64URL_H_INCLUDED */
