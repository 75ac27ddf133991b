#include "guard.h"
#include "memory.h"

#include "../../src/revocation.h"

#define NOW INT64_C(1800000000000)


static gw_revocation_t
about(const char *name, int64_t before, int64_t until)
{
    gw_revocation_t r;

    memset(&r, 0, sizeof(r));
    strncpy((char *) r.digest, name, sizeof(r.digest));
    r.before = before;
    r.until = until;

    return r;
}


static bool
covered(const gw_revocations_t *t, const char *sub, int64_t issued,
    int64_t now)
{
    gw_revocable_t it;

    memset(&it, 0, sizeof(it));
    strncpy((char *) it.sub, sub, sizeof(it.sub));
    it.issued = issued;

    return gw_revocations_cover(t, &it, now);
}


static void
empty(gw_revocations_t *t, memory_t *m, const gw_alloc_t *a)
{
    gw_revocations_sweep(t, GW_REVOCATION_TIME_MAX, 10000, a);
    assert_int_equal(t->count, 0);
    assert_int_equal(t->pending, 0);
    assert_null(t->root);
    assert_int_equal(m->blocks, 0);
}


static void
a_sub_covers_what_was_issued_before(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocation_t r = about("u", NOW, NOW + 1000);

    gw_revocations_init(&t);
    assert_false(covered(&t, "u", INT64_MIN, NOW));

    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);
    assert_int_equal(t.version, 1);
    assert_int_equal(t.count, 1);

    assert_true(covered(&t, "u", NOW - 1, NOW));
    assert_true(covered(&t, "u", INT64_MIN, NOW));
    assert_false(covered(&t, "u", NOW, NOW));
    assert_false(covered(&t, "v", NOW - 1, NOW));
    assert_false(covered(&t, "", NOW - 1, NOW));

    /* until, and no longer */
    assert_true(covered(&t, "u", NOW - 1, NOW + 999));
    assert_false(covered(&t, "u", NOW - 1, NOW + 1000));

    empty(&t, &m, &a);
}


static void
a_jti_covers_whenever_it_was_issued(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocable_t it = { .issued = INT64_MAX };
    gw_revocation_t r = about("j", GW_REVOCATION_TIME_MAX, NOW + 1);

    gw_revocations_init(&t);
    memcpy(it.jti, r.digest, sizeof(it.jti));

    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);
    assert_true(gw_revocations_cover(&t, &it, NOW));
    it.issued = INT64_MIN;
    assert_true(gw_revocations_cover(&t, &it, NOW));
    it.jti[15] = 1;
    assert_false(gw_revocations_cover(&t, &it, NOW));

    empty(&t, &m, &a);
}


/* Digests come from outside too. */

static void
a_claim_that_is_missing_is_never_covered(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocable_t it = { .issued = NOW };
    gw_revocation_t r = about("", GW_REVOCATION_TIME_MAX, NOW + 1);

    gw_revocations_init(&t);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);
    assert_false(gw_revocations_cover(&t, &it, NOW));
    it.jti[0] = 1;
    assert_false(gw_revocations_cover(&t, &it, NOW));

    empty(&t, &m, &a);
}


static void
what_is_over_or_known_changes_nothing(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocation_t r = about("u", 100, NOW);

    gw_revocations_init(&t);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, true, &a), GW_DECLINED);
    assert_int_equal(t.version, 0);

    r.until = NOW + 10;
    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, true, &a), GW_DECLINED);
    assert_int_equal(t.version, 1);
    assert_int_equal(t.pending, 0);

    m.fail = 1;
    r = about("v", 100, NOW + 10);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, true, &a), GW_ERROR);
    assert_int_equal(t.version, 1);

    empty(&t, &m, &a);
}


static void
two_of_one_sub_are_merged(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocation_t r, out[2];

    gw_revocations_init(&t);
    r = about("u", 100, NOW + 50);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);
    r = about("u", 200, NOW + 20);
    assert_int_equal(gw_revocations_add(&t, &r, NOW, false, &a), GW_OK);

    assert_int_equal(t.count, 1);
    assert_int_equal(t.version, 2);
    assert_true(covered(&t, "u", 199, NOW + 49));

    /* which nobody else knows yet */
    assert_int_equal(t.pending, 1);
    assert_int_equal(gw_revocations_pending(&t, out, 2, 9), 1);
    assert_int_equal(out[0].before, 200);
    assert_int_equal(out[0].until, NOW + 50);

    /* what was handed on before is not all of it */
    gw_revocations_handed(&t, &r);
    assert_int_equal(t.pending, 1);
    gw_revocations_handed(&t, &out[0]);
    assert_int_equal(t.pending, 0);

    empty(&t, &m, &a);
}


static void
pending_ones_come_in_turn(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    gw_revocations_t t;
    gw_revocation_t r, out[8];
    char name[2] = "a";
    int i, seen[5] = { 0 };

    gw_revocations_init(&t);
    assert_int_equal(gw_revocations_pending(&t, out, 8, 8), 0);

    for (i = 0; i < 5; i++) {
        name[0] = (char) ('a' + i);
        r = about(name, 1, NOW + 10 + i);
        assert_int_equal(gw_revocations_add(&t, &r, NOW, i != 2, &a), GW_OK);
    }

    assert_int_equal(t.pending, 4);
    assert_int_equal(gw_revocations_pending(&t, out, 8, 20), 4);
    assert_int_equal(gw_revocations_pending(&t, out, 3, 20), 3);
    assert_int_equal(gw_revocations_pending(&t, out + 3, 3, 20), 1);

    for (i = 0; i < 4; i++) {
        seen[out[i].digest[0] - 'a']++;
        gw_revocations_handed(&t, &out[i]);
    }

    assert_true(seen[0] == 1 && seen[1] == 1 && seen[2] == 0 && seen[3] == 1
                && seen[4] == 1);
    assert_int_equal(t.pending, 0);
    assert_int_equal(gw_revocations_pending(&t, out, 8, 20), 0);

    gw_revocations_repeat(&t);
    assert_int_equal(t.pending, 5);
    assert_int_equal(gw_revocations_pending(&t, out, 2, 20), 2);

    /* those that it looks at next are swept away meanwhile */
    assert_int_equal(gw_revocations_sweep(&t, NOW + 13, 20, &a), 4);
    assert_int_equal(t.pending, 1);
    assert_int_equal(gw_revocations_pending(&t, out, 8, 20), 1);
    assert_int_equal(out[0].digest[0], 'e');

    empty(&t, &m, &a);
}


/* Against an array, with digests that share their beginnings. */

#define KEYS 200

static void
the_table_is_as_an_array(void **state)
{
    (void) state;
    memory_t m;
    gw_alloc_t a = memory_allocator(&m);
    uint64_t seed = 42;
    int64_t now = NOW;
    gw_revocations_t t;
    gw_revocation_t r, model[KEYS];
    gw_revocable_t it;
    uint64_t version;
    int i, k, rc, changed;

    gw_revocations_init(&t);
    memset(model, 0, sizeof(model));
    memset(&it, 0, sizeof(it));

    for (i = 0; i < KEYS; i++) {
        model[i].digest[0] = (unsigned char) (i & 3);
        model[i].digest[7] = (unsigned char) (i >> 2);
        model[i].digest[15] = (unsigned char) (i + 1);
    }

    for (i = 0; i < 50000; i++) {
        k = random_next(&seed) % KEYS;

        switch (random_next(&seed) % 4) {

        case 0:
            r = model[k];
            r.before = random_next(&seed) % 1000;
            r.until = now + random_next(&seed) % 300;

            if (model[k].until <= now) {
                /* may have been swept or not: both are right */
                gw_revocations_sweep(&t, now, KEYS, &a);
                model[k].before = model[k].until = 0;
            }

            changed = r.until > now && (r.before > model[k].before
                                        || r.until > model[k].until);
            version = t.version;
            rc = gw_revocations_add(&t, &r, now, k & 1, &a);
            assert_int_equal(rc == GW_OK, changed);
            assert_int_equal(t.version, version + changed);

            if (changed) {
                if (r.before > model[k].before) {
                    model[k].before = r.before;
                }
                if (r.until > model[k].until) {
                    model[k].until = r.until;
                }
            }
            break;

        case 1:
            gw_revocations_sweep(&t, now, random_next(&seed) % 8, &a);
            break;

        case 2:
            now += random_next(&seed) % 4;
            break;

        default:
            memcpy(it.jti, model[k].digest, sizeof(it.jti));
            it.issued = random_next(&seed) % 1000;
            assert_int_equal(gw_revocations_cover(&t, &it, now),
                             now < model[k].until
                             && it.issued < model[k].before);
        }

        assert_int_equal(m.blocks, t.count);
    }

    empty(&t, &m, &a);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sub_covers_what_was_issued_before),
        cmocka_unit_test(a_jti_covers_whenever_it_was_issued),
        cmocka_unit_test(a_claim_that_is_missing_is_never_covered),
        cmocka_unit_test(what_is_over_or_known_changes_nothing),
        cmocka_unit_test(two_of_one_sub_are_merged),
        cmocka_unit_test(pending_ones_come_in_turn),
        cmocka_unit_test(the_table_is_as_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
