/*
 * gateway_cache: directives, their configuration, the variable, and where the
 * module hooks in.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_breaker.h"
#include "ngx_http_gateway_cache_int.h"


static char *ngx_http_gateway_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_cache_key_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_cache_valid(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_cache_conditions(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_cache_lock_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_cache_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_cache_tags(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_http_gateway_cache_cleanup(void *data);
static ngx_int_t ngx_http_gateway_cache_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_cache_preconf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_cache_postconf(ngx_conf_t *cf);
static void *ngx_http_gateway_cache_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_cache_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_cache_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_gateway_cache_init_process(ngx_cycle_t *cycle);


#define NGX_HTTP_GATEWAY_CACHE_ANY                                           \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF)


ngx_str_t  ngx_http_gateway_cache_statuses[] = {
    ngx_null_string,
    ngx_string("HIT"),
    ngx_string("REDIS"),
    ngx_string("MISS"),
    ngx_string("STALE"),
    ngx_string("UPDATING"),
    ngx_string("REVALIDATED"),
    ngx_string("BYPASS")
};


static ngx_conf_bitmask_t  ngx_http_gateway_cache_stale_words[] = {
    { ngx_string("error"), NGX_HTTP_GATEWAY_CACHE_ON_ERROR },
    { ngx_string("timeout"), NGX_HTTP_GATEWAY_CACHE_ON_TIMEOUT },
    { ngx_string("http_5xx"), NGX_HTTP_GATEWAY_CACHE_ON_5XX },
    { ngx_string("http_500"), NGX_HTTP_GATEWAY_CACHE_ON_500 },
    { ngx_string("http_501"), NGX_HTTP_GATEWAY_CACHE_ON_501 },
    { ngx_string("http_502"), NGX_HTTP_GATEWAY_CACHE_ON_502 },
    { ngx_string("http_503"), NGX_HTTP_GATEWAY_CACHE_ON_503 },
    { ngx_string("http_504"), NGX_HTTP_GATEWAY_CACHE_ON_504 },
    { ngx_string("updating"), NGX_HTTP_GATEWAY_CACHE_ON_UPDATING },
    { ngx_string("breaker"), NGX_HTTP_GATEWAY_CACHE_ON_BREAKER },
    { ngx_string("off"), NGX_HTTP_GATEWAY_CACHE_STALE_OFF },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_gateway_cache_commands[] = {

    { ngx_string("gateway_cache_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_cache_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_cache"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_TAKE1,
      ngx_http_gateway_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_cache_key"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_TAKE1,
      ngx_http_gateway_cache_key_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_cache_loc_conf_t, key),
      NULL },

    { ngx_string("gateway_cache_valid"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_1MORE,
      ngx_http_gateway_cache_valid,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_cache_bypass"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_1MORE,
      ngx_http_gateway_cache_conditions,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_cache_loc_conf_t, bypass),
      NULL },

    { ngx_string("gateway_cache_store"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_1MORE,
      ngx_http_gateway_cache_conditions,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_cache_loc_conf_t, store),
      NULL },

    { ngx_string("gateway_cache_lock"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_1MORE,
      ngx_http_gateway_cache_lock_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_cache_stale"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_1MORE,
      ngx_http_gateway_cache_stale,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_cache_tags"),
      NGX_HTTP_GATEWAY_CACHE_ANY|NGX_CONF_TAKE1,
      ngx_http_gateway_cache_tags,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_cache_module_ctx = {
    ngx_http_gateway_cache_preconf,          /* preconfiguration */
    ngx_http_gateway_cache_postconf,         /* postconfiguration */

    ngx_http_gateway_cache_create_main_conf, /* create main configuration */
    NULL,                                    /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_gateway_cache_create_loc_conf,  /* create location
                                                configuration */
    ngx_http_gateway_cache_merge_loc_conf    /* merge location
                                                configuration */
};


ngx_module_t  ngx_http_gateway_cache_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_cache_module_ctx,      /* module context */
    ngx_http_gateway_cache_commands,         /* module directives */
    NGX_HTTP_MODULE,                         /* module type */
    NULL,                                    /* init master */
    NULL,                                    /* init module */
    ngx_http_gateway_cache_init_process,     /* init process */
    NULL,                                    /* init thread */
    NULL,                                    /* exit thread */
    NULL,                                    /* exit process */
    NULL,                                    /* exit master */
    NGX_MODULE_V1_PADDING
};


/* --- ctx ------------------------------------------------------------------ */

ngx_http_gateway_cache_ctx_t *
ngx_http_gateway_cache_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_cache_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    /* an internal redirect has cleared it */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_gateway_cache_cleanup) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}


ngx_http_gateway_cache_ctx_t *
ngx_http_gateway_cache_ctx_create(ngx_http_request_t *r,
    ngx_http_gateway_cache_loc_conf_t *conf)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_gateway_cache_ctx_t  *ctx;

    /* what is sent from the store stays until r's last byte is out */

    cln = ngx_pool_cleanup_add(r->pool, sizeof(*ctx));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(*ctx));

    ctx->request = r;
    ctx->conf = conf;
    ctx->zone = conf->zone;
    ctx->arrived = ngx_http_gateway_cache_now();

    cln->handler = ngx_http_gateway_cache_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_cache_module);

    return ctx;
}


static void
ngx_http_gateway_cache_cleanup(void *data)
{
    ngx_http_gateway_cache_ctx_t *ctx = data;

    ngx_http_gateway_cache_remote_cancel(ctx);
    ngx_http_gateway_cache_store_abort(ctx, 0);

    if (ctx->pinned) {
        ctx->pinned = 0;
        gw_store_unpin(ngx_http_gateway_cache_lock(ctx->zone), &ctx->ref);
        ngx_http_gateway_cache_unlock(ctx->zone);
    }
}


static ngx_int_t
ngx_http_gateway_cache_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                     *s;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = ngx_http_gateway_cache_ctx(r->main);

    if (ctx == NULL || ctx->status == NGX_HTTP_GATEWAY_CACHE_NONE) {
        v->not_found = 1;
        return NGX_OK;
    }

    s = &ngx_http_gateway_cache_statuses[ctx->status];

    v->data = s->data;
    v->len = s->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* --- directives ----------------------------------------------------------- */

void
ngx_http_gateway_cache_never(ngx_conf_t *cf)
{
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf,
                                             ngx_http_gateway_cache_module);
    clcf->never = 1;
}


static char *
ngx_http_gateway_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_cache_loc_conf_t *clcf = conf;

    ngx_str_t  *value;

    if (clcf->zone != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        clcf->zone = NULL;
        return NGX_CONF_OK;
    }

    if (value[1].len == 0 || ngx_strchr(value[1].data, ':')
        || ngx_strchr(value[1].data, '='))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"gateway_cache\": the "
                           "name of a \"gateway_cache_zone\" or \"off\" is "
                           "accepted", &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->zone = ngx_http_gateway_cache_zone_get(cf, &value[1]);

    return clcf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_cache_key_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"\" in \"gateway_cache_key\": a "
                           "text with variables is accepted, such as "
                           "\"$scheme$host$request_uri\"");
        return NGX_CONF_ERROR;
    }

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


static char *
ngx_http_gateway_cache_valid(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_cache_loc_conf_t *clcf = conf;

    time_t                           seconds;
    ngx_int_t                        status;
    ngx_str_t                       *value;
    ngx_uint_t                       i, n;
    ngx_http_gateway_cache_valid_t  *valid;

    static ngx_uint_t  defaults[] = { 200, 301, 302 };

    if (clcf->valid == NGX_CONF_UNSET_PTR) {
        clcf->valid = ngx_array_create(cf->pool, 3, sizeof(*valid));
        if (clcf->valid == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    seconds = ngx_parse_time(&value[n], 1);

    if (seconds == (time_t) NGX_ERROR || seconds > GW_DELTA_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"gateway_cache_valid\": "
                           "seconds or a time such as \"10m\" are accepted",
                           &value[n]);
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < ngx_max(n, 4); i++) {

        if (n == 1) {
            status = defaults[i - 1];

        } else if (i == n) {
            break;

        } else if (ngx_strcmp(value[i].data, "any") == 0) {
            status = 0;

        } else {
            status = ngx_atoi(value[i].data, value[i].len);

            if (status < 200 || status > 599 || status == 206
                || status == 304)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid code \"%V\" in "
                                   "\"gateway_cache_valid\": codes from 200 "
                                   "to 599 but 206 and 304, and \"any\" are "
                                   "accepted", &value[i]);
                return NGX_CONF_ERROR;
            }
        }

        valid = ngx_array_push(clcf->valid);
        if (valid == NULL) {
            return NGX_CONF_ERROR;
        }

        valid->status = status;
        valid->seconds = (uint32_t) seconds;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_cache_conditions(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_array_t                       **a;
    ngx_str_t                          *value;
    ngx_uint_t                          i;
    ngx_http_complex_value_t           *cv;
    ngx_http_compile_complex_value_t    ccv;

    a = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*a != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *a = ngx_array_create(cf->pool, 2, sizeof(*cv));
    if (*a == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        cv = ngx_array_push(*a);
        if (cv == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ccv));
        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = cv;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_cache_lock_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_cache_loc_conf_t *clcf = conf;

    ngx_int_t    ms;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (clcf->lock != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        clcf->lock = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        clcf->lock = 0;

    } else {
        i = 1;
        goto invalid;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (i > 2 || !clcf->lock
            || ngx_strncmp(value[i].data, "timeout=", 8) != 0)
        {
            goto invalid;
        }

        s.data = value[i].data + 8;
        s.len = value[i].len - 8;
        ms = ngx_parse_time(&s, 0);

        if (ms <= 0) {
            goto invalid;
        }

        clcf->lock_timeout = ms;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"gateway_cache_lock\": "
                       "\"on\", with \"timeout=time\" such as "
                       "\"timeout=5s\" where needed, or \"off\" is accepted",
                       &value[i]);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_cache_stale(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_cache_loc_conf_t *clcf = conf;

    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *word;

    if (clcf->stale) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (word = ngx_http_gateway_cache_stale_words; word->name.len;
             word++)
        {
            if (word->name.len == value[i].len
                && ngx_strncmp(word->name.data, value[i].data, value[i].len)
                   == 0)
            {
                break;
            }
        }

        clcf->stale |= word->mask;

        if (word->name.len == 0
            || (clcf->stale & NGX_HTTP_GATEWAY_CACHE_STALE_OFF
                && cf->args->nelts > 2))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"gateway_cache_stale\": \"error\", "
                               "\"timeout\", \"http_5xx\", \"http_500\" to "
                               "\"http_504\", \"updating\" and \"breaker\", "
                               "or \"off\" alone, are accepted", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_cache_tags(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_cache_loc_conf_t *clcf = conf;

    gw_str_t    s;
    ngx_str_t  *value;

    if (clcf->tags.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    s.data = value[1].data;
    s.len = value[1].len;

    if (!gw_http_token(s)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"gateway_cache_tags\": "
                           "the name of a header is accepted, such as "
                           "\"Cache-Tag\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->tags = value[1];

    return NGX_CONF_OK;
}


/* --- configuration -------------------------------------------------------- */

static ngx_int_t
ngx_http_gateway_cache_preconf(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    static ngx_str_t  name = ngx_string("gateway_cache_status");

    ngx_http_gateway_breaker_stale = ngx_http_gateway_cache_breaker;

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_gateway_cache_variable;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_cache_postconf(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_handler_pt                  *h;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_gateway_cache_zone_t       **zones;
    ngx_http_gateway_cache_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_gateway_cache_module);
    zones = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {

        if (zones[i]->shm_zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "cache zone \"%V\" is not defined, write "
                          "\"gateway_cache_zone %V:100m;\" in the http block",
                          &zones[i]->name, &zones[i]->name);
            return NGX_ERROR;
        }
    }

    if (mcf->zones.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_gateway_cache_handler;

    return ngx_http_gateway_cache_filter_init(cf);
}


static void *
ngx_http_gateway_cache_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_cache_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(*mcf));

    if (mcf == NULL
        || ngx_array_init(&mcf->zones, cf->pool, 4, sizeof(void *)) != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static void *
ngx_http_gateway_cache_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    clcf = ngx_pcalloc(cf->pool, sizeof(*clcf));
    if (clcf == NULL) {
        return NULL;
    }

    clcf->zone = NGX_CONF_UNSET_PTR;
    clcf->valid = NGX_CONF_UNSET_PTR;
    clcf->bypass = NGX_CONF_UNSET_PTR;
    clcf->store = NGX_CONF_UNSET_PTR;
    clcf->lock = NGX_CONF_UNSET;
    clcf->lock_timeout = NGX_CONF_UNSET_MSEC;

    return clcf;
}


/* gRPC has its outcome in trailers, which are not kept. */

static ngx_uint_t
ngx_http_gateway_cache_is_grpc(ngx_conf_t *cf)
{
    ngx_uint_t                 i;
    ngx_http_upstream_conf_t  *ucf;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (ngx_strcmp(cf->cycle->modules[i]->name, "ngx_http_grpc_module")
            == 0)
        {
            /* its location's configuration begins with that of upstream */

            ucf = ngx_http_conf_get_module_loc_conf(cf,
                                                    (*cf->cycle->modules[i]));
            return ucf && ucf->upstream;
        }
    }

    return 0;
}


static char *
ngx_http_gateway_cache_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_cache_loc_conf_t  *prev = parent;
    ngx_http_gateway_cache_loc_conf_t  *conf = child;

    ngx_uint_t  explicit;

    explicit = (conf->zone != NGX_CONF_UNSET_PTR && conf->zone);

    if (explicit && conf->never) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_cache\" stands in a location whose "
                           "responses come from the gateway itself: it caches "
                           "\"proxy_pass\", \"fastcgi_pass\" and "
                           "\"uwsgi_pass\"");
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->zone, prev->zone, NULL);
    ngx_conf_merge_ptr_value(conf->valid, prev->valid, NULL);
    ngx_conf_merge_ptr_value(conf->bypass, prev->bypass, NULL);
    ngx_conf_merge_ptr_value(conf->store, prev->store, NULL);
    ngx_conf_merge_value(conf->lock, prev->lock, 1);
    ngx_conf_merge_msec_value(conf->lock_timeout, prev->lock_timeout, 5000);
    ngx_conf_merge_str_value(conf->tags, prev->tags, "Cache-Tag");

    if (conf->key == NULL) {
        conf->key = prev->key;
    }

    if (conf->stale == 0) {
        conf->stale = prev->stale;
    }

    if (conf->zone && ngx_http_gateway_cache_is_grpc(cf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_cache %V\" does not work with "
                           "\"grpc_pass\": write \"gateway_cache off\" in "
                           "this location", &conf->zone->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_cache_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_gateway_cache_zone_t       **zones;
    ngx_http_gateway_cache_main_conf_t   *mcf;

    ngx_http_gateway_cache_wait_init();
    ngx_http_gateway_cache_follow_init();

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_cache_module);
    if (mcf == NULL) {
        return NGX_OK;
    }

    zones = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {
        ngx_http_gateway_cache_zone_adopt(zones[i]);
    }

    return NGX_OK;
}
