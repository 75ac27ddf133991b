/*
 * Looks at a whole store: each cell is free or belongs to one thing that can
 * be reached, and everything that is counted or linked twice agrees. CHECK()
 * is the includer's.
 */

#ifndef STORE_CHECK_H_INCLUDED
#define STORE_CHECK_H_INCLUDED

#include <stdlib.h>

#include "../../src/cache_store_int.h"

enum {
    CELL_NONE = 0,
    CELL_FREE,
    CELL_RUN,      /* of an object, but its first */
    CELL_OBJECT,
    CELL_ROOT,
    CELL_ENTRY,
    CELL_SHELF
};

typedef struct {
    gw_store_t *s;
    uint8_t *is;       /* of each cell */
    uint32_t *refs;    /* of objects, as counted here */
    uint8_t *record;   /* whether it is used, as counted here */
    uint32_t *users;   /* of roots */
} check_t;


static inline void
check_cells(check_t *k, uint32_t cell, uint32_t n, uint8_t what)
{
    uint32_t i;

    CHECK(cell > 0 && n > 0 && cell + n <= k->s->cells);

    for (i = 0; i < n; i++) {
        CHECK(k->is[cell + i] == CELL_NONE);
        k->is[cell + i] = i == 0 ? what : CELL_RUN;
    }
}


/* A free run: links, length in cells in its first cell, start in its last. */
static inline void
check_free(check_t *k)
{
    uint32_t at, prev, total, n, *f, *l;
    unsigned c;
    uint8_t *edges, *want;

    total = 0;
    edges = gw_store_at(k->s, k->s->edges_off);
    want = calloc(k->s->cells, 1);
    CHECK(want != NULL);

    for (c = 0; c < GW_STORE_CLASSES; c++) {
        prev = 0;
        CHECK((k->s->free_runs[c] != 0)
              == (k->s->free_bits[c / 64] >> (c % 64) & 1));

        for (at = k->s->free_runs[c]; at != 0; at = f[0]) {
            f = gw_store_cell(k->s, at);
            n = f[2];
            CHECK(f[1] == prev);
            CHECK(c < 64 ? n == c : n >> (c - 58) == 1);
            check_cells(k, at, n, CELL_FREE);
            l = gw_store_cell(k->s, at + n - 1);
            CHECK(l[3] == at);
            want[at] |= 1;
            want[at + n - 1] |= 2;
            total += n;
            prev = at;
        }
    }

    CHECK(total == k->s->free_cells);
    CHECK(memcmp(want, edges, k->s->cells) == 0);

    /* neighbours that are both free would have been joined */

    for (at = 1; at < k->s->cells; at++) {
        CHECK((want[at - 1] & 2) == 0 || (want[at] & 1) == 0);
    }

    free(want);
}


static inline void
check_shelf_of(check_t *k, uint32_t record)
{
    uint32_t cell;

    cell = record / GW_STORE_RECORDS;
    CHECK(cell > 0 && cell < k->s->cells);
    CHECK(record % GW_STORE_RECORDS != 0);
    CHECK(!k->record[record]);
    k->record[record] = 1;

    if (k->is[cell] != CELL_SHELF) {
        check_cells(k, cell, 1, CELL_SHELF);
    }
}


/* All runs of an object, on its first being met. */
static inline void
check_object(check_t *k, uint32_t number)
{
    uint32_t at, total, last;
    uint64_t room;
    gw_store_run_t *r;
    gw_store_object_t *o;

    CHECK(number > 0 && number < k->s->cells);

    if (k->is[number] == CELL_OBJECT) {
        return;
    }

    o = gw_store_object(k->s, number);
    CHECK(o->kind == GW_STORE_OBJECT);
    check_cells(k, number, o->run.cells, CELL_OBJECT);
    total = o->run.cells;
    room = (uint64_t) o->run.cells * GW_STORE_CELL - k->s->head;
    last = number;

    for (at = o->run.next; at != 0; at = r->next) {
        r = gw_store_cell(k->s, at);
        check_cells(k, at, r->cells, CELL_RUN);
        total += r->cells;
        room += r->cells * GW_STORE_CELL - GW_STORE_RUN_HEAD;
        last = at;
    }

    if (o->refs > 0 && o->state == GW_STORE_FILLING) {
        CHECK(o->room == room);
        CHECK(o->last == last);
    }

    if (o->refs > 0) {
        CHECK(total == o->total);
    }

    if (o->body != 0) {
        check_object(k, o->body);
        k->refs[o->body]++;
        CHECK(gw_store_object(k->s, o->body)->body == 0);
    }

    if (o->root != 0) {
        CHECK(o->root < k->s->cells);
        k->users[o->root]++;
    }
}


static inline void
check_tags(check_t *k, uint32_t number)
{
    uint32_t at, n;
    gw_store_tag_t *t;
    gw_store_member_t *m, *other;

    n = 0;

    for (at = gw_store_object(k->s, number)->tags; at != 0;
         at = m->object_next)
    {
        CHECK(++n <= GW_STORE_MAX_TAGS);
        check_shelf_of(k, at);
        m = gw_store_record(k->s, at);
        CHECK(m->object == number);

        if (m->tag == 0) {
            continue;
        }

        t = gw_store_record(k->s, m->tag);
        CHECK(gw_store_tag_find(k->s, t->hash) == t);

        if (m->prev == 0) {
            CHECK(t->first == at);

        } else {
            other = gw_store_record(k->s, m->prev);
            CHECK(other->next == at && other->tag == m->tag);
        }

        if (m->next != 0) {
            other = gw_store_record(k->s, m->next);
            CHECK(other->prev == at && other->tag == m->tag);
        }
    }
}


static inline void
check_queues(check_t *k)
{
    uint32_t at, prev;
    uint64_t n, cells;
    unsigned i;
    gw_store_queue_t *q;
    gw_store_object_t *o;

    for (i = GW_STORE_SMALL; i < GW_STORE_QUEUES; i++) {
        q = &k->s->queues[i];
        prev = 0;
        n = 0;
        cells = 0;

        for (at = q->head; at != 0; at = o->q_next) {
            check_object(k, at);
            k->refs[at]++;
            o = gw_store_object(k->s, at);
            CHECK(o->q_prev == prev);
            CHECK(o->place == i);
            CHECK(o->state == GW_STORE_COMPLETE);
            CHECK(o->freq <= GW_STORE_MAX_FREQ);
            CHECK(gw_store_find(k->s, o->key, o->variant, NULL) == o);
            n++;
            cells += o->total;
            prev = at;
        }

        CHECK(q->tail == prev);
        CHECK(q->n == n && q->cells == cells);
    }
}


static inline void
check_pins(check_t *k)
{
    uint32_t at, prev;
    unsigned slot;
    gw_store_pin_t *p;

    for (slot = 0; slot < GW_STORE_SLOTS; slot++) {
        prev = 0;

        for (at = k->s->pins[slot]; at != 0; at = p->next) {
            p = gw_store_record(k->s, at);
            CHECK(p->slot == slot && p->prev == prev);
            check_shelf_of(k, at);
            check_object(k, p->object);
            k->refs[p->object]++;
            prev = at;
        }
    }
}


static inline void
check_hash(check_t *k)
{
    uint32_t i, at, *table;
    uint64_t objects;
    gw_store_root_t *r;
    gw_store_object_t *o;

    objects = 0;
    table = gw_store_at(k->s, k->s->objects_off);

    for (i = 0; i <= k->s->objects_mask; i++) {
        for (at = table[i]; at != 0; at = o->hash_next) {
            o = gw_store_object(k->s, at);

            if (o->kind == GW_STORE_ROOT) {
                r = (gw_store_root_t *) o;
                check_cells(k, at, 1, CELL_ROOT);
                CHECK(gw_store_root_find(k->s, r->key) == r);
                CHECK(r->nspecs >= 1 && r->nspecs <= GW_STORE_SPECS);
                continue;
            }

            CHECK(k->is[at] == CELL_OBJECT);
            CHECK(o->place != GW_STORE_NOWHERE);
            objects++;
        }
    }

    CHECK(objects == k->s->queues[GW_STORE_SMALL].n
                     + k->s->queues[GW_STORE_MAIN].n);
}


/* Roots: those who say they use one, and those in its list. */
static inline void
check_roots(check_t *k)
{
    uint32_t i, at, prev, n;
    gw_store_root_t *r;
    gw_store_object_t *o;

    for (i = 0; i < k->s->cells; i++) {
        if (k->is[i] != CELL_ROOT) {
            CHECK(k->users[i] == 0);
            continue;
        }

        r = gw_store_cell(k->s, i);
        CHECK(r->users > 0 && r->users == k->users[i]);
        prev = 0;
        n = 0;

        for (at = r->first; at != 0; at = o->sib_next) {
            o = gw_store_object(k->s, at);
            CHECK(o->root == i && o->sib_prev == prev);
            CHECK(o->place != GW_STORE_NOWHERE);
            CHECK(memcmp(o->key, r->key, GW_STORE_DIGEST) == 0);
            prev = at;
            n++;
        }

        CHECK(n <= r->users);
    }
}


static inline void
check_entry(check_t *k, uint32_t at, uint32_t prev)
{
    gw_store_entry_t *e;

    e = gw_store_cell(k->s, at);
    check_cells(k, at, 1, CELL_ENTRY);
    CHECK(e->prev == prev);

    if (e->object != 0) {
        CHECK(k->is[e->object] == CELL_OBJECT);
        CHECK(gw_store_object(k->s, e->object)->fill == at);
    }
}


static inline void
check_fills(check_t *k)
{
    uint32_t at, prev, n, hashed, *table, i;
    unsigned slot;
    gw_store_entry_t *e;

    n = 0;
    hashed = 0;

    for (slot = 0; slot < GW_STORE_SLOTS; slot++) {
        prev = 0;

        for (at = k->s->fills[slot]; at != 0; at = e->next) {
            e = gw_store_cell(k->s, at);
            check_entry(k, at, prev);
            CHECK(!e->mark && e->slot == slot);
            hashed += e->hashed;
            prev = at;
            n++;
        }
    }

    CHECK(n == k->s->nfills);
    n = 0;
    prev = 0;

    for (at = k->s->marks; at != 0; at = e->next) {
        e = gw_store_cell(k->s, at);
        check_entry(k, at, prev);
        CHECK(e->mark && e->hashed);
        hashed++;
        prev = at;
        n++;
    }

    CHECK(n == k->s->nmarks && k->s->marks_tail == prev);

    table = gw_store_at(k->s, k->s->fills_off);

    for (i = 0; i <= k->s->fills_mask; i++) {
        for (at = table[i]; at != 0; at = e->hash_next) {
            e = gw_store_cell(k->s, at);
            CHECK(k->is[at] == CELL_ENTRY && e->hashed);
            hashed--;
        }
    }

    CHECK(hashed == 0);
}


static inline void
check_tag_hash(check_t *k)
{
    uint32_t i, at, prev, *table;
    unsigned level;
    gw_store_tag_t *t;
    uint32_t purging;

    table = gw_store_at(k->s, k->s->tags_off);
    purging = 0;

    for (i = 0; i <= k->s->tags_mask; i++) {
        for (at = table[i]; at != 0; at = t->hash_next) {
            t = gw_store_record(k->s, at);
            check_shelf_of(k, at);
            CHECK(t->first != 0 || t->purge != 0);
            CHECK(t->first == 0 || k->record[t->first]);
            purging += t->purge != 0;
        }
    }

    for (level = 0; level < 2; level++) {
        prev = 0;

        for (at = k->s->purging[level]; at != 0; at = t->next) {
            t = gw_store_record(k->s, at);
            CHECK(t->prev == prev && t->purge == level + 1);
            prev = at;
            purging--;
        }
    }

    CHECK(purging == 0);
}


static inline void
check_shelves(check_t *k)
{
    uint32_t cell, prev, record, used, i, n, *p;
    uint8_t *open;
    gw_store_shelf_t *f;

    open = calloc(k->s->cells, 1);
    CHECK(open != NULL);
    prev = 0;
    n = 0;

    for (cell = k->s->shelves; cell != 0; cell = f->next) {
        f = gw_store_cell(k->s, cell);
        CHECK(f->prev == prev && f->free != 0);
        open[cell] = 1;
        n += f->used == 0;

        if (k->is[cell] == CELL_NONE) {
            CHECK(f->used == 0);
            check_cells(k, cell, 1, CELL_SHELF);
        }

        CHECK(k->is[cell] == CELL_SHELF);
        prev = cell;
    }

    for (cell = 1; cell < k->s->cells; cell++) {
        if (k->is[cell] != CELL_SHELF) {
            continue;
        }

        f = gw_store_cell(k->s, cell);
        used = 0;

        for (i = 1; i < GW_STORE_RECORDS; i++) {
            used += k->record[cell * GW_STORE_RECORDS + i];
        }

        CHECK(used == f->used);
        CHECK((f->free != 0) == open[cell]);

        for (record = f->free; record != 0; record = *p) {
            CHECK(record / GW_STORE_RECORDS == cell);
            CHECK(!k->record[record]);
            k->record[record] = 2;
            p = gw_store_record(k->s, record);
            used++;
        }

        CHECK(used == GW_STORE_RECORDS - 1);
    }

    CHECK(n <= 3);
    free(open);
}


static inline void
check_store(gw_store_t *s)
{
    uint32_t at, i;
    check_t k;

    gw_store_enter(s);

    k.s = s;
    k.is = calloc(s->cells, 1);
    k.refs = calloc(s->cells, sizeof(*k.refs));
    k.users = calloc(s->cells, sizeof(*k.users));
    k.record = calloc((size_t) s->cells * GW_STORE_RECORDS, 1);
    CHECK(k.is && k.refs && k.users && k.record);

    check_free(&k);
    check_queues(&k);
    check_pins(&k);

    for (at = s->dead; at != 0; at = gw_store_object(s, at)->q_next) {
        CHECK(gw_store_object(s, at)->refs == 0);
        check_object(&k, at);
    }

    check_hash(&k);

    for (i = 1; i < s->cells; i++) {
        if (k.is[i] == CELL_OBJECT) {
            CHECK(gw_store_object(s, i)->refs == k.refs[i]);
            check_tags(&k, i);
        }
    }

    check_tag_hash(&k);
    check_roots(&k);
    check_fills(&k);
    check_shelves(&k);

    for (i = 1; i < s->cells; i++) {
        CHECK(k.is[i] != CELL_NONE);
    }

    free(k.is);
    free(k.refs);
    free(k.users);
    free(k.record);
}

#endif /* STORE_CHECK_H_INCLUDED */
