/*
 * Limits on the messages of an open WebSocket. The request is gone by then:
 * what is kept of it is a digest and a cost for each limit.
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
} ngx_http_gateway_limit_kept_t;


struct ngx_http_gateway_limit_messages_s {
    ngx_uint_t                          n;
    ngx_uint_t                          log_level;
    ngx_http_gateway_limit_kept_t       kept[1];
};


ngx_int_t
ngx_http_gateway_limit_messages_init(ngx_http_request_t *r,
    ngx_http_gateway_limit_messages_t **mp)
{
    ngx_int_t                           rc;
    ngx_uint_t                          i, n, valid;
    ngx_http_gateway_limit_t           *limit;
    ngx_http_gateway_limit_item_t       item;
    ngx_http_gateway_limit_kept_t       kept[NGX_HTTP_GATEWAY_LIMIT_MOST];
    ngx_http_gateway_limit_messages_t  *m;
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_limit_module);

    n = 0;
    limit = llcf->limits ? llcf->limits->elts : NULL;
    valid = limit && llcf->claims && ngx_http_gateway_jwt_valid(r) == NGX_OK;

    for (i = 0; limit && i < llcf->limits->nelts; i++) {

        if (limit[i].on != NGX_HTTP_GATEWAY_LIMIT_MESSAGE
            || (limit[i].zone->claim && !valid))
        {
            continue;
        }

        rc = ngx_http_gateway_limit_item(r, &limit[i], &item);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK || item.cost == 0) {
            continue;
        }

        kept[n].limit = item.limit;
        kept[n].digest[0] = item.digest[0];
        kept[n].digest[1] = item.digest[1];
        kept[n].cost = item.cost;
        n++;
    }

    m = NULL;

    if (n) {
        m = ngx_alloc(offsetof(ngx_http_gateway_limit_messages_t, kept)
                      + n * sizeof(ngx_http_gateway_limit_kept_t),
                      r->connection->log);
        if (m == NULL) {
            return NGX_ERROR;
        }

        m->n = n;
        m->log_level = llcf->log_level;
        ngx_memcpy(m->kept, kept, n * sizeof(ngx_http_gateway_limit_kept_t));
    }

    *mp = m;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_limit_message(ngx_http_gateway_limit_messages_t *m,
    ngx_log_t *log, ngx_http_gateway_limit_told_t *told)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_gateway_limit_item_t   items[NGX_HTTP_GATEWAY_LIMIT_MOST];
    ngx_http_gateway_limit_item_t  *item;

    for (i = 0; i < m->n; i++) {
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
