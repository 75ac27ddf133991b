/*
 * Cache-Status (RFC 9211): how the cache handled a request, as one member of
 * the list, to be added to what upstream caches said before.
 */

#ifndef GW_CACHE_STATUS_H_INCLUDED
#define GW_CACHE_STATUS_H_INCLUDED

#include "cache_policy.h"

typedef struct {
    gw_str_t cache;       /* the zone's name; written as a token where it is
                             one (RFC 8941, 3.3.4), else as a string */
    bool hit;             /* 2.1; fwd is then GW_FWD_NONE */
    gw_cache_fwd_e fwd;   /* 2.2 */
    unsigned fwd_status;  /* 2.3; 0: left out */
    bool has_ttl;
    int64_t ttl;          /* 2.4, s; may be negative */
    bool stored;          /* 2.5 */
    bool collapsed;       /* 2.6 */
    gw_str_t detail;      /* 2.8; len 0: left out; a token or a string */
} gw_cache_status_t;

/*
 * Returns the bytes written, or 0 where `size` is not enough. Needs at most
 * 2 * cache.len + 2 * detail.len + GW_CACHE_STATUS_LEN. Bytes that a string
 * cannot have become '?'.
 */
#define GW_CACHE_STATUS_LEN 128
size_t gw_cache_status_write(unsigned char *out, size_t size,
    const gw_cache_status_t *s);

/* The value of fwd= (2.2), as "uri-miss". */
gw_str_t gw_cache_fwd_name(gw_cache_fwd_e fwd);

#endif /* GW_CACHE_STATUS_H_INCLUDED */
