/*
 * What a node tells the others of its limits' keys: one entry of a stream.
 *
 *     byte 0      GW_LIMIT_BATCH_VERSION
 *     1 .. 12     the node's id
 *     13 .. 20    a number, by which the node knows it again
 *     21 ..       deltas, 24 bytes each:
 *                     16  the key's digest
 *                      4  count, two's complement; < 0: given back
 *                      4  age in ms, when the batch was made
 *
 * Numbers are little-endian.
 */

#ifndef GW_LIMIT_BATCH_H_INCLUDED
#define GW_LIMIT_BATCH_H_INCLUDED

#include "gw.h"
#include "limit_share.h"

#define GW_LIMIT_BATCH_VERSION 1
#define GW_LIMIT_BATCH_NODE 12
#define GW_LIMIT_BATCH_HEAD (1 + GW_LIMIT_BATCH_NODE + 8)
#define GW_LIMIT_BATCH_DELTA 24
#define GW_LIMIT_BATCH_MOST 512 /* deltas */
#define GW_LIMIT_BATCH_SIZE                                                   \
    (GW_LIMIT_BATCH_HEAD + GW_LIMIT_BATCH_MOST * GW_LIMIT_BATCH_DELTA)

/* Writes the head into buf of GW_LIMIT_BATCH_SIZE bytes; returns its end. */
unsigned char *gw_limit_batch_begin(unsigned char *buf,
    const unsigned char *node, uint64_t number);

/* Adds a delta at p, of GW_LIMIT_BATCH_MOST at most; returns its end. */
unsigned char *gw_limit_batch_put(unsigned char *p, const uint64_t digest[2],
    const gw_share_delta_t *delta);

/* What has been read; node and what follows are in the given bytes. */
typedef struct {
    const unsigned char *node;
    uint64_t number;
    const unsigned char *p;
    const unsigned char *end;
} gw_limit_batch_t;

/* GW_OK, or GW_ERROR: it is none. */
int gw_limit_batch_open(gw_limit_batch_t *batch, const unsigned char *data,
    size_t len);

/* The next delta, of whatever values: GW_OK, or GW_DECLINED: that is all. */
int gw_limit_batch_next(gw_limit_batch_t *batch, uint64_t digest[2],
    gw_share_delta_t *delta);

/* Makes a batch that was not told so many ms older; it is well-formed. */
void gw_limit_batch_age(unsigned char *data, size_t len, uint64_t ms);

#endif /* GW_LIMIT_BATCH_H_INCLUDED */
