/*
 * Times as clients write them, compared with a second reading of RFC 3339,
 * and what is read written and read again.
 *
 * Input: the text.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../src/envelope.h"

#define LAST 253402300799999u /* 9999-12-31T23:59:59.999Z */


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


/* The text as a pattern: digits become 0, T and Z capitals. */
static void
shape_of(char *shape, const char *text, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        shape[i] = text[i] >= '0' && text[i] <= '9' ? '0'
                   : text[i] == 't' || text[i] == 'z' ? text[i] - 32
                   : text[i];
    }

    shape[n] = '\0';
}


static uint64_t
reference(const char *text, size_t n)
{
    int east, ms, h, m;
    size_t i, k;
    int64_t t;
    struct tm tm, same;
    char shape[256];

    if (n >= sizeof(shape) || memchr(text, 0, n) != NULL) {
        return 0;
    }

    shape_of(shape, text, n);

    if (strncmp(shape, "0000-00-00T00:00:00", 19) != 0) {
        return 0;
    }

    memset(&tm, 0, sizeof(tm));
    check(sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
                 &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) == 6);

    i = 19;
    ms = 0;

    if (shape[i] == '.') {
        i++;
        k = strspn(shape + i, "0");

        if (k == 0) {
            return 0;
        }

        for (m = 100; k > 0; k--, m /= 10) {
            ms += m * (text[i++] - '0');
        }
    }

    east = 0;

    if (strcmp(shape + i, "+00:00") == 0 || strcmp(shape + i, "-00:00") == 0) {
        check(sscanf(text + i + 1, "%2d:%2d", &h, &m) == 2);
        east = (h * 60 + m) * (text[i] == '-' ? -60 : 60);

        if (h > 23 || m > 59) {
            return 0;
        }

    } else if (strcmp(shape + i, "Z") != 0) {
        return 0;
    }

    if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60) {
        return 0;
    }

    /* timegm() takes 31 February for 3 March */
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    same = tm;
    same.tm_hour = same.tm_min = same.tm_sec = 0;
    t = timegm(&same);

    if (same.tm_mday != tm.tm_mday || same.tm_mon != tm.tm_mon) {
        return 0;
    }

    t += tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec - east;
    t = t * 1000 + ms;

    return t > 0 ? t : 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    uint64_t ms;
    gw_str_t s;
    unsigned char out[GW_TIMESTAMP_LEN];

    text = malloc(size + 1);
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';

    s = (gw_str_t){ data, size };
    ms = gw_timestamp_parse(s);

    if (size < 256) {
        check(ms == reference(text, size));
    }

    if (ms > 0) {
        check(gw_timestamp(out, ms) == out + sizeof(out));
        s = (gw_str_t){ out, sizeof(out) };
        check(gw_timestamp_parse(s) == (ms < LAST ? ms : LAST));
    }

    free(text);

    return 0;
}
