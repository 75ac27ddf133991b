/*
 * What a node tells the others of its limits' keys.
 */

#include "limit_batch.h"

#include <string.h>

#include "bytes.h"


unsigned char *
gw_limit_batch_begin(unsigned char *buf, const unsigned char *node,
    uint64_t number)
{
    *buf++ = GW_LIMIT_BATCH_VERSION;
    memcpy(buf, node, GW_LIMIT_BATCH_NODE);

    return gw_put_le(buf + GW_LIMIT_BATCH_NODE, number, 8);
}


unsigned char *
gw_limit_batch_put(unsigned char *p, const uint64_t digest[2],
    const gw_share_delta_t *delta)
{
    p = gw_put_le(p, digest[0], 8);
    p = gw_put_le(p, digest[1], 8);
    p = gw_put_le(p, (uint32_t) delta->count, 4);

    return gw_put_le(p, delta->age, 4);
}


int
gw_limit_batch_open(gw_limit_batch_t *batch, const unsigned char *data,
    size_t len)
{
    if (len < GW_LIMIT_BATCH_HEAD || len > GW_LIMIT_BATCH_SIZE
        || (len - GW_LIMIT_BATCH_HEAD) % GW_LIMIT_BATCH_DELTA
        || data[0] != GW_LIMIT_BATCH_VERSION)
    {
        return GW_ERROR;
    }

    batch->node = data + 1;
    batch->number = gw_get_le(data + 1 + GW_LIMIT_BATCH_NODE, 8);
    batch->p = data + GW_LIMIT_BATCH_HEAD;
    batch->end = data + len;

    return GW_OK;
}


int
gw_limit_batch_next(gw_limit_batch_t *batch, uint64_t digest[2],
    gw_share_delta_t *delta)
{
    const unsigned char *p;

    p = batch->p;

    if (p == batch->end) {
        return GW_DECLINED;
    }

    digest[0] = gw_get_le(p, 8);
    digest[1] = gw_get_le(p + 8, 8);
    delta->count = (int32_t) (uint32_t) gw_get_le(p + 16, 4);
    delta->age = (uint32_t) gw_get_le(p + 20, 4);

    batch->p += GW_LIMIT_BATCH_DELTA;

    return GW_OK;
}


void
gw_limit_batch_age(unsigned char *data, size_t len, uint64_t ms)
{
    uint64_t age;
    unsigned char *p, *end;

    end = data + len;

    for (p = data + GW_LIMIT_BATCH_HEAD; p != end;
         p += GW_LIMIT_BATCH_DELTA)
    {
        age = gw_get_le(p + 20, 4) + ms;
        (void) gw_put_le(p + 20, age < UINT32_MAX ? age : UINT32_MAX, 4);
    }
}
