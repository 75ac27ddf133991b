/*
 * Revoked tokens: what is said of them, and a table of it.
 *
 * A revocation is about one token (its claim jti), or about all of a user's
 * (sub) that were issued before a moment. Both are kept as a digest of the
 * claim's value, so an entry has one size whatever the value's length is, and
 * neither memory nor Redis holds names: a jti is the first half of a SHA-256,
 * a sub the second.
 *
 * Two about one digest are merged: the later `before`, the later `until`. So
 * they may come in any order and more than once, and every node comes to the
 * same.
 *
 * The table may lie in shared memory, and then needs a lock of the caller's;
 * version and count may be read without it. Each entry is 64 bytes:
 *
 *     root ─ node ─┬─ node ─ …         a tree by the digest's bits, one bit a
 *                  └─ node ─ …         level: 128 levels at most
 *     list ─ node ─ node ─ node ─ …    the latest first: what is swept, and
 *              ↑ sweep     ↑ push      handed on
 *
 * Only sweeping frees entries. Times are ms since 1970.
 */

#ifndef GW_REVOCATION_H_INCLUDED
#define GW_REVOCATION_H_INCLUDED

#include "gw.h"

#define GW_REVOCATION_DIGEST 16
#define GW_REVOCATION_TEXT_MAX 16384 /* of a jti or sub; no token has more */
#define GW_REVOCATION_DAY 86400000   /* ms: without exp it is kept so long */

/* The latest time that can be said: Redis's scores hold it exactly. */
#define GW_REVOCATION_TIME_MAX (INT64_C(1) << 53)

typedef struct {
    unsigned char digest[GW_REVOCATION_DIGEST];
    int64_t before; /* of issuing; GW_REVOCATION_TIME_MAX: whenever */
    int64_t until;  /* it is of no interest from then on */
} gw_revocation_t;

/* What of a token or a connection can be revoked. */
typedef struct {
    unsigned char jti[GW_REVOCATION_DIGEST]; /* zeros: has none */
    unsigned char sub[GW_REVOCATION_DIGEST];
    int64_t issued; /* claim iat; INT64_MIN: has none */
} gw_revocable_t;

typedef struct gw_revocation_node_s gw_revocation_node_t;

typedef struct {
    gw_revocation_node_t *root;
    gw_revocation_node_t *list;
    gw_revocation_node_t **sweep; /* links that are next in turn; NULL: from */
    gw_revocation_node_t **push;  /* the list's beginning */
    uint64_t version;             /* counts changes; 0: there never was one */
    uint64_t count;
    uint64_t pending;             /* still to be handed on */
} gw_revocations_t;


/* Digests of a claim's value. GW_OK, or GW_ERROR: no memory. */
int gw_revocation_jti(unsigned char *digest, gw_str_t value);
int gw_revocation_sub(unsigned char *digest, gw_str_t value);

/*
 * Reads a request: a JSON object with jti and exp, or sub, before and maybe
 * exp, in seconds since 1970; other members are of no interest. GW_OK, or
 * GW_DECLINED: malformed, and *why is a static text; GW_ERROR: no memory.
 */
int gw_revocation_parse(gw_str_t body, int64_t now, gw_revocation_t *r,
    const char **why);

/* As one word for other nodes, digest:before:until; returns the end. */
#define GW_REVOCATION_WORD_MAX (22 + 1 + 16 + 1 + 16)

unsigned char *gw_revocation_encode(unsigned char *p,
    const gw_revocation_t *r);

/* Takes the next word of a text; they are parted by blanks. GW_OK, GW_AGAIN:
   there is none, GW_DECLINED: it is no such word, and passed over. */
int gw_revocation_decode(gw_str_t *text, gw_revocation_t *r);


/* Zeroed memory is an empty table too. */
void gw_revocations_init(gw_revocations_t *t);

/*
 * Adds r, or merges it. GW_OK: that changed something; GW_DECLINED: it was
 * known, or is over by now; GW_ERROR: no memory. pending: what has changed is
 * to be handed on.
 */
int gw_revocations_add(gw_revocations_t *t, const gw_revocation_t *r,
    int64_t now, bool pending, const gw_alloc_t *a);

/* Whether what is said to be revoked by now holds for it. */
bool gw_revocations_cover(const gw_revocations_t *t, const gw_revocable_t *it,
    int64_t now);

/* Looks at the next n entries and frees those that are over; returns how
   many. */
size_t gw_revocations_sweep(gw_revocations_t *t, int64_t now, size_t n,
    const gw_alloc_t *a);

/* Everything is to be handed on (again), from the beginning. */
void gw_revocations_repeat(gw_revocations_t *t);

/* Looks at the next entries, `steps` at most, and copies up to n that are
   still to be handed on; returns how many. */
size_t gw_revocations_pending(gw_revocations_t *t, gw_revocation_t *r,
    size_t n, size_t steps);

/* Was handed on; it stays pending where it has changed since. */
void gw_revocations_handed(gw_revocations_t *t, const gw_revocation_t *r);

#endif /* GW_REVOCATION_H_INCLUDED */
