/*
 * Tokens. An input that begins with 'S' is a header and a payload, parted by
 * the first byte 0xff, which are signed here, so that what follows the
 * signature is reached; any other is a token as it comes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../../src/base64url.h"
#include "../../src/jwt.h"
#include "../../src/jwt_json.h"

#define ROOM 40000

#define REQUIRE(x)                                                            \
    do {                                                                      \
        if (!(x)) {                                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #x);                   \
            abort();                                                          \
        }                                                                     \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "0123456789abcdef0123456789abcdef"
                             "0123456789abcdef0123456789abcdef";

/* RFC 7515 A.1 to A.3 and RFC 8037 A.2, and the secret above. */
static const char jwks[] =
    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZj"
    "AxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg\"},"
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1q"
    "S0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k"
    "0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W"
    "_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYU"
    "sLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I"
    "5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
    "WyuXpoQ\",\"e\":\"AQAB\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";


/* What is read where it stands must be what the tree library takes, and no
   more or less. */
static void
check_json(gw_str_t text)
{
    gw_jwt_json_t json;
    json_t *tree;
    int rc;

    rc = gw_jwt_json_open(&json, text, GW_JWT_DEPTH_MAX);
    tree = gw_jwt_json_object(text, GW_JWT_DEPTH_MAX, NULL);

    REQUIRE((rc == GW_OK) == (tree != NULL));

    if (rc == GW_OK) {
        REQUIRE(json_equal(gw_jwt_json_tree(&json), tree));
        gw_jwt_json_close(&json);
    }

    json_decref(tree);
}


static void
check_claims(gw_str_t text, const json_t *tree)
{
    const char *name;
    json_t *member;
    gw_json_t v;
    gw_str_t key, value;
    unsigned char *buf;

    json_object_foreach((json_t *) tree, name, member)
    {
        key.data = (const unsigned char *) name;
        key.len = strlen(name);
        REQUIRE(gw_jwt_find(text, key, &v) == GW_OK);

        buf = malloc(v.text.len ? v.text.len : 1);
        value.data = buf;
        value.len = gw_jwt_render(&v, buf);
        REQUIRE(value.len <= v.text.len);

        if (json_is_string(member)) {
            REQUIRE(value.len == json_string_length(member));
            REQUIRE(memcmp(buf, json_string_value(member), value.len) == 0);
            REQUIRE(gw_jwt_equal(&v, value));
        }

        free(buf);
    }
}


/* Makes a token of header and payload; returns its length. */
static size_t
sign(unsigned char *token, gw_str_t header, gw_str_t payload)
{
    unsigned char mac[32];
    unsigned char *p;
    unsigned n;

    p = gw_base64url_encode(token, header);
    *p++ = '.';
    p = gw_base64url_encode(p, payload);

    HMAC(EVP_sha256(), secret, 64, token, (size_t) (p - token), mac, &n);
    *p++ = '.';
    p = gw_base64url_encode(p, (gw_str_t){ mac, 32 });

    return (size_t) (p - token);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gw_jwt_lib_t *lib;
    static gw_jwk_set_t *set;
    static unsigned char room[ROOM];
    const uint8_t *cut;
    gw_jwk_parse_t parse;
    gw_jwt_policy_t policy;
    gw_jwt_result_t r;
    gw_str_t token, header, payload;

    if (lib == NULL) {
        lib = gw_jwt_lib_create();
        memset(&parse, 0, sizeof(parse));
        REQUIRE(gw_jwk_set_parse_jwks(
                    lib,
                    (gw_str_t){ (const uint8_t *) jwks, sizeof(jwks) - 1 },
                    &parse, &set)
                == GW_OK);
    }

    if (size > ROOM / 2) {
        return 0;
    }

    token = (gw_str_t){ data, size };

    if (size > 0 && data[0] == 'S') {
        cut = memchr(data, 0xff, size);
        cut = (cut != NULL) ? cut : data + size;
        header = (gw_str_t){ data + 1, (size_t) (cut - data) - 1 };
        payload = (gw_str_t){ cut, (size_t) (data + size - cut) };

        if (payload.len > 0) {
            payload.data++;
            payload.len--;
        }

        check_json(header);
        check_json(payload);
        token = (gw_str_t){ room, sign(room, header, payload) };
    }

    memset(&policy, 0, sizeof(policy));
    policy.sets = &set;
    policy.nsets = 1;
    policy.now = 1300000000000;

    gw_jwt_verify(&r, token, &policy);

    REQUIRE(ERR_peek_error() == 0);
    REQUIRE((r.status == GW_JWT_OK) == (r.jwt != NULL));

    if (r.jwt != NULL) {
        REQUIRE(json_is_object(gw_jwt_header(r.jwt)));
        REQUIRE(json_is_object(gw_jwt_payload(r.jwt)));
        REQUIRE(gw_jwt_memory(r.jwt) > 0);
        check_claims(gw_jwt_payload_text(r.jwt), gw_jwt_payload(r.jwt));
        check_claims(gw_jwt_header_text(r.jwt), gw_jwt_header(r.jwt));
        gw_jwt_destroy(r.jwt);
    }

    return 0;
}
