/*
 * Tags: which objects have one, which ones an object has.
 */

#include "cache_store_int.h"


static uint32_t *
tag_bucket(const gw_store_t *s, uint64_t hash)
{
    return (uint32_t *) gw_store_at(s, s->tags_off) + (hash & s->tags_mask);
}


gw_store_tag_t *
gw_store_tag_find(const gw_store_t *s, uint64_t hash)
{
    uint32_t at;
    gw_store_tag_t *t;

    for (at = *tag_bucket(s, hash); at != 0; at = t->hash_next) {
        t = gw_store_record(s, at);

        if (t->hash == hash) {
            return t;
        }
    }

    return NULL;
}


bool
gw_store_tagged(const gw_store_t *s, const gw_store_object_t *o, uint64_t hash)
{
    uint32_t at;
    const gw_store_tag_t *t;
    const gw_store_member_t *m;

    for (at = o->tags; at != 0; at = m->object_next) {
        m = gw_store_record(s, at);

        if (m->tag != 0) {
            t = gw_store_record(s, m->tag);

            if (t->hash == hash) {
                return true;
            }
        }
    }

    return false;
}


static gw_store_tag_t *
tag_make(gw_store_t *s, uint64_t hash)
{
    uint32_t *head, record;
    gw_store_tag_t *t;

    record = gw_store_record_take(s);
    head = tag_bucket(s, hash);

    t = gw_store_record(s, record);
    t->hash = hash;
    t->hash_next = *head;
    t->first = 0;
    t->next = 0;
    t->prev = 0;
    t->purge = 0;

    gw_store_set(s, *head, record);

    return t;
}


int
gw_store_tag_add(gw_store_t *s, gw_store_object_t *o, uint64_t hash,
    uint64_t now)
{
    uint32_t record;
    gw_store_tag_t *t;
    gw_store_member_t *m, *next;

    if (gw_store_tagged(s, o, hash)) {
        return GW_OK;
    }

    if (gw_store_records_ensure(s, 2, now) != GW_OK) {
        return GW_ERROR;
    }

    t = gw_store_tag_find(s, hash);

    if (t == NULL) {
        t = tag_make(s, hash);
    }

    record = gw_store_record_take(s);

    m = gw_store_record(s, record);
    m->next = t->first;
    m->prev = 0;
    m->object_next = o->tags;
    m->tag = gw_store_record_number(s, t);
    m->object = gw_store_number(s, o);

    if (m->next != 0) {
        next = gw_store_record(s, m->next);
        gw_store_set(s, next->prev, record);
    }

    gw_store_set(s, t->first, record);
    gw_store_set(s, o->tags, record);
    gw_store_done(s);

    return GW_OK;
}


void
gw_store_member_leave(gw_store_t *s, gw_store_member_t *m)
{
    gw_store_tag_t *t;
    gw_store_member_t *other;

    if (m->next != 0) {
        other = gw_store_record(s, m->next);
        gw_store_set(s, other->prev, m->prev);
    }

    if (m->prev != 0) {
        other = gw_store_record(s, m->prev);
        gw_store_set(s, other->next, m->next);

    } else {
        t = gw_store_record(s, m->tag);
        gw_store_set(s, t->first, m->next);
    }

    gw_store_set(s, m->tag, 0);
}


void
gw_store_tag_free(gw_store_t *s, gw_store_tag_t *t)
{
    uint32_t *at, record;

    if (t->first != 0 || t->purge != 0) {
        return;
    }

    record = gw_store_record_number(s, t);

    for (at = tag_bucket(s, t->hash);
         *at != record;
         at = &((gw_store_tag_t *) gw_store_record(s, *at))->hash_next)
    {
        /* void */
    }

    gw_store_set(s, *at, t->hash_next);
    gw_store_record_free(s, record);
}


void
gw_store_tag_cut(gw_store_t *s, gw_store_object_t *o)
{
    uint32_t record, tag;
    gw_store_member_t *m;

    record = o->tags;
    m = gw_store_record(s, record);
    tag = m->tag;

    if (tag != 0) {
        gw_store_member_leave(s, m);
        gw_store_tag_free(s, gw_store_record(s, tag));
    }

    gw_store_set(s, o->tags, m->object_next);
    gw_store_record_free(s, record);
}
