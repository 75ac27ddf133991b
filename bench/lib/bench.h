/*
 * What the load tools share: errors, clocks, another process's CPU time,
 * latency histograms, and the WebSocket handshake's digest.
 *
 * Every function that cannot do its work ends the program with a message:
 * a measurement that lost something is no measurement.
 */

#ifndef BENCH_H_INCLUDED
#define BENCH_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_KEY_LEN 24    /* base64 of 16 bytes */
#define BENCH_ACCEPT_LEN 28 /* base64 of a SHA-1 digest */

#define BENCH_HIST_BITS 6   /* 64 buckets an octave: within 1.6 % */
#define BENCH_HIST_SIZE ((64 - BENCH_HIST_BITS + 1) << BENCH_HIST_BITS)


typedef struct {
    uint64_t  count;
    uint64_t  bucket[BENCH_HIST_SIZE];
} bench_hist_t;


/* Prints "program: message" and exits with 1. */
_Noreturn void bench_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* As bench_die(), with the text of errno. */
_Noreturn void bench_die_errno(const char *what);

void *bench_alloc(size_t n, size_t size);

/* A whole number between min and max, or the program ends. */
long bench_number(const char *name, const char *text, long min, long max);

/* Nanoseconds of the monotonic clock. */
uint64_t bench_now(void);

/*
 * Nanoseconds that a process's first thread has run so far, from
 * /proc/PID/schedstat. The kernel brings the figure up to date when the thread
 * stops running, so bench_cpu_settled() waits until it does not move any more.
 */
uint64_t bench_cpu(pid_t pid);
uint64_t bench_cpu_settled(const pid_t *pids, size_t n);

void bench_hist_add(bench_hist_t *h, uint64_t value);

/* The value that a share (0 to 1) of all is not above; 0 where it is empty. */
uint64_t bench_hist_quantile(const bench_hist_t *h, double share);

/* Sec-WebSocket-Accept for a key, terminated (RFC 6455 4.2.2). */
void bench_ws_accept(char out[BENCH_ACCEPT_LEN + 1], const char *key);

/*
 * Writes the header of an unmasked text frame, 2, 4 or 10 bytes (RFC 6455
 * 5.2), and returns its length.
 */
size_t bench_ws_header(unsigned char out[10], size_t payload);

#endif /* BENCH_H_INCLUDED */
