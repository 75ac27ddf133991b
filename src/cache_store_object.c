/*
 * An object's beginning, and the memory that it grows into.
 */

#include "cache_store_int.h"

#define RUNS 64u   /* taken in one call */
#define TRIES 32u


uint32_t
gw_store_cells(uint64_t bytes)
{
    bytes = (bytes + GW_STORE_CELL - 1) / GW_STORE_CELL;

    return bytes < GW_STORE_MAX_RUN ? (uint32_t) bytes : GW_STORE_MAX_RUN;
}


/* --- memory --------------------------------------------------------------- */

int
gw_store_grow(gw_store_t *s, gw_store_object_t *o, uint64_t bytes, uint64_t now)
{
    int rc;
    uint32_t run, cells, n;
    gw_store_run_t *r, *last;

    cells = gw_store_cells(bytes + GW_STORE_RUN_HEAD);
    rc = gw_store_need(s, cells, now);

    if (rc != GW_OK) {
        return rc;
    }

    run = gw_store_run_take(s, 1, cells, &n);

    r = gw_store_cell(s, run);
    r->next = 0;
    r->cells = n;

    last = gw_store_cell(s, o->last);
    gw_store_set(s, last->next, run);
    gw_store_set(s, o->last, run);
    gw_store_set(s, o->total, o->total + n);
    gw_store_set(s, o->room,
                 o->room + (uint64_t) n * GW_STORE_CELL - GW_STORE_RUN_HEAD);
    gw_store_done(s);

    return GW_OK;
}


int
gw_store_room(gw_store_t *s, gw_store_object_t *o, uint64_t room, uint64_t now)
{
    int rc;
    unsigned runs;

    for (runs = 0; o->room < room; runs++) {
        if (runs == RUNS) {
            return GW_AGAIN;
        }

        rc = gw_store_grow(s, o, room - o->room, now);

        if (rc != GW_OK) {
            return rc;
        }
    }

    return GW_OK;
}


size_t
gw_store_put(gw_store_t *s, gw_store_object_t *o, const unsigned char *data,
    size_t len)
{
    uint32_t end, at, off;
    gw_store_run_t *r;

    at = o->w_run;
    off = o->w_off;
    r = gw_store_cell(s, at);
    end = r->cells * GW_STORE_CELL;

    if (off == end) {
        if (r->next == 0) {
            return 0;
        }

        at = r->next;
        off = GW_STORE_RUN_HEAD;
        r = gw_store_cell(s, at);
        end = r->cells * GW_STORE_CELL;
    }

    if (len > end - off) {
        len = end - off;
    }

    memcpy((unsigned char *) r + off, data, len);

    gw_store_set(s, o->w_run, at);
    gw_store_set(s, o->w_off, off + (uint32_t) len);

    return len;
}


/* The key and the header: GW_OK, or GW_ERROR. */
static int
put_text(gw_store_t *s, gw_store_object_t *o, gw_str_t text)
{
    size_t n;

    while (text.len > 0) {
        n = gw_store_put(s, o, text.data, text.len);

        if (n == 0) {
            return GW_ERROR;
        }

        gw_store_done(s);
        text.data += n;
        text.len -= n;
    }

    return GW_OK;
}


/* --- begin ---------------------------------------------------------------- */

static int
check(const gw_store_t *s, const gw_store_new_t *n)
{
    const gw_store_entry_t *e;

    if (n->id.text.len > GW_STORE_MAX_KEY
        || n->spec.len > GW_STORE_MAX_SPEC
        || n->ntags > GW_STORE_MAX_TAGS
        || n->header.len > GW_STORE_MAX_HEADER
        || (n->size != GW_STORE_UNKNOWN && n->size > s->max_object))
    {
        return GW_DECLINED;
    }

    if (n->fill != 0) {
        e = gw_store_cell(s, n->fill);

        if (e->object != 0
            || memcmp(e->key, n->id.key, GW_STORE_DIGEST) != 0)
        {
            return GW_DECLINED;
        }
    }

    return GW_OK;
}


/*
 * The first run. Its beginning has to be in one piece, so where memory is in
 * crumbs more is evicted than would do.
 */
static uint32_t
first_run(gw_store_t *s, const gw_store_new_t *n, uint64_t now,
    uint32_t *cells)
{
    uint32_t run, least;
    uint64_t bytes;
    unsigned i;

    bytes = s->head + n->id.text.len + n->header.len;

    if (n->size != GW_STORE_UNKNOWN && n->same_body == NULL) {
        bytes += n->size;
    }

    least = gw_store_cells(s->head);

    /* where not all can be had now, gw_store_room() goes on */

    (void) gw_store_need(s, gw_store_cells(bytes), now);

    for (i = 0; i < TRIES; i++) {
        run = gw_store_run_take(s, least, gw_store_cells(bytes), cells);

        if (run != 0) {
            return run;
        }

        if (gw_store_need(s, s->free_cells + least, now) == GW_ERROR) {
            break;
        }
    }

    return 0;
}


static gw_store_object_t *
make(gw_store_t *s, unsigned slot, uint64_t now, const gw_store_new_t *n,
    gw_store_ref_t *ref)
{
    uint32_t run, cells;
    gw_store_object_t *o, *body;

    if (gw_store_records_ensure(s, 1, now) != GW_OK) {
        return NULL;
    }

    run = first_run(s, n, now, &cells);

    if (run == 0) {
        return NULL;
    }

    o = gw_store_cell(s, run);
    memset(o, 0, sizeof(*o));

    o->run.cells = cells;
    o->kind = GW_STORE_OBJECT;
    memcpy(o->key, n->id.key, GW_STORE_DIGEST);
    memcpy(o->variant, n->id.variant, GW_STORE_DIGEST);
    o->last = run;
    o->w_run = run;
    o->w_off = s->head;
    o->total = cells;
    o->room = (uint64_t) cells * GW_STORE_CELL - s->head;
    o->key_len = (uint32_t) n->id.text.len;
    o->header_len = (uint32_t) n->header.len;
    o->body_size = n->size;
    o->dead_at = n->dead_at;
    o->stamp = n->stamp;

    memcpy(o + 1, n->meta, s->meta);

    if (n->same_body != NULL) {
        body = gw_store_object(s, n->same_body->object);
        o->body_len = body->body_len;
        o->body_size = body->body_len;

        o->body = body->body != 0 ? body->body : n->same_body->object;
        body = gw_store_object(s, o->body);
        gw_store_set(s, body->refs, body->refs + 1);
    }

    gw_store_pin(s, slot, o, true, ref);
    gw_store_done(s);

    return o;
}


static int
furnish(gw_store_t *s, gw_store_object_t *o, const gw_store_new_t *n,
    uint64_t now)
{
    int rc;
    size_t i;

    do {
        rc = gw_store_room(s, o, o->key_len + (uint64_t) o->header_len, now);
    } while (rc == GW_AGAIN);

    if (rc != GW_OK
        || put_text(s, o, n->id.text) != GW_OK
        || put_text(s, o, n->header) != GW_OK)
    {
        return GW_ERROR;
    }

    for (i = 0; i < n->ntags; i++) {
        if (gw_store_tag_add(s, o, n->tags[i], now) != GW_OK) {
            return GW_ERROR;
        }
    }

    return gw_store_root_join(s, o, n->spec, now);
}


int
gw_store_begin(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_new_t *n, gw_store_ref_t *ref, gw_store_wake_t *wake)
{
    gw_store_entry_t *e;
    gw_store_object_t *o;

    gw_store_enter(s);

    if (slot >= GW_STORE_SLOTS) {
        return GW_ERROR;
    }

    if (check(s, n) != GW_OK) {
        return GW_DECLINED;
    }

    o = make(s, slot, now, n, ref);

    if (o == NULL) {
        s->stat.refused++;
        return GW_ERROR;
    }

    if (furnish(s, o, n, now) != GW_OK) {
        s->stat.refused++;
        gw_store_abort(s, ref, true, wake);
        return GW_ERROR;
    }

    if (n->fill != 0) {
        e = gw_store_cell(s, n->fill);
        gw_store_entry_begin(s, e, o);
        gw_store_entry_wake(s, e, wake);
        gw_store_done(s);
    }

    if (n->size != GW_STORE_UNKNOWN && n->same_body == NULL) {
        (void) gw_store_room(s, o, o->key_len + o->header_len + n->size,
                             now);
    }

    return GW_OK;
}
