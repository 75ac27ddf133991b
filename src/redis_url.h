/*
 * URLs of Redis:
 *
 *   redis://[[user]:password@]host[:port][/db]     rediss:// with TLS
 *   unix:/path[?db=n]
 *   redis+sentinel://[…@]host[:port],…/master[/db]  rediss+sentinel://
 *   redis+cluster://[…@]host[:port],…               rediss+cluster://
 *
 * The port is 6379 where none is given, a Sentinel's 26379. IPv6 addresses
 * stand in brackets. %xx is decoded in user, password and the master's name;
 * none of them holds a control character.
 */

#ifndef GW_REDIS_URL_H_INCLUDED
#define GW_REDIS_URL_H_INCLUDED

#include "gw.h"

#define GW_REDIS_URL_HOSTS 32       /* of Sentinels or Cluster nodes */
#define GW_REDIS_DB_MAX 2147483647u
#define GW_REDIS_PATH_MAX 107       /* of a socket's path */

typedef enum {
    GW_REDIS_SERVER,
    GW_REDIS_UNIX,
    GW_REDIS_SENTINEL,
    GW_REDIS_CLUSTER
} gw_redis_kind_e;

typedef struct {
    gw_str_t host;      /* without brackets, never empty */
    uint16_t port;
    bool ipv6;          /* it stood in brackets */
} gw_redis_host_t;

typedef struct {
    gw_redis_kind_e kind;
    bool tls;
    gw_str_t user;      /* data is NULL: none; never empty */
    gw_str_t password;  /* data is NULL: none; may be empty */
    gw_str_t path;      /* GW_REDIS_UNIX only */
    gw_str_t master;    /* GW_REDIS_SENTINEL only */
    uint32_t db;        /* 0 for a Cluster */
    size_t nhosts;      /* 1 of a server, 0 of a socket */
    gw_redis_host_t hosts[GW_REDIS_URL_HOSTS];
} gw_redis_url_t;

/*
 * What is decoded is written to buffer, which has room for text.len bytes;
 * the rest points into the text. GW_OK; or GW_ERROR and *message, which says
 * what is accepted and holds nothing of the text.
 */
int gw_redis_url_parse(gw_redis_url_t *url, unsigned char *buffer,
    gw_str_t text, const char **message);

/*
 * The text as it may be shown, right or not: *** in place of what stands
 * before the last "@". Writes at most text.len + 3 bytes, returns the end.
 */
unsigned char *gw_redis_url_show(unsigned char *out, gw_str_t text);

#endif /* GW_REDIS_URL_H_INCLUDED */
