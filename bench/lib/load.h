/*
 * The load of a fan-out: subscribers, publishers, and the check that each
 * subscriber gets every message of its channel once, in order, byte for byte,
 * and nothing else. Whatever is wrong ends the program with a message.
 *
 * Every message that is on its way lies in a ring of "window" slots, as the
 * frame that is expected, so checking is one memcmp(). Message n is published
 * to channel n % channels. With several publishers each has channels of its
 * own: only the messages of one connection have an order.
 */

#ifndef BENCH_LOAD_H_INCLUDED
#define BENCH_LOAD_H_INCLUDED

#include "bench.h"
#include "publisher.h"
#include "subscribers.h"


typedef struct {
    uint64_t        next;   /* number of the message that is expected */
    size_t          off;    /* bytes of it that have come */
} bench_load_sub_t;


typedef struct {
    size_t          got;
    uint64_t        sent;   /* ns */
    size_t          head;   /* bytes of the frame's header */
    unsigned char  *frame;
} bench_load_slot_t;


typedef struct {
    bench_target_t     target;     /* this block: set by the caller */
    int                pub_port;
    const char        *pub_path;
    size_t             npublishers;

    size_t             subscribers;
    size_t             size;       /* of a message */
    size_t             window;
    size_t             batch;
    uint64_t           rate;       /* a second; 0: as fast as it goes */

    bench_publisher_t *publishers;
    bench_hist_t       latency;    /* ns */
    int                epfd;
    size_t             frame_len;

    int                *fds;
    bench_load_sub_t   *subs;
    bench_load_slot_t  *ring;
    unsigned char      *buf;

    uint64_t           published;
    uint64_t           done;       /* all before have reached everybody */
    uint64_t           first;      /* of this phase */
    uint64_t           start;      /* ns: when this phase began */
} bench_load_t;


/* Connects everybody; what the caller sets in *f is set before. */
void bench_load_prepare(bench_load_t *f);

/*
 * Publishes up to message number end, returns when everybody has everything
 * and every request is answered. Latencies are added to f->latency.
 */
void bench_load_run(bench_load_t *f, uint64_t end);

/* After the last message nothing more may come, nor a connection end. */
void bench_load_check_silence(bench_load_t *f);

#endif /* BENCH_LOAD_H_INCLUDED */
