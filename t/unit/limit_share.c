/*
 * Tests of src/limit_share.c: several nodes that exchange their counts, with
 * a way to Redis and clocks that are not quite the same.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "limit_share.h"


#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define START 1767225600000u
#define NODES 5
#define ENTRIES 100000


typedef struct {
    gw_window_t w;
    gw_share_t share;
    gw_share_round_t round;
    size_t next;     /* entry to be read */
    uint64_t reply;  /* when what is read arrives, 0: nothing */
    unsigned offset; /* of its clock */
    uint64_t admitted;
} node_t;

typedef struct {
    uint64_t added; /* to the stream */
    uint64_t told;
    unsigned from;
    gw_share_delta_t delta;
} entry_t;

typedef struct {
    unsigned nodes;
    uint32_t limit;
    uint64_t period;
    uint64_t sync;
    unsigned way;      /* to Redis, ms */
    unsigned offset;   /* of clocks, at most */
    double load[NODES]; /* times the limit */
} play_t;

static node_t nodes[NODES];
static entry_t entries[ENTRIES];
static size_t nentries;
static gw_window_rate_t rate;
static uint64_t now;


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
set_up(const play_t *play)
{
    unsigned i;

    assert_int_equal(gw_window_rate_init(&rate, play->limit, play->period),
                     GW_OK);
    memset(nodes, 0, sizeof(nodes));
    nentries = 0;
    now = START;

    for (i = 0; i < NODES; i++) {
        gw_share_round_init(&nodes[i].round, play->period, play->sync);
        nodes[i].round.known = 1;
        nodes[i].offset = play->offset ? (unsigned) any(play->offset) : 0;
    }
}


static int
request(node_t *node)
{
    if (gw_share_check(&rate, &node->w, &node->share, &node->round, now, 1)
        != GW_OK)
    {
        return 0;
    }

    gw_share_take(&rate, &node->w, &node->share, now, 1);
    node->admitted++;

    return 1;
}


static void
tell(node_t *node, const play_t *play)
{
    entry_t *entry;

    entry = &entries[nentries];
    gw_share_round_begin(&node->round);

    if (gw_share_tell(&rate, &node->w, &node->share, &node->round,
                      2 * play->sync, now, &entry->delta)
        != GW_OK)
    {
        return;
    }

    entry->from = (unsigned) (node - nodes);
    entry->told = now;
    entry->added = now + play->way;

    assert_true(++nentries < ENTRIES);
}


static void
hear(node_t *node, const play_t *play)
{
    entry_t *entry;
    gw_share_delta_t delta;

    for ( /* void */ ; node->next < nentries; node->next++) {
        entry = &entries[node->next];

        if (entry->added + play->way > now) {
            break;
        }

        if (&nodes[entry->from] == node) {
            continue;
        }

        delta = entry->delta;
        delta.age += (uint32_t) (now - entry->told);
        gw_share_hear(&rate, &node->w, &node->share, &node->round, now,
                      &delta);
    }

    node->reply = 0;
    node->round.known = 1;
}


static void
exchange(node_t *node, const play_t *play)
{
    uint64_t time;

    time = now + node->offset;

    if (time % play->sync == 0) {
        tell(node, play);

    } else if (time % play->sync == play->sync / 2) {
        node->reply = now + 2 * play->way;
    }

    if (node->reply && now >= node->reply) {
        hear(node, play);
    }
}


/* One ms: exchanges, and requests in any order. How many were admitted. */

static uint32_t
step(const play_t *play)
{
    unsigned i, n, from;
    uint32_t admitted, left[NODES];
    double expected;

    admitted = 0;
    n = 0;

    for (i = 0; i < play->nodes; i++) {
        exchange(&nodes[i], play);

        /* twice as many as are expected, each with a chance of a half */

        expected = play->load[i] * play->limit / (double) play->period;
        left[i] = (uint32_t) (2 * expected);
        left[i] += any(1000000) < (2 * expected - left[i]) * 1000000;
        n += left[i];
    }

    from = (unsigned) any(play->nodes);

    for (i = from; n; i++) {
        if (left[i % play->nodes]) {
            left[i % play->nodes]--;
            n--;
            admitted += any(2) && request(&nodes[i % play->nodes]);
        }
    }

    now++;

    return admitted;
}


/* Admitted, as a part of what the limit says, over so many periods. */

static double
run(const play_t *play, unsigned periods)
{
    uint64_t i, admitted;

    admitted = 0;

    for (i = 0; i < periods * play->period; i++) {
        admitted += step(play);
    }

    return (double) admitted / ((double) play->limit * periods);
}


static const play_t plays[] = {
    { 2, 100, 1000, 100, 1, 0, { 2, 2 } },
    { 2, 100, 1000, 100, 1, 20, { 2, 2 } },
    { 2, 100, 1000, 100, 10, 100, { 3, 3 } },
    { 2, 100, 1000, 100, 1, 20, { 10, 10 } },
    { 2, 100, 1000, 100, 1, 20, { 5, .3 } },
    { 2, 1000, 1000, 100, 1, 20, { 2, 2 } },
    { 2, 100, 1000, 50, 1, 20, { 2, 2 } },
    { 3, 100, 1000, 100, 1, 20, { 2, 2, 2 } },
    { 5, 100, 1000, 100, 1, 20, { 2, 2, 2, 2, 2 } },
    { 2, 100, 2000, 100, 1, 20, { 2, 2 } },
    { 2, 50, 10000, 100, 1, 20, { 3, 3 } },
};


/* With more than enough on all nodes they admit what one would: all of the
 * limit within 2 %, and T/63 for slots that are free late. */

static void
together_they_keep_the_limit(void **state)
{
    double part;
    size_t i;

    (void) state;

    for (i = 0; i < COUNT(plays); i++) {
        set_up(&plays[i]);
        (void) run(&plays[i], 2);
        part = run(&plays[i], 40);

        if (getenv("GATEWAY_LONG")) {
            printf("%u nodes, %u in %u ms, sync %u: %.3f\n", plays[i].nodes,
                   plays[i].limit, (unsigned) plays[i].period,
                   (unsigned) plays[i].sync, part);
        }

        assert_true(part <= 1.02);
        assert_true(part >= 0.965);
    }
}


/* Also from the begin on, when all admit everything they have. */

static void
a_first_burst_is_paid_back(void **state)
{
    double part;
    size_t i;

    (void) state;

    for (i = 0; i < COUNT(plays); i++) {
        if (plays[i].nodes > 2) {
            /* at most one limit is owed */
            continue;
        }

        set_up(&plays[i]);
        part = run(&plays[i], 40);
        assert_true(part <= 1.02);
    }
}


static void
nobody_starves(void **state)
{
    static const play_t play = { 2, 100, 1000, 100, 1, 0, { 5, 5 } };

    (void) state;

    set_up(&play);
    (void) run(&play, 40);

    assert_true(nodes[0].admitted > 1000);
    assert_true(nodes[1].admitted > 1000);
}


/* Until something is refused nothing is held back for others. */

static void
what_is_spent_here_is_missing_there(void **state)
{
    unsigned i, spent;

    static const play_t play = { 2, 10, 10000, 100, 1, 0, { 0, 0 } };

    (void) state;

    for (spent = 0; spent <= 10; spent++) {
        set_up(&play);

        for (i = 0; i < spent; i++) {
            assert_true(request(&nodes[0]));
            step(&play);
        }

        for (i = 0; i < 200; i++) {
            step(&play);
        }

        for (i = 0; i < 10 - spent; i++) {
            assert_true(request(&nodes[1]));
        }

        assert_false(request(&nodes[1]));
    }
}


static void
what_is_given_back_is_free_there(void **state)
{
    unsigned i;
    uint64_t taken;

    static const play_t play = { 2, 10, 10000, 100, 1, 0, { 0, 0 } };

    (void) state;

    /* before it was told, and after */

    for (taken = 0; taken <= 300; taken += 300) {
        set_up(&play);

        for (i = 0; i < 10; i++) {
            assert_true(request(&nodes[0]));
        }

        for (i = 0; i < taken; i++) {
            step(&play);
        }

        gw_share_refund(&rate, &nodes[0].w, &nodes[0].share, now, START, 4);

        for (i = 0; i < 200; i++) {
            step(&play);
        }

        for (i = 0; i < 4; i++) {
            assert_true(request(&nodes[1]));
        }

        assert_false(request(&nodes[1]));
    }
}


/* After a time without exchange: what still counts, and no more. */

static void
what_was_not_told_is_told_later(void **state)
{
    unsigned i, j;

    static const play_t play = { 2, 8, 1000, 100, 1, 0, { 0, 0 } };

    (void) state;

    set_up(&play);
    rate.limit = 4;

    for (i = 0; i < 5; i++) {
        for (j = 0; j < 4; j++) {
            assert_true(request(&nodes[0]));
        }

        now += 1100;
    }

    assert_int_equal(nodes[0].share.unsent, 20);

    now -= 1000;
    rate.limit = 8;

    for (i = 0; i < 200; i++) {
        step(&play);
    }

    for (j = 0; j < 4; j++) {
        assert_true(request(&nodes[1]));
    }

    assert_false(request(&nodes[1]));
}


/* What did not arrive is as if it had not been told, its age too; and where it
 * turns out to have arrived it is not told again. */

static void
what_was_told_in_vain_is_told_again(void **state)
{
    unsigned i;
    node_t *node;
    gw_share_delta_t delta;

    static const play_t play = { 1, 8, 10000, 100, 1, 0, { 0 } };

    (void) state;

    set_up(&play);
    node = &nodes[0];

    for (i = 0; i < 5; i++) {
        assert_true(request(node));
    }

    now += 50;
    assert_int_equal(gw_share_tell(&rate, &node->w, &node->share,
                                   &node->round, 200, now, &delta), GW_OK);
    assert_int_equal(delta.count, 5);
    assert_int_equal(node->share.own, 5);

    now += 100;
    delta.age += 100;
    assert_true(request(node));
    gw_share_untell(&node->share, now, &delta, 0);

    assert_int_equal(gw_share_tell(&rate, &node->w, &node->share,
                                   &node->round, 200, now, &delta), GW_OK);
    assert_int_equal(delta.count, 6);
    assert_int_equal(delta.age, 5 * 150 / 6);
    assert_int_equal(node->share.own, 6);

    gw_share_untell(&node->share, now, &delta, 0);
    gw_share_untell(&node->share, now, &delta, 1);

    assert_int_equal(gw_share_tell(&rate, &node->w, &node->share,
                                   &node->round, 200, now, &delta),
                     GW_DECLINED);
    assert_int_equal(node->share.own, 6);

    /* any values */
    delta.count = INT32_MIN;
    delta.age = UINT32_MAX;
    gw_share_untell(&node->share, now, &delta, 1);
    gw_share_untell(&node->share, now, &delta, 0);
    assert_true(node->share.unsent >= -(int32_t) GW_WINDOW_LIMIT_MAX);
}


/* What is over is owed, and takes the room that comes up first. */

static void
what_is_owed_is_charged_first(void **state)
{
    unsigned i;
    node_t *node;
    gw_share_delta_t delta;
    gw_window_state_t left;

    static const play_t play = { 1, 10, 1000, 100, 0, 0, { 0 } };

    (void) state;

    set_up(&play);
    node = &nodes[0];

    while (request(node)) {
        /* all ten */
    }

    delta.count = 5;
    delta.age = 0;
    gw_share_hear(&rate, &node->w, &node->share, &node->round, now, &delta);
    assert_int_equal(node->share.owed, 5);

    gw_share_state(&rate, &node->w, &node->share, &node->round, 100, now, 1,
                   &left);
    assert_int_equal(left.remaining, 0);
    assert_true(left.retry >= 1000 && left.reset >= 2000);

    for (i = 0; i < 1100; i++) {
        step(&play);
    }

    node->admitted = 0;

    while (request(node)) {
        /* what is left */
    }

    assert_int_equal(node->admitted, 5);
    assert_int_equal(node->share.owed, 0);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_they_keep_the_limit),
        cmocka_unit_test(a_first_burst_is_paid_back),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(what_is_spent_here_is_missing_there),
        cmocka_unit_test(what_is_given_back_is_free_there),
        cmocka_unit_test(what_was_not_told_is_told_later),
        cmocka_unit_test(what_was_told_in_vain_is_told_again),
        cmocka_unit_test(what_is_owed_is_charged_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
