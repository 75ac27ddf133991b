/*
 * Vary (RFC 9111, 4.1): which request fields choose among a key's variants,
 * and what a request says in them, in a normal form.
 *
 * The spec is kept with the key, the variant's text is digested and is the
 * second part of the store's key. Two requests with one text match.
 */

#ifndef GW_CACHE_VARY_H_INCLUDED
#define GW_CACHE_VARY_H_INCLUDED

#include "http_field.h"

/*
 * Writes the names in Vary: small letters, sorted, each once, joined by
 * commas. GW_OK with *len, 0 where there is no Vary; GW_DECLINED: `*`, or
 * something that is not a name: matches nothing; GW_ERROR: more than `size`
 * bytes or 32 names.
 */
int gw_vary_spec(unsigned char *out, size_t size, size_t *len,
    gw_fields_t response);

/*
 * Writes what a request says in the fields of a spec. GW_OK with *len; 0 for
 * an empty spec. GW_ERROR: more than `size` bytes, or control characters in
 * a value: neither look up nor store.
 *
 *   text  = *( name [ ":" value ] LF )         without ":": no such field
 *
 * A value is normalised as far as its syntax is known:
 *   all                lines joined, blanks around commas and empty members
 *                      left out; order and case kept
 *   Accept-Encoding, Accept-Language, Accept-Charset
 *                      small letters, sorted, each once, weights in one form;
 *                      codings with q=0 left out where that says nothing (no
 *                      "*", not identity); x-gzip is gzip
 */
int gw_vary_text(unsigned char *out, size_t size, size_t *len,
    gw_str_t spec, gw_fields_t request);

#endif /* GW_CACHE_VARY_H_INCLUDED */
