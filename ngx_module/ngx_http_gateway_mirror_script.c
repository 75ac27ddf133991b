/*
 * The scripts of shared channels. A channel has two keys, in one bucket:
 *
 *     m:NAME  hash: e epoch, s number of the newest message, r run id, i the
 *             ids of the last messages with their numbers, n:… subscribers by
 *             node and zone with the minute when they were told
 *     l:NAME  stream: the history, ids are the numbers; m message, i its id
 *
 * No script names a key that may not be there, but for the first message: of
 * a slot that is being moved such a key is nowhere.
 *
 * A server with another run id than the one that wrote may lack the last
 * messages: it was restarted, or was a replica. So a new epoch begins then.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>

#include "ngx_http_gateway_mirror_int.h"


#define NGX_HTTP_GATEWAY_MIRROR_ARGS  20


/* Common to all: the hash and its list of counters (what was not told for an
 * hour is of a node that is no more); whether what is there was written under
 * another run id (other than those of masters that still are, from one of
 * which a slot has been moved); an announcement. */

#define NGX_HTTP_GATEWAY_MIRROR_LUA                                          \
    "if redis.replicate_commands then redis.replicate_commands() end "       \
    "local now = redis.call('TIME') "                                        \
    "local minute = math.floor(now[1] / 60) "                                \
    "local function meta() "                                                 \
    "  local h = redis.call('HGETALL', KEYS[1]) "                            \
    "  local m, t = {}, {} "                                                 \
    "  for i = 1, #h, 2 do "                                                 \
    "    if h[i]:sub(1, 2) ~= 'n:' then m[h[i]] = h[i + 1] else "            \
    "      local n, told = h[i + 1]:match('^(%d+) (%d+)$') "                 \
    "      if not n or told + 60 < minute then "                             \
    "        redis.call('HDEL', KEYS[1], h[i]) "                             \
    "      else "                                                            \
    "        t[#t + 1] = h[i]:sub(3) .. n .. '\\n' "                         \
    "      end "                                                             \
    "    end "                                                               \
    "  end "                                                                 \
    "  return m, table.concat(t) "                                           \
    "end "                                                                   \
    "local function other(r, own, live) "                                    \
    "  return r ~= own "                                                     \
    "         and not (r and #r == 40 and live:find(r, 1, true)) "           \
    "end "                                                                   \
    "local function tell(cmd, topic, kind, epoch, who, seq, name, rest) "    \
    "  redis.call(cmd, topic, kind .. epoch .. who .. seq .. ':' "           \
    "             .. #name .. ':' .. name .. rest) "                         \
    "end "                                                                   \
    "local function late(deadline) "                                         \
    "  return now[1] * 1000 + now[2] / 1000 > tonumber(deadline) "           \
    "end "


/*
 * KEYS: m, with a history l. ARGV: run id, deadline, new epoch, expected or
 * -1, history, history_ttl, ms to keep m, 1 for the second time, PUBLISH or
 * SPUBLISH, topic, node and id, name, message, run ids that are as good.
 * → DONE or CONFLICT, epoch, number, counters
 */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_mirror_publish_lua = {
    ngx_string(
    NGX_HTTP_GATEWAY_MIRROR_LUA
    "if late(ARGV[2]) then return {-1, '', 0, ''} end "
    "local id = ARGV[11]:sub(13) "
    "local m, counts = meta() "
    "local e, s, ids = m.e, tonumber(m.s), m.i or '' "
    "local new = not e or not s or other(m.r, ARGV[1], ARGV[14]) "
    "local at = not new and ids:find(id .. ' ', 1, true) "
    "local was = at and ids:match('^(%d+);', at + 13) "
    "if not new and not was and ARGV[8] == '1' and KEYS[2] then "
    "  local x = redis.call('XREVRANGE', KEYS[2], '+', '-') "
    "  for i = 1, #x do "
    "    if x[i][2][4] == id then was = x[i][1]:match('^%d+') break end "
    "  end "
    "end "
    "if was then return {1, e, was, counts} end "
    "if new then e, s, ids = ARGV[3], 0, '' end "
    "local want = tonumber(ARGV[4]) "
    "if want >= 0 and want ~= s then "
    "  return {0, e, string.format('%.0f', s), ''} "
    "end "
    "if new and KEYS[2] then redis.call('DEL', KEYS[2]) end "
    "local n = string.format('%.0f', s + 1) "
    "ids = id .. ' ' .. n .. ';' .. ids:sub(1, 1200) "
    "redis.call('HSET', KEYS[1], 'e', e, 's', n, 'r', ARGV[1], 'i', ids) "
    "redis.call('PEXPIRE', KEYS[1], ARGV[7]) "
    "if KEYS[2] then "
    "  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[5], n .. '-1', "
    "             'm', ARGV[13], 'i', id) "
    "  redis.call('PEXPIRE', KEYS[2], ARGV[6]) "
    "end "
    "tell(ARGV[9], ARGV[10], 'm', e, ARGV[11], n, ARGV[12], ARGV[13]) "
    "return {1, e, n, counts}"),
    { 0 }
};


/*
 * KEYS: m l. ARGV: run id, deadline, new epoch, ms to keep m, PUBLISH or
 * SPUBLISH, topic, node and id, name. → DONE, or CONFLICT: there was none
 */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_mirror_delete_lua = {
    ngx_string(
    NGX_HTTP_GATEWAY_MIRROR_LUA
    "if late(ARGV[2]) then return {-1, '', 0, ''} end "
    "local m, counts = meta() "
    "redis.call('DEL', KEYS[2]) "
    "if not m.e then return {0, ARGV[3], '0', ''} end "
    "if counts == '' then redis.call('DEL', KEYS[1]) else "
    "  redis.call('HSET', KEYS[1], 'e', ARGV[3], 's', '0', 'r', ARGV[1], "
    "             'i', '') "
    "  redis.call('PEXPIRE', KEYS[1], ARGV[4]) "
    "end "
    "tell(ARGV[5], ARGV[6], 'd', ARGV[3], ARGV[7], '0', ARGV[8], '') "
    "return {1, ARGV[3], '0', ''}"),
    { 0 }
};


/*
 * KEYS: m, with a history l. ARGV: run id, new epoch, 1 to make what is not
 * there, epoch and number after which to begin, bytes after which to stop, ms
 * to keep m, run ids that are as good. → DONE or CONFLICT (there is none),
 * epoch, number, counters, entries (number, message, its id), 1 if there are
 * more
 */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_mirror_fetch_lua = {
    ngx_string(
    NGX_HTTP_GATEWAY_MIRROR_LUA
    "local m, counts = meta() "
    "local e, s = m.e, tonumber(m.s) "
    "if not e and ARGV[3] == '0' then return {0, '', 0, ''} end "
    "if not e or not s or other(m.r, ARGV[1], ARGV[8]) then "
    "  e, s = ARGV[2], 0 "
    "  if KEYS[2] then redis.call('DEL', KEYS[2]) end "
    "  redis.call('HSET', KEYS[1], 'e', e, 's', '0', 'r', ARGV[1], 'i', '') "
    "end "
    "if ARGV[3] == '1' then redis.call('PEXPIRE', KEYS[1], ARGV[7]) end "
    "local t, bytes, more, from = {}, 0, 0, '-' "
    "if e == ARGV[4] then "
    "  from = string.format('%.0f', tonumber(ARGV[5]) + 1) .. '-0' "
    "end "
    "local x = {} "
    "repeat "
    "  if KEYS[2] then "
    "    x = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 64) "
    "  end "
    "  for i = 1, #x do "
    "    t[#t + 1] = x[i][1] "
    "    t[#t + 1] = x[i][2][2] "
    "    t[#t + 1] = x[i][2][4] or '' "
    "    bytes = bytes + #x[i][2][2] + 64 "
    "  end "
    "  if #x == 64 then "
    "    from = string.format('%.0f', x[64][1]:match('^%d+') + 1) .. '-0' "
    "    more = bytes > tonumber(ARGV[6]) and 1 or 0 "
    "  end "
    "until #x < 64 or more == 1 "
    "return {1, e, string.format('%.0f', s), counts, t, more}"),
    { 0 }
};


/* KEYS: m. ARGV: counter, its number, ms to keep m, PUBLISH or SPUBLISH,
 * topic, some epoch, node and some id, name. */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_mirror_count_lua = {
    ngx_string(
    NGX_HTTP_GATEWAY_MIRROR_LUA
    "if ARGV[2] == '0' then "
    "  redis.call('HDEL', KEYS[1], 'n:' .. ARGV[1]) "
    "else "
    "  redis.call('HSET', KEYS[1], 'n:' .. ARGV[1], "
    "             ARGV[2] .. ' ' .. minute) "
    "  redis.call('PEXPIRE', KEYS[1], ARGV[3]) "
    "end "
    "local _, counts = meta() "
    "tell(ARGV[4], ARGV[5], 'c', ARGV[6], ARGV[7], '0', ARGV[8], counts) "
    "return 1"),
    { 0 }
};


static ngx_str_t  ngx_http_gateway_mirror_news = ngx_string("");


/* Arguments of one call, in its pool. */

typedef struct {
    ngx_pool_t                  *pool;
    ngx_http_gateway_mirror_t   *mirror;
    ngx_str_t                   *name;
    ngx_uint_t                   bucket;
    ngx_uint_t                   n;
    ngx_uint_t                   failed;
    ngx_str_t                    argv[NGX_HTTP_GATEWAY_MIRROR_ARGS];
} ngx_http_gateway_mirror_args_t;


void
ngx_http_gateway_mirror_script_init(void)
{
    ngx_http_gateway_redis_script_init(&ngx_http_gateway_mirror_publish_lua);
    ngx_http_gateway_redis_script_init(&ngx_http_gateway_mirror_delete_lua);
    ngx_http_gateway_redis_script_init(&ngx_http_gateway_mirror_fetch_lua);
    ngx_http_gateway_redis_script_init(&ngx_http_gateway_mirror_count_lua);
}


static void
ngx_http_gateway_mirror_args(ngx_http_gateway_mirror_args_t *args,
    ngx_http_gateway_mirror_t *mirror, ngx_pool_t *pool, ngx_str_t *name)
{
    args->pool = pool;
    args->mirror = mirror;
    args->name = name;
    args->bucket = ngx_http_gateway_redis_bucket(name);
    args->n = 0;
    args->failed = 0;
}


static void
ngx_http_gateway_mirror_arg(ngx_http_gateway_mirror_args_t *args,
    const void *data, size_t len)
{
    args->argv[args->n].data = (u_char *) data;
    args->argv[args->n++].len = len;
}


static void
ngx_http_gateway_mirror_arg_key(ngx_http_gateway_mirror_args_t *args,
    char *what, ngx_str_t *name)
{
    if (ngx_http_gateway_redis_key(args->mirror->zone->redis, args->pool,
                                   args->bucket, what, name,
                                   &args->argv[args->n++])
        != NGX_OK)
    {
        args->failed = 1;
    }
}


/* m, and where there is a history l: how many. */

static ngx_uint_t
ngx_http_gateway_mirror_arg_keys(ngx_http_gateway_mirror_args_t *args,
    ngx_uint_t history)
{
    ngx_http_gateway_mirror_arg_key(args, "m:", args->name);

    if (history == 0) {
        return 1;
    }

    ngx_http_gateway_mirror_arg_key(args, "l:", args->name);

    return 2;
}


static void
ngx_http_gateway_mirror_arg_int(ngx_http_gateway_mirror_args_t *args,
    int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(args->pool, NGX_INT64_LEN);

    if (p == NULL) {
        args->failed = 1;
        return;
    }

    ngx_http_gateway_mirror_arg(args, p, ngx_sprintf(p, "%L", n) - p);
}


static void
ngx_http_gateway_mirror_words(u_char *p, size_t n)
{
    size_t  i;

    static u_char  digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz_-";

    if (RAND_bytes(p, n) != 1) {
        for (i = 0; i < n; i++) {
            p[i] = ngx_random();
        }
    }

    for (i = 0; i < n; i++) {
        p[i] = digits[p[i] & 63];
    }
}


static void
ngx_http_gateway_mirror_arg_epoch(ngx_http_gateway_mirror_args_t *args)
{
    u_char  *p;

    p = ngx_pnalloc(args->pool, GW_EPOCH_LEN);

    if (p == NULL) {
        args->failed = 1;
        return;
    }

    ngx_http_gateway_mirror_words(p, GW_EPOCH_LEN);
    ngx_http_gateway_mirror_arg(args, p, GW_EPOCH_LEN);
}


/* How to announce: command, topic; then after extra who and what. */

static void
ngx_http_gateway_mirror_arg_topic(ngx_http_gateway_mirror_args_t *args)
{
    ngx_str_t  *command;

    command = ngx_http_gateway_redis_publish_command(
                                                args->mirror->zone->redis);

    ngx_http_gateway_mirror_arg(args, command->data, command->len);
    ngx_http_gateway_mirror_arg_key(args, "news",
                                    &ngx_http_gateway_mirror_news);
}


static void
ngx_http_gateway_mirror_arg_who(ngx_http_gateway_mirror_args_t *args,
    u_char *id)
{
    u_char  *p, *node;

    p = ngx_pnalloc(args->pool, GW_NODE_LEN + GW_PUBLISH_ID_LEN);

    if (p == NULL) {
        args->failed = 1;
        return;
    }

    node = ngx_http_gateway_redis_node(args->mirror->zone->redis);

    ngx_memcpy(p, node, GW_NODE_LEN);
    ngx_memcpy(p + GW_NODE_LEN, id, GW_PUBLISH_ID_LEN);

    ngx_http_gateway_mirror_arg(args, p, GW_NODE_LEN + GW_PUBLISH_ID_LEN);
    ngx_http_gateway_mirror_arg(args, args->name->data, args->name->len);
}


static void
ngx_http_gateway_mirror_arg_meta_ttl(ngx_http_gateway_mirror_args_t *args)
{
    ngx_http_gateway_mirror_arg_int(args,
                           ngx_max(args->mirror->zone->history_ttl,
                                   NGX_HTTP_GATEWAY_MIRROR_META));
}


static void
ngx_http_gateway_mirror_arg_live(ngx_http_gateway_mirror_args_t *args)
{
    if (ngx_http_gateway_redis_run_ids(args->mirror->zone->redis, args->pool,
                                       &args->argv[args->n++])
        != NGX_OK)
    {
        args->failed = 1;
    }
}


static ngx_http_gateway_redis_command_t *
ngx_http_gateway_mirror_eval(ngx_http_gateway_mirror_args_t *args,
    ngx_http_gateway_redis_script_t *script, ngx_uint_t nkeys,
    ngx_http_gateway_redis_handler_pt handler, void *data)
{
    if (args->failed) {
        return NULL;
    }

    return ngx_http_gateway_redis_eval(args->mirror->zone->redis, script,
                                       args->argv, args->n, nkeys, handler,
                                       data);
}


#define ngx_http_gateway_mirror_arg_literal(args, word)                      \
    ngx_http_gateway_mirror_arg(args, (word)->data, (word)->len)


ngx_http_gateway_redis_command_t *
ngx_http_gateway_mirror_script_publish(ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_redis_handler_pt handler)
{
    ngx_uint_t                        nkeys;
    ngx_http_gateway_mirror_args_t    args;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = op->mirror->zone;

    if (op->sent == 0 && !op->once) {
        ngx_http_gateway_mirror_words(op->id, GW_PUBLISH_ID_LEN);
    }

    ngx_http_gateway_mirror_args(&args, op->mirror, op->pool, &op->name);

    nkeys = ngx_http_gateway_mirror_arg_keys(&args, zone->history);

    ngx_http_gateway_mirror_arg_literal(&args, &ngx_http_gateway_redis_run_id);
    ngx_http_gateway_mirror_arg_literal(&args,
                                        &ngx_http_gateway_redis_deadline);
    ngx_http_gateway_mirror_arg_epoch(&args);
    ngx_http_gateway_mirror_arg_int(&args, op->expected);
    ngx_http_gateway_mirror_arg_int(&args, zone->history);
    ngx_http_gateway_mirror_arg_int(&args, zone->history_ttl);
    ngx_http_gateway_mirror_arg_meta_ttl(&args);
    ngx_http_gateway_mirror_arg_int(&args, op->sent != 0 || op->again);
    ngx_http_gateway_mirror_arg_topic(&args);
    ngx_http_gateway_mirror_arg_who(&args, op->id);
    ngx_http_gateway_mirror_arg_literal(&args, &op->blob);
    ngx_http_gateway_mirror_arg_live(&args);

    return ngx_http_gateway_mirror_eval(&args,
                                        &ngx_http_gateway_mirror_publish_lua,
                                        nkeys, handler, op);
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_mirror_script_delete(ngx_http_gateway_mirror_op_t *op,
    ngx_http_gateway_redis_handler_pt handler)
{
    ngx_http_gateway_mirror_args_t  args;

    ngx_http_gateway_mirror_words(op->id, GW_PUBLISH_ID_LEN);

    ngx_http_gateway_mirror_args(&args, op->mirror, op->pool, &op->name);

    (void) ngx_http_gateway_mirror_arg_keys(&args, 1);

    ngx_http_gateway_mirror_arg_literal(&args, &ngx_http_gateway_redis_run_id);
    ngx_http_gateway_mirror_arg_literal(&args,
                                        &ngx_http_gateway_redis_deadline);
    ngx_http_gateway_mirror_arg_epoch(&args);
    ngx_http_gateway_mirror_arg_meta_ttl(&args);
    ngx_http_gateway_mirror_arg_topic(&args);
    ngx_http_gateway_mirror_arg_who(&args, op->id);

    return ngx_http_gateway_mirror_eval(&args,
                                        &ngx_http_gateway_mirror_delete_lua,
                                        2, handler, op);
}


ngx_http_gateway_redis_command_t *
ngx_http_gateway_mirror_script_fetch(ngx_http_gateway_fetch_t *fetch,
    ngx_http_gateway_redis_handler_pt handler)
{
    ngx_uint_t                      nkeys;
    ngx_http_gateway_mirror_args_t  args;

    ngx_http_gateway_mirror_args(&args, fetch->mirror, fetch->pool,
                                 &fetch->name);

    nkeys = ngx_http_gateway_mirror_arg_keys(&args,
                                             fetch->mirror->zone->history);

    ngx_http_gateway_mirror_arg_literal(&args, &ngx_http_gateway_redis_run_id);
    ngx_http_gateway_mirror_arg_epoch(&args);
    ngx_http_gateway_mirror_arg_int(&args, fetch->create);
    ngx_http_gateway_mirror_arg(&args, fetch->epoch, GW_EPOCH_LEN);
    ngx_http_gateway_mirror_arg_int(&args, fetch->since);
    ngx_http_gateway_mirror_arg_int(&args, NGX_HTTP_GATEWAY_MIRROR_PAGE);
    ngx_http_gateway_mirror_arg_meta_ttl(&args);
    ngx_http_gateway_mirror_arg_live(&args);

    return ngx_http_gateway_mirror_eval(&args,
                                        &ngx_http_gateway_mirror_fetch_lua,
                                        nkeys, handler, fetch);
}


ngx_int_t
ngx_http_gateway_mirror_script_count(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name, ngx_uint_t n)
{
    u_char                           *node, counter[GW_COUNT_LEN];
    ngx_int_t                         rc;
    ngx_pool_t                       *pool;
    ngx_http_gateway_mirror_args_t    args;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    node = ngx_http_gateway_redis_node(mirror->zone->redis);

    ngx_memcpy(counter, node, GW_NODE_LEN);
    ngx_memcpy(counter + GW_NODE_LEN, mirror->digest, sizeof(mirror->digest));

    ngx_http_gateway_mirror_args(&args, mirror, pool, name);

    (void) ngx_http_gateway_mirror_arg_keys(&args, 0);

    ngx_http_gateway_mirror_arg(&args, counter, GW_COUNT_LEN);
    ngx_http_gateway_mirror_arg_int(&args, n);
    ngx_http_gateway_mirror_arg_meta_ttl(&args);
    ngx_http_gateway_mirror_arg_topic(&args);
    ngx_http_gateway_mirror_arg(&args, node, GW_EPOCH_LEN);
    ngx_http_gateway_mirror_arg_who(&args, node);

    rc = ngx_http_gateway_mirror_eval(&args,
                                      &ngx_http_gateway_mirror_count_lua, 1,
                                      NULL, NULL)
         ? NGX_OK : NGX_DECLINED;

    ngx_destroy_pool(pool);

    return rc;
}


static gw_str_t
ngx_http_gateway_mirror_text(redisReply *reply)
{
    gw_str_t  s;

    s.data = (u_char *) "";
    s.len = 0;

    if (reply->type == REDIS_REPLY_STRING) {
        s.data = (u_char *) reply->str;
        s.len = reply->len;
    }

    return s;
}


/* What it did not take is published on this node alone: said once a second. */

static void
ngx_http_gateway_mirror_refused(ngx_http_gateway_mirror_t *mirror,
    const char *why, size_t len)
{
    static time_t  told;

    if (told == ngx_time()) {
        return;
    }

    told = ngx_time();

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_channel_zone \"%V\": Redis answered: %*s",
                  &mirror->zone->name, ngx_min(len, (size_t) 200), why);
}


ngx_int_t
ngx_http_gateway_mirror_reply(ngx_http_gateway_mirror_t *mirror,
    redisReply *reply, ngx_http_gateway_mirror_reply_t *out)
{
    gw_str_t  epoch;

    static const char  late[] = "later than \"timeout\" of gateway_redis";

    ngx_memzero(out, sizeof(*out));

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_gateway_mirror_refused(mirror, reply->str, reply->len);
        return NGX_ERROR;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4
        || reply->element[0]->type != REDIS_REPLY_INTEGER)
    {
        goto bad;
    }

    out->status = reply->element[0]->integer;

    epoch = ngx_http_gateway_mirror_text(reply->element[1]);
    out->others = ngx_http_gateway_mirror_others(mirror,
                             ngx_http_gateway_mirror_text(reply->element[3]));

    if (out->status == NGX_HTTP_GATEWAY_MIRROR_LATE) {
        ngx_http_gateway_mirror_refused(mirror, late, sizeof(late) - 1);
        return NGX_OK;
    }

    if (out->status == NGX_HTTP_GATEWAY_MIRROR_CONFLICT && epoch.len == 0) {
        return NGX_OK;
    }

    if (!gw_word_valid(epoch, GW_EPOCH_LEN)
        || gw_seq_read(ngx_http_gateway_mirror_text(reply->element[2]),
                       &out->seq)
           != GW_OK)
    {
        goto bad;
    }

    out->epoch = (u_char *) epoch.data;

    if (reply->elements > 5) {

        if (reply->element[4]->type != REDIS_REPLY_ARRAY
            || reply->element[5]->type != REDIS_REPLY_INTEGER)
        {
            goto bad;
        }

        out->entries = reply->element[4];
        out->more = (reply->element[5]->integer == 1);
    }

    return NGX_OK;

bad:

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_channel_zone \"%V\": Redis answered what is not "
                  "understood", &mirror->zone->name);

    return NGX_ERROR;
}
