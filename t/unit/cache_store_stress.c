/*
 * Several processes on one store, which read what they have pinned without
 * the lock, fetch each key once, and are killed at any moment.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <sys/wait.h>

#include "guard.h"

#define CHECK(condition)                                                     \
    ((condition) ? (void) 0                                                  \
                 : (void) (fprintf(stderr, "%s:%d: %s\n", __FILE__,          \
                                   __LINE__, #condition), abort()))

#include <stdio.h>

#include "memory.h"
#include "store_check.h"


#define WORKERS 4u
#define KEYS 120u
#define TAGS 16u
#define ARENA (2u << 20)
#define MAX_BODY 150000u
#define SECONDS 2
#define PATIENCE 10000 /* ms that something may take before it hangs */

typedef struct {
    uint64_t seed;
    uint64_t size;
    uint64_t key;
} header_t;

/* Beside the store, shared too. */
typedef struct {
    pthread_mutex_t lock;
    atomic_uint stop;
    atomic_uint woken[GW_STORE_SLOTS];
    atomic_uint fetching[KEYS];
    atomic_uint fetches[WORKERS]; /* 1 + the key that a worker fetches */
    atomic_ullong hits;
    atomic_ullong attached;
    atomic_ullong stored;
    atomic_ullong waited;
} shared_t;

static shared_t *shared;
static gw_store_t *s;
static uint64_t state;
static unsigned slot;
static unsigned char body[MAX_BODY];


static uint64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}


static void
lock(void)
{
    if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&shared->lock);
    }
}


static void
unlock(void)
{
    (void) pthread_mutex_unlock(&shared->lock);
}


static void
wake(const gw_store_wake_t *w)
{
    unsigned i;

    for (i = 0; i < WORKERS; i++) {
        if (w->slots[i / 64] & (uint64_t) 1 << (i % 64)) {
            atomic_store(&shared->woken[i], 1);
        }
    }
}


static void
sleep_until_woken(uint64_t since)
{
    struct timespec t = { 0, 50000 };

    while (!atomic_exchange(&shared->woken[slot], 0)) {
        CHECK(now_ms() - since < PATIENCE);

        if (atomic_load(&shared->stop)) {
            return;
        }

        (void) nanosleep(&t, NULL);
    }
}


/* Eight bytes of a body, at a multiple of eight. */
static uint64_t
word(uint64_t seed, uint64_t i)
{
    return (seed + i) * 0x9e3779b97f4a7c15u;
}


static gw_store_id_t
make_id(uint64_t key, char *text)
{
    uint64_t x;
    gw_store_id_t id;

    id.text.len = (size_t) sprintf(text, "key/%u", (unsigned) key);
    id.text.data = (unsigned char *) text;

    x = key + 1;
    random_fill(&x, id.key, sizeof(id.key));
    memset(id.variant, 0, sizeof(id.variant));

    return id;
}


static void
verify(const header_t *h, gw_store_cursor_t *c, uint64_t at, uint64_t n)
{
    size_t i;
    uint64_t w, end;
    gw_str_t span;

    end = at + n;

    while (gw_store_spans(s, c, &span, 1) > 0) {
        for (i = 0; i < span.len; i++, at++) {
            w = word(h->seed, at / 8);
            CHECK(span.data[i] == ((unsigned char *) &w)[at % 8]);
        }
    }

    CHECK(at == end);
}


/* Reads a pinned object to its end, as it comes. */
static void
read_all(const gw_store_ref_t *ref, uint64_t key)
{
    uint64_t seen, since;
    header_t h;
    gw_store_info_t info;
    gw_store_cursor_t c;

    since = now_ms();
    seen = 0;

    gw_store_cursor(s, ref, GW_STORE_HEADER, 0, sizeof(h), &c);
    CHECK(gw_store_copy(s, &c, &h, sizeof(h)) == sizeof(h));
    CHECK(h.key == key);

    gw_store_cursor(s, ref, GW_STORE_BODY, 0, 0, &c);

    for ( ;; ) {
        lock();
        gw_store_progress(s, slot, ref, seen, &info);
        unlock();

        gw_store_more(&c, info.body_len - seen);
        verify(&h, &c, seen, info.body_len - seen);
        seen = info.body_len;

        if (info.state != GW_STORE_FILLING || atomic_load(&shared->stop)) {
            break;
        }

        sleep_until_woken(since);
    }

    CHECK(info.state != GW_STORE_COMPLETE || seen == h.size);

    lock();
    gw_store_unpin(s, ref);
    unlock();
}


/* Said before the fill ends, as another one may lead from then on. */
static void
fetched(uint64_t key)
{
    atomic_fetch_sub(&shared->fetching[key], 1);
    atomic_store(&shared->fetches[slot], 0);
}


static void
fetch(gw_store_id_t *id, uint64_t key, gw_store_fill_t fill)
{
    int rc;
    size_t i, n, done;
    uint64_t at, w, tags[2];
    header_t h;
    gw_store_new_t new;
    gw_store_ref_t ref;
    gw_store_wake_t wakes;

    h.key = key;
    h.seed = (uint64_t) random_next(&state) << 32 | random_next(&state);
    h.size = random_next(&state) % 4 ? random_next(&state) % 4000
                                     : random_next(&state) % MAX_BODY;

    for (i = 0; i < h.size; i++) {
        w = word(h.seed, i / 8);
        body[i] = ((unsigned char *) &w)[i % 8];
    }

    memset(&new, 0, sizeof(new));
    memset(&wakes, 0, sizeof(wakes));
    tags[0] = key % TAGS;
    tags[1] = h.seed % TAGS;

    new.id = *id;
    new.header.data = (unsigned char *) &h;
    new.header.len = sizeof(h);
    new.meta = &h;
    new.tags = tags;
    new.ntags = 2;
    new.dead_at = now_ms() + random_next(&state) % 1000;
    new.size = random_next(&state) % 2 ? h.size : GW_STORE_UNKNOWN;
    new.fill = fill;

    lock();
    new.stamp = gw_store_stamp(s);
    rc = gw_store_begin(s, slot, now_ms(), &new, &ref, &wakes);

    if (rc != GW_OK) {
        fetched(key);
        gw_store_settle(s, fill, 0, 0, &wakes);
    }

    unlock();
    wake(&wakes);

    for (at = 0; rc == GW_OK && at < h.size; at += done) {
        n = 1 + random_next(&state) % 9000;
        n = n > h.size - at ? h.size - at : n;
        memset(&wakes, 0, sizeof(wakes));

        lock();
        rc = gw_store_append(s, &ref, now_ms(), body + at, n, &done, &wakes);
        rc = rc == GW_AGAIN ? GW_OK : rc;

        if (rc != GW_OK || random_next(&state) % 200 == 0) {
            fetched(key);
            gw_store_abort(s, &ref, false, &wakes);
            rc = GW_ERROR;
        }

        unlock();
        wake(&wakes);
    }

    if (rc == GW_OK) {
        fetched(key);
        memset(&wakes, 0, sizeof(wakes));
        lock();
        rc = gw_store_commit(s, &ref, now_ms(), &wakes);
        unlock();
        wake(&wakes);
        atomic_fetch_add(&shared->stored, rc == GW_OK);
    }
}


static void
request(uint64_t key)
{
    int rc, led;
    char text[32];
    uint64_t since;
    gw_store_id_t id;
    gw_store_ref_t ref;
    gw_store_fill_t fill;

    id = make_id(key, text);
    since = now_ms();

    for ( ;; ) {
        led = GW_ERROR;

        lock();
        rc = gw_store_get(s, slot, now_ms(), &id, &ref);

        if (rc == GW_DECLINED) {
            rc = gw_store_attach(s, slot, &id, &ref);
            atomic_fetch_add(&shared->attached, rc == GW_OK);

        } else if (rc == GW_OK) {
            atomic_fetch_add(&shared->hits, 1);
        }

        if (rc == GW_DECLINED) {
            led = gw_store_lead(s, slot, now_ms(), &id, true, &fill);
        }

        if (led == GW_OK) {
            /* what a killed worker was fetching is its parent's to settle */
            atomic_store(&shared->fetches[slot], 1 + (unsigned) key);
            CHECK(atomic_fetch_add(&shared->fetching[key], 1) == 0);
        }

        unlock();

        if (rc == GW_OK) {
            read_all(&ref, key);
            return;
        }

        if (led == GW_OK) {
            fetch(&id, key, fill);
            return;
        }

        if (led != GW_AGAIN) {
            return;
        }

        atomic_fetch_add(&shared->waited, 1);
        sleep_until_woken(since);

        if (atomic_load(&shared->stop)) {
            return;
        }
    }
}


static void
purge(void)
{
    int rc;
    char text[32];
    gw_store_id_t id;
    gw_store_purge_t p;

    memset(&p, 0, sizeof(p));
    p.cascade = random_next(&state) % 2;

    lock();

    if (random_next(&state) % 2) {
        id = make_id(random_next(&state) % KEYS, text);
        (void) gw_store_purge_key(s, &p, id.key);

    } else {
        gw_store_purge_tag(s, &p, random_next(&state) % TAGS);
    }

    unlock();

    do {
        lock();
        rc = gw_store_purge_end(s, &p);
        unlock();
    } while (rc == GW_AGAIN);
}


/* Much in little time and under the lock, so that many die in the middle. */
static void
rush(void)
{
    unsigned i;
    char text[32];
    size_t done;
    uint64_t key, tags[3];
    header_t h;
    gw_store_new_t new;
    gw_store_ref_t ref;
    gw_store_wake_t wakes;

    memset(&new, 0, sizeof(new));
    memset(&wakes, 0, sizeof(wakes));
    memset(&h, 0, sizeof(h));
    new.header.data = (unsigned char *) &h;
    new.header.len = sizeof(h);
    new.meta = &h;
    new.tags = tags;
    new.ntags = 3;
    new.size = 8;
    new.dead_at = UINT64_MAX;
    h.size = 8;

    lock();

    for (i = 0; i < 200; i++) {
        key = random_next(&state) % KEYS;
        new.id = make_id(key, text);
        new.stamp = gw_store_stamp(s);
        h.key = key;
        h.seed = word(0, key);
        tags[0] = key % TAGS;
        tags[1] = 100 + key;
        tags[2] = 1000 + random_next(&state);

        if (gw_store_get(s, slot, 0, &new.id, &ref) == GW_OK) {
            gw_store_unpin(s, &ref);

        } else if (gw_store_begin(s, slot, 0, &new, &ref, &wakes) == GW_OK) {
            key = word(h.seed, 0);
            (void) gw_store_append(s, &ref, 0, (unsigned char *) &key, 8,
                                   &done, &wakes);
            (void) gw_store_commit(s, &ref, 0, &wakes);
        }

        if (i % 8 == 0
            && gw_store_get(s, slot, 0, &new.id, &ref) == GW_OK)
        {
            gw_store_remove(s, &ref);
            gw_store_unpin(s, &ref);
        }
    }

    unlock();
    wake(&wakes);
}


static void
work(unsigned mine, uint64_t random)
{
    uint64_t a, b;

    slot = mine;
    state = random;

    while (!atomic_load(&shared->stop)) {
        if (random_next(&state) % 300 == 0) {
            purge();
        }

        if (random_next(&state) % 20 == 0) {
            rush();
        }

        a = random_next(&state) % KEYS;
        b = random_next(&state) % KEYS;
        request(a * b / KEYS);
    }

    _exit(0);
}


static pid_t
start(unsigned mine, uint64_t random)
{
    pid_t pid;

    pid = fork();
    assert_true(pid >= 0);

    if (pid == 0) {
        (void) alarm(60);
        work(mine, random);
    }

    return pid;
}


/* What the master and the next worker do about a dead one. */
static void
bury(unsigned dead)
{
    int rc;
    unsigned key;
    gw_store_wake_t wakes;

    lock();

    key = atomic_exchange(&shared->fetches[dead], 0);

    if (key > 0 && atomic_load(&shared->fetching[key - 1]) > 0) {
        atomic_fetch_sub(&shared->fetching[key - 1], 1);
    }

    do {
        rc = gw_store_release(s, dead, &wakes);
    } while (rc == GW_AGAIN);

    unlock();
    wake(&wakes);
}


static void
make_store(void)
{
    void *base;
    gw_store_conf_t conf;
    pthread_mutexattr_t attr;

    base = mmap(NULL, ARENA + sizeof(*shared), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);

    conf.meta = sizeof(header_t);
    conf.max_object = MAX_BODY;
    s = gw_store_init(base, ARENA, &conf);
    assert_non_null(s);

    shared = (shared_t *) ((unsigned char *) base + ARENA);
    (void) pthread_mutexattr_init(&attr);
    (void) pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    (void) pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    (void) pthread_mutex_init(&shared->lock, &attr);
}


static void
workers_that_are_killed_harm_nobody(void **unused)
{
    int status;
    pid_t pid[WORKERS];
    unsigned i, kills, slots;
    uint64_t end, random;
    gw_store_stat_t stat;
    struct timespec t = { 0, 0 };

    (void) unused;

    make_store();
    random = 4711;
    kills = 0;

    for (i = 0; i < WORKERS; i++) {
        pid[i] = start(i, random + i);
    }

    end = now_ms() + SECONDS * 1000;

    while (now_ms() < end || kills < 20) {
        t.tv_nsec = 1000000 + random_next(&random) % 8000000;
        (void) nanosleep(&t, NULL);

        i = random_next(&random) % WORKERS;
        assert_int_equal(kill(pid[i], SIGKILL), 0);
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        bury(i);
        kills++;
        pid[i] = start(i, random + kills);
    }

    atomic_store(&shared->stop, 1);

    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }

    for (slots = 0; slots < WORKERS; slots++) {
        bury(slots);
    }

    lock();
    check_store(s);
    gw_store_stat(s, &stat);
    assert_int_equal(stat.fills, 0);

    for (i = 0; i < GW_STORE_SLOTS; i++) {
        assert_int_equal(s->pins[i], 0);
    }

    unlock();

    assert_true(shared->hits > 0 && shared->stored > 0);
    printf("%u killed, %llu hits, %llu read while filled, %llu stored, "
           "%llu waits, %llu undone\n", kills,
           (unsigned long long) shared->hits,
           (unsigned long long) shared->attached,
           (unsigned long long) shared->stored,
           (unsigned long long) shared->waited,
           (unsigned long long) stat.repaired);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_that_are_killed_harm_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
