/*
 * What the workers of a node share of one Redis: who leads, whether all is
 * subscribed to, and which nodes were heard of.
 */

#include "ngx_http_gateway_redis_int.h"
#include "ngx_http_gateway_worker.h"

#include <openssl/rand.h>


#define NGX_HTTP_GATEWAY_REDIS_ZONE     (16 * 4096)

/* ms */
#define NGX_HTTP_GATEWAY_REDIS_BEAT     1000
#define NGX_HTTP_GATEWAY_REDIS_ALIVE    5000
#define NGX_HTTP_GATEWAY_REDIS_MINUTE   60000
#define NGX_HTTP_GATEWAY_REDIS_LEASE    3000    /* of the lead */


/*
 *     id            this node's
 *     leader        its slot + 1; 0: none
 *     led           when it last said so
 *     place         of its servers, by its configuration
 *     generation    0 while not all is subscribed to
 *     generations   the last one given
 *     silent        when that ended
 *     run_id        of the server that is subscribed to
 *     away[0]       by slot: a worker whose commands are not taken
 *     ...
 *     nodes[0]      in no order, others' only
 *     ...
 *
 * Times are ngx_current_msec, which is the same for all processes.
 */

typedef struct {
    u_char                      id[NGX_HTTP_GATEWAY_NODE_LEN];
    ngx_msec_t                  heard;
} ngx_http_gateway_redis_node_t;


struct ngx_http_gateway_redis_shctx_s {
    u_char                          id[NGX_HTTP_GATEWAY_NODE_LEN];
    ngx_uint_t                      leader;
    ngx_msec_t                      led;
    uint32_t                        place;
    uint64_t                        generation;
    uint64_t                        generations;
    ngx_msec_t                      silent;
    u_char                          run_id[NGX_HTTP_GATEWAY_REDIS_RUN_ID];
    u_char                          away[NGX_HTTP_GATEWAY_MAX_WORKERS];
    ngx_uint_t                      nnodes;
    ngx_http_gateway_redis_node_t   nodes[NGX_HTTP_GATEWAY_REDIS_NODES];
};


static ngx_str_t  ngx_http_gateway_redis_nodes_topic = ngx_string("nodes");


static ngx_int_t
ngx_http_gateway_redis_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                       i;
    ngx_slab_pool_t                 *shpool;
    ngx_http_gateway_redis_t        *redis, *old;
    ngx_http_gateway_redis_shctx_t  *sh;

    static u_char  digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz_-";

    redis = zone->data;
    old = data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    redis->shpool = shpool;

    if (old) {
        redis->sh = old->sh;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        redis->sh = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes(sh->id, sizeof(sh->id)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(sh->id); i++) {
        sh->id[i] = digits[sh->id[i] % 64];
    }

    shpool->data = sh;
    redis->sh = sh;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_redis_share_zone(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis)
{
    ngx_str_t  name;

    name.len = sizeof("gateway_redis:") - 1 + redis->conf.name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "gateway_redis:%V", &redis->conf.name);

    redis->zone = ngx_shared_memory_add(cf, &name,
                                        NGX_HTTP_GATEWAY_REDIS_ZONE,
                                        &ngx_http_gateway_redis_module);
    if (redis->zone == NULL) {
        return NGX_ERROR;
    }

    redis->zone->init = ngx_http_gateway_redis_init_zone;
    redis->zone->data = redis;

    return NGX_OK;
}


void
ngx_http_gateway_redis_share_away(ngx_http_gateway_redis_t *redis,
    ngx_uint_t away)
{
    if (ngx_http_gateway_slot != NGX_HTTP_GATEWAY_MAX_WORKERS) {
        redis->sh->away[ngx_http_gateway_slot] = (u_char) away;
    }
}


/* Of the whole node, whichever worker is asked. */

ngx_uint_t
ngx_http_gateway_redis_share_up(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
        if (redis->sh->away[i]) {
            return 0;
        }
    }

    return redis->up && redis->sh->generation != 0;
}


/* The generation has ended. To be called with the mutex. */

static void
ngx_http_gateway_redis_share_silent(ngx_http_gateway_redis_shctx_t *sh)
{
    if (sh->generation) {
        sh->generation = 0;
        sh->silent = ngx_current_msec;
    }
}


/* Nobody leads, or the one that does hangs: it finds out when it goes on. */

static ngx_uint_t
ngx_http_gateway_redis_share_free(ngx_http_gateway_redis_shctx_t *sh)
{
    return sh->leader == 0
           || (ngx_msec_int_t) (ngx_current_msec - sh->led)
              > NGX_HTTP_GATEWAY_REDIS_LEASE;
}


void
ngx_http_gateway_redis_share_lead(ngx_http_gateway_redis_t *redis)
{
    if (redis->leads || !ngx_http_gateway_redis_share_free(redis->sh)
        || ngx_exiting || ngx_terminate
        || ngx_http_gateway_slot == NGX_HTTP_GATEWAY_MAX_WORKERS)
    {
        return;
    }

    ngx_shmtx_lock(&redis->shpool->mutex);

    if (ngx_http_gateway_redis_share_free(redis->sh)) {
        redis->sh->leader = ngx_http_gateway_slot + 1;
        redis->sh->led = ngx_current_msec;
        redis->sh->place = redis->place;
        redis->leads = 1;

        ngx_http_gateway_redis_share_silent(redis->sh);
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);

    if (redis->leads) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": this worker leads",
                      &redis->conf.name);
    }
}


/* Whether this worker leads still, and may go on. */

static ngx_uint_t
ngx_http_gateway_redis_share_leads(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t  mine;

    ngx_shmtx_lock(&redis->shpool->mutex);

    mine = (redis->sh->leader == ngx_http_gateway_slot + 1);

    if (mine) {
        redis->sh->led = ngx_current_msec;
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);

    return mine && !ngx_exiting && !ngx_terminate;
}


void
ngx_http_gateway_redis_share_died(ngx_http_gateway_redis_t *redis,
    ngx_uint_t slot)
{
    ngx_uint_t                       i, led;
    ngx_http_gateway_redis_shctx_t  *sh;

    sh = redis->sh;

    ngx_shmtx_lock(&redis->shpool->mutex);

    led = (sh->leader == slot + 1);
    sh->away[slot] = 0;

    if (led) {
        sh->leader = 0;
        ngx_http_gateway_redis_share_silent(sh);
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);

    for (i = 0; led && i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
        ngx_http_gateway_worker_wake(i);
    }
}


void
ngx_http_gateway_redis_share_subscribed(ngx_http_gateway_redis_t *redis,
    u_char *run_id)
{
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    if (redis->subscribed || !redis->leads
        || !ngx_http_gateway_redis_share_leads(redis))
    {
        return;
    }

    redis->subscribed = 1;

    ngx_shmtx_lock(&redis->shpool->mutex);
    redis->sh->generation = ++redis->sh->generations;
    ngx_memcpy(redis->sh->run_id, run_id, sizeof(redis->sh->run_id));
    ngx_shmtx_unlock(&redis->shpool->mutex);

    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        if (use[i].user->subscribed) {
            use[i].user->subscribed(redis, use[i].data);
        }
    }
}


void
ngx_http_gateway_redis_share_lost(ngx_http_gateway_redis_t *redis)
{
    if (!redis->subscribed) {
        return;
    }

    redis->subscribed = 0;

    ngx_shmtx_lock(&redis->shpool->mutex);

    if (redis->sh->leader == ngx_http_gateway_slot + 1) {
        ngx_http_gateway_redis_share_silent(redis->sh);
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);
}


static void
ngx_http_gateway_redis_share_beat(ngx_http_gateway_redis_t *redis)
{
    u_char     *p;
    ngx_str_t   argv[3];

    if (!redis->up
        || ngx_current_msec - redis->beat < NGX_HTTP_GATEWAY_REDIS_BEAT)
    {
        return;
    }

    argv[1].len = redis->conf.prefix.len
                  + ngx_http_gateway_redis_nodes_topic.len;
    argv[1].data = ngx_alloc(argv[1].len, ngx_cycle->log);
    if (argv[1].data == NULL) {
        return;
    }

    p = ngx_cpymem(argv[1].data, redis->conf.prefix.data,
                   redis->conf.prefix.len);
    ngx_memcpy(p, ngx_http_gateway_redis_nodes_topic.data,
               ngx_http_gateway_redis_nodes_topic.len);

    ngx_str_set(&argv[0], "PUBLISH");
    argv[2].data = redis->sh->id;
    argv[2].len = sizeof(redis->sh->id);

    if (ngx_http_gateway_redis_command(redis, argv, 3, 0, NULL, NULL)) {
        redis->beat = ngx_current_msec;
    }

    ngx_free(argv[1].data);
}


void
ngx_http_gateway_redis_share_tick(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    if (ngx_exiting || ngx_terminate) {
        /* one that ends need not be connected, so long as its requests last */
        ngx_http_gateway_redis_share_away(redis, 0);
    }

    if (redis->leads && !ngx_http_gateway_redis_share_leads(redis)) {
        /* it ends, so another one goes on at once; or one has already */
        redis->route->unsubscribe(redis);
        redis->leads = 0;

        if (ngx_exiting || ngx_terminate) {
            ngx_http_gateway_redis_share_died(redis, ngx_http_gateway_slot);
        }

        return;
    }

    ngx_http_gateway_redis_share_lead(redis);

    if (!redis->leads) {
        if (redis->route->follow) {
            redis->route->follow(redis);
        }

        return;
    }

    redis->route->subscribe(redis);
    ngx_http_gateway_redis_share_beat(redis);

    use = redis->uses.elts;

    for (i = 0; redis->subscribed && i < redis->uses.nelts; i++) {
        if (use[i].user->tick) {
            use[i].user->tick(redis, use[i].data);
        }
    }
}


/* Topics: first the client's own, then the users'. */

size_t
ngx_http_gateway_redis_share_room(ngx_http_gateway_redis_t *redis)
{
    size_t                         len;
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    len = ngx_http_gateway_redis_nodes_topic.len;
    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        len = ngx_max(len, use[i].user->topic.len);
    }

    return redis->conf.prefix.len + sizeof("{255}") + len;
}


static ngx_uint_t
ngx_http_gateway_redis_use_topics(ngx_http_gateway_redis_use_t *use)
{
    if (use->user->topic.len == 0) {
        return 0;
    }

    return use->user->sharded ? NGX_HTTP_GATEWAY_REDIS_BUCKETS : 1;
}


ngx_uint_t
ngx_http_gateway_redis_share_topics(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                     i, n;
    ngx_http_gateway_redis_use_t  *use;

    n = 1;
    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        n += ngx_http_gateway_redis_use_topics(&use[i]);
    }

    return n;
}


ngx_int_t
ngx_http_gateway_redis_share_topic(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i, u_char *buf, ngx_str_t *name, ngx_int_t *bucket)
{
    u_char                        *p;
    ngx_str_t                     *topic;
    ngx_uint_t                     j, n;
    ngx_http_gateway_redis_use_t  *use;

    topic = &ngx_http_gateway_redis_nodes_topic;
    use = redis->uses.elts;
    *bucket = -1;

    if (i > 0) {
        i--;

        for (j = 0; j < redis->uses.nelts; j++) {
            n = ngx_http_gateway_redis_use_topics(&use[j]);

            if (i < n) {
                break;
            }

            i -= n;
        }

        if (j == redis->uses.nelts) {
            return NGX_DONE;
        }

        topic = &use[j].user->topic;

        if (use[j].user->sharded) {
            *bucket = i;
        }
    }

    p = ngx_cpymem(buf, redis->conf.prefix.data, redis->conf.prefix.len);

    if (*bucket >= 0) {
        p = ngx_sprintf(p, "{%i}", *bucket);
    }

    p = ngx_cpymem(p, topic->data, topic->len);

    name->data = buf;
    name->len = p - buf;

    return NGX_OK;
}


/* A channel's topic, and its bucket, -1: not sharded. */

static ngx_int_t
ngx_http_gateway_redis_share_split(ngx_http_gateway_redis_t *redis,
    ngx_str_t *name, ngx_int_t *bucket)
{
    u_char     *p, *last;
    ngx_str_t  *prefix;

    prefix = &redis->conf.prefix;
    *bucket = -1;

    if (name->len < prefix->len
        || ngx_memcmp(name->data, prefix->data, prefix->len) != 0)
    {
        return NGX_DECLINED;
    }

    name->data += prefix->len;
    name->len -= prefix->len;

    if (name->len == 0 || name->data[0] != '{') {
        return NGX_OK;
    }

    last = name->data + name->len;
    p = ngx_strlchr(name->data, last, '}');
    if (p == NULL) {
        return NGX_DECLINED;
    }

    *bucket = ngx_atoi(name->data + 1, p - name->data - 1);

    if (*bucket < 0 || *bucket >= NGX_HTTP_GATEWAY_REDIS_BUCKETS) {
        return NGX_DECLINED;
    }

    name->data = p + 1;
    name->len = last - name->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_gateway_redis_is_id(ngx_str_t *s)
{
    size_t  i;
    u_char  ch;

    if (s->len != NGX_HTTP_GATEWAY_NODE_LEN) {
        return 0;
    }

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if (!((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z')
              || (ch >= 'a' && ch <= 'z') || ch == '_' || ch == '-'))
        {
            return 0;
        }
    }

    return 1;
}


/* One more than there is room for takes the place of the one not heard of for
 * the longest time. */

static void
ngx_http_gateway_redis_share_heard(ngx_http_gateway_redis_t *redis,
    ngx_str_t *id)
{
    ngx_uint_t                       i;
    ngx_http_gateway_redis_node_t   *node, *oldest;
    ngx_http_gateway_redis_shctx_t  *sh;

    sh = redis->sh;

    if (!ngx_http_gateway_redis_is_id(id)
        || ngx_memcmp(id->data, sh->id, id->len) == 0)
    {
        return;
    }

    ngx_shmtx_lock(&redis->shpool->mutex);

    node = NULL;
    oldest = NULL;

    for (i = 0; i < sh->nnodes; i++) {
        node = &sh->nodes[i];

        if (ngx_memcmp(node->id, id->data, id->len) == 0) {
            break;
        }

        if (oldest == NULL || (ngx_msec_int_t) (node->heard - oldest->heard)
                              < 0)
        {
            oldest = node;
        }
    }

    if (i == sh->nnodes) {

        if (i < NGX_HTTP_GATEWAY_REDIS_NODES) {
            node = &sh->nodes[i];
            sh->nnodes++;

        } else {
            node = oldest;
        }

        ngx_memcpy(node->id, id->data, id->len);
    }

    node->heard = ngx_current_msec;

    ngx_shmtx_unlock(&redis->shpool->mutex);
}


void
ngx_http_gateway_redis_share_message(ngx_http_gateway_redis_t *redis,
    redisReply *reply)
{
    ngx_int_t                      bucket;
    ngx_str_t                      name, payload;
    ngx_uint_t                     i;
    ngx_http_gateway_redis_use_t  *use;

    if (reply->elements != 3
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING
        || reply->element[2]->type != REDIS_REPLY_STRING
        || (ngx_strcmp(reply->element[0]->str, "message") != 0
            && ngx_strcmp(reply->element[0]->str, "smessage") != 0))
    {
        return;
    }

    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;
    payload.data = (u_char *) reply->element[2]->str;
    payload.len = reply->element[2]->len;

    if (ngx_http_gateway_redis_share_split(redis, &name, &bucket) != NGX_OK) {
        return;
    }

    if (bucket == -1 && name.len == ngx_http_gateway_redis_nodes_topic.len
        && ngx_memcmp(name.data, ngx_http_gateway_redis_nodes_topic.data,
                      name.len)
           == 0)
    {
        ngx_http_gateway_redis_share_heard(redis, &payload);
        return;
    }

    use = redis->uses.elts;

    for (i = 0; i < redis->uses.nelts; i++) {
        if (use[i].user->message && use[i].user->topic.len
            && use[i].user->sharded == (bucket >= 0)
            && use[i].user->topic.len == name.len
            && ngx_memcmp(use[i].user->topic.data, name.data, name.len) == 0)
        {
            use[i].user->message(redis, &name, ngx_max(bucket, 0), &payload,
                                 use[i].data);
        }
    }
}


ngx_uint_t
ngx_http_gateway_redis_share_server(ngx_http_gateway_redis_t *redis,
    u_char *run_id)
{
    ngx_uint_t  known;

    ngx_shmtx_lock(&redis->shpool->mutex);

    known = redis->sh->generation != 0
            && (redis->sh->place == redis->place || ngx_exiting);
    ngx_memcpy(run_id, redis->sh->run_id, sizeof(redis->sh->run_id));

    ngx_shmtx_unlock(&redis->shpool->mutex);

    return known;
}


uint64_t
ngx_http_gateway_redis_generation(ngx_http_gateway_redis_t *redis)
{
    return redis->sh->generation;
}


u_char *
ngx_http_gateway_redis_node(ngx_http_gateway_redis_t *redis)
{
    return redis->sh->id;
}


ngx_uint_t
ngx_http_gateway_redis_nodes(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                       i, n;
    ngx_msec_t                       now;
    ngx_http_gateway_redis_shctx_t  *sh;

    sh = redis->sh;
    n = 1;

    ngx_shmtx_lock(&redis->shpool->mutex);

    now = sh->generation ? ngx_current_msec : sh->silent;

    for (i = 0; i < sh->nnodes; i++) {
        if ((ngx_msec_int_t) (now - sh->nodes[i].heard)
            <= NGX_HTTP_GATEWAY_REDIS_MINUTE)
        {
            n++;
        }
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);

    return n;
}


ngx_uint_t
ngx_http_gateway_redis_alive(ngx_http_gateway_redis_t *redis, u_char *node)
{
    ngx_uint_t                       i, alive;
    ngx_http_gateway_redis_shctx_t  *sh;

    sh = redis->sh;

    if (ngx_memcmp(sh->id, node, NGX_HTTP_GATEWAY_NODE_LEN) == 0) {
        return 1;
    }

    alive = 0;

    ngx_shmtx_lock(&redis->shpool->mutex);

    for (i = 0; i < sh->nnodes; i++) {
        if (ngx_memcmp(sh->nodes[i].id, node, NGX_HTTP_GATEWAY_NODE_LEN) == 0)
        {
            alive = (ngx_msec_int_t) (ngx_current_msec - sh->nodes[i].heard)
                    <= NGX_HTTP_GATEWAY_REDIS_ALIVE;
            break;
        }
    }

    ngx_shmtx_unlock(&redis->shpool->mutex);

    return alive;
}
