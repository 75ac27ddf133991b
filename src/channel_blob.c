#include <string.h>

#include "bytes.h"
#include "channel_blob.h"
#include "json_scan.h"
#include "pattern.h"
#include "utf8.h"
#include "ws_frame.h"


#define VERSION 1
#define BASE64 1
#define BINARY 2
#define PRIORITY_SHIFT 2
#define FLAGS 15
#define SEPARATE 0xffffffffu
#define SEQ_MAX (UINT64_C(1) << 53)
#define SEQ_DIGITS 16


static unsigned char *
put_str(unsigned char *p, gw_str_t s)
{
    if (s.len > 0) {
        memcpy(p, s.data, s.len);
    }

    return p + s.len;
}


/* Where the payload stands in the raw body. */
static size_t
payload_at(const gw_message_t *m)
{
    uintptr_t raw, payload;

    raw = (uintptr_t) m->raw.data;
    payload = (uintptr_t) m->payload.data;

    if (payload < raw || payload - raw > m->raw.len
        || m->payload.len > m->raw.len - (payload - raw))
    {
        return SEPARATE;
    }

    return payload - raw;
}


size_t
gw_blob_size(const gw_message_t *m)
{
    size_t max, payload;

    max = SEPARATE - 1;

    if (m->raw.len > max || m->payload.len > max
        || m->type.len > GW_BLOB_TYPE_MAX)
    {
        return 0;
    }

    payload = payload_at(m) == SEPARATE ? m->payload.len : 0;

    return GW_BLOB_HEADER + m->raw.len + payload + m->type.len;
}


unsigned char *
gw_blob_write(unsigned char *p, const gw_message_t *m)
{
    size_t at;

    at = payload_at(m);

    *p++ = VERSION;
    *p++ = (m->base64 ? BASE64 : 0)
           | (m->opcode == GW_WS_BINARY ? BINARY : 0)
           | m->priority << PRIORITY_SHIFT;
    p = gw_put_be(p, m->time, 8);
    p = gw_put_be(p, m->origin, 8);
    p = gw_put_be(p, m->raw.len, 4);
    p = gw_put_be(p, m->payload.len, 4);
    p = gw_put_be(p, m->type.len, 4);
    p = gw_put_be(p, at, 4);

    p = put_str(p, m->raw);

    if (at == SEPARATE) {
        p = put_str(p, m->payload);
    }

    return put_str(p, m->type);
}


/* The three spans, wherever they are: GW_ERROR where they do not fill the
   blob exactly. */
static int
spans_read(gw_str_t blob, gw_message_t *m)
{
    size_t left, at;
    const unsigned char *p;

    p = blob.data;
    left = blob.len - GW_BLOB_HEADER;

    m->raw.len = gw_get_be(p + 18, 4);
    m->payload.len = gw_get_be(p + 22, 4);
    m->type.len = gw_get_be(p + 26, 4);
    at = gw_get_be(p + 30, 4);

    if (m->raw.len > left) {
        return GW_ERROR;
    }

    p += GW_BLOB_HEADER;
    m->raw.data = p;
    p += m->raw.len;
    left -= m->raw.len;

    if (at != SEPARATE) {

        if (at > m->raw.len || m->payload.len > m->raw.len - at) {
            return GW_ERROR;
        }

        m->payload.data = m->raw.data + at;

    } else {

        if (m->payload.len > left) {
            return GW_ERROR;
        }

        m->payload.data = p;
        p += m->payload.len;
        left -= m->payload.len;
    }

    m->type.data = p;

    return m->type.len == left && left <= GW_BLOB_TYPE_MAX ? GW_OK : GW_ERROR;
}


static int
json_check(gw_str_t text, gw_json_t *v)
{
    return gw_utf8_valid(text.data, text.len) ? gw_json_parse(text, v)
                                              : GW_ERROR;
}


static bool
json_string(gw_str_t text)
{
    gw_json_t v;

    return json_check(text, &v) == GW_OK && v.type == GW_JSON_STRING
           && v.text.len == text.len;
}


int
gw_blob_open(gw_str_t blob, gw_message_t *m)
{
    unsigned flags;

    if (blob.len < GW_BLOB_HEADER || blob.data[0] != VERSION) {
        return GW_ERROR;
    }

    memset(m, 0, sizeof(*m));

    flags = blob.data[1];
    m->time = gw_get_be(blob.data + 2, 8);
    m->origin = gw_get_be(blob.data + 10, 8);
    m->base64 = (flags & BASE64) != 0;
    m->opcode = flags & BINARY ? GW_WS_BINARY : GW_WS_TEXT;
    m->priority = flags >> PRIORITY_SHIFT & 3;

    return (flags & ~FLAGS) == 0 && m->priority <= GW_PRIORITY_HIGH
               ? spans_read(blob, m)
               : GW_ERROR;
}


int
gw_blob_read(gw_str_t blob, gw_message_t *m)
{
    gw_json_t v;

    if (gw_blob_open(blob, m) != GW_OK) {
        return GW_ERROR;
    }

    if (json_check(m->payload, &v) != GW_OK
        || (m->base64 && v.type != GW_JSON_STRING)
        || (m->type.len > 0 && !json_string(m->type)))
    {
        return GW_ERROR;
    }

    return m->opcode == GW_WS_BINARY
                   || gw_utf8_valid(m->raw.data, m->raw.len)
               ? GW_OK
               : GW_ERROR;
}


bool
gw_word_valid(gw_str_t s, size_t n)
{
    size_t i;
    unsigned char c;

    if (s.len != n) {
        return false;
    }

    for (i = 0; i < n; i++) {
        c = s.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
              || (c >= 'a' && c <= 'z') || c == '_' || c == '-'))
        {
            return false;
        }
    }

    return true;
}


/* The number at *p, which is moved behind it and the character after. */
static int
number_read(const unsigned char **p, const unsigned char *end,
    unsigned char after, uint64_t *n)
{
    const unsigned char *start;

    *n = 0;
    start = *p;

    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {

        if (*p - start == SEQ_DIGITS) {
            return GW_ERROR;
        }

        *n = *n * 10 + (**p - '0');
    }

    if (*p == start || *p == end || **p != after || *n > SEQ_MAX) {
        return GW_ERROR;
    }

    (*p)++;

    return GW_OK;
}


int
gw_seq_read(gw_str_t s, uint64_t *n)
{
    size_t i;

    *n = 0;

    if (s.len == 0 || s.len > SEQ_DIGITS) {
        return GW_ERROR;
    }

    for (i = 0; i < s.len; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            return GW_ERROR;
        }

        *n = *n * 10 + (s.data[i] - '0');
    }

    return *n <= SEQ_MAX ? GW_OK : GW_ERROR;
}


int
gw_news_read(gw_str_t text, gw_news_t *news)
{
    uint64_t len;
    gw_str_t words;
    const unsigned char *p, *end;

    words.data = text.data + 1;
    words.len = GW_EPOCH_LEN + GW_NODE_LEN + GW_PUBLISH_ID_LEN;

    if (text.len <= words.len || !gw_word_valid(words, words.len)) {
        return GW_ERROR;
    }

    news->kind = text.data[0];
    news->epoch = words.data;
    news->node = news->epoch + GW_EPOCH_LEN;
    news->id = news->node + GW_NODE_LEN;

    p = words.data + words.len;
    end = text.data + text.len;

    if (number_read(&p, end, ':', &news->seq) != GW_OK
        || number_read(&p, end, ':', &len) != GW_OK
        || len > (size_t) (end - p))
    {
        return GW_ERROR;
    }

    news->name = (gw_str_t){ p, len };
    news->rest = (gw_str_t){ p + len, end - p - len };

    switch (news->kind) {

    case GW_NEWS_MESSAGE:
        len = news->seq;
        break;

    case GW_NEWS_DELETED:
    case GW_NEWS_COUNTS:
        break;

    default:
        return GW_ERROR;
    }

    return len > 0 && gw_channel_name_valid(news->name) ? GW_OK : GW_ERROR;
}


bool
gw_counts_next(gw_str_t list, const unsigned char **at,
    const unsigned char **counter, uint64_t *n)
{
    const unsigned char *end;

    end = list.data + list.len;

    if (end - *at <= GW_COUNT_LEN) {
        return false;
    }

    *counter = *at;
    *at += GW_COUNT_LEN;

    return number_read(at, end, '\n', n) == GW_OK;
}
