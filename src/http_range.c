#include <string.h>

#include "http_range.h"
#include "cache_validate.h"


/* Digits at the start; *n becomes at most UINT64_MAX. Returns how many. */
static size_t
number(gw_str_t s, uint64_t *n)
{
    size_t i;
    unsigned digit;

    *n = 0;

    for (i = 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
        digit = s.data[i] - '0';
        *n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *n * 10 + digit;
    }

    return i;
}


gw_range_e
gw_range_parse(gw_range_t *range, gw_str_t value, uint64_t size)
{
    size_t n;
    uint64_t first, last;
    gw_str_t spec, more;

    value = gw_http_trim(value);

    if (value.len < 6
        || !gw_field_is((gw_str_t){ value.data, 6 }, gw_str("bytes=")))
    {
        return GW_RANGE_WHOLE;
    }

    value.data += 6;
    value.len -= 6;

    if (!gw_member_cut(&value, &spec) || gw_member_cut(&value, &more)) {
        return GW_RANGE_WHOLE;
    }

    n = number(spec, &first);

    if (n == spec.len || spec.data[n] != '-') {
        return GW_RANGE_WHOLE;
    }

    spec.data += n + 1;
    spec.len -= n + 1;

    if (number(spec, &last) != spec.len || (n == 0 && spec.len == 0)) {
        return GW_RANGE_WHOLE;
    }

    if (n == 0) {
        /* the last bytes */
        if (last == 0 || size == 0) {
            return GW_RANGE_UNSATISFIABLE;
        }

        range->first = last < size ? size - last : 0;
        range->last = size - 1;
        return GW_RANGE_PART;
    }

    if (spec.len > 0 && last < first) {
        return GW_RANGE_WHOLE;
    }

    if (first >= size) {
        return GW_RANGE_UNSATISFIABLE;
    }

    range->first = first;
    range->last = spec.len == 0 || last >= size ? size - 1 : last;

    return GW_RANGE_PART;
}


/* RFC 9110, 13.1.5 */
static bool
if_range(gw_str_t value, const gw_cache_meta_t *meta, gw_fields_t stored,
    int64_t now)
{
    int64_t date;
    gw_etag_t etag;

    value = gw_http_trim(value);
    date = gw_http_date_parse(value, now / 1000);

    if (date == GW_NO_DATE) {
        etag = gw_etag_parse(value);

        return gw_etag_equal_strong(etag, gw_etag_parse(
                                    gw_field_find(stored, gw_str("ETag"))));
    }

    /* strong: it could not have changed again within that second
       (8.8.2.2) */
    return meta->last_modified != GW_NO_DATE && date == meta->last_modified
           && meta->last_modified < meta->date;
}


gw_range_e
gw_range_select(gw_range_t *range, const gw_cache_request_t *req,
    gw_fields_t request, const gw_cache_meta_t *meta, gw_fields_t stored,
    uint64_t size, int64_t now)
{
    gw_str_t value;

    if (!req->range || meta->status != 200) {
        return GW_RANGE_WHOLE;
    }

    value = gw_field_find(request, gw_str("If-Range"));

    if (value.data != NULL && !if_range(value, meta, stored, now)) {
        return GW_RANGE_WHOLE;
    }

    return gw_range_parse(range, gw_field_find(request, gw_str("Range")),
                          size);
}


static unsigned char *
put_number(unsigned char *p, uint64_t n)
{
    size_t i;
    unsigned char digits[20];

    i = sizeof(digits);

    do {
        digits[--i] = (unsigned char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    memcpy(p, digits + i, sizeof(digits) - i);

    return p + sizeof(digits) - i;
}


size_t
gw_range_write(unsigned char *out, const gw_range_t *range, uint64_t size)
{
    unsigned char *p;

    memcpy(out, "bytes ", 6);
    p = out + 6;

    if (range != NULL) {
        p = put_number(p, range->first);
        *p++ = '-';
        p = put_number(p, range->last);

    } else {
        *p++ = '*';
    }

    *p++ = '/';

    return put_number(p, size) - out;
}
