/*
 * One request for many: who fetches a key, who waits for it, and what is not
 * worth waiting for.
 */

#include "cache_store_int.h"

#define MARKS_MIN 16u
#define MARKS_SHARE 64u /* a mark is one cell: at most this part of them */


static uint32_t *
fill_bucket(const gw_store_t *s, const unsigned char *key,
    const unsigned char *variant)
{
    return (uint32_t *) gw_store_at(s, s->fills_off)
           + (gw_store_hash(key, variant) & s->fills_mask);
}


static gw_store_entry_t *
find(const gw_store_t *s, const unsigned char *key,
    const unsigned char *variant)
{
    uint32_t at;
    gw_store_entry_t *e;

    for (at = *fill_bucket(s, key, variant); at != 0; at = e->hash_next) {
        e = gw_store_cell(s, at);

        if (memcmp(e->key, key, GW_STORE_DIGEST) == 0
            && memcmp(e->variant, variant, GW_STORE_DIGEST) == 0)
        {
            return e;
        }
    }

    return NULL;
}


static void
hash_add(gw_store_t *s, gw_store_entry_t *e)
{
    uint32_t *head;

    head = fill_bucket(s, e->key, e->variant);

    gw_store_set(s, e->hash_next, *head);
    gw_store_set(s, *head, gw_store_number(s, e));
    gw_store_set(s, e->hashed, 1);
}


static void
hash_cut(gw_store_t *s, gw_store_entry_t *e)
{
    uint32_t *at, number;

    if (!e->hashed) {
        return;
    }

    number = gw_store_number(s, e);

    for (at = fill_bucket(s, e->key, e->variant);
         *at != number;
         at = &((gw_store_entry_t *) gw_store_cell(s, *at))->hash_next)
    {
        /* void */
    }

    gw_store_set(s, *at, e->hash_next);
    gw_store_set(s, e->hashed, 0);
}


/* Off its list: of its slot, or of the marks, whose oldest is the head. */
static void
list_cut(gw_store_t *s, gw_store_entry_t *e)
{
    gw_store_entry_t *other;

    if (e->next != 0) {
        other = gw_store_cell(s, e->next);
        gw_store_set(s, other->prev, e->prev);

    } else if (e->mark) {
        gw_store_set(s, s->marks_tail, e->prev);
    }

    if (e->prev != 0) {
        other = gw_store_cell(s, e->prev);
        gw_store_set(s, other->next, e->next);

    } else if (e->mark) {
        gw_store_set(s, s->marks, e->next);

    } else {
        gw_store_set(s, s->fills[e->slot], e->next);
    }

    if (e->mark) {
        gw_store_set(s, s->nmarks, s->nmarks - 1);

    } else {
        gw_store_set(s, s->nfills, s->nfills - 1);
    }
}


static void
entry_free(gw_store_t *s, gw_store_entry_t *e)
{
    hash_cut(s, e);
    list_cut(s, e);
    gw_store_run_free(s, gw_store_number(s, e), 1);
}


/* A fill becomes a mark, the newest. */
static void
mark(gw_store_t *s, gw_store_entry_t *e, uint64_t until)
{
    uint32_t number;
    gw_store_entry_t *last;

    list_cut(s, e);

    number = gw_store_number(s, e);

    gw_store_note(s, &e->next); /* and prev */
    e->next = 0;
    e->prev = s->marks_tail;

    if (e->prev != 0) {
        last = gw_store_cell(s, e->prev);
        gw_store_set(s, last->next, number);

    } else {
        gw_store_set(s, s->marks, number);
    }

    gw_store_set(s, s->marks_tail, number);
    gw_store_set(s, s->nmarks, s->nmarks + 1);
    gw_store_set(s, e->mark, 1);
    gw_store_set(s, e->until, until);
}


static void
forget_marks(gw_store_t *s)
{
    uint32_t most;

    most = s->cells / MARKS_SHARE;
    most = most < MARKS_MIN ? MARKS_MIN : most;

    while (s->nmarks > most) {
        entry_free(s, gw_store_cell(s, s->marks));
        gw_store_done(s);
    }
}


/* Puts a new fill into the hash and its slot's list. */
static void
entry_add(gw_store_t *s, gw_store_entry_t *e, unsigned slot)
{
    uint32_t number;
    gw_store_entry_t *next;

    number = gw_store_number(s, e);
    e->slot = (uint16_t) slot;
    e->next = s->fills[slot];

    if (e->next != 0) {
        next = gw_store_cell(s, e->next);
        gw_store_set(s, next->prev, number);
    }

    gw_store_set(s, s->fills[slot], number);
    gw_store_set(s, s->nfills, s->nfills + 1);
    hash_add(s, e);
}


static void
await(gw_store_t *s, gw_store_entry_t *e, unsigned slot)
{
    gw_store_set(s, e->waiters[slot / 64],
                 e->waiters[slot / 64] | (uint64_t) 1 << (slot % 64));
    gw_store_done(s);
}


int
gw_store_lead(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_id_t *id, bool wait, gw_store_fill_t *fill)
{
    uint32_t n;
    gw_store_entry_t *e;

    gw_store_enter(s);

    if (slot >= GW_STORE_SLOTS) {
        return GW_ERROR;
    }

    e = find(s, id->key, id->variant);

    if (e != NULL && !e->mark) {
        if (wait) {
            await(s, e, slot);
        }

        return GW_AGAIN;
    }

    if (e != NULL) {
        if (e->until > now) {
            return GW_DECLINED;
        }

        entry_free(s, e);
        gw_store_done(s);
    }

    if (gw_store_need(s, 1, now) != GW_OK) {
        s->stat.refused++;
        return GW_ERROR;
    }

    e = gw_store_cell(s, gw_store_run_take(s, 1, 1, &n));
    memset(e, 0, sizeof(*e));

    e->run.cells = 1;
    memcpy(e->key, id->key, GW_STORE_DIGEST);
    memcpy(e->variant, id->variant, GW_STORE_DIGEST);

    entry_add(s, e, slot);
    gw_store_done(s);

    *fill = gw_store_number(s, e);

    return GW_OK;
}


void
gw_store_settle(gw_store_t *s, gw_store_fill_t fill, uint64_t now,
    uint64_t until, gw_store_wake_t *wake)
{
    gw_store_entry_t *e;
    gw_store_object_t *o;

    gw_store_enter(s);

    e = gw_store_cell(s, fill);

    if (e->object != 0) {
        o = gw_store_object(s, e->object);

        if (o->state == GW_STORE_FILLING) {
            gw_store_root_leave(s, o);
            gw_store_set(s, o->state, GW_STORE_ABORTED);
        }

        gw_store_set(s, o->fill, 0);
        gw_store_set(s, e->object, 0);
        gw_store_done(s);
    }

    if (until > now && e->hashed) {
        gw_store_entry_wake(s, e, wake);
        mark(s, e, until);
        gw_store_done(s);
        forget_marks(s);

    } else {
        gw_store_entry_end(s, e, wake);
        gw_store_done(s);
    }
}


/* --- its object ----------------------------------------------------------- */

void
gw_store_entry_begin(gw_store_t *s, gw_store_entry_t *e,
    gw_store_object_t *o)
{
    gw_store_entry_t *other;

    gw_store_set(s, e->object, gw_store_number(s, o));
    gw_store_set(s, o->fill, gw_store_number(s, e));

    if (memcmp(e->variant, o->variant, GW_STORE_DIGEST) == 0) {
        return;
    }

    hash_cut(s, e);

    gw_store_note(s, e->variant);
    gw_store_note(s, e->variant + 8);
    memcpy(e->variant, o->variant, GW_STORE_DIGEST);

    /* where another one fetches this variant already, that is the one */

    other = find(s, e->key, e->variant);

    if (other != NULL && other->mark) {
        entry_free(s, other);
        other = NULL;
    }

    if (other == NULL) {
        hash_add(s, e);
    }
}


void
gw_store_entry_wake(gw_store_t *s, gw_store_entry_t *e,
    gw_store_wake_t *wake)
{
    unsigned i;

    for (i = 0; i < GW_STORE_SLOTS / 64; i++) {
        if (e->waiters[i] != 0) {
            wake->slots[i] |= e->waiters[i];
            gw_store_set(s, e->waiters[i], 0);
        }
    }
}


void
gw_store_entry_end(gw_store_t *s, gw_store_entry_t *e,
    gw_store_wake_t *wake)
{
    gw_store_object_t *o;

    gw_store_entry_wake(s, e, wake);

    if (e->object != 0) {
        o = gw_store_object(s, e->object);
        gw_store_set(s, o->fill, 0);
    }

    entry_free(s, e);
}


int
gw_store_attach(gw_store_t *s, unsigned slot, const gw_store_id_t *id,
    gw_store_ref_t *ref)
{
    gw_store_entry_t *e;
    gw_store_object_t *o;

    gw_store_enter(s);

    e = find(s, id->key, id->variant);

    if (e == NULL || e->object == 0
        || !gw_store_text_is(s, e->object, id->text))
    {
        return GW_DECLINED;
    }

    o = gw_store_object(s, e->object);

    if (memcmp(o->variant, id->variant, GW_STORE_DIGEST) != 0
        || gw_store_doomed(s, o))
    {
        return GW_DECLINED;
    }

    /* what is being filled is not evicted for it */

    if (slot >= GW_STORE_SLOTS
        || gw_store_records_ensure(s, 1, 0) != GW_OK)
    {
        s->stat.refused++;
        return GW_ERROR;
    }

    gw_store_pin(s, slot, o, false, ref);
    gw_store_done(s);

    return GW_OK;
}


void
gw_store_progress(gw_store_t *s, unsigned slot, const gw_store_ref_t *ref,
    uint64_t seen, gw_store_info_t *info)
{
    gw_store_object_t *o;

    gw_store_info(s, ref, info);

    o = gw_store_object(s, ref->object);

    if (info->state == GW_STORE_FILLING && info->body_len <= seen
        && o->fill != 0 && slot < GW_STORE_SLOTS)
    {
        await(s, gw_store_cell(s, o->fill), slot);
    }
}
