/* Which keys are taken, and what is said of those that are not. */

#include "jwt_make.h"

#include <openssl/x509.h>


typedef struct {
    int infos;
    int warnings;
    char last[300];
} reports_t;

static const char secret[] = "0123456789abcdef0123456789abcdef";

static gw_jwt_lib_t *lib;
static EVP_PKEY *rsa, *ec, *ed;
static reports_t reports;


static int
setup(void **state)
{
    (void) state;

    lib = gw_jwt_lib_create();
    rsa = make_rsa(2048);
    ec = make_ec("P-256");
    ed = make_okp("ED25519");

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ed);
    gw_jwt_lib_destroy(lib);

    return 0;
}


static void
on_report(void *data, gw_jwk_level_e level, const char *text)
{
    reports_t *r;
    const char *p;

    r = data;
    *(level == GW_JWK_INFO ? &r->infos : &r->warnings) += 1;
    snprintf(r->last, sizeof(r->last), "%s", text);

    for (p = text; *p; p++) {
        assert_in_range(*p, ' ', '~');
    }
}


typedef int (*parse_pt)(gw_jwt_lib_t *, gw_str_t, gw_jwk_parse_t *,
    gw_jwk_set_t **);


/* Parses; returns the number of keys, 0 with a message for an error. */
static size_t
parse_n(parse_pt parse, const void *text, size_t len, gw_jwk_parse_t *p)
{
    gw_jwk_set_t *set;
    size_t n;
    int rc;

    memset(p, 0, sizeof(*p));
    memset(&reports, 0, sizeof(reports));
    p->report = on_report;
    p->data = &reports;

    rc = parse(lib, (gw_str_t){ text, len }, p, &set);
    assert_int_equal(ERR_peek_error(), 0);

    if (rc != GW_OK) {
        assert_int_equal(rc, GW_ERROR);
        assert_null(set);
        assert_int_not_equal(p->error[0], '\0');
        return 0;
    }

    assert_int_equal(p->error[0], '\0');
    n = gw_jwk_set_count(set);
    gw_jwk_set_destroy(set);

    return n;
}


static size_t
parse_jwks(const char *text)
{
    gw_jwk_parse_t p;

    return parse_n(gw_jwk_set_parse_jwks, text, strlen(text), &p);
}


static size_t
parse_jwk(const char *jwk)
{
    char *text;
    size_t n;

    text = malloc(strlen(jwk) + 32);
    sprintf(text, "{\"keys\":[%s]}", jwk);
    n = parse_jwks(text);
    free(text);

    return n;
}


static const char rfc7517_a1[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\","
    "\"use\":\"enc\",\"kid\":\"1\"},{\"kty\":\"RSA\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7"
    "aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArw"
    "l93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zg"
    "dAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRw"
    "r3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\","
    "\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}]}";


static void
takes_the_set_of_the_rfc(void **state)
{
    (void) state;

    /* its EC key is for encryption: no reason to warn */

    assert_int_equal(parse_jwks(rfc7517_a1), 1);
    assert_int_equal(reports.infos, 1);
    assert_int_equal(reports.warnings, 0);
    assert_non_null(strstr(reports.last, "key 1 (kid \"1\")"));
}


static void
obeys_use_and_key_ops(void **state)
{
    char *jwk;
    size_t i;

    struct {
        const char *more;
        size_t n;
        int infos;
        int warnings;
    } cases[] = {
        { ",\"use\":\"sig\"", 1, 0, 0 },
        { ",\"use\":\"enc\"", 0, 1, 0 },
        { ",\"use\":\"\"", 0, 1, 0 },
        { ",\"use\":[\"sig\"]", 0, 0, 1 },
        { ",\"use\":null", 0, 0, 1 },
        { ",\"key_ops\":[\"verify\"]", 1, 0, 0 },
        { ",\"key_ops\":[\"sign\",\"verify\"]", 1, 0, 0 },
        { ",\"key_ops\":[\"sign\"]", 0, 1, 0 },
        { ",\"key_ops\":[\"encrypt\",\"wrapKey\"]", 0, 1, 0 },
        { ",\"key_ops\":[]", 0, 1, 0 },
        { ",\"key_ops\":[1,null]", 0, 1, 0 },
        { ",\"key_ops\":\"verify\"", 0, 0, 1 },
        { ",\"use\":\"sig\",\"key_ops\":[\"sign\"]", 0, 1, 0 },
        { ",\"use\":\"enc\",\"key_ops\":[\"verify\"]", 0, 1, 0 },
        { ",\"alg\":\"ES256\"", 1, 0, 0 },
        { ",\"alg\":\"ES384\"", 0, 0, 1 },
        { ",\"alg\":\"RS256\"", 0, 0, 1 },
        { ",\"alg\":\"HS256\"", 0, 0, 1 },
        { ",\"alg\":\"none\"", 0, 0, 1 },
        { ",\"alg\":\"ECDH-ES\"", 0, 0, 1 },
        { ",\"alg\":1", 0, 0, 1 },
        { ",\"kid\":1", 0, 0, 1 },
        { ",\"kid\":null", 0, 0, 1 },
        { ",\"kid\":\"\"", 1, 0, 0 },
        { ",\"x5c\":[\"!\"],\"x5u\":\"http://x\",\"ext\":true", 1, 0, 0 },
        { ",\"d\":\"AAAA\"", 1, 0, 1 },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jwk = make_jwk(ec, cases[i].more);

        if (parse_jwk(jwk) != cases[i].n || reports.infos != cases[i].infos
            || reports.warnings != cases[i].warnings)
        {
            fail_msg("%s: %s", cases[i].more, reports.last);
        }

        free(jwk);
    }
}


/* A JWK of RSA with a modulus of that many bits, and an exponent. */
static char *
rsa_jwk(int bits, const char *e, bool odd)
{
    unsigned char n[2100];
    char *jwk, *b;
    size_t len;

    len = (size_t) (bits + 7) / 8;
    memset(n, 0xa5, sizeof(n));
    n[0] = (unsigned char) (1 << (bits - 1) % 8);
    n[len - 1] = odd ? 0xa5 : 0xa4;
    b = make_b64(n, len);
    jwk = malloc(strlen(b) + 128);
    sprintf(jwk, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", b, e);
    free(b);

    return jwk;
}


static void
takes_rsa_keys_within_limits(void **state)
{
    char *jwk;
    size_t i;

    struct {
        int bits;
        const char *e;
        bool odd;
        size_t n;
    } cases[] = {
        { 2048, "AQAB", true, 1 },
        { 2047, "AQAB", true, 0 },
        { 1024, "AQAB", true, 0 },
        { 512, "AQAB", true, 0 },
        { 2049, "AQAB", true, 1 },
        { 16384, "AQAB", true, 1 },
        { 16385, "AQAB", true, 0 },
        { 16400, "AQAB", true, 0 },
        { 2048, "AQAB", false, 0 },
        { 2048, "Aw", true, 1 },                /* 3 */
        { 2048, "AQ", true, 0 },                /* 1 */
        { 2048, "AA", true, 0 },                /* 0 */
        { 2048, "AQAA", true, 0 },              /* 65536 */
        { 2048, "", true, 0 },
        { 2048, "AQAB=", true, 0 },
        { 2048, "AQAB ", true, 0 },
        { 2048, "AAEAAQ", true, 1 },            /* zero in front */
        { 2048, "__________8", true, 1 },       /* 64 bits */
        { 2048, "Af________8_", true, 0 },      /* 65 bits and more */
        { 2048, "AQAAAAAAAAAAAAAAAAAAAAAB", true, 0 },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jwk = rsa_jwk(cases[i].bits, cases[i].e, cases[i].odd);

        if (parse_jwk(jwk) != cases[i].n) {
            fail_msg("%d bits, e %s: %s", cases[i].bits, cases[i].e,
                     reports.last);
        }

        assert_int_equal(reports.warnings, cases[i].n == 0);
        free(jwk);
    }
}


/* Key texts that are wrong in themselves. */
static void
skips_keys_that_are_none(void **state)
{
    static const char *const bad[] = {
        "1",
        "null",
        "\"key\"",
        "[]",
        "{}",
        "{\"kty\":1}",
        "{\"kty\":\"rsa\"}",
        "{\"kty\":\"DSA\"}",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":\"RSA\",\"n\":1,\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}",
        /* RFC 7517 A.1 with another y, then shorter, then (0, 0) */
        "{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
        "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyI\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
        "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFw\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\","
        "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
        "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qY\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp\"}",
        "{\"kty\":\"oct\"}",
        "{\"kty\":\"oct\",\"k\":\"\"}",
        "{\"kty\":\"oct\",\"k\":\"AA\"}",
        "{\"kty\":\"oct\",\"k\":"
        "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ\"}",
        "{\"kty\":\"oct\",\"k\":"
        "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"}",
    };
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_jwk(bad[i]) != 0 || reports.warnings != 1) {
            fail_msg("%s: %s", bad[i], reports.last);
        }
    }
}


static void
keeps_the_good_keys_of_a_set(void **state)
{
    char *good, *weak, *text;

    (void) state;

    good = make_jwk(ec, ",\"kid\":\"good\"");
    weak = rsa_jwk(1024, "AQAB", true);
    text = malloc(4096);
    snprintf(text, 4096,
             "{\"keys\":[%s,{\"kty\":\"??\",\"kid\":\"a\\nb\"},%s,7]}", weak,
             good);

    assert_int_equal(parse_jwks(text), 1);
    assert_int_equal(reports.warnings, 3);
    assert_string_equal(reports.last, "key 4: not an object");

    snprintf(text, 4096, "{\"keys\":[%s]}", weak);
    assert_int_equal(parse_jwks(text), 0);
    assert_string_equal(reports.last,
                        "key 1: the RSA key has less than 2048 bits");

    free(text);
    free(weak);
    free(good);
}


static void
refuses_documents_that_are_no_sets(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[]",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":null}",
        "{\"keys\":[]}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"kty\":\"oct\",\"k\":\"AA\"}",
        "-----BEGIN PUBLIC KEY-----",
        "<html>502 Bad Gateway</html>",
    };
    gw_jwk_parse_t p;
    char *jwk, *text, *t;
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse_jwks(bad[i]), 0);
    }

    assert_int_equal(parse_n(gw_jwk_set_parse_jwks, NULL, 0, &p), 0);

    /* a good key does not save a document with a member twice */

    jwk = make_jwk(ec, ",\"kid\":\"1\",\"kid\":\"2\"");
    assert_int_equal(parse_jwk(jwk), 0);
    free(jwk);

    /* where the error is */

    text = "{\n\"keys\":[\n{\"kty\":\"oct\",\"k\":\"SECRET\" oops}]}";
    assert_int_equal(parse_n(gw_jwk_set_parse_jwks, text, strlen(text), &p),
                     0);
    assert_non_null(strstr(p.error, "line 3"));
    assert_null(strstr(p.error, "SECRET"));

    /* nested, and many */

    t = malloc(GW_JWK_DOCUMENT_MAX + 2);
    memset(t, '[', GW_JWK_DOCUMENT_MAX + 1);
    t[GW_JWK_DOCUMENT_MAX + 1] = '\0';
    assert_int_equal(parse_jwks(t), 0);
    t[100000] = '\0';
    assert_int_equal(parse_jwks(t), 0);

    strcpy(t, "{\"keys\":[0");
    for (i = 0; i < GW_JWK_KEYS_MAX; i++) {
        strcat(t, ",0");
    }
    strcat(t, "]}");
    assert_int_equal(parse_jwks(t), 0);
    assert_int_equal(reports.warnings, 0);
    free(t);
}


/* 32 bytes do for HS256, not for HS384 and HS512. */
static void
wants_shared_keys_as_long_as_the_hash(void **state)
{
    static const char *const algs[] = { "HS256", "HS384", "HS512" };
    char bytes[65], *jwk, *t, more[32];
    gw_jwk_set_t *set;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    size_t len, i;

    (void) state;

    memset(&policy, 0, sizeof(policy));
    policy.nsets = 1;
    policy.sets = &set;

    for (len = 31; len <= 64; len++) {
        memset(bytes, 'k', sizeof(bytes));
        bytes[len] = '\0';

        for (i = 0; i < 3; i++) {
            sprintf(more, ",\"alg\":\"%s\"", algs[i]);
            jwk = make_jwk_oct(bytes, more);
            assert_int_equal(parse_jwk(jwk), len >= 32 + 16 * i);
            free(jwk);

            if (len < 32) {
                continue;
            }

            jwk = make_jwk_oct(bytes, "");
            set = make_set(lib, jwk, NULL, NULL);
            t = make_token(algs[i], "", "{}", NULL, bytes);
            gw_jwt_verify(&r, make_str(t), &policy);
            assert_int_equal(r.status, len >= 32 + 16 * i
                                           ? GW_JWT_OK
                                           : GW_JWT_ALGORITHM);
            gw_jwt_destroy(r.jwt);
            gw_jwk_set_destroy(set);
            free(t);
            free(jwk);
        }
    }
}


static void
takes_a_secret_less_one_newline(void **state)
{
    gw_jwk_parse_t p;
    gw_jwk_set_t *set;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    char *big, *t;
    size_t i;

    struct {
        const char *file;
        const char *secret;
        bool same;
        int warnings;
    } cases[] = {
        { "0123456789abcdef0123456789abcdef", secret, true, 0 },
        { "0123456789abcdef0123456789abcdef\n", secret, true, 0 },
        { "0123456789abcdef0123456789abcdef\n\n", secret, false, 0 },
        { "0123456789abcdef0123456789abcdef\r\n", secret, false, 0 },
        { " 0123456789abcdef0123456789abcdef", secret, false, 0 },
        { "tiny!\n", "tiny!", true, 1 },
    };

    (void) state;

    memset(&policy, 0, sizeof(policy));
    policy.nsets = 1;
    policy.sets = &set;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&p, 0, sizeof(p));
        memset(&reports, 0, sizeof(reports));
        p.report = on_report;
        p.data = &reports;

        assert_int_equal(gw_jwk_set_parse_secret(lib, make_str(cases[i].file),
                                                 &p, &set),
                         GW_OK);
        assert_int_equal(reports.warnings, cases[i].warnings);
        assert_null(strstr(reports.last, cases[i].secret));

        t = make_token("HS512", "", "{}", NULL, cases[i].secret);
        gw_jwt_verify(&r, make_str(t), &policy);
        assert_int_equal(r.status,
                         cases[i].same ? GW_JWT_OK : GW_JWT_SIGNATURE);
        gw_jwt_destroy(r.jwt);
        gw_jwk_set_destroy(set);
        free(t);
    }

    assert_int_equal(parse_n(gw_jwk_set_parse_secret, "", 0, &p), 0);
    assert_int_equal(parse_n(gw_jwk_set_parse_secret, "\n", 1, &p), 0);
    assert_int_equal(parse_n(gw_jwk_set_parse_secret, "\0\0", 2, &p), 1);

    big = calloc(1, GW_JWK_SECRET_MAX + 1);
    assert_int_equal(
        parse_n(gw_jwk_set_parse_secret, big, GW_JWK_SECRET_MAX, &p), 1);
    assert_int_equal(
        parse_n(gw_jwk_set_parse_secret, big, GW_JWK_SECRET_MAX + 1, &p), 0);
    free(big);
}


static size_t
parse_pem(const char *text, gw_jwk_parse_t *p)
{
    return parse_n(gw_jwk_set_parse_pem, text, strlen(text), p);
}


/* What is written to a BIO as a string, to be freed. */
static char *
drain(BIO *bio)
{
    char *data, *s;
    long n;

    n = BIO_get_mem_data(bio, &data);
    s = calloc(1, (size_t) n + 1);
    memcpy(s, data, (size_t) n);
    BIO_free(bio);

    return s;
}


static char *
certificate(EVP_PKEY *pkey)
{
    X509 *x;
    BIO *bio;

    x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), -3600); /* long gone */
    X509_set_pubkey(x, pkey);
    X509_sign(x, pkey, EVP_sha256());
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    X509_free(x);

    return drain(bio);
}


static void
takes_one_public_key_or_certificate(void **state)
{
    gw_jwk_parse_t p;
    EVP_PKEY *weak, *other;
    BIO *bio;
    char *pub, *cert, *priv, *both, *s;

    (void) state;

    pub = make_pem(ec);
    cert = certificate(rsa);
    both = malloc(20000);
    assert_non_null(both);

    assert_int_equal(parse_pem(pub, &p), 1);
    assert_int_equal(parse_pem(cert, &p), 1);

    sprintf(both, "subject=x\n\n%s\nthe end\n", pub);
    assert_int_equal(parse_pem(both, &p), 1);

    sprintf(both, "%s%s", pub, cert);
    assert_int_equal(parse_pem(both, &p), 0);
    assert_non_null(strstr(p.error, "more than one"));

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
    priv = drain(bio);
    assert_int_equal(parse_pem(priv, &p), 0);
    assert_non_null(strstr(p.error, "private key"));
    sprintf(both, "%s%s", pub, priv);
    assert_int_equal(parse_pem(both, &p), 0);

    assert_int_equal(parse_pem("", &p), 0);
    assert_int_equal(parse_pem("no key here\n", &p), 0);
    assert_int_equal(parse_pem("{\"keys\":[]}", &p), 0);

    /* cut, and changed inside */

    strcpy(both, pub);
    both[strlen(both) - 30] = '\0';
    assert_int_equal(parse_pem(both, &p), 0);
    strcpy(both, pub);
    both[60] = '!';
    assert_int_equal(parse_pem(both, &p), 0);

    weak = make_rsa(1024);
    s = make_pem(weak);
    assert_int_equal(parse_pem(s, &p), 0);
    assert_non_null(strstr(p.error, "2048"));
    free(s);
    EVP_PKEY_free(weak);

    other = make_ec("secp256k1");
    s = make_pem(other);
    assert_int_equal(parse_pem(s, &p), 0);
    free(s);
    EVP_PKEY_free(other);

    other = make_okp("X25519");
    s = make_pem(other);
    assert_int_equal(parse_pem(s, &p), 0);
    free(s);
    EVP_PKEY_free(other);

    /* P-256 with its parameters written out, which may say anything */

    other = EVP_PKEY_dup(ec);
    EVP_PKEY_set_utf8_string_param(other, OSSL_PKEY_PARAM_EC_ENCODING,
                                   "explicit");
    s = make_pem(other);
    assert_true(strlen(s) > strlen(pub));
    assert_int_equal(parse_pem(s, &p), 0);
    free(s);
    EVP_PKEY_free(other);

    free(pub);
    free(cert);
    free(priv);
    free(both);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_set_of_the_rfc),
        cmocka_unit_test(obeys_use_and_key_ops),
        cmocka_unit_test(takes_rsa_keys_within_limits),
        cmocka_unit_test(skips_keys_that_are_none),
        cmocka_unit_test(keeps_the_good_keys_of_a_set),
        cmocka_unit_test(refuses_documents_that_are_no_sets),
        cmocka_unit_test(wants_shared_keys_as_long_as_the_hash),
        cmocka_unit_test(takes_a_secret_less_one_newline),
        cmocka_unit_test(takes_one_public_key_or_certificate),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
