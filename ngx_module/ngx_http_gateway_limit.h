/*
 * What other features ask of gateway_limit: limits on the messages of an open
 * WebSocket. All that they need of the request is evaluated at the upgrade.
 */

#ifndef NGX_HTTP_GATEWAY_LIMIT_H_INCLUDED
#define NGX_HTTP_GATEWAY_LIMIT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct ngx_http_gateway_limit_messages_s
    ngx_http_gateway_limit_messages_t;


/* Of the limit that rejected a message. */

typedef struct {
    ngx_str_t    window;       /* T as configured, such as "10s" */
    ngx_uint_t   limit;        /* N */
    ngx_uint_t   remaining;
    uint64_t     reset;        /* ms until the whole quota is free */
} ngx_http_gateway_limit_told_t;


/*
 * Evaluates the keys and costs of the location's limits on messages for r;
 * they stay as they are also when the token is renewed. *m becomes NULL where
 * nothing limits; else it is freed by ngx_free(). NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_gateway_limit_messages_init(ngx_http_request_t *r,
    ngx_http_gateway_limit_messages_t **m);

/* One message: NGX_OK, or NGX_BUSY: it is rejected, and *told filled. */
ngx_int_t ngx_http_gateway_limit_message(ngx_http_gateway_limit_messages_t *m,
    ngx_log_t *log, ngx_http_gateway_limit_told_t *told);

/*
 * The limits on openings whose keys were not known at the handshake, because
 * the token came as a message. NGX_OK, or NGX_BUSY: rejected and logged.
 */
ngx_int_t ngx_http_gateway_limit_opened(ngx_http_request_t *r);


#endif /* NGX_HTTP_GATEWAY_LIMIT_H_INCLUDED */
