/*
 * An object's body, and its end: it is stored, or given up.
 */

#include "cache_store_int.h"

#define APPEND 65536u /* bytes copied, */
#define RUNS 64u      /* and runs taken, in one call */
#define GUESS 65536u  /* bytes that a body of unknown size grows by */
#define STEPS 64u


static uint64_t
limit(const gw_store_t *s, const gw_store_object_t *o)
{
    return o->body_size != GW_STORE_UNKNOWN ? o->body_size : s->max_object;
}


int
gw_store_reserve(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    uint64_t n)
{
    int rc;
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);

    if (o->state != GW_STORE_FILLING) {
        return GW_ERROR;
    }

    if (n > limit(s, o)) {
        return GW_DECLINED;
    }

    if (o->body != 0) {
        return GW_OK;
    }

    rc = gw_store_room(s, o, o->key_len + (uint64_t) o->header_len + n, now);

    if (rc == GW_ERROR) {
        s->stat.refused++;
    }

    return rc;
}


/* Room for more of the body, and where its size is not known for what may
   come besides. */
static int
grow_body(gw_store_t *s, gw_store_object_t *o, size_t len, uint64_t now)
{
    int rc;
    uint64_t bytes;

    bytes = o->body_len < GUESS ? o->body_len : GUESS;

    if (o->body_size == GW_STORE_UNKNOWN && bytes > len) {
        if (bytes > s->max_object - o->body_len) {
            bytes = s->max_object - o->body_len;
        }

        rc = gw_store_grow(s, o, bytes, now);

        if (rc != GW_ERROR) {
            return rc;
        }
    }

    return gw_store_grow(s, o, len, now);
}


static int
append(gw_store_t *s, gw_store_object_t *o, uint64_t now,
    const unsigned char *data, size_t len, size_t *done)
{
    int rc;
    size_t n;
    unsigned runs;

    runs = 0;

    while (*done < len) {
        if (*done >= APPEND || runs == RUNS) {
            return GW_AGAIN;
        }

        n = len - *done < APPEND ? len - *done : APPEND;
        n = gw_store_put(s, o, data + *done, n);

        if (n > 0) {
            gw_store_set(s, o->body_len, o->body_len + n);
            gw_store_done(s);
            *done += n;
            continue;
        }

        rc = grow_body(s, o, len - *done, now);

        if (rc != GW_OK) {
            return rc;
        }

        runs++;
    }

    return GW_OK;
}


int
gw_store_append(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    const unsigned char *data, size_t len, size_t *done,
    gw_store_wake_t *wake)
{
    int rc;
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);
    *done = 0;

    if (o->state != GW_STORE_FILLING) {
        return GW_ERROR;
    }

    if (o->body_len > limit(s, o) || len > limit(s, o) - o->body_len) {
        return GW_DECLINED;
    }

    rc = append(s, o, now, data, len, done);

    if (rc == GW_ERROR) {
        s->stat.refused++;
    }

    if (*done > 0 && o->fill != 0) {
        gw_store_entry_wake(s, gw_store_cell(s, o->fill), wake);
        gw_store_done(s);
    }

    return rc;
}


/* --- the end -------------------------------------------------------------- */

/* Frees what was taken and not written; steps of its own. */
static void
trim(gw_store_t *s, gw_store_object_t *o)
{
    uint32_t cells, spare;
    gw_store_run_t *w, *r;

    w = gw_store_cell(s, o->w_run);

    while (w->next != 0) {
        r = gw_store_cell(s, w->next);
        cells = r->cells;
        gw_store_set(s, w->next, r->next);
        gw_store_set(s, o->last, r->next == 0 ? o->w_run : o->last);
        gw_store_set(s, o->total, o->total - cells);
        gw_store_set(s, o->room, o->room - (uint64_t) cells * GW_STORE_CELL
                                 + GW_STORE_RUN_HEAD);
        gw_store_run_free(s, gw_store_number(s, r), cells);
        gw_store_done(s);
    }

    cells = gw_store_cells(o->w_off);
    spare = w->cells - cells;

    if (spare > 0) {
        gw_store_set(s, w->cells, cells);
        gw_store_set(s, o->total, o->total - spare);
        gw_store_set(s, o->room, o->room - (uint64_t) spare * GW_STORE_CELL);
        gw_store_run_free(s, o->w_run + cells, spare);
        gw_store_done(s);
    }
}


static void
store(gw_store_t *s, gw_store_object_t *o)
{
    gw_store_place_e place;
    gw_store_object_t *old;

    place = gw_store_welcome(s, o);
    old = gw_store_find(s, o->key, o->variant, NULL);

    if (old != NULL) {
        place = old->place;
        o->freq = old->freq;
        gw_store_drop(s, old);
    }

    gw_store_index_add(s, o);
    gw_store_root_link(s, o);
    gw_store_queue_add(s, o, place);
    gw_store_set(s, o->refs, o->refs + 1);
    gw_store_set(s, o->state, GW_STORE_COMPLETE);
    gw_store_done(s);

    s->stat.stored++;
}


/* Ends the fill, or leaves it to be led on, and the pin. */
static void
end(gw_store_t *s, gw_store_object_t *o, uint32_t pin, bool keep,
    gw_store_wake_t *wake)
{
    gw_store_entry_t *e;

    if (o->fill != 0) {
        e = gw_store_cell(s, o->fill);

        if (keep) {
            gw_store_entry_wake(s, e, wake);
            gw_store_set(s, e->object, 0);
            gw_store_set(s, o->fill, 0);

        } else {
            gw_store_entry_end(s, e, wake);
        }

        gw_store_done(s);
    }

    gw_store_pin_free(s, pin);
    gw_store_done(s);

    (void) gw_store_bury(s, STEPS);
}


int
gw_store_commit(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    gw_store_wake_t *wake)
{
    int rc;
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);

    if (o->state != GW_STORE_FILLING
        || (o->body_size != GW_STORE_UNKNOWN && o->body_len != o->body_size))
    {
        gw_store_abort(s, ref, false, wake);
        return GW_DECLINED;
    }

    trim(s, o);

    if (gw_store_doomed(s, o) || o->dead_at <= now) {
        gw_store_root_leave(s, o);
        gw_store_set(s, o->state, GW_STORE_COMPLETE);
        gw_store_done(s);
        rc = GW_DECLINED;

    } else {
        store(s, o);
        rc = GW_OK;
    }

    end(s, o, ref->pin, false, wake);

    return rc;
}


void
gw_store_abort(gw_store_t *s, const gw_store_ref_t *ref, bool keep,
    gw_store_wake_t *wake)
{
    gw_store_object_t *o;

    gw_store_enter(s);

    o = gw_store_object(s, ref->object);

    /* whoever wrote it may have died when it was stored already */

    if (o->state == GW_STORE_FILLING) {
        gw_store_root_leave(s, o);
        gw_store_set(s, o->state, GW_STORE_ABORTED);
        gw_store_done(s);
    }

    end(s, o, ref->pin, keep, wake);
}
