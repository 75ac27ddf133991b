/*
 * The answer to a health check: an HTTP/1.x response of which nothing but its
 * status and its end matters (RFC 9112).
 *
 * Fed with bytes as they arrive, in pieces of any size. Header fields other
 * than Content-Length, Transfer-Encoding and Connection are skipped, and so
 * is the body. Interim answers (1xx) are passed over; 101 is malformed here,
 * since no upgrade was asked for.
 *
 * Whatever comes, the work is bounded: a head of more than
 * GW_HTTP_ANSWER_HEAD bytes, interim answers and trailers included, is
 * malformed; a body of more than GW_HTTP_ANSWER_BODY bytes ends the answer
 * there, and its connection cannot be used again.
 */

#ifndef GW_HTTP_ANSWER_H_INCLUDED
#define GW_HTTP_ANSWER_H_INCLUDED

#include "gw.h"

#define GW_HTTP_ANSWER_HEAD (32 * 1024)
#define GW_HTTP_ANSWER_BODY (1024 * 1024)
#define GW_HTTP_ANSWER_LINE 128

typedef enum {
    GW_HTTP_ANSWER_STATUS = 0,
    GW_HTTP_ANSWER_FIELDS,
    GW_HTTP_ANSWER_SIZED,      /* a body of `left` bytes more */
    GW_HTTP_ANSWER_UNTIL_END,  /* a body that the connection's end ends */
    GW_HTTP_ANSWER_CHUNK_SIZE,
    GW_HTTP_ANSWER_CHUNK,      /* `left` bytes more of this chunk */
    GW_HTTP_ANSWER_CHUNK_END,
    GW_HTTP_ANSWER_TRAILERS,
    GW_HTTP_ANSWER_DONE,
    GW_HTTP_ANSWER_BROKEN
} gw_http_answer_e;

/* Plain data; all zero is a new one. */
typedef struct {
    /* for the caller, once the answer is complete */
    unsigned status; /* 200 to 999 */
    bool keep;       /* another request may follow on this connection */

    /* private */
    gw_http_answer_e state;
    uint64_t left;
    size_t head; /* bytes of lines so far */
    size_t body;
    bool minor; /* HTTP/1.1 or later */
    bool sized;
    bool chunked;
    bool close;
    bool keep_alive;
    bool cr;
    bool cut; /* the line is longer than what is kept of it */
    size_t len;
    unsigned char line[GW_HTTP_ANSWER_LINE];
} gw_http_answer_t;

/*
 * Takes the next bytes. GW_OK: complete, *used of them belong to the answer;
 * GW_AGAIN: more is needed, all were used; GW_ERROR: not an answer, now and
 * for whatever else is fed.
 */
int gw_http_answer_feed(gw_http_answer_t *a, const unsigned char *data,
    size_t len, size_t *used);

/* The connection ended: GW_OK where that completes it, else GW_ERROR. */
int gw_http_answer_end(gw_http_answer_t *a);

#endif /* GW_HTTP_ANSWER_H_INCLUDED */
