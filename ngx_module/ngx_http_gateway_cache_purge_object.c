/*
 * What is to be purged, as a JSON object: of the purge interface, and of
 * clients that may say it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_purge.h"
#include "ngx_http_gateway_text.h"
#include "../src/json_scan.h"
#include "../src/utf8.h"


/* Of clients, under way in this worker; each may go through a whole cache. */
#define NGX_HTTP_GATEWAY_PURGE_ASKED  64

static ngx_uint_t  ngx_http_gateway_purge_asked;


/* A string with something in it: NGX_OK, NGX_DECLINED, NGX_ERROR. */

static ngx_int_t
ngx_http_gateway_purge_string(ngx_pool_t *pool, gw_json_t *v, gw_str_t *s)
{
    u_char  *p;

    if (v->type != GW_JSON_STRING) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(pool, v->text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    s->data = p;
    s->len = gw_json_string_decode(v, p);

    return (s->len == 0 || s->len == (size_t) -1) ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_http_gateway_purge_strings(ngx_pool_t *pool, gw_json_t *v,
    ngx_array_t *a)
{
    gw_str_t             *s;
    gw_json_t             item;
    ngx_int_t             rc;
    const unsigned char  *it;

    if (v->type != GW_JSON_ARRAY) {
        return NGX_DECLINED;
    }

    it = NULL;

    while (gw_json_next(v, &it, NULL, &item)) {

        s = ngx_array_push(a);
        if (s == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_gateway_purge_string(pool, &item, s);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_purge_parse(ngx_http_gateway_purge_t *job, ngx_str_t *body)
{
    gw_json_t             object, name, v;
    ngx_int_t             rc;
    ngx_pool_t           *pool;
    const unsigned char  *it;

    pool = job->pool;

    if (!gw_utf8_valid(body->data, body->len)
        || gw_json_parse(ngx_http_gateway_span(body), &object) != GW_OK
        || object.type != GW_JSON_OBJECT)
    {
        return NGX_DECLINED;
    }

    job->payload.data = (u_char *) object.text.data;
    job->payload.len = object.text.len;

    it = NULL;

    while (gw_json_next(&object, &it, &name, &v)) {

        if (gw_json_string_equal(&name, gw_str("keys"))) {
            rc = ngx_http_gateway_purge_strings(pool, &v, &job->keys);

        } else if (gw_json_string_equal(&name, gw_str("tags"))) {
            rc = ngx_http_gateway_purge_strings(pool, &v, &job->tags);

        } else if (gw_json_string_equal(&name, gw_str("pattern"))) {
            rc = ngx_http_gateway_purge_string(pool, &v, &job->pattern);

        } else if (gw_json_string_equal(&name, gw_str("cascade"))
                   && (v.type == GW_JSON_TRUE || v.type == GW_JSON_FALSE))
        {
            job->purge.cascade = (v.type == GW_JSON_TRUE);
            rc = NGX_OK;

        } else {
            rc = NGX_DECLINED;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return (job->keys.nelts || job->tags.nelts || job->pattern.len)
           ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_gateway_purge_over(ngx_http_gateway_purge_t *job)
{
    ngx_http_gateway_purge_asked--;
    ngx_destroy_pool(job->pool);
}


static ngx_http_gateway_purge_t *
ngx_http_gateway_purge_of(ngx_http_gateway_cache_zone_t *zone,
    ngx_str_t *object, ngx_int_t *rc)
{
    ngx_str_t                  copy;
    ngx_http_gateway_purge_t  *job;

    *rc = NGX_ERROR;

    job = ngx_http_gateway_purge_create(zone);
    if (job == NULL) {
        return NULL;
    }

    copy.len = object->len;
    copy.data = ngx_pstrdup(job->pool, object);

    if (copy.data) {
        *rc = ngx_http_gateway_purge_parse(job, &copy);
    }

    if (*rc != NGX_OK) {
        ngx_destroy_pool(job->pool);
        return NULL;
    }

    return job;
}


ngx_int_t
ngx_http_gateway_cache_purge_object(ngx_str_t *object)
{
    ngx_int_t                             rc;
    ngx_uint_t                            i, teller;
    ngx_http_gateway_purge_t             *job;
    ngx_http_gateway_cache_zone_t       **zones;
    ngx_http_gateway_cache_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_gateway_cache_module);
    zones = cmcf->zones.elts;
    teller = ngx_http_gateway_purge_teller(&cmcf->zones);

    if (ngx_http_gateway_purge_asked >= NGX_HTTP_GATEWAY_PURGE_ASKED) {
        return NGX_BUSY;
    }

    for (i = 0; i < cmcf->zones.nelts; i++) {

        job = ngx_http_gateway_purge_of(zones[i], object, &rc);
        if (job == NULL) {
            return rc;
        }

        if (i != teller) {
            job->payload.len = 0;
        }

        ngx_http_gateway_purge_asked++;
        job->done = ngx_http_gateway_purge_over;

        ngx_http_gateway_purge_run(job);
    }

    if (i) {
        return NGX_OK;
    }

    job = ngx_http_gateway_purge_of(NULL, object, &rc);
    if (job == NULL) {
        return rc;
    }

    ngx_http_gateway_purge_relay(job);
    ngx_destroy_pool(job->pool);

    return NGX_OK;
}
