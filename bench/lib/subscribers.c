#include "subscribers.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <openssl/evp.h>


#define BENCH_LOT 128           /* handshakes under way at a time */
#define BENCH_PER_SOURCE 15000  /* connections from one address */
#define BENCH_TIMEOUT 20        /* seconds */
#define BENCH_HEAD_MAX 16384


void
bench_tokens_read(bench_target_t *t, const char *file)
{
    FILE    *f;
    char    *line;
    size_t   size, room;
    ssize_t  n;

    f = fopen(file, "r");
    if (f == NULL) {
        bench_die_errno(file);
    }

    line = NULL;
    size = 0;
    room = 0;

    while ((n = getline(&line, &size, f)) > 0) {
        line[strcspn(line, "\n")] = '\0';

        if (t->ntokens == room) {
            room = room ? room * 2 : 1024;
            t->tokens = realloc(t->tokens, room * sizeof(*t->tokens));
            if (t->tokens == NULL) {
                bench_die("no memory for tokens");
            }
        }

        t->tokens[t->ntokens] = strdup(line);
        if (t->tokens[t->ntokens++] == NULL) {
            bench_die("no memory for tokens");
        }
    }

    free(line);
    fclose(f);

    if (t->ntokens == 0) {
        bench_die("%s: no token in it", file);
    }
}


static const char *
bench_token(const bench_target_t *t, size_t i)
{
    return t->ntokens ? t->tokens[i % t->ntokens] : "";
}


/* Appends "name: value\r\n" with the token put in; returns the new end. */
static char *
bench_header(char *p, char *end, const char *name, const char *value,
    const char *token)
{
    int          n;
    size_t       head;
    const char  *mark;

    if (value == NULL) {
        return p;
    }

    mark = strstr(value, "%t");
    head = mark ? (size_t) (mark - value) : strlen(value);

    n = snprintf(p, (size_t) (end - p), "%s: %.*s%s%s\r\n", name, (int) head,
                 value, mark ? token : "", mark ? mark + 2 : "");

    if (n < 0 || n >= end - p) {
        bench_die("%s: too long", name);
    }

    return p + n;
}


static void
bench_request(const bench_target_t *t, size_t i, int fd, const char *key)
{
    int          n;
    char         text[BENCH_HEAD_MAX], *p, *end;
    const char  *token;

    token = bench_token(t, i);
    end = text + sizeof(text);

    n = snprintf(text, sizeof(text),
                 "GET %s%u HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: %s\r\n",
                 t->path, (unsigned) (i % t->channels), t->port, key);

    if (n < 0 || (size_t) n >= sizeof(text)) {
        bench_die("path is too long");
    }

    p = text + n;
    p = bench_header(p, end, "Sec-WebSocket-Protocol", t->protocol, token);
    p = bench_header(p, end, "Authorization", t->authorization, token);

    if (end - p < 3) {
        bench_die("request is too long");
    }

    memcpy(p, "\r\n", 2);
    p += 2;

    if (send(fd, text, (size_t) (p - text), MSG_NOSIGNAL) != p - text) {
        bench_die_errno("sending a handshake");
    }
}


/* Finds a header in a terminated answer; copies its value without spaces. */
static bool
bench_find(const char *head, const char *name, char *out, size_t size)
{
    size_t       len, n;
    const char  *line;

    len = strlen(name);

    for (line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;

        if (strncasecmp(line, name, len) || line[len] != ':') {
            continue;
        }

        line += len + 1;
        line += strspn(line, " \t");
        n = strcspn(line, "\r");

        if (n >= size) {
            bench_die("the answer's %s is too long", name);
        }

        memcpy(out, line, n);
        out[n] = '\0';

        return true;
    }

    return false;
}


static bool
bench_offered(const char *offer, const char *name)
{
    size_t       len, n;
    const char  *p;

    len = strlen(name);

    for (p = offer; p && *p; p += n) {
        p += strspn(p, ", \t");
        n = strcspn(p, ", \t");

        if (n == len && memcmp(p, name, n) == 0) {
            return strstr(name, "%t") == NULL;
        }
    }

    return false;
}


/*
 * The answer's head is looked at before it is taken out of the socket, so that
 * frames behind it stay there.
 */
static void
bench_answer(const bench_target_t *t, int fd, const char *key)
{
    char     head[BENCH_HEAD_MAX + 1], value[256], *end;
    char     accept[BENCH_ACCEPT_LEN + 1];
    size_t   len, take;
    ssize_t  n;

    len = 0;

    do {
        n = recv(fd, head + len, BENCH_HEAD_MAX - len, MSG_PEEK);
        if (n <= 0) {
            bench_die("no answer to a handshake after %zu bytes: %s", len,
                      n < 0 ? strerror(errno) : "closed");
        }

        head[len + (size_t) n] = '\0';

        end = strstr(head, "\r\n\r\n");
        take = end ? (size_t) (end + 4 - head) - len : (size_t) n;

        if (recv(fd, head + len, take, 0) != (ssize_t) take) {
            bench_die_errno("reading a handshake");
        }

        len += take;
    } while (end == NULL);

    end[2] = '\0';

    if (strncmp(head, "HTTP/1.1 101 ", 13)) {
        bench_die("handshake refused: %.*s", (int) strcspn(head, "\r"), head);
    }

    bench_ws_accept(accept, key);

    if (!bench_find(head, "Sec-WebSocket-Accept", value, sizeof(value))
        || strcmp(value, accept)
        || !bench_find(head, "Upgrade", value, sizeof(value))
        || strcasecmp(value, "websocket")
        || !bench_find(head, "Connection", value, sizeof(value))
        || strcasecmp(value, "upgrade"))
    {
        bench_die("wrong answer to a handshake:\n%s", head);
    }

    if (bench_find(head, "Sec-WebSocket-Protocol", value, sizeof(value))
        && !bench_offered(t->protocol, value))
    {
        bench_die("subprotocol \"%s\" was not offered", value);
    }
}


static int
bench_connect(const bench_target_t *t, size_t i)
{
    int                 fd, on;
    struct timeval      tv;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        bench_die_errno("socket");
    }

    on = 1;
    tv.tv_sec = BENCH_TIMEOUT;
    tv.tv_usec = 0;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + t->source
                                + (unsigned) (i / BENCH_PER_SOURCE));

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) < 0) {
        bench_die_errno("bind");
    }

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) t->port);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) < 0) {
        bench_die_errno("connect");
    }

    return fd;
}


void
bench_subscribers_open(const bench_target_t *t, int *fds, size_t n)
{
    char           keys[BENCH_LOT][BENCH_KEY_LEN + 1];
    size_t         i, k, lot;
    unsigned char  random[16];

    for (i = 0; i < n; i += lot) {
        lot = (n - i < BENCH_LOT) ? n - i : BENCH_LOT;

        for (k = 0; k < lot; k++) {
            if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
                bench_die_errno("getrandom");
            }

            EVP_EncodeBlock((unsigned char *) keys[k], random, sizeof(random));

            fds[i + k] = bench_connect(t, i + k);
            bench_request(t, i + k, fds[i + k], keys[k]);
        }

        for (k = 0; k < lot; k++) {
            bench_answer(t, fds[i + k], keys[k]);

            if (fcntl(fds[i + k], F_SETFL, O_NONBLOCK) < 0) {
                bench_die_errno("fcntl");
            }
        }
    }
}


void
bench_subscribers_close(const int *fds, size_t n)
{
    size_t         i;
    struct linger  linger;

    linger.l_onoff = 1;
    linger.l_linger = 0;

    for (i = 0; i < n; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fds[i]);
    }
}
