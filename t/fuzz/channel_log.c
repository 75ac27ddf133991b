/*
 * A channel's log under any sequence of operations: appends of all shapes and
 * sizes, with and without memory, readers that come, lag and leave, trims,
 * restarts. A model says what each of them must see.
 *
 * Input: operations as model_step() reads them.
 */

#include <stdint.h>
#include <stdlib.h>

#define CHECK(condition) ((condition) ? (void) 0 : abort())

#include "../unit/log_model.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_run(data, size);

    return 0;
}
