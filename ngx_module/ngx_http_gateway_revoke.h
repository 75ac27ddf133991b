/*
 * Tokens that are revoked through a channel zone: by a POST on the channel
 * auth:revoke, which nobody can subscribe to.
 *
 * They are kept in the zone's shared memory (src/revocation.h). Each worker
 * keeps a list of what it has open for tokens, and goes through it when
 * something new has been revoked.
 */

#ifndef NGX_HTTP_GATEWAY_REVOKE_H_INCLUDED
#define NGX_HTTP_GATEWAY_REVOKE_H_INCLUDED


#include "ngx_http_gateway_channel.h"
#include "../src/revocation.h"


#define NGX_HTTP_GATEWAY_REVOKE_CHANNEL  "auth:revoke"


static ngx_inline ngx_uint_t
ngx_http_gateway_revoke_channel(ngx_str_t *name)
{
    return name->len == sizeof(NGX_HTTP_GATEWAY_REVOKE_CHANNEL) - 1
           && ngx_memcmp(name->data, NGX_HTTP_GATEWAY_REVOKE_CHANNEL,
                         name->len)
              == 0;
}


/*
 * Takes the body of a POST. NGX_OK: it holds in all workers from now on;
 * NGX_DECLINED: it is malformed, *why says how; NGX_ERROR: the zone is full,
 * was logged.
 */
ngx_int_t ngx_http_gateway_revoke(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *body, const char **why);

/* The same, and answers r: as a content handler's end. */
ngx_int_t ngx_http_gateway_revoke_request(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *body);

/* Counts what was revoked; 0 where nothing is. One read of memory. */
uint64_t ngx_http_gateway_revoke_version(
    ngx_http_gateway_channel_zone_t *zone);

/* Whether it is revoked now. */
ngx_uint_t ngx_http_gateway_revoke_covers(
    ngx_http_gateway_channel_zone_t *zone, gw_revocable_t *it);


/* Something that is open for a token; all of it is the owner's. */

typedef struct {
    ngx_queue_t                        queue;
    ngx_http_gateway_channel_zone_t   *zone;
    gw_revocable_t                     token;
    void                             (*handler)(void *data);
    void                              *data;
} ngx_http_gateway_revoke_watch_t;

/*
 * The handler is called from the event loop when the token is revoked, or
 * soon where it is by now; maybe more than once, until it is stopped, which
 * may be done in the handler.
 */
void ngx_http_gateway_revoke_watch(ngx_http_gateway_revoke_watch_t *watch);
void ngx_http_gateway_revoke_unwatch(ngx_http_gateway_revoke_watch_t *watch);

/* Once a second, and when this worker is woken: looks for what is new. */
void ngx_http_gateway_revoke_woken(void);


/* Between the files. */

gw_revocations_t *ngx_http_gateway_revocations(
    ngx_http_gateway_channel_zone_t *zone);

/* Adds it, and tells all workers. NGX_OK, NGX_DECLINED: it was known or is
 * over, NGX_ERROR: no room, was logged. */
ngx_int_t ngx_http_gateway_revoke_put(ngx_http_gateway_channel_zone_t *zone,
    gw_revocation_t *r, ngx_uint_t pending);

/* At configuration time, once all zones are known. */
ngx_int_t ngx_http_gateway_revoke_conf(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t **zones, ngx_uint_t n);

/* What was added here is for all nodes, where the zone has redis=. */
void ngx_http_gateway_revoke_hand(ngx_http_gateway_channel_zone_t *zone,
    gw_revocation_t *r);


#endif /* NGX_HTTP_GATEWAY_REVOKE_H_INCLUDED */
