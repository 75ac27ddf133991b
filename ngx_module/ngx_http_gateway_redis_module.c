/*
 * gateway_redis: the directive, and starting and ending in a worker.
 */

#include "ngx_http_gateway_redis_int.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_REDIS_ACCEPTED                                      \
    "\"prefix=text\", \"connect_timeout=time\", \"timeout=time\", "          \
    "\"password_file=path\", \"ssl_verify=on|off\" and \"ssl_ca=path\" are " \
    "accepted"

typedef struct {
    ngx_array_t                   redis;     /* of pointers */
} ngx_http_gateway_redis_main_conf_t;


static void *ngx_http_gateway_redis_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_redis_init_main_conf(ngx_conf_t *cf,
    void *conf);
static char *ngx_http_gateway_redis_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_gateway_redis_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_redis_exit_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_redis_woken(void);
static void ngx_http_gateway_redis_died(ngx_uint_t slot);
static void ngx_http_gateway_redis_tick(ngx_event_t *ev);


static ngx_http_gateway_listener_t  ngx_http_gateway_redis_listener = {
    ngx_http_gateway_redis_woken,
    ngx_http_gateway_redis_died
};


static ngx_command_t  ngx_http_gateway_redis_commands[] = {

    { ngx_string("gateway_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_gateway_redis_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_redis_module_ctx = {
    NULL,                                      /* preconfiguration */
    NULL,                                      /* postconfiguration */
    ngx_http_gateway_redis_create_main_conf,   /* create main configuration */
    ngx_http_gateway_redis_init_main_conf,     /* init main configuration */
    NULL,                                      /* create server conf */
    NULL,                                      /* merge server conf */
    NULL,                                      /* create location conf */
    NULL                                       /* merge location conf */
};


ngx_module_t  ngx_http_gateway_redis_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_redis_module_ctx,        /* module context */
    ngx_http_gateway_redis_commands,           /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    NULL,                                      /* init module */
    ngx_http_gateway_redis_init_process,       /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    ngx_http_gateway_redis_exit_process,       /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_gateway_redis_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_redis_main_conf_t  *rmcf;

    rmcf = ngx_pcalloc(cf->pool, sizeof(*rmcf));
    if (rmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&rmcf->redis, cf->pool, 2, sizeof(void *)) != NGX_OK) {
        return NULL;
    }

    return rmcf;
}


ngx_http_gateway_redis_t *
ngx_http_gateway_redis_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                           i;
    ngx_http_gateway_redis_t            *redis, **p;
    ngx_http_gateway_redis_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_redis_module);
    p = rmcf->redis.elts;

    for (i = 0; i < rmcf->redis.nelts; i++) {
        if (p[i]->conf.name.len == name->len
            && ngx_memcmp(p[i]->conf.name.data, name->data, name->len) == 0)
        {
            return p[i];
        }
    }

    redis = ngx_pcalloc(cf->pool, sizeof(*redis));
    p = ngx_array_push(&rmcf->redis);

    if (redis == NULL || p == NULL
        || ngx_array_init(&redis->uses, cf->pool, 4,
                          sizeof(ngx_http_gateway_redis_use_t))
           != NGX_OK)
    {
        return NULL;
    }

    *p = redis;

    redis->conf.name = *name;
    redis->conf.timeout = NGX_CONF_UNSET_MSEC;
    redis->connect_timeout = NGX_CONF_UNSET_MSEC;
    redis->ssl_verify = NGX_CONF_UNSET;

    redis->file = cf->conf_file->file.name.data;
    redis->line = cf->conf_file->line;

    return redis;
}


ngx_int_t
ngx_http_gateway_redis_use(ngx_conf_t *cf, ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_user_t *user, void *data)
{
    ngx_http_gateway_redis_use_t  *use;

    use = ngx_array_push(&redis->uses);
    if (use == NULL) {
        return NGX_ERROR;
    }

    use->user = user;
    use->data = data;

    return NGX_OK;
}


/* Parameters: NULL, or what is wrong. */

static char *
ngx_http_gateway_redis_set_time(ngx_msec_t *msec, ngx_str_t *s)
{
    ngx_int_t  n;

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return "it is given twice";
    }

    n = ngx_parse_time(s, 0);

    if (n == NGX_ERROR || n < 10 || n > 60 * 1000) {
        return "a time from 10ms to 1m such as 500ms is accepted";
    }

    *msec = n;

    return NULL;
}


static char *
ngx_http_gateway_redis_set_prefix(ngx_str_t *prefix, ngx_str_t *s)
{
    size_t  i;

    if (prefix->data) {
        return "it is given twice";
    }

    for (i = 0; i < s->len; i++) {
        if (s->data[i] == '{' || s->data[i] == '}' || s->data[i] <= ' '
            || s->data[i] >= 0x7f)
        {
            return "printable ASCII without blanks, \"{\" and \"}\" is "
                   "accepted";
        }
    }

    if (s->len > 64) {
        return "at most 64 characters are accepted";
    }

    *prefix = *s;

    return NULL;
}


static char *
ngx_http_gateway_redis_set_path(ngx_str_t *path, ngx_str_t *s)
{
    if (path->data) {
        return "it is given twice";
    }

    if (s->len == 0) {
        return "a path is accepted";
    }

    *path = *s;

    return NULL;
}


static char *
ngx_http_gateway_redis_set_switch(ngx_flag_t *flag, ngx_str_t *s)
{
    if (*flag != NGX_CONF_UNSET) {
        return "it is given twice";
    }

    if (s->len == 2 && ngx_memcmp(s->data, "on", 2) == 0) {
        *flag = 1;
        return NULL;
    }

    if (s->len == 3 && ngx_memcmp(s->data, "off", 3) == 0) {
        *flag = 0;
        return NULL;
    }

    return "\"on\" or \"off\" is accepted";
}


static ngx_uint_t
ngx_http_gateway_redis_named(ngx_str_t *value, const char *name,
    ngx_str_t *rest)
{
    size_t  len;

    len = ngx_strlen(name);

    if (value->len < len || ngx_memcmp(value->data, name, len) != 0) {
        return 0;
    }

    rest->data = value->data + len;
    rest->len = value->len - len;

    return 1;
}


static char *
ngx_http_gateway_redis_param(ngx_http_gateway_redis_t *redis,
    ngx_str_t *value)
{
    ngx_str_t  s;

    if (ngx_http_gateway_redis_named(value, "prefix=", &s)) {
        return ngx_http_gateway_redis_set_prefix(&redis->conf.prefix, &s);
    }

    if (ngx_http_gateway_redis_named(value, "connect_timeout=", &s)) {
        return ngx_http_gateway_redis_set_time(&redis->connect_timeout, &s);
    }

    if (ngx_http_gateway_redis_named(value, "timeout=", &s)) {
        return ngx_http_gateway_redis_set_time(&redis->conf.timeout, &s);
    }

    if (ngx_http_gateway_redis_named(value, "password_file=", &s)) {
        return ngx_http_gateway_redis_set_path(&redis->password_file, &s);
    }

    if (ngx_http_gateway_redis_named(value, "ssl_verify=", &s)) {
        return ngx_http_gateway_redis_set_switch(&redis->ssl_verify, &s);
    }

    if (ngx_http_gateway_redis_named(value, "ssl_ca=", &s)) {
        return ngx_http_gateway_redis_set_path(&redis->ssl_ca, &s);
    }

    if (ngx_http_gateway_redis_named(value, "password=", &s)) {
        /* not to be shown */
        value->len -= s.len;
        return "a password stands in the URL or in \"password_file=path\"";
    }

    return "a URL such as \"redis://127.0.0.1:6379\", "
           NGX_HTTP_GATEWAY_REDIS_ACCEPTED;
}


static void
ngx_http_gateway_redis_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    ngx_http_gateway_redis_t  *redis;

    redis = data;

    emit(ctx, "gateway_redis_up", &redis->label,
         "Whether all workers are connected, and one is subscribed.",
         NGX_HTTP_GATEWAY_GAUGE, ngx_http_gateway_redis_share_up(redis));
}


static ngx_int_t
ngx_http_gateway_redis_set_metrics(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    if (ngx_http_gateway_metric_label(cf, &redis->label, "name",
                                      &redis->conf.name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    redis->seconds = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_HISTOGRAM,
                         "gateway_redis_seconds", &redis->label,
                         "Time of commands to Redis, with those that had no "
                         "answer.");
    if (redis->seconds == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_collector(cf, ngx_http_gateway_redis_collect,
                                      redis);
}


static ngx_uint_t
ngx_http_gateway_redis_is_url(ngx_str_t *value)
{
    ngx_str_t  rest;

    return ngx_http_gateway_redis_named(value, "unix:", &rest)
           || ngx_http_gateway_redis_named(value, "redis:", &rest)
           || ngx_http_gateway_redis_named(value, "rediss:", &rest)
           || ngx_http_gateway_redis_named(value, "redis+", &rest)
           || ngx_http_gateway_redis_named(value, "rediss+", &rest);
}


static ngx_int_t
ngx_http_gateway_redis_params(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    char         *wrong;
    ngx_str_t    *value;
    ngx_uint_t    i;
    ngx_array_t   servers;

    if (ngx_array_init(&servers, cf->pool, 2,
                       sizeof(ngx_http_gateway_redis_server_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_gateway_redis_is_url(&value[i])) {
            if (ngx_http_gateway_redis_add_url(cf, redis, &servers, &value[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        wrong = ngx_http_gateway_redis_param(redis, &value[i]);

        if (wrong) {
            ngx_http_gateway_redis_value_log(cf, &value[i], "parameter",
                                             wrong);
            return NGX_ERROR;
        }
    }

    if (servers.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no URL in \"gateway_redis\", one such as "
                           "\"redis://127.0.0.1:6379\" is needed");
        return NGX_ERROR;
    }

    redis->servers = servers.elts;
    redis->nservers = servers.nelts;

    for (i = 0; i < redis->nservers; i++) {
        redis->place = redis->place * 31
                       + ngx_murmur_hash2(redis->servers[i].name.data,
                                          redis->servers[i].name.len);
    }

    return NGX_OK;
}


static char *
ngx_http_gateway_redis_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_gateway_redis_t  *redis;

    value = cf->args->elts;

    if (value[1].len == 0 || ngx_http_gateway_redis_is_url(&value[1])) {
        ngx_http_gateway_redis_value_log(cf, &value[1], "name",
                                         "a name such as \"main\" stands "
                                         "before the URLs");
        return NGX_CONF_ERROR;
    }

    redis = ngx_http_gateway_redis_get(cf, &value[1]);
    if (redis == NULL) {
        return NGX_CONF_ERROR;
    }

    if (redis->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"gateway_redis\" of name \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    redis->defined = 1;

    if (ngx_http_gateway_redis_params(cf, redis) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (redis->conf.prefix.data == NULL) {
        ngx_str_set(&redis->conf.prefix, "gw:");
    }

    ngx_conf_init_msec_value(redis->conf.timeout, 500);
    ngx_conf_init_msec_value(redis->connect_timeout, 1000);
    ngx_conf_init_value(redis->ssl_verify, 1);

    if (ngx_http_gateway_redis_set_password(cf, redis) != NGX_OK
        || ngx_http_gateway_redis_set_ssl(cf, redis) != NGX_OK
        || ngx_http_gateway_redis_set_metrics(cf, redis) != NGX_OK
        || ngx_http_gateway_redis_share_zone(cf, redis) != NGX_OK
        || ngx_http_gateway_worker_listen(cf,
                                          &ngx_http_gateway_redis_listener)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_redis_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_gateway_redis_main_conf_t  *rmcf = conf;

    ngx_uint_t                  i;
    ngx_http_gateway_redis_t  **redis;

    redis = rmcf->redis.elts;

    for (i = 0; i < rmcf->redis.nelts; i++) {

        if (!redis[i]->defined) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown \"redis=%V\" in %s:%ui, a \"gateway_redis "
                          "%V url;\" is needed", &redis[i]->conf.name,
                          redis[i]->file, redis[i]->line,
                          &redis[i]->conf.name);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_gateway_redis_resolve(cf, redis[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* In a worker. */

static ngx_http_gateway_redis_t **
ngx_http_gateway_redis_all(ngx_cycle_t *cycle, ngx_uint_t *n)
{
    ngx_http_gateway_redis_main_conf_t  *rmcf;

    rmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_redis_module);

    if (rmcf == NULL || (ngx_process != NGX_PROCESS_WORKER
                         && ngx_process != NGX_PROCESS_SINGLE))
    {
        *n = 0;
        return NULL;
    }

    *n = rmcf->redis.nelts;

    return rmcf->redis.elts;
}


static void
ngx_http_gateway_redis_start(ngx_http_gateway_redis_t *redis)
{
    ngx_queue_init(&redis->failed);
    ngx_queue_init(&redis->free);

    redis->lost.handler = ngx_http_gateway_redis_lost_handler;
    redis->lost.data = redis;
    redis->lost.log = ngx_cycle->log;

    redis->tick.handler = ngx_http_gateway_redis_tick;
    redis->tick.data = redis;
    redis->tick.log = ngx_cycle->log;
    redis->tick.cancelable = 1;

    redis->beat = ngx_current_msec - NGX_HTTP_GATEWAY_REDIS_MAX_BACKOFF;

    ngx_http_gateway_redis_share_away(redis, 1);
    redis->route->start(redis);

    ngx_http_gateway_redis_share_lead(redis);
    ngx_add_timer(&redis->tick, NGX_HTTP_GATEWAY_REDIS_TICK);
}


static ngx_int_t
ngx_http_gateway_redis_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i, n;
    ngx_http_gateway_redis_t  **redis;

    redis = ngx_http_gateway_redis_all(cycle, &n);

    for (i = 0; i < n; i++) {
        ngx_http_gateway_redis_start(redis[i]);
    }

    return NGX_OK;
}


static void
ngx_http_gateway_redis_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i, n;
    ngx_http_gateway_redis_t  **redis;

    redis = ngx_http_gateway_redis_all(cycle, &n);

    for (i = 0; i < n; i++) {
        redis[i]->route->stop(redis[i]);
        ngx_http_gateway_redis_command_end(redis[i]);
    }
}


static void
ngx_http_gateway_redis_tick(ngx_event_t *ev)
{
    ngx_http_gateway_redis_share_tick(ev->data);

    ngx_add_timer(ev, NGX_HTTP_GATEWAY_REDIS_TICK);
}


static void
ngx_http_gateway_redis_woken(void)
{
    ngx_uint_t                  i, n;
    ngx_http_gateway_redis_t  **redis;

    redis = ngx_http_gateway_redis_all((ngx_cycle_t *) ngx_cycle, &n);

    for (i = 0; i < n; i++) {
        ngx_http_gateway_redis_share_lead(redis[i]);
    }
}


static void
ngx_http_gateway_redis_died(ngx_uint_t slot)
{
    ngx_uint_t                  i, n;
    ngx_http_gateway_redis_t  **redis;

    redis = ngx_http_gateway_redis_all((ngx_cycle_t *) ngx_cycle, &n);

    for (i = 0; i < n; i++) {
        ngx_http_gateway_redis_share_died(redis[i], slot);
    }
}


ngx_uint_t
ngx_http_gateway_redis_up(ngx_http_gateway_redis_t *redis)
{
    return redis->up;
}


ngx_uint_t
ngx_http_gateway_redis_leads(ngx_http_gateway_redis_t *redis)
{
    return redis->leads;
}


uint64_t
ngx_http_gateway_redis_time(ngx_http_gateway_redis_t *redis)
{
    int64_t                         now;
    ngx_http_gateway_redis_link_t  *link;

    now = ngx_http_gateway_time_ms();
    link = redis->up ? redis->route->pick(redis, -1) : NULL;

    return link ? now + link->offset : now;
}
