/*
 * gateway_cache_purge: the purge interface.
 *
 * DELETE and PURGE purge the location's gateway_cache_key; POST takes
 * {keys?, pattern?, tags?, cascade?}.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_purge.h"
#include "ngx_http_gateway_text.h"
#include "../src/json_scan.h"
#include "../src/utf8.h"


#define NGX_HTTP_GATEWAY_PURGE_BODY  (1024 * 1024)


typedef struct {
    ngx_http_gateway_cache_zone_t  *zone;
} ngx_http_gateway_purge_loc_conf_t;


typedef struct {
    ngx_http_gateway_purge_t        job;       /* must be first */
    ngx_http_request_t             *request;
} ngx_http_gateway_purge_ctx_t;


static ngx_int_t ngx_http_gateway_purge_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_purge_method(ngx_http_request_t *r,
    ngx_http_gateway_purge_ctx_t *ctx);
static void ngx_http_gateway_purge_body(ngx_http_request_t *r);
static void ngx_http_gateway_purge_answer(ngx_http_gateway_purge_t *job);
static void *ngx_http_gateway_purge_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_purge(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_gateway_purge_commands[] = {

    { ngx_string("gateway_cache_purge"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_gateway_purge,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_cache_purge_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_purge_create_loc_conf, /* create location conf */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_gateway_cache_purge_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_cache_purge_module_ctx, /* module context */
    ngx_http_gateway_purge_commands,       /* module directives */
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
ngx_http_gateway_purge_cleanup(void *data)
{
    ngx_http_gateway_purge_cancel(data);
}


static ngx_int_t
ngx_http_gateway_purge_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_cleanup_t                 *cln;
    ngx_http_gateway_purge_ctx_t       *ctx;
    ngx_http_gateway_purge_loc_conf_t  *plcf;

    static ngx_str_t  purge = ngx_string("PURGE");

    plcf = ngx_http_get_module_loc_conf(r,
                                        ngx_http_gateway_cache_purge_module);

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL
        || ngx_http_gateway_purge_init(&ctx->job, plcf->zone, r->pool,
                                       r->connection->log)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_gateway_purge_cleanup;
    cln->data = &ctx->job;

    ctx->request = r;
    ctx->job.done = ngx_http_gateway_purge_answer;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_cache_purge_module);

    if (r->method == NGX_HTTP_DELETE
        || (r->method_name.len == purge.len
            && ngx_strncmp(r->method_name.data, purge.data, purge.len) == 0))
    {
        return ngx_http_gateway_purge_method(r, ctx);
    }

    if (r->method != NGX_HTTP_POST) {
        return ngx_http_gateway_header_add(r, "Allow",
                                           (u_char *) "DELETE, PURGE, POST",
                                           19)
               == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                         : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->headers_in.content_length_n > NGX_HTTP_GATEWAY_PURGE_BODY) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_gateway_purge_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static void
ngx_http_gateway_purge_start(ngx_http_gateway_purge_ctx_t *ctx)
{
    ctx->request->read_event_handler = ngx_http_block_reading;
    ctx->request->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_gateway_purge_run(&ctx->job);
}


static ngx_int_t
ngx_http_gateway_purge_method(ngx_http_request_t *r,
    ngx_http_gateway_purge_ctx_t *ctx)
{
    u_char     *p;
    gw_str_t   *key;
    ngx_int_t   rc;
    ngx_str_t   s;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_gateway_cache_key(r, &s) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (s.len == 0) {
        return NGX_HTTP_BAD_REQUEST;
    }

    key = ngx_array_push(&ctx->job.keys);
    if (key == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *key = ngx_http_gateway_span(&s);

    p = ngx_pnalloc(r->pool, gw_json_quoted_size(*key)
                             + sizeof("{\"keys\":[]}"));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->job.payload.data = p;
    p = ngx_cpymem(p, "{\"keys\":[", 9);
    p = gw_json_quote(p, *key);
    p = ngx_cpymem(p, "]}", 2);
    ctx->job.payload.len = p - ctx->job.payload.data;

    r->main->count++;

    ngx_http_gateway_purge_start(ctx);

    return NGX_DONE;
}


/* All of it was asked for in one piece. */

static ngx_int_t
ngx_http_gateway_purge_read(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t    *b;
    ssize_t       n;
    ngx_chain_t  *cl;

    ngx_str_null(body);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_DECLINED;
    }

    cl = r->request_body->bufs;
    b = cl->buf;

    if (cl->next == NULL && ngx_buf_in_memory(b)) {
        body->data = b->pos;
        body->len = b->last - b->pos;
        return NGX_OK;
    }

    if (cl->next || !b->in_file
        || b->file_last > NGX_HTTP_GATEWAY_PURGE_BODY)
    {
        return NGX_DECLINED;
    }

    body->data = ngx_pnalloc(r->pool, b->file_last + 1);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_read_file(b->file, body->data, b->file_last, 0);

    if (n != b->file_last) {
        return NGX_ERROR;
    }

    body->len = n;

    return NGX_OK;
}


static void
ngx_http_gateway_purge_body(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      body;
    ngx_http_gateway_purge_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_cache_purge_module);

    rc = ngx_http_gateway_purge_read(r, &body);

    if (rc == NGX_OK) {
        rc = ngx_http_gateway_purge_parse(&ctx->job, &body);
    }

    if (rc == NGX_OK) {
        ngx_http_gateway_purge_start(ctx);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "gateway_cache_purge: the body is not a JSON object of "
                      "\"keys\", \"tags\" (arrays of strings), \"pattern\" "
                      "(a string) and \"cascade\" that names something");
    }

    ngx_http_finalize_request(r, rc == NGX_DECLINED
                                 ? NGX_HTTP_BAD_REQUEST
                                 : NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/* What the request is to be finalized with. */

static ngx_int_t
ngx_http_gateway_purge_send(ngx_http_request_t *r, uint64_t purged)
{
    u_char       *p;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_create_temp_buf(r->pool, sizeof("{\"purged\":}")
                                     + NGX_INT64_LEN);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"purged\":%uL}", purged);

    b->last = p;
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = p - b->pos;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc != NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static void
ngx_http_gateway_purge_answer(ngx_http_gateway_purge_t *job)
{
    ngx_http_gateway_purge_ctx_t *ctx = (ngx_http_gateway_purge_ctx_t *) job;

    ngx_uint_t           later;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;
    later = job->later;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, ngx_http_gateway_purge_send(r,
                                                      job->purge.purged));

    /* from run() whoever called the handler does it */

    if (later) {
        ngx_http_run_posted_requests(c);
    }
}


static void *
ngx_http_gateway_purge_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_gateway_purge_loc_conf_t));
}


static char *
ngx_http_gateway_purge(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_purge_loc_conf_t  *plcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (plcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || ngx_strchr(value[1].data, ':')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"gateway_cache_purge\": "
                           "the name of a \"gateway_cache_zone\" is accepted",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    plcf->zone = ngx_http_gateway_cache_zone_get(cf, &value[1]);
    if (plcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_gateway_cache_never(cf);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_gateway_purge_handler;

    return NGX_CONF_OK;
}
