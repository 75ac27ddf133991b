#include "cache_store_int.h"


#define ALIGN 256u
#define BUCKETS_MIN 16u
#define MAX_CELLS (UINT32_MAX / GW_STORE_RECORDS)
#define STEPS 64   /* of burying, in one call */


/* --- the arena ------------------------------------------------------------ */

static uint64_t
align(uint64_t n)
{
    return (n + ALIGN - 1) & ~(uint64_t) (ALIGN - 1);
}


static uint32_t
buckets(uint64_t n)
{
    uint32_t b;

    for (b = BUCKETS_MIN; b < n && b < 1u << 30; b <<= 1) { /* void */ }

    return b;
}


/* Lays out tables for that many cells, and returns where all would end. */
static uint64_t
layout(gw_store_t *s, uint64_t cells)
{
    uint64_t off;

    s->objects_mask = buckets(cells / 8) - 1;
    s->tags_mask = buckets(cells / 16) - 1;
    s->fills_mask = buckets(cells / 64) - 1;
    s->ghosts_mask = buckets(cells / 32) - 1;
    s->cells = (uint32_t) cells;

    off = align(sizeof(*s));

    s->objects_off = off;
    off = align(off + (s->objects_mask + 1ull) * sizeof(uint32_t));

    s->tags_off = off;
    off = align(off + (s->tags_mask + 1ull) * sizeof(uint32_t));

    s->fills_off = off;
    off = align(off + (s->fills_mask + 1ull) * sizeof(uint32_t));

    s->ghosts_off = off;
    off = align(off + (s->ghosts_mask + 1ull)
                      * GW_STORE_GHOSTS * sizeof(gw_store_ghost_t));

    s->edges_off = off;
    off = align(off + cells);

    s->cells_off = off;

    return off + cells * GW_STORE_CELL;
}


/* One object must not turn all others out. */
static void
limit_objects(gw_store_t *s, const gw_store_conf_t *conf)
{
    s->max_object = conf->max_object < s->stat.total / 2
                    ? conf->max_object : s->stat.total / 2;
}


gw_store_t *
gw_store_init(void *base, size_t size, const gw_store_conf_t *conf)
{
    uint64_t cells, over;
    gw_store_t *s;

    if (size < sizeof(*s) + ALIGN || conf->meta > GW_STORE_MAX_META) {
        return NULL;
    }

    s = base;
    memset(s, 0, sizeof(*s));

    s->size = size;
    s->meta = (uint32_t) conf->meta;
    s->head = (uint32_t) (sizeof(gw_store_object_t) + conf->meta + 7) & ~7u;

    /* with fewer cells the tables are smaller: a few rounds will do */

    cells = size / GW_STORE_CELL;
    cells = cells < MAX_CELLS ? cells : MAX_CELLS;

    for ( ;; ) {
        over = layout(s, cells);

        if (over <= size) {
            break;
        }

        over = (over - size) / GW_STORE_CELL + 1;

        if (over >= cells) {
            return NULL;
        }

        cells -= over;
    }

    /* room for one small object at the least, and what goes with it */

    if (cells < 16 + 2 * s->head / GW_STORE_CELL) {
        return NULL;
    }

    memset(gw_store_at(s, s->objects_off), 0, s->cells_off - s->objects_off);

    gw_store_memory_init(s);

    s->stat.total = (cells - 1) * GW_STORE_CELL;
    limit_objects(s, conf);
    s->magic = GW_STORE_MAGIC;

    return s;
}


gw_store_t *
gw_store_open(void *base, size_t size, const gw_store_conf_t *conf)
{
    gw_store_t *s;

    s = base;

    if (size < sizeof(*s) || s->magic != GW_STORE_MAGIC || s->size != size
        || s->meta != conf->meta)
    {
        return NULL;
    }

    limit_objects(s, conf);

    return s;
}


/* Undoing is done anew from the start where it is not completed. */
void
gw_store_undo(gw_store_t *s)
{
    uint32_t i;

    for (i = s->notes; i > 0; i--) {
        GW_STORE_HOOK();
        memcpy(gw_store_at(s, s->journal[i - 1].off), &s->journal[i - 1].old,
               8);
    }

    s->stat.repaired++;
    gw_store_done(s);
}


/* --- pins ----------------------------------------------------------------- */

int
gw_store_get(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_id_t *id, gw_store_ref_t *ref)
{
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_find(s, id->key, id->variant, &id->text);

    if (o == NULL) {
        return GW_DECLINED;
    }

    if (o->dead_at <= now) {
        s->stat.expired++;
        gw_store_drop(s, o);
        gw_store_done(s);
        (void) gw_store_bury(s, STEPS);
        return GW_DECLINED;
    }

    if (o->freq < GW_STORE_MAX_FREQ) {
        o->freq++;
    }

    if (slot >= GW_STORE_SLOTS) {
        return GW_ERROR;
    }

    if (s->shelves == 0) {
        if (gw_store_records_ensure(s, 1, now) != GW_OK) {
            s->stat.refused++;
            return GW_ERROR;
        }

        /* room for the pin may have been made at the object's expense */

        o = gw_store_find(s, id->key, id->variant, &id->text);

        if (o == NULL) {
            return GW_DECLINED;
        }
    }

    gw_store_pin(s, slot, o, false, ref);
    gw_store_done(s);

    return GW_OK;
}


uint64_t
gw_store_stored(gw_store_t *s)
{
    return s->stat.stored;
}


void
gw_store_unpin(gw_store_t *s, const gw_store_ref_t *ref)
{
    gw_store_enter(s);

    gw_store_pin_free(s, ref->pin);
    gw_store_done(s);

    (void) gw_store_bury(s, STEPS);
}


int
gw_store_release(gw_store_t *s, unsigned slot, gw_store_wake_t *wake)
{
    unsigned n;
    gw_store_pin_t *p;
    gw_store_ref_t ref;

    gw_store_enter(s);

    if (slot >= GW_STORE_SLOTS) {
        return GW_OK;
    }

    /* it may have died after it learned whom to wake, and before it did */

    memset(wake, 0xff, sizeof(*wake));

    for (n = 0; s->pins[slot] != 0 || s->fills[slot] != 0; n++) {
        if (n == STEPS) {
            return GW_AGAIN;
        }

        if (s->pins[slot] == 0) {
            gw_store_settle(s, s->fills[slot], 0, 0, wake);
            continue;
        }

        ref.pin = s->pins[slot];
        p = gw_store_record(s, ref.pin);
        ref.object = p->object;

        if (p->writer) {
            gw_store_abort(s, &ref, false, wake);

        } else {
            gw_store_unpin(s, &ref);
        }
    }

    return GW_OK;
}


/* --- what an object is ---------------------------------------------------- */

void
gw_store_info(gw_store_t *s, const gw_store_ref_t *ref,
    gw_store_info_t *info)
{
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);

    info->meta = o + 1;
    info->body_len = o->body_len;
    info->body_size = o->state == GW_STORE_COMPLETE ? o->body_len
                                                    : o->body_size;
    info->dead_at = o->dead_at;
    info->header_len = o->header_len;
    info->key_len = o->key_len;
    info->state = o->state;
    info->stored = o->place != GW_STORE_NOWHERE;
}


void
gw_store_update(gw_store_t *s, const gw_store_ref_t *ref, const void *meta,
    uint64_t dead_at)
{
    uint32_t i, n;
    unsigned char *to;
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);
    to = (unsigned char *) (o + 1);

    gw_store_set(s, o->dead_at, dead_at);

    for (i = 0; i < s->meta; i += n) {
        n = s->meta - i < 8 ? s->meta - i : 8;
        gw_store_note(s, to + i);
        memcpy(to + i, (const unsigned char *) meta + i, n);
    }

    gw_store_done(s);
}


void
gw_store_remove(gw_store_t *s, const gw_store_ref_t *ref)
{
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);

    if (o->place != GW_STORE_NOWHERE) {
        gw_store_drop(s, o);
        gw_store_done(s);
    }
}


void
gw_store_stat(gw_store_t *s, gw_store_stat_t *stat)
{
    gw_store_enter(s);

    *stat = s->stat;
    stat->used = (s->cells - 1ull - s->free_cells) * GW_STORE_CELL;
    stat->objects = s->queues[GW_STORE_SMALL].n + s->queues[GW_STORE_MAIN].n;
    stat->fills = s->nfills;
}
