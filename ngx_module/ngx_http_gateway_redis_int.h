/*
 * What the files of the Redis client share.
 *
 *     _module.c     the directive, and starting and ending in a worker
 *     _servers.c    URLs, addresses, passwords and TLS of the configuration
 *     _command.c    commands: encoded once, kept until they are answered
 *     _link.c       one connection to one server
 *     _connect.c    how it comes about
 *     _hello.c      its TLS, handshake and keep-alive
 *     _route.c      which link a command takes: one server, tried in turn
 *     _sentinel.c   the same for the master that Sentinels tell
 *     _cluster.c    the same for a Cluster; _cluster_sub.c: subscriptions
 *     _ask.c        asking these where commands go
 *     _share.c      the zone of a node: its leader, subscriptions, nodes
 *
 * A link goes down and up by itself, with a back-off. What is on it when it
 * goes down is answered NULL, later, by an event of its own.
 */

#ifndef NGX_HTTP_GATEWAY_REDIS_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_REDIS_INT_H_INCLUDED


#include "ngx_http_gateway_redis.h"
#include "ngx_http_gateway_metrics.h"
#include "ngx_http_gateway_text.h"


#define NGX_HTTP_GATEWAY_REDIS_RUN_ID   40

/* of all that waits on one link, sent or not */
#define NGX_HTTP_GATEWAY_REDIS_MAX_BYTES     (64 * 1024 * 1024)
#define NGX_HTTP_GATEWAY_REDIS_MAX_COMMANDS  65536

/* of one reply */
#define NGX_HTTP_GATEWAY_REDIS_MAX_REPLY     (64 * 1024 * 1024)
#define NGX_HTTP_GATEWAY_REDIS_MAX_ELEMENTS  (1024 * 1024)

#define NGX_HTTP_GATEWAY_REDIS_SCRIPTS       32   /* known to one link */
#define NGX_HTTP_GATEWAY_REDIS_REASON        256

/* ms */
#define NGX_HTTP_GATEWAY_REDIS_TICK          100
#define NGX_HTTP_GATEWAY_REDIS_KEEPALIVE     500
#define NGX_HTTP_GATEWAY_REDIS_BACKOFF       100
#define NGX_HTTP_GATEWAY_REDIS_MAX_BACKOFF   3000
#define NGX_HTTP_GATEWAY_REDIS_HELD          1000   /* for the first again */

/* of a command: how often it is sent, at most, before it counts as lost */
#define NGX_HTTP_GATEWAY_REDIS_TRIES         5


typedef struct ngx_http_gateway_redis_link_s  ngx_http_gateway_redis_link_t;


/* A server, from the configuration or told by a Sentinel or a Cluster. Has to
 * live as long as a link that uses it. */

typedef struct {
    ngx_str_t                           name;      /* for the log */
    ngx_str_t                           host;      /* for TLS, resolver */
    in_port_t                           port;
    ngx_addr_t                         *addrs;
    ngx_uint_t                          naddrs;    /* 0: by the resolver */
    ngx_str_t                           user;      /* len 0: none */
    ngx_str_t                           password;  /* len 0: none */
    ngx_uint_t                          db;
    unsigned                            tls:1;
} ngx_http_gateway_redis_server_t;


/*
 * A command: in the queue of its link from when it is given to it until it is
 * answered, in the order of sending. What is sent is kept until then, so that
 * it can be sent again to another server.
 */

struct ngx_http_gateway_redis_command_s {
    ngx_queue_t                         queue;
    ngx_http_gateway_redis_t           *redis;
    ngx_http_gateway_redis_link_t      *link;
    ngx_http_gateway_redis_handler_pt   handler;   /* NULL: canceled */
    void                               *data;

    u_char                             *buf;       /* encoded */
    size_t                              len;
    u_char                             *large;     /* buf, if not inline */

    /* where in buf these stand, 0: nowhere; see .._command_stamp() */
    size_t                              run_id;
    size_t                              deadline;

    ngx_http_gateway_redis_script_t    *script;    /* EVALSHA or EVAL */
    size_t                              tail;      /* of buf: after the sha */
    ngx_uint_t                          argc;

    ngx_msec_t                          expires;   /* ngx_current_msec */
    uint64_t                            started;   /* us */
    int                                 slot;      /* of a Cluster, -1: any */
    unsigned                            tries:8;
    unsigned                            raw:1;     /* errors are its own */
};


/*
 * What a link is for. Commands: replies come one for one. Subscriptions: what
 * comes, once SUBSCRIBE was sent, goes to push.
 */

struct ngx_http_gateway_redis_link_s {
    ngx_queue_t                         queue;     /* for its owner */
    ngx_http_gateway_redis_t           *redis;
    ngx_http_gateway_redis_server_t    *server;

    /*
     * The owner's. up: the handshake is done, commands are taken. down: it
     * was up or tried to be, reason says what went wrong; it will be tried
     * again by itself unless down() called .._link_stop(), or .._link_start()
     * with another server. push: not an answer to a command.
     */
    void                              (*up)(
                                           ngx_http_gateway_redis_link_t *l);
    void                              (*down)(
                                           ngx_http_gateway_redis_link_t *l);
    void                              (*push)(
                                           ngx_http_gateway_redis_link_t *l,
                                           redisReply *reply);
    void                               *data;      /* the owner's */

    /* the rest is for reading only */

    char                                reason[NGX_HTTP_GATEWAY_REDIS_REASON];

    u_char                              run_id[NGX_HTTP_GATEWAY_REDIS_RUN_ID];
    ngx_int_t                           version;   /* 7 of 7.0.15 */
    int64_t                             offset;    /* its clock - ours, ms */

    unsigned                            ready:1;   /* between up and down */
    unsigned                            connected:1;
    unsigned                            pushes:1;  /* SUBSCRIBE was sent */

    /* set by the owner before start: */
    unsigned                            any_role:1;   /* a replica will do */
    unsigned                            sentinel:1;   /* no SELECT, INFO as
                                                       * of a Sentinel */
    unsigned                            cluster:1;    /* must be of one */

    ngx_connection_t                   *connection;
    ngx_resolver_ctx_t                 *resolving;
    redisReader                        *reader;
    size_t                              reply_bytes;
    ngx_uint_t                          reply_elements;

    ngx_queue_t                         commands;  /* sent, then unsent */
    ngx_queue_t                        *unsent;    /* == &commands: none */
    size_t                              unsent_pos;   /* in it */
    ngx_uint_t                          ncommands;
    size_t                              nbytes;

    ngx_http_gateway_redis_script_t    *scripts[
                                           NGX_HTTP_GATEWAY_REDIS_SCRIPTS];
    ngx_uint_t                          nscripts;

    ngx_event_t                         timer;     /* connect, deadlines */
    ngx_event_t                         retry;     /* the back-off */
    ngx_event_t                         keepalive;
    ngx_event_t                         flush;     /* posted */
    ngx_msec_t                          backoff;
    ngx_msec_t                          heard;     /* ngx_current_msec */
    ngx_msec_t                          since;     /* it is ready */
    ngx_uint_t                          attempt;   /* which address */
    ngx_log_t                           log;       /* writes into reason */
};


/* How commands find their server: standalone, Sentinel or Cluster. */

typedef struct {
    /* In each worker at its start; and at its end. */
    void                              (*start)(ngx_http_gateway_redis_t *r);
    void                              (*stop)(ngx_http_gateway_redis_t *r);

    /* Of a key; NULL where there are no slots. */
    int                               (*slot)(ngx_str_t *key);

    /* A link that is ready, for a slot, -1: any. NULL: away. */
    ngx_http_gateway_redis_link_t    *(*pick)(ngx_http_gateway_redis_t *r,
                                              int slot);

    /*
     * An error that calls for another server, or says that this one is away
     * (MOVED, ASK, TRYAGAIN, READONLY, CLUSTERDOWN, LOADING, MASTERDOWN).
     * NGX_OK: the command was sent again, or will be (it is not in any
     * link's queue when this is called); NGX_DECLINED: count it as away, the
     * caller answers NULL.
     */
    ngx_int_t                         (*error)(ngx_http_gateway_redis_t *r,
                                        ngx_http_gateway_redis_link_t *link,
                                        ngx_http_gateway_redis_command_t *cmd,
                                        redisReply *reply);

    /* How many; links, NULL or with room for that many: theirs, NULL where one
     * is away. */
    ngx_uint_t                        (*masters)(ngx_http_gateway_redis_t *r,
                                        ngx_http_gateway_redis_link_t **links);
    ngx_http_gateway_redis_link_t    *(*master)(ngx_http_gateway_redis_t *r,
                                                ngx_uint_t i);

    /*
     * In the leader, every 100 ms: see to it that all topics are subscribed
     * to, and call .._share_subscribed() when that is so, and .._share_lost()
     * when it is no longer.
     */
    void                              (*subscribe)(
                                          ngx_http_gateway_redis_t *r);
    /* It is the leader no more. */
    void                              (*unsubscribe)(
                                          ngx_http_gateway_redis_t *r);
    /* In the others, as often: be where the leader is. NULL: they are. */
    void                              (*follow)(ngx_http_gateway_redis_t *r);
} ngx_http_gateway_redis_route_t;

extern ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_standalone;
extern ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_sentinel;
extern ngx_http_gateway_redis_route_t  ngx_http_gateway_redis_cluster;


typedef struct {
    ngx_http_gateway_redis_user_t      *user;
    void                               *data;
} ngx_http_gateway_redis_use_t;


typedef struct ngx_http_gateway_redis_shctx_s
    ngx_http_gateway_redis_shctx_t;


/* The first part is of the configuration, the second of this worker. */

struct ngx_http_gateway_redis_s {
    ngx_http_gateway_redis_conf_t       conf;      /* first */

    ngx_http_gateway_redis_route_t     *route;
    ngx_http_gateway_redis_server_t    *servers;   /* of the URLs */
    ngx_uint_t                          nservers;
    ngx_str_t                           master;    /* of redis+sentinel */
    ngx_msec_t                          connect_timeout;
    ngx_flag_t                          ssl_verify;
    ngx_str_t                           ssl_ca;
    ngx_str_t                           password_file;
#if (NGX_SSL)
    ngx_ssl_t                          *ssl;       /* NULL: no TLS */
#endif
    ngx_resolver_t                     *resolver;  /* NULL: none */
    ngx_array_t                         uses;
    ngx_http_gateway_metric_t          *seconds;
    ngx_str_t                           label;     /* name="..." */
    uint32_t                            place;     /* digest of servers */
    ngx_shm_zone_t                     *zone;
    u_char                             *file;      /* of the first use */
    ngx_uint_t                          line;
    unsigned                            defined:1;

    /* run time */
    ngx_http_gateway_redis_shctx_t     *sh;
    ngx_slab_pool_t                    *shpool;
    void                               *routing;   /* the route's own */
    ngx_http_gateway_redis_link_t      *link;      /* standalone, Sentinel */
    ngx_http_gateway_redis_link_t      *subscription;   /* as above */
    ngx_uint_t                          confirmed; /* subscriptions */
    ngx_uint_t                          failures;  /* in a row, of URLs */
    ngx_uint_t                          deaf;      /* the same, to subscribe */
    ngx_event_t                         tick;
    ngx_event_t                         lost;      /* posted: answers NULL */
    ngx_queue_t                         failed;    /* commands */
    ngx_queue_t                         free;      /* commands, for reuse */
    ngx_uint_t                          nfree;
    ngx_msec_t                          beat;      /* of the last heartbeat */
    unsigned                            up:1;
    unsigned                            leads:1;
    unsigned                            subscribed:1;
    unsigned                            told:1;    /* that it is away */
    unsigned                            told_deaf:1;
    unsigned                            strayed:1; /* from the leader's
                                                    * server */
};


/* Servers, at configuration time. NGX_ERROR: was logged, with no secret. */

ngx_int_t ngx_http_gateway_redis_add_url(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis, ngx_array_t *servers, ngx_str_t *value);
ngx_int_t ngx_http_gateway_redis_set_password(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis);
ngx_int_t ngx_http_gateway_redis_set_ssl(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis);
ngx_int_t ngx_http_gateway_redis_resolve(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis);
/* what: "name", "URL" or "parameter". */
void ngx_http_gateway_redis_value_log(ngx_conf_t *cf, ngx_str_t *value,
    const char *what, const char *message);


/* Links. */

/* Connects, and again and again until stop. server may have changed: what is
 * connected is closed first (without calling down). */
void ngx_http_gateway_redis_link_init(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_t *redis);
void ngx_http_gateway_redis_link_start(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_server_t *server, ngx_msec_t delay);
/* In down: tries again after delay (ms), not after the back-off. */
void ngx_http_gateway_redis_link_later(ngx_http_gateway_redis_link_t *link,
    ngx_msec_t delay);
/* For good, down is not called; the link's memory is the owner's again. */
void ngx_http_gateway_redis_link_stop(ngx_http_gateway_redis_link_t *link);
/* Closes it, calls down and tries again after the back-off. NULL: the reason
 * is there already. */
void ngx_http_gateway_redis_link_fail(ngx_http_gateway_redis_link_t *link,
    const char *fmt, ...);
void ngx_http_gateway_redis_link_reason(ngx_http_gateway_redis_link_t *link,
    const void *text, size_t len);
/* Of its events. */
void ngx_http_gateway_redis_link_retry(ngx_event_t *ev);
void ngx_http_gateway_redis_link_read(ngx_event_t *rev);
void ngx_http_gateway_redis_link_write(ngx_event_t *wev);
/* Whether the script was sent on it; from now on it was. */
ngx_uint_t ngx_http_gateway_redis_link_knows(
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_script_t *script);

/* Takes a command made by .._command_make(), at the end of its queue; RUN_ID
 * and DEADLINE are stamped. NGX_DECLINED: too much waits. Is sent when the
 * event loop comes round. */
ngx_int_t ngx_http_gateway_redis_link_send(
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd);


/* What is said on a link besides commands. */

ngx_int_t ngx_http_gateway_redis_hello(ngx_http_gateway_redis_link_t *link);
void ngx_http_gateway_redis_link_keepalive(ngx_event_t *ev);
redisReader *ngx_http_gateway_redis_reader(
    ngx_http_gateway_redis_link_t *link);
/* Whether INFO says that of this field. */
ngx_uint_t ngx_http_gateway_redis_info_is(gw_str_t info, const char *name,
    const char *value);

#if (NGX_SSL)
ngx_int_t ngx_http_gateway_redis_tls_start(ngx_connection_t *c,
    ngx_http_gateway_redis_t *redis, ngx_http_gateway_redis_server_t *server);
ngx_int_t ngx_http_gateway_redis_tls_check(ngx_connection_t *c,
    ngx_http_gateway_redis_server_t *server);
#endif


/* Commands. */

/* Encoded; not given to a link yet. NULL: no memory, or over the limits. */
ngx_http_gateway_redis_command_t *ngx_http_gateway_redis_command_make(
    ngx_http_gateway_redis_t *redis, ngx_str_t *argv, ngx_uint_t argc,
    ngx_http_gateway_redis_handler_pt handler, void *data);
/* Made, and sent on this link; its errors come to the handler as they are.
 * For the client's own (handshakes, ASKING, CLUSTER SLOTS, ...). */
ngx_int_t ngx_http_gateway_redis_command_on(
    ngx_http_gateway_redis_link_t *link, ngx_str_t *argv, ngx_uint_t argc,
    ngx_http_gateway_redis_handler_pt handler, void *data);
void ngx_http_gateway_redis_command_free(
    ngx_http_gateway_redis_command_t *cmd);
/* All memory of a worker that ends. */
void ngx_http_gateway_redis_command_end(ngx_http_gateway_redis_t *redis);
/* Answered NULL, from an event; in no queue. */
void ngx_http_gateway_redis_command_lost(
    ngx_http_gateway_redis_command_t *cmd);
/* Calls the handler, and frees it; in no queue. reply NULL: none came. */
void ngx_http_gateway_redis_command_done(
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply);
/* A reply has come; the command is in no queue. */
void ngx_http_gateway_redis_command_reply(
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd, redisReply *reply);
void ngx_http_gateway_redis_command_stamp(
    ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd);

/* Puts a script's text in place of its digest. */
ngx_int_t ngx_http_gateway_redis_command_text(
    ngx_http_gateway_redis_command_t *cmd);
/* Of the event `lost`. */
void ngx_http_gateway_redis_lost_handler(ngx_event_t *ev);

/* Whether an error reply begins with the word. */
ngx_uint_t ngx_http_gateway_redis_error_is(redisReply *reply, char *word);


/* Where there is one server at a time. */

/* A link for the subscriptions, which stays on the server of redis->link. */
ngx_http_gateway_redis_link_t *ngx_http_gateway_redis_subscription(
    ngx_http_gateway_redis_t *redis);
/* SUBSCRIBE to all topics, sharded ones too. */
ngx_int_t ngx_http_gateway_redis_subscribe_all(
    ngx_http_gateway_redis_link_t *link);


/* State, told by the route. */

/* Commands are taken by (a part of) the servers; are no longer: why. */
void ngx_http_gateway_redis_is_up(ngx_http_gateway_redis_t *redis);
void ngx_http_gateway_redis_is_down(ngx_http_gateway_redis_t *redis,
    ngx_str_t *server, char *reason);


/* The node's share. */

ngx_int_t ngx_http_gateway_redis_share_zone(ngx_conf_t *cf,
    ngx_http_gateway_redis_t *redis);
/* This worker's commands are not taken, or are: known to all workers. */
void ngx_http_gateway_redis_share_away(ngx_http_gateway_redis_t *redis,
    ngx_uint_t away);
/* No worker is away, and the leader is subscribed. */
ngx_uint_t ngx_http_gateway_redis_share_up(ngx_http_gateway_redis_t *redis);
/* Takes the lead where nobody has it. */
void ngx_http_gateway_redis_share_lead(ngx_http_gateway_redis_t *redis);
/* Called in a living worker for one that is dead, and at one's own end. */
void ngx_http_gateway_redis_share_died(ngx_http_gateway_redis_t *redis,
    ngx_uint_t slot);
void ngx_http_gateway_redis_share_tick(ngx_http_gateway_redis_t *redis);

/* All topics are subscribed to, on a server of that run id (40 zeros: on
 * several); not any more. */
void ngx_http_gateway_redis_share_subscribed(ngx_http_gateway_redis_t *redis,
    u_char *run_id);
/* The run id, while the node is subscribed; else 0. Also 0 where the leader is
 * still one of before a reload that moves on to other servers. */
ngx_uint_t ngx_http_gateway_redis_share_server(
    ngx_http_gateway_redis_t *redis, u_char *run_id);
void ngx_http_gateway_redis_share_lost(ngx_http_gateway_redis_t *redis);

/* (s)message for the users; anything else is ignored. */
void ngx_http_gateway_redis_share_message(ngx_http_gateway_redis_t *redis,
    redisReply *reply);

/*
 * The channels to subscribe to: how many, and the i-th, NGX_DONE at the end.
 * buf has room for the longest, *name is in it. *bucket is that of a sharded
 * one, else -1.
 */
ngx_uint_t ngx_http_gateway_redis_share_topics(
    ngx_http_gateway_redis_t *redis);
size_t ngx_http_gateway_redis_share_room(ngx_http_gateway_redis_t *redis);
ngx_int_t ngx_http_gateway_redis_share_topic(ngx_http_gateway_redis_t *redis,
    ngx_uint_t i, u_char *buf, ngx_str_t *name, ngx_int_t *bucket);


extern ngx_module_t  ngx_http_gateway_redis_module;


#endif /* NGX_HTTP_GATEWAY_REDIS_INT_H_INCLUDED */
