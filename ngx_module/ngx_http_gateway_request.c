/*
 * Requests that no client made; see ngx_http_gateway_request.h.
 *
 * The life of a fetch: the main request is made with more counts than are
 * ever dropped, so nginx never frees it. The fetch is a subrequest that
 * owns the output (c->data), as the only one of a client would. Its header
 * and body are taken by the filters below, which stand before all others, so
 * that nothing ever reaches a filter that would write to the socket. When
 * the subrequest is finalized (or nginx gives the main request up), an event
 * is posted, from which the caller's handler runs on a clean stack.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_compat.h"
#include "ngx_http_gateway_connection.h"
#include "ngx_http_gateway_request.h"


/* ms until a request that a thread still works for is looked at again */
#define NGX_HTTP_GATEWAY_REQUEST_RETRY  50

/* counts of the main request that are never given back */
#define NGX_HTTP_GATEWAY_REQUEST_COUNT  64


typedef struct {
    ngx_http_request_t           *request;     /* the main request */
    ngx_http_request_t           *subrequest;  /* the fetch */
    ngx_event_t                   event;       /* starts and ends it */

    ngx_http_gateway_fetch_pt     handler;
    void                         *data;

    ngx_http_gateway_response_t   res;
    size_t                        max_body;
    size_t                        size;        /* allocated for the body */

    unsigned                      header:1;    /* the header was captured */
    unsigned                      complete:1;  /* the body's end, too */
    unsigned                      done:1;
    unsigned                      orphan:1;    /* destroyed by its owner */
} ngx_http_gateway_request_ctx_t;


static ngx_int_t ngx_http_gateway_request_init_memory(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_request_init_ctx(ngx_http_request_t *r);
static void ngx_http_gateway_request_init_fields(ngx_http_request_t *r);
static void ngx_http_gateway_request_free(
    ngx_http_gateway_request_ctx_t *ctx);
static ngx_int_t ngx_http_gateway_request_body(ngx_http_request_t *sr,
    ngx_str_t *body);
static ngx_int_t ngx_http_gateway_request_finalized(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static void ngx_http_gateway_request_terminated(void *data);
static void ngx_http_gateway_request_event(ngx_event_t *ev);
static ngx_int_t ngx_http_gateway_request_header_filter(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_gateway_request_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_gateway_request_append(
    ngx_http_gateway_request_ctx_t *ctx, ngx_buf_t *b);
static ngx_int_t ngx_http_gateway_request_postconf(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_gateway_request_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_gateway_request_postconf,     /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_gateway_request_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_request_module_ctx,  /* module context */
    NULL,                                  /* module directives */
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


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_http_request_t *
ngx_http_gateway_request_create(void **main_conf, void **srv_conf,
    void **loc_conf)
{
    ngx_pool_t                *pool;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = srv_conf[ngx_http_core_module.ctx_index];

    c = ngx_http_gateway_connection_create(
                                loc_conf[ngx_http_core_module.ctx_index]);
    if (c == NULL) {
        return NULL;
    }

    pool = ngx_create_pool(cscf->request_pool_size, c->log);
    if (pool == NULL) {
        goto failed;
    }

    r = ngx_pcalloc(pool, sizeof(*r));
    if (r == NULL) {
        goto failed;
    }

    r->pool = pool;
    r->signature = NGX_HTTP_MODULE;
    r->connection = c;
    r->main = r;

    r->main_conf = main_conf;
    r->srv_conf = srv_conf;
    r->loc_conf = loc_conf;

    if (ngx_http_gateway_request_init_memory(r) != NGX_OK
        || ngx_http_gateway_request_init_ctx(r) != NGX_OK)
    {
        goto failed;
    }

    ngx_http_gateway_request_init_fields(r);

    ngx_http_set_log_request(c->log, r);

    c->data = r;
    c->requests = 1;

    return r;

failed:

    if (pool) {
        ngx_destroy_pool(pool);
    }

    ngx_http_gateway_connection_close(c);

    return NULL;
}


static ngx_int_t
ngx_http_gateway_request_init_memory(ngx_http_request_t *r)
{
    ngx_http_connection_t      *hc;
    ngx_http_core_srv_conf_t   *cscf;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    r->header_in = ngx_create_temp_buf(r->pool, 16);
    r->ctx = ngx_pcalloc(r->pool, sizeof(void *) * ngx_http_max_module);
    r->variables = ngx_pcalloc(r->pool, cmcf->variables.nelts
                                        * sizeof(ngx_http_variable_value_t));
    hc = ngx_pcalloc(r->pool, sizeof(*hc));

    if (r->header_in == NULL || r->ctx == NULL || r->variables == NULL
        || hc == NULL
        || ngx_list_init(&r->headers_in.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t)) != NGX_OK
        || ngx_list_init(&r->headers_out.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t)) != NGX_OK
        || ngx_list_init(&r->headers_out.trailers, r->pool, 4,
                         sizeof(ngx_table_elt_t)) != NGX_OK
        || ngx_http_gateway_cookies_init(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->http_connection = hc;
    hc->conf_ctx = cscf->ctx;

    hc->addr_conf = ngx_pcalloc(r->pool, sizeof(*hc->addr_conf));
    if (hc->addr_conf == NULL) {
        return NGX_ERROR;
    }

    hc->addr_conf->default_server = cscf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_request_init_ctx(ngx_http_request_t *r)
{
    ngx_http_cleanup_t              *cln;
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_gateway_request_terminated;
    cln->data = ctx;

    ctx->request = r;
    ctx->event.handler = ngx_http_gateway_request_event;
    ctx->event.data = ctx;
    ctx->event.log = r->connection->log;
    ctx->event.cancelable = 1;

    ngx_http_set_ctx(r, ctx, ngx_http_gateway_request_module);

    return NGX_OK;
}


static void
ngx_http_gateway_request_init_fields(ngx_http_request_t *r)
{
    ngx_time_t                *tp;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    r->headers_in.server = cscf->server_name;
    r->headers_in.content_length_n = -1;
    r->headers_in.keep_alive_n = -1;
    r->headers_out.content_length_n = -1;
    r->headers_out.last_modified_time = -1;

    r->method = NGX_HTTP_GET;
    ngx_str_set(&r->method_name, "GET");
    ngx_str_set(&r->http_protocol, "HTTP/1.1");
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->uri, "/");
    r->unparsed_uri = r->uri;
    r->valid_unparsed_uri = 1;

    tp = ngx_timeofday();
    r->start_sec = tp->sec;
    r->start_msec = tp->msec;

    r->count = NGX_HTTP_GATEWAY_REQUEST_COUNT;
    r->uri_changes = NGX_HTTP_MAX_URI_CHANGES + 1;
    r->subrequests = NGX_HTTP_MAX_SUBREQUESTS + 1;
    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;
    r->internal = 1;
    r->logged = 1;
}


void
ngx_http_gateway_request_destroy(ngx_http_request_t *r)
{
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_request_module);

    ctx->orphan = 1;

    ngx_http_gateway_request_free(ctx);
}


static void
ngx_http_gateway_request_free(ngx_http_gateway_request_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }

    if (r->blocked) {

        /* a thread reads or writes a file into our memory */

        ngx_add_timer(&ctx->event, NGX_HTTP_GATEWAY_REQUEST_RETRY);
        return;
    }

    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }

    while (r->cleanup) {
        cln = r->cleanup;
        r->cleanup = cln->next;

        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }

    r->logged = 1;
    c->timedout = 0;

    ngx_http_free_request(r, 0);
    ngx_http_gateway_connection_close(c);
}


ngx_int_t
ngx_http_gateway_request_fetch(ngx_http_request_t *r, ngx_str_t *uri,
    ngx_str_t *body, size_t max_body, ngx_http_gateway_fetch_pt handler,
    void *data)
{
    u_char                          *p;
    ngx_str_t                        path, args;
    ngx_http_post_subrequest_t      *psr;
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_gateway_request_module);

    if (ctx->subrequest) {
        return NGX_ERROR;
    }

    path.len = uri->len;
    path.data = ngx_pstrdup(r->pool, uri);
    psr = ngx_palloc(r->pool, sizeof(*psr));

    if (path.data == NULL || psr == NULL) {
        return NGX_ERROR;
    }

    ngx_str_null(&args);

    p = ngx_strlchr(path.data, path.data + path.len, '?');
    if (p) {
        args.data = p + 1;
        args.len = path.data + path.len - args.data;
        path.len = p - path.data;
    }

    psr->handler = ngx_http_gateway_request_finalized;
    psr->data = ctx;

    ctx->handler = handler;
    ctx->data = data;
    ctx->max_body = max_body;

    if (ngx_http_subrequest(r, &path, args.len ? &args : NULL,
                            &ctx->subrequest, psr, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (body
        && ngx_http_gateway_request_body(ctx->subrequest, body) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_post_event(&ctx->event, &ngx_posted_next_events);

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_request_body(ngx_http_request_t *sr, ngx_str_t *body)
{
    ngx_buf_t                *b;
    ngx_table_elt_t          *h;
    ngx_http_request_body_t  *rb;

    static ngx_str_t  type = ngx_string("application/json");

    rb = ngx_pcalloc(sr->pool, sizeof(*rb));
    b = ngx_create_temp_buf(sr->pool, body->len + 1);

    if (rb == NULL || b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, body->data, body->len);
    b->last_buf = 1;

    if (body->len) {
        rb->bufs = ngx_alloc_chain_link(sr->pool);
        if (rb->bufs == NULL) {
            return NGX_ERROR;
        }

        rb->bufs->buf = b;
        rb->bufs->next = NULL;
    }

    rb->buf = b;
    sr->request_body = rb;

    h = ngx_list_push(&sr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&h->key, "Content-Type");
    h->value = type;
    h->lowcase_key = (u_char *) "content-type";
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    ngx_http_gateway_header_single(h);

    sr->headers_in.content_type = h;
    sr->headers_in.content_length_n = body->len;
    sr->method = NGX_HTTP_POST;
    ngx_str_set(&sr->method_name, "POST");

    return NGX_OK;
}


/*
 * Called by ngx_http_finalize_request(), first with the status of an error,
 * then, when its page was made, again. Whatever would end the whole request
 * of a client ends only the subrequest here: NGX_OK is returned for it.
 */

static ngx_int_t
ngx_http_gateway_request_finalized(ngx_http_request_t *sr, void *data,
    ngx_int_t rc)
{
    ngx_http_gateway_request_ctx_t *ctx = data;

    sr->connection->error = 0;
    sr->connection->timedout = 0;

    if (rc == NGX_AGAIN) {
        return rc;
    }

    if (rc == NGX_ERROR
        || rc == NGX_HTTP_CLOSE
        || rc == NGX_HTTP_REQUEST_TIME_OUT
        || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        ctx->complete = 0;
        rc = NGX_OK;
    }

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE
        || rc == NGX_HTTP_CREATED
        || rc == NGX_HTTP_NO_CONTENT)
    {
        return rc;
    }

    if (!ctx->done) {
        ctx->done = 1;
        ngx_post_event(&ctx->event, &ngx_posted_events);
    }

    return rc;
}


/*
 * A cleanup of the main request: nginx ends it, because something within the
 * subrequest failed for good (or we do, on destroying it). Without a write
 * handler ngx_http_terminate_request() only drops a count.
 */

static void
ngx_http_gateway_request_terminated(void *data)
{
    ngx_http_gateway_request_ctx_t *ctx = data;

    ctx->request->write_event_handler = NULL;
    ctx->request->posted_requests = NULL;

    if (!ctx->done && !ctx->orphan) {
        ctx->done = 1;
        ctx->complete = 0;
        ngx_post_event(&ctx->event, &ngx_posted_events);
    }
}


static void
ngx_http_gateway_request_event(ngx_event_t *ev)
{
    ngx_http_gateway_response_t     *res;
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ev->data;

    if (ctx->orphan) {
        ngx_http_gateway_request_free(ctx);
        return;
    }

    if (!ctx->done) {
        ngx_http_run_posted_requests(ctx->request->connection);
        return;
    }

    res = &ctx->res;

    if (res->too_big || !ctx->header || !ctx->complete) {
        res->body.len = 0;

        if (!res->too_big) {
            res->status = NGX_HTTP_BAD_GATEWAY;
        }
    }

    ctx->handler(ctx->request, res, ctx->data);
}


static ngx_int_t
ngx_http_gateway_request_header_filter(ngx_http_request_t *r)
{
    off_t                            length;
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_gateway_request_module);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    r->header_sent = 1;

    if (r != ctx->subrequest) {

        /* of a subrequest of the fetch: what it does is its own matter */

        return NGX_OK;
    }

    ctx->header = 1;
    ctx->res.status = r->headers_out.status;
    ctx->res.content_type = r->headers_out.content_type;

    length = r->headers_out.content_length_n;

    if (length > 0 && (size_t) length > ctx->max_body) {
        ctx->res.too_big = 1;
        return NGX_ERROR;
    }

    if (length > 0) {
        ctx->res.body.data = ngx_palloc(r->pool, length);
        if (ctx->res.body.data == NULL) {
            return NGX_ERROR;
        }

        ctx->size = length;
    }

    if (r->header_only
        || ctx->res.status == NGX_HTTP_NO_CONTENT
        || ctx->res.status == NGX_HTTP_NOT_MODIFIED)
    {
        r->header_only = 1;
        ctx->complete = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_request_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                       *b;
    ngx_chain_t                     *cl;
    ngx_http_gateway_request_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_gateway_request_module);

    if (ctx == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;

        if (r == ctx->subrequest) {

            if (ngx_http_gateway_request_append(ctx, b) != NGX_OK) {
                return NGX_ERROR;
            }

            if (b->last_buf || b->last_in_chain) {
                ctx->complete = 1;
            }
        }

        /* taken: upstreams may use the buffers again */

        b->pos = b->last;
        b->file_pos = b->file_last;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_request_append(ngx_http_gateway_request_ctx_t *ctx,
    ngx_buf_t *b)
{
    off_t       size;
    size_t      room;
    u_char     *p;
    ssize_t     n;
    ngx_str_t  *body;

    if (ngx_buf_special(b)) {
        return NGX_OK;
    }

    body = &ctx->res.body;
    size = ngx_buf_size(b);

    if (size > (off_t) (ctx->max_body - body->len)) {
        ctx->res.too_big = 1;
        return NGX_ERROR;
    }

    if (size > (off_t) (ctx->size - body->len)) {
        room = ngx_max(ctx->size * 2, body->len + (size_t) size);

        p = ngx_palloc(ctx->request->pool, room);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (body->data) {
            ngx_memcpy(p, body->data, body->len);
            ngx_pfree(ctx->request->pool, body->data);
        }

        body->data = p;
        ctx->size = room;
    }

    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(body->data + body->len, b->pos, (size_t) size);
        body->len += (size_t) size;
        return NGX_OK;
    }

    /* a file, or what an upstream's answer had no buffers for */

#if (NGX_HAVE_ALIGNED_DIRECTIO)

    if (b->file->directio) {
        if (ngx_directio_off(b->file->fd) == NGX_FILE_ERROR) {
            return NGX_ERROR;
        }

        b->file->directio = 0;
    }

#endif

    n = ngx_read_file(b->file, body->data + body->len, (size_t) size,
                      b->file_pos);
    if (n != (ssize_t) size) {
        return NGX_ERROR;
    }

    body->len += (size_t) size;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_request_postconf(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_gateway_request_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_gateway_request_body_filter;

    return NGX_OK;
}
