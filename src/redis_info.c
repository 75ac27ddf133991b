/*
 * The answer to Redis's INFO.
 */

#include "redis_info.h"

#include <string.h>


int
gw_redis_info(gw_str_t text, const char *name, gw_str_t *value)
{
    size_t len = strlen(name);
    const unsigned char *p = text.data, *last = p + text.len, *end;

    for (; p < last; p = end + 1) {
        end = memchr(p, '\n', (size_t) (last - p));

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) <= len || memcmp(p, name, len) != 0
            || p[len] != ':')
        {
            if (end == last) {
                break;
            }
            continue;
        }

        value->data = p + len + 1;
        value->len = (size_t) (end - value->data);

        if (value->len && value->data[value->len - 1] == '\r') {
            value->len--;
        }

        return GW_OK;
    }

    return GW_DECLINED;
}
