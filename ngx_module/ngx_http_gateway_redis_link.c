/*
 * One connection to one Redis server: commands in, replies out.
 *
 * Commands wait in one queue, in order: those sent come first. What gathers
 * in one round of the event loop is sent at its end, in one call. One timer
 * serves the deadlines of all: it is set for the earliest known and looks
 * through the queue when it fires.
 */

#include "ngx_http_gateway_connection.h"
#include "ngx_http_gateway_redis_int.h"


#define NGX_HTTP_GATEWAY_REDIS_OUT     65536
#define NGX_HTTP_GATEWAY_REDIS_IN      16384
#define NGX_HTTP_GATEWAY_REDIS_READS   64       /* in one round */
#define NGX_HTTP_GATEWAY_REDIS_SENDS   64
#define NGX_HTTP_GATEWAY_REDIS_LINE    65536    /* that is no bulk string */


static void ngx_http_gateway_redis_link_timer(ngx_event_t *ev);
static void ngx_http_gateway_redis_link_flush(
    ngx_http_gateway_redis_link_t *link);
static void ngx_http_gateway_redis_link_flush_event(ngx_event_t *ev);
static void ngx_http_gateway_redis_link_close(
    ngx_http_gateway_redis_link_t *link);


/* Shared by all links of a worker: never held over a return. */
static u_char  ngx_http_gateway_redis_out[NGX_HTTP_GATEWAY_REDIS_OUT];
static u_char  ngx_http_gateway_redis_in[NGX_HTTP_GATEWAY_REDIS_IN];


/*
 * The log of a link's connection: what nginx would log at each attempt is kept
 * instead, as the reason for the one line that is written.
 */

static void
ngx_http_gateway_redis_link_log(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len)
{
    u_char                         *p, *last;
    ngx_http_gateway_redis_link_t  *link;

    link = log->wdata;
    last = buf + len;

    /* behind "... pid#tid: " */
    for (p = buf; p + 2 < last && *p != '#'; p++) { /* void */ }
    for ( /* void */ ; p + 2 < last && (*p != ':' || p[1] != ' '); p++) {
        /* void */
    }

    if (p + 2 < last) {
        ngx_http_gateway_redis_link_reason(link, p + 2, last - p - 2);
    }
}


/* Kept printable: some of it comes from the server. */

void
ngx_http_gateway_redis_link_reason(ngx_http_gateway_redis_link_t *link,
    const void *text, size_t len)
{
    size_t         i;
    const u_char  *p;

    p = text;
    len = ngx_min(len, sizeof(link->reason) - 1);

    for (i = 0; i < len; i++) {
        link->reason[i] = (char) (p[i] < ' ' || p[i] >= 0x7f ? '?' : p[i]);
    }

    link->reason[len] = '\0';
}


void
ngx_http_gateway_redis_link_init(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_t *redis)
{
    link->redis = redis;
    link->backoff = NGX_HTTP_GATEWAY_REDIS_BACKOFF;

    ngx_queue_init(&link->commands);
    link->unsent = &link->commands;

    link->log.log_level = NGX_LOG_INFO;
    link->log.writer = ngx_http_gateway_redis_link_log;
    link->log.wdata = link;

    link->timer.handler = ngx_http_gateway_redis_link_timer;
    link->timer.data = link;
    link->timer.log = ngx_cycle->log;
    link->timer.cancelable = 1;

    link->retry.handler = ngx_http_gateway_redis_link_retry;
    link->retry.data = link;
    link->retry.log = ngx_cycle->log;
    link->retry.cancelable = 1;

    link->keepalive.handler = ngx_http_gateway_redis_link_keepalive;
    link->keepalive.data = link;
    link->keepalive.log = ngx_cycle->log;
    link->keepalive.cancelable = 1;

    link->flush.handler = ngx_http_gateway_redis_link_flush_event;
    link->flush.data = link;
    link->flush.log = ngx_cycle->log;
}


void
ngx_http_gateway_redis_link_start(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_server_t *server, ngx_msec_t delay)
{
    ngx_http_gateway_redis_link_close(link);

    link->server = server;
    ngx_http_gateway_redis_link_later(link, delay);
}


static void
ngx_http_gateway_redis_link_set(ngx_event_t *ev, ngx_msec_t delay)
{
    if (ev->timer_set) {
        /* else nginx leaves it where the difference is small */
        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, delay);
}


void
ngx_http_gateway_redis_link_later(ngx_http_gateway_redis_link_t *link,
    ngx_msec_t delay)
{
    ngx_http_gateway_redis_link_set(&link->retry, delay);
}


void
ngx_http_gateway_redis_link_stop(ngx_http_gateway_redis_link_t *link)
{
    ngx_http_gateway_redis_link_close(link);

    if (link->retry.timer_set) {
        ngx_del_timer(&link->retry);
    }
}


static void
ngx_http_gateway_redis_link_close(ngx_http_gateway_redis_link_t *link)
{
    ngx_queue_t       *q;
    ngx_connection_t  *c;

    c = link->connection;

    link->ready = 0;
    link->connected = 0;
    link->pushes = 0;
    link->connection = NULL;

    if (link->resolving) {
        ngx_resolve_name_done(link->resolving);
        link->resolving = NULL;
    }

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    link->timer.cancelable = 1;

    if (link->keepalive.timer_set) {
        ngx_del_timer(&link->keepalive);
    }

    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
    }

    if (link->reader) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }

    while (!ngx_queue_empty(&link->commands)) {
        q = ngx_queue_head(&link->commands);
        ngx_queue_remove(q);

        ngx_http_gateway_redis_command_lost(
            ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue));
    }

    link->unsent = &link->commands;
    link->unsent_pos = 0;
    link->ncommands = 0;
    link->nbytes = 0;

    if (c) {
        ngx_http_gateway_connection_drop(c);
    }
}


void
ngx_http_gateway_redis_link_fail(ngx_http_gateway_redis_link_t *link,
    const char *fmt, ...)
{
    u_char      text[NGX_HTTP_GATEWAY_REDIS_REASON], *p;
    va_list     args;
    ngx_msec_t  delay;

    if (fmt) {
        va_start(args, fmt);
        p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
        va_end(args);

    } else {
        /* what nginx has said of it */
        p = ngx_cpystrn(text, (u_char *) link->reason, sizeof(text));
    }

    /* one that held for some time is tried again soon */
    if (link->ready
        && ngx_current_msec - link->since > NGX_HTTP_GATEWAY_REDIS_HELD)
    {
        link->backoff = NGX_HTTP_GATEWAY_REDIS_BACKOFF;
    }

    ngx_http_gateway_redis_link_close(link);
    ngx_http_gateway_redis_link_reason(link, text, p - text);

    delay = link->backoff / 2
            + (ngx_msec_t) ngx_random() % (link->backoff / 2);

    link->backoff = ngx_min(2 * link->backoff,
                            NGX_HTTP_GATEWAY_REDIS_MAX_BACKOFF);
    link->attempt++;

    ngx_http_gateway_redis_link_later(link, delay);

    link->down(link);
}


/* While it connects, for all of that; then for the deadlines. */

static void
ngx_http_gateway_redis_link_timer(ngx_event_t *ev)
{
    ngx_msec_int_t                     left, least;
    ngx_queue_t                       *q;
    ngx_http_gateway_redis_link_t     *link;
    ngx_http_gateway_redis_command_t  *cmd;

    link = ev->data;

    if (!link->connected) {
        ngx_http_gateway_redis_link_fail(link, "connecting timed out");
        return;
    }

    if (ngx_queue_empty(&link->commands)) {
        return;
    }

    least = link->redis->conf.timeout;

    for (q = ngx_queue_head(&link->commands);
         q != ngx_queue_sentinel(&link->commands);
         q = ngx_queue_next(q))
    {
        cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);
        left = (ngx_msec_int_t) (cmd->expires - ngx_current_msec);

        if (left <= 0) {
            ngx_http_gateway_redis_link_fail(link, "no answer in %M ms",
                                             link->redis->conf.timeout);
            return;
        }

        least = ngx_min(least, left);
    }

    ngx_add_timer(&link->timer, least);
}


/* Sending. */

ngx_int_t
ngx_http_gateway_redis_link_send(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (cmd->expires - ngx_current_msec);

    if (!link->connected || left <= 0
        || link->ncommands >= NGX_HTTP_GATEWAY_REDIS_MAX_COMMANDS
        || link->nbytes + cmd->len > NGX_HTTP_GATEWAY_REDIS_MAX_BYTES)
    {
        return NGX_DECLINED;
    }

    if (cmd->script
        && !ngx_http_gateway_redis_link_knows(link, cmd->script)
        && ngx_http_gateway_redis_command_text(cmd) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_gateway_redis_command_stamp(link, cmd);

    cmd->link = link;
    ngx_queue_insert_tail(&link->commands, &cmd->queue);

    if (link->unsent == &link->commands) {
        link->unsent = &cmd->queue;
        link->unsent_pos = 0;
    }

    link->ncommands++;
    link->nbytes += cmd->len;

    if (cmd->handler && !cmd->raw) {
        /* somebody waits, so a worker that is to end goes on */
        link->timer.cancelable = 0;
    }

    if (!link->timer.timer_set
        || (ngx_msec_int_t) (link->timer.timer.key - cmd->expires) > 0)
    {
        ngx_http_gateway_redis_link_set(&link->timer, left);
    }

    if (!link->flush.posted) {
        ngx_post_event(&link->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


/* A script goes by its text once on each link, then by its digest, so that an
 * answer NOSCRIPT, which would change the order, is rare. */

ngx_uint_t
ngx_http_gateway_redis_link_knows(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_script_t *script)
{
    ngx_uint_t  i;

    for (i = 0; i < link->nscripts; i++) {
        if (link->scripts[i] == script) {
            return 1;
        }
    }

    if (link->nscripts < NGX_HTTP_GATEWAY_REDIS_SCRIPTS) {
        link->scripts[link->nscripts++] = script;
    }

    return 0;
}


static void
ngx_http_gateway_redis_link_remove(ngx_http_gateway_redis_link_t *link,
    ngx_http_gateway_redis_command_t *cmd)
{
    ngx_queue_remove(&cmd->queue);
    link->ncommands--;
    link->nbytes -= cmd->len;

    if (link->ncommands == 0) {
        link->timer.cancelable = 1;
    }
}


/* n bytes more are sent; where no answers come, what is sent is done. */

static void
ngx_http_gateway_redis_link_sent(ngx_http_gateway_redis_link_t *link,
    size_t n)
{
    size_t                             left;
    ngx_http_gateway_redis_command_t  *cmd;

    while (n) {
        cmd = ngx_queue_data(link->unsent, ngx_http_gateway_redis_command_t,
                             queue);
        left = cmd->len - link->unsent_pos;

        if (n < left) {
            link->unsent_pos += n;
            return;
        }

        n -= left;
        link->unsent = ngx_queue_next(link->unsent);
        link->unsent_pos = 0;

        if (link->pushes) {
            ngx_http_gateway_redis_link_remove(link, cmd);
            ngx_http_gateway_redis_command_free(cmd);
        }
    }
}


/* What comes next: many small ones are put together. */

static size_t
ngx_http_gateway_redis_link_gather(ngx_http_gateway_redis_link_t *link,
    u_char **data)
{
    size_t                             n, len, pos;
    ngx_queue_t                       *q;
    ngx_http_gateway_redis_command_t  *cmd;

    q = link->unsent;
    pos = link->unsent_pos;
    len = 0;

    while (q != &link->commands && len < NGX_HTTP_GATEWAY_REDIS_OUT) {
        cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);
        n = cmd->len - pos;

        if (len == 0 && n >= NGX_HTTP_GATEWAY_REDIS_OUT) {
            *data = cmd->buf + pos;
            return n;
        }

        n = ngx_min(n, NGX_HTTP_GATEWAY_REDIS_OUT - len);
        ngx_memcpy(ngx_http_gateway_redis_out + len, cmd->buf + pos, n);

        len += n;
        pos = 0;
        q = ngx_queue_next(q);
    }

    *data = ngx_http_gateway_redis_out;

    return len;
}


static void
ngx_http_gateway_redis_link_flush(ngx_http_gateway_redis_link_t *link)
{
    size_t             len;
    u_char            *data;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = link->connection;

    for (i = 0; link->unsent != &link->commands && c->write->ready; i++) {

        if (i == NGX_HTTP_GATEWAY_REDIS_SENDS) {
            ngx_post_event(&link->flush, &ngx_posted_next_events);
            return;
        }

        len = ngx_http_gateway_redis_link_gather(link, &data);
        n = c->send(c, data, len);

        if (n == NGX_AGAIN || n == 0) {
            break;
        }

        if (n < 0) {
            ngx_http_gateway_redis_link_fail(link, link->reason[0] ? NULL
                                                   : "sending failed");
            return;
        }

        ngx_http_gateway_redis_link_sent(link, n);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, NULL);
    }
}


static void
ngx_http_gateway_redis_link_flush_event(ngx_event_t *ev)
{
    ngx_http_gateway_redis_link_t  *link;

    link = ev->data;

    if (link->connected) {
        ngx_http_gateway_redis_link_flush(link);
    }
}


void
ngx_http_gateway_redis_link_write(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_http_gateway_redis_link_flush(c->data);
}


/* Receiving. */

static void
ngx_http_gateway_redis_link_reply(ngx_http_gateway_redis_link_t *link,
    redisReply *reply)
{
    ngx_queue_t                       *q;
    ngx_http_gateway_redis_command_t  *cmd;

    if (link->pushes) {
        link->push(link, reply);
        return;
    }

    q = ngx_queue_head(&link->commands);

    if (q == link->unsent) {
        ngx_http_gateway_redis_link_fail(link, "it answers what was not "
                                         "asked");
        return;
    }

    cmd = ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue);

    ngx_http_gateway_redis_link_remove(link, cmd);
    ngx_http_gateway_redis_command_reply(link, cmd, reply);
}


/* All replies that are complete. NGX_DONE: the connection is not the same any
 * more. */

static ngx_int_t
ngx_http_gateway_redis_link_parse(ngx_http_gateway_redis_link_t *link)
{
    void         *reply;
    redisReader  *reader;

    reader = link->reader;

    for ( ;; ) {

        if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
            ngx_http_gateway_redis_link_fail(link, "it does not speak Redis's "
                                             "protocol: %s", reader->errstr);
            return NGX_DONE;
        }

        if (reply == NULL) {
            break;
        }

        /* not with each byte: those of a reply without end say nothing */
        link->heard = ngx_current_msec;
        link->reply_bytes = 0;
        link->reply_elements = 0;

        ngx_http_gateway_redis_link_reply(link, reply);
        freeReplyObject(reply);

        if (link->reader != reader) {
            return NGX_DONE;
        }
    }

    /* what has no end is not searched for it again and again */
    if (reader->len - reader->pos > NGX_HTTP_GATEWAY_REDIS_LINE
        && ngx_strlchr((u_char *) reader->buf + reader->pos,
                       (u_char *) reader->buf + reader->pos
                       + NGX_HTTP_GATEWAY_REDIS_LINE, LF)
           == NULL)
    {
        ngx_http_gateway_redis_link_fail(link, "it sends a line without end");
        return NGX_DONE;
    }

    return NGX_OK;
}


void
ngx_http_gateway_redis_link_read(ngx_event_t *rev)
{
    ssize_t                         n;
    ngx_uint_t                      i;
    ngx_connection_t               *c;
    ngx_http_gateway_redis_link_t  *link;

    c = rev->data;
    link = c->data;

    for (i = 0; i < NGX_HTTP_GATEWAY_REDIS_READS; i++) {
        n = c->recv(c, ngx_http_gateway_redis_in,
                    sizeof(ngx_http_gateway_redis_in));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_gateway_redis_link_fail(link,
                                             n == 0 ? "it closed the connection"
                                             : link->reason[0] ? NULL
                                             : "receiving failed");
            return;
        }

        link->reply_bytes += n;

        if (link->reply_bytes > NGX_HTTP_GATEWAY_REDIS_MAX_REPLY) {
            ngx_http_gateway_redis_link_fail(link, "its reply is too long");
            return;
        }

        if (redisReaderFeed(link->reader, (char *) ngx_http_gateway_redis_in,
                            n)
            != REDIS_OK)
        {
            ngx_http_gateway_redis_link_fail(link, "no memory");
            return;
        }

        if (ngx_http_gateway_redis_link_parse(link) != NGX_OK) {
            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_gateway_redis_link_fail(link, NULL);
        return;
    }

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }
}


/* No answer comes any more. */

void
ngx_http_gateway_redis_command_lost(ngx_http_gateway_redis_command_t *cmd)
{
    ngx_queue_insert_tail(&cmd->redis->failed, &cmd->queue);
    ngx_post_event(&cmd->redis->lost, &ngx_posted_events);
}


void
ngx_http_gateway_redis_lost_handler(ngx_event_t *ev)
{
    ngx_queue_t               *q;
    ngx_http_gateway_redis_t  *redis;

    redis = ev->data;

    while (!ngx_queue_empty(&redis->failed)) {
        q = ngx_queue_head(&redis->failed);
        ngx_queue_remove(q);

        ngx_http_gateway_redis_command_done(
            ngx_queue_data(q, ngx_http_gateway_redis_command_t, queue), NULL);
    }
}
