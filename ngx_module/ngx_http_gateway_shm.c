/*
 * What the zones of all features share at configuration time.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_shm.h"


static void ngx_http_gateway_shm_changed(ngx_conf_t *cf, char *kind,
    ngx_str_t *name, ngx_str_t *shm_name, size_t size);


ngx_int_t
ngx_http_gateway_shm_parse(ngx_conf_t *cf, ngx_str_t *value, size_t min,
    ngx_str_t *name, size_t *size)
{
    u_char     *p;
    ssize_t     n;
    ngx_str_t   s;

    *size = 0;
    *name = *value;

    p = ngx_strlchr(value->data, value->data + value->len, ':');

    if (p) {
        name->len = p - value->data;

        s.data = p + 1;
        s.len = value->data + value->len - s.data;

        n = ngx_parse_size(&s);

        if (n == NGX_ERROR || (size_t) n < min) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid size \"%V\" of zone \"%V\", %uzk or "
                               "more is accepted, such as 10m", &s, name,
                               min / 1024);
            return NGX_ERROR;
        }

        *size = n;
    }

    if (name->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\", \"name:size\" such as "
                           "\"news:10m\" is accepted", value);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_shm_zone_t *
ngx_http_gateway_shm_add(ngx_conf_t *cf, char *kind, ngx_str_t *name,
    size_t size, ngx_module_t *module)
{
    ngx_str_t  shm_name;

    shm_name.data = ngx_pnalloc(cf->pool, ngx_strlen(kind) + 1 + name->len);
    if (shm_name.data == NULL) {
        return NULL;
    }

    shm_name.len = ngx_sprintf(shm_name.data, "%s/%V", kind, name)
                   - shm_name.data;

    ngx_http_gateway_shm_changed(cf, kind, name, &shm_name, size);

    return ngx_shared_memory_add(cf, &shm_name, size, module);
}


static void
ngx_http_gateway_shm_changed(ngx_conf_t *cf, char *kind, ngx_str_t *name,
    ngx_str_t *shm_name, size_t size)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *shm_zone;
    ngx_list_part_t  *part;

    if (cf->cycle->old_cycle == NULL || size == 0) {
        return;
    }

    part = &cf->cycle->old_cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        if (shm_zone[i].shm.name.len == shm_name->len
            && ngx_strncmp(shm_zone[i].shm.name.data, shm_name->data,
                           shm_name->len) == 0
            && shm_zone[i].shm.size != size)
        {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "the size of %s \"%V\" has changed: it is a new "
                          "zone and empty, old workers keep the old one",
                          kind, name);
            return;
        }
    }
}
