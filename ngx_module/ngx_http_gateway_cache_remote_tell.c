/*
 * gateway_cache's second level: tells the other nodes of a purge.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_cache_remote.h"


#define NGX_HTTP_GATEWAY_PURGE_LOGGED   16384 /* bytes of one in the log */


static size_t
ngx_http_gateway_purge_items_size(ngx_array_t *a)
{
    size_t       len;
    gw_str_t    *s;
    ngx_uint_t   i;

    len = 0;
    s = a->elts;

    for (i = 0; i < a->nelts; i++) {
        len += gw_wire_item_size(s[i].len);
    }

    return len;
}


static u_char *
ngx_http_gateway_purge_items(u_char *p, char what, ngx_array_t *a)
{
    gw_str_t    *s;
    ngx_uint_t   i;

    s = a->elts;

    for (i = 0; i < a->nelts; i++) {
        p = gw_wire_item_write(p, what, s[i]);
    }

    return p;
}


static void
ngx_http_gateway_purge_told(void *data, redisReply *reply)
{
    ngx_http_gateway_cache_op_t *op = data;

    op->flight--;

    if (reply == NULL) {
        op->failed = 1;

    } else if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_gateway_purge_refused(op, reply);
    }

    ngx_http_gateway_purge_pump(op);
}


static void
ngx_http_gateway_purge_publish(ngx_http_gateway_cache_op_t *op,
    ngx_str_t *items)
{
    u_char                         *p, word[NGX_HTTP_GATEWAY_CACHE_EPOCH / 2];
    gw_str_t                        none, zone_name;
    ngx_str_t                       argv[6], *prefix;
    ngx_uint_t                      bucket;
    ngx_pool_t                     *pool;
    ngx_http_gateway_cache_zone_t  *zone;

    zone = op->job.zone;
    pool = op->job.pool;
    prefix = &ngx_http_gateway_redis_conf(zone->redis)->prefix;
    bucket = ngx_http_gateway_redis_bucket(&zone->name);
    ngx_memzero(&none, sizeof(none));

    p = ngx_pnalloc(pool, prefix->len + 5 + sizeof(word) * 2
                          + 32 + zone->name.len);

    if (p == NULL || RAND_bytes(word, sizeof(word)) != 1
        || ngx_http_gateway_cache_remote_key(zone, pool, bucket, "p:", none,
                                             &argv[0])
           != NGX_OK
        || ngx_http_gateway_cache_remote_key(zone, pool, bucket, "e:", none,
                                             &argv[1])
           != NGX_OK)
    {
        op->failed = 1;
        return;
    }

    argv[2].data = p;
    p = ngx_cpymem(p, prefix->data, prefix->len);
    p = ngx_cpymem(p, "purge", 5);
    argv[2].len = p - argv[2].data;

    argv[3] = *items;
    argv[4] = *items;

    argv[5].data = p;
    p = ngx_hex_dump(p, word, sizeof(word));
    argv[5].len = p - argv[5].data;

    if (items->len > NGX_HTTP_GATEWAY_PURGE_LOGGED) {

        /* who misses it purges everything */

        zone_name.data = zone->name.data;
        zone_name.len = zone->name.len;

        argv[4].data = p;
        p = gw_wire_item_write(p, 'z', zone_name);
        p = gw_wire_item_write(p, 'p', gw_str("*"));
        argv[4].len = p - argv[4].data;
    }

    if (ngx_http_gateway_redis_eval(zone->redis,
                                    &ngx_http_gateway_cache_script_tell, argv,
                                    6, 2, ngx_http_gateway_purge_told, op)
        == NULL)
    {
        op->failed = 1;
        return;
    }

    op->flight++;
}


void
ngx_http_gateway_purge_tell(ngx_http_gateway_cache_op_t *op,
    ngx_uint_t others)
{
    u_char     *p;
    size_t      len;
    gw_str_t    zone, node, payload;
    ngx_str_t   items;

    zone.data = op->job.zone->name.data;
    zone.len = op->job.zone->name.len;
    node.data = ngx_http_gateway_redis_node(op->job.zone->redis);
    node.len = NGX_HTTP_GATEWAY_NODE_LEN;
    payload.data = op->payload.data;
    payload.len = op->payload.len;

    len = gw_wire_item_size(zone.len) + gw_wire_item_size(node.len)
          + gw_wire_item_size(0) + gw_wire_item_size(op->job.pattern.len)
          + gw_wire_item_size(payload.len);

    len += others ? ngx_http_gateway_purge_items_size(&op->others)
                  : ngx_http_gateway_purge_items_size(&op->job.keys)
                    + ngx_http_gateway_purge_items_size(&op->job.tags);

    p = ngx_pnalloc(op->job.pool, len);
    if (p == NULL) {
        op->failed = 1;
        return;
    }

    items.data = p;
    p = gw_wire_item_write(p, 'z', zone);

    if (others) {
        p = ngx_http_gateway_purge_items(p, 't', &op->others);

    } else {
        p = gw_wire_item_write(p, 'n', node);

        if (op->job.purge.cascade) {
            p = gw_wire_item_write(p, 'c', gw_str(""));
        }

        p = ngx_http_gateway_purge_items(p, 'k', &op->job.keys);
        p = ngx_http_gateway_purge_items(p, 't', &op->job.tags);

        if (op->job.pattern.len) {
            p = gw_wire_item_write(p, 'p', op->job.pattern);
        }

        if (payload.len) {
            p = gw_wire_item_write(p, 'm', payload);
        }
    }

    items.len = p - items.data;

    ngx_http_gateway_purge_publish(op, &items);
}
