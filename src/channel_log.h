/*
 * One channel: its sequence, its recent messages, and the frames that are on
 * their way to subscribers.
 *
 *   log            records of the recent messages, in order: what `since`,
 *                  recovery and GET read, and what is kept as history
 *     record       gw_record_t, envelope (JSON text), raw body where it is
 *                  not a part of the envelope
 *   form[RAW]      the same messages as WebSocket frames of their bodies
 *   form[V1]       ... and as frames of their envelopes
 *
 * A form is written only while somebody reads it, and only as long as
 * somebody has not: it is what a socket's send queue would be, but once for
 * all of a channel's subscribers. Several pending messages are one run of
 * bytes in it, and go out by one system call. At rest a message is stored
 * once, in the log.
 *
 * All of it may lie in shared memory. Calls need the caller's lock, save the
 * reading through cursors below a head known under the lock.
 */

#ifndef GW_CHANNEL_LOG_H_INCLUDED
#define GW_CHANNEL_LOG_H_INCLUDED

#include "stream.h"

typedef enum {
    GW_FORM_RAW = 0,
    GW_FORM_V1,
    GW_FORMS
} gw_form_e;

typedef enum {
    GW_PRIORITY_LOW = 0,
    GW_PRIORITY_NORMAL,
    GW_PRIORITY_HIGH
} gw_priority_e;

#define GW_EPOCH_LEN 12 /* characters of [0-9A-Za-z_-]: 72 random bits */

/* What is published. Spans are the caller's and are copied. */
typedef struct {
    gw_str_t type;     /* JSON string with its quotes; empty: "message" */
    gw_str_t payload;  /* JSON text */
    gw_str_t raw;      /* bytes for raw subscribers; where it is the very
                          span of payload it is stored once */
    gw_str_t resource; /* the channel's name as a quoted JSON string */
    uint64_t time;     /* ms since 1970 */
    uint64_t origin;   /* the connection that published, 0 for none */
    uint8_t opcode;    /* of the raw frame: GW_WS_TEXT or GW_WS_BINARY */
    uint8_t priority;  /* gw_priority_e */
    bool base64;       /* payload is bytes in base64: "encoding" is added */
} gw_message_t;

/* A message as it stands in the log. */
typedef struct {
    uint64_t seq;
    uint64_t time;         /* ms since 1970 */
    uint64_t origin;
    uint32_t size;         /* of the record, this header included */
    uint32_t envelope_len; /* follows the header */
    uint32_t raw_off;      /* from the end of the header */
    uint32_t raw_len;
    uint8_t opcode;
    uint8_t priority;
    uint8_t quiet; /* was appended as history, not for who reads live */
    uint8_t reserved[5];
} gw_record_t;

typedef struct {
    uint64_t seq;         /* of the newest message, 0: none yet */
    uint64_t first;       /* seq of the oldest one kept; seq + 1: none */
    uint64_t published;   /* messages ever; not reset by a new epoch */
    gw_cursor_t oldest;   /* where `first` begins */
    gw_stream_t log;
    gw_stream_t form[GW_FORMS];
    uint32_t readers[GW_FORMS]; /* forms with none are not written */
    char epoch[GW_EPOCH_LEN];   /* not terminated */
} gw_channel_log_t;

/* Positions below which nobody needs anything any more; UINT64_MAX: nobody
   reads. */
typedef struct {
    uint64_t log;
    uint64_t form[GW_FORMS];
} gw_lows_t;

#define GW_LOWS_NONE ((gw_lows_t){ UINT64_MAX, { UINT64_MAX, UINT64_MAX } })

/* random: GW_EPOCH_LEN random bytes, from which the epoch's name is made. */
void gw_channel_log_init(gw_channel_log_t *l, const unsigned char *random);

/* Frees all. */
void gw_channel_log_free(gw_channel_log_t *l, const gw_alloc_t *a);

/*
 * Appends a message with the next sequence number. GW_OK, or GW_ERROR: no
 * memory, and nothing has changed.
 */
int gw_channel_log_append(gw_channel_log_t *l, const gw_message_t *m,
    const gw_alloc_t *a);

/*
 * Forgets messages beyond `history` in number or published before `oldest`
 * (ms since 1970), and frees what nobody needs: no record or frame at or
 * after its low.
 */
void gw_channel_log_trim(gw_channel_log_t *l, uint64_t history,
    uint64_t oldest, const gw_lows_t *lows, const gw_alloc_t *a);

/* Drops all messages and starts a new epoch from 0; readers stay, and get
   what was published before. */
void gw_channel_log_restart(gw_channel_log_t *l, const unsigned char *random);

/*
 * For the mirror of a channel whose numbers another place gives: the same,
 * in the epoch of that name (GW_EPOCH_LEN bytes) behind the number seq; and
 * appending what subscribers are not to get live, only readers of the
 * history. Such a message makes no frames, and does not count as published.
 */
void gw_channel_log_restart_at(gw_channel_log_t *l,
    const unsigned char *epoch, uint64_t seq);
int gw_channel_log_append_quiet(gw_channel_log_t *l, const gw_message_t *m,
    const gw_alloc_t *a);

/*
 * Begins to write a form, for its first reader: GW_OK or GW_ERROR (no
 * memory). Counts readers; the last one's leaving frees the form.
 */
int gw_channel_log_open(gw_channel_log_t *l, gw_form_e form,
    const gw_alloc_t *a);
void gw_channel_log_close(gw_channel_log_t *l, gw_form_e form,
    const gw_alloc_t *a);

/*
 * Finds the first message after seq. GW_OK: *c is at its record, or at the
 * log's head when seq is the newest. GW_DECLINED: messages after seq are
 * gone, or seq is yet to come.
 */
int gw_channel_log_since(const gw_channel_log_t *l, uint64_t seq,
    gw_cursor_t *c);

/*
 * The same for reading on: *c is where a record ended that was read before
 * from this epoch, with a number of at most seq, and is used where it is
 * still kept.
 */
int gw_channel_log_next(const gw_channel_log_t *l, uint64_t seq,
    gw_cursor_t *c);

/* Reads the record header at *c without moving. */
void gw_record_peek(const gw_cursor_t *c, gw_record_t *r);

/* The place of the record's envelope or raw body, r being the one at *c. */
gw_cursor_t gw_record_envelope(const gw_cursor_t *c);
gw_cursor_t gw_record_raw(const gw_cursor_t *c, const gw_record_t *r);

/* Memory that the channel's streams take now. */
size_t gw_channel_log_memory(const gw_channel_log_t *l);

#endif /* GW_CHANNEL_LOG_H_INCLUDED */
