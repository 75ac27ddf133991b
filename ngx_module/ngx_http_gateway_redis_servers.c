/*
 * The servers of a gateway_redis: from URLs, with their addresses, the
 * password's file and TLS.
 */

#include "ngx_http_gateway_redis_int.h"
#include "../src/redis_url.h"


#define NGX_HTTP_GATEWAY_REDIS_PASSWORD  4096   /* bytes, at most */


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

void
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


ngx_int_t
ngx_http_gateway_redis_add_url(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis, ngx_array_t *servers, ngx_str_t *value)
{
    u_char          *buf;
    size_t           i;
    const char      *message;
    gw_redis_url_t  *url;

    buf = ngx_pnalloc(cf->temp_pool, value->len + 1);
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

    redis->route = url->kind == GW_REDIS_SENTINEL
                   ? &ngx_http_gateway_redis_sentinel
                   : url->kind == GW_REDIS_CLUSTER
                   ? &ngx_http_gateway_redis_cluster
                   : &ngx_http_gateway_redis_standalone;

    if (url->kind == GW_REDIS_UNIX) {
        return ngx_http_gateway_redis_add_server(cf, servers, url, NULL);
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


ngx_int_t
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

ngx_int_t
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


/* Names are looked up now where no `resolver` stands in http {}. */

ngx_int_t
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
