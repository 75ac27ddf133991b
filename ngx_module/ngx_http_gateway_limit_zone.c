/*
 * The shared memory of gateway_limit_zone: keys by digest, in the order of
 * last use, and the check and charge of several limits at once.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_limit_int.h"
#include "../src/siphash.h"


static ngx_int_t ngx_http_gateway_limit_layout(
    ngx_http_gateway_limit_zone_t *zone, ngx_log_t *log);
static uint64_t ngx_http_gateway_limit_key_hash(
    ngx_http_gateway_limit_zone_t *zone);


ngx_int_t
ngx_http_gateway_limit_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_gateway_limit_zone_t *old = data;

    ngx_http_gateway_limit_zone_t  *zone;

    zone = shm_zone->data;
    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old) {
        zone->sh = old->sh;
        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        zone->sh = zone->shpool->data;
        return NGX_OK;
    }

    zone->shpool->log_nomem = 0;

    return ngx_http_gateway_limit_layout(zone, shm_zone->shm.log);
}


static size_t
ngx_http_gateway_limit_key_size(ngx_http_gateway_limit_zone_t *zone)
{
    return sizeof(ngx_http_gateway_limit_node_t)
           + (zone->sync ? sizeof(gw_share_t) : 0) + sizeof(uint32_t);
}


/* All pages but the first are one array of nodes, and what goes with them. */

static ngx_int_t
ngx_http_gateway_limit_layout(ngx_http_gateway_limit_zone_t *zone,
    ngx_log_t *log)
{
    size_t                        size, each;
    u_char                       *p;
    uint32_t                      n;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = ngx_slab_calloc(zone->shpool, sizeof(*sh));

    if (sh == NULL || RAND_bytes((u_char *) sh->secret, sizeof(sh->secret))
                      != 1)
    {
        goto failed;
    }

    p = NULL;

    for (size = zone->shpool->pfree * ngx_pagesize; size;
         size -= ngx_pagesize)
    {
        p = ngx_slab_alloc(zone->shpool, size);
        if (p) {
            break;
        }
    }

    each = ngx_http_gateway_limit_key_size(zone);
    n = (uint32_t) ngx_min(size / each, 0xfffffffe);

    if (n < 2) {
        goto failed;
    }

    /* nodes[0], which stands for none, has no memory */

    sh->nnodes = n;
    sh->nodes = (ngx_http_gateway_limit_node_t *) p - 1;
    p = (u_char *) (sh->nodes + n + 1);

    if (zone->sync) {
        sh->shares = (gw_share_t *) p - 1;
        p = (u_char *) (sh->shares + n + 1);
        ngx_memzero(sh->shares + 1, n * sizeof(gw_share_t));
        gw_share_round_init(&sh->round, zone->rate.period,
                            zone->sync->interval);
    }

    sh->buckets = (uint32_t *) p;
    ngx_memzero(sh->buckets, n * sizeof(uint32_t));

    sh->rate = zone->rate;
    sh->alone = zone->rate.limit;
    sh->key_hash = ngx_http_gateway_limit_key_hash(zone);

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "could not lay out gateway_limit_zone \"%V\", make it "
                  "larger", &zone->name);

    return NGX_ERROR;
}


/* Differs between keys, not between zones of one key. */

static uint64_t
ngx_http_gateway_limit_key_hash(ngx_http_gateway_limit_zone_t *zone)
{
    static const uint64_t  none[2] = { 0, 0 };

    return gw_siphash(none, zone->key_text.data, zone->key_text.len);
}


/* With the mutex: nothing was counted, told or heard. */

static void
ngx_http_gateway_limit_anew(ngx_http_gateway_limit_sh_t *sh)
{
    sh->generation++;

    if (sh->shares == NULL) {
        return;
    }

    ngx_memzero(sh->shares + 1, sh->used * sizeof(gw_share_t));

    sh->unsent = 0;
    sh->first = 0;
    sh->last = 0;
    sh->alone = sh->rate.limit;
    sh->heard = 0;
    sh->id[0] = 0;
    sh->id[1] = 0;
    sh->ndoubt = 0;
}


void
ngx_http_gateway_limit_zone_adopt(ngx_http_gateway_limit_zone_t *zone,
    ngx_log_t *log)
{
    uint64_t                      key_hash;
    ngx_uint_t                    changed;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = zone->sh;
    key_hash = ngx_http_gateway_limit_key_hash(zone);

    ngx_shmtx_lock(&zone->shpool->mutex);

    changed = sh->key_hash != key_hash
              || sh->rate.limit != zone->rate.limit
              || sh->rate.period != zone->rate.period;

    if (changed) {
        sh->key_hash = key_hash;
        sh->rate = zone->rate;
        ngx_http_gateway_limit_anew(sh);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "key or rate of gateway_limit_zone \"%V\" have "
                      "changed: it starts counting anew", &zone->name);
    }
}


void
ngx_http_gateway_limit_digest(ngx_http_gateway_limit_zone_t *zone,
    ngx_str_t *key, uint64_t digest[2])
{
    gw_siphash128(zone->sh->secret, key->data, key->len, digest);
}


static ngx_inline uint32_t *
ngx_http_gateway_limit_bucket(ngx_http_gateway_limit_sh_t *sh,
    const uint64_t digest[2])
{
    /* the same as a remainder, without a division */
    return &sh->buckets[((digest[1] & 0xffffffff) * sh->nnodes) >> 32];
}


static void
ngx_http_gateway_limit_order_remove(ngx_http_gateway_limit_sh_t *sh,
    ngx_http_gateway_limit_node_t *node)
{
    if (node->newer) {
        sh->nodes[node->newer].older = node->older;

    } else {
        sh->newest = node->older;
    }

    if (node->older) {
        sh->nodes[node->older].newer = node->newer;

    } else {
        sh->oldest = node->newer;
    }
}


static void
ngx_http_gateway_limit_order_add(ngx_http_gateway_limit_sh_t *sh,
    ngx_http_gateway_limit_node_t *node)
{
    uint32_t  i;

    i = (uint32_t) (node - sh->nodes);

    node->newer = 0;
    node->older = sh->newest;

    if (sh->newest) {
        sh->nodes[sh->newest].newer = i;

    } else {
        sh->oldest = i;
    }

    sh->newest = i;
}


/* There is something to be told of the node. */

static void
ngx_http_gateway_limit_unsent(ngx_http_gateway_limit_sh_t *sh, uint32_t i)
{
    if (sh->shares[i].next || sh->last == i) {
        return;
    }

    if (sh->last) {
        sh->shares[sh->last].next = i;

    } else {
        sh->first = i;
    }

    sh->last = i;
    sh->unsent++;
}


static void
ngx_http_gateway_limit_repair_shares(ngx_http_gateway_limit_sh_t *sh)
{
    uint32_t  i;

    sh->unsent = 0;
    sh->first = 0;
    sh->last = 0;

    for (i = 1; i <= sh->used; i++) {
        sh->shares[i].next = 0;
        sh->shares[i].owed = ngx_min(sh->shares[i].owed, sh->rate.limit);

        if (sh->shares[i].unsent) {
            ngx_http_gateway_limit_unsent(sh, i);
        }
    }
}


/* Somebody died inside: chains, order and sums are made again. */

static void
ngx_http_gateway_limit_repair(ngx_http_gateway_limit_sh_t *sh)
{
    uint32_t                        i, *bucket;
    ngx_http_gateway_limit_node_t  *node;

    ngx_memzero(sh->buckets, sh->nnodes * sizeof(uint32_t));

    sh->newest = 0;
    sh->oldest = 0;

    for (i = 1; i <= sh->used; i++) {
        node = &sh->nodes[i];
        gw_window_repair(&sh->rate, &node->window);

        bucket = ngx_http_gateway_limit_bucket(sh, node->digest);
        node->next = *bucket;
        *bucket = i;

        ngx_http_gateway_limit_order_add(sh, node);
    }

    if (sh->shares) {
        ngx_http_gateway_limit_repair_shares(sh);
    }
}


static void
ngx_http_gateway_limit_lock(ngx_http_gateway_limit_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if (zone->sh->busy) {
        ngx_http_gateway_limit_repair(zone->sh);
    }

    zone->sh->busy = 1;
    ngx_memory_barrier();
}


static void
ngx_http_gateway_limit_unlock(ngx_http_gateway_limit_zone_t *zone)
{
    ngx_memory_barrier();
    zone->sh->busy = 0;

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


static ngx_http_gateway_limit_node_t *
ngx_http_gateway_limit_find(ngx_http_gateway_limit_sh_t *sh,
    const uint64_t digest[2])
{
    uint32_t                        i;
    ngx_http_gateway_limit_node_t  *node;

    for (i = *ngx_http_gateway_limit_bucket(sh, digest); i; i = node->next) {
        node = &sh->nodes[i];

        if (node->digest[0] == digest[0] && node->digest[1] == digest[1]) {
            return node;
        }
    }

    return NULL;
}


/* A node for a new key: an unused one, or that of the key that was used least
 * recently, but for those that this very check holds. */

static ngx_http_gateway_limit_node_t *
ngx_http_gateway_limit_node_new(ngx_http_gateway_limit_sh_t *sh,
    const uint64_t digest[2])
{
    uint32_t                        i, next, *p;
    ngx_http_gateway_limit_node_t  *node;

    if (sh->used < sh->nnodes) {
        node = &sh->nodes[sh->used + 1];

    } else {
        i = sh->oldest;
        node = &sh->nodes[i];

        for (p = ngx_http_gateway_limit_bucket(sh, node->digest); *p != i;
             p = &sh->nodes[*p].next)
        {
            /* void */
        }

        *p = node->next;
        ngx_http_gateway_limit_order_remove(sh, node);
    }

    ngx_memzero(&node->window, sizeof(gw_window_t));
    node->digest[0] = digest[0];
    node->digest[1] = digest[1];
    node->generation = sh->generation;

    i = (uint32_t) (node - sh->nodes);

    if (sh->shares) {
        next = sh->shares[i].next;
        ngx_memzero(&sh->shares[i], sizeof(gw_share_t));
        sh->shares[i].next = next;
    }

    if (i > sh->used) {
        sh->used = i;
    }

    p = ngx_http_gateway_limit_bucket(sh, digest);
    node->next = *p;
    *p = i;

    ngx_http_gateway_limit_order_add(sh, node);

    return node;
}


/* With the mutex: the key's node, which is the one used last. */

static ngx_inline ngx_http_gateway_limit_node_t *
ngx_http_gateway_limit_use(ngx_http_gateway_limit_sh_t *sh,
    const uint64_t digest[2])
{
    ngx_http_gateway_limit_node_t  *node;

    node = ngx_http_gateway_limit_find(sh, digest);

    if (node == NULL) {
        node = ngx_http_gateway_limit_node_new(sh, digest);

    } else if (node->newer) {
        ngx_http_gateway_limit_order_remove(sh, node);
        ngx_http_gateway_limit_order_add(sh, node);
    }

    if (node->generation != sh->generation) {
        ngx_memzero(&node->window, sizeof(gw_window_t));
        node->generation = sh->generation;
    }

    return node;
}


/*
 * Over several nodes: what the limit is, and the round. Where it is too long
 * ago that counts were exchanged, it is this node's part of it, and nothing is
 * expected of others.
 */

static void
ngx_http_gateway_limit_terms(ngx_http_gateway_limit_zone_t *zone,
    uint64_t now, gw_window_rate_t *rate, gw_share_round_t *round)
{
    ngx_http_gateway_limit_sh_t  *sh;

    sh = zone->sh;
    *rate = sh->rate;
    *round = sh->round;

    if (sh->heard == 0
        || (ngx_msec_int_t) (now - sh->heard)
           > (ngx_msec_int_t) zone->sync->patience)
    {
        rate->limit = sh->alone;
        round->alone = 1;
    }
}


/* As gw_window_check(), _take() with _state(), and _refund(). */

static int
ngx_http_gateway_limit_share_check(ngx_http_gateway_limit_item_t *item)
{
    gw_window_rate_t              rate;
    gw_share_round_t              round;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = item->limit->zone->sh;
    ngx_http_gateway_limit_terms(item->limit->zone, item->now, &rate, &round);

    return gw_share_check(&rate, &item->node->window,
                          &sh->shares[item->node - sh->nodes], &round,
                          item->now, item->cost);
}


static void
ngx_http_gateway_limit_share_take(ngx_http_gateway_limit_item_t *item)
{
    uint32_t                      i;
    gw_share_t                   *share;
    gw_window_rate_t              rate;
    gw_share_round_t              round;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = item->limit->zone->sh;
    i = (uint32_t) (item->node - sh->nodes);
    share = &sh->shares[i];

    if (item->charged) {
        gw_share_take(&sh->rate, &item->node->window, share, item->now,
                      item->cost);
        ngx_http_gateway_limit_unsent(sh, i);
    }

    ngx_http_gateway_limit_terms(item->limit->zone, item->now, &rate, &round);

    gw_share_state(&rate, &item->node->window, share, &round,
                   item->limit->zone->sync->interval, item->now,
                   item->rejected ? item->cost : 0, &item->state);
}


static void
ngx_http_gateway_limit_share_refund(ngx_http_gateway_limit_item_t *item)
{
    uint32_t                      i;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = item->limit->zone->sh;
    i = (uint32_t) (item->node - sh->nodes);

    gw_share_refund(&sh->rate, &item->node->window, &sh->shares[i],
                    ngx_current_msec, item->now, item->cost);
    ngx_http_gateway_limit_unsent(sh, i);
}


/* With the mutex: whether the item's limit admits it. */

static ngx_uint_t
ngx_http_gateway_limit_admits(ngx_http_gateway_limit_item_t *item)
{
    int                           rc;
    ngx_http_gateway_limit_sh_t  *sh;

    sh = item->limit->zone->sh;

    item->node = ngx_http_gateway_limit_use(sh, item->digest);
    item->charged = 0;

    if (sh->shares) {
        rc = ngx_http_gateway_limit_share_check(item);

    } else {
        rc = gw_window_check(&sh->rate, &item->node->window, item->now,
                             item->cost);
    }

    item->rejected = (rc != GW_OK);

    return !item->rejected;
}


/* Old and new workers see the zones at the same addresses: who takes several
 * mutexes does so in their order. */

static void
ngx_http_gateway_limit_sort(ngx_http_gateway_limit_item_t *items,
    ngx_http_gateway_limit_item_t **sorted, ngx_uint_t n)
{
    ngx_uint_t        i, j;
    ngx_slab_pool_t  *shpool;

    for (i = 0; i < n; i++) {
        shpool = items[i].limit->zone->shpool;

        for (j = i; j && sorted[j - 1]->limit->zone->shpool > shpool; j--) {
            sorted[j] = sorted[j - 1];
        }

        sorted[j] = &items[i];
    }
}


ngx_int_t
ngx_http_gateway_limit_take(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n, ngx_uint_t peek)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    gw_window_t                    *window;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_item_t  *item;
    ngx_http_gateway_limit_item_t  *sorted[NGX_HTTP_GATEWAY_LIMIT_MOST];

    sorted[0] = items;

    if (n > 1) {
        ngx_http_gateway_limit_sort(items, sorted, n);
    }

    rc = NGX_OK;

    for (i = 0; i < n; i++) {
        item = sorted[i];
        item->now = ngx_current_msec;

        ngx_http_gateway_limit_lock(item->limit->zone);

        if (!ngx_http_gateway_limit_admits(item) && !item->limit->dry_run) {
            rc = NGX_BUSY;
        }
    }

    while (i--) {
        item = sorted[i];
        sh = item->limit->zone->sh;
        window = &item->node->window;

        item->charged = rc == NGX_OK && !peek && !item->rejected
                        && item->cost;

        if (sh->shares) {
            ngx_http_gateway_limit_share_take(item);

        } else {
            if (item->charged) {
                gw_window_take(&sh->rate, window, item->cost);
            }

            gw_window_state(&sh->rate, window, item->now,
                            item->rejected ? item->cost : 0, &item->state);
        }

        ngx_http_gateway_limit_unlock(item->limit->zone);
    }

    return rc;
}


void
ngx_http_gateway_limit_refund(ngx_http_gateway_limit_item_t *items,
    ngx_uint_t n)
{
    ngx_uint_t                      i;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_node_t  *node;

    for (i = 0; i < n; i++) {

        if (!items[i].charged) {
            continue;
        }

        sh = items[i].limit->zone->sh;

        ngx_http_gateway_limit_lock(items[i].limit->zone);

        node = ngx_http_gateway_limit_find(sh, items[i].digest);

        if (node == NULL || node->generation != sh->generation) {
            /* forgotten meanwhile */

        } else if (sh->shares) {
            items[i].node = node;
            ngx_http_gateway_limit_share_refund(&items[i]);

        } else {
            gw_window_refund(&sh->rate, &node->window, items[i].now,
                             items[i].cost);
        }

        ngx_http_gateway_limit_unlock(items[i].limit->zone);

        items[i].charged = 0;
    }
}


void
ngx_http_gateway_limit_round(ngx_http_gateway_limit_zone_t *zone)
{
    ngx_http_gateway_limit_lock(zone);
    gw_share_round_begin(&zone->sh->round);
    ngx_http_gateway_limit_unlock(zone);
}


ngx_uint_t
ngx_http_gateway_limit_tell(ngx_http_gateway_limit_zone_t *zone, u_char *buf,
    ngx_uint_t n, u_char **last)
{
    uint32_t                        i;
    ngx_uint_t                      done;
    gw_share_t                     *share;
    gw_share_delta_t                delta;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_node_t  *node;

    ngx_http_gateway_limit_lock(zone);

    sh = zone->sh;

    for (done = 0; done < n && sh->first; done++) {
        i = sh->first;
        node = &sh->nodes[i];
        share = &sh->shares[i];

        sh->first = share->next;
        sh->last = sh->first ? sh->last : 0;
        sh->unsent--;
        share->next = 0;

        if (gw_share_tell(&sh->rate, &node->window, share, &sh->round,
                          2 * zone->sync->interval, ngx_current_msec, &delta)
            == GW_OK)
        {
            buf = gw_limit_batch_put(buf, node->digest, &delta);
        }
    }

    ngx_http_gateway_limit_unlock(zone);

    *last = buf;

    return done;
}


void
ngx_http_gateway_limit_untell(ngx_http_gateway_limit_zone_t *zone,
    gw_limit_batch_t *batch, uint64_t age, ngx_uint_t told)
{
    uint32_t                        i;
    uint64_t                        digest[2];
    gw_share_delta_t                delta;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_node_t  *node;

    ngx_http_gateway_limit_lock(zone);

    sh = zone->sh;
    age = ngx_min(age, UINT32_MAX);

    while (gw_limit_batch_next(batch, digest, &delta) == GW_OK) {
        delta.age = (uint32_t) ngx_min(delta.age + age, UINT32_MAX);
        node = ngx_http_gateway_limit_find(sh, digest);

        if (node == NULL || node->generation != sh->generation
            || delta.age > sh->rate.period)
        {
            /* forgotten meanwhile */
            continue;
        }

        i = (uint32_t) (node - sh->nodes);

        gw_share_untell(&sh->shares[i], ngx_current_msec, &delta, told);
        ngx_http_gateway_limit_unsent(sh, i);
    }

    ngx_http_gateway_limit_unlock(zone);
}


void
ngx_http_gateway_limit_hear(ngx_http_gateway_limit_zone_t *zone,
    gw_limit_batch_t *batch, uint64_t age)
{
    uint64_t                        digest[2];
    gw_share_delta_t                delta;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_node_t  *node;

    ngx_http_gateway_limit_lock(zone);

    sh = zone->sh;

    while (gw_limit_batch_next(batch, digest, &delta) == GW_OK) {
        age = ngx_min(age, UINT32_MAX);
        delta.age = (uint32_t) ngx_min(delta.age + age, UINT32_MAX);

        if (delta.count == 0 || delta.age > sh->rate.period) {
            continue;
        }

        node = ngx_http_gateway_limit_use(sh, digest);

        gw_share_hear(&sh->rate, &node->window,
                      &sh->shares[node - sh->nodes], &sh->round,
                      ngx_current_msec, &delta);
    }

    ngx_http_gateway_limit_unlock(zone);
}


void
ngx_http_gateway_limit_agree(ngx_http_gateway_limit_zone_t *zone,
    u_char *secret)
{
    ngx_http_gateway_limit_lock(zone);

    ngx_memcpy(zone->sh->secret, secret, sizeof(zone->sh->secret));
    zone->sh->version++;
    ngx_http_gateway_limit_anew(zone->sh);

    ngx_http_gateway_limit_unlock(zone);
}


size_t
ngx_http_gateway_limit_used(ngx_http_gateway_limit_zone_t *zone)
{
    return zone->shm_zone->shm.size
           - (zone->sh->nnodes - zone->sh->used)
             * ngx_http_gateway_limit_key_size(zone);
}
