/*
 * What one check costs: a limit's window among many, checked and charged.
 *
 *   limit TIMES [KEYS]
 *
 * Prints ns for each. Under callgrind the difference between two numbers of
 * times is the instructions that they cost.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../src/siphash.h"
#include "../src/sliding_window.h"


static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}


int
main(int argc, char **argv)
{
    int address;
    uint64_t i, times, keys, start, ms, passed, digest[2];
    gw_window_t *windows, *w;
    gw_window_rate_t rate;
    gw_window_state_t state;

    static const uint64_t secret[2] = { 1, 2 };

    times = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    windows = keys ? calloc(keys, sizeof(*windows)) : NULL;

    if (windows == NULL
        || gw_window_rate_init(&rate, 1000000, 1000) != GW_OK)
    {
        fprintf(stderr, "usage: limit TIMES [KEYS]\n");
        return 2;
    }

    passed = 0;
    ms = 1000000000;
    start = now_ns();

    for (i = 0; i < times; i++) {
        /* 100,000 requests a second, as a busy worker's cached clock runs */
        ms += i % 100 == 0;

        address = (int) (i % keys);
        gw_siphash128(secret, &address, sizeof(address), digest);
        w = &windows[digest[0] % keys];

        if (gw_window_check(&rate, w, ms, 1) == GW_OK) {
            gw_window_take(&rate, w, 1);
            passed++;
        }

        gw_window_state(&rate, w, ms, 0, &state);
    }

    if (passed != times) {
        fprintf(stderr, "%llu of %llu passed\n", (unsigned long long) passed,
                (unsigned long long) times);
        return 1;
    }

    printf("%.1f\n",
           times ? (double) (now_ns() - start) / (double) times : 0.0);

    free(windows);

    return 0;
}
