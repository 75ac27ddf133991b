/*
 * gateway_cache_zone: what it says, its shared memory and its counters.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_shm.h"
#include "ngx_http_gateway_worker.h"
#include "../src/siphash.h"


static ngx_int_t ngx_http_gateway_cache_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_gateway_cache_died(ngx_uint_t slot);


static ngx_http_gateway_listener_t  ngx_http_gateway_cache_listener = {
    ngx_http_gateway_cache_woken,
    ngx_http_gateway_cache_died
};


ngx_http_gateway_cache_zone_t *
ngx_http_gateway_cache_zone_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                            i;
    ngx_http_gateway_cache_zone_t        *zone, **zones;
    ngx_http_gateway_cache_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_cache_module);
    zones = cmcf->zones.elts;

    for (i = 0; i < cmcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    zones = ngx_array_push(&cmcf->zones);
    zone = ngx_pcalloc(cf->pool, sizeof(*zone));

    if (zones == NULL || zone == NULL) {
        return NULL;
    }

    zone->name = *name;
    *zones = zone;

    return zone;
}


static void
ngx_http_gateway_cache_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    ngx_str_t                       labels;
    ngx_uint_t                      i;
    gw_store_stat_t                 stat;
    ngx_http_gateway_cache_zone_t  *zone = data;

    static char  *kinds[] = { "used", "total" };

    labels.data = ngx_pnalloc(pool,
                              zone->label.len + sizeof(",kind=\"total\""));
    if (labels.data == NULL) {
        return;
    }

    gw_store_stat(ngx_http_gateway_cache_lock(zone), &stat);
    ngx_http_gateway_cache_unlock(zone);

    for (i = 0; i < 2; i++) {
        labels.len = ngx_sprintf(labels.data, "%V,kind=\"%s\"", &zone->label,
                                 kinds[i])
                     - labels.data;

        emit(ctx, "gateway_zone_bytes", &labels,
             "Shared memory of a zone in bytes.", NGX_HTTP_GATEWAY_GAUGE,
             i ? (int64_t) zone->shm_zone->shm.size
               : (int64_t) (zone->shm_zone->shm.size - stat.total
                            + stat.used));
    }
}


static ngx_int_t
ngx_http_gateway_cache_metrics(ngx_conf_t *cf,
    ngx_http_gateway_cache_zone_t *zone)
{
    ngx_str_t    labels, *status;
    ngx_uint_t   i;

    if (ngx_http_gateway_metric_label(cf, &zone->label, "zone", &zone->name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 1; i < NGX_HTTP_GATEWAY_CACHE_STATUSES; i++) {
        status = &ngx_http_gateway_cache_statuses[i];

        labels.data = ngx_pnalloc(cf->pool, zone->label.len + status->len
                                            + sizeof(",status=\"\""));
        if (labels.data == NULL) {
            return NGX_ERROR;
        }

        labels.len = ngx_sprintf(labels.data, "%V,status=\"%V\"",
                                 &zone->label, status)
                     - labels.data;

        ngx_strlow(labels.data + zone->label.len,
                   labels.data + zone->label.len,
                   labels.len - zone->label.len);

        zone->requests[i] = ngx_http_gateway_metric(cf,
                                NGX_HTTP_GATEWAY_COUNTER,
                                "gateway_cache_requests_total", &labels,
                                "Requests by what the cache did.");
        if (zone->requests[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_gateway_collector(cf, ngx_http_gateway_cache_collect,
                                      zone);
}


/* What Cache-Status says of every hit, but the number at its end. */

static ngx_int_t
ngx_http_gateway_cache_hit_text(ngx_conf_t *cf,
    ngx_http_gateway_cache_zone_t *zone)
{
    u_char             *p;
    size_t              size, len;
    gw_cache_status_t   s;

    ngx_memzero(&s, sizeof(s));
    s.cache.data = zone->name.data;
    s.cache.len = zone->name.len;
    s.hit = true;

    size = 2 * zone->name.len + GW_CACHE_STATUS_LEN;

    p = ngx_pnalloc(cf->pool, size + sizeof("; ttl="));
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = gw_cache_status_write(p, size, &s);

    zone->hit.data = p;
    zone->hit.len = ngx_cpymem(p + len, "; ttl=", 6) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_cache_zone_params(ngx_conf_t *cf,
    ngx_http_gateway_cache_zone_t *zone)
{
    ssize_t      n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    value = cf->args->elts;

    zone->max_object = 1024 * 1024;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "redis=", 6) == 0
            && value[i].len > 6 && zone->redis == NULL)
        {
            s.data = value[i].data + 6;
            s.len = value[i].len - 6;

            if (ngx_http_gateway_cache_remote_use(cf, zone, &s) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "max_object=", 11) == 0) {
            s.data = value[i].data + 11;
            s.len = value[i].len - 11;
            n = ngx_parse_size(&s);

            if (n > 0) {
                zone->max_object = n;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in "
                           "\"gateway_cache_zone\": \"max_object=size\" such "
                           "as \"max_object=1m\", and \"redis=name\" of a "
                           "\"gateway_redis\", are accepted", &value[i]);
        return NGX_ERROR;
    }

    return NGX_OK;
}


char *
ngx_http_gateway_cache_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    size_t                          size;
    ngx_str_t                      *value, name;
    ngx_http_gateway_cache_zone_t  *zone;

    value = cf->args->elts;

    if (ngx_http_gateway_shm_parse(cf, &value[1],
                                   NGX_HTTP_GATEWAY_CACHE_MIN_ZONE, &name,
                                   &size)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\" in \"gateway_cache_zone\": "
                           "\"name:size\" such as \"pages:100m\" is "
                           "accepted", &value[1]);
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_gateway_cache_zone_get(cf, &name);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zone->shm_zone) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "gateway_cache_zone \"%V\" is duplicate, define "
                           "it once", &name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_gateway_cache_zone_params(cf, zone) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_gateway_cache_hit_text(cf, zone) != NGX_OK
        || ngx_http_gateway_cache_metrics(cf, zone) != NGX_OK
        || ngx_http_gateway_worker_listen(cf,
                                          &ngx_http_gateway_cache_listener)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    zone->shm_zone = ngx_http_gateway_shm_add(cf, "gateway_cache_zone", &name,
                                              size,
                                              &ngx_http_gateway_cache_module);
    if (zone->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm_zone->init = ngx_http_gateway_cache_init_zone;
    zone->shm_zone->data = zone;

    return NGX_CONF_OK;
}


static void
ngx_http_gateway_cache_store_conf(ngx_http_gateway_cache_zone_t *zone,
    gw_store_conf_t *conf)
{
    conf->meta = sizeof(ngx_http_gateway_cache_meta_t);
    conf->max_object = zone->max_object;
}


/* All pages but the first are the store's. */

static ngx_int_t
ngx_http_gateway_cache_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_gateway_cache_zone_t *old = data;

    gw_store_conf_t                 conf;
    ngx_http_gateway_cache_sh_t    *sh;
    ngx_http_gateway_cache_zone_t  *zone;

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

    sh = ngx_slab_calloc(zone->shpool, sizeof(*sh));

    if (sh == NULL || RAND_bytes((u_char *) sh->secret, sizeof(sh->secret))
                      != 1)
    {
        goto failed;
    }

    for (sh->size = zone->shpool->pfree * ngx_pagesize; sh->size;
         sh->size -= ngx_pagesize)
    {
        sh->base = ngx_slab_alloc(zone->shpool, sh->size);
        if (sh->base) {
            break;
        }
    }

    if (sh->size == 0) {
        goto failed;
    }

    ngx_http_gateway_cache_store_conf(zone, &conf);

    sh->store = gw_store_init(sh->base, sh->size, &conf);
    if (sh->store == NULL) {
        goto failed;
    }

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "could not lay out gateway_cache_zone \"%V\", make it "
                  "larger", &zone->name);

    return NGX_ERROR;
}


/* In a worker: what the new configuration says holds from now on. */

void
ngx_http_gateway_cache_zone_adopt(ngx_http_gateway_cache_zone_t *zone)
{
    gw_store_conf_t  conf;

    ngx_http_gateway_cache_store_conf(zone, &conf);

    (void) ngx_http_gateway_cache_lock(zone);
    (void) gw_store_open(zone->sh->base, zone->sh->size, &conf);
    ngx_http_gateway_cache_unlock(zone);
}


void
ngx_http_gateway_cache_wake(gw_store_wake_t *wake)
{
    uint64_t    slots;
    ngx_uint_t  i;

    for (i = 0; i < GW_STORE_SLOTS / 64; i++) {
        for (slots = wake->slots[i]; slots; slots &= slots - 1) {
            ngx_http_gateway_worker_wake(i * 64 + __builtin_ctzll(slots));
        }
    }
}


static void
ngx_http_gateway_cache_died(ngx_uint_t slot)
{
    int                                   rc;
    ngx_uint_t                            i;
    gw_store_wake_t                       wake;
    ngx_http_gateway_cache_zone_t       **zones;
    ngx_http_gateway_cache_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_gateway_cache_module);
    if (cmcf == NULL) {
        return;
    }

    zones = cmcf->zones.elts;

    for (i = 0; i < cmcf->zones.nelts; i++) {
        ngx_memzero(&wake, sizeof(wake));

        do {
            rc = gw_store_release(ngx_http_gateway_cache_lock(zones[i]),
                                  (unsigned) slot, &wake);
            ngx_http_gateway_cache_unlock(zones[i]);
        } while (rc == GW_AGAIN);

        ngx_http_gateway_cache_wake(&wake);

        if (zones[i]->redis) {
            ngx_http_gateway_cache_remote_died(zones[i], slot);
        }
    }
}


void
ngx_http_gateway_cache_digest(ngx_http_gateway_cache_zone_t *zone,
    const void *data, size_t len, unsigned char *digest)
{
    uint64_t  d[2];

    gw_siphash128(zone->sh->secret, data, len, d);
    ngx_memcpy(digest, d, GW_STORE_DIGEST);
}


uint64_t
ngx_http_gateway_cache_tag(ngx_http_gateway_cache_zone_t *zone, gw_str_t tag)
{
    return gw_siphash(zone->sh->secret, tag.data, tag.len);
}


ngx_uint_t
ngx_http_gateway_cache_purge_one(ngx_http_gateway_cache_zone_t *zone,
    ngx_str_t *key)
{
    int               rc;
    unsigned char     digest[GW_STORE_DIGEST];
    gw_store_purge_t  purge;

    ngx_http_gateway_cache_digest(zone, key->data, key->len, digest);
    ngx_memzero(&purge, sizeof(purge));

    do {
        rc = gw_store_purge_key(ngx_http_gateway_cache_lock(zone), &purge,
                                digest);
        ngx_http_gateway_cache_unlock(zone);
    } while (rc == GW_AGAIN);

    do {
        rc = gw_store_purge_end(ngx_http_gateway_cache_lock(zone), &purge);
        ngx_http_gateway_cache_unlock(zone);
    } while (rc == GW_AGAIN);

    if (zone->redis) {
        ngx_http_gateway_cache_purge_others(zone, key);
    }

    return purge.purged;
}
