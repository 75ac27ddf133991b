/*
 * Patterns for channel names: what a client may subscribe to or publish on.
 *
 * Segments end at ':', '.' or '/'. '*' matches any number of bytes (also none
 * within other text, but a segment that is only '*' needs at least one)
 * within a segment; '**' matches any number of bytes across segments, at
 * least one. Three stars and more are as two. Everything else matches itself.
 *
 * A pattern is compiled from parts, so that a variable's value can be put in
 * literally: stars in it are plain characters, and a value with a separator
 * in it, or an empty one, makes the whole pattern match nothing.
 */

#ifndef GW_PATTERN_H_INCLUDED
#define GW_PATTERN_H_INCLUDED

#include "gw.h"

/*
 * Writes the source text of a pattern, with literal characters marked, into
 * out. Compiled form: bytes as they are, GW_PATTERN_STAR and
 * GW_PATTERN_GLOBSTAR for the stars (bytes that never occur in UTF-8).
 */
#define GW_PATTERN_STAR 0xfe
#define GW_PATTERN_GLOBSTAR 0xff

/* Compiles text with stars; out has room for text.len; returns the length.
   Bytes that UTF-8 never has are kept from becoming stars, and match no
   valid name. */
size_t gw_pattern_compile(unsigned char *out, gw_str_t text);

/*
 * Appends a variable's value literally: GW_OK and *len bytes at out, or
 * GW_DECLINED when it is empty, or holds a separator or a byte that UTF-8
 * never has.
 */
int gw_pattern_literal(unsigned char *out, size_t *len, gw_str_t value);

/* Whether the compiled pattern matches the whole name. An empty pattern
   matches nothing, nor does a name over GW_CHANNEL_NAME_MAX match. Time is
   bounded by the product of both lengths, without recursion. */
bool gw_pattern_match(gw_str_t pattern, gw_str_t name);

/* Channel names: 1 to 255 bytes of UTF-8 without control characters (C0, DEL
   and C1). */
#define GW_CHANNEL_NAME_MAX 255
bool gw_channel_name_valid(gw_str_t name);

#endif /* GW_PATTERN_H_INCLUDED */
