/*
 * Copies of test inputs that end where a mapped page ends, so that reading
 * one byte too many crashes.
 */

#ifndef GUARD_H_INCLUDED
#define GUARD_H_INCLUDED

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define GUARD_SIZE 262144u /* more than any input has */

/* The place of n bytes before the page that must not be touched; each call
   with one slot (0 to 3) reuses the memory of the one before. */
static inline unsigned char *
guard_room(unsigned slot, size_t n)
{
    static unsigned char *end[4];
    size_t page;
    unsigned char *p;

    assert_in_range(n, 0, GUARD_SIZE);

    if (end[slot] == NULL) {
        page = sysconf(_SC_PAGESIZE);
        p = mmap(NULL, GUARD_SIZE + page, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(p != MAP_FAILED);
        assert_int_equal(mprotect(p + GUARD_SIZE, page, PROT_NONE), 0);
        end[slot] = p + GUARD_SIZE;
    }

    return end[slot] - n;
}


static inline unsigned char *
guard_copy(unsigned slot, const void *data, size_t n)
{
    unsigned char *p;

    p = guard_room(slot, n);

    if (n > 0) {
        memcpy(p, data, n);
    }

    return p;
}

#endif /* GUARD_H_INCLUDED */
