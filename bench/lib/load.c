#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sys/epoll.h>
#include <sys/socket.h>


#define BENCH_LOAD_EVENTS 1024
#define BENCH_LOAD_BUF (1 << 20)
#define BENCH_LOAD_STALLED 10 /* seconds without anything */


static void
bench_load_failed(bench_load_t *f, size_t i, const char *what)
{
    bench_die("subscriber %zu of %zu: %s, at message %" PRIu64 " byte %zu; "
              "%" PRIu64 " published, %" PRIu64 " with everybody", i,
              f->subscribers, what, f->subs[i].next, f->subs[i].off,
              f->published, f->done);
}


/* The number comes first, so that what is out of order differs early. */
static void
bench_load_publish(bench_load_t *f, uint64_t sent)
{
    char                number[24];
    unsigned            channel;
    bench_load_slot_t  *slot;

    slot = &f->ring[f->published % f->window];
    slot->got = 0;
    slot->sent = sent;

    snprintf(number, sizeof(number), "%015" PRIu64 " ", f->published);
    memcpy(slot->frame + slot->head, number, 16);

    channel = (unsigned) (f->published % f->target.channels);
    bench_publisher_add(&f->publishers[channel % f->npublishers], channel,
                        slot->frame + slot->head, f->size);
    f->published++;
}


/*
 * Publishes what is due before message number end. Returns how long to wait
 * for the next one, in ns, or -1: until something happens.
 */
static int64_t
bench_load_publish_due(bench_load_t *f, uint64_t end)
{
    size_t    room, n, i;
    int64_t   wait;
    uint64_t  due, now;

    wait = -1;
    room = f->window - (size_t) (f->published - f->done);
    now = bench_now();

    if (f->rate) {
        while (room && f->published < end) {
            due = f->start
                  + (f->published - f->first) * 1000000000 / f->rate;

            if (due > now) {
                wait = (int64_t) (due - now);
                break;
            }

            bench_load_publish(f, due);
            room--;
        }

    } else if (f->published < end) {
        n = (end - f->published < f->batch) ? (size_t) (end - f->published)
                                            : f->batch;

        while (room >= n && n) {
            bench_load_publish(f, now);
            room--;
            n--;
        }
    }

    for (i = 0; i < f->npublishers; i++) {
        (void) bench_publisher_flush(&f->publishers[i]);
    }

    return wait;
}


static uint64_t
bench_load_answers(const bench_load_t *f)
{
    size_t    i;
    uint64_t  answers;

    answers = 0;

    for (i = 0; i < f->npublishers; i++) {
        answers += f->publishers[i].answers;
    }

    return answers;
}


static void
bench_load_read(bench_load_t *f, size_t i)
{
    size_t              n, m;
    ssize_t             got;
    uint64_t            now;
    unsigned char      *p;
    bench_load_sub_t   *sub;
    bench_load_slot_t  *slot;

    got = recv(f->fds[i], f->buf, BENCH_LOAD_BUF, 0);

    if (got < 0 && errno == EAGAIN) {
        return;
    }

    if (got <= 0) {
        bench_load_failed(f, i, got ? strerror(errno) : "closed");
    }

    now = bench_now();
    sub = &f->subs[i];
    p = f->buf;

    for (n = (size_t) got; n; n -= m, p += m) {

        if (sub->next >= f->published) {
            bench_load_failed(f, i, *p == 0x88 ? "close frame"
                                           : "more than was published");
        }

        slot = &f->ring[sub->next % f->window];
        m = f->frame_len - sub->off;
        m = (n < m) ? n : m;

        if (memcmp(p, slot->frame + sub->off, m)) {
            bench_load_failed(f, i, "not the message that is expected");
        }

        sub->off += m;

        if (sub->off == f->frame_len) {
            sub->off = 0;
            sub->next += f->target.channels;
            slot->got++;
            bench_hist_add(&f->latency, now - slot->sent);
        }
    }
}


static void
bench_load_advance(bench_load_t *f)
{
    size_t  all, c;

    while (f->done < f->published) {
        c = (size_t) (f->done % f->target.channels);
        all = (f->subscribers - c + f->target.channels - 1)
              / f->target.channels;

        if (f->ring[f->done % f->window].got != all) {
            return;
        }

        f->done++;
    }
}


void
bench_load_run(bench_load_t *f, uint64_t end)
{
    int                 i, n;
    size_t              k;
    int64_t             wait;
    uint64_t            at, heard;
    struct timespec     ts;
    struct epoll_event  events[BENCH_LOAD_EVENTS];

    f->first = f->published;
    f->start = bench_now();
    heard = f->start;

    for ( ;; ) {
        wait = bench_load_publish_due(f, end);

        if (f->done == end && bench_load_answers(f) == end) {
            return;
        }

        if (wait < 0) {
            wait = (int64_t) BENCH_LOAD_STALLED * 1000000000;
        }

        ts.tv_sec = wait / 1000000000;
        ts.tv_nsec = wait % 1000000000;

        n = epoll_pwait2(f->epfd, events, BENCH_LOAD_EVENTS, &ts, NULL);

        if (n < 0 && errno != EINTR) {
            bench_die_errno("epoll_pwait2");
        }

        at = bench_now();

        if (n > 0) {
            heard = at;

        } else if (at - heard > (uint64_t) BENCH_LOAD_STALLED * 999000000) {
            bench_die("nothing for %d s: %" PRIu64 " published, %" PRIu64
                      " answered, %" PRIu64 " with everybody",
                      BENCH_LOAD_STALLED, f->published,
                      bench_load_answers(f), f->done);
        }

        for (i = 0; i < n; i++) {
            k = (size_t) events[i].data.u64;

            if (k >= f->subscribers) {
                bench_publisher_read(&f->publishers[k - f->subscribers]);

            } else {
                bench_load_read(f, k);
            }
        }

        bench_load_advance(f);
    }
}


void
bench_load_prepare(bench_load_t *f)
{
    size_t              i;
    unsigned char       head[10];
    bench_load_slot_t  *slot;
    struct epoll_event  ev;

    f->buf = bench_alloc(1, BENCH_LOAD_BUF);
    f->fds = bench_alloc(f->subscribers, sizeof(*f->fds));
    f->subs = bench_alloc(f->subscribers, sizeof(*f->subs));
    f->ring = bench_alloc(f->window, sizeof(*f->ring));

    for (i = 0; i < f->window; i++) {
        slot = &f->ring[i];
        slot->head = bench_ws_header(head, f->size);
        f->frame_len = slot->head + f->size;
        slot->frame = bench_alloc(1, f->frame_len);
        memcpy(slot->frame, head, slot->head);
        memset(slot->frame + slot->head, 'x', f->size);
    }

    bench_subscribers_open(&f->target, f->fds, f->subscribers);

    f->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (f->epfd < 0) {
        bench_die_errno("epoll_create1");
    }

    for (i = 0; i < f->subscribers; i++) {
        f->subs[i].next = i % f->target.channels;
        ev.events = EPOLLIN;
        ev.data.u64 = i;

        if (epoll_ctl(f->epfd, EPOLL_CTL_ADD, f->fds[i], &ev) < 0) {
            bench_die_errno("epoll_ctl");
        }
    }

    f->publishers = bench_alloc(f->npublishers, sizeof(*f->publishers));

    for (i = 0; i < f->npublishers; i++) {
        bench_publisher_open(&f->publishers[i], f->pub_port, f->pub_path);
        ev.events = EPOLLIN | EPOLLOUT | EPOLLET;
        ev.data.u64 = f->subscribers + i;

        if (epoll_ctl(f->epfd, EPOLL_CTL_ADD, f->publishers[i].fd, &ev) < 0) {
            bench_die_errno("epoll_ctl");
        }
    }
}


void
bench_load_check_silence(bench_load_t *f)
{
    char     c;
    size_t   i;
    ssize_t  n;

    for (i = 0; i < f->subscribers; i++) {
        n = recv(f->fds[i], &c, 1, 0);

        if (n >= 0 || errno != EAGAIN) {
            bench_load_failed(f, i, n > 0 ? "more than was published"
                                      : "closed after the last message");
        }
    }
}
