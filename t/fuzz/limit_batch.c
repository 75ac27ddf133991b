/*
 * Batches of other nodes: whatever is in them, a window never counts more
 * than its limit, its sums are right, and nothing takes long.
 *
 * Input: 4 bytes for rate and load, then the batch.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/limit_batch.h"

#define START 1767225600123u


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static void
check_key(const gw_window_rate_t *rate, const gw_window_t *w,
    const gw_share_t *share)
{
    unsigned i, units;

    units = 0;

    for (i = 0; i < GW_WINDOW_SLOTS; i++) {
        units += w->counts[i];
    }

    check(units == w->units);
    check(w->credit < rate->unit);
    check(units * (uint64_t) rate->unit - w->credit <= rate->limit);
    check(share->owed <= rate->limit);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t now, step, digest[2];
    gw_share_t share;
    gw_window_t w;
    gw_window_rate_t rate;
    gw_share_delta_t delta, told;
    gw_share_round_t round;
    gw_limit_batch_t batch;
    gw_window_state_t state;

    static const uint32_t limits[] = { 1, 10, 254, 255, 1000000,
                                       GW_WINDOW_LIMIT_MAX };
    static const uint64_t periods[] = { 100, 1000, 60000,
                                        GW_WINDOW_PERIOD_MAX };

    if (size < 4) {
        return 0;
    }

    gw_window_rate_init(&rate, limits[data[0] % 6], periods[data[1] % 4]);
    step = 1ull << data[2] % 40;
    now = START;

    memset(&w, 0, sizeof(w));
    memset(&share, 0, sizeof(share));
    gw_share_round_init(&round, rate.period, data[3] + 10);

    if (gw_limit_batch_open(&batch, data + 4, size - 4) != GW_OK) {
        return 0;
    }

    while (gw_limit_batch_next(&batch, digest, &delta) == GW_OK) {
        gw_share_hear(&rate, &w, &share, &round, now, &delta);
        check_key(&rate, &w, &share);

        if (gw_share_check(&rate, &w, &share, &round, now,
                           (uint32_t) digest[0])
            == GW_OK)
        {
            gw_share_take(&rate, &w, &share, now, (uint32_t) digest[0]);
            check_key(&rate, &w, &share);

            if (digest[0] >> 63) {
                gw_share_refund(&rate, &w, &share, now, now,
                                (uint32_t) digest[0]);
                check_key(&rate, &w, &share);
            }
        }

        gw_share_state(&rate, &w, &share, &round, 100, now,
                       (uint32_t) digest[1], &state);
        check(state.remaining <= rate.limit);

        if (digest[1] >> 63) {
            gw_share_round_begin(&round);
            round.known = digest[1] >> 62 & 1;

            if (gw_share_tell(&rate, &w, &share, &round, 200, now, &told)
                == GW_OK)
            {
                check(told.count != 0);
            }
        }

        now += digest[1] % step;
    }

    return 0;
}
