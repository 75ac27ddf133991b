#include <string.h>

#include "utf8.h"
#include "ws_frame.h"


#define opcode_is_control(opcode) ((opcode) & 0x8)

typedef enum {
    ST_HEADER = 0,
    ST_PAYLOAD,
    ST_CLOSED, /* after a close frame: the rest is dropped, 1.4 */
    ST_FAILED
} state_e;


static int
fail(gw_ws_decoder_t *d, unsigned code, const char *reason)
{
    d->state = ST_FAILED;
    d->close_code = code;
    d->reason = reason;

    return GW_ERROR;
}


static int
first_byte_check(gw_ws_decoder_t *d, unsigned char b)
{
    if (b & GW_WS_RSV) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "reserved bits are set");
    }

    switch (b & GW_WS_OPCODE) {

    case GW_WS_CONTINUATION:
        if (d->message == 0) {
            return fail(d, GW_WS_CLOSE_PROTOCOL,
                        "continuation without a message");
        }

        return GW_OK;

    case GW_WS_TEXT:
    case GW_WS_BINARY:
        if (d->message != 0) {
            return fail(d, GW_WS_CLOSE_PROTOCOL,
                        "new message inside a fragmented one");
        }

        return GW_OK;

    case GW_WS_CLOSE:
    case GW_WS_PING:
    case GW_WS_PONG:
        if (!(b & GW_WS_FIN)) {
            return fail(d, GW_WS_CLOSE_PROTOCOL, "fragmented control frame");
        }

        return GW_OK;

    default:
        return fail(d, GW_WS_CLOSE_PROTOCOL, "reserved opcode");
    }
}


static int
second_byte_check(gw_ws_decoder_t *d, const unsigned char *h)
{
    if (!(h[1] & GW_WS_MASKED) != !d->masked) {
        return fail(d, GW_WS_CLOSE_PROTOCOL,
                    d->masked ? "frame is not masked" : "frame is masked");
    }

    if (opcode_is_control(h[0]) && (h[1] & GW_WS_LENGTH) > GW_WS_MAX_CONTROL) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "control frame is too long");
    }

    return GW_OK;
}


static int
length_check(gw_ws_decoder_t *d, const unsigned char *h, uint64_t len)
{
    if (2 + gw_ws_length_size(h) != gw_ws_frame_header_size(len)) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "frame length is not minimal");
    }

    if (len > INT64_MAX) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "frame length is over 63 bits");
    }

    if (!opcode_is_control(h[0]) && len > d->max_message - d->message_len) {
        return fail(d, GW_WS_CLOSE_TOO_BIG, "message is too big");
    }

    return GW_OK;
}


/* Whatever can be said of a header from its first n bytes. */
static int
header_check(gw_ws_decoder_t *d, const unsigned char *h, size_t n)
{
    if (n >= 1 && first_byte_check(d, h[0]) != GW_OK) {
        return GW_ERROR;
    }

    if (n >= 2 && second_byte_check(d, h) != GW_OK) {
        return GW_ERROR;
    }

    if (n >= 2 && n >= 2 + gw_ws_length_size(h)) {
        return length_check(d, h, gw_ws_payload_length(h));
    }

    return GW_OK;
}


/* Begins the frame of a complete, checked header. */
static void
frame_begin(gw_ws_decoder_t *d, const unsigned char *h)
{
    d->state = ST_PAYLOAD;
    d->header_len = 0;
    d->opcode = h[0] & GW_WS_OPCODE;
    d->remaining = gw_ws_payload_length(h);

    if (d->masked) {
        memcpy(d->mask, h + 2 + gw_ws_length_size(h), 4);
        d->mask_pos = 0;
    }

    if (opcode_is_control(d->opcode)) {
        d->control_len = 0;
        return;
    }

    d->fin = (h[0] & GW_WS_FIN) != 0;
    d->message_len += d->remaining;

    if (d->opcode != GW_WS_CONTINUATION) {
        d->message = d->opcode;
        d->started = 0;
        d->utf8 = GW_UTF8_ACCEPT;
    }
}


/*
 * A header that lies in the buffer as a whole is read there; one in pieces is
 * gathered, and fails by its first wrong byte.
 */
static int
header_read(gw_ws_decoder_t *d, unsigned char **pos, unsigned char *end)
{
    size_t n, size;
    unsigned char *h;

    n = end - *pos;
    h = *pos;

    if (d->header_len == 0 && n >= 2) {
        size = gw_ws_header_size(h, n);

        if (n >= size) {
            if (header_check(d, h, size) != GW_OK) {
                return GW_ERROR;
            }

            *pos += size;
            frame_begin(d, h);

            return GW_OK;
        }
    }

    h = d->header;

    while (*pos < end) {
        h[d->header_len++] = *(*pos)++;

        if (header_check(d, h, d->header_len) != GW_OK) {
            return GW_ERROR;
        }

        if (d->header_len >= 2 && d->header_len == gw_ws_header_size(h, 2)) {
            frame_begin(d, h);
            return GW_OK;
        }
    }

    return GW_AGAIN;
}


/* Takes n bytes of the frame's payload. */
static void
payload_take(gw_ws_decoder_t *d, unsigned char *p, size_t n)
{
    if (d->masked) {
        gw_ws_unmask(p, n, d->mask, d->mask_pos);
        d->mask_pos = (d->mask_pos + n) & 3;
    }

    d->remaining -= n;
}


static int
close_event(gw_ws_decoder_t *d, gw_ws_event_t *ev)
{
    ev->type = GW_WS_EV_CLOSE;

    if (ev->len == 0) {
        ev->code = 1005;
        d->state = ST_CLOSED;
        return GW_OK;
    }

    if (ev->len == 1) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "close payload of one byte");
    }

    ev->code = ev->data[0] << 8 | ev->data[1];
    ev->data += 2;
    ev->len -= 2;

    if (!gw_ws_close_code_valid(ev->code)) {
        return fail(d, GW_WS_CLOSE_PROTOCOL, "invalid close code");
    }

    if (!gw_utf8_valid(ev->data, ev->len)) {
        return fail(d, GW_WS_CLOSE_INVALID, "close reason is not UTF-8");
    }

    d->state = ST_CLOSED;

    return GW_OK;
}


static int
control_read(gw_ws_decoder_t *d, unsigned char **pos, unsigned char *end,
    gw_ws_event_t *ev)
{
    size_t n;
    unsigned char *p;

    p = *pos;
    n = end - p;

    if (n > d->remaining) {
        n = d->remaining;
    }

    *pos += n;

    if (d->control_len > 0 || n < d->remaining) {
        memcpy(d->control + d->control_len, p, n);
        p = d->control + d->control_len;
        d->control_len += n;
    }

    payload_take(d, p, n);

    if (d->remaining > 0) {
        return GW_AGAIN;
    }

    ev->data = d->control_len > 0 ? d->control : p;
    ev->len = d->control_len > 0 ? d->control_len : n;
    ev->opcode = d->opcode;
    ev->first = false;
    ev->last = false;
    ev->code = 0;

    d->state = ST_HEADER;

    if (d->opcode == GW_WS_CLOSE) {
        return close_event(d, ev);
    }

    ev->type = d->opcode == GW_WS_PING ? GW_WS_EV_PING : GW_WS_EV_PONG;

    return GW_OK;
}


static int
text_check(gw_ws_decoder_t *d, const unsigned char *p, size_t n, bool last)
{
    if (gw_utf8_feed(&d->utf8, p, n) != GW_OK) {
        return fail(d, GW_WS_CLOSE_INVALID, "text is not UTF-8");
    }

    if (last && d->utf8 != GW_UTF8_ACCEPT) {
        return fail(d, GW_WS_CLOSE_INVALID, "text ends inside a character");
    }

    return GW_OK;
}


static int
data_read(gw_ws_decoder_t *d, unsigned char **pos, unsigned char *end,
    gw_ws_event_t *ev)
{
    size_t n;
    bool last;
    unsigned char *p;

    p = *pos;
    n = end - p;

    if (n > d->remaining) {
        n = d->remaining;
    }

    *pos += n;
    payload_take(d, p, n);

    last = d->fin && d->remaining == 0;

    if (d->message == GW_WS_TEXT && text_check(d, p, n, last) != GW_OK) {
        return GW_ERROR;
    }

    ev->type = GW_WS_EV_DATA;
    ev->opcode = d->message;
    ev->first = !d->started;
    ev->last = last;
    ev->data = p;
    ev->len = n;
    ev->code = 0;

    if (d->remaining == 0) {
        d->state = ST_HEADER;
    }

    if (last) {
        d->message = 0;
        d->message_len = 0;

    } else if (n == 0) {
        return GW_AGAIN;
    }

    d->started = 1;

    return GW_OK;
}


void
gw_ws_decoder_init(gw_ws_decoder_t *d, uint64_t max_message, bool masked)
{
    memset(d, 0, sizeof(*d));

    d->max_message = max_message;
    d->masked = masked;
}


int
gw_ws_decode(gw_ws_decoder_t *d, unsigned char **pos, unsigned char *end,
    gw_ws_event_t *ev)
{
    int rc;

    if (d->state == ST_FAILED) {
        return GW_ERROR;
    }

    if (d->state == ST_CLOSED) {
        *pos = end;
        return GW_AGAIN;
    }

    rc = GW_AGAIN;

    while (rc == GW_AGAIN && *pos < end) {

        if (d->state == ST_HEADER) {
            rc = header_read(d, pos, end);

            if (rc != GW_OK) {
                return rc;
            }
        }

        if (opcode_is_control(d->opcode)) {
            rc = control_read(d, pos, end, ev);

        } else {
            rc = data_read(d, pos, end, ev);
        }
    }

    return rc;
}
