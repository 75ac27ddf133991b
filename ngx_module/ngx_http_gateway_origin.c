/*
 * gateway_origin_allow: which pages may open a connection (RFC 6455 10.2).
 *
 * Browsers send a page's origin, scheme://host[:port] (RFC 6454 7), and let
 * any page open a WebSocket anywhere: it is the server that must refuse.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_subscriber.h"


typedef struct {
    ngx_str_t    host;
    ngx_uint_t   port;
} ngx_http_gateway_origin_t;


static ngx_uint_t
ngx_http_gateway_origin_port(u_char *p, u_char *end)
{
    ngx_int_t  n;

    n = ngx_atoi(p, end - p);

    return n < 1 || n > 65535 ? 0 : n;
}


/* host[:port], with IPv6 addresses in brackets. NGX_OK or NGX_DECLINED. */

static ngx_int_t
ngx_http_gateway_origin_host(u_char *p, u_char *end, ngx_uint_t port,
    ngx_http_gateway_origin_t *o)
{
    u_char  *colon;

    o->host.data = p;
    o->port = port;

    colon = end;

    while (colon > p && colon[-1] >= '0' && colon[-1] <= '9') {
        colon--;
    }

    if (colon > p && colon[-1] == ':') {
        colon--;

        o->port = ngx_http_gateway_origin_port(colon + 1, end);
        if (o->port == 0) {
            return NGX_DECLINED;
        }

        end = colon;
    }

    o->host.len = end - p;

    if (o->host.len == 0) {
        return NGX_DECLINED;
    }

    if (*p == '[') {
        return end[-1] == ']' ? NGX_OK : NGX_DECLINED;
    }

    for ( /* void */ ; p < end; p++) {
        if (*p <= ' ' || ngx_strchr("/:@?#*[]", *p)) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_origin_parse(ngx_str_t *s, ngx_http_gateway_origin_t *o)
{
    if (s->len > 7
        && ngx_strncasecmp(s->data, (u_char *) "http://", 7) == 0)
    {
        return ngx_http_gateway_origin_host(s->data + 7, s->data + s->len, 80,
                                            o);
    }

    if (s->len > 8
        && ngx_strncasecmp(s->data, (u_char *) "https://", 8) == 0)
    {
        return ngx_http_gateway_origin_host(s->data + 8, s->data + s->len,
                                            443, o);
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_gateway_origin_same(ngx_http_gateway_origin_t *a,
    ngx_http_gateway_origin_t *b)
{
    return a->port == b->port
           && a->host.len == b->host.len
           && ngx_strncasecmp(a->host.data, b->host.data, a->host.len) == 0;
}


ngx_uint_t
ngx_http_gateway_origin_allowed(ngx_http_gateway_subscriber_loc_conf_t *conf,
    ngx_str_t *origin, ngx_str_t *host)
{
    ngx_uint_t                  i, port;
    ngx_http_gateway_origin_t   own, o, *allowed;

    if (conf->any_origin) {
        return 1;
    }

    if (ngx_http_gateway_origin_parse(origin, &o) != NGX_OK) {
        return 0;
    }

    if (conf->origins == NULL) {
        /* a Host without a port means the default one of whatever scheme the
         * page was loaded by: TLS may end before this server */
        port = (ngx_strncasecmp(origin->data, (u_char *) "https:", 6) == 0)
               ? 443 : 80;

        return ngx_http_gateway_origin_host(host->data,
                                            host->data + host->len, port,
                                            &own)
               == NGX_OK
               && ngx_http_gateway_origin_same(&own, &o);
    }

    allowed = conf->origins->elts;

    for (i = 0; i < conf->origins->nelts; i++) {
        if (ngx_http_gateway_origin_same(&allowed[i], &o)) {
            return 1;
        }
    }

    return 0;
}


char *
ngx_http_gateway_origin_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_subscriber_loc_conf_t  *slcf = conf;

    ngx_str_t                  *value;
    ngx_uint_t                  i;
    ngx_http_gateway_origin_t  *o;

    value = cf->args->elts;

    if (slcf->any_origin == NGX_CONF_UNSET) {
        slcf->any_origin = 0;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "any") == 0) {
            slcf->any_origin = 1;
            continue;
        }

        if (slcf->origins == NGX_CONF_UNSET_PTR) {
            slcf->origins = ngx_array_create(cf->pool, 2, sizeof(*o));
            if (slcf->origins == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        o = ngx_array_push(slcf->origins);
        if (o == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_gateway_origin_parse(&value[i], o) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\", \"any\" or "
                               "\"http[s]://host[:port]\" without a path is "
                               "accepted, such as "
                               "\"https://app.example.com\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
