/*
 * A hub's members: who is in its row, who is behind, and how they come and
 * go.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_fanout.h"


static ngx_http_gateway_hub_t  *ngx_http_gateway_spare_hub;


static ngx_int_t
ngx_http_gateway_row_add(ngx_http_gateway_row_t *row,
    ngx_http_gateway_member_t *m)
{
    uint32_t                   max;
    ngx_http_gateway_place_t  *place;

    if (row->n == row->max) {
        max = row->max ? row->max + row->max / 2 + 1 : 1;

        place = ngx_alloc(max * sizeof(*place), ngx_cycle->log);
        if (place == NULL) {
            return NGX_ERROR;
        }

        if (row->n) {
            ngx_memcpy(place, row->place, row->n * sizeof(*place));
            ngx_free(row->place);
        }

        row->place = place;
        row->max = max;
    }

    row->place[row->n].client = m->client;
    row->place[row->n].member = m;
    m->index = row->n++;

    return NGX_OK;
}


static void
ngx_http_gateway_row_move(ngx_http_gateway_row_t *row, uint32_t to,
    uint32_t from)
{
    row->place[to] = row->place[from];
    row->place[to].member->index = to;
}


/*
 * The last one fills the gap. Where a run is under way, those before its
 * place have been served, and the gap moves to that border first.
 */

static void
ngx_http_gateway_row_remove(ngx_http_gateway_hub_t *hub,
    ngx_http_gateway_member_t *m)
{
    uint32_t                 i;
    gw_form_e                form;
    ngx_http_gateway_row_t  *row;

    form = ngx_http_gateway_client_form(m->client);
    row = &hub->row[form];
    i = m->index;

    if (hub->state == NGX_HTTP_GATEWAY_HUB_RUNNING
        && hub->form == form && i < hub->next)
    {
        hub->next--;
        ngx_http_gateway_row_move(row, i, hub->next);
        i = hub->next;
    }

    row->n--;
    ngx_http_gateway_row_move(row, i, row->n);
}


static void
ngx_http_gateway_member_set_behind(ngx_http_gateway_member_t *m)
{
    m->behind = 1;
    m->client->behind++;
    ngx_queue_insert_tail(&m->hub->behind, &m->in_behind);
}


static void
ngx_http_gateway_member_clear_behind(ngx_http_gateway_member_t *m)
{
    m->behind = 0;
    m->client->behind--;
    ngx_queue_remove(&m->in_behind);
}


void
ngx_http_gateway_member_fall_behind(ngx_http_gateway_member_t *m,
    gw_cursor_t *at)
{
    gw_form_e                form;
    ngx_http_gateway_hub_t  *hub;

    hub = m->hub;
    form = ngx_http_gateway_client_form(m->client);

    ngx_http_gateway_row_remove(hub, m);

    m->cursor = *at;
    m->published = hub->done[form].published;

    ngx_http_gateway_member_set_behind(m);
}


void
ngx_http_gateway_member_catch_up(ngx_http_gateway_member_t *m)
{
    gw_form_e                 form;
    ngx_http_gateway_hub_t   *hub;
    ngx_http_gateway_row_t   *row;
    ngx_http_gateway_mark_t  *head;

    hub = m->hub;
    form = ngx_http_gateway_client_form(m->client);
    head = &hub->head[form];

    if (m->by_log && !m->no_echo && m->sent == 0
        && m->cursor.pos == head->log.pos)
    {
        /* a mark is one moment in both: go on with the frames */
        m->by_log = 0;
        m->cursor = head->form;
        m->published = head->published;
    }

    if (m->by_log
        || m->client->blocked
        || hub->state != NGX_HTTP_GATEWAY_HUB_IDLE
        || m->cursor.pos != head->form.pos
        || hub->done[form].form.pos != head->form.pos)
    {
        return;
    }

    ngx_http_gateway_member_count(m);

    if (m->no_echo) {
        m->by_log = 1;
        m->sent = 0;
        m->cursor = head->log;
        m->live_from = m->cursor.pos;
        return;
    }

    row = &hub->row[form];

    if (ngx_http_gateway_row_add(row, m) != NGX_OK) {
        /* it can be served where it is */
        return;
    }

    ngx_http_gateway_member_clear_behind(m);
}


/* Messages that reached a member in frames while it was behind. */

void
ngx_http_gateway_member_count(ngx_http_gateway_member_t *m)
{
    uint64_t   n;
    gw_form_e  form;

    form = ngx_http_gateway_client_form(m->client);
    n = m->hub->head[form].published - m->published;

    m->published = m->hub->head[form].published;
    m->client->messages_out += n;
    ngx_http_gateway_count(m->hub->zone->delivered, n);
}


void
ngx_http_gateway_hub_mark(ngx_http_gateway_hub_t *hub, gw_form_e form,
    ngx_http_gateway_mark_t *mark)
{
    gw_channel_log_t  *log;

    log = &hub->channel->log;

    mark->form = gw_stream_head(&log->form[form]);
    mark->log = gw_stream_head(&log->log);
    mark->published = log->published;
}


static void
ngx_http_gateway_hub_init(ngx_http_gateway_hub_t *hub,
    ngx_http_gateway_channel_zone_t *zone, ngx_http_gateway_reader_t *reader)
{
    hub->zone = zone;
    hub->reader = reader;
    hub->channel = reader->channel;
    reader->hub = hub;

    ngx_queue_init(&hub->behind);
}


/* Begins with a form at its head, and makes this worker's reader count for
 * it. The mutex is held. */

static ngx_int_t
ngx_http_gateway_hub_open(ngx_http_gateway_hub_t *hub, gw_form_e form)
{
    if (hub->reader->opened[form]) {
        return NGX_OK;
    }

    if (ngx_http_gateway_reader_open(hub->zone, hub->reader, form)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_gateway_hub_mark(hub, form, &hub->head[form]);
    hub->done[form] = hub->head[form];

    return NGX_OK;
}


/* Goes back to what the client has missed, where it is all there. The mutex
 * is held. */

static ngx_uint_t
ngx_http_gateway_member_recover(ngx_http_gateway_member_t *m,
    ngx_http_gateway_join_t *join)
{
    gw_cursor_t                 c;
    gw_channel_log_t           *log;
    ngx_http_gateway_reader_t  *reader;

    log = &m->hub->channel->log;
    reader = m->hub->reader;

    if (!join->recover
        || ngx_memcmp(join->epoch, log->epoch, GW_EPOCH_LEN) != 0
        || gw_channel_log_since(log, join->since, &c) != GW_OK)
    {
        return 0;
    }

    m->by_log = 1;
    m->sent = 0;
    m->cursor = c;
    m->live_from = log->log.head;

    reader->lows.log = ngx_min(reader->lows.log, c.pos);

    return 1;
}


/* A new member begins at the channel's head. The mutex is held. */

static void
ngx_http_gateway_member_begin(ngx_http_gateway_member_t *m,
    ngx_http_gateway_join_t *join)
{
    ngx_http_gateway_mark_t     mark;
    ngx_http_gateway_reader_t  *reader;

    ngx_http_gateway_hub_mark(m->hub, ngx_http_gateway_client_form(m->client),
                              &mark);

    m->no_echo = join->no_echo;
    m->by_log = join->no_echo;
    m->sent = 0;
    m->cursor = m->by_log ? mark.log : mark.form;
    m->live_from = mark.log.pos;
    m->published = mark.published;

    if (m->by_log) {
        reader = m->hub->reader;
        reader->lows.log = ngx_min(reader->lows.log, mark.log.pos);
    }
}


ngx_int_t
ngx_http_gateway_hub_join(ngx_http_gateway_member_t *m,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *name,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered)
{
    gw_form_e                    form;
    ngx_int_t                    rc;
    ngx_http_gateway_hub_t      *hub;
    ngx_http_gateway_channel_t  *ch;
    ngx_http_gateway_reader_t   *reader;

    if (ngx_http_gateway_spare_hub == NULL) {
        ngx_http_gateway_spare_hub =
                      ngx_calloc(sizeof(ngx_http_gateway_hub_t),
                                 ngx_cycle->log);
        if (ngx_http_gateway_spare_hub == NULL) {
            return NGX_ERROR;
        }
    }

    form = ngx_http_gateway_client_form(m->client);
    rc = NGX_ERROR;

    ngx_shmtx_lock(&zone->shpool->mutex);

    ch = ngx_http_gateway_channel_obtain(zone, name);
    if (ch == NULL) {
        goto done;
    }

    reader = ngx_http_gateway_reader_obtain(zone, ch);
    if (reader == NULL) {
        goto done;
    }

    if (reader->hub == NULL) {
        ngx_http_gateway_hub_init(ngx_http_gateway_spare_hub, zone, reader);
        ngx_http_gateway_spare_hub = NULL;
    }

    hub = reader->hub;

    if (ngx_http_gateway_hub_open(hub, form) != NGX_OK) {

        if (hub->members == 0) {
            ngx_http_gateway_reader_drop(zone, reader);
            ngx_memzero(hub, sizeof(*hub));
            ngx_http_gateway_spare_hub = hub;
        }

        goto done;
    }

    m->hub = hub;
    hub->members++;
    reader->subscribers++;

    ngx_http_gateway_channel_count(zone, ch);
    ngx_http_gateway_channel_trim(zone, ch);
    ngx_http_gateway_member_begin(m, join);
    *recovered = ngx_http_gateway_member_recover(m, join);
    ngx_http_gateway_channel_describe(zone, ch, info);

    rc = NGX_OK;

done:

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (rc == NGX_OK) {
        ngx_http_gateway_member_set_behind(m);
    }

    return rc;
}


/* What a run has sent the member already, or has not yet. */

static ngx_http_gateway_mark_t *
ngx_http_gateway_member_mark(ngx_http_gateway_member_t *m)
{
    gw_form_e                form;
    ngx_http_gateway_hub_t  *hub;

    hub = m->hub;
    form = ngx_http_gateway_client_form(m->client);

    if (hub->state == NGX_HTTP_GATEWAY_HUB_RUNNING
        && (form < hub->form || (form == hub->form && m->index < hub->next)))
    {
        return &hub->head[form];
    }

    return &hub->done[form];
}


/*
 * A second `subscribe` replaces the options of the first. With `since`
 * delivery begins again after what the client says it has.
 */

void
ngx_http_gateway_hub_rejoin(ngx_http_gateway_member_t *m,
    ngx_http_gateway_join_t *join, ngx_http_gateway_channel_info_t *info,
    ngx_uint_t *recovered)
{
    ngx_shmtx_t              *mutex;
    ngx_http_gateway_hub_t   *hub;
    ngx_http_gateway_mark_t  *mark;

    hub = m->hub;
    mutex = &hub->zone->shpool->mutex;

    if (!m->behind) {
        mark = ngx_http_gateway_member_mark(m);
        ngx_http_gateway_member_fall_behind(m, &mark->form);
        m->published = mark->published;
    }

    m->no_echo = join->no_echo;

    ngx_shmtx_lock(mutex);

    ngx_http_gateway_channel_trim(hub->zone, hub->channel);
    ngx_http_gateway_channel_describe(hub->zone, hub->channel, info);
    *recovered = ngx_http_gateway_member_recover(m, join);

    ngx_shmtx_unlock(mutex);

    ngx_http_gateway_hub_touch(hub);
}


void
ngx_http_gateway_hub_leave(ngx_http_gateway_member_t *m)
{
    ngx_uint_t                 i, behind;
    ngx_shmtx_t               *mutex;
    ngx_http_gateway_hub_t    *hub;

    hub = m->hub;
    mutex = &hub->zone->shpool->mutex;
    behind = m->behind;

    if (behind) {
        ngx_http_gateway_member_clear_behind(m);

    } else {
        ngx_http_gateway_row_remove(hub, m);
    }

    hub->members--;

    ngx_shmtx_lock(mutex);

    hub->reader->subscribers--;
    ngx_http_gateway_channel_count(hub->zone, hub->channel);

    if (hub->members == 0) {
        ngx_http_gateway_reader_drop(hub->zone, hub->reader);
    }

    ngx_shmtx_unlock(mutex);

    if (hub->members > 0) {

        if (behind) {
            ngx_http_gateway_hub_touch(hub);
        }

        return;
    }

    ngx_http_gateway_hub_dequeue(hub);

    for (i = 0; i < GW_FORMS; i++) {
        if (hub->row[i].place) {
            ngx_free(hub->row[i].place);
        }
    }

    ngx_free(hub);
}


/* The worker is ending, and has no clients any more. */

void
ngx_http_gateway_hub_exit(void)
{
    if (ngx_http_gateway_spare_hub) {
        ngx_free(ngx_http_gateway_spare_hub);
        ngx_http_gateway_spare_hub = NULL;
    }
}
