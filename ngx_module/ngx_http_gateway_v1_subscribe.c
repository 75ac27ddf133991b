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


/* What a subscribe asks for. Its channels are found by their names through
 * buckets, so that time does not grow with the square of a message. */

#define NGX_HTTP_GATEWAY_BUCKETS  256

typedef struct ngx_http_gateway_asked_s  ngx_http_gateway_asked_t;

struct ngx_http_gateway_asked_s {
    ngx_http_gateway_asked_t    *next;       /* of its bucket */
    ngx_str_t                    name;
    gw_str_t                     text;       /* as written */
    ngx_uint_t                   forbidden;
    ngx_http_gateway_join_t      join;
};

typedef struct {
    ngx_pool_t                  *pool;
    gw_json_t                    resources;
    gw_json_t                    since;
    ngx_uint_t                   no_echo;
    ngx_array_t                  asked;      /* of pointers */
    ngx_array_t                  names;      /* ngx_str_t, of those allowed */
    ngx_array_t                  joined;     /* ngx_http_gateway_joined_t */
    ngx_array_t                  forbidden;  /* gw_str_t, as written */
    ngx_array_t                  failed;
    ngx_http_gateway_asked_t    *bucket[NGX_HTTP_GATEWAY_BUCKETS];
} ngx_http_gateway_v1_subscribe_t;


static char  ngx_http_gateway_v1_no_memory[] = "no memory";
static char  ngx_http_gateway_v1_later[] = "";  /* it comes again */


static ngx_http_gateway_asked_t **
ngx_http_gateway_v1_find(ngx_http_gateway_v1_subscribe_t *sub,
    ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_gateway_asked_t  **a;

    i = ngx_crc32_short(name->data, name->len) % NGX_HTTP_GATEWAY_BUCKETS;

    for (a = &sub->bucket[i]; *a; a = &(*a)->next) {
        if ((*a)->name.len == name->len
            && ngx_memcmp((*a)->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return a;
}


/* Adds the resources; one that is named twice counts once. NULL, or what is
 * wrong. */

static char *
ngx_http_gateway_v1_resources(ngx_http_gateway_v1_subscribe_t *sub)
{
    u_char                       buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    gw_json_t                    value;
    ngx_str_t                    name;
    ngx_uint_t                   n;
    const unsigned char         *it;
    ngx_http_gateway_asked_t   **place, **asked, *a;

    n = 0;
    it = NULL;

    while (gw_json_next(&sub->resources, &it, NULL, &value)) {

        if (ngx_http_gateway_v1_name(&value, buf, &name) != NGX_OK) {
            return "a resource is not a channel's name";
        }

        if (++n > NGX_HTTP_GATEWAY_MAX_RESOURCES) {
            return "more than 1000 resources";
        }

        place = ngx_http_gateway_v1_find(sub, &name);

        if (*place) {
            continue;
        }

        a = ngx_pcalloc(sub->pool, sizeof(*a));
        asked = ngx_array_push(&sub->asked);

        if (a == NULL || asked == NULL) {
            return ngx_http_gateway_v1_no_memory;
        }

        a->name.data = ngx_pstrdup(sub->pool, &name);
        if (a->name.data == NULL) {
            return ngx_http_gateway_v1_no_memory;
        }

        a->name.len = name.len;
        a->text = value.text;
        a->join.no_echo = sub->no_echo;

        *place = a;
        *asked = a;
    }

    return n ? NULL : "\"resources\" is empty";
}


/* {sequenceNumber, epoch}. NGX_DECLINED: malformed. */

static ngx_int_t
ngx_http_gateway_v1_since_one(gw_json_t *at, ngx_http_gateway_join_t *join)
{
    gw_json_t  v[2];

    static const gw_str_t  names[] = {
        { (u_char *) "sequenceNumber", 14 },
        { (u_char *) "epoch", 5 }
    };

    gw_json_members(at, names, v, 2);

    if (gw_json_uint(&v[0], &join->since) != GW_OK
        || v[1].type != GW_JSON_STRING)
    {
        return NGX_DECLINED;
    }

    join->recover = 1;

    /* an epoch has no escapes; another length is another epoch */

    if (v[1].text.len == GW_EPOCH_LEN + 2) {
        ngx_memcpy(join->epoch, v[1].text.data + 1, GW_EPOCH_LEN);

    } else {
        ngx_memzero(join->epoch, GW_EPOCH_LEN);
    }

    return NGX_OK;
}


/* since: {resource: {sequenceNumber, epoch}}; others than those asked for may
 * stand there. NULL, or what is wrong. */

static char *
ngx_http_gateway_v1_since(ngx_http_gateway_v1_subscribe_t *sub)
{
    u_char                       buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    gw_json_t                    key, value;
    ngx_str_t                    name;
    const unsigned char         *it;
    ngx_http_gateway_asked_t   **a;

    it = NULL;

    while (gw_json_next(&sub->since, &it, &key, &value)) {

        if (ngx_http_gateway_v1_name(&key, buf, &name) != NGX_OK) {
            continue;
        }

        a = ngx_http_gateway_v1_find(sub, &name);

        if (*a
            && ngx_http_gateway_v1_since_one(&value, &(*a)->join) != NGX_OK)
        {
            return "\"since\" needs a sequenceNumber and an epoch for a "
                   "resource";
        }
    }

    return NULL;
}


/* NULL, or what is wrong. */

static char *
ngx_http_gateway_v1_subscribe_options(gw_json_t *payload,
    ngx_http_gateway_v1_subscribe_t *sub)
{
    gw_json_t  v[6];

    static const gw_str_t  names[] = {
        { (u_char *) "resources", 9 },
        { (u_char *) "since", 5 },
        { (u_char *) "echo", 4 },
        { (u_char *) "filters", 7 },
        { (u_char *) "throttle", 8 },
        { (u_char *) "batch", 5 }
    };

    gw_json_members(payload, names, v, 6);

    sub->resources = v[0];
    sub->since = v[1];

    if (sub->resources.type != GW_JSON_ARRAY) {
        return "\"resources\" is not an array";
    }

    if (v[3].text.len || v[4].text.len || v[5].text.len) {
        return "\"filters\", \"throttle\" and \"batch\" are not supported by "
               "this version";
    }

    if (sub->since.type != GW_JSON_OBJECT
        && sub->since.type != GW_JSON_NULL)
    {
        return "\"since\" is not an object";
    }

    if (v[2].text.len
        && v[2].type != GW_JSON_TRUE && v[2].type != GW_JSON_FALSE)
    {
        return "\"echo\" is not true or false";
    }

    sub->no_echo = (v[2].type == GW_JSON_FALSE);

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


static ngx_int_t
ngx_http_gateway_v1_subscribe_check(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub, ngx_http_gateway_asked_t *asked)
{
    ngx_str_t  *name;

    /* what was joined unasked may be asked for again, with options */

    if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_SUBSCRIBE,
                                  &asked->name)
        && !ngx_http_gateway_client_joined(&ws->client, &asked->name))
    {
        asked->forbidden = 1;
        return ngx_http_gateway_v1_push(&sub->forbidden, &asked->text);
    }

    name = ngx_array_push(&sub->names);
    if (name == NULL) {
        return NGX_ERROR;
    }

    *name = asked->name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_v1_subscribe_one(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub, ngx_http_gateway_asked_t *asked)
{
    ngx_http_gateway_joined_t  *j;

    if (asked->forbidden) {
        return NGX_OK;
    }

    j = ngx_array_push(&sub->joined);
    if (j == NULL) {
        return NGX_ERROR;
    }

    j->name = asked->name;

    if (ngx_http_gateway_client_join(&ws->client, ws->conf->zone, &j->name,
                                     &asked->join, &j->info, &j->recovered)
        != NGX_OK)
    {
        sub->joined.nelts--;
        return ngx_http_gateway_v1_push(&sub->failed, &asked->text);
    }

    return NGX_OK;
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


static ngx_int_t
ngx_http_gateway_v1_subscribe_init(ngx_http_gateway_v1_subscribe_t *sub,
    ngx_pool_t *pool)
{
    ngx_memzero(sub, sizeof(*sub));
    sub->pool = pool;

    if (ngx_array_init(&sub->asked, pool, 4,
                       sizeof(ngx_http_gateway_asked_t *)) != NGX_OK
        || ngx_array_init(&sub->names, pool, 4, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&sub->joined, pool, 4,
                          sizeof(ngx_http_gateway_joined_t)) != NGX_OK
        || ngx_array_init(&sub->forbidden, pool, 4, sizeof(gw_str_t)) != NGX_OK
        || ngx_array_init(&sub->failed, pool, 4, sizeof(gw_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_gateway_v1_subscribe_answer(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub, gw_str_t *request_id)
{
    if (sub->joined.nelts) {
        ngx_http_gateway_v1_subscribed(ws, sub->joined.elts,
                                       sub->joined.nelts, request_id);
    }

    if (sub->forbidden.nelts) {
        ngx_http_gateway_v1_refused(ws, "forbidden",
                                    "subscribing is not allowed",
                                    &sub->forbidden, sub->pool, request_id);
    }

    if (sub->failed.nelts) {
        ngx_http_gateway_v1_refused(ws, "unavailable", "the zone is full",
                                    &sub->failed, sub->pool, request_id);
    }
}


/* Which of them are allowed, and whether those are in step. NULL, or what is
 * wrong. */

static char *
ngx_http_gateway_v1_subscribe_sync(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_http_gateway_asked_t  **asked;

    asked = sub->asked.elts;

    for (i = 0; i < sub->asked.nelts; i++) {
        if (ngx_http_gateway_v1_subscribe_check(ws, sub, asked[i])
            != NGX_OK)
        {
            return ngx_http_gateway_v1_no_memory;
        }
    }

    if (sub->names.nelts == 0) {
        return NULL;
    }

    rc = ngx_http_gateway_websocket_sync(ws, sub->names.elts,
                                         sub->names.nelts);

    if (rc == NGX_AGAIN) {
        return ngx_http_gateway_v1_later;
    }

    return rc == NGX_OK ? NULL : ngx_http_gateway_v1_no_memory;
}


/* All is checked before any is joined: a malformed request does nothing. */

static char *
ngx_http_gateway_v1_subscribe_all(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_v1_subscribe_t *sub, gw_json_t *payload)
{
    char                       *err;
    ngx_uint_t                  i;
    ngx_http_gateway_asked_t  **asked;

    err = ngx_http_gateway_v1_subscribe_options(payload, sub);

    if (err == NULL) {
        err = ngx_http_gateway_v1_resources(sub);
    }

    if (err == NULL) {
        err = ngx_http_gateway_v1_since(sub);
    }

    if (err == NULL) {
        err = ngx_http_gateway_v1_subscribe_sync(ws, sub);
    }

    if (err) {
        return err;
    }

    asked = sub->asked.elts;

    for (i = 0; i < sub->asked.nelts; i++) {
        if (ngx_http_gateway_v1_subscribe_one(ws, sub, asked[i]) != NGX_OK) {
            return ngx_http_gateway_v1_no_memory;
        }
    }

    return NULL;
}


void
ngx_http_gateway_v1_subscribe(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    char                             *err;
    ngx_pool_t                       *pool;
    ngx_http_gateway_v1_subscribe_t   sub;

    pool = ngx_create_pool(1024, ws->client.connection->log);

    if (pool == NULL
        || ngx_http_gateway_v1_subscribe_init(&sub, pool) != NGX_OK)
    {
        err = ngx_http_gateway_v1_no_memory;

    } else {
        err = ngx_http_gateway_v1_subscribe_all(ws, &sub, payload);
    }

    if (err == NULL) {
        ngx_http_gateway_v1_subscribe_answer(ws, &sub, request_id);

    } else if (err == ngx_http_gateway_v1_no_memory) {
        ngx_http_gateway_v1_error(ws, "unavailable", err, NULL, request_id);

    } else if (err != ngx_http_gateway_v1_later) {
        ngx_http_gateway_v1_bad(ws, err, request_id);
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
    ngx_uint_t                n;
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

    n = 0;
    it = NULL;

    while (gw_json_next(&resources, &it, NULL, &value)) {

        if (ngx_http_gateway_v1_name(&value, buf, &name) != NGX_OK) {
            ngx_http_gateway_v1_bad(ws, "a resource is not a channel's name",
                                    request_id);
            return;
        }

        if (++n > NGX_HTTP_GATEWAY_MAX_RESOURCES) {
            ngx_http_gateway_v1_bad(ws, "more than 1000 resources",
                                    request_id);
            return;
        }
    }

    it = NULL;

    while (gw_json_next(&resources, &it, NULL, &value)) {
        (void) ngx_http_gateway_v1_name(&value, buf, &name);
        (void) ngx_http_gateway_client_leave(&ws->client, &name);
    }

    t = ngx_http_gateway_v1_begin("unsubscribed");

    ngx_http_gateway_text_literal(t, "{\"resources\":");
    ngx_http_gateway_text_add(t, resources.text.data, resources.text.len);
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, request_id);
}
