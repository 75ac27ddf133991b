#include <stdatomic.h>
#include <string.h>

#include "stream.h"


static uint64_t
chunk_end(const gw_chunk_t *c)
{
    return c->base + c->size;
}


/* Moves a cursor that stands at a chunk's end to the next one's start. */
static inline void
cursor_settle(gw_cursor_t *c)
{
    if (c->pos == chunk_end(c->chunk) && c->chunk->next != NULL) {
        c->chunk = c->chunk->next;
    }
}


void
gw_stream_init(gw_stream_t *s)
{
    memset(s, 0, sizeof(*s));
}


static void
chunks_free(gw_chunk_t *c, const gw_alloc_t *a)
{
    gw_chunk_t *next;

    for (; c != NULL; c = next) {
        next = c->next;
        a->free(a->ctx, c);
    }
}


void
gw_stream_reset(gw_stream_t *s, const gw_alloc_t *a)
{
    gw_chunk_t *c;

    c = s->first;
    gw_stream_init(s);
    chunks_free(c, a);
}


/*
 * Memory for the next chunk: twice the one before, so that a quiet channel
 * stays small, but no less than what is wanted, within a page.
 */
static size_t
chunk_memory(const gw_chunk_t *prev, size_t want)
{
    size_t n;

    n = GW_CHUNK_MIN;

    if (prev != NULL) {
        n = 2 * (sizeof(gw_chunk_t) + prev->size);
    }

    while (n < want + sizeof(gw_chunk_t) && n < GW_CHUNK_MAX) {
        n *= 2;
    }

    return n < GW_CHUNK_MAX ? n : GW_CHUNK_MAX;
}


/*
 * The chunk that holds the head. A writer that died inside a commit may have
 * moved the head and not `last`, which is then too early, never too late.
 */
static gw_chunk_t *
head_chunk(const gw_stream_t *s)
{
    gw_chunk_t *c;

    c = s->last;

    while (c != NULL && chunk_end(c) < s->head) {
        c = c->next;
    }

    return c;
}


int
gw_stream_reserve(gw_stream_t *s, size_t n, const gw_alloc_t *a)
{
    size_t room, size;
    gw_chunk_t *c, *prev, *made, **link;

    room = 0;
    prev = head_chunk(s);

    if (prev != NULL) {
        room = chunk_end(prev) - s->head;

        while (prev->next != NULL) {
            prev = prev->next;
            room += prev->size;
        }
    }

    made = NULL;
    link = &made;

    while (room < n || prev == NULL) {
        size = chunk_memory(prev, n - room);

        c = a->alloc(a->ctx, size);
        if (c == NULL) {
            chunks_free(made, a);
            return GW_ERROR;
        }

        c->next = NULL;
        c->base = prev != NULL ? chunk_end(prev) : s->head;
        c->size = size - sizeof(gw_chunk_t);
        c->reserved = 0;

        *link = c;
        link = &c->next;
        prev = c;
        room += c->size;
    }

    if (made == NULL) {
        return GW_OK;
    }

    if (s->last == NULL) {
        s->first = made;
        s->last = made;
        return GW_OK;
    }

    for (c = s->last; c->next != NULL; c = c->next) {
        /* to the end of the spare ones */
    }

    c->next = made;

    return GW_OK;
}


gw_chunk_t *
gw_stream_end(const gw_stream_t *s)
{
    gw_chunk_t *c;

    for (c = s->last; c != NULL && c->next != NULL; c = c->next) {
        /* void */
    }

    return c;
}


void
gw_stream_cut(gw_stream_t *s, gw_chunk_t *end, const gw_alloc_t *a)
{
    gw_chunk_t *c;

    if (end != NULL) {
        c = end->next;
        end->next = NULL;

    } else {
        c = s->first;
        s->first = NULL;
        s->last = NULL;
    }

    chunks_free(c, a);
}


gw_cursor_t
gw_stream_head(const gw_stream_t *s)
{
    return (gw_cursor_t){ head_chunk(s), s->head };
}


void
gw_stream_put(gw_cursor_t *w, const void *p, size_t n)
{
    size_t k;
    gw_chunk_t *c;
    const unsigned char *from;

    from = p;

    while (n > 0) {
        cursor_settle(w);

        c = w->chunk;
        k = chunk_end(c) - w->pos;
        k = k < n ? k : n;

        memcpy(c->data + (w->pos - c->base), from, k);

        w->pos += k;
        from += k;
        n -= k;
    }
}


void
gw_stream_commit(gw_stream_t *s, const gw_cursor_t *w)
{
    s->head = w->pos;
    atomic_signal_fence(memory_order_release); /* in this order */
    s->last = w->chunk;
}


void
gw_stream_trim(gw_stream_t *s, uint64_t low, const gw_alloc_t *a)
{
    gw_chunk_t *c;

    while (s->first != s->last && chunk_end(s->first) < low) {
        c = s->first;
        s->first = c->next;
        a->free(a->ctx, c);
    }
}


void
gw_stream_read(gw_cursor_t *c, void *p, size_t n)
{
    size_t k;
    unsigned char *to;

    to = p;

    while (n > 0) {
        cursor_settle(c);

        k = chunk_end(c->chunk) - c->pos;
        k = k < n ? k : n;

        memcpy(to, c->chunk->data + (c->pos - c->chunk->base), k);

        c->pos += k;
        to += k;
        n -= k;
    }
}


void
gw_stream_skip(gw_cursor_t *c, uint64_t n)
{
    uint64_t pos;

    pos = c->pos + n;

    while (chunk_end(c->chunk) < pos) {
        c->chunk = c->chunk->next;
    }

    c->pos = pos;
}


size_t
gw_stream_vectors(const gw_cursor_t *c, uint64_t end, struct iovec *iov,
    size_t max, size_t *total)
{
    size_t n, k;
    gw_cursor_t at;

    at = *c;

    for (n = 0; n < max && at.pos < end; n++) {
        cursor_settle(&at);

        k = chunk_end(at.chunk) - at.pos;
        if (k > end - at.pos) {
            k = end - at.pos;
        }

        iov[n].iov_base = at.chunk->data + (at.pos - at.chunk->base);
        iov[n].iov_len = k;

        at.pos += k;
        *total += k;
    }

    return n;
}
