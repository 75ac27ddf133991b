/*
 * Shared channels: what the leader does for its node. It takes announcements,
 * goes over all channels after each new subscription, and tells other nodes
 * how many subscribers there are here.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_mirror_int.h"


#define NGX_HTTP_GATEWAY_MIRROR_STEPS   256  /* channels under one lock */
#define NGX_HTTP_GATEWAY_MIRROR_SLICES  16   /* of these in one go */


typedef enum {
    NGX_HTTP_GATEWAY_NEWS_KNOWN = 0,  /* or nobody's here */
    NGX_HTTP_GATEWAY_NEWS_NEXT,       /* can be appended */
    NGX_HTTP_GATEWAY_NEWS_MISSED
} ngx_http_gateway_news_e;


static void ngx_http_gateway_news_subscribed(ngx_http_gateway_redis_t *redis,
    void *data);
static void ngx_http_gateway_news_message(ngx_http_gateway_redis_t *redis,
    ngx_str_t *topic, ngx_uint_t bucket, ngx_str_t *payload, void *data);
static void ngx_http_gateway_news_tick(ngx_http_gateway_redis_t *redis,
    void *data);


ngx_http_gateway_redis_user_t  ngx_http_gateway_mirror_user = {
    ngx_http_gateway_mirror_up,
    ngx_http_gateway_mirror_down,
    ngx_http_gateway_news_subscribed,
    ngx_http_gateway_news_message,
    ngx_http_gateway_news_tick,
    ngx_string("news"),
    1
};


/* What an announcement is to the channel. The mutex is held. */

static ngx_http_gateway_news_e
ngx_http_gateway_news_kind(ngx_http_gateway_channel_t *ch, gw_news_t *news)
{
    if (!ngx_http_gateway_mirror_same(ch, news->epoch)) {

        return ch->mirror.state == NGX_HTTP_GATEWAY_CHANNEL_FRESH
               && news->kind == GW_NEWS_MESSAGE && news->seq == 1
               ? NGX_HTTP_GATEWAY_NEWS_NEXT : NGX_HTTP_GATEWAY_NEWS_MISSED;
    }

    if (news->seq <= ch->log.seq) {
        return NGX_HTTP_GATEWAY_NEWS_KNOWN;
    }

    return news->seq == ch->log.seq + 1 ? NGX_HTTP_GATEWAY_NEWS_NEXT
                                        : NGX_HTTP_GATEWAY_NEWS_MISSED;
}


/* It is the next one: so nothing was missed before it. */

static void
ngx_http_gateway_news_append(ngx_http_gateway_mirror_t *mirror,
    ngx_http_gateway_channel_t *ch, gw_news_t *news, gw_message_t *m,
    ngx_uint_t quiet, u_char *wake, ngx_uint_t *at_once)
{
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;

    if (!ngx_http_gateway_mirror_same(ch, news->epoch)) {
        ngx_http_gateway_mirror_restart(zone, ch, news->epoch, 0);
    }

    ngx_http_gateway_mirror_append(mirror, ch, m, quiet, wake, at_once);

    ngx_http_gateway_mirror_settled(ch,
                               ngx_http_gateway_redis_generation(zone->redis));
}


/* The channel lacks something: whether it is to be fetched at once. The mutex
 * is held. */

static ngx_uint_t
ngx_http_gateway_news_missed(ngx_http_gateway_mirror_t *mirror,
    ngx_http_gateway_channel_t *ch, gw_news_t *news, ngx_uint_t quiet,
    ngx_uint_t fetching)
{
    if (news->kind == GW_NEWS_MESSAGE && !quiet) {
        ngx_http_gateway_mirror_heard(ch, news->epoch, news->seq);
    }

    ch->mirror.behind = 1;

    if (fetching) {
        /* it is held, and goes in with what is fetched */
        return 0;
    }

    ngx_http_gateway_mirror_touch(mirror->zone, ch);

    return !ngx_queue_empty(&ch->readers);
}


/* What is announced goes in after what is fetched, now or already. */

static void
ngx_http_gateway_news_fetch(ngx_http_gateway_mirror_t *mirror,
    gw_news_t *news, ngx_str_t *name, ngx_uint_t quiet, ngx_uint_t now)
{
    ngx_http_gateway_fetch_t  *fetching;

    if (now) {
        (void) ngx_http_gateway_mirror_fetch(mirror, name, 1, NULL, 0);
    }

    fetching = ngx_http_gateway_mirror_fetching(mirror, name);

    if (fetching && news->kind == GW_NEWS_MESSAGE) {
        ngx_http_gateway_mirror_hold(fetching, news, quiet);
    }
}


static void
ngx_http_gateway_news_take(ngx_http_gateway_mirror_t *mirror,
    gw_news_t *news, ngx_str_t *name)
{
    u_char                            wake[NGX_HTTP_GATEWAY_MAX_WORKERS];
    ngx_uint_t                        own, quiet, fetch, at_once;
    ngx_shmtx_t                      *mutex;
    gw_message_t                      m, *message;
    ngx_http_gateway_news_e           kind;
    ngx_http_gateway_fetch_t         *fetching;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;
    mutex = &zone->shpool->mutex;
    own = ngx_memcmp(news->node, ngx_http_gateway_redis_node(zone->redis),
                     GW_NODE_LEN)
          == 0;
    fetching = ngx_http_gateway_mirror_fetching(mirror, name);
    message = NULL;
    quiet = 0;
    fetch = 0;
    at_once = 0;

    ngx_shmtx_lock(mutex);

    if (own && news->kind == GW_NEWS_MESSAGE) {
        quiet = ngx_http_gateway_mirror_given_up(mirror, news->id);
        ngx_http_gateway_mirror_published(mirror, news);
    }

    ch = ngx_http_gateway_channel_lookup(zone, name);
    kind = ch ? ngx_http_gateway_news_kind(ch, news)
              : NGX_HTTP_GATEWAY_NEWS_KNOWN;

    if (kind == NGX_HTTP_GATEWAY_NEWS_MISSED) {
        fetch = ngx_http_gateway_news_missed(mirror, ch, news, quiet,
                                             fetching != NULL);
    }

    ngx_shmtx_unlock(mutex);

    if (kind == NGX_HTTP_GATEWAY_NEWS_KNOWN) {
        return;
    }

    if (kind == NGX_HTTP_GATEWAY_NEWS_MISSED) {
        ngx_http_gateway_news_fetch(mirror, news, name, quiet, fetch);
        return;
    }

    if (ngx_http_gateway_mirror_decode(mirror, name, news->rest, &m)
        == NGX_OK)
    {
        message = &m;
    }

    ngx_memzero(wake, sizeof(wake));

    ngx_shmtx_lock(mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    kind = ch ? ngx_http_gateway_news_kind(ch, news)
              : NGX_HTTP_GATEWAY_NEWS_KNOWN;

    if (kind == NGX_HTTP_GATEWAY_NEWS_NEXT) {
        ngx_http_gateway_news_append(mirror, ch, news, message, quiet, wake,
                                     &at_once);

    } else if (kind == NGX_HTTP_GATEWAY_NEWS_MISSED) {
        /* another worker has begun another epoch meanwhile */
        fetch = ngx_http_gateway_news_missed(mirror, ch, news, quiet,
                                             fetching != NULL);
    }

    ngx_shmtx_unlock(mutex);

    ngx_http_gateway_mirror_appended(mirror, name, wake, at_once);

    if (kind == NGX_HTTP_GATEWAY_NEWS_MISSED) {
        ngx_http_gateway_news_fetch(mirror, news, name, quiet, fetch);
    }
}


static void
ngx_http_gateway_news_counts(ngx_http_gateway_mirror_t *mirror,
    gw_news_t *news, ngx_str_t *name)
{
    ngx_uint_t                        n;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;
    n = ngx_http_gateway_mirror_others(mirror, news->rest);

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch) {
        ch->mirror.others = n;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


static void
ngx_http_gateway_news_message(ngx_http_gateway_redis_t *redis,
    ngx_str_t *topic, ngx_uint_t bucket, ngx_str_t *payload, void *data)
{
    gw_news_t                   news;
    ngx_str_t                   name;
    ngx_http_gateway_mirror_t  *mirror;

    if (gw_news_read(ngx_http_gateway_span(payload), &news) != GW_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": what came on \"news\" is not an "
                      "announcement",
                      &ngx_http_gateway_redis_conf(redis)->name);
        return;
    }

    name.data = (u_char *) news.name.data;
    name.len = news.name.len;

    for (mirror = data; mirror; mirror = mirror->next) {

        if (!ngx_http_gateway_mirror_shared(mirror->zone, &name)) {
            continue;
        }

        if (news.kind == GW_NEWS_COUNTS) {
            ngx_http_gateway_news_counts(mirror, &news, &name);

        } else {
            ngx_http_gateway_news_take(mirror, &news, &name);
        }
    }
}


/* Begins a walk over all channels: those with readers are fetched where they
 * are not in step, and all others hear of their subscribers. */

static void
ngx_http_gateway_news_begin(ngx_http_gateway_mirror_t *mirror)
{
    ngx_http_gateway_mirror_sh_t     *msh;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;

    ngx_shmtx_lock(&zone->shpool->mutex);

    msh = ngx_http_gateway_mirror_sh(zone);
    msh->walk++;
    msh->again = 0;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    mirror->walked = ngx_time();
    ngx_http_gateway_mirror_walk(mirror);
}


/* Some channels; the names of those to be fetched. The mutex is held. NGX_DONE:
 * that was all. */

static ngx_int_t
ngx_http_gateway_news_slice(ngx_http_gateway_mirror_t *mirror,
    ngx_pool_t *pool, ngx_str_t *names, ngx_uint_t max, ngx_uint_t *n)
{
    ngx_uint_t                        i;
    ngx_queue_t                      *q;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_mirror_sh_t     *msh;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;
    msh = ngx_http_gateway_mirror_sh(zone);
    *n = 0;

    for (i = 0; i < NGX_HTTP_GATEWAY_MIRROR_STEPS && *n < max; i++) {

        if (ngx_queue_empty(&msh->channels)) {
            return NGX_DONE;
        }

        q = ngx_queue_head(&msh->channels);
        ch = ngx_queue_data(q, ngx_http_gateway_channel_t, mirror.in_walk);

        if (ch->mirror.walk == msh->walk) {
            return NGX_DONE;
        }

        ch->mirror.walk = msh->walk;
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&msh->channels, q);

        if (ngx_queue_empty(&ch->readers)) {
            continue;
        }

        ch->mirror.retell = 1;
        ngx_http_gateway_channel_count(zone, ch);

        if (ngx_http_gateway_mirror_in_step(zone, ch)) {
            continue;
        }

        names[*n].len = ch->sn.str.len;
        names[*n].data = ngx_pstrdup(pool, &ch->sn.str);

        if (names[*n].data == NULL) {
            return NGX_ERROR;
        }

        (*n)++;
    }

    return NGX_OK;
}


void
ngx_http_gateway_mirror_walk(ngx_http_gateway_mirror_t *mirror)
{
    ngx_int_t                         rc;
    ngx_str_t                         names[NGX_HTTP_GATEWAY_MIRROR_FETCHES];
    ngx_uint_t                        i, n, slice;
    ngx_pool_t                       *pool;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;

    if (!ngx_http_gateway_redis_leads(zone->redis)
        || !ngx_http_gateway_redis_up(zone->redis)
        || ngx_http_gateway_redis_generation(zone->redis) == 0
        || mirror->walking >= NGX_HTTP_GATEWAY_MIRROR_FETCHES)
    {
        return;
    }

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    for (slice = 0, rc = NGX_OK;
         rc == NGX_OK && slice < NGX_HTTP_GATEWAY_MIRROR_SLICES
         && mirror->walking < NGX_HTTP_GATEWAY_MIRROR_FETCHES;
         slice++)
    {
        ngx_shmtx_lock(&zone->shpool->mutex);

        rc = ngx_http_gateway_news_slice(mirror, pool, names,
                                         NGX_HTTP_GATEWAY_MIRROR_FETCHES
                                         - mirror->walking,
                                         &n);

        ngx_shmtx_unlock(&zone->shpool->mutex);

        for (i = 0; i < n; i++) {

            if (ngx_http_gateway_mirror_shared(zone, &names[i])) {
                (void) ngx_http_gateway_mirror_fetch(mirror, &names[i], 1,
                                                     NULL, 1);
            }
        }
    }

    ngx_destroy_pool(pool);
}


/* A channel whose subscribers changed: 0 where there is none. */

static ngx_uint_t
ngx_http_gateway_news_counted(ngx_http_gateway_mirror_t *mirror, u_char *data,
    ngx_str_t *name, ngx_uint_t *count)
{
    ngx_uint_t                        tell;
    ngx_queue_t                      *q;
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_mirror_sh_t     *msh;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;
    msh = ngx_http_gateway_mirror_sh(zone);

    ngx_shmtx_lock(&zone->shpool->mutex);

    for (tell = 0; !tell && !ngx_queue_empty(&msh->counts); /* void */) {

        q = ngx_queue_head(&msh->counts);
        ch = ngx_queue_data(q, ngx_http_gateway_channel_t, mirror.in_counts);

        ngx_queue_remove(q);
        ch->mirror.counted = 0;

        *count = ngx_http_gateway_channel_subscribers(ch);
        tell = ch->mirror.retell || *count != ch->mirror.told;

        ch->mirror.retell = 0;
        ch->mirror.told = *count;

        name->data = data;
        name->len = ch->sn.str.len;
        ngx_memcpy(data, ch->sn.str.data, name->len);

        tell = tell && ngx_http_gateway_mirror_shared(zone, name);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return tell;
}


/* It could not be told: again the next time. */

static void
ngx_http_gateway_news_recount(ngx_http_gateway_mirror_t *mirror,
    ngx_str_t *name)
{
    ngx_http_gateway_channel_t       *ch;
    ngx_http_gateway_channel_zone_t  *zone;

    zone = mirror->zone;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_lookup(zone, name);

    if (ch) {
        ch->mirror.retell = 1;
        ngx_http_gateway_channel_count(zone, ch);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


static void
ngx_http_gateway_news_tell(ngx_http_gateway_mirror_t *mirror)
{
    u_char      data[GW_CHANNEL_NAME_MAX];
    ngx_str_t   name;
    ngx_uint_t  i, count;

    for (i = 0; i < NGX_HTTP_GATEWAY_MIRROR_STEPS; i++) {

        if (!ngx_http_gateway_news_counted(mirror, data, &name, &count)) {
            return;
        }

        if (ngx_http_gateway_mirror_script_count(mirror, &name, count)
            != NGX_OK)
        {
            ngx_http_gateway_news_recount(mirror, &name);
            return;
        }
    }
}


static void
ngx_http_gateway_news_subscribed(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_mirror_begin(data);
}


void
ngx_http_gateway_mirror_begin(ngx_http_gateway_mirror_t *mirror)
{
    if (!ngx_http_gateway_redis_leads(mirror->zone->redis)) {
        return;
    }

    for ( /* void */ ; mirror; mirror = mirror->next) {
        ngx_http_gateway_news_begin(mirror);
    }
}


static void
ngx_http_gateway_news_tick(ngx_http_gateway_redis_t *redis, void *data)
{
    time_t                      least;
    ngx_http_gateway_mirror_t  *mirror;

    if (!ngx_http_gateway_redis_up(redis)) {
        return;
    }

    for (mirror = data; mirror; mirror = mirror->next) {

        /* what failed while Redis is up is not left to the next message */

        least = ngx_http_gateway_mirror_sh(mirror->zone)->again
                ? NGX_HTTP_GATEWAY_MIRROR_AGAIN
                : NGX_HTTP_GATEWAY_MIRROR_RETELL;

        if (ngx_time() - mirror->walked > least) {
            ngx_http_gateway_news_begin(mirror);

        } else {
            ngx_http_gateway_mirror_walk(mirror);
        }

        ngx_http_gateway_news_tell(mirror);
    }
}
