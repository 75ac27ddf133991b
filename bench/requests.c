/*
 * HTTP/1.1 requests on connections that are kept alive, one at a time on
 * each, and what they cost a server.
 *
 *   requests PORT PATH COUNT CONNECTIONS PID
 *
 * Prints one line of JSON: nanoseconds of CPU that the process PID (a worker
 * of the server) used for each request, and requests a second. An answer
 * other than 200 ends the program.
 */

#include "lib/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>


#define REQUESTS_IN_MAX 16384
#define REQUESTS_WARMUP 2000


typedef struct {
    int     fd;
    size_t  len;
    char    in[REQUESTS_IN_MAX + 1];
} requests_conn_t;


static char    request[1024];
static size_t  request_len;


static void
requests_send(requests_conn_t *c)
{
    c->len = 0;

    if (send(c->fd, request, request_len, MSG_NOSIGNAL)
        != (ssize_t) request_len)
    {
        bench_die_errno("sending a request");
    }
}


static void
requests_open(requests_conn_t *c, int port, int ep)
{
    int                 on;
    struct sockaddr_in  sin;
    struct epoll_event  ee;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        bench_die_errno("socket");
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) port);

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) < 0) {
        bench_die_errno("connect");
    }

    on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    ee.events = EPOLLIN;
    ee.data.ptr = c;

    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0
        || epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ee) < 0)
    {
        bench_die_errno("epoll_ctl");
    }
}


/* Whether the answer is whole. */
static int
requests_read(requests_conn_t *c)
{
    char     *end, *length;
    ssize_t   n;

    n = recv(c->fd, c->in + c->len, REQUESTS_IN_MAX - c->len, 0);

    if (n < 0 && errno == EAGAIN) {
        return 0;
    }

    if (n <= 0) {
        bench_die("a connection was closed");
    }

    c->len += (size_t) n;
    c->in[c->len] = '\0';

    end = strstr(c->in, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    if (strncmp(c->in, "HTTP/1.1 200", 12)) {
        bench_die("answer: %.*s", (int) strcspn(c->in, "\r"), c->in);
    }

    length = strcasestr(c->in, "\r\nContent-Length:");
    if (length == NULL || length > end) {
        bench_die("an answer without Content-Length");
    }

    return c->len >= (size_t) (end - c->in) + 4
                     + (size_t) strtoul(length + 17, NULL, 10);
}


static void
requests_run(requests_conn_t *conns, long n, int ep, long count)
{
    int                 i, ready;
    long                left, to_send;
    requests_conn_t    *c;
    struct epoll_event  events[64];

    left = count;
    to_send = count;

    for (i = 0; i < n && to_send; i++, to_send--) {
        requests_send(&conns[i]);
    }

    while (left) {
        ready = epoll_wait(ep, events, 64, 5000);

        if (ready <= 0) {
            bench_die("no answer in 5 seconds, %ld are missing", left);
        }

        for (i = 0; i < ready; i++) {
            c = events[i].data.ptr;

            if (!requests_read(c)) {
                continue;
            }

            left--;

            if (to_send) {
                to_send--;
                requests_send(c);
            }
        }
    }
}


int
main(int argc, char **argv)
{
    int               ep;
    long              i, n, count, port;
    pid_t             pid;
    uint64_t          cpu, start;
    requests_conn_t  *conns;

    if (argc != 6) {
        bench_die("usage: requests PORT PATH COUNT CONNECTIONS PID");
    }

    port = bench_number("PORT", argv[1], 1, 65535);
    count = bench_number("COUNT", argv[3], 1, 1000000000);
    n = bench_number("CONNECTIONS", argv[4], 1, 1000);
    pid = (pid_t) bench_number("PID", argv[5], 1, 1 << 30);

    request_len = (size_t) snprintf(request, sizeof(request),
                                    "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
                                    argv[2]);
    if (request_len >= sizeof(request)) {
        bench_die("PATH is too long");
    }

    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = bench_alloc((size_t) n, sizeof(*conns));

    for (i = 0; i < n; i++) {
        requests_open(&conns[i], (int) port, ep);
    }

    requests_run(conns, n, ep, REQUESTS_WARMUP);

    cpu = bench_cpu_settled(&pid, 1);
    start = bench_now();

    requests_run(conns, n, ep, count);

    start = bench_now() - start;
    cpu = bench_cpu_settled(&pid, 1) - cpu;

    printf("{\"cpu_ns_per_request\":%.0f,\"requests_per_s\":%.0f}\n",
           (double) cpu / (double) count,
           (double) count * 1e9 / (double) start);

    return 0;
}
