/*
 * What the files of gateway_jwt share with each other, and with nobody else:
 *
 * ..._jwt_module.c     directives, their configuration, registration
 * ..._jwt_keys.c       key sets: sources read at configuration time, zones
 * ..._jwt_refresh.c    sources that are fetched, and who waits for them
 * ..._jwt_token.c      where a request carries its token; masking it
 * ..._jwt_cache.c      verified tokens, remembered
 * ..._jwt_access.c     the decision, and ngx_http_gateway_jwt.h
 * ..._jwt_revoked.c    tokens that are revoked
 * ..._jwt_variables.c  the variables
 *
 * A worker is one thread and a verification never waits, so key sets are
 * swapped between verifications and need no reference counts. Tokens do have
 * them: the cache and any number of requests share one.
 */

#ifndef NGX_HTTP_GATEWAY_JWT_INT_H_INCLUDED
#define NGX_HTTP_GATEWAY_JWT_INT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "../src/jwk.h"
#include "../src/jwt.h"
#include "../src/revocation.h"
#include "ngx_http_gateway_channel.h"
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_metrics.h"


#define NGX_HTTP_GATEWAY_JWT_WAIT  5000     /* ms that a request waits */


typedef struct ngx_http_gateway_jwt_keys_s  ngx_http_gateway_jwt_keys_t;
typedef struct ngx_http_gateway_jwt_cache_s  ngx_http_gateway_jwt_cache_t;
typedef struct ngx_http_gateway_jwt_main_conf_s
    ngx_http_gateway_jwt_main_conf_t;


typedef enum {
    NGX_HTTP_GATEWAY_JWT_FILE = 0,
    NGX_HTTP_GATEWAY_JWT_URI,
    NGX_HTTP_GATEWAY_JWT_SECRET,
    NGX_HTTP_GATEWAY_JWT_PEM
} ngx_http_gateway_jwt_source_e;


/*
 * What workers of all generations share about a source that is fetched, in a
 * zone of its own:
 *
 *     +--------+---------------------+---------------------+
 *     | header | area 0              | area 1              |
 *     +--------+---------------------+---------------------+
 *                ^ current: the last good text
 *                                      ^ the next one is written here
 *
 * Guarded by the zone's mutex; version may be read without it. Times are
 * ngx_current_msec, which is the same clock in all processes.
 */

typedef struct {
    ngx_atomic_t                    version;   /* of the text; 0: none yet */
    ngx_uint_t                      current;
    size_t                          len[2];

    ngx_msec_t                      next;      /* when a fetch is due */
    ngx_msec_t                      asked;     /* last for an unknown kid */
    ngx_uint_t                      failures;  /* in a row */
    ngx_uint_t                      state;     /* 0: good; else as logged */

    ngx_pid_t                       owner;     /* of the fetch under way */
    ngx_msec_t                      deadline;  /* when it counts as lost */

    unsigned                        busy:1;    /* a fetch is under way */
    unsigned                        asked_set:1;

    u_char                          area[2][GW_JWK_DOCUMENT_MAX];
} ngx_http_gateway_jwt_shared_t;


/* One gateway_jwt_keys directive. */

typedef struct {
    ngx_http_gateway_jwt_source_e   type;
    ngx_str_t                       name;      /* path or URI */
    ngx_http_gateway_jwt_keys_t    *keys;      /* whose source it is */
    ngx_uint_t                      index;     /* in keys->sets */
    gw_jwk_set_t                   *set;       /* as configured; not uri */

    /* uri */
    ngx_msec_t                      refresh;
    ngx_shm_zone_t                 *zone;
    ngx_http_gateway_jwt_shared_t  *sh;
    ngx_atomic_uint_t               version;   /* of what is in keys->sets */
    ngx_event_t                     timer;
    ngx_http_request_t             *request;   /* our fetch under way */
    ngx_msec_t                      until;     /* its end, at the latest */
} ngx_http_gateway_jwt_source_t;


/* A named key set. */

struct ngx_http_gateway_jwt_keys_s {
    ngx_str_t                          name;
    ngx_http_gateway_jwt_main_conf_t  *main;

    ngx_array_t                        sources;
                                     /* of ngx_http_gateway_jwt_source_t * */
    gw_jwk_set_t                     **sets;     /* one for each source, NULL
                                                    until it has answered */
    ngx_uint_t                         version;  /* of sets, in this worker */

    ngx_str_t                          file;     /* where first used */
    ngx_uint_t                         line;
    ngx_http_conf_ctx_t               *server;   /* first that uses it */

    ngx_queue_t                        waiting;
    ngx_event_t                        poll;     /* while some wait */

    unsigned                           used:1;
    unsigned                           started:1;
};


/* Somebody waits for a fetch; belongs to the one who waits. */

typedef void (*ngx_http_gateway_jwt_wait_pt)(void *data);

typedef struct {
    ngx_queue_t                     queue;
    ngx_uint_t                      version;   /* of the keys, as known */
    ngx_msec_t                      deadline;
    ngx_http_gateway_jwt_wait_pt    handler;
    void                           *data;
    unsigned                        queued:1;
    unsigned                        started:1; /* deadline is set */
    unsigned                        kid:1;     /* the fetch's end is enough */
    unsigned                        asked:1;   /* for the kid, once */
} ngx_http_gateway_jwt_wait_t;


typedef enum {
    NGX_HTTP_GATEWAY_JWT_SUBPROTOCOL = 0,
    NGX_HTTP_GATEWAY_JWT_HEADER,
    NGX_HTTP_GATEWAY_JWT_QUERY,
    NGX_HTTP_GATEWAY_JWT_COOKIE,
    NGX_HTTP_GATEWAY_JWT_MESSAGE
} ngx_http_gateway_jwt_place_e;

typedef struct {
    ngx_http_gateway_jwt_place_e    place;
    ngx_str_t                       name;      /* of header, query, cookie */
} ngx_http_gateway_jwt_place_t;


typedef struct {
    ngx_str_t                       name;
    ngx_array_t                     values;    /* ngx_http_complex_value_t */
    ngx_uint_t                      error;
} ngx_http_gateway_jwt_claim_t;

typedef struct {
    ngx_array_t                     values;    /* ngx_http_complex_value_t */
    ngx_uint_t                      error;
} ngx_http_gateway_jwt_require_t;


struct ngx_http_gateway_jwt_main_conf_s {
    gw_jwt_lib_t                   *lib;
    ngx_array_t                     keys;
                                       /* ngx_http_gateway_jwt_keys_t * */
    ngx_int_t                       cache_size;
    ngx_http_gateway_jwt_cache_t   *cache;     /* of this worker */

    ngx_http_gateway_metric_t      *tokens[GW_JWT_STATUSES];

    ngx_int_t                       status_index;       /* our $..._status */
    ngx_int_t                       request_index;      /* $request */
    ngx_int_t                       request_uri_index;  /* $request_uri */

    ngx_uint_t                      query;     /* some location looks there */
};


typedef struct {
    ngx_http_gateway_jwt_keys_t    *keys;      /* NULL: off */
    ngx_array_t                    *places;
    ngx_uint_t                      algorithms; /* 0: the key's own */
    ngx_array_t                    *claims;
    ngx_array_t                    *requires;
    ngx_msec_t                      leeway;
    ngx_http_gateway_channel_zone_t
                                   *revoked;   /* NULL: nobody can be */

    unsigned                        query:1;   /* some place is a query's */
    unsigned                        message:1; /* some place is a message */
    unsigned                        messages:1; /* the location's handler
                                                   asks for the message */
} ngx_http_gateway_jwt_loc_conf_t;


/* A verified token, shared by reference counts. */

typedef struct {
    ngx_uint_t                      refs;
    gw_jwt_t                       *jwt;
    ngx_http_gateway_identity_t     identity;

    gw_revocable_t                  revocable;
    uint64_t                        cleared;   /* version of revocations as */
    void                           *cleared_by;  /* of which it is none */
    ngx_uint_t                      digested;  /* revocable is filled */
} ngx_http_gateway_jwt_token_t;


/* A query argument's token, kept when it is masked. */

typedef struct {
    ngx_str_t                       name;
    ngx_str_t                       value;
} ngx_http_gateway_jwt_query_t;


/* Of a main request; survives internal redirects. Tokens in it are held by
 * cleanups of the request's pool. */

typedef struct ngx_http_gateway_jwt_auth_s  ngx_http_gateway_jwt_auth_t;

typedef struct {
    ngx_http_request_t               *request;
    ngx_http_gateway_jwt_loc_conf_t  *conf;    /* of what follows */
    ngx_str_t                         text;    /* the token as it came */
    gw_jwt_status_e                   status;
    const char                       *reason;
    ngx_http_gateway_jwt_token_t     *token;   /* verified */

    ngx_http_gateway_jwt_token_t     *taken;   /* by the access phase */
    ngx_array_t                      *queries;

    ngx_http_gateway_jwt_auth_t      *auth;    /* a token as a message */
    ngx_http_gateway_jwt_wait_t       wait;

    unsigned                          found:1; /* text is looked up */
    unsigned                          known:1; /* status is final */
    unsigned                          awaits:1;
    unsigned                          unknown_kid:1;
    unsigned                          cleanup:1; /* is set for the wait */
} ngx_http_gateway_jwt_ctx_t;


extern ngx_module_t  ngx_http_gateway_jwt_module;


/* keys: configuration */

char *ngx_http_gateway_jwt_keys_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
/* finds or adds the set of that name; NULL: no memory */
ngx_http_gateway_jwt_keys_t *ngx_http_gateway_jwt_keys_get(ngx_conf_t *cf,
    ngx_str_t *name);
/* after all directives: each used set is defined, arrays are made */
ngx_int_t ngx_http_gateway_jwt_keys_init(ngx_conf_t *cf);
void ngx_http_gateway_jwt_keys_report(void *data, gw_jwk_level_e level,
    const char *text);

/* refresh: in workers */

void ngx_http_gateway_jwt_refresh_start(ngx_http_gateway_jwt_keys_t *keys);
void ngx_http_gateway_jwt_refresh_stop(ngx_http_gateway_jwt_keys_t *keys);
/* takes over what other workers fetched; cheap when there is nothing new */
void ngx_http_gateway_jwt_refresh_update(ngx_http_gateway_jwt_keys_t *keys);
/* whether each source has answered */
ngx_uint_t ngx_http_gateway_jwt_refresh_ready(
    ngx_http_gateway_jwt_keys_t *keys);
/* asks for a fetch for an unknown kid: whether one is worth waiting for */
ngx_uint_t ngx_http_gateway_jwt_refresh_ask(
    ngx_http_gateway_jwt_keys_t *keys);
/* wait->handler is called once from the event loop: new keys, the fetch's
 * end (wait->kid), or the deadline; not after a cancel */
void ngx_http_gateway_jwt_refresh_wait(ngx_http_gateway_jwt_keys_t *keys,
    ngx_http_gateway_jwt_wait_t *wait);
void ngx_http_gateway_jwt_refresh_cancel(ngx_http_gateway_jwt_wait_t *wait);

/* token */

/* the text of the token of the first place that has one: NGX_OK,
 * NGX_DECLINED or NGX_ERROR */
ngx_int_t ngx_http_gateway_jwt_token_find(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx, ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_str_t *token);
/* phase handler: masks tokens in queries */
ngx_int_t ngx_http_gateway_jwt_token_mask(ngx_http_request_t *r);

/* cache: never fails, at worst it verifies again */

gw_jwt_status_e ngx_http_gateway_jwt_cache_verify(
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *text,
    gw_jwt_result_t *result, ngx_http_gateway_jwt_token_t **token);
void ngx_http_gateway_jwt_cache_forget(ngx_http_gateway_jwt_cache_t *cache,
    ngx_http_gateway_jwt_keys_t *keys);
void ngx_http_gateway_jwt_cache_destroy(ngx_http_gateway_jwt_cache_t *cache);
void ngx_http_gateway_jwt_token_release(ngx_http_gateway_jwt_token_t *token);

/* access */

ngx_int_t ngx_http_gateway_jwt_access_handler(ngx_http_request_t *r);
/* r's context, made when needed; NULL: no memory */
ngx_http_gateway_jwt_ctx_t *ngx_http_gateway_jwt_ctx(ngx_http_request_t *r);
/* verifies r's token by its location's policy, without waiting; NULL where
 * there is no gateway_jwt */
ngx_http_gateway_jwt_ctx_t *ngx_http_gateway_jwt_look(ngx_http_request_t *r);

/* revoked */

char *ngx_http_gateway_jwt_revoked_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
void ngx_http_gateway_jwt_revoked_merge(ngx_http_gateway_jwt_loc_conf_t *conf,
    ngx_http_gateway_jwt_loc_conf_t *prev);
/* of a token that is valid else: GW_JWT_OK, GW_JWT_REVOKED, or GW_JWT_MALFORMED
 * without memory */
gw_jwt_status_e ngx_http_gateway_jwt_revoked(
    ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_http_gateway_jwt_token_t *token, const char **reason);

/* variables */

ngx_int_t ngx_http_gateway_jwt_variables_add(ngx_conf_t *cf);


#endif /* NGX_HTTP_GATEWAY_JWT_INT_H_INCLUDED */
