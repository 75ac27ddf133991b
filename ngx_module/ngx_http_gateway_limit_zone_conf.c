/*
 * gateway_limit_zone: what it says, and its counters.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_limit_int.h"
#include "ngx_http_gateway_shm.h"


/* The zone of that name, which may be defined later; NULL: no memory. */

ngx_http_gateway_limit_zone_t *
ngx_http_gateway_limit_zone_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                            i;
    ngx_http_gateway_limit_zone_t        *zone, **zones;
    ngx_http_gateway_limit_main_conf_t   *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_limit_module);
    zones = lmcf->zones.elts;

    for (i = 0; i < lmcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    zones = ngx_array_push(&lmcf->zones);
    zone = ngx_pcalloc(cf->pool, sizeof(*zone));

    if (zones == NULL || zone == NULL) {
        return NULL;
    }

    zone->name = *name;
    *zones = zone;

    return zone;
}


/* N/T; T is s, m, h or a time. */

static ngx_int_t
ngx_http_gateway_limit_rate(ngx_http_gateway_limit_zone_t *zone,
    ngx_str_t *value)
{
    u_char     *p;
    ngx_int_t   n, period;
    ngx_str_t   s;

    p = ngx_strlchr(value->data, value->data + value->len, '/');
    if (p == NULL) {
        return NGX_ERROR;
    }

    n = ngx_atoi(value->data, p - value->data);

    s.data = p + 1;
    s.len = value->data + value->len - s.data;
    zone->window = s;

    if (s.len == 1 && s.data[0] == 's') {
        period = 1000;

    } else if (s.len == 1 && s.data[0] == 'm') {
        period = 60000;

    } else if (s.len == 1 && s.data[0] == 'h') {
        period = 3600000;

    } else {
        period = ngx_parse_time(&s, 0);
    }

    if (n < 0 || n > GW_WINDOW_LIMIT_MAX || period < 0) {
        return NGX_ERROR;
    }

    return gw_window_rate_init(&zone->rate, (uint32_t) n, period) == GW_OK
           ? NGX_OK : NGX_ERROR;
}


/* What headers need of a zone; a name is a string of RFC 9651 there. */

static ngx_int_t
ngx_http_gateway_limit_texts(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone)
{
    u_char      *p, *name, *last;
    ngx_uint_t   i;

    name = ngx_pnalloc(cf->pool, 4 * zone->name.len + 2 * NGX_INT64_LEN + 32);
    if (name == NULL) {
        return NGX_ERROR;
    }

    p = name;
    *p++ = '"';

    for (i = 0; i < zone->name.len; i++) {
        if (zone->name.data[i] == '"' || zone->name.data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = zone->name.data[i];
    }

    *p++ = '"';

    last = ngx_sprintf(p, ";q=%uD;w=%uL", zone->rate.limit,
                       ngx_http_gateway_limit_seconds(zone->rate.period));

    zone->policy.data = name;
    zone->policy.len = last - name;

    zone->item.data = last;
    last = ngx_cpymem(last, name, p - name);
    last = ngx_cpymem(last, ";r=", 3);
    zone->item.len = last - zone->item.data;

    return NGX_OK;
}


static void
ngx_http_gateway_limit_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    ngx_str_t                       labels;
    ngx_uint_t                      i;
    ngx_http_gateway_limit_zone_t  *zone = data;

    static char  *kinds[] = { "used", "total" };

    labels.data = ngx_pnalloc(pool,
                              zone->label.len + sizeof(",kind=\"total\""));
    if (labels.data == NULL) {
        return;
    }

    for (i = 0; i < 2; i++) {
        labels.len = ngx_sprintf(labels.data, "%V,kind=\"%s\"", &zone->label,
                                 kinds[i])
                     - labels.data;

        emit(ctx, "gateway_zone_bytes", &labels,
             "Shared memory of a zone in bytes.", NGX_HTTP_GATEWAY_GAUGE,
             i ? zone->shm_zone->shm.size
               : ngx_http_gateway_limit_used(zone));
    }
}


static ngx_int_t
ngx_http_gateway_limit_metrics(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone)
{
    u_char                      *p;
    ngx_str_t                    labels;
    ngx_uint_t                   i;
    ngx_http_gateway_metric_t  **m[3];

    static char  *results[] = { "passed", "rejected", "dry_run" };

    m[0] = &zone->passed;
    m[1] = &zone->rejected;
    m[2] = &zone->rejected_dry_run;

    if (ngx_http_gateway_metric_label(cf, &zone->label, "zone", &zone->name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        p = ngx_pnalloc(cf->pool, zone->label.len
                                  + sizeof(",result=\"rejected\""));
        if (p == NULL) {
            return NGX_ERROR;
        }

        labels.data = p;
        labels.len = ngx_sprintf(p, "%V,result=\"%s\"", &zone->label,
                                 results[i])
                     - p;

        *m[i] = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_COUNTER,
                    "gateway_limit_requests_total", &labels,
                    "Requests, openings and messages that a limit decided "
                    "about.");
        if (*m[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_gateway_collector(cf, ngx_http_gateway_limit_collect,
                                      zone);
}


/* One parameter but zone=: NULL, or what is accepted instead. */

static char *
ngx_http_gateway_limit_zone_param(ngx_http_gateway_limit_zone_t *zone,
    ngx_str_t *value, ngx_str_t *redis, ngx_msec_t *interval)
{
    ngx_int_t  ms;
    ngx_str_t  rate;

    if (ngx_strncmp(value->data, "rate=", 5) == 0) {
        rate.data = value->data + 5;
        rate.len = value->len - 5;

        if (zone->rate.limit) {
            return "\"rate=\" stands there twice";
        }

        if (ngx_http_gateway_limit_rate(zone, &rate) != NGX_OK) {
            return "\"rate=N/T\" is accepted, N from 1 to 1000000000, T one "
                   "of \"s\", \"m\", \"h\" or a time from 100ms to 366d, "
                   "such as \"rate=100/s\" or \"rate=20/10s\"";
        }

        return NULL;
    }

    if (ngx_strncmp(value->data, "redis=", 6) == 0 && value->len > 6) {

        if (redis->len) {
            return "\"redis=\" stands there twice";
        }

        redis->data = value->data + 6;
        redis->len = value->len - 6;

        return NULL;
    }

    if (ngx_strncmp(value->data, "sync=", 5) == 0) {
        rate.data = value->data + 5;
        rate.len = value->len - 5;
        ms = ngx_parse_time(&rate, 0);

        if (*interval) {
            return "\"sync=\" stands there twice";
        }

        if (ms < NGX_HTTP_GATEWAY_LIMIT_SYNC_MIN
            || ms > NGX_HTTP_GATEWAY_LIMIT_SYNC_MAX)
        {
            return "\"sync=\" takes a time from 10ms to 10s";
        }

        *interval = ms;

        return NULL;
    }

    return "\"zone=name:size\", \"rate=N/T\", \"redis=name\" and "
           "\"sync=time\" are accepted";
}


/* Whether the key is of the token: such a limit counts valid ones only. */

static ngx_uint_t
ngx_http_gateway_limit_of_claim(ngx_str_t *key)
{
    return ngx_strnstr(key->data, "$gateway_jwt_", key->len) != NULL
           || ngx_strnstr(key->data, "${gateway_jwt_", key->len) != NULL;
}


/* The index of the variable that is all of the key, or NGX_ERROR. */

static ngx_int_t
ngx_http_gateway_limit_variable(ngx_conf_t *cf, ngx_str_t *key)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    name.data = key->data + 1;
    name.len = key->len - 1;

    if (key->len < 2 || key->data[0] != '$') {
        return NGX_ERROR;
    }

    for (i = 0; i < name.len; i++) {
        if ((name.data[i] < 'a' || name.data[i] > 'z')
            && (name.data[i] < '0' || name.data[i] > '9' || i == 0)
            && name.data[i] != '_')
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_get_variable_index(cf, &name);
}


static char *
ngx_http_gateway_limit_zone_key(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *key)
{
    ngx_http_compile_complex_value_t  ccv;

    if (ngx_strncmp(key->data, "zone=", 5) == 0
        || ngx_strncmp(key->data, "rate=", 5) == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid key \"%V\": the key comes first, such as "
                           "\"gateway_limit_zone $binary_remote_addr "
                           "zone=one:10m rate=100/s\"", key);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ccv));
    ccv.cf = cf;
    ccv.value = key;
    ccv.complex_value = &zone->key;

    zone->key_text = *key;
    zone->claim = ngx_http_gateway_limit_of_claim(key);
    zone->variable = ngx_http_gateway_limit_variable(cf, key);

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


/* zone=name:size: fills zone and size. */

static char *
ngx_http_gateway_limit_zone_name(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t **zone, size_t *size)
{
    ngx_str_t   *value, name, s;
    ngx_uint_t   i;

    value = cf->args->elts;
    *zone = NULL;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) != 0) {
            continue;
        }

        s.data = value[i].data + 5;
        s.len = value[i].len - 5;

        if (ngx_http_gateway_shm_parse(cf, &s,
                                       NGX_HTTP_GATEWAY_LIMIT_MIN_ZONE,
                                       &name, size)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (*zone) {
            return "has \"zone=\" twice";
        }

        *zone = ngx_http_gateway_limit_zone_get(cf, &name);
        if (*zone == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (*zone == NULL || *size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_limit_zone\" needs a key, "
                           "\"zone=name:size\" and \"rate=N/T\", such as "
                           "\"gateway_limit_zone $binary_remote_addr "
                           "zone=one:10m rate=100/s\"");
        return NGX_CONF_ERROR;
    }

    if ((*zone)->shm_zone) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "gateway_limit_zone \"%V\" is duplicate, define "
                           "it once", &(*zone)->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_limit_zone_redis(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *redis,
    ngx_msec_t interval)
{
    if (redis->len) {
        return ngx_http_gateway_limit_sync_conf(cf, zone, redis,
                                 interval ? interval
                                          : NGX_HTTP_GATEWAY_LIMIT_SYNC);
    }

    if (interval) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "gateway_limit_zone \"%V\" has \"sync=\" without "
                           "\"redis=\", name a \"gateway_redis\" or leave it "
                           "out", &zone->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_gateway_limit_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char                           *rv, *accepted;
    size_t                          size;
    ngx_str_t                      *value, redis;
    ngx_uint_t                      i;
    ngx_msec_t                      interval;
    ngx_http_gateway_limit_zone_t  *zone;

    rv = ngx_http_gateway_limit_zone_name(cf, &zone, &size);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    if (ngx_http_gateway_limit_zone_key(cf, zone, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_null(&redis);
    interval = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {
            continue;
        }

        accepted = ngx_http_gateway_limit_zone_param(zone, &value[i], &redis,
                                                     &interval);

        if (accepted) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"gateway_limit_zone\": %s", &value[i],
                               accepted);
            return NGX_CONF_ERROR;
        }
    }

    if (zone->rate.limit == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "gateway_limit_zone \"%V\" has no rate, add "
                           "\"rate=N/T\" such as \"rate=100/s\"",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_gateway_limit_zone_redis(cf, zone, &redis, interval)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_gateway_limit_texts(cf, zone) != NGX_OK
        || ngx_http_gateway_limit_metrics(cf, zone) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* with Redis it is laid out in another way */

    zone->shm_zone = ngx_http_gateway_shm_add(cf,
                         zone->sync ? "gateway_limit_zone redis"
                                    : "gateway_limit_zone",
                         &zone->name, size, &ngx_http_gateway_limit_module);
    if (zone->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm_zone->init = ngx_http_gateway_limit_init_zone;
    zone->shm_zone->data = zone;

    return NGX_CONF_OK;
}
