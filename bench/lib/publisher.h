/*
 * An HTTP/1.1 publisher on one connection that is kept alive: queues POSTs,
 * writes what is queued in one go, and counts the answers. An answer other
 * than 2xx ends the program.
 */

#ifndef BENCH_PUBLISHER_H_INCLUDED
#define BENCH_PUBLISHER_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


typedef struct {
    int             fd;          /* non-blocking */
    int             port;
    const char     *path;        /* the channel's number is appended */
    uint64_t        answers;

    unsigned char  *out;         /* what is queued: out + sent … out + len */
    size_t          out_sent, out_len, out_size;

    char           *in;
    size_t          in_len;
} bench_publisher_t;


void bench_publisher_open(bench_publisher_t *p, int port, const char *path);

void bench_publisher_add(bench_publisher_t *p, unsigned channel,
    const void *body, size_t len);

/* Writes what is queued; false where the socket takes no more for now. */
bool bench_publisher_flush(bench_publisher_t *p);

/* Reads answers until there are none for now. */
void bench_publisher_read(bench_publisher_t *p);

#endif /* BENCH_PUBLISHER_H_INCLUDED */
