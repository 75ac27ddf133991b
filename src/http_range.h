/*
 * Range requests (RFC 9110, 14) for a complete stored response.
 *
 * A single range is answered with 206. For several ranges the whole is sent
 * with 200, which 14.2 allows; so no multipart is ever made.
 */

#ifndef GW_HTTP_RANGE_H_INCLUDED
#define GW_HTTP_RANGE_H_INCLUDED

#include "cache_policy.h"

typedef enum {
    GW_RANGE_WHOLE = 0,     /* 200: no range, not in bytes, not well-formed,
                               several, or If-Range says so */
    GW_RANGE_PART,          /* 206: bytes first to last */
    GW_RANGE_UNSATISFIABLE  /* 416 */
} gw_range_e;

typedef struct {
    uint64_t first;
    uint64_t last;          /* inclusive */
} gw_range_t;

/* The value of Range against a body of `size` bytes (14.1.2). */
gw_range_e gw_range_parse(gw_range_t *range, gw_str_t value, uint64_t size);

/*
 * What to send for a request on a hit: evaluates If-Range (13.1.5: strong
 * comparison; a date must be exactly the Last-Modified, which must be
 * strong, 8.8.2.2), then Range. Whole unless it is a GET and a 200 is
 * stored. Evaluate gw_cache_not_modified() before this (13.2.2). `now`: ms.
 */
gw_range_e gw_range_select(gw_range_t *range, const gw_cache_request_t *req,
    gw_fields_t request, const gw_cache_meta_t *meta, gw_fields_t stored,
    uint64_t size, int64_t now);

/*
 * Content-Range (14.4): "bytes 0-4/10", or for a NULL range (416) the form
 * "bytes *" "/10". Returns the bytes written, at most GW_CONTENT_RANGE_LEN.
 */
#define GW_CONTENT_RANGE_LEN 69
size_t gw_range_write(unsigned char *out, const gw_range_t *range,
    uint64_t size);

#endif /* GW_HTTP_RANGE_H_INCLUDED */
