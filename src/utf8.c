#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "utf8.h"


/*
 * The automaton of RFC 3629's table, with its transitions packed: a state is
 * a bit offset, and the row of a byte's class holds at that offset the next
 * state. A step is then one shift, and what is loaded does not wait for the
 * state before.
 */

#define ACCEPT GW_UTF8_ACCEPT
#define MORE1 6   /* any one continuation byte is needed */
#define MORE2 12  /* any two */
#define MORE3 18  /* any three */
#define AFTER_E0 24 /* a0..bf, else overlong, and one more */
#define AFTER_ED 30 /* 80..9f, else a surrogate, and one more */
#define AFTER_F0 36 /* 90..bf, else overlong, and two more */
#define AFTER_F4 42 /* 80..8f, else over U+10FFFF, and two more */
#define REJECT 48

#define STATE_MASK 63

#define row(accept, more1, more2, more3, e0, ed, f0, f4)                      \
    ((uint64_t) (accept) << ACCEPT | (uint64_t) (more1) << MORE1              \
     | (uint64_t) (more2) << MORE2 | (uint64_t) (more3) << MORE3              \
     | (uint64_t) (e0) << AFTER_E0 | (uint64_t) (ed) << AFTER_ED              \
     | (uint64_t) (f0) << AFTER_F0 | (uint64_t) (f4) << AFTER_F4              \
     | (uint64_t) REJECT << REJECT)

/* What can only begin a character. */
#define lead(next)                                                            \
    row(next, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT)


static const uint64_t rows[] = {
    /* 0: 00..7f */ lead(ACCEPT),
    /* 1: 80..8f */ row(REJECT, ACCEPT, MORE1, MORE2,
                        REJECT, MORE1, REJECT, MORE2),
    /* 2: 90..9f */ row(REJECT, ACCEPT, MORE1, MORE2,
                        REJECT, MORE1, MORE2, REJECT),
    /* 3: a0..bf */ row(REJECT, ACCEPT, MORE1, MORE2,
                        MORE1, REJECT, MORE2, REJECT),
    /* 4: c2..df */ lead(MORE1),
    /* 5: e0 */     lead(AFTER_E0),
    /* 6: e1..ef */ lead(MORE2),
    /* 7: ed */     lead(AFTER_ED),
    /* 8: f0 */     lead(AFTER_F0),
    /* 9: f1..f3 */ lead(MORE3),
    /* 10: f4 */    lead(AFTER_F4),
    /* 11: c0, c1, f5..ff */ lead(REJECT)
};

static const uint8_t classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 40 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 80 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    11, 11, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* c0 */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 6, 6,
    8, 9, 9, 9, 10, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11
};


#define STEP 16 /* bytes between looks at the state */


/* Skips ASCII by whole words; what is left may begin with ASCII still. */
static const unsigned char *
ascii_skip(const unsigned char *p, const unsigned char *end)
{
    uint64_t w;

#if defined(__SSE2__)
    __m128i a, b;

    while (end - p >= 32) {
        a = _mm_loadu_si128((const __m128i *) p);
        b = _mm_loadu_si128((const __m128i *) (p + 16));

        if (_mm_movemask_epi8(_mm_or_si128(a, b))) {
            break;
        }

        p += 32;
    }
#endif

    while (end - p >= 8) {
        memcpy(&w, p, 8);

        if (w & 0x8080808080808080u) {
            break;
        }

        p += 8;
    }

    return p;
}


int
gw_utf8_feed(uint8_t *state, const unsigned char *p, size_t n)
{
    unsigned s;
    const unsigned char *end, *stop;

    if (n == 0) {
        return *state == REJECT ? GW_ERROR : GW_OK;
    }

    s = *state;
    end = p + n;

    while (p < end) {

        if (s == ACCEPT) {
            p = ascii_skip(p, end);
        }

        stop = end - p > STEP ? p + STEP : end;

        while (p < stop) {
            s = rows[classes[*p++]] >> s & STATE_MASK;
        }

        if (s == REJECT) {
            break;
        }
    }

    *state = s;

    return s == REJECT ? GW_ERROR : GW_OK;
}


bool
gw_utf8_valid(const unsigned char *p, size_t n)
{
    uint8_t state;

    state = GW_UTF8_ACCEPT;

    return gw_utf8_feed(&state, p, n) == GW_OK && state == GW_UTF8_ACCEPT;
}
