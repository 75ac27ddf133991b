/*
 * Key sources that are fetched: gateway_jwt_keys uri=.
 *
 * Each worker's timer looks when a fetch is due; the first to look claims it
 * in shared memory until a deadline, the others look again then. A claim of a
 * worker that died counts for nothing. What was fetched is put into shared
 * memory as text under a new version, if it differs; every worker that sees
 * the version parses it for itself.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt_int.h"
#include "ngx_http_gateway_request.h"


/* ms */
#define NGX_HTTP_GATEWAY_JWT_FETCH_TIMEOUT  10000
#define NGX_HTTP_GATEWAY_JWT_FETCH_LOST     12000   /* another takes over */
#define NGX_HTTP_GATEWAY_JWT_FETCH_LOOK     500     /* whether to give up */
#define NGX_HTTP_GATEWAY_JWT_BACKOFF_MIN    1000
#define NGX_HTTP_GATEWAY_JWT_BACKOFF_MAX    60000
#define NGX_HTTP_GATEWAY_JWT_ASK            10000   /* between unknown kids */
#define NGX_HTTP_GATEWAY_JWT_POLL           20      /* while some wait */

/* states that are no HTTP status */
#define NGX_HTTP_GATEWAY_JWT_BROKEN         1
#define NGX_HTTP_GATEWAY_JWT_TIMEOUT        2
#define NGX_HTTP_GATEWAY_JWT_TOO_BIG        3
#define NGX_HTTP_GATEWAY_JWT_NO_MEMORY      4


static void ngx_http_gateway_jwt_refresh_timer(ngx_event_t *ev);
static ngx_msec_t ngx_http_gateway_jwt_refresh_claim(
    ngx_http_gateway_jwt_source_t *source);
static ngx_uint_t ngx_http_gateway_jwt_refresh_claimed(
    ngx_http_gateway_jwt_shared_t *sh, ngx_msec_t now);
static void ngx_http_gateway_jwt_refresh_fetch(
    ngx_http_gateway_jwt_source_t *source);
static void ngx_http_gateway_jwt_refresh_done(ngx_http_request_t *r,
    ngx_http_gateway_response_t *res, void *data);
static void ngx_http_gateway_jwt_refresh_end(
    ngx_http_gateway_jwt_source_t *source);
static void ngx_http_gateway_jwt_refresh_abandon(
    ngx_http_gateway_jwt_source_t *source);
static ngx_int_t ngx_http_gateway_jwt_refresh_publish(
    ngx_http_gateway_jwt_source_t *source, ngx_str_t *text,
    gw_jwk_parse_t *parse);
static ngx_uint_t ngx_http_gateway_jwt_refresh_same(
    ngx_http_gateway_jwt_shared_t *sh, ngx_str_t *text);
static void ngx_http_gateway_jwt_refresh_failed(
    ngx_http_gateway_jwt_source_t *source, ngx_uint_t state,
    const char *text);
static void ngx_http_gateway_jwt_refresh_take(
    ngx_http_gateway_jwt_source_t *source);
static void ngx_http_gateway_jwt_refresh_now(
    ngx_http_gateway_jwt_source_t *source);
static void ngx_http_gateway_jwt_refresh_poll(ngx_event_t *ev);
static ngx_uint_t ngx_http_gateway_jwt_refresh_busy(
    ngx_http_gateway_jwt_keys_t *keys);


#define ngx_http_gateway_jwt_pool(source)                                    \
    ((ngx_slab_pool_t *) (source)->zone->shm.addr)


void
ngx_http_gateway_jwt_refresh_start(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t                       i;
    ngx_http_gateway_jwt_source_t  **source;

    if (keys->started || keys->server == NULL) {
        return;
    }

    keys->started = 1;

    keys->poll.handler = ngx_http_gateway_jwt_refresh_poll;
    keys->poll.data = keys;
    keys->poll.log = ngx_cycle->log;

    source = keys->sources.elts;

    for (i = 0; i < keys->sources.nelts; i++) {

        if (source[i]->type != NGX_HTTP_GATEWAY_JWT_URI) {
            continue;
        }

        source[i]->timer.handler = ngx_http_gateway_jwt_refresh_timer;
        source[i]->timer.data = source[i];
        source[i]->timer.log = ngx_cycle->log;
        source[i]->timer.cancelable = 1;

        ngx_add_timer(&source[i]->timer, 1);
    }
}


void
ngx_http_gateway_jwt_refresh_stop(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t                       i;
    ngx_http_gateway_jwt_source_t  **source;

    if (!keys->started) {
        return;
    }

    keys->started = 0;

    if (keys->poll.timer_set) {
        ngx_del_timer(&keys->poll);
    }

    source = keys->sources.elts;

    for (i = 0; i < keys->sources.nelts; i++) {

        if (source[i]->timer.timer_set) {
            ngx_del_timer(&source[i]->timer);
        }

        if (source[i]->request) {
            ngx_http_gateway_jwt_refresh_abandon(source[i]);
        }
    }
}


/* Gives our fetch up, so that another worker may do it at once. */

static void
ngx_http_gateway_jwt_refresh_abandon(ngx_http_gateway_jwt_source_t *source)
{
    ngx_slab_pool_t  *shpool;

    ngx_http_gateway_jwt_refresh_end(source);

    shpool = ngx_http_gateway_jwt_pool(source);

    ngx_shmtx_lock(&shpool->mutex);

    if (source->sh->owner == ngx_pid) {
        source->sh->busy = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static void
ngx_http_gateway_jwt_refresh_timer(ngx_event_t *ev)
{
    ngx_msec_t                      delay;
    ngx_http_gateway_jwt_source_t  *source;

    source = ev->data;

    if (source->request) {

        if (ngx_exiting) {
            ngx_http_gateway_jwt_refresh_abandon(source);
            return;
        }

        if ((ngx_msec_int_t) (source->until - ngx_current_msec) > 0) {
            ngx_add_timer(ev, NGX_HTTP_GATEWAY_JWT_FETCH_LOOK);
            return;
        }

        ngx_http_gateway_jwt_refresh_end(source);
        ngx_http_gateway_jwt_refresh_failed(source,
                                            NGX_HTTP_GATEWAY_JWT_TIMEOUT,
                                            "no answer within 10s");
    }

    if (ngx_exiting) {
        return;
    }

    delay = ngx_http_gateway_jwt_refresh_claim(source);

    if (delay == 0) {
        ngx_http_gateway_jwt_refresh_fetch(source);
        return;
    }

    ngx_add_timer(ev, delay);
}


/* 0: the fetch is ours to do now; else ms until it is worth looking again. */

static ngx_msec_t
ngx_http_gateway_jwt_refresh_claim(ngx_http_gateway_jwt_source_t *source)
{
    ngx_msec_t                      now, delay;
    ngx_slab_pool_t                *shpool;
    ngx_http_gateway_jwt_shared_t  *sh;

    sh = source->sh;
    now = ngx_current_msec;
    shpool = ngx_http_gateway_jwt_pool(source);

    ngx_shmtx_lock(&shpool->mutex);

    if (ngx_http_gateway_jwt_refresh_claimed(sh, now)) {
        delay = sh->deadline - now;

    } else if ((ngx_msec_int_t) (sh->next - now) > 0) {
        delay = sh->next - now;

    } else {
        sh->busy = 1;
        sh->owner = ngx_pid;
        sh->deadline = now + NGX_HTTP_GATEWAY_JWT_FETCH_LOST;
        delay = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return delay;
}


/* Whether a living worker fetches; the zone is locked. */

static ngx_uint_t
ngx_http_gateway_jwt_refresh_claimed(ngx_http_gateway_jwt_shared_t *sh,
    ngx_msec_t now)
{
    if (!sh->busy || (ngx_msec_int_t) (sh->deadline - now) <= 0) {
        return 0;
    }

    if (sh->owner != ngx_pid
        && kill(sh->owner, 0) == -1 && ngx_errno == NGX_ESRCH)
    {
        sh->busy = 0;
        return 0;
    }

    return 1;
}


static void
ngx_http_gateway_jwt_refresh_fetch(ngx_http_gateway_jwt_source_t *source)
{
    ngx_http_request_t   *r;
    ngx_http_conf_ctx_t  *server;

    server = source->keys->server;

    r = ngx_http_gateway_request_create(server->main_conf, server->srv_conf,
                                        server->loc_conf);

    if (r == NULL) {
        ngx_http_gateway_jwt_refresh_failed(source,
                                            NGX_HTTP_GATEWAY_JWT_NO_MEMORY,
                                            "no memory or no free "
                                            "connection");
        goto again;
    }

    source->request = r;

    if (ngx_http_gateway_request_fetch(r, &source->name, NULL,
                                       GW_JWK_DOCUMENT_MAX,
                                       ngx_http_gateway_jwt_refresh_done,
                                       source)
        != NGX_OK)
    {
        ngx_http_gateway_jwt_refresh_end(source);
        ngx_http_gateway_jwt_refresh_failed(source,
                                            NGX_HTTP_GATEWAY_JWT_NO_MEMORY,
                                            "no memory");
        goto again;
    }

    source->until = ngx_current_msec + NGX_HTTP_GATEWAY_JWT_FETCH_TIMEOUT;
    ngx_add_timer(&source->timer, NGX_HTTP_GATEWAY_JWT_FETCH_LOOK);

    return;

again:

    ngx_add_timer(&source->timer, NGX_HTTP_GATEWAY_JWT_BACKOFF_MIN);
}


static void
ngx_http_gateway_jwt_refresh_done(ngx_http_request_t *r,
    ngx_http_gateway_response_t *res, void *data)
{
    ngx_http_gateway_jwt_source_t *source = data;

    u_char          text[64];
    gw_jwk_parse_t  parse;

    if (res->too_big) {
        ngx_http_gateway_jwt_refresh_failed(source,
                                            NGX_HTTP_GATEWAY_JWT_TOO_BIG,
                                            "the answer is longer than 1 "
                                            "megabyte");

    } else if (res->status != NGX_HTTP_OK) {
        ngx_snprintf(text, sizeof(text), "answered %ui%Z", res->status);
        ngx_http_gateway_jwt_refresh_failed(source, res->status,
                                            (char *) text);

    } else if (ngx_http_gateway_jwt_refresh_publish(source, &res->body,
                                                    &parse)
               != NGX_OK)
    {
        ngx_http_gateway_jwt_refresh_failed(source,
                                            NGX_HTTP_GATEWAY_JWT_BROKEN,
                                            parse.error);
    }

    ngx_http_gateway_jwt_refresh_end(source);

    if (!ngx_exiting) {
        ngx_add_timer(&source->timer, 1);
    }

    if (!ngx_queue_empty(&source->keys->waiting)) {
        ngx_http_gateway_jwt_refresh_poll(&source->keys->poll);
    }
}


static void
ngx_http_gateway_jwt_refresh_end(ngx_http_gateway_jwt_source_t *source)
{
    if (source->timer.timer_set) {
        ngx_del_timer(&source->timer);
    }

    if (source->request) {
        ngx_http_gateway_request_destroy(source->request);
        source->request = NULL;
    }
}


/* The text becomes the last good one, unless it is broken: NGX_ERROR. */

static ngx_int_t
ngx_http_gateway_jwt_refresh_publish(ngx_http_gateway_jwt_source_t *source,
    ngx_str_t *text, gw_jwk_parse_t *parse)
{
    gw_str_t                        s;
    ngx_uint_t                      state, next;
    gw_jwk_set_t                   *set;
    ngx_slab_pool_t                *shpool;
    ngx_http_gateway_jwt_shared_t  *sh;

    sh = source->sh;
    shpool = ngx_http_gateway_jwt_pool(source);

    /* only a text that is new is worth the warnings about its keys */

    ngx_memzero(parse, sizeof(*parse));

    if (!ngx_http_gateway_jwt_refresh_same(sh, text)) {
        parse->report = ngx_http_gateway_jwt_keys_report;
        parse->data = source;

        s.data = text->data;
        s.len = text->len;

        if (gw_jwk_set_parse_jwks(source->keys->main->lib, s, parse, &set)
            != GW_OK)
        {
            return NGX_ERROR;
        }

        gw_jwk_set_destroy(set);
    }

    ngx_shmtx_lock(&shpool->mutex);

    if (!ngx_http_gateway_jwt_refresh_same(sh, text)) {
        next = !sh->current;
        ngx_memcpy(sh->area[next], text->data, text->len);
        sh->len[next] = text->len;
        sh->current = next;
        sh->version++;
    }

    state = sh->state;

    sh->state = 0;
    sh->failures = 0;
    sh->next = ngx_current_msec + source->refresh;
    sh->busy = 0;

    ngx_shmtx_unlock(&shpool->mutex);

    if (state) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "\"uri=%V\" of \"gateway_jwt_keys %V\" answers again",
                      &source->name, &source->keys->name);
    }

    ngx_http_gateway_jwt_refresh_update(source->keys);

    return NGX_OK;
}


/* Only the one who fetches writes, so it may compare without the lock. */

static ngx_uint_t
ngx_http_gateway_jwt_refresh_same(ngx_http_gateway_jwt_shared_t *sh,
    ngx_str_t *text)
{
    return sh->version
           && sh->len[sh->current] == text->len
           && ngx_memcmp(sh->area[sh->current], text->data, text->len) == 0;
}


static void
ngx_http_gateway_jwt_refresh_failed(ngx_http_gateway_jwt_source_t *source,
    ngx_uint_t state, const char *text)
{
    ngx_uint_t                      changed, keep;
    ngx_msec_t                      delay;
    ngx_slab_pool_t                *shpool;
    ngx_http_core_srv_conf_t       *cscf;
    ngx_http_gateway_jwt_shared_t  *sh;

    sh = source->sh;
    shpool = ngx_http_gateway_jwt_pool(source);

    ngx_shmtx_lock(&shpool->mutex);

    changed = (sh->state != state);
    keep = (sh->version != 0);

    delay = ngx_min(NGX_HTTP_GATEWAY_JWT_BACKOFF_MIN
                    << ngx_min(sh->failures, 6),
                    NGX_HTTP_GATEWAY_JWT_BACKOFF_MAX);
    delay = ngx_min(delay, source->refresh);

    sh->state = state;
    sh->failures++;
    sh->next = ngx_current_msec + delay;
    sh->busy = 0;

    ngx_shmtx_unlock(&shpool->mutex);

    if (!changed) {
        return;
    }

    cscf = source->keys->server->srv_conf[ngx_http_core_module.ctx_index];

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "\"uri=%V\" of \"gateway_jwt_keys %V\" in server \"%V\" "
                  "failed: %s; %s", &source->name, &source->keys->name,
                  &cscf->server_name, text,
                  keep ? "the last good keys stay in use"
                       : "there are no keys yet");
}


void
ngx_http_gateway_jwt_keys_report(void *data, gw_jwk_level_e level,
    const char *text)
{
    ngx_http_gateway_jwt_source_t *source = data;

    ngx_uint_t  n;

    n = (level == GW_JWK_WARN) ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(n, ngx_cycle->log, 0,
                  "\"uri=%V\" of \"gateway_jwt_keys %V\": %s",
                  &source->name, &source->keys->name, text);
}


void
ngx_http_gateway_jwt_refresh_update(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t                       i;
    ngx_http_gateway_jwt_source_t  **source;

    source = keys->sources.elts;

    for (i = 0; i < keys->sources.nelts; i++) {
        if (source[i]->sh && source[i]->sh->version != source[i]->version) {
            ngx_http_gateway_jwt_refresh_take(source[i]);
        }
    }
}


/* Parses the shared text, which was good to the one who put it there. */

static void
ngx_http_gateway_jwt_refresh_take(ngx_http_gateway_jwt_source_t *source)
{
    u_char                         *p;
    gw_str_t                        text;
    gw_jwk_set_t                   *set;
    gw_jwk_parse_t                  parse;
    ngx_slab_pool_t                *shpool;
    ngx_atomic_uint_t               version;
    ngx_http_gateway_jwt_keys_t    *keys;
    ngx_http_gateway_jwt_shared_t  *sh;

    sh = source->sh;
    keys = source->keys;
    shpool = ngx_http_gateway_jwt_pool(source);

    ngx_shmtx_lock(&shpool->mutex);

    version = sh->version;
    text.len = sh->len[sh->current];

    p = ngx_alloc(text.len, ngx_cycle->log);
    if (p) {
        ngx_memcpy(p, sh->area[sh->current], text.len);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (p == NULL) {
        return;
    }

    text.data = p;
    ngx_memzero(&parse, sizeof(parse));

    if (gw_jwk_set_parse_jwks(keys->main->lib, text, &parse, &set)
        == GW_OK)
    {
        gw_jwk_set_destroy(keys->sets[source->index]);
        keys->sets[source->index] = set;
        keys->version++;

        ngx_http_gateway_jwt_cache_forget(keys->main->cache, keys);

    } else {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "\"uri=%V\" of \"gateway_jwt_keys %V\": %s",
                      &source->name, &keys->name, parse.error);
    }

    source->version = version;

    ngx_explicit_memzero(p, text.len);
    ngx_free(p);
}


ngx_uint_t
ngx_http_gateway_jwt_refresh_ready(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t  i;

    for (i = 0; i < keys->sources.nelts; i++) {
        if (keys->sets[i] == NULL) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_http_gateway_jwt_refresh_ask(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t                       i, due, wait;
    ngx_msec_t                       now;
    ngx_slab_pool_t                 *shpool;
    ngx_http_gateway_jwt_shared_t   *sh;
    ngx_http_gateway_jwt_source_t  **source;

    now = ngx_current_msec;
    source = keys->sources.elts;
    wait = 0;

    ngx_http_gateway_jwt_refresh_start(keys);

    for (i = 0; i < keys->sources.nelts; i++) {

        sh = source[i]->sh;
        if (sh == NULL || !keys->started) {
            continue;
        }

        due = 0;
        shpool = ngx_http_gateway_jwt_pool(source[i]);

        ngx_shmtx_lock(&shpool->mutex);

        if (ngx_http_gateway_jwt_refresh_claimed(sh, now)) {
            wait = 1;

        } else if (!ngx_exiting
                   && (!sh->asked_set
                       || now - sh->asked >= NGX_HTTP_GATEWAY_JWT_ASK))
        {
            sh->asked_set = 1;
            sh->asked = now;
            sh->next = now;
            due = 1;
            wait = 1;
        }

        ngx_shmtx_unlock(&shpool->mutex);

        if (due) {
            ngx_http_gateway_jwt_refresh_now(source[i]);
        }
    }

    return wait;
}


/* Looks at once, instead of when the timer says. */

static void
ngx_http_gateway_jwt_refresh_now(ngx_http_gateway_jwt_source_t *source)
{
    if (source->request || !source->keys->started) {
        return;
    }

    if (source->timer.timer_set) {
        ngx_del_timer(&source->timer);
    }

    ngx_http_gateway_jwt_refresh_timer(&source->timer);
}


void
ngx_http_gateway_jwt_refresh_wait(ngx_http_gateway_jwt_keys_t *keys,
    ngx_http_gateway_jwt_wait_t *wait)
{
    ngx_http_gateway_jwt_refresh_start(keys);

    wait->version = keys->version;
    wait->queued = 1;
    ngx_queue_insert_tail(&keys->waiting, &wait->queue);

    if (!keys->poll.timer_set) {
        keys->poll.handler = ngx_http_gateway_jwt_refresh_poll;
        keys->poll.data = keys;
        keys->poll.log = ngx_cycle->log;

        ngx_add_timer(&keys->poll, NGX_HTTP_GATEWAY_JWT_POLL);
    }
}


void
ngx_http_gateway_jwt_refresh_cancel(ngx_http_gateway_jwt_wait_t *wait)
{
    if (wait->queued) {
        wait->queued = 0;
        ngx_queue_remove(&wait->queue);
    }
}


/*
 * Wakes who need not wait longer. Handlers may cancel others and wait anew,
 * so those to be woken are taken out of the queue first.
 */

static void
ngx_http_gateway_jwt_refresh_poll(ngx_event_t *ev)
{
    ngx_uint_t                    busy;
    ngx_queue_t                  *q, *next, woken;
    ngx_http_gateway_jwt_keys_t  *keys;
    ngx_http_gateway_jwt_wait_t  *wait;

    keys = ev->data;

    ngx_http_gateway_jwt_refresh_update(keys);
    busy = ngx_http_gateway_jwt_refresh_busy(keys);

    ngx_queue_init(&woken);

    for (q = ngx_queue_head(&keys->waiting);
         q != ngx_queue_sentinel(&keys->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        wait = ngx_queue_data(q, ngx_http_gateway_jwt_wait_t, queue);

        if (wait->version != keys->version
            || (wait->kid && !busy)
            || (ngx_msec_int_t) (wait->deadline - ngx_current_msec) <= 0)
        {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&woken, q);
        }
    }

    while (!ngx_queue_empty(&woken)) {
        q = ngx_queue_head(&woken);
        wait = ngx_queue_data(q, ngx_http_gateway_jwt_wait_t, queue);

        ngx_queue_remove(q);
        wait->queued = 0;

        wait->handler(wait->data);
    }

    if (!ngx_queue_empty(&keys->waiting) && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_GATEWAY_JWT_POLL);
    }
}


/*
 * Whether a fetch is under way or due. One that is due, because the worker
 * that did it is dead or gave it up, is done here: somebody waits for it.
 */

static ngx_uint_t
ngx_http_gateway_jwt_refresh_busy(ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_uint_t                       i, busy, due;
    ngx_msec_t                       now;
    ngx_slab_pool_t                 *shpool;
    ngx_http_gateway_jwt_shared_t   *sh;
    ngx_http_gateway_jwt_source_t  **source;

    now = ngx_current_msec;
    source = keys->sources.elts;
    busy = 0;

    for (i = 0; i < keys->sources.nelts; i++) {

        sh = source[i]->sh;
        if (sh == NULL) {
            continue;
        }

        due = 0;
        shpool = ngx_http_gateway_jwt_pool(source[i]);

        ngx_shmtx_lock(&shpool->mutex);

        if (ngx_http_gateway_jwt_refresh_claimed(sh, now)) {
            busy = 1;

        } else if ((ngx_msec_int_t) (sh->next - now) <= 0) {
            busy = 1;
            due = 1;
        }

        ngx_shmtx_unlock(&shpool->mutex);

        if (due && !ngx_exiting) {
            ngx_http_gateway_jwt_refresh_now(source[i]);
        }
    }

    return busy;
}
