#include "retry.h"

#define YEAR 31536000u /* seconds */


uint64_t
gw_retry_delay(const gw_retry_backoff_t *backoff, uint32_t k, uint64_t asked,
    uint32_t random)
{
    uint64_t delay, spread;

    delay = backoff->backoff;

    /* stops at max, so it does not overflow however many there are */

    while (k > 1 && delay > 0 && delay < backoff->max) {
        delay *= 2;
        k--;
    }

    if (delay > backoff->max) {
        delay = backoff->max;
    }

    spread = delay * backoff->jitter / 100;
    delay = delay - spread + random % (2 * spread + 1);

    if (delay < asked) {
        delay = asked;
    }

    return delay < backoff->max ? delay : backoff->max;
}


int
gw_retry_after(gw_str_t value, uint64_t *ms)
{
    size_t i;
    uint64_t seconds;

    if (value.len == 0) {
        return GW_DECLINED;
    }

    seconds = 0;

    for (i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return GW_DECLINED;
        }

        seconds = seconds * 10 + (value.data[i] - '0');

        if (seconds > YEAR) {
            seconds = YEAR;
        }
    }

    *ms = seconds * 1000;

    return GW_OK;
}


/* Forgets what is older than the window; the slice of now. */
static gw_retry_count_t *
budget_slice(gw_retry_budget_t *budget, uint64_t now)
{
    uint64_t slice;
    unsigned n;
    gw_retry_count_t *count;

    slice = now / GW_RETRY_SLICE;

    for (n = 0; budget->slice < slice && n < GW_RETRY_SLICES; n++) {
        budget->slice++;

        count = &budget->slices[budget->slice % GW_RETRY_SLICES];

        budget->sum.requests -= count->requests;
        budget->sum.retries -= count->retries;

        *count = (gw_retry_count_t){ 0, 0 };
    }

    /* after a long pause, where all slices were emptied */

    if (budget->slice < slice) {
        budget->slice = slice;
    }

    return &budget->slices[budget->slice % GW_RETRY_SLICES];
}


void
gw_retry_budget_request(gw_retry_budget_t *budget, uint64_t now)
{
    budget_slice(budget, now)->requests++;
    budget->sum.requests++;
}


bool
gw_retry_budget_take(gw_retry_budget_t *budget, uint64_t now,
    uint32_t percent)
{
    uint64_t allowed;
    gw_retry_count_t *count;

    count = budget_slice(budget, now);
    allowed = (uint64_t) budget->sum.requests * percent / 100;

    if (budget->sum.retries >= GW_RETRY_FREE
        && budget->sum.retries >= allowed)
    {
        return false;
    }

    count->retries++;
    budget->sum.retries++;

    return true;
}
