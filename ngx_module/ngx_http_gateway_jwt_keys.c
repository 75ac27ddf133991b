/*
 * Key sets: the directive gateway_jwt_keys, sources that are read at
 * configuration time, and the zones of those that are fetched.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_gateway_jwt_int.h"


#define NGX_HTTP_GATEWAY_JWT_REFRESH      300000    /* ms */
#define NGX_HTTP_GATEWAY_JWT_REFRESH_MIN  1000
#define NGX_HTTP_GATEWAY_JWT_REFRESH_MAX  2592000000 /* 30 days */

/* both areas, and room for the slab allocator's own pages */
#define NGX_HTTP_GATEWAY_JWT_ZONE_SIZE                                       \
    (sizeof(ngx_http_gateway_jwt_shared_t) + 64 * 4096)


typedef struct {
    ngx_conf_t                     *cf;
    ngx_http_gateway_jwt_source_t  *source;
} ngx_http_gateway_jwt_report_t;


static ngx_int_t ngx_http_gateway_jwt_keys_parameter(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source, ngx_str_t *value);
static char *ngx_http_gateway_jwt_keys_uri(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source);
static char *ngx_http_gateway_jwt_keys_file(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source);
static ngx_int_t ngx_http_gateway_jwt_keys_read(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source, gw_str_t *text);
static char *ngx_http_gateway_jwt_keys_hint(
    ngx_http_gateway_jwt_source_t *source, gw_str_t *text);
static void ngx_http_gateway_jwt_keys_conf_report(void *data,
    gw_jwk_level_e level, const char *text);
static void ngx_http_gateway_jwt_keys_cleanup(void *data);
static ngx_int_t ngx_http_gateway_jwt_keys_init_zone(
    ngx_shm_zone_t *zone, void *data);


static ngx_str_t  ngx_http_gateway_jwt_sources[] = {
    ngx_string("file="),
    ngx_string("uri="),
    ngx_string("secret_file="),
    ngx_string("pem="),
    ngx_null_string
};


char *
ngx_http_gateway_jwt_keys_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_gateway_jwt_keys_t    *keys;
    ngx_http_gateway_jwt_source_t  *source, **sp;

    value = cf->args->elts;

    if (value[1].len == 0 || ngx_strchr(value[1].data, '=')
        || ngx_strcmp(value[1].data, "off") == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"gateway_jwt_keys\": the "
                           "set's name comes first, then its source, such "
                           "as \"gateway_jwt_keys main file=jwks.json\"; "
                           "\"off\" is no name", &value[1]);
        return NGX_CONF_ERROR;
    }

    keys = ngx_http_gateway_jwt_keys_get(cf, &value[1]);
    source = ngx_pcalloc(cf->pool, sizeof(*source));

    if (keys == NULL || source == NULL) {
        return NGX_CONF_ERROR;
    }

    source->keys = keys;
    source->index = keys->sources.nelts;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_gateway_jwt_keys_parameter(cf, source, &value[i])
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (source->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway_jwt_keys %V\" has no source: write "
                           "\"file=path\", \"uri=/location\", "
                           "\"secret_file=path\" or \"pem=path\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    sp = ngx_array_push(&keys->sources);
    if (sp == NULL) {
        return NGX_CONF_ERROR;
    }

    *sp = source;

    if (source->type == NGX_HTTP_GATEWAY_JWT_URI) {
        return ngx_http_gateway_jwt_keys_uri(cf, source);
    }

    if (source->refresh) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"refresh\" in \"gateway_jwt_keys %V\" goes with "
                           "\"uri=\" only; files are read again on reload",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_gateway_jwt_keys_file(cf, source);
}


static ngx_int_t
ngx_http_gateway_jwt_keys_parameter(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source, ngx_str_t *value)
{
    ngx_int_t   refresh;
    ngx_str_t   s;
    ngx_str_t  *name;

    if (ngx_strncmp(value->data, "refresh=", 8) == 0) {
        s.data = value->data + 8;
        s.len = value->len - 8;

        refresh = ngx_parse_time(&s, 0);

        if (refresh < NGX_HTTP_GATEWAY_JWT_REFRESH_MIN
            || refresh > (ngx_int_t) NGX_HTTP_GATEWAY_JWT_REFRESH_MAX)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\" in \"gateway_jwt_keys\": "
                               "accepted is a time from 1s to 30d, such as "
                               "\"refresh=5m\"", value);
            return NGX_ERROR;
        }

        source->refresh = refresh;
        return NGX_OK;
    }

    for (name = ngx_http_gateway_jwt_sources; name->len; name++) {

        if (value->len < name->len
            || ngx_strncmp(value->data, name->data, name->len) != 0)
        {
            continue;
        }

        if (source->name.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "second source \"%V\" in one "
                               "\"gateway_jwt_keys\": repeat the directive "
                               "with the same name to add a source", value);
            return NGX_ERROR;
        }

        source->type = name - ngx_http_gateway_jwt_sources;
        source->name.data = value->data + name->len;
        source->name.len = value->len - name->len;

        if (source->name.len == 0) {
            break;
        }

        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"gateway_jwt_keys\": "
                       "accepted are \"file=path\", \"uri=/location\" with "
                       "\"refresh=time\", \"secret_file=path\" and "
                       "\"pem=path\"", value);

    return NGX_ERROR;
}


ngx_http_gateway_jwt_keys_t *
ngx_http_gateway_jwt_keys_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                          i;
    ngx_pool_cleanup_t                 *cln;
    ngx_http_gateway_jwt_keys_t        *keys, **kp;
    ngx_http_gateway_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_jwt_module);
    kp = jmcf->keys.elts;

    for (i = 0; i < jmcf->keys.nelts; i++) {
        if (kp[i]->name.len == name->len
            && ngx_strncmp(kp[i]->name.data, name->data, name->len) == 0)
        {
            return kp[i];
        }
    }

    keys = ngx_pcalloc(cf->pool, sizeof(*keys));
    cln = ngx_pool_cleanup_add(cf->pool, 0);
    kp = ngx_array_push(&jmcf->keys);

    if (keys == NULL || cln == NULL || kp == NULL
        || ngx_array_init(&keys->sources, cf->pool, 2,
                          sizeof(ngx_http_gateway_jwt_source_t *))
           != NGX_OK)
    {
        return NULL;
    }

    *kp = keys;

    keys->name = *name;
    keys->main = jmcf;
    keys->file = cf->conf_file->file.name;
    keys->line = cf->conf_file->line;
    ngx_queue_init(&keys->waiting);

    cln->handler = ngx_http_gateway_jwt_keys_cleanup;
    cln->data = keys;

    return keys;
}


static char *
ngx_http_gateway_jwt_keys_uri(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source)
{
    ngx_str_t  name;

    if (source->name.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"uri=%V\" in \"gateway_jwt_keys\": "
                           "accepted is a location that begins with \"/\"; "
                           "for another host write \"uri=/_jwks\" and "
                           "\"location = /_jwks { internal; proxy_pass "
                           "https://host/jwks.json; }\"", &source->name);
        return NGX_CONF_ERROR;
    }

    if (source->refresh == 0) {
        source->refresh = NGX_HTTP_GATEWAY_JWT_REFRESH;
    }

    name.len = sizeof("gateway_jwt_keys::") - 1 + source->keys->name.len
               + source->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(name.data, "gateway_jwt_keys:%V:%V", &source->keys->name,
                &source->name);

    source->zone = ngx_shared_memory_add(cf, &name,
                                         NGX_HTTP_GATEWAY_JWT_ZONE_SIZE,
                                         &ngx_http_gateway_jwt_module);
    if (source->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (source->zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "source \"uri=%V\" of \"gateway_jwt_keys %V\" is "
                           "duplicate: remove one of the two",
                           &source->name, &source->keys->name);
        return NGX_CONF_ERROR;
    }

    source->zone->init = ngx_http_gateway_jwt_keys_init_zone;
    source->zone->data = source;

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_jwt_keys_file(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source)
{
    int                                rc;
    char                              *hint;
    gw_str_t                           text;
    gw_jwt_lib_t                      *lib;
    gw_jwk_parse_t                     parse;
    ngx_http_gateway_jwt_report_t      report;

    lib = source->keys->main->lib;

    if (ngx_conf_full_name(cf->cycle, &source->name, 1) != NGX_OK
        || ngx_http_gateway_jwt_keys_read(cf, source, &text) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    report.cf = cf;
    report.source = source;

    ngx_memzero(&parse, sizeof(parse));
    parse.report = ngx_http_gateway_jwt_keys_conf_report;
    parse.data = &report;

    switch (source->type) {

    case NGX_HTTP_GATEWAY_JWT_SECRET:
        rc = gw_jwk_set_parse_secret(lib, text, &parse, &source->set);
        break;

    case NGX_HTTP_GATEWAY_JWT_PEM:
        rc = gw_jwk_set_parse_pem(lib, text, &parse, &source->set);
        break;

    default:
        rc = gw_jwk_set_parse_jwks(lib, text, &parse, &source->set);
    }

    hint = ngx_http_gateway_jwt_keys_hint(source, &text);

    ngx_explicit_memzero((u_char *) text.data, text.len);
    ngx_free((u_char *) text.data);

    if (rc != GW_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"gateway_jwt_keys %V\" cannot be used "
                           "as \"%V\": %s; %s",
                           &source->name, &source->keys->name,
                           &ngx_http_gateway_jwt_sources[source->type],
                           parse.error, hint);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Reads the whole file into memory of its own, never empty of size. */

static ngx_int_t
ngx_http_gateway_jwt_keys_read(ngx_conf_t *cf,
    ngx_http_gateway_jwt_source_t *source, gw_str_t *text)
{
    u_char           *p;
    size_t            size;
    ssize_t           n;
    ngx_int_t         rc;
    ngx_file_t        file;
    ngx_file_info_t   fi;

    rc = NGX_ERROR;

    ngx_memzero(&file, sizeof(file));
    file.name = source->name;
    file.log = cf->log;

    file.fd = ngx_open_file(source->name.data, NGX_FILE_RDONLY,
                            NGX_FILE_OPEN, 0);
    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open \"%V\" of \"gateway_jwt_keys %V\"; "
                           "a relative path starts at the directory of "
                           "nginx.conf", &source->name, &source->keys->name);
        return NGX_ERROR;
    }

    if (ngx_fd_info(file.fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", &source->name);
        goto done;
    }

    if (!ngx_is_file(&fi) || ngx_file_size(&fi) > GW_JWK_DOCUMENT_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"gateway_jwt_keys %V\" is not a file "
                           "of at most 1 megabyte",
                           &source->name, &source->keys->name);
        goto done;
    }

    size = (size_t) ngx_file_size(&fi);

    p = ngx_alloc(size + 1, cf->log);
    if (p == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, p, size, 0);

    if (n == NGX_ERROR || (size_t) n != size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "cannot read \"%V\" of \"gateway_jwt_keys %V\"",
                           &source->name, &source->keys->name);
        ngx_free(p);
        goto done;
    }

    text->data = p;
    text->len = size;
    rc = NGX_OK;

done:

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &source->name);
    }

    return rc;
}


/* What to write instead, by a guess at what the file is. */

static char *
ngx_http_gateway_jwt_keys_hint(ngx_http_gateway_jwt_source_t *source,
    gw_str_t *text)
{
    u_char  *p, *last;

    p = (u_char *) text->data;
    last = p + text->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == CR || *p == LF)) {
        p++;
    }

    if (source->type != NGX_HTTP_GATEWAY_JWT_PEM
        && last - p > 10 && ngx_strncmp(p, "-----BEGIN", 10) == 0)
    {
        return "it looks like PEM: write \"pem=path\"";
    }

    if (source->type == NGX_HTTP_GATEWAY_JWT_PEM && p < last && *p == '{') {
        return "it looks like a JWKS: write \"file=path\"";
    }

    switch (source->type) {

    case NGX_HTTP_GATEWAY_JWT_SECRET:
        return "accepted are the bytes of the secret, at most 64 kilobytes";

    case NGX_HTTP_GATEWAY_JWT_PEM:
        return "accepted is one public key or certificate in PEM, such as "
               "\"openssl pkey -in key.pem -pubout\" prints";

    default:
        return "accepted is a JWKS, {\"keys\":[...]}";
    }
}


static void
ngx_http_gateway_jwt_keys_conf_report(void *data, gw_jwk_level_e level,
    const char *text)
{
    ngx_http_gateway_jwt_report_t *report = data;

    ngx_conf_log_error(level == GW_JWK_WARN ? NGX_LOG_WARN : NGX_LOG_INFO,
                       report->cf, 0, "\"%V\" of \"gateway_jwt_keys %V\": %s",
                       &report->source->name, &report->source->keys->name,
                       text);
}


ngx_int_t
ngx_http_gateway_jwt_keys_init(ngx_conf_t *cf)
{
    ngx_uint_t                          i, n;
    ngx_http_gateway_jwt_keys_t       **keys;
    ngx_http_gateway_jwt_source_t     **source;
    ngx_http_gateway_jwt_main_conf_t   *jmcf;

    jmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_jwt_module);
    keys = jmcf->keys.elts;

    for (i = 0; i < jmcf->keys.nelts; i++) {

        if (keys[i]->sources.nelts == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown key set \"%V\" in \"gateway_jwt %V\" in "
                          "%V:%ui: define it in http by \"gateway_jwt_keys "
                          "%V file=path\" (or \"uri=\", \"secret_file=\", "
                          "\"pem=\"), or write \"gateway_jwt off\"",
                          &keys[i]->name, &keys[i]->name, &keys[i]->file,
                          keys[i]->line, &keys[i]->name);
            return NGX_ERROR;
        }

        keys[i]->sets = ngx_pcalloc(cf->pool, keys[i]->sources.nelts
                                              * sizeof(gw_jwk_set_t *));
        if (keys[i]->sets == NULL) {
            return NGX_ERROR;
        }

        source = keys[i]->sources.elts;

        for (n = 0; n < keys[i]->sources.nelts; n++) {
            keys[i]->sets[n] = source[n]->set;
            source[n]->set = NULL;
        }
    }

    return NGX_OK;
}


/* With the configuration; in a worker also what was fetched since. */

static void
ngx_http_gateway_jwt_keys_cleanup(void *data)
{
    ngx_http_gateway_jwt_keys_t *keys = data;

    ngx_uint_t                      i;
    ngx_http_gateway_jwt_source_t **source;

    ngx_http_gateway_jwt_refresh_stop(keys);

    source = keys->sources.elts;

    for (i = 0; i < keys->sources.nelts; i++) {
        gw_jwk_set_destroy(source[i]->set);

        if (keys->sets) {
            gw_jwk_set_destroy(keys->sets[i]);
            keys->sets[i] = NULL;
        }
    }
}


static ngx_int_t
ngx_http_gateway_jwt_keys_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_gateway_jwt_source_t *old = data;

    ngx_slab_pool_t                *shpool;
    ngx_http_gateway_jwt_shared_t  *sh;
    ngx_http_gateway_jwt_source_t  *source;

    source = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (old || zone->shm.exists) {

        /* what was fetched stays in use, but the location may be another */

        source->sh = old ? old->sh : shpool->data;

        ngx_shmtx_lock(&shpool->mutex);
        source->sh->next = ngx_current_msec;
        ngx_shmtx_unlock(&shpool->mutex);

        return NGX_OK;
    }

    sh = ngx_slab_alloc(shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(sh, offsetof(ngx_http_gateway_jwt_shared_t, area));
    sh->next = ngx_current_msec;

    shpool->data = sh;
    source->sh = sh;

    return NGX_OK;
}
