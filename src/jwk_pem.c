#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "jwk_key.h"


static EVP_PKEY *
certificate_pkey(const unsigned char **p, long len)
{
    EVP_PKEY *pkey;
    X509 *cert;

    cert = d2i_X509(NULL, p, len);
    pkey = (cert != NULL) ? X509_get_pubkey(cert) : NULL;
    X509_free(cert);

    return pkey;
}


/*
 * Takes one block. GW_OK (a key, or nothing to do with one) or GW_ERROR.
 */
static int
take_block(gw_jwk_t *key, const char *name, const unsigned char *der, long len,
    const char **why)
{
    const unsigned char *p;
    EVP_PKEY *pkey;

    p = der;

    if (strstr(name, "PRIVATE KEY") != NULL) {
        *why = "holds a private key; a public key or certificate belongs here";
        return GW_ERROR;
    }

    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        pkey = d2i_PUBKEY(NULL, &p, len);

    } else if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) {
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, len);

    } else if (strcmp(name, PEM_STRING_X509) == 0
               || strcmp(name, PEM_STRING_X509_OLD) == 0)
    {
        pkey = certificate_pkey(&p, len);

    } else {
        return GW_OK;
    }

    if (pkey == NULL || p != der + len) {
        EVP_PKEY_free(pkey);
        *why = "holds a public key or certificate that cannot be read";
        return GW_ERROR;
    }

    if (key->pkey != NULL) {
        EVP_PKEY_free(pkey);
        *why = "holds more than one public key or certificate";
        return GW_ERROR;
    }

    key->pkey = pkey;

    return GW_OK;
}


static int
take_blocks(gw_jwk_t *key, BIO *bio, const char **why)
{
    unsigned char *der;
    char *name, *header;
    long len;
    int rc;

    while (PEM_read_bio(bio, &name, &header, &der, &len) == 1) {

        rc = take_block(key, name, der, len, why);

        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);

        if (rc != GW_OK) {
            return GW_ERROR;
        }
    }

    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        *why = "not a readable PEM";
        return GW_ERROR;
    }

    if (key->pkey == NULL) {
        *why = "holds no public key or certificate in PEM";
        return GW_ERROR;
    }

    return gw_jwk_accept(key, why);
}


int
gw_jwk_from_pem(gw_jwk_t *key, gw_str_t text, const char **why)
{
    BIO *bio;
    int rc;

    if (text.len == 0) {
        *why = "is empty";
        return GW_ERROR;
    }

    if (text.len > GW_JWK_DOCUMENT_MAX) {
        *why = "is larger than 1 MB";
        return GW_ERROR;
    }

    bio = BIO_new_mem_buf(text.data, (int) text.len);
    if (bio == NULL) {
        *why = "no memory";
        ERR_clear_error();
        return GW_ERROR;
    }

    rc = take_blocks(key, bio, why);

    BIO_free(bio);
    ERR_clear_error();

    return rc;
}
