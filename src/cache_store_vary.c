/*
 * Keys with variants: which specs there are, and which objects.
 */

#include "cache_store_int.h"


static const unsigned char none[GW_STORE_DIGEST];


gw_store_root_t *
gw_store_root_find(gw_store_t *s, const unsigned char *key)
{
    uint32_t at;
    uint64_t hash;
    gw_store_root_t *r;

    hash = gw_store_hash(key, none);
    at = ((uint32_t *) gw_store_at(s, s->objects_off))[hash & s->objects_mask];

    for ( /* void */ ; at != 0; at = r->hash_next) {
        r = gw_store_cell(s, at);

        if (r->kind == GW_STORE_ROOT
            && memcmp(r->key, key, GW_STORE_DIGEST) == 0)
        {
            return r;
        }
    }

    return NULL;
}


/* The spec becomes the newest, and where there is no room the oldest go: what
   they chose among is not found any more. */
static void
spec_first(gw_store_t *s, gw_store_root_t *r, gw_str_t spec)
{
    size_t i, n, from, to;
    uint8_t len[GW_STORE_SPECS];
    unsigned char text[GW_STORE_MAX_SPEC];

    memset(len, 0, sizeof(len));
    memcpy(text, spec.data, spec.len);
    len[0] = (uint8_t) spec.len;
    n = 1;
    to = spec.len;
    from = 0;

    for (i = 0; i < r->nspecs; i++) {
        if (r->len[i] == spec.len
            && memcmp(r->text + from, spec.data, spec.len) == 0)
        {
            if (i == 0) {
                return;
            }

        } else if (n < GW_STORE_SPECS && to + r->len[i] <= sizeof(text)) {
            memcpy(text + to, r->text + from, r->len[i]);
            to += r->len[i];
            len[n++] = r->len[i];
        }

        from += r->len[i];
    }

    for (i = offsetof(gw_store_root_t, len); i < sizeof(*r); i += 8) {
        gw_store_note(s, (unsigned char *) r + i);
    }

    memcpy(r->len, len, sizeof(len));
    memcpy(r->text, text, to);
    gw_store_set(s, r->nspecs, (uint8_t) n);
}


int
gw_store_root_join(gw_store_t *s, gw_store_object_t *o, gw_str_t spec,
    uint64_t now)
{
    uint32_t n;
    gw_store_root_t *r;

    if (spec.len == 0) {
        return GW_OK;
    }

    r = gw_store_root_find(s, o->key);

    if (r == NULL) {
        if (gw_store_need(s, 1, now) != GW_OK) {
            return GW_ERROR;
        }

        r = gw_store_cell(s, gw_store_run_take(s, 1, 1, &n));
        memset(r, 0, sizeof(*r));

        r->run.cells = 1;
        r->kind = GW_STORE_ROOT;
        memcpy(r->key, o->key, GW_STORE_DIGEST);
        gw_store_index_add(s, r);
    }

    spec_first(s, r, spec);
    gw_store_set(s, r->users, r->users + 1);
    gw_store_set(s, o->root, gw_store_number(s, r));
    gw_store_done(s);

    return GW_OK;
}


void
gw_store_root_link(gw_store_t *s, gw_store_object_t *o)
{
    uint32_t number;
    gw_store_root_t *r;
    gw_store_object_t *next;

    if (o->root == 0) {
        return;
    }

    r = gw_store_cell(s, o->root);
    number = gw_store_number(s, o);

    gw_store_note(s, &o->sib_next); /* and sib_prev */
    o->sib_next = r->first;
    o->sib_prev = 0;

    if (o->sib_next != 0) {
        next = gw_store_object(s, o->sib_next);
        gw_store_set(s, next->sib_prev, number);
    }

    gw_store_set(s, r->first, number);
}


void
gw_store_root_leave(gw_store_t *s, gw_store_object_t *o)
{
    gw_store_root_t *r;
    gw_store_object_t *other;

    if (o->root == 0) {
        return;
    }

    r = gw_store_cell(s, o->root);

    if (o->place != GW_STORE_NOWHERE) {
        if (o->sib_next != 0) {
            other = gw_store_object(s, o->sib_next);
            gw_store_set(s, other->sib_prev, o->sib_prev);
        }

        if (o->sib_prev != 0) {
            other = gw_store_object(s, o->sib_prev);
            gw_store_set(s, other->sib_next, o->sib_next);

        } else {
            gw_store_set(s, r->first, o->sib_next);
        }
    }

    gw_store_set(s, o->root, 0);
    gw_store_set(s, r->users, r->users - 1);

    if (r->users == 0) {
        gw_store_index_cut(s, r);
        gw_store_run_free(s, gw_store_number(s, r), 1);
    }
}


size_t
gw_store_specs(gw_store_t *s, const unsigned char *key,
    gw_store_spec_t *specs)
{
    size_t i, off;
    gw_store_root_t *r;

    gw_store_enter(s);

    r = gw_store_root_find(s, key);

    if (r == NULL) {
        return 0;
    }

    off = 0;

    for (i = 0; i < r->nspecs; i++) {
        specs[i].len = r->len[i];
        memcpy(specs[i].text, r->text + off, r->len[i]);
        off += r->len[i];
    }

    return r->nspecs;
}
