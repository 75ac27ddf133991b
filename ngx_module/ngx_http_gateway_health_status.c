/*
 * gateway_health: what an operator's probe, or a balancer in front, asks.
 *
 * Each upstream{} of the configuration and each of its servers. A server is
 * up where nginx would give it a request. What nginx itself has found out
 * (max_fails) counts only where there are no checks, since it is this
 * worker's view alone.
 */

#include "ngx_http_gateway_breaker.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_health.h"
#include "ngx_http_gateway_peers.h"
#include "ngx_http_gateway_text.h"


typedef struct {
    ngx_str_t    server;
    ngx_uint_t   down;
    ngx_uint_t   failed;     /* nginx has taken it out for a while */
    u_char       key[NGX_HTTP_GATEWAY_HEALTH_KEY];
} ngx_http_gateway_health_server_t;


static ngx_http_gateway_health_srv_conf_t *
ngx_http_gateway_health_checks(ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_gateway_health_srv_conf_t  *conf;

    conf = ngx_http_conf_upstream_srv_conf(us, ngx_http_gateway_health_module);

    return conf->us && ngx_http_gateway_health_shared() ? conf : NULL;
}


static ngx_int_t
ngx_http_gateway_health_copy(ngx_http_gateway_health_server_t *s,
    ngx_http_upstream_srv_conf_t *us, ngx_http_upstream_rr_peers_t *peers,
    ngx_http_upstream_rr_peer_t *peer, ngx_pool_t *pool)
{
    s->server.len = peer->name.len;
    s->server.data = ngx_pstrdup(pool, &peer->name);

    if (s->server.data == NULL) {
        return NGX_ERROR;
    }

    /* a single server is never taken out */

    s->down = (peer->down & ~(ngx_uint_t) NGX_HTTP_GATEWAY_DOWN_BREAKER) != 0;
    s->failed = !peers->single && peer->max_fails
                && peer->fails >= peer->max_fails
                && ngx_time() - peer->checked <= peer->fail_timeout;

    ngx_http_gateway_health_key(s->key, us, peer);

    return NGX_OK;
}


/* A copy of what nginx knows of the servers, so that nothing is done under
 * its lock. NULL: no memory. */

static ngx_array_t *
ngx_http_gateway_health_servers(ngx_http_upstream_srv_conf_t *us,
    ngx_pool_t *pool)
{
    ngx_int_t                          rc;
    ngx_array_t                       *servers;
    ngx_http_upstream_rr_peer_t       *peer;
    ngx_http_upstream_rr_peers_t      *peers;
    ngx_http_gateway_health_server_t  *s;

    servers = ngx_array_create(pool, 8, sizeof(*s));
    if (servers == NULL) {
        return NULL;
    }

    rc = NGX_OK;

    for (peers = us->peer.data; peers; peers = peers->next) {
        ngx_http_upstream_rr_peers_rlock(peers);

        for (peer = peers->peer; peer && rc == NGX_OK; peer = peer->next) {
            s = ngx_array_push(servers);
            rc = s ? ngx_http_gateway_health_copy(s, us, peers, peer, pool)
                   : NGX_ERROR;
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }

    return rc == NGX_OK ? servers : NULL;
}


/* "closed", or null. */

static void
ngx_http_gateway_health_word(ngx_http_gateway_text_t *t, const char *word)
{
    if (word == NULL) {
        ngx_http_gateway_text_literal(t, "null");
        return;
    }

    ngx_http_gateway_text_literal(t, "\"");
    ngx_http_gateway_text_add(t, word, ngx_strlen(word));
    ngx_http_gateway_text_literal(t, "\"");
}


/* Writes one server; returns whether it is usable. */

static ngx_uint_t
ngx_http_gateway_health_server(ngx_http_gateway_text_t *t,
    ngx_http_upstream_srv_conf_t *us, ngx_http_gateway_health_server_t *s)
{
    char                             *breaker;
    ngx_uint_t                        up, checked;
    ngx_http_gateway_health_entry_t   e;

    checked = ngx_http_gateway_health_checks(us)
              && ngx_http_gateway_health_read(s->key, &e) == NGX_OK;

    up = !s->down && (checked ? !e.down : !s->failed);

    ngx_http_gateway_text_literal(t, "{\"server\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(&s->server));
    ngx_http_gateway_text_literal(t, ",\"state\":");
    ngx_http_gateway_health_word(t, up ? "up" : "down");
    ngx_http_gateway_text_literal(t, ",\"lastCheck\":");

    if (checked && e.last_check) {
        ngx_http_gateway_text_time(t, e.last_check);

    } else {
        ngx_http_gateway_text_literal(t, "null");
    }

    ngx_http_gateway_text_literal(t, ",\"responseTime\":");

    if (checked && e.time >= 0) {
        ngx_http_gateway_text_uint(t, e.time);

    } else {
        ngx_http_gateway_text_literal(t, "null");
    }

    if (ngx_http_gateway_breaker_by_peer(us)) {
        breaker = ngx_http_gateway_breaker_look(us, &s->server);

        ngx_http_gateway_text_literal(t, ",\"breaker\":");
        ngx_http_gateway_health_word(t, breaker);

        if (breaker && ngx_strcmp(breaker, "open") == 0) {
            up = 0;
        }
    }

    ngx_http_gateway_text_literal(t, "}");

    return up;
}


/* Writes one upstream, and sets *usable; NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_gateway_health_upstream(ngx_http_gateway_text_t *t,
    ngx_http_upstream_srv_conf_t *us, ngx_pool_t *pool, ngx_uint_t *usable)
{
    char                              *breaker;
    ngx_uint_t                         i, open;
    ngx_array_t                       *servers;
    ngx_http_gateway_health_server_t  *s;

    servers = ngx_http_gateway_health_servers(us, pool);
    if (servers == NULL) {
        return NGX_ERROR;
    }

    open = 0;

    ngx_http_gateway_text_literal(t, "{\"name\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(&us->host));

    if (!ngx_http_gateway_breaker_by_peer(us)) {
        breaker = ngx_http_gateway_breaker_look(us, NULL);
        open = breaker && ngx_strcmp(breaker, "open") == 0;

        ngx_http_gateway_text_literal(t, ",\"breaker\":");
        ngx_http_gateway_health_word(t, breaker);
    }

    ngx_http_gateway_text_literal(t, ",\"peers\":[");

    *usable = 0;
    s = servers->elts;

    for (i = 0; i < servers->nelts; i++) {
        if (i) {
            ngx_http_gateway_text_literal(t, ",");
        }

        if (ngx_http_gateway_health_server(t, us, &s[i]) && !open) {
            *usable = 1;
        }
    }

    ngx_http_gateway_text_literal(t, "]}");

    return NGX_OK;
}


/* All upstreams, after what is said of the whole; a request's own
 * configuration, which may be an older one. */

static ngx_int_t
ngx_http_gateway_health_json(ngx_http_request_t *r,
    ngx_http_gateway_text_t *t, ngx_uint_t *available)
{
    ngx_uint_t                       i, n, usable;
    ngx_http_upstream_srv_conf_t   **us;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    us = umcf->upstreams.elts;
    n = 0;

    *available = 1;

    ngx_http_gateway_text_literal(t, ",\"upstreams\":[");

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        /* not those that a proxy_pass with a host's name makes */
        if (us[i]->srv_conf == NULL) {
            continue;
        }

        if (n++) {
            ngx_http_gateway_text_literal(t, ",");
        }

        if (ngx_http_gateway_health_upstream(t, us[i], r->pool, &usable)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        *available &= usable;
    }

    ngx_http_gateway_text_literal(t, "]}\n");

    return t->failed ? NGX_ERROR : NGX_OK;
}


static ngx_buf_t *
ngx_http_gateway_health_body(ngx_http_request_t *r)
{
    size_t                    len;
    ngx_buf_t                *b;
    ngx_uint_t                available;
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_text();

    if (ngx_http_gateway_health_json(r, t, &available) != NGX_OK) {
        return NULL;
    }

    len = sizeof("{\"status\":\"unavailable\"") - 1;

    b = ngx_create_temp_buf(r->pool, len + t->len);
    if (b == NULL) {
        return NULL;
    }

    b->last = ngx_sprintf(b->last, "{\"status\":\"%s\"",
                          available ? "ok" : "unavailable");
    b->last = ngx_cpymem(b->last, t->data, t->len);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    r->headers_out.status = available ? NGX_HTTP_OK
                                      : NGX_HTTP_SERVICE_UNAVAILABLE;
    r->headers_out.content_length_n = b->last - b->pos;

    return b;
}


ngx_int_t
ngx_http_gateway_health_handler(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        rc = ngx_http_gateway_header_add(r, "Allow", (u_char *) "GET, HEAD",
                                         sizeof("GET, HEAD") - 1);
        return rc == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                            : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_gateway_health_apply();

    b = ngx_http_gateway_health_body(r);

    if (b == NULL
        || ngx_http_gateway_header_add(r, "Cache-Control",
                                       (u_char *) "no-store",
                                       sizeof("no-store") - 1)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_gateway_health_emit(ngx_http_gateway_health_srv_conf_t *conf,
    ngx_http_gateway_health_server_t *s, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    u_char                           *p;
    ngx_uint_t                        up;
    ngx_str_t                         labels;
    ngx_http_gateway_health_entry_t   e;

    labels.len = conf->label.len + sizeof(",server=\"\"") - 1
                 + s->server.len;

    p = ngx_pnalloc(pool, labels.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    labels.data = p;
    (void) ngx_sprintf(p, "%V,server=\"%V\"", &conf->label, &s->server);

    up = !s->down
         && (ngx_http_gateway_health_read(s->key, &e) != NGX_OK || !e.down);

    emit(ctx, "gateway_peer_up", &labels,
         "Whether a checked server gets requests.", NGX_HTTP_GATEWAY_GAUGE,
         up);

    return NGX_OK;
}


/* The same server may stand in an upstream twice, a series may not. */

static ngx_uint_t
ngx_http_gateway_health_repeated(ngx_http_gateway_health_server_t *s,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (s[i].server.len == s[n].server.len
            && ngx_memcmp(s[i].server.data, s[n].server.data, s[n].server.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* gateway_peer_up, as it is in shared memory. */

void
ngx_http_gateway_health_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    ngx_http_gateway_health_main_conf_t  *hmcf = data;

    ngx_uint_t                            i, n;
    ngx_array_t                          *servers;
    ngx_http_gateway_health_server_t     *s;
    ngx_http_gateway_health_srv_conf_t  **conf;

    conf = hmcf->checked.elts;

    for (i = 0; i < hmcf->checked.nelts; i++) {
        servers = ngx_http_gateway_health_servers(conf[i]->us, pool);

        if (servers == NULL) {
            return;
        }

        s = servers->elts;

        for (n = 0; n < servers->nelts; n++) {
            if (!ngx_http_gateway_health_repeated(s, n)
                && ngx_http_gateway_health_emit(conf[i], &s[n], emit, ctx,
                                                pool)
                   != NGX_OK)
            {
                return;
            }
        }
    }
}
