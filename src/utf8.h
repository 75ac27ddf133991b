/*
 * UTF-8 validation that can stop at any byte and go on later (RFC 3629).
 *
 * The state is one byte, 0 at the start and again after each complete
 * character. An impossible byte is found the moment it arrives: overlong
 * forms, surrogates and values over U+10FFFF fail at their first wrong byte,
 * as RFC 6455 8.1 wants of a WebSocket endpoint that fails fast.
 */

#ifndef GW_UTF8_H_INCLUDED
#define GW_UTF8_H_INCLUDED

#include "gw.h"

#define GW_UTF8_ACCEPT 0

/* Feeds n bytes; GW_OK or GW_ERROR. ASCII runs go by machine words. */
int gw_utf8_feed(uint8_t *state, const unsigned char *p, size_t n);

/* Whether the n bytes are complete, valid UTF-8. */
bool gw_utf8_valid(const unsigned char *p, size_t n);

#endif /* GW_UTF8_H_INCLUDED */
