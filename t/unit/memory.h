/*
 * An allocator that counts what it gives, and fails when told; bytes for
 * tests that have to look random but be the same each time.
 */

#ifndef MEMORY_H_INCLUDED
#define MEMORY_H_INCLUDED

#include <stdlib.h>
#include <string.h>

#include "../../src/gw.h"

typedef struct {
    size_t blocks; /* given and not yet back */
    size_t bytes;
    size_t fail;   /* the call that fails, 1: the next one; 0: none */
} memory_t;

typedef struct {
    size_t size;
    size_t check;
} memory_block_t;


static inline void *
memory_alloc(void *ctx, size_t size)
{
    memory_t *m;
    memory_block_t *b;

    m = ctx;

    if (m->fail > 0 && --m->fail == 0) {
        return NULL;
    }

    b = malloc(sizeof(*b) + size);
    if (b == NULL) {
        abort();
    }

    b->size = size;
    b->check = size ^ (size_t) b;
    memset(b + 1, 0xa5, size);

    m->blocks++;
    m->bytes += size;

    return b + 1;
}


/* What is freed is spoiled, so that a late look at it shows. */
static inline void
memory_free(void *ctx, void *p)
{
    memory_t *m;
    memory_block_t *b;

    m = ctx;
    b = (memory_block_t *) p - 1;

    if (b->check != (b->size ^ (size_t) b)) {
        abort();
    }

    m->blocks--;
    m->bytes -= b->size;

    memset(b, 0x5a, sizeof(*b) + b->size);
    free(b);
}


static inline gw_alloc_t
memory_allocator(memory_t *m)
{
    memset(m, 0, sizeof(*m));

    return (gw_alloc_t){ memory_alloc, memory_free, m };
}


/* xorshift64*; the state must not be 0. */
static inline uint32_t
random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;

    return *state * 2685821657736338717u >> 32;
}


static inline void
random_fill(uint64_t *state, void *p, size_t n)
{
    size_t i;
    unsigned char *to;

    for (to = p, i = 0; i < n; i++) {
        to[i] = random_next(state);
    }
}

#endif /* MEMORY_H_INCLUDED */
