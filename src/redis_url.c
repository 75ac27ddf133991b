#include <string.h>

#include "redis_url.h"


typedef struct {
    gw_str_t prefix;
    gw_redis_kind_e kind;
    bool tls;
} scheme_t;

static const char bad_scheme[] =
    "a URL begins with redis://, rediss://, unix:, redis+sentinel://, "
    "rediss+sentinel://, redis+cluster:// or rediss+cluster://";
static const char bad_character[] =
    "white space, control characters and bytes above 126 are not accepted, "
    "in a user's name or password they are written as %xx";
static const char bad_percent[] =
    "\"%\" in a user's, password's or master's name is followed by two "
    "hexadecimal digits, and stands for no control character";
static const char bad_user[] =
    "before \"@\" stand user:password, :password or user";
static const char bad_slash[] =
    "\"/\" in a user's name or password is written as %2F";
static const char bad_host[] =
    "a host is a name, an IPv4 address or an IPv6 address in brackets, and is "
    "followed by nothing or by \":\" and a port";
static const char bad_hosts[] =
    "one to 32 hosts are accepted, separated by commas";
static const char bad_port[] = "a port is a number from 1 to 65535";
static const char bad_db[] = "a database is a number from 0 to 2147483647";
static const char bad_master[] =
    "Sentinels' hosts are followed by \"/\" and the master's name";
static const char bad_path[] =
    "unix: is followed by a path from \"/\", of at most 107 bytes, and nothing "
    "or ?db= and a number";
static const char cluster_db[] = "a Cluster has no databases";


/* Cuts what is before the first c off the text, with c. False: no c in it. */
static bool
cut(gw_str_t *text, unsigned char c, gw_str_t *before)
{
    const unsigned char *p;

    p = text->len > 0 ? memchr(text->data, c, text->len) : NULL;

    if (p == NULL) {
        return false;
    }

    before->data = text->data;
    before->len = p - text->data;
    text->data = p + 1;
    text->len -= before->len + 1;

    return true;
}


static bool
number(gw_str_t s, uint32_t max, uint32_t *n)
{
    size_t i;
    uint64_t value;

    value = 0;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }

        value = value * 10 + (s.data[i] - '0');

        if (value > max) {
            return false;
        }
    }

    *n = value;

    return s.len > 0;
}


static int
hex(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static bool
decode(gw_str_t s, unsigned char **buffer, gw_str_t *out)
{
    int high, low;
    size_t i;
    unsigned char c, *p;

    p = *buffer;
    out->data = p;

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (c == '%') {
            if (s.len - i < 3) {
                return false;
            }

            high = hex(s.data[i + 1]);
            low = hex(s.data[i + 2]);

            if (high < 0 || low < 0) {
                return false;
            }

            c = high << 4 | low;
            i += 2;

            if (c < 0x20 || c == 0x7f) {
                return false;
            }
        }

        *p++ = c;
    }

    out->len = p - *buffer;
    *buffer = p;

    return true;
}


/* Cuts [[user]:password@] off the authority. */
static const char *
cut_user(gw_redis_url_t *url, unsigned char **buffer, gw_str_t *authority)
{
    size_t n;
    gw_str_t info, user;

    for (n = authority->len; n > 0 && authority->data[n - 1] != '@'; n--) {
        /* void */
    }

    if (n == 0) {
        return NULL;
    }

    info.data = authority->data;
    info.len = n - 1;
    authority->data += n;
    authority->len -= n;

    if (cut(&info, ':', &user)) {
        if (!decode(info, buffer, &url->password)) {
            return bad_percent;
        }

    } else {
        user = info;

        if (user.len == 0) {
            return bad_user;
        }
    }

    if (user.len > 0 && !decode(user, buffer, &url->user)) {
        return bad_percent;
    }

    return NULL;
}


static bool
host_character(unsigned char c, bool ipv6)
{
    if (ipv6) {
        return hex(c) >= 0 || c == ':' || c == '.';
    }

    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
           || c == '-' || c == '.' || c == '_';
}


static const char *
parse_host(gw_redis_host_t *host, gw_str_t s, uint16_t port)
{
    size_t i;
    uint32_t n;

    host->ipv6 = s.len > 0 && s.data[0] == '[';
    host->port = port;

    if (host->ipv6) {
        s.data++;
        s.len--;

        if (!cut(&s, ']', &host->host)) {
            return bad_host;
        }

        if (s.len > 0 && *s.data++ != ':') {
            return bad_host;
        }

        n = s.len > 0;
        s.len -= n;

    } else {
        n = cut(&s, ':', &host->host);

        if (!n) {
            host->host = s;
        }
    }

    for (i = 0; i < host->host.len; i++) {
        if (!host_character(host->host.data[i], host->ipv6)) {
            return bad_host;
        }
    }

    if (host->host.len == 0) {
        return bad_host;
    }

    if (n) {
        if (!number(s, 65535, &n) || n == 0) {
            return bad_port;
        }

        host->port = n;
    }

    return NULL;
}


static const char *
parse_hosts(gw_redis_url_t *url, gw_str_t s)
{
    bool more;
    gw_str_t one;
    uint16_t port;
    const char *message;

    port = url->kind == GW_REDIS_SENTINEL ? 26379 : 6379;

    do {
        more = cut(&s, ',', &one);

        if (!more) {
            one = s;
        }

        if (url->nhosts == GW_REDIS_URL_HOSTS) {
            return bad_hosts;
        }

        message = parse_host(&url->hosts[url->nhosts], one, port);

        if (message != NULL) {
            return message;
        }

        url->nhosts++;

    } while (more);

    return NULL;
}


static const char *
parse_path(gw_redis_url_t *url, gw_str_t s)
{
    static const gw_str_t db = gw_str("db=");

    url->path = s;

    if (cut(&s, '?', &url->path)) {
        if (s.len < db.len || memcmp(s.data, db.data, db.len) != 0) {
            return bad_path;
        }

        s.data += db.len;
        s.len -= db.len;

        if (!number(s, GW_REDIS_DB_MAX, &url->db)) {
            return bad_db;
        }
    }

    return url->path.len == 0 || url->path.data[0] != '/'
           || url->path.len > GW_REDIS_PATH_MAX
           ? bad_path : NULL;
}


/* What is after the hosts and their "/". */
static const char *
parse_rest(gw_redis_url_t *url, unsigned char **buffer, gw_str_t s)
{
    gw_str_t master;

    if (url->kind == GW_REDIS_CLUSTER) {
        return s.len > 0 ? cluster_db : NULL;
    }

    if (url->kind == GW_REDIS_SENTINEL) {

        if (!cut(&s, '/', &master)) {
            master = s;
            s.len = 0;
        }

        if (master.len == 0) {
            return bad_master;
        }

        if (!decode(master, buffer, &url->master)) {
            return bad_percent;
        }
    }

    return s.len > 0 && !number(s, GW_REDIS_DB_MAX, &url->db) ? bad_db : NULL;
}


static const scheme_t *
find_scheme(gw_str_t text)
{
    size_t i;

    static const scheme_t schemes[] = {
        { gw_str("redis://"), GW_REDIS_SERVER, false },
        { gw_str("rediss://"), GW_REDIS_SERVER, true },
        { gw_str("unix:"), GW_REDIS_UNIX, false },
        { gw_str("redis+sentinel://"), GW_REDIS_SENTINEL, false },
        { gw_str("rediss+sentinel://"), GW_REDIS_SENTINEL, true },
        { gw_str("redis+cluster://"), GW_REDIS_CLUSTER, false },
        { gw_str("rediss+cluster://"), GW_REDIS_CLUSTER, true },
    };

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (text.len >= schemes[i].prefix.len
            && memcmp(text.data, schemes[i].prefix.data,
                      schemes[i].prefix.len) == 0)
        {
            return &schemes[i];
        }
    }

    return NULL;
}


static const char *
parse(gw_redis_url_t *url, unsigned char *buffer, gw_str_t s)
{
    size_t i;
    gw_str_t authority;
    const char *message;
    const scheme_t *scheme;

    scheme = find_scheme(s);

    if (scheme == NULL) {
        return bad_scheme;
    }

    for (i = 0; i < s.len; i++) {
        if (s.data[i] <= 0x20 || s.data[i] >= 0x7f) {
            return bad_character;
        }
    }

    s.data += scheme->prefix.len;
    s.len -= scheme->prefix.len;
    url->kind = scheme->kind;
    url->tls = scheme->tls;

    if (url->kind == GW_REDIS_UNIX) {
        return parse_path(url, s);
    }

    if (!cut(&s, '/', &authority)) {
        authority = s;
        s.len = 0;
    }

    message = cut_user(url, &buffer, &authority);

    if (message == NULL && url->kind == GW_REDIS_SERVER) {
        url->nhosts = 1;
        message = parse_host(&url->hosts[0], authority, 6379);

    } else if (message == NULL) {
        message = parse_hosts(url, authority);
    }

    if (message == NULL) {
        message = parse_rest(url, &buffer, s);
    }

    /* it was cut in two where it should not be */
    return message != NULL && s.len > 0 && memchr(s.data, '@', s.len) != NULL
           ? bad_slash : message;
}


int
gw_redis_url_parse(gw_redis_url_t *url, unsigned char *buffer, gw_str_t text,
    const char **message)
{
    memset(url, 0, sizeof(*url));

    *message = parse(url, buffer, text);

    return *message == NULL ? GW_OK : GW_ERROR;
}


unsigned char *
gw_redis_url_show(unsigned char *out, gw_str_t text)
{
    size_t at, begin;
    const scheme_t *scheme;

    for (at = text.len; at > 0 && text.data[at - 1] != '@'; at--) {
        /* void */
    }

    if (at > 0) {
        scheme = find_scheme(text);
        begin = scheme != NULL && scheme->prefix.len < at
                ? scheme->prefix.len : 0;

        memcpy(out, text.data, begin);
        out += begin;
        memcpy(out, "***@", 4);
        out += 4;
    }

    if (text.len > at) {
        memcpy(out, text.data + at, text.len - at);
    }

    return out + (text.len - at);
}
