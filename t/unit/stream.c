#include "guard.h"
#include "memory.h"

#include "../../src/stream.h"


#define MEGABYTE 1048576u
#define BYTES (2 * MEGABYTE)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define READERS 5


/* Where chunks end that grow from 512 bytes to a page, and what is beside. */
static const size_t sizes[] = {
    0, 1, 2, 487, 488, 489, 1487, 1488, 1489, 3511, 3512, 3513, 4071, 4072,
    4073, 4095, 4096, 4097, 7583, 7584, 7585, 11656, 65535, 65536, 100000,
};

/* The byte at a position of each stream here, and room to read it into. */
static unsigned char bytes[BYTES], got[BYTES];

static gw_alloc_t a;
static memory_t memory;


static int
set_up(void **unused)
{
    uint64_t seed;

    (void) unused;

    seed = 1;
    random_fill(&seed, bytes, sizeof(bytes));

    return 0;
}


static int
each_set_up(void **unused)
{
    (void) unused;

    a = memory_allocator(&memory);

    return 0;
}


static int
each_tear_down(void **unused)
{
    (void) unused;

    return memory.blocks == 0 && memory.bytes == 0 ? 0 : -1;
}


static void
append(gw_stream_t *s, size_t n, size_t piece)
{
    size_t k;
    uint64_t start;
    gw_cursor_t w;

    assert_int_equal(gw_stream_reserve(s, n, &a), GW_OK);

    start = s->head;
    w = gw_stream_head(s);

    for (/* void */; n > 0; n -= k) {
        k = piece > 0 && piece < n ? piece : n;
        gw_stream_put(&w, bytes + w.pos, k);
    }

    assert_int_equal(s->head, start);
    gw_stream_commit(s, &w);
    assert_int_equal(s->head, w.pos);
}


/* Reads n bytes, which must be those of the cursor's position. */
static void
expect(gw_cursor_t *c, size_t n)
{
    uint64_t start;

    start = c->pos;
    memset(got, 0, n < 64 ? n : 64);
    gw_stream_read(c, got, n);

    assert_int_equal(c->pos, start + n);
    assert_true(memcmp(got, bytes + start, n) == 0);
}


static gw_cursor_t
beginning(const gw_stream_t *s)
{
    return (gw_cursor_t){ s->first, s->first->base };
}


static size_t
chunks(const gw_stream_t *s)
{
    size_t n;
    const gw_chunk_t *c;

    for (n = 0, c = s->first; c != NULL; c = c->next) {
        n++;
    }

    return n;
}


static void
a_new_stream_has_no_memory(void **unused)
{
    gw_stream_t s;

    (void) unused;

    memset(&s, 0xff, sizeof(s));
    gw_stream_init(&s);

    assert_null(s.first);
    assert_int_equal(s.head, 0);

    gw_stream_trim(&s, UINT64_MAX, &a);
    gw_stream_reset(&s, &a);
    assert_int_equal(memory.blocks, 0);
}


static void
reserving_nothing_makes_the_first_chunk_only(void **unused)
{
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);

    assert_int_equal(gw_stream_reserve(&s, 0, &a), GW_OK);
    assert_int_equal(memory.bytes, GW_CHUNK_MIN);

    c = gw_stream_head(&s);
    assert_ptr_equal(c.chunk, s.first);
    assert_int_equal(c.pos, 0);

    assert_int_equal(gw_stream_reserve(&s, 0, &a), GW_OK);
    assert_int_equal(memory.blocks, 1);

    gw_stream_reset(&s, &a);
}


static void
chunks_double_up_to_a_page_without_gaps(void **unused)
{
    size_t n;
    gw_chunk_t *c;
    gw_stream_t s;

    (void) unused;

    gw_stream_init(&s);

    for (n = 0; n < 20000; n++) {
        append(&s, 1, 0);
    }

    n = GW_CHUNK_MIN;

    for (c = s.first; c != NULL; c = c->next) {
        assert_int_equal(sizeof(gw_chunk_t) + c->size, n);
        assert_true(c->next == NULL || c->next->base == c->base + c->size);
        n = n < GW_CHUNK_MAX ? 2 * n : n;
    }

    gw_stream_reset(&s, &a);
}


static void
no_chunk_is_bigger_than_a_page(void **unused)
{
    size_t i;
    gw_chunk_t *c;
    gw_stream_t s;

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        gw_stream_init(&s);
        append(&s, sizes[i], 0);

        for (c = s.first; c != NULL; c = c->next) {
            assert_in_range(sizeof(gw_chunk_t) + c->size, GW_CHUNK_MIN,
                            GW_CHUNK_MAX);
        }

        /* and not much is taken for the sake of little */
        assert_true(memory.bytes <= GW_CHUNK_MAX + 2 * sizes[i]);

        gw_stream_reset(&s, &a);
    }
}


static void
bytes_come_back_whatever_the_pieces(void **unused)
{
    size_t i, k, n, r;
    gw_stream_t s;
    gw_cursor_t c;

    static const size_t piece[] = { 0, 1, 7, 488, 4072, 5000 };

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        for (k = 0; k < COUNT(piece) * COUNT(piece); k++) {
            gw_stream_init(&s);
            append(&s, sizes[i], piece[k % COUNT(piece)]);

            c = beginning(&s);
            r = piece[k / COUNT(piece)];

            while (c.pos < s.head) {
                n = s.head - c.pos;
                expect(&c, r > 0 && r < n ? r : n);
            }

            gw_stream_reset(&s, &a);
        }
    }
}


static void
a_megabyte_comes_back(void **unused)
{
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 100, 0);
    append(&s, MEGABYTE, 0);

    c = beginning(&s);
    expect(&c, 100);
    expect(&c, MEGABYTE);
    assert_int_equal(c.pos, s.head);

    gw_stream_reset(&s, &a);
}


/* An append that begins at each place of the first chunks, seen by a cursor
   that waited there, also where that is a chunk's end. */
static void
a_cursor_at_the_head_sees_what_comes(void **unused)
{
    size_t n;
    gw_stream_t s;
    gw_cursor_t c, next;

    (void) unused;

    gw_stream_init(&s);
    assert_int_equal(gw_stream_reserve(&s, 0, &a), GW_OK);

    for (n = 0; n < 12000; n++) {
        c = gw_stream_head(&s);
        append(&s, 1, 0);
        next = gw_stream_head(&s);
        append(&s, 2, 1);

        expect(&c, 1);
        assert_int_equal(c.pos, next.pos);
        expect(&c, 2);
        expect(&next, 2);

        assert_ptr_equal(c.chunk, next.chunk);
        assert_ptr_equal(c.chunk, gw_stream_head(&s).chunk);
    }

    gw_stream_reset(&s, &a);
}


static void
every_length_from_every_border(void **unused)
{
    size_t i, n;
    gw_stream_t s;
    gw_cursor_t c, at;

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        for (n = 0; n < 5000; n += n < 600 || n > 3900 ? 1 : 97) {
            gw_stream_init(&s);
            append(&s, sizes[i], 0);
            at = gw_stream_head(&s);
            append(&s, n, 0);

            expect(&at, n);

            c = beginning(&s);
            gw_stream_skip(&c, sizes[i]);
            expect(&c, n);
            assert_int_equal(c.pos, s.head);

            gw_stream_reset(&s, &a);
        }
    }
}


static void
skipping_is_reading_without_looking(void **unused)
{
    size_t i, k, n;
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 200000, 0);

    for (i = 0; i < COUNT(sizes); i++) {
        for (k = 0; k < COUNT(sizes); k++) {
            c = beginning(&s);
            gw_stream_skip(&c, sizes[i]);
            gw_stream_skip(&c, sizes[k]);
            assert_int_equal(c.pos, sizes[i] + sizes[k]);

            /* the chunk holds the position, or ends at it */
            assert_in_range(c.pos, c.chunk->base,
                            c.chunk->base + c.chunk->size);

            n = s.head - c.pos;
            expect(&c, n < 5000 ? n : 5000);
        }
    }

    c = beginning(&s);
    gw_stream_skip(&c, s.head);
    gw_stream_skip(&c, 0);
    assert_int_equal(c.pos, s.head);

    gw_stream_reset(&s, &a);
}


static void
vectors_describe_exactly_the_bytes_asked_for(void **unused)
{
    size_t i, k, n, v, total, sum;
    uint64_t end;
    gw_stream_t s;
    gw_cursor_t c, old;
    struct iovec iov[64];

    (void) unused;

    gw_stream_init(&s);
    append(&s, 200000, 0);

    for (i = 0; i < COUNT(sizes); i++) {
        for (k = 0; k < COUNT(sizes); k++) {
            c = beginning(&s);
            gw_stream_skip(&c, sizes[i]);
            old = c;
            end = c.pos + sizes[k];
            end = end < s.head ? end : s.head;

            total = 5;
            n = gw_stream_vectors(&c, end, iov, COUNT(iov), &total);

            assert_ptr_equal(c.chunk, old.chunk);
            assert_int_equal(c.pos, old.pos);

            for (sum = 0, v = 0; v < n; v++) {
                assert_in_range(iov[v].iov_len, 1, GW_CHUNK_MAX);
                assert_memory_equal(iov[v].iov_base, bytes + c.pos + sum,
                                    iov[v].iov_len);
                sum += iov[v].iov_len;
            }

            assert_int_equal(total, 5 + sum);
            assert_int_equal(sum, end - c.pos);
        }
    }

    gw_stream_reset(&s, &a);
}


static void
vectors_stop_at_their_number(void **unused)
{
    size_t n, total;
    gw_stream_t s;
    gw_cursor_t c;
    struct iovec iov[4];

    (void) unused;

    gw_stream_init(&s);

    for (n = 0; n < 488 + 1000 + 2024 + 4072; n++) {
        append(&s, 1, 0);
    }

    c = beginning(&s);

    for (n = 0; n <= 3; n++) {
        memset(iov, 0, sizeof(iov));
        total = 0;
        assert_int_equal(gw_stream_vectors(&c, s.head, iov, n, &total), n);
        assert_null(iov[n].iov_base);
        assert_int_equal(total, n == 0 ? 0 : n == 1 ? 488 : n == 2 ? 1488
                                : 3512);
    }

    /* from a chunk's end it is the next one's bytes */
    gw_stream_skip(&c, 488);
    total = 0;
    assert_int_equal(gw_stream_vectors(&c, 489, iov, 4, &total), 1);
    assert_int_equal(total, 1);
    assert_int_equal(*(unsigned char *) iov[0].iov_base, bytes[488]);

    /* from the head there is nothing */
    c = gw_stream_head(&s);
    assert_int_equal(gw_stream_vectors(&c, s.head, iov, 4, &total), 0);
    assert_int_equal(total, 1);

    gw_stream_reset(&s, &a);
}


/* Of each chunk as the one where the lowest cursor stands, at each place. */
static void
trimming_keeps_what_begins_or_ends_at_the_low(void **unused)
{
    size_t left;
    uint64_t low;
    gw_chunk_t *c;
    gw_stream_t s;
    gw_cursor_t at;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 20000, 0);
    at = beginning(&s);

    for (low = 0; low <= 20000; low++) {
        for (left = 0, c = s.first; c != NULL; c = c->next) {
            left += c->base + c->size >= low || c == s.last;
        }

        gw_stream_skip(&at, low - at.pos);

        gw_stream_trim(&s, low, &a);
        assert_int_equal(chunks(&s), left);
        assert_int_equal(memory.blocks, left);

        if (low % 13 == 0 || at.pos == at.chunk->base + at.chunk->size) {
            expect(&(gw_cursor_t){ at.chunk, at.pos }, 20000 - low);
        }
    }

    gw_stream_trim(&s, UINT64_MAX, &a);
    assert_int_equal(memory.blocks, 1);
    assert_ptr_equal(s.first, s.last);

    at = gw_stream_head(&s);
    append(&s, 10000, 0);
    expect(&at, 10000);

    gw_stream_reset(&s, &a);
}


static void
a_cursor_at_the_end_of_a_full_chunk_survives(void **unused)
{
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 488, 0);
    c = gw_stream_head(&s);
    assert_int_equal(c.pos, c.chunk->base + c.chunk->size);

    append(&s, 6000, 0);
    gw_stream_trim(&s, 488, &a);
    assert_ptr_equal(s.first, c.chunk);
    expect(&c, 6000);

    gw_stream_trim(&s, 489, &a);
    assert_int_equal(s.first->base, 488);

    gw_stream_reset(&s, &a);
}


static void
a_reserve_that_fails_changes_nothing(void **unused)
{
    size_t i, n, fail, blocks, count;
    gw_stream_t s, old;
    gw_cursor_t c;

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        for (n = 1; n < 40000; n = n * 3 + 7) {
            for (fail = 1, count = 1; count > 0; fail++) {
                gw_stream_init(&s);

                if (sizes[i] > 0) {
                    append(&s, sizes[i], 0);
                }

                old = s;
                blocks = memory.blocks;
                count = chunks(&s);
                memory.fail = fail;

                if (gw_stream_reserve(&s, n, &a) == GW_OK) {
                    assert_int_equal(memory.blocks, blocks + fail - 1);
                    count = 0;

                } else {
                    assert_int_equal(memory.fail, 0);
                    assert_memory_equal(&s, &old, sizeof(s));
                    assert_int_equal(memory.blocks, blocks);
                    assert_int_equal(chunks(&s), count);
                    count = 1;
                }

                memory.fail = 0;
                append(&s, n, 0);
                c = beginning(&s);
                expect(&c, s.head);
                gw_stream_reset(&s, &a);
                assert_int_equal(memory.blocks, 0);
            }
        }
    }
}


static void
what_is_reserved_already_is_not_reserved_again(void **unused)
{
    size_t blocks;
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 300, 0);

    assert_int_equal(gw_stream_reserve(&s, 30000, &a), GW_OK);
    blocks = memory.blocks;
    memory.fail = 1;

    assert_int_equal(gw_stream_reserve(&s, 30000, &a), GW_OK);
    assert_int_equal(gw_stream_reserve(&s, 1, &a), GW_OK);
    gw_stream_trim(&s, 300, &a);
    append(&s, 30000, 0);

    assert_int_equal(memory.blocks, blocks);
    assert_int_equal(memory.fail, 1);
    memory.fail = 0;

    c = beginning(&s);
    expect(&c, 30300);

    gw_stream_reset(&s, &a);
}


/* It has written more, less or as much as its successor will, also over
   borders of chunks. */
static void
a_writer_that_dies_leaves_no_trace(void **unused)
{
    size_t i, k;
    gw_stream_t s;
    gw_cursor_t c, w;

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        for (k = 0; k < COUNT(sizes); k++) {
            gw_stream_init(&s);
            append(&s, 100, 0);
            c = gw_stream_head(&s);

            assert_int_equal(gw_stream_reserve(&s, sizes[i], &a), GW_OK);
            w = gw_stream_head(&s);
            memset(got, 0xee, sizes[i]);
            gw_stream_put(&w, got, sizes[i]);
            assert_int_equal(s.head, 100);

            append(&s, sizes[k], 0);
            assert_int_equal(s.head, 100 + sizes[k]);
            expect(&c, sizes[k]);

            append(&s, 5000, 0);
            expect(&c, 5000);

            gw_stream_reset(&s, &a);
        }
    }
}


static void
a_reset_stream_begins_again(void **unused)
{
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    append(&s, 30000, 0);
    assert_int_equal(gw_stream_reserve(&s, 30000, &a), GW_OK);

    gw_stream_reset(&s, &a);
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(s.head, 0);
    assert_null(s.first);

    append(&s, 700, 0);
    c = beginning(&s);
    expect(&c, 700);

    gw_stream_reset(&s, &a);
}


static void
positions_go_on_beyond_32_bits(void **unused)
{
    gw_stream_t s;
    gw_cursor_t c;

    (void) unused;

    gw_stream_init(&s);
    s.head = ((uint64_t) 1 << 32) - 600;

    assert_int_equal(gw_stream_reserve(&s, 5000, &a), GW_OK);
    assert_int_equal(s.first->base, s.head);
    c = gw_stream_head(&s);
    gw_stream_put(&c, bytes, 5000);
    gw_stream_commit(&s, &c);

    c = beginning(&s);
    gw_stream_read(&c, got, 1000);
    gw_stream_skip(&c, 1000);
    gw_stream_read(&c, got + 2000, 3000);
    assert_memory_equal(got, bytes, 1000);
    assert_memory_equal(got + 2000, bytes + 2000, 3000);
    assert_int_equal(c.pos, s.head);

    gw_stream_trim(&s, s.head, &a);
    assert_int_equal(memory.blocks, 1);

    gw_stream_reset(&s, &a);
}


/* A reader takes up to n bytes, in one of the ways there are. */
static void
walk_read(const gw_stream_t *s, gw_cursor_t *c, size_t n, unsigned how)
{
    size_t i, k, sum;
    struct iovec iov[3];

    n = n < s->head - c->pos ? n : s->head - c->pos;

    switch (how % 3) {

    case 0:
        expect(c, n);
        break;

    case 1:
        gw_stream_skip(c, n);
        break;

    default:
        sum = 0;
        k = gw_stream_vectors(c, c->pos + n, iov, COUNT(iov), &sum);
        assert_in_range(sum, 0, n);

        for (i = 0; i < k; i++) {
            assert_memory_equal(iov[i].iov_base, bytes + c->pos,
                                iov[i].iov_len);
            gw_stream_skip(c, iov[i].iov_len);
        }
    }
}


static void
walk(uint64_t seed)
{
    size_t i, step, n;
    uint64_t low;
    gw_stream_t s;
    gw_cursor_t c[READERS];

    gw_stream_init(&s);
    assert_int_equal(gw_stream_reserve(&s, 0, &a), GW_OK);

    for (i = 0; i < READERS; i++) {
        c[i] = gw_stream_head(&s);
    }

    for (step = 0; step < 2000; step++) {
        n = random_next(&seed);
        n = n % 8 == 0 ? n / 8 % 6000 : n / 8 % 600;

        if (step % 7 == 0 && s.head + n < BYTES) {
            append(&s, n, random_next(&seed) % 2 ? 0 : 13);
        }

        /* the higher its number, the rarer a reader comes */
        i = random_next(&seed) % READERS;

        if (random_next(&seed) % (i + 1) == 0) {
            walk_read(&s, &c[i], n, random_next(&seed));
        }

        for (low = s.head, i = 0; i < READERS; i++) {
            low = low < c[i].pos ? low : c[i].pos;
        }

        gw_stream_trim(&s, low, &a);
        assert_true(memory.bytes
                    <= (s.head - low) * 21 / 20 + 2 * GW_CHUNK_MAX);
    }

    for (i = 0; i < READERS; i++) {
        expect(&c[i], s.head - c[i].pos);
    }

    gw_stream_trim(&s, s.head, &a);
    assert_int_equal(memory.blocks, 1);

    gw_stream_reset(&s, &a);
}


static void
readers_at_all_distances_see_every_byte(void **unused)
{
    uint64_t seed;

    (void) unused;

    for (seed = 1; seed <= 100; seed++) {
        walk(seed);
    }
}


#define test(f) cmocka_unit_test_setup_teardown(f, each_set_up, each_tear_down)


int
main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_new_stream_has_no_memory),
        test(reserving_nothing_makes_the_first_chunk_only),
        test(chunks_double_up_to_a_page_without_gaps),
        test(no_chunk_is_bigger_than_a_page),
        test(bytes_come_back_whatever_the_pieces),
        test(a_megabyte_comes_back),
        test(a_cursor_at_the_head_sees_what_comes),
        test(every_length_from_every_border),
        test(skipping_is_reading_without_looking),
        test(vectors_describe_exactly_the_bytes_asked_for),
        test(vectors_stop_at_their_number),
        test(trimming_keeps_what_begins_or_ends_at_the_low),
        test(a_cursor_at_the_end_of_a_full_chunk_survives),
        test(a_reserve_that_fails_changes_nothing),
        test(what_is_reserved_already_is_not_reserved_again),
        test(a_writer_that_dies_leaves_no_trace),
        test(a_reset_stream_begins_again),
        test(positions_go_on_beyond_32_bits),
        test(readers_at_all_distances_see_every_byte),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
