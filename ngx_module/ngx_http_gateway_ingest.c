/*
 * What services publish through Redis itself, by
 *
 *     XADD <prefix>publish * channel C data BODY [type T] [priority P]
 *
 * The leaders of all nodes are one consumer group, `gateway`; each entry comes
 * to one of them. It is published under an id that is made of the entry's, so
 * when a node dies before it could say so, another takes the entry over and it
 * is still published once. Entries that are done are acknowledged and deleted:
 * the stream holds what is still to be done, and nothing else.
 *
 * A batch is read, published and acknowledged before the next one is read.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_ingest.h"
#include "ngx_http_gateway_mirror.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_text.h"
#include "../src/channel_blob.h"
#include "../src/pattern.h"


#define NGX_HTTP_GATEWAY_INGEST_BATCH  100    /* entries */
#define NGX_HTTP_GATEWAY_INGEST_COUNT  ngx_value(NGX_HTTP_GATEWAY_INGEST_BATCH)
#define NGX_HTTP_GATEWAY_INGEST_POLL   25     /* ms */
#define NGX_HTTP_GATEWAY_INGEST_CLAIM  1000   /* ms, between two looks for */
#define NGX_HTTP_GATEWAY_INGEST_IDLE   "5000" /* what others left so long */
#define NGX_HTTP_GATEWAY_INGEST_ID     42     /* bytes of an entry's */


typedef struct ngx_http_gateway_ingest_s  ngx_http_gateway_ingest_t;

typedef struct {
    ngx_http_gateway_ingest_t        *ingest;
    size_t                            len;
    u_char                            id[NGX_HTTP_GATEWAY_INGEST_ID];
    unsigned                          done:1;   /* to be acknowledged */
} ngx_http_gateway_ingest_entry_t;


/* Of one Redis, in this worker, while it leads. */

struct ngx_http_gateway_ingest_s {
    ngx_http_gateway_channel_zone_t  *zone;     /* its first */
    ngx_str_t                         key;
    ngx_event_t                       timer;
    ngx_msec_t                        claimed;  /* when it looked last */
    u_char                            cursor[NGX_HTTP_GATEWAY_INGEST_ID];
    size_t                            cursor_len;
    ngx_uint_t                        waiting;  /* for so many answers */
    ngx_uint_t                        n;        /* entries of the batch */
    unsigned                          claims:1; /* what is asked for */
    unsigned                          more:1;   /* there may be */
    unsigned                          group:1;  /* is to be made */
    unsigned                          refused:1;  /* was logged */
    ngx_http_gateway_ingest_entry_t   entry[NGX_HTTP_GATEWAY_INGEST_BATCH];
};


/* The members of an entry. */

typedef struct {
    ngx_str_t                         channel;
    ngx_str_t                         data;
    ngx_str_t                         type;
    ngx_str_t                         priority;
} ngx_http_gateway_ingest_fields_t;


static void ngx_http_gateway_ingest_tick(ngx_http_gateway_redis_t *redis,
    void *data);
static void ngx_http_gateway_ingest_timer(ngx_event_t *ev);
static void ngx_http_gateway_ingest_next(ngx_http_gateway_ingest_t *in);
static void ngx_http_gateway_ingest_answered(ngx_http_gateway_ingest_t *in);


static ngx_http_gateway_redis_user_t  ngx_http_gateway_ingest_user = {
    NULL,
    NULL,
    NULL,
    NULL,
    ngx_http_gateway_ingest_tick,
    ngx_null_string,
    0
};


/* KEYS: the stream. ARGV: ids. */

static ngx_http_gateway_redis_script_t  ngx_http_gateway_ingest_script = {
    ngx_string(
    "redis.call('XACK', KEYS[1], 'gateway', unpack(ARGV)) "
    "return redis.call('XDEL', KEYS[1], unpack(ARGV))"),
    { 0 }
};


ngx_int_t
ngx_http_gateway_ingest_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t **zones, ngx_uint_t n)
{
    ngx_uint_t                  i, j;
    ngx_http_gateway_ingest_t  *in;

    ngx_http_gateway_redis_script_init(&ngx_http_gateway_ingest_script);

    for (i = 0; i < n; i++) {

        if (zones[i]->redis == NULL) {
            continue;
        }

        for (j = 0; zones[j]->redis != zones[i]->redis; j++) { /* void */ }

        if (j < i) {
            /* channels are of all zones of one Redis */
            continue;
        }

        in = ngx_pcalloc(cf->pool, sizeof(*in));
        if (in == NULL) {
            return NGX_ERROR;
        }

        in->zone = zones[i];

        if (ngx_http_gateway_redis_use(cf, zones[i]->redis,
                                       &ngx_http_gateway_ingest_user, in)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* While it is subscribed; what goes on by itself is not begun again. */

static void
ngx_http_gateway_ingest_tick(ngx_http_gateway_redis_t *redis, void *data)
{
    ngx_http_gateway_ingest_t *in = data;

    u_char     *p;
    ngx_str_t  *prefix;

    if (in->key.data == NULL) {
        prefix = &ngx_http_gateway_redis_conf(redis)->prefix;

        p = ngx_pnalloc(ngx_cycle->pool, prefix->len + sizeof("publish") - 1);
        if (p == NULL) {
            return;
        }

        in->key.data = p;
        in->key.len = prefix->len + sizeof("publish") - 1;
        ngx_memcpy(ngx_cpymem(p, prefix->data, prefix->len), "publish",
                   sizeof("publish") - 1);

        in->group = 1;
        in->timer.handler = ngx_http_gateway_ingest_timer;
        in->timer.data = in;
        in->timer.cancelable = 1;
    }

    if (!in->waiting && !in->timer.timer_set) {
        ngx_http_gateway_ingest_next(in);
    }
}


static void
ngx_http_gateway_ingest_timer(ngx_event_t *ev)
{
    ngx_http_gateway_ingest_t  *in;

    in = ev->data;

    if (!in->waiting) {
        ngx_http_gateway_ingest_next(in);
    }
}


static void
ngx_http_gateway_ingest_later(ngx_http_gateway_ingest_t *in, ngx_msec_t msec)
{
    if (!in->timer.timer_set) {
        in->timer.log = ngx_cycle->log;
        ngx_add_timer(&in->timer, msec);
    }
}


/* An error of the stream's: said once. The group may be gone with it. */

static void
ngx_http_gateway_ingest_failed(ngx_http_gateway_ingest_t *in,
    redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    if (reply->len >= 7 && ngx_memcmp(reply->str, "NOGROUP", 7) == 0) {
        in->group = 1;
        return;
    }

    if (!in->refused) {
        in->refused = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": \"%V\" cannot be read: %*s",
                      &ngx_http_gateway_redis_conf(in->zone->redis)->name,
                      &in->key, (size_t) reply->len, reply->str);
    }
}


static void
ngx_http_gateway_ingest_grouped(void *data, redisReply *reply)
{
    ngx_http_gateway_ingest_t *in = data;

    in->waiting = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR
        && (reply->len < 9 || ngx_memcmp(reply->str, "BUSYGROUP", 9) != 0))
    {
        ngx_http_gateway_ingest_failed(in, reply);
        ngx_http_gateway_ingest_later(in, NGX_HTTP_GATEWAY_INGEST_CLAIM);
        return;
    }

    in->group = 0;
    ngx_http_gateway_ingest_next(in);
}


static ngx_uint_t
ngx_http_gateway_ingest_is(redisReply *r, char *name)
{
    return r->type == REDIS_REPLY_STRING
           && (size_t) r->len == ngx_strlen(name)
           && ngx_memcmp(r->str, name, r->len) == 0;
}


/* The fields of [id, [name, value, …]]; the last of a name counts. */

static void
ngx_http_gateway_ingest_fields(redisReply *list,
    ngx_http_gateway_ingest_fields_t *f)
{
    size_t       i;
    ngx_str_t   *to;
    redisReply  *name, *value;

    ngx_memzero(f, sizeof(*f));

    for (i = 0; i + 1 < list->elements; i += 2) {
        name = list->element[i];
        value = list->element[i + 1];

        to = ngx_http_gateway_ingest_is(name, "channel") ? &f->channel
             : ngx_http_gateway_ingest_is(name, "data") ? &f->data
             : ngx_http_gateway_ingest_is(name, "type") ? &f->type
             : ngx_http_gateway_ingest_is(name, "priority") ? &f->priority
             : NULL;

        if (to && value->type == REDIS_REPLY_STRING) {
            to->data = (u_char *) value->str;
            to->len = value->len;
        }
    }
}


/* NGX_OK; NGX_DECLINED: why it is no message; NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_gateway_ingest_message(ngx_http_gateway_ingest_fields_t *f,
    ngx_pool_t *pool, gw_message_t *m, const char **why)
{
    ngx_int_t   rc;
    ngx_uint_t  priority;

    rc = ngx_http_gateway_message_init(m, pool, &f->data,
                                       NGX_HTTP_GATEWAY_BODY_ANY);
    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (m->type.len > GW_BLOB_TYPE_MAX) {
        *why = "its type is too long";
        return NGX_DECLINED;
    }

    priority = GW_PRIORITY_NORMAL;

    if (f->priority.data
        && ngx_http_gateway_message_priority(&f->priority, &priority)
           != NGX_OK)
    {
        *why = "its priority is not high, normal or low";
        return NGX_DECLINED;
    }

    m->priority = priority;

    if (f->type.data == NULL) {
        return NGX_OK;
    }

    *why = "its type is not 1 to 255 bytes of UTF-8";

    return ngx_http_gateway_message_type(pool, &f->type, &m->type);
}


/* NULL, or what is wrong. */

static const char *
ngx_http_gateway_ingest_wrong(ngx_http_gateway_ingest_t *in,
    ngx_http_gateway_ingest_fields_t *f)
{
    if (f->channel.data == NULL) {
        return "it has no channel";
    }

    if (f->data.data == NULL) {
        return "it has no data";
    }

    if (!gw_channel_name_valid(ngx_http_gateway_span(&f->channel))) {
        return "its channel is not a channel's name";
    }

    return f->data.len > in->zone->max_message ? "its data is over max_message"
                                               : NULL;
}


/*
 * 12 characters for "ms-sequence": 48 bits and the lower 24 of a number that
 * counts the entries of one millisecond.
 */

static void
ngx_http_gateway_ingest_id(ngx_http_gateway_ingest_entry_t *e, u_char *id)
{
    size_t    i;
    uint64_t  n[2];

    static u_char  digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-";

    n[0] = 0;
    n[1] = 0;

    for (i = 0; i < e->len && e->id[i] != '-'; i++) {
        n[0] = n[0] * 10 + (e->id[i] - '0');
    }

    for (i++; i < e->len; i++) {
        n[1] = n[1] * 10 + (e->id[i] - '0');
    }

    for (i = 0; i < GW_PUBLISH_ID_LEN; i++) {
        id[i] = i < 8 ? digits[n[0] >> (6 * i) & 63]
                      : digits[n[1] >> (6 * (i - 8)) & 63];
    }
}


static void
ngx_http_gateway_ingest_published(void *data, ngx_int_t rc,
    ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_ingest_entry_t *e = data;

    /* else it will be taken up again, by this node or another */

    e->done = (rc == NGX_OK);

    ngx_http_gateway_ingest_answered(e->ingest);
}


static void
ngx_http_gateway_ingest_entry(ngx_http_gateway_ingest_t *in,
    ngx_http_gateway_ingest_entry_t *e, redisReply *list)
{
    u_char                             id[GW_PUBLISH_ID_LEN];
    ngx_int_t                          rc;
    ngx_pool_t                        *pool;
    const char                        *why;
    gw_message_t                       m;
    ngx_http_gateway_ingest_fields_t   f;

    ngx_http_gateway_ingest_fields(list, &f);

    pool = NULL;
    why = ngx_http_gateway_ingest_wrong(in, &f);

    if (why) {
        rc = NGX_DECLINED;

    } else if (ngx_http_gateway_revoke_channel(&f.channel)) {
        rc = ngx_http_gateway_revoke(in->zone, &f.data, &why);

        if (rc == NGX_OK) {
            e->done = 1;
            return;
        }

    } else {
        pool = ngx_create_pool(1024, ngx_cycle->log);
        rc = pool ? ngx_http_gateway_ingest_message(&f, pool, &m, &why)
                  : NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "gateway_redis \"%V\": entry %*s of \"%V\" is dropped: "
                      "%s", &ngx_http_gateway_redis_conf(in->zone->redis)->name,
                      e->len, e->id, &in->key, why);
        e->done = 1;

    } else if (rc == NGX_OK) {
        ngx_http_gateway_ingest_id(e, id);
        in->waiting++;

        rc = ngx_http_gateway_mirror_publish_once(in->zone, &f.channel, &m,
                                                  id, in->claims,
                                           ngx_http_gateway_ingest_published,
                                                  e);

        if (rc != NGX_AGAIN) {
            in->waiting--;
            e->done = (rc == NGX_OK);
        }
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


/* [[id, [name, value, …]], …]; an entry that was deleted meanwhile has no
 * list. */

static void
ngx_http_gateway_ingest_entries(ngx_http_gateway_ingest_t *in,
    redisReply *entries)
{
    size_t                            i;
    redisReply                       *r;
    ngx_http_gateway_ingest_entry_t  *e;

    in->n = 0;
    in->more = (entries->elements >= NGX_HTTP_GATEWAY_INGEST_BATCH);

    for (i = 0; i < entries->elements; i++) {
        r = entries->element[i];

        if (in->n == NGX_HTTP_GATEWAY_INGEST_BATCH) {
            break;
        }

        if (r->type != REDIS_REPLY_ARRAY || r->elements != 2
            || r->element[0]->type != REDIS_REPLY_STRING
            || (size_t) r->element[0]->len > NGX_HTTP_GATEWAY_INGEST_ID)
        {
            continue;
        }

        e = &in->entry[in->n++];
        e->ingest = in;
        e->len = r->element[0]->len;
        e->done = 0;
        ngx_memcpy(e->id, r->element[0]->str, e->len);

        if (r->element[1]->type == REDIS_REPLY_ARRAY) {
            ngx_http_gateway_ingest_entry(in, e, r->element[1]);

        } else {
            e->done = 1;
        }
    }
}


static void
ngx_http_gateway_ingest_acknowledged(void *data, redisReply *reply)
{
    ngx_http_gateway_ingest_t *in = data;

    in->waiting = 0;
    ngx_http_gateway_ingest_failed(in, reply);

    if (in->more && reply && reply->type != REDIS_REPLY_ERROR) {
        ngx_http_gateway_ingest_next(in);

    } else {
        ngx_http_gateway_ingest_later(in, NGX_HTTP_GATEWAY_INGEST_POLL);
    }
}


/* One answer less is awaited; after the last one of a batch it is
 * acknowledged. */

static void
ngx_http_gateway_ingest_answered(ngx_http_gateway_ingest_t *in)
{
    ngx_str_t   argv[NGX_HTTP_GATEWAY_INGEST_BATCH + 1];
    ngx_uint_t  i, n;

    if (--in->waiting) {
        return;
    }

    argv[0] = in->key;
    n = 1;

    for (i = 0; i < in->n; i++) {
        if (in->entry[i].done) {
            argv[n].data = in->entry[i].id;
            argv[n++].len = in->entry[i].len;
        }
    }

    if (n > 1
        && ngx_http_gateway_redis_eval(in->zone->redis,
                                       &ngx_http_gateway_ingest_script, argv,
                                       n, 1,
                                       ngx_http_gateway_ingest_acknowledged,
                                       in))
    {
        in->waiting = 1;
        return;
    }

    ngx_http_gateway_ingest_later(in, NGX_HTTP_GATEWAY_INGEST_POLL);
}


/* XREADGROUP: nil, or [[key, entries]]; XAUTOCLAIM: [cursor, entries, …] */

static void
ngx_http_gateway_ingest_read(void *data, redisReply *reply)
{
    ngx_http_gateway_ingest_t *in = data;

    redisReply  *r, *entries;

    /* stays 1 until all of the batch have been begun */

    in->n = 0;
    in->more = 0;
    entries = NULL;
    ngx_http_gateway_ingest_failed(in, reply);

    if (reply && reply->type == REDIS_REPLY_ARRAY) {
        in->refused = 0;
        r = reply;

        if (!in->claims) {
            r = reply->elements == 1 ? reply->element[0] : NULL;
        }

        if (r && r->type == REDIS_REPLY_ARRAY && r->elements >= 2
            && r->element[0]->type == REDIS_REPLY_STRING
            && r->element[1]->type == REDIS_REPLY_ARRAY)
        {
            entries = r->element[1];
        }
    }

    if (in->claims) {
        in->claimed = ngx_current_msec;
        in->cursor_len = 0;

        if (entries && (size_t) reply->element[0]->len <= sizeof(in->cursor))
        {
            in->cursor_len = reply->element[0]->len;
            ngx_memcpy(in->cursor, reply->element[0]->str, in->cursor_len);
        }
    }

    if (entries) {
        ngx_http_gateway_ingest_entries(in, entries);
    }

    ngx_http_gateway_ingest_answered(in);
}


static ngx_http_gateway_redis_command_t *
ngx_http_gateway_ingest_ask(ngx_http_gateway_ingest_t *in)
{
    ngx_str_t  argv[9], node;

    node.data = ngx_http_gateway_redis_node(in->zone->redis);
    node.len = NGX_HTTP_GATEWAY_NODE_LEN;

    if (in->group) {
        ngx_str_set(&argv[0], "XGROUP");
        ngx_str_set(&argv[1], "CREATE");
        argv[2] = in->key;
        ngx_str_set(&argv[3], "gateway");
        ngx_str_set(&argv[4], "0");
        ngx_str_set(&argv[5], "MKSTREAM");

        return ngx_http_gateway_redis_command(in->zone->redis, argv, 6, 2,
                                              ngx_http_gateway_ingest_grouped,
                                              in);
    }

    in->claims = (ngx_current_msec - in->claimed
                  >= NGX_HTTP_GATEWAY_INGEST_CLAIM);

    if (in->claims) {
        ngx_str_set(&argv[0], "XAUTOCLAIM");
        argv[1] = in->key;
        ngx_str_set(&argv[2], "gateway");
        argv[3] = node;
        ngx_str_set(&argv[4], NGX_HTTP_GATEWAY_INGEST_IDLE);
        argv[5].data = in->cursor;
        argv[5].len = in->cursor_len;
        ngx_str_set(&argv[6], "COUNT");
        ngx_str_set(&argv[7], NGX_HTTP_GATEWAY_INGEST_COUNT);

        if (in->cursor_len == 0) {
            ngx_str_set(&argv[5], "0-0");
        }

        return ngx_http_gateway_redis_command(in->zone->redis, argv, 8, 1,
                                              ngx_http_gateway_ingest_read,
                                              in);
    }

    ngx_str_set(&argv[0], "XREADGROUP");
    ngx_str_set(&argv[1], "GROUP");
    ngx_str_set(&argv[2], "gateway");
    argv[3] = node;
    ngx_str_set(&argv[4], "COUNT");
    ngx_str_set(&argv[5], NGX_HTTP_GATEWAY_INGEST_COUNT);
    ngx_str_set(&argv[6], "STREAMS");
    argv[7] = in->key;
    ngx_str_set(&argv[8], ">");

    return ngx_http_gateway_redis_command(in->zone->redis, argv, 9, 7,
                                          ngx_http_gateway_ingest_read, in);
}


/* Asks for the next batch; in a worker that leads no more, the new leader
 * does. */

static void
ngx_http_gateway_ingest_next(ngx_http_gateway_ingest_t *in)
{
    if (ngx_http_gateway_redis_leads(in->zone->redis)
        && ngx_http_gateway_ingest_ask(in))
    {
        in->waiting = 1;
    }
}
