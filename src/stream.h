/*
 * A stream of bytes in chunks: appended at the head, read by any number of
 * cursors, freed from the tail.
 *
 *     tail                                            head
 *      |  chunk       chunk       chunk                |
 *      v +---------+ +---------+ +-------------------------+   spare
 *        | base 0  | | base 488| | base 1488        :  free|-> (reserved)
 *        +---------+ +---------+ +-------------------------+
 *
 * Positions are 64-bit byte offsets since the stream was made. Chunks are
 * filled to the last byte, so a chunk's end follows from its base and size,
 * and bytes may be cut anywhere. One chunk is at most a page: shared memory
 * fragments only in whole pages then, and an append of any size needs no two
 * pages side by side.
 *
 * Writers and trimmers hold a lock of the caller's. Readers need none, as
 * long as they read below a head they learned under the lock, and what they
 * still need is kept by gw_stream_trim()'s argument.
 *
 * A writer that dies in the middle leaves the stream as it was: only
 * gw_stream_commit() moves the head.
 */

#ifndef GW_STREAM_H_INCLUDED
#define GW_STREAM_H_INCLUDED

#include <sys/uio.h>

#include "gw.h"

#define GW_CHUNK_MIN 512  /* bytes of memory of a chunk, header included */
#define GW_CHUNK_MAX 4096

typedef struct gw_chunk_s gw_chunk_t;

struct gw_chunk_s {
    gw_chunk_t *next;
    uint64_t base; /* position of data[0] */
    uint32_t size; /* bytes in data */
    uint32_t reserved;
    unsigned char data[];
};

typedef struct {
    gw_chunk_t *first;
    gw_chunk_t *last; /* the one that holds the head */
    uint64_t head;
} gw_stream_t;

/* A place in a stream. The chunk holds the position, or ends at it. */
typedef struct {
    gw_chunk_t *chunk;
    uint64_t pos;
} gw_cursor_t;

void gw_stream_init(gw_stream_t *s);

/* Frees all chunks and starts again at position 0. No cursor survives. */
void gw_stream_reset(gw_stream_t *s, const gw_alloc_t *a);

/*
 * Makes room for n bytes after the head, and for a first chunk where there is
 * none. GW_OK, or GW_ERROR: no memory, and nothing has changed.
 */
int gw_stream_reserve(gw_stream_t *s, size_t n, const gw_alloc_t *a);

/* The last chunk, spare ones included, and back to it: frees what has been
   reserved after it since, all chunks where it is NULL. */
gw_chunk_t *gw_stream_end(const gw_stream_t *s);
void gw_stream_cut(gw_stream_t *s, gw_chunk_t *end, const gw_alloc_t *a);

/* The place where the next byte will be; needs a first chunk. */
gw_cursor_t gw_stream_head(const gw_stream_t *s);

/* Writes into reserved room at the cursor and advances it. */
void gw_stream_put(gw_cursor_t *w, const void *p, size_t n);

/* Makes everything before the cursor, which has come from
   gw_stream_head() through gw_stream_put(), part of the stream. */
void gw_stream_commit(gw_stream_t *s, const gw_cursor_t *w);

/*
 * Frees chunks that end before the position `low`. A chunk that ends at it
 * stays, because a cursor may still stand at its end.
 */
void gw_stream_trim(gw_stream_t *s, uint64_t low, const gw_alloc_t *a);

/* Copies n bytes out and advances; they must be there. */
void gw_stream_read(gw_cursor_t *c, void *p, size_t n);

/* Advances by n bytes, which must be there. */
void gw_stream_skip(gw_cursor_t *c, uint64_t n);

/*
 * Describes the bytes from the cursor to the position `end` by at most max
 * vectors; returns their number and adds the bytes described to *total. The
 * cursor does not move.
 */
size_t gw_stream_vectors(const gw_cursor_t *c, uint64_t end,
    struct iovec *iov, size_t max, size_t *total);

#endif /* GW_STREAM_H_INCLUDED */
