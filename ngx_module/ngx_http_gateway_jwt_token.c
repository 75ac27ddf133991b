/*
 * Where a request carries its token (gateway_jwt_token), and how one in the
 * query is masked.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "../src/base64url.h"
#include "ngx_http_gateway_compat.h"
#include "ngx_http_gateway_jwt_int.h"


/* Walks the items of a list header (#token) over all its lines. */

typedef struct {
    ngx_list_part_t  *part;
    ngx_uint_t        i;
    ngx_str_t        *name;
    u_char           *p;
    u_char           *last;
} ngx_http_gateway_jwt_items_t;


static ngx_table_elt_t *ngx_http_gateway_jwt_header(ngx_list_part_t **part,
    ngx_uint_t *i, ngx_str_t *name);
static ngx_uint_t ngx_http_gateway_jwt_items_next(
    ngx_http_gateway_jwt_items_t *items, ngx_str_t *item);
static ngx_int_t ngx_http_gateway_jwt_token_subprotocol(
    ngx_http_request_t *r, ngx_str_t *token);
static ngx_int_t ngx_http_gateway_jwt_token_item(ngx_http_request_t *r,
    ngx_str_t *item, ngx_str_t *token);
static ngx_int_t ngx_http_gateway_jwt_token_header(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *token);
static ngx_int_t ngx_http_gateway_jwt_token_query(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx, ngx_str_t *name, ngx_str_t *token);
static ngx_uint_t ngx_http_gateway_jwt_arg_next(u_char **pos, u_char *last,
    ngx_str_t *name, ngx_str_t *value);
static ngx_uint_t ngx_http_gateway_jwt_is_query(
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *name);
static ngx_int_t ngx_http_gateway_jwt_token_keep(ngx_http_request_t *r,
    ngx_http_gateway_jwt_loc_conf_t *jlcf);
static ngx_int_t ngx_http_gateway_jwt_token_hide(ngx_pool_t *pool,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *s, u_char *args,
    u_char *last);


static ngx_str_t  ngx_http_gateway_jwt_protocol_header =
    ngx_string("Sec-WebSocket-Protocol");

static ngx_str_t  ngx_http_gateway_jwt_marker = ngx_string("jwt");
static ngx_str_t  ngx_http_gateway_bearer_marker = ngx_string("bearer");
static ngx_str_t  ngx_http_gateway_jwt_prefix = ngx_string("jwt.");
static ngx_str_t  ngx_http_gateway_k8s_prefix =
    ngx_string("base64url.bearer.authorization.k8s.io.");

#define NGX_HTTP_GATEWAY_JWT_MASK  "***"


#define ngx_http_gateway_str_is(a, b)                                        \
    ((a)->len == (b)->len                                                    \
     && ngx_strncmp((a)->data, (b)->data, (a)->len) == 0)

#define ngx_http_gateway_str_begins(a, b)                                    \
    ((a)->len > (b)->len                                                     \
     && ngx_strncmp((a)->data, (b)->data, (b)->len) == 0)


ngx_int_t
ngx_http_gateway_jwt_token_find(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx, ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_str_t *token)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_gateway_jwt_place_t  *place;

    place = jlcf->places->elts;

    for (i = 0; i < jlcf->places->nelts; i++) {

        switch (place[i].place) {

        case NGX_HTTP_GATEWAY_JWT_SUBPROTOCOL:
            rc = ngx_http_gateway_jwt_token_subprotocol(r, token);
            break;

        case NGX_HTTP_GATEWAY_JWT_HEADER:
            rc = ngx_http_gateway_jwt_token_header(r, &place[i].name, token);
            break;

        case NGX_HTTP_GATEWAY_JWT_QUERY:
            rc = ngx_http_gateway_jwt_token_query(r, ctx, &place[i].name,
                                                  token);
            break;

        case NGX_HTTP_GATEWAY_JWT_COOKIE:
            rc = ngx_http_gateway_cookie(r, &place[i].name, token);

            if (rc == NGX_OK && token->len == 0) {
                rc = NGX_DECLINED;
            }

            break;

        default: /* NGX_HTTP_GATEWAY_JWT_MESSAGE: still to come */
            rc = NGX_DECLINED;
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/* The next header of that name; part and i keep the place, from 0. */

static ngx_table_elt_t *
ngx_http_gateway_jwt_header(ngx_list_part_t **part, ngx_uint_t *i,
    ngx_str_t *name)
{
    ngx_table_elt_t  *h;

    for ( ;; ) {

        if (*i >= (*part)->nelts) {

            if ((*part)->next == NULL) {
                return NULL;
            }

            *part = (*part)->next;
            *i = 0;
            continue;
        }

        h = (*part)->elts;
        h += (*i)++;

        if (h->hash
            && h->key.len == name->len
            && ngx_strncasecmp(h->key.data, name->data, name->len) == 0)
        {
            return h;
        }
    }
}


static ngx_uint_t
ngx_http_gateway_jwt_items_next(ngx_http_gateway_jwt_items_t *items,
    ngx_str_t *item)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    for ( ;; ) {

        while (items->p < items->last
               && (*items->p == ' ' || *items->p == '\t' || *items->p == ','))
        {
            items->p++;
        }

        if (items->p < items->last) {
            break;
        }

        h = ngx_http_gateway_jwt_header(&items->part, &items->i,
                                        items->name);
        if (h == NULL) {
            return 0;
        }

        items->p = h->value.data;
        items->last = h->value.data + h->value.len;
    }

    item->data = items->p;

    while (items->p < items->last && *items->p != ',') {
        items->p++;
    }

    p = items->p;

    while (p[-1] == ' ' || p[-1] == '\t') {
        p--;
    }

    item->len = p - item->data;

    return 1;
}


/*
 * `jwt.<token>` and the form of Kubernetes carry the token in one item. After
 * `jwt` or `bearer` it may be any later one: the first that begins as the
 * base64url of a JSON object does; else the next that is no protocol of ours,
 * so that a bad token is refused as such, not as missing.
 */

static ngx_int_t
ngx_http_gateway_jwt_token_subprotocol(ngx_http_request_t *r,
    ngx_str_t *token)
{
    ngx_int_t                      rc;
    ngx_str_t                      item, guess;
    ngx_uint_t                     marker;
    ngx_http_gateway_jwt_items_t   items;

    ngx_memzero(&items, sizeof(items));
    items.part = &r->headers_in.headers.part;
    items.name = &ngx_http_gateway_jwt_protocol_header;

    ngx_str_null(&guess);
    marker = 0;

    while (ngx_http_gateway_jwt_items_next(&items, &item)) {

        rc = ngx_http_gateway_jwt_token_item(r, &item, token);
        if (rc != NGX_DECLINED) {
            return rc;
        }

        if (ngx_http_gateway_str_is(&item, &ngx_http_gateway_jwt_marker)
            || ngx_http_gateway_str_is(&item,
                                       &ngx_http_gateway_bearer_marker))
        {
            marker = 1;
            continue;
        }

        if (!marker) {
            continue;
        }

        if (item.len > 2 && item.data[0] == 'e'
            && (item.data[1] == 'y' || item.data[1] == 'w')
            && ngx_strlchr(item.data, item.data + item.len, '.'))
        {
            *token = item;
            return NGX_OK;
        }

        if (guess.len == 0
            && !(item.len == 2 && ngx_strncmp(item.data, "v1", 2) == 0)
            && !(item.len == 3 && ngx_strncmp(item.data, "raw", 3) == 0))
        {
            guess = item;
        }
    }

    if (guess.len) {
        *token = guess;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_gateway_jwt_token_item(ngx_http_request_t *r, ngx_str_t *item,
    ngx_str_t *token)
{
    size_t    len;
    u_char   *p;
    gw_str_t  text;

    if (ngx_http_gateway_str_begins(item, &ngx_http_gateway_jwt_prefix)) {
        token->data = item->data + ngx_http_gateway_jwt_prefix.len;
        token->len = item->len - ngx_http_gateway_jwt_prefix.len;
        return NGX_OK;
    }

    if (!ngx_http_gateway_str_begins(item, &ngx_http_gateway_k8s_prefix)) {
        return NGX_DECLINED;
    }

    text.data = item->data + ngx_http_gateway_k8s_prefix.len;
    text.len = item->len - ngx_http_gateway_k8s_prefix.len;

    p = ngx_pnalloc(r->pool, gw_base64url_decoded_len(text.len) + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (gw_base64url_decode(p, &len, text) != GW_OK) {

        /* as it stands it is no token either, and is refused as malformed */

        token->data = item->data;
        token->len = item->len;
        return NGX_OK;
    }

    token->data = p;
    token->len = len;

    return NGX_OK;
}


/* With or without `Bearer`; another scheme's credentials are not for us. */

static ngx_int_t
ngx_http_gateway_jwt_token_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *token)
{
    u_char           *p, *last;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    i = 0;
    part = &r->headers_in.headers.part;

    h = ngx_http_gateway_jwt_header(&part, &i, name);
    if (h == NULL) {
        return NGX_DECLINED;
    }

    p = h->value.data;
    last = p + h->value.len;

    if (h->value.len > 7 && ngx_strncasecmp(p, (u_char *) "Bearer ", 7) == 0)
    {
        p += 7;

        while (p < last && *p == ' ') {
            p++;
        }

    } else if (ngx_strlchr(p, last, ' ')
               || (h->value.len == 6
                   && ngx_strncasecmp(p, (u_char *) "Bearer", 6) == 0))
    {
        return NGX_DECLINED;
    }

    token->data = p;
    token->len = last - p;

    return token->len ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_gateway_jwt_token_query(ngx_http_request_t *r,
    ngx_http_gateway_jwt_ctx_t *ctx, ngx_str_t *name, ngx_str_t *token)
{
    ngx_uint_t                     i;
    ngx_http_gateway_jwt_query_t  *query;

    if (ctx->queries == NULL) {
        return NGX_DECLINED;
    }

    query = ctx->queries->elts;

    for (i = 0; i < ctx->queries->nelts; i++) {
        if (query[i].name.len == name->len
            && ngx_strncasecmp(query[i].name.data, name->data, name->len)
               == 0)
        {
            *token = query[i].value;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/*
 * In the rewrite phases, before anything that uses the arguments: tokens in
 * the query are put aside and masked wherever nginx keeps the query.
 */

ngx_int_t
ngx_http_gateway_jwt_token_mask(ngx_http_request_t *r)
{
    u_char                            *p, *last;
    ngx_int_t                          rc;
    ngx_http_gateway_jwt_loc_conf_t   *jlcf;
    ngx_http_gateway_jwt_main_conf_t  *jmcf;

    jlcf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_jwt_module);

    if (!jlcf->query || jlcf->keys == NULL || r != r->main
        || r->args.len == 0)
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_gateway_jwt_token_keep(r, jlcf);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? rc : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_gateway_jwt_token_hide(r->pool, jlcf, &r->args,
                                         r->args.data,
                                         r->args.data + r->args.len);

    last = r->unparsed_uri.data + r->unparsed_uri.len;
    p = ngx_strlchr(r->unparsed_uri.data, last, '?');

    if (p && rc == NGX_OK) {
        rc = ngx_http_gateway_jwt_token_hide(r->pool, jlcf, &r->unparsed_uri,
                                             p + 1, last);
    }

    last = r->request_line.data + r->request_line.len;
    p = ngx_strlchr(r->request_line.data, last, '?');

    if (p && rc == NGX_OK) {

        while (last > p && last[-1] != ' ') {
            last--;
        }

        if (last == p) {
            last = r->request_line.data + r->request_line.len;  /* HTTP/0.9 */

        } else {
            last--;
        }

        rc = ngx_http_gateway_jwt_token_hide(r->pool, jlcf, &r->request_line,
                                             p + 1, last);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    jmcf = ngx_http_get_module_main_conf(r, ngx_http_gateway_jwt_module);

    r->variables[jmcf->request_index].valid = 0;
    r->variables[jmcf->request_index].not_found = 0;
    r->variables[jmcf->request_uri_index].valid = 0;
    r->variables[jmcf->request_uri_index].not_found = 0;

    return NGX_DECLINED;
}


/* NGX_OK: there was something to keep, and so to mask. */

static ngx_int_t
ngx_http_gateway_jwt_token_keep(ngx_http_request_t *r,
    ngx_http_gateway_jwt_loc_conf_t *jlcf)
{
    u_char                        *p, *last, *dst, *src;
    ngx_str_t                      name, value;
    ngx_http_gateway_jwt_ctx_t    *ctx;
    ngx_http_gateway_jwt_query_t  *query;

    ctx = NULL;
    p = r->args.data;
    last = p + r->args.len;

    while (ngx_http_gateway_jwt_arg_next(&p, last, &name, &value)) {

        if (value.len == 0
            || (value.len == sizeof(NGX_HTTP_GATEWAY_JWT_MASK) - 1
                && ngx_strncmp(value.data, NGX_HTTP_GATEWAY_JWT_MASK,
                               value.len) == 0)
            || !ngx_http_gateway_jwt_is_query(jlcf, &name))
        {
            continue;
        }

        ctx = ngx_http_gateway_jwt_ctx(r);
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        if (ctx->queries == NULL) {
            ctx->queries = ngx_array_create(r->pool, 1, sizeof(*query));
            if (ctx->queries == NULL) {
                return NGX_ERROR;
            }
        }

        query = ngx_array_push(ctx->queries);
        src = value.data;
        dst = ngx_pnalloc(r->pool, value.len);

        if (query == NULL || dst == NULL) {
            return NGX_ERROR;
        }

        query->name = name;
        query->value.data = dst;

        ngx_unescape_uri(&dst, &src, value.len, 0);

        query->value.len = dst - query->value.data;
    }

    return ctx ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_gateway_jwt_arg_next(u_char **pos, u_char *last, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *p, *end;

    if (*pos >= last) {
        return 0;
    }

    end = ngx_strlchr(*pos, last, '&');
    if (end == NULL) {
        end = last;
    }

    p = ngx_strlchr(*pos, end, '=');
    if (p == NULL) {
        p = end;
    }

    name->data = *pos;
    name->len = p - *pos;

    value->data = (p < end) ? p + 1 : end;
    value->len = end - value->data;

    *pos = end + 1;

    return 1;
}


static ngx_uint_t
ngx_http_gateway_jwt_is_query(ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_http_gateway_jwt_place_t  *place;

    place = jlcf->places->elts;

    for (i = 0; i < jlcf->places->nelts; i++) {
        if (place[i].place == NGX_HTTP_GATEWAY_JWT_QUERY
            && place[i].name.len == name->len
            && ngx_strncasecmp(place[i].name.data, name->data, name->len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* s becomes a copy, the tokens of its arguments args to last masked. */

static ngx_int_t
ngx_http_gateway_jwt_token_hide(ngx_pool_t *pool,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *s, u_char *args,
    u_char *last)
{
    u_char     *p, *dst, *start, *end;
    ngx_str_t   name, value;

    /* each value of at least one byte grows by two at most */

    start = ngx_pnalloc(pool, s->len * 2 + sizeof(NGX_HTTP_GATEWAY_JWT_MASK));
    if (start == NULL) {
        return NGX_ERROR;
    }

    dst = ngx_cpymem(start, s->data, args - s->data);
    end = s->data + s->len;
    p = args;

    while (ngx_http_gateway_jwt_arg_next(&p, last, &name, &value)) {

        if (value.len == 0 || !ngx_http_gateway_jwt_is_query(jlcf, &name)) {
            dst = ngx_cpymem(dst, name.data,
                             value.data + value.len - name.data);

        } else {
            dst = ngx_cpymem(dst, name.data, value.data - name.data);
            dst = ngx_cpymem(dst, NGX_HTTP_GATEWAY_JWT_MASK,
                             sizeof(NGX_HTTP_GATEWAY_JWT_MASK) - 1);
        }

        if (value.data + value.len < last) {
            *dst++ = '&';
        }
    }

    dst = ngx_cpymem(dst, last, end - last);

    s->data = start;
    s->len = dst - start;

    return NGX_OK;
}


void
ngx_http_gateway_jwt_subprotocol(ngx_http_request_t *r, ngx_str_t *protocol)
{
    ngx_str_t                     item;
    ngx_http_gateway_jwt_items_t  items;

    ngx_memzero(&items, sizeof(items));
    items.part = &r->headers_in.headers.part;
    items.name = &ngx_http_gateway_jwt_protocol_header;

    while (ngx_http_gateway_jwt_items_next(&items, &item)) {

        if (ngx_http_gateway_str_is(&item, &ngx_http_gateway_jwt_marker)) {
            *protocol = ngx_http_gateway_jwt_marker;
            return;
        }

        if (ngx_http_gateway_str_is(&item, &ngx_http_gateway_bearer_marker))
        {
            *protocol = ngx_http_gateway_bearer_marker;
            return;
        }
    }

    ngx_str_null(protocol);
}


ngx_uint_t
ngx_http_gateway_jwt_subprotocol_private(ngx_http_request_t *r,
    ngx_str_t *name)
{
    ngx_str_t  token;

    if (ngx_http_gateway_str_is(name, &ngx_http_gateway_jwt_marker)
        || ngx_http_gateway_str_is(name, &ngx_http_gateway_bearer_marker)
        || ngx_http_gateway_str_begins(name, &ngx_http_gateway_jwt_prefix)
        || ngx_http_gateway_str_begins(name, &ngx_http_gateway_k8s_prefix))
    {
        return 1;
    }

    return ngx_http_gateway_jwt_token_subprotocol(r, &token) == NGX_OK
           && ngx_http_gateway_str_is(name, &token);
}
