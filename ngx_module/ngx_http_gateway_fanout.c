/*
 * The fan-out: what has been published goes to this worker's subscribers.
 *
 * A hub is a channel in this worker. It works in runs. A run begins with a
 * snapshot of the channel's heads, taken under the zone's mutex; it sends
 * everything up to there to each member, in slices, so that other events get
 * their turn; and it ends by telling the zone what is not needed any more,
 * which is also the next snapshot. So messages that are published during a
 * run gather, and go out together in the next.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_fanout.h"


/* Sends of one slice, some microseconds each. */
#define NGX_HTTP_GATEWAY_SLICE   512

/* Passes of the event loop that a run waits for more, while there is more. */
#define NGX_HTTP_GATEWAY_PASSES  8


static void ngx_http_gateway_fanout_handler(ngx_event_t *ev);
static void ngx_http_gateway_fanout_collect(
    ngx_http_gateway_channel_zone_t *zone);
static ngx_int_t ngx_http_gateway_hub_step(ngx_http_gateway_hub_t *hub,
    ngx_int_t *budget);
static ngx_int_t ngx_http_gateway_hub_send_row(ngx_http_gateway_hub_t *hub,
    ngx_int_t *budget);
static void ngx_http_gateway_hub_sweep(ngx_http_gateway_hub_t *hub,
    ngx_int_t *budget);
static ngx_int_t ngx_http_gateway_hub_settle(ngx_http_gateway_hub_t *hub);


static ngx_queue_t  ngx_http_gateway_work;
static ngx_event_t  ngx_http_gateway_fanout_event;


static void
ngx_http_gateway_fanout_init(void)
{
    if (ngx_http_gateway_fanout_event.handler) {
        return;
    }

    ngx_queue_init(&ngx_http_gateway_work);

    ngx_http_gateway_fanout_event.handler = ngx_http_gateway_fanout_handler;
    ngx_http_gateway_fanout_event.log = ngx_cycle->log;
}


/*
 * Publishers that this iteration of the event loop still has to read come
 * first, so that what they publish together is sent together.
 */

void
ngx_http_gateway_fanout_post(ngx_uint_t at_once)
{
    ngx_event_t  *ev;

    ngx_http_gateway_fanout_init();

    ev = &ngx_http_gateway_fanout_event;

    if (!at_once) {
        ngx_post_event(ev, &ngx_posted_next_events);
        return;
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    ngx_post_event(ev, &ngx_posted_events);
}


static void
ngx_http_gateway_hub_queue(ngx_http_gateway_hub_t *hub)
{
    if (!hub->working) {
        hub->working = 1;
        ngx_queue_insert_tail(&ngx_http_gateway_work, &hub->in_work);
    }
}


void
ngx_http_gateway_hub_dequeue(ngx_http_gateway_hub_t *hub)
{
    if (hub->working) {
        hub->working = 0;
        ngx_queue_remove(&hub->in_work);
    }
}


void
ngx_http_gateway_hub_touch(ngx_http_gateway_hub_t *hub)
{
    ngx_http_gateway_fanout_init();
    ngx_http_gateway_hub_queue(hub);
    ngx_http_gateway_fanout_post(0);
}


/*
 * Whether a hub should wait with its run for another pass of the event loop:
 * a publisher that pipelines comes in pieces, and what is sent together costs
 * a fraction. A single message waits for one empty pass, a microsecond.
 */

static ngx_uint_t
ngx_http_gateway_hub_gathers(ngx_http_gateway_hub_t *hub)
{
    if (hub->state != NGX_HTTP_GATEWAY_HUB_IDLE || !hub->growing
        || hub->passes == NGX_HTTP_GATEWAY_PASSES)
    {
        return 0;
    }

    hub->growing = 0;
    hub->passes++;

    return 1;
}


static void
ngx_http_gateway_fanout_handler(ngx_event_t *ev)
{
    ngx_int_t                budget;
    ngx_uint_t               i, more;
    ngx_queue_t             *q, *last;
    ngx_array_t             *zones;
    ngx_http_gateway_hub_t  *hub;

    zones = ngx_http_gateway_channel_zones();

    for (i = 0; i < zones->nelts; i++) {
        ngx_http_gateway_fanout_collect(
            ((ngx_http_gateway_channel_zone_t **) zones->elts)[i]);
    }

    budget = NGX_HTTP_GATEWAY_SLICE;

    last = ngx_queue_last(&ngx_http_gateway_work);

    for (more = 1; more && budget > 0; /* void */) {

        if (ngx_queue_empty(&ngx_http_gateway_work)) {
            return;
        }

        q = ngx_queue_head(&ngx_http_gateway_work);
        more = (q != last);

        hub = ngx_queue_data(q, ngx_http_gateway_hub_t, in_work);

        ngx_http_gateway_hub_dequeue(hub);

        if (ngx_http_gateway_hub_gathers(hub)
            || ngx_http_gateway_hub_step(hub, &budget) == NGX_AGAIN)
        {
            ngx_http_gateway_hub_queue(hub);
        }
    }

    if (!ngx_queue_empty(&ngx_http_gateway_work)) {
        ngx_http_gateway_fanout_post(0);
    }
}


/* What the next run is to send. The mutex is held. */

static void
ngx_http_gateway_hub_snapshot(ngx_http_gateway_hub_t *hub)
{
    ngx_uint_t                  i;
    ngx_http_gateway_reader_t  *reader;

    reader = hub->reader;

    for (i = 0; i < GW_FORMS; i++) {
        ngx_http_gateway_hub_mark(hub, i, &hub->head[i]);
    }

    if (reader->dirty) {
        reader->dirty = 0;
        ngx_queue_remove(&reader->in_dirty);
        hub->growing = reader->news < NGX_HTTP_GATEWAY_BURST;
        reader->news = 0;

        if (hub->news_us == 0) {
            hub->news_us = reader->news_us;
        }
    }
}


/* Takes the hubs with news into work. One that is in a run will see its news
 * at the run's end. */

static void
ngx_http_gateway_fanout_collect(ngx_http_gateway_channel_zone_t *zone)
{
    ngx_queue_t                    *q, *next, *dirty;
    ngx_http_gateway_hub_t         *hub;
    ngx_http_gateway_reader_t      *reader;
    ngx_http_gateway_channel_sh_t  *sh;

    if (ngx_http_gateway_slot >= NGX_HTTP_GATEWAY_MAX_WORKERS) {
        return;
    }

    sh = zone->sh;
    dirty = &sh->slots[ngx_http_gateway_slot].dirty;

    ngx_shmtx_lock(&zone->shpool->mutex);

    for (q = ngx_queue_head(dirty); q != ngx_queue_sentinel(dirty); q = next) {
        next = ngx_queue_next(q);

        reader = ngx_queue_data(q, ngx_http_gateway_reader_t, in_dirty);
        hub = reader->hub;

        if (hub->state == NGX_HTTP_GATEWAY_HUB_IDLE) {
            ngx_http_gateway_hub_snapshot(hub);
            ngx_http_gateway_hub_queue(hub);
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* NGX_OK: the hub has nothing more to do; NGX_AGAIN: the slice is over. */

static ngx_int_t
ngx_http_gateway_hub_step(ngx_http_gateway_hub_t *hub, ngx_int_t *budget)
{
    if (hub->state == NGX_HTTP_GATEWAY_HUB_IDLE) {
        hub->state = NGX_HTTP_GATEWAY_HUB_RUNNING;
        hub->form = 0;
        hub->next = 0;
        hub->growing = 0;
        hub->passes = 0;
    }

    while (hub->form < GW_FORMS) {

        if (ngx_http_gateway_hub_send_row(hub, budget) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        hub->form++;
        hub->next = 0;
    }

    if (hub->news_us) {
        ngx_http_gateway_observe(hub->zone->latency,
                                 ngx_http_gateway_monotonic_us()
                                 - hub->news_us);
        hub->news_us = 0;
    }

    ngx_http_gateway_hub_sweep(hub, budget);

    return ngx_http_gateway_hub_settle(hub);
}


static ngx_int_t
ngx_http_gateway_hub_send_row(ngx_http_gateway_hub_t *hub, ngx_int_t *budget)
{
    size_t                      total, range;
    ssize_t                     n;
    uint64_t                    messages, served;
    ngx_uint_t                  iovs;
    ngx_int_t                   rc;
    gw_cursor_t                *start;
    ngx_http_gateway_row_t     *row;
    ngx_http_gateway_place_t   *place;
    ngx_http_gateway_client_t  *client;

    static struct iovec  iov[NGX_HTTP_GATEWAY_IOVS];

    row = &hub->row[hub->form];
    start = &hub->done[hub->form].form;
    range = hub->head[hub->form].form.pos - start->pos;

    if (range == 0 || row->n == 0) {
        return NGX_OK;
    }

    total = 0;
    iovs = gw_stream_vectors(start, start->pos + range, iov,
                             NGX_HTTP_GATEWAY_IOVS, &total);
    messages = hub->head[hub->form].published
               - hub->done[hub->form].published;
    served = 0;
    rc = NGX_OK;

    while (hub->next < row->n) {

        if ((*budget)-- <= 0) {
            rc = NGX_AGAIN;
            break;
        }

        place = &row->place[hub->next];

        if (hub->next + 2 < row->n) {
            __builtin_prefetch(place[2].client, 1);
        }

        client = place->client;

        if (client->blocked) {
            ngx_http_gateway_member_fall_behind(place->member, start);
            continue;
        }

        n = ngx_http_gateway_client_send(client, iov, iovs, total);

        if (n == (ssize_t) range) {
            client->bytes_out += range;
            client->messages_out += messages;
            served++;
            hub->next++;
            continue;
        }

        if (n == NGX_ERROR) {
            ngx_http_gateway_client_lose(client, NGX_HTTP_GATEWAY_LOST_PEER);
            ngx_http_gateway_member_fall_behind(place->member, start);
            continue;
        }

        ngx_http_gateway_member_short(place->member, start,
                                      n == NGX_AGAIN ? 0 : n, total);
    }

    ngx_http_gateway_count(hub->zone->delivered, messages * served);

    return rc;
}


/* Those that are behind go on by themselves, as far as their sockets can. */

static void
ngx_http_gateway_hub_sweep(ngx_http_gateway_hub_t *hub, ngx_int_t *budget)
{
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    for (q = ngx_queue_head(&hub->behind);
         q != ngx_queue_sentinel(&hub->behind);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_behind);

        (*budget)--;

        if (!m->client->blocked) {
            (void) ngx_http_gateway_member_send(m);
        }

        ngx_http_gateway_client_check(m->client);
    }
}


/* What this worker still needs of the channel. The log too from the last
 * run's end: members change from frames to records and back at its mark. */

static gw_lows_t
ngx_http_gateway_hub_lows(ngx_http_gateway_hub_t *hub)
{
    gw_lows_t                   lows;
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_http_gateway_member_t  *m;

    lows = GW_LOWS_NONE;

    for (i = 0; i < GW_FORMS; i++) {
        if (hub->reader->opened[i]) {
            lows.form[i] = hub->done[i].form.pos;
            lows.log = ngx_min(lows.log, hub->done[i].log.pos);
        }
    }

    for (q = ngx_queue_head(&hub->behind);
         q != ngx_queue_sentinel(&hub->behind);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_behind);

        if (m->by_log) {
            lows.log = ngx_min(lows.log, m->cursor.pos);

        } else {
            i = ngx_http_gateway_client_form(m->client);
            lows.form[i] = ngx_min(lows.form[i], m->cursor.pos);
        }
    }

    return lows;
}


static void
ngx_http_gateway_hub_catch_up(ngx_http_gateway_hub_t *hub)
{
    ngx_queue_t                *q, *next;
    ngx_http_gateway_member_t  *m;

    for (q = ngx_queue_head(&hub->behind);
         q != ngx_queue_sentinel(&hub->behind);
         q = next)
    {
        next = ngx_queue_next(q);
        m = ngx_queue_data(q, ngx_http_gateway_member_t, in_behind);

        ngx_http_gateway_member_catch_up(m);
    }
}


/* The end of a run; NGX_AGAIN where there is news for another. */

static ngx_int_t
ngx_http_gateway_hub_settle(ngx_http_gateway_hub_t *hub)
{
    gw_lows_t     lows;
    ngx_uint_t    i;
    ngx_shmtx_t  *mutex;

    for (i = 0; i < GW_FORMS; i++) {
        hub->done[i] = hub->head[i];
    }

    hub->state = NGX_HTTP_GATEWAY_HUB_IDLE;

    ngx_http_gateway_hub_catch_up(hub);

    lows = ngx_http_gateway_hub_lows(hub);

    mutex = &hub->zone->shpool->mutex;

    ngx_shmtx_lock(mutex);

    hub->reader->lows = lows;
    ngx_http_gateway_channel_trim(hub->zone, hub->channel);
    ngx_http_gateway_hub_snapshot(hub);

    ngx_shmtx_unlock(mutex);

    for (i = 0; i < GW_FORMS; i++) {
        if (hub->head[i].published != hub->done[i].published) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}
