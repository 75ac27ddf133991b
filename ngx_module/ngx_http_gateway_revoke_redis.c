/*
 * Revoked tokens of zones with redis=: every node knows them all.
 *
 * Redis keeps them in the sorted set <prefix>{0}revoked: digest:before, by
 * until. What a worker takes it hands to Redis at once, by a script that
 * announces on the topic `revoke` what was news. The leader hears these; when
 * it has subscribed (again) it reads the whole set, and hands over what that
 * did not have: what was taken while Redis was away, or all, where Redis has
 * lost it. Until then it stays pending in the zone.
 *
 * Merging takes any order and any repetition, so nothing here needs more care
 * than to happen at all.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_redis.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_text.h"


#define NGX_HTTP_GATEWAY_REVOKE_BATCH   100    /* handed over at once */
#define NGX_HTTP_GATEWAY_REVOKE_STEPS   10000  /* looked at for these */
#define NGX_HTTP_GATEWAY_REVOKE_BACK    10     /* ticks, after a failure */
#define NGX_HTTP_GATEWAY_REVOKE_SKEW    3600000  /* ms between our clocks */


/* Of one Redis; of this worker, which uses all of it only while it leads. */

typedef struct {
    ngx_http_gateway_redis_t          *redis;
    ngx_str_t                          key;
    ngx_str_t                          topic;
    u_char                             cursor[NGX_INT64_LEN];
    size_t                             cursor_len;
    ngx_http_gateway_redis_command_t  *loading;
    ngx_uint_t                         wait;      /* ticks */
    unsigned                           load:1;    /* is to be done, or goes
                                                   * on */
    unsigned                           handing:1; /* by the leader */
    unsigned                           refused:1; /* was logged */
} ngx_http_gateway_revoke_share_t;


typedef struct {
    ngx_http_gateway_revoke_share_t   *share;
    ngx_uint_t                         leader;    /* it is its turn's */
    size_t                             n;
    gw_revocation_t                    r[1];
} ngx_http_gateway_revoke_batch_t;


static ngx_int_t ngx_http_gateway_revoke_send(
    ngx_http_gateway_revoke_share_t *share, gw_revocation_t *r, size_t n,
    ngx_uint_t leader);
static void ngx_http_gateway_revoke_subscribed(
    ngx_http_gateway_redis_t *redis, void *data);
static void ngx_http_gateway_revoke_message(ngx_http_gateway_redis_t *redis,
    ngx_str_t *topic, ngx_uint_t bucket, ngx_str_t *payload, void *data);
static void ngx_http_gateway_revoke_tick(ngx_http_gateway_redis_t *redis,
    void *data);


static ngx_http_gateway_redis_user_t  ngx_http_gateway_revoke_user = {
    NULL,
    NULL,
    ngx_http_gateway_revoke_subscribed,
    ngx_http_gateway_revoke_message,
    ngx_http_gateway_revoke_tick,
    ngx_string("revoke"),
    0
};


/*
 * KEYS: the set. ARGV: the topic, a time before which entries are over, and
 * words. A key without entries to come expires with its last one.
 */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_revoke_script = {
    ngx_string(
        "redis.call('ZREMRANGEBYSCORE',KEYS[1],'-inf',ARGV[2])\n"
        "local news={}\n"
        "for i=3,#ARGV do\n"
        "local m,u=string.match(ARGV[i],'^(.*):(%d+)$')\n"
        "local s=redis.call('ZSCORE',KEYS[1],m)\n"
        "if not s or tonumber(s)<tonumber(u) then\n"
        "redis.call('ZADD',KEYS[1],u,m)\n"
        "news[#news+1]=ARGV[i]\n"
        "end\n"
        "end\n"
        "if #news>0 then\n"
        "redis.call('PUBLISH',ARGV[1],table.concat(news,' '))\n"
        "local t=redis.call('ZREVRANGE',KEYS[1],0,0,'WITHSCORES')\n"
        "redis.call('PEXPIREAT',KEYS[1],string.format('%.0f',"
        "math.min(tonumber(t[2]),9007199254740992)+3600000))\n"
        "end\n"
        "return #news\n"),
    ""
};


ngx_int_t
ngx_http_gateway_revoke_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t **zones, ngx_uint_t n)
{
    ngx_uint_t                        i, j;
    ngx_http_gateway_revoke_share_t  *share;

    ngx_http_gateway_redis_script_init(&ngx_http_gateway_revoke_script);

    for (i = 0; i < n; i++) {

        if (zones[i]->redis == NULL) {
            continue;
        }

        for (j = 0; zones[j]->redis != zones[i]->redis; j++) { /* void */ }

        if (j < i) {
            zones[i]->revoke = zones[j]->revoke;
            continue;
        }

        share = ngx_pcalloc(cf->pool, sizeof(*share));
        if (share == NULL) {
            return NGX_ERROR;
        }

        share->redis = zones[i]->redis;
        zones[i]->revoke = share;

        if (ngx_http_gateway_redis_use(cf, share->redis,
                                       &ngx_http_gateway_revoke_user, share)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* The names in Redis, made when they are first needed: the prefix may come
 * after the zone. */

static ngx_int_t
ngx_http_gateway_revoke_names(ngx_http_gateway_revoke_share_t *share)
{
    u_char     *p;
    ngx_str_t   empty, *prefix;

    if (share->topic.data) {
        return NGX_OK;
    }

    ngx_str_set(&empty, "");
    prefix = &ngx_http_gateway_redis_conf(share->redis)->prefix;

    if (ngx_http_gateway_redis_key(share->redis, ngx_cycle->pool, 0,
                                   "revoked", &empty, &share->key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(ngx_cycle->pool, prefix->len + sizeof("revoke") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    share->topic.len = prefix->len + sizeof("revoke") - 1;
    share->topic.data = p;
    ngx_memcpy(ngx_cpymem(p, prefix->data, prefix->len), "revoke",
               sizeof("revoke") - 1);

    return NGX_OK;
}


/* The i-th zone that has this Redis; NULL: there are no more. */

static ngx_http_gateway_channel_zone_t *
ngx_http_gateway_revoke_zone(ngx_http_gateway_revoke_share_t *share,
    ngx_uint_t i)
{
    ngx_uint_t                         n;
    ngx_array_t                       *zones;
    ngx_http_gateway_channel_zone_t  **zone;

    zones = ngx_http_gateway_channel_zones();
    zone = zones->elts;

    for (n = 0; n < zones->nelts; n++) {
        if (zone[n]->revoke == share && i-- == 0) {
            return zone[n];
        }
    }

    return NULL;
}


void
ngx_http_gateway_revoke_hand(ngx_http_gateway_channel_zone_t *zone,
    gw_revocation_t *r)
{
    ngx_uint_t                         i;
    ngx_http_gateway_channel_zone_t   *other;
    ngx_http_gateway_revoke_share_t   *share;

    share = zone->revoke;

    if (share == NULL) {
        return;
    }

    /* also without Redis zones of one Redis are as one */

    for (i = 0; (other = ngx_http_gateway_revoke_zone(share, i)); i++) {
        if (other != zone) {
            (void) ngx_http_gateway_revoke_put(other, r, 0);
        }
    }

    /* where that fails the leader will see to it */

    (void) ngx_http_gateway_revoke_send(share, r, 1, 0);
}


static void
ngx_http_gateway_revoke_handed(ngx_http_gateway_revoke_batch_t *batch)
{
    size_t                            n;
    ngx_uint_t                        i;
    ngx_http_gateway_channel_zone_t  *zone;

    for (i = 0; (zone = ngx_http_gateway_revoke_zone(batch->share, i)); i++) {

        ngx_shmtx_lock(&zone->shpool->mutex);

        for (n = 0; n < batch->n; n++) {
            gw_revocations_handed(ngx_http_gateway_revocations(zone),
                                  &batch->r[n]);
        }

        ngx_shmtx_unlock(&zone->shpool->mutex);
    }
}


static void
ngx_http_gateway_revoke_sent(void *data, redisReply *reply)
{
    ngx_http_gateway_revoke_batch_t *batch = data;

    ngx_http_gateway_revoke_share_t  *share;

    share = batch->share;

    if (batch->leader) {
        share->handing = 0;
    }

    if (reply && reply->type != REDIS_REPLY_ERROR) {
        ngx_http_gateway_revoke_handed(batch);
        share->refused = 0;

    } else {
        share->wait = NGX_HTTP_GATEWAY_REVOKE_BACK;

        if (reply && !share->refused) {
            share->refused = 1;
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "gateway_redis \"%V\" does not take revoked tokens: "
                          "%*s",
                          &ngx_http_gateway_redis_conf(share->redis)->name,
                          (size_t) reply->len, reply->str);
        }
    }

    ngx_free(batch);
}


static ngx_int_t
ngx_http_gateway_revoke_send(ngx_http_gateway_revoke_share_t *share,
    gw_revocation_t *r, size_t n, ngx_uint_t leader)
{
    int64_t                           now;
    size_t                            i;
    u_char                            time[NGX_INT64_LEN];
    u_char                            words[NGX_HTTP_GATEWAY_REVOKE_BATCH]
                                           [GW_REVOCATION_WORD_MAX];
    ngx_str_t                         argv[NGX_HTTP_GATEWAY_REVOKE_BATCH + 3];
    ngx_http_gateway_revoke_batch_t  *batch;

    if (ngx_http_gateway_revoke_names(share) != NGX_OK) {
        return NGX_ERROR;
    }

    batch = ngx_alloc(offsetof(ngx_http_gateway_revoke_batch_t, r)
                      + n * sizeof(*r), ngx_cycle->log);
    if (batch == NULL) {
        return NGX_ERROR;
    }

    batch->share = share;
    batch->leader = leader;
    batch->n = n;
    ngx_memcpy(batch->r, r, n * sizeof(*r));

    now = ngx_http_gateway_time_ms() - NGX_HTTP_GATEWAY_REVOKE_SKEW;

    argv[0] = share->key;
    argv[1] = share->topic;
    argv[2].data = time;
    argv[2].len = ngx_sprintf(time, "%L", now) - time;

    for (i = 0; i < n; i++) {
        argv[i + 3].data = words[i];
        argv[i + 3].len = gw_revocation_encode(words[i], &r[i]) - words[i];
    }

    if (ngx_http_gateway_redis_eval(share->redis,
                                    &ngx_http_gateway_revoke_script, argv,
                                    n + 3, 1, ngx_http_gateway_revoke_sent,
                                    batch)
        == NULL)
    {
        ngx_free(batch);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* What another node, or this one, has handed to Redis. */

static void
ngx_http_gateway_revoke_take(ngx_http_gateway_revoke_share_t *share,
    gw_str_t words)
{
    int                               rc;
    ngx_uint_t                        i;
    gw_revocation_t                   r;
    ngx_http_gateway_channel_zone_t  *zone;

    for ( ;; ) {
        rc = gw_revocation_decode(&words, &r);

        if (rc == GW_AGAIN) {
            return;
        }

        if (rc != GW_OK) {
            continue;
        }

        for (i = 0; (zone = ngx_http_gateway_revoke_zone(share, i)); i++) {
            (void) ngx_http_gateway_revoke_put(zone, &r, 0);

            ngx_shmtx_lock(&zone->shpool->mutex);
            gw_revocations_handed(ngx_http_gateway_revocations(zone), &r);
            ngx_shmtx_unlock(&zone->shpool->mutex);
        }
    }
}


static void
ngx_http_gateway_revoke_message(ngx_http_gateway_redis_t *redis,
    ngx_str_t *topic, ngx_uint_t bucket, ngx_str_t *payload, void *data)
{
    ngx_http_gateway_revoke_take(data, ngx_http_gateway_span(payload));
}


/* Everything counts as not handed over, until it has been seen in Redis. */

static void
ngx_http_gateway_revoke_subscribed(ngx_http_gateway_redis_t *redis,
    void *data)
{
    ngx_http_gateway_revoke_share_t *share = data;

    ngx_uint_t                        i;
    ngx_http_gateway_channel_zone_t  *zone;

    for (i = 0; (zone = ngx_http_gateway_revoke_zone(share, i)); i++) {

        ngx_shmtx_lock(&zone->shpool->mutex);
        gw_revocations_repeat(ngx_http_gateway_revocations(zone));
        ngx_shmtx_unlock(&zone->shpool->mutex);
    }

    if (share->loading) {
        ngx_http_gateway_redis_cancel(share->loading);
        share->loading = NULL;
    }

    share->load = 1;
    share->cursor_len = 0;
    share->wait = 0;

    ngx_http_gateway_revoke_tick(redis, share);
}


/* digest:before, and its score. */

static void
ngx_http_gateway_revoke_loaded_one(ngx_http_gateway_revoke_share_t *share,
    redisReply *member, redisReply *score)
{
    u_char    word[GW_REVOCATION_WORD_MAX], *p;
    gw_str_t  s;

    if (member->type != REDIS_REPLY_STRING
        || score->type != REDIS_REPLY_STRING
        || (size_t) member->len + (size_t) score->len + 1 > sizeof(word))
    {
        return;
    }

    p = ngx_cpymem(word, member->str, member->len);
    *p++ = ':';
    p = ngx_cpymem(p, score->str, score->len);

    s.data = word;
    s.len = p - word;

    ngx_http_gateway_revoke_take(share, s);
}


static void
ngx_http_gateway_revoke_loaded(void *data, redisReply *reply)
{
    ngx_http_gateway_revoke_share_t *share = data;

    size_t       i;
    redisReply  *cursor, *list;

    share->loading = NULL;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || (size_t) reply->element[0]->len > sizeof(share->cursor)
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        /* from the beginning, a little later */
        share->cursor_len = 0;
        share->wait = NGX_HTTP_GATEWAY_REVOKE_BACK;
        return;
    }

    cursor = reply->element[0];
    list = reply->element[1];

    for (i = 0; i + 1 < list->elements; i += 2) {
        ngx_http_gateway_revoke_loaded_one(share, list->element[i],
                                           list->element[i + 1]);
    }

    share->cursor_len = cursor->len;
    ngx_memcpy(share->cursor, cursor->str, cursor->len);

    if (cursor->len == 1 && cursor->str[0] == '0') {
        share->load = 0;
    }

    ngx_http_gateway_revoke_tick(share->redis, share);
}


static void
ngx_http_gateway_revoke_load(ngx_http_gateway_revoke_share_t *share)
{
    ngx_str_t  argv[5];

    if (share->loading || ngx_http_gateway_revoke_names(share) != NGX_OK) {
        return;
    }

    ngx_str_set(&argv[0], "ZSCAN");
    argv[1] = share->key;
    argv[2].data = share->cursor;
    argv[2].len = share->cursor_len;
    ngx_str_set(&argv[3], "COUNT");
    ngx_str_set(&argv[4], "500");

    if (share->cursor_len == 0) {
        ngx_str_set(&argv[2], "0");
    }

    share->loading = ngx_http_gateway_redis_command(share->redis, argv, 5, 1,
                                              ngx_http_gateway_revoke_loaded,
                                                    share);
}


/* In the leader: what nobody else has brought to Redis. */

static void
ngx_http_gateway_revoke_tick(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_revoke_share_t *share = data;

    size_t                            n;
    ngx_uint_t                        i;
    gw_revocation_t                   r[NGX_HTTP_GATEWAY_REVOKE_BATCH];
    gw_revocations_t                 *t;
    ngx_http_gateway_channel_zone_t  *zone;

    if (share->wait) {
        share->wait--;
        return;
    }

    if (share->load) {
        ngx_http_gateway_revoke_load(share);
        return;
    }

    if (share->handing) {
        return;
    }

    for (i = 0; (zone = ngx_http_gateway_revoke_zone(share, i)); i++) {
        t = ngx_http_gateway_revocations(zone);

        if (t->pending == 0) {
            continue;
        }

        ngx_shmtx_lock(&zone->shpool->mutex);
        n = gw_revocations_pending(t, r, NGX_HTTP_GATEWAY_REVOKE_BATCH,
                                   NGX_HTTP_GATEWAY_REVOKE_STEPS);
        ngx_shmtx_unlock(&zone->shpool->mutex);

        if (n && ngx_http_gateway_revoke_send(share, r, n, 1) == NGX_OK) {
            share->handing = 1;
            return;
        }
    }
}
