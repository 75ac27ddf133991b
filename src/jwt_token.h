/*
 * A token as jwt.c makes it and the accessors of jwt.h see it. Internal to the
 * JWT files.
 */

#ifndef GW_JWT_TOKEN_H_INCLUDED
#define GW_JWT_TOKEN_H_INCLUDED

#include "jwt.h"
#include "jwt_json.h"

struct gw_jwt_s {
    gw_jwt_json_t header; /* of what is in text */
    gw_jwt_json_t payload;
    int64_t exp; /* ms since 1970; INT64_MAX without one */
    int64_t nbf; /* ms since 1970; INT64_MIN without one */
    int64_t iat; /* ms since 1970; INT64_MIN without one */
    bool expires;
    gw_jwt_alg_e alg;
    size_t size; /* of text */
    unsigned char text[];
};

#endif /* GW_JWT_TOKEN_H_INCLUDED */
