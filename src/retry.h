/*
 * Retries: how long to wait before the next attempt, and how many of them a
 * server may be asked to bear.
 *
 * Times are milliseconds, of a clock that is not set. Nothing here allocates;
 * the caller owns all memory, and uses it from one thread.
 */

#ifndef GW_RETRY_H_INCLUDED
#define GW_RETRY_H_INCLUDED

#include "gw.h"

/*
 * Before retry k (the first is 1) of a request there are
 *
 *     backoff * 2^(k-1), +- jitter %, and never more than max.
 *
 * The jitter spreads the retries of requests that failed at the same time.
 * jitter is 0 to 100; backoff and max are less than 2^40.
 */
typedef struct {
    uint64_t backoff;
    uint64_t max;
    uint32_t jitter;
} gw_retry_backoff_t;

/*
 * Random: 31 random bits at least. asked: what the server's Retry-After says,
 * 0 where it says nothing; it is waited for where that is longer, up to max
 * (RFC 9110, 10.2.3: "how long the user agent ought to wait").
 */
uint64_t gw_retry_delay(const gw_retry_backoff_t *backoff, uint32_t k,
    uint64_t asked, uint32_t random);

/*
 * The seconds form of Retry-After, in milliseconds. GW_DECLINED: it is not
 * one (a date, or nonsense). What is beyond a year is a year.
 */
int gw_retry_after(gw_str_t value, uint64_t *ms);

/*
 * The budget: of all that is sent within GW_RETRY_WINDOW, retries are at most
 * a share of the requests; GW_RETRY_FREE are always allowed, so that where
 * there are few requests each can be retried. It keeps retries from being
 * what holds an overloaded server down.
 *
 * The window is counted in slices, and is longer than GW_RETRY_WINDOW by up to
 * one of them, never shorter. A time before the last is as the last. All zero
 * when new.
 */
#define GW_RETRY_WINDOW 10000
#define GW_RETRY_FREE   10
#define GW_RETRY_SLICE  250
#define GW_RETRY_SLICES (GW_RETRY_WINDOW / GW_RETRY_SLICE + 1)

typedef struct {
    uint32_t requests;
    uint32_t retries;
} gw_retry_count_t;

typedef struct {
    uint64_t slice;        /* the newest: its time / GW_RETRY_SLICE */
    gw_retry_count_t sum;  /* of all slices */
    gw_retry_count_t slices[GW_RETRY_SLICES]; /* slice n at n modulo size */
} gw_retry_budget_t;

/* Counts a request, once, whatever becomes of it. */
void gw_retry_budget_request(gw_retry_budget_t *budget, uint64_t now);

/* Takes one retry, where `percent` of the requests allow it. */
bool gw_retry_budget_take(gw_retry_budget_t *budget, uint64_t now,
    uint32_t percent);

#endif /* GW_RETRY_H_INCLUDED */
