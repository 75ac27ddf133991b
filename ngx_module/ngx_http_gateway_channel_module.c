/*
 * gateway_channel_zone, and what a location says of channels:
 * gateway_channel, gateway_subscribe_allow, gateway_publish_allow,
 * gateway_channel_claim.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_gateway_channel_zone.h"
#include "ngx_http_gateway_channel_conf.h"
#include "ngx_http_gateway_ingest.h"
#include "ngx_http_gateway_mirror.h"
#include "ngx_http_gateway_revoke.h"
#include "ngx_http_gateway_shm.h"
#include "ngx_http_gateway_subscriber.h"
#include "ngx_http_gateway_text.h"
#include "../src/pattern.h"


#define NGX_HTTP_GATEWAY_MIN_ZONE     (16 * 4096)
#define NGX_HTTP_GATEWAY_MAX_MESSAGE  (1024 * 1024 * 1024)
#define NGX_HTTP_GATEWAY_MAX_HISTORY  1000000


typedef struct {
    ngx_array_t                    zones;  /* of pointers, see ..._zones() */
} ngx_http_gateway_channel_main_conf_t;


static void *ngx_http_gateway_channel_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_gateway_channel_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_gateway_channel_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_gateway_channel_preconf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_channel_postconf(ngx_conf_t *cf);
static ngx_int_t ngx_http_gateway_channel_init_process(ngx_cycle_t *cycle);
static void ngx_http_gateway_channel_exit_process(ngx_cycle_t *cycle);
static char *ngx_http_gateway_channel_zone(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_channel_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_gateway_channel_claim(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_gateway_channel_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_gateway_channel_died(ngx_uint_t slot);
static void ngx_http_gateway_channel_woken(void);


static ngx_array_t                  ngx_http_gateway_no_zones;
static ngx_array_t                 *ngx_http_gateway_zones =
                                                  &ngx_http_gateway_no_zones;

static ngx_http_gateway_listener_t  ngx_http_gateway_channel_listener = {
    ngx_http_gateway_channel_woken,
    ngx_http_gateway_channel_died
};


static ngx_command_t  ngx_http_gateway_channel_commands[] = {

    { ngx_string("gateway_channel_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_channel_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("gateway_channel"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_gateway_channel_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_channel_loc_conf_t, channel),
      NULL },

    { ngx_string("gateway_subscribe_allow"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_allow_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_channel_loc_conf_t,
               allow[NGX_HTTP_GATEWAY_SUBSCRIBE]),
      NULL },

    { ngx_string("gateway_publish_allow"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_gateway_allow_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_channel_loc_conf_t,
               allow[NGX_HTTP_GATEWAY_PUBLISH]),
      NULL },

    { ngx_string("gateway_channel_claim"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_gateway_channel_claim,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_gateway_channel_loc_conf_t, claim),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_gateway_channel_module_ctx = {
    ngx_http_gateway_channel_preconf,      /* preconfiguration */
    ngx_http_gateway_channel_postconf,     /* postconfiguration */

    ngx_http_gateway_channel_create_main_conf,
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_gateway_channel_create_loc_conf,
    ngx_http_gateway_channel_merge_loc_conf
};


ngx_module_t  ngx_http_gateway_channel_module = {
    NGX_MODULE_V1,
    &ngx_http_gateway_channel_module_ctx,  /* module context */
    ngx_http_gateway_channel_commands,     /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_gateway_channel_init_process, /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_gateway_channel_exit_process, /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_array_t *
ngx_http_gateway_channel_zones(void)
{
    return ngx_http_gateway_zones;
}


static void *
ngx_http_gateway_channel_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_gateway_channel_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(*mcf));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->zones, cf->pool, 2,
                       sizeof(ngx_http_gateway_channel_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static void *
ngx_http_gateway_channel_create_loc_conf(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_gateway_channel_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL) {
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        conf->allow[i] = NGX_CONF_UNSET_PTR;
    }

    conf->channel = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_gateway_channel_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_gateway_channel_loc_conf_t  *prev = parent;
    ngx_http_gateway_channel_loc_conf_t  *conf = child;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        ngx_conf_merge_ptr_value(conf->allow[i], prev->allow[i], NULL);
    }

    ngx_conf_merge_ptr_value(conf->channel, prev->channel, NULL);
    ngx_conf_merge_str_value(conf->claim, prev->claim, "");

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_gateway_channel_preconf(ngx_conf_t *cf)
{
    return ngx_http_gateway_worker_listen(cf,
                                          &ngx_http_gateway_channel_listener);
}


static ngx_int_t
ngx_http_gateway_channel_postconf(ngx_conf_t *cf)
{
    ngx_uint_t                              i;
    ngx_http_gateway_channel_zone_t       **zones;
    ngx_http_gateway_channel_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_gateway_channel_module);
    zones = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {

        if (zones[i]->shm_zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "channel zone \"%V\" is not defined, write "
                          "\"gateway_channel_zone %V:10m;\" in the http "
                          "block", &zones[i]->name, &zones[i]->name);
            return NGX_ERROR;
        }
    }

    if (ngx_http_gateway_ingest_conf(cf, zones, mcf->zones.nelts) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_gateway_revoke_conf(cf, zones, mcf->zones.nelts);
}


static ngx_int_t
ngx_http_gateway_channel_init_process(ngx_cycle_t *cycle)
{
    ngx_http_gateway_channel_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                             ngx_http_gateway_channel_module);
    if (mcf) {
        ngx_http_gateway_zones = &mcf->zones;
    }

    return NGX_OK;
}


static void
ngx_http_gateway_channel_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                         i;
    ngx_http_gateway_channel_zone_t  **zones;

    zones = ngx_http_gateway_zones->elts;

    for (i = 0; i < ngx_http_gateway_zones->nelts; i++) {
        ngx_http_gateway_mirror_exit(zones[i]);
    }

    ngx_http_gateway_text_done();
}


static void
ngx_http_gateway_channel_woken(void)
{
    ngx_http_gateway_fanout_post(1);
    ngx_http_gateway_revoke_woken();
}


/* Everything that the worker still needed is given back. */

static void
ngx_http_gateway_channel_died(ngx_uint_t slot)
{
    ngx_uint_t                         i;
    ngx_queue_t                       *readers;
    ngx_http_gateway_reader_t         *reader;
    ngx_http_gateway_channel_sh_t     *sh;
    ngx_http_gateway_channel_zone_t  **zones;

    /* a new worker buries the dead before this module's own turn to start */
    (void) ngx_http_gateway_channel_init_process((ngx_cycle_t *) ngx_cycle);

    if (slot == ngx_http_gateway_slot) {
        ngx_http_gateway_websocket_exit();
        ngx_http_gateway_hub_exit();
    }

    zones = ngx_http_gateway_zones->elts;

    for (i = 0; i < ngx_http_gateway_zones->nelts; i++) {
        sh = zones[i]->sh;
        readers = &sh->slots[slot].readers;

        ngx_shmtx_lock(&zones[i]->shpool->mutex);

        while (!ngx_queue_empty(readers)) {
            reader = ngx_queue_data(ngx_queue_head(readers),
                                    ngx_http_gateway_reader_t, in_slot);
            ngx_http_gateway_reader_drop(zones[i], reader);
        }

        ngx_shmtx_unlock(&zones[i]->shpool->mutex);
    }
}


ngx_http_gateway_channel_zone_t *
ngx_http_gateway_channel_zone_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                              i;
    ngx_http_gateway_channel_zone_t        *zone, **zones;
    ngx_http_gateway_channel_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_gateway_channel_module);
    zones = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    zones = ngx_array_push(&mcf->zones);
    zone = ngx_pcalloc(cf->pool, sizeof(*zone));

    if (zones == NULL || zone == NULL) {
        return NULL;
    }

    zone->name = *name;
    *zones = zone;

    return zone;
}


/* What is read when somebody asks for metrics. */

static void
ngx_http_gateway_channel_collect(void *data, ngx_http_gateway_emit_pt emit,
    void *ctx, ngx_pool_t *pool)
{
    size_t                            total, used;
    ngx_str_t                         labels;
    ngx_uint_t                        i;
    ngx_http_gateway_channel_zone_t  *zone = data;

    static char  *kinds[] = { "used", "total" };
    static char  *help = "Shared memory of a zone in bytes.";

    total = zone->shm_zone->shm.size;
    used = total - zone->shpool->pfree * ngx_pagesize;

    labels.data = ngx_pnalloc(pool,
                              zone->label.len + sizeof(",kind=\"total\""));
    if (labels.data == NULL) {
        return;
    }

    for (i = 0; i < 2; i++) {
        labels.len = ngx_sprintf(labels.data, "%V,kind=\"%s\"", &zone->label,
                                 kinds[i])
                     - labels.data;

        emit(ctx, "gateway_zone_bytes", &labels, help, NGX_HTTP_GATEWAY_GAUGE,
             i ? total : used);
    }
}


static ngx_http_gateway_metric_t *
ngx_http_gateway_channel_metric(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone,
    ngx_http_gateway_metric_type_e type, char *name, char *reason, char *help)
{
    u_char     *p;
    ngx_str_t   labels;

    labels = zone->label;

    if (reason) {
        p = ngx_pnalloc(cf->pool, labels.len + sizeof(",reason=\"\"")
                                  + ngx_strlen(reason));
        if (p == NULL) {
            return NULL;
        }

        labels.len = ngx_sprintf(p, "%V,reason=\"%s\"", &zone->label, reason)
                     - p;
        labels.data = p;
    }

    return ngx_http_gateway_metric(cf, type, name, &labels, help);
}


static ngx_int_t
ngx_http_gateway_channel_metrics(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone)
{
    static char  *dropped = "gateway_messages_dropped_total";
    static char  *dropped_help = "Messages that were not published or did "
                                 "not reach a subscriber.";

    if (ngx_http_gateway_metric_label(cf, &zone->label, "zone", &zone->name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    zone->published = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER,
                          "gateway_messages_published_total", NULL,
                          "Messages published on channels.");

    zone->delivered = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER,
                          "gateway_messages_delivered_total", NULL,
                          "Messages handed to subscribers' sockets.");

    zone->dropped_full = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER, dropped, "full",
                          dropped_help);

    zone->dropped_overflow = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER, dropped, "overflow",
                          dropped_help);

    zone->dropped_forbidden = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER, dropped, "forbidden",
                          dropped_help);

    zone->dropped_limited = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_COUNTER, dropped, "rate_limited",
                          dropped_help);

    zone->latency = ngx_http_gateway_channel_metric(cf, zone,
                          NGX_HTTP_GATEWAY_HISTOGRAM,
                          "gateway_publish_seconds", NULL,
                          "From publishing to the end of sending to a "
                          "worker's subscribers.");

    if (zone->published == NULL || zone->delivered == NULL
        || zone->dropped_full == NULL || zone->dropped_overflow == NULL
        || zone->dropped_forbidden == NULL || zone->dropped_limited == NULL
        || zone->latency == NULL)
    {
        return NGX_ERROR;
    }

    return ngx_http_gateway_collector(cf, ngx_http_gateway_channel_collect,
                                      zone);
}


/* One parameter: NULL, or what is accepted instead. */

static char *
ngx_http_gateway_channel_zone_param(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone, ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  s;

    s.data = (u_char *) ngx_strchr(value->data, '=');

    if (s.data == NULL) {
        return "\"redis=name\", \"history=number\", \"history_ttl=time\" or "
               "\"max_message=size\" is accepted";
    }

    s.data++;
    s.len = value->data + value->len - s.data;

    if (ngx_strncmp(value->data, "history=", 8) == 0) {
        n = ngx_atoi(s.data, s.len);

        if (n == NGX_ERROR || n > NGX_HTTP_GATEWAY_MAX_HISTORY) {
            return "a number of messages from 0 to 1000000 is accepted";
        }

        zone->history = n;
        return NULL;
    }

    if (ngx_strncmp(value->data, "history_ttl=", 12) == 0) {
        n = ngx_parse_time(&s, 0);

        if (n == NGX_ERROR || n == 0) {
            return "a time such as 10m, 30s or 500ms is accepted";
        }

        zone->history_ttl = n;
        return NULL;
    }

    if (ngx_strncmp(value->data, "max_message=", 12) == 0) {
        n = ngx_parse_size(&s);

        if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_GATEWAY_MAX_MESSAGE) {
            return "a size from 1 to 1g such as 64k is accepted";
        }

        zone->max_message = n;
        return NULL;
    }

    if (ngx_strncmp(value->data, "redis=", 6) == 0) {

        if (s.len == 0 || zone->redis) {
            return "the name of one \"gateway_redis\" is accepted";
        }

        zone->redis = ngx_http_gateway_redis_get(cf, &s);

        return zone->redis ? NULL : "there is no memory for it";
    }

    return "\"redis=name\", \"history=number\", \"history_ttl=time\" or "
           "\"max_message=size\" is accepted";
}


static char *
ngx_http_gateway_channel_zone_params(ngx_conf_t *cf,
    ngx_http_gateway_channel_zone_t *zone)
{
    char        *accepted;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    zone->history = 100;
    zone->history_ttl = 600000;
    zone->max_message = 65536;

    for (i = 2; i < cf->args->nelts; i++) {
        accepted = ngx_http_gateway_channel_zone_param(cf, zone, &value[i]);

        if (accepted) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", %s", &value[i],
                               accepted);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* Makes it a mirror where it has redis=; zones of one Redis hear of the same
 * channels. */

static ngx_int_t
ngx_http_gateway_channel_zone_mirror(ngx_conf_t *cf,
    ngx_http_gateway_channel_main_conf_t *mcf,
    ngx_http_gateway_channel_zone_t *zone)
{
    ngx_uint_t                         i;
    ngx_http_gateway_channel_zone_t  **zones;

    if (zone->redis == NULL) {
        return NGX_OK;
    }

    zones = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {
        if (zones[i]->redis == zone->redis && zones[i]->mirror) {
            return ngx_http_gateway_mirror_conf(cf, zone, zones[i]);
        }
    }

    return ngx_http_gateway_mirror_conf(cf, zone, NULL);
}


static char *
ngx_http_gateway_channel_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t                            size;
    ngx_str_t                        *value, name;
    ngx_http_gateway_channel_zone_t  *zone;

    value = cf->args->elts;

    if (ngx_http_gateway_shm_parse(cf, &value[1], NGX_HTTP_GATEWAY_MIN_ZONE,
                                   &name, &size)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\", \"name:size\" such as "
                           "\"news:10m\" is accepted", &value[1]);
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_gateway_channel_zone_get(cf, &name);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zone->shm_zone) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is duplicate, define it once", &name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_gateway_channel_zone_params(cf, zone) != NGX_CONF_OK
        || ngx_http_gateway_channel_zone_mirror(cf, conf, zone) != NGX_OK
        || ngx_http_gateway_channel_metrics(cf, zone) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (size < 4 * zone->max_message) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" of %s cannot hold messages of %uz "
                           "bytes, make it at least four times "
                           "\"max_message\"", &name,
                           name.data + name.len + 1, zone->max_message);
        return NGX_CONF_ERROR;
    }

    zone->shm_zone = ngx_http_gateway_shm_add(cf, "gateway_channel_zone",
                                              &name, size,
                                              &ngx_http_gateway_channel_module);
    if (zone->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm_zone->init = ngx_http_gateway_channel_init_zone;
    zone->shm_zone->data = zone;

    return NGX_CONF_OK;
}


/* A name without variables is checked now; others are for each request. */

static char *
ngx_http_gateway_channel_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    gw_str_t    name;
    ngx_str_t  *value;

    value = cf->args->elts;

    name.data = value[1].data;
    name.len = value[1].len;

    if (ngx_http_script_variables_count(&value[1]) == 0
        && !gw_channel_name_valid(name))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid channel \"%V\", 1 to %d bytes of UTF-8 "
                           "without control characters are accepted, or "
                           "variables", &value[1], GW_CHANNEL_NAME_MAX);
        return NGX_CONF_ERROR;
    }

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


static char *
ngx_http_gateway_channel_claim(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid claim \"\", the name of a claim such as "
                           "\"channels\" is accepted");
        return NGX_CONF_ERROR;
    }

    return ngx_conf_set_str_slot(cf, cmd, conf);
}


static ngx_int_t
ngx_http_gateway_channel_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_uint_t                        i;
    ngx_http_gateway_channel_sh_t    *sh;
    ngx_http_gateway_channel_zone_t  *zone, *old;

    zone = shm_zone->data;
    old = data;

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old || shm_zone->shm.exists) {
        zone->sh = old ? old->sh : zone->shpool->data;

        return ngx_http_gateway_mirror_init_zone(zone);
    }

    sh = ngx_slab_calloc(zone->shpool, sizeof(*sh));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    /* the insert function is nginx's own: it stays where it is while modules
     * are loaded anew */
    ngx_rbtree_init(&sh->rbtree, &sh->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&sh->lru);

    for (i = 0; i < NGX_HTTP_GATEWAY_MAX_WORKERS; i++) {
        ngx_queue_init(&sh->slots[i].readers);
        ngx_queue_init(&sh->slots[i].dirty);
    }

    zone->shpool->log_ctx = ngx_slab_alloc(zone->shpool, 300);
    if (zone->shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_snprintf(zone->shpool->log_ctx, 300,
                 " in gateway_channel_zone \"%V\"%Z", &zone->name);
    zone->shpool->log_nomem = 0;

    zone->shpool->data = sh;
    zone->sh = sh;

    return ngx_http_gateway_mirror_init_zone(zone);
}
