/*
 * gateway_cache: takes responses into the store, while they are sent.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_worker.h"
#include "../src/cache_tag.h"
#include "../src/cache_validate.h"
#include "../src/cache_vary.h"


#define NGX_HTTP_GATEWAY_CACHE_READ  32768  /* bytes of a file at once */


/* What gw_store_begin() is given; n points into the rest. */

typedef struct {
    gw_store_new_t                  n;
    ngx_http_gateway_cache_meta_t   meta;
    unsigned char                   spec[GW_STORE_MAX_SPEC];
    uint64_t                        tags[GW_STORE_MAX_TAGS];
} ngx_http_gateway_cache_new_t;


static void
ngx_http_gateway_cache_rules(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t status, gw_cache_rules_t *rules)
{
    ngx_uint_t                          i;
    ngx_http_gateway_cache_valid_t     *valid;
    ngx_http_gateway_cache_loc_conf_t  *clcf;

    clcf = ctx->conf;

    ngx_memzero(rules, sizeof(*rules));

    rules->authorized = ngx_http_gateway_jwt_identity(ctx->request->main)
                        != NULL;
    rules->store_cookies = (clcf->store != NULL);
    rules->heuristic = true;
    rules->keep_stale = clcf->stale
                        && clcf->stale != NGX_HTTP_GATEWAY_CACHE_STALE_OFF;
    rules->lifetime = GW_CC_NONE;

    if (clcf->valid == NULL) {
        return;
    }

    valid = clcf->valid->elts;

    for (i = 0; i < clcf->valid->nelts; i++) {
        if (valid[i].status == 0 || valid[i].status == status) {
            rules->lifetime = valid[i].seconds;
            return;
        }
    }
}


static size_t
ngx_http_gateway_cache_tags(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields, uint64_t *tags)
{
    size_t    i, n;
    gw_str_t  name, list, tag;

    name.data = ctx->conf->tags.data;
    name.len = ctx->conf->tags.len;
    n = 0;

    for (i = 0; i < fields.n; i++) {

        if (!gw_field_is(fields.fields[i].name, name)) {
            continue;
        }

        list = fields.fields[i].value;

        while (n < GW_STORE_MAX_TAGS && gw_cache_tag_next(&list, &tag)) {
            tags[n++] = ngx_http_gateway_cache_tag(ctx->zone, tag);
        }
    }

    return n;
}


/* NGX_OK; NGX_DECLINED: it cannot be stored; NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_gateway_cache_describe(ngx_http_gateway_cache_ctx_t *ctx,
    gw_cache_meta_t *policy, gw_fields_t fields,
    ngx_http_gateway_cache_new_t *new)
{
    size_t      len;
    uint32_t    stale;
    ngx_str_t   text;
    ngx_uint_t  n;

    ngx_memzero(&new->n, sizeof(new->n));

    if (gw_vary_spec(new->spec, sizeof(new->spec), &len, fields) != GW_OK) {
        return NGX_DECLINED;
    }

    new->n.id = ctx->id;
    new->n.spec.data = new->spec;
    new->n.spec.len = len;

    if (ngx_http_gateway_cache_variant(ctx, new->n.spec, new->n.id.variant)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_gateway_cache_encode(ctx->request, fields, &text, &n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    new->n.header.data = text.data;
    new->n.header.len = text.len;

    ngx_memzero(&new->meta, sizeof(new->meta));
    new->meta.policy = *policy;
    new->meta.fields = n;

    stale = (ctx->conf->stale
             && ctx->conf->stale != NGX_HTTP_GATEWAY_CACHE_STALE_OFF)
            ? NGX_HTTP_GATEWAY_CACHE_KEEP : 0;

    new->n.meta = &new->meta;
    new->n.tags = new->tags;
    new->n.ntags = ngx_http_gateway_cache_tags(ctx, fields, new->tags);
    new->n.dead_at = gw_cache_dead_at(policy, stale,
                                      NGX_HTTP_GATEWAY_CACHE_KEEP);
    new->n.size = GW_STORE_UNKNOWN;
    new->n.stamp = ctx->stamp;
    new->n.fill = ctx->fill;

    if (ctx->zone->redis) {
        ngx_http_gateway_cache_remote_describe(ctx, &new->n, fields);
    }

    return NGX_OK;
}


static void
ngx_http_gateway_cache_remove(ngx_http_gateway_cache_ctx_t *ctx)
{
    gw_store_remove(ngx_http_gateway_cache_lock(ctx->zone), &ctx->ref);
    ngx_http_gateway_cache_unlock(ctx->zone);
}


/* The same response under the name of its language, once it is complete. */

static ngx_int_t
ngx_http_gateway_cache_alias(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_http_gateway_cache_new_t *new, gw_fields_t fields)
{
    size_t                         len;
    u_char                         text[NGX_HTTP_GATEWAY_CACHE_LANGUAGE_TEXT];
    ngx_http_gateway_cache_new_t  *alias;

    ctx->alias = NULL;

    if (ngx_http_gateway_cache_written(new->n.spec, fields, text, &len)
        != NGX_OK)
    {
        return NGX_OK;
    }

    alias = ngx_palloc(ctx->request->pool, sizeof(*alias));
    if (alias == NULL) {
        return NGX_ERROR;
    }

    *alias = *new;
    alias->n.spec.data = alias->spec;
    alias->n.meta = &alias->meta;
    alias->n.tags = alias->tags;
    alias->n.fill = 0;

    ctx->alias = &alias->n;
    ctx->id = new->n.id;
    ngx_http_gateway_cache_digest(ctx->zone, text, len, alias->n.id.variant);

    return NGX_OK;
}


static void
ngx_http_gateway_cache_alias_store(ngx_http_gateway_cache_ctx_t *ctx)
{
    uint64_t          now;
    gw_store_t       *store;
    gw_store_ref_t    body, object;
    gw_store_info_t   info;
    gw_store_wake_t   wake;

    ngx_memzero(&wake, sizeof(wake));
    now = ngx_http_gateway_cache_now();

    store = ngx_http_gateway_cache_lock(ctx->zone);

    if (gw_store_get(store, (unsigned) ngx_http_gateway_slot, now, &ctx->id,
                     &body)
        == GW_OK)
    {
        gw_store_info(store, &body, &info);

        ctx->alias->same_body = &body;
        ctx->alias->size = info.body_len;

        if (gw_store_begin(store, (unsigned) ngx_http_gateway_slot, now,
                           ctx->alias, &object, &wake)
            == GW_OK)
        {
            (void) gw_store_commit(store, &object, now, &wake);
        }

        gw_store_unpin(store, &body);
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    ctx->alias = NULL;

    ngx_http_gateway_cache_wake(&wake);
}


/* Takes the memory of all of it: from then on others may follow it. */

static int
ngx_http_gateway_cache_reserve(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_http_gateway_cache_new_t *new, uint64_t now)
{
    int          rc;
    gw_store_t  *store;

    do {
        store = ngx_http_gateway_cache_lock(ctx->zone);

        rc = gw_store_reserve(store, &ctx->object, now, new->n.size);

        if (rc == GW_OK) {
            new->meta.ready = 1;
            gw_store_update(store, &ctx->object, &new->meta, new->n.dead_at);
        }

        ngx_http_gateway_cache_unlock(ctx->zone);
    } while (rc == GW_AGAIN);

    return rc;
}


/* NGX_OK, or NGX_DECLINED: there is no room, or it is too large. */

static ngx_int_t
ngx_http_gateway_cache_begin(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_http_gateway_cache_new_t *new)
{
    int               rc;
    uint64_t          now;
    gw_store_t       *store;
    gw_store_wake_t   wake;

    ngx_memzero(&wake, sizeof(wake));
    now = ngx_http_gateway_cache_now();

    store = ngx_http_gateway_cache_lock(ctx->zone);

    rc = gw_store_begin(store, (unsigned) ngx_http_gateway_slot, now,
                        &new->n, &ctx->object, &wake);

    ngx_http_gateway_cache_unlock(ctx->zone);

    if (rc == GW_OK) {
        ctx->filling = 1;

        if (!new->n.same_body && new->n.size != GW_STORE_UNKNOWN) {
            rc = ngx_http_gateway_cache_reserve(ctx, new, now);
        }
    }

    ngx_http_gateway_cache_wake(&wake);

    return rc == GW_OK ? NGX_OK : NGX_DECLINED;
}


/* The answer to a HEAD may say that the stored GET has changed. */

static ngx_int_t
ngx_http_gateway_cache_head(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    gw_fields_t  stored;

    if (!ctx->pinned || ctx->no_store) {
        return NGX_OK;
    }

    if (ngx_http_gateway_cache_read(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    stored.fields = ctx->stored.fields;
    stored.n = ctx->stored.n;

    switch (gw_cache_head(&ctx->meta.policy, stored, ctx->info.body_len,
                          (unsigned) ctx->fwd_status, fields))
    {
    case GW_CACHE_HEAD_UPDATE:
        return ngx_http_gateway_cache_store_update(ctx, fields);

    case GW_CACHE_HEAD_STALE:
        ngx_http_gateway_cache_remove(ctx);
        return NGX_OK;

    default:
        return NGX_OK;
    }
}


ngx_int_t
ngx_http_gateway_cache_store_begin(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields)
{
    ngx_int_t                      rc;
    ngx_uint_t                     status;
    gw_cache_rules_t               rules;
    gw_cache_store_e               e;
    ngx_http_request_t            *r;
    ngx_http_gateway_cache_new_t   new;

    r = ctx->request;
    status = ctx->fwd_status;

    ngx_http_gateway_cache_rules(ctx, status, &rules);

    e = gw_cache_store(&ctx->fetched, &ctx->req, (uint16_t) status, fields,
                       ctx->request_time, ngx_http_gateway_cache_now(),
                       &rules);

    if (ctx->req.head) {
        return ngx_http_gateway_cache_head(ctx, fields);
    }

    if (e != GW_CACHE_STORE || ctx->no_store) {

        if (e != GW_CACHE_STORE) {
            ctx->detail = gw_cache_store_name(e);
        }

        /* what came instead of it is not stored, but it has changed */

        if (ctx->pinned && !ctx->no_store && status < 500
            && e != GW_CACHE_NOT_REQUEST)
        {
            ngx_http_gateway_cache_remove(ctx);
        }

        ngx_http_gateway_cache_store_abort(ctx,
            e == GW_CACHE_NOT_REQUEST ? 0
            : status >= 500 ? NGX_HTTP_GATEWAY_CACHE_MARK_ERROR
                            : NGX_HTTP_GATEWAY_CACHE_MARK);
        return NGX_OK;
    }

    rc = ngx_http_gateway_cache_describe(ctx, &ctx->fetched, fields, &new);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {

        if (r->headers_out.content_length_n >= 0) {
            new.n.size = r->headers_out.content_length_n;

        } else if (status == NGX_HTTP_NO_CONTENT) {
            new.n.size = 0;
        }

        rc = ngx_http_gateway_cache_begin(ctx, &new);
    }

    if (rc == NGX_OK
        && ngx_http_gateway_cache_alias(ctx, &new, fields) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ctx->detail = gw_str("no-room");
        ngx_http_gateway_cache_store_abort(ctx, NGX_HTTP_GATEWAY_CACHE_MARK);
        return NGX_OK;
    }

    ctx->stored_now = 1;

    return NGX_OK;
}


/* Whether the updated response may be stored, and how long it is fresh. What
 * a HEAD has confirmed is judged as the GET that it updates. */

static gw_cache_store_e
ngx_http_gateway_cache_judge(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t merged, gw_cache_meta_t *policy)
{
    gw_cache_rules_t    rules;
    gw_cache_request_t  req;

    ngx_http_gateway_cache_rules(ctx, ctx->meta.policy.status, &rules);

    req = ctx->req;
    req.head = false;

    return gw_cache_store(policy, &req, ctx->meta.policy.status, merged,
                          ctx->request_time, ngx_http_gateway_cache_now(),
                          &rules);
}


ngx_int_t
ngx_http_gateway_cache_store_update(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fresh)
{
    bool                           confirms;
    ngx_int_t                      rc;
    ngx_str_t                      text;
    gw_field_t                    *f;
    gw_fields_t                    stored, merged;
    gw_cache_meta_t                policy;
    gw_cache_store_e               e;
    ngx_http_request_t            *r;
    ngx_http_gateway_cache_new_t   new;

    r = ctx->request;

    stored.fields = ctx->stored.fields;
    stored.n = ctx->stored.n;

    f = ngx_palloc(r->pool, (stored.n + fresh.n + 1) * sizeof(*f));
    if (f == NULL) {
        return NGX_ERROR;
    }

    /* another tag than the one that was asked for: the server says that what
     * is here is good, but not what it would be updated with */

    confirms = ctx->req.head || gw_cache_confirms(stored, fresh);

    merged.fields = f;
    merged.n = gw_cache_merge(f, stored, fresh);

    e = ngx_http_gateway_cache_judge(ctx, merged, &policy);

    rc = ngx_http_gateway_cache_describe(ctx, &policy, merged, &new);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (!confirms || e != GW_CACHE_STORE) {

        if (!ctx->no_store && e != GW_CACHE_NOT_REQUEST) {
            ngx_http_gateway_cache_remove(ctx);
        }

    } else if (rc == NGX_OK && !ctx->no_store) {

        new.n.size = ctx->info.body_len;
        new.n.same_body = &ctx->ref;

        if (ngx_http_gateway_cache_begin(ctx, &new) == NGX_OK) {
            ngx_http_gateway_cache_store_end(ctx);
            ctx->stored_now = 1;
        }
    }

    ngx_http_gateway_cache_store_abort(ctx, 0);

    if (!confirms) {
        return NGX_OK;
    }

    ctx->meta.policy = policy;

    if (rc != NGX_OK) {
        return NGX_OK;
    }

    ctx->meta.fields = new.meta.fields;

    text.data = (u_char *) new.n.header.data;
    text.len = new.n.header.len;

    return ngx_http_gateway_cache_decode(r->pool, &text,
                                         (ngx_uint_t) ctx->meta.fields,
                                         &ctx->stored);
}


static ngx_int_t
ngx_http_gateway_cache_append(ngx_http_gateway_cache_ctx_t *ctx, u_char *p,
    size_t len)
{
    int               rc;
    size_t            done;
    gw_store_t       *store;
    gw_store_wake_t   wake;

    if (len == 0) {
        return NGX_OK;
    }

    ngx_memzero(&wake, sizeof(wake));

    do {
        done = 0;

        store = ngx_http_gateway_cache_lock(ctx->zone);
        rc = gw_store_append(store, &ctx->object,
                             ngx_http_gateway_cache_now(), p, len, &done,
                             &wake);
        ngx_http_gateway_cache_unlock(ctx->zone);

        p += done;
        len -= done;

    } while (rc == GW_AGAIN);

    ngx_http_gateway_cache_wake(&wake);

    return rc == GW_OK ? NGX_OK : NGX_ERROR;
}


/* What a slow client has made upstream's buffers overflow to: it has just
 * been written, and is read from memory. */

static ngx_int_t
ngx_http_gateway_cache_append_file(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_buf_t *b)
{
    off_t    off;
    size_t   size;
    ssize_t  n;

    static u_char  buf[NGX_HTTP_GATEWAY_CACHE_READ];

    for (off = b->file_pos; off < b->file_last; off += n) {
        size = (size_t) ngx_min(b->file_last - off, (off_t) sizeof(buf));

        n = ngx_read_file(b->file, buf, size, off);

        if (n <= 0 || ngx_http_gateway_cache_append(ctx, buf, n) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_gateway_cache_store_body(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_chain_t *in)
{
    ngx_int_t   rc;
    ngx_buf_t  *b;

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;
        rc = NGX_OK;

        if (ngx_buf_in_memory(b)) {
            rc = ngx_http_gateway_cache_append(ctx, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            rc = ngx_http_gateway_cache_append_file(ctx, b);
        }

        if (rc != NGX_OK) {
            ngx_http_gateway_cache_store_abort(ctx,
                                               NGX_HTTP_GATEWAY_CACHE_MARK);
            return;
        }

        if (b->last_buf || (ctx->background && b->last_in_chain)) {
            ngx_http_gateway_cache_store_end(ctx);
            return;
        }
    }
}


void
ngx_http_gateway_cache_store_end(ngx_http_gateway_cache_ctx_t *ctx)
{
    uint64_t          now;
    ngx_uint_t        share;
    gw_store_t       *store;
    gw_store_ref_t    ref;
    gw_store_wake_t   wake;

    ngx_memzero(&wake, sizeof(wake));
    now = ngx_http_gateway_cache_now();

    ctx->filling = 0;
    ctx->fill = 0;

    store = ngx_http_gateway_cache_lock(ctx->zone);

    share = gw_store_commit(store, &ctx->object, now, &wake) == GW_OK
            && ctx->remote && ctx->remote->storing
            && gw_store_get(store, (unsigned) ngx_http_gateway_slot, now,
                            &ctx->remote->id, &ref)
               == GW_OK;

    ngx_http_gateway_cache_unlock(ctx->zone);

    ngx_http_gateway_cache_wake(&wake);

    if (share) {
        ngx_http_gateway_cache_remote_store(ctx, &ref);
    }

    ngx_http_gateway_cache_remote_release(ctx, 0);

    if (ctx->alias) {
        ngx_http_gateway_cache_alias_store(ctx);
    }
}


void
ngx_http_gateway_cache_store_abort(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_msec_t mark)
{
    uint64_t          now;
    gw_store_t       *store;
    gw_store_wake_t   wake;

    ngx_http_gateway_cache_remote_release(ctx, mark);

    if (!ctx->filling && !ctx->fill) {
        return;
    }

    ngx_memzero(&wake, sizeof(wake));
    now = ngx_http_gateway_cache_now();

    store = ngx_http_gateway_cache_lock(ctx->zone);

    if (ctx->filling) {
        gw_store_abort(store, &ctx->object, mark != 0, &wake);
    }

    if (ctx->fill && (mark || !ctx->filling)) {
        gw_store_settle(store, ctx->fill, now, mark ? now + mark : 0, &wake);
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    ctx->filling = 0;
    ctx->fill = 0;
    ctx->stored_now = 0;
    ctx->alias = NULL;

    ngx_http_gateway_cache_wake(&wake);
}
