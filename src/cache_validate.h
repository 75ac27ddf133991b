/*
 * Validation and invalidation (RFC 9111, 3.1, 3.2, 4.3, 4.4): which fields
 * are stored, conditions, what a 304 changes.
 *
 * `stored` is always the stored response's fields, as gw_cache_keeps() let
 * them in; spans that are returned point into what was passed.
 */

#ifndef GW_CACHE_VALIDATE_H_INCLUDED
#define GW_CACHE_VALIDATE_H_INCLUDED

#include "cache_policy.h"

/*
 * Whether a field of a response is stored (3.1): not those of one
 * connection (RFC 9110, 7.6.1) with what Connection lists, nor those of
 * proxies' authentication. `fields` is the response it came with.
 */
bool gw_cache_keeps(gw_fields_t fields, gw_str_t name);


/* --- asking upstream ------------------------------------------------------ */

/* The conditions to send (4.3.1); data is NULL: leave this one out. All of
   the client's own (If-*, Range) are left out, whatever is here. */
typedef struct {
    gw_str_t if_none_match;
    gw_str_t if_modified_since;
} gw_cache_conditions_t;

void gw_cache_conditions(gw_cache_conditions_t *c,
    const gw_cache_meta_t *meta, gw_fields_t stored);

/*
 * Whether a 304 to these conditions is about the stored response (4.3.4):
 * its ETag equals, strongly where it is strong; without one, its
 * Last-Modified is the same; without any, yes. Where not, nothing may be
 * updated, and the request is repeated without conditions.
 */
bool gw_cache_confirms(gw_fields_t stored, gw_fields_t fresh);

/*
 * The stored fields after a 304, or after the response to a HEAD (3.2): all
 * of `fresh` replace those with their names, but Content-Encoding,
 * Content-Length, Content-MD5, Content-Range, ETag and what is not stored. A
 * stored Age and Date do not outlive the answer. Content-Type is replaced:
 * RFC 9111 wants it so. Writes at most stored.n + fresh.n spans to `out`,
 * and returns how many. gw_cache_store() of them makes the new meta; where it
 * refuses, the object is to be removed after this use.
 */
size_t gw_cache_merge(gw_field_t *out, gw_fields_t stored,
    gw_fields_t fresh);

typedef enum {
    GW_CACHE_HEAD_NOTHING = 0, /* not a 200 */
    GW_CACHE_HEAD_UPDATE,      /* gw_cache_merge() */
    GW_CACHE_HEAD_STALE        /* it has changed: remove it */
} gw_cache_head_e;

/* What the answer to a forwarded HEAD does to a stored GET (4.3.5). `length`:
   bytes of the stored body. */
gw_cache_head_e gw_cache_head(const gw_cache_meta_t *meta,
    gw_fields_t stored, uint64_t length, unsigned status,
    gw_fields_t fresh);


/* --- answering the client ------------------------------------------------- */

/*
 * Whether the client gets a 304 (4.3.2; RFC 9110, 13.1.2, 13.1.3, 13.2.2):
 * If-None-Match, and only without it If-Modified-Since, against
 * Last-Modified, or without one Date. Only where a 200 is stored. If-Match
 * and If-Unmodified-Since are for origin servers (13.1.1). `now`: ms.
 */
bool gw_cache_not_modified(const gw_cache_meta_t *meta, gw_fields_t stored,
    gw_fields_t request, int64_t now);

/* Whether a field of the stored response is sent with a 304 (RFC 9110,
   15.4.5): not what describes a content that is not sent. */
bool gw_cache_304_sends(gw_str_t name);


/* --- unsafe methods ------------------------------------------------------- */

/* Whether the answer invalidates what is stored for the request's target
   (4.4): the method is unsafe or not known, the status 2xx or 3xx. */
bool gw_cache_invalidates(gw_str_t method, unsigned status);

/*
 * Location or Content-Location of such an answer as a request target: where
 * it has the origin of the request (scheme and host as the client sent them;
 * the default port may be left out), its path and query, normalised and
 * without a fragment. `target`: path and query of the request; relative
 * references are resolved against it (RFC 3986, 5.2). GW_OK and *len bytes
 * in `out`; GW_DECLINED: of another origin, or not a reference; GW_ERROR:
 * more than `size`. Needs room for both texts.
 */
int gw_cache_location(unsigned char *out, size_t size, size_t *len,
    gw_str_t scheme, gw_str_t host, gw_str_t target, gw_str_t location);

#endif /* GW_CACHE_VALIDATE_H_INCLUDED */
