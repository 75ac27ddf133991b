#include "guard.h"

#include "../../src/retry.h"


static gw_str_t
str(const char *s)
{
    return (gw_str_t){ guard_copy(0, s, strlen(s)), strlen(s) };
}


static void
delays_double_up_to_max(void **state)
{
    (void) state;
    gw_retry_backoff_t b = { 100, 2000, 0 };
    static const uint64_t expected[] = {
        100, 200, 400, 800, 1600, 2000, 2000, 2000
    };
    uint32_t k;

    for (k = 1; k <= 8; k++) {
        assert_int_equal(gw_retry_delay(&b, k, 0, 12345), expected[k - 1]);
    }

    assert_int_equal(gw_retry_delay(&b, UINT32_MAX, 0, 0), 2000);

    b.backoff = 0;
    assert_int_equal(gw_retry_delay(&b, 1, 0, 7), 0);
    assert_int_equal(gw_retry_delay(&b, UINT32_MAX, 0, 7), 0);

    b = (gw_retry_backoff_t){ 1, (UINT64_C(1) << 40) - 1, 100 };
    assert_in_range(gw_retry_delay(&b, UINT32_MAX, 0, UINT32_MAX), 0, b.max);
}


static void
jitter_spreads_evenly_and_no_further(void **state)
{
    (void) state;
    gw_retry_backoff_t b = { 100, 2000, 25 };
    unsigned seen[51] = { 0 };
    uint64_t delay;
    uint32_t i;

    for (i = 0; i < 51 * 10; i++) {
        delay = gw_retry_delay(&b, 1, 0, i);
        assert_in_range(delay, 75, 125);
        seen[delay - 75]++;
    }

    for (i = 0; i < 51; i++) {
        assert_int_equal(seen[i], 10);
    }

    /* of the doubled delay */
    assert_int_equal(gw_retry_delay(&b, 3, 0, 0), 300);
    assert_int_equal(gw_retry_delay(&b, 3, 0, 200), 500);

    /* never over max */
    for (i = 0; i < 5000; i++) {
        assert_in_range(gw_retry_delay(&b, 9, 0, i), 1500, 2000);
    }

    b.jitter = 100;
    assert_int_equal(gw_retry_delay(&b, 1, 0, 0), 0);
    assert_int_equal(gw_retry_delay(&b, 1, 0, 200), 200);
}


static void
retry_after_is_waited_for_up_to_max(void **state)
{
    (void) state;
    gw_retry_backoff_t b = { 100, 2000, 0 };

    assert_int_equal(gw_retry_delay(&b, 1, 1000, 0), 1000);
    assert_int_equal(gw_retry_delay(&b, 1, 99, 0), 100);
    assert_int_equal(gw_retry_delay(&b, 1, 2000, 0), 2000);
    assert_int_equal(gw_retry_delay(&b, 1, 2001, 0), 2000);
    assert_int_equal(gw_retry_delay(&b, 1, UINT64_MAX, 0), 2000);
}


static void
retry_after_in_seconds(void **state)
{
    (void) state;
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "1.5", "1s", "0x10",
        "Fri, 31 Dec 1999 23:59:59 GMT", "\xd9\xa1"
    };
    uint64_t ms;
    size_t i;

    assert_int_equal(gw_retry_after(str("0"), &ms), GW_OK);
    assert_int_equal(ms, 0);
    assert_int_equal(gw_retry_after(str("120"), &ms), GW_OK);
    assert_int_equal(ms, 120000);
    assert_int_equal(gw_retry_after(str("007"), &ms), GW_OK);
    assert_int_equal(ms, 7000);

    /* a year at most */
    assert_int_equal(gw_retry_after(str("31536001"), &ms), GW_OK);
    assert_int_equal(ms, UINT64_C(31536000000));
    assert_int_equal(gw_retry_after(
        str("99999999999999999999999999999999999999999"), &ms), GW_OK);
    assert_int_equal(ms, UINT64_C(31536000000));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ms = 42;
        assert_int_equal(gw_retry_after(str(bad[i]), &ms), GW_DECLINED);
        assert_int_equal(ms, 42);
    }
}


/* How many retries are allowed at once. */
static unsigned
take_all(gw_retry_budget_t *budget, uint64_t now, uint32_t percent)
{
    unsigned n;

    for (n = 0; gw_retry_budget_take(budget, now, percent); n++) {
        assert_in_range(n, 0, 100000);
    }

    return n;
}


static void
ten_are_always_allowed_then_a_share(void **state)
{
    (void) state;
    gw_retry_budget_t budget = { 0 };
    unsigned i;

    assert_int_equal(take_all(&budget, 1000, 20), 10);

    /* 20 % of 50 are those ten */
    for (i = 0; i < 54; i++) {
        gw_retry_budget_request(&budget, 1000);
        assert_false(gw_retry_budget_take(&budget, 1000, 20));
    }

    gw_retry_budget_request(&budget, 1000);
    assert_int_equal(take_all(&budget, 1000, 20), 1);

    for (i = 0; i < 945; i++) {
        gw_retry_budget_request(&budget, 1000);
    }

    assert_int_equal(take_all(&budget, 1000, 20), 189);

    /* none beyond the ten */
    budget = (gw_retry_budget_t){ 0 };
    for (i = 0; i < 1000; i++) {
        gw_retry_budget_request(&budget, 0);
    }
    assert_int_equal(take_all(&budget, 0, 0), 10);
    assert_int_equal(take_all(&budget, 0, 150), 1490);
}


static void
the_window_rolls(void **state)
{
    (void) state;
    gw_retry_budget_t budget = { 0 };
    uint64_t t;

    t = UINT64_C(1) << 40;

    assert_int_equal(take_all(&budget, t, 20), 10);
    assert_false(gw_retry_budget_take(&budget, t + GW_RETRY_WINDOW - 1, 20));
    assert_int_equal(
        take_all(&budget, t + GW_RETRY_WINDOW + GW_RETRY_SLICE, 20), 10);

    /* requests age, too */
    budget = (gw_retry_budget_t){ 0 };
    for (unsigned i = 0; i < 100; i++) {
        gw_retry_budget_request(&budget, t + i * 10);
    }
    assert_int_equal(take_all(&budget, t + 5000, 20), 20);
    assert_false(
        gw_retry_budget_take(&budget, t + 12000, 20));
    assert_int_equal(take_all(&budget, t + 15300, 20), 10);
    assert_int_equal(budget.sum.requests, 0);

    /* the clock of another time */
    assert_false(gw_retry_budget_take(&budget, 0, 20));
    assert_int_equal(budget.sum.retries, 10);
}


/* Against a list of all that happened. */
static void
the_budget_is_as_an_exact_log(void **state)
{
    (void) state;
    enum { N = 4000 };
    static uint64_t requests[N], retries[N];
    gw_retry_budget_t budget = { 0 };
    unsigned i, j, nreq, nret, in, of;
    uint64_t t;

    srandom(7);
    nreq = nret = 0;
    t = 0;

    for (i = 0; i < N; i++) {
        t += random() % 40;

        if (random() % 200 == 0) {
            t += random() % 20000;
        }

        gw_retry_budget_request(&budget, t);
        requests[nreq++] = t;

        if (!gw_retry_budget_take(&budget, t, 20)) {
            continue;
        }

        retries[nret++] = t;

        /* requests as far back as the budget may still count them */
        for (j = of = 0; j < nreq; j++) {
            of += requests[j] + GW_RETRY_WINDOW + GW_RETRY_SLICE > t;
        }

        for (j = in = 0; j < nret; j++) {
            in += retries[j] + GW_RETRY_WINDOW > t;
        }

        assert_true(in <= GW_RETRY_FREE || in * 100 <= of * 20);
    }

    assert_in_range(nret, N / 10, N / 4 + 1000);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_max),
        cmocka_unit_test(jitter_spreads_evenly_and_no_further),
        cmocka_unit_test(retry_after_is_waited_for_up_to_max),
        cmocka_unit_test(retry_after_in_seconds),
        cmocka_unit_test(ten_are_always_allowed_then_a_share),
        cmocka_unit_test(the_window_rolls),
        cmocka_unit_test(the_budget_is_as_an_exact_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
