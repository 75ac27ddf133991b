#include "guard.h"

#include "../../src/cache_store.h"
#include "../../src/cache_wire.h"


static const gw_wire_field_t lines[] = {
    { { (const unsigned char *) "Content-Type", 12 },
      { (const unsigned char *) "text/plain", 10 }, 1 },
    { { (const unsigned char *) "X-Empty", 7 },
      { (const unsigned char *) "", 0 }, 0x80 },
};

static gw_wire_object_t
object(void)
{
    gw_wire_object_t o;

    memset(&o, 0, sizeof(o));

    o.meta.response_time = INT64_C(1764000000123);
    o.meta.initial_age_ms = 5000;
    o.meta.date = 1764000000;
    o.meta.last_modified = GW_NO_DATE;
    o.meta.lifetime = 60;
    o.meta.stale_while_revalidate = 7;
    o.meta.stale_if_error = UINT32_C(0x80000000);
    o.meta.status = 200;
    o.meta.flags = GW_CACHE_HAS_ETAG;
    o.dead_at = INT64_C(1764000999000);
    o.key = gw_str("httphost/x?y");
    o.spec = gw_str("accept,accept-encoding");
    o.tags = gw_str("a b");
    o.body = gw_str("the body");

    return o;
}


/* Written right before a page that must not be touched. */
static gw_str_t
written(const gw_wire_object_t *o, size_t n)
{
    size_t size;
    unsigned char *p, *end;

    size = gw_wire_size(o, lines, n);
    assert_true(size > 0);

    p = guard_room(0, size + o->body.len);
    end = gw_wire_write(p, o, lines, n);
    assert_ptr_equal(end, p + size);

    if (o->body.len > 0) {
        memcpy(end, o->body.data, o->body.len);
    }

    return (gw_str_t){ p, size + o->body.len };
}


static void
assert_same(gw_str_t a, gw_str_t b)
{
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
}


static void
comes_back_as_it_was(void **unused)
{
    gw_str_t text;
    gw_wire_field_t f;
    gw_wire_object_t o, in;

    (void) unused;

    in = object();
    text = written(&in, 2);

    assert_memory_equal(text.data, "1" "001764000055123" "001764000000123",
                        1 + 2 * GW_WIRE_DIGITS);

    assert_int_equal(gw_wire_read(&o, text), GW_OK);
    assert_memory_equal(&o.meta, &in.meta, sizeof(in.meta));
    assert_int_equal(o.dead_at, in.dead_at);
    assert_same(o.key, in.key);
    assert_same(o.spec, in.spec);
    assert_same(o.tags, in.tags);
    assert_same(o.body, in.body);

    assert_true(gw_wire_field(&o.fields, &f));
    assert_same(f.name, lines[0].name);
    assert_same(f.value, lines[0].value);
    assert_int_equal(f.mark, 1);
    assert_true(gw_wire_field(&o.fields, &f));
    assert_same(f.name, lines[1].name);
    assert_int_equal(f.value.len, 0);
    assert_int_equal(f.mark, 0x80);
    assert_false(gw_wire_field(&o.fields, &f));
}


/* Nodes of other versions read it. */

static void
the_bytes_are_these(void **unused)
{
    gw_str_t text;
    gw_wire_object_t o;

    static const unsigned char numbers[] = {
        0x00, 0xc8, 0x00, GW_CACHE_HAS_ETAG, 0, 0, 0, 60, 0, 0, 0, 7,
        0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x13, 0x88,
        0, 0, 0, 0, 0x69, 0x24, 0x81, 0x00
    };
    static const unsigned char lengths[] = {
        0, 0, 0, 12, 0, 0, 0, 14, 0, 0, 0, 8, 0, 22, 0, 3
    };
    static const unsigned char field[] = {
        0x80, 0, 7, 0, 0, 0, 0, 'X', '-', 'E', 'm', 'p', 't', 'y'
    };

    (void) unused;

    o = object();
    assert_true(gw_wire_size(&o, lines + 1, 1) > 0);

    text.data = guard_room(0, 512);
    text.len = gw_wire_write((unsigned char *) text.data, &o, lines + 1, 1)
               - text.data;

    assert_memory_equal(text.data + 31, numbers, sizeof(numbers));
    assert_memory_equal(text.data + 31 + sizeof(numbers) + 16, lengths,
                        sizeof(lengths));
    assert_memory_equal(text.data + text.len - sizeof(field), field,
                        sizeof(field));
}


static void
any_other_length_is_refused(void **unused)
{
    size_t len;
    gw_str_t text, shorter;
    unsigned char longer[512];
    gw_wire_object_t o, in;

    (void) unused;

    in = object();
    text = written(&in, 2);

    assert_true(text.len < sizeof(longer));
    memcpy(longer, text.data, text.len);
    longer[text.len] = 0;

    for (len = 0; len < text.len; len++) {
        shorter.data = guard_copy(1, longer, len);
        shorter.len = len;
        assert_int_equal(gw_wire_read(&o, shorter), GW_ERROR);
    }

    assert_int_equal(gw_wire_read(&o, (gw_str_t){ longer, text.len + 1 }),
                     GW_ERROR);
}


/* One thing at a time is not as it could have been written. */
static void
what_cannot_be_is_refused(void **unused)
{
    size_t i;
    gw_wire_field_t bad;
    unsigned char *p, text[512];
    gw_wire_object_t o, in;
    size_t size;

    static const char *const specs[] = {
        "Accept", "accept,", ",accept", "a,,b", "a b", "a\n"
    };
    static const char *const values[] = { "a\nb", "a\rb", "\x7f", "\x01" };

    (void) unused;

    for (i = 0; i < 4; i++) {
        in = object();

        switch (i) {
        case 0: in.meta.status = 199; break;
        case 1: in.meta.status = 600; break;
        case 2: in.meta.flags = 0x40; break;
        case 3: in.meta.initial_age_ms = -1; break;
        }

        assert_int_equal(gw_wire_read(&o, written(&in, 2)), GW_ERROR);
    }

    for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        in = object();
        in.spec = (gw_str_t){ (const unsigned char *) specs[i],
                              strlen(specs[i]) };
        assert_int_equal(gw_wire_read(&o, written(&in, 2)), GW_ERROR);
    }

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        in = object();
        bad = lines[0];
        bad.value = (gw_str_t){ (const unsigned char *) values[i],
                                strlen(values[i]) };
        size = gw_wire_size(&in, &bad, 1);
        p = gw_wire_write(text, &in, &bad, 1);
        memcpy(p, in.body.data, in.body.len);
        assert_int_equal(gw_wire_read(&o, (gw_str_t){ text,
                                                      size + in.body.len }),
                         GW_ERROR);

        /* the same as a name */
        bad.name = bad.value;
        bad.value = gw_str("");
        p = gw_wire_write(text, &in, &bad, 1);
        memcpy(p, in.body.data, in.body.len);
        assert_int_equal(gw_wire_read(&o, (gw_str_t){ text,
                                                      size + in.body.len }),
                         GW_ERROR);
    }

    in = object();
    size = written(&in, 2).len;
    memcpy(text, written(&in, 2).data, size);
    text[0] = '2';
    assert_int_equal(gw_wire_read(&o, (gw_str_t){ text, size }), GW_ERROR);
    text[0] = '1';
    text[5] = 'x';
    assert_int_equal(gw_wire_read(&o, (gw_str_t){ text, size }), GW_ERROR);
}


static void
limits(void **unused)
{
    gw_wire_object_t o;
    gw_wire_field_t f;

    (void) unused;

    o = object();
    o.key.len = GW_STORE_MAX_KEY;
    assert_true(gw_wire_size(&o, NULL, 0) > 0);
    o.key.len++;
    assert_int_equal(gw_wire_size(&o, NULL, 0), 0);

    o = object();
    o.spec.len = GW_STORE_MAX_SPEC + 1;
    assert_int_equal(gw_wire_size(&o, NULL, 0), 0);

    o = object();
    f = lines[0];
    f.value.len = GW_STORE_MAX_HEADER - 7 - f.name.len;
    assert_true(gw_wire_size(&o, &f, 1) > 0);
    f.value.len++;
    assert_int_equal(gw_wire_size(&o, &f, 1), 0);
    f.value.len = SIZE_MAX;
    assert_int_equal(gw_wire_size(&o, &f, 1), 0);
}


static void
items(void **unused)
{
    char what;
    gw_str_t text, s;
    unsigned char *p, *end;
    size_t i, size;

    static const char *const bad[] = {
        "K1:a", "k", "k:", "k1", "k1:", "k2:a", "kx:a", "k-1:a", "k99999999999:"
    };

    (void) unused;

    size = gw_wire_item_size(10) + gw_wire_item_size(0);
    p = guard_room(0, size);
    end = gw_wire_item_write(p, 'k', gw_str("0123456789"));
    end = gw_wire_item_write(end, 'c', gw_str(""));
    assert_ptr_equal(end, p + size);
    assert_memory_equal(p, "k10:0123456789c0:", size);

    text = (gw_str_t){ p, size };
    assert_int_equal(gw_wire_item(&text, &what, &s), GW_OK);
    assert_int_equal(what, 'k');
    assert_int_equal(s.len, 10);
    assert_int_equal(gw_wire_item(&text, &what, &s), GW_OK);
    assert_int_equal(what, 'c');
    assert_int_equal(s.len, 0);
    assert_int_equal(gw_wire_item(&text, &what, &s), GW_DECLINED);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        text.len = strlen(bad[i]);
        text.data = guard_copy(1, bad[i], text.len);
        assert_int_equal(gw_wire_item(&text, &what, &s), GW_ERROR);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(any_other_length_is_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(items),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
