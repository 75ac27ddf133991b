/*
 * gateway_upstream_actions: what a proxied upstream asks for by fields of its
 * response.
 *
 *   Gateway-Publish: channel, ...         the body is published on them
 *   Gateway-Invalidate: key, ...          the keys are purged
 *   Gateway-Invalidate-Tags: tag, ...     what has these tags is purged
 *
 * They are acted on in a 2xx, and removed from any response. The filter runs
 * before that of the cache, so that nothing of it is stored: a hit asks for
 * nothing again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_mirror.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_text.h"
#include "../src/http_field.h"
#include "../src/pattern.h"


typedef struct {
    ngx_uint_t                        used;      /* by some location */
} ngx_http_gateway_actions_main_conf_t;

typedef struct {
    ngx_http_gateway_channel_zone_t  *zone;      /* NULL: off */
} ngx_http_gateway_actions_loc_conf_t;


/* A response whose body is to be published. */

typedef struct {
    ngx_array_t                       channels;  /* of gw_str_t */
    u_char                           *body;
    size_t                            len;
    size_t                            size;
    unsigned                          done:1;
} ngx_http_gateway_actions_ctx_t;


static ngx_int_t ngx_http_gateway_actions_header_filter(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_actions_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static char *ngx_http_gateway_upstream_actions(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_gateway_actions_init(ngx_conf_t *cf);
static void *ngx_http_gateway_actions_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_actions_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_actions_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);


static ngx_command_t  ngx_http_gateway_actions_commands[] = {

    { ngx_string("gateway_upstream_actions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_upstream_actions,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_actions_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_gateway_actions_init,         /* postconfiguration */

    ngx_http_gateway_actions_create_main_conf, /* create main conf */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_actions_create_loc_conf, /* create location conf */
    ngx_http_gateway_actions_merge_loc_conf   /* merge location conf */
};


ngx_module_t  ngx_http_gateway_actions_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_actions_module_ctx,  /* module context */
    ngx_http_gateway_actions_commands,     /* module directives */
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


static ngx_http_output_header_filter_pt  ngx_http_gateway_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_gateway_next_body_filter;


static ngx_str_t  ngx_http_gateway_actions_names[] = {
    ngx_string("Gateway-Publish"),
    ngx_string("Gateway-Invalidate"),
    ngx_string("Gateway-Invalidate-Tags")
};

#define NGX_HTTP_GATEWAY_ACTIONS_PUBLISH  0
#define NGX_HTTP_GATEWAY_ACTIONS_KEYS     1
#define NGX_HTTP_GATEWAY_ACTIONS_TAGS     2
#define NGX_HTTP_GATEWAY_ACTIONS          3


/* Takes the fields out of a list of headers; the members of their values go
 * to `members`, where that is given. */

static ngx_int_t
ngx_http_gateway_actions_take(ngx_list_t *list, ngx_array_t *members)
{
    gw_str_t          member, *s;
    gw_field_t        field;
    ngx_uint_t        i, n;
    gw_fields_t       fields;
    gw_members_t      m;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &list->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len < sizeof("Gateway-Publish") - 1
                || (h[i].key.data[0] | 0x20) != 'g')
            {
                continue;
            }

            for (n = 0; n < NGX_HTTP_GATEWAY_ACTIONS; n++) {
                if (h[i].key.len == ngx_http_gateway_actions_names[n].len
                    && ngx_strncasecmp(h[i].key.data,
                                       ngx_http_gateway_actions_names[n].data,
                                       h[i].key.len) == 0)
                {
                    break;
                }
            }

            if (n == NGX_HTTP_GATEWAY_ACTIONS) {
                continue;
            }

            h[i].hash = 0;

            if (members == NULL) {
                continue;
            }

            field.name = ngx_http_gateway_span(&h[i].key);
            field.value = ngx_http_gateway_span(&h[i].value);
            fields.fields = &field;
            fields.n = 1;

            gw_members_init(&m, fields, field.name);

            while (gw_members_next(&m, &member)) {

                if (member.len == 0) {
                    continue;
                }

                s = ngx_array_push(&members[n]);
                if (s == NULL) {
                    return NGX_ERROR;
                }

                *s = member;
            }
        }
    }

    return NGX_OK;
}


/* Keeps the names of channels, and prepares for the body. */

static ngx_int_t
ngx_http_gateway_actions_publish(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t *zone, ngx_array_t *names)
{
    gw_str_t                        *s, *name;
    ngx_uint_t                       i;
    ngx_http_gateway_actions_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));

    if (ctx == NULL
        || ngx_array_init(&ctx->channels, r->pool, names->nelts,
                          sizeof(gw_str_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    s = names->elts;

    for (i = 0; i < names->nelts; i++) {

        if (!gw_channel_name_valid(s[i])) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "gateway_upstream_actions: upstream asked to "
                          "publish on what is not a channel's name");
            continue;
        }

        name = ngx_array_push(&ctx->channels);
        if (name == NULL) {
            return NGX_ERROR;
        }

        *name = s[i];
    }

    if (ctx->channels.nelts == 0) {
        return NGX_OK;
    }

    if (r->headers_out.content_length_n > (off_t) zone->max_message) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "gateway_upstream_actions: a body of %O bytes is over "
                      "\"max_message\" of zone \"%V\", and is not published",
                      r->headers_out.content_length_n, &zone->name);
        return NGX_OK;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_actions_module);

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_actions_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                            i, act;
    ngx_array_t                           members[NGX_HTTP_GATEWAY_ACTIONS];
    ngx_http_gateway_actions_loc_conf_t  *alcf;

    if (r->upstream == NULL) {
        return ngx_http_gateway_next_header_filter(r);
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_actions_module);

    if (alcf->zone == NULL) {
        return ngx_http_gateway_next_header_filter(r);
    }

    for (i = 0; i < NGX_HTTP_GATEWAY_ACTIONS; i++) {
        if (ngx_array_init(&members[i], r->pool, 1, sizeof(gw_str_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* what nginx makes of an upstream that failed is not the upstream's */

    act = r->headers_out.status >= NGX_HTTP_OK
          && r->headers_out.status < NGX_HTTP_SPECIAL_RESPONSE
          && r->upstream->headers_in.status_n == r->headers_out.status;

    /* as it came, also where proxy_hide_header hides it */

    if (ngx_http_gateway_actions_take(&r->upstream->headers_in.headers,
                                      act ? members : NULL)
        != NGX_OK
        || ngx_http_gateway_actions_take(&r->headers_out.headers, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((members[NGX_HTTP_GATEWAY_ACTIONS_KEYS].nelts
         || members[NGX_HTTP_GATEWAY_ACTIONS_TAGS].nelts)
        && ngx_http_gateway_cache_purge(r,
                                   &members[NGX_HTTP_GATEWAY_ACTIONS_KEYS],
                                   &members[NGX_HTTP_GATEWAY_ACTIONS_TAGS])
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "gateway_upstream_actions: no memory to purge what "
                      "upstream asked for");
    }

    if (members[NGX_HTTP_GATEWAY_ACTIONS_PUBLISH].nelts
        && r->method != NGX_HTTP_HEAD
        && ngx_http_gateway_actions_publish(r, alcf->zone,
                                &members[NGX_HTTP_GATEWAY_ACTIONS_PUBLISH])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_next_header_filter(r);
}


/* What the body is said to be; what it is not is found out. */

static ngx_http_gateway_body_e
ngx_http_gateway_actions_kind(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    type = &r->headers_out.content_type;

    if (type->len >= 16
        && ngx_strncasecmp(type->data, (u_char *) "application/json", 16)
           == 0)
    {
        return NGX_HTTP_GATEWAY_BODY_JSON;
    }

    if (type->len >= 5
        && ngx_strncasecmp(type->data, (u_char *) "text/", 5) == 0)
    {
        return NGX_HTTP_GATEWAY_BODY_TEXT;
    }

    if (type->len >= 24
        && ngx_strncasecmp(type->data,
                           (u_char *) "application/octet-stream", 24) == 0)
    {
        return NGX_HTTP_GATEWAY_BODY_BINARY;
    }

    return NGX_HTTP_GATEWAY_BODY_ANY;
}


static void
ngx_http_gateway_actions_send(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_actions_ctx_t *ctx)
{
    gw_str_t                         *s;
    ngx_int_t                         rc;
    ngx_str_t                         body, name;
    ngx_uint_t                        i;
    gw_message_t                      m;
    ngx_http_gateway_body_e           kind;
    ngx_http_gateway_channel_info_t   info;

    ngx_str_set(&body, "");

    if (ctx->len) {
        body.data = ctx->body;
        body.len = ctx->len;
    }

    s = ctx->channels.elts;

    for (i = 0; i < ctx->channels.nelts; i++) {
        name.data = (u_char *) s[i].data;
        name.len = s[i].len;

        if (ngx_http_gateway_revoke_channel(&name)) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "gateway_upstream_actions: tokens are revoked by "
                          "a request to gateway_publisher alone");
            continue;
        }

        kind = ngx_http_gateway_actions_kind(r);
        rc = ngx_http_gateway_message_init(&m, r->pool, &body, kind);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_gateway_message_init(&m, r->pool, &body,
                                               NGX_HTTP_GATEWAY_BODY_ANY);
        }

        if (rc != NGX_OK
            || ((rc = ngx_http_gateway_mirror_publish(zone, &name, &m, -1,
                                                      &info, NULL, NULL,
                                                      NULL))
                != NGX_OK && rc != NGX_AGAIN))
        {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "gateway_upstream_actions: zone \"%V\" has no room "
                          "for what upstream asked to publish on \"%V\"",
                          &zone->name, &name);
        }
    }
}


/* NGX_DECLINED: it is too large after all. */

static ngx_int_t
ngx_http_gateway_actions_gather(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_actions_ctx_t *ctx, ngx_buf_t *b)
{
    off_t    len;
    size_t   size;
    ssize_t  n;
    u_char  *p;

    len = ngx_buf_size(b);

    if (len == 0) {
        return NGX_OK;
    }

    if ((off_t) ctx->len + len > (off_t) zone->max_message) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "gateway_upstream_actions: the body is over "
                      "\"max_message\" of zone \"%V\", and is not published",
                      &zone->name);
        return NGX_DECLINED;
    }

    if (ctx->len + (size_t) len > ctx->size) {
        size = ngx_max(ctx->len + (size_t) len, 2 * ctx->size);
        size = ngx_min(size, zone->max_message);

        p = ngx_pnalloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (ctx->len) {
            ngx_memcpy(p, ctx->body, ctx->len);
        }

        ctx->body = p;
        ctx->size = size;
    }

    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(ctx->body + ctx->len, b->pos, (size_t) len);

    } else {
        n = ngx_read_file(b->file, ctx->body + ctx->len, (size_t) len,
                          b->file_pos);
        if (n != (ssize_t) len) {
            return NGX_ERROR;
        }
    }

    ctx->len += (size_t) len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_actions_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                             rc;
    ngx_uint_t                            last;
    ngx_chain_t                          *cl;
    ngx_http_gateway_actions_ctx_t       *ctx;
    ngx_http_gateway_actions_loc_conf_t  *alcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_actions_module);

    if (ctx == NULL || ctx->done) {
        return ngx_http_gateway_next_body_filter(r, in);
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_actions_module);
    last = 0;

    for (cl = in; cl; cl = cl->next) {
        rc = ngx_http_gateway_actions_gather(r, alcf->zone, ctx, cl->buf);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {
            ctx->done = 1;
            break;
        }

        last |= cl->buf->last_buf || (r != r->main && cl->buf->last_in_chain);
    }

    if (last && !ctx->done) {
        ctx->done = 1;
        ngx_http_gateway_actions_send(r, alcf->zone, ctx);
    }

    return ngx_http_gateway_next_body_filter(r, in);
}


static char *
ngx_http_gateway_upstream_actions(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_actions_loc_conf_t *alcf = conf;

    ngx_str_t                             *value;
    ngx_http_gateway_actions_main_conf_t  *amcf;

    if (alcf->zone != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts != 2 || value[1].len == 0
        || ngx_strchr(value[1].data, ':'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in "
                           "\"gateway_upstream_actions\": the name of a "
                           "\"gateway_channel_zone\", or \"off\", is accepted",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        alcf->zone = NULL;
        return NGX_CONF_OK;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_actions_module);
    amcf->used = 1;

    alcf->zone = ngx_http_gateway_channel_zone_get(cf, &value[1]);

    return alcf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_gateway_actions_init(ngx_conf_t *cf)
{
    ngx_http_gateway_actions_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_actions_module);

    if (!amcf->used) {
        return NGX_OK;
    }

    ngx_http_gateway_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_gateway_actions_header_filter;

    ngx_http_gateway_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_gateway_actions_body_filter;

    return NGX_OK;
}


static void *
ngx_http_gateway_actions_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_gateway_actions_main_conf_t));
}


static void *
ngx_http_gateway_actions_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_actions_loc_conf_t  *alcf;

    alcf = ngx_palloc(cf->pool, sizeof(*alcf));

    if (alcf) {
        alcf->zone = NGX_CONF_UNSET_PTR;
    }

    return alcf;
}


static char *
ngx_http_gateway_actions_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_actions_loc_conf_t  *prev = parent;
    ngx_http_gateway_actions_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->zone, prev->zone, NULL);

    return NGX_CONF_OK;
}
