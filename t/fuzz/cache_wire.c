/*
 * What other nodes have stored and purged: whatever is read can be written
 * again, and is then the same.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cache_wire.h"

#define FIELDS 64


static void
check(bool ok)
{
    if (!ok) {
        abort();
    }
}


static void
check_object(gw_str_t text)
{
    size_t n, size;
    gw_str_t left;
    unsigned char *p, *end;
    gw_wire_field_t fields[FIELDS];
    gw_wire_object_t o;

    if (gw_wire_read(&o, text) != GW_OK) {
        return;
    }

    left = o.fields;

    for (n = 0; n < FIELDS && gw_wire_field(&left, &fields[n]); n++) {
        check(gw_http_token(fields[n].name));
        check(memchr(fields[n].value.data, '\n', fields[n].value.len) == NULL);
    }

    if (left.len > 0) {
        return;
    }

    size = gw_wire_size(&o, fields, n);
    check(size + o.body.len == text.len);

    p = malloc(size);
    check(p != NULL);
    end = gw_wire_write(p, &o, fields, n);
    check(end == p + size);

    /* but for the first number, which follows from others */
    check(memcmp(p + GW_WIRE_MADE, text.data + GW_WIRE_MADE,
                 size - GW_WIRE_MADE) == 0);
    free(p);
}


static void
check_items(gw_str_t text)
{
    int rc;
    char what;
    gw_str_t s, again;
    unsigned char *p;

    while ((rc = gw_wire_item(&text, &what, &s)) == GW_OK) {
        p = malloc(gw_wire_item_size(s.len));
        check(p != NULL);

        again.data = p;
        again.len = (size_t) (gw_wire_item_write(p, what, s) - p);
        check(again.len == gw_wire_item_size(s.len));

        check(gw_wire_item(&again, &what, &s) == GW_OK && again.len == 0);
        free(p);
    }

    check(rc == GW_ERROR || text.len == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    gw_str_t text;

    /* a copy of just that size, so that a byte too far is seen */
    copy = malloc(size + (size == 0));
    check(copy != NULL);
    memcpy(copy, data, size);

    text.data = copy;
    text.len = size;

    check_object(text);
    check_items(text);

    free(copy);

    return 0;
}
