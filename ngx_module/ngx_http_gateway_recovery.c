/*
 * recovery:request: messages that a client has missed, one answer each.
 *
 * Answers are made as the client takes them, so that a large history does
 * not fill its send buffer. Meanwhile messages may leave the history: the
 * last answer says then that not all are there.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_websocket.h"


#define NGX_HTTP_GATEWAY_MAX_RANGES    100
#define NGX_HTTP_GATEWAY_MAX_RECOVERY  16         /* waiting, per client */
#define NGX_HTTP_GATEWAY_AHEAD         (32 * 1024) /* unsent, then wait */
#define NGX_HTTP_GATEWAY_SLICE         100 /* answers, then others' turn */


typedef struct {
    uint64_t                         start;
    uint64_t                         end;
} ngx_http_gateway_range_t;


struct ngx_http_gateway_recovery_s {
    ngx_http_gateway_recovery_t     *next;
    ngx_http_gateway_channel_info_t  info;       /* when it was asked */
    uint64_t                         seq;        /* to look at next */
    uint64_t                         last;       /* to be answered last */
    ngx_uint_t                       complete;
    ngx_uint_t                       nranges;
    ngx_http_gateway_range_t         range[NGX_HTTP_GATEWAY_MAX_RANGES + 1];
    ngx_str_t                        name;
    gw_str_t                         request_id;
    u_char                           data[1];
};


void
ngx_http_gateway_recovery_free(ngx_http_gateway_websocket_t *ws)
{
    ngx_http_gateway_recovery_t  *job;

    while (ws->recovery) {
        job = ws->recovery;
        ws->recovery = job->next;
        ngx_free(job);
    }
}


static void
ngx_http_gateway_recovery_answer(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_recovery_t *job, uint64_t seq, ngx_str_t *envelope,
    ngx_uint_t complete)
{
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("recovery:response");

    ngx_http_gateway_text_literal(t, "{\"resource\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(&job->name));
    ngx_http_gateway_text_literal(t, ",\"sequenceNumber\":");
    ngx_http_gateway_text_uint(t, seq);
    ngx_http_gateway_text_literal(t, ",\"data\":");

    if (envelope) {
        ngx_http_gateway_text_add(t, envelope->data, envelope->len);

    } else {
        ngx_http_gateway_text_literal(t, "null");
    }

    if (complete) {
        ngx_http_gateway_text_literal(t, ",\"isComplete\":true}");

    } else {
        ngx_http_gateway_text_literal(t, ",\"isComplete\":false}");
    }

    ngx_http_gateway_v1_end_now(ws, t, &job->request_id);
}


/* Adds what is asked for; NGX_DECLINED: malformed. */

static ngx_int_t
ngx_http_gateway_recovery_ranges(gw_json_t *payload,
    ngx_http_gateway_range_t *range, ngx_uint_t *n)
{
    uint64_t              last;
    gw_json_t             v, item, number;
    const unsigned char  *it;

    *n = 0;
    last = 0;
    v.type = GW_JSON_NULL;

    if (gw_json_member(payload, gw_str("missingRanges"), &v) == GW_OK
        && v.type != GW_JSON_ARRAY && v.type != GW_JSON_NULL)
    {
        return NGX_DECLINED;
    }

    it = NULL;

    while (v.type == GW_JSON_ARRAY && gw_json_next(&v, &it, NULL, &item)) {

        if (*n == NGX_HTTP_GATEWAY_MAX_RANGES
            || gw_json_member(&item, gw_str("start"), &number) != GW_OK
            || gw_json_uint(&number, &range[*n].start) != GW_OK
            || gw_json_member(&item, gw_str("end"), &number) != GW_OK
            || gw_json_uint(&number, &range[*n].end) != GW_OK
            || range[*n].start == 0
            || range[*n].end < range[*n].start)
        {
            return NGX_DECLINED;
        }

        (*n)++;
    }

    if (gw_json_member(payload, gw_str("lastSequenceNumber"), &number)
        == GW_OK)
    {
        if (gw_json_uint(&number, &last) != GW_OK) {
            return NGX_DECLINED;
        }

    } else if (*n) {
        return NGX_OK;
    }

    range[*n].start = last + 1;
    range[*n].end = UINT64_MAX;
    (*n)++;

    return NGX_OK;
}


/* The first number at or after seq that is asked for and exists; 0: none. */

static uint64_t
ngx_http_gateway_recovery_next(ngx_http_gateway_recovery_t *job, uint64_t seq)
{
    uint64_t    found, at;
    ngx_uint_t  i;

    found = 0;

    for (i = 0; i < job->nranges; i++) {
        at = ngx_max(seq, job->range[i].start);

        if (at <= job->range[i].end && at <= job->info.seq
            && (found == 0 || at < found))
        {
            found = at;
        }
    }

    return found;
}


/* What can be known at the start: the last number, and whether something
 * that is asked for is gone, or was never there. */

static void
ngx_http_gateway_recovery_plan(ngx_http_gateway_recovery_t *job)
{
    uint64_t    end;
    ngx_uint_t  i;

    job->complete = 1;
    job->last = 0;

    for (i = 0; i < job->nranges; i++) {
        end = job->range[i].end;

        if (end == UINT64_MAX) {
            /* all that there is after a number, which may be the newest */
            end = job->info.seq;

            if (job->range[i].start > end + 1
                || (job->range[i].start <= end
                    && job->range[i].start < job->info.first))
            {
                job->complete = 0;
            }

        } else if (end > job->info.seq
                   || job->range[i].start < job->info.first)
        {
            job->complete = 0;
        }

        end = ngx_min(end, job->info.seq);

        if (job->range[i].start <= end && end >= job->info.first) {
            job->last = ngx_max(job->last, end);
        }
    }

    job->seq = ngx_max(job->info.first, 1);
}


static ngx_http_gateway_recovery_t *
ngx_http_gateway_recovery_job(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *name, gw_str_t *request_id)
{
    ngx_uint_t                     n;
    ngx_http_gateway_recovery_t   *job, **last;

    n = 0;

    for (last = &ws->recovery; *last; last = &(*last)->next) {
        n++;
    }

    if (n == NGX_HTTP_GATEWAY_MAX_RECOVERY) {
        return NULL;
    }

    job = ngx_calloc(offsetof(ngx_http_gateway_recovery_t, data)
                     + name->len + request_id->len,
                     ws->client.connection->log);
    if (job == NULL) {
        return NULL;
    }

    job->name.data = job->data;
    job->name.len = name->len;
    ngx_memcpy(job->data, name->data, name->len);

    job->request_id.data = job->data + name->len;
    job->request_id.len = request_id->len;

    if (request_id->len) {
        ngx_memcpy(job->data + name->len, request_id->data, request_id->len);
    }

    *last = job;

    return job;
}


/* Whether the client's epoch, where it names one, is the channel's. */

static ngx_uint_t
ngx_http_gateway_recovery_epoch(gw_json_t *payload,
    ngx_http_gateway_channel_info_t *info)
{
    gw_str_t   epoch;
    gw_json_t  v;

    if (gw_json_member(payload, gw_str("epoch"), &v) != GW_OK
        || v.type == GW_JSON_NULL)
    {
        return 1;
    }

    epoch.data = info->epoch;
    epoch.len = GW_EPOCH_LEN;

    return v.type == GW_JSON_STRING && gw_json_string_equal(&v, epoch);
}


void
ngx_http_gateway_recovery_start(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    u_char                        buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    ngx_int_t                     rc;
    ngx_str_t                     name;
    ngx_uint_t                    nranges;
    ngx_http_gateway_range_t      range[NGX_HTTP_GATEWAY_MAX_RANGES + 1];
    ngx_http_gateway_recovery_t  *job;

    if (ngx_http_gateway_v1_resource(payload, buf, &name) != NGX_OK) {
        ngx_http_gateway_v1_bad(ws, "\"resource\" is not a channel's name",
                                request_id);
        return;
    }

    if (ngx_http_gateway_recovery_ranges(payload, range, &nranges)
        != NGX_OK)
    {
        ngx_http_gateway_v1_bad(ws, "\"lastSequenceNumber\" or "
                                    "\"missingRanges\" is malformed (at most "
                                    "100 ranges)", request_id);
        return;
    }

    if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_SUBSCRIBE,
                                  &name)
        && !ngx_http_gateway_client_joined(&ws->client, &name))
    {
        ngx_http_gateway_v1_error(ws, "forbidden",
                                  "subscribing is not allowed", NULL,
                                  request_id);
        return;
    }

    rc = ngx_http_gateway_websocket_sync(ws, &name, 1);

    if (rc == NGX_AGAIN) {
        return;
    }

    job = rc == NGX_OK ? ngx_http_gateway_recovery_job(ws, &name, request_id)
                       : NULL;

    if (job == NULL) {
        ngx_http_gateway_v1_error(ws, "unavailable",
                                  "too many recoveries at a time", NULL,
                                  request_id);
        return;
    }

    ngx_memcpy(job->range, range, nranges * sizeof(*range));
    job->nranges = nranges;

    rc = ngx_http_gateway_channel_info(ws->conf->zone, &name, &job->info);

    if (rc != NGX_OK) {
        /* nothing was ever published there: what is asked for with an epoch
         * or a number is of another time */
        ngx_memzero(&job->info, sizeof(job->info));
        job->info.first = 1;
    }

    ngx_http_gateway_recovery_plan(job);

    if (!ngx_http_gateway_recovery_epoch(payload, &job->info)) {
        job->complete = 0;
        job->last = 0;
    }
}


/* One answer. NGX_OK: more may follow; NGX_DONE: the job is done. */

static ngx_int_t
ngx_http_gateway_recovery_step(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_recovery_t *job, ngx_pool_t *pool)
{
    uint64_t   seq, wanted;
    ngx_int_t  rc;
    ngx_str_t  envelope;

    wanted = job->last ? ngx_http_gateway_recovery_next(job, job->seq) : 0;

    if (wanted == 0) {
        ngx_http_gateway_recovery_answer(ws, job, job->info.seq, NULL,
                                         job->complete);
        return NGX_DONE;
    }

    seq = wanted;
    rc = ngx_http_gateway_channel_read(ws->conf->zone, &job->name, &job->info,
                                       &seq, pool, &envelope);

    if (rc != NGX_OK) {
        /* gone meanwhile, with its channel or its epoch */
        ngx_http_gateway_recovery_answer(ws, job, job->info.seq, NULL, 0);
        return NGX_DONE;
    }

    if (seq != wanted) {
        job->complete = 0;
        job->seq = seq;

        if (seq > job->last) {
            ngx_http_gateway_recovery_answer(ws, job, job->info.seq, NULL, 0);
            return NGX_DONE;
        }

        return NGX_OK;
    }

    ngx_http_gateway_recovery_answer(ws, job, seq, &envelope,
                                     seq == job->last && job->complete);

    job->seq = seq + 1;

    return seq == job->last ? NGX_DONE : NGX_OK;
}


void
ngx_http_gateway_recovery_continue(ngx_http_gateway_websocket_t *ws)
{
    ngx_int_t                     rc;
    ngx_uint_t                    n;
    ngx_pool_t                   *pool;
    ngx_http_gateway_recovery_t  *job;

    for (n = 0; ws->recovery && !ws->client.lost; n++) {

        if (n == NGX_HTTP_GATEWAY_SLICE) {
            ngx_http_gateway_client_flush(&ws->client);

            /* goes on as if the socket had been full */
            ws->client.blocked = 1;
            ngx_post_event(ws->client.connection->write,
                           &ngx_posted_next_events);
            return;
        }

        if (ws->client.out_size > NGX_HTTP_GATEWAY_AHEAD) {
            ngx_http_gateway_client_flush(&ws->client);

            if (ws->client.out_size > NGX_HTTP_GATEWAY_AHEAD) {
                return;
            }
        }

        job = ws->recovery;

        pool = ngx_create_pool(1024, ws->client.connection->log);
        if (pool == NULL) {
            ngx_http_gateway_client_lose(&ws->client,
                                         NGX_HTTP_GATEWAY_LOST_MEMORY);
            return;
        }

        rc = ngx_http_gateway_recovery_step(ws, job, pool);

        ngx_destroy_pool(pool);

        if (rc == NGX_DONE) {
            ws->recovery = job->next;
            ngx_free(job);
        }
    }

    ngx_http_gateway_client_flush(&ws->client);
}
