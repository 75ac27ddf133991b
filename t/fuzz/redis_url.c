/*
 * URLs of Redis: what is accepted keeps its bounds, what is shown holds no
 * password.
 *
 * Input: the URL.
 */

#define _GNU_SOURCE /* memmem() */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/redis_url.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static bool
within(gw_str_t s, const unsigned char *from, size_t len)
{
    return s.len == 0 || (s.data >= from && s.data + s.len <= from + len);
}


static void
check_hosts(const gw_redis_url_t *url, gw_str_t text)
{
    size_t i;

    check(url->nhosts <= GW_REDIS_URL_HOSTS);
    check((url->nhosts == 0) == (url->kind == GW_REDIS_UNIX));

    for (i = 0; i < url->nhosts; i++) {
        check(url->hosts[i].port != 0 && url->hosts[i].host.len > 0);
        check(within(url->hosts[i].host, text.data, text.len));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str_t text;
    const char *message;
    gw_redis_url_t url;
    unsigned char *buffer, *shown, *end;

    text.data = data;
    text.len = size;
    buffer = malloc(size + 1);
    shown = malloc(size + 3);
    check(buffer != NULL && shown != NULL);

    end = gw_redis_url_show(shown, text);
    check(end <= shown + size + 3);

    if (gw_redis_url_parse(&url, buffer, text, &message) == GW_OK) {
        check(message == NULL);
        check_hosts(&url, text);
        check(within(url.user, buffer, size));
        check(within(url.password, buffer, size));
        check(within(url.master, buffer, size));
        check(within(url.path, text.data, size));
        check((url.master.len > 0) == (url.kind == GW_REDIS_SENTINEL));
        check((url.path.len > 0) == (url.kind == GW_REDIS_UNIX));
        check(url.path.len <= GW_REDIS_PATH_MAX);
        check(url.password.data == NULL
              || memmem(shown, end - shown, "***@", 4) != NULL);

    } else {
        check(message != NULL && message[0] != '\0');
    }

    free(shown);
    free(buffer);

    return 0;
}
