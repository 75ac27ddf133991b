#include <string.h>

#include "cache_control.h"


/* Where a directive goes: a flag, or a number in the struct. */
typedef struct {
    gw_str_t name;
    size_t offset;
    uint32_t flag;
    bool larger;  /* the larger of two numbers is the more restrictive */
} directive_t;

#define NAME(s) { (const unsigned char *) (s), sizeof(s) - 1 }
#define FLAG(name, flag) { NAME(name), 0, flag, false }
#define NUMBER(name, field, larger)                                           \
    { NAME(name), offsetof(gw_cache_control_t, field), 0, larger }

static const directive_t directives[] = {
    NUMBER("max-age", max_age, false),
    NUMBER("s-maxage", s_maxage, false),
    NUMBER("stale-while-revalidate", stale_while_revalidate, false),
    NUMBER("stale-if-error", stale_if_error, false),
    NUMBER("min-fresh", min_fresh, true),
    NUMBER("max-stale", max_stale, false),
    FLAG("no-store", GW_CC_NO_STORE),
    FLAG("no-cache", GW_CC_NO_CACHE),
    FLAG("private", GW_CC_PRIVATE),
    FLAG("public", GW_CC_PUBLIC),
    FLAG("must-revalidate", GW_CC_MUST_REVALIDATE),
    FLAG("proxy-revalidate", GW_CC_PROXY_REVALIDATE),
    FLAG("must-understand", GW_CC_MUST_UNDERSTAND),
    FLAG("only-if-cached", GW_CC_ONLY_IF_CACHED)
};


static const directive_t *
find(gw_str_t name)
{
    size_t i;

    for (i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
        if (gw_field_is(directives[i].name, name)) {
            return &directives[i];
        }
    }

    return NULL;
}


static uint32_t *
number_of(gw_cache_control_t *cc, const directive_t *d)
{
    return (uint32_t *) (void *) ((unsigned char *) cc + d->offset);
}


void
gw_cache_control_init(gw_cache_control_t *cc)
{
    cc->flags = 0;
    cc->max_age = GW_CC_NONE;
    cc->s_maxage = GW_CC_NONE;
    cc->stale_while_revalidate = GW_CC_NONE;
    cc->stale_if_error = GW_CC_NONE;
    cc->min_fresh = GW_CC_NONE;
    cc->max_stale = GW_CC_NONE;
}


void
gw_cache_control_add(gw_cache_control_t *cc, gw_str_t name, gw_str_t value)
{
    uint32_t n, *number;
    const directive_t *d;

    d = find(name);

    if (d == NULL) {
        return;
    }

    if (d->flag) {
        cc->flags |= d->flag;
        return;
    }

    number = number_of(cc, d);

    if (value.data == NULL && number == &cc->max_stale) {
        n = GW_CC_ANY;

    } else if (gw_http_delta(value, &n) != GW_OK) {
        /* what cannot be read: nothing is fresh enough, nothing is stale
           enough to be served */
        n = d->larger ? GW_DELTA_MAX : 0;
    }

    if (*number == GW_CC_NONE || (d->larger ? n > *number : n < *number)) {
        *number = n;
    }
}


/* cache-directive = token [ "=" ( token / quoted-string ) ] (5.2) */
static void
add_member(gw_cache_control_t *cc, gw_str_t member)
{
    gw_str_t name, value;
    const unsigned char *eq;

    name = member;
    value.data = NULL;
    value.len = 0;

    eq = memchr(member.data, '=', member.len);

    if (eq != NULL) {
        name.len = eq - member.data;
        value.data = eq + 1;
        value.len = member.len - name.len - 1;
        value = gw_http_unquote(value);
    }

    if (name.len != gw_http_trim(name).len) {
        /* "max-age =1": the directive is meant, its value is not sure */
        name = gw_http_trim(name);
        value = gw_str("?");
    }

    gw_cache_control_add(cc, name, value);
}


static bool
add_members(gw_cache_control_t *cc, gw_fields_t fields)
{
    bool any;
    gw_str_t member;
    gw_members_t m;

    any = false;
    gw_members_init(&m, fields, gw_str("Cache-Control"));

    while (gw_members_next(&m, &member)) {
        add_member(cc, member);
        any = true;
    }

    return any;
}


void
gw_cache_control_response(gw_cache_control_t *cc, gw_fields_t fields)
{
    if (gw_cache_control_targeted(cc, fields, gw_str("CDN-Cache-Control"))
        == GW_OK)
    {
        cc->flags |= GW_CC_TARGETED;
        return;
    }

    gw_cache_control_init(cc);
    add_members(cc, fields);
}


void
gw_cache_control_request(gw_cache_control_t *cc, gw_fields_t fields)
{
    gw_cache_control_init(cc);

    if (!add_members(cc, fields)
        && gw_field_lists(fields, gw_str("Pragma"), gw_str("no-cache")))
    {
        cc->flags |= GW_CC_NO_CACHE;
    }
}
