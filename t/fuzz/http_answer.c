/*
 * Answers to health checks: fed at once and in pieces they come to the same,
 * and never to more bytes than the limits allow.
 *
 * Input: the size of a piece, then the answer.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/http_answer.h"


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


/* Returns the result; *total: bytes that were used. */
static int
feed(gw_http_answer_t *a, const uint8_t *data, size_t size, size_t piece,
    size_t *total)
{
    int rc;
    size_t n, used;
    uint8_t *copy;

    memset(a, 0, sizeof(*a));
    rc = GW_AGAIN;

    for (*total = 0; *total < size && rc == GW_AGAIN; *total += used) {
        n = size - *total < piece ? size - *total : piece;

        /* a copy of just that size, so that a byte too far is seen */
        copy = malloc(n);
        check(copy != NULL);
        memcpy(copy, data + *total, n);

        rc = gw_http_answer_feed(a, copy, n, &used);
        free(copy);

        check(used <= n && (rc != GW_AGAIN || used == n));
    }

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int rc, other;
    size_t piece, total, used;
    gw_http_answer_t a, b;

    if (size == 0) {
        return 0;
    }

    piece = data[0] % 16 + 1;
    data++;
    size--;

    rc = feed(&a, data, size, size + 1, &total);
    other = feed(&b, data, size, piece, &used);

    check(rc == other && total == used);
    check(total <= GW_HTTP_ANSWER_HEAD + GW_HTTP_ANSWER_BODY + size);

    if (rc == GW_AGAIN) {
        rc = gw_http_answer_end(&a);
        check(gw_http_answer_end(&b) == rc);
        check(!a.keep && !b.keep);
    }

    if (rc == GW_OK) {
        check(a.status >= 200 && a.status <= 999);
        check(a.status == b.status && a.keep == b.keep);
    }

    return 0;
}
