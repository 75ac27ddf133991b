/*
 * Fan-out load: subscribers over WebSocket, publishers over HTTP.
 *
 * Opens the subscribers, publishes, and checks at each subscriber that it gets
 * every message of its channel once, in order, byte for byte, and nothing
 * else. Prints one line of JSON with the CPU time that the server's processes
 * used per delivery, the rate, and the latency from publishing to receiving.
 *
 * How messages are published:
 *
 *   one        the next one when all subscribers have the last one
 *   pipelined  requests are written in batches, without waiting for answers,
 *              while at most "window" messages are on their way
 *   rate       so many a second, whether or not the server keeps up (but at
 *              most "window" on their way); latency counts from the moment
 *              at which the message was due
 */

#include "lib/load.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define FANOUT_PIDS 64


typedef struct {
    bench_load_t  load;
    uint64_t      messages;
    uint64_t      warmup;
    unsigned      settle;

    pid_t         pids[FANOUT_PIDS];
    size_t        npids;
} fanout_t;


static void
fanout_measure(fanout_t *f)
{
    uint64_t         wall, cpu, deliveries;
    bench_load_t    *load;
    struct timespec  load0, load1;

    load = &f->load;

    bench_load_run(load, f->warmup);

    memset(&load->latency, 0, sizeof(load->latency));
    cpu = bench_cpu_settled(f->pids, f->npids);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &load0);
    wall = bench_now();

    bench_load_run(load, f->warmup + f->messages);

    wall = bench_now() - wall;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &load1);
    cpu = bench_cpu_settled(f->pids, f->npids) - cpu;

    bench_load_check_silence(load);

    deliveries = load->latency.count;

    printf("{\"subscribers\":%zu,\"channels\":%u,\"size\":%zu,\"window\":%zu,"
           "\"batch\":%zu,\"rate\":%" PRIu64 ",\"messages\":%" PRIu64
           ",\"deliveries\":%" PRIu64 ",\"wall_ns\":%" PRIu64
           ",\"cpu_ns\":%" PRIu64 ",\"cpu_ns_per_delivery\":%.1f,"
           "\"deliveries_per_s\":%.0f,\"load_cpu_ns_per_delivery\":%.1f,"
           "\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64
           "}\n",
           load->subscribers, load->target.channels, load->size, load->window,
           load->batch, load->rate, f->messages, deliveries, wall, cpu,
           (double) cpu / (double) deliveries,
           (double) deliveries * 1e9 / (double) wall,
           ((double) (load1.tv_sec - load0.tv_sec) * 1e9
            + (double) (load1.tv_nsec - load0.tv_nsec)) / (double) deliveries,
           bench_hist_quantile(&load->latency, 0.5),
           bench_hist_quantile(&load->latency, 0.99),
           bench_hist_quantile(&load->latency, 0.999999));
}


static void
fanout_usage(void)
{
    fputs("usage: fanout --port=N --pid=N… [option…]\n"
          "  --pub-port=N        publisher's port (default: --port)\n"
          "  --sub-path=PATH     default /sub?c=c, the channel's number added\n"
          "  --pub-path=PATH     default /pub?channel=c, likewise\n"
          "  --publishers=N      connections, at most one a channel, "
          "default 1\n"
          "  --protocol=LIST     Sec-WebSocket-Protocol, %t: the token\n"
          "  --authorization=V   Authorization, %t: the token\n"
          "  --tokens=FILE       one a line\n"
          "  --subscribers=N     default 1000\n"
          "  --channels=N        default 1\n"
          "  --messages=N        default 100\n"
          "  --warmup=N          not measured, default 10\n"
          "  --size=BYTES        default 128, at least 16\n"
          "  --window=N          messages on their way at most, default 1\n"
          "  --batch=N           requests in one write, default 1\n"
          "  --rate=N            messages a second\n"
          "  --settle=MS         between subscribing and publishing\n",
          stderr);

    exit(2);
}


static const struct option  fanout_options[] = {
    { "port", required_argument, NULL, 'p' },
    { "pub-port", required_argument, NULL, 'P' },
    { "sub-path", required_argument, NULL, 's' },
    { "pub-path", required_argument, NULL, 'S' },
    { "protocol", required_argument, NULL, 'o' },
    { "authorization", required_argument, NULL, 'a' },
    { "tokens", required_argument, NULL, 't' },
    { "subscribers", required_argument, NULL, 'n' },
    { "channels", required_argument, NULL, 'c' },
    { "messages", required_argument, NULL, 'm' },
    { "warmup", required_argument, NULL, 'w' },
    { "size", required_argument, NULL, 'z' },
    { "window", required_argument, NULL, 'W' },
    { "batch", required_argument, NULL, 'B' },
    { "rate", required_argument, NULL, 'r' },
    { "publishers", required_argument, NULL, 'u' },
    { "settle", required_argument, NULL, 'l' },
    { "pid", required_argument, NULL, 'i' },
    { NULL, 0, NULL, 0 }
};


static void
fanout_option(fanout_t *f, int c)
{
    long  n;

    switch (c) {
    case 's': f->load.target.path = optarg; return;
    case 'S': f->load.pub_path = optarg; return;
    case 'o': f->load.target.protocol = optarg; return;
    case 'a': f->load.target.authorization = optarg; return;
    case 't': bench_tokens_read(&f->load.target, optarg); return;
    case '?': fanout_usage();
    }

    n = bench_number("option", optarg, c == 'w' || c == 'r' ? 0 : 1,
                     c == 'p' || c == 'P' ? 65535 : 1000000000);

    switch (c) {
    case 'p': f->load.target.port = (int) n; break;
    case 'P': f->load.pub_port = (int) n; break;
    case 'n': f->load.subscribers = (size_t) n; break;
    case 'c': f->load.target.channels = (unsigned) n; break;
    case 'm': f->messages = (uint64_t) n; break;
    case 'w': f->warmup = (uint64_t) n; break;
    case 'z': f->load.size = (size_t) n; break;
    case 'W': f->load.window = (size_t) n; break;
    case 'B': f->load.batch = (size_t) n; break;
    case 'r': f->load.rate = (uint64_t) n; break;
    case 'u': f->load.npublishers = (size_t) n; break;
    case 'l': f->settle = (unsigned) n; break;

    case 'i':
        if (f->npids == FANOUT_PIDS) {
            fanout_usage();
        }

        f->pids[f->npids++] = (pid_t) n;
    }
}


int
main(int argc, char **argv)
{
    int              c;
    static fanout_t  f;

    f.load.target.source = 1;
    f.load.target.channels = 1;
    f.load.target.path = "/sub?c=c";
    f.load.pub_path = "/pub?channel=c";
    f.load.subscribers = 1000;
    f.messages = 100;
    f.warmup = 10;
    f.load.size = 128;
    f.load.window = 1;
    f.load.batch = 1;
    f.load.npublishers = 1;

    while ((c = getopt_long(argc, argv, "", fanout_options, NULL)) != -1) {
        fanout_option(&f, c);
    }

    if (optind != argc || f.load.target.port == 0 || f.npids == 0
        || f.load.size < 16 || f.load.batch > f.load.window
        || f.load.target.channels > f.load.subscribers
        || f.load.npublishers > f.load.target.channels)
    {
        fanout_usage();
    }

    if (f.load.pub_port == 0) {
        f.load.pub_port = f.load.target.port;
    }

    bench_load_prepare(&f.load);

    if (f.settle) {
        usleep(f.settle * 1000);
    }

    fanout_measure(&f);

    bench_subscribers_close(f.load.fds, f.load.subscribers);

    return 0;
}
