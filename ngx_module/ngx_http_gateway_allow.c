/*
 * What a client may subscribe to and publish on: gateway_subscribe_allow,
 * gateway_publish_allow, gateway_channel_claim.
 *
 * A list of patterns is a block of bytes: each compiled pattern behind its
 * length in two bytes. Patterns without variables are one block for all,
 * made when the configuration is read; the others are evaluated once, when a
 * client connects, and kept as one more block with it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel_conf.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_jwt.h"
#include "ngx_http_gateway_text.h"
#include "../src/pattern.h"


#define NGX_HTTP_GATEWAY_PATTERN_MAX  1024  /* bytes of one pattern */
#define NGX_HTTP_GATEWAY_CLAIM_MAX    1024  /* patterns of one claim */


static char *ngx_http_gateway_allow_pattern(ngx_conf_t *cf,
    ngx_http_gateway_allow_conf_t *conf, ngx_str_t *value);


static ngx_int_t
ngx_http_gateway_allow_add(u_char **block, size_t *len, u_char *pattern,
    size_t n, ngx_log_t *log)
{
    u_char  *p;

    p = ngx_alloc(*len + 2 + n, log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (*block) {
        ngx_memcpy(p, *block, *len);
        ngx_free(*block);
    }

    p[*len] = (u_char) (n >> 8);
    p[*len + 1] = (u_char) n;
    ngx_memcpy(p + *len + 2, pattern, n);

    *block = p;
    *len += 2 + n;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_gateway_allow_match(u_char *p, size_t len, gw_str_t name)
{
    u_char    *end;
    gw_str_t   pattern;

    for (end = p + len; p < end; p += pattern.len) {
        pattern.len = p[0] << 8 | p[1];
        p += 2;
        pattern.data = p;

        if (gw_pattern_match(pattern, name)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_gateway_allowed(ngx_http_gateway_allow_t *allow, ngx_uint_t what,
    ngx_str_t *name)
{
    gw_str_t                              n;
    ngx_http_gateway_allow_conf_t        *fixed;
    ngx_http_gateway_allow_lists_t       *lists;
    ngx_http_gateway_channel_loc_conf_t  *conf;

    if (ngx_http_gateway_revoke_channel(name)) {
        /* whatever the patterns say */
        return 0;
    }

    n.data = name->data;
    n.len = name->len;

    conf = allow->conf;
    fixed = conf->allow[what];

    if (fixed
        && ngx_http_gateway_allow_match(fixed->fixed, fixed->fixed_len, n))
    {
        return 1;
    }

    lists = allow->lists;

    return lists
           && (ngx_http_gateway_allow_match(lists->own[what],
                                            lists->own_len[what], n)
               || ngx_http_gateway_allow_match(lists->claim[what],
                                               lists->claim_len[what], n));
}


void
ngx_http_gateway_allow_free(ngx_http_gateway_allow_t *allow)
{
    ngx_uint_t                       i;
    ngx_http_gateway_allow_lists_t  *lists;

    lists = allow->lists;
    allow->lists = NULL;

    if (lists == NULL) {
        return;
    }

    for (i = 0; i < 2; i++) {
        if (lists->own[i]) {
            ngx_free(lists->own[i]);
        }

        if (lists->claim[i]) {
            ngx_free(lists->claim[i]);
        }
    }

    ngx_free(lists);
}


char *
ngx_http_gateway_allow_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_gateway_allow_conf_t  **allow, *a;

    allow = (ngx_http_gateway_allow_conf_t **) (p + cmd->offset);

    if (*allow == NGX_CONF_UNSET_PTR) {
        a = ngx_pcalloc(cf->pool, sizeof(*a));
        if (a == NULL
            || ngx_array_init(&a->dynamic, cf->pool, 2, sizeof(ngx_array_t))
               != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        *allow = a;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_gateway_allow_pattern(cf, *allow, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_allow_text(ngx_conf_t *cf, ngx_array_t *pieces, u_char *data,
    size_t len)
{
    gw_str_t                         text;
    ngx_http_gateway_allow_piece_t  *piece;

    if (len == 0) {
        return NGX_OK;
    }

    piece = ngx_array_push(pieces);
    if (piece == NULL) {
        return NGX_ERROR;
    }

    piece->variable = -1;
    piece->text.data = ngx_pnalloc(cf->pool, len);
    if (piece->text.data == NULL) {
        return NGX_ERROR;
    }

    text.data = data;
    text.len = len;
    piece->text.len = gw_pattern_compile(piece->text.data, text);

    return NGX_OK;
}


/* The name behind a '$': up to where it ends, braces or not. */

static u_char *
ngx_http_gateway_allow_name(u_char *p, u_char *end, ngx_str_t *name)
{
    ngx_uint_t  brace;

    brace = (p < end && *p == '{');
    p += brace;
    name->data = p;

    while (p < end
           && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
               || (*p >= '0' && *p <= '9') || *p == '_'))
    {
        p++;
    }

    name->len = p - name->data;

    if (name->len == 0 || (*name->data >= '0' && *name->data <= '9')
        || (brace && (p == end || *p != '}')))
    {
        return NULL;
    }

    return p + brace;
}


/* Cuts a pattern into text and variables. */

static char *
ngx_http_gateway_allow_pieces(ngx_conf_t *cf, ngx_array_t *pieces,
    ngx_str_t *value)
{
    u_char                          *p, *start, *end;
    ngx_str_t                        name;
    ngx_http_gateway_allow_piece_t  *piece;

    end = value->data + value->len;

    for (start = p = value->data; p < end; /* void */) {

        if (*p != '$') {
            p++;
            continue;
        }

        if (ngx_http_gateway_allow_text(cf, pieces, start, p - start)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        p = ngx_http_gateway_allow_name(p + 1, end, &name);

        if (p == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid variable in pattern \"%V\", $name or "
                               "${name} is accepted (for a group of a regular "
                               "expression a named one)", value);
            return NGX_CONF_ERROR;
        }

        piece = ngx_array_push(pieces);
        if (piece == NULL) {
            return NGX_CONF_ERROR;
        }

        piece->variable = ngx_http_get_variable_index(cf, &name);
        if (piece->variable == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        start = p;
    }

    return ngx_http_gateway_allow_text(cf, pieces, start, p - start) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* Adds a compiled pattern to those that need no request. */

static char *
ngx_http_gateway_allow_fixed(ngx_conf_t *cf,
    ngx_http_gateway_allow_conf_t *conf, ngx_str_t *text)
{
    u_char  *p, *block;

    block = ngx_pnalloc(cf->pool, conf->fixed_len + 2 + text->len);
    if (block == NULL) {
        return NGX_CONF_ERROR;
    }

    p = block;

    if (conf->fixed_len) {
        p = ngx_cpymem(p, conf->fixed, conf->fixed_len);
    }

    *p++ = (u_char) (text->len >> 8);
    *p++ = (u_char) text->len;
    p = ngx_cpymem(p, text->data, text->len);

    conf->fixed = block;
    conf->fixed_len = p - block;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_allow_pattern(ngx_conf_t *cf,
    ngx_http_gateway_allow_conf_t *conf, ngx_str_t *value)
{
    ngx_array_t                      pieces, *dynamic;
    ngx_http_gateway_allow_piece_t  *piece;

    if (value->len == 0 || value->len > NGX_HTTP_GATEWAY_PATTERN_MAX) {
        /* nginx cuts messages off: a long one must not hide the advice */
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid pattern \"%*s\", 1 to %d characters are "
                           "accepted, such as \"news:*\"",
                           ngx_min(value->len, (size_t) 256), value->data,
                           NGX_HTTP_GATEWAY_PATTERN_MAX);
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&pieces, cf->pool, 2, sizeof(*piece)) != NGX_OK
        || ngx_http_gateway_allow_pieces(cf, &pieces, value) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    piece = pieces.elts;

    if (pieces.nelts == 1 && piece->variable < 0) {
        return ngx_http_gateway_allow_fixed(cf, conf, &piece->text);
    }

    dynamic = ngx_array_push(&conf->dynamic);
    if (dynamic == NULL) {
        return NGX_CONF_ERROR;
    }

    *dynamic = pieces;

    return NGX_CONF_OK;
}


/* NGX_DECLINED: the pattern matches nothing for this request. */

static ngx_int_t
ngx_http_gateway_allow_evaluate(ngx_http_request_t *r, ngx_array_t *pieces,
    u_char *out, size_t *len)
{
    size_t                           n;
    gw_str_t                         value;
    ngx_uint_t                       i;
    ngx_http_variable_value_t       *vv;
    ngx_http_gateway_allow_piece_t  *piece;

    *len = 0;
    piece = pieces->elts;

    for (i = 0; i < pieces->nelts; i++) {

        if (piece[i].variable < 0) {
            n = piece[i].text.len;

            if (*len + n > NGX_HTTP_GATEWAY_PATTERN_MAX) {
                return NGX_DECLINED;
            }

            ngx_memcpy(out + *len, piece[i].text.data, n);
            *len += n;
            continue;
        }

        vv = ngx_http_get_flushed_variable(r, piece[i].variable);

        if (vv == NULL || vv->not_found
            || *len + vv->len > NGX_HTTP_GATEWAY_PATTERN_MAX)
        {
            return NGX_DECLINED;
        }

        value.data = vv->data;
        value.len = vv->len;

        if (gw_pattern_literal(out + *len, &n, value) != GW_OK) {
            return NGX_DECLINED;
        }

        *len += n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_allow_dynamic(ngx_http_request_t *r,
    ngx_http_gateway_allow_conf_t *conf, u_char **block, size_t *block_len)
{
    size_t        len;
    u_char        pattern[NGX_HTTP_GATEWAY_PATTERN_MAX];
    ngx_uint_t    i;
    ngx_array_t  *dynamic;

    if (conf == NULL) {
        return NGX_OK;
    }

    dynamic = conf->dynamic.elts;

    for (i = 0; i < conf->dynamic.nelts; i++) {

        if (ngx_http_gateway_allow_evaluate(r, &dynamic[i], pattern, &len)
            != NGX_OK)
        {
            continue;
        }

        if (ngx_http_gateway_allow_add(block, block_len, pattern, len,
                                       r->connection->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_allow_array(ngx_http_request_t *r, gw_json_t *array,
    u_char **block, size_t *block_len)
{
    size_t                n;
    u_char                buf[NGX_HTTP_GATEWAY_PATTERN_MAX];
    u_char                pattern[NGX_HTTP_GATEWAY_PATTERN_MAX];
    gw_str_t              text;
    gw_json_t             item;
    ngx_uint_t            i;
    const unsigned char  *it;

    if (array->type != GW_JSON_ARRAY) {
        return NGX_OK;
    }

    it = NULL;

    for (i = 0;
         i < NGX_HTTP_GATEWAY_CLAIM_MAX && gw_json_next(array, &it, NULL,
                                                        &item);
         i++)
    {
        if (item.type != GW_JSON_STRING || item.text.len > sizeof(buf)) {
            continue;
        }

        text.data = buf;
        text.len = gw_json_string_decode(&item, buf);

        if (text.len == (size_t) -1 || text.len == 0) {
            continue;
        }

        n = gw_pattern_compile(pattern, text);

        if (ngx_http_gateway_allow_add(block, block_len, pattern, n,
                                       r->connection->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_gateway_allow_renew(ngx_http_request_t *r,
    ngx_http_gateway_allow_t *allow)
{
    u_char                               *block[2], *old;
    size_t                                len[2];
    gw_json_t                             payload, claim, lists[2];
    ngx_uint_t                            i;
    ngx_http_gateway_identity_t          *identity;
    ngx_http_gateway_channel_loc_conf_t  *conf;

    if (allow->lists == NULL) {
        return NGX_OK;
    }

    conf = allow->conf;
    identity = ngx_http_gateway_jwt_identity(r);

    ngx_memzero(&claim, sizeof(claim));

    if (conf->claim.len && identity
        && gw_json_parse(identity->payload, &payload) == GW_OK)
    {
        (void) gw_json_member(&payload, ngx_http_gateway_span(&conf->claim),
                              &claim);
    }

    ngx_memzero(lists, sizeof(lists));

    if (claim.type == GW_JSON_ARRAY) {
        lists[NGX_HTTP_GATEWAY_SUBSCRIBE] = claim;

    } else if (claim.type == GW_JSON_OBJECT) {
        (void) gw_json_member(&claim, gw_str("subscribe"),
                              &lists[NGX_HTTP_GATEWAY_SUBSCRIBE]);
        (void) gw_json_member(&claim, gw_str("publish"),
                              &lists[NGX_HTTP_GATEWAY_PUBLISH]);
    }

    ngx_memzero(block, sizeof(block));
    ngx_memzero(len, sizeof(len));

    for (i = 0; i < 2; i++) {
        if (ngx_http_gateway_allow_array(r, &lists[i], &block[i], &len[i])
            != NGX_OK)
        {
            ngx_free(block[0]);
            ngx_free(block[1]);
            return NGX_ERROR;
        }
    }

    for (i = 0; i < 2; i++) {
        old = allow->lists->claim[i];

        allow->lists->claim[i] = block[i];
        allow->lists->claim_len[i] = len[i];

        if (old) {
            ngx_free(old);
        }
    }

    return NGX_OK;
}


/* Whether anything depends on the request or its token. */

static ngx_uint_t
ngx_http_gateway_allow_depends(ngx_http_gateway_channel_loc_conf_t *conf)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (conf->allow[i] && conf->allow[i]->dynamic.nelts) {
            return 1;
        }
    }

    return conf->claim.len != 0;
}


ngx_int_t
ngx_http_gateway_allow_init(ngx_http_request_t *r,
    ngx_http_gateway_allow_t *allow)
{
    ngx_uint_t                            i;
    ngx_http_gateway_allow_lists_t       *lists;
    ngx_http_gateway_channel_loc_conf_t  *conf;

    ngx_http_gateway_allow_free(allow);

    conf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_channel_module);
    allow->conf = conf;

    if (!ngx_http_gateway_allow_depends(conf)) {
        return NGX_OK;
    }

    lists = ngx_calloc(sizeof(*lists), r->connection->log);
    if (lists == NULL) {
        return NGX_ERROR;
    }

    allow->lists = lists;

    for (i = 0; i < 2; i++) {
        if (ngx_http_gateway_allow_dynamic(r, conf->allow[i], &lists->own[i],
                                           &lists->own_len[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_gateway_allow_renew(r, allow);
}


ngx_int_t
ngx_http_gateway_channel_name(ngx_http_request_t *r, ngx_str_t *name)
{
    gw_str_t                              n;
    ngx_http_gateway_channel_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_gateway_channel_module);

    ngx_str_null(name);

    if (conf->channel == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, conf->channel, name) != NGX_OK) {
        return NGX_ERROR;
    }

    n.data = name->data;
    n.len = name->len;

    return name->len == 0 || gw_channel_name_valid(n) ? NGX_OK
                                                      : NGX_DECLINED;
}
