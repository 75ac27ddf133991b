#include <stdio.h>
#include <string.h>

#include "cache_status.h"


/* `full` once something did not fit. */
typedef struct {
    unsigned char *data;
    size_t size;
    size_t len;
    bool full;
} text_t;


gw_str_t
gw_cache_fwd_name(gw_cache_fwd_e fwd)
{
    switch (fwd) {

    case GW_FWD_NONE:
        return gw_str("");
    case GW_FWD_BYPASS:
        return gw_str("bypass");
    case GW_FWD_METHOD:
        return gw_str("method");
    case GW_FWD_URI_MISS:
        return gw_str("uri-miss");
    case GW_FWD_VARY_MISS:
        return gw_str("vary-miss");
    case GW_FWD_MISS:
        return gw_str("miss");
    case GW_FWD_REQUEST:
        return gw_str("request");
    case GW_FWD_STALE:
        return gw_str("stale");
    case GW_FWD_PARTIAL:
        return gw_str("partial");
    }

    return gw_str("");
}


static void
put(text_t *t, gw_str_t s)
{
    if (s.len > t->size - t->len) {
        t->full = true;
        return;
    }

    if (s.len > 0) {
        memcpy(t->data + t->len, s.data, s.len);
    }

    t->len += s.len;
}


/* A token of structured fields, or a string (RFC 8941, 3.3.3, 3.3.4). */
static void
put_name(text_t *t, gw_str_t s)
{
    size_t i;
    unsigned char c;

    if (gw_http_token(s)
        && ((s.data[0] | 0x20) >= 'a' && (s.data[0] | 0x20) <= 'z'
            && s.data[0] >= 'A'))
    {
        put(t, s);
        return;
    }

    put(t, gw_str("\""));

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (c == '"' || c == '\\') {
            put(t, gw_str("\\"));
        }

        if (c < 0x20 || c > 0x7e) {
            put(t, gw_str("?"));
        } else {
            put(t, (gw_str_t){ s.data + i, 1 });
        }
    }

    put(t, gw_str("\""));
}


static void
put_number(text_t *t, int64_t n)
{
    int len;
    char text[24];

    /* integers have 15 digits (RFC 8941, 3.3.1) */
    n = n > INT64_C(999999999999999) ? INT64_C(999999999999999)
        : n < INT64_C(-999999999999999) ? INT64_C(-999999999999999) : n;

    len = snprintf(text, sizeof(text), "%lld", (long long) n);
    put(t, (gw_str_t){ (unsigned char *) text, (size_t) len });
}


size_t
gw_cache_status_write(unsigned char *out, size_t size,
    const gw_cache_status_t *s)
{
    text_t t;

    t = (text_t){ out, size, 0, false };

    put_name(&t, s->cache);

    if (s->hit) {
        put(&t, gw_str("; hit"));

    } else if (s->fwd != GW_FWD_NONE) {
        put(&t, gw_str("; fwd="));
        put(&t, gw_cache_fwd_name(s->fwd));

        if (s->fwd_status != 0) {
            put(&t, gw_str("; fwd-status="));
            put_number(&t, s->fwd_status);
        }
    }

    if (s->has_ttl) {
        put(&t, gw_str("; ttl="));
        put_number(&t, s->ttl);
    }

    /* both only mean something of a request that went on (2.5, 2.6) */
    if (s->stored && !s->hit) {
        put(&t, gw_str("; stored"));
    }

    if (s->collapsed && !s->hit) {
        put(&t, gw_str("; collapsed"));
    }

    if (s->detail.len > 0) {
        put(&t, gw_str("; detail="));
        put_name(&t, s->detail);
    }

    return t.full ? 0 : t.len;
}
