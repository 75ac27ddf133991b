/*
 * The sliding window.
 */

#include "sliding_window.h"

#include <string.h>


int
gw_window_rate_init(gw_window_rate_t *rate, uint32_t limit, uint64_t period)
{
    if (limit == 0 || limit > GW_WINDOW_LIMIT_MAX
        || period < GW_WINDOW_PERIOD_MIN || period > GW_WINDOW_PERIOD_MAX)
    {
        return GW_ERROR;
    }

    rate->limit = limit;
    rate->unit = (limit + 253) / 254;
    rate->period = period;

    return GW_OK;
}


/* floor(now * 63 / T) without overflow: now = q * T + r. */

static uint64_t
tick_of(const gw_window_rate_t *rate, uint64_t now)
{
    return now / rate->period * GW_WINDOW_PARTS
           + now % rate->period * GW_WINDOW_PARTS / rate->period;
}


/* ms from now until the tick begins; 0 where it has begun. */

static uint64_t
until_tick(const gw_window_rate_t *rate, uint64_t now, uint64_t tick)
{
    uint64_t begins;

    /* ceil(tick * T / 63) */
    begins = tick / GW_WINDOW_PARTS * rate->period
             + (tick % GW_WINDOW_PARTS * rate->period + GW_WINDOW_PARTS - 1)
                   / GW_WINDOW_PARTS;

    return begins > now ? begins - now : 0;
}


static void
clear(gw_window_t *w, uint64_t tick)
{
    memset(w->counts, 0, sizeof(w->counts));
    w->units = 0;
    w->credit = 0;
    w->tick = tick;
}


/* The clock was set back: each slot keeps its age, and a tick is added, as
 * it is not known how much of the old and of the new one has gone by. */

static void
rebase(gw_window_t *w, uint64_t tick)
{
    unsigned i, shift;
    uint8_t moved[GW_WINDOW_SLOTS];

    shift = (unsigned) (tick - w->tick) % GW_WINDOW_SLOTS;

    for (i = 0; i < GW_WINDOW_SLOTS; i++) {
        moved[(i + shift) % GW_WINDOW_SLOTS] = w->counts[i];
    }

    memcpy(w->counts, moved, sizeof(moved));
    w->last += (uint8_t) (tick - w->tick);
    w->tick = tick;
}


static void
move_on(gw_window_t *w, uint64_t tick)
{
    uint8_t *count;

    if (tick <= w->tick) {
        if (w->tick - tick > GW_WINDOW_PARTS) {
            rebase(w, tick + 1);
        }

        return;
    }

    if (w->units == 0 || tick - w->tick >= GW_WINDOW_SLOTS) {
        clear(w, tick);
        return;
    }

    do {
        count = &w->counts[++w->tick % GW_WINDOW_SLOTS];
        w->units = (uint16_t) (w->units - *count);
        *count = 0;
    } while (w->tick < tick);

    if (w->units == 0) {
        w->credit = 0;
    }
}


/* What counts now. */

static uint64_t
counted(const gw_window_rate_t *rate, const gw_window_t *w)
{
    return (uint64_t) w->units * rate->unit - w->credit;
}


int
gw_window_check(const gw_window_rate_t *rate, gw_window_t *w, uint64_t now,
    uint32_t cost)
{
    uint64_t tick;

    tick = tick_of(rate, now);

    if (tick != w->tick) {
        move_on(w, tick);
    }

    if (cost == 0) {
        return GW_OK;
    }

    return counted(rate, w) + cost <= rate->limit ? GW_OK : GW_DECLINED;
}


void
gw_window_take(const gw_window_rate_t *rate, gw_window_t *w, uint32_t cost)
{
    uint32_t units;

    if (cost <= w->credit) {
        w->credit -= cost;
        return;
    }

    cost -= w->credit;
    units = (cost + rate->unit - 1) / rate->unit;

    w->credit = units * rate->unit - cost;
    w->units = (uint16_t) (w->units + units);
    w->counts[w->tick % GW_WINDOW_SLOTS] += (uint8_t) units;
    w->last = (uint8_t) w->tick;
}


void
gw_window_state(const gw_window_rate_t *rate, const gw_window_t *w,
    uint64_t now, uint32_t cost, gw_window_state_t *state)
{
    uint64_t count, left, tick;

    count = counted(rate, w);

    state->remaining = count < rate->limit ? (uint32_t) (rate->limit - count)
                                           : 0;
    state->reset = 0;
    state->retry = 0;

    if (w->units) {
        tick = w->tick - (uint8_t) (w->tick - w->last);
        state->reset = until_tick(rate, now, tick + GW_WINDOW_SLOTS);
    }

    if (cost <= state->remaining) {
        return;
    }

    if (cost > rate->limit) {
        state->retry = GW_WINDOW_NEVER;
        return;
    }

    /* the oldest slots leave first; with the last one the credit goes too */

    left = w->units;
    tick = w->tick + 1 - GW_WINDOW_SLOTS;

    for ( ;; ) {
        left -= w->counts[tick % GW_WINDOW_SLOTS];

        if (left == 0
            || left * rate->unit - w->credit + cost <= rate->limit)
        {
            break;
        }

        tick++;
    }

    state->retry = until_tick(rate, now, tick + GW_WINDOW_SLOTS);
}


void
gw_window_refund(const gw_window_rate_t *rate, gw_window_t *w,
    uint64_t taken, uint32_t cost)
{
    uint8_t *count;
    uint64_t tick;
    uint32_t units;

    tick = tick_of(rate, taken);

    /* later than the window is, by a clock that was set back since: unknown */

    if (tick > w->tick || w->tick - tick >= GW_WINDOW_SLOTS
        || cost > counted(rate, w))
    {
        return;
    }

    count = &w->counts[tick % GW_WINDOW_SLOTS];

    /*
     * Parts of a unit become credit in the newest slot only. Whoever used the
     * credit of an older one would no longer count when that slot leaves.
     */

    if (tick == w->tick) {
        cost += w->credit;
        w->credit = 0;
    }

    units = cost / rate->unit;

    if (units > *count) {
        units = *count;
    }

    *count -= (uint8_t) units;
    w->units = (uint16_t) (w->units - units);

    while (w->units && w->counts[w->last % GW_WINDOW_SLOTS] == 0) {
        w->last--;
    }

    if (tick == w->tick) {
        cost -= units * rate->unit;

        /* what was charged to units of older slots cannot come back */
        w->credit = cost < rate->unit ? cost : rate->unit - 1;
    }
}


void
gw_window_repair(const gw_window_rate_t *rate, gw_window_t *w)
{
    unsigned i;

    w->units = 0;

    for (i = 0; i < GW_WINDOW_SLOTS; i++) {
        w->units = (uint16_t) (w->units + w->counts[i]);
    }

    if (w->units == 0 || w->credit >= rate->unit) {
        w->credit = 0;
    }

    w->last = (uint8_t) w->tick;

    while (w->units && w->counts[w->last % GW_WINDOW_SLOTS] == 0) {
        w->last--;
    }
}


uint32_t
gw_window_add(const gw_window_rate_t *rate, gw_window_t *w, uint64_t now,
    uint64_t age, uint32_t cost)
{
    uint64_t tick, count;
    uint32_t room, rest, units;

    tick = tick_of(rate, age < now ? now - age : 0);

    if (tick > w->tick) {
        tick = w->tick;
    }

    if (w->tick - tick >= GW_WINDOW_SLOTS) {
        return 0;
    }

    count = counted(rate, w);
    room = count < rate->limit ? (uint32_t) (rate->limit - count) : 0;
    rest = cost > room ? cost - room : 0;
    cost -= rest;

    if (cost <= w->credit) {
        w->credit -= cost;
        return rest;
    }

    cost -= w->credit;
    units = (cost + rate->unit - 1) / rate->unit;

    if (w->units == 0 || w->tick - tick < (uint8_t) (w->tick - w->last)) {
        w->last = (uint8_t) tick;
    }

    w->credit = units * rate->unit - cost;
    w->units = (uint16_t) (w->units + units);
    w->counts[tick % GW_WINDOW_SLOTS] += (uint8_t) units;

    return rest;
}


/* Takes off at most so many units of one slot; how many there were. */

static uint32_t
drop(gw_window_t *w, uint64_t tick, uint32_t units)
{
    uint8_t *count;

    count = &w->counts[tick % GW_WINDOW_SLOTS];

    if (units > *count) {
        units = *count;
    }

    *count -= (uint8_t) units;
    w->units = (uint16_t) (w->units - units);

    return units;
}


uint32_t
gw_window_remove(const gw_window_rate_t *rate, gw_window_t *w, uint64_t now,
    uint64_t age, uint32_t cost)
{
    uint64_t tick, i;
    uint32_t units;

    tick = tick_of(rate, age < now ? now - age : 0);

    if (tick > w->tick) {
        tick = w->tick;
    }

    if (w->tick - tick >= GW_WINDOW_SLOTS) {
        return 0;
    }

    units = cost / rate->unit;
    cost -= units * rate->unit;

    /* from where it should be to what is older, then to what is newer */

    for (i = tick; units && w->tick - i < GW_WINDOW_SLOTS; i--) {
        units -= drop(w, i, units);
    }

    for (i = tick + 1; units && i <= w->tick; i++) {
        units -= drop(w, i, units);
    }

    while (w->units && w->counts[w->last % GW_WINDOW_SLOTS] == 0) {
        w->last--;
    }

    if (w->units == 0) {
        w->credit = 0;
    }

    return units * rate->unit + cost;
}


void
gw_window_carry(const gw_window_rate_t *rate, gw_window_t *w, uint64_t now,
    uint32_t *owed)
{
    uint64_t tick, count;
    uint32_t cost;

    tick = tick_of(rate, now);

    /* when all slots have changed, nothing is owed */

    while (*owed && w->tick < tick) {
        move_on(w, w->tick + 1);
        count = counted(rate, w);

        if (count >= rate->limit) {
            continue;
        }

        cost = (uint32_t) (rate->limit - count);

        if (cost > *owed) {
            cost = *owed;
        }

        gw_window_take(rate, w, cost);
        *owed -= cost;
    }

    if (tick != w->tick) {
        move_on(w, tick);
    }
}


uint32_t
gw_window_since(const gw_window_rate_t *rate, const gw_window_t *w,
    uint64_t since, uint64_t *mean)
{
    uint64_t tick, first, units, sum;

    first = w->tick + 1 > GW_WINDOW_SLOTS ? w->tick + 1 - GW_WINDOW_SLOTS : 0;
    tick = tick_of(rate, since);
    first = tick > first ? tick : first;

    units = 0;
    sum = 0;

    for (tick = first; tick <= w->tick; tick++) {
        units += w->counts[tick % GW_WINDOW_SLOTS];
        sum += w->counts[tick % GW_WINDOW_SLOTS] * (tick - first);
    }

    *mean = since;

    if (units) {
        /* in the middle of a slot */
        tick = first + sum / units;
        *mean = until_tick(rate, 0, tick) + rate->period / GW_WINDOW_PARTS / 2;
    }

    return (uint32_t) (units * rate->unit);
}
