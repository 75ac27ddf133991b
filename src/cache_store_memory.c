/*
 * Memory in the arena: runs of cells, and records that share a cell.
 *
 *   | used | next prev cells ...        start | used |
 *            ^ free run, its first cell     ^ and its last
 *
 * Free runs are of any length; two bits in the table of edges say where they
 * begin and end, so that one that is freed finds its neighbours and becomes
 * one with them. They are in lists by length: up to 63 cells one for each,
 * above by powers of two; words of bits say which lists have any. A run is
 * taken from the shortest that is long enough (after TLSF: Masmano et al.,
 * "TLSF: a new dynamic memory allocator for real-time systems", 2004).
 */

#include "cache_store_int.h"

#define BEGINS 1u
#define ENDS 2u
#define EXACT 64u /* cells from which on a list has several lengths */


/* In the first cell of a free run, but start, which is in its last. */
typedef struct {
    uint32_t next;
    uint32_t prev;
    uint32_t cells;
    uint32_t start;
} free_t;


static uint8_t *
edge(const gw_store_t *s, uint32_t cell)
{
    return (uint8_t *) gw_store_at(s, s->edges_off) + cell;
}


static unsigned
class_of(uint32_t n)
{
    unsigned c;

    if (n < EXACT) {
        return n;
    }

    for (c = EXACT; n >= 2 * EXACT; n >>= 1, c++) { /* void */ }

    return c;
}


static void
free_add(gw_store_t *s, uint32_t run, uint32_t n)
{
    unsigned c;
    free_t *f, *l, *next;

    c = class_of(n);
    f = gw_store_cell(s, run);
    l = gw_store_cell(s, run + n - 1);

    gw_store_note(s, &f->next);
    gw_store_note(s, &f->cells);
    gw_store_note(s, &l->start);
    f->next = s->free_runs[c];
    f->prev = 0;
    f->cells = n;
    l->start = run;

    if (f->next != 0) {
        next = gw_store_cell(s, f->next);
        gw_store_set(s, next->prev, run);
    }

    gw_store_set(s, s->free_runs[c], run);
    gw_store_set(s, s->free_bits[c / 64],
                 s->free_bits[c / 64] | (uint64_t) 1 << (c % 64));
    gw_store_set(s, *edge(s, run), *edge(s, run) | BEGINS);
    gw_store_set(s, *edge(s, run + n - 1), *edge(s, run + n - 1) | ENDS);
    gw_store_set(s, s->free_cells, s->free_cells + n);
}


static void
free_cut(gw_store_t *s, uint32_t run)
{
    uint32_t n;
    unsigned c;
    free_t *f, *l, *p;

    f = gw_store_cell(s, run);
    n = f->cells;
    l = gw_store_cell(s, run + n - 1);
    c = class_of(n);

    if (f->next != 0) {
        p = gw_store_cell(s, f->next);
        gw_store_set(s, p->prev, f->prev);
    }

    if (f->prev != 0) {
        p = gw_store_cell(s, f->prev);
        gw_store_set(s, p->next, f->next);

    } else {
        gw_store_set(s, s->free_runs[c], f->next);
    }

    if (s->free_runs[c] == 0) {
        gw_store_set(s, s->free_bits[c / 64],
                     s->free_bits[c / 64] & ~((uint64_t) 1 << (c % 64)));
    }

    gw_store_set(s, *edge(s, run), 0);
    gw_store_set(s, *edge(s, run + n - 1), 0);
    gw_store_set(s, s->free_cells, s->free_cells - n);

    /* what describes it is to be there again when this step is undone */

    gw_store_note(s, &f->next);
    gw_store_note(s, &f->cells);
    gw_store_note(s, &l->start);
}


void
gw_store_memory_init(gw_store_t *s)
{
    free_add(s, 1, s->cells - 1);
    gw_store_done(s);
}


void
gw_store_run_free(gw_store_t *s, uint32_t run, uint32_t n)
{
    const free_t *f;

    if (run > 1 && (*edge(s, run - 1) & ENDS)) {
        f = gw_store_cell(s, run - 1);
        n += run - f->start;
        run = f->start;
        free_cut(s, run);
    }

    if (run + n < s->cells && (*edge(s, run + n) & BEGINS)) {
        f = gw_store_cell(s, run + n);
        n += f->cells;
        free_cut(s, run + n - f->cells);
    }

    free_add(s, run, n);
}


/* The first list from c on that has a run, or the last before it that has. */
static unsigned
list_from(const gw_store_t *s, unsigned c)
{
    while (c < GW_STORE_CLASSES
           && (s->free_bits[c / 64] >> (c % 64) & 1) == 0)
    {
        c = s->free_bits[c / 64] >> (c % 64) == 0 ? (c / 64 + 1) * 64 : c + 1;
    }

    return c;
}


static unsigned
list_before(const gw_store_t *s, unsigned c)
{
    while (c > 0 && (s->free_bits[c / 64] >> (c % 64) & 1) == 0) {
        c--;
    }

    return c;
}


uint32_t
gw_store_run_take(gw_store_t *s, uint32_t least, uint32_t want, uint32_t *n)
{
    uint32_t run, cells;
    unsigned c;
    const free_t *f;

    want = want < GW_STORE_MAX_RUN ? want : GW_STORE_MAX_RUN;

    /* of a list with several lengths the first may be shorter: one up */

    c = list_from(s, class_of(want) + (want > EXACT));

    if (c >= GW_STORE_CLASSES) {
        c = list_before(s, class_of(want));

        if (c == 0) {
            return 0;
        }
    }

    run = s->free_runs[c];
    f = gw_store_cell(s, run);
    cells = f->cells;

    if (cells < least) {
        return 0;
    }

    free_cut(s, run);

    *n = want < cells ? want : cells;

    if (cells > *n) {
        free_add(s, run + *n, cells - *n);
    }

    return run;
}


/* --- records -------------------------------------------------------------- */

static uint32_t
cell_of(uint32_t record)
{
    return record / GW_STORE_RECORDS;
}


static void
shelf_add(gw_store_t *s, uint32_t cell)
{
    gw_store_shelf_t *f, *n;

    f = gw_store_cell(s, cell);
    gw_store_note(s, &f->next);
    f->next = s->shelves;
    f->prev = 0;

    if (f->next != 0) {
        n = gw_store_cell(s, f->next);
        gw_store_set(s, n->prev, cell);
    }

    gw_store_set(s, s->shelves, cell);
}


static void
shelf_cut(gw_store_t *s, uint32_t cell)
{
    gw_store_shelf_t *f, *p;

    f = gw_store_cell(s, cell);

    if (f->next != 0) {
        p = gw_store_cell(s, f->next);
        gw_store_set(s, p->prev, f->prev);
    }

    if (f->prev != 0) {
        p = gw_store_cell(s, f->prev);
        gw_store_set(s, p->next, f->next);

    } else {
        gw_store_set(s, s->shelves, f->next);
    }
}


static int
shelf_make(gw_store_t *s, uint64_t now)
{
    uint32_t cell, n, i, *record;
    gw_store_shelf_t *f;

    if (gw_store_need(s, 1, now) != GW_OK) {
        return GW_ERROR;
    }

    cell = gw_store_run_take(s, 1, 1, &n);
    f = gw_store_cell(s, cell);
    f->free = 0;
    f->used = 0;

    for (i = GW_STORE_RECORDS - 1; i > 0; i--) {
        record = gw_store_record(s, cell * GW_STORE_RECORDS + i);
        *record = f->free;
        f->free = cell * GW_STORE_RECORDS + i;
    }

    shelf_add(s, cell);
    gw_store_done(s);

    return GW_OK;
}


int
gw_store_records_ensure(gw_store_t *s, uint32_t n, uint64_t now)
{
    uint32_t cell, have;
    gw_store_shelf_t *f;

    for ( ;; ) {
        have = 0;

        for (cell = s->shelves; cell != 0 && have < n; cell = f->next) {
            f = gw_store_cell(s, cell);
            have += GW_STORE_RECORDS - 1 - f->used;
        }

        if (have >= n) {
            return GW_OK;
        }

        if (shelf_make(s, now) != GW_OK) {
            return GW_ERROR;
        }
    }
}


uint32_t
gw_store_record_take(gw_store_t *s)
{
    uint32_t cell, record, *p;
    gw_store_shelf_t *f;

    cell = s->shelves;
    f = gw_store_cell(s, cell);
    record = f->free;
    p = gw_store_record(s, record);

    gw_store_note(s, &f->free); /* and used */
    f->free = *p;
    f->used++;

    if (f->free == 0) {
        shelf_cut(s, cell);
    }

    gw_store_note(s, p);

    return record;
}


void
gw_store_record_free(gw_store_t *s, uint32_t record)
{
    uint32_t cell, *p;
    gw_store_shelf_t *f;

    cell = cell_of(record);
    f = gw_store_cell(s, cell);
    p = gw_store_record(s, record);

    if (f->free == 0) {
        shelf_add(s, cell);
    }

    gw_store_set(s, *p, f->free);
    gw_store_note(s, &f->free);
    f->free = record;
    f->used--;

    /* one that is empty is kept, lest each pin makes a cell and frees it */

    if (f->used == 0 && (f->next != 0 || f->prev != 0)) {
        shelf_cut(s, cell);
        gw_store_run_free(s, cell, 1);
    }
}
