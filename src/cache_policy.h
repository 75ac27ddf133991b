/*
 * The decisions of a shared cache (RFC 9111): may a response be stored, how
 * long is it fresh, may it be used for a request.
 *
 * A stored response is judged by a gw_cache_meta_t, which is made once, when
 * it is stored or updated. It is plain data and has no pointers, so it lives
 * beside the response in shared memory, and gw_cache_decide() parses nothing.
 *
 * Moments are Unix ms, spans of time are seconds unless a name says ms.
 */

#ifndef GW_CACHE_POLICY_H_INCLUDED
#define GW_CACHE_POLICY_H_INCLUDED

#include "cache_control.h"
#include "http_date.h"

/* What the operator and the surroundings say. */
typedef struct {
    bool authorized;      /* the request was authorised by whatever means; an
                             Authorization field is seen here (3.5) */
    bool store_cookies;   /* responses with Set-Cookie too */
    bool heuristic;       /* from Last-Modified, where nothing else is said */
    bool keep_stale;      /* of use when it is stale, even without a validator
                             (gateway_cache_stale) */
    uint32_t lifetime;    /* where the response states none, for its status
                             (gateway_cache_valid); GW_CC_NONE */
} gw_cache_rules_t;

/* A request as caches see it, parsed once. */
typedef struct {
    gw_cache_control_t cc;
    bool get;             /* GET or HEAD */
    bool head;
    bool authorization;   /* has the field */
    bool conditional;     /* If-None-Match or If-Modified-Since */
    bool range;           /* Range, and it is a GET */
} gw_cache_request_t;

void gw_cache_request_parse(gw_cache_request_t *req, gw_str_t method,
    gw_fields_t fields);

/* Methods are case-sensitive (RFC 9110, 9.1). Safe: 9.2.1. */
bool gw_cache_method_safe(gw_str_t method);


/* --- stored responses ----------------------------------------------------- */

#define GW_CACHE_NO_STALE 0x01u      /* never stale: must-revalidate,
                                        proxy-revalidate, s-maxage (4.2.4) */
#define GW_CACHE_NO_CACHE 0x02u      /* never without validation (5.2.2.4) */
#define GW_CACHE_HAS_ETAG 0x04u
#define GW_CACHE_HAS_MODIFIED 0x08u  /* a Last-Modified that can be read */
#define GW_CACHE_EXPLICIT 0x10u      /* the response stated its lifetime */
#define GW_CACHE_HEURISTIC 0x20u

typedef struct {
    int64_t response_time;   /* ms: when it came, or was validated */
    int64_t initial_age_ms;  /* corrected_initial_age (4.2.3) */
    int64_t date;            /* s: Date, or when it came */
    int64_t last_modified;   /* s, or GW_NO_DATE */
    uint32_t lifetime;       /* freshness_lifetime (4.2.1) */
    uint32_t stale_while_revalidate; /* 0: none (RFC 5861) */
    uint32_t stale_if_error;
    uint16_t status;
    uint16_t flags;
} gw_cache_meta_t;

typedef enum {
    GW_CACHE_STORE = 0,
    GW_CACHE_NOT_METHOD,     /* not a GET */
    GW_CACHE_NOT_STATUS,     /* not final, 206, 304, or not understood */
    GW_CACHE_NOT_REQUEST,    /* the request says no-store */
    GW_CACHE_NOT_STORE,      /* the response says no-store */
    GW_CACHE_NOT_PRIVATE,
    GW_CACHE_NOT_AUTHORIZED, /* 3.5 */
    GW_CACHE_NOT_COOKIE,
    GW_CACHE_NOT_VARY,       /* Vary: * (4.1) */
    GW_CACHE_NOT_FRESH,      /* states no lifetime, and nobody else does */
    GW_CACHE_NOT_USEFUL      /* stale at once, and nothing to validate it by */
} gw_cache_store_e;

/* In words, for Cache-Status' detail; a token. */
gw_str_t gw_cache_store_name(gw_cache_store_e e);

/*
 * Whether a response may be stored (RFC 9111, 3), and its meta, which is
 * filled whatever the answer is. request_time and response_time: when the
 * request went out and the header came in, ms.
 */
gw_cache_store_e gw_cache_store(gw_cache_meta_t *meta,
    const gw_cache_request_t *req, uint16_t status, gw_fields_t fields,
    int64_t request_time, int64_t response_time,
    const gw_cache_rules_t *rules);

/* Statuses that are cacheable by default (RFC 9110, 15.1), but 206; those
   that this cache understands (must-understand). */
bool gw_cache_status_heuristic(unsigned status);
bool gw_cache_status_understood(unsigned status);

/* current_age (4.2.3), ms, >= 0; for Age: / 1000. */
int64_t gw_cache_age_ms(const gw_cache_meta_t *meta, int64_t now);

/* ms until it is stale; <= 0: it is (4.2). */
int64_t gw_cache_ttl_ms(const gw_cache_meta_t *meta, int64_t now);

/*
 * When it is of no use any more, ms: later than every lifetime in meta;
 * `stale` more s where the operator lets stale ones be served, `keep` more s
 * where it has a validator, so that a 304 can renew it.
 */
int64_t gw_cache_dead_at(const gw_cache_meta_t *meta, uint32_t stale,
    uint32_t keep);


/* --- may it be used? ------------------------------------------------------ */

typedef enum {
    GW_CACHE_HIT = 0,        /* send it; age > lifetime: max-stale said so */
    GW_CACHE_UPDATING,       /* send it stale, and validate in the background:
                                stale-while-revalidate, or the operator's */
    GW_CACHE_REVALIDATE,     /* ask upstream with its validators, if any */
    GW_CACHE_MISS,           /* ask upstream as the client did */
    GW_CACHE_ONLY_IF_CACHED  /* answer 504 (5.2.1.7) */
} gw_cache_verdict_e;

/* Why a request goes upstream: RFC 9211, 2.2. */
typedef enum {
    GW_FWD_NONE = 0,
    GW_FWD_BYPASS,
    GW_FWD_METHOD,
    GW_FWD_URI_MISS,
    GW_FWD_VARY_MISS,
    GW_FWD_MISS,
    GW_FWD_REQUEST,
    GW_FWD_STALE,
    GW_FWD_PARTIAL
} gw_cache_fwd_e;

typedef struct {
    gw_cache_verdict_e verdict;
    gw_cache_fwd_e fwd;      /* GW_FWD_NONE for a hit */
    int64_t age;             /* s */
    int64_t ttl;             /* s, rounded down; negative when stale */
} gw_cache_decision_t;

/*
 * Section 4, and the request's directives (5.2.1). meta is NULL where
 * nothing is stored under the request's key and variant; `miss` says then
 * how that is to be called (GW_FWD_URI_MISS or GW_FWD_VARY_MISS).
 * `updating`: the operator lets it be served stale while it is fetched anew.
 * Where conditions and ranges matter is for http_range.h and
 * cache_validate.h, after a hit.
 */
gw_cache_decision_t gw_cache_decide(const gw_cache_request_t *req,
    const gw_cache_meta_t *meta, int64_t now, bool updating,
    gw_cache_fwd_e miss);

/*
 * Whether it may be served in place of an error from upstream: within
 * stale-if-error of the response or the request (RFC 5861, 4), or where the
 * operator lets it (`configured`); never against 4.2.4.
 */
bool gw_cache_stale_on_error(const gw_cache_request_t *req,
    const gw_cache_meta_t *meta, int64_t now, bool configured);

#endif /* GW_CACHE_POLICY_H_INCLUDED */
