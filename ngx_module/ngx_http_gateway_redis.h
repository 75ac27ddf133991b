/*
 * Redis, for the features that share something over several nodes.
 *
 * A node is one running nginx: all its workers. Each worker has connections
 * of its own for commands. One worker of a node, the leader, also holds the
 * subscriptions, and does what a node does once; when it dies another takes
 * over at once.
 *
 * Nothing here blocks, and nothing calls back from within a call. Where Redis
 * is away, calls say so at once: the feature goes on on its own node.
 */

#ifndef NGX_HTTP_GATEWAY_REDIS_H_INCLUDED
#define NGX_HTTP_GATEWAY_REDIS_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <hiredis/hiredis.h>


#define NGX_HTTP_GATEWAY_NODE_LEN     12   /* of a node's id, [0-9A-Za-z_-] */
#define NGX_HTTP_GATEWAY_REDIS_NODES  256  /* at most, of one Redis */

/* Keys of one bucket are in one slot of a Cluster: <prefix>{<bucket>}... */
#define NGX_HTTP_GATEWAY_REDIS_BUCKETS  256


typedef struct ngx_http_gateway_redis_s  ngx_http_gateway_redis_t;

/* What stands in the configuration; read-only, the rest is private. */

typedef struct {
    ngx_str_t                     name;
    ngx_str_t                     prefix;    /* no { or } in it */
    ngx_msec_t                    timeout;   /* of a command */
} ngx_http_gateway_redis_conf_t;

/* The configuration is its first member. */
#define ngx_http_gateway_redis_conf(redis)                                   \
    ((ngx_http_gateway_redis_conf_t *) (redis))


/* At configuration time: the Redis of that name, which may be defined later;
 * an unknown name fails when the configuration has been read. NULL: no
 * memory. */
ngx_http_gateway_redis_t *ngx_http_gateway_redis_get(ngx_conf_t *cf,
    ngx_str_t *name);


/*
 * What a feature wants to be told, all of it optional. Static in the
 * feature's file; data is given back.
 */

typedef struct {
    /* In each worker: commands are taken (again); no longer. */
    void       (*up)(ngx_http_gateway_redis_t *redis, void *data);
    void       (*down)(ngx_http_gateway_redis_t *redis, void *data);

    /* In the leader: it is subscribed to all topics, from here on nothing is
     * missed (a new generation); what was before may have been. */
    void       (*subscribed)(ngx_http_gateway_redis_t *redis, void *data);

    /* In the leader: a message on one of the feature's topics; bucket is
     * that of a sharded topic. Both strings are valid until it returns. */
    void       (*message)(ngx_http_gateway_redis_t *redis, ngx_str_t *topic,
                          ngx_uint_t bucket, ngx_str_t *payload, void *data);

    /* In the leader, every 100 ms while it is subscribed. */
    void       (*tick)(ngx_http_gateway_redis_t *redis, void *data);

    /* Subscribed to: <prefix><topic>; sharded: <prefix>{<bucket>}<topic> for
     * each bucket (SSUBSCRIBE in a Cluster that has it, else SUBSCRIBE). */
    ngx_str_t    topic;              /* len 0: none */
    unsigned     sharded:1;
} ngx_http_gateway_redis_user_t;

/* At configuration time. NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_redis_use(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis, ngx_http_gateway_redis_user_t *user,
    void *data);


/* Commands. */

typedef struct ngx_http_gateway_redis_command_s
    ngx_http_gateway_redis_command_t;

/*
 * Called once, from the event loop. NULL: there is no answer, because the
 * connection was lost or the time is over: whether the command was carried
 * out is not known (see the deadline below). Errors of Redis that call for
 * another server or a script's text (MOVED, ASK, TRYAGAIN, READONLY, NOSCRIPT)
 * are dealt with before; LOADING, MASTERDOWN, CLUSTERDOWN count as away
 * (NULL); any other comes as REDIS_REPLY_ERROR. The reply is valid until the
 * handler returns. A worker that is to end goes on until it has been called.
 */
typedef void (*ngx_http_gateway_redis_handler_pt)(void *data,
    redisReply *reply);

/*
 * Sends argv[0..argc-1], copied; of a Cluster to the node that has the key
 * argv[key], 0: to any. Two arguments may be written by the client as it
 * sends: RUN_ID is the server's run id (40 characters), which changes with a
 * restart and a failover; DEADLINE the server's time in ms (as its TIME
 * tells) at which this command's answer is given up. handler may be NULL.
 *
 * NULL: Redis is away, or too much waits: the handler will not be called.
 */
extern ngx_str_t  ngx_http_gateway_redis_run_id;     /* compared by address: */
extern ngx_str_t  ngx_http_gateway_redis_deadline;   /* of argv[i].data */

ngx_http_gateway_redis_command_t *ngx_http_gateway_redis_command(
    ngx_http_gateway_redis_t *redis, ngx_str_t *argv, ngx_uint_t argc,
    ngx_uint_t key, ngx_http_gateway_redis_handler_pt handler, void *data);

/* A script, in the feature's file; sha is computed at configuration time by
 * ngx_http_gateway_redis_script_init(). */

typedef struct {
    ngx_str_t    text;
    u_char       sha[40];
} ngx_http_gateway_redis_script_t;

void ngx_http_gateway_redis_script_init(
    ngx_http_gateway_redis_script_t *script);

/* EVALSHA with argv[0..nkeys-1] as KEYS, which are of one slot, the rest as
 * ARGV. As above. */
ngx_http_gateway_redis_command_t *ngx_http_gateway_redis_eval(
    ngx_http_gateway_redis_t *redis, ngx_http_gateway_redis_script_t *script,
    ngx_str_t *argv, ngx_uint_t argc, ngx_uint_t nkeys,
    ngx_http_gateway_redis_handler_pt handler, void *data);

/* The command that publishes on a sharded topic, "SPUBLISH" or "PUBLISH": a
 * script gets it as an argument, since it depends on the server. On any other
 * topic it is always PUBLISH. */
ngx_str_t *ngx_http_gateway_redis_publish_command(
    ngx_http_gateway_redis_t *redis);

/* The handler will not be called any more. */
void ngx_http_gateway_redis_cancel(ngx_http_gateway_redis_command_t *command);


/* Runs a command on each master (of a Cluster; else on the one), such as
 * SCAN: how many there are now, and the command on the i-th. */
ngx_uint_t ngx_http_gateway_redis_masters(ngx_http_gateway_redis_t *redis);
ngx_http_gateway_redis_command_t *ngx_http_gateway_redis_on_master(
    ngx_http_gateway_redis_t *redis, ngx_uint_t i, ngx_str_t *argv,
    ngx_uint_t argc, ngx_http_gateway_redis_handler_pt handler, void *data);


/* The run ids of all masters that commands go to now, one after the other (40
 * characters each), in pool: what was written under one of them, and has been
 * moved to another, is not lost. NGX_ERROR: no memory. */
ngx_int_t ngx_http_gateway_redis_run_ids(ngx_http_gateway_redis_t *redis,
    ngx_pool_t *pool, ngx_str_t *ids);

/* <prefix>{<bucket>}<what><name> in pool; a name's bucket is its digest's.
 * NGX_ERROR: no memory. */
ngx_uint_t ngx_http_gateway_redis_bucket(ngx_str_t *name);
ngx_int_t ngx_http_gateway_redis_key(ngx_http_gateway_redis_t *redis,
    ngx_pool_t *pool, ngx_uint_t bucket, char *what, ngx_str_t *name,
    ngx_str_t *key);


/* State; of all workers but for the first two. */

/* Whether this worker's commands are taken. */
ngx_uint_t ngx_http_gateway_redis_up(ngx_http_gateway_redis_t *redis);
ngx_uint_t ngx_http_gateway_redis_leads(ngx_http_gateway_redis_t *redis);

/* Counts the leader's subscriptions; 0 while there is none: then something
 * may be missed. Never the same again. */
uint64_t ngx_http_gateway_redis_generation(ngx_http_gateway_redis_t *redis);

/* The server's time in ms since 1970, as far as it is known; else ours. */
uint64_t ngx_http_gateway_redis_time(ngx_http_gateway_redis_t *redis);

/* This node's id: kept over a reload. NGX_HTTP_GATEWAY_NODE_LEN bytes. */
u_char *ngx_http_gateway_redis_node(ngx_http_gateway_redis_t *redis);

/* Nodes heard of in the last minute, or while Redis is away in the last
 * minute before; this one included. */
ngx_uint_t ngx_http_gateway_redis_nodes(ngx_http_gateway_redis_t *redis);

/* Whether that node was heard of in the last 5 s (all are once a second). */
ngx_uint_t ngx_http_gateway_redis_alive(ngx_http_gateway_redis_t *redis,
    u_char *node);


#endif /* NGX_HTTP_GATEWAY_REDIS_H_INCLUDED */
