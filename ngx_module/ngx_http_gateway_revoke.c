/*
 * Revoked tokens in a channel zone: see the header.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_text.h"


/* How many are looked at before others get their turn. */
#define NGX_HTTP_GATEWAY_REVOKE_SLICE  1024

/* ms between one look at all that is open and the next. */
#define NGX_HTTP_GATEWAY_REVOKE_PAUSE  100


static void ngx_http_gateway_revoke_tell(void);
static void ngx_http_gateway_revoke_look(void);
static void ngx_http_gateway_revoke_handler(ngx_event_t *ev);


/* What is open in this worker; marker stands in the row while it is gone
 * through, behind those that have been looked at. */

static ngx_queue_t                      ngx_http_gateway_revoke_row;
static ngx_http_gateway_revoke_watch_t  ngx_http_gateway_revoke_marker;
static ngx_event_t                      ngx_http_gateway_revoke_event;
static ngx_msec_t                       ngx_http_gateway_revoke_last;
static ngx_uint_t                       ngx_http_gateway_revoke_under_way;
static ngx_uint_t                       ngx_http_gateway_revoke_again;


gw_revocations_t *
ngx_http_gateway_revocations(ngx_http_gateway_channel_zone_t *zone)
{
    ngx_http_gateway_channel_sh_t  *sh;

    sh = zone->sh;

    return &sh->revoked;
}


ngx_int_t
ngx_http_gateway_revoke(ngx_http_gateway_channel_zone_t *zone,
    ngx_str_t *body, const char **why)
{
    int              rc;
    gw_revocation_t  r;

    rc = gw_revocation_parse(ngx_http_gateway_span(body),
                             ngx_http_gateway_time_ms(), &r, why);

    if (rc != GW_OK) {
        return rc == GW_DECLINED ? NGX_DECLINED : NGX_ERROR;
    }

    /* so long may a token be taken after its exp */

    r.until = ngx_min(r.until + (int64_t) zone->leeway,
                      GW_REVOCATION_TIME_MAX);

    rc = ngx_http_gateway_revoke_put(zone, &r, zone->redis != NULL);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_gateway_revoke_hand(zone, &r);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_revoke_request(ngx_http_request_t *r,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *body)
{
    ngx_int_t    rc;
    const char  *why;

    rc = ngx_http_gateway_revoke(zone, body, &why);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "gateway_publisher: no token was revoked: %s", why);
        return NGX_HTTP_BAD_REQUEST;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INSUFFICIENT_STORAGE;
    }

    r->headers_out.status = NGX_HTTP_ACCEPTED;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


/* What was published gives way to it. */

ngx_int_t
ngx_http_gateway_revoke_put(ngx_http_gateway_channel_zone_t *zone,
    gw_revocation_t *r, ngx_uint_t pending)
{
    int                rc;
    int64_t            now;
    gw_alloc_t         a;
    gw_revocations_t  *t;

    t = ngx_http_gateway_revocations(zone);
    a = ngx_http_gateway_channel_alloc(zone);
    now = ngx_http_gateway_time_ms();

    ngx_shmtx_lock(&zone->shpool->mutex);

    rc = gw_revocations_add(t, r, now, pending, &a);

    if (rc == GW_ERROR) {
        (void) gw_revocations_sweep(t, now, t->count, &a);

        do {
            rc = gw_revocations_add(t, r, now, pending, &a);
        } while (rc == GW_ERROR
                 && ngx_http_gateway_channel_evict(zone, NULL));
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    switch (rc) {

    case GW_OK:
        ngx_http_gateway_revoke_tell();
        return NGX_OK;

    case GW_DECLINED:
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_channel_zone \"%V\" is full: a token was not "
                  "revoked", &zone->name);

    return NGX_ERROR;
}


/* Any worker may have something open for that token. */

static void
ngx_http_gateway_revoke_tell(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
        if (i != ngx_http_gateway_slot) {
            ngx_http_gateway_worker_wake(i);
        }
    }

    ngx_http_gateway_revoke_woken();
}


uint64_t
ngx_http_gateway_revoke_version(ngx_http_gateway_channel_zone_t *zone)
{
    volatile gw_revocations_t  *t;

    t = ngx_http_gateway_revocations(zone);

    return t->count ? t->version : 0;
}


ngx_uint_t
ngx_http_gateway_revoke_covers(ngx_http_gateway_channel_zone_t *zone,
    gw_revocable_t *it)
{
    bool  covered;

    ngx_shmtx_lock(&zone->shpool->mutex);

    covered = gw_revocations_cover(ngx_http_gateway_revocations(zone), it,
                                   ngx_http_gateway_time_ms());

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return covered;
}


void
ngx_http_gateway_revoke_watch(ngx_http_gateway_revoke_watch_t *watch)
{
    if (ngx_http_gateway_revoke_row.next == NULL) {
        ngx_queue_init(&ngx_http_gateway_revoke_row);
    }

    ngx_queue_insert_tail(&ngx_http_gateway_revoke_row, &watch->queue);

    /* what was revoked since the token was verified may have been looked at
     * before this was in the row */

    if (ngx_http_gateway_revoke_version(watch->zone)
        && ngx_http_gateway_revoke_covers(watch->zone, &watch->token))
    {
        ngx_http_gateway_revoke_look();
    }
}


void
ngx_http_gateway_revoke_unwatch(ngx_http_gateway_revoke_watch_t *watch)
{
    ngx_queue_remove(&watch->queue);
}


void
ngx_http_gateway_revoke_woken(void)
{
    size_t                             n;
    uint64_t                           version;
    gw_alloc_t                         a;
    ngx_uint_t                         i;
    gw_revocations_t                  *t;
    ngx_array_t                       *zones;
    ngx_http_gateway_channel_zone_t  **zone;

    zones = ngx_http_gateway_channel_zones();
    zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {
        version = ngx_http_gateway_revoke_version(zone[i]);

        if (version == 0) {
            continue;
        }

        if (version != zone[i]->revoke_seen) {
            zone[i]->revoke_seen = version;
            ngx_http_gateway_revoke_look();
        }

        if (zone[i]->revoke_swept == ngx_time()) {
            continue;
        }

        zone[i]->revoke_swept = ngx_time();

        /* all of them in some minutes */

        t = ngx_http_gateway_revocations(zone[i]);
        a = ngx_http_gateway_channel_alloc(zone[i]);

        ngx_shmtx_lock(&zone[i]->shpool->mutex);

        n = 16 + t->count / 256;
        (void) gw_revocations_sweep(t, ngx_http_gateway_time_ms(), n, &a);

        ngx_shmtx_unlock(&zone[i]->shpool->mutex);
    }
}


/* Goes through the row soon; not at once again where much is revoked. */

static void
ngx_http_gateway_revoke_look(void)
{
    ngx_event_t     *ev;
    ngx_msec_int_t   left;

    if (ngx_http_gateway_revoke_row.next == NULL
        || ngx_queue_empty(&ngx_http_gateway_revoke_row))
    {
        return;
    }

    if (ngx_http_gateway_revoke_under_way) {
        ngx_http_gateway_revoke_again = 1;
        return;
    }

    ev = &ngx_http_gateway_revoke_event;

    if (ev->posted || ev->timer_set) {
        return;
    }

    ev->handler = ngx_http_gateway_revoke_handler;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    left = ngx_http_gateway_revoke_last + NGX_HTTP_GATEWAY_REVOKE_PAUSE
           - ngx_current_msec;

    if (left > 0 && left <= NGX_HTTP_GATEWAY_REVOKE_PAUSE) {
        ngx_add_timer(ev, left);

    } else {
        ngx_post_event(ev, &ngx_posted_events);
    }
}


/*
 * One slice. The handlers may free what they watch, and others: only the
 * marker is sure to stay in the row.
 */

static void
ngx_http_gateway_revoke_handler(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q, *marker;
    ngx_http_gateway_revoke_watch_t  *watch;

    marker = &ngx_http_gateway_revoke_marker.queue;
    ev->timedout = 0;

    if (!ngx_http_gateway_revoke_under_way) {
        ngx_http_gateway_revoke_under_way = 1;
        ngx_queue_insert_head(&ngx_http_gateway_revoke_row, marker);
    }

    for (n = 0; n < NGX_HTTP_GATEWAY_REVOKE_SLICE; n++) {
        q = ngx_queue_next(marker);

        if (q == ngx_queue_sentinel(&ngx_http_gateway_revoke_row)) {
            break;
        }

        ngx_queue_remove(marker);
        ngx_queue_insert_after(q, marker);

        watch = ngx_queue_data(q, ngx_http_gateway_revoke_watch_t, queue);

        if (ngx_http_gateway_revoke_covers(watch->zone, &watch->token)) {
            watch->handler(watch->data);
        }
    }

    if (n == NGX_HTTP_GATEWAY_REVOKE_SLICE) {
        ngx_post_event(ev, &ngx_posted_next_events);
        return;
    }

    ngx_queue_remove(marker);
    ngx_http_gateway_revoke_under_way = 0;
    ngx_http_gateway_revoke_last = ngx_current_msec;

    if (ngx_http_gateway_revoke_again) {
        ngx_http_gateway_revoke_again = 0;
        ngx_http_gateway_revoke_look();
    }
}
