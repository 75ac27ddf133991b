/*
 * Limits on the messages of an open WebSocket. The request is gone by then:
 * what is kept of it is a digest and a cost for each limit; of those over
 * several nodes also the key, as the nodes may yet agree on another secret.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_limit_int.h"


typedef struct {
    ngx_http_gateway_limit_t           *limit;
    uint64_t                            digest[2];
    uint32_t                            cost;
    uint32_t                            version;    /* of the secret */
} ngx_http_gateway_limit_kept_t;


struct ngx_http_gateway_limit_messages_s {
    ngx_uint_t                          n;
    ngx_uint_t                          log_level;
    ngx_http_gateway_limit_kept_t       kept[1];

    /* then the keys of those with redis=: 4 bytes of length, and the text */
};


static ngx_http_gateway_limit_messages_t *
    ngx_http_gateway_limit_messages_keep(ngx_http_gateway_limit_kept_t *kept,
    ngx_str_t *keys, ngx_uint_t n, size_t size, ngx_log_t *log);


ngx_int_t
ngx_http_gateway_limit_messages_init(ngx_http_request_t *r,
    ngx_http_gateway_limit_messages_t **mp)
{
    size_t                              size;
    ngx_int_t                           rc;
    ngx_str_t                           keys[NGX_HTTP_GATEWAY_LIMIT_MOST];
    ngx_uint_t                          i, n, valid;
    ngx_http_gateway_limit_t           *limit;
    ngx_http_gateway_limit_item_t       item;
    ngx_http_gateway_limit_kept_t       kept[NGX_HTTP_GATEWAY_LIMIT_MOST];
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);

    n = 0;
    size = 0;
    limit = llcf->limits ? llcf->limits->elts : NULL;
    valid = limit && llcf->claims && ngx_http_gateway_jwt_valid(r) == NGX_OK;

    for (i = 0; limit && i < llcf->limits->nelts; i++) {

        if (limit[i].on != NGX_HTTP_GATEWAY_LIMIT_MESSAGE
            || (limit[i].zone->claim && !valid))
        {
            continue;
        }

        kept[n].version = limit[i].zone->sh->version;

        rc = ngx_http_gateway_limit_item(r, &limit[i], &item);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK || item.cost == 0) {
            continue;
        }

        ngx_str_set(&keys[n], "");

        if (limit[i].zone->sync) {
            if (ngx_http_gateway_limit_key(r, limit[i].zone, &keys[n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            size += sizeof(uint32_t) + keys[n].len;
        }

        kept[n].limit = item.limit;
        kept[n].digest[0] = item.digest[0];
        kept[n].digest[1] = item.digest[1];
        kept[n].cost = item.cost;
        n++;
    }

    *mp = NULL;

    if (n == 0) {
        return NGX_OK;
    }

    *mp = ngx_http_gateway_limit_messages_keep(kept, keys, n, size,
                                               r->connection->log);
    if (*mp == NULL) {
        return NGX_ERROR;
    }

    (*mp)->log_level = llcf->log_level;

    return NGX_OK;
}


static ngx_http_gateway_limit_messages_t *
ngx_http_gateway_limit_messages_keep(ngx_http_gateway_limit_kept_t *kept,
    ngx_str_t *keys, ngx_uint_t n, size_t size, ngx_log_t *log)
{
    u_char                             *p;
    uint32_t                            len;
    ngx_uint_t                          i;
    ngx_http_gateway_limit_messages_t  *m;

    m = ngx_alloc(offsetof(ngx_http_gateway_limit_messages_t, kept)
                  + n * sizeof(ngx_http_gateway_limit_kept_t) + size, log);
    if (m == NULL) {
        return NULL;
    }

    m->n = n;
    p = ngx_cpymem(m->kept, kept, n * sizeof(ngx_http_gateway_limit_kept_t));

    for (i = 0; i < n; i++) {
        if (kept[i].limit->zone->sync) {
            len = (uint32_t) keys[i].len;
            p = ngx_cpymem(p, &len, sizeof(len));
            p = ngx_cpymem(p, keys[i].data, len);
        }
    }

    return m;
}


/* The key of a limit with redis=, at p, where its secret is another one now;
 * returns its end. */

static u_char *
ngx_http_gateway_limit_messages_digest(ngx_http_gateway_limit_kept_t *kept,
    u_char *p)
{
    uint32_t                        len, version;
    ngx_str_t                       key;
    ngx_http_gateway_limit_zone_t  *zone;

    ngx_memcpy(&len, p, sizeof(len));
    key.data = p + sizeof(len);
    key.len = len;

    zone = kept->limit->zone;
    version = zone->sh->version;

    if (kept->version != version) {
        kept->version = version;
        ngx_http_gateway_limit_digest(zone, &key, kept->digest);
    }

    return key.data + len;
}


ngx_int_t
ngx_http_gateway_limit_message(ngx_http_gateway_limit_messages_t *m,
    ngx_log_t *log, ngx_http_gateway_limit_told_t *told)
{
    u_char                         *keys;
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_gateway_limit_item_t   items[NGX_HTTP_GATEWAY_LIMIT_MOST];
    ngx_http_gateway_limit_item_t  *item;

    keys = (u_char *) &m->kept[m->n];

    for (i = 0; i < m->n; i++) {

        if (m->kept[i].limit->zone->sync) {
            keys = ngx_http_gateway_limit_messages_digest(&m->kept[i], keys);
        }

        items[i].limit = m->kept[i].limit;
        items[i].digest[0] = m->kept[i].digest[0];
        items[i].digest[1] = m->kept[i].digest[1];
        items[i].cost = m->kept[i].cost;
    }

    rc = ngx_http_gateway_limit_take(items, m->n, 0);

    ngx_http_gateway_limit_report(items, m->n, m->log_level, log);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    item = ngx_http_gateway_limit_least(items, m->n, 0);

    told->window = item->limit->zone->window;
    told->limit = item->limit->zone->rate.limit;
    told->remaining = item->state.remaining;
    told->reset = item->state.reset;

    return NGX_BUSY;
}
