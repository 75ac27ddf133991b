#include <string.h>

#include <openssl/evp.h>

#include "base64.h"
#include "ws_handshake.h"


#define SHA1_LEN 20


static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";


static bool
is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
           || (c >= 'a' && c <= 'z');
}


bool
gw_ws_key_valid(gw_str_t key)
{
    size_t i;
    unsigned char c;

    if (key.len != GW_WS_KEY_LEN) {
        return false;
    }

    for (i = 0; i < GW_WS_KEY_LEN - 2; i++) {
        c = key.data[i];

        if (!is_alnum(c) && c != '+' && c != '/') {
            return false;
        }
    }

    return key.data[i] == '=' && key.data[i + 1] == '=';
}


int
gw_ws_accept(unsigned char out[GW_WS_ACCEPT_LEN], gw_str_t key)
{
    int rc;
    EVP_MD_CTX *ctx;
    unsigned char digest[SHA1_LEN];

    ctx = EVP_MD_CTX_new();

    if (ctx == NULL) {
        return GW_ERROR;
    }

    rc = GW_ERROR;

    if (EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1
        && EVP_DigestUpdate(ctx, key.data, key.len) == 1
        && EVP_DigestUpdate(ctx, guid, sizeof(guid) - 1) == 1
        && EVP_DigestFinal_ex(ctx, digest, NULL) == 1)
    {
        gw_base64_encode(out, digest, SHA1_LEN);
        rc = GW_OK;
    }

    EVP_MD_CTX_free(ctx);

    return rc;
}


static bool
is_token_char(unsigned char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


/* Optional white space, and empty elements where `commas`. */
static void
list_skip(gw_str_t *list, bool commas)
{
    while (list->len > 0
           && (*list->data == ' ' || *list->data == '\t'
               || (commas && *list->data == ',')))
    {
        list->data++;
        list->len--;
    }
}


int
gw_ws_token_next(gw_str_t *list, gw_str_t *token)
{
    list_skip(list, true);

    if (list->len == 0) {
        return GW_DECLINED;
    }

    token->data = list->data;
    token->len = 0;

    while (list->len > 0 && is_token_char(*list->data)) {
        token->len++;
        list->data++;
        list->len--;
    }

    list_skip(list, false);

    if (token->len == 0 || (list->len > 0 && *list->data != ',')) {
        list->len = 0;
        return GW_ERROR;
    }

    return GW_OK;
}
