/*
 * The answer to Redis's INFO: lines "name:value", sections "# Name", and empty
 * lines, each ended by CR LF.
 */

#ifndef GW_REDIS_INFO_H_INCLUDED
#define GW_REDIS_INFO_H_INCLUDED

#include "gw.h"

/* The value of the first line of that name: GW_OK, or GW_DECLINED where there
 * is none. It points into the text. */
int gw_redis_info(gw_str_t text, const char *name, gw_str_t *value);

#endif /* GW_REDIS_INFO_H_INCLUDED */
