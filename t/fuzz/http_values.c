/*
 * Single values: dates, lists, numbers, tags, and patterns compared with a
 * matcher that follows the definition.
 *
 * Input: a value, a zero byte, another one.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cache_tag.h"
#include "../../src/cache_control.h"
#include "../../src/http_date.h"
#include "../../src/http_range.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


/* reach[j]: what was read of the pattern can match j bytes of the key. */
static bool
reference(gw_str_t p, gw_str_t key)
{
    bool reach[257];
    size_t i, j;

    memset(reach, 0, sizeof(reach));
    reach[0] = true;

    for (i = 0; i < p.len; i++) {

        if (p.data[i] == '*') {
            for (j = 1; j <= key.len; j++) {
                reach[j] = reach[j] || reach[j - 1];
            }

            continue;
        }

        for (j = key.len; j > 0; j--) {
            reach[j] = reach[j - 1] && key.data[j - 1] == p.data[i];
        }

        reach[0] = false;
    }

    return reach[key.len];
}


static void
check_date(gw_str_t s)
{
    int64_t t;
    unsigned char out[GW_HTTP_DATE_LEN];

    t = gw_http_date_parse(s, 1764028800);

    if (t == GW_NO_DATE) {
        return;
    }

    gw_http_date_write(out, t);
    check(gw_http_date_parse((gw_str_t){ out, sizeof(out) }, 0) == t
          || t > INT64_C(253402300799));
}


static void
check_lists(gw_str_t s)
{
    size_t n;
    uint32_t seconds;
    gw_str_t rest, member;
    gw_field_t field;
    gw_cache_control_t cc;

    n = 0;
    rest = s;

    while (gw_member_cut(&rest, &member)) {
        check(member.len > 0 && member.data >= s.data
              && member.data + member.len <= s.data + s.len);
        gw_http_delta(gw_http_unquote(member), &seconds);
        gw_etag_parse(member);
        n += member.len;
    }

    check(n <= s.len);

    rest = s;

    while (gw_cache_tag_next(&rest, &member)) {
        check(member.len > 0 && member.len <= GW_CACHE_TAG_MAX);
    }

    field.name = gw_str("CDN-Cache-Control");
    field.value = s;
    gw_cache_control_response(&cc, (gw_fields_t){ &field, 1 });
    check(cc.max_age == GW_CC_NONE || cc.max_age <= GW_DELTA_MAX);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str_t a, b;
    gw_range_t range;
    const uint8_t *zero;

    zero = size > 0 ? memchr(data, 0, size) : NULL;

    a.data = data;
    a.len = zero != NULL ? (size_t) (zero - data) : size;
    b.data = zero != NULL ? zero + 1 : data + size;
    b.len = zero != NULL ? size - a.len - 1 : 0;

    check_date(a);
    check_lists(a);

    if (gw_range_parse(&range, a, b.len) == GW_RANGE_PART) {
        check(range.first <= range.last && range.last < b.len);
    }

    if (b.len <= 256) {
        check(gw_cache_glob(a, b) == reference(a, b));
    }

    return 0;
}
