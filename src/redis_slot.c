#include <string.h>

#include "redis_slot.h"


/* Polynomial 0x1021, begun with 0, four bits at a time. */
static uint16_t
crc16(gw_str_t s)
{
    size_t i;
    uint16_t crc;

    static const uint16_t table[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef
    };

    crc = 0;

    for (i = 0; i < s.len; i++) {
        crc = crc << 4 ^ table[crc >> 12 ^ s.data[i] >> 4];
        crc = crc << 4 ^ table[crc >> 12 ^ (s.data[i] & 15)];
    }

    return crc;
}


uint16_t
gw_redis_slot(gw_str_t key)
{
    gw_str_t tag;
    const unsigned char *open, *close;

    tag = key;
    open = key.len > 0 ? memchr(key.data, '{', key.len) : NULL;

    if (open != NULL) {
        open++;
        close = memchr(open, '}', key.data + key.len - open);

        if (close != NULL && close > open) {
            tag.data = open;
            tag.len = close - open;
        }
    }

    return crc16(tag) % GW_REDIS_SLOTS;
}
