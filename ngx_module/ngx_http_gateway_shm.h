/*
 * What the zones of all features share at configuration time.
 */

#ifndef NGX_HTTP_GATEWAY_SHM_H_INCLUDED
#define NGX_HTTP_GATEWAY_SHM_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Splits "name:size"; *size is 0 where there is only a name. NGX_ERROR: it is
 * neither, or the size is below min; was logged with what is accepted.
 */
ngx_int_t ngx_http_gateway_shm_parse(ngx_conf_t *cf, ngx_str_t *value,
    size_t min, ngx_str_t *name, size_t *size);

/*
 * Adds the zone. Zones of different kinds may have one name: kind, the
 * directive's name, is put before it. A changed size makes a new zone, which
 * is empty: that is said in the log. size 0: another use gives it. NULL: was
 * logged.
 */
ngx_shm_zone_t *ngx_http_gateway_shm_add(ngx_conf_t *cf, char *kind,
    ngx_str_t *name, size_t size, ngx_module_t *module);


#endif /* NGX_HTTP_GATEWAY_SHM_H_INCLUDED */
