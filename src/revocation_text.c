/*
 * What is said of revoked tokens, as it comes from outside: requests, and
 * words of other nodes.
 */

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base64url.h"
#include "json_scan.h"
#include "revocation.h"
#include "utf8.h"

#define DIGEST_TEXT 22 /* characters of a digest in base64url */
#define NUMBER_MAX 40  /* characters of a time */
#define SHA256_LEN 32


static int
digest_of(unsigned char *digest, gw_str_t value, size_t half)
{
    unsigned char sha[EVP_MAX_MD_SIZE];
    unsigned int len;

    len = 0;

    if (EVP_Digest(value.data, value.len, sha, &len, EVP_sha256(), NULL) != 1
        || len != SHA256_LEN)
    {
        return GW_ERROR;
    }

    memcpy(digest, sha + half * GW_REVOCATION_DIGEST, GW_REVOCATION_DIGEST);

    return GW_OK;
}


int
gw_revocation_jti(unsigned char *digest, gw_str_t value)
{
    return digest_of(digest, value, 0);
}


int
gw_revocation_sub(unsigned char *digest, gw_str_t value)
{
    return digest_of(digest, value, 1);
}


/* Seconds as any JSON number that is not negative, in ms, rounded up. */
static int
read_time(const gw_json_t *v, int64_t *ms)
{
    char buf[NUMBER_MAX + 1];
    double d;
    uint64_t n;

    if (v->type != GW_JSON_NUMBER || v->text.len > NUMBER_MAX) {
        return GW_DECLINED;
    }

    if (gw_json_uint(v, &n) == GW_OK) {
        *ms = n < GW_REVOCATION_TIME_MAX / 1000 ? (int64_t) n * 1000
                                                : GW_REVOCATION_TIME_MAX;
        return GW_OK;
    }

    memcpy(buf, v->text.data, v->text.len);
    buf[v->text.len] = '\0';

    d = strtod(buf, NULL) * 1000;

    if (!(d >= 0)) {
        return GW_DECLINED;
    }

    if (d >= (double) GW_REVOCATION_TIME_MAX) {
        *ms = GW_REVOCATION_TIME_MAX;
        return GW_OK;
    }

    *ms = (int64_t) d;
    *ms += ((double) *ms < d);

    return GW_OK;
}


/* A claim's value, as a token's would be rendered: of a string its characters,
   a number as written. */
static int
read_value(const gw_json_t *v, unsigned char *buf, gw_str_t *value)
{
    if (v->text.len > GW_REVOCATION_TEXT_MAX) {
        return GW_DECLINED;
    }

    if (v->type == GW_JSON_NUMBER) {
        *value = v->text;
        return GW_OK;
    }

    value->data = buf;
    value->len = gw_json_string_decode(v, buf);

    return value->len == (size_t) -1 || value->len == 0 ? GW_DECLINED : GW_OK;
}


enum { JTI, SUB, EXP, BEFORE, MEMBERS };

static const gw_str_t names[MEMBERS] = {
    [JTI] = { (const unsigned char *) "jti", 3 },
    [SUB] = { (const unsigned char *) "sub", 3 },
    [EXP] = { (const unsigned char *) "exp", 3 },
    [BEFORE] = { (const unsigned char *) "before", 6 },
};


static bool
there(const gw_json_t *v)
{
    return v->text.len > 0;
}


static const char *
read_times(const gw_json_t *v, int64_t now, gw_revocation_t *r)
{
    if (there(&v[EXP])) {
        if (read_time(&v[EXP], &r->until) != GW_OK) {
            return "\"exp\" is not a time in seconds";
        }

    } else if (there(&v[JTI])) {
        return "\"jti\" without \"exp\"";

    } else {
        r->until = now + GW_REVOCATION_DAY;
    }

    if (there(&v[JTI])) {
        r->before = GW_REVOCATION_TIME_MAX;
        return NULL;
    }

    if (!there(&v[BEFORE])) {
        return "\"sub\" without \"before\"";
    }

    return read_time(&v[BEFORE], &r->before) == GW_OK
           ? NULL : "\"before\" is not a time in seconds";
}


int
gw_revocation_parse(gw_str_t body, int64_t now, gw_revocation_t *r,
    const char **why)
{
    unsigned char buf[GW_REVOCATION_TEXT_MAX];
    gw_json_t object, v[MEMBERS];
    gw_str_t value;
    size_t which;

    if (!gw_utf8_valid(body.data, body.len)
        || gw_json_parse(body, &object) != GW_OK
        || object.type != GW_JSON_OBJECT)
    {
        *why = "not a JSON object";
        return GW_DECLINED;
    }

    gw_json_members(&object, names, v, MEMBERS);

    if (there(&v[JTI]) == there(&v[SUB])) {
        *why = "one of \"jti\" and \"sub\" is expected";
        return GW_DECLINED;
    }

    which = there(&v[JTI]) ? JTI : SUB;

    *why = read_times(v, now, r);

    if (*why != NULL) {
        return GW_DECLINED;
    }

    if (read_value(&v[which], buf, &value) != GW_OK) {
        *why = "\"jti\" or \"sub\" is not a string, is empty or too long";
        return GW_DECLINED;
    }

    return which == JTI ? gw_revocation_jti(r->digest, value)
                        : gw_revocation_sub(r->digest, value);
}


static unsigned char *
write_number(unsigned char *p, int64_t n)
{
    unsigned char buf[20], *first;

    first = buf + sizeof(buf);

    do {
        *--first = (unsigned char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    memcpy(p, first, (size_t) (buf + sizeof(buf) - first));

    return p + (buf + sizeof(buf) - first);
}


unsigned char *
gw_revocation_encode(unsigned char *p, const gw_revocation_t *r)
{
    p = gw_base64url_encode(p, (gw_str_t){ r->digest, sizeof(r->digest) });
    *p++ = ':';
    p = write_number(p, r->before);
    *p++ = ':';

    return write_number(p, r->until);
}


/* A colon and a number up to GW_REVOCATION_TIME_MAX. */
static bool
read_number(gw_str_t *s, int64_t *n)
{
    size_t i;
    unsigned digit;

    if (s->len < 2 || s->data[0] != ':') {
        return false;
    }

    *n = 0;

    for (i = 1; i < s->len && s->data[i] != ':'; i++) {
        digit = s->data[i] - (unsigned) '0';

        if (digit > 9 || *n > GW_REVOCATION_TIME_MAX / 10) {
            return false;
        }

        *n = *n * 10 + digit;
    }

    s->data += i;
    s->len -= i;

    return i > 1 && *n <= GW_REVOCATION_TIME_MAX;
}


int
gw_revocation_decode(gw_str_t *text, gw_revocation_t *r)
{
    size_t len;
    gw_str_t word;

    while (text->len > 0 && text->data[0] == ' ') {
        text->data++;
        text->len--;
    }

    if (text->len == 0) {
        return GW_AGAIN;
    }

    word.data = text->data;

    for (len = 0; len < text->len && text->data[len] != ' '; len++) {
        /* void */
    }

    word.len = len;
    text->data += len;
    text->len -= len;

    if (word.len < DIGEST_TEXT
        || gw_base64url_decode(r->digest, &len,
                               (gw_str_t){ word.data, DIGEST_TEXT })
           != GW_OK)
    {
        return GW_DECLINED;
    }

    word.data += DIGEST_TEXT;
    word.len -= DIGEST_TEXT;

    return read_number(&word, &r->before) && read_number(&word, &r->until)
           && word.len == 0 ? GW_OK : GW_DECLINED;
}
