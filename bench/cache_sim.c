/*
 * Hit ratios of the cache's store and of an LRU of the same size, on the same
 * requests: Zipf traffic, with and without scans in between.
 *
 *   cache_sim [REQUESTS [OBJECTS]]
 *
 * A scan is a row of requests for objects that nobody asks for again, as
 * crawlers and backups make them. Sizes are of one kind, or mixed: the size
 * then follows from the object alone.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/cache_store.h"


#define HEADER 300 /* bytes of a response header */
#define OVER 200   /* of an object besides: what it is, its key */
#define CELL 256
#define BODY 1024
#define MAX_BODY 65536
#define SCAN 2000  /* requests in a row */

typedef struct {
    uint32_t prev;
    uint32_t next;
    uint32_t size;   /* 0: not there */
} lru_node_t;

typedef struct {
    lru_node_t *node; /* 0 is the end of the ring */
    uint64_t used;
    uint64_t total;
} lru_t;

typedef struct {
    double *sums;     /* of the objects' shares */
    uint32_t objects;
    uint64_t random;
    uint32_t scanned; /* the next that is asked for once only */
    uint32_t scan;    /* requests left of a scan */
    int scans;
    int mixed;
} traffic_t;


static double
uniform(traffic_t *t)
{
    t->random ^= t->random >> 12;
    t->random ^= t->random << 25;
    t->random ^= t->random >> 27;

    return (double) ((t->random * 2685821657736338717u) >> 11)
           / 9007199254740992.0;
}


static void
zipf(traffic_t *t, double alpha)
{
    uint32_t i;
    double sum;

    sum = 0;

    for (i = 0; i < t->objects; i++) {
        sum += 1 / pow(i + 1, alpha);
        t->sums[i] = sum;
    }

    for (i = 0; i < t->objects; i++) {
        t->sums[i] /= sum;
    }
}


/* One fifth of the requests with scans belong to one. */
static uint32_t
next_object(traffic_t *t)
{
    double x;
    uint32_t low, high, mid;

    if (t->scan > 0) {
        t->scan--;
        return t->objects + t->scanned++;
    }

    if (t->scans && uniform(t) < 1.0 / (4 * SCAN)) {
        t->scan = SCAN;
    }

    x = uniform(t);
    low = 0;
    high = t->objects - 1;

    while (low < high) {
        mid = (low + high) / 2;

        if (t->sums[mid] < x) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low;
}


static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;

    return x ^ (x >> 31);
}


/* 256 B to 64 KB, by octaves: small ones are more. */
static size_t
body_of(const traffic_t *t, uint32_t object)
{
    uint64_t x;
    unsigned octave;

    if (!t->mixed) {
        return BODY;
    }

    x = mix(object + 1);

    for (octave = 0; octave < 7 && (x >> octave & 1); octave++) { /* void */ }

    return (size_t) ((256 + (x >> 32) % 256) << octave);
}


/* --- LRU ------------------------------------------------------------------ */

static void
lru_cut(lru_t *l, uint32_t i)
{
    l->node[l->node[i].prev].next = l->node[i].next;
    l->node[l->node[i].next].prev = l->node[i].prev;
}


static void
lru_first(lru_t *l, uint32_t i)
{
    l->node[i].next = l->node[0].next;
    l->node[i].prev = 0;
    l->node[l->node[0].next].prev = i;
    l->node[0].next = i;
}


static int
lru_request(lru_t *l, uint32_t object, size_t body)
{
    uint32_t i, last;

    i = object + 1;

    if (l->node[i].size > 0) {
        lru_cut(l, i);
        lru_first(l, i);
        return 1;
    }

    l->node[i].size = (uint32_t) ((OVER + HEADER + body + CELL - 1)
                                  / CELL * CELL);
    l->used += l->node[i].size;
    lru_first(l, i);

    while (l->used > l->total) {
        last = l->node[0].prev;
        l->used -= l->node[last].size;
        l->node[last].size = 0;
        lru_cut(l, last);
    }

    return 0;
}


/* --- the store ------------------------------------------------------------ */

static int
store_request(gw_store_t *s, uint32_t object, size_t body)
{
    char text[64];
    size_t done;
    uint64_t x;
    gw_store_new_t n;
    gw_store_ref_t ref;
    gw_store_wake_t wake;

    static unsigned char bytes[MAX_BODY];

    memset(&n, 0, sizeof(n));
    memset(&wake, 0, sizeof(wake));

    n.id.text.len = (size_t) snprintf(text, sizeof(text),
                                      "httpexample.org/objects/%u", object);
    n.id.text.data = (unsigned char *) text;
    x = mix(object + 1);
    memcpy(n.id.key, &x, sizeof(x));

    if (gw_store_get(s, 0, 1, &n.id, &ref) == GW_OK) {
        gw_store_unpin(s, &ref);
        return 1;
    }

    n.header.data = bytes;
    n.header.len = HEADER;
    n.dead_at = UINT64_MAX;
    n.size = body;

    if (gw_store_begin(s, 0, 1, &n, &ref, &wake) != GW_OK) {
        return 0;
    }

    if (gw_store_append(s, &ref, 1, bytes, body, &done, &wake) == GW_OK) {
        (void) gw_store_commit(s, &ref, 1, &wake);

    } else {
        gw_store_abort(s, &ref, 0, &wake);
    }

    return 0;
}


/* --- the table ------------------------------------------------------------ */

static void *
need(void *p)
{
    if (p == NULL) {
        fputs("cache_sim: no memory\n", stderr);
        exit(1);
    }

    return p;
}


static void
compare(traffic_t *t, double alpha, size_t size, uint32_t requests)
{
    void *base;
    lru_t lru;
    size_t body;
    uint32_t i, object, counted, hits[2];
    gw_store_t *s;
    gw_store_conf_t conf;
    gw_store_stat_t stat;

    conf.meta = 0;
    conf.max_object = MAX_BODY;
    base = need(malloc(size));
    s = need(gw_store_init(base, size, &conf));
    gw_store_stat(s, &stat);

    lru.node = need(calloc(t->objects + (size_t) requests + 2,
                           sizeof(*lru.node)));
    lru.used = 0;
    lru.total = stat.total;

    t->random = 4711;
    t->scanned = 0;
    t->scan = 0;
    counted = 0;
    hits[0] = 0;
    hits[1] = 0;

    for (i = 0; i < requests; i++) {
        object = next_object(t);
        body = body_of(t, object);

        /* both are warm, and what can be no hit is not counted */

        if (i < requests / 4 || object >= t->objects) {
            (void) lru_request(&lru, object, body);
            (void) store_request(s, object, body);
            continue;
        }

        counted++;
        hits[0] += (uint32_t) lru_request(&lru, object, body);
        hits[1] += (uint32_t) store_request(s, object, body);
    }

    printf("  %-5s  %-5s  %4.1f  %6.1f  %7.2f  %7.2f  %+7.2f\n",
           t->mixed ? "mixed" : "1 KB", t->scans ? "yes" : "no", alpha,
           (double) size / 1048576, 100.0 * hits[0] / counted,
           100.0 * hits[1] / counted,
           100.0 * ((double) hits[1] - hits[0]) / counted);

    free(lru.node);
    free(base);
}


int
main(int argc, char **argv)
{
    size_t size;
    double alpha;
    uint32_t requests;
    traffic_t t;

    memset(&t, 0, sizeof(t));
    requests = argc > 1 ? (uint32_t) atoi(argv[1]) : 400000;
    t.objects = argc > 2 ? (uint32_t) atoi(argv[2]) : 50000;

    if (requests < 1000 || t.objects < 1000) {
        fputs("usage: cache_sim [REQUESTS [OBJECTS]], at least 1000\n",
              stderr);
        return 2;
    }

    t.sums = need(malloc(t.objects * sizeof(*t.sums)));

    puts("  sizes  scans  Zipf      MB    LRU %  store %    more\n"
         "  -----  -----  ----  ------  -------  -------  ------");

    for (t.mixed = 0; t.mixed <= 1; t.mixed++) {
        for (t.scans = 0; t.scans <= 1; t.scans++) {
            for (alpha = 0.8; alpha < 1.15; alpha += 0.1) {
                zipf(&t, alpha);

                for (size = 1 << 20; size <= 16 << 20; size <<= 2) {
                    compare(&t, alpha, size, requests);
                }
            }
        }
    }

    free(t.sums);

    return 0;
}
