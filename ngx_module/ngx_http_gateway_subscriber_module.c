/*
 * gateway_subscriber: the endpoint for clients, and the directives of a
 * connection's behaviour.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_subscriber.h"


#define NGX_HTTP_GATEWAY_PING_TIMEOUT      60000  /* ms */


static ngx_int_t ngx_http_gateway_subscriber_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_subscriber_hold(ngx_http_request_t *r);
static void ngx_http_gateway_subscriber_held(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_subscriber_answer(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *protocol);
static ngx_int_t ngx_http_gateway_subscriber_wait(ngx_http_request_t *r);
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


static ngx_int_t
ngx_http_gateway_subscriber_handler(ngx_http_request_t *r)
{
    ngx_int_t                                rc;
    ngx_str_t                                key, protocol;
    ngx_uint_t                               json;
    ngx_http_gateway_websocket_t            *ws;
    ngx_http_gateway_subscriber_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_subscriber_module);

    ngx_str_null(&key);
    json = 0;
    rc = ngx_http_gateway_handshake_check(r, &key);

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_handshake_origin(r, conf);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_handshake_protocol(r, &protocol, &json);
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

        if (rc == NGX_AGAIN) {
            return ngx_http_gateway_subscriber_hold(r);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_gateway_subscriber_answer(r, &key, &protocol);
}


/* While its channels come into step; the timer is there for a worker that is
 * ending, which else would not wait. */

static ngx_int_t
ngx_http_gateway_subscriber_hold(ngx_http_request_t *r)
{
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_gateway_subscriber_held;

    ngx_add_timer(c->write, clcf->send_timeout);

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_gateway_subscriber_held(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "gateway_subscriber: the channels do not come into step");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
    }
}


void
ngx_http_gateway_subscriber_resume(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_str_t          key, protocol;
    ngx_uint_t         json;
    ngx_connection_t  *c;

    c = r->connection;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (rc == NGX_OK) {
        /* they say what they have said before */
        (void) ngx_http_gateway_handshake_check(r, &key);
        (void) ngx_http_gateway_handshake_protocol(r, &protocol, &json);

        rc = ngx_http_gateway_subscriber_answer(r, &key, &protocol);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_gateway_subscriber_answer(ngx_http_request_t *r, ngx_str_t *key,
    ngx_str_t *protocol)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = r->connection;

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_handshake_answer(r, key, protocol);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    if (c->buffered) {
        r->write_event_handler = ngx_http_gateway_subscriber_write;

        if (ngx_http_gateway_subscriber_wait(r) != NGX_OK) {
            return NGX_ERROR;
        }

        r->main->count++;

        return NGX_DONE;
    }

    r->main->count++;

    ngx_http_gateway_websocket_upgrade(ngx_http_get_module_ctx(r,
                                         ngx_http_gateway_subscriber_module));

    return NGX_DONE;
}


/* For a client that does not read what it has asked for before. */

static ngx_int_t
ngx_http_gateway_subscriber_wait(ngx_http_request_t *r)
{
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_add_timer(c->write, clcf->send_timeout);

    return ngx_handle_write_event(c->write, clcf->send_lowat);
}


/* The rest of a 101 that the socket did not take at once. */

static void
ngx_http_gateway_subscriber_write(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (c->buffered) {
        if (ngx_http_gateway_subscriber_wait(r) != NGX_OK) {
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
    ngx_str_t                         name, *published;
    ngx_http_gateway_websocket_t     *ws;
    ngx_http_gateway_channel_zone_t  *zone;
    ngx_http_gateway_channel_info_t   info;

    ws = ngx_http_get_module_ctx(r, ngx_http_gateway_subscriber_module);

    v->not_found = 1;

    if (ws) {
        name = ws->channel;
        zone = ws->conf->zone;

    } else {
        published = ngx_http_gateway_publisher_name(r, &zone);

        if (published == NULL || data == 1) {
            return NGX_OK;
        }

        name = *published;
    }

    switch (data) {

    case 0:
        break;

    case 1:
        name.len = NGX_HTTP_GATEWAY_ID_LEN;
        name.data = ngx_pnalloc(r->pool, name.len);
        if (name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_http_gateway_websocket_id(ws, name.data);
        break;

    default:
        if (name.len == 0
            || ngx_http_gateway_channel_info(zone, &name, &info) != NGX_OK)
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

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->zone == NULL && prev->zone) {
        /* the location goes on inside its "if" blocks */
        conf->zone = prev->zone;
        conf->connections = prev->connections;
        clcf->handler = ngx_http_gateway_subscriber_handler;
        ngx_http_gateway_cache_never(cf);
        ngx_http_gateway_jwt_accepts_message(cf);
    }

    ngx_conf_merge_size_value(conf->max_message, prev->max_message, 1048576);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 30000);
    ngx_conf_merge_msec_value(conf->ping_timeout, prev->ping_timeout,
                              NGX_HTTP_GATEWAY_PING_TIMEOUT);
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
    ngx_http_gateway_cache_never(cf);

    return NGX_CONF_OK;
}


/*
 * A client that only listens is heard of once in an interval. A timeout that
 * is not longer than that is one for the answer: it begins with the ping.
 */

static void
ngx_http_gateway_ping_settle(ngx_http_gateway_subscriber_loc_conf_t *slcf)
{
    if (slcf->ping_timeout <= slcf->ping) {
        slcf->ping_timeout += slcf->ping;
    }
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
        slcf->ping_timeout = NGX_HTTP_GATEWAY_PING_TIMEOUT;
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
    slcf->ping_timeout = NGX_HTTP_GATEWAY_PING_TIMEOUT;

    if (cf->args->nelts == 2) {
        ngx_http_gateway_ping_settle(slcf);
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

    ngx_http_gateway_ping_settle(slcf);

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
