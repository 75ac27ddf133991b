/*
 * gateway_cache's second level: purges that it is owed, because Redis was away
 * or went away in the middle. Each worker keeps its own, and does them anew; of
 * a worker that ends before, shared memory knows that it owed something.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_remote.h"
#include "ngx_http_gateway_worker.h"


#define NGX_HTTP_GATEWAY_PURGE_KEPT     1000  /* purges, of a worker */
#define NGX_HTTP_GATEWAY_PURGE_RETRY    1000  /* ms */


static ngx_queue_t   ngx_http_gateway_purge_kept;
static ngx_uint_t    ngx_http_gateway_purge_nkept;
static ngx_event_t   ngx_http_gateway_purge_retry;


void
ngx_http_gateway_purge_owe(ngx_http_gateway_cache_zone_t *zone,
    ngx_uint_t owes, ngx_uint_t lost)
{
    uint64_t   *word, bit;

    (void) ngx_http_gateway_cache_lock(zone);

    if (ngx_http_gateway_slot < GW_STORE_SLOTS) {
        word = &zone->sh->owes[ngx_http_gateway_slot / 64];
        bit = (uint64_t) 1 << (ngx_http_gateway_slot % 64);
        *word = owes ? *word | bit : *word & ~bit;
    }

    zone->sh->lost |= lost;

    ngx_http_gateway_cache_unlock(zone);
}


ngx_uint_t
ngx_http_gateway_purge_full(void)
{
    return ngx_http_gateway_purge_nkept >= NGX_HTTP_GATEWAY_PURGE_KEPT;
}


/* Before Redis 7 the error of what a script has called stands in the script's
 * own. */

void
ngx_http_gateway_purge_refused(ngx_http_gateway_cache_op_t *op,
    redisReply *reply)
{
    ngx_uint_t  i;

    static char  *passing[] = { "BUSY ", "MISCONF ", "NOREPLICAS " };

    for (i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {

        if (ngx_strstr(reply->str, passing[i]) == NULL) {
            continue;
        }

        if (!op->failed && !op->kept) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "gateway_cache \"%V\": Redis cannot purge now, it "
                          "is done later: %s", &op->job.zone->name,
                          reply->str);
        }

        op->failed = 1;
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "gateway_cache \"%V\": Redis could not purge: %s",
                  &op->job.zone->name, reply->str);
}


void
ngx_http_gateway_purge_paid(ngx_http_gateway_cache_op_t *op)
{
    ngx_queue_t                  *q;
    ngx_http_gateway_cache_op_t  *other;

    if (!op->kept) {
        return;
    }

    op->kept = 0;
    ngx_queue_remove(&op->queue);
    ngx_http_gateway_purge_nkept--;

    for (q = ngx_queue_head(&ngx_http_gateway_purge_kept);
         q != ngx_queue_sentinel(&ngx_http_gateway_purge_kept);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_gateway_cache_op_t, queue);

        if (other->job.zone == op->job.zone) {
            return;
        }
    }

    ngx_http_gateway_purge_owe(op->job.zone, 0, 0);
}


void
ngx_http_gateway_purge_answered(ngx_http_gateway_cache_op_t *op)
{
    ngx_http_gateway_purge_t  *asked;

    asked = op->asked;

    if (asked) {
        op->asked = NULL;
        ngx_http_gateway_purge_remote_done(asked, op->purged,
                                           op->job.purge.purged);
    }
}


static void
ngx_http_gateway_purge_restart(ngx_http_gateway_cache_op_t *op)
{
    op->phase = NGX_HTTP_GATEWAY_PURGE_STAMP;
    op->failed = 0;
    op->bucket = 0;
    op->next = 0;

    ngx_http_gateway_purge_pump(op);
}


static void
ngx_http_gateway_purge_run_kept(ngx_http_gateway_redis_t *redis)
{
    ngx_uint_t                    i, n;
    ngx_queue_t                  *q;
    ngx_http_gateway_cache_op_t  *op;

    /* those that fail anew go to the end */

    n = ngx_http_gateway_purge_nkept;

    for (i = 0; i < n && !ngx_queue_empty(&ngx_http_gateway_purge_kept); i++)
    {
        q = ngx_queue_head(&ngx_http_gateway_purge_kept);
        op = ngx_queue_data(q, ngx_http_gateway_cache_op_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_http_gateway_purge_kept, q);

        if (op->failed && op->flight == 0
            && (redis == NULL || op->job.zone->redis == redis)
            && ngx_http_gateway_redis_up(op->job.zone->redis))
        {
            ngx_http_gateway_purge_restart(op);
        }
    }
}


static void
ngx_http_gateway_purge_again(ngx_event_t *ev)
{
    ngx_http_gateway_purge_run_kept(NULL);

    if (ngx_http_gateway_purge_nkept && !ev->timer_set
        && !(ngx_exiting || ngx_quit || ngx_terminate))
    {
        ngx_add_timer(ev, NGX_HTTP_GATEWAY_PURGE_RETRY);
    }
}


void
ngx_http_gateway_cache_remote_catch_up(ngx_http_gateway_redis_t *redis)
{
    if (ngx_http_gateway_purge_nkept) {
        ngx_http_gateway_purge_run_kept(redis);
    }
}


void
ngx_http_gateway_purge_keep(ngx_http_gateway_cache_op_t *op)
{
    static ngx_connection_t  dumb;

    op->failed = 1;

    ngx_http_gateway_purge_answered(op);

    if (ngx_http_gateway_purge_kept.next == NULL) {
        ngx_queue_init(&ngx_http_gateway_purge_kept);
        dumb.fd = (ngx_socket_t) -1;
        ngx_http_gateway_purge_retry.handler = ngx_http_gateway_purge_again;
        ngx_http_gateway_purge_retry.data = &dumb;
        ngx_http_gateway_purge_retry.log = ngx_cycle->log;
        ngx_http_gateway_purge_retry.cancelable = 1;
    }

    if (op->kept) {
        return;
    }

    if (ngx_http_gateway_purge_full()
        || ngx_http_gateway_slot >= GW_STORE_SLOTS)
    {
        /* too many: then everything is purged */

        ngx_http_gateway_purge_owe(op->job.zone, 1, 1);
        ngx_destroy_pool(op->job.pool);
        return;
    }

    op->kept = 1;
    ngx_http_gateway_purge_nkept++;
    ngx_queue_insert_tail(&ngx_http_gateway_purge_kept, &op->queue);

    ngx_http_gateway_purge_owe(op->job.zone, 1, 0);

    if (!ngx_http_gateway_purge_retry.timer_set) {
        ngx_add_timer(&ngx_http_gateway_purge_retry,
                      NGX_HTTP_GATEWAY_PURGE_RETRY);
    }
}
