/*
 * Mints distinct JSON Web Tokens, one a line, signed by HS256.
 *
 *   mint SECRET_FILE COUNT [SECONDS]
 *
 * The key is the file's bytes less one newline at the end; the tokens are
 * valid for SECONDS (3600) from now, for user-0, user-1, …
 */

#include "lib/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>


#define MINT_SECRET_MAX 4096
#define MINT_TEXT_MAX 512


/* base64url without padding (RFC 7515 section 2); returns its length */
static size_t
mint_base64url(char *out, const void *data, size_t len)
{
    char  *p;

    EVP_EncodeBlock((unsigned char *) out, data, (int) len);

    for (p = out; *p && *p != '='; p++) {
        *p = (*p == '+') ? '-' : (*p == '/') ? '_' : *p;
    }

    *p = '\0';

    return (size_t) (p - out);
}


static void
mint_token(const unsigned char *key, size_t key_len, long i, long now,
    long seconds)
{
    static const char  header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

    int            n;
    char           payload[MINT_TEXT_MAX], text[4 * MINT_TEXT_MAX];
    size_t         len;
    unsigned       mac_len;
    unsigned char  mac[EVP_MAX_MD_SIZE];

    n = snprintf(payload, sizeof(payload),
                 "{\"sub\":\"user-%ld\",\"iat\":%ld,\"exp\":%ld}", i, now,
                 now + seconds);

    len = mint_base64url(text, header, sizeof(header) - 1);
    text[len++] = '.';
    len += mint_base64url(text + len, payload, (size_t) n);

    if (HMAC(EVP_sha256(), key, (int) key_len, (unsigned char *) text, len,
             mac, &mac_len)
        == NULL)
    {
        bench_die("HMAC failed");
    }

    text[len++] = '.';
    (void) mint_base64url(text + len, mac, mac_len);

    puts(text);
}


int
main(int argc, char **argv)
{
    FILE           *f;
    long            i, count, seconds, now;
    size_t          len;
    unsigned char   key[MINT_SECRET_MAX];

    if (argc < 3 || argc > 4) {
        fputs("usage: mint SECRET_FILE COUNT [SECONDS]\n", stderr);
        return 2;
    }

    count = bench_number("COUNT", argv[2], 1, 100000000);
    seconds = (argc == 4) ? bench_number("SECONDS", argv[3], 1, 1000000000)
                          : 3600;

    f = fopen(argv[1], "rb");
    if (f == NULL) {
        bench_die_errno(argv[1]);
    }

    len = fread(key, 1, sizeof(key), f);
    fclose(f);

    if (len && key[len - 1] == '\n') {
        len--;
    }

    if (len == 0 || len >= sizeof(key) - 1) {
        bench_die("%s: a key of 1 to %d bytes is expected", argv[1],
                  MINT_SECRET_MAX - 2);
    }

    now = (long) time(NULL);

    for (i = 0; i < count; i++) {
        mint_token(key, len, i, now, seconds);
    }

    return 0;
}
