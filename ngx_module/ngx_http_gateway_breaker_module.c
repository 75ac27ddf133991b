/*
 * gateway_breaker, gateway_breaker_on, gateway_breaker_fallback and
 * $gateway_breaker_state.
 */

#include "ngx_http_gateway_breaker_int.h"


static void *ngx_http_gateway_breaker_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_breaker_create_srv_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_breaker_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_breaker_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_gateway_breaker_preconf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_breaker_postconf(ngx_conf_t *cf);
static char *ngx_http_gateway_breaker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_breaker_on(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_gateway_breaker_named(ngx_conf_t *cf,
    ngx_str_t *name);
static ngx_int_t ngx_http_gateway_breaker_names_known(ngx_conf_t *cf);
static char *ngx_http_gateway_breaker_fallback(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_gateway_breaker_state_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_gateway_listener_t  ngx_http_gateway_breaker_listener = {
    ngx_http_gateway_breaker_woken,
    ngx_http_gateway_breaker_died
};


static ngx_command_t  ngx_http_gateway_breaker_commands[] = {

    { ngx_string("gateway_breaker"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_breaker,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_breaker_on"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_breaker_on,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_breaker_fallback"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_breaker_fallback,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_breaker_module_ctx = {
    ngx_http_gateway_breaker_preconf,           /* preconfiguration */
    ngx_http_gateway_breaker_postconf,          /* postconfiguration */

    ngx_http_gateway_breaker_create_main_conf,  /* create main conf */
    NULL,                                       /* init main conf */

    ngx_http_gateway_breaker_create_srv_conf,   /* create server conf */
    NULL,                                       /* merge server conf */

    ngx_http_gateway_breaker_create_loc_conf,   /* create location conf */
    ngx_http_gateway_breaker_merge_loc_conf     /* merge location conf */
};


ngx_module_t  ngx_http_gateway_breaker_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_breaker_module_ctx,       /* module context */
    ngx_http_gateway_breaker_commands,          /* module directives */
    NGX_HTTP_MODULE,                            /* module type */
    NULL,                                       /* init master */
    NULL,                                       /* init module */
    NULL,                                       /* init process */
    NULL,                                       /* init thread */
    NULL,                                       /* exit thread */
    NULL,                                       /* exit process */
    NULL,                                       /* exit master */
    NGX_MODULE_V1_PADDING
};


/* gateway_breaker's parameters that are numbers and times */

typedef struct {
    ngx_str_t                      name;
    size_t                         offset;    /* in gw_breaker_conf_t */
    ngx_int_t                      max;
    char                          *accepted;
} ngx_http_gateway_breaker_param_t;


static ngx_http_gateway_breaker_param_t  ngx_http_gateway_breaker_numbers[] = {

    { ngx_string("failures="),
      offsetof(gw_breaker_conf_t, failures), 1000000,
      "a number of failures from 1 to 1000000 is accepted" },

    { ngx_string("min_requests="),
      offsetof(gw_breaker_conf_t, min_requests), 1000000,
      "a number of requests from 1 to 1000000 is accepted" },

    { ngx_string("probes="),
      offsetof(gw_breaker_conf_t, probes), 1000,
      "a number of probes from 1 to 1000 is accepted" },

    { ngx_string("successes="),
      offsetof(gw_breaker_conf_t, successes), 1000000,
      "a number of successes from 1 to 1000000 is accepted" },

    { ngx_null_string, 0, 0, NULL }
};


/* ms; a day at most */

static ngx_http_gateway_breaker_param_t  ngx_http_gateway_breaker_times[] = {

    { ngx_string("window="),
      offsetof(gw_breaker_conf_t, window), 86400000,
      "a time from 100ms to 1d such as 10s is accepted" },

    { ngx_string("open="),
      offsetof(gw_breaker_conf_t, open), 86400000,
      "a time from 10ms to 1d such as 30s is accepted" },

    { ngx_string("open_max="),
      offsetof(gw_breaker_conf_t, open_max), 86400000,
      "a time from 10ms to 1d such as 5m is accepted" },

    { ngx_null_string, 0, 0, NULL }
};


static ngx_http_variable_t  ngx_http_gateway_breaker_state_var = {
    ngx_string("gateway_breaker_state"), NULL,
    ngx_http_gateway_breaker_state_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0
};


static void *
ngx_http_gateway_breaker_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_breaker_main_conf_t  *bmcf;

    bmcf = ngx_pcalloc(cf->pool, sizeof(*bmcf));

    if (bmcf == NULL
        || ngx_array_init(&bmcf->zones, cf->pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&bmcf->names, cf->pool, 2,
                          sizeof(ngx_http_gateway_fallback_name_t))
           != NGX_OK)
    {
        return NULL;
    }

    return bmcf;
}


static void *
ngx_http_gateway_breaker_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_gateway_breaker_conf_t));
}


static void *
ngx_http_gateway_breaker_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_breaker_loc_conf_t  *blcf;

    blcf = ngx_pcalloc(cf->pool, sizeof(*blcf));
    if (blcf == NULL) {
        return NULL;
    }

    blcf->fallback = NGX_CONF_UNSET_PTR;

    return blcf;
}


static char *
ngx_http_gateway_breaker_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_breaker_loc_conf_t  *prev = parent;
    ngx_http_gateway_breaker_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->fallback, prev->fallback, NULL);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_breaker_preconf(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    ngx_http_gateway_breaker_stale = NULL;

    var = ngx_http_add_variable(cf, &ngx_http_gateway_breaker_state_var.name,
                                ngx_http_gateway_breaker_state_var.flags);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_gateway_breaker_state_var.get_handler;

    return NGX_OK;
}


/* Several servers: scope=peer means something. */

static ngx_uint_t
ngx_http_gateway_breaker_several(ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                     n;
    ngx_http_upstream_rr_peers_t  *peers;

    n = 0;

    for (peers = us->peer.data; peers; peers = peers->next) {
        n += peers->number;
    }

    return n > 1;
}


/* All upstreams have been set up by now, and by whatever they have. */

static ngx_int_t
ngx_http_gateway_breaker_postconf(ngx_conf_t *cf)
{
    ngx_uint_t                         i;
    ngx_http_upstream_srv_conf_t     **us;
    ngx_http_upstream_main_conf_t     *umcf;
    ngx_http_gateway_breaker_conf_t   *bcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    us = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (us[i]->srv_conf == NULL) {
            continue;
        }

        bcf = ngx_http_conf_upstream_srv_conf(us[i],
                                              ngx_http_gateway_breaker_module);

        if (bcf->zone == NULL) {

            if (bcf->on_set) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "\"gateway_breaker_on\" without "
                              "\"gateway_breaker\" in upstream \"%V\" in %s:"
                              "%ui", &us[i]->host, us[i]->file_name,
                              us[i]->line);
                return NGX_ERROR;
            }

            continue;
        }

        bcf->by_peer = bcf->scope_peer
                       && ngx_http_gateway_breaker_several(us[i]);

        bcf->init = us[i]->peer.init;
        us[i]->peer.init = ngx_http_gateway_breaker_init_peer;
    }

    if (ngx_http_gateway_breaker_names_known(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_breaker_zones_ready(cf);
}


static ngx_uint_t
ngx_http_gateway_breaker_is(ngx_str_t *value, ngx_str_t *name, ngx_str_t *rest)
{
    if (value->len < name->len
        || ngx_strncmp(value->data, name->data, name->len) != 0)
    {
        return 0;
    }

    rest->data = value->data + name->len;
    rest->len = value->len - name->len;

    return 1;
}


/* Percent from 1 to 100; the sign is demanded. */

static ngx_int_t
ngx_http_gateway_breaker_percent(ngx_str_t *s)
{
    ngx_int_t  n;

    if (s->len < 2 || s->data[s->len - 1] != '%') {
        return NGX_ERROR;
    }

    n = ngx_atoi(s->data, s->len - 1);

    return n < 1 || n > 100 ? NGX_ERROR : n;
}


/* One parameter: NULL, or what is accepted instead. */

static char *
ngx_http_gateway_breaker_number(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *value)
{
    ngx_int_t                          n;
    ngx_str_t                          s;
    ngx_http_gateway_breaker_param_t  *p;

    for (p = ngx_http_gateway_breaker_numbers; p->name.len; p++) {

        if (ngx_http_gateway_breaker_is(value, &p->name, &s)) {
            n = ngx_atoi(s.data, s.len);

            if (n < 1 || n > p->max) {
                return p->accepted;
            }

            *(uint32_t *) ((u_char *) &bcf->core + p->offset) = n;
            return NULL;
        }
    }

    for (p = ngx_http_gateway_breaker_times; p->name.len; p++) {

        if (ngx_http_gateway_breaker_is(value, &p->name, &s)) {
            n = ngx_parse_time(&s, 0);

            if (n < (p == ngx_http_gateway_breaker_times ? 100 : 10)
                || n > p->max)
            {
                return p->accepted;
            }

            *(uint64_t *) ((u_char *) &bcf->core + p->offset) = n;
            return NULL;
        }
    }

    return "\"zone=\", \"failures=\", \"ratio=\", \"min_requests=\", "
           "\"window=\", \"slow=\", \"open=\", \"open_max=\", \"probes=\", "
           "\"successes=\", \"scope=\" or \"max_ejected=\" is accepted";
}


static char *
ngx_http_gateway_breaker_param(ngx_conf_t *cf,
    ngx_http_gateway_breaker_conf_t *bcf, ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  s;

    static ngx_str_t  zone = ngx_string("zone=");
    static ngx_str_t  ratio = ngx_string("ratio=");
    static ngx_str_t  ejected = ngx_string("max_ejected=");
    static ngx_str_t  slow = ngx_string("slow=");
    static ngx_str_t  scope = ngx_string("scope=");

    if (ngx_http_gateway_breaker_is(value, &zone, &s)) {
        return bcf->zone ? "one zone is accepted"
                         : ngx_http_gateway_breaker_zone(cf, bcf, value);
    }

    if (ngx_http_gateway_breaker_is(value, &ratio, &s)) {
        n = ngx_http_gateway_breaker_percent(&s);
        bcf->core.ratio = n;

        return n == NGX_ERROR ? "1% to 100% such as ratio=50% is accepted"
                              : NULL;
    }

    if (ngx_http_gateway_breaker_is(value, &ejected, &s)) {
        n = ngx_http_gateway_breaker_percent(&s);
        bcf->max_ejected = n;

        return n == NGX_ERROR
               ? "1% to 100% such as max_ejected=50% is accepted" : NULL;
    }

    if (ngx_http_gateway_breaker_is(value, &slow, &s)) {
        n = ngx_parse_time(&s, 0);
        bcf->slow = n;

        return n == NGX_ERROR || n == 0
               ? "a time from 1ms such as 500ms or 2s is accepted" : NULL;
    }

    if (ngx_http_gateway_breaker_is(value, &scope, &s)) {

        if (s.len == 4 && ngx_strncmp(s.data, "peer", 4) == 0) {
            bcf->scope_peer = 1;
            return NULL;
        }

        if (s.len == 8 && ngx_strncmp(s.data, "upstream", 8) == 0) {
            bcf->scope_peer = 0;
            return NULL;
        }

        return "\"scope=upstream\" or \"scope=peer\" is accepted";
    }

    return ngx_http_gateway_breaker_number(bcf, value);
}


static void
ngx_http_gateway_breaker_defaults(ngx_http_gateway_breaker_conf_t *bcf)
{
    bcf->core.failures = 5;
    bcf->core.ratio = 50;
    bcf->core.min_requests = 20;
    bcf->core.window = 10000;
    bcf->core.open = 30000;
    bcf->core.probes = 3;
    bcf->core.successes = 3;
    bcf->max_ejected = 50;

    if (!bcf->on_set) {
        bcf->on_error = 1;
        bcf->on_timeout = 1;
        bcf->on_status[500 - 400] = 1;
        bcf->on_status[502 - 400] = 1;
        bcf->on_status[503 - 400] = 1;
        bcf->on_status[504 - 400] = 1;
    }
}


static char *
ngx_http_gateway_breaker(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_breaker_conf_t *bcf = conf;

    char        *accepted;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (bcf->zone) {
        return "is duplicate";
    }

    bcf->upstream = ngx_http_conf_get_module_srv_conf(cf,
                                                     ngx_http_upstream_module);

    ngx_http_gateway_breaker_defaults(bcf);

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        accepted = ngx_http_gateway_breaker_param(cf, bcf, &value[i]);

        if (accepted) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"gateway_breaker\", %s", &value[i], accepted);
            return NGX_CONF_ERROR;
        }
    }

    if (bcf->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_breaker\" must have \"zone=name:size\", "
                           "such as \"zone=breakers:64k\"");
        return NGX_CONF_ERROR;
    }

    if (bcf->core.open_max == 0) {
        bcf->core.open_max = ngx_max(300000, bcf->core.open);
    }

    if (bcf->core.open_max < bcf->core.open) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"open_max\" of \"gateway_breaker\" is %uL ms, as "
                           "much as \"open\", %uL ms, or more is accepted",
                           bcf->core.open_max, bcf->core.open);
        return NGX_CONF_ERROR;
    }

    if (bcf->upstream->host.len > NGX_HTTP_GATEWAY_BREAKER_KEY - 120) {
        return "is in an upstream whose name is too long";
    }

    if (ngx_http_gateway_worker_listen(cf, &ngx_http_gateway_breaker_listener)
            != NGX_OK
        || ngx_array_init(&bcf->entries, cf->pool, 4, sizeof(void *))
           != NGX_OK
        || ngx_http_gateway_breaker_metrics(cf, bcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_breaker_on(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_breaker_conf_t *bcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (bcf->on_set) {
        return "is duplicate";
    }

    bcf->on_set = 1;
    bcf->on_error = 0;
    bcf->on_timeout = 0;
    ngx_memzero(bcf->on_status, sizeof(bcf->on_status));

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "error") == 0) {
            bcf->on_error = 1;
            continue;
        }

        if (ngx_strcmp(value[i].data, "timeout") == 0) {
            bcf->on_timeout = 1;
            continue;
        }

        n = value[i].len == 8 && ngx_strncmp(value[i].data, "http_", 5) == 0
            ? ngx_atoi(value[i].data + 5, 3) : NGX_ERROR;

        if (n < 400 || n > 599) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of "
                               "\"gateway_breaker_on\", \"error\", "
                               "\"timeout\" or \"http_400\" to \"http_599\" "
                               "is accepted", &value[i]);
            return NGX_CONF_ERROR;
        }

        bcf->on_status[n - 400] = 1;
    }

    return NGX_CONF_OK;
}


/* In the http block it is for servers that may not all have the location. */

static ngx_int_t
ngx_http_gateway_breaker_named(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_gateway_fallback_name_t      *n;
    ngx_http_gateway_breaker_main_conf_t  *bmcf;

    if (cf->cmd_type == NGX_HTTP_MAIN_CONF) {
        return NGX_OK;
    }

    bmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_breaker_module);

    n = ngx_array_push(&bmcf->names);
    if (n == NULL) {
        return NGX_ERROR;
    }

    n->name = *name;
    n->cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_breaker_names_known(ngx_conf_t *cf)
{
    ngx_uint_t                              i;
    ngx_http_core_loc_conf_t              **clcf;
    ngx_http_gateway_fallback_name_t       *n;
    ngx_http_gateway_breaker_main_conf_t   *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_breaker_module);
    n = bmcf->names.elts;

    for (i = 0; i < bmcf->names.nelts; i++) {

        clcf = n[i].cscf->named_locations;

        while (clcf && *clcf
               && ((*clcf)->name.len != n[i].name.len
                   || ngx_strncmp((*clcf)->name.data, n[i].name.data,
                                  n[i].name.len)
                      != 0))
        {
            clcf++;
        }

        if (clcf == NULL || *clcf == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"gateway_breaker_fallback %V\": there is no "
                          "\"location %V\" in this server \"%V\" in %s:%ui",
                          &n[i].name, &n[i].name, &n[i].cscf->server_name,
                          n[i].cscf->file_name, n[i].cscf->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_http_gateway_breaker_fallback(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_breaker_loc_conf_t *blcf = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_gateway_fallback_t  *f;

    if (blcf->fallback != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    blcf->fallback = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                      sizeof(*f));
    if (blcf->fallback == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        f = ngx_array_push(blcf->fallback);

        if (i > 1 && f[-1].type != NGX_HTTP_GATEWAY_FALLBACK_STALE) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"%V\" of \"gateway_breaker_fallback\" is "
                               "never reached, a location or a code comes "
                               "last", &value[i]);
        }

        f->name = value[i];
        f->code = 0;

        if (ngx_strcmp(value[i].data, "stale") == 0) {
            f->type = NGX_HTTP_GATEWAY_FALLBACK_STALE;
            continue;
        }

        if (value[i].len > 1 && value[i].data[0] == '@') {
            f->type = NGX_HTTP_GATEWAY_FALLBACK_LOCATION;

            if (ngx_http_gateway_breaker_named(cf, &value[i]) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        f->type = NGX_HTTP_GATEWAY_FALLBACK_CODE;
        f->code = ngx_atoi(value[i].data, value[i].len);

        if (f->code < 400 || f->code > 599) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of "
                               "\"gateway_breaker_fallback\", \"stale\", a "
                               "named location such as \"@fallback\" or a "
                               "code from 400 to 599 is accepted", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_breaker_state_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    char                            *name;
    ngx_http_gateway_breaker_ctx_t  *ctx;

    ctx = ngx_http_gateway_breaker_ctx(r, 0);

    if (ctx == NULL || !ctx->decided) {
        v->not_found = 1;
        return NGX_OK;
    }

    name = ngx_http_gateway_breaker_name(ctx->state);

    v->data = (u_char *) name;
    v->len = ngx_strlen(name);
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
