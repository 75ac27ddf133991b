#include "guard.h"

#define CHECK(condition) assert_true(condition)

#include "store_check.h"
#include "store_play.h"


#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ARENA 1048576u
#define META 24u
#define MAX_OBJECT 400000u
#define NEVER UINT64_MAX

static void *base;
static gw_store_t *s;
static gw_store_wake_t wake;
static unsigned char meta[META] = "meta";
static unsigned char body[MAX_OBJECT + 1];
static unsigned char scratch[GW_STORE_MAX_KEY];


static gw_store_t *
make_store(size_t size)
{
    gw_store_conf_t conf;

    conf.meta = META;
    conf.max_object = MAX_OBJECT;

    free(base);
    base = malloc(size);
    assert_non_null(base);
    memset(base, 0xa5, size);

    return gw_store_init(base, size, &conf);
}


static int
each_set_up(void **unused)
{
    size_t i;

    (void) unused;

    for (i = 0; i < sizeof(body); i++) {
        body[i] = play_byte(7, i);
    }

    memset(&wake, 0, sizeof(wake));
    s = make_store(ARENA);

    return s != NULL ? 0 : -1;
}


static int
each_tear_down(void **unused)
{
    (void) unused;

    check_store(s);
    free(base);
    base = NULL;

    return 0;
}


/* A key, and where it is not NULL a variant, of any text. */
static gw_store_id_t
id_of(const char *key, const char *variant)
{
    uint64_t x;
    gw_store_id_t id;

    memset(&id, 0, sizeof(id));
    id.text.data = (const unsigned char *) key;
    id.text.len = strlen(key);

    for (x = 1; *key != 0; key++) {
        x = x * 1000003 + (unsigned char) *key;
    }

    random_fill(&x, id.key, sizeof(id.key));

    if (variant != NULL) {
        for (x = 2; *variant != 0; variant++) {
            x = x * 1000003 + (unsigned char) *variant;
        }

        random_fill(&x, id.variant, sizeof(id.variant));
    }

    return id;
}


static gw_store_new_t
new_of(const char *key, uint64_t size)
{
    gw_store_new_t n;

    memset(&n, 0, sizeof(n));
    n.id = id_of(key, NULL);
    n.header = gw_str("Content-Type: text/plain\r\n");
    n.meta = meta;
    n.dead_at = NEVER;
    n.size = size;
    n.stamp = gw_store_stamp(s);

    return n;
}


static gw_store_ref_t
begin(const gw_store_new_t *n)
{
    gw_store_ref_t ref;

    assert_int_equal(gw_store_begin(s, 0, 0, n, &ref, &wake), GW_OK);

    return ref;
}


static int
append(const gw_store_ref_t *ref, size_t from, size_t n)
{
    int rc;
    size_t done;

    do {
        rc = gw_store_append(s, ref, 0, body + from, n, &done, &wake);
        from += done;
        n -= done;
    } while (rc == GW_AGAIN);

    assert_true(rc != GW_OK || n == 0);

    return rc;
}


static int
commit(const gw_store_ref_t *ref)
{
    return gw_store_commit(s, ref, 0, &wake);
}


static void
store_new(const gw_store_new_t *n, size_t size)
{
    gw_store_ref_t ref;

    ref = begin(n);

    if (n->same_body == NULL) {
        assert_int_equal(append(&ref, 0, size), GW_OK);
    }

    assert_int_equal(commit(&ref), GW_OK);
}


static void
store(const char *key, size_t size)
{
    gw_store_new_t n;

    n = new_of(key, size);
    store_new(&n, size);
}


static int
get_id(const gw_store_id_t *id, gw_store_ref_t *ref)
{
    return gw_store_get(s, 1, 0, id, ref);
}


static int
get(const char *key, gw_store_ref_t *ref)
{
    gw_store_id_t id;

    id = id_of(key, NULL);

    return get_id(&id, ref);
}


static bool
is_there(const char *key)
{
    gw_store_ref_t ref;

    if (get(key, &ref) != GW_OK) {
        return false;
    }

    gw_store_unpin(s, &ref);

    return true;
}


static void
body_is(const gw_store_ref_t *ref, size_t size)
{
    size_t at;
    gw_str_t span;
    gw_store_info_t info;
    gw_store_cursor_t c;

    gw_store_info(s, ref, &info);
    assert_int_equal(info.body_len, size);
    gw_store_cursor(s, ref, GW_STORE_BODY, 0, size, &c);

    for (at = 0; gw_store_spans(s, &c, &span, 1) > 0; at += span.len) {
        assert_memory_equal(span.data, body + at, span.len);
    }

    assert_int_equal(at, size);
}


static uint64_t
used(void)
{
    gw_store_stat_t stat;

    while (gw_store_bury(s, 1000)) { /* void */ }

    gw_store_stat(s, &stat);

    return stat.used;
}


static bool
woken(unsigned slot)
{
    bool is;

    is = wake.slots[slot / 64] >> (slot % 64) & 1;
    memset(&wake, 0, sizeof(wake));

    return is;
}


/* --- the arena ------------------------------------------------------------ */

static void
arenas_of_64_kb_and_more(void **unused)
{
    size_t size;
    gw_store_conf_t conf;

    (void) unused;

    for (size = 0; size < 4096; size += 64) {
        assert_null(make_store(size + 16));
    }

    for (size = 65536; size < 80000; size += 1000) {
        s = make_store(size);
        assert_non_null(s);
        store("a", 3000);
        assert_true(is_there("a"));
        check_store(s);
    }

    conf.meta = GW_STORE_MAX_META + 1;
    conf.max_object = 1;
    assert_null(gw_store_init(base, 65536, &conf));

    conf.meta = GW_STORE_MAX_META;
    s = gw_store_init(base, 65536, &conf);
    assert_non_null(s);
    check_store(s);
}


static void
a_store_is_opened_as_it_was_made(void **unused)
{
    gw_store_conf_t conf;

    (void) unused;

    store("a", 100);
    conf.meta = META;
    conf.max_object = 10;

    assert_null(gw_store_open(base, ARENA - 1, &conf));
    conf.meta++;
    assert_null(gw_store_open(base, ARENA, &conf));
    conf.meta--;
    assert_ptr_equal(gw_store_open(base, ARENA, &conf), s);
    assert_true(is_there("a"));

    s->magic++;
    assert_null(gw_store_open(base, ARENA, &conf));
    s->magic--;
}


static void
nothing_depends_on_the_address(void **unused)
{
    void *moved;
    gw_store_ref_t ref;

    (void) unused;

    store("a", 90000);
    moved = malloc(ARENA);
    assert_non_null(moved);
    memcpy(moved, base, ARENA);
    memset(base, 0, ARENA);
    free(base);
    base = moved;
    s = base;

    assert_int_equal(get("a", &ref), GW_OK);
    body_is(&ref, 90000);
    gw_store_unpin(s, &ref);
    store("b", 5000);
}


/* --- objects -------------------------------------------------------------- */

static void
objects_of_all_sizes_come_whole(void **unused)
{
    size_t i, from, n;
    gw_store_ref_t ref;
    gw_store_cursor_t c;
    unsigned char got[100];

    static const size_t sizes[] = {
        0, 1, 7, 8, 9, 80, 81, 82, 255, 256, 257, 1023, 1024, 1025, 65535,
        65536, 65537, 262144, MAX_OBJECT,
    };

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        store("a", sizes[i]);
        assert_int_equal(get("a", &ref), GW_OK);
        body_is(&ref, sizes[i]);

        /* and parts of them */

        for (from = 0; from <= sizes[i]; from += 1 + sizes[i] / 9) {
            n = sizes[i] - from < 100 ? sizes[i] - from : 100;
            gw_store_cursor(s, &ref, GW_STORE_BODY, from, n, &c);
            assert_int_equal(gw_store_copy(s, &c, got, sizeof(got)), n);
            assert_memory_equal(got, body + from, n);
        }

        gw_store_unpin(s, &ref);
    }
}


static void
an_object_keeps_what_it_was_given(void **unused)
{
    gw_store_new_t n;
    gw_store_ref_t ref;
    gw_store_info_t info;
    gw_store_cursor_t c;
    unsigned char got[64];

    (void) unused;

    n = new_of("http/example/a", 10);
    n.dead_at = 1234;
    store_new(&n, 10);

    assert_int_equal(get("http/example/a", &ref), GW_OK);
    gw_store_info(s, &ref, &info);
    assert_memory_equal(info.meta, meta, META);
    assert_int_equal(info.dead_at, 1234);
    assert_int_equal(info.header_len, n.header.len);
    assert_int_equal(info.key_len, 14);
    assert_int_equal(info.body_size, 10);
    assert_int_equal(info.state, GW_STORE_COMPLETE);
    assert_true(info.stored);

    gw_store_cursor(s, &ref, GW_STORE_HEADER, 0, info.header_len, &c);
    assert_int_equal(gw_store_copy(s, &c, got, sizeof(got)), n.header.len);
    assert_memory_equal(got, n.header.data, n.header.len);

    gw_store_cursor(s, &ref, GW_STORE_KEY, 0, info.key_len, &c);
    assert_int_equal(gw_store_copy(s, &c, got, sizeof(got)), 14);
    assert_memory_equal(got, "http/example/a", 14);

    gw_store_update(s, &ref, "MMMMMMMMMMMMMMMMMMMMMMMM", 99);
    gw_store_unpin(s, &ref);

    assert_int_equal(get("http/example/a", &ref), GW_OK);
    gw_store_info(s, &ref, &info);
    assert_memory_equal(info.meta, "MMMMMMMMMMMMMMMMMMMMMMMM", META);
    assert_int_equal(info.dead_at, 99);
    gw_store_unpin(s, &ref);
}


static void
small_objects_are_one_piece_and_large_ones_few(void **unused)
{
    uint64_t before;
    gw_str_t spans[8];
    gw_store_ref_t ref;
    gw_store_cursor_t c;

    (void) unused;

    before = used();
    store("a", 1024);
    assert_in_range(used() - before, 1024, 1024 + 2 * 256);
    assert_int_equal(get("a", &ref), GW_OK);
    gw_store_cursor(s, &ref, GW_STORE_BODY, 0, 1024, &c);
    assert_int_equal(gw_store_spans(s, &c, spans, 8), 1);
    gw_store_unpin(s, &ref);

    store("b", 65536);
    assert_int_equal(get("b", &ref), GW_OK);
    gw_store_cursor(s, &ref, GW_STORE_BODY, 0, 65536, &c);
    assert_in_range(gw_store_spans(s, &c, spans, 8), 1, 2);
    gw_store_unpin(s, &ref);
}


static void
the_key_is_compared_as_it_stands(void **unused)
{
    gw_store_id_t id;
    gw_store_ref_t ref;

    (void) unused;

    store("a", 10);
    id = id_of("a", NULL);
    id.text = gw_str("b");
    assert_int_equal(get_id(&id, &ref), GW_DECLINED);
    id.text = gw_str("aa");
    assert_int_equal(get_id(&id, &ref), GW_DECLINED);
    id.text = gw_str("");
    assert_int_equal(get_id(&id, &ref), GW_DECLINED);
}


static void
the_empty_and_the_longest_key(void **unused)
{
    char *key;

    (void) unused;

    store("", 10);
    assert_true(is_there(""));

    key = malloc(GW_STORE_MAX_KEY + 2);
    assert_non_null(key);
    memset(key, 'k', GW_STORE_MAX_KEY + 1);
    key[GW_STORE_MAX_KEY] = 0;
    store(key, 10);
    assert_true(is_there(key));
    key[GW_STORE_MAX_KEY - 1] = 'l';
    assert_false(is_there(key));
    free(key);
}


static void
what_is_over_a_limit_is_declined(void **unused)
{
    uint64_t before;
    gw_store_new_t n;
    gw_store_ref_t ref;
    uint64_t tags[GW_STORE_MAX_TAGS + 1];

    (void) unused;

    memset(tags, 0, sizeof(tags));
    before = used();

    n = new_of("a", MAX_OBJECT + 1);
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("a", 1);
    n.id.text.len = GW_STORE_MAX_KEY + 1;
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("a", 1);
    n.header.len = GW_STORE_MAX_HEADER + 1;
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("a", 1);
    n.spec.len = GW_STORE_MAX_SPEC + 1;
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("a", 1);
    n.tags = tags;
    n.ntags = GW_STORE_MAX_TAGS + 1;
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("a", 1);
    assert_int_equal(gw_store_begin(s, GW_STORE_SLOTS, 0, &n, &ref, &wake),
                     GW_ERROR);

    /* of unknown size */
    n = new_of("a", GW_STORE_UNKNOWN);
    ref = begin(&n);
    assert_int_equal(append(&ref, 0, MAX_OBJECT), GW_OK);
    assert_int_equal(append(&ref, 0, 1), GW_DECLINED);
    gw_store_abort(s, &ref, false, &wake);

    /* more than was said, and less */
    n = new_of("a", 5);
    ref = begin(&n);
    assert_int_equal(append(&ref, 0, 6), GW_DECLINED);
    assert_int_equal(append(&ref, 0, 4), GW_OK);
    assert_int_equal(commit(&ref), GW_DECLINED);

    assert_false(is_there("a"));
    assert_in_range(used(), before, before + 256);
}


static void
what_is_replaced_lives_until_it_is_unpinned(void **unused)
{
    uint64_t before;
    gw_store_ref_t old, new;
    gw_store_info_t info;

    (void) unused;

    store("a", 50000);
    assert_int_equal(get("a", &old), GW_OK);
    before = used();

    store("a", 1000);
    body_is(&old, 50000);
    gw_store_info(s, &old, &info);
    assert_false(info.stored);

    assert_int_equal(get("a", &new), GW_OK);
    body_is(&new, 1000);
    gw_store_unpin(s, &new);
    assert_true(used() > before);

    gw_store_unpin(s, &old);
    assert_true(used() < before - 40000);
}


static void
what_is_removed_too(void **unused)
{
    gw_store_ref_t ref;

    (void) unused;

    store("a", 50000);
    assert_int_equal(get("a", &ref), GW_OK);
    gw_store_remove(s, &ref);
    gw_store_remove(s, &ref);
    assert_false(is_there("a"));
    body_is(&ref, 50000);
    gw_store_unpin(s, &ref);
    assert_in_range(used(), 0, 1024);
}


static void
what_is_of_no_use_is_not_found(void **unused)
{
    gw_store_id_t id;
    gw_store_new_t n;
    gw_store_ref_t ref;

    (void) unused;

    n = new_of("a", 10);
    n.dead_at = 1000;
    store_new(&n, 10);

    id = id_of("a", NULL);
    assert_int_equal(gw_store_get(s, 0, 999, &id, &ref), GW_OK);
    gw_store_unpin(s, &ref);
    assert_int_equal(gw_store_get(s, 0, 1000, &id, &ref), GW_DECLINED);
    assert_in_range(used(), 0, 1024);

    /* nor stored */
    ref = begin(&n);
    assert_int_equal(append(&ref, 0, 10), GW_OK);
    assert_int_equal(gw_store_commit(s, &ref, 1000, &wake), GW_DECLINED);
}


/* A 304: again and again, while somebody still reads the first. */
static void
a_new_header_takes_over_the_body(void **unused)
{
    unsigned i;
    uint64_t after;
    gw_store_new_t n;
    gw_store_ref_t first, ref;
    gw_store_info_t info;

    (void) unused;

    store("a", 70000);
    assert_int_equal(get("a", &first), GW_OK);
    after = 0;

    for (i = 0; i < 50; i++) {
        assert_int_equal(get("a", &ref), GW_OK);
        n = new_of("a", GW_STORE_UNKNOWN);
        n.same_body = &ref;
        n.header.len = 1 + i % 20;
        store_new(&n, 0);
        gw_store_unpin(s, &ref);

        assert_int_equal(get("a", &ref), GW_OK);
        body_is(&ref, 70000);
        gw_store_info(s, &ref, &info);
        assert_int_equal(info.header_len, 1 + i % 20);
        gw_store_unpin(s, &ref);
        check_store(s);

        after = i == 0 ? used() : after;
        assert_true(used() <= after);
    }

    body_is(&first, 70000);
    gw_store_unpin(s, &first);

    assert_int_equal(get("a", &ref), GW_OK);
    body_is(&ref, 70000);
    gw_store_remove(s, &ref);
    gw_store_unpin(s, &ref);
    assert_in_range(used(), 0, 1024);
}


/* --- variants ------------------------------------------------------------- */

static void
store_variant(const char *key, const char *variant, const char *spec,
    size_t size)
{
    gw_store_new_t n;

    n = new_of(key, size);
    n.id = id_of(key, variant);
    n.spec.data = (const unsigned char *) spec;
    n.spec.len = strlen(spec);
    store_new(&n, size);
}


static void
variants_are_found_by_what_chose_them(void **unused)
{
    gw_store_id_t id;
    gw_store_ref_t ref;
    gw_store_spec_t specs[GW_STORE_SPECS];

    (void) unused;

    id = id_of("a", "gzip");
    assert_int_equal(gw_store_specs(s, id.key, specs), 0);

    store_variant("a", "gzip", "accept-encoding", 100);
    store_variant("a", "br", "accept-encoding", 200);
    store_variant("a", "de", "accept-language", 300);

    assert_int_equal(gw_store_specs(s, id.key, specs), 2);
    assert_int_equal(specs[0].len, 15);
    assert_memory_equal(specs[0].text, "accept-language", 15);
    assert_memory_equal(specs[1].text, "accept-encoding", 15);

    assert_int_equal(get_id(&id, &ref), GW_OK);
    body_is(&ref, 100);
    gw_store_unpin(s, &ref);
    id = id_of("a", "br");
    assert_int_equal(get_id(&id, &ref), GW_OK);
    body_is(&ref, 200);
    gw_store_unpin(s, &ref);
    id = id_of("a", "none");
    assert_int_equal(get_id(&id, &ref), GW_DECLINED);
    assert_false(is_there("a"));

    /* the newest is first, and the oldest gives way */

    store_variant("a", "br", "accept-encoding", 200);
    store_variant("a", "1", "one", 1);
    store_variant("a", "2", "two", 1);
    store_variant("a", "3", "three", 1);
    assert_int_equal(gw_store_specs(s, id.key, specs), 4);
    assert_memory_equal(specs[0].text, "three", 5);
    assert_memory_equal(specs[1].text, "two", 3);
    assert_memory_equal(specs[2].text, "one", 3);
    assert_memory_equal(specs[3].text, "accept-encoding", 15);
}


static void
a_key_has_any_number_of_variants(void **unused)
{
    int rc;
    unsigned i, calls;
    char name[16];
    gw_store_id_t id;
    gw_store_ref_t ref;
    gw_store_spec_t specs[GW_STORE_SPECS];
    gw_store_purge_t p;

    (void) unused;

    for (i = 0; i < 700; i++) {
        (void) snprintf(name, sizeof(name), "agent%u", i);
        store_variant("a", name, "user-agent", 100);
    }

    store("a", 10);
    check_store(s);

    for (i = 0; i < 700; i += 13) {
        (void) snprintf(name, sizeof(name), "agent%u", i);
        id = id_of("a", name);
        assert_int_equal(get_id(&id, &ref), GW_OK);
        gw_store_unpin(s, &ref);
    }

    memset(&p, 0, sizeof(p));
    id = id_of("a", NULL);

    for (calls = 1; ; calls++) {
        rc = gw_store_purge_key(s, &p, id.key);

        if (rc == GW_OK) {
            break;
        }

        assert_int_equal(rc, GW_AGAIN);
    }

    assert_int_equal(p.purged, 701);
    assert_in_range(calls, 5, 20);
    assert_int_equal(gw_store_specs(s, id.key, specs), 0);
    assert_in_range(used(), 0, 1024);
}


/* --- filling -------------------------------------------------------------- */

static void
what_is_being_filled_is_read_meanwhile(void **unused)
{
    size_t n;
    gw_str_t span;
    gw_store_id_t id;
    gw_store_new_t new;
    gw_store_ref_t w, r;
    gw_store_info_t info;
    gw_store_cursor_t c;

    (void) unused;

    id = id_of("a", NULL);
    new = new_of("a", GW_STORE_UNKNOWN);
    assert_int_equal(gw_store_attach(s, 1, &id, &r), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 0, 0, &id, true, &new.fill), GW_OK);
    assert_int_equal(gw_store_attach(s, 1, &id, &r), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 1, 0, &id, true, &new.fill), GW_AGAIN);

    w = begin(&new);
    assert_true(woken(1));
    assert_false(is_there("a"));
    assert_int_equal(gw_store_attach(s, 1, &id, &r), GW_OK);
    gw_store_cursor(s, &r, GW_STORE_BODY, 0, 0, &c);

    for (n = 0; n < 200000; n += 7777) {
        gw_store_progress(s, 1, &r, n, &info);
        assert_int_equal(info.state, GW_STORE_FILLING);
        assert_int_equal(info.body_len, n);
        assert_int_equal(gw_store_spans(s, &c, &span, 1), 0);

        assert_int_equal(append(&w, n, 7777), GW_OK);
        assert_true(woken(1));
        gw_store_more(&c, 7777);

        while (gw_store_spans(s, &c, &span, 1) > 0) {
            assert_memory_equal(span.data, body + n + 7777 - c.left
                                           - span.len, span.len);
        }
    }

    /* one who has not read all is not woken for what comes */
    gw_store_progress(s, 1, &r, 1, &info);
    assert_int_equal(append(&w, n, 1), GW_OK);
    assert_false(woken(1));

    gw_store_progress(s, 1, &r, n + 1, &info);
    assert_int_equal(commit(&w), GW_OK);
    assert_true(woken(1));
    gw_store_info(s, &r, &info);
    assert_int_equal(info.state, GW_STORE_COMPLETE);
    assert_int_equal(info.body_size, n + 1);
    body_is(&r, n + 1);
    gw_store_unpin(s, &r);
    assert_true(is_there("a"));
}


static void
readers_learn_that_it_was_given_up(void **unused)
{
    gw_store_id_t id;
    gw_store_new_t new;
    gw_store_ref_t w, r;
    gw_store_info_t info;
    gw_store_fill_t fill;

    (void) unused;

    id = id_of("a", NULL);
    new = new_of("a", 30000);
    assert_int_equal(gw_store_lead(s, 0, 0, &id, true, &new.fill), GW_OK);
    w = begin(&new);
    assert_int_equal(append(&w, 0, 20000), GW_OK);
    assert_int_equal(gw_store_attach(s, 1, &id, &r), GW_OK);
    gw_store_progress(s, 1, &r, 20000, &info);
    assert_int_equal(info.body_size, 30000);

    gw_store_abort(s, &w, false, &wake);
    assert_true(woken(1));
    gw_store_info(s, &r, &info);
    assert_int_equal(info.state, GW_STORE_ABORTED);
    body_is(&r, 20000);
    gw_store_unpin(s, &r);

    /* the first to ask leads */
    assert_int_equal(gw_store_lead(s, 2, 0, &id, true, &fill), GW_OK);

    /* and may try again while it leads */
    new.fill = fill;
    w = begin(&new);
    gw_store_abort(s, &w, true, &wake);
    assert_int_equal(gw_store_lead(s, 1, 0, &id, true, &fill), GW_AGAIN);
    w = begin(&new);
    assert_true(woken(1));

    /* or give up all */
    assert_int_equal(gw_store_attach(s, 1, &id, &r), GW_OK);
    gw_store_settle(s, new.fill, 0, 0, &wake);
    gw_store_info(s, &r, &info);
    assert_int_equal(info.state, GW_STORE_ABORTED);
    assert_int_equal(append(&w, 0, 1), GW_ERROR);
    assert_int_equal(commit(&w), GW_DECLINED);
    gw_store_unpin(s, &r);
    assert_in_range(used(), 0, 1024);
}


static void
memory_that_was_reserved_is_there(void **unused)
{
    int rc;
    unsigned i;
    char key[16];
    gw_store_new_t n;
    gw_store_ref_t ref, pin[400];

    (void) unused;

    for (i = 0; i < 3000; i++) {
        (void) snprintf(key, sizeof(key), "%u", i);
        store(key, 1000);
    }

    n = new_of("a", 300000);
    ref = begin(&n);

    while ((rc = gw_store_reserve(s, &ref, 0, 300000)) == GW_AGAIN) {
        /* void */
    }

    assert_int_equal(rc, GW_OK);
    check_store(s);

    /* whatever others do */
    for (i = 0; i < 400; i++) {
        (void) snprintf(key, sizeof(key), "%u", 5000 + i);
        store(key, 1000);
        assert_int_equal(get(key, &pin[i]), GW_OK);
    }

    assert_int_equal(append(&ref, 0, 300000), GW_OK);
    assert_int_equal(commit(&ref), GW_OK);

    for (i = 0; i < 400; i++) {
        body_is(&pin[i], 1000);
        gw_store_unpin(s, &pin[i]);
    }

    assert_int_equal(get("a", &ref), GW_OK);
    body_is(&ref, 300000);
    assert_int_equal(gw_store_reserve(s, &ref, 0, 1), GW_ERROR);
    gw_store_unpin(s, &ref);
}


/* Between a look-up and the lead there is no lock. */
static void
who_leads_learns_what_was_stored_since(void **unused)
{
    uint64_t looked;
    gw_store_id_t id;
    gw_store_new_t new;
    gw_store_ref_t w, r;
    gw_store_fill_t fill;

    (void) unused;

    id = id_of("a", NULL);
    new = new_of("a", 0);

    /* nothing */

    looked = gw_store_stored(s);
    assert_int_equal(gw_store_get(s, 0, 0, &id, &r), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 0, 0, &id, true, &fill), GW_OK);
    assert_int_equal(gw_store_stored(s), looked);
    gw_store_settle(s, fill, 0, 0, &wake);

    /* what is given up, is not stored */

    new.fill = 0;
    w = begin(&new);
    gw_store_abort(s, &w, false, &wake);
    assert_int_equal(gw_store_stored(s), looked);

    /* by another one, who led and does no longer */

    assert_int_equal(gw_store_get(s, 0, 0, &id, &r), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 1, 0, &id, true, &new.fill), GW_OK);
    w = begin(&new);
    assert_int_equal(gw_store_commit(s, &w, 0, &wake), GW_OK);

    assert_int_equal(gw_store_lead(s, 0, 0, &id, true, &fill), GW_OK);
    assert_int_not_equal(gw_store_stored(s), looked);
    assert_int_equal(gw_store_get(s, 0, 0, &id, &r), GW_OK);
    gw_store_unpin(s, &r);
    gw_store_settle(s, fill, 0, 0, &wake);
}


static void
waiters_are_woken_and_one_leads(void **unused)
{
    unsigned i;
    gw_store_id_t id;
    gw_store_fill_t fill, other;

    (void) unused;

    id = id_of("a", NULL);
    assert_int_equal(gw_store_lead(s, 0, 0, &id, true, &fill), GW_OK);

    for (i = 1; i < GW_STORE_SLOTS; i++) {
        assert_int_equal(gw_store_lead(s, i, 0, &id, i != 9, &other),
                         GW_AGAIN);
    }

    assert_int_equal(gw_store_lead(s, GW_STORE_SLOTS, 0, &id, true, &other),
                     GW_ERROR);

    gw_store_settle(s, fill, 0, 0, &wake);

    for (i = 0; i < GW_STORE_SLOTS; i++) {
        assert_int_equal(wake.slots[i / 64] >> (i % 64) & 1,
                         i != 0 && i != 9);
    }

    assert_int_equal(gw_store_lead(s, 5, 0, &id, true, &fill), GW_OK);
    assert_int_equal(gw_store_lead(s, 6, 0, &id, true, &other), GW_AGAIN);
    gw_store_settle(s, fill, 0, 0, &wake);
}


static void
nobody_waits_for_what_is_not_cacheable(void **unused)
{
    unsigned i;
    char key[16];
    gw_store_id_t id;
    gw_store_stat_t stat;
    gw_store_fill_t fill;

    (void) unused;

    id = id_of("a", NULL);
    assert_int_equal(gw_store_lead(s, 0, 100, &id, true, &fill), GW_OK);
    assert_int_equal(gw_store_lead(s, 1, 100, &id, true, &fill), GW_AGAIN);
    gw_store_settle(s, fill, 100, 300, &wake);
    assert_true(woken(1));

    assert_int_equal(gw_store_lead(s, 1, 101, &id, true, &fill), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 1, 299, &id, true, &fill), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 1, 300, &id, true, &fill), GW_OK);
    gw_store_settle(s, fill, 300, 400, &wake);

    /* they do not fill the store */
    for (i = 0; i < 20000; i++) {
        (void) snprintf(key, sizeof(key), "%u", i);
        id = id_of(key, NULL);
        assert_int_equal(gw_store_lead(s, 0, 300, &id, true, &fill), GW_OK);
        gw_store_settle(s, fill, 300, 9000, &wake);
    }

    assert_in_range(used(), 0, ARENA / 32);
    gw_store_stat(s, &stat);
    assert_int_equal(stat.fills, 0);

    id = id_of("19999", NULL);
    assert_int_equal(gw_store_lead(s, 1, 301, &id, true, &fill), GW_DECLINED);
    id = id_of("0", NULL);
    assert_int_equal(gw_store_lead(s, 1, 301, &id, true, &fill), GW_OK);
    gw_store_settle(s, fill, 0, 0, &wake);
}


/* Whoever asked without knowing of variants finds the fill of its own. */
static void
a_fill_moves_to_the_variant_it_turns_out_to_be(void **unused)
{
    gw_store_id_t any, gzip, br;
    gw_store_new_t new;
    gw_store_ref_t w, r;
    gw_store_fill_t fill;
    gw_store_spec_t specs[GW_STORE_SPECS];

    (void) unused;

    any = id_of("a", NULL);
    gzip = id_of("a", "gzip");
    br = id_of("a", "br");

    new = new_of("a", 100);
    assert_int_equal(gw_store_lead(s, 0, 0, &any, true, &new.fill), GW_OK);
    assert_int_equal(gw_store_lead(s, 1, 0, &any, true, &fill), GW_AGAIN);

    new.id = gzip;
    new.spec = gw_str("accept-encoding");
    w = begin(&new);
    assert_true(woken(1));
    assert_int_equal(gw_store_specs(s, any.key, specs), 1);

    assert_int_equal(gw_store_attach(s, 1, &br, &r), GW_DECLINED);
    assert_int_equal(gw_store_lead(s, 1, 0, &gzip, true, &fill), GW_AGAIN);
    assert_int_equal(gw_store_attach(s, 1, &gzip, &r), GW_OK);
    assert_int_equal(gw_store_lead(s, 1, 0, &br, true, &fill), GW_OK);

    assert_int_equal(append(&w, 0, 100), GW_OK);
    assert_int_equal(commit(&w), GW_OK);
    body_is(&r, 100);
    gw_store_unpin(s, &r);
    gw_store_settle(s, fill, 0, 0, &wake);

    assert_int_equal(get_id(&gzip, &r), GW_OK);
    gw_store_unpin(s, &r);

    /* a mark at the variant's place gives way */

    assert_int_equal(gw_store_lead(s, 1, 0, &br, true, &fill), GW_OK);
    gw_store_settle(s, fill, 0, 1000, &wake);
    assert_int_equal(gw_store_lead(s, 0, 0, &any, true, &new.fill), GW_OK);
    new.id = br;
    w = begin(&new);
    assert_int_equal(gw_store_lead(s, 1, 0, &br, true, &fill), GW_AGAIN);
    gw_store_abort(s, &w, false, &wake);
}


static void
a_dead_worker_holds_nothing(void **unused)
{
    int rc;
    unsigned i, calls;
    char key[16];
    uint64_t before;
    gw_store_id_t id;
    gw_store_new_t new;
    gw_store_ref_t w, r;
    gw_store_info_t info;
    gw_store_fill_t fill;

    (void) unused;

    store("a", 5000);
    before = used();
    id = id_of("a", NULL);

    for (i = 0; i < 500; i++) {
        assert_int_equal(gw_store_get(s, 0, 0, &id, &r), GW_OK);
    }

    for (i = 0; i < 100; i++) {
        (void) snprintf(key, sizeof(key), "%u", i);
        new = new_of(key, 2000);
        assert_int_equal(gw_store_lead(s, 0, 0, &new.id, true, &new.fill),
                         GW_OK);

        if (i % 2) {
            w = begin(&new);
            assert_int_equal(append(&w, 0, i * 10), GW_OK);
        }
    }

    assert_int_equal(gw_store_get(s, 1, 0, &id, &r), GW_OK);
    assert_int_equal(gw_store_attach(s, 1, &new.id, &w), GW_OK);

    for (calls = 1; ; calls++) {
        rc = gw_store_release(s, 0, &wake);

        if (rc == GW_OK) {
            break;
        }

        assert_int_equal(rc, GW_AGAIN);
    }

    assert_in_range(calls, 5, 20);
    assert_true(woken(77));

    body_is(&r, 5000);
    gw_store_unpin(s, &r);
    gw_store_info(s, &w, &info);
    assert_int_equal(info.state, GW_STORE_ABORTED);
    gw_store_unpin(s, &w);
    assert_in_range(used(), 0, before + 512);

    assert_int_equal(gw_store_lead(s, 1, 0, &new.id, true, &fill), GW_OK);
    gw_store_settle(s, fill, 0, 0, &wake);
    assert_int_equal(gw_store_release(s, GW_STORE_SLOTS, &wake), GW_OK);
}


/* --- purge ---------------------------------------------------------------- */

static void
store_tagged(const char *key, uint64_t a, uint64_t b)
{
    uint64_t tags[4];
    gw_store_new_t n;

    tags[0] = a;
    tags[1] = b;
    tags[2] = a;
    tags[3] = b;

    n = new_of(key, 10);
    n.tags = tags;
    n.ntags = 4;
    store_new(&n, 10);
}


static uint64_t
purge_end(gw_store_purge_t *p)
{
    while (gw_store_purge_end(s, p) == GW_AGAIN) { /* void */ }

    return p->purged;
}


static uint64_t
purge_tag(uint64_t tag, bool cascade)
{
    gw_store_purge_t p;

    memset(&p, 0, sizeof(p));
    p.cascade = cascade;
    gw_store_purge_tag(s, &p, tag);

    return purge_end(&p);
}


static uint64_t
purge_key(const char *key, bool cascade)
{
    gw_store_id_t id;
    gw_store_purge_t p;

    memset(&p, 0, sizeof(p));
    p.cascade = cascade;
    id = id_of(key, NULL);
    assert_int_equal(gw_store_purge_key(s, &p, id.key), GW_OK);

    return purge_end(&p);
}


static bool
starts_with(void *ctx, gw_str_t key)
{
    size_t n;

    n = strlen(ctx);

    return key.len >= n && memcmp(key.data, ctx, n) == 0;
}


static uint64_t
purge_match(const char *start, bool cascade)
{
    char text[16];
    gw_store_purge_t p;

    memset(&p, 0, sizeof(p));
    p.cascade = cascade;
    (void) snprintf(text, sizeof(text), "%s", start);

    while (gw_store_purge_match(s, &p, starts_with, text, scratch)
           == GW_AGAIN)
    {
        /* void */
    }

    return purge_end(&p);
}


static void
purge_by_key_tag_and_pattern(void **unused)
{
    unsigned i;
    char key[16];

    (void) unused;

    store_tagged("a", 1, 2);
    store_tagged("b", 2, 3);
    store_tagged("c", 3, 4);
    store_tagged("d", 4, 5);

    assert_int_equal(purge_key("x", true), 0);
    assert_int_equal(purge_tag(9, true), 0);
    assert_int_equal(purge_match("x", true), 0);

    assert_int_equal(purge_key("a", false), 1);
    assert_int_equal(purge_key("a", false), 0);
    assert_false(is_there("a"));
    assert_int_equal(purge_tag(3, false), 2);
    assert_false(is_there("b") || is_there("c"));
    assert_true(is_there("d"));
    assert_int_equal(purge_match("d", false), 1);

    for (i = 0; i < 1000; i++) {
        (void) snprintf(key, sizeof(key), "%c%u", "xy"[i % 2], i);
        store_tagged(key, 7, i);
    }

    assert_int_equal(purge_match("x", false), 500);
    assert_int_equal(purge_tag(7, false), 500);
    assert_in_range(used(), 0, 1024);
}


static void
a_cascade_goes_one_step(void **unused)
{
    unsigned by;

    (void) unused;

    /* a and b share 2, b and c share 3 */

    for (by = 0; by < 3; by++) {
        store_tagged("a", 1, 2);
        store_tagged("b", 2, 3);
        store_tagged("c", 3, 4);

        assert_int_equal(by == 0 ? purge_key("a", true)
                         : by == 1 ? purge_tag(1, true)
                                   : purge_match("a", true), 2);
        assert_false(is_there("a") || is_there("b"));
        assert_true(is_there("c"));
    }

    /* by the tag of both, each of them counts */

    store_tagged("a", 1, 2);
    store_tagged("b", 2, 3);
    store_tagged("c", 3, 4);
    store_tagged("d", 4, 5);
    assert_int_equal(purge_tag(2, true), 3);
    assert_true(is_there("d"));
}


/* 1 leads by 2 to b, which 3 purges as well: then its 4 counts too. */
static void
tags_of_several_that_cascade_are_all_followed(void **unused)
{
    unsigned order;
    gw_store_new_t n;
    gw_store_purge_t p;

    static const uint64_t tags[] = { 2, 3, 4 };

    (void) unused;

    for (order = 0; order < 2; order++) {
        store_tagged("a", 1, 2);
        n = new_of("b", 10);
        n.tags = tags;
        n.ntags = 3;
        store_new(&n, 10);
        store_tagged("c", 4, 5);
        store_tagged("d", 5, 6);

        memset(&p, 0, sizeof(p));
        p.cascade = true;
        gw_store_purge_tag(s, &p, order ? 1 : 3);
        gw_store_purge_tag(s, &p, order ? 3 : 1);
        assert_int_equal(purge_end(&p), 3);
        assert_true(is_there("d"));
    }
}


/* How, after an answer was asked for, it is purged: it is not stored. */
static void
what_was_asked_for_before_a_purge_is_not_stored(void **unused)
{
    int rc;
    unsigned how;
    uint64_t tags[2] = { 11, 12 };
    gw_store_new_t n;
    gw_store_ref_t w, r;
    gw_store_fill_t fill;

    (void) unused;

    for (how = 0; how < 8; how++) {
        (void) purge_key("a", false);
        store_tagged("other", 13, how < 4 ? 12 : 20);
        n = new_of("a", 10);
        n.tags = tags;
        n.ntags = 2;
        assert_int_equal(gw_store_lead(s, 0, 0, &n.id, true, &n.fill), GW_OK);

        if (how == 7) {
            w = begin(&n);
        }

        switch (how) {
        case 0: case 7: assert_int_equal(purge_key("a", false), 0); break;
        case 1: assert_int_equal(purge_tag(12, false), 1); break;
        case 2: assert_int_equal(purge_match("zz", false), 0); break;
        case 3: assert_int_equal(purge_key("other", true), 1); break;
        case 4: assert_int_equal(purge_key("b", false), 0); break;
        case 5: assert_int_equal(purge_tag(20, false), 1); break;
        default: assert_int_equal(purge_key("other", true), 1);
        }

        if (how != 7) {
            w = begin(&n);
        }

        assert_int_equal(append(&w, 0, 10), GW_OK);

        /* nor may anybody begin to read it */

        rc = how < 4 || how == 7 ? GW_DECLINED : GW_OK;
        assert_int_equal(gw_store_attach(s, 1, &n.id, &r), rc);

        if (rc == GW_OK) {
            gw_store_unpin(s, &r);
        }

        assert_int_equal(commit(&w), rc);
        assert_int_equal(is_there("a"), rc == GW_OK);
        assert_int_equal(gw_store_lead(s, 0, 0, &n.id, true, &fill), GW_OK);
        gw_store_settle(s, fill, 0, 0, &wake);
    }

    /* more purges than are remembered */

    n = new_of("a", 0);

    for (how = 0; how <= GW_STORE_RING; how++) {
        (void) purge_tag(1000 + how, false);
    }

    w = begin(&n);
    assert_int_equal(commit(&w), GW_DECLINED);
    n = new_of("a", 0);
    w = begin(&n);
    assert_int_equal(commit(&w), GW_OK);
}


static void
as_many_tags_as_are_allowed(void **unused)
{
    unsigned i;
    uint64_t tags[GW_STORE_MAX_TAGS];
    gw_store_new_t n;

    (void) unused;

    for (i = 0; i < GW_STORE_MAX_TAGS; i++) {
        tags[i] = i * 1024; /* in few buckets */
    }

    n = new_of("a", 10);
    n.tags = tags;
    n.ntags = GW_STORE_MAX_TAGS;
    store_new(&n, 10);
    check_store(s);

    for (i = 0; i < GW_STORE_MAX_TAGS; i += 9) {
        n = new_of("a", 10);
        n.tags = tags;
        n.ntags = GW_STORE_MAX_TAGS;
        store_new(&n, 10);
        assert_int_equal(purge_tag(i * 1024, false), 1);
        assert_in_range(used(), 0, 1024);
    }
}


/* --- when memory is short ------------------------------------------------- */

static void
what_is_pinned_stays(void **unused)
{
    int rc;
    unsigned i, n;
    char key[16];
    uint64_t before;
    gw_store_new_t new;
    gw_store_ref_t ref, pin[2000];
    gw_store_info_t info;

    (void) unused;

    store("last", 1000);

    for (n = 0; n < COUNT(pin); n++) {
        (void) snprintf(key, sizeof(key), "%u", n);
        new = new_of(key, 1000);
        rc = gw_store_begin(s, 0, 0, &new, &ref, &wake);

        if (rc != GW_OK) {
            break;
        }

        rc = append(&ref, 0, 1000);

        if (rc != GW_OK) {
            gw_store_abort(s, &ref, false, &wake);
            break;
        }

        assert_int_equal(commit(&ref), GW_OK);
        rc = get(key, &pin[n]);

        if (rc != GW_OK) {
            break;
        }
    }

    /* nearly all the arena is pinned: what comes then is refused */

    assert_int_equal(rc, GW_ERROR);
    assert_in_range(n, 500, 1000);
    check_store(s);

    new = new_of("new", 50000);
    rc = gw_store_begin(s, 0, 0, &new, &ref, &wake);

    if (rc == GW_OK) {
        assert_int_equal(append(&ref, 0, 50000), GW_ERROR);
        gw_store_abort(s, &ref, false, &wake);
    }

    check_store(s);
    before = used();

    for (i = 0; i < n; i++) {
        body_is(&pin[i], 1000);
        gw_store_info(s, &pin[i], &info);
        assert_true(info.stored);
        gw_store_unpin(s, &pin[i]);
    }

    assert_true(used() <= before);
    store("new", 50000);
    assert_true(is_there("new"));
}


static void
no_object_takes_more_than_half_of_the_arena(void **unused)
{
    gw_store_new_t n;
    gw_store_ref_t ref;

    (void) unused;

    s = make_store(131072);
    store("a", 1000);

    n = new_of("b", 70000);
    assert_int_equal(gw_store_begin(s, 0, 0, &n, &ref, &wake), GW_DECLINED);

    n = new_of("b", GW_STORE_UNKNOWN);
    ref = begin(&n);
    assert_int_equal(gw_store_reserve(s, &ref, 0, 70000), GW_DECLINED);
    assert_int_equal(append(&ref, 0, 50000), GW_OK);
    assert_int_equal(append(&ref, 50000, 20000), GW_DECLINED);
    gw_store_abort(s, &ref, false, &wake);

    assert_true(is_there("a"));
    store("b", 50000);
    assert_true(is_there("b"));
}


static void
a_scan_does_not_evict_what_is_asked_for(void **unused)
{
    unsigned i, there;
    char key[16];

    (void) unused;

    for (i = 0; i < 200; i++) {
        (void) snprintf(key, sizeof(key), "hot%u", i);
        store(key, 1000);
        assert_true(is_there(key));
    }

    /* ten times what the arena holds, each asked for once, some of the
       others now and then */

    for (i = 0; i < 6000; i++) {
        (void) snprintf(key, sizeof(key), "scan%u", i);
        store(key, 1000);

        if (i % 4 == 0) {
            (void) snprintf(key, sizeof(key), "hot%u", i / 4 % 200);
            (void) is_there(key);
        }
    }

    for (i = 0, there = 0; i < 200; i++) {
        (void) snprintf(key, sizeof(key), "hot%u", i);
        there += is_there(key);
    }

    assert_int_equal(there, 200);
}


static void
what_is_of_no_use_goes_first(void **unused)
{
    unsigned i;
    char key[16];
    gw_store_new_t n;
    gw_store_ref_t ref;
    gw_store_stat_t stat;

    (void) unused;

    for (i = 0; i < 300; i++) {
        (void) snprintf(key, sizeof(key), "old%u", i);
        n = new_of(key, 1000);
        n.dead_at = 50;
        store_new(&n, 1000);
        (void) is_there(key);
        (void) is_there(key);
    }

    for (i = 0; i < 600; i++) {
        (void) snprintf(key, sizeof(key), "new%u", i);
        n = new_of(key, 1000);
        assert_int_equal(gw_store_begin(s, 0, 100, &n, &ref, &wake), GW_OK);
        assert_int_equal(append(&ref, 0, 1000), GW_OK);
        assert_int_equal(commit(&ref), GW_OK);
    }

    gw_store_stat(s, &stat);
    assert_int_equal(stat.evicted, 0);
    assert_true(stat.expired > 50);
    assert_true(is_there("new0"));
}


static void
random_work_by_several(void **unused)
{
    size_t i;
    unsigned step;

    static play_t p;
    static const size_t sizes[] = { 65536, 200000, 1048576, 4194304 };

    (void) unused;

    for (i = 0; i < COUNT(sizes); i++) {
        gw_store_conf_t conf = { PLAY_META, 150000 };

        free(base);
        base = malloc(sizes[i]);
        assert_non_null(base);
        s = gw_store_init(base, sizes[i], &conf);
        assert_non_null(s);
        play_init(&p, s, 7919 + i, 150000);

        for (step = 0; step < 8000; step++) {
            play_step(&p, step % PLAY_SLOTS);

            if (step % 50 == 0) {
                check_store(s);
            }
        }

        play_finish(&p);
    }
}


#define test(f) cmocka_unit_test_setup_teardown(f, each_set_up, each_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        test(arenas_of_64_kb_and_more),
        test(a_store_is_opened_as_it_was_made),
        test(nothing_depends_on_the_address),
        test(objects_of_all_sizes_come_whole),
        test(an_object_keeps_what_it_was_given),
        test(small_objects_are_one_piece_and_large_ones_few),
        test(the_key_is_compared_as_it_stands),
        test(the_empty_and_the_longest_key),
        test(what_is_over_a_limit_is_declined),
        test(what_is_replaced_lives_until_it_is_unpinned),
        test(what_is_removed_too),
        test(what_is_of_no_use_is_not_found),
        test(a_new_header_takes_over_the_body),
        test(variants_are_found_by_what_chose_them),
        test(a_key_has_any_number_of_variants),
        test(what_is_being_filled_is_read_meanwhile),
        test(readers_learn_that_it_was_given_up),
        test(memory_that_was_reserved_is_there),
        test(who_leads_learns_what_was_stored_since),
        test(waiters_are_woken_and_one_leads),
        test(nobody_waits_for_what_is_not_cacheable),
        test(a_fill_moves_to_the_variant_it_turns_out_to_be),
        test(a_dead_worker_holds_nothing),
        test(purge_by_key_tag_and_pattern),
        test(a_cascade_goes_one_step),
        test(tags_of_several_that_cascade_are_all_followed),
        test(what_was_asked_for_before_a_purge_is_not_stored),
        test(as_many_tags_as_are_allowed),
        test(what_is_pinned_stays),
        test(no_object_takes_more_than_half_of_the_arena),
        test(a_scan_does_not_evict_what_is_asked_for),
        test(what_is_of_no_use_goes_first),
        test(random_work_by_several),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
