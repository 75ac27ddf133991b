/*
 * Requests to revoke, and the words of other nodes. Input: the text of
 * either.
 */

#include <stdlib.h>
#include <string.h>

#include "../../src/revocation.h"

#define NOW INT64_C(1800000000000)


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static void
written_and_read_it_is_the_same(const gw_revocation_t *r)
{
    unsigned char buf[GW_REVOCATION_WORD_MAX];
    gw_revocation_t back;
    gw_str_t text;

    text.data = buf;
    text.len = (size_t) (gw_revocation_encode(buf, r) - buf);

    check(text.len <= sizeof(buf));
    check(gw_revocation_decode(&text, &back) == GW_OK);
    check(text.len == 0);
    check(memcmp(back.digest, r->digest, sizeof(back.digest)) == 0
          && back.before == r->before && back.until == r->until);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int rc;
    const char *why;
    gw_str_t text;
    gw_revocation_t r;

    text.data = data;
    text.len = size;

    why = NULL;

    if (gw_revocation_parse(text, NOW, &r, &why) == GW_OK) {
        check(r.before >= 0 && r.before <= GW_REVOCATION_TIME_MAX);
        check(r.until >= 0 && r.until <= GW_REVOCATION_TIME_MAX);
        written_and_read_it_is_the_same(&r);

    } else {
        check(why != NULL);
    }

    for ( ;; ) {
        rc = gw_revocation_decode(&text, &r);

        if (rc == GW_AGAIN) {
            break;
        }

        if (rc == GW_OK) {
            written_and_read_it_is_the_same(&r);
        }
    }

    return 0;
}
