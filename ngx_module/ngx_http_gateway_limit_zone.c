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


/* All pages but the first are one array of nodes and its buckets. */

static ngx_int_t
ngx_http_gateway_limit_layout(ngx_http_gateway_limit_zone_t *zone,
    ngx_log_t *log)
{
    size_t                        size;
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

    n = (uint32_t) ngx_min(size / (sizeof(ngx_http_gateway_limit_node_t)
                                   + sizeof(uint32_t)),
                           0xffffffff);

    if (n < 2) {
        goto failed;
    }

    /* nodes[0], which stands for none, has no memory */

    sh->nnodes = n;
    sh->nodes = (ngx_http_gateway_limit_node_t *) p - 1;
    sh->buckets = (uint32_t *) (sh->nodes + n + 1);

    ngx_memzero(sh->buckets, n * sizeof(uint32_t));

    sh->rate = zone->rate;
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
        sh->generation++;
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
    uint32_t                        i, *p;
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

    if (i > sh->used) {
        sh->used = i;
    }

    p = ngx_http_gateway_limit_bucket(sh, digest);
    node->next = *p;
    *p = i;

    ngx_http_gateway_limit_order_add(sh, node);

    return node;
}


/* With the mutex: whether the item's limit admits it. */

static ngx_uint_t
ngx_http_gateway_limit_admits(ngx_http_gateway_limit_item_t *item)
{
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_node_t  *node;

    sh = item->limit->zone->sh;
    node = ngx_http_gateway_limit_find(sh, item->digest);

    if (node == NULL) {
        node = ngx_http_gateway_limit_node_new(sh, item->digest);

    } else if (node->newer) {
        ngx_http_gateway_limit_order_remove(sh, node);
        ngx_http_gateway_limit_order_add(sh, node);
    }

    if (node->generation != sh->generation) {
        ngx_memzero(&node->window, sizeof(gw_window_t));
        node->generation = sh->generation;
    }

    item->node = node;
    item->charged = 0;
    item->rejected = gw_window_check(&sh->rate, &node->window, item->now,
                                     item->cost)
                     != GW_OK;

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

        if (rc == NGX_OK && !peek && !item->rejected && item->cost) {
            gw_window_take(&sh->rate, window, item->cost);
            item->charged = 1;
        }

        gw_window_state(&sh->rate, window, item->now,
                        item->rejected ? item->cost : 0, &item->state);

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

        if (node && node->generation == sh->generation) {
            gw_window_refund(&sh->rate, &node->window, items[i].now,
                             items[i].cost);
        }

        ngx_http_gateway_limit_unlock(items[i].limit->zone);

        items[i].charged = 0;
    }
}


size_t
ngx_http_gateway_limit_used(ngx_http_gateway_limit_zone_t *zone)
{
    return zone->shm_zone->shm.size
           - (zone->sh->nnodes - zone->sh->used)
             * (sizeof(ngx_http_gateway_limit_node_t) + sizeof(uint32_t));
}
