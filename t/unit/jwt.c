/* What a token must be to be taken; see jwt_attack.c for what it must not. */

#include "jwt_make.h"
#include "jwt_rfc.h"

#define NOW 1750000000000LL /* ms */
#define BEFORE_2011 1300819379000LL /* a second before the RFC's exp */

static const char secret[] = "0123456789abcdef0123456789abcdef"
                             "0123456789ABCDEF0123456789ABCDEF";

static gw_jwt_lib_t *lib;
static EVP_PKEY *rsa, *p256, *p384, *p521, *ed25519, *ed448;

typedef struct {
    const char *alg;
    EVP_PKEY **pkey; /* NULL: secret */
    int family;
} way_t;

static const way_t ways[] = {
    { "HS256", NULL, 0 },      { "HS384", NULL, 0 },   { "HS512", NULL, 0 },
    { "RS256", &rsa, 1 },      { "RS384", &rsa, 1 },   { "RS512", &rsa, 1 },
    { "PS256", &rsa, 1 },      { "PS384", &rsa, 1 },   { "PS512", &rsa, 1 },
    { "ES256", &p256, 2 },     { "ES384", &p384, 3 },  { "ES512", &p521, 4 },
    { "EdDSA", &ed25519, 5 },  { "EdDSA", &ed448, 6 },
};

#define WAYS (sizeof(ways) / sizeof(ways[0]))


static int
setup(void **state)
{
    (void) state;

    lib = gw_jwt_lib_create();
    rsa = make_rsa(2048);
    p256 = make_ec("P-256");
    p384 = make_ec("P-384");
    p521 = make_ec("P-521");
    ed25519 = make_okp("ED25519");
    ed448 = make_okp("ED448");

    return lib == NULL || ed448 == NULL;
}


static int
teardown(void **state)
{
    (void) state;

    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(p521);
    EVP_PKEY_free(ed25519);
    EVP_PKEY_free(ed448);
    gw_jwt_lib_destroy(lib);

    return 0;
}


static EVP_PKEY *
pkey_of(const way_t *w)
{
    return w->pkey ? *w->pkey : NULL;
}


static char *
jwk_of(const way_t *w, const char *more)
{
    return w->pkey ? make_jwk(*w->pkey, more) : make_jwk_oct(secret, more);
}


/* Verifies with one set and the given algorithms; OpenSSL's queue must be
   empty afterwards, and a token come out if and only if the status is ok. */
static gw_jwt_result_t
verify_at(gw_jwk_set_t *set, const char *token, uint32_t algorithms,
    int64_t now)
{
    gw_jwt_status_e status;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;

    memset(&policy, 0, sizeof(policy));
    policy.sets = &set;
    policy.nsets = 1;
    policy.algorithms = algorithms;
    policy.now = now;

    status = gw_jwt_verify(&r, make_str(token), &policy);
    assert_int_equal(status, r.status);
    assert_int_equal(r.status == GW_JWT_OK, r.jwt != NULL);
    assert_non_null(r.reason);
    assert_int_equal(ERR_peek_error(), 0);

    return r;
}


static gw_jwt_status_e
status_of(gw_jwk_set_t *set, const char *token)
{
    gw_jwt_result_t r;

    r = verify_at(set, token, 0, NOW);
    gw_jwt_destroy(r.jwt);

    return r.status;
}


/* Status of a token with this payload, signed by the secret. */
static gw_jwt_status_e
payload_status(const char *payload)
{
    gw_jwk_set_t *set;
    gw_jwt_status_e status;
    char *jwk, *token;

    jwk = make_jwk_oct(secret, "");
    set = make_set(lib, jwk, NULL, NULL);
    token = make_token("HS256", "", payload, NULL, secret);
    status = status_of(set, token);

    gw_jwk_set_destroy(set);
    free(jwk);
    free(token);

    return status;
}


static void
takes_the_examples_of_the_rfcs(void **state)
{
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    char *broken, *c;
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(rfcs) / sizeof(rfcs[0]); i++) {
        set = make_set(lib, rfcs[i].jwk, NULL, NULL);
        r = verify_at(set, rfcs[i].token, 0, BEFORE_2011);

        /* a payload that is no JSON is found after the signature is */

        if (r.status != (rfcs[i].json ? GW_JWT_OK : GW_JWT_MALFORMED)) {
            fail_msg("%s: %s", rfcs[i].name, r.reason);
        }

        if (!rfcs[i].json) {
            assert_non_null(strstr(r.reason, "payload"));
        }

        gw_jwt_destroy(r.jwt);

        broken = strdup(rfcs[i].token);
        c = strrchr(broken, '.') + 10;
        *c = (*c == 'A') ? 'B' : 'A';
        assert_int_equal(status_of(set, broken), GW_JWT_SIGNATURE);

        free(broken);
        gw_jwk_set_destroy(set);
    }
}


static void
takes_every_algorithm_with_its_key(void **state)
{
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    gw_jwt_alg_e alg;
    char *jwk, *token;
    size_t i, n;

    (void) state;

    for (i = 0; i < WAYS; i++) {
        jwk = jwk_of(&ways[i], "");
        set = make_set(lib, jwk, NULL, NULL);
        token = make_token(ways[i].alg, ",\"typ\":\"JWT\"", "{\"sub\":\"u\"}",
                           pkey_of(&ways[i]), secret);

        /* twice and more, for contexts are used again */

        for (n = 0; n < 3; n++) {
            r = verify_at(set, token, 0, NOW);
            if (r.status != GW_JWT_OK) {
                fail_msg("%s: %s", ways[i].alg, r.reason);
            }

            assert_int_equal(gw_jwt_alg_parse(make_str(ways[i].alg), &alg),
                             GW_OK);
            assert_int_equal(gw_jwt_algorithm(r.jwt), alg);
            assert_string_equal(
                json_string_value(json_object_get(gw_jwt_header(r.jwt),
                                                  "alg")),
                ways[i].alg);
            assert_string_equal(
                json_string_value(json_object_get(gw_jwt_payload(r.jwt),
                                                  "sub")),
                "u");
            gw_jwt_destroy(r.jwt);
        }

        gw_jwk_set_destroy(set);
        free(token);
        free(jwk);
    }
}


static void
takes_pem_keys(void **state)
{
    gw_jwk_parse_t p;
    gw_jwk_set_t *set;
    char *pem, *token;
    size_t i;

    (void) state;

    for (i = 0; i < WAYS; i++) {
        if (ways[i].pkey == NULL) {
            continue;
        }

        memset(&p, 0, sizeof(p));
        pem = make_pem(*ways[i].pkey);
        assert_int_equal(gw_jwk_set_parse_pem(lib, make_str(pem), &p, &set),
                         GW_OK);
        token = make_token(ways[i].alg, "", "{}", *ways[i].pkey, NULL);
        assert_int_equal(status_of(set, token), GW_JWT_OK);

        gw_jwk_set_destroy(set);
        free(token);
        free(pem);
    }
}


/* A key of one family and a token of another never meet, whatever the
   signature is. */
static void
never_crosses_families(void **state)
{
    gw_jwk_set_t *set;
    char *jwk, *token, *input;
    size_t k, a;

    (void) state;

    for (k = 0; k < WAYS; k++) {
        jwk = jwk_of(&ways[k], ",\"kid\":\"1\"");
        set = make_set(lib, jwk, NULL, NULL);

        for (a = 0; a < WAYS; a++) {
            if (ways[k].family == ways[a].family
                || (strcmp(ways[k].alg, ways[a].alg) == 0))
            {
                continue;
            }

            /* says one algorithm, is signed by the other */

            token = malloc(200);
            assert_non_null(token);
            sprintf(token, "{\"alg\":\"%s\",\"kid\":\"1\"}", ways[a].alg);
            input = make_input(token, "{}");
            free(token);
            token = make_sign(input, ways[k].alg, pkey_of(&ways[k]), secret);
            assert_int_equal(status_of(set, token), GW_JWT_ALGORITHM);
            free(token);
        }

        gw_jwk_set_destroy(set);
        free(jwk);
    }
}


/* RS256 signed by PS256 and the like: right key, wrong scheme or hash. */
static void
takes_no_algorithm_for_another_of_its_family(void **state)
{
    gw_jwk_set_t *set;
    char *jwk, *token, header[64];
    size_t k, a;

    (void) state;

    for (k = 0; k < WAYS; k++) {
        jwk = jwk_of(&ways[k], "");
        set = make_set(lib, jwk, NULL, NULL);

        for (a = 0; a < WAYS; a++) {
            if (a == k || ways[k].family != ways[a].family) {
                continue;
            }

            sprintf(header, "{\"alg\":\"%s\"}", ways[a].alg);
            token = make_sign(make_input(header, "{}"), ways[k].alg,
                              pkey_of(&ways[k]), secret);
            assert_int_equal(status_of(set, token), GW_JWT_SIGNATURE);
            free(token);
        }

        gw_jwk_set_destroy(set);
        free(jwk);
    }
}


static void
obeys_the_alg_of_a_key_and_the_policy(void **state)
{
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    char *jwk, *rs256, *rs512;

    (void) state;

    rs256 = make_token("RS256", "", "{}", rsa, NULL);
    rs512 = make_token("RS512", "", "{}", rsa, NULL);

    jwk = make_jwk(rsa, ",\"alg\":\"RS256\"");
    set = make_set(lib, jwk, NULL, NULL);
    assert_int_equal(status_of(set, rs256), GW_JWT_OK);
    assert_int_equal(status_of(set, rs512), GW_JWT_ALGORITHM);
    gw_jwk_set_destroy(set);
    free(jwk);

    jwk = make_jwk(rsa, "");
    set = make_set(lib, jwk, NULL, NULL);

    r = verify_at(set, rs512, gw_jwt_alg_bit(GW_JWT_RS512), NOW);
    assert_int_equal(r.status, GW_JWT_OK);
    gw_jwt_destroy(r.jwt);

    r = verify_at(set, rs512, GW_JWT_ALG_ALL, NOW);
    assert_int_equal(r.status, GW_JWT_OK);
    gw_jwt_destroy(r.jwt);

    r = verify_at(set, rs512,
                  GW_JWT_ALG_ALL & ~gw_jwt_alg_bit(GW_JWT_RS512), NOW);
    assert_int_equal(r.status, GW_JWT_ALGORITHM);

    gw_jwk_set_destroy(set);
    free(jwk);
    free(rs256);
    free(rs512);
}


static void
tries_the_keys_of_the_kid_else_those_without(void **state)
{
    static const char one[] = "one 56789abcdef0123456789abcdef0123456789";
    static const char two[] = "two 56789abcdef0123456789abcdef0123456789";
    static const char any[] = "any 56789abcdef0123456789abcdef0123456789";
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    char *a, *b, *c, *t;
    size_t i;

    struct {
        const char *header;
        const char *secret;
        gw_jwt_status_e status;
        bool unknown_kid;
    } cases[] = {
        { ",\"kid\":\"1\"", one, GW_JWT_OK, false },
        { ",\"kid\":\"2\"", two, GW_JWT_OK, false },
        { ",\"kid\":\"1\"", two, GW_JWT_SIGNATURE, false },
        /* where a key has the kid, those without are not for it */
        { ",\"kid\":\"1\"", any, GW_JWT_SIGNATURE, false },
        { ",\"kid\":\"3\"", any, GW_JWT_OK, true },
        { ",\"kid\":\"3\"", one, GW_JWT_SIGNATURE, true },
        { ",\"kid\":\"\"", any, GW_JWT_OK, true },
        { ",\"kid\":\"\\u0031\"", one, GW_JWT_OK, false },
        { "", one, GW_JWT_OK, false },
        { "", two, GW_JWT_OK, false },
        { "", any, GW_JWT_OK, false },
        { "", secret, GW_JWT_SIGNATURE, false },
    };

    (void) state;

    a = make_jwk_oct(one, ",\"kid\":\"1\"");
    b = make_jwk_oct(two, ",\"kid\":\"2\"");
    c = make_jwk_oct(any, "");
    set = make_set(lib, a, b, c);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = make_token("HS256", cases[i].header, "{}", NULL, cases[i].secret);
        r = verify_at(set, t, 0, NOW);

        if (r.status != cases[i].status
            || r.unknown_kid != cases[i].unknown_kid)
        {
            fail_msg("case %zu: %s", i, r.reason);
        }

        gw_jwt_destroy(r.jwt);
        free(t);
    }

    gw_jwk_set_destroy(set);

    /* no key without kid: unknown, worth a fetch; a kid-less token is not */

    set = make_set(lib, a, b, NULL);
    t = make_token("HS256", ",\"kid\":\"3\"", "{}", NULL, any);
    r = verify_at(set, t, 0, NOW);
    assert_int_equal(r.status, GW_JWT_UNKNOWN_KEY);
    assert_true(r.unknown_kid);
    free(t);

    gw_jwk_set_destroy(set);
    free(a);
    free(b);
    free(c);
}


/* The same kid twice, as in the middle of a change of keys; and of two
   families. */
static void
tries_all_keys_of_a_kid(void **state)
{
    gw_jwk_set_t *set;
    char *a, *b, *c, *t;

    (void) state;

    a = make_jwk_oct("0123456789abcdef0123456789abcdefXX", ",\"kid\":\"1\"");
    b = make_jwk(p256, ",\"kid\":\"1\"");
    c = make_jwk_oct(secret, ",\"kid\":\"1\"");
    set = make_set(lib, a, b, c);

    t = make_token("HS256", ",\"kid\":\"1\"", "{}", NULL, secret);
    assert_int_equal(status_of(set, t), GW_JWT_OK);
    free(t);

    t = make_token("ES256", ",\"kid\":\"1\"", "{}", p256, NULL);
    assert_int_equal(status_of(set, t), GW_JWT_OK);
    free(t);

    t = make_token("RS256", ",\"kid\":\"1\"", "{}", rsa, NULL);
    assert_int_equal(status_of(set, t), GW_JWT_ALGORITHM);
    free(t);

    gw_jwk_set_destroy(set);
    free(a);
    free(b);
    free(c);
}


static void
takes_several_sets_as_one(void **state)
{
    gw_jwk_set_t *sets[3];
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    char *a, *b, *t;

    (void) state;

    a = make_jwk(p256, ",\"kid\":\"1\"");
    b = make_jwk_oct(secret, "");
    sets[0] = make_set(lib, b, NULL, NULL);
    sets[1] = NULL; /* has not answered yet */
    sets[2] = make_set(lib, a, NULL, NULL);

    memset(&policy, 0, sizeof(policy));
    policy.sets = sets;
    policy.nsets = 3;
    policy.now = NOW;

    t = make_token("ES256", ",\"kid\":\"1\"", "{}", p256, NULL);
    assert_int_equal(gw_jwt_verify(&r, make_str(t), &policy), GW_JWT_OK);
    gw_jwt_destroy(r.jwt);

    /* a kid that the third has keeps the first's key without kid away */

    free(t);
    t = make_token("HS256", ",\"kid\":\"1\"", "{}", NULL, secret);
    assert_int_equal(gw_jwt_verify(&r, make_str(t), &policy),
                     GW_JWT_ALGORITHM);

    policy.nsets = 2;
    assert_int_equal(gw_jwt_verify(&r, make_str(t), &policy), GW_JWT_OK);
    gw_jwt_destroy(r.jwt);

    policy.nsets = 0;
    assert_int_equal(gw_jwt_verify(&r, make_str(t), &policy),
                     GW_JWT_UNKNOWN_KEY);
    assert_true(r.unknown_kid);

    free(t);
    t = make_token("HS256", "", "{}", NULL, secret);
    assert_int_equal(gw_jwt_verify(&r, make_str(t), &policy),
                     GW_JWT_UNKNOWN_KEY);
    assert_false(r.unknown_kid);

    gw_jwk_set_destroy(sets[0]);
    gw_jwk_set_destroy(sets[2]);
    free(t);
    free(a);
    free(b);
}


static void
looks_at_the_clock(void **state)
{
    gw_jwk_set_t *set;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    char *jwk, *t;
    size_t i;

    struct {
        const char *payload;
        int64_t now;
        int64_t leeway;
        gw_jwt_status_e status;
    } cases[] = {
        { "{\"exp\":1000}", 999999, 0, GW_JWT_OK },
        { "{\"exp\":1000}", 1000000, 0, GW_JWT_EXPIRED },
        { "{\"exp\":1000}", 1000000, 1, GW_JWT_OK },
        { "{\"exp\":1000}", 1060000, 60000, GW_JWT_EXPIRED },
        { "{\"exp\":1000}", 1059999, 60000, GW_JWT_OK },
        { "{\"exp\":1000.5}", 1000499, 0, GW_JWT_OK },
        { "{\"exp\":1000.5}", 1000500, 0, GW_JWT_EXPIRED },
        { "{\"exp\":1e3}", 999999, 0, GW_JWT_OK },
        { "{\"exp\":1e3}", 1000000, 0, GW_JWT_EXPIRED },
        { "{\"exp\":-1}", 0, 0, GW_JWT_EXPIRED },
        { "{\"exp\":-1}", 0, 1001, GW_JWT_OK },
        { "{\"exp\":0}", 0, 0, GW_JWT_EXPIRED },
        { "{\"exp\":9223372036854775807}", NOW, 0, GW_JWT_OK },
        { "{\"exp\":9223372036854775807}", NOW, INT64_MAX, GW_JWT_OK },
        { "{\"exp\":-9223372036854775808}", NOW, 0, GW_JWT_EXPIRED },
        { "{\"exp\":-9223372036854775808}", 0, 60000, GW_JWT_EXPIRED },
        { "{\"exp\":9.2e18}", NOW, 0, GW_JWT_OK },
        { "{\"exp\":-9.2e18}", NOW, 0, GW_JWT_EXPIRED },
        { "{\"nbf\":1000}", 999999, 0, GW_JWT_EARLY },
        { "{\"nbf\":1000}", 1000000, 0, GW_JWT_OK },
        { "{\"nbf\":1000}", 940000, 60000, GW_JWT_OK },
        { "{\"nbf\":1000}", 939999, 60000, GW_JWT_EARLY },
        { "{\"nbf\":1000.5}", 1000499, 0, GW_JWT_EARLY },
        { "{\"nbf\":9223372036854775807}", NOW, 60000, GW_JWT_EARLY },
        { "{\"nbf\":-9223372036854775808}", NOW, 60000, GW_JWT_OK },
        { "{\"nbf\":1000,\"exp\":1000}", 1000000, 0, GW_JWT_EXPIRED },
        { "{\"nbf\":2000,\"exp\":1000}", 1500000, 0, GW_JWT_EXPIRED },
        { "{\"iat\":99999999999}", NOW, 0, GW_JWT_OK },
        { "{\"\\u0065xp\":1000}", 1000000, 0, GW_JWT_EXPIRED },
        { "{}", INT64_MAX, 0, GW_JWT_OK },
    };

    (void) state;

    jwk = make_jwk_oct(secret, "");
    set = make_set(lib, jwk, NULL, NULL);
    memset(&policy, 0, sizeof(policy));
    policy.sets = &set;
    policy.nsets = 1;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = make_token("HS256", "", cases[i].payload, NULL, secret);
        policy.now = cases[i].now;
        policy.leeway = cases[i].leeway;

        if (gw_jwt_verify(&r, make_str(t), &policy) != cases[i].status) {
            fail_msg("%s at %lld: %s", cases[i].payload,
                     (long long) cases[i].now, r.reason);
        }

        gw_jwt_destroy(r.jwt);
        free(t);
    }

    gw_jwk_set_destroy(set);
    free(jwk);
}


/* Once more, later, for a token that is remembered. */
static void
looks_at_the_clock_again(void **state)
{
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    char *jwk, *t;
    int64_t exp;

    (void) state;

    jwk = make_jwk_oct(secret, "");
    set = make_set(lib, jwk, NULL, NULL);
    t = make_token("HS256", "", "{\"nbf\":900,\"exp\":1000.2}", NULL, secret);
    r = verify_at(set, t, 0, 950000);
    assert_int_equal(r.status, GW_JWT_OK);
    assert_int_equal(gw_jwt_check_time(r.jwt, 1000199, 0), GW_JWT_OK);
    assert_int_equal(gw_jwt_check_time(r.jwt, 1000200, 0), GW_JWT_EXPIRED);
    assert_int_equal(gw_jwt_check_time(r.jwt, 1000200, 1), GW_JWT_OK);
    assert_int_equal(gw_jwt_check_time(r.jwt, 899999, 0), GW_JWT_EARLY);
    assert_true(gw_jwt_expires(r.jwt, &exp));
    assert_int_equal(exp, 1001);
    gw_jwt_destroy(r.jwt);
    free(t);
    gw_jwk_set_destroy(set);
    free(jwk);
}


static void
refuses_times_that_are_none(void **state)
{
    static const char *const bad[] = {
        "{\"exp\":\"1900000000\"}",
        "{\"exp\":null}",
        "{\"exp\":true}",
        "{\"exp\":[1900000000]}",
        "{\"exp\":{}}",
        "{\"exp\":NaN}",
        "{\"exp\":Infinity}",
        "{\"exp\":1e400}",
        "{\"exp\":1e300}",
        "{\"exp\":-1e300}",
        "{\"exp\":9223372036854775808}",
        "{\"exp\":9223372036854775808.0}",
        "{\"exp\":-9223372036854777856.0}",
        "{\"exp\":18446744073709551616}",
        "{\"exp\":01900000000}",
        "{\"exp\":+1900000000}",
        "{\"exp\":0x7fffffff}",
        "{\"nbf\":\"0\"}",
        "{\"nbf\":1e300}",
        "{\"iat\":\"0\"}",
        "{\"iat\":-1e300}",
        "{\"iat\":false}",
    };
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (payload_status(bad[i]) != GW_JWT_MALFORMED) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}


static void
keeps_the_texts_that_were_signed(void **state)
{
    static const char payload[] = " { \"n\" : 1.0, \"s\":\"\\u00e9\" }\n";
    gw_jwk_set_t *set;
    gw_jwt_result_t r;
    gw_str_t text;
    char *jwk, *t;
    int64_t exp;
    size_t lean;

    (void) state;

    jwk = make_jwk_oct(secret, "");
    set = make_set(lib, jwk, NULL, NULL);
    t = make_token("HS256", ", \"x\":1", payload, NULL, secret);
    r = verify_at(set, t, 0, NOW);
    assert_int_equal(r.status, GW_JWT_OK);

    text = gw_jwt_payload_text(r.jwt);
    assert_int_equal(text.len, strlen(payload));
    assert_memory_equal(text.data, payload, text.len);

    text = gw_jwt_header_text(r.jwt);
    assert_int_equal(text.len, strlen("{\"alg\":\"HS256\", \"x\":1}"));
    assert_memory_equal(text.data, "{\"alg\":\"HS256\", \"x\":1}", text.len);

    assert_false(gw_jwt_expires(r.jwt, &exp));

    lean = gw_jwt_memory(r.jwt);
    assert_int_equal(json_object_size(gw_jwt_payload(r.jwt)), 2);
    assert_int_equal(json_object_size(gw_jwt_header(r.jwt)), 2);
    assert_ptr_equal(gw_jwt_header(r.jwt), gw_jwt_header(r.jwt));
    assert_true(gw_jwt_memory(r.jwt) > lean);

    gw_jwt_destroy(r.jwt);
    gw_jwk_set_destroy(set);
    free(t);
    free(jwk);
}


static void
knows_its_names(void **state)
{
    static const char *const names[] = {
        "ok",    "missing", "malformed", "signature",   "expired",
        "early", "claim",   "revoked",   "unknown-key", "algorithm",
    };
    static const char *const no[] = {
        "none", "hs256", "HS256 ", "HS25", "", "ES256K", "eddsa", "RS1",
    };
    gw_jwt_alg_e alg;
    size_t i;

    (void) state;

    for (i = 0; i < GW_JWT_STATUSES; i++) {
        assert_string_equal(gw_jwt_status_name((gw_jwt_status_e) i),
                            names[i]);
    }

    for (i = 0; i < GW_JWT_ALGS; i++) {
        assert_int_equal(
            gw_jwt_alg_parse(make_str(gw_jwt_alg_name((gw_jwt_alg_e) i)),
                             &alg),
            GW_OK);
        assert_int_equal(alg, i);
    }

    for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        assert_int_equal(gw_jwt_alg_parse(make_str(no[i]), &alg),
                         GW_DECLINED);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_examples_of_the_rfcs),
        cmocka_unit_test(takes_every_algorithm_with_its_key),
        cmocka_unit_test(takes_pem_keys),
        cmocka_unit_test(never_crosses_families),
        cmocka_unit_test(takes_no_algorithm_for_another_of_its_family),
        cmocka_unit_test(obeys_the_alg_of_a_key_and_the_policy),
        cmocka_unit_test(tries_the_keys_of_the_kid_else_those_without),
        cmocka_unit_test(tries_all_keys_of_a_kid),
        cmocka_unit_test(takes_several_sets_as_one),
        cmocka_unit_test(looks_at_the_clock),
        cmocka_unit_test(looks_at_the_clock_again),
        cmocka_unit_test(refuses_times_that_are_none),
        cmocka_unit_test(keeps_the_texts_that_were_signed),
        cmocka_unit_test(knows_its_names),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
