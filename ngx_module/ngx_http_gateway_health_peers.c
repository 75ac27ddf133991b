/*
 * A worker's view of the peers that are checked: see the header.
 *
 * Peers are met anew at each look, since `resolve` changes them at run time,
 * and since without `zone` each worker has a copy of its own to mark.
 */

#include "ngx_http_gateway_health.h"
#include "ngx_http_gateway_peers.h"
#include "ngx_http_gateway_worker.h"


/* the generation that this worker's peers were last marked by */
static ngx_atomic_uint_t  ngx_http_gateway_health_applied;

/* told once in a process */
static ngx_uint_t         ngx_http_gateway_health_full;


static ngx_http_gateway_health_main_conf_t *
ngx_http_gateway_health_conf(void)
{
    return ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_gateway_health_module);
}


/* From the heap: a worker lives longer than peers that come and go. */

static ngx_http_gateway_health_peer_t *
ngx_http_gateway_health_add(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_http_upstream_rr_peer_t *peer, u_char *key)
{
    ngx_http_gateway_health_peer_t  *p;

    if (peer->socklen > (socklen_t) sizeof(p->sockaddr)) {
        return NULL;
    }

    p = ngx_calloc(sizeof(*p) + peer->name.len, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    p->conf = conf;
    p->entry = NGX_HTTP_GATEWAY_HEALTH_NONE;
    ngx_memcpy(p->key, key, NGX_HTTP_GATEWAY_HEALTH_KEY);

    p->name.data = (u_char *) p + sizeof(*p);
    p->name.len = peer->name.len;
    ngx_memcpy(p->name.data, peer->name.data, peer->name.len);

    p->socklen = peer->socklen;
    ngx_memcpy(&p->sockaddr, peer->sockaddr, peer->socklen);

    ngx_queue_insert_tail(&conf->peers, &p->queue);

    return p;
}


static void
ngx_http_gateway_health_remove(ngx_http_gateway_health_peer_t *p)
{
    ngx_http_gateway_health_end(p);
    ngx_queue_remove(&p->queue);
    ngx_free(p);
}


/* The peer of that key. They are met in the order in which they were added,
 * so the one after the last one found is tried first. */

static ngx_http_gateway_health_peer_t *
ngx_http_gateway_health_known(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_queue_t **last, u_char *key)
{
    ngx_queue_t                     *q, *first;
    ngx_http_gateway_health_peer_t  *p;

    if (ngx_queue_empty(&conf->peers)) {
        return NULL;
    }

    first = ngx_queue_next(*last);
    q = first;

    do {
        if (q != ngx_queue_sentinel(&conf->peers)) {
            p = ngx_queue_data(q, ngx_http_gateway_health_peer_t, queue);

            if (ngx_memcmp(p->key, key, NGX_HTTP_GATEWAY_HEALTH_KEY) == 0) {
                *last = q;
                return p;
            }
        }

        q = ngx_queue_next(q);

    } while (q != first);

    return NULL;
}


static ngx_uint_t
ngx_http_gateway_health_is_down(ngx_http_gateway_health_shctx_t *sh,
    ngx_http_gateway_health_peer_t *p)
{
    return p && p->entry != NGX_HTTP_GATEWAY_HEALTH_NONE
           && sh->entries[p->entry].down;
}


/* One server of the upstream: what the configuration has taken out is neither
 * checked nor marked. */

static void
ngx_http_gateway_health_meet(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_http_upstream_rr_peer_t *peer, ngx_queue_t **last, ngx_uint_t number,
    ngx_uint_t total)
{
    u_char                           key[NGX_HTTP_GATEWAY_HEALTH_KEY];
    ngx_uint_t                       down;
    ngx_http_gateway_health_peer_t  *p;

    p = NULL;
    down = peer->down & ~(ngx_uint_t) (NGX_HTTP_GATEWAY_DOWN_HEALTH
                                       |NGX_HTTP_GATEWAY_DOWN_BREAKER);

    if (!down) {
        ngx_http_gateway_health_key(key, conf->us, peer);
        p = ngx_http_gateway_health_known(conf, last, key);

        if (p == NULL) {
            p = ngx_http_gateway_health_add(conf, peer, key);
        }
    }

    if (p && p->look != conf->look) {
        p->look = conf->look;
        p->number = number;
        p->total = total;

        ngx_http_gateway_health_seen(p);
    }

    if (ngx_http_gateway_health_is_down(ngx_http_gateway_health_shared(), p)) {
        peer->down |= NGX_HTTP_GATEWAY_DOWN_HEALTH;

    } else {
        peer->down &= ~(ngx_uint_t) NGX_HTTP_GATEWAY_DOWN_HEALTH;
    }
}


static void
ngx_http_gateway_health_meet_all(ngx_http_gateway_health_srv_conf_t *conf)
{
    ngx_uint_t                     number, total;
    ngx_queue_t                   *last;
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    conf->look++;

    number = 0;
    total = 0;
    last = ngx_queue_sentinel(&conf->peers);

    for (peers = conf->us->peer.data; peers; peers = peers->next) {
        total += peers->number;
    }

    for (peers = conf->us->peer.data; peers; peers = peers->next) {
        ngx_http_upstream_rr_peers_wlock(peers);

        for (peer = peers->peer; peer; peer = peer->next) {
            ngx_http_gateway_health_meet(conf, peer, &last, number++,
                                         ngx_max(total, 1));
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }
}


/* Takes the leases that nobody holds; forgets the peers that are gone. */

static void
ngx_http_gateway_health_lease(ngx_http_gateway_health_srv_conf_t *conf)
{
    ngx_queue_t                     *q, *next;
    ngx_msec_int_t                   delay;
    ngx_http_gateway_health_peer_t  *p;

    for (q = ngx_queue_head(&conf->peers);
         q != ngx_queue_sentinel(&conf->peers);
         q = next)
    {
        next = ngx_queue_next(q);
        p = ngx_queue_data(q, ngx_http_gateway_health_peer_t, queue);

        if (p->look != conf->look) {
            ngx_http_gateway_health_remove(p);
            continue;
        }

        if (p->entry == NGX_HTTP_GATEWAY_HEALTH_NONE
            && !ngx_http_gateway_health_full)
        {
            ngx_http_gateway_health_full = 1;
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "gateway_health_check: no room for more than %d "
                          "servers, \"%V\" of upstream \"%V\" is not checked",
                          NGX_HTTP_GATEWAY_HEALTH_ENTRIES, &p->name,
                          &conf->us->host);
        }

        if (p->owned) {
            continue;
        }

        delay = ngx_http_gateway_health_take(p);

        if (delay != NGX_DECLINED) {
            ngx_http_gateway_health_check(p, delay);
        }
    }
}


static void
ngx_http_gateway_health_each(void (*act)(ngx_http_gateway_health_srv_conf_t *))
{
    ngx_uint_t                             i;
    ngx_http_gateway_health_srv_conf_t   **conf;
    ngx_http_gateway_health_main_conf_t   *hmcf;

    hmcf = ngx_http_gateway_health_conf();

    if (ngx_http_gateway_health_shared() == NULL) {
        return;
    }

    conf = hmcf->checked.elts;

    for (i = 0; i < hmcf->checked.nelts; i++) {
        act(conf[i]);
    }
}


static void
ngx_http_gateway_health_mark(ngx_http_gateway_health_shctx_t *sh)
{
    /* read first: what changes meanwhile is seen by the next one */
    ngx_http_gateway_health_applied = sh->generation;
    ngx_memory_barrier();

    ngx_http_gateway_health_each(ngx_http_gateway_health_meet_all);
}


void
ngx_http_gateway_health_look(void)
{
    ngx_http_gateway_health_shctx_t  *sh;

    sh = ngx_http_gateway_health_shared();
    if (sh == NULL) {
        return;
    }

    ngx_http_gateway_health_mark(sh);

    if (ngx_exiting) {
        /* peers stay marked for the requests that are still served */
        ngx_http_gateway_health_quit();
        return;
    }

    if (ngx_http_gateway_slot < NGX_HTTP_GATEWAY_MAX_WORKERS) {
        ngx_http_gateway_health_each(ngx_http_gateway_health_lease);
    }
}


void
ngx_http_gateway_health_apply(void)
{
    ngx_http_gateway_health_shctx_t  *sh;

    sh = ngx_http_gateway_health_shared();

    if (sh && sh->generation != ngx_http_gateway_health_applied) {
        ngx_http_gateway_health_mark(sh);
    }
}


static void
ngx_http_gateway_health_remove_all(ngx_http_gateway_health_srv_conf_t *conf)
{
    ngx_queue_t  *q, *next;

    for (q = ngx_queue_head(&conf->peers);
         q != ngx_queue_sentinel(&conf->peers);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_http_gateway_health_remove(
                    ngx_queue_data(q, ngx_http_gateway_health_peer_t, queue));
    }
}


static void
ngx_http_gateway_health_end_all(ngx_http_gateway_health_srv_conf_t *conf)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&conf->peers);
         q != ngx_queue_sentinel(&conf->peers);
         q = ngx_queue_next(q))
    {
        ngx_http_gateway_health_end(
                    ngx_queue_data(q, ngx_http_gateway_health_peer_t, queue));
    }
}


void
ngx_http_gateway_health_quit(void)
{
    ngx_http_gateway_health_each(ngx_http_gateway_health_end_all);
    ngx_http_gateway_health_release(ngx_http_gateway_slot);
}


void
ngx_http_gateway_health_stop(void)
{
    ngx_http_gateway_health_each(ngx_http_gateway_health_remove_all);
    ngx_http_gateway_health_release(ngx_http_gateway_slot);

    ngx_http_gateway_health_applied = 0;
}
