/*
 * gateway_subscriber: the endpoint for clients. The WebSocket handshake
 * (RFC 6455 section 4.2), and the directives of a connection's behaviour.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_subscriber.h"
#include "../src/ws_handshake.h"


#define NGX_HTTP_GATEWAY_UPGRADE_REQUIRED  426


static ngx_int_t ngx_http_gateway_subscriber_handler(ngx_http_request_t *r);
static void ngx_http_gateway_subscriber_write(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_subscriber_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_subscriber_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void *ngx_http_gateway_subscriber_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_subscriber_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_gateway_subscriber(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_ping(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_send_buffer(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_max_message(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


static ngx_command_t  ngx_http_gateway_subscriber_commands[] = {

    { ngx_string("gateway_subscriber"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_gateway_subscriber,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_origin_allow"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_origin_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_max_message"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_gateway_max_message,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_gateway_ping,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_send_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_gateway_send_buffer,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_subscriber_module_ctx = {
    ngx_http_gateway_subscriber_add_variables, /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_subscriber_create_loc_conf,
    ngx_http_gateway_subscriber_merge_loc_conf
};


ngx_module_t  ngx_http_gateway_subscriber_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_subscriber_module_ctx, /* module context */
    ngx_http_gateway_subscriber_commands,  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_gateway_subscriber_vars[] = {

    { ngx_string("gateway_channel"), NULL,
      ngx_http_gateway_subscriber_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("gateway_connection_id"), NULL,
      ngx_http_gateway_subscriber_variable, 1, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("gateway_subscribers"), NULL,
      ngx_http_gateway_subscriber_variable, 2, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


void
ngx_http_gateway_subscriber_opened(
    ngx_http_gateway_subscriber_loc_conf_t *conf)
{
    ngx_http_gateway_count(conf->connections, 1);
}


void
ngx_http_gateway_subscriber_closed(
    ngx_http_gateway_subscriber_loc_conf_t *conf)
{
    ngx_http_gateway_count(conf->connections, -1);
}


void
ngx_http_gateway_subscriber_refused(
    ngx_http_gateway_subscriber_loc_conf_t *conf)
{
    ngx_http_gateway_count(conf->zone->dropped_forbidden, 1);
}


static ngx_int_t
ngx_http_gateway_subscriber_header(ngx_http_request_t *r, char *name,
    u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_gateway_subscriber_find(ngx_http_request_t *r, char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


static ngx_int_t
ngx_http_gateway_subscriber_bad(ngx_http_request_t *r, char *why)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "WebSocket handshake: %s", why);

    return NGX_HTTP_BAD_REQUEST;
}


/* What to do instead, RFC 6455 4.4 and RFC 9110 15.5.22. */

static ngx_int_t
ngx_http_gateway_subscriber_upgrade_required(ngx_http_request_t *r)
{
    if (ngx_http_gateway_subscriber_header(r, "Sec-WebSocket-Version",
                                           (u_char *) "13", 2)
        != NGX_OK
        || ngx_http_gateway_subscriber_header(r, "Upgrade",
                                              (u_char *) "websocket", 9)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_GATEWAY_UPGRADE_REQUIRED;
}


static ngx_uint_t
ngx_http_gateway_subscriber_has_token(ngx_str_t *list, char *token)
{
    size_t    len;
    gw_str_t  rest, t;

    len = ngx_strlen(token);
    rest = ngx_http_gateway_span(list);

    while (gw_ws_token_next(&rest, &t) == GW_OK) {
        if (t.len == len
            && ngx_strncasecmp((u_char *) t.data, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* RFC 6455 4.2.1, in its order. NGX_OK or a status. */

static ngx_int_t
ngx_http_gateway_subscriber_check(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_table_elt_t  *h;

    if (r->method != NGX_HTTP_GET) {
        return ngx_http_gateway_subscriber_header(r, "Allow",
                                                  (u_char *) "GET", 3)
               == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                         : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    h = r->headers_in.upgrade;

    if (h == NULL
        || !ngx_http_gateway_subscriber_has_token(&h->value, "websocket"))
    {
        return ngx_http_gateway_subscriber_upgrade_required(r);
    }

    if (r->http_version != NGX_HTTP_VERSION_11) {
        return ngx_http_gateway_subscriber_bad(r, "not HTTP/1.1");
    }

    h = ngx_http_gateway_subscriber_find(r, "Connection");

    if (h == NULL
        || !ngx_http_gateway_subscriber_has_token(&h->value, "upgrade"))
    {
        return ngx_http_gateway_subscriber_bad(r, "\"Connection\" does not "
                                                  "say \"upgrade\"");
    }

    h = ngx_http_gateway_subscriber_find(r, "Sec-WebSocket-Version");

    if (h == NULL || h->value.len != 2
        || ngx_strncmp(h->value.data, "13", 2) != 0)
    {
        return ngx_http_gateway_subscriber_upgrade_required(r);
    }

    h = ngx_http_gateway_subscriber_find(r, "Sec-WebSocket-Key");

    if (h == NULL || !gw_ws_key_valid(ngx_http_gateway_span(&h->value))) {
        return ngx_http_gateway_subscriber_bad(r, "no valid "
                                                  "\"Sec-WebSocket-Key\"");
    }

    *key = h->value;

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return ngx_http_gateway_subscriber_bad(r, "a request body");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_subscriber_origin(ngx_http_request_t *r,
    ngx_http_gateway_subscriber_loc_conf_t *conf)
{
    ngx_str_t         host;
    ngx_table_elt_t  *h;

    h = ngx_http_gateway_subscriber_find(r, "Origin");

    if (h == NULL) {
        return NGX_OK;
    }

    host = r->headers_in.host ? r->headers_in.host->value
                              : r->headers_in.server;

    if (ngx_http_gateway_origin_allowed(conf, &h->value, &host)) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "origin \"%V\" is not in gateway_origin_allow", &h->value);

    return NGX_HTTP_FORBIDDEN;
}


/*
 * Of v1 and raw the first that the client offers; where it offers neither,
 * raw, answered by jwt or bearer if these were offered. There may be several
 * headers, which count as one list.
 */

static ngx_int_t
ngx_http_gateway_subscriber_protocol(ngx_http_request_t *r,
    ngx_str_t *protocol, ngx_uint_t *json)
{
    ngx_int_t         rc;
    gw_str_t          rest, t;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_null(protocol);
    *json = 0;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != 22
            || ngx_strncasecmp(h[i].key.data,
                               (u_char *) "Sec-WebSocket-Protocol", 22) != 0)
        {
            continue;
        }

        rest = ngx_http_gateway_span(&h[i].value);

        while ((rc = gw_ws_token_next(&rest, &t)) == GW_OK) {

            if (protocol->len == 0 && t.len == 2
                && ngx_strncmp(t.data, "v1", 2) == 0)
            {
                ngx_str_set(protocol, "v1");
                *json = 1;
            }

            if (protocol->len == 0 && t.len == 3
                && ngx_strncmp(t.data, "raw", 3) == 0)
            {
                ngx_str_set(protocol, "raw");
            }
        }

        if (rc == GW_ERROR) {
            return ngx_http_gateway_subscriber_bad(r, "malformed "
                                              "\"Sec-WebSocket-Protocol\"");
        }
    }

    if (protocol->len == 0) {
        ngx_http_gateway_jwt_subprotocol(r, protocol);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_subscriber_send_header(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *protocol)
{
    u_char  *accept;

    accept = ngx_pnalloc(r->pool, GW_WS_ACCEPT_LEN);

    if (accept == NULL
        || gw_ws_accept(accept, ngx_http_gateway_span(key)) != GW_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    if (ngx_http_gateway_subscriber_header(r, "Upgrade",
                                           (u_char *) "websocket", 9)
        != NGX_OK
        || ngx_http_gateway_subscriber_header(r, "Sec-WebSocket-Accept",
                                              accept, GW_WS_ACCEPT_LEN)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (protocol->len
        && ngx_http_gateway_subscriber_header(r, "Sec-WebSocket-Protocol",
                                              protocol->data, protocol->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->keepalive = 0;

    if (ngx_http_send_header(r) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return ngx_http_send_special(r, NGX_HTTP_FLUSH);
}


static ngx_int_t
ngx_http_gateway_subscriber_handler(ngx_http_request_t *r)
{
    ngx_int_t                                rc;
    ngx_str_t                                key, protocol;
    ngx_uint_t                               json;
    ngx_connection_t                        *c;
    ngx_http_gateway_websocket_t            *ws;
    ngx_http_gateway_subscriber_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_subscriber_module);

    ngx_str_null(&key);
    rc = ngx_http_gateway_subscriber_check(r, &key);

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_subscriber_origin(r, conf);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_subscriber_protocol(r, &protocol, &json);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (r != r->main) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws = ngx_http_gateway_websocket_create(r, conf, json);
    if (ws == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, ws, ngx_http_gateway_subscriber_module);

    if (!ngx_http_gateway_jwt_awaits_message(r)) {
        rc = ngx_http_gateway_websocket_open(ws, r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    c = r->connection;

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_subscriber_send_header(r, &key, &protocol);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    r->main->count++;

    if (c->buffered) {
        r->write_event_handler = ngx_http_gateway_subscriber_write;

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            r->main->count--;
            return NGX_ERROR;
        }

        return NGX_DONE;
    }

    ngx_http_gateway_websocket_upgrade(ws);

    return NGX_DONE;
}


/* The rest of a 101 that the socket did not take at once. */

static void
ngx_http_gateway_subscriber_write(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (c->buffered) {
        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_gateway_websocket_upgrade(ngx_http_get_module_ctx(r,
                                         ngx_http_gateway_subscriber_module));
}


static ngx_int_t
ngx_http_gateway_subscriber_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_gateway_subscriber_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* data: 0 channel, 1 connection id, 2 subscribers of the channel */

static ngx_int_t
ngx_http_gateway_subscriber_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                           *p;
    ngx_str_t                         name;
    ngx_http_gateway_websocket_t     *ws;
    ngx_http_gateway_channel_info_t   info;

    ws = ngx_http_get_module_ctx(r, ngx_http_gateway_subscriber_module);

    v->not_found = 1;

    if (ws == NULL) {
        return NGX_OK;
    }

    name = ws->channel;

    switch (data) {

    case 0:
        break;

    case 1:
        name.data = ws->id;
        name.len = NGX_HTTP_GATEWAY_ID_LEN;
        break;

    default:
        if (name.len == 0
            || ngx_http_gateway_channel_info(ws->conf->zone, &name, &info)
               != NGX_OK)
        {
            return NGX_OK;
        }

        p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        name.len = ngx_sprintf(p, "%ui", info.subscribers) - p;
        name.data = p;
    }

    if (name.len == 0) {
        return NGX_OK;
    }

    v->len = name.len;
    v->data = name.data;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    return NGX_OK;
}


static void *
ngx_http_gateway_subscriber_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL) {
        return NULL;
    }

    conf->max_message = NGX_CONF_UNSET_SIZE;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->ping_timeout = NGX_CONF_UNSET_MSEC;
    conf->send_buffer = NGX_CONF_UNSET_SIZE;
    conf->origins = NGX_CONF_UNSET_PTR;
    conf->any_origin = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_gateway_subscriber_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_subscriber_loc_conf_t  *prev = parent;
    ngx_http_gateway_subscriber_loc_conf_t  *conf = child;

    ngx_conf_merge_size_value(conf->max_message, prev->max_message, 1048576);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 30000);
    ngx_conf_merge_msec_value(conf->ping_timeout, prev->ping_timeout, 60000);
    ngx_conf_merge_size_value(conf->send_buffer, prev->send_buffer, 262144);

    /* a list and "any" are one directive: both are taken or neither is */

    if (conf->any_origin == NGX_CONF_UNSET) {
        conf->origins = prev->origins;
        conf->any_origin = prev->any_origin;
    }

    ngx_conf_merge_value(conf->any_origin, NGX_CONF_UNSET, 0);
    ngx_conf_merge_ptr_value(conf->origins, NGX_CONF_UNSET_PTR, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_subscriber(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *slcf = conf;

    ngx_str_t                 *value, label;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    if (slcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "websocket") == 0) {
            continue;
        }

        if (ngx_strcmp(value[i].data, "sse") == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"sse\": event streams are not supported by "
                               "this version, leave it out");
            return NGX_CONF_ERROR;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", \"websocket\" is "
                           "accepted", &value[i]);
        return NGX_CONF_ERROR;
    }

    slcf->zone = ngx_http_gateway_channel_zone_get(cf, &value[1]);
    if (slcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&label, "transport=\"websocket\"");

    slcf->connections = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_GAUGE,
                                                "gateway_connections", &label,
                                                "Open connections.");
    if (slcf->connections == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_gateway_jwt_accepts_message(cf);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_gateway_subscriber_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_ping(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *slcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value, s;

    if (slcf->ping != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts > 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" has no meaning after \"off\"",
                               &value[2]);
            return NGX_CONF_ERROR;
        }

        slcf->ping = 0;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid interval \"%V\", \"off\" or a time such "
                           "as 30s is accepted", &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->ping = n;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    s.len = 0;

    if (ngx_strncmp(value[2].data, "timeout=", 8) == 0) {
        s.data = value[2].data + 8;
        s.len = value[2].len - 8;
    }

    n = s.len ? ngx_parse_time(&s, 0) : NGX_ERROR;

    if (n == NGX_ERROR || n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", \"timeout=time\" such "
                           "as \"timeout=60s\" is accepted", &value[2]);
        return NGX_CONF_ERROR;
    }

    slcf->ping_timeout = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_send_buffer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *slcf = conf;

    ssize_t     n;
    ngx_str_t  *value;

    if (slcf->send_buffer != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_parse_size(&value[1]);

    if (n < 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\", 1k or more is accepted, such "
                           "as 256k", &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->send_buffer = n;

    if (cf->args->nelts == 2
        || ngx_strcmp(value[2].data, "overflow=close") == 0)
    {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[2].data, "overflow=drop") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"overflow=drop\" is not supported by this "
                           "version, write \"overflow=close\" or leave it "
                           "out");
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\", \"overflow=close\" is "
                       "accepted", &value[2]);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_max_message(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *slcf = conf;

    ssize_t     n;
    ngx_str_t  *value;

    if (slcf->max_message != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_parse_size(&value[1]);

    if (n < 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\", 1 or more bytes are "
                           "accepted, such as 64k", &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->max_message = n;

    return NGX_CONF_OK;
}
