/*
 * Errors of Redis, addresses in them, and the slots of keys.
 *
 * Input: the text.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/redis_reply.h"
#include "../../src/redis_slot.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static void
check_host(const gw_redis_host_t *host, gw_str_t text)
{
    check(host->port != 0 && host->host.len <= GW_REDIS_HOST_MAX);
    check(host->host.len == 0
          || (host->host.data >= text.data
              && host->host.data + host->host.len <= text.data + text.len));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t n;
    gw_str_t text;
    gw_redis_host_t host;
    gw_redis_error_t error;

    text.data = data;
    text.len = size;

    check(gw_redis_slot(text) < GW_REDIS_SLOTS);

    gw_redis_error_parse(&error, text);
    check(error.slot < GW_REDIS_SLOTS);

    if (error.host.port != 0) {
        check(error.kind == GW_REDIS_MOVED || error.kind == GW_REDIS_ASK);
        check_host(&error.host, text);
    }

    if (gw_redis_host_parse(&host, text) == GW_OK) {
        check_host(&host, text);
    }

    if (gw_redis_number(text, 12345, &n) == GW_OK) {
        check(n >= 0 && n <= 12345);
    }

    return 0;
}
