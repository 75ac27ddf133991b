/*
 * Which object goes when memory is short: S3-FIFO, by bytes.
 *
 *               asked for again
 *              +----------------> main --+--> out
 *   new --> small                 ^      |
 *    |         +--> out           +------+ asked for since
 *    |               |
 *    |            ghosts: fingerprints
 *    +---- known to the ghosts ----> main
 */

#include "cache_store_int.h"

#define SMALL_SHARE 10   /* the small queue has a tenth of all cells */
#define STEPS 1024u      /* objects looked at in one call, */
#define STEPS_LARGE 128u /* or where it may be called again */
#define LARGE 256u       /* cells */
#define SPARE 2          /* evicted besides while less than this is free */
#define SPARE_SHARE 64


void
gw_store_queue_add(gw_store_t *s, gw_store_object_t *o,
    gw_store_place_e place)
{
    uint32_t number;
    gw_store_queue_t *q;
    gw_store_object_t *head;

    q = &s->queues[place];
    number = gw_store_number(s, o);

    gw_store_note(s, &o->q_next); /* and q_prev */
    o->q_next = q->head;
    o->q_prev = 0;

    gw_store_note(s, &q->head); /* and tail */

    if (q->head != 0) {
        head = gw_store_object(s, q->head);
        gw_store_set(s, head->q_prev, number);

    } else {
        q->tail = number;
    }

    q->head = number;

    gw_store_set(s, q->n, q->n + 1);
    gw_store_set(s, q->cells, q->cells + o->total);
    gw_store_set(s, o->place, place);
}


void
gw_store_queue_cut(gw_store_t *s, gw_store_object_t *o)
{
    gw_store_queue_t *q;
    gw_store_object_t *p;

    q = &s->queues[o->place];

    gw_store_note(s, &q->head);

    if (o->q_next != 0) {
        p = gw_store_object(s, o->q_next);
        gw_store_set(s, p->q_prev, o->q_prev);

    } else {
        q->tail = o->q_prev;
    }

    if (o->q_prev != 0) {
        p = gw_store_object(s, o->q_prev);
        gw_store_set(s, p->q_next, o->q_next);

    } else {
        q->head = o->q_next;
    }

    gw_store_set(s, q->n, q->n - 1);
    gw_store_set(s, q->cells, q->cells - o->total);
    gw_store_set(s, o->place, GW_STORE_NOWHERE);
}


static void
move(gw_store_t *s, gw_store_object_t *o, gw_store_place_e place)
{
    gw_store_queue_cut(s, o);
    gw_store_queue_add(s, o, place);
    gw_store_done(s);
}


/* --- ghosts --------------------------------------------------------------- */

static gw_store_ghost_t *
ghosts_of(const gw_store_t *s, const gw_store_object_t *o, uint32_t *print)
{
    uint64_t hash;

    hash = gw_store_hash(o->key, o->variant);
    *print = (uint32_t) (hash >> 32) | 1;

    return (gw_store_ghost_t *) gw_store_at(s, s->ghosts_off)
           + (hash & s->ghosts_mask) * GW_STORE_GHOSTS;
}


static void
ghost_add(gw_store_t *s, const gw_store_object_t *o)
{
    uint32_t print, age, oldest;
    unsigned i, at;
    gw_store_ghost_t *g;

    g = ghosts_of(s, o, &print);
    at = 0;
    oldest = 0;

    for (i = 0; i < GW_STORE_GHOSTS; i++) {
        if (g[i].print == 0 || g[i].print == print) {
            at = i;
            break;
        }

        age = s->ghost_time - g[i].time;

        if (age >= oldest) {
            oldest = age;
            at = i;
        }
    }

    g[at].print = print;
    g[at].time = s->ghost_time++;
}


gw_store_place_e
gw_store_welcome(gw_store_t *s, const gw_store_object_t *o)
{
    uint32_t print;
    unsigned i;
    gw_store_ghost_t *g;

    g = ghosts_of(s, o, &print);

    for (i = 0; i < GW_STORE_GHOSTS; i++) {
        if (g[i].print != print) {
            continue;
        }

        g[i].print = 0;

        /* remembered as long as as many others as are in the main queue */

        return s->ghost_time - g[i].time <= s->queues[GW_STORE_MAIN].n
               ? GW_STORE_MAIN : GW_STORE_SMALL;
    }

    return GW_STORE_SMALL;
}


/* --- eviction ------------------------------------------------------------- */

static void
evict(gw_store_t *s, gw_store_object_t *o, uint64_t now)
{
    if (o->dead_at <= now) {
        s->stat.expired++;

    } else {
        s->stat.evicted++;

        if (o->place == GW_STORE_SMALL) {
            ghost_add(s, o);
        }
    }

    gw_store_drop(s, o);
    gw_store_done(s);
}


/* Hits that earn a place in the main queue: what is larger than others has
   to bring more for what it takes. */
static unsigned
worth(const gw_store_t *s, const gw_store_object_t *o)
{
    uint64_t n, cells;

    n = s->queues[GW_STORE_SMALL].n + s->queues[GW_STORE_MAIN].n;
    cells = s->queues[GW_STORE_SMALL].cells + s->queues[GW_STORE_MAIN].cells;

    if (o->total * n > cells * 8) {
        return 3;
    }

    return o->total * n > cells * 2 ? 2 : 1;
}


/* Looks at the oldest of a queue. GW_OK: it is out; GW_AGAIN: it moved;
   GW_DECLINED: it is in use. */
static int
look(gw_store_t *s, gw_store_place_e place, uint64_t now, bool force)
{
    gw_store_object_t *o;

    o = gw_store_object(s, s->queues[place].tail);

    if (o->refs > 1) {
        /* in use: it could not be freed, and is worth keeping */
        move(s, o, place);
        return GW_DECLINED;
    }

    if (o->dead_at <= now || force) {
        evict(s, o, now);
        return GW_OK;
    }

    if (place == GW_STORE_SMALL && o->freq >= worth(s, o)) {
        o->freq = 0;
        move(s, o, GW_STORE_MAIN);
        return GW_AGAIN;
    }

    if (place == GW_STORE_MAIN && o->freq > 0) {
        o->freq--;
        move(s, o, GW_STORE_MAIN);
        return GW_AGAIN;
    }

    evict(s, o, now);

    return GW_OK;
}


static gw_store_place_e
choose(const gw_store_t *s)
{
    const gw_store_queue_t *small, *often;

    small = &s->queues[GW_STORE_SMALL];
    often = &s->queues[GW_STORE_MAIN];

    if (often->n == 0) {
        return GW_STORE_SMALL;
    }

    if (small->n > 0 && small->cells * SMALL_SHARE > s->cells) {
        return GW_STORE_SMALL;
    }

    return GW_STORE_MAIN;
}


/* Evicts one object. *steps are left of those the call may take. */
static int
evict_one(gw_store_t *s, uint64_t now, unsigned *steps)
{
    int rc;
    unsigned tries, busy;
    uint64_t n;
    gw_store_place_e place;

    n = s->queues[GW_STORE_SMALL].n + s->queues[GW_STORE_MAIN].n;

    busy = 0;

    for (tries = 0; tries < 4 * n && *steps > 0; tries++, (*steps)--) {
        place = choose(s);

        /* where much of one queue is in use the other has its turn */

        if (busy % 16 >= 8) {
            place = place == GW_STORE_MAIN ? GW_STORE_SMALL : GW_STORE_MAIN;
        }

        if (s->queues[place].n == 0) {
            busy += 8;
            continue;
        }

        rc = look(s, place, now, tries > STEPS / 2);

        if (rc == GW_OK) {
            return GW_OK;
        }

        busy = rc == GW_DECLINED ? busy + 1 : 0;
    }

    return *steps > 0 ? GW_ERROR : GW_AGAIN;
}


int
gw_store_need(gw_store_t *s, uint32_t n, uint64_t now)
{
    int rc;
    uint64_t evicted;
    unsigned i, steps;

    steps = n < LARGE ? STEPS : STEPS_LARGE;
    evicted = s->stat.evicted + s->stat.expired;

    while (s->free_cells < n) {
        if (s->dead != 0) {
            (void) gw_store_bury(s, 16);
            continue;
        }

        if (steps == 0) {
            return s->stat.evicted + s->stat.expired > evicted ? GW_AGAIN
                                                               : GW_ERROR;
        }

        rc = evict_one(s, now, &steps);

        if (rc == GW_ERROR) {
            return GW_ERROR;
        }
    }

    /* a little more at a time, so that what is freed finds its neighbours
       free and makes longer runs */

    for (i = 0; i < SPARE && s->free_cells < n + s->cells / SPARE_SHARE; i++) {
        if (evict_one(s, now, &steps) != GW_OK) {
            break;
        }

        (void) gw_store_bury(s, 16);
    }

    return GW_OK;
}
