/*
 * The WebSocket opening handshake's own values (RFC 6455 section 4).
 */

#ifndef GW_WS_HANDSHAKE_H_INCLUDED
#define GW_WS_HANDSHAKE_H_INCLUDED

#include "gw.h"

#define GW_WS_KEY_LEN 24    /* base64 of 16 bytes */
#define GW_WS_ACCEPT_LEN 28 /* base64 of a SHA-1 digest */

/*
 * Whether a Sec-WebSocket-Key is base64 of exactly 16 bytes (4.1, 4.2.1). The
 * bits that its last digit has to spare are not looked at: the value is never
 * decoded, and some clients set them.
 */
bool gw_ws_key_valid(gw_str_t key);

/*
 * Writes Sec-WebSocket-Accept for the key (4.2.2) into out, not terminated;
 * works for any key. GW_OK, or GW_ERROR: the library has no SHA-1.
 */
int gw_ws_accept(unsigned char out[GW_WS_ACCEPT_LEN], gw_str_t key);

/*
 * Walks a comma-separated list of tokens (RFC 7230 3.2.6 and 7), as
 * Sec-WebSocket-Protocol is; white space around tokens and empty elements are
 * skipped. *list starts as the header's value and becomes what is left.
 *
 * GW_OK        the next token in *token
 * GW_DECLINED  the list has ended
 * GW_ERROR     malformed: something in it is no token. *list is then empty
 *
 * A list is good only when the walk ends by GW_DECLINED.
 */
int gw_ws_token_next(gw_str_t *list, gw_str_t *token);

#endif /* GW_WS_HANDSHAKE_H_INCLUDED */
