/*
 * What the two files of the Cluster's route share: where commands go, and
 * subscriptions.
 */

#ifndef NGX_HTTP_GATEWAY_REDIS_CLUSTER_H_INCLUDED
#define NGX_HTTP_GATEWAY_REDIS_CLUSTER_H_INCLUDED


#include "ngx_http_gateway_redis_ask.h"
#include "../src/redis_slot.h"


typedef struct ngx_http_gateway_redis_member_s
    ngx_http_gateway_redis_member_t;


struct ngx_http_gateway_redis_member_s {
    ngx_queue_t                         queue;
    ngx_http_gateway_redis_place_t      place;
    ngx_http_gateway_redis_link_t       link;      /* commands */
    ngx_http_gateway_redis_link_t       sub;       /* the leader's */
    ngx_queue_t                         sent;      /* topics, in order: their
                                                    * confirmations are due */
    ngx_uint_t                          topics;    /* that belong here */
    ngx_msec_t                          used;      /* ngx_current_msec */
    unsigned                            master:1;  /* has slots */
    unsigned                            serves:1;  /* the same, of a map that
                                                    * is being read */
    unsigned                            told:1;    /* that it is away */
    unsigned                            tried:1;   /* link was up or down */
    unsigned                            subscribing:1;  /* sub is started */
};


typedef enum {
    ngx_http_gateway_redis_topic_none = 0,
    ngx_http_gateway_redis_topic_sent,
    ngx_http_gateway_redis_topic_confirmed
} ngx_http_gateway_redis_topic_e;


typedef struct {
    ngx_queue_t                         queue;     /* of node->sent */
    ngx_http_gateway_redis_member_t      *node;
    ngx_http_gateway_redis_topic_e      state;
    int                                 slot;      /* -1: any node */
} ngx_http_gateway_redis_topic_t;


typedef struct {
    ngx_http_gateway_redis_t           *redis;
    ngx_http_gateway_redis_ask_t        ask;
    ngx_http_gateway_redis_wait_t       wait;
    ngx_str_t                           argv[2];
    ngx_http_gateway_redis_place_t      asked;     /* if not of the URL */

    ngx_queue_t                         nodes;
    ngx_uint_t                          nnodes;
    ngx_http_gateway_redis_member_t      *slots[GW_REDIS_SLOTS];

    /* subscriptions */
    ngx_http_gateway_redis_topic_t     *topics;    /* NULL: not yet made */
    ngx_uint_t                          ntopics;
    ngx_http_gateway_redis_member_t      *any;       /* has those of no slot */
    u_char                             *buf;       /* room for a topic */

    unsigned                            mapped:1;  /* slots are known */
    unsigned                            known:1;   /* what follows */
    unsigned                            sharded:1; /* SSUBSCRIBE is there */
} ngx_http_gateway_redis_cluster_ctx_t;


/* Fetches the slots anew, soon. */
void ngx_http_gateway_redis_cluster_refresh(
    ngx_http_gateway_redis_cluster_ctx_t *ctx);

/* MOVED: from now on that slot is there. The node, NULL: its address or
 * memory is missing. */
ngx_http_gateway_redis_member_t *ngx_http_gateway_redis_cluster_moved(
    ngx_http_gateway_redis_cluster_ctx_t *ctx, gw_redis_error_t *error,
    ngx_http_gateway_redis_server_t *by);

void ngx_http_gateway_redis_cluster_sub_init(
    ngx_http_gateway_redis_member_t *node);
void ngx_http_gateway_redis_cluster_subscribe(
    ngx_http_gateway_redis_t *redis);
void ngx_http_gateway_redis_cluster_unsubscribe(
    ngx_http_gateway_redis_t *redis);


#endif /* NGX_HTTP_GATEWAY_REDIS_CLUSTER_H_INCLUDED */
