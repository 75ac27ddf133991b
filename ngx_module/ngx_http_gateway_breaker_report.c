/*
 * What is told of a breaker: one line in the log for each transition, a
 * message on system:circuit of each channel zone, and metrics.
 */

#include "ngx_http_gateway_breaker_int.h"
#include "ngx_http_gateway_channel_zone.h"
#include "../src/envelope.h"
#include "../src/json_scan.h"


#define NGX_HTTP_GATEWAY_BREAKER_REASON  128


static void ngx_http_gateway_breaker_timer(ngx_event_t *ev);


/* of this worker: half-open is told when it is due, with or without requests;
 * should this worker be no more then, another looks once a second */
static ngx_event_t       ngx_http_gateway_breaker_due;
static ngx_connection_t  ngx_http_gateway_breaker_dumb;


char *
ngx_http_gateway_breaker_name(gw_breaker_state_e state)
{
    static char  *names[] = { "closed", "open", "half-open" };

    return names[state];
}


static gw_breaker_state_e
ngx_http_gateway_breaker_to(gw_breaker_change_e change)
{
    switch (change) {

    case GW_BREAKER_TIME:
        return GW_BREAKER_HALF_OPEN;

    case GW_BREAKER_WELL:
        return GW_BREAKER_CLOSED;

    default: /* in a row, ratio, probe */
        return GW_BREAKER_OPEN;
    }
}


static u_char *
ngx_http_gateway_breaker_reason(u_char *p, u_char *last,
    ngx_http_gateway_breaker_conf_t *bcf, gw_breaker_change_e change,
    ngx_uint_t kind)
{
    u_char  failure[sizeof("http_NNN")];

    static char  *kinds[] = { "error", "timeout", "slow" };

    if (kind < 3) {
        (void) ngx_cpystrn(failure, (u_char *) kinds[kind], sizeof(failure));

    } else {
        *ngx_snprintf(failure, sizeof(failure) - 1, "http_%ui", kind) = '\0';
    }

    switch (change) {

    case GW_BREAKER_IN_A_ROW:
        return ngx_slprintf(p, last, "%uD failures in a row, the last: %s",
                            bcf->core.failures, failure);

    case GW_BREAKER_RATIO:
        return ngx_slprintf(p, last, "%uD%% or more of at least %uD attempts "
                            "within %uL ms failed", bcf->core.ratio,
                            bcf->core.min_requests, bcf->core.window);

    case GW_BREAKER_PROBE:
        return ngx_slprintf(p, last, "a probe failed: %s", failure);

    case GW_BREAKER_WELL:
        return ngx_slprintf(p, last, "%uD probes in a row succeeded",
                            bcf->core.successes);

    default: /* GW_BREAKER_TIME */
        return ngx_slprintf(p, last, "its time is over");
    }
}


static void
ngx_http_gateway_breaker_log(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server, gw_breaker_change_e change, ngx_uint_t kind,
    uint64_t wait, ngx_log_t *log)
{
    u_char              *p, reason[NGX_HTTP_GATEWAY_BREAKER_REASON];
    gw_breaker_state_e   to;

    static ngx_str_t  none = ngx_string("");

    to = ngx_http_gateway_breaker_to(change);
    p = ngx_http_gateway_breaker_reason(reason, reason + sizeof(reason), bcf,
                                        change, kind);

    if (to == GW_BREAKER_OPEN) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "gateway_breaker: upstream \"%V\"%s%V is open for "
                      "%uL ms: %*s", &bcf->upstream->host,
                      server ? ", server " : "", server ? server : &none,
                      wait, (size_t) (p - reason), reason);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "gateway_breaker: upstream \"%V\"%s%V is %s: %*s",
                  &bcf->upstream->host, server ? ", server " : "",
                  server ? server : &none, ngx_http_gateway_breaker_name(to),
                  (size_t) (p - reason), reason);
}


static void
ngx_http_gateway_breaker_publish(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server, gw_breaker_state_e to, uint64_t wait)
{
    u_char                            *p;
    gw_str_t                           s;
    ngx_str_t                          body;
    ngx_uint_t                         i;
    ngx_array_t                       *zones;
    gw_message_t                       m;
    ngx_http_gateway_channel_info_t    info;
    ngx_http_gateway_channel_zone_t  **zone;
    u_char                             text[256
                                       + 12 * NGX_HTTP_GATEWAY_BREAKER_KEY];

    static ngx_str_t  channel = ngx_string("system:circuit");

    zones = ngx_http_gateway_channel_zones();
    zone = zones->elts;

    if (zones->nelts == 0) {
        return;
    }

    p = gw_copy(text, gw_str("{\"type\":\"circuit:state\",\"payload\":"
                             "{\"upstream\":"));
    s.data = bcf->upstream->host.data;
    s.len = bcf->upstream->host.len;
    p = gw_json_quote(p, s);

    if (server) {
        p = gw_copy(p, gw_str(",\"server\":"));
        s.data = server->data;
        s.len = server->len;
        p = gw_json_quote(p, s);
    }

    p = ngx_sprintf(p, ",\"state\":\"%s\",\"retryAfter\":%uL}}",
                    ngx_http_gateway_breaker_name(to), (wait + 999) / 1000);

    body.data = text;
    body.len = p - text;

    for (i = 0; i < zones->nelts; i++) {

        if (ngx_http_gateway_message_init(&m, NULL, &body,
                                          NGX_HTTP_GATEWAY_BODY_JSON)
            != NGX_OK)
        {
            return;
        }

        if (ngx_http_gateway_channel_publish(zone[i], &channel, &m, -1, &info)
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "no room for a message on system:circuit in "
                          "gateway_channel_zone \"%V\"", &zone[i]->name);
        }
    }
}


void
ngx_http_gateway_breaker_report(ngx_http_gateway_breaker_conf_t *bcf,
    ngx_str_t *server, gw_breaker_change_e change, ngx_uint_t kind,
    uint64_t wait, ngx_log_t *log)
{
    ngx_event_t         *ev;
    gw_breaker_state_e   to;

    to = ngx_http_gateway_breaker_to(change);

    ngx_http_gateway_count(bcf->to[to], 1);
    ngx_http_gateway_breaker_log(bcf, server, change, kind, wait, log);
    ngx_http_gateway_breaker_publish(bcf, server, to, wait);

    if (to != GW_BREAKER_OPEN) {
        return;
    }

    ev = &ngx_http_gateway_breaker_due;

    if (!ev->timer_set || ngx_current_msec + wait < ev->timer.key) {

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        ev->handler = ngx_http_gateway_breaker_timer;
        ev->data = &ngx_http_gateway_breaker_dumb;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, (ngx_msec_t) wait);
    }
}


static void
ngx_http_gateway_breaker_timer(ngx_event_t *ev)
{
    ngx_msec_t  next;

    next = ngx_http_gateway_breaker_sweep();

    if (next && !ngx_exiting && !ev->timer_set) {
        ngx_add_timer(ev, next);
    }
}


/* Once a second, and whenever this worker is woken for whatever reason. */

void
ngx_http_gateway_breaker_woken(void)
{
    (void) ngx_http_gateway_breaker_sweep();
}


static void
ngx_http_gateway_breaker_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    char                             *now, *name;
    ngx_str_t                         labels;
    ngx_uint_t                        i;
    ngx_http_gateway_breaker_conf_t  *bcf = data;

    now = ngx_http_gateway_breaker_look(bcf->upstream, NULL);

    for (i = 0; i < 3; i++) {
        name = ngx_http_gateway_breaker_name(i);

        labels.data = ngx_pnalloc(pool, bcf->label.len
                                        + sizeof(",state=\"half-open\""));
        if (labels.data == NULL) {
            return;
        }

        labels.len = ngx_sprintf(labels.data, "%V,state=\"%s\"", &bcf->label,
                                 name)
                     - labels.data;

        emit(ctx, "gateway_breaker_state", &labels,
             "The state of an upstream's breaker is 1, others are 0.",
             NGX_HTTP_GATEWAY_GAUGE, now && ngx_strcmp(now, name) == 0);
    }
}


ngx_int_t
ngx_http_gateway_breaker_metrics(ngx_conf_t *cf,
    ngx_http_gateway_breaker_conf_t *bcf)
{
    ngx_str_t   labels;
    ngx_uint_t  i;

    if (ngx_http_gateway_metric_label(cf, &bcf->label, "upstream",
                                      &bcf->upstream->host)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        labels.data = ngx_pnalloc(cf->pool, bcf->label.len
                                            + sizeof(",to=\"half-open\""));
        if (labels.data == NULL) {
            return NGX_ERROR;
        }

        labels.len = ngx_sprintf(labels.data, "%V,to=\"%s\"", &bcf->label,
                                 ngx_http_gateway_breaker_name(i))
                     - labels.data;

        bcf->to[i] = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_COUNTER,
                         "gateway_breaker_transitions_total", &labels,
                         "Changes of an upstream's breaker.");

        if (bcf->to[i] == NULL) {
            return NGX_ERROR;
        }
    }

    bcf->seconds = ngx_http_gateway_metric(cf, NGX_HTTP_GATEWAY_HISTOGRAM,
                       "gateway_upstream_seconds", &bcf->label,
                       "From an attempt's begin to the header of its answer, "
                       "or to its failure.");

    return bcf->seconds
           ? ngx_http_gateway_collector(cf, ngx_http_gateway_breaker_collect,
                                        bcf)
           : NGX_ERROR;
}
