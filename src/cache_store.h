/*
 * The cache's store: objects in one piece of shared memory, which several
 * processes use at once, each with it mapped where it likes.
 *
 *   base
 *   +------------------------------------------------------------------+
 *   | gw_store_t   sizes, counters, heads of lists, the journal, what   |
 *   |              was purged lately, heads of lists of each slot       |
 *   +------------------------------------------------------------------+
 *   | objects[]    hash of key and variant         -> object, vary node |
 *   | tags[]       hash of tag                     -> tag record        |
 *   | fills[]      hash of key and variant         -> fill              |
 *   | ghosts[]     fingerprints of what was evicted                     |
 *   | edges[]      one byte a cell: where free runs begin and end       |
 *   +------------------------------------------------------------------+
 *   | cells        256 bytes each, handed out in runs of any length;    |
 *   | ...          number 0 is none                                     |
 *   +------------------------------------------------------------------+
 *
 *   an object is a chain of runs, of one where memory is not in pieces:
 *
 *   +--------+------+-----+--------+------~     +------+------~
 *   | object | meta | key | header | body ~ --> | next | body ~ --> 0
 *   +--------+------+-----+--------+------~     +------+------~
 *
 *   records of 32 bytes (pins, tags) share a cell, seven to each.
 *
 * References are numbers of cells or records, never pointers.
 *
 * Locking. The caller holds one lock around each call that is not said to
 * need none. Calls are short: what could take long is done in steps, and
 * the call says GW_AGAIN. What is read without the lock is memory that was
 * pinned under it.
 *
 * Death. A process may be killed at any instruction, also inside a call and
 * with the lock. Each word that is about to change is first written down in
 * a journal, which is emptied when the change is complete; whoever comes
 * next and finds it filled puts the old words back. So each step has either
 * happened or not, and nothing is lost but what the dead one was writing.
 * Its pins and fills are released by gw_store_release(). This needs what
 * one machine gives: writes are seen in program order by whoever takes the
 * lock after a process has died.
 *
 * Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache
 * eviction", SOSP 2023): a small queue for newcomers, a main queue for what
 * was asked for again, fingerprints of what left the small one. A hit adds
 * to a counter of two bits in the object, and moves nothing. Queues are
 * measured in bytes; a large object has to be asked for more often. What is
 * pinned or being filled stays; what is of no use any more goes first.
 *
 * Times are the caller's, in ms from any fixed point.
 */

#ifndef GW_CACHE_STORE_H_INCLUDED
#define GW_CACHE_STORE_H_INCLUDED

#include "gw.h"

#define GW_STORE_SLOTS 256       /* of workers: 0 to 255 */
#define GW_STORE_DIGEST 16       /* bytes */
#define GW_STORE_MAX_KEY 16384   /* bytes of a key's text */
#define GW_STORE_MAX_HEADER 262144
#define GW_STORE_MAX_META 1024
#define GW_STORE_MAX_TAGS 64     /* of one object */
#define GW_STORE_MAX_SPEC 188    /* bytes; of all specs of one key */
#define GW_STORE_SPECS 4         /* of one key */

#define GW_STORE_UNKNOWN UINT64_MAX /* size of a body */

typedef struct gw_store_s gw_store_t;

typedef struct {
    size_t meta;         /* bytes of the caller's own in each object */
    uint64_t max_object; /* largest body; half of the arena at most */
} gw_store_conf_t;

/*
 * What an object is found by. The digests are of a hash that nobody can
 * find collisions of, or a keyed one. `variant` is over what the request
 * says in the fields of the spec; all zeros where the response has no Vary.
 */
typedef struct {
    gw_str_t text;                          /* the key; compared as well */
    unsigned char key[GW_STORE_DIGEST];     /* of the text */
    unsigned char variant[GW_STORE_DIGEST];
} gw_store_id_t;

/* A pinned object: the caller's, until gw_store_unpin(), commit or abort. */
typedef struct {
    uint32_t object;
    uint32_t pin;
} gw_store_ref_t;

/* The right to fetch one key; 0: none. */
typedef uint32_t gw_store_fill_t;

/* Slots of workers that wait for what has just happened. The caller wakes
   them after it has released the lock. Calls add to it. */
typedef struct {
    uint64_t slots[GW_STORE_SLOTS / 64];
} gw_store_wake_t;


/*
 * The arena. Its memory is zeroed or holds anything; base is aligned to 16
 * bytes. Returns NULL where size is too small for a store with this
 * configuration (64 KB do), or meta is over its limit. Needs no lock.
 */
gw_store_t *gw_store_init(void *base, size_t size,
    const gw_store_conf_t *conf);

/* The store that is there already, made with the same size and meta; NULL
   where there is none. max_object becomes that of conf. */
gw_store_t *gw_store_open(void *base, size_t size,
    const gw_store_conf_t *conf);

/*
 * Releases what a worker that is dead, or ends, held: its pins, its fills
 * with the objects it was filling. GW_OK, or GW_AGAIN: there is more. All
 * slots are in wake, because it may have died after it had learned whom to
 * wake, and before it did.
 */
int gw_store_release(gw_store_t *s, unsigned slot, gw_store_wake_t *wake);


/* --- looking up ----------------------------------------------------------- */

/*
 * A spec says which request fields choose among a key's variants: what Vary
 * said, in a normal form of the caller's.
 */
typedef struct {
    size_t len;
    unsigned char text[GW_STORE_MAX_SPEC];
} gw_store_spec_t;

/* Copies the key's specs, newest first, into at most GW_STORE_SPECS, and
   returns their number. Those of responses being filled are among them. */
size_t gw_store_specs(gw_store_t *s, const unsigned char *key,
    gw_store_spec_t *specs);

/*
 * Finds a complete object, pins it for the slot and counts a hit. GW_OK,
 * GW_DECLINED (there is none that is of use at `now`), GW_ERROR (no memory
 * for the pin, or slot out of range): go on as if there were none.
 */
int gw_store_get(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_id_t *id, gw_store_ref_t *ref);

/* Counts what is stored, under any key: where it has not changed, what was
   looked for and not found is still not there. */
uint64_t gw_store_stored(gw_store_t *s);

/* Lets go. An object that was replaced or removed is freed by the last. */
void gw_store_unpin(gw_store_t *s, const gw_store_ref_t *ref);

typedef enum {
    GW_STORE_FILLING = 0, /* body_len bytes are there, more will come */
    GW_STORE_COMPLETE,
    GW_STORE_ABORTED      /* no more will come */
} gw_store_state_e;

typedef struct {
    const void *meta;     /* read it under the lock, it may be updated */
    uint64_t body_len;    /* bytes that are there */
    uint64_t body_size;   /* all of them, or GW_STORE_UNKNOWN */
    uint64_t dead_at;
    size_t header_len;
    size_t key_len;
    gw_store_state_e state;
    bool stored;          /* found by others; not replaced nor removed */
} gw_store_info_t;

void gw_store_info(gw_store_t *s, const gw_store_ref_t *ref,
    gw_store_info_t *info);

/* Changes an object's meta and lifetime in place, for all who look later. */
void gw_store_update(gw_store_t *s, const gw_store_ref_t *ref,
    const void *meta, uint64_t dead_at);

/* Takes this one object out of the store; who has it pinned keeps it. */
void gw_store_remove(gw_store_t *s, const gw_store_ref_t *ref);


/* --- reading a pinned object: needs no lock ------------------------------- */

typedef struct {
    uint32_t run;
    uint32_t off;
    uint64_t left;
} gw_store_cursor_t;

typedef enum {
    GW_STORE_KEY = 0,
    GW_STORE_HEADER,
    GW_STORE_BODY
} gw_store_part_e;

/*
 * Sets the cursor to n bytes of a part from `from`. They must be there: of
 * the body, below a body_len that gw_store_info() has said. Begins at the
 * object's first run, so a large body is read on with one cursor:
 * gw_store_more() gives it n bytes more after its end.
 */
void gw_store_cursor(const gw_store_t *s, const gw_store_ref_t *ref,
    gw_store_part_e part, uint64_t from, uint64_t n, gw_store_cursor_t *c);
void gw_store_more(gw_store_cursor_t *c, uint64_t n);

/*
 * The next spans of memory, at most max; the cursor moves behind them. They
 * are good, and do not change, as long as the object is pinned. Returns their
 * number: 0 at the end.
 */
size_t gw_store_spans(const gw_store_t *s, gw_store_cursor_t *c,
    gw_str_t *spans, size_t max);

/* Copies the next n bytes, or what is left, and returns how many. */
size_t gw_store_copy(const gw_store_t *s, gw_store_cursor_t *c, void *p,
    size_t n);


/* --- filling -------------------------------------------------------------- */

/*
 * Counts purges. Take it before the upstream is asked, and hand it to
 * gw_store_begin(): an answer from before a purge that would have hit it is
 * not stored after it.
 */
uint64_t gw_store_stamp(gw_store_t *s);

typedef struct {
    gw_store_id_t id;
    gw_str_t spec;          /* empty: no variants, and variant is zeros */
    gw_str_t header;        /* any bytes of the caller's */
    const void *meta;
    const uint64_t *tags;   /* hashes of tags */
    size_t ntags;           /* at most GW_STORE_MAX_TAGS */
    uint64_t dead_at;       /* from then on of no use, even stale */
    uint64_t size;          /* of the body, or GW_STORE_UNKNOWN */
    uint64_t stamp;
    gw_store_fill_t fill;   /* 0: nobody waits */
    const gw_store_ref_t *same_body; /* complete, pinned: the new object has
                                its body (304); NULL: none. Copies nothing */
} gw_store_new_t;

/*
 * Begins an object. Nobody finds it yet but by its fill, who waits for which
 * is in wake. GW_OK: ref is pinned, to be ended by gw_store_commit() or
 * gw_store_abort(). GW_DECLINED: it is too large, or a limit above is
 * exceeded. GW_ERROR: no memory now. After the latter two the fill is still
 * to be settled.
 */
int gw_store_begin(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_new_t *n, gw_store_ref_t *ref, gw_store_wake_t *wake);

/*
 * Takes memory for n bytes of body in all. GW_OK, GW_AGAIN (call again, the
 * lock may be released meanwhile), GW_ERROR (no memory), GW_DECLINED (over
 * max_object). For a body of known size, before others are let read it while
 * it fills: then only its source can fail.
 */
int gw_store_reserve(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    uint64_t n);

/*
 * Adds to the body; takes as much as it may, and says how much in *done.
 * GW_OK: all; GW_AGAIN: call again with the rest; GW_ERROR: no memory;
 * GW_DECLINED: over max_object, or over the size that was given. After the
 * latter two there is only abort. Readers who wait are in wake.
 */
int gw_store_append(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    const unsigned char *data, size_t len, size_t *done,
    gw_store_wake_t *wake);

/*
 * The object is complete: it is found from now on, and replaces the one with
 * its key and variant. Ends the pin and the fill. GW_OK, or GW_DECLINED: it
 * was purged meanwhile, or is shorter than the size that was given, and is
 * not found; who has it pinned has it complete, or aborted where short.
 */
int gw_store_commit(gw_store_t *s, const gw_store_ref_t *ref, uint64_t now,
    gw_store_wake_t *wake);

/*
 * Gives it up; who has it pinned sees it aborted. Ends the pin and, unless
 * `keep` says that another answer is to come, the fill: the first waiter to
 * ask takes the lead.
 */
void gw_store_abort(gw_store_t *s, const gw_store_ref_t *ref, bool keep,
    gw_store_wake_t *wake);


/* --- one request for many ------------------------------------------------- */

/*
 * Asks for the right to fetch id's key and variant.
 *   GW_OK        the caller leads: *fill is to be ended by commit, abort or
 *                gw_store_settle(), on every way out
 *   GW_AGAIN     another one leads. With `wait` the slot is noted, and is in
 *                the wake set of whatever happens next: the object begun
 *                (then it may be attached to), stored, given up, found not
 *                cacheable. Whoever is woken looks up and asks again. Waking
 *                is for the whole slot, and once: who waits on asks again
 *   GW_DECLINED  marked as not cacheable: ask the upstream, wait for nobody
 *   GW_ERROR     no memory, or slot out of range: as above
 *
 * A variant is not known before the first answer: such a request asks with
 * zeros. When its answer begins with a spec, the fill moves to the variant's
 * place; who waited finds it there, having read gw_store_specs() anew.
 *
 * Who leads looks up again where gw_store_stored() is not what it was before
 * the first look-up: what was not there may have been stored in between, and
 * from here on nobody else stores it.
 */
int gw_store_lead(gw_store_t *s, unsigned slot, uint64_t now,
    const gw_store_id_t *id, bool wait, gw_store_fill_t *fill);

/*
 * Ends a fill without an object. With `until` later than `now` the key is
 * marked as not cacheable till then, so that nobody waits for it: known only
 * as long as there is room for marks, the oldest are forgotten. Else the
 * first waiter to ask takes the lead.
 */
void gw_store_settle(gw_store_t *s, gw_store_fill_t fill, uint64_t now,
    uint64_t until, gw_store_wake_t *wake);

/*
 * Pins the object that is being filled under id, to read while it fills.
 * GW_OK; GW_DECLINED: none, of another key or variant, or purged; GW_ERROR
 * as for gw_store_get(). Look at body_size: where it is unknown, or memory
 * was not reserved, the object may be aborted for want of memory.
 */
int gw_store_attach(gw_store_t *s, unsigned slot, const gw_store_id_t *id,
    gw_store_ref_t *ref);

/* gw_store_info(), and where the object is still filling and has no more
   than `seen` bytes, the slot is noted to be woken when it has. */
void gw_store_progress(gw_store_t *s, unsigned slot,
    const gw_store_ref_t *ref, uint64_t seen, gw_store_info_t *info);


/* --- purge ---------------------------------------------------------------- */

/*
 * One purge: zero it; call what is to be purged, any of them, each until it
 * no longer says GW_AGAIN; then gw_store_purge_end() likewise. The lock may
 * be released between calls. Then `purged` objects are gone, besides those
 * that were being filled. With `cascade` everything that shares a tag with
 * one of them is too; what shares a tag with these only is not.
 *
 * A purger that dies leaves its work to the end of the next purge.
 */
typedef struct {
    uint64_t purged;
    uint32_t bucket; /* where a pattern goes on */
    bool cascade;    /* set by the caller before the first call */
    bool begun;
} gw_store_purge_t;

/* All variants of a key. */
int gw_store_purge_key(gw_store_t *s, gw_store_purge_t *p,
    const unsigned char *key);

void gw_store_purge_tag(gw_store_t *s, gw_store_purge_t *p, uint64_t tag);

/*
 * All whose key's text matches. match() is called with the lock held and
 * must only compute. buf has GW_STORE_MAX_KEY bytes, for keys that are not
 * in one piece. Answers that were asked for before the first call and come
 * later are not stored, whatever their key.
 */
typedef bool (*gw_store_match_t)(void *ctx, gw_str_t key);

int gw_store_purge_match(gw_store_t *s, gw_store_purge_t *p,
    gw_store_match_t match, void *ctx, unsigned char *buf);

int gw_store_purge_end(gw_store_t *s, gw_store_purge_t *p);


/* --- figures -------------------------------------------------------------- */

typedef struct {
    uint64_t total;    /* bytes of cells */
    uint64_t used;
    uint64_t objects;  /* that can be found */
    uint64_t fills;
    uint64_t stored;   /* ever, as the following */
    uint64_t evicted;
    uint64_t expired;
    uint64_t purged;
    uint64_t refused;  /* no memory */
    uint64_t repaired; /* times that a dead process's step was undone */
} gw_store_stat_t;

void gw_store_stat(gw_store_t *s, gw_store_stat_t *stat);

#endif /* GW_CACHE_STORE_H_INCLUDED */
