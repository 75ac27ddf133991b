/*
 * The breakers in shared memory: see ngx_http_gateway_breaker_int.h.
 */

#include "ngx_http_gateway_breaker_int.h"
#include "ngx_http_gateway_shm.h"
#include "ngx_http_gateway_peers.h"


static ngx_int_t ngx_http_gateway_breaker_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_gateway_breaker_create(
    ngx_http_gateway_breaker_zone_t *zone);
static ngx_int_t ngx_http_gateway_breaker_obtain_all(
    ngx_http_gateway_breaker_conf_t *bcf);


static ngx_http_gateway_breaker_zone_t *
ngx_http_gateway_breaker_zone_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                               i;
    ngx_http_gateway_breaker_zone_t         *zone, **zones;
    ngx_http_gateway_breaker_main_conf_t    *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_breaker_module);
    zones = bmcf->zones.elts;

    for (i = 0; i < bmcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    zones = ngx_array_push(&bmcf->zones);
    zone = ngx_pcalloc(cf->pool, sizeof(*zone));

    if (zones == NULL || zone == NULL
        || ngx_array_init(&zone->confs, cf->pool, 2, sizeof(void *))
           != NGX_OK)
    {
        return NULL;
    }

    zone->name = *name;
    *zones = zone;

    return zone;
}


/* zone=name:size, or zone=name where another gives the size. */

char *
ngx_http_gateway_breaker_zone(ngx_conf_t *cf,
    ngx_http_gateway_breaker_conf_t *bcf, ngx_str_t *value)
{
    u_char                            *p;
    ssize_t                            size;
    ngx_str_t                          name, s;
    ngx_http_gateway_breaker_zone_t   *zone;
    ngx_http_gateway_breaker_conf_t  **confs;

    name.data = value->data + 5;
    name.len = value->len - 5;
    size = 0;

    p = ngx_strlchr(name.data, name.data + name.len, ':');

    if (p) {
        s.data = p + 1;
        s.len = name.data + name.len - s.data;
        name.len = p - name.data;

        size = ngx_parse_size(&s);

        if (size < (ssize_t) (8 * ngx_pagesize)) {
            return "a zone of 32k or more such as \"zone=breakers:64k\" is "
                   "accepted";
        }
    }

    if (name.len == 0) {
        return "\"zone=name:size\" such as \"zone=breakers:64k\" is accepted";
    }

    zone = ngx_http_gateway_breaker_zone_get(cf, &name);
    if (zone == NULL) {
        return "there is no memory";
    }

    confs = ngx_array_push(&zone->confs);
    if (confs == NULL) {
        return "there is no memory";
    }

    *confs = bcf;

    zone->shm_zone = ngx_http_gateway_shm_add(cf, "gateway_breaker", &name,
                                              size,
                                              &ngx_http_gateway_breaker_module);
    if (zone->shm_zone == NULL) {
        return "the size of a zone is given once";
    }

    zone->shm_zone->init = ngx_http_gateway_breaker_init_zone;
    zone->shm_zone->data = zone;

    bcf->zone = zone;

    return NULL;
}


ngx_int_t
ngx_http_gateway_breaker_zones_ready(ngx_conf_t *cf)
{
    ngx_uint_t                              i;
    ngx_http_gateway_breaker_zone_t       **zones;
    ngx_http_gateway_breaker_main_conf_t   *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_breaker_module);
    zones = bmcf->zones.elts;

    for (i = 0; i < bmcf->zones.nelts; i++) {

        if (zones[i]->shm_zone->shm.size == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "zone \"%V\" of gateway_breaker has no size, write "
                          "\"zone=%V:64k\" in one of the upstreams that use "
                          "it", &zones[i]->name, &zones[i]->name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_http_gateway_breaker_main_conf_t *
ngx_http_gateway_breaker_main_conf(void)
{
    return ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_gateway_breaker_module);
}


static ngx_int_t
ngx_http_gateway_breaker_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_int_t                          rc;
    ngx_uint_t                         i, k;
    ngx_http_gateway_breaker_sh_t     *sh;
    ngx_http_gateway_breaker_conf_t  **confs;
    ngx_http_gateway_breaker_zone_t   *zone, *old;
    ngx_http_gateway_breaker_entry_t **e;

    zone = shm_zone->data;
    old = data;

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old == NULL && !shm_zone->shm.exists
        && ngx_http_gateway_breaker_create(zone) != NGX_OK)
    {
        return NGX_ERROR;
    }

    zone->sh = zone->shpool->data;
    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    sh->epoch++;

    /* those of the running configuration, which it keeps if this one fails */

    confs = old ? old->confs.elts : NULL;

    for (i = 0; old && i < old->confs.nelts; i++) {

        if (confs[i]->entry) {
            confs[i]->entry->epoch = sh->epoch;
        }

        e = confs[i]->entries.elts;

        for (k = 0; k < confs[i]->entries.nelts; k++) {
            e[k]->epoch = sh->epoch;
        }
    }

    rc = NGX_OK;
    confs = zone->confs.elts;

    for (i = 0; rc == NGX_OK && i < zone->confs.nelts; i++) {
        rc = ngx_http_gateway_breaker_obtain_all(confs[i]);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "zone \"%V\" of gateway_breaker is too small: it has "
                      "room for %ui upstreams or servers, make it larger",
                      &zone->name, sh->nentries);
    }

    return rc;
}


static ngx_int_t
ngx_http_gateway_breaker_create(ngx_http_gateway_breaker_zone_t *zone)
{
    size_t                          size;
    ngx_http_gateway_breaker_sh_t  *sh;

    size = zone->shpool->pfree * ngx_pagesize;

    sh = ngx_slab_calloc(zone->shpool, size);
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->nentries = (size - offsetof(ngx_http_gateway_breaker_sh_t, entries))
                   / sizeof(ngx_http_gateway_breaker_entry_t);

    zone->shpool->data = sh;

    return NGX_OK;
}


/*
 * Finds or makes; takes what no configuration has any more, where there is no
 * room. NULL: all are in use. Called with the mutex.
 */

static ngx_http_gateway_breaker_entry_t *
ngx_http_gateway_breaker_obtain(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server)
{
    u_char                             key[NGX_HTTP_GATEWAY_BREAKER_KEY];
    size_t                             len;
    uint32_t                           hash;
    ngx_uint_t                         i;
    ngx_http_gateway_breaker_sh_t     *sh;
    ngx_http_gateway_breaker_entry_t  *e, *place;

    static ngx_str_t  none = ngx_string("");

    sh = bcf->zone->sh;

    len = ngx_snprintf(key, sizeof(key), "%V%s%V", &bcf->upstream->host,
                       server ? "\n" : "", server ? server : &none)
          - key;
    hash = ngx_crc32_short(key, len);
    place = NULL;

    for (i = 0; i < sh->nentries; i++) {
        e = &sh->entries[i];

        if (e->len == len && e->hash == hash
            && ngx_memcmp(e->key, key, len) == 0)
        {
            e->epoch = sh->epoch;
            return e;
        }

        if (e->len == 0) {
            if (place == NULL || place->len) {
                place = e;
            }

        } else if (place == NULL && e->epoch != sh->epoch) {
            place = e;
        }
    }

    e = place;

    if (e) {
        ngx_memzero(e, sizeof(*e));
        ngx_memcpy(e->key, key, len);
        e->len = len;
        e->hash = hash;
        e->name_len = bcf->upstream->host.len;
        e->epoch = sh->epoch;
    }

    return e;
}


static ngx_int_t
ngx_http_gateway_breaker_obtain_all(ngx_http_gateway_breaker_conf_t *bcf)
{
    ngx_http_upstream_rr_peer_t        *peer;
    ngx_http_upstream_rr_peers_t       *peers;
    ngx_http_gateway_breaker_entry_t  **e;

    if (!bcf->by_peer) {
        bcf->entry = ngx_http_gateway_breaker_obtain(bcf, NULL);

        return bcf->entry ? NGX_OK : NGX_ERROR;
    }

    for (peers = bcf->upstream->peer.data; peers; peers = peers->next) {
        for (peer = peers->peer; peer; peer = peer->next) {

            e = ngx_array_push(&bcf->entries);
            if (e == NULL) {
                return NGX_ERROR;
            }

            *e = ngx_http_gateway_breaker_obtain(bcf, &peer->name);

            if (*e == NULL) {
                bcf->entries.nelts--;
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_str_t
ngx_http_gateway_breaker_server(ngx_http_gateway_breaker_entry_t *e)
{
    ngx_str_t  server;

    server.data = e->key + e->name_len + 1;
    server.len = e->len - e->name_len - 1;

    return server;
}


ngx_http_gateway_breaker_entry_t *
ngx_http_gateway_breaker_of_server(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server)
{
    ngx_str_t                           s;
    ngx_uint_t                          i;
    ngx_http_gateway_breaker_entry_t   *found, **e;

    e = bcf->entries.elts;

    for (i = 0; i < bcf->entries.nelts; i++) {
        s = ngx_http_gateway_breaker_server(e[i]);

        if (s.len == server->len
            && ngx_memcmp(s.data, server->data, s.len) == 0)
        {
            return e[i];
        }
    }

    /* one that came up since, by "resolve" */

    if (bcf->upstream->host.len + server->len + 1
        > NGX_HTTP_GATEWAY_BREAKER_KEY)
    {
        return NULL;
    }

    ngx_shmtx_lock(&bcf->zone->shpool->mutex);
    found = ngx_http_gateway_breaker_obtain(bcf, server);
    ngx_shmtx_unlock(&bcf->zone->shpool->mutex);

    if (found) {
        e = ngx_array_push(&bcf->entries);
        if (e == NULL) {
            return NULL;
        }

        *e = found;
    }

    return found;
}


/* A slot's probes, less than a worker may have requests. */

static void
ngx_http_gateway_breaker_hold(ngx_http_gateway_breaker_entry_t *e,
    gw_breaker_ticket_t *ticket, ngx_int_t n)
{
    if (!ticket->probe) {
        return;
    }

    if (n < 0 && e->held[ngx_http_gateway_slot] == 0) {

        /* was given back already */
        ticket->probe = 0;
        return;
    }

    e->held[ngx_http_gateway_slot] += n;
}


/* The most servers that may be out at a time. */

static ngx_uint_t
ngx_http_gateway_breaker_limit(ngx_http_gateway_breaker_conf_t *bcf)
{
    ngx_uint_t                     n;
    ngx_http_upstream_rr_peers_t  *peers;

    n = 0;

    for (peers = bcf->upstream->peer.data; peers; peers = peers->next) {
        n += peers->number;
    }

    n = n * bcf->max_ejected / 100;

    return ngx_max(n, 1);
}


/*
 * After a transition of one: those that are not closed are out, as far as the
 * limit allows, and stay so until they are closed again.
 */

static void
ngx_http_gateway_breaker_eject(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_gateway_breaker_entry_t *changed)
{
    ngx_uint_t                          i, n, limit;
    ngx_http_gateway_breaker_entry_t  **e;

    if (!bcf->by_peer) {
        return;
    }

    limit = ngx_http_gateway_breaker_limit(bcf);
    e = bcf->entries.elts;
    n = 0;

    for (i = 0; i < bcf->entries.nelts; i++) {
        if (e[i]->breaker.state == GW_BREAKER_CLOSED) {
            e[i]->out = 0;
        }

        n += e[i]->out;
    }

    if (changed->breaker.state == GW_BREAKER_OPEN && !changed->out
        && n < limit)
    {
        changed->out = 1;
        n++;
    }

    for (i = 0; i < bcf->entries.nelts && n < limit; i++) {
        if (e[i]->breaker.state == GW_BREAKER_OPEN && !e[i]->out) {
            e[i]->out = 1;
            n++;
        }
    }
}


/* Called with the mutex after a change; returns what it is to be told of. */

static uint64_t
ngx_http_gateway_breaker_changed(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_gateway_breaker_entry_t *e)
{
    bcf->zone->sh->generation++;

    ngx_http_gateway_breaker_eject(bcf, e);

    return gw_breaker_wait(&e->breaker, ngx_current_msec);
}


static void
ngx_http_gateway_breaker_tell(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_gateway_breaker_entry_t *e, gw_breaker_change_e change,
    ngx_uint_t kind, uint64_t wait, ngx_log_t *log)
{
    ngx_str_t  server;

    if (bcf->by_peer) {
        server = ngx_http_gateway_breaker_server(e);
    }

    ngx_http_gateway_breaker_report(bcf, bcf->by_peer ? &server : NULL,
                                    change, kind, wait, log);
}


ngx_int_t
ngx_http_gateway_breaker_begin(ngx_http_gateway_breaker_ctx_t *ctx,
    ngx_http_gateway_breaker_conf_t *bcf, ngx_http_gateway_breaker_entry_t *e)
{
    int                   rc;
    uint64_t              wait;
    gw_breaker_change_e   change;

    wait = 0;

    ngx_shmtx_lock(&bcf->zone->shpool->mutex);

    rc = gw_breaker_admit(&e->breaker, &bcf->core, ngx_current_msec,
                          &ctx->ticket, &change);

    ctx->state = e->breaker.state;

    if (rc == GW_OK) {
        ngx_http_gateway_breaker_hold(e, &ctx->ticket, 1);

    } else {
        ctx->wait = gw_breaker_wait(&e->breaker, ngx_current_msec);

        /* more are open than may be out: this one is not */

        if (bcf->by_peer && !e->out) {
            rc = GW_OK;
            ctx->ticket.generation--;
        }
    }

    if (change) {
        wait = ngx_http_gateway_breaker_changed(bcf, e);
    }

    ngx_shmtx_unlock(&bcf->zone->shpool->mutex);

    ctx->decided = 1;

    if (rc == GW_OK) {
        ctx->entry = e;
        ctx->conf = bcf;
        ctx->header = 0;
    }

    if (change) {
        ngx_http_gateway_breaker_tell(bcf, e, change, 0, wait,
                                      ctx->request->connection->log);
    }

    return rc == GW_OK ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_gateway_breaker_end(ngx_http_gateway_breaker_ctx_t *ctx,
    gw_breaker_outcome_e outcome, ngx_uint_t kind)
{
    uint64_t                           wait;
    gw_breaker_change_e                change;
    ngx_http_gateway_breaker_conf_t   *bcf;
    ngx_http_gateway_breaker_entry_t  *e;

    e = ctx->entry;
    bcf = ctx->conf;

    if (e == NULL) {
        return;
    }

    ctx->entry = NULL;
    wait = 0;

    if (outcome == GW_BREAKER_NOTHING && !ctx->ticket.probe) {
        return;
    }

    ngx_shmtx_lock(&bcf->zone->shpool->mutex);

    ngx_http_gateway_breaker_hold(e, &ctx->ticket, -1);

    change = gw_breaker_done(&e->breaker, &bcf->core, &ctx->ticket, outcome,
                             ngx_current_msec, (uint32_t) ngx_random());

    if (change) {
        wait = ngx_http_gateway_breaker_changed(bcf, e);
    }

    ngx_shmtx_unlock(&bcf->zone->shpool->mutex);

    if (change) {
        ngx_http_gateway_breaker_tell(bcf, e, change, kind, wait,
                                      ctx->request->connection->log);
    }
}


/* Without the mutex: at worst one attempt more is asked for, and refused. */

ngx_uint_t
ngx_http_gateway_breaker_closed_to(ngx_http_gateway_breaker_conf_t *bcf)
{
    gw_breaker_t  *b;

    if (bcf->by_peer) {
        return 0;
    }

    b = &bcf->entry->breaker;

    switch (gw_breaker_state(b, ngx_current_msec)) {

    case GW_BREAKER_CLOSED:
        return 0;

    case GW_BREAKER_OPEN:
        return 1;

    default: /* GW_BREAKER_HALF_OPEN */
        return b->probes >= bcf->core.probes;
    }
}


static void
ngx_http_gateway_breaker_sweep_one(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_gateway_breaker_entry_t *e, ngx_msec_t *next)
{
    uint64_t             wait;
    gw_breaker_change_e  change;

    /* a look without the mutex; the next comes soon */

    if (e->breaker.state != GW_BREAKER_OPEN) {
        return;
    }

    wait = gw_breaker_wait(&e->breaker, ngx_current_msec);

    if (wait) {
        if (*next == 0 || wait < *next) {
            *next = wait;
        }

        return;
    }

    ngx_shmtx_lock(&bcf->zone->shpool->mutex);

    change = gw_breaker_sweep(&e->breaker, ngx_current_msec);

    if (change) {
        (void) ngx_http_gateway_breaker_changed(bcf, e);
    }

    ngx_shmtx_unlock(&bcf->zone->shpool->mutex);

    if (change) {
        ngx_http_gateway_breaker_tell(bcf, e, change, 0, 0, ngx_cycle->log);
    }
}


ngx_msec_t
ngx_http_gateway_breaker_sweep(void)
{
    ngx_msec_t                              next;
    ngx_uint_t                              i, k, n;
    ngx_http_gateway_breaker_conf_t       **confs;
    ngx_http_gateway_breaker_zone_t       **zones;
    ngx_http_gateway_breaker_entry_t      **e;
    ngx_http_gateway_breaker_main_conf_t   *bmcf;

    bmcf = ngx_http_gateway_breaker_main_conf();
    next = 0;

    if (bmcf == NULL) {
        return 0;
    }

    zones = bmcf->zones.elts;

    for (i = 0; i < bmcf->zones.nelts; i++) {
        confs = zones[i]->confs.elts;

        for (k = 0; k < zones[i]->confs.nelts; k++) {

            if (confs[k]->entry) {
                ngx_http_gateway_breaker_sweep_one(confs[k], confs[k]->entry,
                                                   &next);
            }

            e = confs[k]->entries.elts;

            for (n = 0; n < confs[k]->entries.nelts; n++) {
                ngx_http_gateway_breaker_sweep_one(confs[k], e[n], &next);
            }
        }
    }

    return next;
}


/*
 * The probes of a dead worker. Those under way are counted anew, since it may
 * have died between one count and the other.
 */

void
ngx_http_gateway_breaker_died(ngx_uint_t slot)
{
    uint32_t                                held;
    ngx_uint_t                              i, k, n;
    ngx_http_gateway_breaker_sh_t          *sh;
    ngx_http_gateway_breaker_zone_t       **zones;
    ngx_http_gateway_breaker_entry_t       *e;
    ngx_http_gateway_breaker_main_conf_t   *bmcf;

    bmcf = ngx_http_gateway_breaker_main_conf();

    if (bmcf == NULL) {
        return;
    }

    zones = bmcf->zones.elts;

    for (i = 0; i < bmcf->zones.nelts; i++) {
        sh = zones[i]->sh;

        ngx_shmtx_lock(&zones[i]->shpool->mutex);

        for (k = 0; k < sh->nentries; k++) {
            e = &sh->entries[k];
            e->held[slot] = 0;

            if (e->breaker.probes == 0) {
                continue;
            }

            held = 0;

            for (n = 0; n <= NGX_HTTP_GATEWAY_MAX_WORKERS; n++) {
                held += e->held[n];
            }

            if (held < e->breaker.probes) {
                gw_breaker_release(&e->breaker, e->breaker.probes - held);
            }
        }

        ngx_shmtx_unlock(&zones[i]->shpool->mutex);
    }
}


void
ngx_http_gateway_breaker_mark(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_http_upstream_srv_conf_t *us)
{
    uint64_t                           wait;
    ngx_uint_t                         out;
    ngx_http_upstream_rr_peer_t       *peer;
    ngx_http_upstream_rr_peers_t      *peers;
    ngx_http_gateway_breaker_entry_t  *e;

    bcf->generation = bcf->zone->sh->generation;
    bcf->due = 0;

    for (peers = us->peer.data; peers; peers = peers->next) {

        ngx_http_upstream_rr_peers_wlock(peers);

        for (peer = peers->peer; peer; peer = peer->next) {

            e = ngx_http_gateway_breaker_of_server(bcf, &peer->name);
            out = 0;

            if (e && e->out) {
                wait = gw_breaker_wait(&e->breaker, ngx_current_msec);

                if (wait) {
                    out = NGX_HTTP_GATEWAY_DOWN_BREAKER;

                    if (bcf->due == 0 || ngx_current_msec + wait < bcf->due) {
                        bcf->due = ngx_current_msec + wait;
                    }
                }
            }

            peer->down = (peer->down & ~NGX_HTTP_GATEWAY_DOWN_BREAKER) | out;
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }
}


static char *
ngx_http_gateway_breaker_look_peers(ngx_http_gateway_breaker_conf_t *bcf)
{
    ngx_uint_t                          i, n[3];
    ngx_http_gateway_breaker_entry_t  **e;

    ngx_memzero(n, sizeof(n));

    e = bcf->entries.elts;

    for (i = 0; i < bcf->entries.nelts; i++) {
        n[gw_breaker_state(&e[i]->breaker, ngx_current_msec)]++;
    }

    return ngx_http_gateway_breaker_name(
               n[GW_BREAKER_CLOSED] ? GW_BREAKER_CLOSED
               : n[GW_BREAKER_HALF_OPEN] ? GW_BREAKER_HALF_OPEN
                                         : GW_BREAKER_OPEN);
}


static ngx_http_gateway_breaker_conf_t *
ngx_http_gateway_breaker_conf_of(ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_gateway_breaker_conf_t  *bcf;

    if (us->srv_conf == NULL) {
        return NULL;
    }

    bcf = ngx_http_conf_upstream_srv_conf(us, ngx_http_gateway_breaker_module);

    return bcf && bcf->zone ? bcf : NULL;
}


char *
ngx_http_gateway_breaker_look(ngx_http_upstream_srv_conf_t *us,
    ngx_str_t *server)
{
    ngx_http_gateway_breaker_conf_t   *bcf;
    ngx_http_gateway_breaker_entry_t  *e;

    bcf = ngx_http_gateway_breaker_conf_of(us);

    if (bcf == NULL || (server && !bcf->by_peer)) {
        return NULL;
    }

    if (server == NULL && bcf->by_peer) {
        return ngx_http_gateway_breaker_look_peers(bcf);
    }

    e = server ? ngx_http_gateway_breaker_of_server(bcf, server) : bcf->entry;

    return e ? ngx_http_gateway_breaker_name(
                   gw_breaker_state(&e->breaker, ngx_current_msec))
             : NULL;
}


ngx_uint_t
ngx_http_gateway_breaker_by_peer(ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_gateway_breaker_conf_t  *bcf;

    bcf = ngx_http_gateway_breaker_conf_of(us);

    return bcf && bcf->by_peer;
}
