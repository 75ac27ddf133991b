/*
 * Redis's INFO: a value is within the text, behind its name, and of one line.
 *
 * Input: the text.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/redis_info.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;
    gw_str_t text = { data, size }, value;

    static const char *names[] = { "run_id", "role", "a", "" };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (gw_redis_info(text, names[i], &value) != GW_OK) {
            continue;
        }

        if (value.data < data + strlen(names[i]) + 1
            || value.data + value.len > data + size
            || value.data[-1] != ':'
            || (value.len && memchr(value.data, '\n', value.len)))
        {
            abort();
        }
    }

    return 0;
}
