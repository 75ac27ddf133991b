#include <string.h>

#include "revocation.h"

struct gw_revocation_node_s {
    gw_revocation_node_t *child[2];
    gw_revocation_node_t *next;
    gw_revocation_t r;
    uint64_t pending;
};


static unsigned
bit(const unsigned char *digest, unsigned level)
{
    return digest[level / 8] >> (7 - level % 8) & 1;
}


/*
 * The link to the node with that digest, or the empty one where it belongs.
 * NULL: below 128 levels, which is only after a writer has died in the middle.
 */
static gw_revocation_node_t **
find(const gw_revocations_t *t, const unsigned char *digest)
{
    unsigned level;
    gw_revocation_node_t **link;

    link = (gw_revocation_node_t **) &t->root;

    for (level = 0; *link != NULL; level++) {

        if (memcmp((*link)->r.digest, digest, GW_REVOCATION_DIGEST) == 0) {
            return link;
        }

        if (level == GW_REVOCATION_DIGEST * 8) {
            return NULL;
        }

        link = &(*link)->child[bit(digest, level)];
    }

    return link;
}


/* Takes a node out of the tree: a leaf below it, if there is one, comes into
   its place. */
static void
detach(gw_revocations_t *t, gw_revocation_node_t *node)
{
    unsigned i;
    gw_revocation_node_t **link, **below, *leaf;

    link = find(t, node->r.digest);

    if (link == NULL || *link != node) {
        /* whoever added it died before it was in the tree */
        return;
    }

    for (below = link, leaf = node; /* void */; leaf = *below) {
        i = (leaf->child[0] == NULL);

        if (leaf->child[i] == NULL) {
            break;
        }

        below = &leaf->child[i];
    }

    *below = NULL;

    if (leaf != node) {
        leaf->child[0] = node->child[0];
        leaf->child[1] = node->child[1];
        *link = leaf;
    }
}


void
gw_revocations_init(gw_revocations_t *t)
{
    memset(t, 0, sizeof(*t));
}


static int
merge(gw_revocations_t *t, gw_revocation_node_t *node,
    const gw_revocation_t *r, bool pending)
{
    if (r->before <= node->r.before && r->until <= node->r.until) {
        return GW_DECLINED;
    }

    if (r->before > node->r.before) {
        node->r.before = r->before;
    }

    if (r->until > node->r.until) {
        node->r.until = r->until;
    }

    /* together they may be more than either node knows */

    if (!node->pending
        && (pending || r->before < node->r.before
            || r->until < node->r.until))
    {
        node->pending = 1;
        t->pending++;
    }

    t->version++;

    return GW_OK;
}


int
gw_revocations_add(gw_revocations_t *t, const gw_revocation_t *r, int64_t now,
    bool pending, const gw_alloc_t *a)
{
    gw_revocation_node_t **link, *node;

    if (r->until <= now) {
        return GW_DECLINED;
    }

    link = find(t, r->digest);

    if (link == NULL) {
        return GW_ERROR;
    }

    if (*link != NULL) {
        return merge(t, *link, r, pending);
    }

    node = a->alloc(a->ctx, sizeof(*node));
    if (node == NULL) {
        return GW_ERROR;
    }

    node->child[0] = NULL;
    node->child[1] = NULL;
    node->next = t->list;
    node->r = *r;
    node->pending = pending;

    t->list = node;
    *link = node;
    t->count++;
    t->pending += pending;
    t->version++;

    return GW_OK;
}


static bool
covers(const gw_revocations_t *t, const unsigned char *digest, int64_t issued,
    int64_t now)
{
    gw_revocation_node_t **link;

    static const unsigned char none[GW_REVOCATION_DIGEST];

    if (memcmp(digest, none, sizeof(none)) == 0) {
        return false;
    }

    link = find(t, digest);

    return link != NULL && *link != NULL && now < (*link)->r.until
           && (issued < (*link)->r.before
               || (*link)->r.before == GW_REVOCATION_TIME_MAX);
}


bool
gw_revocations_cover(const gw_revocations_t *t, const gw_revocable_t *it,
    int64_t now)
{
    return covers(t, it->jti, it->issued, now)
           || covers(t, it->sub, it->issued, now);
}


size_t
gw_revocations_sweep(gw_revocations_t *t, int64_t now, size_t n,
    const gw_alloc_t *a)
{
    size_t freed;
    gw_revocation_node_t *node;

    freed = 0;

    while (n-- > 0) {

        if (t->sweep == NULL || *t->sweep == NULL) {
            t->sweep = &t->list;
        }

        node = *t->sweep;

        if (node == NULL) {
            break;
        }

        if (now < node->r.until) {
            t->sweep = &node->next;
            continue;
        }

        if (t->push == &node->next) {
            t->push = t->sweep;
        }

        detach(t, node);
        *t->sweep = node->next;
        t->count--;
        t->pending -= node->pending;
        freed++;

        a->free(a->ctx, node);
    }

    return freed;
}


void
gw_revocations_repeat(gw_revocations_t *t)
{
    gw_revocation_node_t *node;

    for (node = t->list; node != NULL; node = node->next) {
        node->pending = 1;
    }

    t->pending = t->count;
    t->push = NULL;
}


size_t
gw_revocations_pending(gw_revocations_t *t, gw_revocation_t *r, size_t n,
    size_t steps)
{
    size_t found;
    gw_revocation_node_t *node, *last;

    node = t->push != NULL ? *t->push : NULL;

    if (node == NULL) {
        node = t->list;
    }

    last = NULL;

    for (found = 0; node != NULL && found < n && steps > 0; steps--) {

        if (node->pending) {
            r[found++] = node->r;
        }

        last = node;
        node = node->next;
    }

    /* after the end from the beginning again, but none twice at once */

    t->push = (last != NULL && node != NULL) ? &last->next : NULL;

    return found;
}


void
gw_revocations_handed(gw_revocations_t *t, const gw_revocation_t *r)
{
    gw_revocation_node_t **link, *node;

    link = find(t, r->digest);

    if (link == NULL || *link == NULL) {
        return;
    }

    node = *link;

    if (node->pending && node->r.before <= r->before
        && node->r.until <= r->until)
    {
        node->pending = 0;
        t->pending--;
    }
}
