/*
 * The version of this module, as the status endpoint tells it.
 */

#ifndef NGX_HTTP_GATEWAY_VERSION_H_INCLUDED
#define NGX_HTTP_GATEWAY_VERSION_H_INCLUDED


#define NGX_HTTP_GATEWAY_VERSION  "0.1.0"


#endif /* NGX_HTTP_GATEWAY_VERSION_H_INCLUDED */
