/*
 * What responses and requests say about caching: Cache-Control (RFC 9111,
 * 5.2; RFC 5861; RFC 8246), Pragma (5.4), CDN-Cache-Control (RFC 9213).
 *
 * Directives that are not known are ignored. One that stands there twice
 * counts with the most restrictive of its values. A number that is none is
 * 0: freshness that cannot be read is none (RFC 9111, 4.2.1).
 */

#ifndef GW_CACHE_CONTROL_H_INCLUDED
#define GW_CACHE_CONTROL_H_INCLUDED

#include "http_field.h"

#define GW_CC_NONE UINT32_MAX        /* a number that is not there */
#define GW_CC_ANY (UINT32_MAX - 1)   /* max-stale without a number */

/* Flags. no-cache="field" and private="field" are as those without a list,
   which RFC 9111, 5.2.2.4 and 5.2.2.7 say caches may do. */
#define GW_CC_NO_STORE 0x0001u
#define GW_CC_NO_CACHE 0x0002u
#define GW_CC_PRIVATE 0x0004u
#define GW_CC_PUBLIC 0x0008u
#define GW_CC_MUST_REVALIDATE 0x0010u
#define GW_CC_PROXY_REVALIDATE 0x0020u
#define GW_CC_MUST_UNDERSTAND 0x0040u
#define GW_CC_ONLY_IF_CACHED 0x0080u
#define GW_CC_TARGETED 0x0100u       /* it was CDN-Cache-Control that spoke */

/* Seconds, or GW_CC_NONE. */
typedef struct {
    uint32_t flags;
    uint32_t max_age;
    uint32_t s_maxage;               /* responses */
    uint32_t stale_while_revalidate; /* responses */
    uint32_t stale_if_error;         /* both */
    uint32_t min_fresh;              /* requests */
    uint32_t max_stale;              /* requests; GW_CC_ANY */
} gw_cache_control_t;

/*
 * A response's: CDN-Cache-Control where it is there and can be read, and then
 * nothing else counts (RFC 9213, 2.1 and 2.2: not Cache-Control, Expires nor
 * Pragma); else Cache-Control. Pragma of a response means nothing.
 */
void gw_cache_control_response(gw_cache_control_t *cc, gw_fields_t fields);

/* A request's: Cache-Control; without one, Pragma: no-cache counts. */
void gw_cache_control_request(gw_cache_control_t *cc, gw_fields_t fields);

/*
 * A targeted field alone, as a dictionary of structured fields (RFC 8941,
 * 3.2). GW_OK; GW_DECLINED: it is not there, empty, not a dictionary, or
 * has a number of a wrong type, and is to be ignored.
 */
int gw_cache_control_targeted(gw_cache_control_t *cc, gw_fields_t fields,
    gw_str_t name);

/* One directive, by its name in any case. `value` is without quotes, data
   is NULL where there is none. */
void gw_cache_control_add(gw_cache_control_t *cc, gw_str_t name,
    gw_str_t value);

void gw_cache_control_init(gw_cache_control_t *cc);

#endif /* GW_CACHE_CONTROL_H_INCLUDED */
