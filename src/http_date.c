#include <string.h>

#include "http_date.h"


#define DAY 86400

/* What is still to be read. Each step that does not fit sets `bad`. */
typedef struct {
    const unsigned char *p;
    const unsigned char *end;
    bool bad;
} text_t;

typedef struct {
    unsigned year;
    unsigned month;  /* 0 to 11 */
    unsigned day;    /* 1 to 31 */
    unsigned hour;
    unsigned minute;
    unsigned second;
} moment_t;

static const char days[7][10] = {
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    "Saturday"
};

static const char months[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
    "Nov", "Dec"
};


static bool
starts(const text_t *t, const char *word, size_t n)
{
    size_t i;
    unsigned char c;

    if ((size_t) (t->end - t->p) < n) {
        return false;
    }

    for (i = 0; i < n; i++) {
        c = t->p[i];

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }

        if (c != (word[i] >= 'A' && word[i] <= 'Z' ? word[i] | 0x20 : word[i]))
        {
            return false;
        }
    }

    return true;
}


static void
skip(text_t *t, const char *word)
{
    if (!starts(t, word, strlen(word))) {
        t->bad = true;
        return;
    }

    t->p += strlen(word);
}


static unsigned
digits(text_t *t, unsigned n)
{
    unsigned value;

    value = 0;

    while (n-- > 0) {

        if (t->p == t->end || *t->p < '0' || *t->p > '9') {
            t->bad = true;
            return 0;
        }

        value = value * 10 + (*t->p++ - '0');
    }

    return value;
}


static unsigned
month(text_t *t)
{
    unsigned i;

    for (i = 0; i < 12; i++) {
        if (starts(t, months[i], 3)) {
            t->p += 3;
            return i;
        }
    }

    t->bad = true;
    return 0;
}


static void
clock_time(text_t *t, moment_t *m)
{
    m->hour = digits(t, 2);
    skip(t, ":");
    m->minute = digits(t, 2);
    skip(t, ":");
    m->second = digits(t, 2);
}


/* The rest of "Sun, 06 Nov 1994 08:49:37 GMT". */
static void
imf_fixdate(text_t *t, moment_t *m)
{
    skip(t, ", ");
    m->day = digits(t, 2);
    skip(t, " ");
    m->month = month(t);
    skip(t, " ");
    m->year = digits(t, 4);
    skip(t, " ");
    clock_time(t, m);
    skip(t, " GMT");
}


/* The rest of "Sunday, 06-Nov-94 08:49:37 GMT"; the year is of this
   century. */
static void
rfc850(text_t *t, moment_t *m)
{
    skip(t, ", ");
    m->day = digits(t, 2);
    skip(t, "-");
    m->month = month(t);
    skip(t, "-");
    m->year = 2000 + digits(t, 2);
    skip(t, " ");
    clock_time(t, m);
    skip(t, " GMT");
}


/* The rest of "Sun Nov  6 08:49:37 1994". */
static void
asctime_date(text_t *t, moment_t *m)
{
    skip(t, " ");
    m->month = month(t);
    skip(t, " ");

    if (starts(t, " ", 1)) {
        skip(t, " ");
        m->day = digits(t, 1);

    } else {
        m->day = digits(t, 2);
    }

    skip(t, " ");
    clock_time(t, m);
    skip(t, " ");
    m->year = digits(t, 4);
}


/* Days from 1970-01-01, by eras of 400 years that begin in March. */
static int64_t
days_of(unsigned year, unsigned mon, unsigned day)
{
    unsigned y, of_era, of_year;

    y = mon < 2 ? year - 1 : year;
    of_era = y % 400;
    of_year = (153 * ((mon + 10) % 12) + 2) / 5 + day - 1;

    return (int64_t) (y / 400) * 146097 + of_era * 365 + of_era / 4
           - of_era / 100 + of_year - 719468;
}


static int64_t
seconds_of(const moment_t *m)
{
    static const unsigned char length[12] = {
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };
    bool leap;

    leap = m->year % 4 == 0 && (m->year % 100 != 0 || m->year % 400 == 0);

    /* 60: a leap second */
    if (m->year < 1601 || m->day < 1 || m->day > length[m->month]
        || (m->month == 1 && m->day == 29 && !leap)
        || m->hour > 23 || m->minute > 59 || m->second > 60)
    {
        return GW_NO_DATE;
    }

    return days_of(m->year, m->month, m->day) * DAY + m->hour * 3600
           + m->minute * 60 + m->second;
}


static int64_t
century(moment_t *m, int64_t now)
{
    int64_t t;

    m->year += 400;

    /* 2000 was a leap year, 1900 and 2100 were none: try each year itself */
    do {
        m->year -= 100;
        t = seconds_of(m);
    } while (m->year > 1700
             && (t == GW_NO_DATE || t > now + INT64_C(50) * 31556952));

    return t;
}


int64_t
gw_http_date_parse(gw_str_t s, int64_t now)
{
    size_t len;
    text_t t;
    unsigned day;
    moment_t m;

    if (s.len == 0) {
        return GW_NO_DATE;
    }

    t.p = s.data;
    t.end = s.data + s.len;
    t.bad = false;

    for (day = 0; day < 7; day++) {
        if (starts(&t, days[day], 3)) {
            break;
        }
    }

    if (day == 7) {
        return GW_NO_DATE;
    }

    memset(&m, 0, sizeof(m));
    len = strlen(days[day]);

    if (starts(&t, days[day], len)) {
        t.p += len;
        rfc850(&t, &m);

        return t.bad || t.p != t.end ? GW_NO_DATE : century(&m, now);
    }

    t.p += 3;

    if (t.p < t.end && *t.p == ',') {
        imf_fixdate(&t, &m);

    } else {
        asctime_date(&t, &m);
    }

    return t.bad || t.p != t.end ? GW_NO_DATE : seconds_of(&m);
}


static unsigned char *
put(unsigned char *p, unsigned value, unsigned n)
{
    unsigned i;

    for (i = n; i-- > 0; value /= 10) {
        p[i] = (unsigned char) ('0' + value % 10);
    }

    return p + n;
}


/* A day since 1970-01-01, of the years 1601 to 9999. */
static void
date_of(int64_t day, moment_t *m)
{
    unsigned era, of_era, y, of_year, mp, n;

    n = (unsigned) (day + 719468);
    era = n / 146097;
    of_era = n % 146097;
    y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * y + y / 4 - y / 100);
    mp = (5 * of_year + 2) / 153;

    m->day = of_year - (153 * mp + 2) / 5 + 1;
    m->month = (mp + 2) % 12;
    m->year = era * 400 + y + (m->month < 2);
}


void
gw_http_date_write(unsigned char *out, int64_t t)
{
    int64_t day, low, high;
    unsigned second;
    moment_t m;

    low = days_of(1601, 0, 1) * DAY;
    high = days_of(9999, 11, 31) * DAY + DAY - 1;
    t = t < low ? low : t > high ? high : t;

    /* from 1601, so that the division rounds down */
    day = (t - low) / DAY + low / DAY;
    second = (unsigned) (t - day * DAY);

    date_of(day, &m);

    /* 1970-01-01 was a Thursday */
    memcpy(out, days[(day + 4 + 7 * 60000) % 7], 3);
    memcpy(out + 3, ", ", 2);
    out = put(out + 5, m.day, 2);
    *out++ = ' ';
    memcpy(out, months[m.month], 3);
    out[3] = ' ';
    out = put(out + 4, m.year, 4);
    *out++ = ' ';
    out = put(out, second / 3600, 2);
    *out++ = ':';
    out = put(out, second / 60 % 60, 2);
    *out++ = ':';
    out = put(out, second % 60, 2);
    memcpy(out, " GMT", 4);
}
