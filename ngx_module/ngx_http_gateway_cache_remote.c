/*
 * gateway_cache's second level: scripts, keys, and the zone's part in it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/sha.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_text.h"
#include "ngx_http_gateway_worker.h"


/*
 * Looks up, and asks for the right to fetch in the same step.
 *
 *   KEYS  object, locks
 *   ARGV  deadline, run id, token, ms of the right (0: not asked for), when
 *         what the caller has was made; then of each spec it can think of:
 *         spec, variant, language's variant or empty
 *
 *   -> flags, now, run id, object or nil, its variant; 8: flags, now, run
 *      id, the specs
 *
 * flags: 1 the caller fetches, 2 another one does, 4 it is not cacheable, 8
 * there are specs that the caller did not think of, 16 too late
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_look = {
    ngx_string(
"local t = redis.call('TIME')\n"
"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
"if now > tonumber(ARGV[1]) then return {16, now, ARGV[2]} end\n"
"local function field(key, name)\n"
"  local v = redis.pcall('HGET', key, name)\n"
"  return type(v) == 'string' and v or nil\n"
"end\n"
"local o, k = KEYS[1], KEYS[2]\n"
"local specs, try, alias = field(o, 's'), {}, ''\n"
"for spec in string.gmatch(specs or '', '[^\\n]+') do\n"
"  local at\n"
"  for i = 6, #ARGV, 3 do\n"
"    if ARGV[i] == spec then at = i break end\n"
"  end\n"
"  if not at then return {8, now, ARGV[2], specs} end\n"
"  try[#try + 1] = ARGV[at + 1]\n"
"  if ARGV[at + 2] ~= '' then alias = ARGV[at + 2] end\n"
"end\n"
"local first = try[1] or '-'\n"
"if alias ~= '' then try[#try + 1] = alias end\n"
"try[#try + 1] = '-'\n"
"local object, variant\n"
"for _, name in ipairs(try) do\n"
"  object, variant = field(o, name), name\n"
"  if object and string.sub(object, 1, 1) == '@' then\n"
"    object = field(o, string.sub(object, 2))\n"
"  end\n"
"  if object then break end\n"
"end\n"
"local fresh, made = 0, 0\n"
"if object then\n"
"  fresh = tonumber(string.sub(object, 2, 16)) or 0\n"
"  made = tonumber(string.sub(object, 17, 31)) or 0\n"
"end\n"
"local ms, flags = tonumber(ARGV[4]), 0\n"
"if ms > 0 and fresh <= now and (not object or fresh > made) then\n"
"  local l = field(k, first)\n"
"  local who, till = string.match(l or '', '^(%S+) (%d+)$')\n"
"  if who and tonumber(till) > now and who ~= ARGV[3] then\n"
"    flags = who == '!' and 4 or 2\n"
"  else\n"
"    flags = 1\n"
"    if type(redis.pcall('HSET', k, first,\n"
"                        ARGV[3] .. ' ' .. string.format('%.0f', now + ms)))\n"
"       ~= 'number'\n"
"    then\n"
"      redis.call('DEL', k)\n"
"      flags = 0\n"
"    elseif redis.call('PTTL', k) < ms then\n"
"      redis.call('PEXPIRE', k, ms)\n"
"    end\n"
"  end\n"
"end\n"
"if object and made == tonumber(ARGV[5]) then object = nil end\n"
"return {flags, now, ARGV[2], object or false, variant}\n"),
    { 0 }
};


/*
 * Stores an object, unless it was purged since upstream was asked for it, or
 * Redis is another one, and gives the right to fetch back.
 *
 *   KEYS  object, locks
 *   ARGV  deadline, run id now and then (empty: not known), when upstream
 *         was asked, prefix of stamps, prefix of tags, key, token, spec,
 *         variant, language's variant or empty, ms that it is of use,
 *         object, tags...
 *   -> 1 or 0
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_store = {
    ngx_string(
"local t = redis.call('TIME')\n"
"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
"local o, k = KEYS[1], KEYS[2]\n"
"local begun, stamps, ms = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[12])\n"
"local held = redis.pcall('HGETALL', k)\n"
"for i = 1, held.err and 0 or #held, 2 do\n"
"  if string.match(held[i + 1], '^%S+') == ARGV[8] then\n"
"    redis.call('HDEL', k, held[i])\n"
"  end\n"
"end\n"
"if now > tonumber(ARGV[1]) or begun < now - 600000\n"
"   or (ARGV[3] ~= '' and ARGV[2] ~= ARGV[3])\n"
"then return 0 end\n"
"local function purged(what)\n"
"  local at = redis.pcall('GET', stamps .. what)\n"
"  return type(at) == 'string' and (tonumber(at) or 0) >= begun\n"
"end\n"
"if purged('*') or purged('k' .. ARGV[7]) then return 0 end\n"
"for i = 14, #ARGV do\n"
"  if purged('t' .. ARGV[i]) then return 0 end\n"
"end\n"
"local n = redis.pcall('HLEN', o)\n"
"if type(n) ~= 'number' or n > 130 then redis.call('DEL', o) end\n"
"if ARGV[9] ~= '' then\n"
"  local specs, n = ARGV[9], 1\n"
"  for spec in string.gmatch(redis.call('HGET', o, 's') or '', '[^\\n]+') do\n"
"    if spec ~= ARGV[9] and n < 4 then\n"
"      specs, n = specs .. '\\n' .. spec, n + 1\n"
"    end\n"
"  end\n"
"  redis.call('HSET', o, 's', specs)\n"
"end\n"
"redis.call('HSET', o, ARGV[10], ARGV[13])\n"
"if ARGV[11] ~= '' then redis.call('HSET', o, ARGV[11], '@' .. ARGV[10]) end\n"
"if redis.call('PTTL', o) < ms then redis.call('PEXPIRE', o, ms) end\n"
"local tags = '\\n' .. (redis.call('HGET', o, 't') or '') .. '\\n'\n"
"local had = #tags\n"
"for i = 14, #ARGV do\n"
"  local set = ARGV[6] .. ARGV[i]\n"
"  local score = redis.pcall('ZSCORE', set, ARGV[7])\n"
"  if type(score) == 'table' then redis.call('DEL', set) score = false end\n"
"  if (tonumber(score or 0) or 0) < now + ms then\n"
"    redis.call('ZADD', set, now + ms, ARGV[7])\n"
"  end\n"
"  redis.call('ZREMRANGEBYSCORE', set, '-inf', now)\n"
"  if redis.call('PTTL', set) < ms then redis.call('PEXPIRE', set, ms) end\n"
"  if not string.find(tags, '\\n' .. ARGV[i] .. '\\n', 1, true) then\n"
"    tags = tags .. ARGV[i] .. '\\n'\n"
"  end\n"
"end\n"
"if #tags > had then\n"
"  redis.call('HSET', o, 't', string.match(tags, '^\\n*(.-)\\n*$'))\n"
"end\n"
"return 1\n"),
    { 0 }
};


/*
 * Gives the right to fetch back.
 *
 *   KEYS  locks
 *   ARGV  token, ms that it counts as not cacheable
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_release = {
    ngx_string(
"local t = redis.call('TIME')\n"
"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
"local ms, held = tonumber(ARGV[2]), redis.pcall('HGETALL', KEYS[1])\n"
"for i = 1, held.err and 0 or #held, 2 do\n"
"  if string.match(held[i + 1], '^%S+') == ARGV[1] then\n"
"    if ms > 0 then\n"
"      redis.call('HSET', KEYS[1], held[i],\n"
"                 '! ' .. string.format('%.0f', now + ms))\n"
"      if redis.call('PTTL', KEYS[1]) < ms then\n"
"        redis.call('PEXPIRE', KEYS[1], ms)\n"
"      end\n"
"    else\n"
"      redis.call('HDEL', KEYS[1], held[i])\n"
"    end\n"
"  end\n"
"end\n"
"return 1\n"),
    { 0 }
};


/*
 * Purges a key.
 *
 *   KEYS  object, locks, stamp
 *   -> number of variants, tags
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_key = {
    ngx_string(
"local t = redis.call('TIME')\n"
"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
"local n = redis.pcall('HLEN', KEYS[1])\n"
"local tags = redis.pcall('HGET', KEYS[1], 't')\n"
"local specs = redis.pcall('HEXISTS', KEYS[1], 's')\n"
"redis.call('DEL', KEYS[1], KEYS[2])\n"
"redis.pcall('SET', KEYS[3], string.format('%.0f', now), 'PX', 600000)\n"
"tags = type(tags) == 'string' and tags or ''\n"
"n = type(n) == 'number' and n or 1\n"
"n = n - (tags ~= '' and 1 or 0) - (specs == 1 and 1 or 0)\n"
"return {n, tags}\n"),
    { 0 }
};


/*
 * Purges tags in one bucket, and what is being fetched with them. With * for
 * a tag all that is being fetched in the bucket is not stored.
 *
 *   KEYS  prefix of stamps
 *   ARGV  prefix of tags, of objects, of locks; 1: first time; tags...
 *   -> number of variants, 1: there is more, tags
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_bucket = {
    ngx_string(
"local t = redis.call('TIME')\n"
"local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))\n"
"local n, more, found, seen, done = 0, 0, {}, {}, 0\n"
"for i = 5, #ARGV do\n"
"  local tag = ARGV[i]\n"
"  if ARGV[4] == '1' then\n"
"    redis.pcall('SET', KEYS[1] .. (tag == '*' and tag or 't' .. tag), now,\n"
"                'PX', 600000)\n"
"  end\n"
"  local keys = redis.pcall('ZPOPMIN', ARGV[1] .. tag, 256 - done)\n"
"  if keys.err then redis.call('DEL', ARGV[1] .. tag) keys = {} end\n"
"  for j = 1, #keys, 2 do\n"
"    local o = ARGV[2] .. keys[j]\n"
"    done = done + 1\n"
"    local len = redis.pcall('HLEN', o)\n"
"    if type(len) == 'number' and len > 0 then\n"
"      local tags = redis.call('HGET', o, 't') or ''\n"
"      n = n + len - (tags ~= '' and 1 or 0) - redis.call('HEXISTS', o, 's')\n"
"      for other in string.gmatch(tags, '[^\\n]+') do\n"
"        if not seen[other] then\n"
"          seen[other] = 1\n"
"          found[#found + 1] = other\n"
"        end\n"
"      end\n"
"      redis.call('DEL', o, ARGV[3] .. keys[j])\n"
"    end\n"
"  end\n"
"  if done >= 256 then more = 1 break end\n"
"end\n"
"return {n, more, table.concat(found, '\\n')}\n"),
    { 0 }
};


/*
 * Tells all nodes of a purge, and those that do not hear it now. Where there
 * is no memory for that, those who heard it know that they miss something: the
 * entry 0-0 is never there.
 *
 *   KEYS  stream, its epoch
 *   ARGV  channel, what to tell, what to keep, a random word
 *   -> id of the entry
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_tell = {
    ngx_string(
"redis.pcall('SETNX', KEYS[2], ARGV[4])\n"
"local id = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'p',\n"
"                       ARGV[3])\n"
"if type(id) ~= 'string' then id = '0-0' end\n"
"redis.call('PUBLISH', ARGV[1], id .. ' ' .. ARGV[2])\n"
"return id\n"),
    { 0 }
};


/*
 * What was missed since an entry.
 *
 *   KEYS  stream, its epoch
 *   ARGV  last known entry, epoch as known, a random word
 *   -> epoch, 1: here it is, 0: there is no knowing, newest entry, entries
 */

ngx_http_gateway_redis_script_t  ngx_http_gateway_cache_script_missed = {
    ngx_string(
"redis.call('SETNX', KEYS[2], ARGV[3])\n"
"local epoch = redis.call('GET', KEYS[2])\n"
"local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
"if not last then\n"
"  last = {redis.call('XADD', KEYS[1], '*', 'p', '')}\n"
"end\n"
"if epoch ~= ARGV[2]\n"
"   or #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0\n"
"then return {epoch, 0, last[1], {}} end\n"
"local out = {}\n"
"for i, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT',\n"
"                              101))\n"
"do\n"
"  last = e\n"
"  if i > 1 then out[#out + 1] = e[2][2] end\n"
"end\n"
"return {epoch, 1, last[1], out}\n"),
    { 0 }
};


ngx_int_t
ngx_http_gateway_cache_remote_use(ngx_conf_t *cf,
    ngx_http_gateway_cache_zone_t *zone, ngx_str_t *name)
{
    ngx_uint_t  i;

    static ngx_http_gateway_redis_script_t  *scripts[] = {
        &ngx_http_gateway_cache_script_look,
        &ngx_http_gateway_cache_script_store,
        &ngx_http_gateway_cache_script_release,
        &ngx_http_gateway_cache_script_key,
        &ngx_http_gateway_cache_script_bucket,
        &ngx_http_gateway_cache_script_tell,
        &ngx_http_gateway_cache_script_missed,
        NULL
    };

    for (i = 0; scripts[i]; i++) {
        ngx_http_gateway_redis_script_init(scripts[i]);
    }

    zone->redis = ngx_http_gateway_redis_get(cf, name);
    if (zone->redis == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_redis_use(cf, zone->redis,
                                      &ngx_http_gateway_cache_remote_user,
                                      zone);
}


ngx_int_t
ngx_http_gateway_cache_remote_key(ngx_http_gateway_cache_zone_t *zone,
    ngx_pool_t *pool, ngx_uint_t bucket, char *what, gw_str_t text,
    ngx_str_t *key)
{
    u_char     *p;
    ngx_str_t   name;

    p = ngx_pnalloc(pool, zone->name.len + 1 + text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name.data = p;
    p = ngx_cpymem(p, zone->name.data, zone->name.len);

    if (text.data) {
        *p++ = ':';
        p = ngx_cpymem(p, text.data, text.len);
    }

    name.len = p - name.data;

    return ngx_http_gateway_redis_key(zone->redis, pool, bucket, what, &name,
                                      key);
}


ngx_http_gateway_cache_remote_t *
ngx_http_gateway_cache_remote_ctx(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_str_t                         text;
    ngx_uint_t                        bucket;
    ngx_pool_t                       *pool;
    ngx_http_gateway_cache_remote_t  *rm;

    static ngx_uint_t  count;

    if (ctx->remote) {
        return ctx->remote;
    }

    pool = ctx->request->pool;

    rm = ngx_pcalloc(pool, sizeof(*rm));
    if (rm == NULL) {
        return NULL;
    }

    rm->ctx = ctx;
    rm->have = -1;

    text.data = (u_char *) ctx->id.text.data;
    text.len = ctx->id.text.len;

    bucket = ngx_http_gateway_redis_bucket(&text);

    if (ngx_http_gateway_cache_remote_key(ctx->zone, pool, bucket, "o:",
                                          ctx->id.text, &rm->object)
        != NGX_OK
        || ngx_http_gateway_cache_remote_key(ctx->zone, pool, bucket, "k:",
                                             ctx->id.text, &rm->locks)
           != NGX_OK)
    {
        return NULL;
    }

    rm->token_len = ngx_snprintf(rm->token, sizeof(rm->token), "%*s.%P.%ui",
                                 (size_t) NGX_HTTP_GATEWAY_NODE_LEN,
                                 ngx_http_gateway_redis_node(ctx->zone->redis),
                                 ngx_pid, count++)
                    - rm->token;

    ctx->remote = rm;

    return rm;
}


void
ngx_http_gateway_cache_remote_field(u_char *field, u_char kind,
    const void *text, size_t len)
{
    field[0] = kind;
    (void) SHA256(text, len, field + 1);
}


ngx_int_t
ngx_http_gateway_cache_remote_candidate(ngx_http_gateway_cache_ctx_t *ctx,
    gw_str_t spec, ngx_http_gateway_cache_candidate_t *c)
{
    size_t       len;
    u_char       text[NGX_HTTP_GATEWAY_CACHE_VARY];
    ngx_list_t  *list;
    gw_fields_t  fields;

    if (ngx_http_gateway_cache_variant_text(ctx, spec, text, &len) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    c->spec = spec;
    c->aliased = 0;
    ngx_http_gateway_cache_remote_field(c->field, 'v', text, len);

    if (!gw_field_is(spec, gw_str("accept-language"))) {
        return NGX_OK;
    }

    list = ctx->stripped ? &ctx->saved->headers_in.headers
                         : &ctx->request->headers_in.headers;

    if (ngx_http_gateway_cache_request_fields(ctx->request, list, &fields)
        == NGX_OK
        && ngx_http_gateway_cache_preferred(fields, text, &len) == NGX_OK)
    {
        c->aliased = 1;
        ngx_http_gateway_cache_remote_field(c->alias, 'a', text, len);
    }

    return NGX_OK;
}
