#include "publisher.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>


#define BENCH_IN_SIZE (1 << 20)
#define BENCH_HEAD_ROOM 512


void
bench_publisher_open(bench_publisher_t *p, int port, const char *path)
{
    int                 on;
    struct sockaddr_in  sin;

    memset(p, 0, sizeof(*p));
    p->port = port;
    p->path = path;
    p->in = bench_alloc(1, BENCH_IN_SIZE + 1);

    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        bench_die_errno("socket");
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) port);

    if (connect(p->fd, (struct sockaddr *) &sin, sizeof(sin)) < 0) {
        bench_die_errno("connecting the publisher");
    }

    on = 1;
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (fcntl(p->fd, F_SETFL, O_NONBLOCK) < 0) {
        bench_die_errno("fcntl");
    }
}


void
bench_publisher_add(bench_publisher_t *p, unsigned channel, const void *body,
    size_t len)
{
    int     n;
    size_t  need;

    need = p->out_len + BENCH_HEAD_ROOM + len;

    if (need > p->out_size) {
        p->out_size = need * 2;
        p->out = realloc(p->out, p->out_size);
        if (p->out == NULL) {
            bench_die("no memory for requests");
        }
    }

    n = snprintf((char *) p->out + p->out_len, BENCH_HEAD_ROOM,
                 "POST %s%u HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Content-Type: text/plain\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 p->path, channel, p->port, len);

    if (n < 0 || n >= BENCH_HEAD_ROOM) {
        bench_die("publisher's path is too long");
    }

    p->out_len += (size_t) n;
    memcpy(p->out + p->out_len, body, len);
    p->out_len += len;
}


bool
bench_publisher_flush(bench_publisher_t *p)
{
    ssize_t  n;

    while (p->out_sent < p->out_len) {
        n = send(p->fd, p->out + p->out_sent, p->out_len - p->out_sent,
                 MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EAGAIN) {
                return false;
            }

            bench_die_errno("publishing");
        }

        p->out_sent += (size_t) n;
    }

    p->out_sent = 0;
    p->out_len = 0;

    return true;
}


/* The length of the answer at the beginning of head; 0: not all there yet. */
static size_t
bench_answer_len(const char *head)
{
    size_t       len;
    const char  *end, *p;

    end = strstr(head, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    if (strncmp(head, "HTTP/1.1 2", 10)) {
        bench_die("publisher got: %.*s", (int) strcspn(head, "\r"), head);
    }

    len = (size_t) (end - head) + 4;

    p = strcasestr(head, "\r\nContent-Length:");
    if (p && p < end) {
        return len + (size_t) strtoul(p + 17, NULL, 10);
    }

    p = strcasestr(head, "\r\nTransfer-Encoding: chunked");
    if (p && p <= end) {
        /* answers are short texts: the last chunk's line cannot be in one */
        p = strstr(end + 2, "\r\n0\r\n\r\n");
        return p ? (size_t) (p - head) + 7 : 0;
    }

    return len;
}


void
bench_publisher_read(bench_publisher_t *p)
{
    char     *head;
    size_t    len;
    ssize_t   n;

    for ( ;; ) {
        n = recv(p->fd, p->in + p->in_len, BENCH_IN_SIZE - p->in_len, 0);

        if (n < 0 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            bench_die("publisher's connection: %s after %llu answers",
                      n < 0 ? strerror(errno) : "closed",
                      (unsigned long long) p->answers);
        }

        p->in_len += (size_t) n;
        p->in[p->in_len] = '\0';
        head = p->in;

        for ( ;; ) {
            len = bench_answer_len(head);

            if (len == 0 || len > (size_t) (p->in + p->in_len - head)) {
                break;
            }

            head += len;
            p->answers++;
        }

        p->in_len -= (size_t) (head - p->in);
        memmove(p->in, head, p->in_len);

        if (p->in_len == BENCH_IN_SIZE) {
            bench_die("the publisher's answer is too long");
        }
    }
}
