#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/sha.h>


#define BENCH_SETTLE_STEP 2000000 /* ns */
#define BENCH_SETTLE_TRIES 250


void
bench_die(const char *fmt, ...)
{
    va_list  args;

    fprintf(stderr, "%s: ", program_invocation_short_name);

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fputc('\n', stderr);

    exit(EXIT_FAILURE);
}


void
bench_die_errno(const char *what)
{
    bench_die("%s: %s", what, strerror(errno));
}


void *
bench_alloc(size_t n, size_t size)
{
    void  *p;

    p = calloc(n, size);
    if (p == NULL) {
        bench_die("no memory for %zu times %zu bytes", n, size);
    }

    return p;
}


long
bench_number(const char *name, const char *text, long min, long max)
{
    char  *end;
    long   n;

    errno = 0;
    n = strtol(text, &end, 10);

    if (errno || end == text || *end != '\0' || n < min || n > max) {
        bench_die("%s \"%s\": expected a number from %ld to %ld", name, text,
                  min, max);
    }

    return n;
}


uint64_t
bench_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


uint64_t
bench_cpu(pid_t pid)
{
    char      path[64];
    FILE     *f;
    uint64_t  ns;

    snprintf(path, sizeof(path), "/proc/%ld/schedstat", (long) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        bench_die_errno(path);
    }

    if (fscanf(f, "%" SCNu64, &ns) != 1) {
        bench_die("%s: unreadable", path);
    }

    fclose(f);

    return ns;
}


uint64_t
bench_cpu_settled(const pid_t *pids, size_t n)
{
    int              tries;
    size_t           i;
    uint64_t         sum, last;
    struct timespec  step;

    step.tv_sec = 0;
    step.tv_nsec = BENCH_SETTLE_STEP;
    last = UINT64_MAX;

    for (tries = 0; tries < BENCH_SETTLE_TRIES; tries++) {
        sum = 0;

        for (i = 0; i < n; i++) {
            sum += bench_cpu(pids[i]);
        }

        if (sum == last) {
            break;
        }

        last = sum;
        nanosleep(&step, NULL);
    }

    return last;
}


/*
 * Values below 2^BITS have a bucket each; above, each octave has 2^BITS
 * buckets, chosen by the bits after the leading one.
 */
void
bench_hist_add(bench_hist_t *h, uint64_t value)
{
    int     shift;
    size_t  i;

    i = (size_t) value;

    if (value >> BENCH_HIST_BITS) {
        shift = 63 - __builtin_clzll(value) - BENCH_HIST_BITS;
        i = ((size_t) shift << BENCH_HIST_BITS) + (size_t) (value >> shift);
    }

    h->bucket[i]++;
    h->count++;
}


uint64_t
bench_hist_quantile(const bench_hist_t *h, double share)
{
    size_t    i, shift;
    uint64_t  want, seen, low;

    want = (uint64_t) (share * (double) h->count);
    seen = 0;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        seen += h->bucket[i];

        if (seen > want) {
            break;
        }
    }

    if (i < (2u << BENCH_HIST_BITS) || i == BENCH_HIST_SIZE) {
        return (i == BENCH_HIST_SIZE) ? 0 : i;
    }

    shift = (i >> BENCH_HIST_BITS) - 1;
    low = i - (shift << BENCH_HIST_BITS);

    return low << shift;
}


void
bench_ws_accept(char out[BENCH_ACCEPT_LEN + 1], const char *key)
{
    static const char  guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    char           text[BENCH_KEY_LEN + sizeof(guid)];
    unsigned char  digest[SHA_DIGEST_LENGTH];

    memcpy(text, key, BENCH_KEY_LEN);
    memcpy(text + BENCH_KEY_LEN, guid, sizeof(guid));

    SHA1((unsigned char *) text, sizeof(text) - 1, digest);
    EVP_EncodeBlock((unsigned char *) out, digest, SHA_DIGEST_LENGTH);
}


size_t
bench_ws_header(unsigned char out[10], size_t payload)
{
    int  i;

    out[0] = 0x81;

    if (payload < 126) {
        out[1] = (unsigned char) payload;
        return 2;
    }

    if (payload < 65536) {
        out[1] = 126;
        out[2] = (unsigned char) (payload >> 8);
        out[3] = (unsigned char) payload;
        return 4;
    }

    out[1] = 127;

    for (i = 0; i < 8; i++) {
        out[2 + i] = (unsigned char) (payload >> (56 - 8 * i));
    }

    return 10;
}
