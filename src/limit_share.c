/*
 * A limit that several nodes keep together.
 */

#include "limit_share.h"

#include <string.h>


/* Numbers of rounds go round: what has not been used for a multiple of 65536
 * of them may seem new, which does no harm. */

static unsigned
since(const gw_share_round_t *round, uint16_t number)
{
    return (uint16_t) (round->number - number);
}


void
gw_share_round_init(gw_share_round_t *round, uint64_t period, uint64_t sync)
{
    uint64_t rounds;

    rounds = period / sync;

    if (rounds > 10000) {
        rounds = 10000;
    }

    memset(round, 0, sizeof(*round));

    /* with a full window slots are free again after a period */

    round->memory = (uint16_t) (3 * rounds + 2);
    round->refusal = (uint16_t) (rounds / 8 + 4);

    /* keys that nothing is known of have 0 */

    round->number = (uint16_t) (round->memory + 1);
}


void
gw_share_round_begin(gw_share_round_t *round)
{
    round->number++;
    round->known = 0;
}


/* What others are expected to have charged since they were heard of. */

static uint32_t
reserve(const gw_share_t *share, const gw_share_round_t *round)
{
    uint64_t mine, own, n, most;

    if (round->alone || share->others == 0
        || since(round, share->round) > round->memory
        || since(round, share->full) > round->refusal)
    {
        return 0;
    }

    mine = share->unsent > 0 ? (uint32_t) share->unsent : 0;

    if (share->round == round->number && !round->known) {
        mine += share->told;
    }

    /* who had next to nothing may have an eighth */

    own = share->own;

    if (own < share->others / 8) {
        own = share->others / 8;
    }

    if (own == 0) {
        own = 1;
    }

    n = mine * share->others / own;
    most = share->most + share->most / 2;

    return (uint32_t) (n < most ? n : most);
}


/* The limit less that. */

static gw_window_rate_t
left_for(const gw_window_rate_t *rate, const gw_share_t *share,
    const gw_share_round_t *round)
{
    uint32_t n;
    gw_window_rate_t left;

    n = reserve(share, round);

    left = *rate;
    left.limit = n < rate->limit ? rate->limit - n : 0;

    return left;
}


int
gw_share_check(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t now,
    uint32_t cost)
{
    gw_window_rate_t left;

    if (share->owed) {
        gw_window_carry(rate, w, now, &share->owed);
    }

    if (gw_window_check(rate, w, now, cost) != GW_OK) {
        share->full = round->number;
        return GW_DECLINED;
    }

    left = left_for(rate, share, round);

    return gw_window_check(&left, w, now, cost);
}


static void
add_unsent(gw_share_t *share, uint64_t time, int64_t cost)
{
    int64_t n;

    if (share->unsent == 0) {
        share->first = (uint32_t) time;
        share->sum = 0;
    }

    n = share->unsent + cost;

    if (n > (int64_t) GW_WINDOW_LIMIT_MAX) {
        n = GW_WINDOW_LIMIT_MAX;

    } else if (n < -(int64_t) GW_WINDOW_LIMIT_MAX) {
        n = -(int64_t) GW_WINDOW_LIMIT_MAX;
    }

    share->unsent = (int32_t) n;
}


void
gw_share_take(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, uint64_t now, uint32_t cost)
{
    gw_window_take(rate, w, cost);

    add_unsent(share, now, cost);
    share->sum += (uint64_t) cost * ((uint32_t) now - share->first);
}


void
gw_share_state(const gw_window_rate_t *rate, const gw_window_t *w,
    const gw_share_t *share, const gw_share_round_t *round, uint64_t sync,
    uint64_t now, uint32_t cost, gw_window_state_t *state)
{
    uint32_t n;
    uint64_t wanted;

    /* what is owed takes its room first */

    wanted = (uint64_t) cost + share->owed;

    if (cost > rate->limit || cost == 0) {
        wanted = cost;

    } else if (wanted > rate->limit) {
        wanted = rate->limit;
    }

    gw_window_state(rate, w, now, (uint32_t) wanted, state);

    if (share->owed) {
        state->reset += rate->period;
    }

    n = reserve(share, round);

    if (n == 0) {
        return;
    }

    state->remaining = n < state->remaining ? state->remaining - n : 0;

    if (cost > state->remaining && state->retry < sync) {
        state->retry = sync;
    }
}


void
gw_share_refund(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, uint64_t now, uint64_t taken, uint32_t cost)
{
    uint64_t sum;

    if (share->owed) {
        gw_window_carry(rate, w, now, &share->owed);
    }

    gw_window_refund(rate, w, taken, cost);

    if (share->unsent > 0) {
        sum = (uint64_t) cost * ((uint32_t) taken - share->first);
        share->sum = sum < share->sum ? share->sum - sum : 0;
    }

    add_unsent(share, taken, -(int64_t) cost);
}


/* Something happens in this round. */

static void
begin(gw_share_t *share, const gw_share_round_t *round)
{
    if (share->round == round->number) {
        return;
    }

    if (since(round, share->round) > round->memory) {
        share->own = 0;
        share->others = 0;
        share->most = 0;
    }

    share->own -= share->own / 4;
    share->others -= share->others / 4;
    share->most -= share->most / 16;
    share->told = 0;
    share->heard = 0;
    share->round = round->number;
}


static uint32_t
sum_of(uint32_t a, uint32_t b)
{
    return a < UINT32_MAX - b ? a + b : UINT32_MAX;
}


int
gw_share_tell(const gw_window_rate_t *rate, const gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t late,
    uint64_t now, gw_share_delta_t *delta)
{
    uint32_t n, counts;
    int32_t count;
    uint64_t age, mean;

    count = share->unsent;
    age = (uint32_t) now - share->first;

    if (count > 0 && age > late && age <= now) {
        /* as much of it as still counts, and when that was charged */
        counts = gw_window_since(rate, w, now - age, &mean);

        if ((uint32_t) count > counts) {
            count = (int32_t) counts;
        }

        age = mean < now ? now - mean : 0;

    } else if (count > 0) {
        mean = share->sum / (uint32_t) count;
        age = mean < age ? age - mean : 0;
    }

    share->unsent = 0;

    if (count == 0) {
        return GW_DECLINED;
    }

    delta->count = count;
    delta->age = (uint32_t) age;

    begin(share, round);

    if (count > 0) {
        n = (uint32_t) count;
        share->told = n;
        share->own = sum_of(share->own, n);
    }

    return GW_OK;
}


void
gw_share_untell(gw_share_t *share, uint64_t now,
    const gw_share_delta_t *delta, int told)
{
    int64_t count;
    uint32_t time, n;
    uint64_t sum;

    count = told ? -(int64_t) delta->count : delta->count;
    time = (uint32_t) now - delta->age;

    if (share->unsent > 0 && (int32_t) (time - share->first) < 0) {
        /* it was charged before what has been charged since */
        share->sum += (uint64_t) share->unsent * (share->first - time);
        share->first = time;
    }

    add_unsent(share, time, count);
    sum = (uint64_t) (time - share->first);

    if (count > 0) {
        n = (uint32_t) count;
        share->sum += sum * n;
        share->own -= n < share->own ? n : share->own;

    } else {
        n = (uint32_t) -count;
        share->sum -= sum * n < share->sum ? sum * n : share->sum;
        share->own = sum_of(share->own, n);
    }
}


void
gw_share_hear(const gw_window_rate_t *rate, gw_window_t *w,
    gw_share_t *share, const gw_share_round_t *round, uint64_t now,
    const gw_share_delta_t *delta)
{
    uint32_t n, rest;
    uint64_t age;

    if (share->owed) {
        gw_window_carry(rate, w, now, &share->owed);
    }

    (void) gw_window_check(rate, w, now, 0);

    if (delta->count < 0) {
        n = (uint32_t) -(int64_t) delta->count;

        /* what is owed was charged by somebody too */

        rest = n < share->owed ? n : share->owed;
        share->owed -= rest;

        (void) gw_window_remove(rate, w, now, delta->age, n - rest);
        return;
    }

    n = (uint32_t) delta->count;

    if (n > rate->limit) {
        n = rate->limit;
    }

    if (n == 0 || delta->age > rate->period) {
        return;
    }

    /*
     * To the nearest slot: its time is a mean, and slots that leave up to
     * T/63 late on every node would make the limit so much less.
     */

    age = delta->age + rate->period / GW_WINDOW_PARTS / 2;
    rest = gw_window_add(rate, w, now, age, n);
    share->owed = sum_of(share->owed, rest);

    if (share->owed > rate->limit) {
        share->owed = rate->limit;
    }

    begin(share, round);

    share->heard = sum_of(share->heard, n);
    share->others = sum_of(share->others, n);

    if (share->heard > share->most) {
        share->most = share->heard;
    }
}
