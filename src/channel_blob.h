/*
 * Messages and announcements as they travel between nodes through Redis.
 *
 * Others can write there too, so what is read back is checked to be what a
 * node would have written: whatever passes can be appended to a channel's
 * log and sent to clients as it is.
 *
 * A message (numbers are big-endian):
 *
 *   0   version, 1
 *   1   flags: 1 base64, 2 binary, 12 priority << 2
 *   2   time, 8 bytes
 *   10  origin, 8 bytes
 *   18  lengths of raw, payload and type, 4 bytes each
 *   30  where in raw the payload is, 4 bytes; 0xffffffff: it follows raw
 *   34  raw, payload, type
 *
 * An announcement, made by a script:
 *
 *   kind  epoch  node  id  sequence ":" length ":" name  rest
 */

#ifndef GW_CHANNEL_BLOB_H_INCLUDED
#define GW_CHANNEL_BLOB_H_INCLUDED

#include "channel_log.h"

#define GW_BLOB_HEADER 34
#define GW_BLOB_TYPE_MAX 65536
#define GW_NODE_LEN 12       /* of a node's id */
#define GW_PUBLISH_ID_LEN 12 /* of what is published */
#define GW_COUNT_LEN 20      /* of a counter: node and a digest of its zone */

/* Bytes of m encoded; 0: it is too large for the format. */
size_t gw_blob_size(const gw_message_t *m);

/* Writes them; returns the end. */
unsigned char *gw_blob_write(unsigned char *p, const gw_message_t *m);

/*
 * Reads a message; its spans point into blob, and resource is left empty.
 * GW_OK or GW_ERROR: it is none.
 */
int gw_blob_read(gw_str_t blob, gw_message_t *m);

/* The same for one that gw_blob_write() has just made: no text is looked
   at. */
int gw_blob_open(gw_str_t blob, gw_message_t *m);

typedef enum {
    GW_NEWS_MESSAGE = 'm', /* rest: the message */
    GW_NEWS_DELETED = 'd', /* a new epoch without messages */
    GW_NEWS_COUNTS = 'c'   /* rest: the subscribers of all nodes */
} gw_news_e;

typedef struct {
    gw_news_e kind;
    const unsigned char *epoch; /* GW_EPOCH_LEN bytes */
    const unsigned char *node;  /* GW_NODE_LEN bytes */
    const unsigned char *id;    /* GW_PUBLISH_ID_LEN bytes */
    uint64_t seq;               /* of a message from 1 */
    gw_str_t name;              /* a valid channel's name */
    gw_str_t rest;
} gw_news_t;

/* GW_OK or GW_ERROR. The rest is not looked at. */
int gw_news_read(gw_str_t text, gw_news_t *news);

/*
 * Walks a list of counters: each GW_COUNT_LEN bytes, a number and a newline.
 * *at starts at list.data. False at the end, or where it is malformed.
 */
bool gw_counts_next(gw_str_t list, const unsigned char **at,
    const unsigned char **counter, uint64_t *n);

/* Whether s is an epoch or an id: n of [0-9A-Za-z_-]. */
bool gw_word_valid(gw_str_t s, size_t n);

/* A decimal number up to 2^53, as scripts count: GW_OK or GW_ERROR. */
int gw_seq_read(gw_str_t s, uint64_t *n);

#endif /* GW_CHANNEL_BLOB_H_INCLUDED */
