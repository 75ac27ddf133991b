#include "breaker.h"

#include <string.h>


static void
gw_breaker_enter(gw_breaker_t *b, gw_breaker_state_e state, uint64_t now)
{
    b->state = state;
    b->generation++;
    b->in_a_row = 0;
    b->since = now;

    memset(&b->sum, 0, sizeof(b->sum));
    memset(b->parts, 0, sizeof(b->parts));
}


static void
gw_breaker_open(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now,
    uint32_t random)
{
    uint64_t well, open;

    if (b->state == GW_BREAKER_CLOSED) {
        well = conf->window > b->open ? conf->window : b->open;

        if (now - b->since >= well) {
            b->open = 0;
        }
    }

    if (b->open == 0) {
        open = conf->open;

    } else {
        /* 80 to 120 % of twice the last; what open_max cuts off anyway is
           cut first, so that nothing overflows */
        open = b->open < conf->open_max ? b->open : conf->open_max;
        open = open * 2 * (8000 + random % 4001) / 10000;
    }

    if (open > conf->open_max) {
        open = conf->open_max;
    }

    b->open = open ? open : 1;

    gw_breaker_enter(b, GW_BREAKER_OPEN, now);
}


static uint64_t
gw_breaker_now(const gw_breaker_t *b, uint64_t now)
{
    return now < b->since ? b->since : now;
}


gw_breaker_state_e
gw_breaker_state(const gw_breaker_t *b, uint64_t now)
{
    if (b->state == GW_BREAKER_OPEN && gw_breaker_wait(b, now) == 0) {
        return GW_BREAKER_HALF_OPEN;
    }

    return (gw_breaker_state_e) b->state;
}


uint64_t
gw_breaker_wait(const gw_breaker_t *b, uint64_t now)
{
    uint64_t gone;

    if (b->state != GW_BREAKER_OPEN) {
        return 0;
    }

    gone = gw_breaker_now(b, now) - b->since;

    return gone < b->open ? b->open - gone : 0;
}


gw_breaker_change_e
gw_breaker_sweep(gw_breaker_t *b, uint64_t now)
{
    if (b->state != GW_BREAKER_OPEN || gw_breaker_wait(b, now)) {
        return GW_BREAKER_NO_CHANGE;
    }

    gw_breaker_enter(b, GW_BREAKER_HALF_OPEN, gw_breaker_now(b, now));

    return GW_BREAKER_TIME;
}


int
gw_breaker_admit(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now,
    gw_breaker_ticket_t *ticket, gw_breaker_change_e *change)
{
    *change = gw_breaker_sweep(b, now);

    ticket->generation = b->generation;
    ticket->probe = false;

    if (b->state == GW_BREAKER_CLOSED) {
        return GW_OK;
    }

    if (b->state == GW_BREAKER_OPEN || b->probes >= conf->probes) {
        return GW_DECLINED;
    }

    b->probes++;
    ticket->probe = true;

    return GW_OK;
}


/* Makes the part that now is in the current one, and empties those that have
   left the window. The sum is made anew each time: a writer that was killed
   may have left it wrong. */
static gw_breaker_count_t *
gw_breaker_part(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now)
{
    size_t i;
    uint64_t n, width;

    width = conf->window / GW_BREAKER_PARTS;
    n = now / (width ? width : 1);

    if (n > b->part) {
        if (n - b->part >= GW_BREAKER_PARTS) {
            memset(b->parts, 0, sizeof(b->parts));
            b->part = n;
        }

        while (b->part < n) {
            b->part++;
            memset(&b->parts[b->part % GW_BREAKER_PARTS], 0,
                   sizeof(b->parts[0]));
        }

        memset(&b->sum, 0, sizeof(b->sum));

        for (i = 0; i < GW_BREAKER_PARTS; i++) {
            b->sum.ok += b->parts[i].ok;
            b->sum.failed += b->parts[i].failed;
        }
    }

    return &b->parts[b->part % GW_BREAKER_PARTS];
}


static gw_breaker_change_e
gw_breaker_count(gw_breaker_t *b, const gw_breaker_conf_t *conf, bool failed,
    uint64_t now, uint32_t random)
{
    uint64_t all;
    gw_breaker_count_t *part;

    part = gw_breaker_part(b, conf, now);

    if (failed) {
        b->in_a_row++;
        b->sum.failed++;
        part->failed++;

    } else {
        b->in_a_row = 0;
        b->sum.ok++;
        part->ok++;
    }

    all = (uint64_t) b->sum.ok + b->sum.failed;

    if (b->in_a_row >= conf->failures) {
        gw_breaker_open(b, conf, now, random);
        return GW_BREAKER_IN_A_ROW;
    }

    if (all >= conf->min_requests
        && (uint64_t) b->sum.failed * 100 >= all * conf->ratio)
    {
        gw_breaker_open(b, conf, now, random);
        return GW_BREAKER_RATIO;
    }

    return GW_BREAKER_NO_CHANGE;
}


gw_breaker_change_e
gw_breaker_done(gw_breaker_t *b, const gw_breaker_conf_t *conf,
    const gw_breaker_ticket_t *ticket, gw_breaker_outcome_e outcome,
    uint64_t now, uint32_t random)
{
    if (ticket->probe) {
        gw_breaker_release(b, 1);
    }

    if (outcome == GW_BREAKER_NOTHING || ticket->generation != b->generation) {
        return GW_BREAKER_NO_CHANGE;
    }

    now = gw_breaker_now(b, now);

    if (b->state == GW_BREAKER_CLOSED) {
        return gw_breaker_count(b, conf, outcome == GW_BREAKER_FAILURE, now,
                                random);
    }

    /* half-open: in the open state nothing was let in */

    if (outcome == GW_BREAKER_FAILURE) {
        gw_breaker_open(b, conf, now, random);
        return GW_BREAKER_PROBE;
    }

    b->in_a_row++;

    if (b->in_a_row < conf->successes) {
        return GW_BREAKER_NO_CHANGE;
    }

    gw_breaker_enter(b, GW_BREAKER_CLOSED, now);

    return GW_BREAKER_WELL;
}


void
gw_breaker_release(gw_breaker_t *b, uint32_t n)
{
    b->probes -= n < b->probes ? n : b->probes;
}
