/*
 * A sliding window: at most N requests in any period T, in constant memory.
 *
 * The period is cut into GW_WINDOW_PARTS sub-windows of T/63 each, and a ring
 * of 64 slots counts what was admitted in each of the last 64:
 *
 *      now - T                                             now
 *         │◄──────────────────── T ─────────────────────────►│
 *     ├──────┼──────┼──────┼──   ...   ──┼──────┼──────┼──────┤
 *      tick-63                            tick-2 tick-1  tick
 *
 * The oldest slot counts as a whole for as long as any instant of it is
 * inside the period, so nothing is forgotten early, and each request at most
 * T/63 late.
 *
 * A slot is a byte. It counts units of u requests, u = ceil(N / 254): one
 * request each for N up to 254. A unit is charged when its first request
 * comes, the other u - 1 are taken from it later, whatever slot it is in
 * (credit). So with A requests admitted and S charged, A <= S < A + u at any
 * moment. What is compared with N is
 *
 *     E = (u * units in the ring) - credit,    and it is admitted if
 *     E + cost <= N
 *
 * Bounds. Let i be the last moment that has left the ring. Then
 * E = A(now) - S(i), and the true count A(now) - A(i) exceeds that by
 * S(i) - A(i) <= u - 1. So:
 *
 *     in no period T are more than N + u - 1 admitted: none too many for N
 *     up to 254, less than 0.4 % of N above (u - 1 < N / 254);
 *     a request no longer counts at most T/63 after it has left the period.
 *
 * When the ring is empty the credit is dropped: from idle N are admitted, and
 * not one more.
 *
 * Time is in milliseconds of a monotonic clock. It may stand a little behind
 * what was seen before (processes cache their clocks): then the newest slot
 * counts. A clock that is set back by more than a period takes the ring with
 * it, ages and all: never too many are admitted, and a request counts at most
 * T/21 longer. One that is set back by less makes what has been counted stay
 * for so much longer. What stands in shared memory is plain data; locking is
 * the caller's.
 */

#ifndef GW_SLIDING_WINDOW_H_INCLUDED
#define GW_SLIDING_WINDOW_H_INCLUDED

#include "gw.h"

#define GW_WINDOW_PARTS 63
#define GW_WINDOW_SLOTS 64

#define GW_WINDOW_LIMIT_MAX 1000000000u
#define GW_WINDOW_PERIOD_MIN 100u             /* ms */
#define GW_WINDOW_PERIOD_MAX (366 * 86400000ull)

typedef struct {
    uint32_t limit;  /* N */
    uint32_t unit;   /* u */
    uint64_t period; /* T, ms */
} gw_window_rate_t;

/* All zeros: nothing was counted. */
typedef struct {
    uint64_t tick;   /* of the newest slot */
    uint32_t credit; /* requests that are charged and not yet admitted */
    uint16_t units;  /* the sum of the counts */
    uint8_t last;    /* low bits of the tick of the newest count that is not
                        0; units 0: any */
    uint8_t unused;
    uint8_t counts[GW_WINDOW_SLOTS]; /* that of tick t is at t % 64 */
} gw_window_t;

#define GW_WINDOW_NEVER UINT64_MAX

typedef struct {
    uint32_t remaining; /* requests of cost 1 that would pass now */
    uint64_t reset;     /* ms until the whole quota is free */
    uint64_t retry;     /* ms until this cost would pass, 0: it does now;
                           GW_WINDOW_NEVER: it is more than the limit */
} gw_window_state_t;

/* GW_OK, or GW_ERROR: outside of the bounds above. */
int gw_window_rate_init(gw_window_rate_t *rate, uint32_t limit,
    uint64_t period);

/*
 * Moves the window on to now and says whether cost requests would pass; they
 * are not charged. A cost of 0 always passes.
 *
 * GW_OK, or GW_DECLINED
 */
int gw_window_check(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t now, uint32_t cost);

/* Charges what gw_window_check() has let pass at the same now. */
void gw_window_take(const gw_window_rate_t *rate, gw_window_t *w,
    uint32_t cost);

/* What stands in the window as gw_window_check() or gw_window_take() left it
 * at now; retry is for a further request of this cost. */
void gw_window_state(const gw_window_rate_t *rate, const gw_window_t *w,
    uint64_t now, uint32_t cost, gw_window_state_t *state);

/*
 * Gives back what was taken at `taken`, as far as it still counts: for a
 * request that was refused elsewhere after all. Where u > 1 and a newer slot
 * has begun since, whole units only, so that the bounds hold.
 */
void gw_window_refund(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t taken, uint32_t cost);

/* Makes sense again of a window whose user died in the middle of a call: of
 * what was counted at most that call is lost. */
void gw_window_repair(const gw_window_rate_t *rate, gw_window_t *w);

/*
 * For a limit that several nodes keep together (limit_share.h).
 */

/*
 * Enters what another node has charged `age` ms before now, where the window
 * stands by gw_window_check(). There is no refusing it: what is more than the
 * limit is returned.
 */
uint32_t gw_window_add(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t now, uint64_t age, uint32_t cost);

/* Takes off what another node has given back: `age` says when it had been
 * charged; it may stand a little before or after. What is not there is
 * returned. */
uint32_t gw_window_remove(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t now, uint64_t age, uint32_t cost);

/* Moves the window on to now, and charges what is owed, at most the limit,
 * as soon as there was room. */
void gw_window_carry(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t now, uint32_t *owed);

/* What counts of what was charged since, and the mean time of that; not
 * before the slot that since is in. */
uint32_t gw_window_since(const gw_window_rate_t *rate, const gw_window_t *w,
    uint64_t since, uint64_t *mean);

#endif /* GW_SLIDING_WINDOW_H_INCLUDED */
