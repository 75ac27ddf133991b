/*
 * How objects are found and held: the hash, references, pins; and what
 * becomes of those that nobody holds any more.
 */

#include "cache_store_int.h"


/* --- index ---------------------------------------------------------------- */

/* Objects and roots have their first fields in common. */
static uint32_t *
index_of(const gw_store_t *s, const gw_store_object_t *o)
{
    uint64_t hash;

    static const unsigned char none[GW_STORE_DIGEST];

    hash = gw_store_hash(o->key, o->kind == GW_STORE_ROOT ? none
                                                          : o->variant);

    return (uint32_t *) gw_store_at(s, s->objects_off)
           + (hash & s->objects_mask);
}


void
gw_store_index_add(gw_store_t *s, void *object_or_root)
{
    uint32_t *head;
    gw_store_object_t *o;

    o = object_or_root;
    head = index_of(s, o);

    gw_store_set(s, o->hash_next, *head);
    gw_store_set(s, *head, gw_store_number(s, o));
}


void
gw_store_index_cut(gw_store_t *s, void *object_or_root)
{
    uint32_t *at, number;
    gw_store_object_t *o;

    o = object_or_root;
    number = gw_store_number(s, o);

    for (at = index_of(s, o);
         *at != number;
         at = &gw_store_object(s, *at)->hash_next)
    {
        /* void */
    }

    gw_store_set(s, *at, o->hash_next);
}


bool
gw_store_text_is(const gw_store_t *s, uint32_t object, gw_str_t text)
{
    gw_str_t span;
    gw_store_ref_t ref;
    gw_store_cursor_t c;
    const gw_store_object_t *o;

    o = gw_store_object(s, object);

    if (o->key_len != text.len) {
        return false;
    }

    ref.object = object;
    ref.pin = 0;
    gw_store_cursor(s, &ref, GW_STORE_KEY, 0, text.len, &c);

    while (gw_store_spans(s, &c, &span, 1) > 0) {
        if (memcmp(span.data, text.data, span.len) != 0) {
            return false;
        }

        text.data += span.len;
    }

    return true;
}


gw_store_object_t *
gw_store_find(const gw_store_t *s, const unsigned char *key,
    const unsigned char *variant, const gw_str_t *text)
{
    uint32_t at;
    uint64_t hash;
    gw_store_object_t *o;

    hash = gw_store_hash(key, variant);
    at = ((uint32_t *) gw_store_at(s, s->objects_off))[hash & s->objects_mask];

    for ( /* void */ ; at != 0; at = o->hash_next) {
        o = gw_store_object(s, at);

        if (o->kind == GW_STORE_OBJECT
            && memcmp(o->key, key, GW_STORE_DIGEST) == 0
            && memcmp(o->variant, variant, GW_STORE_DIGEST) == 0
            && (text == NULL || gw_store_text_is(s, at, *text)))
        {
            return o;
        }
    }

    return NULL;
}


void
gw_store_drop(gw_store_t *s, gw_store_object_t *o)
{
    gw_store_root_leave(s, o);
    gw_store_index_cut(s, o);
    gw_store_queue_cut(s, o);
    gw_store_unref(s, o);
}


/* --- references ----------------------------------------------------------- */

void
gw_store_unref(gw_store_t *s, gw_store_object_t *o)
{
    gw_store_set(s, o->refs, o->refs - 1);

    if (o->refs == 0) {
        gw_store_set(s, o->q_next, s->dead);
        gw_store_set(s, s->dead, gw_store_number(s, o));
    }
}


/* One step of freeing the object that died last. */
static void
bury_one(gw_store_t *s)
{
    uint32_t body, number;
    gw_store_run_t *r;
    gw_store_object_t *o;

    number = s->dead;
    o = gw_store_object(s, number);

    if (o->tags != 0) {
        gw_store_tag_cut(s, o);

    } else if (o->body != 0) {
        body = o->body;
        gw_store_set(s, o->body, 0);

        /* it may become the first of the dead, before this one */
        gw_store_unref(s, gw_store_object(s, body));

    } else if (o->run.next != 0) {
        r = gw_store_cell(s, o->run.next);
        gw_store_set(s, o->run.next, r->next);
        gw_store_run_free(s, gw_store_number(s, r), r->cells);

    } else {
        gw_store_set(s, s->dead, o->q_next);
        gw_store_run_free(s, number, o->run.cells);
    }

    gw_store_done(s);
}


bool
gw_store_bury(gw_store_t *s, unsigned steps)
{
    while (s->dead != 0 && steps-- > 0) {
        bury_one(s);
    }

    return s->dead != 0;
}


/* --- pins ----------------------------------------------------------------- */

void
gw_store_pin(gw_store_t *s, unsigned slot, gw_store_object_t *o, bool writer,
    gw_store_ref_t *ref)
{
    uint32_t pin;
    gw_store_pin_t *p, *next;

    pin = gw_store_record_take(s);

    p = gw_store_record(s, pin);
    p->next = s->pins[slot];
    p->prev = 0;
    p->object = gw_store_number(s, o);
    p->slot = (uint16_t) slot;
    p->writer = writer;

    if (p->next != 0) {
        next = gw_store_record(s, p->next);
        gw_store_set(s, next->prev, pin);
    }

    gw_store_set(s, s->pins[slot], pin);
    gw_store_set(s, o->refs, o->refs + 1);

    ref->object = p->object;
    ref->pin = pin;
}


void
gw_store_pin_free(gw_store_t *s, uint32_t pin)
{
    uint32_t object;
    gw_store_pin_t *p, *other;

    p = gw_store_record(s, pin);
    object = p->object;

    if (p->next != 0) {
        other = gw_store_record(s, p->next);
        gw_store_set(s, other->prev, p->prev);
    }

    if (p->prev != 0) {
        other = gw_store_record(s, p->prev);
        gw_store_set(s, other->next, p->next);

    } else {
        gw_store_set(s, s->pins[p->slot], p->next);
    }

    gw_store_record_free(s, pin);
    gw_store_unref(s, gw_store_object(s, object));
}
