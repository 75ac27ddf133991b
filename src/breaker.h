/*
 * A circuit breaker, as plain data.
 *
 *   state      event                                        next state
 *   ---------  -------------------------------------------  ----------
 *   closed     `failures` failures in a row                 open
 *   closed     `ratio` of at least `min_requests` outcomes
 *              within the window                            open
 *   open       its time is over (seen by the next look,
 *              request or sweep)                            half-open
 *   half-open  a probe fails                                open
 *   half-open  `successes` probes in a row succeed          closed
 *
 * An attempt asks gw_breaker_admit() and, where it was let in, tells its
 * outcome once to gw_breaker_done(). In the half-open state it is a probe, of
 * which no more than `probes` are under way, those of an earlier half-open
 * state included. An outcome counts only if no transition has come between:
 * what began before tells nothing of the state after it.
 *
 * The first time open lasts exactly `open`, each further time twice the last
 * +-20 %, at most open_max. It begins anew after a closed state that lasted
 * as long as the window and as the last time open.
 *
 * A breaker may live in shared memory (it has no pointers), all zero when
 * new; the caller locks. Times are milliseconds of a clock that all its users
 * have in common and that is not set. A time before the last is as the last.
 */

#ifndef GW_BREAKER_H_INCLUDED
#define GW_BREAKER_H_INCLUDED

#include "gw.h"

/* The window is counted in so many parts: it is long by one part less at
   least, and never longer. */
#define GW_BREAKER_PARTS 20

typedef enum {
    GW_BREAKER_CLOSED = 0,
    GW_BREAKER_OPEN,
    GW_BREAKER_HALF_OPEN
} gw_breaker_state_e;

/* Why there was a transition. */
typedef enum {
    GW_BREAKER_NO_CHANGE = 0,
    GW_BREAKER_IN_A_ROW, /* closed to open */
    GW_BREAKER_RATIO,    /* closed to open */
    GW_BREAKER_TIME,     /* open to half-open */
    GW_BREAKER_PROBE,    /* half-open to open */
    GW_BREAKER_WELL      /* half-open to closed */
} gw_breaker_change_e;

typedef enum {
    GW_BREAKER_SUCCESS = 0,
    GW_BREAKER_FAILURE,
    GW_BREAKER_NOTHING /* it tells nothing, such as a client that left */
} gw_breaker_outcome_e;

/* All at least 1; ratio is in percent, up to 100; open <= open_max. */
typedef struct {
    uint32_t failures;
    uint32_t ratio;
    uint32_t min_requests;
    uint32_t probes;
    uint32_t successes;
    uint64_t window;
    uint64_t open;
    uint64_t open_max;
} gw_breaker_conf_t;

typedef struct {
    uint32_t ok;
    uint32_t failed;
} gw_breaker_count_t;

typedef struct {
    uint32_t state;
    uint32_t generation; /* transitions so far */
    uint32_t in_a_row;   /* failures when closed, successes when half-open */
    uint32_t probes;     /* under way */
    uint64_t since;      /* time of the last transition */
    uint64_t open;       /* how long it was open last; 0: begin anew */
    uint64_t part;       /* number of the window's current part */
    gw_breaker_count_t sum;
    gw_breaker_count_t parts[GW_BREAKER_PARTS];
} gw_breaker_t;

/* An attempt that was let in, until its outcome is told. */
typedef struct {
    uint32_t generation;
    bool probe;
} gw_breaker_ticket_t;

/* The state as of now: one whose time is over is half-open. */
gw_breaker_state_e gw_breaker_state(const gw_breaker_t *b, uint64_t now);

/* ms until it is half-open; 0 where it is not open. */
uint64_t gw_breaker_wait(const gw_breaker_t *b, uint64_t now);

/* Makes half-open what is due. GW_BREAKER_TIME or GW_BREAKER_NO_CHANGE. */
gw_breaker_change_e gw_breaker_sweep(gw_breaker_t *b, uint64_t now);

/*
 * Whether an attempt may go: GW_OK, and the ticket is filled in, or
 * GW_DECLINED. *change as gw_breaker_sweep().
 */
int gw_breaker_admit(gw_breaker_t *b, const gw_breaker_conf_t *conf,
    uint64_t now, gw_breaker_ticket_t *ticket, gw_breaker_change_e *change);

/* random: any 32 bits. */
gw_breaker_change_e gw_breaker_done(gw_breaker_t *b,
    const gw_breaker_conf_t *conf, const gw_breaker_ticket_t *ticket,
    gw_breaker_outcome_e outcome, uint64_t now, uint32_t random);

/* Gives back n probes whose owner is no more. */
void gw_breaker_release(gw_breaker_t *b, uint32_t n);

#endif /* GW_BREAKER_H_INCLUDED */
