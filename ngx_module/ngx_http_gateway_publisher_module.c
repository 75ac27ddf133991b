/*
 * gateway_publisher: the endpoint for upstream services.
 *
 * POST publishes the body, GET describes a channel, DELETE drops it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_channel.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_waiting.h"
#include "ngx_http_gateway_revoke.h"
#include "../src/envelope.h"
#include "../src/json_scan.h"
#include "../src/pattern.h"


typedef struct {
    ngx_http_gateway_channel_zone_t  *zone;
} ngx_http_gateway_publisher_loc_conf_t;

typedef struct {
    ngx_str_t                         channel;
    gw_str_t                          type;
    ngx_uint_t                        priority;
    int64_t                           expected;
    ngx_http_gateway_body_e           kind;
    off_t                             since;     /* GET: -1, none */
} ngx_http_gateway_publisher_ctx_t;


static ngx_int_t ngx_http_gateway_publisher_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_publisher_post(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx);
static void ngx_http_gateway_publisher_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_publisher_get(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_publisher_describe(ngx_http_request_t *r,
    ngx_int_t rc, ngx_http_gateway_channel_info_t *unused);
static ngx_int_t ngx_http_gateway_publisher_delete(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx);
static void *ngx_http_gateway_publisher_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_publisher(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_gateway_publisher_commands[] = {

    { ngx_string("gateway_publisher"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_gateway_publisher,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_publisher_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_publisher_create_loc_conf,
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_gateway_publisher_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_publisher_module_ctx, /* module context */
    ngx_http_gateway_publisher_commands,   /* module directives */
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


static void
ngx_http_gateway_publisher_refuse(ngx_http_request_t *r, char *why)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "gateway_publisher: %s", why);
}


static ngx_int_t
ngx_http_gateway_publisher_method(ngx_http_request_t *r, u_char *allow)
{
    return ngx_http_gateway_header_add(r, "Allow", allow, ngx_strlen(allow))
           == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                     : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* gateway_channel, else the argument; decoded and checked. */

static ngx_int_t
ngx_http_gateway_publisher_channel(ngx_http_request_t *r, ngx_str_t *channel)
{
    u_char     *dst, *src;
    gw_str_t    name;
    ngx_int_t   rc;
    ngx_str_t   arg;

    rc = ngx_http_gateway_channel_name(r, channel);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_publisher_refuse(r, "gateway_channel is not a "
                                             "channel's name");
        return NGX_HTTP_BAD_REQUEST;
    }

    if (channel->len) {
        return NGX_OK;
    }

    if (ngx_http_arg(r, (u_char *) "channel", 7, &arg) != NGX_OK) {
        ngx_http_gateway_publisher_refuse(r, "no \"channel\" argument");
        return NGX_HTTP_BAD_REQUEST;
    }

    channel->data = ngx_pnalloc(r->pool, arg.len + 1);
    if (channel->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    dst = channel->data;
    src = arg.data;
    ngx_unescape_uri(&dst, &src, arg.len, 0);
    channel->len = dst - channel->data;

    name.data = channel->data;
    name.len = channel->len;

    if (!gw_channel_name_valid(name)) {
        ngx_http_gateway_publisher_refuse(r, "the \"channel\" argument is not "
                                             "a channel's name: 1 to 255 "
                                             "bytes of UTF-8 without control "
                                             "characters");
        return NGX_HTTP_BAD_REQUEST;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_publisher_handler(ngx_http_request_t *r)
{
    ngx_int_t                          rc;
    ngx_http_gateway_publisher_ctx_t  *ctx;

    if (!(r->method & (NGX_HTTP_POST|NGX_HTTP_GET|NGX_HTTP_HEAD
                       |NGX_HTTP_DELETE)))
    {
        return ngx_http_gateway_publisher_method(r,
                                      (u_char *) "GET, HEAD, POST, DELETE");
    }

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_publisher_channel(r, &ctx->channel);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_publisher_module);

    if (ngx_http_gateway_revoke_channel(&ctx->channel)
        && r->method != NGX_HTTP_POST)
    {
        return ngx_http_gateway_publisher_method(r, (u_char *) "POST");
    }

    if (r->method == NGX_HTTP_POST) {
        return ngx_http_gateway_publisher_post(r, ctx);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method == NGX_HTTP_DELETE) {
        return ngx_http_gateway_publisher_delete(r, ctx);
    }

    return ngx_http_gateway_publisher_get(r, ctx);
}


static ngx_http_gateway_channel_zone_t *
ngx_http_gateway_publisher_zone(ngx_http_request_t *r)
{
    ngx_http_gateway_publisher_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_publisher_module);

    return conf->zone;
}


ngx_str_t *
ngx_http_gateway_publisher_name(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t **zone)
{
    ngx_http_gateway_publisher_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_publisher_module);

    if (ctx == NULL) {
        return NULL;
    }

    *zone = ngx_http_gateway_publisher_zone(r);

    return &ctx->channel;
}


static ngx_int_t
ngx_http_gateway_publisher_send(ngx_http_request_t *r, ngx_uint_t status,
    u_char *data, size_t len)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = data;
    b->last = data + len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* Room for what _state() writes. */
#define NGX_HTTP_GATEWAY_STATE_LEN                                           \
    (sizeof("{\"channel\":,\"sequenceNumber\":,\"epoch\":\"\","               \
            "\"subscribers\":") + 2 * NGX_INT64_LEN + GW_EPOCH_LEN            \
     + 6 * GW_CHANNEL_NAME_MAX + 2)


/* {"channel":…,"sequenceNumber":…,"epoch":…,"subscribers":…  without its end */

static u_char *
ngx_http_gateway_publisher_state(u_char *p, ngx_str_t *channel,
    ngx_http_gateway_channel_info_t *info)
{
    gw_str_t  name;

    name.data = channel->data;
    name.len = channel->len;

    p = gw_copy(p, gw_str("{\"channel\":"));
    p = gw_json_quote(p, name);
    p = gw_copy(p, gw_str(",\"sequenceNumber\":"));
    p = gw_uint(p, info->seq);
    p = gw_copy(p, gw_str(",\"epoch\":\""));
    p = ngx_cpymem(p, info->epoch, GW_EPOCH_LEN);
    p = gw_copy(p, gw_str("\",\"subscribers\":"));

    return gw_uint(p, info->subscribers);
}


static ngx_int_t
ngx_http_gateway_publisher_type(ngx_http_request_t *r, gw_str_t *type)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    h = ngx_http_gateway_header_find(r, "Gateway-Type", 0);

    if (h == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_gateway_message_type(r->pool, &h->value, type);

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_publisher_refuse(r, "\"Gateway-Type\" is not 1 to "
                                             "255 bytes of UTF-8");
        return NGX_HTTP_BAD_REQUEST;
    }

    return rc == NGX_OK ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_gateway_publisher_headers(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx)
{
    off_t             n;
    ngx_table_elt_t  *h;

    ctx->priority = GW_PRIORITY_NORMAL;
    ctx->expected = -1;

    h = ngx_http_gateway_header_find(r, "Gateway-Priority", 0);

    if (h
        && ngx_http_gateway_message_priority(&h->value, &ctx->priority)
           != NGX_OK)
    {
        ngx_http_gateway_publisher_refuse(r, "\"Gateway-Priority\" is not "
                                             "high, normal or low");
        return NGX_HTTP_BAD_REQUEST;
    }

    h = ngx_http_gateway_header_find(r, "Gateway-Expected-Version", 0);

    if (h) {
        n = ngx_atoof(h->value.data, h->value.len);

        if (n == NGX_ERROR) {
            ngx_http_gateway_publisher_refuse(r, "\"Gateway-Expected-Version\""
                                                 " is not a whole number");
            return NGX_HTTP_BAD_REQUEST;
        }

        ctx->expected = n;
    }

    return ngx_http_gateway_publisher_type(r, &ctx->type);
}


static ngx_uint_t
ngx_http_gateway_publisher_is(ngx_str_t *type, char *name)
{
    return type->len == ngx_strlen(name)
           && ngx_strncasecmp(type->data, (u_char *) name, type->len) == 0;
}


/* What a Content-Type says of a body. NGX_OK or 415. */

static ngx_int_t
ngx_http_gateway_publisher_kind(ngx_http_request_t *r,
    ngx_http_gateway_body_e *kind)
{
    u_char     *p;
    ngx_str_t   type;

    *kind = NGX_HTTP_GATEWAY_BODY_ANY;

    if (r->headers_in.content_type == NULL) {
        return NGX_OK;
    }

    type = r->headers_in.content_type->value;
    p = ngx_strlchr(type.data, type.data + type.len, ';');

    if (p) {
        type.len = p - type.data;
    }

    while (type.len && (type.data[type.len - 1] == ' '
                        || type.data[type.len - 1] == '\t'))
    {
        type.len--;
    }

    /* the second is what HTTP clients put there when nobody has told them */

    if (type.len == 0
        || ngx_http_gateway_publisher_is(&type,
                                         "application/x-www-form-urlencoded"))
    {
        return NGX_OK;
    }

    if (ngx_http_gateway_publisher_is(&type, "application/x-ndjson")) {
        ngx_http_gateway_publisher_refuse(r, "application/x-ndjson is not "
                                             "supported by this version");
        return NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
    }

    if (ngx_http_gateway_publisher_is(&type, "application/json")
        || (type.len > 5
            && ngx_strncasecmp(type.data + type.len - 5, (u_char *) "+json",
                               5) == 0))
    {
        *kind = NGX_HTTP_GATEWAY_BODY_JSON;

    } else if (type.len > 5
               && ngx_strncasecmp(type.data, (u_char *) "text/", 5) == 0)
    {
        *kind = NGX_HTTP_GATEWAY_BODY_TEXT;

    } else {
        *kind = NGX_HTTP_GATEWAY_BODY_BINARY;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_publisher_post(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx)
{
    ngx_int_t                         rc;
    ngx_http_gateway_channel_zone_t  *zone;

    rc = ngx_http_gateway_publisher_headers(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    zone = ngx_http_gateway_publisher_zone(r);

    rc = ngx_http_gateway_publisher_kind(r, &ctx->kind);

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->headers_in.content_length_n > (off_t) zone->max_message) {
        ngx_http_gateway_publisher_refuse(r, "the body is over max_message");
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_gateway_publisher_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_gateway_publisher_published(ngx_http_request_t *r, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info)
{
    u_char                            *p, *start;
    ngx_http_gateway_publisher_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_publisher_module);

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_publisher_refuse(r, "the channel has another version "
                                             "than expected");
        return NGX_HTTP_PRECONDITION_FAILED;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INSUFFICIENT_STORAGE;
    }

    start = ngx_pnalloc(r->pool, NGX_HTTP_GATEWAY_STATE_LEN + 1);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_http_gateway_publisher_state(start, &ctx->channel, info);
    *p++ = '}';

    return ngx_http_gateway_publisher_send(r, info->subscribers
                                              ? NGX_HTTP_CREATED
                                              : NGX_HTTP_ACCEPTED,
                                           start, p - start);
}


static ngx_int_t
ngx_http_gateway_publisher_publish(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx)
{
    ngx_int_t                         rc;
    ngx_str_t                         body;
    gw_message_t                      m;
    ngx_http_gateway_waiting_t       *w;
    ngx_http_gateway_channel_info_t   info;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = ngx_http_gateway_publisher_zone(r);

    rc = ngx_http_gateway_message_body(r, zone->max_message, &body);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_gateway_revoke_channel(&ctx->channel)) {
        return ngx_http_gateway_revoke_request(r, zone, &body);
    }

    rc = ngx_http_gateway_message_init(&m, r->pool, &body, ctx->kind);

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_publisher_refuse(r, "the body is not what its "
                                             "Content-Type says");
        return NGX_HTTP_BAD_REQUEST;
    }

    w = ngx_http_gateway_waiting_create(r,
                                        ngx_http_gateway_publisher_published);

    if (rc != NGX_OK || w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m.priority = ctx->priority;

    if (ctx->type.len) {
        m.type = ctx->type;
    }

    rc = ngx_http_gateway_mirror_publish(zone, &ctx->channel, &m,
                                         ctx->expected, &info,
                                         ngx_http_gateway_waiting_done, w,
                                         &w->op);

    return rc == NGX_AGAIN ? ngx_http_gateway_waiting_begin(w)
                           : ngx_http_gateway_publisher_published(r, rc,
                                                                  &info);
}


static void
ngx_http_gateway_publisher_body(ngx_http_request_t *r)
{
    ngx_http_gateway_publisher_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_publisher_module);

    ngx_http_finalize_request(r, ngx_http_gateway_publisher_publish(r, ctx));
}


/* The envelopes after `since`, each behind a comma but the first. */

static ngx_int_t
ngx_http_gateway_publisher_messages(ngx_http_request_t *r, ngx_str_t *channel,
    ngx_http_gateway_channel_info_t *info, uint64_t since,
    ngx_array_t *envelopes, uint64_t *complete)
{
    uint64_t                          seq, last;
    ngx_int_t                         rc;
    ngx_str_t                         envelope, *e;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = ngx_http_gateway_publisher_zone(r);

    *complete = (since <= info->seq);
    last = since;

    while (last < info->seq) {
        seq = last + 1;

        rc = ngx_http_gateway_channel_read(zone, channel, info, &seq, r->pool,
                                           &envelope);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            *complete = 0;
            break;
        }

        *complete &= (seq == last + 1);

        e = ngx_array_push(envelopes);
        if (e == NULL) {
            return NGX_ERROR;
        }

        *e = envelope;
        last = seq;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_publisher_get(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_str_t                    arg;
    ngx_http_gateway_waiting_t  *w;

    ctx->since = -1;

    if (ngx_http_arg(r, (u_char *) "since", 5, &arg) == NGX_OK) {
        ctx->since = ngx_atoof(arg.data, arg.len);

        if (ctx->since == NGX_ERROR) {
            ngx_http_gateway_publisher_refuse(r, "the \"since\" argument is "
                                                 "not a whole number");
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    w = ngx_http_gateway_waiting_create(r,
                                        ngx_http_gateway_publisher_describe);
    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_mirror_look(ngx_http_gateway_publisher_zone(r),
                                      &ctx->channel,
                                      ngx_http_gateway_waiting_done, w,
                                      &w->op);

    return rc == NGX_AGAIN ? ngx_http_gateway_waiting_begin(w)
                           : ngx_http_gateway_publisher_describe(r, rc, NULL);
}


static ngx_int_t
ngx_http_gateway_publisher_describe(ngx_http_request_t *r, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *unused)
{
    off_t                              since;
    size_t                             len;
    u_char                            *p, *start;
    uint64_t                           complete;
    ngx_str_t                         *e;
    ngx_uint_t                         i;
    ngx_array_t                        envelopes;
    ngx_http_gateway_channel_info_t    info;
    ngx_http_gateway_publisher_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_publisher_module);
    since = ctx->since;

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_gateway_channel_info(ngx_http_gateway_publisher_zone(r),
                                      &ctx->channel, &info)
        != NGX_OK)
    {
        return NGX_HTTP_NOT_FOUND;
    }

    complete = 0;
    len = NGX_HTTP_GATEWAY_STATE_LEN
          + sizeof(",\"messages\":[],\"complete\":false}") + NGX_INT64_LEN;

    if (ngx_array_init(&envelopes, r->pool, 16, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (since >= 0
        && ngx_http_gateway_publisher_messages(r, &ctx->channel, &info, since,
                                               &envelopes, &complete)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    e = envelopes.elts;

    for (i = 0; i < envelopes.nelts; i++) {
        len += e[i].len + 1;
    }

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_http_gateway_publisher_state(start, &ctx->channel, &info);

    if (since < 0) {
        p = ngx_sprintf(p, ",\"messages\":%uL}", info.seq + 1 - info.first);

    } else {
        p = gw_copy(p, gw_str(",\"messages\":["));

        for (i = 0; i < envelopes.nelts; i++) {
            if (i) {
                *p++ = ',';
            }

            p = ngx_cpymem(p, e[i].data, e[i].len);
        }

        p = ngx_sprintf(p, "],\"complete\":%s}", complete ? "true" : "false");
    }

    return ngx_http_gateway_publisher_send(r, NGX_HTTP_OK, start, p - start);
}


static ngx_int_t
ngx_http_gateway_publisher_deleted(ngx_http_request_t *r, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *unused)
{
    if (rc == NGX_DECLINED) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


static ngx_int_t
ngx_http_gateway_publisher_delete(ngx_http_request_t *r,
    ngx_http_gateway_publisher_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_gateway_waiting_t  *w;

    w = ngx_http_gateway_waiting_create(r,
                                        ngx_http_gateway_publisher_deleted);
    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_mirror_delete(ngx_http_gateway_publisher_zone(r),
                                        &ctx->channel,
                                        ngx_http_gateway_waiting_done, w,
                                        &w->op);

    return rc == NGX_AGAIN ? ngx_http_gateway_waiting_begin(w)
                           : ngx_http_gateway_publisher_deleted(r, rc, NULL);
}


static void *
ngx_http_gateway_publisher_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_gateway_publisher_loc_conf_t));
}


static char *
ngx_http_gateway_publisher(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_publisher_loc_conf_t  *plcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (plcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    plcf->zone = ngx_http_gateway_channel_zone_get(cf, &value[1]);
    if (plcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_gateway_publisher_handler;
    ngx_http_gateway_cache_never(cf);

    return NGX_CONF_OK;
}
