/*
 * Random work on a store by several workers, with what must come of it. The
 * bytes of a body follow from its seed, which is in its header, so whatever
 * is read can be verified by itself. CHECK() is the includer's.
 */

#ifndef STORE_PLAY_H_INCLUDED
#define STORE_PLAY_H_INCLUDED

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cache_store.h"
#include "memory.h"

#define PLAY_KEYS 24u
#define PLAY_VARIANTS 3u /* 0: the response has no Vary */
#define PLAY_IDS (PLAY_KEYS * PLAY_VARIANTS)
#define PLAY_TAGS 8u
#define PLAY_SLOTS 4u
#define PLAY_HELD 12u
#define PLAY_META 40u
#define PLAY_BODY 200000u

typedef struct {
    uint64_t seed;
    uint64_t size;
    uint32_t id;
    uint32_t tags; /* bits */
} play_header_t;

typedef struct {
    gw_store_ref_t ref;
    play_header_t header;
    uint64_t written;
    gw_store_fill_t fill;
    bool known;
    bool busy;
} play_writer_t;

typedef struct {
    gw_store_ref_t ref;
    bool busy;
} play_reader_t;

typedef struct {
    play_writer_t writer[PLAY_HELD];
    play_reader_t reader[PLAY_HELD];
    gw_store_fill_t fill[PLAY_HELD];
    uint32_t fill_id[PLAY_HELD];
} play_worker_t;

typedef struct {
    gw_store_t *s;
    uint64_t random;
    uint64_t now;
    uint64_t seeds;
    uint64_t max_body;
    uint64_t seed[PLAY_IDS];  /* what must be found, or nothing; 0: nothing */
    uint32_t tags[PLAY_IDS];
    uint64_t stamp[PLAY_IDS]; /* of the last purge that hit it */
    uint64_t flying;          /* seed that is being committed */
    play_worker_t worker[PLAY_SLOTS];
    unsigned char scratch[GW_STORE_MAX_KEY];
    unsigned char body[65536];
    char text[PLAY_KEYS][64];
} play_t;


static inline unsigned char
play_byte(uint64_t seed, uint64_t i)
{
    return (unsigned char) ((seed * 0x9e3779b1u + i * 2654435761u) >> 11);
}


static inline void
play_init(play_t *p, gw_store_t *s, uint64_t random, uint64_t max_body)
{
    unsigned i;

    memset(p, 0, sizeof(*p));
    p->s = s;
    p->random = random;
    p->now = 1000;
    p->max_body = max_body < s->max_object ? max_body : s->max_object;

    for (i = 0; i < PLAY_KEYS; i++) {
        (void) snprintf(p->text[i], sizeof(p->text[i]),
                        "httplocalhost/%c/%.*s%u", "ab"[i % 2],
                        (int) (i * 7 % 23), "abcdefghijklmnopqrstuvwx", i);
    }
}


static inline uint32_t
play_random(play_t *p, uint32_t n)
{
    return random_next(&p->random) % n;
}


static inline gw_store_id_t
play_id(play_t *p, uint32_t id)
{
    uint64_t x;
    gw_store_id_t r;

    r.text.data = (unsigned char *) p->text[id / PLAY_VARIANTS];
    r.text.len = strlen(p->text[id / PLAY_VARIANTS]);

    x = id / PLAY_VARIANTS + 1;
    random_fill(&x, r.key, sizeof(r.key));
    memset(r.variant, 0, sizeof(r.variant));

    if (id % PLAY_VARIANTS != 0) {
        x = id % PLAY_VARIANTS + 1000;
        random_fill(&x, r.variant, sizeof(r.variant));
    }

    return r;
}


/* All that is there of the object is what its header says. */
static inline void
play_verify(play_t *p, const gw_store_ref_t *ref, play_header_t *h,
    uint32_t id)
{
    size_t n, i, j;
    uint64_t at;
    gw_str_t span[7];
    gw_store_info_t info;
    gw_store_cursor_t c;

    gw_store_info(p->s, ref, &info);
    CHECK(info.header_len == sizeof(*h));

    gw_store_cursor(p->s, ref, GW_STORE_HEADER, 0, sizeof(*h), &c);
    CHECK(gw_store_copy(p->s, &c, h, sizeof(*h)) == sizeof(*h));
    CHECK(id == PLAY_IDS || h->id == id);
    CHECK(memcmp(info.meta, &h->id, sizeof(h->id)) == 0);
    CHECK(info.body_len <= h->size);
    CHECK(info.state != GW_STORE_COMPLETE || info.body_len == h->size);

    at = info.body_len > 0 ? play_random(p, info.body_len) : 0;
    gw_store_cursor(p->s, ref, GW_STORE_BODY, at, info.body_len - at, &c);

    while ((n = gw_store_spans(p->s, &c, span, 7)) > 0) {
        for (i = 0; i < n; i++) {
            CHECK(span[i].len > 0);

            for (j = 0; j < span[i].len; j++, at++) {
                CHECK(span[i].data[j] == play_byte(h->seed, at));
            }
        }
    }

    CHECK(at == info.body_len);
}


static inline gw_str_t
play_spec(unsigned i)
{
    static const char *spec[] = {
        "accept-encoding", "accept-language", "accept-encoding, cookie",
        "a", "x-abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdef"
        "ghijklmnopqrstuvwxyz", "x-tenant",
    };

    return (gw_str_t){ (const unsigned char *) spec[i], strlen(spec[i]) };
}


/* Each spec of a key is one of these, and each of them only once. */
static inline void
play_specs(play_t *p)
{
    size_t n, i;
    unsigned j, seen;
    uint32_t key;
    gw_str_t spec;
    gw_store_id_t id;
    gw_store_spec_t specs[GW_STORE_SPECS];

    for (key = 0; key < PLAY_KEYS; key++) {
        id = play_id(p, key * PLAY_VARIANTS);
        n = gw_store_specs(p->s, id.key, specs);
        seen = 0;

        for (i = 0; i < n; i++) {
            for (j = 0; j < 6; j++) {
                spec = play_spec(j);

                if (specs[i].len == spec.len
                    && memcmp(specs[i].text, spec.data, spec.len) == 0)
                {
                    break;
                }
            }

            CHECK(j < 6 && (seen & 1u << j) == 0);
            seen |= 1u << j;
        }
    }
}


static inline bool
play_is_there(play_t *p, uint32_t id)
{
    gw_store_id_t i;

    i = play_id(p, id);

    return gw_store_find(p->s, i.key, i.variant, &i.text) != NULL;
}


static inline void
play_get(play_t *p, unsigned slot)
{
    int rc;
    uint32_t id, i;
    play_header_t h;
    gw_store_id_t what;
    play_reader_t *r;

    i = play_random(p, PLAY_HELD);
    id = play_random(p, PLAY_IDS);
    what = play_id(p, id);
    r = &p->worker[slot].reader[i];

    if (r->busy) {
        play_verify(p, &r->ref, &h, PLAY_IDS);
        r->busy = false;
        gw_store_unpin(p->s, &r->ref);
        return;
    }

    if (play_random(p, 3) == 0) {
        rc = gw_store_attach(p->s, slot, &what, &r->ref);

    } else {
        rc = gw_store_get(p->s, slot, p->now, &what, &r->ref);
        CHECK(rc != GW_OK || p->seed[id] != 0);

        if (rc == GW_OK) {
            play_verify(p, &r->ref, &h, id);
            CHECK(h.seed == p->seed[id]);
            CHECK(h.tags == p->tags[id]);
        }
    }

    r->busy = rc == GW_OK;

    if (r->busy) {
        play_verify(p, &r->ref, &h, id);
    }
}


static inline void
play_begin(play_t *p, unsigned slot, const gw_store_ref_t *same,
    const play_header_t *old)
{
    int rc;
    uint32_t i, t;
    uint64_t tags[2 * PLAY_TAGS];
    play_writer_t *w;
    gw_store_new_t n;
    gw_store_wake_t wake;
    unsigned char meta[PLAY_META];

    i = play_random(p, PLAY_HELD);
    w = &p->worker[slot].writer[i];

    if (w->busy) {
        return;
    }

    memset(w, 0, sizeof(*w));
    memset(&n, 0, sizeof(n));
    memset(&wake, 0, sizeof(wake));

    w->header.id = play_random(p, PLAY_IDS);
    w->header.seed = ++p->seeds;
    w->header.size = play_random(p, 3) ? play_random(p, 3000)
                                       : play_random(p, p->max_body + 1);

    if (same != NULL) {
        w->header = *old;
        w->written = old->size;
        n.same_body = same;
    }

    w->header.tags = play_random(p, 2) ? play_random(p, 1u << PLAY_TAGS) : 0;

    if (p->worker[slot].fill[i] != 0) {
        w->fill = p->worker[slot].fill[i];
        w->header.id -= w->header.id % PLAY_VARIANTS;
        w->header.id = p->worker[slot].fill_id[i];
    }

    for (t = 0; t < PLAY_TAGS; t++) {
        if (w->header.tags & 1u << t) {
            tags[n.ntags++] = 1000 + t;
            tags[n.ntags++] = 1000 + t;
        }
    }

    memset(meta, 0, sizeof(meta));
    memcpy(meta, &w->header.id, sizeof(w->header.id));

    w->known = play_random(p, 2);
    n.id = play_id(p, w->header.id);
    n.spec = w->header.id % PLAY_VARIANTS ? play_spec(play_random(p, 6))
                                          : gw_str("");
    n.header.data = (unsigned char *) &w->header;
    n.header.len = sizeof(w->header);
    n.meta = meta;
    n.tags = tags;
    n.dead_at = p->now + 1 + play_random(p, 4000);
    n.size = w->known ? w->header.size : GW_STORE_UNKNOWN;
    n.stamp = gw_store_stamp(p->s);
    n.fill = w->fill;

    rc = gw_store_begin(p->s, slot, p->now, &n, &w->ref, &wake);
    CHECK(rc == GW_OK || rc == GW_ERROR || w->header.size > p->max_body);

    if (rc == GW_OK) {
        w->busy = true;
        p->worker[slot].fill[i] = 0;
    }
}


/* A 304: the body of what is there, under a new header. */
static inline void
play_renew(play_t *p, unsigned slot)
{
    uint32_t i;
    play_header_t h;
    play_reader_t *r;
    gw_store_info_t info;

    i = play_random(p, PLAY_HELD);
    r = &p->worker[slot].reader[i];

    if (!r->busy) {
        return;
    }

    gw_store_info(p->s, &r->ref, &info);
    play_verify(p, &r->ref, &h, PLAY_IDS);

    if (info.state == GW_STORE_COMPLETE) {
        play_begin(p, slot, &r->ref, &h);
    }
}


static inline void
play_end(play_t *p, play_writer_t *w, bool commit)
{
    int rc;
    uint32_t id;
    gw_store_wake_t wake;

    memset(&wake, 0, sizeof(wake));
    id = w->header.id;

    if (!commit) {
        w->busy = false;
        gw_store_abort(p->s, &w->ref, false, &wake);
        return;
    }

    p->flying = w->header.seed;
    w->busy = false;
    rc = gw_store_commit(p->s, &w->ref, p->now, &wake);

    if (rc == GW_OK) {
        p->seed[id] = w->header.seed;
        p->tags[id] = w->header.tags;
        CHECK(play_is_there(p, id));
    }

    p->flying = 0;
}


static inline void
play_write(play_t *p, unsigned slot)
{
    int rc;
    size_t done, len, i;
    play_writer_t *w;
    gw_store_wake_t wake;

    w = &p->worker[slot].writer[play_random(p, PLAY_HELD)];

    if (!w->busy) {
        return;
    }

    if (w->written == w->header.size) {
        play_end(p, w, play_random(p, 10) > 0);
        return;
    }

    len = w->header.size - w->written;
    len = len > sizeof(p->body) ? sizeof(p->body) : len;

    if (play_random(p, 3) == 0) {
        len = 1 + play_random(p, len);
    }

    for (i = 0; i < len; i++) {
        p->body[i] = play_byte(w->header.seed, w->written + i);
    }

    memset(&wake, 0, sizeof(wake));
    rc = gw_store_append(p->s, &w->ref, p->now, p->body, len, &done, &wake);
    CHECK(rc != GW_DECLINED && done <= len && (rc != GW_OK || done == len));
    w->written += done;

    if (rc == GW_ERROR || play_random(p, 50) == 0) {
        play_end(p, w, play_random(p, 2) && w->known);
    }
}


static inline void
play_lead(play_t *p, unsigned slot)
{
    int rc;
    uint32_t i, id;
    gw_store_id_t what;
    gw_store_fill_t *fill;
    gw_store_wake_t wake;

    i = play_random(p, PLAY_HELD);
    fill = &p->worker[slot].fill[i];
    memset(&wake, 0, sizeof(wake));

    if (*fill != 0) {
        id = *fill;
        *fill = 0;
        gw_store_settle(p->s, id, p->now,
                        p->now + play_random(p, 2) * 100, &wake);
        return;
    }

    id = play_random(p, PLAY_IDS);
    what = play_id(p, id);
    rc = gw_store_lead(p->s, slot, p->now, &what, play_random(p, 2), fill);

    if (rc == GW_OK) {
        /* a variant may come of what was asked for without one */
        p->worker[slot].fill_id[i] = id % PLAY_VARIANTS
            ? id : id + play_random(p, PLAY_VARIANTS);

    } else {
        *fill = 0;
    }
}


static inline bool
play_match(void *ctx, gw_str_t key)
{
    return key.len > 15 && key.data[14] == *(unsigned char *) ctx;
}


/* What is on its way and is not hit may be stored; the rest must not. */
static inline void
play_doomed(play_t *p, uint32_t key, uint32_t tag)
{
    uint32_t i, j;
    play_writer_t *w;
    gw_store_wake_t wake;

    for (i = 0; i < PLAY_SLOTS; i++) {
        for (j = 0; j < PLAY_HELD; j++) {
            w = &p->worker[i].writer[j];

            if (w->busy && (w->known || w->written == w->header.size)
                && (w->header.id / PLAY_VARIANTS == key
                    || (tag < PLAY_TAGS && (w->header.tags & 1u << tag))))
            {
                memset(&wake, 0, sizeof(wake));
                w->busy = false;
                CHECK(gw_store_commit(p->s, &w->ref, p->now, &wake)
                      == GW_DECLINED);
            }
        }
    }
}


static inline void
play_purge(play_t *p)
{
    int rc;
    bool hit[PLAY_IDS], there[PLAY_IDS];
    uint32_t i, key, tag, shared, n;
    unsigned char c;
    gw_store_id_t what;
    gw_store_purge_t purge;

    memset(&purge, 0, sizeof(purge));
    purge.cascade = play_random(p, 3) == 0;
    key = play_random(p, 10) ? play_random(p, PLAY_KEYS) : PLAY_KEYS;
    tag = play_random(p, 2) ? PLAY_TAGS : play_random(p, PLAY_TAGS);
    c = play_random(p, 12) ? 0 : play_random(p, 2) ? 'a' : 'b';
    shared = 0;

    for (i = 0; i < PLAY_IDS; i++) {
        there[i] = play_is_there(p, i);
        hit[i] = i / PLAY_VARIANTS == key
                 || (tag < PLAY_TAGS && (p->tags[i] & 1u << tag))
                 || p->text[i / PLAY_VARIANTS][14] == c;

        if (hit[i] && there[i]) {
            shared |= p->tags[i];
        }
    }

    n = 0;

    for (i = 0; i < PLAY_IDS; i++) {
        hit[i] = hit[i] || (purge.cascade && (p->tags[i] & shared));
        n += hit[i] && there[i];
    }

    if (key < PLAY_KEYS) {
        what = play_id(p, key * PLAY_VARIANTS);

        do {
            rc = gw_store_purge_key(p->s, &purge, what.key);
        } while (rc == GW_AGAIN);
    }

    if (tag < PLAY_TAGS) {
        gw_store_purge_tag(p->s, &purge, 1000 + tag);
    }

    if (c != 0) {
        do {
            rc = gw_store_purge_match(p->s, &purge, play_match, &c,
                                      p->scratch);
        } while (rc == GW_AGAIN);
    }

    do {
        rc = gw_store_purge_end(p->s, &purge);
    } while (rc == GW_AGAIN);

    CHECK(purge.purged == n);

    for (i = 0; i < PLAY_IDS; i++) {
        CHECK(play_is_there(p, i) == (there[i] && !hit[i]));

        if (hit[i]) {
            p->seed[i] = 0;
        }
    }

    play_doomed(p, key, tag);
}


static inline void
play_other(play_t *p, unsigned slot)
{
    uint32_t i, id;
    play_header_t h;
    gw_store_info_t info;
    unsigned char meta[PLAY_META];
    play_reader_t *r;
    play_writer_t *w;

    i = play_random(p, PLAY_HELD);
    r = &p->worker[slot].reader[i];
    w = &p->worker[slot].writer[i];

    switch (play_random(p, 4)) {

    case 0:
        p->now += play_random(p, 200);
        break;

    case 1:
        if (w->busy) {
            (void) gw_store_reserve(p->s, &w->ref, p->now, w->header.size);
        }
        break;

    case 2:
        if (r->busy) {
            play_verify(p, &r->ref, &h, PLAY_IDS);
            memset(meta, 7, sizeof(meta));
            memcpy(meta, &h.id, sizeof(h.id));
            gw_store_update(p->s, &r->ref, meta,
                            p->now + 1 + play_random(p, 1000));
        }
        break;

    default:
        if (r->busy && play_random(p, 4) == 0) {
            gw_store_info(p->s, &r->ref, &info);
            play_verify(p, &r->ref, &h, PLAY_IDS);
            id = h.id;
            gw_store_remove(p->s, &r->ref);

            if (info.stored) {
                CHECK(!play_is_there(p, id));
                p->seed[id] = 0;
            }
        }
    }
}


static inline void
play_step(play_t *p, unsigned slot)
{
    switch (play_random(p, 16)) {

    case 0: case 1: case 2:
        play_begin(p, slot, NULL, NULL);
        break;

    case 3: case 4: case 5: case 6:
        play_write(p, slot);
        break;

    case 7: case 8: case 9: case 10: case 11:
        play_get(p, slot);
        break;

    case 12:
        play_lead(p, slot);
        break;

    case 13:
        play_renew(p, slot);
        break;

    case 14:
        if (play_random(p, 6) == 0) {
            play_purge(p);
        }
        break;

    default:
        play_other(p, slot);
    }
}


/* The worker is dead: what it held is released; what others hold is whole;
   what is found is what was found before, or what it was just storing. */
static inline void
play_death(play_t *p, unsigned slot)
{
    uint32_t i, j;
    play_header_t h;
    gw_store_id_t what;
    gw_store_ref_t ref;
    gw_store_wake_t wake;
    gw_store_purge_t purge;

    memset(&p->worker[slot], 0, sizeof(p->worker[slot]));

    while (gw_store_release(p->s, slot, &wake) == GW_AGAIN) { /* void */ }

    memset(&purge, 0, sizeof(purge));

    while (gw_store_purge_end(p->s, &purge) == GW_AGAIN) { /* void */ }

    for (i = 0; i < PLAY_SLOTS; i++) {
        for (j = 0; j < PLAY_HELD; j++) {
            if (p->worker[i].reader[j].busy) {
                play_verify(p, &p->worker[i].reader[j].ref, &h, PLAY_IDS);
            }
        }
    }

    play_specs(p);

    for (i = 0; i < PLAY_IDS; i++) {
        what = play_id(p, i);

        if (gw_store_get(p->s, slot, p->now, &what, &ref) != GW_OK) {
            p->seed[i] = 0;
            continue;
        }

        play_verify(p, &ref, &h, i);
        CHECK(h.seed == p->seed[i] || h.seed == p->flying);
        p->seed[i] = h.seed;
        p->tags[i] = h.tags;
        gw_store_unpin(p->s, &ref);
    }

    p->flying = 0;
}


/* All let go, and the store is empty again. */
static inline void
play_finish(play_t *p)
{
    unsigned slot;
    unsigned char c;
    gw_store_stat_t stat;
    gw_store_wake_t wake;
    gw_store_purge_t purge;

    for (slot = 0; slot < PLAY_SLOTS; slot++) {
        while (gw_store_release(p->s, slot, &wake) == GW_AGAIN) { /* void */ }
    }

    for (c = 'a'; c <= 'b'; c++) {
        memset(&purge, 0, sizeof(purge));

        while (gw_store_purge_match(p->s, &purge, play_match, &c, p->scratch)
               == GW_AGAIN)
        {
            /* void */
        }
    }

    while (gw_store_bury(p->s, 1000)) { /* void */ }

    gw_store_stat(p->s, &stat);
    CHECK(stat.objects == 0 && stat.fills == 0);
    CHECK(stat.used <= (uint64_t) GW_STORE_CELL * (p->s->nmarks + 3));
}

#endif /* STORE_PLAY_H_INCLUDED */
