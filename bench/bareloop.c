/*
 * The least a fan-out server can do: one epoll loop that accepts the same
 * WebSocket handshakes and publisher's requests as the real ones, and sends
 * each message's frame, built once, to every subscriber of its channel.
 *
 *   bareloop PORT send            one send() for each frame and subscriber
 *   bareloop PORT writev [LIMIT]  takes in what the publisher has written, then
 *                                 sends all that has gathered for a subscriber
 *                                 by one writev() of at most LIMIT frames (64)
 *
 * It has no history, no limits, no timers and no other process, and it trusts
 * its clients: a yardstick, not a server. "GET …c=cN" subscribes to channel N,
 * "POST …channel=cN" publishes to it.
 */

#include "lib/bench.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>


#define BARE_EVENTS 512
#define BARE_LOG 2048       /* frames of a channel kept: publishers' window */
#define BARE_CHANNELS 65536
#define BARE_FDS 20000
#define BARE_IN (256 * 1024)
#define BARE_IOV 1024


typedef struct bare_conn_s  bare_conn_t;
typedef struct bare_channel_s  bare_channel_t;


struct bare_conn_s {
    int              fd;
    bare_channel_t  *channel;  /* NULL: no subscriber (yet) */
    uint64_t         next;     /* the frame it gets next */
    size_t           off;      /* bytes of it already sent */
    char            *in;       /* a request that is not complete */
    size_t           in_len;
};


typedef struct {
    size_t           len, size;
    unsigned char   *data;
} bare_frame_t;


struct bare_channel_s {
    uint64_t         head;     /* frames published so far */
    bare_frame_t     log[BARE_LOG];
    bare_conn_t    **subs;
    size_t           nsubs, room;
    bool             dirty;    /* has frames that were not sent */
};


static bare_channel_t  *bare_channels[BARE_CHANNELS];
static bare_channel_t  *bare_dirty[BARE_CHANNELS];
static size_t           bare_ndirty;

static bare_conn_t      bare_conns[BARE_FDS];
static char             bare_in[BARE_IN + 1];
static bool             bare_gather;
static size_t           bare_limit;


static bare_channel_t *
bare_channel(const char *line, const char *mark)
{
    unsigned long    n;
    const char      *p;
    bare_channel_t  *ch;

    p = strstr(line, mark);
    n = p ? strtoul(p + strlen(mark), NULL, 10) : 0;

    if (n >= BARE_CHANNELS) {
        bench_die("channel %lu is too many", n);
    }

    ch = bare_channels[n];

    if (ch == NULL) {
        ch = bench_alloc(1, sizeof(*ch));
        bare_channels[n] = ch;
    }

    return ch;
}


static void
bare_answer(bare_conn_t *c, const char *text, size_t len)
{
    if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t) len) {
        bench_die_errno("answering");
    }
}


static void
bare_subscribe(bare_conn_t *c, const char *head)
{
    int              n;
    char             text[256], accept[BENCH_ACCEPT_LEN + 1];
    const char      *key;
    bare_channel_t  *ch;

    key = strcasestr(head, "\r\nSec-WebSocket-Key: ");
    if (key == NULL || strlen(key) < 21 + BENCH_KEY_LEN) {
        bench_die("a handshake without a key");
    }

    bench_ws_accept(accept, key + 21);

    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 101 Switching Protocols\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n", accept);

    bare_answer(c, text, (size_t) n);

    ch = bare_channel(head, "c=c");

    if (ch->nsubs == ch->room) {
        ch->room = ch->room ? ch->room * 2 : 16;
        ch->subs = realloc(ch->subs, ch->room * sizeof(*ch->subs));
        if (ch->subs == NULL) {
            bench_die("no memory for subscribers");
        }
    }

    ch->subs[ch->nsubs++] = c;
    c->channel = ch;
    c->next = ch->head;
    c->off = 0;
}


/* Leaves where the socket takes no more: EPOLLOUT comes back here. */
static void
bare_flush(bare_conn_t *c)
{
    size_t           n, limit;
    ssize_t          sent;
    uint64_t         i;
    bare_frame_t    *frame;
    bare_channel_t  *ch;
    struct iovec     iov[BARE_IOV];

    ch = c->channel;
    limit = bare_gather ? bare_limit : 1;

    while (c->next < ch->head) {
        n = 0;

        for (i = c->next; i < ch->head && n < limit; i++) {
            frame = &ch->log[i % BARE_LOG];
            iov[n].iov_base = frame->data;
            iov[n++].iov_len = frame->len;
        }

        iov[0].iov_base = (unsigned char *) iov[0].iov_base + c->off;
        iov[0].iov_len -= c->off;

        sent = bare_gather ? writev(c->fd, iov, (int) n)
                           : send(c->fd, iov[0].iov_base, iov[0].iov_len,
                                  MSG_NOSIGNAL);

        if (sent < 0) {
            return;
        }

        c->off += (size_t) sent;

        while (c->next < ch->head
               && c->off >= ch->log[c->next % BARE_LOG].len)
        {
            c->off -= ch->log[c->next % BARE_LOG].len;
            c->next++;
        }
    }
}


static void
bare_flush_channel(bare_channel_t *ch)
{
    size_t  i;

    for (i = 0; i < ch->nsubs; i++) {
        bare_flush(ch->subs[i]);

        if (ch->head - ch->subs[i]->next >= BARE_LOG / 2) {
            bench_die("a subscriber is %d messages behind", BARE_LOG / 2);
        }
    }

    ch->dirty = false;
}


static void
bare_publish(const char *head, const char *body, size_t len)
{
    size_t           n;
    unsigned char    ws[10];
    bare_frame_t    *frame;
    bare_channel_t  *ch;

    ch = bare_channel(head, "channel=c");
    frame = &ch->log[ch->head % BARE_LOG];
    n = bench_ws_header(ws, len);

    if (frame->size < n + len) {
        free(frame->data);
        frame->size = n + len;
        frame->data = bench_alloc(1, frame->size);
    }

    memcpy(frame->data, ws, n);
    memcpy(frame->data + n, body, len);
    frame->len = n + len;
    ch->head++;

    if (!bare_gather) {
        bare_flush_channel(ch);

    } else if (!ch->dirty) {
        ch->dirty = true;
        bare_dirty[bare_ndirty++] = ch;
    }
}


/* Takes one request off the beginning of p; 0: it is not complete. */
static size_t
bare_request(bare_conn_t *c, char *p, size_t avail)
{
    char               *end;
    size_t              head, len;
    const char         *length;
    static const char   created[] = "HTTP/1.1 201 Created\r\n"
                                    "Content-Length: 2\r\n\r\n{}";

    end = memmem(p, avail, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }

    head = (size_t) (end + 4 - p);
    end[2] = '\0';

    if (strncmp(p, "GET ", 4) == 0) {
        bare_subscribe(c, p);
        return head;
    }

    length = strcasestr(p, "\r\nContent-Length:");
    len = length ? strtoul(length + 17, NULL, 10) : 0;

    if (avail - head < len) {
        end[2] = '\r';
        return 0;
    }

    bare_publish(p, p + head, len);
    bare_answer(c, created, sizeof(created) - 1);

    return head + len;
}


static void
bare_close(bare_conn_t *c)
{
    size_t           i;
    bare_channel_t  *ch;

    ch = c->channel;

    for (i = 0; ch && i < ch->nsubs; i++) {
        if (ch->subs[i] == c) {
            ch->subs[i] = ch->subs[--ch->nsubs];
            break;
        }
    }

    close(c->fd);
    free(c->in);
    memset(c, 0, sizeof(*c));
}


/* Reads until the socket is drained, so that all that gathered is seen. */
static void
bare_read(bare_conn_t *c)
{
    char     *p;
    size_t    len, used;
    ssize_t   n;

    for ( ;; ) {
        memcpy(bare_in, c->in ? c->in : "", c->in_len);

        n = recv(c->fd, bare_in + c->in_len, BARE_IN - c->in_len, 0);

        if (n < 0 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            bare_close(c);
            return;
        }

        len = c->in_len + (size_t) n;
        p = bare_in;

        if (c->channel) {
            len = 0; /* what subscribers send is not looked at */
        }

        while (len && (used = bare_request(c, p, len)) != 0) {
            p += used;
            len -= used;
        }

        if (len == BARE_IN) {
            bench_die("a request is too long");
        }

        c->in_len = len;

        if (len) {
            c->in = realloc(c->in, BARE_IN);
            if (c->in == NULL) {
                bench_die("no memory for a request");
            }

            memcpy(c->in, p, len);
        }
    }
}


static void
bare_accept(int epfd, int lfd)
{
    int                  fd, on;
    struct epoll_event   ev;

    on = 1;

    for ( ;; ) {
        fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED) {
                return;
            }

            bench_die_errno("accept4");
        }

        if (fd >= BARE_FDS) {
            bench_die("too many connections");
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        bare_conns[fd].fd = fd;

        ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        ev.data.fd = fd;

        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
            bench_die_errno("epoll_ctl");
        }
    }
}


static int
bare_listen(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        bench_die_errno("socket");
    }

    on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) port);

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) < 0
        || listen(fd, 4096) < 0)
    {
        bench_die_errno("listen");
    }

    return fd;
}


static void
bare_loop(int epfd, int lfd)
{
    int                 i, n;
    size_t              d;
    bare_conn_t        *c;
    struct epoll_event  events[BARE_EVENTS];

    for ( ;; ) {
        n = epoll_wait(epfd, events, BARE_EVENTS, -1);

        for (i = 0; i < n; i++) {
            if (events[i].data.fd == lfd) {
                bare_accept(epfd, lfd);
                continue;
            }

            c = &bare_conns[events[i].data.fd];

            if (c->channel && (events[i].events & EPOLLOUT)) {
                bare_flush(c);
            }

            if (events[i].events & ~(uint32_t) EPOLLOUT) {
                bare_read(c);
            }
        }

        for (d = 0; d < bare_ndirty; d++) {
            bare_flush_channel(bare_dirty[d]);
        }

        bare_ndirty = 0;
    }
}


int
main(int argc, char **argv)
{
    int                 epfd, lfd;
    struct epoll_event  ev;

    if (argc < 3 || argc > 4
        || (strcmp(argv[2], "send") && strcmp(argv[2], "writev")))
    {
        fputs("usage: bareloop PORT send|writev [LIMIT]\n", stderr);
        return 2;
    }

    bare_gather = (strcmp(argv[2], "writev") == 0);
    bare_limit = (argc == 4)
                 ? (size_t) bench_number("LIMIT", argv[3], 1, BARE_IOV) : 64;

    lfd = bare_listen((int) bench_number("PORT", argv[1], 1, 65535));

    epfd = epoll_create1(EPOLL_CLOEXEC);
    ev.events = EPOLLIN;
    ev.data.fd = lfd;

    if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, lfd, &ev) < 0) {
        bench_die_errno("epoll");
    }

    bare_loop(epfd, lfd);
}
