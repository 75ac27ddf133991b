/*
 * gateway_redis: the directive, and starting and ending in a worker.
 */

#include "ngx_http_gateway_redis_int.h"
#include "ngx_http_gateway_worker.h"
#include "../src/redis_url.h"


#define NGX_HTTP_GATEWAY_REDIS_ACCEPTED                                      \
    "\"prefix=text\", \"connect_timeout=time\", \"timeout=time\", "          \
    "\"password_file=path\", \"ssl_verify=on|off\" and \"ssl_ca=path\" are " \
    "accepted"

#define NGX_HTTP_GATEWAY_REDIS_PASSWORD  4096   /* bytes, at most */


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

    return "a URL such as \"redis://127.0.0.1:6379\", "
           NGX_HTTP_GATEWAY_REDIS_ACCEPTED;
}


/* URLs and servers. */

static ngx_int_t
ngx_http_gateway_redis_copy(ngx_conf_t *cf, ngx_str_t *to, gw_str_t *from)
{
    to->len = from->len;
    to->data = ngx_pnalloc(cf->pool, from->len + 1);

    if (to->data == NULL) {
        return NGX_ERROR;
    }

    if (from->len) {
        ngx_memcpy(to->data, from->data, from->len);
    }

    to->data[from->len] = '\0';

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_redis_server_name(ngx_conf_t *cf,
    ngx_http_gateway_redis_server_t *server, gw_redis_url_t *url,
    gw_redis_host_t *host)
{
    size_t  len;

    if (url->kind == GW_REDIS_UNIX) {
        len = sizeof("unix:") + url->path.len;

    } else {
        len = sizeof("[]:65535") + host->host.len;
    }

    server->name.data = ngx_pnalloc(cf->pool, len);
    if (server->name.data == NULL) {
        return NGX_ERROR;
    }

    server->name.len = (url->kind == GW_REDIS_UNIX
                        ? ngx_sprintf(server->name.data, "unix:%*s",
                                      url->path.len, url->path.data)
                        : ngx_sprintf(server->name.data,
                                      host->ipv6 ? "[%*s]:%ui" : "%*s:%ui",
                                      host->host.len, host->host.data,
                                      (ngx_uint_t) host->port))
                       - server->name.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_redis_add_server(ngx_conf_t *cf, ngx_array_t *servers,
    gw_redis_url_t *url, gw_redis_host_t *host)
{
    ngx_http_gateway_redis_server_t  *server;

    server = ngx_array_push(servers);
    if (server == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(server, sizeof(*server));

    server->db = url->db;
    server->tls = url->tls;

    if (host) {
        server->port = host->port;

        if (ngx_http_gateway_redis_copy(cf, &server->host, &host->host)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_gateway_redis_copy(cf, &server->user, &url->user) != NGX_OK
        || ngx_http_gateway_redis_copy(cf, &server->password, &url->password)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_redis_server_name(cf, server, url, host);
}


/* The value as it may be shown, with no password. */

static void
ngx_http_gateway_redis_value_log(ngx_conf_t *cf, ngx_str_t *value,
    const char *what, const char *message)
{
    u_char    *p;
    ngx_str_t  shown;

    shown.data = ngx_pnalloc(cf->pool, value->len + 3);
    if (shown.data == NULL) {
        return;
    }

    p = gw_redis_url_show(shown.data, ngx_http_gateway_span(value));
    shown.len = p - shown.data;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid %s \"%V\" of \"gateway_redis\", %s", what,
                       &shown, message);
}


static ngx_int_t
ngx_http_gateway_redis_add_url(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis, ngx_array_t *servers, ngx_str_t *value)
{
    u_char          *buf;
    size_t           i;
    const char      *message;
    gw_redis_url_t  *url;

    buf = ngx_pnalloc(cf->pool, value->len + 1);
    url = ngx_pcalloc(cf->temp_pool, sizeof(*url));

    if (buf == NULL || url == NULL) {
        return NGX_ERROR;
    }

    if (gw_redis_url_parse(url, buf, ngx_http_gateway_span(value), &message)
        != GW_OK)
    {
        ngx_http_gateway_redis_value_log(cf, value, "URL", message);
        return NGX_ERROR;
    }

    if (redis->route
        && (redis->route != &ngx_http_gateway_redis_standalone
            || url->kind == GW_REDIS_SENTINEL
            || url->kind == GW_REDIS_CLUSTER))
    {
        ngx_http_gateway_redis_value_log(cf, value, "URL", "Sentinels and a "
                                         "Cluster are one URL, with several "
                                         "hosts");
        return NGX_ERROR;
    }

    switch (url->kind) {

    case GW_REDIS_UNIX:
        redis->route = &ngx_http_gateway_redis_standalone;

        return ngx_http_gateway_redis_add_server(cf, servers, url, NULL);

    case GW_REDIS_SERVER:
        redis->route = &ngx_http_gateway_redis_standalone;
        break;

    default:
        ngx_http_gateway_redis_value_log(cf, value, "URL", "Sentinels and "
                                         "Clusters are not supported by this "
                                         "version");
        return NGX_ERROR;
    }

    for (i = 0; i < url->nhosts; i++) {
        if (ngx_http_gateway_redis_add_server(cf, servers, url,
                                              &url->hosts[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (redis->master.data == NULL) {
        return ngx_http_gateway_redis_copy(cf, &redis->master, &url->master);
    }

    return NGX_OK;
}


/* One newline at the end is not part of it. */

static ngx_int_t
ngx_http_gateway_redis_read_password(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis, ngx_str_t *password)
{
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, &redis->password_file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    password->data = ngx_pnalloc(cf->pool, NGX_HTTP_GATEWAY_REDIS_PASSWORD);
    if (password->data == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(redis->password_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed",
                           &redis->password_file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, password->data, NGX_HTTP_GATEWAY_REDIS_PASSWORD);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed",
                           &redis->password_file);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &redis->password_file);
    }

    if (n == -1) {
        return NGX_ERROR;
    }

    if (n > 0 && password->data[n - 1] == LF) {
        n--;
    }

    if (n == 0 || n >= NGX_HTTP_GATEWAY_REDIS_PASSWORD - 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no password in \"%V\", up to %d characters are "
                           "accepted", &redis->password_file,
                           NGX_HTTP_GATEWAY_REDIS_PASSWORD - 2);
        return NGX_ERROR;
    }

    password->len = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_redis_set_password(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    ngx_str_t   password;
    ngx_uint_t  i;

    if (redis->password_file.len == 0) {
        return NGX_OK;
    }

    if (ngx_http_gateway_redis_read_password(cf, redis, &password) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < redis->nservers; i++) {
        if (redis->servers[i].password.len == 0) {
            redis->servers[i].password = password;
        }
    }

    return NGX_OK;
}


/* TLS: the certificates are verified by ssl_ca, else by the system's. */

static ngx_int_t
ngx_http_gateway_redis_set_ssl(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t           i;
#if (NGX_SSL)
    ngx_pool_cleanup_t  *cln;
#endif

    for (i = 0; i < redis->nservers && !redis->servers[i].tls; i++) {
        /* void */
    }

    if (i == redis->nservers) {
        return NGX_OK;
    }

#if (NGX_SSL)

    redis->ssl = ngx_pcalloc(cf->pool, sizeof(*redis->ssl));
    if (redis->ssl == NULL) {
        return NGX_ERROR;
    }

    redis->ssl->log = cf->log;

    if (ngx_ssl_create(redis->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(redis->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = redis->ssl;

    if (redis->ssl_ca.len) {
        return ngx_ssl_trusted_certificate(cf, redis->ssl, &redis->ssl_ca, 9);
    }

    if (redis->ssl_verify
        && SSL_CTX_set_default_verify_paths(redis->ssl->ctx) == 0)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    return NGX_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"gateway_redis\" cannot use TLS: nginx was built "
                       "without it");
    return NGX_ERROR;

#endif
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

    return NGX_OK;
}


static char *
ngx_http_gateway_redis_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_gateway_redis_t  *redis;

    value = cf->args->elts;

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


/* Names are looked up now where no `resolver` stands in http {}. */

static ngx_int_t
ngx_http_gateway_redis_resolve(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    ngx_url_t                         u;
    ngx_uint_t                        i;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_gateway_redis_server_t  *server;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && clcf->resolver != NGX_CONF_UNSET_PTR
        && clcf->resolver->connections.nelts)
    {
        redis->resolver = clcf->resolver;
    }

    for (i = 0; i < redis->nservers; i++) {
        server = &redis->servers[i];

        ngx_memzero(&u, sizeof(u));
        u.url = server->name;
        u.no_resolve = (redis->resolver != NULL);

        if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "%s in \"%V\" of \"gateway_redis\" in %s:%ui",
                          u.err ? u.err : "no address", &server->name,
                          redis->file, redis->line);
            return NGX_ERROR;
        }

        server->addrs = u.addrs;
        server->naddrs = u.naddrs;
    }

    return NGX_OK;
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

static ngx_array_t *
ngx_http_gateway_redis_all(ngx_cycle_t *cycle)
{
    ngx_http_gateway_redis_main_conf_t  *rmcf;

    rmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_gateway_redis_module);

    return rmcf && (ngx_process == NGX_PROCESS_WORKER
                    || ngx_process == NGX_PROCESS_SINGLE)
           ? &rmcf->redis : NULL;
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
    ngx_uint_t                  i;
    ngx_array_t                *all;
    ngx_http_gateway_redis_t  **redis;

    all = ngx_http_gateway_redis_all(cycle);

    if (all) {
        redis = all->elts;

        for (i = 0; i < all->nelts; i++) {
            ngx_http_gateway_redis_start(redis[i]);
        }
    }

    return NGX_OK;
}


static void
ngx_http_gateway_redis_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_array_t                *all;
    ngx_http_gateway_redis_t  **redis;

    all = ngx_http_gateway_redis_all(cycle);

    if (all) {
        redis = all->elts;

        for (i = 0; i < all->nelts; i++) {
            redis[i]->route->stop(redis[i]);
        }
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
    ngx_uint_t                  i;
    ngx_array_t                *all;
    ngx_http_gateway_redis_t  **redis;

    all = ngx_http_gateway_redis_all((ngx_cycle_t *) ngx_cycle);

    if (all) {
        redis = all->elts;

        for (i = 0; i < all->nelts; i++) {
            ngx_http_gateway_redis_share_lead(redis[i]);
        }
    }
}


static void
ngx_http_gateway_redis_died(ngx_uint_t slot)
{
    ngx_uint_t                  i;
    ngx_array_t                *all;
    ngx_http_gateway_redis_t  **redis;

    all = ngx_http_gateway_redis_all((ngx_cycle_t *) ngx_cycle);

    if (all) {
        redis = all->elts;

        for (i = 0; i < all->nelts; i++) {
            ngx_http_gateway_redis_share_died(redis[i], slot);
        }
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
