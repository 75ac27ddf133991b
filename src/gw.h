/*
 * Common to the whole core.
 *
 * The core is plain C: no nginx header, no I/O, no clock, no global state.
 * Time, randomness and memory come from the caller.
 */

#ifndef GW_H_INCLUDED
#define GW_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#define GW_OK 0
#define GW_ERROR (-1)
#define GW_AGAIN (-2)    /* more input is needed */
#define GW_DECLINED (-3) /* well-formed, but refused or not found */

/* A span of bytes owned by somebody else; not terminated by a zero. */
typedef struct {
    const unsigned char *data;
    size_t len;
} gw_str_t;

#define gw_str(s) ((gw_str_t){ (const unsigned char *) (s), sizeof(s) - 1 })

/*
 * Memory as the caller provides it. Passed to every call that needs it and
 * never stored, because an object in shared memory is used by processes that
 * have the functions at different addresses.
 */
typedef struct {
    void *(*alloc)(void *ctx, size_t size); /* NULL when there is no memory */
    void (*free)(void *ctx, void *p);
    void *ctx;
} gw_alloc_t;

#endif /* GW_H_INCLUDED */
