/*
 * What a node of a Cluster says in an error, and the addresses in it. Texts
 * come from a server that need not be one: any bytes are taken, nothing is
 * copied.
 */

#ifndef GW_REDIS_REPLY_H_INCLUDED
#define GW_REDIS_REPLY_H_INCLUDED

#include "gw.h"
#include "redis_url.h"

#define GW_REDIS_HOST_MAX 255 /* bytes of a host's name */

typedef enum {
    GW_REDIS_OTHER,       /* any other */
    GW_REDIS_MOVED,       /* the slot is served by another node */
    GW_REDIS_ASK,         /* this once another node has to be asked */
    GW_REDIS_TRYAGAIN,    /* keys of one command are on two nodes */
    GW_REDIS_CLUSTERDOWN
} gw_redis_error_e;

typedef struct {
    gw_redis_error_e kind;
    uint16_t slot;          /* of MOVED and ASK */
    gw_redis_host_t host;   /* of these; port 0: no address to be used */
} gw_redis_error_t;

/* The text of an error, without "-" and CRLF. */
void gw_redis_error_parse(gw_redis_error_t *error, gw_str_t text);

/*
 * "host:port" as Redis writes it: IPv6 without brackets; an empty host is
 * that of the node which was asked. GW_OK or GW_ERROR.
 */
int gw_redis_host_parse(gw_redis_host_t *host, gw_str_t text);

/* The same in two values, as in answers of Sentinels and to CLUSTER SLOTS. */
int gw_redis_host_check(gw_redis_host_t *host, gw_str_t name, int64_t port);

/* Digits only, without more zeros than one: 0 to max. GW_OK or GW_ERROR. */
int gw_redis_number(gw_str_t text, int64_t max, int64_t *n);

#endif /* GW_REDIS_REPLY_H_INCLUDED */
