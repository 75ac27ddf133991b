#include <string.h>

#include "envelope.h"


#define MS_PER_DAY 86400000u
#define LAST_MS 253402300799999ull /* 9999-12-31T23:59:59.999Z */


/* Writes n in exactly `digits` digits. */
static unsigned char *
fixed(unsigned char *p, unsigned n, unsigned digits)
{
    unsigned i;

    for (i = digits; i > 0; i--) {
        p[i - 1] = '0' + n % 10;
        n /= 10;
    }

    return p + digits;
}


/*
 * The proleptic Gregorian calendar counted in 400-year eras that begin on
 * 1 March, so that the leap day is the last of its year.
 */
unsigned char *
gw_timestamp(unsigned char *p, uint64_t ms)
{
    unsigned day, era, doe, yoe, doy, mp, year, month, t;

    if (ms > LAST_MS) {
        ms = LAST_MS;
    }

    day = ms / MS_PER_DAY + 719468;
    t = ms % MS_PER_DAY;

    era = day / 146097;
    doe = day % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;

    month = mp < 10 ? mp + 3 : mp - 9;
    year = yoe + era * 400 + (month <= 2);

    p = fixed(p, year, 4);
    *p++ = '-';
    p = fixed(p, month, 2);
    *p++ = '-';
    p = fixed(p, doy - (153 * mp + 2) / 5 + 1, 2);
    *p++ = 'T';
    p = fixed(p, t / 3600000, 2);
    *p++ = ':';
    p = fixed(p, t / 60000 % 60, 2);
    *p++ = ':';
    p = fixed(p, t / 1000 % 60, 2);
    *p++ = '.';
    p = fixed(p, t % 1000, 3);
    *p++ = 'Z';

    return p;
}


/* Reads exactly `digits` digits at *p and advances; false: there are none. */
static bool
number(const unsigned char **p, const unsigned char *end, unsigned digits,
    unsigned *n)
{
    *n = 0;

    if ((size_t) (end - *p) < digits) {
        return false;
    }

    for (/* void */; digits > 0; digits--, (*p)++) {
        if (**p < '0' || **p > '9') {
            return false;
        }

        *n = *n * 10 + (**p - '0');
    }

    return true;
}


static bool
character(const unsigned char **p, const unsigned char *end, char c)
{
    /* T and Z may be small letters, RFC 3339 5.6 */

    if (*p == end || (**p != c && (c < 'A' || **p != (c | 0x20)))) {
        return false;
    }

    (*p)++;

    return true;
}


/* The fraction of a second in ms: digits beyond the third are cut off. */
static bool
fraction(const unsigned char **p, const unsigned char *end, unsigned *ms)
{
    unsigned scale;
    const unsigned char *start;

    *ms = 0;

    if (*p == end || **p != '.') {
        return true;
    }

    start = ++*p;

    for (scale = 100; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        *ms += scale * (**p - '0');
        scale /= 10;
    }

    return *p > start;
}


/* Z, or hours and minutes east of UTC; in minutes. */
static bool
offset(const unsigned char **p, const unsigned char *end, int *minutes)
{
    int sign;
    unsigned h, m;

    *minutes = 0;

    if (character(p, end, 'Z')) {
        return true;
    }

    if (*p == end || (**p != '+' && **p != '-')) {
        return false;
    }

    sign = *(*p)++ == '-' ? -1 : 1;

    if (!number(p, end, 2, &h) || *p == end || *(*p)++ != ':'
        || !number(p, end, 2, &m) || h > 23 || m > 59)
    {
        return false;
    }

    *minutes = sign * (int) (h * 60 + m);

    return true;
}


/* Days since 1970 of a date in the same calendar as above. */
static int64_t
days(unsigned year, unsigned month, unsigned day)
{
    unsigned yoe, doy;

    year -= month <= 2;
    yoe = year % 400;
    doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return (int64_t) (year / 400) * 146097 + yoe * 365 + yoe / 4 - yoe / 100
           + doy - 719468;
}


static unsigned
days_of_month(unsigned year, unsigned month)
{
    bool leap;

    if (month == 2) {
        leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        return leap ? 29 : 28;
    }

    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}


uint64_t
gw_timestamp_parse(gw_str_t s)
{
    int east;
    int64_t ms;
    unsigned f[6], frac;
    const unsigned char *p, *end;

    p = s.data;
    end = p + s.len;

    if (!number(&p, end, 4, &f[0]) || !character(&p, end, '-')
        || !number(&p, end, 2, &f[1]) || !character(&p, end, '-')
        || !number(&p, end, 2, &f[2]) || !character(&p, end, 'T')
        || !number(&p, end, 2, &f[3]) || !character(&p, end, ':')
        || !number(&p, end, 2, &f[4]) || !character(&p, end, ':')
        || !number(&p, end, 2, &f[5]) || !fraction(&p, end, &frac)
        || !offset(&p, end, &east) || p != end)
    {
        return 0;
    }

    if (f[0] < 1969 || f[1] < 1 || f[1] > 12
        || f[2] < 1 || f[2] > days_of_month(f[0], f[1])
        || f[3] > 23 || f[4] > 59 || f[5] > 60)
    {
        return 0;
    }

    ms = ((days(f[0], f[1], f[2]) * 24 + f[3]) * 60 + f[4] - east) * 60;
    ms = (ms + f[5]) * 1000 + frac;

    return ms > 0 ? ms : 0;
}


unsigned char *
gw_uint(unsigned char *p, uint64_t n)
{
    unsigned char buf[GW_UINT_LEN], *q;

    q = buf + sizeof(buf);

    do {
        *--q = '0' + n % 10;
        n /= 10;
    } while (n > 0);

    return gw_copy(p, (gw_str_t){ q, buf + sizeof(buf) - q });
}


unsigned char *
gw_copy(unsigned char *p, gw_str_t s)
{
    if (s.len > 0) {
        memcpy(p, s.data, s.len);
    }

    return p + s.len;
}
