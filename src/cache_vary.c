#include <string.h>

#include "cache_vary.h"


#define MAX_NAMES 32
#define MAX_CHOICES 32 /* of an Accept-* field; more are taken as they are */

typedef struct {
    unsigned char *data;
    size_t size;
    size_t len;
    bool full;
} text_t;

/* A coding, language or charset, and its weight in thousandths. */
typedef struct {
    gw_str_t name;
    unsigned weight;
} choice_t;


static unsigned char
lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}


static void
put(text_t *t, gw_str_t s, bool small)
{
    size_t i;

    if (s.len > t->size - t->len) {
        t->full = true;
        return;
    }

    for (i = 0; i < s.len; i++) {
        t->data[t->len++] = small ? lower(s.data[i]) : s.data[i];
    }
}


/* Order without regard to case; a prefix comes first. */
static int
compare(gw_str_t a, gw_str_t b)
{
    size_t i;
    unsigned char x, y;

    for (i = 0; i < a.len && i < b.len; i++) {
        x = lower(a.data[i]);
        y = lower(b.data[i]);

        if (x != y) {
            return x < y ? -1 : 1;
        }
    }

    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}


int
gw_vary_spec(unsigned char *out, size_t size, size_t *len,
    gw_fields_t response)
{
    int order;
    size_t i, n;
    text_t t;
    gw_str_t member, names[MAX_NAMES];
    gw_members_t m;

    n = 0;
    order = 1;
    gw_members_init(&m, response, gw_str("Vary"));

    while (gw_members_next(&m, &member)) {

        if (!gw_http_token(member)
            || (member.len == 1 && member.data[0] == '*'))
        {
            return GW_DECLINED;
        }

        for (i = 0; i < n; i++) {
            order = compare(member, names[i]);

            if (order <= 0) {
                break;
            }
        }

        if (i < n && order == 0) {
            continue;
        }

        if (n == MAX_NAMES) {
            return GW_ERROR;
        }

        memmove(&names[i + 1], &names[i], (n - i) * sizeof(names[0]));
        names[i] = member;
        n++;
    }

    t = (text_t){ out, size, 0, false };

    for (i = 0; i < n; i++) {
        if (i > 0) {
            put(&t, gw_str(","), false);
        }

        put(&t, names[i], true);
    }

    *len = t.len;

    return t.full ? GW_ERROR : GW_OK;
}


/* qvalue (RFC 9110, 12.4.2); false: it is none. */
static bool
parse_weight(gw_str_t s, unsigned *weight)
{
    size_t i;
    unsigned unit;

    if (s.len == 0 || s.len > 5 || (s.data[0] != '0' && s.data[0] != '1')
        || (s.len > 1 && s.data[1] != '.'))
    {
        return false;
    }

    *weight = (s.data[0] - '0') * 1000;

    for (i = 2, unit = 100; i < s.len; i++, unit /= 10) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }

        *weight += (s.data[i] - '0') * unit;
    }

    return *weight <= 1000;
}


/* name [ ";" "q=" qvalue ]; false: something else. */
static bool
parse_choice(gw_str_t member, choice_t *c)
{
    gw_str_t weight;
    const unsigned char *semicolon;

    c->name = member;
    c->weight = 1000;

    semicolon = memchr(member.data, ';', member.len);

    if (semicolon != NULL) {
        c->name.len = semicolon - member.data;
        c->name = gw_http_trim(c->name);

        weight.data = semicolon + 1;
        weight.len = member.data + member.len - weight.data;
        weight = gw_http_trim(weight);

        if (weight.len < 2 || lower(weight.data[0]) != 'q'
            || weight.data[1] != '=')
        {
            return false;
        }

        weight.data += 2;
        weight.len -= 2;

        if (!parse_weight(weight, &c->weight)) {
            return false;
        }
    }

    return gw_http_token(c->name);
}


/* Sorted into c, each once; the number, or -1: not of this form. */
static int
parse_choices(choice_t *c, gw_fields_t request, gw_str_t name)
{
    int i, n, order;
    choice_t one;
    gw_str_t member;
    gw_members_t m;

    n = 0;
    order = 1;
    gw_members_init(&m, request, name);

    while (gw_members_next(&m, &member)) {

        if (!parse_choice(member, &one) || n == MAX_CHOICES) {
            return -1;
        }

        if (gw_field_is(one.name, gw_str("x-gzip"))) {
            one.name = gw_str("gzip");
        }

        for (i = 0; i < n; i++) {
            order = compare(one.name, c[i].name);

            if (order <= 0) {
                break;
            }
        }

        if (i < n && order == 0) {

            if (one.weight != c[i].weight) {
                return -1;
            }

            continue;
        }

        memmove(&c[i + 1], &c[i], (size_t) (n - i) * sizeof(*c));
        c[i] = one;
        n++;
    }

    return n;
}


static void
put_choice(text_t *t, const choice_t *c)
{
    unsigned char q[6];

    put(t, c->name, true);

    if (c->weight < 1000) {
        memcpy(q, ";0.", 3);
        q[3] = (unsigned char) ('0' + c->weight / 100);
        q[4] = (unsigned char) ('0' + c->weight / 10 % 10);
        q[5] = (unsigned char) ('0' + c->weight % 10);
        put(t, (gw_str_t){ q, 6 }, false);
    }
}


static bool
put_choices(text_t *t, gw_str_t name, gw_fields_t request)
{
    int i, n;
    bool first, any, encoding;
    choice_t c[MAX_CHOICES + 1];

    n = parse_choices(c, request, name);

    if (n < 0) {
        return false;
    }

    any = false;
    encoding = gw_field_is(name, gw_str("Accept-Encoding"));

    for (i = 0; i < n; i++) {
        any = any || gw_field_is(c[i].name, gw_str("*"));
    }

    first = true;

    for (i = 0; i < n; i++) {

        if (c[i].weight == 0 && encoding && !any
            && !gw_field_is(c[i].name, gw_str("identity")))
        {
            continue;
        }

        if (!first) {
            put(t, gw_str(","), false);
        }

        put_choice(t, &c[i]);
        first = false;
    }

    return true;
}


static void
put_members(text_t *t, gw_str_t name, gw_fields_t request)
{
    bool first;
    gw_str_t member;
    gw_members_t m;

    first = true;
    gw_members_init(&m, request, name);

    while (gw_members_next(&m, &member)) {

        if (!first) {
            put(t, gw_str(","), false);
        }

        put(t, member, false);
        first = false;
    }
}


/* GW_OK, GW_DECLINED: no such field, GW_ERROR: control characters in it. */
static int
check_values(gw_str_t name, gw_fields_t request)
{
    int rc;
    size_t i, j;
    gw_str_t value;

    rc = GW_DECLINED;

    for (i = 0; i < request.n; i++) {

        if (!gw_field_is(request.fields[i].name, name)) {
            continue;
        }

        rc = GW_OK;
        value = request.fields[i].value;

        for (j = 0; j < value.len; j++) {
            if (value.data[j] < 0x20 && value.data[j] != '\t') {
                return GW_ERROR;
            }
        }
    }

    return rc;
}


int
gw_vary_text(unsigned char *out, size_t size, size_t *len, gw_str_t spec,
    gw_fields_t request)
{
    int rc;
    text_t t;
    gw_str_t name;

    t = (text_t){ out, size, 0, false };

    while (gw_member_cut(&spec, &name)) {

        put(&t, name, false);

        rc = check_values(name, request);

        if (rc == GW_ERROR) {
            return GW_ERROR;
        }

        if (rc == GW_OK) {
            put(&t, gw_str(":"), false);

            if ((!gw_field_is(name, gw_str("accept-encoding"))
                 && !gw_field_is(name, gw_str("accept-language"))
                 && !gw_field_is(name, gw_str("accept-charset")))
                || !put_choices(&t, name, request))
            {
                put_members(&t, name, request);
            }
        }

        put(&t, gw_str("\n"), false);
    }

    *len = t.len;

    return t.full ? GW_ERROR : GW_OK;
}
