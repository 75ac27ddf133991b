#include <string.h>

#include "cache_validate.h"


static bool
starts(gw_str_t s, const char *prefix)
{
    return s.len >= strlen(prefix)
           && memcmp(s.data, prefix, strlen(prefix)) == 0;
}


static gw_str_t
after(gw_str_t s, size_t n)
{
    return (gw_str_t){ s.data + n, s.len - n };
}


/* Bytes before the first one that is in `stops`, or all. */
static size_t
span(gw_str_t s, const char *stops)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] != '\0' && strchr(stops, s.data[i]) != NULL) {
            break;
        }
    }

    return i;
}


/* host [ ":" port ], without the scheme's own port. */
static gw_str_t
without_port(gw_str_t host, gw_str_t scheme)
{
    size_t n;
    const char *port;

    port = gw_field_is(scheme, gw_str("https")) ? ":443"
           : gw_field_is(scheme, gw_str("http")) ? ":80" : ":";
    n = strlen(port);

    if (host.len > n && memcmp(host.data + host.len - n, port, n) == 0) {
        host.len -= n;

    } else if (host.len > 1 && host.data[host.len - 1] == ':') {
        host.len--;
    }

    return host;
}


/* Bytes of a scheme with its colon; 0: none. */
static size_t
scheme_length(gw_str_t s)
{
    size_t i;
    unsigned char c;

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (c == ':') {
            return i > 0 ? i + 1 : 0;
        }

        if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c >= 'A')
            && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-'
                            || c == '.')))
        {
            return 0;
        }
    }

    return 0;
}


/* Takes scheme and authority off a reference. False: of another origin. */
static bool
same_origin(gw_str_t *ref, gw_str_t scheme, gw_str_t host)
{
    size_t n;
    gw_str_t own, authority;

    n = scheme_length(*ref);

    if (n > 0) {
        own = (gw_str_t){ ref->data, n - 1 };

        if (!gw_field_is(own, scheme) || !starts(after(*ref, n), "//")) {
            return false;
        }

        *ref = after(*ref, n);
    }

    if (!starts(*ref, "//")) {
        return true;
    }

    *ref = after(*ref, 2);
    authority = (gw_str_t){ ref->data, span(*ref, "/?#") };
    *ref = after(*ref, authority.len);

    /* the rest is a path of its own, also where it is empty */
    return gw_field_is(without_port(authority, scheme),
                       without_port(host, scheme));
}


/* RFC 3986, 5.2.4, in place: begins with "/", returns the new length. */
static size_t
remove_dots(unsigned char *path, size_t len)
{
    size_t i, n, end;
    gw_str_t segment;

    n = 0;

    for (i = 0; i < len; i = end) {

        /* "/" and the segment behind it */
        end = i + 1;

        while (end < len && path[end] != '/') {
            end++;
        }

        segment.data = path + i + 1;
        segment.len = end - i - 1;

        if (segment.len == 1 && segment.data[0] == '.') {
            /* as if it were not there */

        } else if (segment.len == 2 && segment.data[0] == '.'
                   && segment.data[1] == '.')
        {
            while (n > 0 && path[--n] != '/') {
                /* back over the segment before */
            }

        } else {
            memmove(path + n, path + i, end - i);
            n += end - i;
            continue;
        }

        if (end == len) {
            path[n++] = '/';
        }
    }

    return n;
}


/* RFC 3986, 5.2.2, the path without its query: writes it, and returns its
   length. `base` is the path of the request, `own` says that the reference
   names its origin and so owes nothing to the request. */
static size_t
write_path(unsigned char *out, gw_str_t base, gw_str_t path, bool own)
{
    size_t n;

    n = 0;

    if (!own && (path.len == 0 || path.data[0] != '/')) {
        n = base.len;

        while (path.len > 0 && base.data[n - 1] != '/') {
            n--;
        }

        memcpy(out, base.data, n);

    } else if (path.len == 0) {
        out[n++] = '/';
    }

    if (path.len > 0) {
        memcpy(out + n, path.data, path.len);
        n += path.len;
    }

    return remove_dots(out, n);
}


static bool
has_blanks(gw_str_t s)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] <= 0x20 || s.data[i] == 0x7f) {
            return true;
        }
    }

    return false;
}


int
gw_cache_location(unsigned char *out, size_t size, size_t *len,
    gw_str_t scheme, gw_str_t host, gw_str_t target, gw_str_t location)
{
    bool own;
    size_t n;
    gw_str_t ref, path, base, query;

    if (location.data == NULL) {
        return GW_DECLINED;
    }

    ref = gw_http_trim(location);
    ref.len = span(ref, "#");
    own = scheme_length(ref) > 0 || starts(ref, "//");

    if (has_blanks(ref) || !same_origin(&ref, scheme, host)
        || !starts(target, "/"))
    {
        return GW_DECLINED;
    }

    if (size < target.len + ref.len + 1) {
        return GW_ERROR;
    }

    path = (gw_str_t){ ref.data, span(ref, "?") };
    base = (gw_str_t){ target.data, span(target, "?") };
    query = after(ref, path.len);

    if (ref.len == 0 && !own) {
        query = after(target, base.len);
    }

    n = write_path(out, base, path, own);

    if (query.len > 0) {
        memcpy(out + n, query.data, query.len);
    }

    *len = n + query.len;

    return GW_OK;
}
