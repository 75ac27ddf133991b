/*
 * Opens many WebSocket subscribers to one server, and checks each handshake's
 * answer: 101, Upgrade, Connection, Sec-WebSocket-Accept, and a subprotocol
 * that was offered and is not the token.
 */

#ifndef BENCH_SUBSCRIBERS_H_INCLUDED
#define BENCH_SUBSCRIBERS_H_INCLUDED

#include <stddef.h>


typedef struct {
    int           port;          /* on 127.0.0.1 */
    unsigned      source;        /* 127.0.0.SOURCE is the first address */
    const char   *path;          /* the channel's number is appended */
    unsigned      channels;      /* subscriber i is on channel i % channels */

    /* Header values, or NULL. "%t" stands for the subscriber's token. */
    const char   *protocol;
    const char   *authorization;

    char        **tokens;        /* subscriber i uses tokens[i % ntokens] */
    size_t        ntokens;
} bench_target_t;


/* Reads one token a line; they stay allocated. */
void bench_tokens_read(bench_target_t *t, const char *file);

/*
 * Opens n subscribers and writes their non-blocking sockets into fds. What a
 * server sends after its handshake is left in the socket. Source addresses
 * change every 15,000 connections, as ports run short.
 */
void bench_subscribers_open(const bench_target_t *t, int *fds, size_t n);

/* Resets all, so that no port stays occupied by a finished connection. */
void bench_subscribers_close(const int *fds, size_t n);

#endif /* BENCH_SUBSCRIBERS_H_INCLUDED */
