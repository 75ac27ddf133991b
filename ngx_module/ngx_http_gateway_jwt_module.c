/*
 * gateway_jwt: directives, their configuration, and where the module hooks
 * in. Tokens in queries are masked in the rewrite phases, the decision falls
 * in the access phase.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt_int.h"


#define NGX_HTTP_GATEWAY_JWT_CACHE      4096
#define NGX_HTTP_GATEWAY_JWT_CACHE_MAX  1000000


static char *ngx_http_gateway_jwt(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_jwt_token(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_gateway_jwt_place(ngx_conf_t *cf,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *value);
static char *ngx_http_gateway_jwt_algorithms(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_jwt_claim(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_jwt_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_jwt_values(ngx_conf_t *cf, ngx_uint_t first,
    ngx_array_t *values, ngx_uint_t *error);
static char *ngx_http_gateway_jwt_leeway(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_gateway_jwt_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_http_gateway_jwt_create_main_conf(ngx_conf_t *cf);
static void ngx_http_gateway_jwt_cleanup(void *data);
static void *ngx_http_gateway_jwt_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_jwt_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_gateway_jwt_default_places(ngx_conf_t *cf,
    ngx_http_gateway_jwt_loc_conf_t *jlcf);
static ngx_int_t ngx_http_gateway_jwt_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_jwt_init_metrics(ngx_conf_t *cf,
    ngx_http_gateway_jwt_main_conf_t *jmcf);
static ngx_int_t ngx_http_gateway_jwt_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_jwt_exit_process(ngx_cycle_t *cycle);


#define NGX_HTTP_GATEWAY_JWT_ANY                                             \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE)


static ngx_command_t  ngx_http_gateway_jwt_commands[] = {

    { ngx_string("gateway_jwt_keys"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_jwt_keys_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_token"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_token,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_algorithms"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_algorithms,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_claim"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_claim,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_require"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_leeway"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_leeway,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_revoked"),
      NGX_HTTP_GATEWAY_JWT_ANY,
      ngx_http_gateway_jwt_revoked_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_jwt_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_jwt_cache,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_jwt_module_ctx = {
    ngx_http_gateway_jwt_variables_add,    /* preconfiguration */
    ngx_http_gateway_jwt_init,             /* postconfiguration */

    ngx_http_gateway_jwt_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_jwt_create_loc_conf,  /* create location configuration */
    ngx_http_gateway_jwt_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_http_gateway_jwt_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_jwt_module_ctx,      /* module context */
    ngx_http_gateway_jwt_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_gateway_jwt_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_gateway_jwt_exit_process,     /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_gateway_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_str_t  *value;

    if (jlcf->keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts != 2 || value[1].len == 0
        || ngx_strchr(value[1].data, '='))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"gateway_jwt\": accepted is the name of "
                           "one key set of \"gateway_jwt_keys\", or \"off\"; "
                           "sources of keys belong into "
                           "\"gateway_jwt_keys\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        jlcf->keys = NULL;
        return NGX_CONF_OK;
    }

    jlcf->keys = ngx_http_gateway_jwt_keys_get(cf, &value[1]);

    return jlcf->keys ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_gateway_jwt_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (jlcf->places) {
        return "is duplicate: name all sources in one";
    }

    jlcf->places = ngx_array_create(cf->pool, 2,
                                    sizeof(ngx_http_gateway_jwt_place_t));
    if (jlcf->places == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_gateway_jwt_place(cf, jlcf, &value[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_place(ngx_conf_t *cf,
    ngx_http_gateway_jwt_loc_conf_t *jlcf, ngx_str_t *value)
{
    ngx_uint_t                         i;
    ngx_http_gateway_jwt_place_t      *place;
    ngx_http_gateway_jwt_main_conf_t  *jmcf;

    static struct {
        ngx_str_t                     text;
        ngx_http_gateway_jwt_place_e  place;
    } places[] = {
        { ngx_string("subprotocol"), NGX_HTTP_GATEWAY_JWT_SUBPROTOCOL },
        { ngx_string("header"), NGX_HTTP_GATEWAY_JWT_HEADER },
        { ngx_string("header="), NGX_HTTP_GATEWAY_JWT_HEADER },
        { ngx_string("query="), NGX_HTTP_GATEWAY_JWT_QUERY },
        { ngx_string("cookie="), NGX_HTTP_GATEWAY_JWT_COOKIE },
        { ngx_string("message"), NGX_HTTP_GATEWAY_JWT_MESSAGE },
        { ngx_null_string, 0 }
    };

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_jwt_module);

    for (i = 0; places[i].text.len; i++) {

        if (value->len < places[i].text.len
            || ngx_strncmp(value->data, places[i].text.data,
                           places[i].text.len) != 0)
        {
            continue;
        }

        if ((places[i].text.data[places[i].text.len - 1] == '=')
            != (value->len > places[i].text.len))
        {
            continue;
        }

        place = ngx_array_push(jlcf->places);
        if (place == NULL) {
            return NGX_ERROR;
        }

        place->place = places[i].place;
        place->name.data = value->data + places[i].text.len;
        place->name.len = value->len - places[i].text.len;

        if (place->place == NGX_HTTP_GATEWAY_JWT_HEADER
            && place->name.len == 0)
        {
            ngx_str_set(&place->name, "Authorization");
        }

        if (place->place == NGX_HTTP_GATEWAY_JWT_QUERY) {
            jlcf->query = 1;
            jmcf->query = 1;
        }

        jlcf->message |= (place->place == NGX_HTTP_GATEWAY_JWT_MESSAGE);

        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid source \"%V\" in \"gateway_jwt_token\": "
                       "accepted are \"subprotocol\", \"header\" or "
                       "\"header=Name\", \"query=argument\", "
                       "\"cookie=name\" and \"message\"", value);

    return NGX_ERROR;
}


static char *
ngx_http_gateway_jwt_algorithms(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    gw_str_t      name;
    ngx_str_t    *value;
    ngx_uint_t    i;
    gw_jwt_alg_e  alg;

    if (jlcf->algorithms != NGX_CONF_UNSET_UINT) {
        return "is duplicate: name all algorithms in one";
    }

    jlcf->algorithms = 0;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        name.data = value[i].data;
        name.len = value[i].len;

        if (gw_jwt_alg_parse(name, &alg) != GW_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid algorithm \"%V\" in "
                               "\"gateway_jwt_algorithms\": accepted are, "
                               "written so, HS256 HS384 HS512 RS256 RS384 "
                               "RS512 PS256 PS384 PS512 ES256 ES384 ES512 "
                               "EdDSA; unsigned tokens are never accepted",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        jlcf->algorithms |= gw_jwt_alg_bit(alg);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_jwt_claim(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_str_t                     *value;
    ngx_http_gateway_jwt_claim_t  *claim;

    if (jlcf->claims == NULL) {
        jlcf->claims = ngx_array_create(cf->pool, 2, sizeof(*claim));
        if (jlcf->claims == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    claim = ngx_array_push(jlcf->claims);
    if (claim == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[0] == '$'
        || ngx_strchr(value[1].data, '='))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"gateway_jwt_claim\": the "
                           "claim's name comes first, then its values, such "
                           "as \"gateway_jwt_claim aud api admin\"; for "
                           "conditions on variables there is "
                           "\"gateway_jwt_require\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    claim->name = value[1];

    return ngx_http_gateway_jwt_values(cf, 2, &claim->values, &claim->error);
}


static char *
ngx_http_gateway_jwt_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_http_gateway_jwt_require_t  *require;

    if (jlcf->requires == NULL) {
        jlcf->requires = ngx_array_create(cf->pool, 2, sizeof(*require));
        if (jlcf->requires == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    require = ngx_array_push(jlcf->requires);
    if (require == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_gateway_jwt_values(cf, 1, &require->values,
                                       &require->error);
}


/* The values of a claim or a requirement, and error=. */

static char *
ngx_http_gateway_jwt_values(ngx_conf_t *cf, ngx_uint_t first,
    ngx_array_t *values, ngx_uint_t *error)
{
    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_complex_value_t          *cv;
    ngx_http_compile_complex_value_t   ccv;

    if (ngx_array_init(values, cf->pool, 2, sizeof(*cv)) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    *error = 0;
    value = cf->args->elts;

    for (i = first; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "error=", 6) == 0) {

            if (*error) {
                return "has \"error=\" twice";
            }

            if (ngx_strcmp(value[i].data, "error=401") == 0) {
                *error = NGX_HTTP_UNAUTHORIZED;

            } else if (ngx_strcmp(value[i].data, "error=403") == 0) {
                *error = NGX_HTTP_FORBIDDEN;

            } else {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\" in \"%V\": accepted are "
                                   "\"error=401\" and \"error=403\"",
                                   &value[i], &value[0]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        cv = ngx_array_push(values);
        if (cv == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ccv));
        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = cv;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (*error == 0) {
        *error = NGX_HTTP_UNAUTHORIZED;
    }

    if (values->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no value in \"%V\": write \"gateway_jwt_claim "
                           "name value\" with one or more values, or "
                           "\"gateway_jwt_require $variable\"", &value[0]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_jwt_leeway(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_loc_conf_t *jlcf = conf;

    ngx_int_t   leeway;
    ngx_str_t  *value;

    if (jlcf->leeway != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;
    leeway = (cf->args->nelts == 2) ? ngx_parse_time(&value[1], 0)
                                    : NGX_ERROR;

    if (leeway == NGX_ERROR || leeway > 86400000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"gateway_jwt_leeway\": "
                           "accepted is one time from 0s to 1d, such as "
                           "\"gateway_jwt_leeway 30s\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    jlcf->leeway = leeway;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_jwt_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_jwt_main_conf_t *jmcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (jmcf->cache_size != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = (cf->args->nelts == 2) ? ngx_atoi(value[1].data, value[1].len)
                               : NGX_ERROR;

    if (n == NGX_ERROR || n > NGX_HTTP_GATEWAY_JWT_CACHE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"gateway_jwt_cache\": "
                           "accepted is a number of tokens from 0 (none) to "
                           "1000000, such as \"gateway_jwt_cache 4096\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    jmcf->cache_size = n;

    return NGX_CONF_OK;
}


static void *
ngx_http_gateway_jwt_create_main_conf(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t                *cln;
    ngx_http_gateway_jwt_main_conf_t  *jmcf;

    jmcf = ngx_pcalloc(cf->pool, sizeof(*jmcf));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (jmcf == NULL || cln == NULL
        || ngx_array_init(&jmcf->keys, cf->pool, 2,
                          sizeof(ngx_http_gateway_jwt_keys_t *))
           != NGX_OK)
    {
        return NULL;
    }

    /* added before those of the key sets, so it runs after them */

    cln->handler = ngx_http_gateway_jwt_cleanup;
    cln->data = jmcf;

    jmcf->lib = gw_jwt_lib_create();
    if (jmcf->lib == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "gateway_jwt: OpenSSL has no SHA-2 or HMAC, or there "
                      "is no memory");
        return NULL;
    }

    jmcf->cache_size = NGX_CONF_UNSET;

    return jmcf;
}


static void
ngx_http_gateway_jwt_cleanup(void *data)
{
    ngx_http_gateway_jwt_main_conf_t *jmcf = data;

    if (jmcf->cache) {
        ngx_http_gateway_jwt_cache_destroy(jmcf->cache);
        jmcf->cache = NULL;
    }

    gw_jwt_lib_destroy(jmcf->lib);
}


static void *
ngx_http_gateway_jwt_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_pcalloc(cf->pool, sizeof(*jlcf));
    if (jlcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     jlcf->places = NULL;
     *     jlcf->claims = NULL;
     *     jlcf->requires = NULL;
     */

    jlcf->keys = NGX_CONF_UNSET_PTR;
    jlcf->algorithms = NGX_CONF_UNSET_UINT;
    jlcf->leeway = NGX_CONF_UNSET_MSEC;
    jlcf->revoked = NGX_CONF_UNSET_PTR;

    return jlcf;
}


static char *
ngx_http_gateway_jwt_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_jwt_loc_conf_t *prev = parent;
    ngx_http_gateway_jwt_loc_conf_t *conf = child;

    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_ptr_value(conf->keys, prev->keys, NULL);
    ngx_conf_merge_uint_value(conf->algorithms, prev->algorithms, 0);
    ngx_conf_merge_msec_value(conf->leeway, prev->leeway, 0);
    ngx_http_gateway_jwt_revoked_merge(conf, prev);

    if (conf->claims == NULL) {
        conf->claims = prev->claims;
    }

    if (conf->requires == NULL) {
        conf->requires = prev->requires;
    }

    if (conf->places == NULL) {

        if (prev->places == NULL
            && ngx_http_gateway_jwt_default_places(cf, prev) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        conf->places = prev->places;
        conf->query = prev->query;
        conf->message = prev->message;
    }

    /* a block of `if` without a handler of its own runs its location's */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL) {
        conf->messages |= prev->messages;
    }

    if (conf->keys && !conf->keys->used) {

        /* servers are merged in their order: this one is the first */

        cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

        conf->keys->used = 1;
        conf->keys->server = cscf->ctx;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_default_places(ngx_conf_t *cf,
    ngx_http_gateway_jwt_loc_conf_t *jlcf)
{
    ngx_str_t  subprotocol = ngx_string("subprotocol");
    ngx_str_t  header = ngx_string("header");

    jlcf->places = ngx_array_create(cf->pool, 2,
                                    sizeof(ngx_http_gateway_jwt_place_t));
    if (jlcf->places == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_gateway_jwt_place(cf, jlcf, &subprotocol) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_jwt_place(cf, jlcf, &header);
}


void
ngx_http_gateway_jwt_accepts_message(ngx_conf_t *cf)
{
    ngx_http_gateway_jwt_loc_conf_t  *jlcf;

    jlcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_gateway_jwt_module);

    jlcf->messages = 1;
}


static ngx_int_t
ngx_http_gateway_jwt_init(ngx_conf_t *cf)
{
    ngx_uint_t                         i, n;
    ngx_http_handler_pt               *h;
    ngx_http_core_main_conf_t         *cmcf;
    ngx_http_gateway_jwt_main_conf_t  *jmcf;

    static ngx_str_t  status = ngx_string("gateway_jwt_status");
    static ngx_str_t  request = ngx_string("request");
    static ngx_str_t  request_uri = ngx_string("request_uri");

    static struct {
        ngx_http_phases       phase;
        ngx_http_handler_pt   handler;
    } handlers[] = {
        { NGX_HTTP_ACCESS_PHASE, ngx_http_gateway_jwt_access_handler },

        /* where a token may be in the query */
        { NGX_HTTP_SERVER_REWRITE_PHASE, ngx_http_gateway_jwt_token_mask },
        { NGX_HTTP_REWRITE_PHASE, ngx_http_gateway_jwt_token_mask }
    };

    if (ngx_http_gateway_jwt_keys_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_jwt_module);

    if (jmcf->cache_size == NGX_CONF_UNSET) {
        jmcf->cache_size = NGX_HTTP_GATEWAY_JWT_CACHE;
    }

    jmcf->status_index = ngx_http_get_variable_index(cf, &status);
    jmcf->request_index = ngx_http_get_variable_index(cf, &request);
    jmcf->request_uri_index = ngx_http_get_variable_index(cf, &request_uri);

    if (jmcf->status_index == NGX_ERROR
        || jmcf->request_index == NGX_ERROR
        || jmcf->request_uri_index == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (ngx_http_gateway_jwt_init_metrics(cf, jmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (jmcf->keys.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    n = jmcf->query ? sizeof(handlers) / sizeof(handlers[0]) : 1;

    for (i = 0; i < n; i++) {
        h = ngx_array_push(&cmcf->phases[handlers[i].phase].handlers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = handlers[i].handler;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_init_metrics(ngx_conf_t *cf,
    ngx_http_gateway_jwt_main_conf_t *jmcf)
{
    ngx_str_t   name, label;
    ngx_uint_t  i;

    for (i = 0; i < GW_JWT_STATUSES; i++) {

        name.data = (u_char *) gw_jwt_status_name(i);
        name.len = ngx_strlen(name.data);

        if (ngx_http_gateway_metric_label(cf, &label, "status", &name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        jmcf->tokens[i] = ngx_http_gateway_metric(cf,
                                          NGX_HTTP_GATEWAY_COUNTER,
                                          "gateway_jwt_tokens_total", &label,
                                          "Decisions about tokens.");
        if (jmcf->tokens[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_jwt_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                          i;
    ngx_http_gateway_jwt_keys_t       **keys;
    ngx_http_gateway_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_gateway_jwt_module);

    if (jmcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    keys = jmcf->keys.elts;

    for (i = 0; i < jmcf->keys.nelts; i++) {
        ngx_http_gateway_jwt_refresh_start(keys[i]);
    }

    return NGX_OK;
}


static void
ngx_http_gateway_jwt_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                          i;
    ngx_http_gateway_jwt_keys_t       **keys;
    ngx_http_gateway_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_gateway_jwt_module);
    if (jmcf == NULL) {
        return;
    }

    keys = jmcf->keys.elts;

    for (i = 0; i < jmcf->keys.nelts; i++) {
        ngx_http_gateway_jwt_refresh_stop(keys[i]);
    }
}
