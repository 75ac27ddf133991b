#include <string.h>

#include "redis_reply.h"
#include "redis_slot.h"


/* Cuts the first word and the blank after it off the text. */
static gw_str_t
cut_word(gw_str_t *text)
{
    gw_str_t word;
    const unsigned char *blank;

    word = *text;
    blank = text->len > 0 ? memchr(text->data, ' ', text->len) : NULL;

    if (blank != NULL) {
        word.len = blank - text->data;
        text->data = blank + 1;
        text->len -= word.len + 1;

    } else {
        text->len = 0;
    }

    return word;
}


int
gw_redis_number(gw_str_t text, int64_t max, int64_t *n)
{
    size_t i;
    int64_t value, digit;

    if (text.len == 0 || (text.data[0] == '0' && text.len > 1)) {
        return GW_ERROR;
    }

    value = 0;

    for (i = 0; i < text.len; i++) {
        digit = text.data[i] - '0';

        if (digit < 0 || digit > 9 || digit > max
            || value > (max - digit) / 10)
        {
            return GW_ERROR;
        }

        value = value * 10 + digit;
    }

    *n = value;

    return GW_OK;
}


int
gw_redis_host_check(gw_redis_host_t *host, gw_str_t name, int64_t port)
{
    size_t i;
    unsigned char c;

    if (port < 1 || port > 65535 || name.len > GW_REDIS_HOST_MAX) {
        return GW_ERROR;
    }

    host->host = name;
    host->port = port;
    host->ipv6 = name.len > 0 && memchr(name.data, ':', name.len) != NULL;

    for (i = 0; i < name.len; i++) {
        c = name.data[i];

        if (!((c >= '0' && c <= '9')
              || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
              || c == '-' || c == '.' || c == '_' || c == ':'))
        {
            return GW_ERROR;
        }
    }

    return GW_OK;
}


int
gw_redis_host_parse(gw_redis_host_t *host, gw_str_t text)
{
    size_t n;
    int64_t port;
    gw_str_t name, digits;

    for (n = text.len; n > 0 && text.data[n - 1] != ':'; n--) { /* void */ }

    if (n == 0) {
        return GW_ERROR;
    }

    name.data = text.data;
    name.len = n - 1;
    digits.data = text.data + n;
    digits.len = text.len - n;

    if (gw_redis_number(digits, 65535, &port) != GW_OK) {
        return GW_ERROR;
    }

    return gw_redis_host_check(host, name, port);
}


/* "3999 127.0.0.1:6381" */
static void
parse_redirect(gw_redis_error_t *error, gw_str_t text)
{
    int64_t slot;

    if (gw_redis_number(cut_word(&text), GW_REDIS_SLOTS - 1, &slot) != GW_OK) {
        error->kind = GW_REDIS_OTHER;
        return;
    }

    error->slot = slot;

    if (gw_redis_host_parse(&error->host, text) != GW_OK) {
        memset(&error->host, 0, sizeof(error->host));
    }
}


void
gw_redis_error_parse(gw_redis_error_t *error, gw_str_t text)
{
    size_t i;
    gw_str_t word;

    static const struct {
        gw_str_t word;
        gw_redis_error_e kind;
    } kinds[] = {
        { gw_str("MOVED"), GW_REDIS_MOVED },
        { gw_str("ASK"), GW_REDIS_ASK },
        { gw_str("TRYAGAIN"), GW_REDIS_TRYAGAIN },
        { gw_str("CLUSTERDOWN"), GW_REDIS_CLUSTERDOWN },
    };

    memset(error, 0, sizeof(*error));

    word = cut_word(&text);

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (word.len == kinds[i].word.len
            && memcmp(word.data, kinds[i].word.data, word.len) == 0)
        {
            error->kind = kinds[i].kind;
        }
    }

    if (error->kind == GW_REDIS_MOVED || error->kind == GW_REDIS_ASK) {
        parse_redirect(error, text);
    }
}
