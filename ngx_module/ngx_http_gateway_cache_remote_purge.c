/*
 * gateway_cache's second level: a purge of it, which is then told to all
 * nodes.
 *
 * Level 1 has been purged before. When level 2 is done it is purged once more:
 * meanwhile something may have come from there. Other nodes hear of it last,
 * so that nothing comes back on them. Where Redis is away, or fails in the
 * middle, the whole of it is kept and done again when it is back.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_worker.h"
#include "../src/cache_tag.h"


#define NGX_HTTP_GATEWAY_PURGE_FLIGHT   64    /* commands at once */
#define NGX_HTTP_GATEWAY_PURGE_TAGS     64    /* in one command */
#define NGX_HTTP_GATEWAY_PURGE_OTHERS   4096  /* tags that cascade */


/* A command under way. */

typedef struct {
    ngx_http_gateway_cache_op_t    *op;
    ngx_array_t                    *tags;
    ngx_uint_t                      bucket;
    ngx_uint_t                      at;        /* first tag, or master */
} ngx_http_gateway_purge_call_t;


/* --- commands ------------------------------------------------------------- */

static ngx_http_gateway_purge_call_t *
ngx_http_gateway_purge_call(ngx_http_gateway_cache_op_t *op,
    ngx_array_t *tags, ngx_uint_t bucket, ngx_uint_t at)
{
    ngx_http_gateway_purge_call_t  *call;

    call = ngx_alloc(sizeof(*call), ngx_cycle->log);

    if (call) {
        call->op = op;
        call->tags = tags;
        call->bucket = bucket;
        call->at = at;
    }

    return call;
}


static void
ngx_http_gateway_purge_sent(ngx_http_gateway_purge_call_t *call,
    ngx_http_gateway_redis_command_t *command)
{
    if (command == NULL) {
        call->op->failed = 1;
        ngx_free(call);
        return;
    }

    call->op->flight++;
}


/* The op of a call that has been answered; whether the answer is of use. */

static ngx_uint_t
ngx_http_gateway_purge_came(ngx_http_gateway_cache_op_t *op,
    redisReply *reply, size_t elements)
{
    op->flight--;

    if (reply == NULL) {
        op->failed = 1;
        return 0;
    }

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == elements) {
        return 1;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_gateway_purge_refused(op, reply);
        return 0;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_cache \"%V\": unexpected answer of Redis to a "
                  "purge", &op->job.zone->name);

    return 0;
}


/* More tags than are kept, or no memory for one: all is purged then, from the
 * beginning. */

static void
ngx_http_gateway_purge_all(ngx_http_gateway_cache_op_t *op)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "gateway_cache \"%V\": what was purged had too many tags "
                  "to cascade, everything is purged", &op->job.zone->name);

    op->job.pattern = gw_str("*");
    op->job.purge.cascade = false;
    op->others.nelts = 0;
    op->failed = 1;
}


/* Tags that what was purged had: a line each, and each once. */

static void
ngx_http_gateway_purge_found(ngx_http_gateway_cache_op_t *op,
    redisReply *reply)
{
    u_char      *p, *last, *end, *text;
    gw_str_t    *s, *known;
    ngx_uint_t   i;

    if (!op->job.purge.cascade || reply->type != REDIS_REPLY_STRING
        || op->phase == NGX_HTTP_GATEWAY_PURGE_CASCADE)
    {
        return;
    }

    p = (u_char *) reply->str;
    last = p + reply->len;

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, '\n');
        end = end ? end : last;

        known = op->others.elts;

        for (i = 0; i < op->others.nelts; i++) {
            if (known[i].len == (size_t) (end - p)
                && ngx_memcmp(known[i].data, p, end - p) == 0)
            {
                break;
            }
        }

        if (end == p || end - p > GW_CACHE_TAG_MAX || i < op->others.nelts) {
            continue;
        }

        text = ngx_pnalloc(op->job.pool, end - p);
        s = i < NGX_HTTP_GATEWAY_PURGE_OTHERS ? ngx_array_push(&op->others)
                                              : NULL;

        if (text == NULL || s == NULL) {
            ngx_http_gateway_purge_all(op);
            return;
        }

        ngx_memcpy(text, p, end - p);
        s->data = text;
        s->len = end - p;
    }
}


static void
ngx_http_gateway_purge_key_done(void *data, redisReply *reply)
{
    ngx_http_gateway_purge_call_t *call = data;

    ngx_http_gateway_cache_op_t  *op;

    op = call->op;
    ngx_free(call);

    if (ngx_http_gateway_purge_came(op, reply, 2)
        && reply->element[0]->type == REDIS_REPLY_INTEGER)
    {
        op->purged += ngx_max(reply->element[0]->integer, 0);
        ngx_http_gateway_purge_found(op, reply->element[1]);
    }

    ngx_http_gateway_purge_pump(op);
}


/* For one command's arguments. */
static ngx_pool_t *
ngx_http_gateway_purge_pool(ngx_http_gateway_cache_op_t *op)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, ngx_cycle->log);

    if (pool == NULL) {
        op->failed = 1;
    }

    return pool;
}


static void
ngx_http_gateway_purge_send_key(ngx_http_gateway_cache_op_t *op, gw_str_t key)
{
    u_char                         *p;
    gw_str_t                        stamp;
    ngx_str_t                       argv[3], text;
    ngx_uint_t                      bucket;
    ngx_pool_t                     *pool;
    ngx_http_gateway_cache_zone_t  *zone;
    ngx_http_gateway_purge_call_t  *call;

    zone = op->job.zone;

    pool = ngx_http_gateway_purge_pool(op);
    if (pool == NULL) {
        return;
    }

    text.data = (u_char *) key.data;
    text.len = key.len;
    bucket = ngx_http_gateway_redis_bucket(&text);

    p = ngx_pnalloc(pool, key.len + 1);
    call = ngx_http_gateway_purge_call(op, NULL, bucket, 0);

    stamp.data = p;
    stamp.len = key.len + 1;

    if (p) {
        *p++ = 'k';
        ngx_memcpy(p, key.data, key.len);
    }

    if (p == NULL || call == NULL
        || ngx_http_gateway_cache_remote_key(zone, pool, bucket, "o:", key,
                                             &argv[0])
           != NGX_OK
        || ngx_http_gateway_cache_remote_key(zone, pool, bucket, "k:", key,
                                             &argv[1])
           != NGX_OK
        || ngx_http_gateway_cache_remote_key(zone, pool, bucket, "x:", stamp,
                                             &argv[2])
           != NGX_OK)
    {
        op->failed = 1;

        if (call) {
            ngx_free(call);
        }

    } else {
        ngx_http_gateway_purge_sent(call,
                ngx_http_gateway_redis_eval(zone->redis,
                                            &ngx_http_gateway_cache_script_key,
                                            argv, 3, 3,
                                            ngx_http_gateway_purge_key_done,
                                            call));
    }

    ngx_destroy_pool(pool);
}


static void ngx_http_gateway_purge_bucket_done(void *data, redisReply *reply);


/* NGX_HTTP_GATEWAY_PURGE_TAGS tags of the array from `at`, in one bucket. */

static void
ngx_http_gateway_purge_send_bucket(ngx_http_gateway_cache_op_t *op,
    ngx_array_t *tags, ngx_uint_t bucket, ngx_uint_t at, ngx_uint_t again)
{
    gw_str_t                       *s, empty;
    ngx_str_t                       argv[5 + NGX_HTTP_GATEWAY_PURGE_TAGS];
    ngx_uint_t                      i, n;
    ngx_pool_t                     *pool;
    ngx_http_gateway_cache_zone_t  *zone;
    ngx_http_gateway_purge_call_t  *call;

    static char  *what[] = { "x:", "t:", "o:", "k:" };

    zone = op->job.zone;
    empty = gw_str("");

    pool = ngx_http_gateway_purge_pool(op);
    if (pool == NULL) {
        return;
    }

    for (i = 0; i < 4; i++) {
        if (ngx_http_gateway_cache_remote_key(zone, pool, bucket, what[i],
                                              empty, &argv[i])
            != NGX_OK)
        {
            goto failed;
        }
    }

    ngx_str_set(&argv[4], "1");

    if (again) {
        argv[4].data = (u_char *) "0";
    }

    s = tags->elts;

    for (i = at, n = 5;
         i < tags->nelts && n < 5 + NGX_HTTP_GATEWAY_PURGE_TAGS; i++, n++)
    {
        argv[n].data = (u_char *) s[i].data;
        argv[n].len = s[i].len;
    }

    call = ngx_http_gateway_purge_call(op, tags, bucket, at);
    if (call == NULL) {
        goto failed;
    }

    ngx_http_gateway_purge_sent(call,
             ngx_http_gateway_redis_eval(zone->redis,
                                         &ngx_http_gateway_cache_script_bucket,
                                         argv, n, 1,
                                         ngx_http_gateway_purge_bucket_done,
                                         call));
    ngx_destroy_pool(pool);
    return;

failed:

    op->failed = 1;
    ngx_destroy_pool(pool);
}


static void
ngx_http_gateway_purge_bucket_done(void *data, redisReply *reply)
{
    ngx_http_gateway_purge_call_t *call = data;

    ngx_http_gateway_cache_op_t    *op;
    ngx_http_gateway_purge_call_t   c;

    c = *call;
    op = c.op;
    ngx_free(call);

    if (ngx_http_gateway_purge_came(op, reply, 3)
        && reply->element[0]->type == REDIS_REPLY_INTEGER
        && reply->element[1]->type == REDIS_REPLY_INTEGER)
    {
        op->purged += ngx_max(reply->element[0]->integer, 0);
        ngx_http_gateway_purge_found(op, reply->element[2]);

        if (reply->element[1]->integer && !op->failed) {
            ngx_http_gateway_purge_send_bucket(op, c.tags, c.bucket, c.at, 1);
        }
    }

    ngx_http_gateway_purge_pump(op);
}


/* --- patterns ------------------------------------------------------------- */

static u_char *
ngx_http_gateway_purge_escape(u_char *p, const u_char *data, size_t len)
{
    for ( /* void */ ; len; data++, len--) {
        if (ngx_strchr("*?[]\\", *data) && *data) {
            *p++ = '\\';
        }

        *p++ = *data;
    }

    return p;
}


static void ngx_http_gateway_purge_scan_done(void *data, redisReply *reply);


/* Redis is given what the pattern begins with, the rest is compared here. */

static void
ngx_http_gateway_purge_send_scan(ngx_http_gateway_cache_op_t *op,
    ngx_uint_t master, ngx_str_t *cursor)
{
    u_char                         *p, *star;
    size_t                          literal;
    ngx_str_t                       argv[6], *prefix;
    ngx_pool_t                     *pool;
    ngx_http_gateway_cache_zone_t  *zone;
    ngx_http_gateway_purge_call_t  *call;

    zone = op->job.zone;
    prefix = &ngx_http_gateway_redis_conf(zone->redis)->prefix;

    p = (u_char *) op->job.pattern.data;
    star = ngx_strlchr(p, p + op->job.pattern.len, '*');
    literal = star ? (size_t) (star - op->job.pattern.data)
                   : op->job.pattern.len;

    pool = ngx_http_gateway_purge_pool(op);
    if (pool == NULL) {
        return;
    }

    p = ngx_pnalloc(pool, 2 * (prefix->len + zone->name.len + literal)
                          + sizeof("{*}o::*"));
    call = ngx_http_gateway_purge_call(op, NULL, 0, master);

    if (p == NULL || call == NULL) {
        op->failed = 1;

        if (call) {
            ngx_free(call);
        }

        ngx_destroy_pool(pool);
        return;
    }

    ngx_str_set(&argv[0], "SCAN");
    argv[1] = *cursor;
    ngx_str_set(&argv[2], "MATCH");
    argv[3].data = p;
    p = ngx_http_gateway_purge_escape(p, prefix->data, prefix->len);
    p = ngx_cpymem(p, "{*}o:", 5);
    p = ngx_http_gateway_purge_escape(p, zone->name.data, zone->name.len);
    *p++ = ':';
    p = ngx_http_gateway_purge_escape(p, op->job.pattern.data, literal);
    *p++ = '*';
    argv[3].len = p - argv[3].data;
    ngx_str_set(&argv[4], "COUNT");
    ngx_str_set(&argv[5], "500");

    ngx_http_gateway_purge_sent(call,
            ngx_http_gateway_redis_on_master(zone->redis, master, argv, 6,
                                             ngx_http_gateway_purge_scan_done,
                                             call));
    ngx_destroy_pool(pool);
}


/* The cache key in one of Redis's. */

static ngx_int_t
ngx_http_gateway_purge_key_of(ngx_http_gateway_cache_zone_t *zone,
    redisReply *name, gw_str_t *key)
{
    u_char     *p, *last;
    ngx_str_t  *prefix;

    prefix = &ngx_http_gateway_redis_conf(zone->redis)->prefix;

    if (name->type != REDIS_REPLY_STRING || name->len < prefix->len) {
        return NGX_DECLINED;
    }

    last = (u_char *) name->str + name->len;
    p = ngx_strlchr((u_char *) name->str + prefix->len, last, '}');

    if (p == NULL || (size_t) (last - p) < 3 + zone->name.len + 1) {
        return NGX_DECLINED;
    }

    p += 3 + zone->name.len + 1;    /* }o:zone: */

    key->data = p;
    key->len = last - p;

    return NGX_OK;
}


static void
ngx_http_gateway_purge_scan_done(void *data, redisReply *reply)
{
    ngx_http_gateway_purge_call_t *call = data;

    size_t                          i;
    gw_str_t                        key;
    ngx_str_t                       cursor;
    redisReply                     *keys;
    ngx_uint_t                      master;
    ngx_http_gateway_cache_op_t    *op;

    op = call->op;
    master = call->at;
    ngx_free(call);

    if (ngx_http_gateway_purge_came(op, reply, 2)
        && reply->element[0]->type == REDIS_REPLY_STRING
        && reply->element[1]->type == REDIS_REPLY_ARRAY)
    {
        keys = reply->element[1];

        for (i = 0; i < keys->elements && !op->failed; i++) {
            if (ngx_http_gateway_purge_key_of(op->job.zone, keys->element[i],
                                              &key)
                == NGX_OK
                && gw_cache_glob(op->job.pattern, key))
            {
                ngx_http_gateway_purge_send_key(op, key);
            }
        }

        cursor.data = (u_char *) reply->element[0]->str;
        cursor.len = reply->element[0]->len;

        if (!op->failed && !(cursor.len == 1 && cursor.data[0] == '0')) {
            ngx_http_gateway_purge_send_scan(op, master, &cursor);
        }
    }

    ngx_http_gateway_purge_pump(op);
}


/* --- one after the other -------------------------------------------------- */

/* Level 1 once more is done. */

static void
ngx_http_gateway_purge_local_done(ngx_http_gateway_purge_t *job)
{
    ngx_http_gateway_cache_op_t *op = (ngx_http_gateway_cache_op_t *) job;

    op->flight--;
    ngx_http_gateway_purge_pump(op);
}


static ngx_uint_t
ngx_http_gateway_purge_next_bucket(ngx_http_gateway_cache_op_t *op,
    ngx_array_t *tags)
{
    if (op->next >= tags->nelts) {
        return 0;
    }

    ngx_http_gateway_purge_send_bucket(op, tags, op->bucket, op->next, 0);

    if (++op->bucket == NGX_HTTP_GATEWAY_REDIS_BUCKETS) {
        op->bucket = 0;
        op->next += NGX_HTTP_GATEWAY_PURGE_TAGS;
    }

    return 1;
}


/* The next command of the phase; 0: there is none. */

static ngx_uint_t
ngx_http_gateway_purge_next(ngx_http_gateway_cache_op_t *op)
{
    ngx_str_t  start = ngx_string("0");

    static gw_str_t     star = { (const unsigned char *) "*", 1 };
    static ngx_array_t  all = { &star, 1, sizeof(star), 1, NULL };

    switch (op->phase) {

    case NGX_HTTP_GATEWAY_PURGE_STAMP:
        return op->job.pattern.len
               ? ngx_http_gateway_purge_next_bucket(op, &all) : 0;

    case NGX_HTTP_GATEWAY_PURGE_BY_KEY:
        if (op->next >= op->job.keys.nelts) {
            return 0;
        }

        ngx_http_gateway_purge_send_key(op,
                              ((gw_str_t *) op->job.keys.elts)[op->next++]);
        return 1;

    case NGX_HTTP_GATEWAY_PURGE_BY_TAG:
        return ngx_http_gateway_purge_next_bucket(op, &op->job.tags);

    case NGX_HTTP_GATEWAY_PURGE_SCAN:
        if (op->job.pattern.len == 0
            || op->next >= ngx_http_gateway_redis_masters(op->job.zone->redis))
        {
            return 0;
        }

        ngx_http_gateway_purge_send_scan(op, op->next++, &start);
        return 1;

    case NGX_HTTP_GATEWAY_PURGE_CASCADE:
        return ngx_http_gateway_purge_next_bucket(op, &op->others);

    case NGX_HTTP_GATEWAY_PURGE_LOCAL:
        if (op->next++) {
            return 0;
        }

        op->flight++;
        ngx_http_gateway_purge_rewind(&op->job);
        ngx_http_gateway_purge_run(&op->job);
        return 1;

    case NGX_HTTP_GATEWAY_PURGE_TELL:
        if (op->next >= 1 + (op->others.nelts != 0)) {
            return 0;
        }

        ngx_http_gateway_purge_tell(op, op->next++);
        return 1;

    default:
        return 0;
    }
}


/* Goes on as far as it can; the op may be gone on return. */

void
ngx_http_gateway_purge_pump(ngx_http_gateway_cache_op_t *op)
{
    if (op->pumping) {
        return;
    }

    op->pumping = 1;

    while (!op->failed && op->phase != NGX_HTTP_GATEWAY_PURGE_END) {

        if (op->flight >= NGX_HTTP_GATEWAY_PURGE_FLIGHT
            || ngx_http_gateway_purge_next(op))
        {
            if (op->flight >= NGX_HTTP_GATEWAY_PURGE_FLIGHT) {
                break;
            }

            continue;
        }

        if (op->flight) {
            break;
        }

        op->phase++;
        op->bucket = 0;
        op->next = 0;
    }

    op->pumping = 0;

    if (op->flight) {
        return;
    }

    if (op->failed) {
        ngx_http_gateway_purge_keep(op);
        return;
    }

    ngx_http_gateway_purge_answered(op);
    ngx_http_gateway_purge_paid(op);

    ngx_destroy_pool(op->job.pool);
}


static void
ngx_http_gateway_purge_start_op(ngx_event_t *ev)
{
    ngx_http_gateway_purge_pump(ev->data);
}


/* Copies what is to be purged, which outlives who asked for it. */

static ngx_http_gateway_cache_op_t *
ngx_http_gateway_purge_op(ngx_http_gateway_purge_t *job)
{
    u_char                       *p;
    ngx_pool_t                   *pool;
    ngx_http_gateway_cache_op_t  *op;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(*op));

    if (op == NULL
        || ngx_http_gateway_purge_init(&op->job, job->zone, pool,
                                       ngx_cycle->log)
           != NGX_OK
        || ngx_array_init(&op->others, pool, 4, sizeof(gw_str_t)) != NGX_OK
        || ngx_http_gateway_purge_names(pool, &op->job.keys, &job->keys)
           != NGX_OK
        || ngx_http_gateway_purge_names(pool, &op->job.tags, &job->tags)
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    p = ngx_pnalloc(pool, job->pattern.len + job->payload.len + 1);
    if (p == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    op->job.pattern.data = p;
    op->job.pattern.len = job->pattern.len;

    if (job->pattern.len) {
        p = ngx_cpymem(p, job->pattern.data, job->pattern.len);
    }

    op->payload.data = p;
    op->payload.len = job->payload.len;

    if (job->payload.len) {
        ngx_memcpy(p, job->payload.data, job->payload.len);
    }

    op->job.purge.cascade = job->purge.cascade;
    op->job.local = 1;
    op->job.done = ngx_http_gateway_purge_local_done;

    op->start.handler = ngx_http_gateway_purge_start_op;
    op->start.data = op;
    op->start.log = ngx_cycle->log;

    return op;
}


ngx_int_t
ngx_http_gateway_purge_remote(ngx_http_gateway_purge_t *job)
{
    ngx_http_gateway_cache_op_t  *op;

    op = ngx_http_gateway_purge_op(job);

    if (op == NULL) {
        ngx_http_gateway_purge_owe(job->zone, 0, 1);
        return NGX_OK;
    }

    if (!ngx_http_gateway_redis_up(job->zone->redis)) {
        ngx_http_gateway_purge_keep(op);
        return NGX_OK;
    }

    op->asked = job;
    job->op = op;

    /* it answers later, whatever happens */

    ngx_post_event(&op->start, &ngx_posted_events);

    return NGX_AGAIN;
}


void
ngx_http_gateway_purge_remote_cancel(ngx_http_gateway_purge_t *job)
{
    if (job->op) {
        job->op->asked = NULL;
        job->op = NULL;
    }
}
