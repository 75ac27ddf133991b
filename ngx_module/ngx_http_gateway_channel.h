/*
 * Channels, for the features that publish to them and serve them.
 */

#ifndef NGX_HTTP_GATEWAY_CHANNEL_H_INCLUDED
#define NGX_HTTP_GATEWAY_CHANNEL_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../src/channel_log.h"
#include "ngx_http_gateway_metrics.h"
#include "ngx_http_gateway_redis.h"


/* One gateway_channel_zone; in the configuration's pool, read-only at run
 * time but for shpool and sh, which are set when the zone is mapped. */

typedef struct {
    ngx_str_t                      name;
    ngx_uint_t                     history;      /* messages */
    ngx_msec_t                     history_ttl;  /* ms */
    size_t                         max_message;  /* bytes of a body */
    ngx_http_gateway_redis_t      *redis;        /* NULL: not shared */
    void                          *mirror;       /* of this worker */
    ngx_msec_t                     leeway;       /* of tokens, at most */

    void                          *revoke;       /* with redis= */
    uint64_t                       revoke_seen;  /* by this worker */
    time_t                         revoke_swept;

    ngx_shm_zone_t                *shm_zone;
    ngx_slab_pool_t               *shpool;
    void                          *sh;

    ngx_http_gateway_metric_t     *published;
    ngx_http_gateway_metric_t     *delivered;
    ngx_http_gateway_metric_t     *dropped_full;
    ngx_http_gateway_metric_t     *dropped_overflow;
    ngx_http_gateway_metric_t     *dropped_forbidden;
    ngx_http_gateway_metric_t     *dropped_limited;
    ngx_http_gateway_metric_t     *latency;
    ngx_str_t                      label;        /* zone="name" */
} ngx_http_gateway_channel_zone_t;


/* The state of a channel at one moment. */

typedef struct {
    uint64_t                       seq;
    uint64_t                       first;        /* oldest message kept */
    ngx_uint_t                     subscribers;  /* of all workers, nodes */
    u_char                         epoch[GW_EPOCH_LEN];

    /* of ngx_http_gateway_channel_read(): where it goes on */
    gw_cursor_t                    next;
    uint64_t                       next_seq;     /* 0: has not begun */
} ngx_http_gateway_channel_info_t;


/*
 * The zone of that name; the directive that asks for it need not stand after
 * its gateway_channel_zone: an unknown name fails when the configuration has
 * been read. NULL: no memory.
 */
ngx_http_gateway_channel_zone_t *ngx_http_gateway_channel_zone_get(
    ngx_conf_t *cf, ngx_str_t *name);

/*
 * Publishes m on the channel `name`: m->resource, seq and epoch are filled
 * in here, and m->time where it is 0. expected is the version that the
 * channel must have, -1 for any.
 *
 * NGX_OK        done, info says as what; subscribers are served by a posted
 *               event, not before this returns
 * NGX_DECLINED  the channel has another version: info->seq
 * NGX_ERROR     the zone is full of what cannot be dropped
 */
ngx_int_t ngx_http_gateway_channel_publish(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name, gw_message_t *m,
    int64_t expected, ngx_http_gateway_channel_info_t *info);

/* NGX_OK, or NGX_DECLINED: there is no such channel. */
ngx_int_t ngx_http_gateway_channel_info(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_channel_info_t *info);

/* Drops its messages; NGX_OK, or NGX_DECLINED: there is no such channel. */
ngx_int_t ngx_http_gateway_channel_delete(
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name);

/*
 * Copies the envelope of the first message at or after *seq, of the epoch in
 * info, out into pool, and sets *seq to its number.
 *
 * NGX_OK, NGX_DONE: there is none, NGX_DECLINED: the epoch has changed,
 * NGX_ERROR: no memory
 */
ngx_int_t ngx_http_gateway_channel_read(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *name, ngx_http_gateway_channel_info_t *info, uint64_t *seq,
    ngx_pool_t *pool, ngx_str_t *envelope);


/*
 * Makes a message of a body as it came: JSON if it parses, else text if it
 * is UTF-8, else binary. A JSON object with a string `type` and a `payload`
 * keeps these. The spans point into the body or into pool.
 */

typedef enum {
    NGX_HTTP_GATEWAY_BODY_ANY = 0,   /* find out */
    NGX_HTTP_GATEWAY_BODY_JSON,
    NGX_HTTP_GATEWAY_BODY_TEXT,
    NGX_HTTP_GATEWAY_BODY_BINARY
} ngx_http_gateway_body_e;

/* NGX_OK, NGX_DECLINED: it is not what kind says, NGX_ERROR: no memory */
ngx_int_t ngx_http_gateway_message_init(gw_message_t *m, ngx_pool_t *pool,
    ngx_str_t *body, ngx_http_gateway_body_e kind);

/* What comes beside a body: high, normal or low, in any case. NGX_OK, or
 * NGX_DECLINED: it is none of them. */
ngx_int_t ngx_http_gateway_message_priority(ngx_str_t *value,
    ngx_uint_t *priority);

/* The same for 1 to 255 bytes of UTF-8, in pool as a JSON string; or
 * NGX_ERROR: no memory. */
ngx_int_t ngx_http_gateway_message_type(ngx_pool_t *pool, ngx_str_t *value,
    gw_str_t *type);


/* A request's body in one piece, from memory or from the file it went to.
 * NGX_OK, or a status: 413 where it is over max bytes. */
ngx_int_t ngx_http_gateway_message_body(ngx_http_request_t *r, size_t max,
    ngx_str_t *body);


/* The channel that a request to gateway_publisher is about; NULL: it is no
 * such request, or names none. */
ngx_str_t *ngx_http_gateway_publisher_name(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t **zone);


/* What a location says of channels; evaluated for a request. */

/* gateway_channel: NGX_OK (len 0 where there is none), NGX_DECLINED: not a
 * channel's name, NGX_ERROR */
ngx_int_t ngx_http_gateway_channel_name(ngx_http_request_t *r,
    ngx_str_t *name);

/*
 * What a client may subscribe to and publish on: compiled patterns, one
 * after the other, each behind its length in two bytes. Made at the upgrade;
 * the part that needed variables or claims is the client's own.
 */
typedef struct ngx_http_gateway_allow_s  ngx_http_gateway_allow_t;

typedef struct {
    u_char                        *own[2];       /* from ngx_alloc() */
    size_t                         own_len[2];
    u_char                        *claim[2];
    size_t                         claim_len[2];
} ngx_http_gateway_allow_lists_t;

struct ngx_http_gateway_allow_s {
    void                          *conf;         /* what needs no request */
    ngx_http_gateway_allow_lists_t
                                  *lists;        /* NULL: nothing else */
};

#define NGX_HTTP_GATEWAY_SUBSCRIBE  0
#define NGX_HTTP_GATEWAY_PUBLISH    1

/* Evaluates both directives and the claim for r; NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_allow_init(ngx_http_request_t *r,
    ngx_http_gateway_allow_t *allow);
/* The claim's part alone, for a renewed token. */
ngx_int_t ngx_http_gateway_allow_renew(ngx_http_request_t *r,
    ngx_http_gateway_allow_t *allow);
void ngx_http_gateway_allow_free(ngx_http_gateway_allow_t *allow);

ngx_uint_t ngx_http_gateway_allowed(ngx_http_gateway_allow_t *allow,
    ngx_uint_t what, ngx_str_t *name);


#endif /* NGX_HTTP_GATEWAY_CHANNEL_H_INCLUDED */
