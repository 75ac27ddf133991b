/*
 * The v1 protocol: JSON messages over a WebSocket.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>

#include "ngx_http_gateway_websocket.h"
#include "ngx_http_gateway_cache.h"
#include "../src/envelope.h"


typedef struct {
    gw_json_t    message;
    gw_json_t    payload;
    gw_str_t     request_id;     /* as written; len 0 without one */
} ngx_http_gateway_v1_request_t;

typedef void (*ngx_http_gateway_v1_handler_pt)(
    ngx_http_gateway_websocket_t *ws, gw_json_t *payload,
    gw_str_t *request_id);

typedef struct {
    ngx_str_t                        type;
    ngx_http_gateway_v1_handler_pt   handler;
} ngx_http_gateway_v1_type_t;


static void ngx_http_gateway_v1_publish(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);
static void ngx_http_gateway_v1_invalidate(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);
static void ngx_http_gateway_v1_ping(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id);
static void ngx_http_gateway_v1_auth(ngx_http_gateway_websocket_t *ws,
    gw_json_t *message, gw_str_t *request_id);


static ngx_http_gateway_v1_type_t  ngx_http_gateway_v1_types[] = {
    { ngx_string("publish"), ngx_http_gateway_v1_publish },
    { ngx_string("ping"), ngx_http_gateway_v1_ping },
    { ngx_string("subscribe"), ngx_http_gateway_v1_subscribe },
    { ngx_string("unsubscribe"), ngx_http_gateway_v1_unsubscribe },
    { ngx_string("recovery:request"), ngx_http_gateway_recovery_start },
    { ngx_string("auth"), ngx_http_gateway_v1_auth },
    { ngx_string("cache:invalidate"), ngx_http_gateway_v1_invalidate },
    { ngx_null_string, NULL }
};


ngx_http_gateway_text_t *
ngx_http_gateway_v1_begin(char *type)
{
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_text();

    ngx_http_gateway_text_literal(t, "{\"type\":\"");
    ngx_http_gateway_text_add(t, type, ngx_strlen(type));
    ngx_http_gateway_text_literal(t, "\",\"payload\":");

    return t;
}


static ngx_int_t
ngx_http_gateway_v1_finish(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_text_t *t, gw_str_t *request_id, ngx_str_t *message)
{
    ngx_http_gateway_text_literal(t, ",\"timestamp\":");
    ngx_http_gateway_text_time(t, ngx_http_gateway_time_ms());

    if (request_id && request_id->len) {
        ngx_http_gateway_text_literal(t, ",\"correlationId\":");
        ngx_http_gateway_text_add(t, request_id->data, request_id->len);
    }

    ngx_http_gateway_text_literal(t, "}");

    if (t->failed) {
        ngx_http_gateway_client_lose(&ws->client,
                                     NGX_HTTP_GATEWAY_LOST_MEMORY);
        return NGX_ERROR;
    }

    message->data = t->data;
    message->len = t->len;

    return NGX_OK;
}


void
ngx_http_gateway_v1_end_now(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_text_t *t, gw_str_t *request_id)
{
    ngx_str_t  message;

    if (ngx_http_gateway_v1_finish(ws, t, request_id, &message) == NGX_OK) {
        ngx_http_gateway_client_queue(&ws->client, GW_WS_TEXT, &message);
        ngx_http_gateway_client_check(&ws->client);
    }
}


void
ngx_http_gateway_v1_end(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_text_t *t, gw_str_t *request_id)
{
    ngx_str_t  message;

    if (ws->waits == NULL || !ngx_http_gateway_waits_turns(ws->waits)) {
        ngx_http_gateway_v1_end_now(ws, t, request_id);

    } else if (ngx_http_gateway_v1_finish(ws, t, request_id, &message)
               == NGX_OK)
    {
        ngx_http_gateway_waits_answer(ws, &message);
    }
}


static void
ngx_http_gateway_v1_text(ngx_http_gateway_text_t *t, char *s)
{
    gw_str_t  span;

    span.data = (u_char *) s;
    span.len = ngx_strlen(s);

    ngx_http_gateway_text_string(t, span);
}


void
ngx_http_gateway_v1_error(ngx_http_gateway_websocket_t *ws, char *code,
    char *message, ngx_str_t *details, gw_str_t *request_id)
{
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("error");

    ngx_http_gateway_text_literal(t, "{\"code\":");
    ngx_http_gateway_v1_text(t, code);
    ngx_http_gateway_text_literal(t, ",\"message\":");
    ngx_http_gateway_v1_text(t, message);

    if (details) {
        ngx_http_gateway_text_literal(t, ",\"details\":");
        ngx_http_gateway_text_add(t, details->data, details->len);
    }

    ngx_http_gateway_text_literal(t, ",\"recoverable\":true}");
    ngx_http_gateway_v1_end(ws, t, request_id);
}


void
ngx_http_gateway_v1_bad(ngx_http_gateway_websocket_t *ws, char *message,
    gw_str_t *request_id)
{
    ngx_http_gateway_v1_error(ws, "bad-message", message, NULL, request_id);
}


static void
ngx_http_gateway_v1_user(ngx_http_gateway_text_t *t,
    ngx_http_gateway_websocket_t *ws)
{
    if (ws->user.data == NULL) {
        ngx_http_gateway_text_literal(t, "\"userId\":null");
        return;
    }

    ngx_http_gateway_text_literal(t, "\"userId\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(&ws->user));
}


static void
ngx_http_gateway_v1_expires(ngx_http_gateway_text_t *t,
    ngx_http_gateway_websocket_t *ws)
{
    if (ws->expires) {
        ngx_http_gateway_text_literal(t, ",\"expiresAt\":");
        ngx_http_gateway_text_time(t, (uint64_t) ws->expires * 1000);
    }
}


void
ngx_http_gateway_v1_established(ngx_http_gateway_websocket_t *ws)
{
    u_char                    id[NGX_HTTP_GATEWAY_ID_LEN];
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("connection:established");

    ngx_http_gateway_text_literal(t, "{\"connectionId\":\"");
    ngx_http_gateway_websocket_id(ws, id);
    ngx_http_gateway_text_add(t, id, sizeof(id));
    ngx_http_gateway_text_literal(t, "\",");
    ngx_http_gateway_v1_user(t, ws);
    ngx_http_gateway_v1_expires(t, ws);
    ngx_http_gateway_text_literal(t, ",\"heartbeat\":");
    ngx_http_gateway_text_uint(t, ws->conf->ping);
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, NULL);
}


void
ngx_http_gateway_v1_challenge(ngx_http_gateway_websocket_t *ws)
{
    u_char                    nonce[16], hex[32];
    uint64_t                  now;
    ngx_http_gateway_text_t  *t;

    (void) RAND_bytes(nonce, sizeof(nonce));
    ngx_hex_dump(hex, nonce, sizeof(nonce));

    now = ngx_http_gateway_time_ms();
    t = ngx_http_gateway_v1_begin("auth:challenge");

    ngx_http_gateway_text_literal(t, "{\"nonce\":\"");
    ngx_http_gateway_text_add(t, hex, sizeof(hex));
    ngx_http_gateway_text_literal(t, "\",\"timestamp\":");
    ngx_http_gateway_text_time(t, now);
    ngx_http_gateway_text_literal(t, ",\"expiresAt\":");
    ngx_http_gateway_text_time(t, now + NGX_HTTP_GATEWAY_AUTH_TIMEOUT);
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, NULL);
}


void
ngx_http_gateway_v1_auth_ok(ngx_http_gateway_websocket_t *ws,
    gw_str_t *request_id)
{
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("auth:ok");

    ngx_http_gateway_text_literal(t, "{");
    ngx_http_gateway_v1_user(t, ws);

    if (ws->expires) {
        ngx_http_gateway_v1_expires(t, ws);

    } else {
        ngx_http_gateway_text_literal(t, ",\"expiresAt\":null");
    }

    ngx_http_gateway_text_literal(t, "}");
    ngx_http_gateway_v1_end(ws, t, request_id);
}


void
ngx_http_gateway_v1_reconnecting(ngx_http_gateway_websocket_t *ws,
    char *reason)
{
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("connection:status");

    ngx_http_gateway_text_literal(t, "{\"status\":\"reconnecting\","
                                     "\"reason\":");
    ngx_http_gateway_v1_text(t, reason);
    ngx_http_gateway_text_literal(t, ",\"nextReconnectIn\":");
    ngx_http_gateway_text_uint(t, 1000 + ngx_random() % 2000);
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, NULL);
}


static ngx_int_t
ngx_http_gateway_v1_parse(ngx_http_gateway_v1_request_t *req,
    gw_json_t *type, ngx_str_t *message)
{
    gw_json_t  found[3];

    static const gw_str_t  names[] = {
        { (u_char *) "type", 4 },
        { (u_char *) "payload", 7 },
        { (u_char *) "requestId", 9 }
    };

    req->request_id.len = 0;

    if (gw_json_parse(ngx_http_gateway_span(message), &req->message)
        != GW_OK
        || req->message.type != GW_JSON_OBJECT)
    {
        return NGX_ERROR;
    }

    gw_json_members(&req->message, names, found, 3);

    *type = found[0];
    req->payload = found[1];

    if (found[2].type == GW_JSON_STRING) {
        req->request_id = found[2].text;
    }

    return type->type == GW_JSON_STRING ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_gateway_v1_rate_limit(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *message, ngx_http_gateway_limit_told_t *told)
{
    gw_json_t                       type;
    ngx_http_gateway_text_t        *t;
    ngx_http_gateway_v1_request_t   req;

    /* for its requestId alone, which may be missing */
    (void) ngx_http_gateway_v1_parse(&req, &type, message);

    t = ngx_http_gateway_v1_begin("rate-limit");

    ngx_http_gateway_text_literal(t, "{\"limit\":");
    ngx_http_gateway_text_uint(t, told->limit);
    ngx_http_gateway_text_literal(t, ",\"remaining\":");
    ngx_http_gateway_text_uint(t, told->remaining);
    ngx_http_gateway_text_literal(t, ",\"resetAt\":");
    ngx_http_gateway_text_time(t, ngx_http_gateway_time_ms() + told->reset);
    ngx_http_gateway_text_literal(t, ",\"window\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(&told->window));
    ngx_http_gateway_text_literal(t, "}");

    ngx_http_gateway_v1_end(ws, t, &req.request_id);
}


void
ngx_http_gateway_v1_message(ngx_http_gateway_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *message)
{
    gw_json_t                       type;
    ngx_int_t                       rc;
    ngx_http_gateway_v1_type_t     *t;
    ngx_http_gateway_v1_request_t   req;

    if (opcode == GW_WS_BINARY) {
        ngx_http_gateway_v1_bad(ws, "a binary message: v1 is JSON text",
                                NULL);
        return;
    }

    rc = ngx_http_gateway_v1_parse(&req, &type, message);

    if (rc == NGX_ERROR) {
        ngx_http_gateway_v1_bad(ws, "not a JSON object", NULL);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_v1_bad(ws, "no \"type\"", &req.request_id);
        return;
    }

    for (t = ngx_http_gateway_v1_types; t->handler; t++) {
        if (gw_json_string_equal(&type, ngx_http_gateway_span(&t->type))) {
            break;
        }
    }

    if (ws->state == NGX_HTTP_GATEWAY_WS_AUTH
        && t->handler != ngx_http_gateway_v1_auth)
    {
        ngx_http_gateway_v1_error(ws, "unauthorized",
                                  "send \"auth\" with a token first", NULL,
                                  &req.request_id);
        return;
    }

    if (t->handler == NULL) {
        ngx_http_gateway_v1_bad(ws, "unknown \"type\"", &req.request_id);
        return;
    }

    t->handler(ws, t->handler == ngx_http_gateway_v1_auth ? &req.message
                                                         : &req.payload,
               &req.request_id);
}


static void
ngx_http_gateway_v1_auth(ngx_http_gateway_websocket_t *ws,
    gw_json_t *message, gw_str_t *request_id)
{
    size_t      n;
    gw_json_t   payload, token;
    ngx_str_t   s;

    token.type = GW_JSON_NULL;

    if (gw_json_member(message, gw_str("payload"), &payload) == GW_OK) {
        (void) gw_json_member(&payload, gw_str("token"), &token);
    }

    if ((token.type != GW_JSON_STRING
         && gw_json_member(message, gw_str("token"), &token) != GW_OK)
        || token.type != GW_JSON_STRING)
    {
        ngx_http_gateway_v1_bad(ws, "no \"token\"", request_id);
        return;
    }

    s.data = ngx_alloc(token.text.len, ws->client.connection->log);
    if (s.data == NULL) {
        ngx_http_gateway_v1_error(ws, "unavailable", "no memory", NULL,
                                  request_id);
        return;
    }

    n = gw_json_string_decode(&token, s.data);
    s.len = n == (size_t) -1 ? 0 : n;

    ngx_http_gateway_websocket_token(ws, &s, request_id);

    ngx_explicit_memzero(s.data, token.text.len);
    ngx_free(s.data);
}


/* A channel's name in a message; buf has room for what name may be. */

ngx_int_t
ngx_http_gateway_v1_name(gw_json_t *value, u_char *buf, ngx_str_t *name)
{
    size_t  n;

    if (value->type != GW_JSON_STRING
        || value->text.len > NGX_HTTP_GATEWAY_NAME_TEXT)
    {
        return NGX_DECLINED;
    }

    n = gw_json_string_decode(value, buf);

    if (n == (size_t) -1) {
        return NGX_DECLINED;
    }

    name->data = buf;
    name->len = n;

    return gw_channel_name_valid(ngx_http_gateway_span(name)) ? NGX_OK
                                                             : NGX_DECLINED;
}


ngx_int_t
ngx_http_gateway_v1_resource(gw_json_t *payload, u_char *buf, ngx_str_t *name)
{
    gw_json_t  value;

    if (gw_json_member(payload, gw_str("resource"), &value) != GW_OK) {
        return NGX_DECLINED;
    }

    return ngx_http_gateway_v1_name(&value, buf, name);
}


void
ngx_http_gateway_v1_state(ngx_http_gateway_text_t *t, ngx_str_t *name,
    ngx_http_gateway_channel_info_t *info)
{
    ngx_http_gateway_text_literal(t, "{\"resource\":");
    ngx_http_gateway_text_string(t, ngx_http_gateway_span(name));
    ngx_http_gateway_text_literal(t, ",\"sequenceNumber\":");
    ngx_http_gateway_text_uint(t, info->seq);
    ngx_http_gateway_text_literal(t, ",\"epoch\":\"");
    ngx_http_gateway_text_add(t, info->epoch, GW_EPOCH_LEN);
    ngx_http_gateway_text_literal(t, "\"");
}


/* The members of a publish, found in one walk. */

enum {
    NGX_HTTP_GATEWAY_V1_RESOURCE = 0,
    NGX_HTTP_GATEWAY_V1_DATA,
    NGX_HTTP_GATEWAY_V1_TYPE,
    NGX_HTTP_GATEWAY_V1_EXPECTED,
    NGX_HTTP_GATEWAY_V1_PRIORITY,
    NGX_HTTP_GATEWAY_V1_MEMBERS
};

static const gw_str_t  ngx_http_gateway_v1_members[] = {
    { (u_char *) "resource", 8 },
    { (u_char *) "data", 4 },
    { (u_char *) "type", 4 },
    { (u_char *) "expectedVersion", 15 },
    { (u_char *) "priority", 8 }
};


/* NULL, or what is wrong. */

static char *
ngx_http_gateway_v1_publish_options(gw_json_t *v, gw_message_t *m,
    int64_t *expected)
{
    uint64_t    n;
    gw_json_t  *p;

    *expected = -1;

    if (v[NGX_HTTP_GATEWAY_V1_DATA].text.len == 0) {
        return "no \"data\"";
    }

    m->payload = v[NGX_HTTP_GATEWAY_V1_DATA].text;
    m->raw = m->payload;
    m->opcode = GW_WS_TEXT;

    p = &v[NGX_HTTP_GATEWAY_V1_TYPE];

    if (p->text.len) {
        if (p->type != GW_JSON_STRING || p->text.len <= 2) {
            return "\"type\" is not a string, or an empty one";
        }

        m->type = p->text;
    }

    p = &v[NGX_HTTP_GATEWAY_V1_EXPECTED];

    if (p->text.len) {
        if (gw_json_uint(p, &n) != GW_OK) {
            return "\"expectedVersion\" is not a whole number";
        }

        *expected = n;
    }

    m->priority = GW_PRIORITY_NORMAL;
    p = &v[NGX_HTTP_GATEWAY_V1_PRIORITY];

    if (p->text.len) {

        if (gw_json_string_equal(p, gw_str("high"))) {
            m->priority = GW_PRIORITY_HIGH;

        } else if (gw_json_string_equal(p, gw_str("low"))) {
            m->priority = GW_PRIORITY_LOW;

        } else if (!gw_json_string_equal(p, gw_str("normal"))) {
            return "\"priority\" is not high, normal or low";
        }
    }

    return NULL;
}


static void
ngx_http_gateway_v1_conflict(ngx_http_gateway_websocket_t *ws,
    ngx_http_gateway_channel_info_t *info, gw_str_t *request_id)
{
    u_char     buf[sizeof("{\"sequenceNumber\":}") + NGX_INT64_LEN];
    ngx_str_t  details;

    details.data = buf;
    details.len = ngx_sprintf(buf, "{\"sequenceNumber\":%uL}", info->seq)
                  - buf;

    ngx_http_gateway_v1_error(ws, "conflict",
                              "the channel has another version", &details,
                              request_id);
}


static void
ngx_http_gateway_v1_publish(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    char                             *err;
    u_char                            buf[NGX_HTTP_GATEWAY_NAME_TEXT];
    int64_t                           expected;
    ngx_int_t                         rc;
    ngx_str_t                         name;
    gw_json_t                         v[NGX_HTTP_GATEWAY_V1_MEMBERS];
    gw_message_t                      m;
    ngx_http_gateway_channel_info_t   info;

    ngx_memzero(&m, sizeof(m));

    gw_json_members(payload, ngx_http_gateway_v1_members, v,
                    NGX_HTTP_GATEWAY_V1_MEMBERS);

    if (ngx_http_gateway_v1_name(&v[NGX_HTTP_GATEWAY_V1_RESOURCE], buf, &name)
        != NGX_OK)
    {
        ngx_http_gateway_v1_bad(ws, "\"resource\" is not a channel's name",
                                request_id);
        return;
    }

    err = ngx_http_gateway_v1_publish_options(v, &m, &expected);

    if (err) {
        ngx_http_gateway_v1_bad(ws, err, request_id);
        return;
    }

    if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_PUBLISH,
                                  &name))
    {
        ngx_http_gateway_v1_error(ws, "forbidden",
                                  "publishing is not allowed", NULL,
                                  request_id);
        return;
    }

    rc = ngx_http_gateway_websocket_publish(ws, &name, &m, expected, &info,
                                            request_id);

    if (rc != NGX_AGAIN) {
        ngx_http_gateway_v1_published(ws, &name, rc, &info, request_id);
    }
}


void
ngx_http_gateway_v1_published(ngx_http_gateway_websocket_t *ws,
    ngx_str_t *name, ngx_int_t rc, ngx_http_gateway_channel_info_t *info,
    gw_str_t *request_id)
{
    ngx_http_gateway_text_t  *t;

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_v1_conflict(ws, info, request_id);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_gateway_v1_error(ws, "unavailable", "the zone is full",
                                  NULL, request_id);
        return;
    }

    t = ngx_http_gateway_v1_begin("published");
    ngx_http_gateway_v1_state(t, name, info);
    ngx_http_gateway_text_literal(t, "}");
    ngx_http_gateway_v1_end(ws, t, request_id);
}


/* The effect is the answer: what is told on the channel of this name. */

static void
ngx_http_gateway_v1_invalidate(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    ngx_int_t  rc;
    ngx_str_t  object;

    static ngx_str_t  name = ngx_string("cache:invalidate");

    if (!ngx_http_gateway_allowed(&ws->allow, NGX_HTTP_GATEWAY_PUBLISH,
                                  &name))
    {
        ngx_http_gateway_v1_error(ws, "forbidden",
                                  "publishing is not allowed", NULL,
                                  request_id);
        return;
    }

    object.data = (u_char *) payload->text.data;
    object.len = payload->text.len;

    rc = ngx_http_gateway_cache_purge_object(&object);

    if (rc == NGX_DECLINED) {
        ngx_http_gateway_v1_bad(ws, "\"payload\" does not name \"keys\", "
                                    "\"tags\" or a \"pattern\"",
                                request_id);

    } else if (rc == NGX_BUSY) {
        ngx_http_gateway_v1_error(ws, "unavailable",
                                  "too many purges are under way", NULL,
                                  request_id);

    } else if (rc != NGX_OK) {
        ngx_http_gateway_v1_error(ws, "internal", "no memory", NULL,
                                  request_id);
    }
}


static void
ngx_http_gateway_v1_echo(ngx_http_gateway_text_t *t, gw_json_t *payload,
    char *name, gw_json_t *v)
{
    gw_str_t  key;

    key.data = (u_char *) name;
    key.len = ngx_strlen(name);

    v->type = GW_JSON_NULL;

    if (gw_json_member(payload, key, v) == GW_OK) {
        ngx_http_gateway_text_string(t, key);
        ngx_http_gateway_text_literal(t, ":");
        ngx_http_gateway_text_add(t, v->text.data, v->text.len);
        ngx_http_gateway_text_literal(t, ",");
    }
}


static void
ngx_http_gateway_v1_ping(ngx_http_gateway_websocket_t *ws,
    gw_json_t *payload, gw_str_t *request_id)
{
    gw_str_t                  s;
    uint64_t                  sent, now;
    gw_json_t                 timestamp, seq;
    ngx_http_gateway_text_t  *t;

    t = ngx_http_gateway_v1_begin("pong");

    ngx_http_gateway_text_literal(t, "{");
    ngx_http_gateway_v1_echo(t, payload, "timestamp", &timestamp);
    ngx_http_gateway_v1_echo(t, payload, "sequenceNumber", &seq);

    now = ngx_http_gateway_time_ms();
    sent = 0;

    if (timestamp.type == GW_JSON_STRING) {
        s.data = timestamp.text.data + 1;
        s.len = timestamp.text.len - 2;
        sent = gw_timestamp_parse(s);

    } else if (timestamp.type == GW_JSON_NUMBER) {
        (void) gw_json_uint(&timestamp, &sent);
    }

    if (sent == 0) {
        ngx_http_gateway_text_literal(t, "\"latency\":null}");

    } else {
        /* a client whose clock is ahead gets 0 */
        ngx_http_gateway_text_literal(t, "\"latency\":");
        ngx_http_gateway_text_uint(t, now > sent ? now - sent : 0);
        ngx_http_gateway_text_literal(t, "}");
    }

    ngx_http_gateway_v1_end(ws, t, request_id);
}
