/*
 * Reading a pinned object, without the lock.
 *
 * The one word that may change meanwhile is the link and length of the last
 * run of an object that is being filled; what a reader makes of it is the
 * same before and after, as its bytes are below both.
 */

#include "cache_store_int.h"


/* The run's bytes end there; its data begin after what describes it. */
static uint32_t
run_end(const gw_store_run_t *r)
{
    uint32_t cells;

    __atomic_load(&r->cells, &cells, __ATOMIC_RELAXED);

    return cells * GW_STORE_CELL;
}


static uint32_t
run_next(const gw_store_run_t *r)
{
    uint32_t next;

    __atomic_load(&r->next, &next, __ATOMIC_RELAXED);

    return next;
}


void
gw_store_cursor(const gw_store_t *s, const gw_store_ref_t *ref,
    gw_store_part_e part, uint64_t from, uint64_t n, gw_store_cursor_t *c)
{
    uint32_t room;
    const gw_store_run_t *r;
    const gw_store_object_t *o;

    o = gw_store_object(s, ref->object);
    c->run = ref->object;

    if (part == GW_STORE_BODY && o->body != 0) {
        c->run = o->body;
        o = gw_store_object(s, o->body);
    }

    if (part != GW_STORE_KEY) {
        from += o->key_len;
    }

    if (part == GW_STORE_BODY) {
        from += o->header_len;
    }

    c->off = s->head;
    c->left = n;

    for (r = &o->run; ; r = gw_store_cell(s, c->run)) {
        room = run_end(r) - c->off;

        if (from < room || run_next(r) == 0) {
            break;
        }

        from -= room;
        c->run = run_next(r);
        c->off = GW_STORE_RUN_HEAD;
    }

    c->off += from;
}


void
gw_store_more(gw_store_cursor_t *c, uint64_t n)
{
    c->left += n;
}


/* The bytes that are left of the cursor's run, after going to the next. */
static gw_str_t
span(const gw_store_t *s, gw_store_cursor_t *c)
{
    uint32_t end;
    gw_str_t data;
    const gw_store_run_t *r;

    r = gw_store_cell(s, c->run);
    end = run_end(r);

    if (c->off >= end) {
        c->run = run_next(r);
        c->off = GW_STORE_RUN_HEAD;

        r = gw_store_cell(s, c->run);
        end = run_end(r);
    }

    data.data = (const unsigned char *) r + c->off;
    data.len = end - c->off;

    if (data.len > c->left) {
        data.len = c->left;
    }

    return data;
}


size_t
gw_store_spans(const gw_store_t *s, gw_store_cursor_t *c, gw_str_t *spans,
    size_t max)
{
    size_t n;
    gw_str_t data;

    n = 0;

    while (c->left > 0 && n < max) {
        data = span(s, c);

        spans[n++] = data;
        c->off += data.len;
        c->left -= data.len;
    }

    return n;
}


size_t
gw_store_copy(const gw_store_t *s, gw_store_cursor_t *c, void *p, size_t n)
{
    size_t done;
    gw_str_t data;

    for (done = 0; done < n && c->left > 0; done += data.len) {
        data = span(s, c);

        if (data.len > n - done) {
            data.len = n - done;
        }

        memcpy((unsigned char *) p + done, data.data, data.len);
        c->off += data.len;
        c->left -= data.len;
    }

    return done;
}
