/*
 * Cached objects and purges as they travel between nodes.
 *
 * An object, as one value:
 *
 *   '1'  fresh, 15 digits  made, 15 digits     Unix ms; what a script reads
 *   status flags           u16 each            all numbers big-endian
 *   lifetime stale-while-revalidate stale-if-error     u32 each, s
 *   initial age            i64, ms
 *   date last-modified     i64 each, s
 *   dead                   i64, Unix ms
 *   lengths of key, fields, body   u32; of spec, tags   u16
 *   key spec tags
 *   fields                 each: mark u8, length of name u16, of value u32,
 *                          name, value
 *   body
 *
 * A purge is a row of items: one small letter that says what it is, its
 * length in digits, a colon, its bytes.
 *
 * Reading takes any bytes, copies nothing, and accepts only what could have
 * been written: names are tokens, no value has a control character.
 */

#ifndef GW_CACHE_WIRE_H_INCLUDED
#define GW_CACHE_WIRE_H_INCLUDED

#include "cache_policy.h"
#include "http_field.h"

#define GW_WIRE_FRESH 1   /* where a script finds them: offset */
#define GW_WIRE_MADE 16
#define GW_WIRE_DIGITS 15

typedef struct {
    gw_str_t name;
    gw_str_t value;
    uint8_t mark;         /* the caller's */
} gw_wire_field_t;

typedef struct {
    gw_cache_meta_t meta;
    int64_t dead_at;      /* Unix ms */
    gw_str_t key;
    gw_str_t spec;        /* of gw_vary_spec() */
    gw_str_t tags;        /* joined by blanks */
    gw_str_t fields;      /* for gw_wire_field(); not read on writing */
    gw_str_t body;        /* on writing its length alone is read */
} gw_wire_object_t;

/* Bytes of it without its body; 0: over a limit of the store. */
size_t gw_wire_size(const gw_wire_object_t *o, const gw_wire_field_t *fields,
    size_t n);

/* Writes it, all but the body, which goes behind. Returns the end. */
unsigned char *gw_wire_write(unsigned char *p, const gw_wire_object_t *o,
    const gw_wire_field_t *fields, size_t n);

/* GW_OK: all of it is as it should be, and o points into it; GW_ERROR. */
int gw_wire_read(gw_wire_object_t *o, gw_str_t text);

/* Cuts the next field off o->fields, which was read; false: no more. */
bool gw_wire_field(gw_str_t *fields, gw_wire_field_t *f);


size_t gw_wire_item_size(size_t len);
unsigned char *gw_wire_item_write(unsigned char *p, char what, gw_str_t s);

/* Cuts the next item off. GW_OK, GW_DECLINED: no more, GW_ERROR. */
int gw_wire_item(gw_str_t *text, char *what, gw_str_t *s);

#endif /* GW_CACHE_WIRE_H_INCLUDED */
