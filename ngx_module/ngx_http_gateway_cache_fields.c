/*
 * gateway_cache: header fields as spans, as they stand in the store, and as
 * the content handler sees those of the request.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "ngx_http_gateway_compat.h"
#include "../src/cache_validate.h"
#include "../src/cache_wire.h"


/* A field in the store; name, name in small letters, value, 0 follow. */

typedef struct {
    uint32_t      value_len;
    uint16_t      name_len;
    u_char        kind;
    u_char        hidden;
} ngx_http_gateway_cache_head_t;


typedef struct {
    ngx_str_t     name;
    ngx_uint_t    kind;
} ngx_http_gateway_cache_known_t;


static ngx_http_gateway_cache_known_t  ngx_http_gateway_cache_known[] = {
    { ngx_string("content-type"), NGX_HTTP_GATEWAY_CACHE_CONTENT_TYPE },
    { ngx_string("content-length"), NGX_HTTP_GATEWAY_CACHE_CONTENT_LENGTH },
    { ngx_string("content-encoding"),
      NGX_HTTP_GATEWAY_CACHE_CONTENT_ENCODING },
    { ngx_string("date"), NGX_HTTP_GATEWAY_CACHE_DATE },
    { ngx_string("server"), NGX_HTTP_GATEWAY_CACHE_SERVER },
    { ngx_string("etag"), NGX_HTTP_GATEWAY_CACHE_ETAG },
    { ngx_string("last-modified"), NGX_HTTP_GATEWAY_CACHE_LAST_MODIFIED },
    { ngx_string("expires"), NGX_HTTP_GATEWAY_CACHE_EXPIRES },
    { ngx_string("cache-control"), NGX_HTTP_GATEWAY_CACHE_CACHE_CONTROL },
    { ngx_string("accept-ranges"), NGX_HTTP_GATEWAY_CACHE_ACCEPT_RANGES },
    { ngx_string("age"), NGX_HTTP_GATEWAY_CACHE_AGE },
    { ngx_null_string, 0 }
};


/* What nginx rewrites for the client: proxy_redirect, proxy_cookie_*. */

static ngx_str_t  ngx_http_gateway_cache_rewritten[] = {
    ngx_string("location"),
    ngx_string("refresh"),
    ngx_string("set-cookie"),
    ngx_null_string
};


static ngx_uint_t
ngx_http_gateway_cache_is_one_of(ngx_str_t *key, ngx_str_t *names)
{
    for ( /* void */ ; names->len; names++) {
        if (names->len == key->len
            && ngx_strncasecmp(names->data, key->data, key->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_gateway_cache_count(ngx_list_t *list)
{
    ngx_uint_t        n;
    ngx_list_part_t  *part;

    n = 0;

    for (part = &list->part; part; part = part->next) {
        n += part->nelts;
    }

    return n;
}


/* Adds the list's elements to p, of which `names` are left out, or, with
 * only, nothing else is taken. */

static gw_field_t *
ngx_http_gateway_cache_spans(gw_field_t *p, ngx_list_t *list,
    ngx_str_t *names, ngx_uint_t only)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &list->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if ((names && h[i].hash == 0)
                || (names && ngx_http_gateway_cache_is_one_of(&h[i].key,
                                                              names)
                             != only))
            {
                continue;
            }

            p->name.data = h[i].key.data;
            p->name.len = h[i].key.len;
            p->value.data = h[i].value.data;
            p->value.len = h[i].value.len;
            p++;
        }
    }

    return p;
}


ngx_int_t
ngx_http_gateway_cache_request_fields(ngx_http_request_t *r, ngx_list_t *list,
    gw_fields_t *fields)
{
    gw_field_t  *p;

    p = ngx_palloc(r->pool, (ngx_http_gateway_cache_count(list) + 1)
                            * sizeof(*p));
    if (p == NULL) {
        return NGX_ERROR;
    }

    fields->fields = p;
    fields->n = ngx_http_gateway_cache_spans(p, list, NULL, 0) - p;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_response_fields(ngx_http_request_t *r,
    gw_fields_t *fields)
{
    gw_field_t  *p, *last;
    ngx_list_t  *came, *sent;

    came = &r->upstream->headers_in.headers;
    sent = &r->headers_out.headers;

    p = ngx_palloc(r->pool, (ngx_http_gateway_cache_count(came)
                             + ngx_http_gateway_cache_count(sent) + 1)
                            * sizeof(*p));
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_http_gateway_cache_spans(p, came,
                                        ngx_http_gateway_cache_rewritten, 0);
    last = ngx_http_gateway_cache_spans(last, sent,
                                        ngx_http_gateway_cache_rewritten, 1);
    fields->fields = p;
    fields->n = last - p;

    return NGX_OK;
}


/* Whether proxy_hide_header or nginx itself keeps it from the client. */

static ngx_uint_t
ngx_http_gateway_cache_hidden(ngx_http_request_t *r, u_char *name, size_t len,
    ngx_uint_t kind)
{
    ngx_hash_t  *hash;

    if (kind == NGX_HTTP_GATEWAY_CACHE_DATE || r->upstream == NULL) {
        return 0;
    }

    hash = &r->upstream->conf->hide_headers_hash;

    return hash->buckets
           && ngx_hash_find(hash, ngx_hash_key(name, len), name, len) != NULL;
}


/* The kind of a field whose name in small letters is given. */

static ngx_uint_t
ngx_http_gateway_cache_kind(u_char *name, size_t len)
{
    ngx_http_gateway_cache_known_t  *known;

    for (known = ngx_http_gateway_cache_known; known->name.len; known++) {
        if (known->name.len == len
            && ngx_memcmp(known->name.data, name, len) == 0)
        {
            break;
        }
    }

    return known->kind;
}


static u_char *
ngx_http_gateway_cache_write(u_char *p, const gw_field_t *f, ngx_uint_t kind,
    ngx_uint_t hidden)
{
    ngx_http_gateway_cache_head_t  head;

    ngx_memzero(&head, sizeof(head));
    head.value_len = (uint32_t) f->value.len;
    head.name_len = (uint16_t) f->name.len;
    head.kind = (u_char) kind;
    head.hidden = (u_char) hidden;

    p = ngx_cpymem(p, &head, sizeof(head));
    p = ngx_cpymem(p, f->name.data, f->name.len);
    ngx_strlow(p, (u_char *) f->name.data, f->name.len);
    p += f->name.len;

    /* an empty one may point nowhere */

    if (f->value.len) {
        p = ngx_cpymem(p, f->value.data, f->value.len);
    }

    *p++ = '\0';

    return p;
}


ngx_int_t
ngx_http_gateway_cache_encode(ngx_http_request_t *r, gw_fields_t fields,
    ngx_str_t *text, ngx_uint_t *n)
{
    u_char            *p, *lowcase;
    size_t             i, len;
    ngx_uint_t         kind, hidden;
    const gw_field_t  *f;

    len = 0;

    for (i = 0; i < fields.n; i++) {
        f = &fields.fields[i];
        len += sizeof(ngx_http_gateway_cache_head_t) + 2 * f->name.len
               + f->value.len + 1;
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *n = 0;

    for (i = 0; i < fields.n; i++) {
        f = &fields.fields[i];

        if (f->name.len > 65535 || f->value.len > GW_STORE_MAX_HEADER
            || !gw_cache_keeps(fields, f->name))
        {
            continue;
        }

        /* where it will be overwritten */

        lowcase = p;
        ngx_strlow(lowcase, (u_char *) f->name.data, f->name.len);

        kind = ngx_http_gateway_cache_kind(lowcase, f->name.len);
        hidden = ngx_http_gateway_cache_hidden(r, lowcase, f->name.len, kind);

        if (r->headers_out.location
            && r->headers_out.location->value.data == f->value.data)
        {
            kind = NGX_HTTP_GATEWAY_CACHE_LOCATION;
        }

        p = ngx_http_gateway_cache_write(p, f, kind, hidden);

        (*n)++;
    }

    text->len = p - text->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_adopt(ngx_pool_t *pool, gw_str_t fields,
    ngx_str_t *text, ngx_uint_t *n)
{
    u_char           *p;
    size_t            len;
    gw_str_t          left;
    ngx_uint_t        kind;
    gw_field_t        plain;
    gw_fields_t       none;
    gw_wire_field_t   f;

    static ngx_str_t  location[] = {
        ngx_string("location"), ngx_null_string
    };

    len = 0;
    left = fields;

    while (gw_wire_field(&left, &f)) {
        len += sizeof(ngx_http_gateway_cache_head_t) + 2 * f.name.len
               + f.value.len + 1;
    }

    p = ngx_pnalloc(pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *n = 0;

    ngx_memzero(&none, sizeof(none));

    while (gw_wire_field(&fields, &f)) {

        if (!gw_cache_keeps(none, f.name)) {
            return NGX_DECLINED;
        }

        ngx_strlow(p, (u_char *) f.name.data, f.name.len);
        kind = ngx_http_gateway_cache_kind(p, f.name.len);

        if ((f.mark & 0x7f) == NGX_HTTP_GATEWAY_CACHE_LOCATION) {
            ngx_str_t  name = { f.name.len, p };

            if (!ngx_http_gateway_cache_is_one_of(&name, location)) {
                return NGX_DECLINED;
            }

            kind = NGX_HTTP_GATEWAY_CACHE_LOCATION;
        }

        plain.name = f.name;
        plain.value = f.value;

        p = ngx_http_gateway_cache_write(p, &plain, kind, f.mark >> 7);

        (*n)++;
    }

    text->len = p - text->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_decode(ngx_pool_t *pool, ngx_str_t *text, ngx_uint_t n,
    ngx_http_gateway_cache_fields_t *fields)
{
    u_char                         *p, *last;
    ngx_uint_t                      i;
    gw_field_t                     *f;
    ngx_http_gateway_cache_head_t   head;
    ngx_http_gateway_cache_hint_t  *hint;

    f = ngx_palloc(pool, (n + 1) * (sizeof(*f) + sizeof(*hint)));
    if (f == NULL) {
        return NGX_ERROR;
    }

    hint = (ngx_http_gateway_cache_hint_t *) (f + n + 1);

    fields->fields = f;
    fields->hints = hint;
    fields->n = n;

    p = text->data;
    last = p + text->len;

    for (i = 0; i < n; i++, f++, hint++) {

        if ((size_t) (last - p) < sizeof(head)) {
            return NGX_ERROR;
        }

        ngx_memcpy(&head, p, sizeof(head));
        p += sizeof(head);

        if ((size_t) (last - p)
            < 2 * (size_t) head.name_len + head.value_len + 1)
        {
            return NGX_ERROR;
        }

        f->name.data = p;
        f->name.len = head.name_len;
        p += head.name_len;

        hint->lowcase = p;
        hint->kind = head.kind;
        hint->hidden = head.hidden;
        p += head.name_len;

        f->value.data = p;
        f->value.len = head.value_len;
        p += head.value_len + 1;
    }

    return NGX_OK;
}


/* --- the request's -------------------------------------------------------- */

static ngx_int_t
ngx_http_gateway_cache_condition(ngx_http_request_t *r, ngx_str_t *name,
    char *lowcase, gw_str_t value)
{
    ngx_table_elt_t  *h;

    if (value.data == NULL) {
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(*h));

    h->key = *name;
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, name->len);

    /* it may outlive what it points to where upstream is asked again */

    h->value.len = value.len;
    h->value.data = ngx_pnalloc(r->pool, value.len + 1);
    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(h->value.data, value.data, value.len);
    h->value.data[value.len] = '\0';

    return NGX_OK;
}


/* A list of its own, so that the client's stays as it is. */

static ngx_int_t
ngx_http_gateway_cache_copy_without(ngx_http_gateway_cache_ctx_t *ctx,
    ngx_str_t *names)
{
    ngx_uint_t           i;
    ngx_list_t          *from;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h, *to;
    ngx_http_request_t  *r;

    r = ctx->request;
    from = &ctx->saved->headers_in.headers;

    if (ngx_list_init(&r->headers_in.headers, r->pool,
                      ngx_http_gateway_cache_count(from) + 2,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (part = &from->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ngx_http_gateway_cache_is_one_of(&h[i].key, names)) {
                continue;
            }

            to = ngx_list_push(&r->headers_in.headers);
            if (to == NULL) {
                return NGX_ERROR;
            }

            *to = h[i];
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_cache_strip(ngx_http_gateway_cache_ctx_t *ctx)
{
    gw_fields_t            stored;
    ngx_http_request_t    *r;
    gw_cache_conditions_t  c;

    static ngx_str_t  none_match = ngx_string("If-None-Match");
    static ngx_str_t  modified_since = ngx_string("If-Modified-Since");

    /* the first two are for the server that has the resource, and would only
     * spoil the answer to our own conditions */

    static ngx_str_t  names[] = {
        ngx_string("if-match"),
        ngx_string("if-unmodified-since"),
        ngx_string("range"),
        ngx_string("if-range"),
        ngx_string("if-none-match"),
        ngx_string("if-modified-since"),
        ngx_null_string
    };

    r = ctx->request;

    if (ctx->stripped) {
        return NGX_OK;
    }

    ctx->saved->headers_in = r->headers_in;
    ctx->stripped = 1;

    if (ngx_http_gateway_cache_copy_without(ctx, ctx->conditional ? names
                                                                  : &names[2])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;
    r->headers_in.if_none_match = NULL;
    r->headers_in.if_modified_since = NULL;

    if (!ctx->conditional) {
        return NGX_OK;
    }

    r->headers_in.if_match = NULL;
    r->headers_in.if_unmodified_since = NULL;

    stored.fields = ctx->stored.fields;
    stored.n = ctx->stored.n;

    gw_cache_conditions(&c, &ctx->meta.policy, stored);

    if (ngx_http_gateway_cache_condition(r, &none_match, "if-none-match",
                                         c.if_none_match)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_cache_condition(r, &modified_since,
                                            "if-modified-since",
                                            c.if_modified_since);
}


void
ngx_http_gateway_cache_restore(ngx_http_gateway_cache_ctx_t *ctx)
{
    ngx_http_headers_in_t  *in, *saved;

    if (!ctx->stripped) {
        return;
    }

    ctx->stripped = 0;

    in = &ctx->request->headers_in;
    saved = &ctx->saved->headers_in;

    in->headers = saved->headers;

    if (in->headers.part.next == NULL) {
        in->headers.last = &in->headers.part;
    }

    in->range = saved->range;
    in->if_range = saved->if_range;
    in->if_none_match = saved->if_none_match;
    in->if_modified_since = saved->if_modified_since;
    in->if_match = saved->if_match;
    in->if_unmodified_since = saved->if_unmodified_since;
}
