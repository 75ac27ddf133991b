/*
 * gateway_cache's second level: what this node has fetched goes there when it
 * is complete. Nobody waits for that; where too much is under way already it
 * is left out.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_worker.h"
#include "../src/cache_tag.h"


/* bytes under way to Redis, of a worker */
#define NGX_HTTP_GATEWAY_CACHE_UNDER_WAY  (16 * 1024 * 1024)

/* ms: what a guess at when upstream was asked may be wrong by */
#define NGX_HTTP_GATEWAY_CACHE_MARGIN     1000

#define NGX_HTTP_GATEWAY_CACHE_STORE_ARGS  (2 + 13 + GW_STORE_MAX_TAGS)


static size_t  ngx_http_gateway_cache_under_way;


/* The tags of a response, joined by blanks. */

static ngx_int_t
ngx_http_gateway_cache_remote_tags(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields, gw_str_t *tags)
{
    u_char      *p;
    size_t       i, n, len;
    gw_str_t     name, list, tag;

    name.data = ctx->conf->tags.data;
    name.len = ctx->conf->tags.len;
    len = 0;

    for (i = 0; i < fields.n; i++) {
        if (gw_field_is(fields.fields[i].name, name)) {
            len += fields.fields[i].value.len + 1;
        }
    }

    tags->len = 0;
    tags->data = p = ngx_pnalloc(ctx->request->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < fields.n; i++) {

        if (!gw_field_is(fields.fields[i].name, name)) {
            continue;
        }

        list = fields.fields[i].value;

        while (n < GW_STORE_MAX_TAGS && gw_cache_tag_next(&list, &tag)) {
            if (n++) {
                *p++ = ' ';
            }

            p = ngx_cpymem(p, tag.data, tag.len);
        }
    }

    tags->len = p - tags->data;

    return NGX_OK;
}


void
ngx_http_gateway_cache_remote_describe(ngx_http_gateway_cache_ctx_t *ctx,
    const gw_store_new_t *n, gw_fields_t fields)
{
    u_char                           *p, text
                                        [NGX_HTTP_GATEWAY_CACHE_LANGUAGE_TEXT];
    size_t                            len;
    ngx_http_gateway_cache_remote_t  *rm;

    if (!ngx_http_gateway_redis_up(ctx->zone->redis)) {
        return;
    }

    rm = ngx_http_gateway_cache_remote_ctx(ctx);
    if (rm == NULL) {
        return;
    }

    rm->storing = 0;
    rm->id = n->id;

    p = ngx_pnalloc(ctx->request->pool, n->spec.len + 1);

    if (p == NULL
        || ngx_http_gateway_cache_remote_tags(ctx, fields, &rm->tags)
           != NGX_OK)
    {
        return;
    }

    if (n->spec.len) {
        ngx_memcpy(p, n->spec.data, n->spec.len);
    }

    rm->spec.data = p;
    rm->spec.len = n->spec.len;

    if (rm->spec.len
        && ngx_http_gateway_cache_remote_candidate(ctx, rm->spec, &rm->variant)
           != NGX_OK)
    {
        return;
    }

    rm->variant.aliased = 0;

    if (ngx_http_gateway_cache_written(rm->spec, fields, text, &len)
        == NGX_OK)
    {
        rm->variant.aliased = 1;
        ngx_http_gateway_cache_remote_field(rm->variant.alias, 'a', text,
                                            len);
    }

    rm->storing = 1;
}


static void
ngx_http_gateway_cache_remote_stored(void *data, redisReply *reply)
{
    static time_t  said;

    ngx_http_gateway_cache_under_way -= (size_t) data;

    /* a full Redis says so to each */

    if (reply && reply->type == REDIS_REPLY_ERROR && said != ngx_time()) {
        said = ngx_time();
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "gateway_cache: Redis did not store a response: %s",
                      reply->str);
    }
}


/* The object as one value: NULL, no memory or over a limit. It is the
 * caller's to free. */

static u_char *
ngx_http_gateway_cache_remote_text(ngx_http_gateway_cache_ctx_t *ctx,
    gw_store_ref_t *ref, size_t *size, int64_t *dead_at)
{
    u_char                         *p, *text;
    size_t                          i, len;
    ngx_str_t                       header;
    gw_store_t                     *store;
    gw_store_info_t                 info;
    gw_wire_field_t                *f;
    gw_wire_object_t                o;
    gw_store_cursor_t               c;
    ngx_http_gateway_cache_meta_t   meta;
    ngx_http_gateway_cache_fields_t fields;

    store = ngx_http_gateway_cache_lock(ctx->zone);
    gw_store_info(store, ref, &info);
    ngx_memcpy(&meta, info.meta, sizeof(meta));
    ngx_http_gateway_cache_unlock(ctx->zone);

    header.len = info.header_len;
    header.data = ngx_pnalloc(ctx->request->pool, header.len + 1);
    f = ngx_palloc(ctx->request->pool, (meta.fields + 1) * sizeof(*f));

    if (header.data == NULL || f == NULL) {
        return NULL;
    }

    gw_store_cursor(store, ref, GW_STORE_HEADER, 0, header.len, &c);
    (void) gw_store_copy(store, &c, header.data, header.len);

    if (ngx_http_gateway_cache_decode(ctx->request->pool, &header,
                                      meta.fields, &fields)
        != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < fields.n; i++) {
        f[i].name = fields.fields[i].name;
        f[i].value = fields.fields[i].value;
        f[i].mark = (uint8_t) (fields.hints[i].kind
                               | (fields.hints[i].hidden ? 0x80 : 0));
    }

    ngx_memzero(&o, sizeof(o));
    o.meta = meta.policy;
    o.dead_at = info.dead_at;
    o.key = ctx->id.text;
    o.spec = ctx->remote->spec;
    o.tags = ctx->remote->tags;
    o.body.len = info.body_len;

    len = gw_wire_size(&o, f, fields.n);

    *size = len + info.body_len;
    *dead_at = info.dead_at;

    if (len == 0 || ngx_http_gateway_cache_under_way + *size
                    > NGX_HTTP_GATEWAY_CACHE_UNDER_WAY)
    {
        return NULL;
    }

    text = ngx_alloc(*size, ngx_cycle->log);
    if (text == NULL) {
        return NULL;
    }

    p = gw_wire_write(text, &o, f, fields.n);

    gw_store_cursor(store, ref, GW_STORE_BODY, 0, info.body_len, &c);
    (void) gw_store_copy(store, &c, p, info.body_len);

    return text;
}


/* When upstream was asked, by Redis's clock. */

static uint64_t
ngx_http_gateway_cache_remote_begun(ngx_http_gateway_cache_ctx_t *ctx)
{
    uint64_t  now, ago;

    if (ctx->remote->begun) {
        return ctx->remote->begun;
    }

    now = ngx_http_gateway_redis_time(ctx->zone->redis);
    ago = ngx_max(ngx_http_gateway_cache_now() - ctx->request_time, 0)
          + NGX_HTTP_GATEWAY_CACHE_MARGIN;

    return now > ago ? now - ago : 0;
}


/* The arguments of the script, all but the last: their number. */

static ngx_uint_t
ngx_http_gateway_cache_remote_args(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_str_t *argv, u_char *numbers, int64_t left)
{
    ngx_str_t                         text;
    ngx_uint_t                        bucket;
    ngx_pool_t                       *pool;
    ngx_http_gateway_cache_remote_t  *rm;

    static gw_str_t  empty = { (const unsigned char *) "", 0 };

    rm = ctx->remote;
    pool = ctx->request->pool;

    text.data = (u_char *) ctx->id.text.data;
    text.len = ctx->id.text.len;

    bucket = ngx_http_gateway_redis_bucket(&text);

    ngx_memzero(argv, NGX_HTTP_GATEWAY_CACHE_STORE_ARGS * sizeof(*argv));

    if (ngx_http_gateway_cache_remote_key(ctx->zone, pool, bucket, "x:",
                                          empty, &argv[6])
        != NGX_OK
        || ngx_http_gateway_cache_remote_key(ctx->zone, pool, bucket, "t:",
                                             empty, &argv[7])
           != NGX_OK)
    {
        return 0;
    }

    argv[0] = rm->object;
    argv[1] = rm->locks;
    argv[2] = ngx_http_gateway_redis_deadline;
    argv[3] = ngx_http_gateway_redis_run_id;

    if (rm->begun) {
        argv[4].data = rm->run_id;
        argv[4].len = sizeof(rm->run_id);
    }

    argv[5].data = numbers;
    argv[5].len = ngx_sprintf(numbers, "%uL",
                              ngx_http_gateway_cache_remote_begun(ctx))
                  - numbers;
    argv[8] = text;
    argv[9].data = rm->token;
    argv[9].len = rm->token_len;
    argv[10].data = (u_char *) rm->spec.data;
    argv[10].len = rm->spec.len;
    argv[11].data = rm->spec.len ? rm->variant.field : (u_char *) "-";
    argv[11].len = rm->spec.len ? sizeof(rm->variant.field) : 1;

    if (rm->variant.aliased) {
        argv[12].data = rm->variant.alias;
        argv[12].len = sizeof(rm->variant.alias);
    }

    argv[13].data = numbers + NGX_INT64_LEN;
    argv[13].len = ngx_sprintf(argv[13].data, "%L", left) - argv[13].data;

    return 14;
}


void
ngx_http_gateway_cache_remote_store(ngx_http_gateway_cache_ctx_t *ctx,
    gw_store_ref_t *ref)
{
    u_char                           *text;
    u_char                            numbers[2 * NGX_INT64_LEN];
    size_t                            size;
    int64_t                           dead_at, left;
    gw_str_t                          tags, tag;
    ngx_str_t                         argv[NGX_HTTP_GATEWAY_CACHE_STORE_ARGS];
    ngx_uint_t                        n;
    ngx_http_gateway_cache_remote_t  *rm;

    rm = ctx->remote;
    rm->storing = 0;

    text = ngx_http_gateway_cache_remote_text(ctx, ref, &size, &dead_at);

    gw_store_unpin(ngx_http_gateway_cache_lock(ctx->zone), ref);
    ngx_http_gateway_cache_unlock(ctx->zone);

    if (text == NULL) {
        return;
    }

    left = dead_at - ngx_http_gateway_cache_now();
    n = ngx_http_gateway_cache_remote_args(ctx, argv, numbers,
                                           ngx_max(left, 1));

    if (n) {
        argv[n].data = text;
        argv[n++].len = size;

        tags = rm->tags;

        while (n < NGX_HTTP_GATEWAY_CACHE_STORE_ARGS
               && gw_cache_tag_next(&tags, &tag))
        {
            argv[n].data = (u_char *) tag.data;
            argv[n++].len = tag.len;
        }

        if (ngx_http_gateway_redis_eval(ctx->zone->redis,
                                        &ngx_http_gateway_cache_script_store,
                                        argv, n, 2,
                                        ngx_http_gateway_cache_remote_stored,
                                        (void *) size))
        {
            ngx_http_gateway_cache_under_way += size;
            rm->held = 0;
        }
    }

    ngx_free(text);
}


void
ngx_http_gateway_cache_remote_release(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_msec_t mark)
{
    u_char                            ms[NGX_INT_T_LEN];
    ngx_str_t                         argv[3];
    ngx_http_gateway_cache_remote_t  *rm;

    rm = ctx->remote;

    if (rm == NULL || !rm->held) {
        return;
    }

    rm->held = 0;

    argv[0] = rm->locks;
    argv[1].data = rm->token;
    argv[1].len = rm->token_len;
    argv[2].data = ms;
    argv[2].len = ngx_sprintf(ms, "%M", mark) - ms;

    /* where Redis is away it ends by itself */

    (void) ngx_http_gateway_redis_eval(ctx->zone->redis,
                                       &ngx_http_gateway_cache_script_release,
                                       argv, 3, 1, NULL, NULL);
}
