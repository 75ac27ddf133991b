/*
 * The WebSocket handshake, RFC 6455 section 4.2: what is asked for, and the
 * 101.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_subscriber.h"
#include "../src/ws_handshake.h"


#define NGX_HTTP_GATEWAY_UPGRADE_REQUIRED  426


/* A header that must not be sent twice, RFC 6455 11.3. */

static ngx_table_elt_t *
ngx_http_gateway_handshake_only(ngx_http_request_t *r, char *name)
{
    if (ngx_http_gateway_header_find(r, name, 1)) {
        return NULL;
    }

    return ngx_http_gateway_header_find(r, name, 0);
}


static ngx_int_t
ngx_http_gateway_handshake_bad(ngx_http_request_t *r, char *why)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "WebSocket handshake: %s", why);

    return NGX_HTTP_BAD_REQUEST;
}


/* What to do instead, RFC 6455 4.4 and RFC 9110 15.5.22. */

static ngx_int_t
ngx_http_gateway_handshake_upgrade_required(ngx_http_request_t *r)
{
    if (ngx_http_gateway_header_add(r, "Sec-WebSocket-Version",
                                           (u_char *) "13", 2)
        != NGX_OK
        || ngx_http_gateway_header_add(r, "Upgrade",
                                              (u_char *) "websocket", 9)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_GATEWAY_UPGRADE_REQUIRED;
}


static ngx_uint_t
ngx_http_gateway_handshake_in_list(ngx_str_t *list, char *token)
{
    size_t   len;
    u_char  *p, *end, *last, *comma;

    len = ngx_strlen(token);
    end = list->data + list->len;

    for (p = list->data; p < end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');
        comma = comma ? comma : end;

        while (p < comma && (*p == ' ' || *p == '\t')) {
            p++;
        }

        last = comma;

        while (last > p && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }

        if ((size_t) (last - p) == len
            && ngx_strncasecmp(p, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Several lines of one name are one list, RFC 9110 5.3. */

static ngx_uint_t
ngx_http_gateway_handshake_has_token(ngx_http_request_t *r, char *name,
    char *token)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    for (i = 0; /* void */ ; i++) {
        h = ngx_http_gateway_header_find(r, name, i);

        if (h == NULL) {
            return 0;
        }

        if (ngx_http_gateway_handshake_in_list(&h->value, token)) {
            return 1;
        }
    }
}


/* RFC 6455 4.2.1, in its order. NGX_OK or a status. */

ngx_int_t
ngx_http_gateway_handshake_check(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_table_elt_t  *h;

    if (r->method != NGX_HTTP_GET) {
        return ngx_http_gateway_header_add(r, "Allow",
                                                  (u_char *) "GET", 3)
               == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                         : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_http_gateway_handshake_has_token(r, "Upgrade", "websocket")) {
        return ngx_http_gateway_handshake_upgrade_required(r);
    }

    if (r->http_version != NGX_HTTP_VERSION_11) {
        return ngx_http_gateway_handshake_bad(r, "not HTTP/1.1");
    }

    if (!ngx_http_gateway_handshake_has_token(r, "Connection", "upgrade")) {
        return ngx_http_gateway_handshake_bad(r, "\"Connection\" does not "
                                                  "say \"upgrade\"");
    }

    h = ngx_http_gateway_handshake_only(r, "Sec-WebSocket-Version");

    if (h == NULL || h->value.len != 2
        || ngx_strncmp(h->value.data, "13", 2) != 0)
    {
        return ngx_http_gateway_handshake_upgrade_required(r);
    }

    h = ngx_http_gateway_handshake_only(r, "Sec-WebSocket-Key");

    if (h == NULL || !gw_ws_key_valid(ngx_http_gateway_span(&h->value))) {
        return ngx_http_gateway_handshake_bad(r, "no valid "
                                                  "\"Sec-WebSocket-Key\"");
    }

    *key = h->value;

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return ngx_http_gateway_handshake_bad(r, "a request body");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_handshake_origin(ngx_http_request_t *r,
    ngx_http_gateway_subscriber_loc_conf_t *conf)
{
    ngx_str_t         host;
    ngx_table_elt_t  *h;

    h = ngx_http_gateway_header_find(r, "Origin", 0);

    if (h == NULL) {
        return NGX_OK;
    }

    host = r->headers_in.host ? r->headers_in.host->value
                              : r->headers_in.server;

    if (ngx_http_gateway_origin_allowed(conf, &h->value, &host)) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "origin \"%V\" is not in gateway_origin_allow", &h->value);

    return NGX_HTTP_FORBIDDEN;
}


/*
 * Of v1 and raw the first that the client offers; where it offers neither,
 * raw, answered by jwt or bearer if these were offered. There may be several
 * headers, which count as one list.
 */

ngx_int_t
ngx_http_gateway_handshake_protocol(ngx_http_request_t *r,
    ngx_str_t *protocol, ngx_uint_t *json)
{
    ngx_int_t         rc;
    gw_str_t          rest, t;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_null(protocol);
    *json = 0;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != 22
            || ngx_strncasecmp(h[i].key.data,
                               (u_char *) "Sec-WebSocket-Protocol", 22) != 0)
        {
            continue;
        }

        rest = ngx_http_gateway_span(&h[i].value);

        while ((rc = gw_ws_token_next(&rest, &t)) == GW_OK) {

            if (protocol->len == 0 && t.len == 2
                && ngx_strncmp(t.data, "v1", 2) == 0)
            {
                ngx_str_set(protocol, "v1");
                *json = 1;
            }

            if (protocol->len == 0 && t.len == 3
                && ngx_strncmp(t.data, "raw", 3) == 0)
            {
                ngx_str_set(protocol, "raw");
            }
        }

        if (rc == GW_ERROR) {
            return ngx_http_gateway_handshake_bad(r, "malformed "
                                              "\"Sec-WebSocket-Protocol\"");
        }
    }

    if (protocol->len == 0) {
        ngx_http_gateway_jwt_subprotocol(r, protocol);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_handshake_answer(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *protocol)
{
    u_char     *accept;
    ngx_int_t   rc;

    accept = ngx_pnalloc(r->pool, GW_WS_ACCEPT_LEN);

    if (accept == NULL
        || gw_ws_accept(accept, ngx_http_gateway_span(key)) != GW_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    if (ngx_http_gateway_header_add(r, "Upgrade",
                                           (u_char *) "websocket", 9)
        != NGX_OK
        || ngx_http_gateway_header_add(r, "Sec-WebSocket-Accept",
                                              accept, GW_WS_ACCEPT_LEN)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (protocol->len
        && ngx_http_gateway_header_add(r, "Sec-WebSocket-Protocol",
                                              protocol->data, protocol->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->keepalive = 0;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    return ngx_http_send_special(r, NGX_HTTP_FLUSH);
}
