/*
 * What the files of the cache's store share; see cache_store.h for what it
 * looks like. Numbers of cells, "uint32_t object" and so on, are 0 for none.
 *
 * Rules that keep it whole when a process dies:
 *
 * - Each word that somebody can reach is changed by gw_store_set(), which
 *   notes the old one first. Memory that nobody reaches yet is just written.
 * - gw_store_done() ends a step. Before it the store must be consistent:
 *   each cell is free or reached from a list; counters agree.
 * - A step notes at most GW_STORE_JOURNAL words, so what is as long as
 *   something else is done in several steps. What takes several steps to be
 *   freed waits in a list of the dead.
 *
 * Not journalled, because any value does: counters of hits, ghosts, figures.
 */

#ifndef GW_CACHE_STORE_INT_H_INCLUDED
#define GW_CACHE_STORE_INT_H_INCLUDED

#include <stdatomic.h>
#include <string.h>

#include "cache_store.h"

#define GW_STORE_MAGIC 0x3165726f74537747u
#define GW_STORE_CELL 256u
#define GW_STORE_RECORD 32u
#define GW_STORE_RECORDS 8u   /* places in a cell; the first describes it */
#define GW_STORE_CLASSES 96u  /* of free runs, by their length */
#define GW_STORE_MAX_RUN 4096u /* cells: 1 MB */
#define GW_STORE_JOURNAL 256
#define GW_STORE_RING 128     /* purges remembered */
#define GW_STORE_RUN_HEAD 8u  /* bytes of gw_store_run_t */
#define GW_STORE_MAX_FREQ 3

/* Called in tests at each word; one may die there. */
#ifndef GW_STORE_HOOK
#define GW_STORE_HOOK() ((void) 0)
#endif

typedef struct {
    uint64_t off; /* of a word of 8 bytes, from base */
    uint64_t old;
} gw_store_undo_t;

/* A run of cells that is in use. */
typedef struct {
    uint32_t next;
    uint32_t cells;
} gw_store_run_t;

typedef struct {
    uint32_t head; /* newest */
    uint32_t tail;
    uint64_t n;
    uint64_t cells;
} gw_store_queue_t;

typedef enum {
    GW_STORE_OBJECT = 1,
    GW_STORE_ROOT
} gw_store_kind_e;

typedef enum {
    GW_STORE_NOWHERE = 0, /* not stored: filling, replaced, removed, dead */
    GW_STORE_SMALL,
    GW_STORE_MAIN,
    GW_STORE_QUEUES
} gw_store_place_e;

typedef struct {
    gw_store_run_t run;
    uint32_t hash_next;
    uint8_t kind;
    uint8_t state;      /* gw_store_state_e */
    uint8_t place;      /* gw_store_place_e */
    uint8_t freq;       /* hits since it was last looked at, at most 3 */
    unsigned char key[GW_STORE_DIGEST];
    unsigned char variant[GW_STORE_DIGEST];
    uint32_t refs;      /* pins, 1 if stored, objects that have its body */
    uint32_t root;      /* of its key's variants, 0: it has none */
    uint32_t sib_next;  /* stored variants of the key */
    uint32_t sib_prev;
    uint32_t q_next;    /* in its queue, or in the list of the dead */
    uint32_t q_prev;
    uint32_t tags;      /* records gw_store_member_t */
    uint32_t body;      /* the object that holds the body, 0: itself */
    uint32_t fill;
    uint32_t last;      /* run */
    uint32_t w_run;     /* where the next byte is written */
    uint32_t w_off;
    uint32_t total;     /* cells of all runs */
    uint32_t key_len;
    uint32_t header_len;
    uint32_t doomed;    /* purged while it filled */
    uint64_t room;      /* bytes of key, header and body that fit now */
    uint64_t body_len;
    uint64_t body_size;
    uint64_t dead_at;
    uint64_t stamp;
} gw_store_object_t;    /* the caller's meta follows */

/* A key that has variants: one cell. */
typedef struct {
    gw_store_run_t run;
    uint32_t hash_next;
    uint8_t kind;
    uint8_t nspecs;
    uint8_t reserved[2];
    unsigned char key[GW_STORE_DIGEST];
    uint32_t first;     /* stored variant */
    uint32_t users;     /* objects that point here, stored or filling */
    uint8_t len[GW_STORE_SPECS];
    unsigned char text[GW_STORE_MAX_SPEC]; /* newest first */
} gw_store_root_t;

/* Whoever fetches a key, or the mark that it is not cacheable: one cell. */
typedef struct {
    gw_store_run_t run;
    uint32_t hash_next;
    uint16_t slot;
    uint8_t hashed;
    uint8_t mark;
    unsigned char key[GW_STORE_DIGEST];
    unsigned char variant[GW_STORE_DIGEST];
    uint32_t next;      /* of the slot's fills, or of the marks, by age */
    uint32_t prev;
    uint32_t object;
    uint32_t reserved;
    uint64_t until;
    uint64_t waiters[GW_STORE_SLOTS / 64];
} gw_store_entry_t;

/* The first record of a cell of records. */
typedef struct {
    uint32_t next;      /* cells with free records */
    uint32_t prev;
    uint32_t free;      /* record */
    uint32_t used;
} gw_store_shelf_t;

typedef struct {
    uint32_t next;      /* of the slot's pins */
    uint32_t prev;
    uint32_t object;
    uint16_t slot;
    uint16_t writer;
} gw_store_pin_t;

typedef struct {
    uint64_t hash;
    uint32_t hash_next;
    uint32_t first;     /* member */
    uint32_t next;      /* tags that are being purged */
    uint32_t prev;
    uint32_t purge;     /* 0, or 1 + whether it cascades */
} gw_store_tag_t;

typedef struct {
    uint32_t next;      /* of the tag */
    uint32_t prev;
    uint32_t object_next;
    uint32_t tag;
    uint32_t object;
} gw_store_member_t;

typedef enum {
    GW_STORE_PURGED_KEY = 1,
    GW_STORE_PURGED_TAG,
    GW_STORE_PURGED_ALL /* anything may have been hit */
} gw_store_purged_e;

typedef struct {
    uint64_t hash;
    uint64_t what;
} gw_store_purged_t;

typedef struct {
    uint32_t print;
    uint32_t time;
} gw_store_ghost_t;

#define GW_STORE_GHOSTS 4 /* in a bucket */

struct gw_store_s {
    uint64_t magic;
    uint64_t size;
    uint64_t max_object;
    uint64_t cells_off;
    uint64_t objects_off;
    uint64_t tags_off;
    uint64_t fills_off;
    uint64_t ghosts_off;
    uint64_t edges_off;
    uint32_t objects_mask;
    uint32_t tags_mask;
    uint32_t fills_mask;
    uint32_t ghosts_mask;
    uint32_t meta;       /* bytes, as told */
    uint32_t head;       /* bytes of an object before its key */
    uint32_t cells;      /* with number 0 */
    uint32_t free_cells;

    uint32_t notes;      /* in the journal */
    uint32_t ghost_time;
    uint32_t free_runs[GW_STORE_CLASSES];
    uint64_t free_bits[2]; /* lists of these that are not empty */
    uint32_t shelves;
    uint32_t dead;
    uint32_t marks;
    uint32_t marks_tail; /* newest */
    uint32_t nmarks;
    uint32_t nfills;
    uint32_t purging[2]; /* tags; by whether they cascade */
    gw_store_queue_t queues[GW_STORE_QUEUES];
    uint64_t purges;
    uint32_t pins[GW_STORE_SLOTS];
    uint32_t fills[GW_STORE_SLOTS];
    gw_store_purged_t ring[GW_STORE_RING];
    gw_store_stat_t stat;
    gw_store_undo_t journal[GW_STORE_JOURNAL];
};

_Static_assert(sizeof(gw_store_pin_t) <= GW_STORE_RECORD
               && sizeof(gw_store_tag_t) <= GW_STORE_RECORD
               && sizeof(gw_store_member_t) <= GW_STORE_RECORD
               && sizeof(gw_store_shelf_t) <= GW_STORE_RECORD, "records");
_Static_assert(sizeof(gw_store_object_t) <= GW_STORE_CELL
               && sizeof(gw_store_root_t) <= GW_STORE_CELL
               && sizeof(gw_store_entry_t) <= GW_STORE_CELL, "cells");
_Static_assert(sizeof(gw_store_root_t) % 8 == 0
               && offsetof(gw_store_root_t, len) % 8 == 0
               && offsetof(gw_store_object_t, sib_next) % 8 == 0
               && offsetof(gw_store_object_t, q_next) % 8 == 0
               && offsetof(gw_store_entry_t, next) % 8 == 0
               && offsetof(gw_store_entry_t, variant) % 8 == 0
               && offsetof(gw_store_tag_t, next) % 8 == 0
               && offsetof(gw_store_queue_t, head) % 8 == 0,
               "noted as whole words");


/* --- the journal ---------------------------------------------------------- */

static inline void *
gw_store_at(const gw_store_t *s, uint64_t off)
{
    return (unsigned char *) (uintptr_t) s + off;
}


/* A killed process has run whole instructions, in the order the compiler
   gave them, so its order alone is to be kept. */
static inline void
gw_store_barrier(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}


static inline void
gw_store_note(gw_store_t *s, const void *p)
{
    uint64_t off;
    gw_store_undo_t *u;

    GW_STORE_HOOK();

    off = (uint64_t) ((const unsigned char *) p - (const unsigned char *) s);
    off &= ~(uint64_t) 7;

    u = &s->journal[s->notes];
    u->off = off;
    memcpy(&u->old, gw_store_at(s, off), 8);

    gw_store_barrier();
    s->notes++;
    gw_store_barrier();
}


/* Changes one word, of 8 bytes at most, that does not cross such a word. */
#define gw_store_set(s, lvalue, value) \
    (gw_store_note(s, &(lvalue)), (void) ((lvalue) = (value)))


static inline void
gw_store_done(gw_store_t *s)
{
    GW_STORE_HOOK();
    gw_store_barrier();
    s->notes = 0;
    gw_store_barrier();
}


void gw_store_undo(gw_store_t *s);

/* Begins each call that changes anything. */
static inline void
gw_store_enter(gw_store_t *s)
{
    if (s->notes > 0) {
        gw_store_undo(s);
    }
}


/* --- places --------------------------------------------------------------- */

static inline void *
gw_store_cell(const gw_store_t *s, uint32_t cell)
{
    return gw_store_at(s, s->cells_off + (uint64_t) cell * GW_STORE_CELL);
}


static inline void *
gw_store_record(const gw_store_t *s, uint32_t record)
{
    return gw_store_at(s, s->cells_off + (uint64_t) record * GW_STORE_RECORD);
}


static inline gw_store_object_t *
gw_store_object(const gw_store_t *s, uint32_t object)
{
    return gw_store_cell(s, object);
}


static inline uint32_t
gw_store_number(const gw_store_t *s, const void *p)
{
    return (uint32_t) (((uint64_t) ((const unsigned char *) p
                                    - (const unsigned char *) s)
                        - s->cells_off) / GW_STORE_CELL);
}


static inline uint32_t
gw_store_record_number(const gw_store_t *s, const void *p)
{
    return (uint32_t) (((uint64_t) ((const unsigned char *) p
                                    - (const unsigned char *) s)
                        - s->cells_off) / GW_STORE_RECORD);
}


static inline uint64_t
gw_store_hash(const unsigned char *key, const unsigned char *variant)
{
    uint64_t a, b;

    memcpy(&a, key, sizeof(a));
    memcpy(&b, variant, sizeof(b));

    /* of two digests any bits are good; both have to matter */
    return a ^ (b << 1 | b >> 63);
}


/* --- cache_store_memory.c ------------------------------------------------- */

void gw_store_memory_init(gw_store_t *s);

/*
 * Takes a run of `want` cells, or a shorter one of at least `least` where
 * there is no longer one: its number, and how many in *n; 0: none. A part of
 * the caller's step.
 */
uint32_t gw_store_run_take(gw_store_t *s, uint32_t least, uint32_t want,
    uint32_t *n);

/* A part of the caller's step. */
void gw_store_run_free(gw_store_t *s, uint32_t run, uint32_t n);

/* Sees to it that n records can be taken. Steps of its own. GW_OK, GW_ERROR */
int gw_store_records_ensure(gw_store_t *s, uint32_t n, uint64_t now);
uint32_t gw_store_record_take(gw_store_t *s);
void gw_store_record_free(gw_store_t *s, uint32_t record);


/* --- cache_store_evict.c -------------------------------------------------- */

/*
 * Makes at least n cells free, in steps of its own. GW_OK; GW_AGAIN: not
 * yet, but it goes on; GW_ERROR: nothing can be evicted.
 */
int gw_store_need(gw_store_t *s, uint32_t n, uint64_t now);

/* Which queue an object that was not there is put into. */
gw_store_place_e gw_store_welcome(gw_store_t *s, const gw_store_object_t *o);

void gw_store_queue_add(gw_store_t *s, gw_store_object_t *o,
    gw_store_place_e place);
void gw_store_queue_cut(gw_store_t *s, gw_store_object_t *o);


/* --- cache_store_index.c -------------------------------------------------- */

/* A stored object; text may be NULL where the digests do. */
gw_store_object_t *gw_store_find(const gw_store_t *s,
    const unsigned char *key, const unsigned char *variant,
    const gw_str_t *text);
bool gw_store_text_is(const gw_store_t *s, uint32_t object, gw_str_t text);

/* Into the hash and out of it; a part of the caller's step. */
void gw_store_index_add(gw_store_t *s, void *object_or_root);
void gw_store_index_cut(gw_store_t *s, void *object_or_root);

/* Takes a stored object out: a part of the caller's step. */
void gw_store_drop(gw_store_t *s, gw_store_object_t *o);

/* Gives back a reference; the last one's object is dead. A part of the
   caller's step, after which the dead may be buried: steps of its own,
   returning whether there are more. */
void gw_store_unref(gw_store_t *s, gw_store_object_t *o);
bool gw_store_bury(gw_store_t *s, unsigned steps);

/* Pins; a record has been ensured. A part of the caller's step. */
void gw_store_pin(gw_store_t *s, unsigned slot, gw_store_object_t *o,
    bool writer, gw_store_ref_t *ref);
void gw_store_pin_free(gw_store_t *s, uint32_t pin);


/* --- cache_store_object.c ------------------------------------------------- */

/* Cells for so many bytes, at most those of the longest run. */
uint32_t gw_store_cells(uint64_t bytes);

/* Takes one run more, of up to that many bytes; or as many as it takes for
   that much room in all. Steps of their own. GW_OK, GW_AGAIN, GW_ERROR. */
int gw_store_grow(gw_store_t *s, gw_store_object_t *o, uint64_t bytes,
    uint64_t now);
int gw_store_room(gw_store_t *s, gw_store_object_t *o, uint64_t room,
    uint64_t now);

/* Copies what fits into the run where the next byte goes, or into the one
   after it; 0: there is no room. A part of the caller's step. */
size_t gw_store_put(gw_store_t *s, gw_store_object_t *o,
    const unsigned char *data, size_t len);


/* --- cache_store_vary.c --------------------------------------------------- */

/* Gives a new object its key's root, where it has a spec. Steps of its own.
   GW_OK, GW_ERROR. */
int gw_store_root_join(gw_store_t *s, gw_store_object_t *o, gw_str_t spec,
    uint64_t now);

/* Parts of the caller's step: an object is being stored; it is no longer, or
   will not be. */
void gw_store_root_link(gw_store_t *s, gw_store_object_t *o);
void gw_store_root_leave(gw_store_t *s, gw_store_object_t *o);
gw_store_root_t *gw_store_root_find(gw_store_t *s, const unsigned char *key);


/* --- cache_store_fill.c --------------------------------------------------- */

/* The entry's object has begun, has grown, or ends: whoever waits is in
   wake. The latter ends the entry, too. Parts of the caller's step. */
void gw_store_entry_begin(gw_store_t *s, gw_store_entry_t *e,
    gw_store_object_t *o);
void gw_store_entry_wake(gw_store_t *s, gw_store_entry_t *e,
    gw_store_wake_t *wake);
void gw_store_entry_end(gw_store_t *s, gw_store_entry_t *e,
    gw_store_wake_t *wake);


/* --- cache_store_tag.c ---------------------------------------------------- */

/* Steps of its own. GW_OK, GW_ERROR. */
int gw_store_tag_add(gw_store_t *s, gw_store_object_t *o, uint64_t hash,
    uint64_t now);

/* Takes the first off the object's list; a part of the caller's step. */
void gw_store_tag_cut(gw_store_t *s, gw_store_object_t *o);

/* Takes a member off its tag's list. Frees the tag, where nobody else has it
   nor purges it. Parts of the caller's step. */
void gw_store_member_leave(gw_store_t *s, gw_store_member_t *m);
void gw_store_tag_free(gw_store_t *s, gw_store_tag_t *t);
gw_store_tag_t *gw_store_tag_find(const gw_store_t *s, uint64_t hash);
bool gw_store_tagged(const gw_store_t *s, const gw_store_object_t *o,
    uint64_t hash);


/* --- cache_store_purge.c -------------------------------------------------- */

/* Whether the object was purged since its answer was asked for. */
bool gw_store_doomed(const gw_store_t *s, const gw_store_object_t *o);

#endif /* GW_CACHE_STORE_INT_H_INCLUDED */
