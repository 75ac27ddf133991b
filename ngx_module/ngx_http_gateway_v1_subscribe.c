/*
 * v1: subscribe and unsubscribe.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_websocket.h"
#include "../src/envelope.h"


#define NGX_HTTP_GATEWAY_MAX_RESOURCES  1000  /* of one subscribe */


void
ngx_http_gateway_v1_subscribed(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_joined_t *joined, ngx_uint_t n, gw_str_t *request_id)
{
    ngx_uint_t                i;
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("subscribed");

    ngx_http_gateway_text_literal(t, "{\"resources\":[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_gateway_text_literal(t, ",");
        }

        ngx_http_gateway_v1_state(t, &joined[i].name, &joined[i].info);
        ngx_http_gateway_text_literal(t, ",\"recovered\":");

        if (joined[i].recovered) {
            ngx_http_gateway_text_literal(t, "true}");

        } else {
            ngx_http_gateway_text_literal(t, "false}");
        }
    }

    ngx_http_gateway_text_literal(t, "]}");
    ngx_http_gateway_v1_end(ws, t, request_id);
}


/* since: {resource: {sequenceNumber, epoch}}. NGX_DECLINED: malformed. */

static ngx_int_t
ngx_http_gateway_v1_since(gw_json_t *since, gw_str_t resource,
    ngx_http_gateway_join_t *join)
{
    gw_json_t  at, seq, epoch;

    join->recover = 0;

    if (gw_json_member(since, resource, &at) != GW_OK) {
        return NGX_OK;
    }

    if (gw_json_member(&at, gw_str("sequenceNumber"), &seq) != GW_OK
        || gw_json_uint(&seq, &join->since) != GW_OK
        || gw_json_member(&at, gw_str("epoch"), &epoch) != GW_OK
        || epoch.type != GW_JSON_STRING)
    {
        return NGX_DECLINED;
    }

    join->recover = 1;

    /* an epoch has no escapes; another length is another epoch */

    if (epoch.text.len == GW_EPOCH_LEN + 2) {
        ngx_memcpy(join->epoch, epoch.text.data + 1, GW_EPOCH_LEN);

    } else {
        ngx_memzero(join->epoch, GW_EPOCH_LEN);
    }

    return NGX_OK;
}


typedef struct {
    gw_json_t                    resources;
    gw_json_t                    since;
    ngx_http_gateway_join_t      join;
    ngx_array_t                  joined;     /* ngx_http_gateway_joined_t */
    ngx_array_t                  forbidden;  /* gw_str_t, as written */
    ngx_array_t                  failed;
} ngx_http_gateway_v1_subscribe_t;


/* NULL, or what is wrong. */

static char *
ngx_http_gateway_v1_subscribe_options(gw_json_t *payload,
    ngx_http_gateway_v1_subscribe_t *sub)
{
    gw_json_t  v;

    if (gw_json_member(payload, gw_str("resources"), &sub->resources) != GW_OK
        || sub->resources.type != GW_JSON_ARRAY)
    {
        return "\"resources\" is not an array";
    }

    if (gw_json_member(payload, gw_str("filters"), &v) == GW_OK
        || gw_json_member(payload, gw_str("throttle"), &v) == GW_OK
        || gw_json_member(payload, gw_str("batch"), &v) == GW_OK)
    {
        return "\"filters\", \"throttle\" and \"batch\" are not supported by "
               "this version";
    }

    sub->since.type = GW_JSON_NULL;

    if (gw_json_member(payload, gw_str("since"), &v) == GW_OK
        && v.type != GW_JSON_NULL)
    {
        if (v.type != GW_JSON_OBJECT) {
            return "\"since\" is not an object";
        }

        sub->since = v;
    }

    if (gw_json_member(payload, gw_str("echo"), &v) == GW_OK) {

        if (v.type != GW_JSON_TRUE && v.type != GW_JSON_FALSE) {
            return "\"echo\" is not true or false";
        }

        sub->join.no_echo = (v.type == GW_JSON_FALSE);
    }

    return NULL;
}


static ngx_int_t
ngx_http_gateway_v1_push(ngx_array_t *array, gw_str_t *text)
{
    gw_str_t  *s;

    s = ngx_array_push(array);
    if (s == NULL) {
        return NGX_ERROR;
    }

    *s = *text;

    return NGX_OK;
}


/* NULL, or what is wrong with the request. */

static char *
ngx_http_gateway_v1_subscribe_one(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub, gw_json_t *value, ngx_pool_t *pool)
{
    u_char                     *buf;
    ngx_int_t                   rc;
    ngx_http_gateway_joined_t  *j;

    buf = ngx_pnalloc(pool, value->text.len);
    j = ngx_array_push(&sub->joined);

    if (buf == NULL || j == NULL) {
        return "no memory";
    }

    if (ngx_http_gateway_v1_name(value, buf, &j->name) != NGX_OK) {
        return "a resource is not a channel's name";
    }

    if (ngx_http_gateway_v1_since(&sub->since,
                                  ngx_http_gateway_span(&j->name),
                                  &sub->join)
        != NGX_OK)
    {
        return "\"since\" needs a sequenceNumber and an epoch for a resource";
    }

    /* what was joined unasked may be asked for again, with options */

    if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_SUBSCRIBE,
                                  &j->name)
        && !ngx_http_gateway_client_joined(&ws->client, &j->name))
    {
        sub->joined.nelts--;
        return ngx_http_gateway_v1_push(&sub->forbidden, &value->text)
               == NGX_OK ? NULL : "no memory";
    }

    rc = ngx_http_gateway_client_join(&ws->client, ws->conf->zone, &j->name,
                                      &sub->join, &j->info, &j->recovered);
    if (rc != NGX_OK) {
        sub->joined.nelts--;
        return ngx_http_gateway_v1_push(&sub->failed, &value->text)
               == NGX_OK ? NULL : "no memory";
    }

    return NULL;
}


/* An error about several resources: details {"resources":[…]}. */

static void
ngx_http_gateway_v1_refused(ngx_http_gateway_websocket_t *ws, char *code,
    char *message, ngx_array_t *names, ngx_pool_t *pool, gw_str_t *request_id)
{
    size_t       len;
    u_char      *p;
    gw_str_t    *name;
    ngx_str_t    details;
    ngx_uint_t   i;

    name = names->elts;
    len = sizeof("{\"resources\":[]}");

    for (i = 0; i < names->nelts; i++) {
        len += name[i].len + 1;
    }

    details.data = ngx_pnalloc(pool, len);
    if (details.data == NULL) {
        return;
    }

    p = gw_copy(details.data, gw_str("{\"resources\":["));

    for (i = 0; i < names->nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = gw_copy(p, name[i]);
    }

    p = gw_copy(p, gw_str("]}"));
    details.len = p - details.data;

    ngx_http_gateway_v1_error(ws, code, message, &details, request_id);
}


/* Checks all before joining any: a malformed request does nothing. */

static char *
ngx_http_gateway_v1_subscribe_check(ngx_http_gateway_v1_subscribe_t *sub)
{
    u_char                buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    gw_json_t             value;
    ngx_str_t             name;
    ngx_uint_t            n;
    const unsigned char  *it;

    n = 0;
    it = NULL;

    while (gw_json_next(&sub->resources, &it, NULL, &value)) {

        if (ngx_http_gateway_v1_name(&value, buf, &name) != NGX_OK) {
            return "a resource is not a channel's name";
        }

        if (ngx_http_gateway_v1_since(&sub->since,
                                      ngx_http_gateway_span(&name),
                                      &sub->join)
            != NGX_OK)
        {
            return "\"since\" needs a sequenceNumber and an epoch for a "
                   "resource";
        }

        if (++n > NGX_HTTP_GATEWAY_MAX_RESOURCES) {
            return "more than 1000 resources";
        }
    }

    return n ? NULL : "\"resources\" is empty";
}


void
ngx_http_gateway_v1_subscribe(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    char                             *err;
    gw_json_t                         value;
    ngx_pool_t                       *pool;
    const unsigned char              *it;
    ngx_http_gateway_v1_subscribe_t   sub;

    ngx_memzero(&sub, sizeof(sub));

    err = ngx_http_gateway_v1_subscribe_options(payload, &sub);

    if (err == NULL) {
        err = ngx_http_gateway_v1_subscribe_check(&sub);
    }

    if (err) {
        ngx_http_gateway_v1_bad(ws, err, request_id);
        return;
    }

    pool = ngx_create_pool(1024, ws->client.connection->log);

    if (pool == NULL
        || ngx_array_init(&sub.joined, pool, 4,
                          sizeof(ngx_http_gateway_joined_t)) != NGX_OK
        || ngx_array_init(&sub.forbidden, pool, 4, sizeof(gw_str_t)) != NGX_OK
        || ngx_array_init(&sub.failed, pool, 4, sizeof(gw_str_t)) != NGX_OK)
    {
        err = "no memory";
    }

    it = NULL;

    while (err == NULL && gw_json_next(&sub.resources, &it, NULL, &value)) {
        err = ngx_http_gateway_v1_subscribe_one(ws, &sub, &value, pool);
    }

    if (err) {
        ngx_http_gateway_v1_error(ws, "unavailable", err, NULL,
                                  request_id);

    } else {

        if (sub.joined.nelts) {
            ngx_http_gateway_v1_subscribed(ws, sub.joined.elts,
                                           sub.joined.nelts,
                                           request_id);
        }

        if (sub.forbidden.nelts) {
            ngx_http_gateway_v1_refused(ws, "forbidden",
                                        "subscribing is not allowed",
                                        &sub.forbidden, pool,
                                        request_id);
        }

        if (sub.failed.nelts) {
            ngx_http_gateway_v1_refused(ws, "unavailable",
                                        "the zone is full", &sub.failed, pool,
                                        request_id);
        }
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_http_gateway_v1_unsubscribe(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    u_char                    buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    gw_json_t                 resources, value;
    ngx_str_t                 name;
    const unsigned char      *it;
    ngx_http_gateway_text_t  *t;

    if (gw_json_member(payload, gw_str("resources"), &resources)
        != GW_OK
        || resources.type != GW_JSON_ARRAY)
    {
        ngx_http_gateway_v1_bad(ws, "\"resources\" is not an array",
                                request_id);
        return;
    }

    it = NULL;

    while (gw_json_next(&resources, &it, NULL, &value)) {
        if (ngx_http_gateway_v1_name(&value, buf, &name) == NGX_OK) {
            (void) ngx_http_gateway_client_leave(&ws->client, &name);
        }
    }

    t = ngx_http_gateway_v1_begin("unsubscribed");

    ngx_http_gateway_text_literal(t, "{\"resources\":");
    ngx_http_gateway_text_add(t, resources.text.data, resources.text.len);
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, request_id);
}
