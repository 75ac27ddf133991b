/*
 * Commands to Redis: encoded once, into the block that is kept until the
 * answer, so that one can be sent again to another server.
 */

#include "ngx_http_gateway_redis_int.h"

#include <openssl/evp.h>


#define NGX_HTTP_GATEWAY_REDIS_INLINE    1000    /* bytes of most commands */
#define NGX_HTTP_GATEWAY_REDIS_MAX_FREE  4096    /* blocks kept for reuse */
#define NGX_HTTP_GATEWAY_REDIS_MAX_ARGC  1024

#define NGX_HTTP_GATEWAY_REDIS_MS_LEN    13      /* digits, until 2286 */


ngx_str_t  ngx_http_gateway_redis_run_id = ngx_string("RUN_ID");
ngx_str_t  ngx_http_gateway_redis_deadline = ngx_string("DEADLINE");


static ngx_http_gateway_redis_command_t *ngx_http_gateway_redis_command_new(
    ngx_http_gateway_redis_t *redis, size_t len);


static uint64_t
ngx_http_gateway_redis_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static size_t
ngx_http_gateway_redis_arg_len(ngx_str_t *arg)
{
    if (arg->data == ngx_http_gateway_redis_run_id.data) {
        return NGX_HTTP_GATEWAY_REDIS_RUN_ID;
    }

    if (arg->data == ngx_http_gateway_redis_deadline.data) {
        return NGX_HTTP_GATEWAY_REDIS_MS_LEN;
    }

    return arg->len;
}


/* "$12\r\n": faster than ngx_sprintf(), which parses a format. */

static u_char *
ngx_http_gateway_redis_count(u_char *p, u_char type, size_t n)
{
    u_char  digits[NGX_SIZE_T_LEN], *d;

    d = digits + sizeof(digits);

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    *p++ = type;
    p = ngx_cpymem(p, d, digits + sizeof(digits) - d);
    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_gateway_redis_bulk(u_char *p, u_char *data, size_t len)
{
    p = ngx_http_gateway_redis_count(p, '$', len);

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_gateway_redis_args(ngx_http_gateway_redis_command_t *cmd, u_char *p,
    ngx_str_t *argv, ngx_uint_t argc)
{
    ngx_uint_t  i;

    for (i = 0; i < argc; i++) {

        if (argv[i].data == ngx_http_gateway_redis_run_id.data) {
            p = ngx_http_gateway_redis_count(p, '$',
                                             NGX_HTTP_GATEWAY_REDIS_RUN_ID);
            cmd->run_id = p - cmd->buf;
            ngx_memset(p, '0', NGX_HTTP_GATEWAY_REDIS_RUN_ID);
            p += NGX_HTTP_GATEWAY_REDIS_RUN_ID;

        } else if (argv[i].data == ngx_http_gateway_redis_deadline.data) {
            p = ngx_http_gateway_redis_count(p, '$',
                                             NGX_HTTP_GATEWAY_REDIS_MS_LEN);
            cmd->deadline = p - cmd->buf;
            ngx_memset(p, '0', NGX_HTTP_GATEWAY_REDIS_MS_LEN);
            p += NGX_HTTP_GATEWAY_REDIS_MS_LEN;

        } else {
            p = ngx_http_gateway_redis_bulk(p, argv[i].data, argv[i].len);
            continue;
        }

        *p++ = CR;
        *p++ = LF;
    }

    return p;
}


/* room for "*argc" and its arguments; 0: too large */

static size_t
ngx_http_gateway_redis_room(ngx_str_t *argv, ngx_uint_t argc)
{
    size_t      len, n;
    ngx_uint_t  i;

    if (argc > NGX_HTTP_GATEWAY_REDIS_MAX_ARGC) {
        return 0;
    }

    len = NGX_SIZE_T_LEN + 3;

    for (i = 0; i < argc; i++) {
        n = ngx_http_gateway_redis_arg_len(&argv[i]);

        if (n > NGX_HTTP_GATEWAY_REDIS_MAX_BYTES) {
            return 0;
        }

        len += NGX_SIZE_T_LEN + 5 + n;
    }

    return len > NGX_HTTP_GATEWAY_REDIS_MAX_BYTES ? 0 : len;
}


static ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_command_new(ngx_http_gateway_redis_t *redis,
    size_t len)
{
    ngx_queue_t                       *q;
    ngx_http_gateway_redis_command_t  *cmd;

    if (!ngx_queue_empty(&redis->free)) {
        q = ngx_queue_head(&redis->free);
        ngx_queue_remove(q);
        redis->nfree--;
        cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);

    } else {
        cmd = ngx_alloc(sizeof(*cmd) + NGX_HTTP_GATEWAY_REDIS_INLINE,
                        ngx_cycle->log);
        if (cmd == NULL) {
            return NULL;
        }
    }

    ngx_memzero(cmd, sizeof(*cmd));

    cmd->redis = redis;
    cmd->buf = (u_char *) &cmd[1];
    cmd->slot = -1;
    cmd->expires = ngx_current_msec + redis->conf.timeout;

    if (len > NGX_HTTP_GATEWAY_REDIS_INLINE) {
        cmd->large = ngx_alloc(len, ngx_cycle->log);

        if (cmd->large == NULL) {
            ngx_http_gateway_redis_command_free(cmd);
            return NULL;
        }

        cmd->buf = cmd->large;
    }

    return cmd;
}


void
ngx_http_gateway_redis_command_free(ngx_http_gateway_redis_command_t *cmd)
{
    ngx_http_gateway_redis_t  *redis;

    redis = cmd->redis;

    if (cmd->large) {
        ngx_free(cmd->large);
        cmd->large = NULL;
    }

    if (redis->nfree == NGX_HTTP_GATEWAY_REDIS_MAX_FREE) {
        ngx_free(cmd);
        return;
    }

    ngx_queue_insert_head(&redis->free, &cmd->queue);
    redis->nfree++;
}


static void
ngx_http_gateway_redis_command_drop(ngx_queue_t *queue)
{
    ngx_queue_t                       *q, *next;
    ngx_http_gateway_redis_command_t  *cmd;

    for (q = ngx_queue_head(queue); q != ngx_queue_sentinel(queue); q = next) {
        next = ngx_queue_next(q);
        cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);

        if (cmd->large) {
            ngx_free(cmd->large);
        }

        ngx_free(cmd);
    }

    ngx_queue_init(queue);
}


/* At the worker's end, when all links are stopped: nobody is told any more. */

void
ngx_http_gateway_redis_command_end(ngx_http_gateway_redis_t *redis)
{
    ngx_http_gateway_redis_command_drop(&redis->failed);
    ngx_http_gateway_redis_command_drop(&redis->free);

    redis->nfree = 0;
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_command_make(ngx_http_gateway_redis_t *redis,
    ngx_str_t *argv, ngx_uint_t argc,
    ngx_http_gateway_redis_handler_pt handler, void *data)
{
    size_t                             len;
    u_char                            *p;
    ngx_http_gateway_redis_command_t  *cmd;

    len = ngx_http_gateway_redis_room(argv, argc);
    if (len == 0) {
        return NULL;
    }

    cmd = ngx_http_gateway_redis_command_new(redis, len);
    if (cmd == NULL) {
        return NULL;
    }

    p = ngx_http_gateway_redis_count(cmd->buf, '*', argc);
    p = ngx_http_gateway_redis_args(cmd, p, argv, argc);

    cmd->len = p - cmd->buf;
    cmd->handler = handler;
    cmd->data = data;

    return cmd;
}


ngx_int_t
ngx_http_gateway_redis_command_on(ngx_http_gateway_redis_link_t *link,
    ngx_str_t *argv, ngx_uint_t argc,
    ngx_http_gateway_redis_handler_pt handler, void *data)
{
    ngx_int_t                          rc;
    ngx_http_gateway_redis_command_t  *cmd;

    cmd = ngx_http_gateway_redis_command_make(link->redis, argv, argc,
                                              handler, data);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    cmd->raw = 1;

    rc = ngx_http_gateway_redis_link_send(link, cmd);

    if (rc != NGX_OK) {
        ngx_http_gateway_redis_command_free(cmd);
    }

    return rc;
}


static ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_command_give(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, int slot)
{
    if (cmd == NULL) {
        return NULL;
    }

    cmd->slot = slot;
    cmd->started = ngx_http_gateway_redis_us();

    if (ngx_http_gateway_redis_link_send(link, cmd) != NGX_OK) {
        ngx_http_gateway_redis_command_free(cmd);
        return NULL;
    }

    return cmd;
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_command(ngx_http_gateway_redis_t *redis,
    ngx_str_t *argv, ngx_uint_t argc, ngx_uint_t key,
    ngx_http_gateway_redis_handler_pt handler, void *data)
{
    int                                slot;
    ngx_http_gateway_redis_link_t     *link;
    ngx_http_gateway_redis_command_t  *cmd;

    if (!redis->up) {
        return NULL;
    }

    slot = key && redis->route->slot ? redis->route->slot(&argv[key]) : -1;

    link = redis->route->pick(redis, slot);
    if (link == NULL) {
        return NULL;
    }

    cmd = ngx_http_gateway_redis_command_make(redis, argv, argc, handler,
                                              data);

    return ngx_http_gateway_redis_command_give(link, cmd, slot);
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_on_master(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i, ngx_str_t *argv, ngx_uint_t argc,
    ngx_http_gateway_redis_handler_pt handler, void *data)
{
    ngx_http_gateway_redis_link_t     *link;
    ngx_http_gateway_redis_command_t  *cmd;

    link = redis->up ? redis->route->master(redis, i) : NULL;
    if (link == NULL) {
        return NULL;
    }

    cmd = ngx_http_gateway_redis_command_make(redis, argv, argc, handler,
                                              data);

    return ngx_http_gateway_redis_command_give(link, cmd, -1);
}


ngx_uint_t
ngx_http_gateway_redis_masters(ngx_http_gateway_redis_t *redis)
{
    return redis->up ? redis->route->masters(redis, NULL) : 0;
}


ngx_int_t
ngx_http_gateway_redis_run_ids(ngx_http_gateway_redis_t *redis,
    ngx_pool_t *pool, ngx_str_t *ids)
{
    u_char                          *p;
    ngx_uint_t                       i, n;
    ngx_http_gateway_redis_link_t  **links;

    n = ngx_http_gateway_redis_masters(redis);

    links = ngx_palloc(pool, (n + 1) * sizeof(void *));
    ids->data = ngx_pnalloc(pool, n * NGX_HTTP_GATEWAY_REDIS_RUN_ID + 1);

    if (links == NULL || ids->data == NULL) {
        return NGX_ERROR;
    }

    p = ids->data;

    if (n) {
        (void) redis->route->masters(redis, links);
    }

    for (i = 0; i < n; i++) {
        if (links[i]) {
            p = ngx_cpymem(p, links[i]->run_id,
                           NGX_HTTP_GATEWAY_REDIS_RUN_ID);
        }
    }

    ids->len = p - ids->data;

    return NGX_OK;
}


/* EVALSHA, as if the server had the script: the link knows whether it has. */

static ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_eval_make(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_script_t *script, ngx_str_t *argv, ngx_uint_t argc,
    ngx_uint_t nkeys)
{
    size_t                             len;
    u_char                            *p, number[NGX_INT_T_LEN];
    ngx_http_gateway_redis_command_t  *cmd;

    len = ngx_http_gateway_redis_room(argv, argc);
    if (len == 0) {
        return NULL;
    }

    cmd = ngx_http_gateway_redis_command_new(redis,
              len + sizeof("$7\r\nEVALSHA\r\n$40\r\n\r\n") - 1
              + sizeof(script->sha) + NGX_SIZE_T_LEN + 5 + NGX_INT_T_LEN);
    if (cmd == NULL) {
        return NULL;
    }

    cmd->script = script;
    cmd->argc = argc + 3;

    p = ngx_http_gateway_redis_count(cmd->buf, '*', cmd->argc);
    p = ngx_http_gateway_redis_bulk(p, (u_char *) "EVALSHA", 7);
    p = ngx_http_gateway_redis_bulk(p, script->sha, sizeof(script->sha));

    cmd->tail = p - cmd->buf;

    p = ngx_http_gateway_redis_bulk(p, number,
                                    ngx_sprintf(number, "%ui", nkeys)
                                    - number);
    p = ngx_http_gateway_redis_args(cmd, p, argv, argc);

    cmd->len = p - cmd->buf;

    return cmd;
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_redis_eval(ngx_http_gateway_redis_t *redis,
    ngx_http_gateway_redis_script_t *script, ngx_str_t *argv, ngx_uint_t argc,
    ngx_uint_t nkeys, ngx_http_gateway_redis_handler_pt handler, void *data)
{
    int                                slot;
    ngx_http_gateway_redis_link_t     *link;
    ngx_http_gateway_redis_command_t  *cmd;

    if (!redis->up) {
        return NULL;
    }

    slot = nkeys && redis->route->slot ? redis->route->slot(&argv[0]) : -1;

    link = redis->route->pick(redis, slot);
    if (link == NULL) {
        return NULL;
    }

    cmd = ngx_http_gateway_redis_eval_make(redis, script, argv, argc, nkeys);
    if (cmd) {
        cmd->handler = handler;
        cmd->data = data;
    }

    return ngx_http_gateway_redis_command_give(link, cmd, slot);
}


/* Puts the script's text in place of its digest. */

ngx_int_t
ngx_http_gateway_redis_command_text(ngx_http_gateway_redis_command_t *cmd)
{
    size_t      head, tail;
    u_char     *p, *buf;
    ngx_str_t  *text;

    text = &cmd->script->text;
    tail = cmd->len - cmd->tail;

    buf = ngx_alloc(2 * (NGX_SIZE_T_LEN + 5) + sizeof("$4\r\nEVAL\r\n")
                    + text->len + tail, ngx_cycle->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_gateway_redis_count(buf, '*', cmd->argc);
    p = ngx_http_gateway_redis_bulk(p, (u_char *) "EVAL", 4);
    p = ngx_http_gateway_redis_bulk(p, text->data, text->len);

    head = p - buf;
    ngx_memcpy(p, cmd->buf + cmd->tail, tail);

    if (cmd->run_id) {
        cmd->run_id += head - cmd->tail;
    }

    if (cmd->deadline) {
        cmd->deadline += head - cmd->tail;
    }

    if (cmd->large) {
        ngx_free(cmd->large);
    }

    cmd->large = buf;
    cmd->buf = buf;
    cmd->tail = head;
    cmd->len = head + tail;

    return NGX_OK;
}


void
ngx_http_gateway_redis_command_stamp(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd)
{
    u_char   *p;
    int64_t   ms;

    if (cmd->run_id) {
        ngx_memcpy(cmd->buf + cmd->run_id, link->run_id,
                   NGX_HTTP_GATEWAY_REDIS_RUN_ID);
    }

    if (cmd->deadline) {
        ms = (int64_t) ngx_http_gateway_time_ms() + link->offset
             + (ngx_msec_int_t) (cmd->expires - ngx_current_msec);

        p = cmd->buf + cmd->deadline + NGX_HTTP_GATEWAY_REDIS_MS_LEN;

        while (p > cmd->buf + cmd->deadline) {
            *--p = (u_char) ('0' + (ms > 0 ? ms % 10 : 0));
            ms /= 10;
        }
    }
}


void
ngx_http_gateway_redis_cancel(ngx_http_gateway_redis_command_t *command)
{
    command->handler = NULL;
}


void
ngx_http_gateway_redis_command_done(ngx_http_gateway_redis_command_t *cmd,
    redisReply *reply)
{
    if (cmd->started) {
        ngx_http_gateway_observe(cmd->redis->seconds,
                                 ngx_http_gateway_redis_us() - cmd->started);
    }

    if (cmd->handler) {
        cmd->handler(cmd->data, reply);
    }

    ngx_http_gateway_redis_command_free(cmd);
}


ngx_uint_t
ngx_http_gateway_redis_error_is(redisReply *reply, char *word)
{
    size_t  len;

    len = ngx_strlen(word);

    return reply->len >= len && ngx_memcmp(reply->str, word, len) == 0
           && (reply->len == len || reply->str[len] == ' ');
}


/* Errors that are not the caller's. */

static ngx_uint_t
ngx_http_gateway_redis_error_routes(redisReply *reply)
{
    ngx_uint_t    i;
    static char  *words[] = {
        "MOVED", "ASK", "TRYAGAIN", "READONLY", "CLUSTERDOWN", "LOADING",
        "MASTERDOWN"
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ngx_http_gateway_redis_error_is(reply, words[i])) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_gateway_redis_command_reply(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR || cmd->raw) {
        ngx_http_gateway_redis_command_done(cmd, reply);
        return;
    }

    cmd->tries++;

    if (cmd->script && ngx_http_gateway_redis_error_is(reply, "NOSCRIPT")
        && cmd->tries < NGX_HTTP_GATEWAY_REDIS_TRIES)
    {
        /* somebody has flushed all of them */
        link->nscripts = 0;

        if (ngx_http_gateway_redis_link_send(link, cmd) == NGX_OK) {
            return;
        }

        reply = NULL;

    } else if (ngx_http_gateway_redis_error_routes(reply)) {

        if (link->redis->route->error(link->redis, link, cmd, reply)
            == NGX_OK)
        {
            return;
        }

        reply = NULL;
    }

    ngx_http_gateway_redis_command_done(cmd, reply);
}


void
ngx_http_gateway_redis_script_init(ngx_http_gateway_redis_script_t *script)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  len;

    ngx_memset(script->sha, '0', sizeof(script->sha));

    if (EVP_Digest(script->text.data, script->text.len, md, &len, EVP_sha1(),
                   NULL)
        && len == sizeof(script->sha) / 2)
    {
        ngx_hex_dump(script->sha, md, len);
    }
}


ngx_uint_t
ngx_http_gateway_redis_bucket(ngx_str_t *name)
{
    /* the same on every node, so of no secret key */
    return ngx_murmur_hash2(name->data, name->len)
           % NGX_HTTP_GATEWAY_REDIS_BUCKETS;
}


ngx_int_t
ngx_http_gateway_redis_key(ngx_http_gateway_redis_t *redis, ngx_pool_t *pool,
    ngx_uint_t bucket, char *what, ngx_str_t *name, ngx_str_t *key)
{
    ngx_str_t  *prefix;

    prefix = &redis->conf.prefix;

    key->data = ngx_pnalloc(pool, prefix->len + sizeof("{255}") - 1
                                  + ngx_strlen(what) + name->len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    key->len = ngx_sprintf(key->data, "%V{%ui}%s%V", prefix, bucket, what,
                           name)
               - key->data;

    return NGX_OK;
}
