/*
 * gateway_cache's second level: looks a request up before upstream is asked.
 *
 * The request waits with the right to fetch of this node, so there is one look
 * for all that wait here. What is found is put into level 1, and the phases
 * run again. Where another node fetches, this one looks again until it has it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_text.h"
#include "ngx_http_gateway_worker.h"
#include "../src/cache_tag.h"


/* what the script says */
#define NGX_HTTP_GATEWAY_CACHE_LOCKED  1
#define NGX_HTTP_GATEWAY_CACHE_OTHER   2
#define NGX_HTTP_GATEWAY_CACHE_MARKED  4
#define NGX_HTTP_GATEWAY_CACHE_SPECS   8
#define NGX_HTTP_GATEWAY_CACHE_LATE    16

/* ms: how soon it looks again where another node fetches */
#define NGX_HTTP_GATEWAY_CACHE_DELAY      5
#define NGX_HTTP_GATEWAY_CACHE_MAX_DELAY  100

#define NGX_HTTP_GATEWAY_CACHE_LOOK_ARGS  (2 + 5 + 3 * (GW_STORE_SPECS + 1))


static void ngx_http_gateway_cache_remote_again(ngx_event_t *ev);
static void ngx_http_gateway_cache_remote_looked(void *data,
    redisReply *reply);


/* The specs that its response may have been stored with: those of level 1,
 * and the one that most have. */

static void
ngx_http_gateway_cache_remote_guess(ngx_http_gateway_cache_remote_t *rm)
{
    u_char                             *p;
    size_t                              i, n;
    gw_str_t                            spec, usual;
    ngx_uint_t                          known;
    gw_store_spec_t                     specs[GW_STORE_SPECS];
    ngx_http_gateway_cache_ctx_t       *ctx;

    ctx = rm->ctx;
    usual = gw_str("accept-encoding");
    known = 0;
    rm->ncandidates = 0;

    n = gw_store_specs(ngx_http_gateway_cache_lock(ctx->zone), ctx->id.key,
                       specs);
    ngx_http_gateway_cache_unlock(ctx->zone);

    for (i = 0; i <= n; i++) {

        if (i == n) {
            if (known) {
                break;
            }

            spec = usual;

        } else {
            p = ngx_pnalloc(ctx->request->pool, specs[i].len);
            if (p == NULL) {
                break;
            }

            ngx_memcpy(p, specs[i].text, specs[i].len);
            spec.data = p;
            spec.len = specs[i].len;
            known |= gw_field_is(spec, usual);
        }

        if (ngx_http_gateway_cache_remote_candidate(ctx, spec,
                                         &rm->candidates[rm->ncandidates])
            == NGX_OK)
        {
            rm->ncandidates++;
        }
    }
}


/* Those that Redis knows of, a line each. */

static void
ngx_http_gateway_cache_remote_narrow(ngx_http_gateway_cache_remote_t *rm,
    redisReply *reply)
{
    u_char    *p, *last, *end;
    gw_str_t   spec;

    rm->ncandidates = 0;

    p = ngx_pnalloc(rm->ctx->request->pool, reply->len + 1);
    if (p == NULL) {
        return;
    }

    last = ngx_cpymem(p, reply->str, reply->len);

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, '\n');
        end = end ? end : last;

        spec.data = p;
        spec.len = end - p;

        if (spec.len == 0 || spec.len > GW_STORE_MAX_SPEC
            || rm->ncandidates == GW_STORE_SPECS
            || ngx_http_gateway_cache_remote_candidate(rm->ctx, spec,
                                         &rm->candidates[rm->ncandidates])
               != NGX_OK)
        {
            rm->ncandidates = 0;
            return;
        }

        rm->ncandidates++;
    }
}


static ngx_int_t
ngx_http_gateway_cache_remote_send(ngx_http_gateway_cache_remote_t *rm)
{
    u_char                              ms[NGX_INT_T_LEN];
    u_char                              have[NGX_INT64_LEN];
    ngx_str_t                           argv
                                          [NGX_HTTP_GATEWAY_CACHE_LOOK_ARGS];
    ngx_uint_t                          i, n;
    ngx_http_gateway_cache_candidate_t  *c;

    argv[0] = rm->object;
    argv[1] = rm->locks;
    argv[2] = ngx_http_gateway_redis_deadline;
    argv[3] = ngx_http_gateway_redis_run_id;
    argv[4].data = rm->token;
    argv[4].len = rm->token_len;
    argv[5].data = ms;
    argv[5].len = ngx_sprintf(ms, "%M", rm->lock) - ms;
    argv[6].data = have;
    argv[6].len = ngx_sprintf(have, "%L", rm->have) - have;

    for (i = 0, n = 7; i < rm->ncandidates; i++) {
        c = &rm->candidates[i];

        argv[n].data = (u_char *) c->spec.data;
        argv[n++].len = c->spec.len;
        argv[n].data = c->field;
        argv[n++].len = sizeof(c->field);
        argv[n].data = c->alias;
        argv[n++].len = c->aliased ? sizeof(c->alias) : 0;
    }

    rm->command = ngx_http_gateway_redis_eval(rm->ctx->zone->redis,
                                       &ngx_http_gateway_cache_script_look,
                                       argv, n, 2,
                                       ngx_http_gateway_cache_remote_looked,
                                       rm);
    if (rm->command == NULL) {
        return NGX_DECLINED;
    }

    /* it may be given before it is known to be */
    rm->held = (rm->lock != 0);

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_remote_look(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_uint_t lock)
{
    ngx_http_gateway_cache_remote_t  *rm;

    rm = ctx->remote;

    if ((rm && rm->done) || !ngx_http_gateway_redis_up(ctx->zone->redis)) {
        return NGX_DECLINED;
    }

    rm = ngx_http_gateway_cache_remote_ctx(ctx);
    if (rm == NULL) {
        return NGX_ERROR;
    }

    rm->lock = lock ? ctx->conf->lock_timeout : 0;
    rm->have = ctx->pinned ? ctx->meta.policy.response_time : -1;
    rm->timer.handler = ngx_http_gateway_cache_remote_again;
    rm->timer.data = rm;
    rm->timer.log = ctx->request->connection->log;

    if (rm->other && lock) {

        /* what it had is stale, and another node fetches it anew */

        ngx_add_timer(&rm->timer, rm->delay);

    } else {
        ngx_http_gateway_cache_remote_guess(rm);

        if (ngx_http_gateway_cache_remote_send(rm) != NGX_OK) {
            rm->done = 1;
            return NGX_DECLINED;
        }
    }

    if (ngx_http_gateway_cache_hold(ctx) == NGX_OK) {
        return NGX_AGAIN;
    }

    /* the request ends, and may take its time for it */

    ngx_http_gateway_cache_remote_cancel(ctx);

    return NGX_ERROR;
}


void
ngx_http_gateway_cache_remote_cancel(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_gateway_cache_remote_t  *rm;

    rm = ctx->remote;

    if (rm == NULL) {
        return;
    }

    if (rm->command) {
        ngx_http_gateway_redis_cancel(rm->command);
        rm->command = NULL;
    }

    if (rm->timer.timer_set) {
        ngx_del_timer(&rm->timer);
    }
}


/* Enough is known: the phases go on. */

static void
ngx_http_gateway_cache_remote_finish(ngx_http_gateway_cache_remote_t *rm)
{
    rm->done = 1;
    ngx_http_gateway_cache_resume(rm->ctx);
}


static void
ngx_http_gateway_cache_remote_again(ngx_event_t *ev)
{
    ngx_http_gateway_cache_remote_t *rm = ev->data;

    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = rm->ctx;

    if (ngx_http_gateway_cache_now() - ctx->arrived
        >= (int64_t) ctx->conf->lock_timeout)
    {
        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "gateway_cache \"%V\": waited too long for the answer "
                      "to another node's request", &ctx->zone->name);

    } else if (ngx_http_gateway_cache_remote_send(rm) == NGX_OK) {
        return;
    }

    rm->other = 0;
    ngx_http_gateway_cache_remote_finish(rm);
}


/* --- what was found ------------------------------------------------------- */

/* The object's place in level 1. */

static ngx_int_t
ngx_http_gateway_cache_remote_place(ngx_http_gateway_cache_remote_t *rm,
    gw_wire_object_t *o, redisReply *variant, gw_store_id_t *id)
{
    size_t                              len;
    u_char                              text
                                        [NGX_HTTP_GATEWAY_CACHE_LANGUAGE_TEXT];
    ngx_uint_t                          i;
    gw_fields_t                         fields;
    ngx_http_request_t                 *r;
    ngx_http_gateway_cache_candidate_t *c;

    *id = rm->ctx->id;
    ngx_memzero(id->variant, GW_STORE_DIGEST);

    if (variant->type != REDIS_REPLY_STRING) {
        return NGX_DECLINED;
    }

    if (o->spec.len == 0) {
        return (variant->len == 1 && variant->str[0] == '-') ? NGX_OK
                                                             : NGX_DECLINED;
    }

    if (variant->len != NGX_HTTP_GATEWAY_CACHE_FIELD) {
        return NGX_DECLINED;
    }

    for (i = 0; i < rm->ncandidates; i++) {
        c = &rm->candidates[i];

        if (c->spec.len != o->spec.len
            || ngx_memcmp(c->spec.data, o->spec.data, c->spec.len) != 0)
        {
            continue;
        }

        if (ngx_memcmp(c->field, variant->str, sizeof(c->field)) == 0) {
            return ngx_http_gateway_cache_variant(rm->ctx, o->spec,
                                                  id->variant);
        }

        r = rm->ctx->request;

        if (c->aliased
            && ngx_memcmp(c->alias, variant->str, sizeof(c->alias)) == 0
            && ngx_http_gateway_cache_request_fields(r, &r->headers_in.headers,
                                                     &fields)
               == NGX_OK
            && ngx_http_gateway_cache_preferred(fields, text, &len) == NGX_OK)
        {
            ngx_http_gateway_cache_digest(rm->ctx->zone, text, len,
                                          id->variant);
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* Copies it into level 1. */

static ngx_int_t
ngx_http_gateway_cache_remote_fill(ngx_http_gateway_cache_ctx_t *ctx,
    gw_store_new_t *n, gw_str_t body, uint64_t now)
{
    int               rc;
    size_t            done;
    gw_store_t       *store;
    gw_store_ref_t    object;
    gw_store_wake_t   wake;

    ngx_memzero(&wake, sizeof(wake));

    store = ngx_http_gateway_cache_lock(ctx->zone);
    rc = gw_store_begin(store, (unsigned) ngx_http_gateway_slot, now, n,
                        &object, &wake);
    ngx_http_gateway_cache_unlock(ctx->zone);

    if (rc != GW_OK) {
        ngx_http_gateway_cache_wake(&wake);
        return NGX_DECLINED;
    }

    while (body.len) {
        done = 0;

        store = ngx_http_gateway_cache_lock(ctx->zone);
        rc = gw_store_append(store, &object, now, body.data, body.len, &done,
                             &wake);
        ngx_http_gateway_cache_unlock(ctx->zone);

        body.data += done;
        body.len -= done;

        if (rc != GW_AGAIN) {
            break;
        }
    }

    store = ngx_http_gateway_cache_lock(ctx->zone);

    if (rc == GW_OK) {
        ctx->fill = 0;
        rc = gw_store_commit(store, &object, now, &wake);

    } else {

        /* the fill stays: upstream is asked */

        gw_store_abort(store, &object, true, &wake);
    }

    ngx_http_gateway_cache_unlock(ctx->zone);

    ngx_http_gateway_cache_wake(&wake);

    return rc == GW_OK ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_gateway_cache_remote_promote(ngx_http_gateway_cache_remote_t *rm,
    redisReply *object, redisReply *variant)
{
    int64_t                         now;
    uint64_t                        tags[GW_STORE_MAX_TAGS];
    gw_str_t                        text, tag;
    ngx_str_t                       header;
    ngx_uint_t                      fields;
    gw_store_new_t                  n;
    gw_wire_object_t                o;
    ngx_http_gateway_cache_ctx_t   *ctx;
    ngx_http_gateway_cache_meta_t   meta;

    ctx = rm->ctx;
    now = ngx_http_gateway_cache_now();

    text.data = (u_char *) object->str;
    text.len = object->len;

    ngx_memzero(&n, sizeof(n));

    if (gw_wire_read(&o, text) != GW_OK || o.key.len != ctx->id.text.len
        || ngx_memcmp(o.key.data, ctx->id.text.data, o.key.len) != 0
        || ngx_http_gateway_cache_remote_place(rm, &o, variant, &n.id)
           != NGX_OK
        || ngx_http_gateway_cache_adopt(ctx->request->pool, o.fields, &header,
                                        &fields)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                      "gateway_cache \"%V\": what Redis has for a key is not "
                      "what was stored, it is not used", &ctx->zone->name);
        return NGX_DECLINED;
    }

    /* a clock that is ahead of ours must not make it younger */

    if (o.meta.response_time > now) {
        o.dead_at -= o.meta.response_time - now;
        o.meta.response_time = now;
    }

    if (o.dead_at <= now || o.body.len > ctx->zone->max_object) {
        return NGX_DECLINED;
    }

    ngx_memzero(&meta, sizeof(meta));
    meta.policy = o.meta;
    meta.fields = (uint32_t) fields;

    n.spec = o.spec;
    n.header.data = header.data;
    n.header.len = header.len;
    n.meta = &meta;
    n.tags = tags;
    n.dead_at = o.dead_at;
    n.size = o.body.len;
    n.stamp = ctx->stamp;
    n.fill = ctx->fill;

    while (n.ntags < GW_STORE_MAX_TAGS && gw_cache_tag_next(&o.tags, &tag)) {
        tags[n.ntags++] = ngx_http_gateway_cache_tag(ctx->zone, tag);
    }

    if (ngx_http_gateway_cache_remote_fill(ctx, &n, o.body, now) != NGX_OK) {
        return NGX_DECLINED;
    }

    rm->found = 1;
    rm->fresh = (gw_cache_ttl_ms(&o.meta, now) > 0);

    return NGX_OK;
}


/* What is wrong with a reply is answered as if nothing was there. */

static ngx_int_t
ngx_http_gateway_cache_remote_flags(ngx_http_gateway_cache_remote_t *rm,
    redisReply *reply)
{
    redisReply  **e;

    if (reply == NULL) {
        return -1;
    }

    e = reply->element;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3
        || e[0]->type != REDIS_REPLY_INTEGER || e[0]->integer < 0
        || e[1]->type != REDIS_REPLY_INTEGER || e[1]->integer < 0
        || e[2]->type != REDIS_REPLY_STRING
        || e[2]->len != NGX_HTTP_GATEWAY_CACHE_RUN_ID)
    {
        ngx_log_error(NGX_LOG_WARN, rm->ctx->request->connection->log, 0,
                      "gateway_cache \"%V\": unexpected answer of Redis%s%s",
                      &rm->ctx->zone->name,
                      reply->type == REDIS_REPLY_ERROR ? ": " : "",
                      reply->type == REDIS_REPLY_ERROR ? reply->str : "");
        return -1;
    }

    if (e[0]->integer & NGX_HTTP_GATEWAY_CACHE_SPECS) {
        return (reply->elements == 4 && e[3]->type == REDIS_REPLY_STRING)
               ? NGX_HTTP_GATEWAY_CACHE_SPECS : -1;
    }

    if (reply->elements != 5 || e[0]->integer >= NGX_HTTP_GATEWAY_CACHE_LATE) {
        return -1;
    }

    rm->begun = e[1]->integer;
    ngx_memcpy(rm->run_id, e[2]->str, sizeof(rm->run_id));

    return (ngx_int_t) e[0]->integer;
}


/* It is not cacheable: who waits here goes on as well. */

static void
ngx_http_gateway_cache_remote_marked(ngx_http_gateway_cache_ctx_t *ctx)
{
    uint64_t          now;
    gw_store_wake_t   wake;

    ctx->alone = 1;

    if (ctx->fill == 0) {
        return;
    }

    ngx_memzero(&wake, sizeof(wake));
    now = ngx_http_gateway_cache_now();

    gw_store_settle(ngx_http_gateway_cache_lock(ctx->zone), ctx->fill, now,
                    now + NGX_HTTP_GATEWAY_CACHE_MARK_ERROR, &wake);
    ngx_http_gateway_cache_unlock(ctx->zone);

    ctx->fill = 0;

    ngx_http_gateway_cache_wake(&wake);
}


static void
ngx_http_gateway_cache_remote_looked(void *data, redisReply *reply)
{
    ngx_http_gateway_cache_remote_t *rm = data;

    ngx_int_t                      flags;
    ngx_http_gateway_cache_ctx_t  *ctx;

    ctx = rm->ctx;
    rm->command = NULL;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    flags = ngx_http_gateway_cache_remote_flags(rm, reply);

    if (flags == NGX_HTTP_GATEWAY_CACHE_SPECS && !rm->narrowed) {
        rm->narrowed = 1;
        ngx_http_gateway_cache_remote_narrow(rm, reply->element[3]);

        if (rm->ncandidates
            && ngx_http_gateway_cache_remote_send(rm) == NGX_OK)
        {
            return;
        }

        flags = -1;
        rm->held = 0;
    }

    rm->other = 0;

    if (flags == -1 || flags == NGX_HTTP_GATEWAY_CACHE_SPECS) {
        ngx_http_gateway_cache_remote_finish(rm);
        return;
    }

    rm->held = (flags & NGX_HTTP_GATEWAY_CACHE_LOCKED) != 0;

    if (reply->element[3]->type == REDIS_REPLY_STRING) {
        (void) ngx_http_gateway_cache_remote_promote(rm, reply->element[3],
                                                     reply->element[4]);
    }

    if (flags & NGX_HTTP_GATEWAY_CACHE_MARKED) {
        ngx_http_gateway_cache_remote_marked(ctx);
    }

    rm->other = (flags & NGX_HTTP_GATEWAY_CACHE_OTHER) != 0;

    if (!rm->other || ctx->background) {
        ngx_http_gateway_cache_remote_finish(rm);
        return;
    }

    rm->delay = rm->delay ? rm->delay * 3 / 2 : NGX_HTTP_GATEWAY_CACHE_DELAY;
    rm->delay = ngx_min(rm->delay, NGX_HTTP_GATEWAY_CACHE_MAX_DELAY);

    if (rm->found) {

        /* stale: the phases decide whether it will do */

        ngx_http_gateway_cache_resume(ctx);
        return;
    }

    ngx_add_timer(&rm->timer, rm->delay);
}
