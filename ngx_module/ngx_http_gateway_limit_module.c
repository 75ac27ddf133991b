/*
 * gateway_limit: directives, their configuration, variables, and where the
 * module hooks in.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_limit_int.h"


static char *ngx_http_gateway_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_limit_status(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_limit_choice(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_gateway_limit_variable_status(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_limit_variable_number(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_limit_preconf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_limit_postconf(ngx_conf_t *cf);
static void *ngx_http_gateway_limit_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_limit_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_limit_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_gateway_limit_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_limit_exit_process(ngx_cycle_t *cycle);


#define NGX_HTTP_GATEWAY_LIMIT_ANY                                           \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE)


/* A directive with a choice of words; the text says what is accepted. */

typedef struct {
    ngx_conf_enum_t                *words;
    char                           *accepted;
} ngx_http_gateway_limit_choice_t;


static ngx_conf_enum_t  ngx_http_gateway_limit_header_words[] = {
    { ngx_string("draft"), NGX_HTTP_GATEWAY_LIMIT_DRAFT },
    { ngx_string("legacy"), NGX_HTTP_GATEWAY_LIMIT_LEGACY },
    { ngx_string("off"), NGX_HTTP_GATEWAY_LIMIT_OFF },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_gateway_limit_level_words[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


static ngx_http_gateway_limit_choice_t  ngx_http_gateway_limit_headers = {
    ngx_http_gateway_limit_header_words,
    "\"draft\", \"legacy\" and \"off\""
};


static ngx_http_gateway_limit_choice_t  ngx_http_gateway_limit_levels = {
    ngx_http_gateway_limit_level_words,
    "\"info\", \"notice\", \"warn\" and \"error\""
};


static ngx_command_t  ngx_http_gateway_limit_commands[] = {

    { ngx_string("gateway_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_limit_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_limit"),
      NGX_HTTP_GATEWAY_LIMIT_ANY,
      ngx_http_gateway_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_limit_status"),
      NGX_HTTP_GATEWAY_LIMIT_ANY,
      ngx_http_gateway_limit_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_limit_headers"),
      NGX_HTTP_GATEWAY_LIMIT_ANY,
      ngx_http_gateway_limit_choice,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_limit_loc_conf_t, headers),
      &ngx_http_gateway_limit_headers },

    { ngx_string("gateway_limit_log_level"),
      NGX_HTTP_GATEWAY_LIMIT_ANY,
      ngx_http_gateway_limit_choice,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_limit_loc_conf_t, log_level),
      &ngx_http_gateway_limit_levels },

      ngx_null_command
};


static ngx_http_variable_t  ngx_http_gateway_limit_variables[] = {

    { ngx_string("gateway_limit_status"), NULL,
      ngx_http_gateway_limit_variable_status, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("gateway_limit_remaining"), NULL,
      ngx_http_gateway_limit_variable_number, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("gateway_limit_reset"), NULL,
      ngx_http_gateway_limit_variable_number, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_http_module_t  ngx_http_gateway_limit_module_ctx = {
    ngx_http_gateway_limit_preconf,          /* preconfiguration */
    ngx_http_gateway_limit_postconf,         /* postconfiguration */

    ngx_http_gateway_limit_create_main_conf, /* create main configuration */
    NULL,                                    /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_gateway_limit_create_loc_conf,  /* create location
                                                configuration */
    ngx_http_gateway_limit_merge_loc_conf    /* merge location
                                                configuration */
};


ngx_module_t  ngx_http_gateway_limit_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_limit_module_ctx,      /* module context */
    ngx_http_gateway_limit_commands,         /* module directives */
    NGX_HTTP_MODULE,                         /* module type */
    NULL,                                    /* init master */
    NULL,                                    /* init module */
    ngx_http_gateway_limit_init_process,     /* init process */
    NULL,                                    /* init thread */
    NULL,                                    /* exit thread */
    ngx_http_gateway_limit_exit_process,     /* exit process */
    NULL,                                    /* exit master */
    NGX_MODULE_V1_PADDING
};


/* cost=; a constant is checked now. */

static char *
ngx_http_gateway_limit_cost_value(ngx_conf_t *cf,
    ngx_http_gateway_limit_t *limit, ngx_str_t *value)
{
    ngx_str_t                         s;
    ngx_http_compile_complex_value_t  ccv;

    s.data = value->data + 5;
    s.len = value->len - 5;

    if (ngx_http_script_variables_count(&s) == 0
        && (ngx_atoi(s.data, s.len) == NGX_ERROR
            || ngx_atoi(s.data, s.len) > GW_WINDOW_LIMIT_MAX))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"gateway_limit\": "
                           "\"cost=\" takes a whole number from 0 to "
                           "1000000000, or variables", value);
        return NGX_CONF_ERROR;
    }

    limit->cost = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (limit->cost == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ccv));
    ccv.cf = cf;
    ccv.value = &s;
    ccv.complex_value = limit->cost;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_limit_param(ngx_conf_t *cf, ngx_http_gateway_limit_t *limit,
    ngx_str_t *value)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    static ngx_str_t  ons[] = {
        ngx_string("on=request"),
        ngx_string("on=connection"),
        ngx_string("on=message")
    };

    if (ngx_strncmp(value->data, "zone=", 5) == 0 && value->len > 5
        && ngx_strchr(value->data, ':') == NULL)
    {
        name.data = value->data + 5;
        name.len = value->len - 5;

        limit->zone = ngx_http_gateway_limit_zone_get(cf, &name);

        return limit->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    for (i = 0; i < 3; i++) {
        if (value->len == ons[i].len
            && ngx_strncmp(value->data, ons[i].data, ons[i].len) == 0)
        {
            limit->on = i;
            return NGX_CONF_OK;
        }
    }

    if (ngx_strncmp(value->data, "cost=", 5) == 0) {
        return ngx_http_gateway_limit_cost_value(cf, limit, value);
    }

    if (ngx_strcmp(value->data, "dry_run") == 0) {
        limit->dry_run = 1;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"gateway_limit\": "
                       "accepted are \"zone=name\" of a "
                       "\"gateway_limit_zone\", \"on=request\", "
                       "\"on=connection\" or \"on=message\", \"cost=number\" "
                       "and \"dry_run\"", value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_limit_loc_conf_t *llcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_gateway_limit_t  *limit, *other;

    if (llcf->limits == NGX_CONF_UNSET_PTR) {
        llcf->limits = ngx_array_create(cf->pool, 2, sizeof(*limit));
        if (llcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (llcf->limits->nelts == NGX_HTTP_GATEWAY_LIMIT_MOST) {
        return "stands there too often, at most 8 are accepted";
    }

    limit = ngx_array_push(llcf->limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(limit, sizeof(*limit));
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_gateway_limit_param(cf, limit, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (limit->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_limit\" needs \"zone=name\", the name "
                           "of a \"gateway_limit_zone\"");
        return NGX_CONF_ERROR;
    }

    /* an opening is a request too, and no zone is charged twice for one */

    other = llcf->limits->elts;

    for (i = 0; i < llcf->limits->nelts - 1; i++) {
        if (other[i].zone == limit->zone
            && (other[i].on == NGX_HTTP_GATEWAY_LIMIT_MESSAGE)
               == (limit->on == NGX_HTTP_GATEWAY_LIMIT_MESSAGE))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"gateway_limit zone=%V\" is duplicate: what "
                               "it limits would be counted twice, define "
                               "another zone", &limit->zone->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_limit_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_limit_loc_conf_t *llcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (llcf->status != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_atoi(value[1].data, value[1].len);

    if (cf->args->nelts != 2 || n < 400 || n > 599) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in "
                           "\"gateway_limit_status\": one code from 400 to "
                           "599 is accepted", &value[1]);
        return NGX_CONF_ERROR;
    }

    llcf->status = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_limit_choice(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                        *value;
    ngx_uint_t                       *np;
    ngx_conf_enum_t                  *word;
    ngx_http_gateway_limit_choice_t  *choice;

    np = (ngx_uint_t *) ((char *) conf + cmd->offset);

    if (*np != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    choice = cmd->post;
    value = cf->args->elts;

    for (word = choice->words;
         word->name.len && cf->args->nelts == 2;
         word++)
    {
        if (word->name.len == value[1].len
            && ngx_strncmp(word->name.data, value[1].data, value[1].len) == 0)
        {
            *np = word->value;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\": one of %s is "
                       "accepted", &value[1], &cmd->name, choice->accepted);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_gateway_limit_variable_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_uint_t                     i;
    ngx_http_gateway_limit_ctx_t  *ctx;

    static ngx_str_t  passed = ngx_string("PASSED");
    static ngx_str_t  rejected = ngx_string("REJECTED");
    static ngx_str_t  dry_run = ngx_string("REJECTED_DRY_RUN");

    ngx_str_t  *s;

    ctx = ngx_http_gateway_limit_ctx(r);

    if (ctx == NULL || ctx->n == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    s = ctx->rejected ? &rejected : &passed;

    for (i = 0; i < ctx->n && !ctx->rejected; i++) {
        if (ctx->items[i].rejected) {
            s = &dry_run;
        }
    }

    v->data = s->data;
    v->len = s->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* data: 0 what remains, 1 the seconds until all is free. */

static ngx_int_t
ngx_http_gateway_limit_variable_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    uint64_t                        n;
    ngx_http_gateway_limit_ctx_t   *ctx;
    ngx_http_gateway_limit_item_t  *item;

    ctx = ngx_http_gateway_limit_ctx(r);
    item = ctx ? ngx_http_gateway_limit_least(ctx->items, ctx->n, 1) : NULL;

    if (item == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    n = data ? ngx_http_gateway_limit_seconds(item->state.reset)
             : item->state.remaining;

    v->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(v->data, "%uL", n) - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_limit_preconf(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_gateway_limit_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_limit_postconf(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_handler_pt                  *h;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_gateway_limit_zone_t       **zones;
    ngx_http_gateway_limit_main_conf_t   *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_limit_module);
    zones = lmcf->zones.elts;

    for (i = 0; i < lmcf->zones.nelts; i++) {

        if (zones[i]->shm_zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "limit zone \"%V\" is not defined, write "
                          "\"gateway_limit_zone $binary_remote_addr "
                          "zone=%V:10m rate=100/s;\" in the http block",
                          &zones[i]->name, &zones[i]->name);
            return NGX_ERROR;
        }
    }

    if (lmcf->zones.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_gateway_limit_preaccess_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_gateway_limit_precontent_handler;

    return NGX_OK;
}


static void *
ngx_http_gateway_limit_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_limit_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(*lmcf));

    if (lmcf == NULL
        || ngx_array_init(&lmcf->zones, cf->pool, 4, sizeof(void *))
           != NGX_OK)
    {
        return NULL;
    }

    return lmcf;
}


static void *
ngx_http_gateway_limit_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_limit_loc_conf_t  *llcf;

    llcf = ngx_pcalloc(cf->pool, sizeof(*llcf));
    if (llcf == NULL) {
        return NULL;
    }

    llcf->limits = NGX_CONF_UNSET_PTR;
    llcf->status = NGX_CONF_UNSET_UINT;
    llcf->headers = NGX_CONF_UNSET_UINT;
    llcf->log_level = NGX_CONF_UNSET_UINT;

    return llcf;
}


static char *
ngx_http_gateway_limit_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_limit_loc_conf_t  *prev = parent;
    ngx_http_gateway_limit_loc_conf_t  *conf = child;

    ngx_uint_t                 i;
    ngx_http_gateway_limit_t  *limit;

    ngx_conf_merge_ptr_value(conf->limits, prev->limits, NULL);
    ngx_conf_merge_uint_value(conf->status, prev->status, 429);
    ngx_conf_merge_uint_value(conf->headers, prev->headers,
                              NGX_HTTP_GATEWAY_LIMIT_DRAFT);
    ngx_conf_merge_uint_value(conf->log_level, prev->log_level, NGX_LOG_ERR);

    if (conf->limits) {
        limit = conf->limits->elts;

        for (i = 0; i < conf->limits->nelts; i++) {
            conf->claims |= limit[i].zone->claim;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_limit_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_gateway_limit_zone_t       **zones;
    ngx_http_gateway_limit_main_conf_t   *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_gateway_limit_module);
    if (lmcf == NULL) {
        return NGX_OK;
    }

    zones = lmcf->zones.elts;

    for (i = 0; i < lmcf->zones.nelts; i++) {
        ngx_http_gateway_limit_zone_adopt(zones[i], cycle->log);

        if (zones[i]->sync
            && ngx_http_gateway_limit_sync_init(zones[i], cycle) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_gateway_limit_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_gateway_limit_zone_t       **zones;
    ngx_http_gateway_limit_main_conf_t   *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_gateway_limit_module);
    if (lmcf == NULL) {
        return;
    }

    zones = lmcf->zones.elts;

    for (i = 0; i < lmcf->zones.nelts; i++) {
        if (zones[i]->sync) {
            ngx_http_gateway_limit_sync_leave(zones[i]->sync);
        }
    }
}
