/*
 * HTTP dates (RFC 9110, 5.6.7).
 */

#ifndef GW_HTTP_DATE_H_INCLUDED
#define GW_HTTP_DATE_H_INCLUDED

#include "gw.h"

#define GW_NO_DATE INT64_MIN
#define GW_HTTP_DATE_LEN 29

/*
 * Unix seconds, or GW_NO_DATE. The three forms: IMF-fixdate, RFC 850 (two
 * digits of the year: the latest that is not more than 50 years after
 * `now`, Unix seconds), asctime. Names in any case, else exactly as the
 * grammar has it; the day of the week need not be the right one. Years from
 * 1601 on.
 */
int64_t gw_http_date_parse(gw_str_t s, int64_t now);

/* IMF-fixdate, GW_HTTP_DATE_LEN bytes; t is cut to the years 1601 to 9999. */
void gw_http_date_write(unsigned char *out, int64_t t);

#endif /* GW_HTTP_DATE_H_INCLUDED */
