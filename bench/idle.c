/*
 * Holds many idle WebSocket subscribers: opens them, says "ready" on standard
 * output, answers pings, and ends when its standard input does. A connection
 * that the server closes meanwhile is an error.
 *
 *   idle PORT COUNT [option…]
 */

#include "lib/bench.h"
#include "lib/subscribers.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/socket.h>


#define IDLE_EVENTS 256
#define IDLE_BUF 65536
#define IDLE_SOURCES 250


/* The pong to a ping of at most 125 bytes, masked by zeros. */
static void
idle_pong(int fd, const unsigned char *ping)
{
    size_t         len;
    unsigned char  pong[6 + 125];

    len = ping[1] & 0x7f;
    memset(pong, 0, sizeof(pong));
    pong[0] = 0x8a;
    pong[1] = (unsigned char) (0x80 | len);
    memcpy(pong + 6, ping + 2, len);

    if (send(fd, pong, 6 + len, MSG_NOSIGNAL) < 0) {
        bench_die_errno("answering a ping");
    }
}


/* An idle connection gets small frames, and each of them whole. */
static void
idle_read(int fd, size_t i)
{
    size_t         len, head;
    ssize_t        n, at;
    unsigned char  buf[IDLE_BUF];

    n = recv(fd, buf, sizeof(buf), 0);

    if (n < 0 && errno == EAGAIN) {
        return;
    }

    if (n <= 0 || buf[0] == 0x88) {
        bench_die("subscriber %zu was closed", i);
    }

    for (at = 0; at + 2 <= n; at += (ssize_t) (head + len)) {
        head = 2;
        len = buf[at + 1] & 0x7f;

        if (len == 126 && at + 4 <= n) {
            head = 4;
            len = (size_t) buf[at + 2] << 8 | buf[at + 3];
        }

        if (buf[at] == 0x89 && at + (ssize_t) (head + len) <= n) {
            idle_pong(fd, buf + at);
        }
    }
}


static void
idle_hold(const int *fds, size_t count)
{
    int                 epfd, i, n;
    size_t              k;
    struct epoll_event  ev, events[IDLE_EVENTS];

    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (epfd < 0) {
        bench_die_errno("epoll_create1");
    }

    for (k = 0; k <= count; k++) {
        ev.events = EPOLLIN;
        ev.data.u64 = k;

        if (epoll_ctl(epfd, EPOLL_CTL_ADD, k < count ? fds[k] : STDIN_FILENO,
                      &ev)
            < 0)
        {
            bench_die_errno("epoll_ctl");
        }
    }

    puts("ready");
    fflush(stdout);

    for ( ;; ) {
        n = epoll_wait(epfd, events, IDLE_EVENTS, -1);

        for (i = 0; i < n; i++) {
            k = (size_t) events[i].data.u64;

            if (k == count) {
                return;
            }

            idle_read(fds[k], k);
        }
    }
}


static const struct option  idle_options[] = {
    { "sub-path", required_argument, NULL, 's' },
    { "protocol", required_argument, NULL, 'o' },
    { "authorization", required_argument, NULL, 'a' },
    { "tokens", required_argument, NULL, 't' },
    { "source", required_argument, NULL, 'S' },
    { NULL, 0, NULL, 0 }
};


int
main(int argc, char **argv)
{
    int             c, *fds;
    size_t          count;
    bench_target_t  target;

    memset(&target, 0, sizeof(target));
    target.path = "/sub?c=c";
    target.channels = 1;
    target.source = 1;

    while ((c = getopt_long(argc, argv, "", idle_options, NULL)) != -1) {
        switch (c) {
        case 's': target.path = optarg; break;
        case 'o': target.protocol = optarg; break;
        case 'a': target.authorization = optarg; break;
        case 't': bench_tokens_read(&target, optarg); break;

        case 'S':
            target.source = (unsigned) bench_number("source", optarg, 1,
                                                    IDLE_SOURCES);
            break;

        default:
            return 2;
        }
    }

    if (argc - optind != 2) {
        fputs("usage: idle PORT COUNT [--sub-path=PATH] [--protocol=LIST]\n"
              "  [--authorization=VALUE] [--tokens=FILE] [--source=N]\n"
              "%t in LIST and VALUE stands for a token of FILE; the first\n"
              "connections come from 127.0.0.N\n", stderr);
        return 2;
    }

    target.port = (int) bench_number("PORT", argv[optind], 1, 65535);
    count = (size_t) bench_number("COUNT", argv[optind + 1], 1, 1000000);

    fds = bench_alloc(count, sizeof(*fds));

    bench_subscribers_open(&target, fds, count);
    idle_hold(fds, count);
    bench_subscribers_close(fds, count);
    free(fds);

    return 0;
}
