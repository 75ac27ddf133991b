/*
 * Purges. What was purged lately is remembered in a ring, so that what was
 * on its way at that time is not stored after it.
 *
 * A tag that is purged is put into a list, which is worked off in steps; so
 * is each tag of what a cascading purge removes. Tags whose purge cascades
 * go first, or a member could be gone before its other tags were seen.
 */

#include "cache_store_int.h"

#define OBJECTS 64u /* removed or looked at in one call */
#define STEPS 64u


static void
remember(gw_store_t *s, gw_store_purged_e what, uint64_t hash)
{
    gw_store_purged_t *r;

    r = &s->ring[s->purges % GW_STORE_RING];

    gw_store_set(s, r->hash, hash);
    gw_store_set(s, r->what, what);
    gw_store_set(s, s->purges, s->purges + 1);
    gw_store_done(s);
}


uint64_t
gw_store_stamp(gw_store_t *s)
{
    gw_store_enter(s);

    return s->purges;
}


bool
gw_store_doomed(const gw_store_t *s, const gw_store_object_t *o)
{
    uint64_t i, hash;
    const gw_store_purged_t *r;

    if (o->doomed || s->purges - o->stamp > GW_STORE_RING) {
        return true;
    }

    memcpy(&hash, o->key, sizeof(hash));

    for (i = o->stamp; i != s->purges; i++) {
        r = &s->ring[i % GW_STORE_RING];

        if (r->what == GW_STORE_PURGED_ALL
            || (r->what == GW_STORE_PURGED_KEY && r->hash == hash)
            || (r->what == GW_STORE_PURGED_TAG
                && gw_store_tagged(s, o, r->hash)))
        {
            return true;
        }
    }

    return false;
}


/* --- tags that are purged ------------------------------------------------- */

static void
purging_cut(gw_store_t *s, gw_store_tag_t *t)
{
    gw_store_tag_t *other;

    if (t->next != 0) {
        other = gw_store_record(s, t->next);
        gw_store_set(s, other->prev, t->prev);
    }

    if (t->prev != 0) {
        other = gw_store_record(s, t->prev);
        gw_store_set(s, other->next, t->next);

    } else {
        gw_store_set(s, s->purging[t->purge - 1], t->next);
    }

    gw_store_set(s, t->purge, 0);
}


static void
purging_add(gw_store_t *s, uint32_t record, bool cascade)
{
    gw_store_tag_t *t, *next;

    t = gw_store_record(s, record);

    if (t->purge >= 1u + cascade) {
        return;
    }

    if (t->purge != 0) {
        purging_cut(s, t);
    }

    gw_store_note(s, &t->next); /* and prev */
    t->next = s->purging[cascade];
    t->prev = 0;

    if (t->next != 0) {
        next = gw_store_record(s, t->next);
        gw_store_set(s, next->prev, record);
    }

    gw_store_set(s, s->purging[cascade], record);
    gw_store_set(s, t->purge, 1u + cascade);
    gw_store_done(s);
}


/* --- what is purged ------------------------------------------------------- */

static void
purge(gw_store_t *s, gw_store_purge_t *p, gw_store_object_t *o, bool cascade)
{
    uint32_t at;
    const gw_store_tag_t *t;
    const gw_store_member_t *m;

    for (at = cascade ? o->tags : 0; at != 0; at = m->object_next) {
        m = gw_store_record(s, at);

        if (m->tag != 0) {
            t = gw_store_record(s, m->tag);
            remember(s, GW_STORE_PURGED_TAG, t->hash);
            purging_add(s, m->tag, false);
        }
    }

    gw_store_drop(s, o);
    gw_store_done(s);

    p->purged++;
    s->stat.purged++;
}


int
gw_store_purge_key(gw_store_t *s, gw_store_purge_t *p,
    const unsigned char *key)
{
    unsigned n;
    uint64_t hash;
    gw_store_root_t *r;
    gw_store_object_t *o;

    static const unsigned char none[GW_STORE_DIGEST];

    gw_store_enter(s);

    memcpy(&hash, key, sizeof(hash));
    remember(s, GW_STORE_PURGED_KEY, hash);

    o = gw_store_find(s, key, none, NULL);

    if (o != NULL) {
        purge(s, p, o, p->cascade);
    }

    for (n = 0; n < OBJECTS; n++) {

        /* it goes with the last that has it */

        r = gw_store_root_find(s, key);

        if (r == NULL || r->first == 0) {
            (void) gw_store_bury(s, STEPS);
            return GW_OK;
        }

        purge(s, p, gw_store_object(s, r->first), p->cascade);
    }

    (void) gw_store_bury(s, STEPS);

    return GW_AGAIN;
}


void
gw_store_purge_tag(gw_store_t *s, gw_store_purge_t *p, uint64_t tag)
{
    gw_store_tag_t *t;

    gw_store_enter(s);

    remember(s, GW_STORE_PURGED_TAG, tag);

    t = gw_store_tag_find(s, tag);

    if (t != NULL) {
        purging_add(s, gw_store_record_number(s, t), p->cascade);
    }
}


static bool
matches(const gw_store_t *s, uint32_t object, gw_store_match_t match,
    void *ctx, unsigned char *buf)
{
    gw_str_t key;
    gw_store_ref_t ref;
    gw_store_cursor_t c;
    const gw_store_object_t *o;

    o = gw_store_object(s, object);

    ref.object = object;
    ref.pin = 0;
    gw_store_cursor(s, &ref, GW_STORE_KEY, 0, o->key_len, &c);

    if (gw_store_spans(s, &c, &key, 1) == 0) {
        key.data = buf;
        key.len = 0;

    } else if (key.len < o->key_len) {
        memcpy(buf, key.data, key.len);
        (void) gw_store_copy(s, &c, buf + key.len, o->key_len - key.len);
        key.data = buf;
        key.len = o->key_len;
    }

    return match(ctx, key);
}


int
gw_store_purge_match(gw_store_t *s, gw_store_purge_t *p,
    gw_store_match_t match, void *ctx, unsigned char *buf)
{
    uint32_t at, next, *table;
    unsigned n;
    gw_store_object_t *o;

    gw_store_enter(s);

    if (!p->begun) {
        p->begun = true;
        remember(s, GW_STORE_PURGED_ALL, 0);
    }

    table = gw_store_at(s, s->objects_off);

    for (n = 0; p->bucket <= s->objects_mask; p->bucket++, n++) {
        if (n >= OBJECTS) {
            (void) gw_store_bury(s, STEPS);
            return GW_AGAIN;
        }

        for (at = table[p->bucket]; at != 0; at = next, n++) {
            o = gw_store_object(s, at);
            next = o->hash_next;

            if (o->kind == GW_STORE_OBJECT
                && matches(s, at, match, ctx, buf))
            {
                /* with the object its root may go, which may be the next */

                purge(s, p, o, p->cascade);
                next = table[p->bucket];
            }
        }
    }

    (void) gw_store_bury(s, STEPS);

    return GW_OK;
}


/* One step: a member is removed, or leaves the tag when it is; at last the
   tag leaves the list. */
static void
purge_member(gw_store_t *s, gw_store_purge_t *p, gw_store_tag_t *t)
{
    gw_store_member_t *m;
    gw_store_object_t *o;

    if (t->first == 0) {
        purging_cut(s, t);
        gw_store_tag_free(s, t);
        gw_store_done(s);
        return;
    }

    m = gw_store_record(s, t->first);
    o = gw_store_object(s, m->object);

    if (o->place != GW_STORE_NOWHERE) {
        purge(s, p, o, t->purge > 1);

    } else if (o->state == GW_STORE_FILLING) {
        gw_store_set(s, o->doomed, 1);
    }

    gw_store_member_leave(s, m);
    gw_store_done(s);
}


int
gw_store_purge_end(gw_store_t *s, gw_store_purge_t *p)
{
    unsigned n;
    uint32_t tag;

    gw_store_enter(s);

    for (n = 0; n < OBJECTS; n++) {
        tag = s->purging[1] != 0 ? s->purging[1] : s->purging[0];

        if (tag == 0) {
            break;
        }

        purge_member(s, p, gw_store_record(s, tag));
    }

    (void) gw_store_bury(s, STEPS);

    return n < OBJECTS ? GW_OK : GW_AGAIN;
}
