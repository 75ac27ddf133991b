/*
 * Tests of src/sliding_window.c against an exact log of what was admitted.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sliding_window.h"


#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define START 1767225600123u
#define ENTRIES (1u << 14)


/* Everything that was admitted, the newest last; older ones are overwritten. */

typedef struct {
    uint64_t time;
    uint64_t cost;
} entry_t;

static entry_t entries[ENTRIES];
static uint64_t nentries;

static gw_window_rate_t rate;
static gw_window_t w;
static uint64_t now;


static const uint32_t limits[] = {
    1, 2, 3, 49, 50, 99, 100, 253, 254, 255, 256, 508, 509, 1000, 1018,
    9999, 1000000, GW_WINDOW_LIMIT_MAX
};

static const uint64_t periods[] = {
    100, 101, 126, 149, 1000, 1008, 9999, 10000, 60000, 3600000, 86400000,
    GW_WINDOW_PERIOD_MAX
};


static uint64_t
any(uint64_t n)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;

    return (x >> 11) % n;
}


static void
set_up(uint32_t limit, uint64_t period, uint64_t start)
{
    assert_int_equal(gw_window_rate_init(&rate, limit, period), GW_OK);
    memset(&w, 0, sizeof(w));
    nentries = 0;
    now = start;
}


static void
log_add(uint64_t cost)
{
    entry_t *last;

    last = &entries[(nentries - 1) % ENTRIES];

    if (nentries && last->time == now) {
        last->cost += cost;
        return;
    }

    entries[nentries % ENTRIES].time = now;
    entries[nentries % ENTRIES].cost = cost;
    nentries++;
}


/* What was admitted at most `age` ago. */

static uint64_t
log_sum(uint64_t age)
{
    uint64_t i, sum;

    sum = 0;

    for (i = nentries; i; i--) {
        assert_true(nentries - i < ENTRIES - 1);

        if (now - entries[(i - 1) % ENTRIES].time > age) {
            break;
        }

        sum += entries[(i - 1) % ENTRIES].cost;
    }

    return sum;
}


/* As long as a request may count, in whole ms: T + T/63. */

static uint64_t
longest(void)
{
    return (rate.period * 64 + 62) / 63;
}


/* 64 ticks of now * 63 / T, the long way round. */

static uint64_t
tick_at(uint64_t time)
{
    return (uint64_t) ((__extension__ (unsigned __int128) time) * 63
                       / rate.period);
}


/* The first ms of the tick after that of now. */

static uint64_t
next_edge(void)
{
    uint64_t low, high, middle;

    low = now;
    high = now + rate.period / 63 + 2;

    while (high - low > 1) {
        middle = low + (high - low) / 2;

        if (tick_at(middle) == tick_at(now)) {
            low = middle;
        } else {
            high = middle;
        }
    }

    return high;
}


static void
sane(void)
{
    size_t i;
    uint64_t units;

    units = 0;

    for (i = 0; i < GW_WINDOW_SLOTS; i++) {
        units += w.counts[i];
    }

    assert_int_equal(units, w.units);
    assert_true(w.credit < rate.unit);
    assert_true(w.units || w.credit == 0);
}


static int
would_pass(uint64_t time, uint64_t cost)
{
    gw_window_t copy;

    copy = w;

    return gw_window_check(&rate, &copy, time, (uint32_t) cost) == GW_OK;
}


/* What is told of now is what happens then. */

static void
state_is_true(uint32_t cost)
{
    gw_window_t before;
    gw_window_state_t state;

    before = w;
    gw_window_state(&rate, &w, now, cost, &state);
    assert_memory_equal(&before, &w, sizeof(w));

    assert_true(state.remaining <= rate.limit);
    assert_true(would_pass(now, state.remaining));
    assert_false(would_pass(now, (uint64_t) state.remaining + 1));

    assert_true(would_pass(now + state.reset, rate.limit));
    assert_true(state.reset == 0
                || !would_pass(now + state.reset - 1, rate.limit));
    assert_true(state.reset || state.remaining == rate.limit);

    if (cost > rate.limit) {
        assert_true(state.retry == GW_WINDOW_NEVER);
        return;
    }

    assert_true(state.retry <= state.reset);
    assert_true(would_pass(now + state.retry, cost));
    assert_true(state.retry == 0 || !would_pass(now + state.retry - 1, cost));
}


/* A request, and the two promises about what becomes of it. */

static int
request(uint32_t cost)
{
    int rc;

    rc = gw_window_check(&rate, &w, now, cost);

    if (rc == GW_OK) {
        assert_true(cost == 0
                    || log_sum(rate.period) + cost
                           <= (uint64_t) rate.limit + rate.unit - 1);
        gw_window_take(&rate, &w, cost);
        log_add(cost);

    } else {
        assert_int_equal(rc, GW_DECLINED);
        assert_true(cost != 0);
        assert_true(log_sum(longest()) + cost > rate.limit);
    }

    sane();

    return rc;
}


static uint32_t
any_cost(void)
{
    switch (any(8)) {

    case 0:
        return (uint32_t) any(rate.limit) + 1;

    case 1:
        return rate.limit / 3 + 1;

    case 2:
        return (uint32_t) any(rate.unit * 2ull) + 1;

    case 3:
        return rate.unit;

    case 4:
        return any(4) == 0 ? UINT32_MAX - (uint32_t) any(3) : 0;

    default:
        return 1;
    }
}


/* On, just before and just after edges; at once; evenly; after a pause. */

static void
any_step(void)
{
    switch (any(12)) {

    case 0:
        now = next_edge();
        break;

    case 1:
        now = next_edge() - 1;
        break;

    case 2:
        now = next_edge() + 1;
        break;

    case 3:
        now += any(rate.period / 20 + 2);
        break;

    case 4:
        if (any(10) == 0) {
            now += any(3 * rate.period);
        }
        break;

    case 5:
        if (any(4) == 0) {
            now += rate.period - any(3);
        }
        break;

    case 6:
        if (any(4) == 0) {
            now += longest() - any(3);
        }
        break;

    default:
        break;
    }
}


static void
for_each_rate(uint64_t start, void (*test)(void))
{
    size_t i, k;

    for (i = 0; i < COUNT(limits); i++) {
        for (k = 0; k < COUNT(periods); k++) {
            set_up(limits[i], periods[k], start);
            test();
        }
    }
}


static void
bounds_are_checked(void **unused)
{
    gw_window_rate_t r;

    (void) unused;

    assert_int_equal(gw_window_rate_init(&r, 0, 1000), GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, 1000000001, 1000), GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, UINT32_MAX, 1000), GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, 1, 0), GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, 1, 99), GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, 1, 366 * 86400000ull + 1),
                     GW_ERROR);
    assert_int_equal(gw_window_rate_init(&r, 1, UINT64_MAX), GW_ERROR);

    assert_int_equal(gw_window_rate_init(&r, 1, 100), GW_OK);
    assert_int_equal(gw_window_rate_init(&r, 1000000000, 366 * 86400000ull),
                     GW_OK);
}


static void
it_is_small(void **unused)
{
    (void) unused;

    assert_true(sizeof(gw_window_t) <= 80);
}


/* The unit is 1, and so all is exact, up to 254; else under 0.4 %. */

static void
units_are_small(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < COUNT(limits); i++) {
        set_up(limits[i], 1000, START);
        assert_true(rate.unit >= 1);
        assert_true(limits[i] > 254 || rate.unit == 1);
        assert_true((rate.unit - 1) * 1000ull < limits[i] * 4ull);
        assert_true((uint64_t) rate.unit * 254 >= limits[i]);
    }
}


static void
from_idle_one_by_one(void)
{
    uint32_t i;
    gw_window_state_t state;

    if (rate.limit > 10000) {
        return;
    }

    for (i = 0; i < rate.limit; i++) {
        gw_window_check(&rate, &w, now, 0);
        gw_window_state(&rate, &w, now, 1, &state);
        assert_int_equal(state.remaining, rate.limit - i);
        assert_int_equal(state.retry, 0);
        assert_int_equal(request(1), GW_OK);
    }

    assert_int_equal(request(1), GW_DECLINED);
    state_is_true(1);

    /* idle again: the whole quota at once, no more and no less */

    now += longest();
    assert_int_equal(request(rate.limit), GW_OK);
    assert_int_equal(request(1), GW_DECLINED);
    assert_int_equal(request(0), GW_OK);
    state_is_true(1);
    state_is_true(rate.limit);
}


static void
from_idle_exactly_the_limit_passes(void **unused)
{
    (void) unused;

    for_each_rate(0, from_idle_one_by_one);
    for_each_rate(1, from_idle_one_by_one);
    for_each_rate(START, from_idle_one_by_one);
}


/* What was taken counts through the whole period, wherever it began. */

static void
taken_and_free_again(void)
{
    uint64_t i, taken;

    for (i = 0; i < 70; i++) {
        taken = now;
        assert_int_equal(request(rate.limit), GW_OK);

        now = taken + rate.period;
        assert_int_equal(request(1), GW_DECLINED);

        now = taken + longest();
        assert_int_equal(request(rate.limit), GW_OK);

        now += longest() + any(rate.period);
        now = next_edge() - any(2);
    }
}


static void
a_request_counts_for_the_period_and_not_much_longer(void **unused)
{
    (void) unused;

    for_each_rate(START, taken_and_free_again);
}


static void
anything(void)
{
    unsigned i;

    for (i = 0; i < 3000; i++) {
        any_step();
        (void) request(any_cost());

        if (any(8) == 0) {
            state_is_true(any_cost());
        }
    }
}


static void
any_arrivals_keep_the_promises(void **unused)
{
    unsigned i;

    (void) unused;

    for (i = 0; i < 4; i++) {
        for_each_rate(START + any(1000), anything);
    }
}


/* Wherever there is room it is taken at once: the most that can be had. */

static void
greed(void)
{
    unsigned i;
    uint32_t part;
    gw_window_state_t state;

    for (i = 0; i < 600; i++) {
        gw_window_check(&rate, &w, now, 0);
        gw_window_state(&rate, &w, now, 0, &state);

        part = any(3) ? state.remaining
                      : (uint32_t) any(state.remaining + 1ull);

        if (part) {
            assert_int_equal(request(part), GW_OK);
        }

        /* a single one more makes a unit be taken for it */
        (void) request(1);
        any_step();
    }
}


static void
greedy_bursts_keep_the_promises(void **unused)
{
    unsigned i;

    (void) unused;

    for (i = 0; i < 8; i++) {
        for_each_rate(START + any(1000), greed);
    }
}


/* An even load at twice the limit gets all of the limit, less T/63. */

static void
an_even_load_gets_the_limit(void **unused)
{
    uint64_t i, passed;

    (void) unused;

    set_up(100, 1000, START);
    passed = 0;

    for (i = 0; i < 100000; i += 5) {
        now = START + i;
        passed += request(1) == GW_OK;
    }

    assert_in_range(passed, 9800, 10100);
}


static void
at_the_ends_of_time(void **unused)
{
    size_t i;

    static const uint64_t starts[] = {
        0, 1, 63, 64, 99, 100, UINT32_MAX - 500, UINT32_MAX,
        UINT64_MAX / 63 - 500, UINT64_MAX / 63, UINT64_MAX / 63 * 2 - 1
    };

    (void) unused;

    for (i = 0; i < COUNT(starts); i++) {
        for_each_rate(starts[i], taken_and_free_again);
        for_each_rate(starts[i], greed);
    }
}


/* Each worker has a clock of its own, which stands a little behind. */

static void
clocks_behind(void)
{
    int rc;
    unsigned i;
    uint32_t cost;
    uint64_t behind, real;

    real = now;
    behind = rate.period / 10;

    for (i = 0; i < 3000; i++) {
        any_step();
        real = real > now ? real : now;
        cost = any_cost();

        rc = gw_window_check(&rate, &w, real - any(behind + 1), cost);
        sane();
        now = real;

        if (rc == GW_OK) {
            assert_true(cost == 0
                        || log_sum(rate.period - behind) + cost
                               <= (uint64_t) rate.limit + rate.unit - 1);
            gw_window_take(&rate, &w, cost);
            log_add(cost);

        } else {
            assert_true(log_sum(longest() + behind) + cost > rate.limit);
        }
    }
}


static void
clocks_may_differ(void **unused)
{
    (void) unused;

    for_each_rate(START, clocks_behind);
}


/* The clock is set to another time: what was admitted is as old as before. */

static void
set_clock(uint64_t time)
{
    uint64_t i;

    for (i = 0; i < nentries && i < ENTRIES; i++) {
        entries[i].time += time - now;
    }

    now = time;
}


static void
clock_set_back(void)
{
    unsigned i, k;
    uint64_t most;

    for (i = 0; i < 50; i++) {
        for (k = 0; k < 30; k++) {
            any_step();
            (void) gw_window_check(&rate, &w, now, 0);

            if (gw_window_check(&rate, &w, now, 1) == GW_OK) {
                (void) request(1 + (uint32_t) any(rate.limit / 4 + 1));
            }
        }

        (void) gw_window_check(&rate, &w, now, 0);
        set_clock(now - rate.period * 2 - any(rate.period * 5));

        /* never too many, as request() asserts, and all is free in time */

        for (k = 0; k < 10; k++) {
            if (gw_window_check(&rate, &w, now, 1) == GW_OK) {
                gw_window_take(&rate, &w, 1);
                log_add(1);
                assert_true(log_sum(rate.period)
                            <= (uint64_t) rate.limit + rate.unit - 1);
            }

            now += any(rate.period / 8);
            sane();
        }

        most = rate.period + (rate.period + 20) / 21 + 1;
        now += most;
        assert_int_equal(request(rate.limit), GW_OK);
        now += any(2) ? longest() : 0;
    }
}


static void
a_clock_set_back_is_survived(void **unused)
{
    (void) unused;

    for_each_rate(START * 1000, clock_set_back);
}


/* As ngx_msec_t does where it has 32 bits. */

static void
a_wrapping_clock_is_a_clock_set_back(void **unused)
{
    (void) unused;

    set_up(100, 1000, UINT32_MAX - 300);
    assert_int_equal(request(100), GW_OK);

    assert_int_equal(gw_window_check(&rate, &w, 200, 1), GW_DECLINED);
    assert_int_equal(gw_window_check(&rate, &w, 200 + 1048, 100), GW_OK);
}


static void
set_back_by_less_than_a_period(void **unused)
{
    gw_window_state_t state;

    (void) unused;

    set_up(10, 1000, START);
    assert_int_equal(request(10), GW_OK);

    now = START - 900;
    assert_int_equal(gw_window_check(&rate, &w, now, 1), GW_DECLINED);
    gw_window_state(&rate, &w, now, 1, &state);
    assert_in_range(state.retry, 1900, 1920);
    state_is_true(1);
}


static void
set_far_ahead_all_is_free(void **unused)
{
    (void) unused;

    set_up(1000, 1000, START);
    assert_int_equal(request(999), GW_OK);
    now += 1000000000000u;
    assert_int_equal(request(1000), GW_OK);
    assert_int_equal(request(1), GW_DECLINED);
}


static void
costs_do_not_overflow(void **unused)
{
    (void) unused;

    set_up(GW_WINDOW_LIMIT_MAX, 1000, START);
    assert_int_equal(request(UINT32_MAX), GW_DECLINED);
    assert_int_equal(request(GW_WINDOW_LIMIT_MAX), GW_OK);
    assert_int_equal(request(UINT32_MAX), GW_DECLINED);
    assert_int_equal(request(1), GW_DECLINED);
    state_is_true(UINT32_MAX);
}


static void
a_check_charges_nothing(void **unused)
{
    unsigned i;

    (void) unused;

    set_up(10, 1000, START);

    for (i = 0; i < 100; i++) {
        assert_int_equal(gw_window_check(&rate, &w, now, 10), GW_OK);
    }

    assert_int_equal(request(10), GW_OK);

    for (i = 0; i < 100; i++) {
        assert_int_equal(gw_window_check(&rate, &w, now, 1), GW_DECLINED);
        assert_int_equal(gw_window_check(&rate, &w, now, 0), GW_OK);
    }

    /* what was refused was not charged either */
    assert_true(would_pass(now + longest(), 10));
}


static void
what_is_given_back_is_free(void **unused)
{
    size_t i;
    uint64_t taken;
    gw_window_state_t state;

    (void) unused;

    for (i = 0; i < COUNT(limits); i++) {
        set_up(limits[i], 10000, START);

        assert_int_equal(request(rate.limit), GW_OK);
        gw_window_refund(&rate, &w, now, 1);
        sane();
        gw_window_state(&rate, &w, now, 1, &state);
        assert_int_equal(state.remaining, 1);
        assert_int_equal(gw_window_check(&rate, &w, now, 1), GW_OK);
        assert_int_equal(gw_window_check(&rate, &w, now, 2), GW_DECLINED);
        gw_window_take(&rate, &w, 1);

        gw_window_refund(&rate, &w, now, rate.limit);
        sane();
        assert_int_equal(w.units, 0);

        /* from an older slot: whole units */

        taken = now;
        assert_int_equal(gw_window_check(&rate, &w, now, rate.limit), GW_OK);
        gw_window_take(&rate, &w, rate.limit);
        now += 5000;
        gw_window_check(&rate, &w, now, 0);
        gw_window_refund(&rate, &w, taken, rate.unit);
        sane();
        gw_window_state(&rate, &w, now, 1, &state);
        assert_int_equal(state.remaining, rate.unit);

        /* nothing comes back of what no longer counts */

        now = taken + longest();
        assert_int_equal(gw_window_check(&rate, &w, now, rate.limit), GW_OK);
        gw_window_take(&rate, &w, rate.limit);
        gw_window_refund(&rate, &w, taken, 1);
        gw_window_refund(&rate, &w, now + 20000, 1);
        sane();
        assert_int_equal(gw_window_check(&rate, &w, now, 1), GW_DECLINED);
    }
}


/* Who takes and gives back in turn must not get more than the limit. */

static void
take_and_give_back(void)
{
    unsigned i;
    uint32_t cost;
    uint64_t k;
    entry_t *e;

    for (i = 0; i < 3000; i++) {
        any_step();
        cost = any(2) ? 1 : any_cost();

        if (any(2) && nentries) {
            /* of what is still in the log, some of it */
            k = any(nentries < 100 ? nentries : 100) + 1;
            e = &entries[(nentries - k) % ENTRIES];
            cost = cost < e->cost ? cost : (uint32_t) e->cost;

            gw_window_check(&rate, &w, now, 0);
            gw_window_refund(&rate, &w, e->time, cost);
            e->cost -= cost;
            sane();
            continue;
        }

        if (gw_window_check(&rate, &w, now, cost) == GW_OK) {
            assert_true(cost == 0
                        || log_sum(rate.period) + cost
                               <= (uint64_t) rate.limit + rate.unit - 1);
            gw_window_take(&rate, &w, cost);
            log_add(cost);
            sane();
        }
    }
}


static void
giving_back_keeps_the_bound(void **unused)
{
    unsigned i;

    (void) unused;

    for (i = 0; i < 4; i++) {
        for_each_rate(START + any(1000), take_and_give_back);
    }
}


/* One by one: what is admitted now uses the credit of what came before. */

static void
giving_back_moves_no_charge(void **unused)
{
    unsigned i;
    uint64_t before;

    (void) unused;

    set_up(1016, 6300, START - START % 6300);
    assert_int_equal(request(1000), GW_OK);
    before = now;
    now += 3000;

    for (i = 0; i < 1000; i++) {
        gw_window_check(&rate, &w, now, 0);
        gw_window_refund(&rate, &w, before, 1);
        entries[0].cost--;

        if (gw_window_check(&rate, &w, now, 1) == GW_OK) {
            gw_window_take(&rate, &w, 1);
            log_add(1);
        }
    }

    now = before + longest();

    while (gw_window_check(&rate, &w, now, 1) == GW_OK) {
        gw_window_take(&rate, &w, 1);
        log_add(1);
        assert_true(log_sum(6300) <= 1016 + rate.unit - 1);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_checked),
        cmocka_unit_test(it_is_small),
        cmocka_unit_test(units_are_small),
        cmocka_unit_test(from_idle_exactly_the_limit_passes),
        cmocka_unit_test(a_request_counts_for_the_period_and_not_much_longer),
        cmocka_unit_test(any_arrivals_keep_the_promises),
        cmocka_unit_test(greedy_bursts_keep_the_promises),
        cmocka_unit_test(an_even_load_gets_the_limit),
        cmocka_unit_test(at_the_ends_of_time),
        cmocka_unit_test(clocks_may_differ),
        cmocka_unit_test(a_clock_set_back_is_survived),
        cmocka_unit_test(a_wrapping_clock_is_a_clock_set_back),
        cmocka_unit_test(set_back_by_less_than_a_period),
        cmocka_unit_test(set_far_ahead_all_is_free),
        cmocka_unit_test(costs_do_not_overflow),
        cmocka_unit_test(a_check_charges_nothing),
        cmocka_unit_test(what_is_given_back_is_free),
        cmocka_unit_test(giving_back_keeps_the_bound),
        cmocka_unit_test(giving_back_moves_no_charge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
