/*
 * A JSON scanner (RFC 8259) that validates and points, and never builds.
 *
 * Messages pass through the gateway as they were written: numbers keep their
 * digits, strings their escapes, members their order. So what is needed of a
 * message is where its members stand, not a tree; the tree library would also
 * refuse integers over 64 bits and rewrite 1.0. Nothing is allocated.
 *
 * Input is expected to be valid UTF-8 (gw_utf8_valid), which is not checked
 * here. All spans point into the input.
 */

#ifndef GW_JSON_SCAN_H_INCLUDED
#define GW_JSON_SCAN_H_INCLUDED

#include "gw.h"

#define GW_JSON_MAX_DEPTH 64

typedef enum {
    GW_JSON_NULL,
    GW_JSON_FALSE,
    GW_JSON_TRUE,
    GW_JSON_NUMBER,
    GW_JSON_STRING,
    GW_JSON_ARRAY,
    GW_JSON_OBJECT
} gw_json_type_e;

typedef struct {
    gw_json_type_e type;
    gw_str_t text; /* the value as written, a string with its quotes */
} gw_json_t;

/*
 * Validates one complete value with white space around it. GW_OK and *v, or
 * GW_ERROR: not JSON, or nested deeper than GW_JSON_MAX_DEPTH. Numbers may
 * have any size, and escapes may be lone surrogates or \u0000, as the grammar
 * has it.
 */
int gw_json_parse(gw_str_t text, gw_json_t *v);

/*
 * Walks the members of an object or the elements of an array that
 * gw_json_parse() has validated. *it starts as NULL. Returns false at the
 * end. key (objects only; may be NULL) is the string as written with its
 * quotes.
 */
bool gw_json_next(const gw_json_t *container, const unsigned char **it,
    gw_json_t *key, gw_json_t *v);

/*
 * Finds an object's member; of several with one name the last counts, as in
 * ECMAScript. Escapes in names are understood. GW_OK or GW_DECLINED (also
 * when object is not an object). v may be the object.
 */
int gw_json_member(const gw_json_t *object, gw_str_t name, gw_json_t *v);

/* The same for n names at once, in one walk: values[i] is the member names[i],
   with a text of no length where there is none. */
void gw_json_members(const gw_json_t *object, const gw_str_t *names,
    gw_json_t *values, size_t n);

/* Whether a string value, escapes understood, equals s. One that
   gw_json_string_decode() refuses equals nothing. */
bool gw_json_string_equal(const gw_json_t *string, gw_str_t s);

/*
 * Decodes a string value into buf (room for string->text.len bytes always
 * suffices, and buf may be string->text.data itself); returns the length in
 * bytes or (size_t) -1 when it holds a lone surrogate or U+0000, or is no
 * string.
 */
size_t gw_json_string_decode(const gw_json_t *string, unsigned char *buf);

/* A number that is a non-negative whole one up to 2^63-1, written without
   fraction or exponent: GW_OK, else GW_DECLINED. */
int gw_json_uint(const gw_json_t *number, uint64_t *n);

/* Length of s as a quoted JSON string, and writing it; returns the end. */
size_t gw_json_quoted_size(gw_str_t s);
unsigned char *gw_json_quote(unsigned char *p, gw_str_t s);

#endif /* GW_JSON_SCAN_H_INCLUDED */
