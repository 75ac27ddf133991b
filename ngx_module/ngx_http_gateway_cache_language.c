/*
 * gateway_cache: variants by language. Accept-Language is said in many ways
 * by clients that get the same text. Where a response varies by it alone and
 * has one Content-Language, it is also found by requests that clearly prefer
 * that language, whatever else they would take (RFC 9111, 4.1; RFC 9110,
 * 12.5.4).
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_cache_int.h"
#include "../src/http_field.h"


static ngx_int_t
ngx_http_gateway_cache_language(gw_str_t tag, u_char *text, size_t *len)
{
    u_char  *p;

    if (tag.len == 0 || tag.len > NGX_HTTP_GATEWAY_CACHE_LANGUAGE
        || !gw_http_token(tag) || (tag.len == 1 && tag.data[0] == '*'))
    {
        return NGX_DECLINED;
    }

    /* nothing that a variant's text could be */

    p = ngx_cpymem(text, "content-language=", 17);
    ngx_strlow(p, (u_char *) tag.data, tag.len);

    *len = 17 + tag.len;

    return NGX_OK;
}


/* Thousandths; -1: it cannot be read. */

static ngx_int_t
ngx_http_gateway_cache_weight(gw_str_t s)
{
    ngx_int_t  q;

    s = gw_http_trim(s);

    if (s.len < 3 || (s.data[0] | 0x20) != 'q' || s.data[1] != '=') {
        return -1;
    }

    q = ngx_atofp((u_char *) s.data + 2, s.len - 2, 3);

    return (q == NGX_ERROR || q > 1000) ? -1 : q;
}


ngx_int_t
ngx_http_gateway_cache_preferred(gw_fields_t request, u_char *text,
    size_t *len)
{
    u_char        *p;
    gw_str_t       member, rest, tag;
    ngx_int_t      q, best;
    ngx_uint_t     tied;
    gw_members_t   m;

    best = 0;
    tied = 0;
    tag.data = NULL;
    tag.len = 0;

    gw_members_init(&m, request, gw_str("accept-language"));

    while (gw_members_next(&m, &member)) {
        q = 1000;

        p = ngx_strlchr((u_char *) member.data,
                        (u_char *) member.data + member.len, ';');
        if (p) {
            rest.data = p + 1;
            rest.len = member.data + member.len - rest.data;
            q = ngx_http_gateway_cache_weight(rest);

            member.len = p - member.data;
            member = gw_http_trim(member);
        }

        if (q < 0) {
            return NGX_DECLINED;
        }

        if (q > best) {
            best = q;
            tag = member;
            tied = 0;

        } else if (q == best) {
            tied = 1;
        }
    }

    return tied ? NGX_DECLINED
                : ngx_http_gateway_cache_language(tag, text, len);
}


ngx_int_t
ngx_http_gateway_cache_written(gw_str_t spec, gw_fields_t response,
    u_char *text, size_t *len)
{
    gw_str_t      tag, other;
    gw_members_t  m;

    if (!gw_field_is(spec, gw_str("accept-language"))) {
        return NGX_DECLINED;
    }

    gw_members_init(&m, response, gw_str("content-language"));

    if (!gw_members_next(&m, &tag) || gw_members_next(&m, &other)) {
        return NGX_DECLINED;
    }

    return ngx_http_gateway_cache_language(tag, text, len);
}
