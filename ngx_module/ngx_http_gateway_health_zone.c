/*
 * What all workers know of checked peers: see the header.
 */

#include "ngx_http_gateway_health.h"
#include "ngx_http_gateway_text.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_HEALTH_UNSEEN  60000    /* ms */
#define NGX_HTTP_GATEWAY_HEALTH_GRACE   2000     /* ms, at a lease's end */


static ngx_int_t ngx_http_gateway_health_init_zone(ngx_shm_zone_t *zone,
    void *data);


ngx_int_t
ngx_http_gateway_health_zone_add(ngx_conf_t *cf,
    ngx_http_gateway_health_main_conf_t *hmcf)
{
    size_t     size;
    ngx_str_t  name;

    if (hmcf->zone) {
        return NGX_OK;
    }

    ngx_str_set(&name, "gateway_health");

    size = 8 * ngx_pagesize
           + ngx_align(sizeof(ngx_http_gateway_health_shctx_t), ngx_pagesize);

    /* what the slab allocator keeps of each page */
    size += (size / ngx_pagesize + 1) * sizeof(ngx_slab_page_t);
    size = ngx_align(size, ngx_pagesize);

    hmcf->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_http_gateway_health_module);
    if (hmcf->zone == NULL) {
        return NGX_ERROR;
    }

    hmcf->zone->init = ngx_http_gateway_health_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_health_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                  *shpool;
    ngx_http_gateway_health_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    /* 0 is what a worker has applied at its start */
    sh->generation = 1;

    shpool->data = sh;
    zone->data = sh;

    return NGX_OK;
}


static ngx_shm_zone_t *
ngx_http_gateway_health_zone(void)
{
    ngx_http_gateway_health_main_conf_t  *hmcf;

    hmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_gateway_health_module);

    return hmcf && hmcf->zone && hmcf->zone->data ? hmcf->zone : NULL;
}


ngx_http_gateway_health_shctx_t *
ngx_http_gateway_health_shared(void)
{
    ngx_shm_zone_t  *zone;

    zone = ngx_http_gateway_health_zone();

    return zone ? zone->data : NULL;
}


static ngx_http_gateway_health_shctx_t *
ngx_http_gateway_health_lock(void)
{
    ngx_shm_zone_t   *zone;
    ngx_slab_pool_t  *shpool;

    zone = ngx_http_gateway_health_zone();
    if (zone == NULL) {
        return NULL;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    ngx_shmtx_lock(&shpool->mutex);

    return zone->data;
}


static void
ngx_http_gateway_health_unlock(void)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) ngx_http_gateway_health_zone()->shm.addr;
    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_gateway_health_key(u_char *key, ngx_http_upstream_srv_conf_t *us,
    ngx_http_upstream_rr_peer_t *peer)
{
    ngx_md5_t  md5;

    /* a length before each, so that no two peers run into one text */

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, &us->host.len, sizeof(us->host.len));
    ngx_md5_update(&md5, us->host.data, us->host.len);
    ngx_md5_update(&md5, &peer->server.len, sizeof(peer->server.len));
    ngx_md5_update(&md5, peer->server.data, peer->server.len);
    ngx_md5_update(&md5, peer->name.data, peer->name.len);
    ngx_md5_final(key, &md5);
}


static ngx_uint_t
ngx_http_gateway_health_is(ngx_http_gateway_health_entry_t *e, u_char *key)
{
    return e->used
           && ngx_memcmp(e->key, key, NGX_HTTP_GATEWAY_HEALTH_KEY) == 0;
}


/* The entry of that key, else the first free one, else the one that nobody
 * has seen for the longest time; NONE: they are all in use. */

static ngx_uint_t
ngx_http_gateway_health_find(ngx_http_gateway_health_shctx_t *sh, u_char *key)
{
    ngx_msec_t                        age, oldest;
    ngx_uint_t                        i, room;
    ngx_http_gateway_health_entry_t  *e;

    room = NGX_HTTP_GATEWAY_HEALTH_NONE;
    oldest = NGX_HTTP_GATEWAY_HEALTH_UNSEEN;

    for (i = 0; i < NGX_HTTP_GATEWAY_HEALTH_ENTRIES; i++) {
        e = &sh->entries[i];

        if (ngx_http_gateway_health_is(e, key)) {
            return i;
        }

        if (!e->used) {
            /* they are taken in order and never given back */
            return i;
        }

        age = ngx_current_msec - e->seen;

        if ((ngx_msec_int_t) age > (ngx_msec_int_t) oldest) {
            oldest = age;
            room = i;
        }
    }

    return room;
}


ngx_int_t
ngx_http_gateway_health_read(u_char *key,
    ngx_http_gateway_health_entry_t *copy)
{
    ngx_int_t                         rc;
    ngx_uint_t                        i;
    ngx_http_gateway_health_shctx_t  *sh;

    sh = ngx_http_gateway_health_lock();
    if (sh == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;
    i = ngx_http_gateway_health_find(sh, key);

    if (i != NGX_HTTP_GATEWAY_HEALTH_NONE
        && ngx_http_gateway_health_is(&sh->entries[i], key))
    {
        *copy = sh->entries[i];
        rc = NGX_OK;
    }

    ngx_http_gateway_health_unlock();

    return rc;
}


void
ngx_http_gateway_health_seen(ngx_http_gateway_health_peer_t *p)
{
    ngx_http_gateway_health_entry_t  *e;
    ngx_http_gateway_health_shctx_t  *sh;

    sh = ngx_http_gateway_health_lock();
    if (sh == NULL) {
        return;
    }

    if (p->entry == NGX_HTTP_GATEWAY_HEALTH_NONE
        || !ngx_http_gateway_health_is(&sh->entries[p->entry], p->key))
    {
        p->entry = ngx_http_gateway_health_find(sh, p->key);
    }

    if (p->entry != NGX_HTTP_GATEWAY_HEALTH_NONE) {
        e = &sh->entries[p->entry];

        /* what was known of a peer that was away is no longer of use */

        if (!ngx_http_gateway_health_is(e, p->key)
            || (ngx_msec_int_t) (ngx_current_msec - e->seen)
               > NGX_HTTP_GATEWAY_HEALTH_UNSEEN)
        {
            sh->generation += e->down;

            ngx_memzero(e, sizeof(*e));
            ngx_memcpy(e->key, p->key, NGX_HTTP_GATEWAY_HEALTH_KEY);
            e->time = -1;
            e->used = 1;
        }

        e->seen = ngx_current_msec;
    }

    ngx_http_gateway_health_unlock();
}


/* How long it is until then; 0: it has passed. */

static ngx_msec_int_t
ngx_http_gateway_health_until(ngx_msec_t then)
{
    ngx_msec_int_t  ms;

    ms = (ngx_msec_int_t) (then - ngx_current_msec);

    return ngx_max(ms, 0);
}


/* Locks, and finds the entry of p; NULL: it has none, and nothing is locked. */

static ngx_http_gateway_health_entry_t *
ngx_http_gateway_health_enter(ngx_http_gateway_health_peer_t *p)
{
    ngx_http_gateway_health_shctx_t  *sh;

    if (p->entry == NGX_HTTP_GATEWAY_HEALTH_NONE
        || ngx_http_gateway_slot >= NGX_HTTP_GATEWAY_MAX_WORKERS)
    {
        return NULL;
    }

    sh = ngx_http_gateway_health_lock();
    if (sh == NULL) {
        return NULL;
    }

    if (!ngx_http_gateway_health_is(&sh->entries[p->entry], p->key)) {
        ngx_http_gateway_health_unlock();
        return NULL;
    }

    return &sh->entries[p->entry];
}


static void
ngx_http_gateway_health_lend(ngx_http_gateway_health_entry_t *e,
    ngx_http_gateway_health_srv_conf_t *conf)
{
    e->owner = (uint16_t) (ngx_http_gateway_slot + 1);
    e->lease = ngx_current_msec + conf->interval + conf->timeout
               + NGX_HTTP_GATEWAY_HEALTH_GRACE;
}


ngx_msec_int_t
ngx_http_gateway_health_take(ngx_http_gateway_health_peer_t *p)
{
    ngx_msec_t                        interval;
    ngx_msec_int_t                    delay;
    ngx_http_gateway_health_entry_t  *e;

    e = ngx_http_gateway_health_enter(p);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    delay = NGX_DECLINED;

    if (e->owner == 0 || e->owner == ngx_http_gateway_slot + 1
        || (ngx_msec_int_t) (ngx_current_msec - e->lease) > 0)
    {
        interval = p->conf->interval;

        /* also where the interval was a longer one when it was set */
        if (!e->scheduled
            || ngx_http_gateway_health_until(e->due)
               > (ngx_msec_int_t) interval)
        {
            e->due = ngx_current_msec + interval * p->number / p->total;
            e->scheduled = 1;
        }

        ngx_http_gateway_health_lend(e, p->conf);

        delay = ngx_http_gateway_health_until(e->due)
                + (ngx_msec_int_t) ((ngx_msec_t) ngx_random()
                                    % (interval / 10 + 1));
    }

    ngx_http_gateway_health_unlock();

    return delay;
}


ngx_int_t
ngx_http_gateway_health_renew(ngx_http_gateway_health_peer_t *p)
{
    ngx_int_t                         rc;
    ngx_http_gateway_health_entry_t  *e;

    e = ngx_http_gateway_health_enter(p);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (e->owner == ngx_http_gateway_slot + 1) {
        e->due = ngx_current_msec + p->conf->interval;
        ngx_http_gateway_health_lend(e, p->conf);
        rc = NGX_OK;
    }

    ngx_http_gateway_health_unlock();

    return rc;
}


static ngx_uint_t
ngx_http_gateway_health_note(ngx_http_gateway_health_entry_t *e,
    ngx_http_gateway_health_srv_conf_t *conf, ngx_uint_t passed)
{
    ngx_uint_t  down;

    if (passed) {
        e->fails = 0;
        e->passes += e->passes < UINT16_MAX;
        down = e->down && e->passes < conf->passes;

    } else {
        e->passes = 0;
        e->fails += e->fails < UINT16_MAX;
        down = e->down || e->fails >= conf->fails;
    }

    if (down == e->down) {
        return 0;
    }

    e->down = down;

    return 1;
}


ngx_msec_int_t
ngx_http_gateway_health_result(ngx_http_gateway_health_peer_t *p,
    ngx_uint_t passed, int32_t time, ngx_uint_t *changed)
{
    ngx_msec_int_t                    delay;
    ngx_http_gateway_health_entry_t  *e;
    ngx_http_gateway_health_shctx_t  *sh;

    *changed = 0;

    e = ngx_http_gateway_health_enter(p);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    delay = NGX_DECLINED;

    if (e->owner == ngx_http_gateway_slot + 1) {
        e->last_check = ngx_http_gateway_time_ms();
        e->time = time;
        delay = ngx_http_gateway_health_until(e->due);

        *changed = ngx_http_gateway_health_note(e, p->conf, passed);

        if (*changed) {
            sh = ngx_http_gateway_health_shared();
            sh->generation++;
        }
    }

    ngx_http_gateway_health_unlock();

    return delay;
}


void
ngx_http_gateway_health_release(ngx_uint_t slot)
{
    ngx_uint_t                        i;
    ngx_http_gateway_health_entry_t  *e;
    ngx_http_gateway_health_shctx_t  *sh;

    if (slot >= NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return;
    }

    sh = ngx_http_gateway_health_lock();
    if (sh == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_GATEWAY_HEALTH_ENTRIES; i++) {
        e = &sh->entries[i];

        if (!e->used) {
            break;
        }

        if (e->owner == slot + 1) {
            e->owner = 0;
        }
    }

    ngx_http_gateway_health_unlock();
}
