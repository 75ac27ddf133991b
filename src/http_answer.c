#include <string.h>

#include "http_answer.h"


static bool
is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}


static unsigned char
lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char) (c | 0x20) : c;
}


static bool
is_word(gw_str_t s, const char *word)
{
    size_t i;

    if (s.len != strlen(word)) {
        return false;
    }

    for (i = 0; i < s.len; i++) {
        if (lower(s.data[i]) != (unsigned char) word[i]) {
            return false;
        }
    }

    return true;
}


static gw_str_t
trim(const unsigned char *p, const unsigned char *last)
{
    gw_str_t s;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    s.data = p;
    s.len = (size_t) (last - p);

    return s;
}


/* HTTP/1.x, a space, three digits, and the end or a space. */
static int
read_status(gw_http_answer_t *a)
{
    const unsigned char *p;

    p = a->line;

    if (a->len < sizeof("HTTP/1.1 200") - 1 || memcmp(p, "HTTP/1.", 7) != 0
        || !is_digit(p[7]) || p[8] != ' ' || p[9] < '1' || !is_digit(p[9])
        || !is_digit(p[10]) || !is_digit(p[11])
        || (a->len > 12 && p[12] != ' '))
    {
        return GW_ERROR;
    }

    a->minor = p[7] != '0';
    a->status = (p[9] - '0') * 100u + (p[10] - '0') * 10u + (p[11] - '0');
    a->state = GW_HTTP_ANSWER_FIELDS;

    return a->status == 101 ? GW_ERROR : GW_AGAIN;
}


static int
read_length(gw_http_answer_t *a, gw_str_t value)
{
    size_t i;
    uint64_t n;

    /* 18 digits are no overflow; more are no length either */
    if (value.len == 0 || value.len > 18) {
        return GW_ERROR;
    }

    for (n = 0, i = 0; i < value.len; i++) {
        if (!is_digit(value.data[i])) {
            return GW_ERROR;
        }

        n = n * 10 + (value.data[i] - '0');
    }

    if (a->sized && a->left != n) {
        return GW_ERROR;
    }

    a->sized = true;
    a->left = n;

    return GW_AGAIN;
}


static void
read_connection(gw_http_answer_t *a, gw_str_t value)
{
    gw_str_t word;
    const unsigned char *p, *last, *comma;

    p = value.data;
    last = p + value.len;

    while (p < last) {
        comma = memchr(p, ',', (size_t) (last - p));
        if (comma == NULL) {
            comma = last;
        }

        word = trim(p, comma);

        if (is_word(word, "close")) {
            a->close = true;

        } else if (is_word(word, "keep-alive")) {
            a->keep_alive = true;
        }

        p = comma + (comma < last);
    }
}


static int
read_field(gw_http_answer_t *a)
{
    gw_str_t name, value;
    const unsigned char *colon;

    colon = memchr(a->line, ':', a->len);

    /* a name that is longer than what is kept is none of ours */
    if (colon == NULL) {
        return a->cut ? GW_AGAIN : GW_ERROR;
    }

    name.data = a->line;
    name.len = (size_t) (colon - a->line);
    value = trim(colon + 1, a->line + a->len);

    /* blanks before the colon, or a line that goes on with the one before */
    if (name.len == 0 || memchr(name.data, ' ', name.len) != NULL
        || memchr(name.data, '\t', name.len) != NULL)
    {
        return GW_ERROR;
    }

    if (is_word(name, "content-length")) {
        return a->cut ? GW_ERROR : read_length(a, value);
    }

    if (is_word(name, "transfer-encoding")) {
        if (a->cut || a->chunked || !is_word(value, "chunked")) {
            return GW_ERROR;
        }

        a->chunked = true;

    } else if (is_word(name, "connection")) {
        read_connection(a, value);
        a->close |= a->cut;
    }

    return GW_AGAIN;
}


static int
finish(gw_http_answer_t *a, bool keep)
{
    a->state = GW_HTTP_ANSWER_DONE;
    a->keep = keep && !a->close && (a->minor || a->keep_alive)
              && !(a->sized && a->chunked);

    return GW_OK;
}


/* The empty line after the fields: how the body is framed (RFC 9112 6.3). */
static int
end_head(gw_http_answer_t *a)
{
    if (a->status < 200) {
        a->state = GW_HTTP_ANSWER_STATUS;
        a->sized = false;
        a->chunked = false;
        a->left = 0;
        return GW_AGAIN;
    }

    if (a->status == 204 || a->status == 304) {
        return finish(a, true);
    }

    if (a->chunked) {
        a->state = GW_HTTP_ANSWER_CHUNK_SIZE;
        return GW_AGAIN;
    }

    if (!a->sized) {
        a->state = GW_HTTP_ANSWER_UNTIL_END;
        return GW_AGAIN;
    }

    a->state = GW_HTTP_ANSWER_SIZED;

    return a->left == 0 ? finish(a, true) : GW_AGAIN;
}


static int
read_chunk_size(gw_http_answer_t *a)
{
    size_t i;
    uint64_t n;
    unsigned char c;

    n = 0;

    for (i = 0; i < a->len; i++) {
        c = lower(a->line[i]);

        if (is_digit(c)) {
            n = n * 16 + (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            n = n * 16 + (c - 'a') + 10u;

        } else {
            break;
        }

        if (i == 15) {
            return GW_ERROR;
        }
    }

    if (i == 0 || (i < a->len && a->line[i] != ';' && a->line[i] != ' '
                   && a->line[i] != '\t'))
    {
        return GW_ERROR;
    }

    a->left = n;
    a->state = n ? GW_HTTP_ANSWER_CHUNK : GW_HTTP_ANSWER_TRAILERS;

    return GW_AGAIN;
}


static int
end_line(gw_http_answer_t *a)
{
    int rc;

    switch (a->state) {

    case GW_HTTP_ANSWER_STATUS:
        rc = read_status(a);
        break;

    case GW_HTTP_ANSWER_FIELDS:
        rc = a->len ? read_field(a) : end_head(a);
        break;

    case GW_HTTP_ANSWER_CHUNK_SIZE:
        rc = read_chunk_size(a);
        break;

    case GW_HTTP_ANSWER_CHUNK_END:
        rc = a->len ? GW_ERROR : GW_AGAIN;
        a->state = GW_HTTP_ANSWER_CHUNK_SIZE;
        break;

    case GW_HTTP_ANSWER_TRAILERS:
        rc = a->len ? GW_AGAIN : finish(a, true);
        break;

    default:
        rc = GW_ERROR;
    }

    a->len = 0;
    a->cr = false;
    a->cut = false;

    return rc;
}


static int
feed_line(gw_http_answer_t *a, unsigned char c)
{
    if (++a->head > GW_HTTP_ANSWER_HEAD) {
        return GW_ERROR;
    }

    if (c == '\n') {
        return end_line(a);
    }

    if (a->cr || ((c < 0x20 || c == 0x7f) && c != '\t' && c != '\r')) {
        return GW_ERROR;
    }

    if (c == '\r') {
        a->cr = true;
        return GW_AGAIN;
    }

    if (a->len == sizeof(a->line)) {
        a->cut = true;
        return GW_AGAIN;
    }

    a->line[a->len++] = c;

    return GW_AGAIN;
}


static bool
in_body(const gw_http_answer_t *a)
{
    return a->state == GW_HTTP_ANSWER_SIZED
           || a->state == GW_HTTP_ANSWER_CHUNK
           || a->state == GW_HTTP_ANSWER_UNTIL_END;
}


/* Passes over n bytes of the body, which has no fewer than that left. */
static int
skip_body(gw_http_answer_t *a, size_t n)
{
    a->body += n;

    if (a->body > GW_HTTP_ANSWER_BODY) {
        return finish(a, false);
    }

    if (a->state == GW_HTTP_ANSWER_UNTIL_END) {
        return GW_AGAIN;
    }

    a->left -= n;

    if (a->left) {
        return GW_AGAIN;
    }

    if (a->state == GW_HTTP_ANSWER_SIZED) {
        return finish(a, true);
    }

    a->state = GW_HTTP_ANSWER_CHUNK_END;

    return GW_AGAIN;
}


int
gw_http_answer_feed(gw_http_answer_t *a, const unsigned char *data, size_t len,
    size_t *used)
{
    int rc;
    size_t i, n;

    *used = 0;

    if (a->state == GW_HTTP_ANSWER_BROKEN) {
        return GW_ERROR;
    }

    rc = a->state == GW_HTTP_ANSWER_DONE ? GW_OK : GW_AGAIN;

    for (i = 0; i < len && rc == GW_AGAIN; i += n) {
        n = 1;

        if (in_body(a)) {
            n = len - i;

            if (a->state != GW_HTTP_ANSWER_UNTIL_END && n > a->left) {
                n = (size_t) a->left;
            }

            rc = skip_body(a, n);

        } else {
            rc = feed_line(a, data[i]);
        }
    }

    *used = i;

    if (rc == GW_ERROR) {
        a->state = GW_HTTP_ANSWER_BROKEN;
    }

    return rc;
}


int
gw_http_answer_end(gw_http_answer_t *a)
{
    if (a->state == GW_HTTP_ANSWER_DONE) {
        return GW_OK;
    }

    if (a->state == GW_HTTP_ANSWER_UNTIL_END) {
        return finish(a, false);
    }

    a->state = GW_HTTP_ANSWER_BROKEN;

    return GW_ERROR;
}
