/*
 * gateway_limit_zone with redis=: the leader of a node exchanges counts with
 * those of other nodes, through a stream that all add to and read.
 *
 * Rounds are the multiples of sync= by Redis' clock. At the begin of one the
 * leader adds what was charged in the last, in the middle it reads; one script
 * does either, in one way to Redis and back. Keys are told by their digests
 * under a secret that all nodes have in common: whoever comes first brings it
 * along, the others take it over.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_limit_int.h"
#include "../src/siphash.h"


#define NGX_HTTP_GATEWAY_LIMIT_ENTRIES    16      /* read at once */

/* How long entries are kept in Redis, in ms: a period within these. */
#define NGX_HTTP_GATEWAY_LIMIT_KEEP_MIN   10000
#define NGX_HTTP_GATEWAY_LIMIT_KEEP_MAX   60000

#define NGX_HTTP_GATEWAY_LIMIT_SECRET     16


static void ngx_http_gateway_limit_sync_tick(ngx_http_gateway_redis_t *redis,
    void *data);
static void ngx_http_gateway_limit_sync_down(ngx_http_gateway_redis_t *redis,
    void *data);
static void ngx_http_gateway_limit_sync_alone(
    ngx_http_gateway_limit_sync_t *sync);
static uint32_t ngx_http_gateway_limit_sync_part(
    ngx_http_gateway_limit_sync_t *sync);
static void ngx_http_gateway_limit_sync_timer(ngx_event_t *ev);
static void ngx_http_gateway_limit_sync_exchange(
    ngx_http_gateway_limit_sync_t *sync);
static void ngx_http_gateway_limit_sync_reply(void *data, redisReply *reply);


static ngx_http_gateway_redis_user_t  ngx_http_gateway_limit_sync_user = {
    NULL,
    ngx_http_gateway_limit_sync_down,
    NULL,
    NULL,
    ngx_http_gateway_limit_sync_tick,
    ngx_null_string,
    0
};


/*
 * KEYS: the stream, the secret. ARGV: until when anything may be added; our
 * secret; the last entry that we have read, or "" for what is younger than a
 * period; the period; how long entries are kept; how many are read; batches.
 *
 * Answers the secret that counts, the time, whether the batches were added,
 * and the entries. With another secret nothing was added, nor read.
 */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_limit_sync_script = {
    ngx_string(
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local function id(ms) return string.format('%.0f', ms) end\n"
    "local secret = redis.call('GET', KEYS[2])\n"
    "local intime = now <= tonumber(ARGV[1])\n"
    "if not secret then\n"
    "  secret = ARGV[2]\n"
    "  if intime then\n"
    "    redis.call('SET', KEYS[2], secret, 'PX', 172800000)\n"
    "  end\n"
    "elseif intime and redis.call('PTTL', KEYS[2]) < 86400000 then\n"
    "  redis.call('PEXPIRE', KEYS[2], 172800000)\n"
    "end\n"
    "if secret ~= ARGV[2] then return { secret, now, 0, {} } end\n"
    "if intime and ARGV[7] then\n"
    "  for i = 7, #ARGV do\n"
    "    redis.call('XADD', KEYS[1], 'MINID', '~', id(now - ARGV[5]),\n"
    "               '*', 'b', ARGV[i])\n"
    "  end\n"
    "  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', 20000)\n"
    "  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[5])\n"
    "end\n"
    "local from = ARGV[3]\n"
    "if from == '' then from = id(now - ARGV[4]) end\n"
    "local r = redis.call('XREAD', 'COUNT', ARGV[6], 'STREAMS', KEYS[1],\n"
    "                     from)\n"
    "return { secret, now, intime and 1 or 0, r and r[1][2] or {} }\n"),
    { 0 }
};


char *
ngx_http_gateway_limit_sync_conf(ngx_conf_t *cf,
    ngx_http_gateway_limit_zone_t *zone, ngx_str_t *redis,
    ngx_msec_t interval)
{
    ngx_http_gateway_limit_sync_t  *sync;

    sync = ngx_pcalloc(cf->pool, sizeof(*sync));
    if (sync == NULL) {
        return NGX_CONF_ERROR;
    }

    sync->zone = zone;
    sync->interval = interval;
    sync->redis = ngx_http_gateway_redis_get(cf, redis);

    if (sync->redis == NULL
        || ngx_http_gateway_redis_use(cf, sync->redis,
                                      &ngx_http_gateway_limit_sync_user, sync)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_gateway_redis_script_init(&ngx_http_gateway_limit_sync_script);

    zone->sync = sync;

    return NGX_CONF_OK;
}


/*
 * <prefix>{<bucket>}w:<zone>:<hash>: nodes where key or rate of a zone differ,
 * or whose hashes do (by the order of bytes), have nothing in common.
 */

ngx_int_t
ngx_http_gateway_limit_sync_init(ngx_http_gateway_limit_zone_t *zone,
    ngx_cycle_t *cycle)
{
    u_char                         *p;
    uint64_t                        hash;
    ngx_str_t                       name;
    ngx_uint_t                      bucket;
    gw_share_round_t                round;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_sync_t  *sync;
    ngx_http_gateway_redis_conf_t  *conf;

    static const uint64_t  none[2] = { 0, 0 };

    sync = zone->sync;
    conf = ngx_http_gateway_redis_conf(sync->redis);

    p = ngx_pnalloc(cycle->pool, ngx_max(zone->key_text.len, zone->name.len)
                                 + 2 * NGX_INT64_LEN + 32);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name.data = p;
    name.len = ngx_sprintf(p, "%uD/%uL %V", zone->rate.limit,
                           zone->rate.period, &zone->key_text)
               - p;
    hash = gw_siphash(none, name.data, name.len);

    name.len = ngx_sprintf(p, "%V:%016xL", &zone->name, hash) - p;
    bucket = ngx_http_gateway_redis_bucket(&zone->name);

    if (ngx_http_gateway_redis_key(sync->redis, cycle->pool, bucket, "w:",
                                   &name, &sync->stream)
        != NGX_OK
        || ngx_http_gateway_redis_key(sync->redis, cycle->pool, bucket, "ws:",
                                      &name, &sync->secret)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sync->patience = conf->timeout + 2 * sync->interval;

    sync->timer.handler = ngx_http_gateway_limit_sync_timer;
    sync->timer.data = sync;
    sync->timer.log = cycle->log;
    sync->timer.cancelable = 1;

    /* another Redis: nothing of it was read */

    sh = zone->sh;
    sync->place = gw_siphash(none, sync->stream.data, sync->stream.len)
                  ^ gw_siphash(none, conf->name.data, conf->name.len);

    gw_share_round_init(&round, zone->rate.period, sync->interval);

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (sh->round.memory != round.memory) {
        sh->round = round;
    }

    if (sh->place != sync->place) {
        sh->place = sync->place;
        sh->heard = 0;
        sh->id[0] = 0;
        sh->id[1] = 0;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return NGX_OK;
}


/* Whether this worker is the one to exchange counts, and the zone still counts
 * by its configuration. */

static ngx_uint_t
ngx_http_gateway_limit_sync_current(ngx_http_gateway_limit_sync_t *sync)
{
    ngx_http_gateway_limit_sh_t  *sh;

    sh = sync->zone->sh;

    return ngx_http_gateway_redis_leads(sync->redis)
           && sh->place == sync->place;
}


static void
ngx_http_gateway_limit_sync_schedule(ngx_http_gateway_limit_sync_t *sync)
{
    uint64_t    now;
    ngx_msec_t  half, wait;

    /* to the next half of a round; the clock may be a little behind */

    half = sync->interval / 2;
    now = ngx_http_gateway_redis_time(sync->redis);
    wait = half - now % half;

    if (wait < half / 4) {
        wait += half;
    }

    sync->middle = (now + wait) / half % 2;

    ngx_add_timer(&sync->timer, wait);
}


/* In the leader. */

static void
ngx_http_gateway_limit_sync_tick(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_limit_sync_t *sync = data;

    if (!sync->timer.timer_set && !ngx_exiting
        && ngx_http_gateway_limit_sync_current(sync))
    {
        ngx_http_gateway_limit_sync_schedule(sync);
    }
}


static void
ngx_http_gateway_limit_sync_down(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_limit_sync_t *sync = data;

    sync->fresh = 1;

    if (ngx_http_gateway_limit_sync_current(sync)) {
        ngx_http_gateway_limit_sync_alone(sync);
    }
}


/* Counts are no longer exchanged. */

static void
ngx_http_gateway_limit_sync_alone(ngx_http_gateway_limit_sync_t *sync)
{
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_zone_t  *zone;

    zone = sync->zone;
    sh = zone->sh;

    sh->alone = ngx_http_gateway_limit_sync_part(sync);
    sh->heard = 0;

    if (sh->common) {
        sh->common = 0;
        ngx_log_error(NGX_LOG_WARN, sync->timer.log, 0,
                      "gateway_limit_zone \"%V\" is not shared with other "
                      "nodes for now: of %uD in %V this one admits %uD",
                      &zone->name, zone->rate.limit, &zone->window,
                      sh->alone);
    }
}


/* They are, up to now. */

static void
ngx_http_gateway_limit_sync_common(ngx_http_gateway_limit_sync_t *sync)
{
    ngx_http_gateway_limit_sh_t  *sh;

    sh = sync->zone->sh;

    sh->alone = ngx_http_gateway_limit_sync_part(sync);
    sh->heard = ngx_current_msec;

    if (sync->reading) {
        sh->round.known = 1;
    }

    if (!sh->common) {
        sh->common = 1;
        ngx_log_error(NGX_LOG_NOTICE, sync->timer.log, 0,
                      "gateway_limit_zone \"%V\" is shared with other nodes "
                      "by Redis \"%V\"", &sync->zone->name,
                      &ngx_http_gateway_redis_conf(sync->redis)->name);
    }
}


/* What this node admits when it is on its own. */

static uint32_t
ngx_http_gateway_limit_sync_part(ngx_http_gateway_limit_sync_t *sync)
{
    ngx_uint_t  nodes, n;

    nodes = ngx_http_gateway_redis_nodes(sync->redis);
    n = sync->zone->rate.limit / ngx_max(nodes, 1);

    return (uint32_t) ngx_max(n, 1);
}


static void
ngx_http_gateway_limit_sync_timer(ngx_event_t *ev)
{
    ngx_uint_t                      middle;
    ngx_http_gateway_limit_sync_t  *sync;

    sync = ev->data;

    if (ngx_exiting || !ngx_http_gateway_limit_sync_current(sync)) {
        ngx_http_gateway_limit_sync_leave(sync);
        return;
    }

    middle = sync->middle;
    ngx_http_gateway_limit_sync_schedule(sync);

    if (sync->command || !ngx_http_gateway_redis_up(sync->redis)) {
        return;
    }

    if (middle) {
        sync->reading = 1;
        ngx_http_gateway_limit_sync_exchange(sync);
        return;
    }

    ngx_http_gateway_limit_round(sync->zone);
    sync->todo = sync->zone->sh->unsent;

    if (sync->todo || sync->nbatches) {
        sync->reading = 0;
        ngx_http_gateway_limit_sync_exchange(sync);
    }
}


void
ngx_http_gateway_limit_sync_leave(ngx_http_gateway_limit_sync_t *sync)
{
    u_char                         *p;
    ngx_uint_t                      i;
    gw_limit_batch_t                batch;
    ngx_http_gateway_limit_zone_t  *zone;

    if (sync->command || sync->nbatches == 0) {
        return;
    }

    zone = sync->zone;

    if (sync->doubt) {
        zone->sh->doubt = sync->number;
        zone->sh->ndoubt = sync->nbatches;
    }

    for (i = 0; i < sync->nbatches; i++) {
        p = sync->batches + i * GW_LIMIT_BATCH_SIZE;

        if (gw_limit_batch_open(&batch, p, sync->sizes[i]) == GW_OK) {
            ngx_http_gateway_limit_untell(zone, &batch,
                                          ngx_current_msec - sync->made, 0);
        }
    }

    sync->nbatches = 0;
    sync->doubt = 0;
    sync->todo = 0;
}


/* Makes batches of what is to be told in this round. */

static void
ngx_http_gateway_limit_sync_gather(ngx_http_gateway_limit_sync_t *sync)
{
    u_char      *p, *last;
    ngx_uint_t   i, n;

    if (sync->batches == NULL) {
        sync->batches = ngx_palloc(ngx_cycle->pool,
                                   NGX_HTTP_GATEWAY_LIMIT_BATCHES
                                   * GW_LIMIT_BATCH_SIZE);
        if (sync->batches == NULL) {
            sync->todo = 0;
            return;
        }

        /* another than that of the leader before */
        RAND_bytes((u_char *) &sync->number, sizeof(sync->number));
    }

    for (i = 0; i < sync->nbatches; i++) {
        gw_limit_batch_age(sync->batches + i * GW_LIMIT_BATCH_SIZE,
                           sync->sizes[i], ngx_current_msec - sync->made);
    }

    sync->made = ngx_current_msec;

    while (sync->todo && sync->nbatches < NGX_HTTP_GATEWAY_LIMIT_BATCHES) {

        p = sync->batches + sync->nbatches * GW_LIMIT_BATCH_SIZE;
        last = gw_limit_batch_begin(p,
                                    ngx_http_gateway_redis_node(sync->redis),
                                    ++sync->number);

        n = ngx_http_gateway_limit_tell(sync->zone, last,
                                        ngx_min(sync->todo,
                                                GW_LIMIT_BATCH_MOST),
                                        &last);

        sync->todo = n ? sync->todo - n : 0;

        if (last - p > GW_LIMIT_BATCH_HEAD) {
            sync->sizes[sync->nbatches++] = last - p;

        } else {
            /* those there are end with the last number */
            sync->number--;
        }
    }
}


/*
 * Where it is not known whether the batches were told, it only reads: they
 * are found there, or are sent then.
 */

static void
ngx_http_gateway_limit_sync_exchange(ngx_http_gateway_limit_sync_t *sync)
{
    ngx_str_t                     argv[8 + NGX_HTTP_GATEWAY_LIMIT_BATCHES];
    ngx_uint_t                    i, argc;
    ngx_http_gateway_limit_sh_t  *sh;
    u_char                        last[2 * NGX_INT64_LEN + 1];
    u_char                        period[NGX_INT64_LEN], keep[NGX_INT64_LEN];

    static ngx_str_t  entries =
                          ngx_string(ngx_value(NGX_HTTP_GATEWAY_LIMIT_ENTRIES));

    sh = sync->zone->sh;
    argc = 0;

    argv[argc++] = sync->stream;
    argv[argc++] = sync->secret;
    argv[argc++] = ngx_http_gateway_redis_deadline;

    argv[argc].data = (u_char *) sh->secret;
    argv[argc++].len = NGX_HTTP_GATEWAY_LIMIT_SECRET;

    argv[argc].data = last;
    argv[argc++].len = sh->id[0]
                       ? ngx_sprintf(last, "%uL-%uL", sh->id[0], sh->id[1])
                         - last
                       : 0;

    argv[argc].data = period;
    argv[argc++].len = ngx_sprintf(period, "%uL", sync->zone->rate.period)
                       - period;

    argv[argc].data = keep;
    argv[argc++].len = ngx_sprintf(keep, "%uL",
                           ngx_min(ngx_max(sync->zone->rate.period,
                                           NGX_HTTP_GATEWAY_LIMIT_KEEP_MIN),
                                   NGX_HTTP_GATEWAY_LIMIT_KEEP_MAX))
                       - keep;

    argv[argc++] = entries;

    sync->sent = 0;

    if (!sync->doubt && !sh->ndoubt) {
        ngx_http_gateway_limit_sync_gather(sync);

        for (i = 0; i < sync->nbatches; i++) {
            argv[argc].data = sync->batches + i * GW_LIMIT_BATCH_SIZE;
            argv[argc++].len = sync->sizes[i];
        }

        sync->sent = (sync->nbatches != 0);
    }

    sync->command = ngx_http_gateway_redis_eval(sync->redis,
                                        &ngx_http_gateway_limit_sync_script,
                                        argv, argc, 2,
                                        ngx_http_gateway_limit_sync_reply,
                                        sync);
}


/* Whether it is what the script answers. */

static ngx_uint_t
ngx_http_gateway_limit_sync_valid(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY
           && reply->elements == 4
           && reply->element[0]->type == REDIS_REPLY_STRING
           && reply->element[0]->len == NGX_HTTP_GATEWAY_LIMIT_SECRET
           && reply->element[1]->type == REDIS_REPLY_INTEGER
           && reply->element[1]->integer > 0
           && reply->element[2]->type == REDIS_REPLY_INTEGER
           && reply->element[3]->type == REDIS_REPLY_ARRAY;
}


static void
ngx_http_gateway_limit_sync_failed(ngx_http_gateway_limit_sync_t *sync,
    redisReply *reply)
{
    ngx_http_gateway_limit_sync_alone(sync);

    if (sync->failed) {
        return;
    }

    sync->failed = 1;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, sync->timer.log, 0,
                      "Redis \"%V\" does not share gateway_limit_zone "
                      "\"%V\": %*s",
                      &ngx_http_gateway_redis_conf(sync->redis)->name,
                      &sync->zone->name, reply->len, reply->str);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, sync->timer.log, 0,
                  "Redis \"%V\" does not share gateway_limit_zone \"%V\": "
                  "its answer is malformed",
                  &ngx_http_gateway_redis_conf(sync->redis)->name,
                  &sync->zone->name);
}


/* <ms>-<n>, later than what was read before. */

static ngx_int_t
ngx_http_gateway_limit_sync_id(redisReply *reply, uint64_t id[2])
{
    u_char    *p, *last;
    ngx_int_t  ms, n;

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    last = (u_char *) reply->str + reply->len;
    p = ngx_strlchr((u_char *) reply->str, last, '-');

    if (p == NULL) {
        return NGX_ERROR;
    }

    ms = ngx_atoi((u_char *) reply->str, p - (u_char *) reply->str);
    n = ngx_atoi(p + 1, last - p - 1);

    if (ms <= 0 || n < 0 || (uint64_t) ms < id[0]
        || ((uint64_t) ms == id[0] && (uint64_t) n <= id[1]))
    {
        return NGX_ERROR;
    }

    id[0] = ms;
    id[1] = n;

    return NGX_OK;
}


/* An entry: its id, and an array of a name and a batch. */

static ngx_int_t
ngx_http_gateway_limit_sync_entry(ngx_http_gateway_limit_sync_t *sync,
    redisReply *entry, uint64_t now)
{
    uint64_t                      *id, age;
    redisReply                    *fields, *value;
    gw_limit_batch_t               batch;
    ngx_http_gateway_limit_sh_t    *sh;
    ngx_http_gateway_limit_zone_t  *zone;

    zone = sync->zone;
    sh = zone->sh;
    id = sh->id;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2
        || ngx_http_gateway_limit_sync_id(entry->element[0], id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    fields = entry->element[1];

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 2) {
        return NGX_OK;
    }

    value = fields->element[1];

    if (value->type != REDIS_REPLY_STRING
        || gw_limit_batch_open(&batch, (u_char *) value->str, value->len)
           != GW_OK)
    {
        return NGX_OK;
    }

    age = now > id[0] ? now - id[0] : 0;

    if (ngx_memcmp(batch.node, ngx_http_gateway_redis_node(sync->redis),
                   NGX_HTTP_GATEWAY_NODE_LEN)
        != 0)
    {
        ngx_http_gateway_limit_hear(zone, &batch, age);

    } else if (sh->doubt - batch.number < sh->ndoubt) {
        ngx_http_gateway_limit_untell(zone, &batch, age, 1);

    } else if (sync->doubt
               && sync->number - batch.number < sync->nbatches)
    {
        sync->nbatches = 0;
        sync->doubt = 0;
    }

    return NGX_OK;
}


/* The entries; those that are left, if any, are asked for at once. */

static ngx_int_t
ngx_http_gateway_limit_sync_read(ngx_http_gateway_limit_sync_t *sync,
    redisReply *entries, uint64_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < entries->elements; i++) {
        if (ngx_http_gateway_limit_sync_entry(sync, entries->element[i], now)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (entries->elements >= NGX_HTTP_GATEWAY_LIMIT_ENTRIES) {
        return NGX_AGAIN;
    }

    /* batches in doubt were not found */

    sync->doubt = 0;
    sync->zone->sh->ndoubt = 0;

    return NGX_OK;
}


static void
ngx_http_gateway_limit_sync_answer(ngx_http_gateway_limit_sync_t *sync,
    redisReply *reply)
{
    uint64_t   now, *id;
    ngx_int_t  rc;

    if (reply == NULL || !ngx_http_gateway_limit_sync_valid(reply)) {
        sync->doubt |= sync->sent;

        if (reply) {
            sync->refused |= sync->sent;
            ngx_http_gateway_limit_sync_failed(sync, reply);
        }

        return;
    }

    if (sync->sent && reply->element[2]->integer) {
        sync->nbatches = 0;
    }

    if (!ngx_http_gateway_limit_sync_current(sync)) {
        return;
    }

    if (ngx_memcmp(reply->element[0]->str, sync->zone->sh->secret,
                   NGX_HTTP_GATEWAY_LIMIT_SECRET)
        != 0)
    {
        ngx_http_gateway_limit_agree(sync->zone,
                                     (u_char *) reply->element[0]->str);
        sync->nbatches = 0;
        sync->doubt = 0;
        sync->todo = 0;
        return;
    }

    now = reply->element[1]->integer;

    rc = ngx_http_gateway_limit_sync_read(sync, reply->element[3], now);

    if (rc == NGX_ERROR) {
        ngx_http_gateway_limit_sync_failed(sync, reply);
        return;
    }

    if (rc == NGX_OK) {
        id = sync->zone->sh->id;

        if (sync->fresh && id[0] > now) {
            /* another server, whose clock and so entries are behind */
            id[0] = now;
            id[1] = 0;
        }

        sync->fresh = 0;

        if (sync->nbatches == 0) {
            sync->refused = 0;
        }

        /* to know of others is not enough, where they do not of this node */

        if (!sync->refused) {
            sync->failed = 0;
            ngx_http_gateway_limit_sync_common(sync);
        }
    }

    /* what was too late for Redis is told in the next round */

    if (rc == NGX_AGAIN
        || ((sync->todo || sync->nbatches)
            && !(sync->sent && sync->nbatches)))
    {
        ngx_http_gateway_limit_sync_exchange(sync);
    }
}


static void
ngx_http_gateway_limit_sync_reply(void *data, redisReply *reply)
{
    ngx_http_gateway_limit_sync_t *sync = data;

    sync->command = NULL;

    ngx_http_gateway_limit_sync_answer(sync, reply);

    if (ngx_exiting || !ngx_http_gateway_limit_sync_current(sync)) {
        ngx_http_gateway_limit_sync_leave(sync);
    }
}
