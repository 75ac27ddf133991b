/*
 * The slot of a key in a Redis Cluster: CRC-16/XMODEM of the key, or of what
 * stands between its first "{" and the first "}" after it, unless that is
 * empty.
 */

#ifndef GW_REDIS_SLOT_H_INCLUDED
#define GW_REDIS_SLOT_H_INCLUDED

#include "gw.h"

#define GW_REDIS_SLOTS 16384

/* 0 to GW_REDIS_SLOTS - 1. */
uint16_t gw_redis_slot(gw_str_t key);

#endif /* GW_REDIS_SLOT_H_INCLUDED */
