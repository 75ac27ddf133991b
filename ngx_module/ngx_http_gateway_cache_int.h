/*
 * What the files of gateway_cache share.
 *
 *   _module.c    directives, configuration, variable
 *   _zone.c      gateway_cache_zone: shared memory, wake-ups, counters, purge
 *   _lookup.c    PRECONTENT: looks up and decides
 *   _wait.c      requests that wait for another one's answer
 *   _follow.c    requests that are served while it comes
 *   _serve.c     answers from the store
 *   _filter.c    what comes from upstream: revalidation, stale on error
 *   _store.c     takes responses into the store
 *   _fields.c    header fields: as spans, in the store, in the request
 *   _language.c  variants by language
 *   _invalidate.c  unsafe methods
 *   _purge_module.c  gateway_cache_purge
 *   _remote*.c   the second level, in Redis
 *
 * All access to a zone's store is with the mutex of its slab pool, but for
 * reading what is pinned. Times of the store are Unix ms.
 */

#ifndef NGX_HTTP_GATEWAY_CACHE_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_CACHE_INT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_metrics.h"
#include "ngx_http_gateway_redis.h"
#include "../src/cache_policy.h"
#include "../src/cache_status.h"
#include "../src/cache_store.h"


#define NGX_HTTP_GATEWAY_CACHE_MIN_ZONE   (128 * 1024)

/* s: how long a stale object is kept for those who may be served it, or to be
 * validated */
#define NGX_HTTP_GATEWAY_CACHE_KEEP       86400

/* ms: how long nobody waits for a key after an answer that was not stored,
 * and after an error */
#define NGX_HTTP_GATEWAY_CACHE_MARK       10000
#define NGX_HTTP_GATEWAY_CACHE_MARK_ERROR 1000


/* $gateway_cache_status */

typedef enum {
    NGX_HTTP_GATEWAY_CACHE_NONE = 0,
    NGX_HTTP_GATEWAY_CACHE_HIT,
    NGX_HTTP_GATEWAY_CACHE_REDIS,
    NGX_HTTP_GATEWAY_CACHE_MISS,
    NGX_HTTP_GATEWAY_CACHE_STALE,
    NGX_HTTP_GATEWAY_CACHE_UPDATING,
    NGX_HTTP_GATEWAY_CACHE_REVALIDATED,
    NGX_HTTP_GATEWAY_CACHE_BYPASS,
    NGX_HTTP_GATEWAY_CACHE_STATUSES
} ngx_http_gateway_cache_status_e;

extern ngx_str_t  ngx_http_gateway_cache_statuses[];


/* gateway_cache_stale */

#define NGX_HTTP_GATEWAY_CACHE_ON_ERROR    0x0001
#define NGX_HTTP_GATEWAY_CACHE_ON_TIMEOUT  0x0002
#define NGX_HTTP_GATEWAY_CACHE_ON_500      0x0004
#define NGX_HTTP_GATEWAY_CACHE_ON_501      0x0008
#define NGX_HTTP_GATEWAY_CACHE_ON_502      0x0010
#define NGX_HTTP_GATEWAY_CACHE_ON_503      0x0020
#define NGX_HTTP_GATEWAY_CACHE_ON_504      0x0040
#define NGX_HTTP_GATEWAY_CACHE_ON_5XX      0x00fc   /* and all others */
#define NGX_HTTP_GATEWAY_CACHE_ON_OTHER    0x0080
#define NGX_HTTP_GATEWAY_CACHE_ON_UPDATING 0x0100
#define NGX_HTTP_GATEWAY_CACHE_ON_BREAKER  0x0200
#define NGX_HTTP_GATEWAY_CACHE_STALE_OFF   0x8000


typedef struct ngx_http_gateway_cache_remote_s
    ngx_http_gateway_cache_remote_t;

#define NGX_HTTP_GATEWAY_CACHE_EPOCH  24
#define NGX_HTTP_GATEWAY_CACHE_ENTRY  42  /* of a stream, and a zero */

typedef struct {
    uint64_t                            secret[2];
    gw_store_t                         *store;
    void                               *base;    /* of the store */
    size_t                              size;

    /* of level 2: the last purge that this node knows of (the leader's), and
     * workers that owe it purges */
    u_char                              epoch[NGX_HTTP_GATEWAY_CACHE_EPOCH];
    u_char                              entry[NGX_HTTP_GATEWAY_CACHE_ENTRY];
    uint64_t                            owes[GW_STORE_SLOTS / 64];
    ngx_uint_t                          lost;    /* one died that did */
} ngx_http_gateway_cache_sh_t;


/* One gateway_cache_zone. */

typedef struct {
    ngx_str_t                           name;
    size_t                              max_object;
    ngx_shm_zone_t                     *shm_zone;  /* NULL: not defined */
    ngx_slab_pool_t                    *shpool;
    ngx_http_gateway_cache_sh_t        *sh;
    ngx_http_gateway_redis_t           *redis;     /* NULL: one level */

    /* in the leader: what was missed of others' purges is not known yet, is
     * being asked for, has to be asked for once more */
    unsigned                            behind:1;
    unsigned                            asking:1;
    unsigned                            again:1;

    ngx_str_t                           label;     /* zone="name" */
    ngx_str_t                           hit;       /* name; hit; ttl= */
    ngx_http_gateway_metric_t          *requests
                                          [NGX_HTTP_GATEWAY_CACHE_STATUSES];
} ngx_http_gateway_cache_zone_t;


typedef struct {
    ngx_array_t                         zones;     /* of pointers */
} ngx_http_gateway_cache_main_conf_t;


/* One code of gateway_cache_valid; status 0: any. */

typedef struct {
    ngx_uint_t                          status;
    uint32_t                            seconds;
} ngx_http_gateway_cache_valid_t;


typedef struct {
    ngx_http_gateway_cache_zone_t      *zone;      /* NULL: off */
    ngx_http_complex_value_t           *key;       /* NULL: the default */
    ngx_array_t                        *valid;
    ngx_array_t                        *bypass;    /* of complex values */
    ngx_array_t                        *store;
    ngx_flag_t                          lock;
    ngx_msec_t                          lock_timeout;
    ngx_uint_t                          stale;
    ngx_str_t                           tags;      /* a field's name */
    unsigned                            never:1;
} ngx_http_gateway_cache_loc_conf_t;


/* What the store keeps with each object, and what is its own. */

typedef struct {
    gw_cache_meta_t                     policy;
    uint32_t                            fields;    /* their number */
    uint32_t                            ready;     /* to be followed */
} ngx_http_gateway_cache_meta_t;


/* A stored response's field is one of these, where nginx has a place of its
 * own for it in headers_out. */

typedef enum {
    NGX_HTTP_GATEWAY_CACHE_PLAIN = 0,
    NGX_HTTP_GATEWAY_CACHE_CONTENT_TYPE,
    NGX_HTTP_GATEWAY_CACHE_CONTENT_LENGTH,
    NGX_HTTP_GATEWAY_CACHE_CONTENT_ENCODING,
    NGX_HTTP_GATEWAY_CACHE_DATE,
    NGX_HTTP_GATEWAY_CACHE_SERVER,
    NGX_HTTP_GATEWAY_CACHE_ETAG,
    NGX_HTTP_GATEWAY_CACHE_LAST_MODIFIED,
    NGX_HTTP_GATEWAY_CACHE_EXPIRES,
    NGX_HTTP_GATEWAY_CACHE_CACHE_CONTROL,
    NGX_HTTP_GATEWAY_CACHE_ACCEPT_RANGES,
    NGX_HTTP_GATEWAY_CACHE_AGE,
    NGX_HTTP_GATEWAY_CACHE_LOCATION  /* nginx may make it absolute */
} ngx_http_gateway_cache_field_e;

typedef struct {
    u_char                             *lowcase;
    u_char                              kind;
    u_char                              hidden;    /* by proxy_hide_header */
} ngx_http_gateway_cache_hint_t;


/* A stored response as it is read; the spans point into the store, or into
 * the request's pool. */

typedef struct {
    gw_field_t                         *fields;
    ngx_http_gateway_cache_hint_t      *hints;
    size_t                              n;
} ngx_http_gateway_cache_fields_t;


/* What of a request was before its content handler. */

typedef struct {
    ngx_http_headers_in_t               headers_in;
    ngx_http_headers_out_t              headers_out;
    ngx_uint_t                          headers_out_last;
} ngx_http_gateway_cache_saved_t;


/* One request; that of a background update has its own. */

typedef struct {
    ngx_http_request_t                 *request;
    ngx_http_gateway_cache_loc_conf_t  *conf;
    ngx_http_gateway_cache_zone_t      *zone;

    gw_cache_request_t                  req;
    gw_store_id_t                       id;
    int64_t                             arrived;       /* ms */
    int64_t                             request_time;  /* ms: to upstream */

    /* what was found */
    gw_store_ref_t                      ref;
    gw_store_info_t                     info;
    ngx_http_gateway_cache_meta_t       meta;
    ngx_http_gateway_cache_fields_t     stored;
    uint64_t                            looked;        /* gw_store_stored() */

    /* what is being fetched */
    gw_cache_meta_t                     fetched;
    uint64_t                            stamp;
    gw_store_fill_t                     fill;
    gw_store_ref_t                      object;
    gw_store_new_t                     *alias;         /* NULL: none */

    ngx_http_gateway_cache_saved_t     *saved;         /* NULL: a hit */
    ngx_http_gateway_cache_remote_t    *remote;        /* NULL: level 1 */

    /* who waits */
    ngx_queue_t                         queue;
    ngx_event_t                         timer;

    /* what Cache-Status says */
    ngx_http_gateway_cache_status_e     status;
    gw_cache_fwd_e                      fwd;
    ngx_uint_t                          fwd_status;
    int64_t                             ttl;
    gw_str_t                            detail;

    unsigned                            keyed:1;      /* id.text is there */
    unsigned                            pinned:1;
    unsigned                            waiting:1;
    unsigned                            cleanup:1;
    unsigned                            collapsed:1;  /* has waited */
    unsigned                            alone:1;      /* waits no more */
    unsigned                            fetching:1;   /* upstream is asked */
    unsigned                            stripped:1;   /* of conditions */
    unsigned                            conditional:1; /* by our validators */
    unsigned                            filling:1;
    unsigned                            has_ttl:1;
    unsigned                            stored_now:1;
    unsigned                            answered:1;   /* the header is done */
    unsigned                            replace:1;    /* body is the store's */
    unsigned                            sent:1;
    unsigned                            drain:1;      /* body is not sent */
    unsigned                            background:1;
    unsigned                            no_store:1;
} ngx_http_gateway_cache_ctx_t;


extern ngx_module_t  ngx_http_gateway_cache_module;


/* _module.c */

/* The ctx of r, also after an internal redirect; NULL: it has none. */
ngx_http_gateway_cache_ctx_t *ngx_http_gateway_cache_ctx(
    ngx_http_request_t *r);

/* A new one: what it holds is released with r's pool. NULL: no memory. */
ngx_http_gateway_cache_ctx_t *ngx_http_gateway_cache_ctx_create(
    ngx_http_request_t *r, ngx_http_gateway_cache_loc_conf_t *conf);

static ngx_inline int64_t
ngx_http_gateway_cache_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


/* _zone.c */

char *ngx_http_gateway_cache_zone_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

/* The zone of that name, which may be defined later; NULL: no memory. */
ngx_http_gateway_cache_zone_t *ngx_http_gateway_cache_zone_get(
    ngx_conf_t *cf, ngx_str_t *name);

void ngx_http_gateway_cache_zone_adopt(ngx_http_gateway_cache_zone_t *zone);

static ngx_inline gw_store_t *
ngx_http_gateway_cache_lock(ngx_http_gateway_cache_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    return zone->sh->store;
}


static ngx_inline void
ngx_http_gateway_cache_unlock(ngx_http_gateway_cache_zone_t *zone)
{
    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* After the lock was released. */
void ngx_http_gateway_cache_wake(gw_store_wake_t *wake);

/* Digest of a key's text under the zone's secret; hash of a tag. */
void ngx_http_gateway_cache_digest(ngx_http_gateway_cache_zone_t *zone,
    const void *data, size_t len, unsigned char *digest);
uint64_t ngx_http_gateway_cache_tag(ngx_http_gateway_cache_zone_t *zone,
    gw_str_t tag);

/* Purges all variants of one key; returns the number of objects of this
 * node. */
ngx_uint_t ngx_http_gateway_cache_purge_one(
    ngx_http_gateway_cache_zone_t *zone, ngx_str_t *key);


/* _lookup.c */

ngx_int_t ngx_http_gateway_cache_handler(ngx_http_request_t *r);

void ngx_http_gateway_cache_unpin(ngx_http_gateway_cache_ctx_t *ctx);

/* The key of r's location: NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_key(ngx_http_request_t *r, ngx_str_t *key);

/* The variant of what the request says in the fields of a spec: NGX_OK, or
 * NGX_DECLINED: neither look up nor store. */
ngx_int_t ngx_http_gateway_cache_variant(ngx_http_gateway_cache_ctx_t *ctx,
    gw_str_t spec, unsigned char *digest);

/* The same, as it was before it is digested. */
#define NGX_HTTP_GATEWAY_CACHE_VARY  4096
ngx_int_t ngx_http_gateway_cache_variant_text(
    ngx_http_gateway_cache_ctx_t *ctx, gw_str_t spec, u_char *text,
    size_t *len);


/* _wait.c */

/* NGX_AGAIN: the request waits, and its phases run again when woken. */
ngx_int_t ngx_http_gateway_cache_park(ngx_http_gateway_cache_ctx_t *ctx);

/* Makes it wait for whatever the caller does: NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_hold(ngx_http_gateway_cache_ctx_t *ctx);
void ngx_http_gateway_cache_resume(ngx_http_gateway_cache_ctx_t *ctx);
void ngx_http_gateway_cache_woken(void);
void ngx_http_gateway_cache_wait_init(void);


/* _follow.c */

void ngx_http_gateway_cache_follow_init(void);
void ngx_http_gateway_cache_follow_woken(void);

/* Whether what is being filled (ref, info, meta) may be served to ctx while
 * it comes. */
ngx_uint_t ngx_http_gateway_cache_follow_fits(
    ngx_http_gateway_cache_ctx_t *ctx);

/* Serves it: NGX_DONE, or a status. */
ngx_int_t ngx_http_gateway_cache_follow(ngx_http_gateway_cache_ctx_t *ctx);


/* _serve.c */

/* Reads the header of the pinned object: NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_read(ngx_http_gateway_cache_ctx_t *ctx);

/* Puts the stored response, for what the client has asked, into headers_out,
 * where nothing of another response may be. */
ngx_int_t ngx_http_gateway_cache_headers(ngx_http_gateway_cache_ctx_t *ctx);

/* Its body; NULL: no memory. */
ngx_chain_t *ngx_http_gateway_cache_body(ngx_http_gateway_cache_ctx_t *ctx);

/* The whole of it: what the phase's handler returns. */
ngx_int_t ngx_http_gateway_cache_serve(ngx_http_gateway_cache_ctx_t *ctx);

/* Cache-Status, and the counter. */
ngx_int_t ngx_http_gateway_cache_report(ngx_http_gateway_cache_ctx_t *ctx);


/* _filter.c */

ngx_int_t ngx_http_gateway_cache_filter_init(ngx_conf_t *cf);

/* Serves a stale response where the breaker is open: see
 * ngx_http_gateway_breaker_stale. */
ngx_int_t ngx_http_gateway_cache_breaker(ngx_http_request_t *r);


/* _store.c */

/* Decides about a response of upstream, and begins to store it. */
ngx_int_t ngx_http_gateway_cache_store_begin(
    ngx_http_gateway_cache_ctx_t *ctx, gw_fields_t fields);

/* A 304 about the pinned object: it is updated, and ctx is as if that had
 * been found. */
ngx_int_t ngx_http_gateway_cache_store_update(
    ngx_http_gateway_cache_ctx_t *ctx, gw_fields_t fresh);

/* Adds what is in the chain, and ends the object with the response. */
void ngx_http_gateway_cache_store_body(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_chain_t *in);

void ngx_http_gateway_cache_store_end(ngx_http_gateway_cache_ctx_t *ctx);

/* Gives up; nobody waits for this key for `mark` ms, 0: the next one takes
 * over. May be called at any time. */
void ngx_http_gateway_cache_store_abort(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_msec_t mark);


/* _remote_look.c: level 2, where there is one */

/* Looks the request up, and asks for the right to fetch where `lock`. What is
 * found is in level 1 when the phases run again. NGX_AGAIN; NGX_DECLINED: go
 * on; NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_remote_look(
    ngx_http_gateway_cache_ctx_t *ctx, ngx_uint_t lock);
void ngx_http_gateway_cache_remote_cancel(ngx_http_gateway_cache_ctx_t *ctx);


/* _remote_store.c */

/* Remembers what is about to be stored. */
void ngx_http_gateway_cache_remote_describe(
    ngx_http_gateway_cache_ctx_t *ctx, const gw_store_new_t *n,
    gw_fields_t fields);

/* Stores the object, which is pinned. */
void ngx_http_gateway_cache_remote_store(ngx_http_gateway_cache_ctx_t *ctx,
    gw_store_ref_t *ref);

/* Gives the right to fetch back; nobody waits for it for `mark` ms. */
void ngx_http_gateway_cache_remote_release(
    ngx_http_gateway_cache_ctx_t *ctx, ngx_msec_t mark);


/* _remote_node.c */

/* Purges a key, which level 1 has not any more, in level 2 and on the other
 * nodes. */
void ngx_http_gateway_cache_purge_others(ngx_http_gateway_cache_zone_t *zone,
    ngx_str_t *key);

/* In a living worker: the one in that slot is gone. */
void ngx_http_gateway_cache_remote_died(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t slot);


/* _fields.c */

/* The client's fields: NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_request_fields(ngx_http_request_t *r,
    ngx_list_t *list, gw_fields_t *fields);

/* Those of r's upstream as they came, but what nginx has rewritten as it will
 * be sent. */
ngx_int_t ngx_http_gateway_cache_response_fields(ngx_http_request_t *r,
    gw_fields_t *fields);

/* As they stand in the store, and back. */
ngx_int_t ngx_http_gateway_cache_encode(ngx_http_request_t *r,
    gw_fields_t fields, ngx_str_t *text, ngx_uint_t *n);
ngx_int_t ngx_http_gateway_cache_decode(ngx_pool_t *pool, ngx_str_t *text,
    ngx_uint_t n, ngx_http_gateway_cache_fields_t *fields);

/* From one with the kind and whether it is hidden, as another node wrote it:
 * NGX_OK, NGX_DECLINED: not as it could be, NGX_ERROR. */
ngx_int_t ngx_http_gateway_cache_adopt(ngx_pool_t *pool, gw_str_t fields,
    ngx_str_t *text, ngx_uint_t *n);

/* Hides the client's conditions and range from the content handler, and puts
 * ours there; undone by _restore(). */
ngx_int_t ngx_http_gateway_cache_strip(ngx_http_gateway_cache_ctx_t *ctx);
void ngx_http_gateway_cache_restore(ngx_http_gateway_cache_ctx_t *ctx);


/* _language.c: the variant of the language that a request prefers, and that
 * of a response with this spec, as text; NGX_DECLINED: there is none. */

#define NGX_HTTP_GATEWAY_CACHE_LANGUAGE  64  /* bytes of a tag */
#define NGX_HTTP_GATEWAY_CACHE_LANGUAGE_TEXT                                 \
    (NGX_HTTP_GATEWAY_CACHE_LANGUAGE + 17)

ngx_int_t ngx_http_gateway_cache_preferred(gw_fields_t request, u_char *text,
    size_t *len);
ngx_int_t ngx_http_gateway_cache_written(gw_str_t spec, gw_fields_t response,
    u_char *text, size_t *len);


/* _invalidate.c */

/* After the answer to an unsafe method (RFC 9111, 4.4). */
void ngx_http_gateway_cache_invalidate(ngx_http_gateway_cache_ctx_t *ctx,
    gw_fields_t fields);

/* Whether the answer to a POST says that it is what a GET would get (RFC
 * 9110, 9.3.3): Content-Location is the request's own target. */
ngx_uint_t ngx_http_gateway_cache_represents(
    ngx_http_gateway_cache_ctx_t *ctx, gw_fields_t fields);


#endif /* NGX_HTTP_GATEWAY_CACHE_INT_H_INCLUDED */
