/* The known attacks on JWT and JWS, each of which must fail (RFC 8725). */

#include "jwt_make.h"

#define NOW 1750000000000LL /* ms */

static const char secret[] = "0123456789abcdef0123456789abcdef";

static gw_jwt_lib_t *lib;
static EVP_PKEY *rsa, *ec, *p521, *ed;
static gw_jwk_set_t *rsa_set, *ec_set, *p521_set, *ed_set, *oct_set;


static gw_jwk_set_t *
set_of(EVP_PKEY *pkey)
{
    gw_jwk_set_t *set;
    char *jwk;

    jwk = pkey ? make_jwk(pkey, "") : make_jwk_oct(secret, "");
    set = make_set(lib, jwk, NULL, NULL);
    free(jwk);

    return set;
}


static int
setup(void **state)
{
    (void) state;

    lib = gw_jwt_lib_create();
    rsa = make_rsa(2048);
    ec = make_ec("P-256");
    p521 = make_ec("P-521");
    ed = make_okp("ED25519");
    rsa_set = set_of(rsa);
    ec_set = set_of(ec);
    p521_set = set_of(p521);
    ed_set = set_of(ed);
    oct_set = set_of(NULL);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    gw_jwk_set_destroy(rsa_set);
    gw_jwk_set_destroy(ec_set);
    gw_jwk_set_destroy(p521_set);
    gw_jwk_set_destroy(ed_set);
    gw_jwk_set_destroy(oct_set);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(p521);
    EVP_PKEY_free(ed);
    gw_jwt_lib_destroy(lib);

    return 0;
}


static gw_jwt_status_e
status_n(gw_jwk_set_t *set, const void *token, size_t len)
{
    gw_jwt_status_e status;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;

    memset(&policy, 0, sizeof(policy));
    policy.sets = &set;
    policy.nsets = 1;
    policy.now = NOW;

    status = gw_jwt_verify(&r, (gw_str_t){ token, len }, &policy);
    assert_int_equal(status == GW_JWT_OK, r.jwt != NULL);
    assert_int_equal(ERR_peek_error(), 0);
    gw_jwt_destroy(r.jwt);

    return status;
}


static gw_jwt_status_e
status_of(gw_jwk_set_t *set, const char *token)
{
    return status_n(set, token, strlen(token));
}


/* Status of a token of this header or payload that is signed rightly. */
static gw_jwt_status_e
signed_status(const char *header, const char *payload)
{
    gw_jwt_status_e status;
    char *t;

    t = make_sign(make_input(header, payload), "HS256", NULL, secret);
    status = status_of(oct_set, t);
    free(t);

    return status;
}


static void
alg_none_in_all_spellings(void **state)
{
    static const char *const names[] = {
        "none", "None", "NONE", "nOnE", "", " none", "none ", "n\\u006fne",
        "none\\u0020", "null", "HS256 ", "hs256", "Hs256", "HS25\\u0037",
    };
    gw_jwk_set_t *sets[] = { rsa_set, ec_set, ed_set, oct_set };
    char header[128], *t;
    size_t i, k;

    (void) state;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sprintf(header, "{\"alg\":\"%s\"}", names[i]);

        for (k = 0; k < 4; k++) {
            t = make_join(make_input(header, "{}"), "", 0);
            assert_int_equal(status_of(sets[k], t), GW_JWT_ALGORITHM);
            free(t);

            t = make_sign(make_input(header, "{}"), "HS256", NULL, secret);
            assert_int_equal(status_of(sets[k], t), GW_JWT_ALGORITHM);
            free(t);
        }
    }

    /* RFC 7515 A.5 */

    assert_int_equal(
        status_of(rsa_set, "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAi"
                           "OjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
                           "c19yb290Ijp0cnVlfQ."),
        GW_JWT_ALGORITHM);

    assert_int_equal(signed_status("{}", "{}"), GW_JWT_MALFORMED);
    assert_int_equal(signed_status("{\"alg\":null}", "{}"), GW_JWT_MALFORMED);
    assert_int_equal(signed_status("{\"alg\":[\"HS256\"]}", "{}"),
                     GW_JWT_MALFORMED);
    assert_int_equal(signed_status("{\"alg\":256}", "{}"), GW_JWT_MALFORMED);
    assert_int_equal(signed_status("{\"ALG\":\"HS256\"}", "{}"),
                     GW_JWT_MALFORMED);

    /* an escape more makes no difference to what it says */

    assert_int_equal(signed_status("{\"\\u0061lg\":\"HS\\u003256\"}", "{}"),
                     GW_JWT_OK);
}


/* The public key as the secret of an HMAC, in the forms it may stand in. */
static void
public_key_as_secret(void **state)
{
    gw_jwk_parse_t p;
    gw_jwk_set_t *set;
    char *pem, *jwk, *t;

    (void) state;

    pem = make_pem(rsa);
    jwk = make_jwk(rsa, "");
    memset(&p, 0, sizeof(p));
    assert_int_equal(gw_jwk_set_parse_pem(lib, make_str(pem), &p, &set),
                     GW_OK);

    t = make_token("HS256", "", "{}", NULL, pem);
    assert_int_equal(status_of(set, t), GW_JWT_ALGORITHM);
    assert_int_equal(status_of(rsa_set, t), GW_JWT_ALGORITHM);
    free(t);

    pem[strlen(pem) - 1] = '\0';
    t = make_token("HS256", "", "{}", NULL, pem);
    assert_int_equal(status_of(set, t), GW_JWT_ALGORITHM);
    free(t);

    t = make_token("HS512", "", "{}", NULL, jwk);
    assert_int_equal(status_of(rsa_set, t), GW_JWT_ALGORITHM);
    free(t);

    gw_jwk_set_destroy(set);
    free(pem);
    free(jwk);
}


static void
kid_that_is_a_path_or_a_query(void **state)
{
    static const char *const kids[] = {
        "../../../../dev/null", "/dev/null", "x' UNION SELECT 'secret",
        "k1;id", "%2e%2e%2f", "${jndi:ldap://x}", "\\u0001", "\\ud83d\\ude00",
    };
    gw_jwk_set_t *set;
    char *jwk, *t, more[128];
    size_t i;

    (void) state;

    jwk = make_jwk_oct(secret, ",\"kid\":\"k1\"");
    set = make_set(lib, jwk, NULL, NULL);

    for (i = 0; i < sizeof(kids) / sizeof(kids[0]); i++) {
        sprintf(more, ",\"kid\":\"%s\"", kids[i]);

        /* signed with what the file or query might give: nothing */

        t = make_token("HS256", more, "{}", NULL, "");
        assert_int_equal(status_of(set, t), GW_JWT_UNKNOWN_KEY);
        free(t);
    }

    /* only the whole kid is the kid */

    t = make_token("HS256", ",\"kid\":\"k\"", "{}", NULL, secret);
    assert_int_equal(status_of(set, t), GW_JWT_UNKNOWN_KEY);
    free(t);

    t = make_token("HS256", ",\"kid\":\"k1\\u0000\"", "{}", NULL, secret);
    assert_int_equal(status_of(set, t), GW_JWT_MALFORMED);
    free(t);

    t = make_token("HS256", ",\"kid\":1", "{}", NULL, secret);
    assert_int_equal(status_of(set, t), GW_JWT_MALFORMED);
    free(t);

    t = make_token("HS256", ",\"kid\":null", "{}", NULL, secret);
    assert_int_equal(status_of(set, t), GW_JWT_MALFORMED);
    free(t);

    gw_jwk_set_destroy(set);
    free(jwk);
}


/* A token that brings its own key, or says where to fetch it. */
static void
embedded_and_remote_keys(void **state)
{
    EVP_PKEY *own;
    char *jwk, *t, header[2048];
    size_t i;

    static const char *const members[] = {
        ",\"jku\":\"http://attacker.example/jwks\"",
        ",\"x5u\":\"http://attacker.example/cert\"",
        ",\"x5c\":[\"MIIB\"]",
        ",\"x5t\":\"AAAA\",\"x5t#S256\":\"AAAA\"",
        ",\"jwk\":null",
    };

    (void) state;

    own = make_ec("P-256");
    jwk = make_jwk(own, "");
    snprintf(header, sizeof(header), ",\"jwk\":%s", jwk);
    t = make_token("ES256", header, "{}", own, NULL);
    assert_int_equal(status_of(ec_set, t), GW_JWT_SIGNATURE);
    free(t);

    /* nor does it harm a token that is rightly signed */

    t = make_token("ES256", header, "{}", ec, NULL);
    assert_int_equal(status_of(ec_set, t), GW_JWT_OK);
    free(t);

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        t = make_token("ES256", members[i], "{}", own, NULL);
        assert_int_equal(status_of(ec_set, t), GW_JWT_SIGNATURE);
        free(t);
    }

    EVP_PKEY_free(own);
    free(jwk);
}


static void
ecdsa_signatures_that_are_none(void **state)
{
    static const unsigned char order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
        0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    };
    unsigned char good[64], sig[200];
    char *input, *t;
    size_t i, n;
    gw_jwk_set_t *sets[] = { ec_set, p521_set };

    (void) state;

    input = make_input("{\"alg\":\"ES256\"}", "{}");

    /* DER, as an OpenSSL user would send it */

    n = make_signature(sig, sizeof(sig), "ES256", ec, make_str(input), false);
    t = make_join(strdup(input), sig, n);
    assert_int_equal(status_of(ec_set, t), GW_JWT_SIGNATURE);
    free(t);

    n = make_signature(sig, sizeof(sig), "ES256", ec, make_str(input), true);
    assert_int_equal(n, 64);
    memcpy(good, sig, 64);

    t = make_join(strdup(input), good, 64);
    assert_int_equal(status_of(ec_set, t), GW_JWT_OK);
    free(t);

    /* r or s of 0, n, n + 1, all ones */

    for (i = 0; i < 8; i++) {
        memcpy(sig, good, 64);

        switch (i / 2) {
        case 0:
            memset(sig + i % 2 * 32, 0, 32);
            break;
        case 1:
            memcpy(sig + i % 2 * 32, order, 32);
            break;
        case 2:
            memcpy(sig + i % 2 * 32, order, 32);
            sig[i % 2 * 32 + 31]++;
            break;
        default:
            memset(sig + i % 2 * 32, 0xff, 32);
        }

        t = make_join(strdup(input), sig, 64);
        assert_int_equal(status_of(ec_set, t), GW_JWT_SIGNATURE);
        free(t);
    }

    /* all zero, of any length ("psychic signatures") */

    memset(sig, 0, sizeof(sig));
    free(input);

    for (i = 0; i < 2; i++) {
        input = make_input(i ? "{\"alg\":\"ES512\"}" : "{\"alg\":\"ES256\"}",
                           "{}");

        for (n = 0; n <= 140; n++) {
            t = make_join(strdup(input), sig, n);
            assert_int_equal(status_of(sets[i], t), GW_JWT_SIGNATURE);
            free(t);
        }

        free(input);
    }
}


/* A byte less or more, in front or behind, and each single bit. */
static void
signatures_cut_extended_or_changed(void **state)
{
    static const char *const algs[] = { "HS256", "RS256", "PS256", "ES256",
                                        "ES512", "EdDSA" };
    EVP_PKEY *keys[] = { NULL, rsa, rsa, ec, p521, ed };
    gw_jwk_set_t *sets[] = { oct_set, rsa_set, rsa_set, ec_set, p521_set,
                             ed_set };
    unsigned char sig[600];
    char header[64], *input, *t;
    size_t i, n, bit, len;

    (void) state;

    for (i = 0; i < 6; i++) {
        sprintf(header, "{\"alg\":\"%s\"}", algs[i]);
        input = make_input(header, "{\"sub\":\"u\"}");
        t = make_sign(strdup(input), algs[i], keys[i], secret);
        assert_int_equal(status_of(sets[i], t), GW_JWT_OK);

        memset(sig, 0, sizeof(sig));
        gw_base64url_decode(sig + 1, &n, make_str(strrchr(t, '.') + 1));
        free(t);

        for (len = 0; len < n; len += (n - len > 3) ? 7 : 1) {
            t = make_join(strdup(input), sig + 1, len);
            assert_int_equal(status_of(sets[i], t), GW_JWT_SIGNATURE);
            free(t);
        }

        t = make_join(strdup(input), sig + 1, n + 1);
        assert_int_equal(status_of(sets[i], t), GW_JWT_SIGNATURE);
        free(t);

        t = make_join(strdup(input), sig, n + 1);
        assert_int_equal(status_of(sets[i], t), GW_JWT_SIGNATURE);
        free(t);

        for (bit = 0; bit < n * 8; bit += 37) {
            sig[1 + bit / 8] ^= (unsigned char) (1 << bit % 8);
            t = make_join(strdup(input), sig + 1, n);
            assert_int_equal(status_of(sets[i], t), GW_JWT_SIGNATURE);
            free(t);
            sig[1 + bit / 8] ^= (unsigned char) (1 << bit % 8);
        }

        free(input);
    }

    /* longer than any key could make it */

    n = 3000;
    t = calloc(1, 8000);
    input = make_input("{\"alg\":\"RS256\"}", "{}");
    sprintf(t, "%s.", input);
    memset(t + strlen(t), 'A', 4 * n / 3);
    assert_int_equal(status_of(rsa_set, t), GW_JWT_MALFORMED);
    free(input);
    free(t);
}


/* RFC 7518 3.5: the salt is as long as the hash, neither longer nor shorter. */
static void
pss_with_another_salt(void **state)
{
    static const int salts[] = { 0, 20, 31, 32, 33, 64, 222 };
    EVP_MD_CTX *ctx;
    EVP_PKEY_CTX *pctx;
    unsigned char sig[256];
    char *input, *t;
    size_t i, len;

    (void) state;

    for (i = 0; i < sizeof(salts) / sizeof(salts[0]); i++) {
        input = make_input("{\"alg\":\"PS256\"}", "{}");
        len = sizeof(sig);
        ctx = EVP_MD_CTX_new();
        EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, rsa);
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salts[i]);
        assert_int_equal(EVP_DigestSign(ctx, sig, &len,
                                        (unsigned char *) input,
                                        strlen(input)),
                         1);
        EVP_MD_CTX_free(ctx);

        t = make_join(input, sig, len);
        assert_int_equal(status_of(rsa_set, t), salts[i] == 32
                                                    ? GW_JWT_OK
                                                    : GW_JWT_SIGNATURE);
        free(t);
    }
}


/* Texts that a lax decoder takes for the same token. */
static void
base64_malleability(void **state)
{
    char *t, *other, *dot;
    size_t i, n;

    static const char *const tails[] = {
        "=", "==", "\n", " ", "\t", "\r\n", "%3D", ".", ".e30", "A", "-",
        "\x80",
    };

    (void) state;

    t = make_token("HS256", "", "{\"a\":1}", NULL, secret);
    n = strlen(t);
    other = malloc(n + 16);

    assert_int_equal(status_of(oct_set, t), GW_JWT_OK);

    for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        sprintf(other, "%s%s", t, tails[i]);
        assert_int_not_equal(status_of(oct_set, other), GW_JWT_OK);
        sprintf(other, "%s%s", tails[i], t);
        assert_int_not_equal(status_of(oct_set, other), GW_JWT_OK);
    }

    assert_int_equal(status_n(oct_set, t, n + 1), GW_JWT_MALFORMED);

    /* 32 bytes in 43 characters: two bits of the last one carry nothing */

    for (i = 1; i < 4; i++) {
        strcpy(other, t);
        other[n - 1]++;
        if (status_of(oct_set, other) == GW_JWT_OK) {
            fail_msg("trailing bits were taken");
        }
        memcpy(t, other, n);
    }

    /* every single character matters, the dots too */

    free(t);
    t = make_token("HS256", "", "{\"a\":1}", NULL, secret);

    for (i = 0; i < n; i++) {
        strcpy(other, t);
        other[i] = (other[i] == 'x') ? 'y' : 'x';
        assert_int_not_equal(status_of(oct_set, other), GW_JWT_OK);

        strcpy(other, t);
        memmove(other + i, other + i + 1, n - i);
        assert_int_not_equal(status_of(oct_set, other), GW_JWT_OK);
    }

    /* two parts swapped with those of another token */

    dot = strchr(t, '.');
    sprintf(other, "%.*s.e30%s", (int) (dot - t), t, strrchr(t, '.'));
    assert_int_equal(status_of(oct_set, other), GW_JWT_SIGNATURE);

    free(other);
    free(t);
}


static void
more_or_fewer_than_three_parts(void **state)
{
    static const char *const bad[] = {
        "", ".", "..", "...", "a", "a.b", "e30", "e30.e30", ".e30.e30",
        "e30..e30", "e30.e30.e30.e30", "e30.e30.e30.", "e30.e30.e30.e30.e30",
        "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30",
        "eyJhbGciOiJIUzI1NiJ9..AAAA", "{\"alg\":\"HS256\"}.{}.",
        "\xff\xfe.\xff.\xff",
    };
    char *t;
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(status_of(oct_set, bad[i]), GW_JWT_MALFORMED);
    }

    assert_int_equal(status_n(oct_set, NULL, 0), GW_JWT_MALFORMED);
    assert_int_equal(status_n(oct_set, "\0.\0.\0", 5), GW_JWT_MALFORMED);
    assert_int_equal(status_of(oct_set, "eyJhbGciOiJIUzI1NiJ9.e30."),
                     GW_JWT_SIGNATURE);

    t = make_token("HS256", "", "{}", NULL, secret);
    t = realloc(t, strlen(t) + 8);
    strcat(t, ".e30");
    assert_int_equal(status_of(oct_set, t), GW_JWT_MALFORMED);
    free(t);
}


/* What two parsers read differently, or is no JSON object at all. */
static const char *const not_json[] = {
    "{\"sub\":\"a\",\"sub\":\"b\"}",
    "{\"sub\":\"a\",\"\\u0073ub\":\"b\"}",
    "{\"o\":{\"x\":1,\"x\":1}}",
    "{\"o\":[{\"x\":1,\"x\":2}]}",
    "{\"a\":1}{\"a\":2}",
    "{\"a\":1}x",
    "{\"a\":1,}",
    "{,}",
    "{'a':1}",
    "{a:1}",
    "{\"a\":1}//",
    "\xef\xbb\xbf{}",
    "[]",
    "[{\"sub\":\"a\"}]",
    "\"sub\"",
    "1",
    "null",
    "",
    " ",
    "{",
    "{\"a\":\"\\u0000\"}",
    "{\"a\\u0000b\":1}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\udc00\\ud800\"}",
    "{\"a\":\"\xff\"}",
    "{\"a\":\"\xc0\x80\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"\xf5\x80\x80\x80\":1}",
    "{\"a\":\"\n\"}",
    "{\"a\":18446744073709551616}",
    "{\"a\":1e999}",
    "{\"a\":[1e999]}",
    "{\"a\":NaN}",
    "{\"a\":-}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":00}",
    "{\"a\":tru}",
};


static void
json_that_two_parsers_read_differently(void **state)
{
    char *t, header[256];
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(not_json) / sizeof(not_json[0]); i++) {
        if (signed_status("{\"alg\":\"HS256\"}", not_json[i])
            != GW_JWT_MALFORMED)
        {
            fail_msg("payload %s was taken", not_json[i]);
        }

        if (not_json[i][0] == '{' && not_json[i][1] == '"'
            && not_json[i][strlen(not_json[i]) - 1] == '}')
        {
            sprintf(header, "{\"alg\":\"HS256\",%s", not_json[i] + 1);
            if (signed_status(header, "{}") != GW_JWT_MALFORMED) {
                fail_msg("header %s was taken", header);
            }
        }
    }

    assert_int_equal(
        signed_status("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{}"),
        GW_JWT_MALFORMED);
    assert_int_equal(
        signed_status("{\"alg\":\"none\",\"\\u0061lg\":\"HS256\"}", "{}"),
        GW_JWT_MALFORMED);

    /* U+0000 as it is */

    t = make_sign(make_input_n("{\"alg\":\"HS256\"}", "{\"a\0\":1}", 8),
                  "HS256", NULL, secret);
    assert_int_equal(status_of(oct_set, t), GW_JWT_MALFORMED);
    free(t);

    t = make_sign(make_input_n("{\"alg\":\"HS256\"}", "{\"a\":1e1\0}", 10),
                  "HS256", NULL, secret);
    assert_int_equal(status_of(oct_set, t), GW_JWT_MALFORMED);
    free(t);

    t = make_sign(make_input_n("{\"alg\":\"HS256\"}", "{}\0", 3), "HS256",
                  NULL, secret);
    assert_int_equal(status_of(oct_set, t), GW_JWT_MALFORMED);
    free(t);
}


static void
extensions_that_must_be_understood(void **state)
{
    static const char *const more[] = {
        "\"crit\":[\"exp\"],\"exp\":1", "\"crit\":[]", "\"crit\":null",
        "\"crit\":\"b64\"", "\"crit\":[\"b64\"],\"b64\":false",
        "\"crit\":[\"b64\"],\"b64\":true", "\"crit\":[\"alg\"]",
        "\"cr\\u0069t\":[\"x\"]", "\"b64\":false", "\"b64\":null",
        "\"b64\":\"true\"", "\"b64\":0",
    };
    char header[128];
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        sprintf(header, "{\"alg\":\"HS256\",%s}", more[i]);
        assert_int_equal(signed_status(header, "{}"), GW_JWT_MALFORMED);
    }

    assert_int_equal(signed_status("{\"alg\":\"HS256\",\"b64\":true}", "{}"),
                     GW_JWT_OK);

    /* RFC 7515 E */

    assert_int_equal(
        status_of(oct_set,
                  "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb2"
                  "0vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklO"
                  "RUQiOnRydWUNCn0.RkFJTA."),
        GW_JWT_MALFORMED);
}


/* n times open, then n times close, as the value of a member. */
static char *
nested(const char *prefix, const char *open, const char *close, size_t n)
{
    char *s, *p;
    size_t i;

    s = malloc(strlen(prefix) + n * (strlen(open) + strlen(close)) + 8);
    p = s + sprintf(s, "%s", prefix);

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s", open);
    }

    p += sprintf(p, "1");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s", close);
    }

    sprintf(p, "}");

    return s;
}


static void
bombs(void **state)
{
    char *p, *q, *t;
    size_t i, n;

    (void) state;

    /* the object itself is the first level */

    for (i = 0; i < 2; i++) {
        for (n = 1; n < 5500; n += (n < 40) ? 1 : 1777) {
            p = i ? nested("{\"a\":", "{\"b\":", "}", n % 2000)
                  : nested("{\"a\":", "[", "]", n);
            assert_int_equal(signed_status("{\"alg\":\"HS256\"}", p),
                             n < GW_JWT_DEPTH_MAX ? GW_JWT_OK
                                                  : GW_JWT_MALFORMED);
            free(p);
        }

        p = i ? nested("{\"alg\":\"HS256\",\"a\":", "{\"b\":", "}", 40)
              : nested("{\"alg\":\"HS256\",\"a\":", "[", "]", 40);
        assert_int_equal(signed_status(p, "{}"), GW_JWT_MALFORMED);
        free(p);
    }

    /* brackets in strings are no nesting */

    assert_int_equal(
        signed_status("{\"alg\":\"HS256\"}",
                      "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\""
                      "{{\"}"),
        GW_JWT_OK);

    /* many members, up to the limit of a token and beyond it */

    q = calloc(1, 40000);
    p = q + sprintf(q, "{\"m\":0");
    for (i = 0; p - q < 12000; i++) {
        p += sprintf(p, ",\"%zx\":%zu", i, i);
    }
    strcpy(p, "}");
    assert_int_equal(signed_status("{\"alg\":\"HS256\"}", q), GW_JWT_OK);

    strcpy(p, ",\"1f\":0}");
    assert_int_equal(signed_status("{\"alg\":\"HS256\"}", q),
                     GW_JWT_MALFORMED);

    memset(q, ' ', 30000);
    q[0] = '{';
    q[29999] = '}';
    assert_int_equal(signed_status("{\"alg\":\"HS256\"}", q),
                     GW_JWT_MALFORMED);
    free(q);

    /* exactly as long as is taken, and a byte more */

    for (i = 0; i < 2; i++) {
        q = calloc(1, GW_JWT_MAX);
        memset(q, ' ', (GW_JWT_MAX - 65) / 4 * 3);
        q[0] = '{';
        q[strlen(q) - 1] = '}';
        t = make_token("HS256", i ? ", \"x\":1" : "", q, NULL, secret);
        assert_int_equal(status_of(oct_set, t), strlen(t) <= GW_JWT_MAX
                                                    ? GW_JWT_OK
                                                    : GW_JWT_MALFORMED);
        assert_int_equal(strlen(t) <= GW_JWT_MAX, i == 0);
        free(t);
        free(q);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alg_none_in_all_spellings),
        cmocka_unit_test(public_key_as_secret),
        cmocka_unit_test(kid_that_is_a_path_or_a_query),
        cmocka_unit_test(embedded_and_remote_keys),
        cmocka_unit_test(ecdsa_signatures_that_are_none),
        cmocka_unit_test(signatures_cut_extended_or_changed),
        cmocka_unit_test(pss_with_another_salt),
        cmocka_unit_test(base64_malleability),
        cmocka_unit_test(more_or_fewer_than_three_parts),
        cmocka_unit_test(json_that_two_parsers_read_differently),
        cmocka_unit_test(extensions_that_must_be_understood),
        cmocka_unit_test(bombs),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
