/*
 * Bytes of a peer, to the decoder as a whole and in pieces: both must come to
 * the same messages, control frames and error, and what passes as text must
 * be UTF-8 by a second opinion.
 *
 * Input: flags (bit 0: masked; the rest: how big messages may be), a number
 * that tells where to cut, and the bytes.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/ws_frame.h"


typedef struct {
    unsigned char *log; /* what has come, in a form that compares */
    size_t len;
    unsigned char *message;
    size_t message_len;
    bool open;
} result_t;


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


/* RFC 3629 read by code points. */
static bool
is_utf8(const unsigned char *p, size_t n)
{
    size_t i, k, more;
    uint32_t c;

    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

    for (i = 0; i < n; i += more + 1) {
        c = p[i];
        more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2
               : c >> 3 == 30 ? 3 : 4;

        if (more == 4 || n - i <= more) {
            return false;
        }

        c &= more == 0 ? 0x7f : 0x3f >> more;

        for (k = 1; k <= more; k++) {
            if (p[i + k] >> 6 != 2) {
                return false;
            }

            c = c << 6 | (p[i + k] & 0x3f);
        }

        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
            return false;
        }
    }

    return true;
}


static void
append(result_t *r, unsigned kind, unsigned code, const void *p, size_t n)
{
    r->log[r->len++] = kind;
    r->log[r->len++] = code >> 8;
    r->log[r->len++] = code & 0xff;
    memcpy(r->log + r->len, &n, sizeof(n));
    r->len += sizeof(n);

    if (n > 0) {
        memcpy(r->log + r->len, p, n);
        r->len += n;
    }
}


static void
event(result_t *r, const gw_ws_event_t *ev)
{
    if (ev->type != GW_WS_EV_DATA) {
        check(ev->len <= GW_WS_MAX_CONTROL);
        check(ev->type != GW_WS_EV_CLOSE || is_utf8(ev->data, ev->len));
        append(r, ev->type, ev->code, ev->data, ev->len);
        return;
    }

    check(ev->first == !r->open);
    check(ev->len > 0 || ev->last);

    memcpy(r->message + r->message_len, ev->data, ev->len);
    r->message_len += ev->len;
    r->open = !ev->last;

    if (ev->last) {
        check(ev->opcode != GW_WS_TEXT || is_utf8(r->message, r->message_len));
        append(r, ev->type, ev->opcode, r->message, r->message_len);
        r->message_len = 0;
    }
}


/* Feeds a copy of exactly the piece; false after an error. */
static bool
feed(gw_ws_decoder_t *d, result_t *r, const uint8_t *data, size_t n)
{
    int rc;
    gw_ws_event_t ev;
    unsigned char *copy, *pos, *last;

    copy = malloc(n);
    check(copy != NULL || n == 0);

    if (n > 0) {
        memcpy(copy, data, n);
    }

    pos = copy;
    rc = GW_AGAIN;

    while (pos < copy + n) {
        last = pos;
        rc = gw_ws_decode(d, &pos, copy + n, &ev);
        check(pos >= last && pos <= copy + n);

        if (rc == GW_ERROR) {
            append(r, 0xff, d->close_code, NULL, 0);
            break;
        }

        if (rc == GW_AGAIN) {
            check(pos == copy + n);
            break;
        }

        check(pos > last);
        event(r, &ev);
    }

    free(copy);

    return rc != GW_ERROR;
}


static void
run(result_t *r, unsigned flags, unsigned cut, const uint8_t *data, size_t n)
{
    size_t piece;
    gw_ws_decoder_t d;

    /* Two bytes of input make at most one entry of 11 bytes. */
    r->log = malloc(8 * n + 64);
    r->message = malloc(n + 1);
    r->len = 0;
    r->message_len = 0;
    r->open = false;
    check(r->log != NULL && r->message != NULL);

    gw_ws_decoder_init(&d, (uint64_t) (flags >> 1) << (flags >> 5),
                       flags & 1);

    while (n > 0) {
        piece = n;

        if (cut > 0) {
            piece = 1 + cut % 7;
            cut = cut * 1103515245 + 12345;
            cut = cut ? cut : 1;
        }

        piece = piece < n ? piece : n;

        if (!feed(&d, r, data, piece)) {
            break;
        }

        data += piece;
        n -= piece;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    result_t whole, split;

    if (size < 2) {
        return 0;
    }

    run(&whole, data[0], 0, data + 2, size - 2);
    run(&split, data[0], data[1] + 1u, data + 2, size - 2);

    check(whole.len == split.len);
    check(memcmp(whole.log, split.log, whole.len) == 0);

    free(whole.log);
    free(whole.message);
    free(split.log);
    free(split.message);

    return 0;
}
