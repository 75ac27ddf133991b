/*
 * The status endpoint: all metrics, summed over the workers.
 *
 * `?format=` prometheus, json or html decides, else the Accept header, else
 * it is json. html is answered with json as long as there is no page.
 *
 * prometheus is the text format 0.0.4. json is
 *
 *     {"version": "0.1.0",         of the gateway
 *      "nginx": "1.22.1",
 *      "workers": 2,               ending ones included
 *      "metrics": {
 *          "name": 1,              a metric without labels
 *          "name": [{"labels": {"zone": "z"}, "value": 1}, ...],
 *          "name": [{"labels": {...}, "count": 3, "sum": 0.012,
 *                    "buckets": {"0.00005": 0, ..., "+Inf": 3}}, ...]}}
 *
 * The last is a histogram, always as an array: times are in seconds, and a
 * bucket counts all observations up to its name, the smaller ones included.
 */

#include "ngx_http_gateway_cache.h"
#include "ngx_http_gateway_header.h"
#include "ngx_http_gateway_metrics_read.h"
#include "ngx_http_gateway_text.h"
#include "ngx_http_gateway_version.h"


typedef enum {
    NGX_HTTP_GATEWAY_STATUS_UNKNOWN = 0,
    NGX_HTTP_GATEWAY_STATUS_JSON,
    NGX_HTTP_GATEWAY_STATUS_PROMETHEUS,
    NGX_HTTP_GATEWAY_STATUS_HTML
} ngx_http_gateway_status_format_e;


typedef struct {
    ngx_str_t                          name;
    ngx_http_gateway_status_format_e   format;
} ngx_http_gateway_status_name_t;


#define ngx_http_gateway_status_add_str(t, s)                                \
    ngx_http_gateway_text_add(t, (s)->data, (s)->len)

#define ngx_http_gateway_status_add_chars(t, s)                              \
    ngx_http_gateway_text_add(t, s, ngx_strlen(s))


static char *ngx_http_gateway_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_gateway_status_commands[] = {

    { ngx_string("gateway_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_gateway_status,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_status_module_ctx = {
    NULL,                                      /* preconfiguration */
    NULL,                                      /* postconfiguration */
    NULL,                                      /* create main configuration */
    NULL,                                      /* init main configuration */
    NULL,                                      /* create server conf */
    NULL,                                      /* merge server conf */
    NULL,                                      /* create location conf */
    NULL                                       /* merge location conf */
};


ngx_module_t  ngx_http_gateway_status_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_status_module_ctx,       /* module context */
    ngx_http_gateway_status_commands,          /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    NULL,                                      /* init module */
    NULL,                                      /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    NULL,                                      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_gateway_status_name_t  ngx_http_gateway_status_formats[] = {
    { ngx_string("json"), NGX_HTTP_GATEWAY_STATUS_JSON },
    { ngx_string("prometheus"), NGX_HTTP_GATEWAY_STATUS_PROMETHEUS },
    { ngx_string("html"), NGX_HTTP_GATEWAY_STATUS_HTML },
    { ngx_null_string, NGX_HTTP_GATEWAY_STATUS_UNKNOWN }
};


static ngx_http_gateway_status_name_t  ngx_http_gateway_status_types[] = {
    { ngx_string("application/json"), NGX_HTTP_GATEWAY_STATUS_JSON },
    { ngx_string("application/openmetrics-text"),
      NGX_HTTP_GATEWAY_STATUS_PROMETHEUS },
    { ngx_string("text/plain"), NGX_HTTP_GATEWAY_STATUS_PROMETHEUS },
    { ngx_string("text/html"), NGX_HTTP_GATEWAY_STATUS_HTML },
    { ngx_null_string, NGX_HTTP_GATEWAY_STATUS_UNKNOWN }
};


static ngx_http_gateway_status_format_e
ngx_http_gateway_status_find(ngx_http_gateway_status_name_t *names,
    u_char *p, size_t len)
{
    for ( /* void */ ; names->name.len; names++) {
        if (names->name.len == len
            && ngx_strncasecmp(names->name.data, p, len) == 0)
        {
            break;
        }
    }

    return names->format;
}


static u_char *
ngx_http_gateway_status_skip(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* Where the next of these characters is, or the end. */

static u_char *
ngx_http_gateway_status_until(u_char *p, u_char *last, const char *chars)
{
    while (p < last && strchr(chars, *p ? *p : 'x') == NULL) {
        p++;
    }

    return p;
}


/* The q of a media range in thousandths; p is behind its type. */

static ngx_int_t
ngx_http_gateway_status_quality(u_char *p, u_char *last)
{
    u_char     *end;
    ngx_int_t   q;

    while (p < last) {
        p = ngx_http_gateway_status_skip(p + 1, last);
        end = ngx_http_gateway_status_until(p, last, "; \t");

        if (end - p > 2 && (*p == 'q' || *p == 'Q') && p[1] == '=') {
            q = ngx_atofp(p + 2, ngx_min(end - p - 2, 5), 3);
            return q == NGX_ERROR ? 0 : ngx_min(q, 1000);
        }

        p = ngx_http_gateway_status_until(end, last, ";");
    }

    return 1000;
}


/* The best of what is known in one Accept header; of equals the first. */

static void
ngx_http_gateway_status_accept(ngx_str_t *value,
    ngx_http_gateway_status_format_e *format, ngx_int_t *best)
{
    u_char                            *p, *last, *end, *type;
    ngx_int_t                          q;
    ngx_http_gateway_status_format_e   f;

    p = value->data;
    last = p + value->len;

    while (p < last) {
        p = ngx_http_gateway_status_skip(p, last);
        end = ngx_http_gateway_status_until(p, last, ",");
        type = ngx_http_gateway_status_until(p, end, "; \t");

        f = ngx_http_gateway_status_find(ngx_http_gateway_status_types, p,
                                         type - p);

        if (f != NGX_HTTP_GATEWAY_STATUS_UNKNOWN) {
            type = ngx_http_gateway_status_until(type, end, ";");
            q = ngx_http_gateway_status_quality(type, end);

            if (q > *best) {
                *best = q;
                *format = f;
            }
        }

        p = end + 1;
    }
}


static ngx_http_gateway_status_format_e
ngx_http_gateway_status_format(ngx_http_request_t *r)
{
    ngx_str_t                          value;
    ngx_int_t                          best;
    ngx_uint_t                         i;
    ngx_list_part_t                   *part;
    ngx_table_elt_t                   *h;
    ngx_http_gateway_status_format_e   format;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK) {
        return ngx_http_gateway_status_find(ngx_http_gateway_status_formats,
                                            value.data, value.len);
    }

    format = NGX_HTTP_GATEWAY_STATUS_JSON;
    best = 0;

    /* r->headers_in.accept is not there in every build of nginx */

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == 6
                && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept", 6) == 0)
            {
                ngx_http_gateway_status_accept(&h[i].value, &format, &best);
            }
        }
    }

    return format;
}


static void
ngx_http_gateway_status_int(ngx_http_gateway_text_t *t, int64_t n)
{
    uint64_t  u;

    u = (uint64_t) n;

    if (n < 0) {
        ngx_http_gateway_text_literal(t, "-");
        u = -u;
    }

    ngx_http_gateway_text_uint(t, u);
}


static void
ngx_http_gateway_status_seconds(ngx_http_gateway_text_t *t, int64_t us)
{
    u_char  buf[NGX_INT64_LEN + sizeof(".000000")], *p;

    p = ngx_sprintf(buf, "%L.%06L", us / 1000000, us % 1000000);

    ngx_http_gateway_text_add(t, buf, p - buf);
}


/* Begins a new name: what stands once above all its series. */

static void
ngx_http_gateway_status_help(ngx_http_gateway_text_t *t,
    ngx_http_gateway_sample_t *s)
{
    size_t                i;
    static const char    *types[] = { "counter", "gauge", "histogram" };

    ngx_http_gateway_text_literal(t, "# HELP ");
    ngx_http_gateway_status_add_str(t, &s->name);
    ngx_http_gateway_text_literal(t, " ");

    for (i = 0; i < s->help.len; i++) {
        if (s->help.data[i] == '\\') {
            ngx_http_gateway_text_literal(t, "\\\\");

        } else if (s->help.data[i] == '\n') {
            ngx_http_gateway_text_literal(t, "\\n");

        } else {
            ngx_http_gateway_text_add(t, &s->help.data[i], 1);
        }
    }

    ngx_http_gateway_text_literal(t, "\n# TYPE ");
    ngx_http_gateway_status_add_str(t, &s->name);
    ngx_http_gateway_text_literal(t, " ");
    ngx_http_gateway_status_add_chars(t, types[s->type]);
    ngx_http_gateway_text_literal(t, "\n");
}


/* A line up to its value. le: the bound of a bucket, or NULL. */

static void
ngx_http_gateway_status_series(ngx_http_gateway_text_t *t,
    ngx_http_gateway_sample_t *s, const char *suffix, const char *le)
{
    ngx_http_gateway_status_add_str(t, &s->name);
    ngx_http_gateway_status_add_chars(t, suffix);

    if (s->labels.len || le) {
        ngx_http_gateway_text_literal(t, "{");
        ngx_http_gateway_status_add_str(t, &s->labels);

        if (le) {
            if (s->labels.len) {
                ngx_http_gateway_text_literal(t, ",");
            }

            ngx_http_gateway_text_literal(t, "le=\"");
            ngx_http_gateway_status_add_chars(t, le);
            ngx_http_gateway_text_literal(t, "\"");
        }

        ngx_http_gateway_text_literal(t, "}");
    }

    ngx_http_gateway_text_literal(t, " ");
}


static void
ngx_http_gateway_status_histogram(ngx_http_gateway_text_t *t,
    ngx_http_gateway_sample_t *s)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_GATEWAY_METRIC_BUCKETS; i++) {
        ngx_http_gateway_status_series(t, s, "_bucket",
                                       ngx_http_gateway_metric_bounds[i]);
        ngx_http_gateway_status_int(t, s->buckets[i]);
        ngx_http_gateway_text_literal(t, "\n");
    }

    ngx_http_gateway_status_series(t, s, "_sum", NULL);
    ngx_http_gateway_status_seconds(t, s->sum);
    ngx_http_gateway_text_literal(t, "\n");

    ngx_http_gateway_status_series(t, s, "_count", NULL);
    ngx_http_gateway_status_int(t, s->buckets[i - 1]);
    ngx_http_gateway_text_literal(t, "\n");
}


static ngx_uint_t
ngx_http_gateway_status_same(ngx_http_gateway_sample_t *a,
    ngx_http_gateway_sample_t *b)
{
    return a->name.len == b->name.len
           && ngx_memcmp(a->name.data, b->name.data, a->name.len) == 0;
}


static void
ngx_http_gateway_status_prometheus(ngx_http_gateway_text_t *t,
    ngx_array_t *samples)
{
    ngx_uint_t                  i;
    ngx_http_gateway_sample_t  *s;

    s = samples->elts;

    for (i = 0; i < samples->nelts; i++) {

        if (i == 0 || !ngx_http_gateway_status_same(&s[i - 1], &s[i])) {
            ngx_http_gateway_status_help(t, &s[i]);
        }

        if (s[i].type == NGX_HTTP_GATEWAY_HISTOGRAM) {
            ngx_http_gateway_status_histogram(t, &s[i]);
            continue;
        }

        ngx_http_gateway_status_series(t, &s[i], "", NULL);
        ngx_http_gateway_status_int(t, s[i].value);
        ngx_http_gateway_text_literal(t, "\n");
    }
}


/* Takes a label's value out of the text format, in place: up to its quote. */

static u_char *
ngx_http_gateway_status_value(u_char *p, u_char *last, gw_str_t *value)
{
    u_char  *dst;

    dst = p;
    value->data = p;

    while (p < last && *p != '"') {

        if (*p == '\\' && p + 1 < last) {
            p++;
            *dst++ = *p == 'n' ? '\n' : *p;
            p++;
            continue;
        }

        *dst++ = *p++;
    }

    value->len = dst - value->data;

    return p;
}


static void
ngx_http_gateway_status_labels(ngx_http_gateway_text_t *t, ngx_str_t *labels,
    ngx_pool_t *pool)
{
    u_char      *p, *last, *name;
    gw_str_t     s;
    ngx_uint_t   first;

    ngx_http_gateway_text_literal(t, "{\"labels\":{");

    p = labels->len ? ngx_pstrdup(pool, labels) : NULL;
    last = p ? p + labels->len : NULL;

    for (first = 1; p < last; first = 0) {
        name = p;
        p = ngx_http_gateway_status_until(p, last, "=");

        s.data = name;
        s.len = p - name;

        /* over ="; without it these are no labels */
        if (last - p < 2) {
            break;
        }

        if (!first) {
            ngx_http_gateway_text_literal(t, ",");
        }

        ngx_http_gateway_text_string(t, s);
        ngx_http_gateway_text_literal(t, ":");

        p = ngx_http_gateway_status_value(p + 2, last, &s);
        ngx_http_gateway_text_string(t, s);

        /* over ", */
        p = ngx_http_gateway_status_until(p, last, ",");
        p += p < last;
    }

    ngx_http_gateway_text_literal(t, "}");
}


static void
ngx_http_gateway_status_item(ngx_http_gateway_text_t *t,
    ngx_http_gateway_sample_t *s, ngx_pool_t *pool)
{
    ngx_uint_t  i;

    ngx_http_gateway_status_labels(t, &s->labels, pool);

    if (s->type != NGX_HTTP_GATEWAY_HISTOGRAM) {
        ngx_http_gateway_text_literal(t, ",\"value\":");
        ngx_http_gateway_status_int(t, s->value);
        ngx_http_gateway_text_literal(t, "}");
        return;
    }

    ngx_http_gateway_text_literal(t, ",\"count\":");
    ngx_http_gateway_status_int(t,
                             s->buckets[NGX_HTTP_GATEWAY_METRIC_BUCKETS - 1]);
    ngx_http_gateway_text_literal(t, ",\"sum\":");
    ngx_http_gateway_status_seconds(t, s->sum);
    ngx_http_gateway_text_literal(t, ",\"buckets\":{");

    for (i = 0; i < NGX_HTTP_GATEWAY_METRIC_BUCKETS; i++) {
        if (i) {
            ngx_http_gateway_text_literal(t, ",");
        }

        ngx_http_gateway_text_literal(t, "\"");
        ngx_http_gateway_status_add_chars(t,
                                          ngx_http_gateway_metric_bounds[i]);
        ngx_http_gateway_text_literal(t, "\":");
        ngx_http_gateway_status_int(t, s->buckets[i]);
    }

    ngx_http_gateway_text_literal(t, "}}");
}


static void
ngx_http_gateway_status_metrics(ngx_http_gateway_text_t *t,
    ngx_array_t *samples, ngx_pool_t *pool)
{
    ngx_uint_t                  i, n, first;
    ngx_http_gateway_sample_t  *s;

    s = samples->elts;
    n = samples->nelts;

    for (i = 0; i < n; i++) {
        first = i == 0 || !ngx_http_gateway_status_same(&s[i - 1], &s[i]);

        if (i) {
            ngx_http_gateway_text_literal(t, ",");
        }

        if (first) {
            ngx_http_gateway_text_string(t, ngx_http_gateway_span(&s[i].name));
            ngx_http_gateway_text_literal(t, ":");
        }

        if (first && s[i].labels.len == 0
            && s[i].type != NGX_HTTP_GATEWAY_HISTOGRAM
            && (i + 1 == n || !ngx_http_gateway_status_same(&s[i], &s[i + 1])))
        {
            ngx_http_gateway_status_int(t, s[i].value);
            continue;
        }

        if (first) {
            ngx_http_gateway_text_literal(t, "[");
        }

        ngx_http_gateway_status_item(t, &s[i], pool);

        if (i + 1 == n || !ngx_http_gateway_status_same(&s[i], &s[i + 1])) {
            ngx_http_gateway_text_literal(t, "]");
        }
    }
}


static void
ngx_http_gateway_status_json(ngx_http_gateway_text_t *t,
    ngx_array_t *samples, ngx_http_request_t *r)
{
    ngx_http_gateway_text_literal(t, "{\"version\":\""
                                     NGX_HTTP_GATEWAY_VERSION
                                     "\",\"nginx\":\"" NGINX_VERSION
                                     "\",\"workers\":");
    ngx_http_gateway_text_uint(t, ngx_http_gateway_metrics_workers(r));
    ngx_http_gateway_text_literal(t, ",\"metrics\":{");
    ngx_http_gateway_status_metrics(t, samples, r->pool);
    ngx_http_gateway_text_literal(t, "}}\n");
}


static ngx_int_t
ngx_http_gateway_status_header(ngx_http_request_t *r, char *key, char *value)
{
    return ngx_http_gateway_header_add(r, key, (u_char *) value,
                                       ngx_strlen(value));
}


static ngx_int_t
ngx_http_gateway_status_send(ngx_http_request_t *r,
    ngx_http_gateway_text_t *t, ngx_uint_t prometheus)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_create_temp_buf(r->pool, t->len);

    if (b == NULL
        || ngx_http_gateway_status_header(r, "Cache-Control", "no-store")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->pos, t->data, t->len);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    if (prometheus) {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4; charset=utf-8");
        r->headers_out.content_type_len = sizeof("text/plain") - 1;

    } else {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = t->len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_gateway_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                          rc;
    ngx_array_t                       *samples;
    ngx_http_gateway_text_t           *t;
    ngx_http_gateway_status_format_e   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        rc = ngx_http_gateway_status_header(r, "Allow", "GET, HEAD");
        return rc == NGX_OK ? NGX_HTTP_NOT_ALLOWED
                            : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    format = ngx_http_gateway_status_format(r);

    if (format == NGX_HTTP_GATEWAY_STATUS_UNKNOWN) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "unknown format of gateway_status");
        return NGX_HTTP_BAD_REQUEST;
    }

    samples = ngx_http_gateway_metrics_read(r);
    if (samples == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = ngx_http_gateway_text();

    if (format == NGX_HTTP_GATEWAY_STATUS_PROMETHEUS) {
        ngx_http_gateway_status_prometheus(t, samples);
        /* a body of no bytes is an alert in nginx */
        if (t->len == 0) {
            ngx_http_gateway_text_literal(t, "\n");
        }

    } else {
        ngx_http_gateway_status_json(t, samples, r);
    }

    if (t->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_gateway_status_send(r, t,
                               format == NGX_HTTP_GATEWAY_STATUS_PROMETHEUS);
}


static char *
ngx_http_gateway_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_gateway_status_handler) {
        return "is duplicate";
    }

    clcf->handler = ngx_http_gateway_status_handler;
    ngx_http_gateway_cache_never(cf);

    return ngx_http_gateway_metrics_use(cf) == NGX_OK ? NGX_CONF_OK
                                                      : NGX_CONF_ERROR;
}
