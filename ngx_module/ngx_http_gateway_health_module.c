/*
 * gateway_health_check and gateway_health: directives and configuration.
 * How it works is in the header.
 */

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_health.h"
#include "ngx_http_gateway_version.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_HEALTH_ACCEPTED                                     \
    "\"uri=/path\", \"interval=time\", \"timeout=time\", \"passes=number\", " \
    "\"fails=number\" and \"match=codes\" are accepted"


static ngx_int_t ngx_http_gateway_health_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_gateway_health_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_health_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_health_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_gateway_health_check_set(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_health_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_gateway_health_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_gateway_health_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_health_exit_process(ngx_cycle_t *cycle);


static ngx_http_gateway_listener_t  ngx_http_gateway_health_listener = {
    ngx_http_gateway_health_look,
    ngx_http_gateway_health_release
};


static ngx_command_t  ngx_http_gateway_health_commands[] = {

    { ngx_string("gateway_health_check"),
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,
      ngx_http_gateway_health_check_set,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_gateway_health_set,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_health_module_ctx = {
    NULL,                                      /* preconfiguration */
    ngx_http_gateway_health_postconfiguration, /* postconfiguration */
    ngx_http_gateway_health_create_main_conf,  /* create main configuration */
    NULL,                                      /* init main configuration */
    ngx_http_gateway_health_create_srv_conf,   /* create server conf */
    NULL,                                      /* merge server conf */
    NULL,                                      /* create location conf */
    ngx_http_gateway_health_merge_loc_conf     /* merge location conf */
};


ngx_module_t  ngx_http_gateway_health_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_health_module_ctx,       /* module context */
    ngx_http_gateway_health_commands,          /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    ngx_http_gateway_health_init_module,       /* init module */
    ngx_http_gateway_health_init_process,      /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    ngx_http_gateway_health_exit_process,      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_gateway_health_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_health_main_conf_t  *hmcf;

    hmcf = ngx_pcalloc(cf->pool, sizeof(*hmcf));
    if (hmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&hmcf->checked, cf->pool, 4, sizeof(void *))
        != NGX_OK)
    {
        return NULL;
    }

    return hmcf;
}


static void *
ngx_http_gateway_health_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_health_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL) {
        return NULL;
    }

    conf->interval = NGX_CONF_UNSET_MSEC;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->passes = NGX_CONF_UNSET_UINT;
    conf->fails = NGX_CONF_UNSET_UINT;

    return conf;
}


/* One number of a list of codes: three digits, from 200 to 999. */

static ngx_int_t
ngx_http_gateway_health_code(u_char **p, u_char *last)
{
    ngx_int_t  code;

    if (last - *p < 3) {
        return NGX_ERROR;
    }

    code = ngx_atoi(*p, 3);
    *p += 3;

    return code >= 200 && code < NGX_HTTP_GATEWAY_HEALTH_CODES ? code
                                                               : NGX_ERROR;
}


static ngx_int_t
ngx_http_gateway_health_match(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_str_t *s)
{
    u_char     *p, *last;
    ngx_int_t   from, to;

    p = s->data;
    last = p + s->len;

    for ( ;; ) {
        from = ngx_http_gateway_health_code(&p, last);
        to = from;

        if (p < last && *p == '-') {
            p++;
            to = ngx_http_gateway_health_code(&p, last);
        }

        if (from == NGX_ERROR || to < from) {
            return NGX_ERROR;
        }

        ngx_memset(&conf->match[from], 1, to - from + 1);

        if (p == last) {
            return NGX_OK;
        }

        if (*p++ != ',') {
            return NGX_ERROR;
        }
    }
}


static char *
ngx_http_gateway_health_set_uri(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_str_t *s)
{
    size_t  i;

    if (conf->uri.data) {
        return "it is given twice";
    }

    if (s->len == 0 || s->data[0] != '/') {
        return "a path that begins with \"/\" is accepted";
    }

    for (i = 0; i < s->len; i++) {
        if (s->data[i] <= ' ' || s->data[i] >= 0x7f || s->data[i] == '#') {
            return "a path of printable ASCII without blanks and \"#\" is "
                   "accepted";
        }
    }

    conf->uri = *s;

    return NULL;
}


static char *
ngx_http_gateway_health_set_time(ngx_msec_t *msec, ngx_str_t *s)
{
    ngx_int_t  n;

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return "it is given twice";
    }

    n = ngx_parse_time(s, 0);

    if (n == NGX_ERROR || n < 10 || n > 24 * 60 * 60 * 1000) {
        return "a time from 10ms to 1d such as 5s is accepted";
    }

    *msec = n;

    return NULL;
}


static char *
ngx_http_gateway_health_set_count(ngx_uint_t *count, ngx_str_t *s)
{
    ngx_int_t  n;

    if (*count != NGX_CONF_UNSET_UINT) {
        return "it is given twice";
    }

    n = ngx_atoi(s->data, s->len);

    if (n == NGX_ERROR || n < 1 || n > 1000) {
        return "a number from 1 to 1000 is accepted";
    }

    *count = n;

    return NULL;
}


/* One parameter: NULL, or what is wrong with it. */

static char *
ngx_http_gateway_health_param(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_str_t *value, ngx_uint_t *matched)
{
    ngx_str_t  s;

    s.data = (u_char *) ngx_strchr(value->data, '=');

    if (s.data == NULL) {
        return NGX_HTTP_GATEWAY_HEALTH_ACCEPTED;
    }

    s.data++;
    s.len = value->data + value->len - s.data;

    if (ngx_strncmp(value->data, "uri=", 4) == 0) {
        return ngx_http_gateway_health_set_uri(conf, &s);
    }

    if (ngx_strncmp(value->data, "interval=", 9) == 0) {
        return ngx_http_gateway_health_set_time(&conf->interval, &s);
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        return ngx_http_gateway_health_set_time(&conf->timeout, &s);
    }

    if (ngx_strncmp(value->data, "passes=", 7) == 0) {
        return ngx_http_gateway_health_set_count(&conf->passes, &s);
    }

    if (ngx_strncmp(value->data, "fails=", 6) == 0) {
        return ngx_http_gateway_health_set_count(&conf->fails, &s);
    }

    if (ngx_strncmp(value->data, "match=", 6) == 0) {
        if ((*matched)++) {
            return "it is given twice";
        }

        return ngx_http_gateway_health_match(conf, &s) == NGX_OK ? NULL
               : "codes from 200 to 999 and ranges of them, separated by "
                 "commas, such as \"200-299,404\" are accepted";
    }

    return NGX_HTTP_GATEWAY_HEALTH_ACCEPTED;
}


static char *
ngx_http_gateway_health_check_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_health_srv_conf_t  *hscf = conf;

    char                                 *wrong;
    ngx_str_t                            *value;
    ngx_uint_t                            i, matched;
    ngx_http_gateway_health_srv_conf_t  **checked;
    ngx_http_gateway_health_main_conf_t  *hmcf;

    if (hscf->us) {
        return "is duplicate";
    }

    value = cf->args->elts;
    matched = 0;

    for (i = 1; i < cf->args->nelts; i++) {
        wrong = ngx_http_gateway_health_param(hscf, &value[i], &matched);

        if (wrong) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"gateway_health_check\", %s", &value[i],
                               wrong);
            return NGX_CONF_ERROR;
        }
    }

    if (hscf->uri.data == NULL) {
        return "needs \"uri=/path\"";
    }

    ngx_conf_init_msec_value(hscf->interval, 5000);
    ngx_conf_init_msec_value(hscf->timeout, 2000);
    ngx_conf_init_uint_value(hscf->passes, 2);
    ngx_conf_init_uint_value(hscf->fails, 3);

    if (!matched) {
        ngx_memset(&hscf->match[200], 1, 200);
    }

    hscf->us = ngx_http_conf_get_module_srv_conf(cf,
                                                 ngx_http_upstream_module);
    ngx_queue_init(&hscf->peers);

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_health_module);

    checked = ngx_array_push(&hmcf->checked);
    if (checked == NULL) {
        return NGX_CONF_ERROR;
    }

    *checked = hscf;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_health_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_gateway_health_handler) {
        return "is duplicate";
    }

    clcf->handler = ngx_http_gateway_health_handler;
    ngx_http_gateway_cache_never(cf);

    return NGX_CONF_OK;
}


#if (NGX_HTTP_SSL)

/* The name that the certificate must have. Without a request variables have no
 * value, and the upstream's name is what `proxy_ssl_name` defaults to. */

static ngx_int_t
ngx_http_gateway_health_ssl_name(ngx_conf_t *cf,
    ngx_http_gateway_health_srv_conf_t *conf, ngx_http_upstream_conf_t *u)
{
    u_char           *p, *last;
    ngx_str_t         name;
    struct in6_addr   in6;

    name = conf->us->host;

    if (u->ssl_name && u->ssl_name->lengths == NULL) {
        name = u->ssl_name->value;
    }

    last = name.data + name.len;

    /* without a port, as nginx does it */

    if (name.len && name.data[0] == '[') {
        p = ngx_strlchr(name.data, last, ']');
        p = p ? ngx_strlchr(p, last, ':') : NULL;

    } else {
        p = ngx_strlchr(name.data, last, ':');
    }

    name.len = (p ? p : last) - name.data;

    conf->ssl_name.data = ngx_pnalloc(cf->pool, name.len + 1);
    if (conf->ssl_name.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(conf->ssl_name.data, name.data, name.len + 1);
    conf->ssl_name.len = name.len;

    /* SNI has no addresses (RFC 6066 3) */

    conf->ssl_verify = u->ssl_verify == 1;
    conf->ssl_server_name = u->ssl_server_name == 1 && name.len
                            && name.data[0] != '['
                            && ngx_inet_addr(name.data, name.len)
                               == INADDR_NONE
                            && ngx_inet6_addr(name.data, name.len,
                                              in6.s6_addr)
                               != NGX_OK;

    return NGX_OK;
}


/*
 * How to speak TLS with an upstream is said where requests are passed to it.
 * The location configurations of these modules begin with an
 * ngx_http_upstream_conf_t; theirs are merged before this module's.
 */

static ngx_int_t
ngx_http_gateway_health_find_ssl(ngx_conf_t *cf, ngx_module_t *module)
{
    ngx_http_conf_ctx_t                 *ctx;
    ngx_http_upstream_conf_t            *u;
    ngx_http_gateway_health_srv_conf_t  *conf;

    ctx = cf->ctx;
    u = ctx->loc_conf[module->ctx_index];

    if (u == NULL || u->upstream == NULL || u->upstream->srv_conf == NULL
        || u->ssl == NULL || u->ssl->ctx == NULL)
    {
        return NGX_OK;
    }

    conf = ngx_http_conf_upstream_srv_conf(u->upstream,
                                           ngx_http_gateway_health_module);

    if (conf->us == NULL || conf->ssl) {
        return NGX_OK;
    }

    conf->ssl = u->ssl;

    return ngx_http_gateway_health_ssl_name(cf, conf, u);
}

#endif


static char *
ngx_http_gateway_health_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
#if (NGX_HTTP_SSL)

    char           *name;
    ngx_uint_t      i;
    ngx_module_t  **modules;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {
        name = modules[i]->name;

        if (modules[i]->type == NGX_HTTP_MODULE
            && (ngx_strcmp(name, "ngx_http_proxy_module") == 0
                || ngx_strcmp(name, "ngx_http_grpc_module") == 0
                || ngx_strcmp(name, "ngx_http_uwsgi_module") == 0)
            && ngx_http_gateway_health_find_ssl(cf, modules[i]) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

#endif

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_health_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_gateway_health_srv_conf_t  *conf;

    ngx_http_gateway_health_apply();

    conf = ngx_http_conf_upstream_srv_conf(us, ngx_http_gateway_health_module);

    return conf->init_peer(r, us);
}


static ngx_int_t
ngx_http_gateway_health_request(ngx_conf_t *cf,
    ngx_http_gateway_health_srv_conf_t *conf)
{
    u_char  *p;
    size_t   len;

    static const char  format[] =
        "GET %V HTTP/1.1" CRLF
        "Host: %V" CRLF
        "User-Agent: gateway_health_check/" NGX_HTTP_GATEWAY_VERSION CRLF
        "Accept: */*" CRLF
        "Connection: keep-alive" CRLF
        CRLF;

    len = sizeof(format) + conf->uri.len + conf->us->host.len;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    conf->request.data = p;
    conf->request.len = ngx_snprintf(p, len, format, &conf->uri,
                                     &conf->us->host) - p;

    return NGX_OK;
}


static ngx_http_gateway_metric_t *
ngx_http_gateway_health_metric(ngx_conf_t *cf, ngx_str_t *label,
    const char *result)
{
    u_char     *p;
    ngx_str_t   labels;

    labels.len = label->len + sizeof(",result=\"\"") - 1 + ngx_strlen(result);

    p = ngx_pnalloc(cf->pool, labels.len);
    if (p == NULL) {
        return NULL;
    }

    labels.data = p;
    (void) ngx_sprintf(p, "%V,result=\"%s\"", label, result);

    return ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_COUNTER,
                                   "gateway_health_checks_total", &labels,
                                   "Health checks of servers.");
}


static ngx_int_t
ngx_http_gateway_health_metrics(ngx_conf_t *cf,
    ngx_http_gateway_health_srv_conf_t *conf)
{
    if (ngx_http_gateway_metric_label(cf, &conf->label, "upstream",
                                      &conf->us->host)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    conf->passed = ngx_http_gateway_health_metric(cf, &conf->label, "passed");
    conf->failed = ngx_http_gateway_health_metric(cf, &conf->label, "failed");

    return conf->passed && conf->failed ? NGX_OK : NGX_ERROR;
}


/* By now each method of balancing has set peer.init, wherever in the upstream
 * its directive stands. */

static ngx_int_t
ngx_http_gateway_health_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                             i;
    ngx_http_gateway_health_srv_conf_t   **conf, *hscf;
    ngx_http_gateway_health_main_conf_t   *hmcf;

    hmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_health_module);
    conf = hmcf->checked.elts;

    for (i = 0; i < hmcf->checked.nelts; i++) {
        hscf = conf[i];

        hscf->init_peer = hscf->us->peer.init;
        hscf->us->peer.init = ngx_http_gateway_health_init_peer;

        if (ngx_http_gateway_health_metrics(cf, hscf) != NGX_OK
            || ngx_http_gateway_health_request(cf, hscf) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (hmcf->checked.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_gateway_health_zone_add(cf, hmcf) != NGX_OK
        || ngx_http_gateway_worker_listen(cf,
                                          &ngx_http_gateway_health_listener)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_collector(cf, ngx_http_gateway_health_collect,
                                      hmcf);
}


/* Without a master the process stays, and the configuration whose peers it
 * knows is about to go. */

static ngx_int_t
ngx_http_gateway_health_init_module(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_SINGLE && !ngx_test_config
        && ngx_http_gateway_slot < NGX_HTTP_GATEWAY_MAX_WORKERS)
    {
        ngx_http_gateway_health_stop();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_health_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        ngx_http_gateway_health_look();
    }

    return NGX_OK;
}


static void
ngx_http_gateway_health_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        ngx_http_gateway_health_stop();
    }
}
