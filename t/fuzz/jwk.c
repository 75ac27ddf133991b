/*
 * Key sources. An input that begins with 'S' is a secret's file, with '-' a
 * PEM, any other a JWK Set. What is taken must be able to refuse a token.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "../../src/base64url.h"
#include "../../src/jwt.h"

#define REQUIRE(x)                                                            \
    do {                                                                      \
        if (!(x)) {                                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #x);                   \
            abort();                                                          \
        }                                                                     \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
on_report(void *data, gw_jwk_level_e level, const char *text)
{
    (void) data;
    (void) level;

    for (; *text; text++) {
        REQUIRE(*text >= ' ' && *text <= '~');
    }
}


/* Tries a signature of n zero bytes with each algorithm. */
static void
try_tokens(gw_jwk_set_t *set, size_t n)
{
    static const unsigned char zero[512];
    unsigned char token[1024], *p;
    char header[32];
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    int alg;

    memset(&policy, 0, sizeof(policy));
    policy.sets = &set;
    policy.nsets = 1;

    for (alg = 0; alg < GW_JWT_ALGS; alg++) {
        sprintf(header, "{\"alg\":\"%s\"}",
                gw_jwt_alg_name((gw_jwt_alg_e) alg));
        p = gw_base64url_encode(token, (gw_str_t){ (const uint8_t *) header,
                                                   strlen(header) });
        memcpy(p, ".e30.", 5);
        p = gw_base64url_encode(p + 5, (gw_str_t){ zero, n });

        gw_jwt_verify(&r, (gw_str_t){ token, (size_t) (p - token) }, &policy);
        REQUIRE(r.status == GW_JWT_SIGNATURE || r.status == GW_JWT_ALGORITHM);
        REQUIRE(ERR_peek_error() == 0);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t lengths[] = { 32, 64, 132, 256 };
    static gw_jwt_lib_t *lib;
    gw_jwk_parse_t p;
    gw_jwk_set_t *set;
    gw_str_t text;
    size_t i;
    int rc;

    if (lib == NULL) {
        lib = gw_jwt_lib_create();
    }

    memset(&p, 0, sizeof(p));
    p.report = on_report;
    text = (gw_str_t){ data, size };

    if (size > 0 && data[0] == 'S') {
        text.data++;
        text.len--;
        rc = gw_jwk_set_parse_secret(lib, text, &p, &set);

    } else if (size > 0 && data[0] == '-') {
        rc = gw_jwk_set_parse_pem(lib, text, &p, &set);

    } else {
        rc = gw_jwk_set_parse_jwks(lib, text, &p, &set);
    }

    REQUIRE(ERR_peek_error() == 0);
    REQUIRE((rc == GW_OK) == (set != NULL));
    REQUIRE((rc == GW_OK) == (p.error[0] == '\0'));

    if (rc == GW_OK) {
        REQUIRE(gw_jwk_set_count(set) > 0);

        for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            try_tokens(set, lengths[i]);
        }

        gw_jwk_set_destroy(set);
    }

    return 0;
}
