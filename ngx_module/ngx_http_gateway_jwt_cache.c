/*
 * Verified tokens of one worker, remembered (gateway_jwt_cache).
 *
 * A hash table in the order of last use. Only tokens that verified are put
 * in. The hash is SipHash-1-3 under a random key of the worker, so nobody can
 * aim at one bucket; what decides is the comparison of the whole token and of
 * all of the policy that a verification looks at. The clock is looked at again
 * on each hit.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/rand.h>
#include "ngx_http_gateway_jwt_int.h"
#include "../src/siphash.h"


typedef struct {
    ngx_queue_t                    queue;      /* by last use */
    ngx_queue_t                    bucket;
    uint64_t                       hash;

    ngx_http_gateway_jwt_keys_t   *keys;
    ngx_uint_t                     version;    /* of the keys */
    ngx_uint_t                     algorithms;
    ngx_msec_t                     leeway;

    ngx_http_gateway_jwt_token_t  *token;
    size_t                         len;
    u_char                         text[1];
} ngx_http_gateway_jwt_entry_t;


struct ngx_http_gateway_jwt_cache_s {
    uint64_t      key[2];
    ngx_uint_t    size;                        /* entries at most */
    ngx_uint_t    count;
    ngx_uint_t    mask;
    ngx_queue_t   used;                        /* head: used last */
    ngx_queue_t   buckets[1];
};


static ngx_http_gateway_jwt_cache_t *ngx_http_gateway_jwt_cache_get(
    ngx_http_gateway_jwt_main_conf_t *jmcf);
static ngx_http_gateway_jwt_entry_t *ngx_http_gateway_jwt_cache_find(
    ngx_http_gateway_jwt_cache_t *cache, uint64_t hash,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *text);
static void ngx_http_gateway_jwt_cache_add(
    ngx_http_gateway_jwt_cache_t *cache, uint64_t hash,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *text,
    ngx_http_gateway_jwt_token_t *token);
static void ngx_http_gateway_jwt_cache_drop(
    ngx_http_gateway_jwt_cache_t *cache, ngx_http_gateway_jwt_entry_t *e);
static ngx_http_gateway_jwt_token_t *ngx_http_gateway_jwt_token_create(
    gw_jwt_t *jwt, ngx_msec_t leeway);


gw_jwt_status_e
ngx_http_gateway_jwt_cache_verify(ngx_http_gateway_jwt_loc_conf_t *jlcf,
    ngx_str_t *text, gw_jwt_result_t *result,
    ngx_http_gateway_jwt_token_t **token)
{
    uint64_t                       hash;
    gw_str_t                       s;
    ngx_time_t                    *tp;
    gw_jwt_policy_t                policy;
    ngx_http_gateway_jwt_keys_t   *keys;
    ngx_http_gateway_jwt_cache_t  *cache;
    ngx_http_gateway_jwt_entry_t  *e;

    keys = jlcf->keys;
    *token = NULL;
    hash = 0;

    ngx_memzero(result, sizeof(*result));

    ngx_http_gateway_jwt_refresh_update(keys);

    tp = ngx_timeofday();

    policy.sets = keys->sets;
    policy.nsets = keys->sources.nelts;
    policy.algorithms = jlcf->algorithms;
    policy.now = (int64_t) tp->sec * 1000 + tp->msec;
    policy.leeway = jlcf->leeway;

    cache = text->len <= GW_JWT_MAX
            ? ngx_http_gateway_jwt_cache_get(keys->main) : NULL;

    if (cache) {
        hash = gw_siphash(cache->key, text->data, text->len);

        e = ngx_http_gateway_jwt_cache_find(cache, hash, jlcf, text);

        if (e) {
            result->status = gw_jwt_check_time(e->token->jwt, policy.now,
                                               policy.leeway);

            if (result->status == GW_JWT_OK) {
                *token = e->token;
                (*token)->refs++;

            } else {
                result->reason = "the token is no longer valid";
                ngx_http_gateway_jwt_cache_drop(cache, e);
            }

            return result->status;
        }
    }

    s.data = text->data;
    s.len = text->len;

    if (gw_jwt_verify(result, s, &policy) != GW_JWT_OK) {
        return result->status;
    }

    *token = ngx_http_gateway_jwt_token_create(result->jwt, jlcf->leeway);

    if (*token == NULL) {
        result->status = GW_JWT_MALFORMED;
        result->reason = "out of memory";
        return result->status;
    }

    if (cache) {
        ngx_http_gateway_jwt_cache_add(cache, hash, jlcf, text, *token);
    }

    return GW_JWT_OK;
}


/* Made by each worker when it first needs it. */

static ngx_http_gateway_jwt_cache_t *
ngx_http_gateway_jwt_cache_get(ngx_http_gateway_jwt_main_conf_t *jmcf)
{
    ngx_uint_t                     i, n;
    ngx_http_gateway_jwt_cache_t  *cache;

    if (jmcf->cache || jmcf->cache_size == 0) {
        return jmcf->cache;
    }

    for (n = 16; n < (ngx_uint_t) jmcf->cache_size; n <<= 1) { /* void */ }

    cache = ngx_alloc(sizeof(*cache) + n * sizeof(ngx_queue_t),
                      ngx_cycle->log);
    if (cache == NULL) {
        return NULL;
    }

    if (RAND_bytes((u_char *) cache->key, sizeof(cache->key)) != 1) {
        ngx_free(cache);
        return NULL;
    }

    cache->size = jmcf->cache_size;
    cache->count = 0;
    cache->mask = n - 1;
    ngx_queue_init(&cache->used);

    for (i = 0; i < n; i++) {
        ngx_queue_init(&cache->buckets[i]);
    }

    jmcf->cache = cache;

    return cache;
}


static ngx_http_gateway_jwt_entry_t *
ngx_http_gateway_jwt_cache_find(ngx_http_gateway_jwt_cache_t *cache,
    uint64_t hash, ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *text)
{
    ngx_queue_t                   *q, *bucket;
    ngx_http_gateway_jwt_entry_t  *e;

    bucket = &cache->buckets[hash & cache->mask];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        e = ngx_queue_data(q, ngx_http_gateway_jwt_entry_t, bucket);

        if (e->hash != hash
            || e->keys != jlcf->keys
            || e->version != jlcf->keys->version
            || e->algorithms != jlcf->algorithms
            || e->leeway != jlcf->leeway
            || e->len != text->len
            || ngx_memcmp(e->text, text->data, text->len) != 0)
        {
            continue;
        }

        ngx_queue_remove(&e->queue);
        ngx_queue_insert_head(&cache->used, &e->queue);

        return e;
    }

    return NULL;
}


static void
ngx_http_gateway_jwt_cache_add(ngx_http_gateway_jwt_cache_t *cache,
    uint64_t hash, ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *text,
    ngx_http_gateway_jwt_token_t *token)
{
    ngx_http_gateway_jwt_entry_t  *e;

    token->refs++;

    if (cache->count >= cache->size) {
        e = ngx_queue_data(ngx_queue_last(&cache->used),
                           ngx_http_gateway_jwt_entry_t, queue);
        ngx_http_gateway_jwt_cache_drop(cache, e);
    }

    e = ngx_alloc(sizeof(*e) + text->len, ngx_cycle->log);
    if (e == NULL) {
        token->refs--;
        return;
    }

    e->hash = hash;
    e->keys = jlcf->keys;
    e->version = jlcf->keys->version;
    e->algorithms = jlcf->algorithms;
    e->leeway = jlcf->leeway;
    e->token = token;
    e->len = text->len;
    ngx_memcpy(e->text, text->data, text->len);

    cache->count++;

    ngx_queue_insert_head(&cache->used, &e->queue);
    ngx_queue_insert_head(&cache->buckets[hash & cache->mask], &e->bucket);
}


static void
ngx_http_gateway_jwt_cache_drop(ngx_http_gateway_jwt_cache_t *cache,
    ngx_http_gateway_jwt_entry_t *e)
{
    ngx_queue_remove(&e->queue);
    ngx_queue_remove(&e->bucket);
    cache->count--;

    ngx_http_gateway_jwt_token_release(e->token);
    ngx_free(e);
}


/* The keys changed: what they verified before is not to be found any more. */

void
ngx_http_gateway_jwt_cache_forget(ngx_http_gateway_jwt_cache_t *cache,
    ngx_http_gateway_jwt_keys_t *keys)
{
    ngx_queue_t                   *q, *next;
    ngx_http_gateway_jwt_entry_t  *e;

    if (cache == NULL) {
        return;
    }

    for (q = ngx_queue_head(&cache->used);
         q != ngx_queue_sentinel(&cache->used);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_http_gateway_jwt_entry_t, queue);

        if (e->keys == keys && e->version != keys->version) {
            ngx_http_gateway_jwt_cache_drop(cache, e);
        }
    }
}


void
ngx_http_gateway_jwt_cache_destroy(ngx_http_gateway_jwt_cache_t *cache)
{
    ngx_queue_t                   *q, *next;
    ngx_http_gateway_jwt_entry_t  *e;

    for (q = ngx_queue_head(&cache->used);
         q != ngx_queue_sentinel(&cache->used);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_http_gateway_jwt_entry_t, queue);
        ngx_http_gateway_jwt_cache_drop(cache, e);
    }

    ngx_free(cache);
}


/* Takes the jwt over, also when it fails. One reference, the caller's. */

static ngx_http_gateway_jwt_token_t *
ngx_http_gateway_jwt_token_create(gw_jwt_t *jwt, ngx_msec_t leeway)
{
    int64_t                        exp;
    gw_str_t                       name, payload;
    gw_json_t                      object, sub;
    ngx_uint_t                     found;
    ngx_http_gateway_jwt_token_t  *token;

    payload = gw_jwt_payload_text(jwt);
    name = gw_str("sub");

    found = gw_json_parse(payload, &object) == GW_OK
            && gw_json_member(&object, name, &sub) == GW_OK
            && (sub.type == GW_JSON_STRING || sub.type == GW_JSON_NUMBER);

    token = ngx_alloc(sizeof(*token) + (found ? sub.text.len : 0) + 1,
                      ngx_cycle->log);
    if (token == NULL) {
        gw_jwt_destroy(jwt);
        return NULL;
    }

    ngx_memzero(token, sizeof(*token));

    token->refs = 1;
    token->jwt = jwt;
    token->identity.payload = payload;

    if (found) {
        token->identity.subject.data = (u_char *) (token + 1);
        token->identity.subject.len =
                      gw_jwt_render(&sub, token->identity.subject.data);
    }

    if (gw_jwt_expires(jwt, &exp)) {
        token->identity.expires = (time_t) exp;
        token->identity.ends = (time_t) (exp + (leeway + 999) / 1000);
    }

    return token;
}


void
ngx_http_gateway_jwt_token_release(ngx_http_gateway_jwt_token_t *token)
{
    if (--token->refs == 0) {
        gw_jwt_destroy(token->jwt);
        ngx_free(token);
    }
}
