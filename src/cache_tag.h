/*
 * Tags of cached objects, and patterns of a purge.
 */

#ifndef GW_CACHE_TAG_H_INCLUDED
#define GW_CACHE_TAG_H_INCLUDED

#include "gw.h"

#define GW_CACHE_TAG_MAX 255 /* bytes of one tag */

/*
 * Cuts the next tag off a list that commas, blanks or both separate. Case
 * counts. Tags that are too long or have bytes outside of visible ASCII and
 * UTF-8's upper half are passed over. false: no more.
 */
bool gw_cache_tag_next(gw_str_t *list, gw_str_t *tag);

/*
 * Whether the pattern matches the whole key: `*` any bytes, also none;
 * everything else itself. Time is linear in both lengths.
 */
bool gw_cache_glob(gw_str_t pattern, gw_str_t key);

#endif /* GW_CACHE_TAG_H_INCLUDED */
