/*
 * Makes keys, key sets and tokens for the tests: the signing side, which the
 * product does not have.
 */

#ifndef JWT_MAKE_H_INCLUDED
#define JWT_MAKE_H_INCLUDED

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strdup */
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "../../src/base64url.h"
#include "../../src/jwk.h"
#include "../../src/jwt.h"

#define MAKE_MAX 70000

static inline gw_str_t
make_str(const char *s)
{
    return (gw_str_t){ (const unsigned char *) s, strlen(s) };
}


/* Base64url of bytes as a string of its own, to be freed. */
static inline char *
make_b64(const void *bytes, size_t len)
{
    char *s;

    s = calloc(1, gw_base64url_encoded_len(len) + 1);
    gw_base64url_encode((unsigned char *) s,
                        (gw_str_t){ (const unsigned char *) bytes, len });
    return s;
}


static inline EVP_PKEY *
make_ec(const char *group)
{
    return EVP_EC_gen(group);
}


static inline EVP_PKEY *
make_rsa(unsigned bits)
{
    return EVP_RSA_gen(bits);
}


static inline EVP_PKEY *
make_okp(const char *type)
{
    return EVP_PKEY_Q_keygen(NULL, NULL, type);
}


static inline char *
make_b64_bn(const EVP_PKEY *pkey, const char *param, int size)
{
    BIGNUM *bn;
    unsigned char buf[2100];
    char *s;

    bn = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, param, &bn), 1);
    size = size ? size : BN_num_bytes(bn);
    BN_bn2binpad(bn, buf, size);
    s = make_b64(buf, (size_t) size);
    BN_free(bn);
    return s;
}


/* The JWK of a public key, with further members ("" or ",...") appended; in
   a buffer to be freed. */
static inline char *
make_jwk(const EVP_PKEY *pkey, const char *more)
{
    char *jwk, *a, *b, group[32];
    unsigned char raw[64];
    size_t len;
    int size;

    jwk = malloc(MAKE_MAX);
    b = NULL;

    switch (EVP_PKEY_get_base_id(pkey)) {

    case EVP_PKEY_RSA:
        a = make_b64_bn(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
        b = make_b64_bn(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
        snprintf(jwk, MAKE_MAX, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                 a, b, more);
        break;

    case EVP_PKEY_EC:
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL);
        size = (EVP_PKEY_get_bits(pkey) + 7) / 8;
        a = make_b64_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_X, size);
        b = make_b64_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, size);
        snprintf(jwk, MAKE_MAX,
                 "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}",
                 size == 32   ? "P-256"
                 : size == 48 ? "P-384"
                              : "P-521",
                 a, b, more);
        break;

    default:
        len = sizeof(raw);
        EVP_PKEY_get_raw_public_key(pkey, raw, &len);
        a = make_b64(raw, len);
        snprintf(jwk, MAKE_MAX,
                 "{\"kty\":\"OKP\",\"crv\":\"%s\",\"x\":\"%s\"%s}",
                 len == 32 ? "Ed25519" : "Ed448", a, more);
    }

    free(a);
    free(b);
    return jwk;
}


/* A key of shared bytes as a JWK, to be freed. */
static inline char *
make_jwk_oct(const char *secret, const char *more)
{
    char *jwk, *k;

    jwk = malloc(MAKE_MAX);
    k = make_b64(secret, strlen(secret));
    snprintf(jwk, MAKE_MAX, "{\"kty\":\"oct\",\"k\":\"%s\"%s}", k, more);
    free(k);
    return jwk;
}


/* SubjectPublicKeyInfo in PEM, to be freed. */
static inline char *
make_pem(EVP_PKEY *pkey)
{
    BIO *bio;
    char *p, *s;
    long n;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, pkey);
    n = BIO_get_mem_data(bio, &p);
    s = calloc(1, (size_t) n + 1);
    memcpy(s, p, (size_t) n);
    BIO_free(bio);
    return s;
}


/* The set of a JWKS of these JWKs (up to the first NULL); must parse. */
static inline gw_jwk_set_t *
make_set(gw_jwt_lib_t *lib, const char *a, const char *b, const char *c)
{
    gw_jwk_parse_t p;
    gw_jwk_set_t *set;
    char *text;

    memset(&p, 0, sizeof(p));
    text = malloc(MAKE_MAX);
    snprintf(text, MAKE_MAX, "{\"keys\":[%s%s%s%s%s]}", a, b ? "," : "",
             b ? b : "", c ? "," : "", c ? c : "");

    if (gw_jwk_set_parse_jwks(lib, make_str(text), &p, &set) != GW_OK) {
        fail_msg("%s: %s", p.error, text);
    }

    free(text);
    return set;
}


static inline const EVP_MD *
make_md(const char *alg)
{
    return strstr(alg, "256")   ? EVP_sha256()
           : strstr(alg, "384") ? EVP_sha384()
                                : EVP_sha512();
}


/* DER to r||s with coordinates of `size` bytes; returns the length. */
static inline size_t
make_raw_ecdsa(unsigned char *sig, size_t len, int size)
{
    const unsigned char *p;
    ECDSA_SIG *es;

    p = sig;
    es = d2i_ECDSA_SIG(NULL, &p, (long) len);
    assert_non_null(es);
    BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, size);
    BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + size, size);
    ECDSA_SIG_free(es);
    return 2 * (size_t) size;
}


/* Signs; ES* as DER where raw is false. Returns the length. */
static inline size_t
make_signature(unsigned char *sig, size_t room, const char *alg,
    EVP_PKEY *pkey, gw_str_t input, bool raw)
{
    EVP_MD_CTX *ctx;
    EVP_PKEY_CTX *pctx;
    size_t len;

    len = room;
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, &pctx,
                                        alg[1] == 'd' ? NULL : make_md(alg),
                                        NULL, pkey),
                     1);

    if (alg[0] == 'P') {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
    }

    assert_int_equal(EVP_DigestSign(ctx, sig, &len, input.data, input.len),
                     1);
    EVP_MD_CTX_free(ctx);

    if (alg[0] == 'E' && alg[1] == 'S' && raw) {
        len = make_raw_ecdsa(sig, len, (EVP_PKEY_get_bits(pkey) + 7) / 8);
    }

    return len;
}


/* header.payload in base64url, to be freed. */
static inline char *
make_input_n(const char *header, const void *payload, size_t len)
{
    char *h, *p, *s;

    h = make_b64(header, strlen(header));
    p = make_b64(payload, len);
    s = malloc(strlen(h) + strlen(p) + 2);
    assert_non_null(s);
    sprintf(s, "%s.%s", h, p);
    free(h);
    free(p);
    return s;
}


static inline char *
make_input(const char *header, const char *payload)
{
    return make_input_n(header, payload, strlen(payload));
}


/* input.signature, to be freed; frees input. */
static inline char *
make_join(char *input, const void *sig, size_t len)
{
    char *b, *s;

    b = make_b64(sig, len);
    s = malloc(strlen(input) + strlen(b) + 2);
    assert_non_null(s);
    sprintf(s, "%s.%s", input, b);
    free(input);
    free(b);
    return s;
}


/* Signs what make_input() gave, with a key or a secret; frees input. alg says
   how, whatever the header says. */
static inline char *
make_sign(char *input, const char *alg, EVP_PKEY *pkey, const char *secret)
{
    unsigned char sig[2100];
    unsigned n;
    size_t len;

    if (alg[0] == 'H') {
        HMAC(make_md(alg), secret, (int) strlen(secret),
             (unsigned char *) input, strlen(input), sig, &n);
        len = n;

    } else {
        len = make_signature(sig, sizeof(sig), alg, pkey, make_str(input),
                             true);
    }

    return make_join(input, sig, len);
}


/* A whole token with header {"alg":alg more}; to be freed. */
static inline char *
make_token(const char *alg, const char *more, const char *payload,
    EVP_PKEY *pkey, const char *secret)
{
    char header[4096];

    snprintf(header, sizeof(header), "{\"alg\":\"%s\"%s}", alg, more);

    return make_sign(make_input(header, payload), alg, pkey, secret);
}

#endif /* JWT_MAKE_H_INCLUDED */
