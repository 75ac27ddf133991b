/*
 * A limit that several nodes keep together. Each decides by itself, at once,
 * by a window (sliding_window.h) that holds what all nodes have charged, as
 * far as it is known: the nodes tell each other in rounds, one each `sync`.
 *
 * All do so at about the same moments, the multiples of sync by a common
 * clock: at the begin of a round each tells what it has charged in the last
 * one, in the middle of it each reads what the others have told:
 *
 *     told        read        told        read        told
 *      ├───────────┼───────────┼───────────┼───────────┼──
 *      round 7                 round 8                 round 9
 *
 * What the others admit meanwhile is not known, but it can be expected: of
 * the room that comes up in a round each node took a share in the last ones,
 * so for each request that this node admits the others admit so many, as
 * their share is of its own. That many are reserved for them, until what they
 * have really charged is known:
 *
 *     reserve = own requests that the others' are not known for
 *               * others' charges / own charges, of the last rounds
 *
 * and at most half as much again as they charged in a round at most. Nothing
 * is reserved as long as the node has admitted nothing: it never waits for
 * others; nor where it has not refused anything for a while, as then the room
 * is for whoever comes.
 *
 * When all nodes together admit too many after all, as in the first round of
 * a burst, the window of none counts more than the limit: what is over is
 * owed, at most one whole limit, and is charged as soon as there is room,
 * before anything else. So over more than a period the nodes admit no more
 * than one would.
 *
 * Time is in ms, of each node's own clock. What stands in shared memory is
 * plain data; locking is the caller's.
 */

#ifndef GW_LIMIT_SHARE_H_INCLUDED
#define GW_LIMIT_SHARE_H_INCLUDED

#include "gw.h"
#include "sliding_window.h"

/* What is the same for all keys of a zone. */
typedef struct {
    uint16_t number; /* of the round */
    uint16_t known;  /* the others' charges of the last one have been read */
    uint16_t alone;  /* nothing is exchanged, so nothing is expected */
    uint16_t memory; /* rounds that shares are remembered for, and */
    uint16_t refusal; /* that a refusal is */
} gw_share_round_t;

/* Of a key, besides its window. All zeros: a key that nobody has charged. */
typedef struct {
    uint64_t sum;    /* of cost * (time - first) in unsent */
    uint32_t first;  /* when the first of unsent was charged: low bits */
    int32_t unsent;  /* charged here and not yet told; < 0: given back */
    uint32_t owed;   /* what has no room in the window */
    uint32_t told;   /* in `round` */
    uint32_t heard;  /* in `round` */
    uint32_t own;    /* what was told, less a quarter for each round since */
    uint32_t others; /* what was heard, so too */
    uint32_t most;   /* that was heard in one round, less a 16th for each */
    uint16_t round;  /* the last one in which something was told or heard */
    uint16_t full;   /* the last one in which the window had no room */
    uint32_t next;   /* for the caller */
} gw_share_t;

/* A delta, as it is told: so many were charged, so long ago. */
typedef struct {
    int32_t count;
    uint32_t age; /* ms */
} gw_share_delta_t;


/* Rounds of `sync` ms. */
void gw_share_round_init(gw_share_round_t *round, uint64_t period,
    uint64_t sync);

/* The next round begins: what was charged in the last one is to be told. */
void gw_share_round_begin(gw_share_round_t *round);

/*
 * As gw_window_check(). What remains, and so the decision, are by the limit
 * less what is reserved for others.
 */
int gw_share_check(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t now,
    uint32_t cost);

void gw_share_take(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, uint64_t now, uint32_t cost);

/* sync is in ms: what is refused only for what is reserved may pass then. */
void gw_share_state(const gw_window_rate_t *rate, const gw_window_t *w,
    const gw_share_t *share, const gw_share_round_t *round, uint64_t sync,
    uint64_t now, uint32_t cost, gw_window_state_t *state);

void gw_share_refund(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, uint64_t now, uint64_t taken, uint32_t cost);


/*
 * What is to be told of a key in the round that has just begun; it counts as
 * told. `late`: what is older than that may have been charged over several
 * rounds, without an exchange, and may no longer count.
 *
 * GW_OK, or GW_DECLINED: nothing
 */
int gw_share_tell(const gw_window_rate_t *rate, const gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t late,
    uint64_t now, gw_share_delta_t *delta);

/*
 * What was told of a key may not have been, and is to be told again; or, with
 * `told`, it has been after all. The age is as of now; any values do no harm.
 */
void gw_share_untell(gw_share_t *share, uint64_t now,
    const gw_share_delta_t *delta, int told);

/* Enters what another node has told; any values do no harm. */
void gw_share_hear(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t now,
    const gw_share_delta_t *delta);

#endif /* GW_LIMIT_SHARE_H_INCLUDED */
