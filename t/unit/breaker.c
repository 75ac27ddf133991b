#include "guard.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/breaker.h"


#define SECOND 1000

static const gw_breaker_conf_t usual = {
    .failures = 5,
    .ratio = 50,
    .min_requests = 20,
    .probes = 3,
    .successes = 3,
    .window = 10 * SECOND,
    .open = 30 * SECOND,
    .open_max = 300 * SECOND,
};


static gw_breaker_ticket_t
admitted(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now)
{
    gw_breaker_change_e change;
    gw_breaker_ticket_t ticket;

    assert_int_equal(gw_breaker_admit(b, conf, now, &ticket, &change), GW_OK);

    return ticket;
}


static void
refused(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now)
{
    gw_breaker_change_e change;
    gw_breaker_ticket_t ticket;

    assert_int_equal(gw_breaker_admit(b, conf, now, &ticket, &change),
                     GW_DECLINED);
}


static gw_breaker_change_e
attempt(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now,
    gw_breaker_outcome_e outcome)
{
    gw_breaker_ticket_t ticket;

    ticket = admitted(b, conf, now);

    return gw_breaker_done(b, conf, &ticket, outcome, now, 2000);
}


static void
fail_until_open(gw_breaker_t *b, const gw_breaker_conf_t *conf, uint64_t now)
{
    uint32_t i;

    for (i = 1; i < conf->failures; i++) {
        assert_int_equal(attempt(b, conf, now, GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    assert_int_equal(attempt(b, conf, now, GW_BREAKER_FAILURE),
                     GW_BREAKER_IN_A_ROW);
}


static void
failures_in_a_row_open_it(void **state)
{
    int i;
    gw_breaker_t b = { 0 };

    (void) state;

    for (i = 0; i < 4; i++) {
        attempt(&b, &usual, 1000, GW_BREAKER_FAILURE);
    }

    /* a success between begins the row anew, what tells nothing does not */
    attempt(&b, &usual, 1000, GW_BREAKER_SUCCESS);

    for (i = 0; i < 4; i++) {
        assert_int_equal(attempt(&b, &usual, 1000, GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    assert_int_equal(attempt(&b, &usual, 1000, GW_BREAKER_NOTHING),
                     GW_BREAKER_NO_CHANGE);
    assert_int_equal(attempt(&b, &usual, 1000, GW_BREAKER_FAILURE),
                     GW_BREAKER_IN_A_ROW);
    assert_int_equal(gw_breaker_state(&b, 1000), GW_BREAKER_OPEN);
}


/* However far they are apart. */
static void
a_row_has_no_window(void **state)
{
    uint64_t now;
    gw_breaker_t b = { 0 };

    (void) state;

    for (now = 0; now < 4 * 3600 * SECOND; now += 3600 * SECOND) {
        assert_int_equal(attempt(&b, &usual, now, GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    assert_int_equal(attempt(&b, &usual, now, GW_BREAKER_FAILURE),
                     GW_BREAKER_IN_A_ROW);
}


static void
ratio_needs_min_requests(void **state)
{
    int i;
    gw_breaker_t b = { 0 };

    (void) state;

    for (i = 0; i < 19; i++) {
        assert_int_equal(attempt(&b, &usual, 5000,
                                 i % 2 ? GW_BREAKER_SUCCESS
                                       : GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    /* 10 of 20: whatever the twentieth was */
    assert_int_equal(attempt(&b, &usual, 5000, GW_BREAKER_SUCCESS),
                     GW_BREAKER_RATIO);
}


static void
under_the_ratio_it_stays_closed(void **state)
{
    int i;
    gw_breaker_t b = { 0 };

    (void) state;

    for (i = 0; i < 10000; i++) {
        assert_int_equal(attempt(&b, &usual, 1000 + (uint64_t) i * 10,
                                 i % 5 < 2 ? GW_BREAKER_FAILURE
                                           : GW_BREAKER_SUCCESS),
                         GW_BREAKER_NO_CHANGE);
    }
}


static void
the_window_rolls(void **state)
{
    int i;
    gw_breaker_t b = { 0 };

    (void) state;

    for (i = 0; i < 16; i++) {
        attempt(&b, &usual, 0, i % 2 ? GW_BREAKER_SUCCESS
                                     : GW_BREAKER_FAILURE);
    }

    /* 9499 ms later all is there still, a window later nothing is */
    gw_breaker_t later = b;

    for (i = 0; i < 3; i++) {
        assert_int_equal(attempt(&later, &usual, 9499, GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    assert_int_equal(attempt(&later, &usual, 9499, GW_BREAKER_SUCCESS),
                     GW_BREAKER_RATIO);

    for (i = 0; i < 4; i++) {
        assert_int_equal(attempt(&b, &usual, 10000, GW_BREAKER_FAILURE),
                         GW_BREAKER_NO_CHANGE);
    }

    attempt(&b, &usual, 10000, GW_BREAKER_SUCCESS);
}


static void
open_lasts_exactly(void **state)
{
    gw_breaker_t b = { 0 };

    (void) state;

    fail_until_open(&b, &usual, 7000);

    assert_int_equal(gw_breaker_wait(&b, 7000), 30000);
    assert_int_equal(gw_breaker_wait(&b, 36999), 1);
    assert_int_equal(gw_breaker_state(&b, 36999), GW_BREAKER_OPEN);
    assert_int_equal(gw_breaker_sweep(&b, 36999), GW_BREAKER_NO_CHANGE);
    refused(&b, &usual, 36999);

    assert_int_equal(gw_breaker_wait(&b, 37000), 0);
    assert_int_equal(gw_breaker_state(&b, 37000), GW_BREAKER_HALF_OPEN);
    assert_int_equal(gw_breaker_sweep(&b, 37000), GW_BREAKER_TIME);
    assert_int_equal(gw_breaker_sweep(&b, 37000), GW_BREAKER_NO_CHANGE);
    (void) admitted(&b, &usual, 37000);
}


static void
probes_are_bounded(void **state)
{
    int i;
    gw_breaker_t b = { 0 };
    gw_breaker_ticket_t t[3];

    (void) state;

    fail_until_open(&b, &usual, 0);

    for (i = 0; i < 3; i++) {
        t[i] = admitted(&b, &usual, 30000);
        assert_true(t[i].probe);
    }

    refused(&b, &usual, 30000);
    refused(&b, &usual, 90000);

    /* one that tells nothing is given back, and neither closes nor opens */
    assert_int_equal(gw_breaker_done(&b, &usual, &t[0], GW_BREAKER_NOTHING,
                                     30001, 0),
                     GW_BREAKER_NO_CHANGE);
    t[0] = admitted(&b, &usual, 30001);
    refused(&b, &usual, 30001);

    assert_int_equal(gw_breaker_done(&b, &usual, &t[0], GW_BREAKER_SUCCESS,
                                     30002, 0),
                     GW_BREAKER_NO_CHANGE);
    assert_int_equal(gw_breaker_done(&b, &usual, &t[1], GW_BREAKER_SUCCESS,
                                     30002, 0),
                     GW_BREAKER_NO_CHANGE);
    assert_int_equal(gw_breaker_done(&b, &usual, &t[2], GW_BREAKER_SUCCESS,
                                     30002, 0),
                     GW_BREAKER_WELL);
    assert_int_equal(gw_breaker_state(&b, 30002), GW_BREAKER_CLOSED);
}


static void
one_failed_probe_opens_it(void **state)
{
    gw_breaker_t b = { 0 };
    gw_breaker_ticket_t t[3];

    (void) state;

    fail_until_open(&b, &usual, 0);

    t[0] = admitted(&b, &usual, 30000);
    t[1] = admitted(&b, &usual, 30000);
    t[2] = admitted(&b, &usual, 30000);

    gw_breaker_done(&b, &usual, &t[0], GW_BREAKER_SUCCESS, 30000, 0);
    assert_int_equal(gw_breaker_done(&b, &usual, &t[1], GW_BREAKER_FAILURE,
                                     30000, 2000),
                     GW_BREAKER_PROBE);

    /* what another says now is of the state before */
    assert_int_equal(gw_breaker_done(&b, &usual, &t[2], GW_BREAKER_FAILURE,
                                     30001, 2000),
                     GW_BREAKER_NO_CHANGE);
    assert_int_equal(gw_breaker_wait(&b, 30001), 59999);
}


static void
a_probe_of_before_still_counts_as_one(void **state)
{
    gw_breaker_t b = { 0 };
    gw_breaker_ticket_t old, t[3];

    (void) state;

    fail_until_open(&b, &usual, 0);

    old = admitted(&b, &usual, 30000);
    t[0] = admitted(&b, &usual, 30000);
    gw_breaker_done(&b, &usual, &t[0], GW_BREAKER_FAILURE, 30000, 2000);

    t[0] = admitted(&b, &usual, 90000);
    t[1] = admitted(&b, &usual, 90000);
    refused(&b, &usual, 90000);

    /* its failure tells nothing of the state that is now */
    assert_int_equal(gw_breaker_done(&b, &usual, &old, GW_BREAKER_FAILURE,
                                     90000, 0),
                     GW_BREAKER_NO_CHANGE);
    (void) admitted(&b, &usual, 90000);
    refused(&b, &usual, 90000);
}


static void
outcomes_of_before_do_not_count(void **state)
{
    int i;
    gw_breaker_t b = { 0 };
    gw_breaker_ticket_t t[20];

    (void) state;

    for (i = 0; i < 20; i++) {
        t[i] = admitted(&b, &usual, 0);
    }

    fail_until_open(&b, &usual, 0);

    for (i = 0; i < 10; i++) {
        assert_int_equal(gw_breaker_done(&b, &usual, &t[i],
                                         GW_BREAKER_SUCCESS, 31000, 0),
                         GW_BREAKER_NO_CHANGE);
    }

    for (i = 0; i < 3; i++) {
        attempt(&b, &usual, 31000, GW_BREAKER_SUCCESS);
    }

    assert_int_equal(gw_breaker_state(&b, 31000), GW_BREAKER_CLOSED);

    for (i = 10; i < 20; i++) {
        assert_int_equal(gw_breaker_done(&b, &usual, &t[i],
                                         GW_BREAKER_FAILURE, 31000, 0),
                         GW_BREAKER_NO_CHANGE);
    }
}


/* The next time open, after one of `last` ms, with these random bits. */
static uint64_t
next_open(uint64_t last, uint32_t random)
{
    gw_breaker_t b = { .state = GW_BREAKER_HALF_OPEN, .open = last };
    gw_breaker_ticket_t ticket;

    ticket = admitted(&b, &usual, 1000);
    gw_breaker_done(&b, &usual, &ticket, GW_BREAKER_FAILURE, 1000, random);

    return gw_breaker_wait(&b, 1000);
}


static void
open_doubles_with_jitter(void **state)
{
    int i;
    uint64_t open, least, most;

    (void) state;

    least = UINT64_MAX;
    most = 0;

    for (i = 0; i < 100000; i++) {
        open = next_open(30000, (uint32_t) i * 2654435761u);
        least = open < least ? open : least;
        most = open > most ? open : most;
    }

    assert_int_equal(least, 48000);
    assert_int_equal(most, 72000);

    assert_int_equal(next_open(200000, 0), 300000);
    assert_int_equal(next_open(300000, UINT32_MAX), 300000);
    assert_int_equal(next_open(UINT64_MAX, UINT32_MAX), 300000);
}


static void
open_begins_anew_when_well(void **state)
{
    int i;
    uint64_t now;
    gw_breaker_t b = { 0 };

    (void) state;

    fail_until_open(&b, &usual, 0);

    for (i = 0; i < 3; i++) {
        attempt(&b, &usual, 30000, GW_BREAKER_SUCCESS);
    }

    /* it was open 30 s: less well than that, and it is the second time */
    gw_breaker_t soon = b;

    fail_until_open(&soon, &usual, 59999);
    assert_int_equal(gw_breaker_wait(&soon, 59999), 60000);

    now = 60000;
    fail_until_open(&b, &usual, now);
    assert_int_equal(gw_breaker_wait(&b, now), 30000);
}


static void
a_clock_that_goes_back(void **state)
{
    gw_breaker_t b = { 0 };

    (void) state;

    fail_until_open(&b, &usual, 100000);
    assert_int_equal(gw_breaker_wait(&b, 0), 30000);
    refused(&b, &usual, 99000);
    attempt(&b, &usual, 130000, GW_BREAKER_SUCCESS);
    attempt(&b, &usual, 129000, GW_BREAKER_SUCCESS);
    attempt(&b, &usual, 128000, GW_BREAKER_SUCCESS);
    assert_int_equal(gw_breaker_state(&b, 0), GW_BREAKER_CLOSED);
    attempt(&b, &usual, 131000, GW_BREAKER_FAILURE);
    attempt(&b, &usual, 1000, GW_BREAKER_FAILURE);
}


static void
lost_probes_are_given_back(void **state)
{
    gw_breaker_t b = { 0 };

    (void) state;

    fail_until_open(&b, &usual, 0);

    (void) admitted(&b, &usual, 30000);
    (void) admitted(&b, &usual, 30000);
    (void) admitted(&b, &usual, 30000);
    refused(&b, &usual, 30000);

    gw_breaker_release(&b, 2);
    (void) admitted(&b, &usual, 30000);
    (void) admitted(&b, &usual, 30000);
    refused(&b, &usual, 30000);

    gw_breaker_release(&b, 7);
    assert_int_equal(b.probes, 0);
}


/*
 * A model that keeps every outcome with its time, and everything else in so
 * many words. Counted as the window says: by parts of it.
 */

typedef struct {
    uint64_t at;
    bool failed;
} event_t;

typedef struct {
    gw_breaker_state_e state;
    uint64_t until;
    uint64_t closed_at;
    uint64_t last;
    int epoch;
    int in_flight;
    uint32_t row;
    size_t n;
    event_t events[4096];
} model_t;


static void
model_opens(model_t *m, const gw_breaker_conf_t *c, uint64_t now)
{
    uint64_t well = c->window > m->last ? c->window : m->last;

    if (m->state == GW_BREAKER_CLOSED && now - m->closed_at >= well) {
        m->last = 0;
    }

    m->last = m->last ? m->last * 2 : c->open;
    m->last = m->last > c->open_max ? c->open_max : m->last;
    m->state = GW_BREAKER_OPEN;
    m->until = now + m->last;
    m->epoch++;
}


static void
model_enters(model_t *m, gw_breaker_state_e state, uint64_t now)
{
    m->state = state;
    m->closed_at = now;
    m->epoch++;
    m->row = 0;
    m->n = 0;
}


static bool
model_admits(model_t *m, const gw_breaker_conf_t *c, uint64_t now)
{
    if (m->state == GW_BREAKER_OPEN && now >= m->until) {
        model_enters(m, GW_BREAKER_HALF_OPEN, now);
    }

    if (m->state == GW_BREAKER_HALF_OPEN
        && m->in_flight < (int) c->probes)
    {
        m->in_flight++;
        return true;
    }

    return m->state == GW_BREAKER_CLOSED;
}


static void
model_ends(model_t *m, const gw_breaker_conf_t *c, int epoch, bool probe,
    gw_breaker_outcome_e outcome, uint64_t now)
{
    size_t i;
    uint64_t width, oldest, all, failed;

    m->in_flight -= probe;

    if (outcome == GW_BREAKER_NOTHING || epoch != m->epoch) {
        return;
    }

    m->row = (outcome == GW_BREAKER_FAILURE)
             == (m->state == GW_BREAKER_CLOSED) ? m->row + 1 : 0;

    if (m->state == GW_BREAKER_HALF_OPEN) {
        if (outcome == GW_BREAKER_FAILURE) {
            model_opens(m, c, now);

        } else if (m->row == c->successes) {
            model_enters(m, GW_BREAKER_CLOSED, now);
        }

        return;
    }

    assert_true(m->n < 4096);
    m->events[m->n].at = now;
    m->events[m->n++].failed = outcome == GW_BREAKER_FAILURE;

    width = c->window / GW_BREAKER_PARTS;
    oldest = now / width < GW_BREAKER_PARTS
             ? 0 : now / width - GW_BREAKER_PARTS + 1;
    all = failed = 0;

    for (i = 0; i < m->n; i++) {
        if (m->events[i].at / width >= oldest) {
            all++;
            failed += m->events[i].failed;
        }
    }

    if (m->row >= c->failures
        || (all >= c->min_requests && failed * 100 >= all * c->ratio))
    {
        model_opens(m, c, now);
    }
}


static void
walk(unsigned seed)
{
    int i, k, n, epochs[16];
    bool let_in;
    uint64_t now;
    gw_breaker_t b = { 0 };
    gw_breaker_conf_t c;
    gw_breaker_change_e change;
    gw_breaker_ticket_t t[16];
    gw_breaker_outcome_e outcome;
    static model_t m;

    memset(&m, 0, sizeof(m));
    srand(seed);

    c.failures = 1 + (uint32_t) rand() % 6;
    c.ratio = 1 + (uint32_t) rand() % 100;
    c.min_requests = 1 + (uint32_t) rand() % 30;
    c.probes = 1 + (uint32_t) rand() % 4;
    c.successes = 1 + (uint32_t) rand() % 4;
    c.window = 200 + (uint64_t) rand() % 2000;
    c.open = 10 + (uint64_t) rand() % 500;
    c.open_max = c.open * (1 + (uint64_t) rand() % 8);

    n = 0;
    now = 1;

    for (i = 0; i < 3000; i++) {
        now += (uint64_t) (rand() % 8 == 0 ? rand() % 700 : rand() % 30);

        if (n < 16 && rand() % 2) {
            let_in = model_admits(&m, &c, now);
            assert_int_equal(gw_breaker_admit(&b, &c, now, &t[n], &change)
                             == GW_OK, let_in);
            assert_int_equal(b.state, m.state);

            if (let_in) {
                epochs[n++] = m.epoch;
            }

        } else if (n) {
            k = rand() % n;
            outcome = rand() % 10 == 0 ? GW_BREAKER_NOTHING
                      : rand() % 3 == 0 ? GW_BREAKER_FAILURE
                                        : GW_BREAKER_SUCCESS;

            model_ends(&m, &c, epochs[k], t[k].probe, outcome, now);
            gw_breaker_done(&b, &c, &t[k], outcome, now, 2000);

            t[k] = t[--n];
            epochs[k] = epochs[n];
        }

        assert_int_equal(b.state, m.state);
        assert_int_equal(b.probes, m.in_flight);
        assert_int_equal(gw_breaker_wait(&b, now),
                         m.state == GW_BREAKER_OPEN && m.until > now
                         ? m.until - now : 0);
    }
}


static void
random_walks_go_as_the_model(void **state)
{
    unsigned seed;

    (void) state;

    for (seed = 1; seed <= 300; seed++) {
        walk(seed);
    }
}


/*
 * Everything that can happen with small numbers: all sequences of attempts
 * that begin, attempts that end in each way, and time that goes on, up to
 * DEPTH steps. States that were met before at the same depth or earlier are
 * not gone into again. In each state the promises are checked:
 *
 * - no more than `probes` are under way, an attempt is never let in while it
 *   is open, and the count of probes is that of those under way
 * - from there on, once the upstream is well, it closes: at the latest when
 *   the time open is over, and after as many attempts as it takes
 */

#define DEPTH 22
#define UNDER_WAY 3
#define TABLE (1 << 20)

typedef struct {
    gw_breaker_t b;
    uint64_t now;
    uint32_t n;
    gw_breaker_ticket_t t[UNDER_WAY];
} world_t;

static const gw_breaker_conf_t small = {
    .failures = 2,
    .ratio = 60,
    .min_requests = 3,
    .probes = 2,
    .successes = 2,
    .window = 2 * GW_BREAKER_PARTS,
    .open = 2,
    .open_max = 3,
};

static uint64_t *seen;
static unsigned long worlds;


static uint64_t
world_hash(const world_t *w, int depth)
{
    size_t i;
    uint64_t h;
    world_t copy;
    const unsigned char *p;

    /* padding has no say */
    memset(&copy, 0, sizeof(copy));
    copy.b = w->b;
    copy.now = w->now;
    copy.n = w->n;

    for (i = 0; i < w->n; i++) {
        copy.t[i].generation = w->t[i].generation;
        copy.t[i].probe = w->t[i].probe;
    }

    h = 14695981039346656037u ^ (uint64_t) depth;
    p = (const unsigned char *) &copy;

    for (i = 0; i < sizeof(copy); i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }

    return h | 1;
}


static bool
met_before(const world_t *w, int depth)
{
    uint64_t h = world_hash(w, depth);
    size_t i = h % TABLE;

    while (seen[i]) {
        if (seen[i] == h) {
            return true;
        }

        i = (i + 1) % TABLE;
    }

    seen[i] = h;
    assert_true(++worlds < TABLE / 2);

    return false;
}


static void
it_closes_once_well(world_t w)
{
    uint32_t i, steps;

    /* those under way end, and tell nothing: the worst for it */
    for (i = 0; i < w.n; i++) {
        gw_breaker_done(&w.b, &small, &w.t[i], GW_BREAKER_NOTHING, w.now, 0);
    }

    assert_int_equal(w.b.probes, 0);

    w.now += gw_breaker_wait(&w.b, w.now);
    assert_true(gw_breaker_wait(&w.b, w.now) == 0);

    for (steps = 0; w.b.state != GW_BREAKER_CLOSED; steps++) {
        assert_true(steps <= small.successes);
        attempt(&w.b, &small, w.now, GW_BREAKER_SUCCESS);
    }
}


static void
explore(const world_t *w, int depth)
{
    int rc;
    uint32_t i, probes;
    world_t next;
    gw_breaker_state_e before;
    gw_breaker_change_e change;
    gw_breaker_outcome_e outcome;

    for (i = 0, probes = 0; i < w->n; i++) {
        probes += w->t[i].probe;
    }

    assert_int_equal(w->b.probes, probes);
    assert_true(probes <= small.probes);

    if (met_before(w, depth)) {
        return;
    }

    it_closes_once_well(*w);

    if (depth == 0) {
        return;
    }

    next = *w;
    next.now++;
    explore(&next, depth - 1);

    if (w->n < UNDER_WAY) {
        next = *w;
        before = gw_breaker_state(&next.b, next.now);
        rc = gw_breaker_admit(&next.b, &small, next.now, &next.t[next.n],
                              &change);

        if (rc == GW_OK) {
            assert_int_not_equal(before, GW_BREAKER_OPEN);
            assert_int_equal(next.t[next.n].probe,
                             before == GW_BREAKER_HALF_OPEN);
            next.n++;

        } else {
            assert_int_not_equal(before, GW_BREAKER_CLOSED);
        }

        explore(&next, depth - 1);
    }

    for (i = 0; i < w->n; i++) {
        for (outcome = GW_BREAKER_SUCCESS; outcome <= GW_BREAKER_NOTHING;
             outcome++)
        {
            next = *w;
            gw_breaker_done(&next.b, &small, &next.t[i], outcome, next.now,
                            0);
            next.t[i] = next.t[--next.n];
            explore(&next, depth - 1);
        }
    }
}


static void
promises_hold_in_every_small_state(void **state)
{
    world_t w;

    (void) state;

    seen = calloc(TABLE, sizeof(*seen));
    assert_non_null(seen);

    memset(&w, 0, sizeof(w));
    explore(&w, DEPTH);

    /* it has been somewhere */
    assert_true(worlds > 10000);

    free(seen);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(a_row_has_no_window),
        cmocka_unit_test(ratio_needs_min_requests),
        cmocka_unit_test(under_the_ratio_it_stays_closed),
        cmocka_unit_test(the_window_rolls),
        cmocka_unit_test(open_lasts_exactly),
        cmocka_unit_test(probes_are_bounded),
        cmocka_unit_test(one_failed_probe_opens_it),
        cmocka_unit_test(a_probe_of_before_still_counts_as_one),
        cmocka_unit_test(outcomes_of_before_do_not_count),
        cmocka_unit_test(open_doubles_with_jitter),
        cmocka_unit_test(open_begins_anew_when_well),
        cmocka_unit_test(a_clock_that_goes_back),
        cmocka_unit_test(lost_probes_are_given_back),
        cmocka_unit_test(random_walks_go_as_the_model),
        cmocka_unit_test(promises_hold_in_every_small_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
