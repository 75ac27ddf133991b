/*
 * A worker dies at every point at which it may: each word that the store
 * changes is announced by a hook, which leaves the call for good.
 */

#include "guard.h"

static void death_hook(unsigned notes);

#define GW_STORE_HOOK() death_hook(s->notes)

/* the whole store anew, with the hook */
#include "../../src/cache_store.c"
#undef STEPS
#include "../../src/cache_store_index.c"
#include "../../src/cache_store_memory.c"
#include "../../src/cache_store_evict.c"
#undef STEPS
#include "../../src/cache_store_object.c"
#undef RUNS
#include "../../src/cache_store_body.c"
#undef STEPS
#undef RUNS
#include "../../src/cache_store_vary.c"
#include "../../src/cache_store_fill.c"
#include "../../src/cache_store_tag.c"
#include "../../src/cache_store_purge.c"
#include "../../src/cache_store_read.c"

#define CHECK(condition) assert_true(condition)

#include "store_check.h"
#include "store_play.h"


static jmp_buf death;
static unsigned countdown; /* 0: nobody dies */
static unsigned steps;
static unsigned most_notes;


static void
death_hook(unsigned notes)
{
    steps++;

    if (notes > most_notes) {
        most_notes = notes;
    }

    if (countdown > 0 && --countdown == 0) {
        longjmp(death, 1);
    }
}


/* Whether the worker died at the n-th point; 0: it does not. */
static bool
dies(play_t *p, unsigned slot, unsigned n)
{
    if (setjmp(death) != 0) {
        return true;
    }

    countdown = n;
    play_step(p, slot);
    countdown = 0;

    return false;
}


/* Another one comes to release what the dead one held, and dies of it. */
static void
helper_dies(play_t *p, unsigned slot, unsigned n)
{
    gw_store_wake_t wake;

    if (setjmp(death) != 0) {
        return;
    }

    countdown = n;
    (void) gw_store_release(p->s, slot, &wake);
    countdown = 0;
}


/* Each step of random work is tried again and again from the same state,
   with a death at other points each time, and then done to its end. */
static void
deaths(size_t size, uint64_t random, unsigned n)
{
    void *base, *saved;
    unsigned i, slot, at, stride;
    gw_store_t *s;
    gw_store_conf_t conf;

    static play_t p, before;

    conf.meta = PLAY_META;
    conf.max_object = 30000;

    base = malloc(size);
    saved = malloc(size);
    assert_non_null(base);
    assert_non_null(saved);

    s = gw_store_init(base, size, &conf);
    assert_non_null(s);
    play_init(&p, s, random, conf.max_object);

    for (i = 0; i < n; i++) {
        slot = i % PLAY_SLOTS;

        memcpy(saved, base, size);
        before = p;
        steps = 0;
        (void) dies(&p, slot, 0);
        stride = steps / 6 + 1;

        for (at = 1 + i % stride; at <= steps; at += stride) {
            memcpy(base, saved, size);
            p = before;

            if (!dies(&p, slot, at)) {
                break;
            }

            if (at & 1) {
                helper_dies(&p, slot, at % 13 + 1);
                helper_dies(&p, slot, at % 29 + 1);
            }

            play_death(&p, slot);
            check_store(s);
        }

        memcpy(base, saved, size);
        p = before;
        (void) dies(&p, slot, 0);
    }

    play_finish(&p);
    check_store(s);

    free(base);
    free(saved);
}


static void
a_death_at_any_point_leaves_the_store_whole(void **unused)
{
    (void) unused;

    deaths(65536, 11, 2000);
    deaths(150000, 12, 2000);
    deaths(400000, 13, 2000);
}


static void
the_journal_is_long_enough(void **unused)
{
    (void) unused;

    assert_in_range(most_notes, 20, GW_STORE_JOURNAL / 2);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_death_at_any_point_leaves_the_store_whole),
        cmocka_unit_test(the_journal_is_long_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
