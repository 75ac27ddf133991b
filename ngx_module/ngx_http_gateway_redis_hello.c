/*
 * What is said on a connection before and between the commands: TLS, the
 * handshake, and the keep-alive; and the limits of what is read.
 */

#include "ngx_http_gateway_redis_int.h"
#include "../src/redis_info.h"


static void ngx_http_gateway_redis_hello_info(void *data, redisReply *reply);
static void ngx_http_gateway_redis_hello_time(void *data, redisReply *reply);
static void ngx_http_gateway_redis_hello_ready(void *data,
    redisReply *reply);


#if (NGX_SSL)

static ngx_uint_t
ngx_http_gateway_redis_is_ip(ngx_str_t *host)
{
#if (NGX_HAVE_INET6)
    u_char  in6[16];

    if (ngx_inet6_addr(host->data, host->len, in6) == NGX_OK) {
        return 1;
    }
#endif

    return ngx_inet_addr(host->data, host->len) != INADDR_NONE;
}


ngx_int_t
ngx_http_gateway_redis_tls_start(ngx_connection_t *c,
    ngx_http_gateway_redis_t *redis, ngx_http_gateway_redis_server_t *server)
{
    if (redis->ssl == NULL
        || ngx_ssl_create_connection(redis->ssl, c, NGX_SSL_CLIENT) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* RFC 6066, 3: a name, not an address; server->host ends with a zero */
    if (!ngx_http_gateway_redis_is_ip(&server->host)
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) server->host.data)
           == 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_redis_tls_check(ngx_connection_t *c,
    ngx_http_gateway_redis_server_t *server)
{
    X509       *cert;
    ngx_int_t   rc;

    if (!ngx_http_gateway_redis_is_ip(&server->host)) {
        return ngx_ssl_check_host(c, &server->host);
    }

    cert = SSL_get_peer_certificate(c->ssl->connection);
    if (cert == NULL) {
        return NGX_DECLINED;
    }

    rc = X509_check_ip_asc(cert, (char *) server->host.data, 0) == 1
         ? NGX_OK : NGX_DECLINED;

    X509_free(cert);

    return rc;
}

#endif


/*
 * hiredis's own functions but for arrays, whose length is told before they
 * come: a few bytes must not take much memory.
 */

static redisReplyObjectFunctions  ngx_http_gateway_redis_functions;
static redisReplyObjectFunctions  ngx_http_gateway_redis_defaults;


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_http_gateway_redis_elements_t;
#else
typedef int  ngx_http_gateway_redis_elements_t;
#endif


static void *
ngx_http_gateway_redis_array(const redisReadTask *task,
    ngx_http_gateway_redis_elements_t n)
{
    ngx_http_gateway_redis_link_t  *link;

    link = task->privdata;

    if (n < 0
        || (size_t) n > NGX_HTTP_GATEWAY_REDIS_MAX_ELEMENTS
                        - link->reply_elements)
    {
        return NULL;
    }

    link->reply_elements += n;

    return ngx_http_gateway_redis_defaults.createArray(task, n);
}


redisReader *
ngx_http_gateway_redis_reader(ngx_http_gateway_redis_link_t *link)
{
    redisReader  *reader;

    reader = redisReaderCreate();
    if (reader == NULL) {
        return NULL;
    }

    ngx_http_gateway_redis_defaults = *reader->fn;
    ngx_http_gateway_redis_functions = *reader->fn;
    ngx_http_gateway_redis_functions.createArray =
                                                 ngx_http_gateway_redis_array;

    reader->fn = &ngx_http_gateway_redis_functions;
    reader->privdata = link;

    return reader;
}


/*
 * The handshake is sent at once; its answers come in order, and the first
 * that is not as it should be ends it. A link of which the last has come is
 * ready.
 */

ngx_int_t
ngx_http_gateway_redis_hello(ngx_http_gateway_redis_link_t *link)
{
    u_char                            db[NGX_INT_T_LEN];
    ngx_str_t                         argv[3];
    ngx_uint_t                        argc;
    ngx_http_gateway_redis_server_t  *server;

    server = link->server;

    if (server->password.len || server->user.len) {
        argc = 0;
        ngx_str_set(&argv[argc], "AUTH");
        argc++;

        if (server->user.len) {
            argv[argc++] = server->user;
        }

        argv[argc++] = server->password;

        if (ngx_http_gateway_redis_command_on(link, argv, argc,
                ngx_http_gateway_redis_hello_ready, link)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (server->db && !link->sentinel) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = db;
        argv[1].len = ngx_sprintf(db, "%ui", server->db) - db;

        if (ngx_http_gateway_redis_command_on(link, argv, 2,
                ngx_http_gateway_redis_hello_ready, link)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&argv[0], "TIME");

    if (!link->sentinel
        && ngx_http_gateway_redis_command_on(link, argv, 1,
               ngx_http_gateway_redis_hello_time, link)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "INFO");

    return ngx_http_gateway_redis_command_on(link, argv, 1,
               ngx_http_gateway_redis_hello_info, link);
}


/* Of AUTH and SELECT: "+OK". Redis's errors tell no secret, but for "unknown
 * command 'AUTH', with args beginning with: ...". */

static void
ngx_http_gateway_redis_hello_ready(void *data, redisReply *reply)
{
    char                           *text, *args;
    size_t                          len;
    ngx_http_gateway_redis_link_t  *link;

    if (reply == NULL || reply->type == REDIS_REPLY_STATUS) {
        return;
    }

    link = data;
    text = reply->type == REDIS_REPLY_ERROR ? reply->str : "no status";
    args = ngx_strstr(text, ", with args");
    len = args ? (size_t) (args - text) : ngx_strlen(text);

    ngx_http_gateway_redis_link_fail(link, "it refuses AUTH or SELECT: %*s",
                                     len, text);
}


static int64_t
ngx_http_gateway_redis_number(redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING || reply->len > 14) {
        return -1;
    }

    return ngx_atoof((u_char *) reply->str, reply->len);
}


/*
 * What was the time when the answer was made is at most a round trip ago, so
 * that a deadline is too early by that at most, never too late.
 */

static void
ngx_http_gateway_redis_hello_time(void *data, redisReply *reply)
{
    int64_t                         s, us;
    ngx_http_gateway_redis_link_t  *link;

    if (reply == NULL) {
        return;
    }

    link = data;
    s = -1;
    us = -1;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        s = ngx_http_gateway_redis_number(reply->element[0]);
        us = ngx_http_gateway_redis_number(reply->element[1]);
    }

    if (s < 0 || us < 0 || s > (int64_t) 9999999999 || us > 999999) {
        ngx_http_gateway_redis_link_fail(link, "its TIME is not usable%s%s",
                                         reply->type == REDIS_REPLY_ERROR
                                         ? ": " : "",
                                         reply->type == REDIS_REPLY_ERROR
                                         ? reply->str : "");
        return;
    }

    link->offset = s * 1000 + us / 1000
                   - (int64_t) ngx_http_gateway_time_ms();
}


ngx_uint_t
ngx_http_gateway_redis_info_is(gw_str_t info, const char *name,
    const char *value)
{
    gw_str_t  v;

    return gw_redis_info(info, name, &v) == GW_OK
           && v.len == ngx_strlen(value)
           && ngx_memcmp(v.data, value, v.len) == 0;
}


/* NULL, or why this server is of no use. */

static char *
ngx_http_gateway_redis_info_look(ngx_http_gateway_redis_link_t *link,
    gw_str_t info)
{
    size_t    n;
    gw_str_t  id, version;

    if (gw_redis_info(info, "run_id", &id) != GW_OK
        || id.len != NGX_HTTP_GATEWAY_REDIS_RUN_ID)
    {
        return "its INFO has no run_id";
    }

    ngx_memcpy(link->run_id, id.data, id.len);

    link->version = 0;

    if (gw_redis_info(info, "redis_version", &version) == GW_OK) {
        for (n = 0; n < version.len && version.data[n] != '.'; n++) {
            /* void */
        }

        link->version = ngx_atoi((u_char *) version.data, n);
    }

    if (link->sentinel) {
        return NULL;
    }

    if (ngx_http_gateway_redis_info_is(info, "loading", "1")) {
        return "it is loading its data";
    }

    if (!link->any_role
        && !ngx_http_gateway_redis_info_is(info, "role", "master"))
    {
        return "it is a replica";
    }

    if (link->cluster
        != ngx_http_gateway_redis_info_is(info, "cluster_enabled", "1"))
    {
        return link->cluster ? "it is not part of a Cluster"
               : "it is part of a Cluster: use redis+cluster://";
    }

    return NULL;
}


static void
ngx_http_gateway_redis_hello_info(void *data, redisReply *reply)
{
    char                           *wrong;
    gw_str_t                        info;
    ngx_http_gateway_redis_link_t  *link;

    if (reply == NULL) {
        return;
    }

    link = data;

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_http_gateway_redis_link_fail(link, "it refuses INFO: %s",
                                         reply->type == REDIS_REPLY_ERROR
                                         ? reply->str : "no text");
        return;
    }

    info.data = (u_char *) reply->str;
    info.len = reply->len;

    wrong = ngx_http_gateway_redis_info_look(link, info);

    if (wrong) {
        ngx_http_gateway_redis_link_fail(link, "%s", wrong);
        return;
    }

    link->ready = 1;
    link->since = ngx_current_msec;

    ngx_add_timer(&link->keepalive, NGX_HTTP_GATEWAY_REDIS_KEEPALIVE);

    link->up(link);
}


/*
 * So that a server that hangs is noticed also where nothing is asked. The
 * answer to TIME is due as that of any command; of PING where messages come,
 * anything heard will do.
 */

void
ngx_http_gateway_redis_link_keepalive(ngx_event_t *ev)
{
    ngx_int_t                       rc;
    ngx_str_t                       argv[1];
    ngx_http_gateway_redis_link_t  *link;

    link = ev->data;

    if (link->pushes) {
        if (ngx_current_msec - link->heard
            > link->redis->conf.timeout + 2 * NGX_HTTP_GATEWAY_REDIS_KEEPALIVE)
        {
            ngx_http_gateway_redis_link_fail(link, "nothing is heard of it");
            return;
        }

        ngx_str_set(&argv[0], "PING");
        rc = ngx_http_gateway_redis_command_on(link, argv, 1, NULL, NULL);

    } else {
        if (link->sentinel) {
            ngx_str_set(&argv[0], "PING");
        } else {
            ngx_str_set(&argv[0], "TIME");
        }

        rc = ngx_http_gateway_redis_command_on(link, argv, 1,
                 link->sentinel ? NULL : ngx_http_gateway_redis_hello_time,
                 link);
    }

    if (rc == NGX_ERROR) {
        ngx_http_gateway_redis_link_fail(link, "no memory");
        return;
    }

    ngx_add_timer(&link->keepalive, NGX_HTTP_GATEWAY_REDIS_KEEPALIVE);
}
