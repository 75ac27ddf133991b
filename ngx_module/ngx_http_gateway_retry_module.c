/*
 * gateway_retry: attempts at an upstream, with backoff and a budget.
 */

#include "ngx_http_gateway_retry_int.h"


#define NGX_HTTP_GATEWAY_RETRY_MAX  100   /* attempts */


static ngx_int_t ngx_http_gateway_retry_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_gateway_retry_add_variables(ngx_conf_t *cf);
static void *ngx_http_gateway_retry_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_retry_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_retry_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_gateway_retry(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_gateway_retry_init(ngx_conf_t *cf);


/* The first three are asked for by number. */

ngx_http_gateway_retry_cause_t  ngx_http_gateway_retry_causes[] = {
    { ngx_string("error"), 0, NGX_HTTP_UPSTREAM_FT_ERROR },
    { ngx_string("timeout"), 0, NGX_HTTP_UPSTREAM_FT_TIMEOUT },
    { ngx_string("invalid_header"), 0, NGX_HTTP_UPSTREAM_FT_INVALID_HEADER },
    { ngx_string("http_403"), 403, NGX_HTTP_UPSTREAM_FT_HTTP_403 },
    { ngx_string("http_404"), 404, NGX_HTTP_UPSTREAM_FT_HTTP_404 },
    { ngx_string("http_429"), 429, NGX_HTTP_UPSTREAM_FT_HTTP_429 },
    { ngx_string("http_500"), 500, NGX_HTTP_UPSTREAM_FT_HTTP_500 },
    { ngx_string("http_502"), 502, NGX_HTTP_UPSTREAM_FT_HTTP_502 },
    { ngx_string("http_503"), 503, NGX_HTTP_UPSTREAM_FT_HTTP_503 },
    { ngx_string("http_504"), 504, NGX_HTTP_UPSTREAM_FT_HTTP_504 },
    { ngx_null_string, 0, 0 }
};


static ngx_command_t  ngx_http_gateway_retry_commands[] = {

    { ngx_string("gateway_retry"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_retry,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_retry_module_ctx = {
    ngx_http_gateway_retry_add_variables,    /* preconfiguration */
    ngx_http_gateway_retry_init,             /* postconfiguration */

    ngx_http_gateway_retry_create_main_conf, /* create main configuration */
    NULL,                                    /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_gateway_retry_create_loc_conf,  /* create location conf */
    ngx_http_gateway_retry_merge_loc_conf    /* merge location conf */
};


ngx_module_t  ngx_http_gateway_retry_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_retry_module_ctx,      /* module context */
    ngx_http_gateway_retry_commands,         /* module directives */
    NGX_HTTP_MODULE,                         /* module type */
    NULL,                                    /* init master */
    NULL,                                    /* init module */
    NULL,                                    /* init process */
    NULL,                                    /* init thread */
    NULL,                                    /* exit thread */
    NULL,                                    /* exit process */
    NULL,                                    /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_gateway_retry_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_uint_t  n;

    n = ngx_http_gateway_retry_attempts(r);

    if (n == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(v->data, "%ui", n) - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_gateway_retry_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    static ngx_str_t  name = ngx_string("gateway_retry_attempts");

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_gateway_retry_variable;

    return NGX_OK;
}


static void *
ngx_http_gateway_retry_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_gateway_retry_main_conf_t));
}


static void *
ngx_http_gateway_retry_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_retry_loc_conf_t  *rlcf;

    rlcf = ngx_palloc(cf->pool, sizeof(*rlcf));
    if (rlcf == NULL) {
        return NULL;
    }

    rlcf->retry = NGX_CONF_UNSET_PTR;

    return rlcf;
}


static char *
ngx_http_gateway_retry_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_retry_loc_conf_t *prev = parent;
    ngx_http_gateway_retry_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->retry, prev->retry, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_http_gateway_retry_causes_param(ngx_http_gateway_retry_t *retry,
    ngx_str_t *s)
{
    u_char                          *p, *end, *last;
    ngx_http_gateway_retry_cause_t  *cause;

    static char  accepted[] =
        "a list of error, timeout, invalid_header, http_403, http_404, "
        "http_429, http_500, http_502, http_503 and http_504, such as "
        "\"on=error,timeout\", is accepted, each once";

    if (retry->on & ~NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT) {
        return "\"on=\" is accepted once";
    }

    end = s->data + s->len;

    for (p = s->data; p <= end; p = last + 1) {

        last = ngx_strlchr(p, end, ',');
        last = last ? last : end;

        for (cause = ngx_http_gateway_retry_causes; cause->mask; cause++) {
            if (cause->name.len == (size_t) (last - p)
                && ngx_memcmp(cause->name.data, p, last - p) == 0)
            {
                break;
            }
        }

        if (cause->mask == 0 || (retry->on & cause->mask)) {
            return accepted;
        }

        retry->on |= cause->mask;
    }

    return NULL;
}


/* A number, with `unit` behind it, in that range; UNSET: it is not one. */

static ngx_uint_t
ngx_http_gateway_retry_number(ngx_str_t *s, char *unit, ngx_int_t min,
    ngx_int_t max)
{
    size_t     len;
    ngx_int_t  n;

    len = ngx_strlen(unit);

    if (s->len < len || ngx_memcmp(s->data + s->len - len, unit, len) != 0) {
        return NGX_CONF_UNSET_UINT;
    }

    n = ngx_atoi(s->data, s->len - len);

    return n != NGX_ERROR && n >= min && n <= max ? (ngx_uint_t) n
                                                  : NGX_CONF_UNSET_UINT;
}


/* What follows `name` and "=" in a parameter, NULL where it is another. */

static ngx_str_t *
ngx_http_gateway_retry_named(ngx_str_t *param, char *name, ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (param->len <= len || param->data[len] != '='
        || ngx_memcmp(param->data, name, len) != 0)
    {
        return NULL;
    }

    value->data = param->data + len + 1;
    value->len = param->len - len - 1;

    return value;
}


/* One parameter: NULL, or what is accepted instead. Unset: not there yet. */

static char *
ngx_http_gateway_retry_param(ngx_http_gateway_retry_t *retry,
    ngx_str_t *param)
{
    uint64_t    *ms;
    ngx_int_t    n;
    ngx_str_t    value;
    ngx_uint_t   m;

    if (ngx_http_gateway_retry_named(param, "attempts", &value)) {
        m = ngx_http_gateway_retry_number(&value, "", 1,
                                          NGX_HTTP_GATEWAY_RETRY_MAX);

        if (m == NGX_CONF_UNSET_UINT
            || retry->attempts != NGX_CONF_UNSET_UINT)
        {
            return "a number of attempts from 1 to 100 is accepted, once";
        }

        retry->attempts = m;
        return NULL;
    }

    ms = ngx_http_gateway_retry_named(param, "backoff", &value)
         ? &retry->backoff.backoff
         : ngx_http_gateway_retry_named(param, "max", &value)
         ? &retry->backoff.max : NULL;

    if (ms) {
        n = ngx_parse_time(&value, 0);

        if (value.len == 0 || n == NGX_ERROR || n > 86400000
            || *ms != UINT64_MAX)
        {
            return "a time up to 1d such as 100ms or 2s is accepted, once";
        }

        *ms = n;
        return NULL;
    }

    if (ngx_http_gateway_retry_named(param, "jitter", &value)) {
        m = ngx_http_gateway_retry_number(&value, "%", 0, 100);

        if (m == NGX_CONF_UNSET_UINT || retry->backoff.jitter != UINT32_MAX) {
            return "a share from 0% to 100% is accepted, once";
        }

        retry->backoff.jitter = m;
        return NULL;
    }

    if (ngx_http_gateway_retry_named(param, "budget", &value)) {
        m = ngx_http_gateway_retry_number(&value, "%", 0, 1000);

        if (m == NGX_CONF_UNSET_UINT || retry->share != NGX_CONF_UNSET_UINT) {
            return "a share from 0% to 1000% is accepted, once";
        }

        retry->share = m;
        return NULL;
    }

    if (ngx_http_gateway_retry_named(param, "on", &value)) {
        return ngx_http_gateway_retry_causes_param(retry, &value);
    }

    if (param->len == sizeof("non_idempotent") - 1
        && ngx_memcmp(param->data, "non_idempotent", param->len) == 0
        && !(retry->on & NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT))
    {
        retry->on |= NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;
        return NULL;
    }

    return "\"attempts=number\", \"backoff=time\", \"max=time\", "
           "\"jitter=N%\", \"budget=N%\", \"on=error,timeout,...\" and "
           "\"non_idempotent\" are accepted, each once";
}


/* Defaults, and what the parameters say together: NULL, or what is wrong. */

static char *
ngx_http_gateway_retry_complete(ngx_http_gateway_retry_t *retry)
{
    if (retry->attempts == NGX_CONF_UNSET_UINT) {
        return "no \"attempts\" in \"gateway_retry\", \"attempts=number\" "
               "such as \"attempts=3\" is needed";
    }

    if (retry->backoff.backoff == UINT64_MAX) {
        retry->backoff.backoff = retry->backoff.max < 100
                                 ? retry->backoff.max : 100;
    }

    if (retry->backoff.max == UINT64_MAX) {
        retry->backoff.max = 2000;
    }

    if (retry->backoff.max < retry->backoff.backoff) {
        return "\"backoff\" is longer than \"max\" in \"gateway_retry\", a "
               "\"max\" (2s by default) that is not shorter is accepted";
    }

    if (retry->backoff.jitter == UINT32_MAX) {
        retry->backoff.jitter = 25;
    }

    if (retry->share == NGX_CONF_UNSET_UINT) {
        retry->share = 20;
    }

    if ((retry->on & ~NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT) == 0) {
        retry->on |= NGX_HTTP_UPSTREAM_FT_ERROR
                     |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                     |NGX_HTTP_UPSTREAM_FT_HTTP_502
                     |NGX_HTTP_UPSTREAM_FT_HTTP_503
                     |NGX_HTTP_UPSTREAM_FT_HTTP_504;
    }

    return NULL;
}


static char *
ngx_http_gateway_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_gateway_retry_loc_conf_t *rlcf = conf;

    char                                *wrong;
    ngx_str_t                           *value, label;
    ngx_uint_t                           i;
    ngx_http_gateway_retry_t            *retry;
    ngx_http_gateway_retry_main_conf_t  *rmcf;

    static char  help[] = "Failed attempts that were or were not repeated.";

    if (rlcf->retry != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    retry = ngx_pcalloc(cf->pool, sizeof(*retry));
    if (retry == NULL) {
        return NGX_CONF_ERROR;
    }

    retry->budget = ngx_pcalloc(cf->pool, sizeof(*retry->budget));
    if (retry->budget == NULL) {
        return NGX_CONF_ERROR;
    }

    retry->attempts = NGX_CONF_UNSET_UINT;
    retry->share = NGX_CONF_UNSET_UINT;
    retry->backoff.backoff = UINT64_MAX;
    retry->backoff.max = UINT64_MAX;
    retry->backoff.jitter = UINT32_MAX;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        wrong = ngx_http_gateway_retry_param(retry, &value[i]);

        if (wrong) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\" in \"gateway_retry\": %s",
                               &value[i], wrong);
            return NGX_CONF_ERROR;
        }
    }

    wrong = ngx_http_gateway_retry_complete(retry);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", wrong);
        return NGX_CONF_ERROR;
    }

    rlcf->retry = retry;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_retry_module);

    ngx_str_set(&label, "result=\"retried\"");
    rmcf->retried = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_COUNTER,
                                      "gateway_retries_total", &label, help);

    ngx_str_set(&label, "result=\"budget\"");
    rmcf->refused = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_COUNTER,
                                      "gateway_retries_total", &label, help);

    return rmcf->retried && rmcf->refused ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static int ngx_libc_cdecl
ngx_http_gateway_retry_compare(const void *one, const void *two)
{
    const ngx_http_gateway_retry_wrapped_t *a = one;
    const ngx_http_gateway_retry_wrapped_t *b = two;

    return a->upstream < b->upstream ? -1 : a->upstream > b->upstream;
}


/*
 * init_upstream has been called for all upstreams by now, and those that
 * proxy_pass and its kin name by host are among them.
 */

static ngx_int_t
ngx_http_gateway_retry_init(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_upstream_srv_conf_t        **uscfp;
    ngx_http_upstream_main_conf_t        *umcf;
    ngx_http_gateway_retry_main_conf_t   *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_gateway_retry_module);

    if (rmcf->retried == NULL) {
        return NGX_OK;
    }

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    rmcf->n = umcf->upstreams.nelts;

    rmcf->wrapped = ngx_palloc(cf->pool,
                               (rmcf->n + 1) * sizeof(*rmcf->wrapped));
    if (rmcf->wrapped == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < rmcf->n; i++) {
        rmcf->wrapped[i].upstream = uscfp[i];
        rmcf->wrapped[i].init = uscfp[i]->peer.init;

        uscfp[i]->peer.init = ngx_http_gateway_retry_init_peer;
    }

    ngx_qsort(rmcf->wrapped, rmcf->n, sizeof(*rmcf->wrapped),
              ngx_http_gateway_retry_compare);

    return NGX_OK;
}
