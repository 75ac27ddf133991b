/*
 * WebSocket frames (RFC 6455 section 5), without I/O.
 *
 * The decoder takes bytes as they come from the socket, resumes at any byte,
 * allocates nothing and copies only control payloads that arrive in pieces.
 * Data payloads are unmasked in place, by machine words, and handed out as
 * parts of the caller's buffer. It stands in ws_decoder.c, the rest of what
 * is declared here in ws_frame.c.
 */

#ifndef GW_WS_FRAME_H_INCLUDED
#define GW_WS_FRAME_H_INCLUDED

#include "gw.h"

/* Opcodes, RFC 6455 11.8. */
#define GW_WS_CONTINUATION 0x0
#define GW_WS_TEXT 0x1
#define GW_WS_BINARY 0x2
#define GW_WS_CLOSE 0x8
#define GW_WS_PING 0x9
#define GW_WS_PONG 0xa

/* Bits of a header's first byte, and of its second, RFC 6455 5.2. */
#define GW_WS_FIN 0x80
#define GW_WS_RSV 0x70
#define GW_WS_OPCODE 0x0f
#define GW_WS_MASKED 0x80
#define GW_WS_LENGTH 0x7f

#define GW_WS_MAX_CONTROL 125    /* payload of a control frame, 5.5 */
#define GW_WS_MAX_SERVER_HEADER 10 /* unmasked: 2, 4 or 10 bytes */

/* Close codes that the decoder itself reports, RFC 6455 7.4.1. */
#define GW_WS_CLOSE_PROTOCOL 1002
#define GW_WS_CLOSE_INVALID 1007
#define GW_WS_CLOSE_TOO_BIG 1009

/*
 * One per connection; keep it small, it is part of an idle connection's
 * memory. Fields are the decoder's own, except close_code and reason.
 */
typedef struct {
    uint64_t max_message; /* bytes of one message over all its fragments */
    uint64_t message_len; /* announced so far by the message's frames */
    uint64_t remaining;   /* of the current frame's payload */
    const char *reason;   /* after GW_ERROR: static text for the log */
    uint16_t close_code;  /* after GW_ERROR: what to close with */
    uint8_t header[14];
    uint8_t header_len;
    uint8_t state;
    uint8_t mask[4];
    uint8_t mask_pos;
    uint8_t opcode;       /* of the current frame */
    uint8_t message;      /* opcode of the open message, 0 when none */
    uint8_t utf8;
    uint8_t control_len;
    unsigned char control[GW_WS_MAX_CONTROL];
    unsigned fin : 1;
    unsigned started : 1;
    unsigned masked : 1;  /* whether frames must be (server) or must not */
} gw_ws_decoder_t;

typedef enum {
    GW_WS_EV_DATA, /* part of a text or binary message */
    GW_WS_EV_CLOSE,
    GW_WS_EV_PING,
    GW_WS_EV_PONG
} gw_ws_event_type_e;

typedef struct {
    gw_ws_event_type_e type;
    uint8_t opcode;      /* DATA: GW_WS_TEXT or GW_WS_BINARY of the message */
    bool first;          /* DATA: first part of the message */
    bool last;           /* DATA: the message ends with this part */
    unsigned char *data; /* unmasked, in the caller's buffer (control frames
                            that came in pieces: in the decoder, valid until
                            its next call) */
    size_t len;          /* may be 0 */
    uint16_t code;       /* CLOSE: status, 1005 when the frame had none;
                            data and len are then the reason only */
} gw_ws_event_t;

/* masked: true for what clients send, false for what servers send. */
void gw_ws_decoder_init(gw_ws_decoder_t *d, uint64_t max_message, bool masked);

/*
 * Decodes from *pos up to end and advances *pos past what it used.
 *
 * GW_OK     one event in *ev; call again while *pos < end. Parts of data
 *           come as soon as their bytes do; one of no bytes comes only where
 *           it is the end of its message
 * GW_AGAIN  everything was used and no event is ready
 * GW_ERROR  protocol error: d->close_code and d->reason say which; the
 *           decoder says GW_ERROR from now on
 *
 * After a close frame whatever follows is dropped (1.4): GW_AGAIN.
 *
 * Text is checked as UTF-8 while it arrives and fails (1007) at the first
 * impossible byte, also when the character is cut by the end of the message.
 * Over max_message fails (1009) as soon as a frame's header announces it.
 * RSV bits, reserved opcodes, a missing or unexpected mask, non-minimal or
 * over-63-bit lengths, fragmented or long control frames, a continuation
 * without a message, a new message inside another, close payloads of one
 * byte, close codes that may not be sent (7.4), and close reasons that are
 * not UTF-8 (1007) fail (1002).
 */
int gw_ws_decode(gw_ws_decoder_t *d, unsigned char **pos, unsigned char *end,
    gw_ws_event_t *ev);

/*
 * Writes an unmasked frame header with FIN set for a payload of len bytes
 * into p (room for GW_WS_MAX_SERVER_HEADER); returns its size: 2, 4 or 10.
 */
size_t gw_ws_frame_header(unsigned char *p, uint8_t opcode, uint64_t len);

/* Size of such a header for a payload of len bytes. */
size_t gw_ws_frame_header_size(uint64_t len);

/*
 * Size of a header, masked or not, of which n bytes are known: exact when n
 * is 2 or more, otherwise 2.
 */
size_t gw_ws_header_size(const unsigned char *h, size_t n);

/* Bytes of extended length (0, 2 or 8) in a header, by its second byte. */
size_t gw_ws_length_size(const unsigned char *h);

/* Length of the payload, by a header with its whole length field. */
uint64_t gw_ws_payload_length(const unsigned char *h);

/*
 * Parses a server frame's own header back: given its first n bytes, returns
 * the whole frame's size (header and payload), or 0 when n is too small to
 * tell (10 bytes always suffice).
 */
uint64_t gw_ws_frame_size(const unsigned char *p, size_t n);

/* Whether a peer may send this close code (7.4): 1000-1003, 1007-1014,
   3000-4999. */
bool gw_ws_close_code_valid(unsigned code);

/* XORs n bytes with the mask, starting at mask byte pos (0-3). */
void gw_ws_unmask(unsigned char *p, size_t n, const uint8_t mask[4],
    unsigned pos);

#endif /* GW_WS_FRAME_H_INCLUDED */
