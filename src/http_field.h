/*
 * Header fields as they were received: finding them, and the small grammars
 * that many of them share (RFC 9110).
 *
 * Nothing is copied: lists, members and tags point into the caller's bytes.
 * No function allocates. Every one takes any bytes, and time is linear in
 * what is read.
 */

#ifndef GW_HTTP_FIELD_H_INCLUDED
#define GW_HTTP_FIELD_H_INCLUDED

#include "gw.h"

typedef struct {
    gw_str_t name;
    gw_str_t value;
} gw_field_t;

/* In the order received; several lines may have one name. */
typedef struct {
    const gw_field_t *fields;
    size_t n;
} gw_fields_t;

/* Equal without regard to the case of ASCII letters (RFC 9110, 5.1). */
bool gw_field_is(gw_str_t a, gw_str_t b);

/* The value of the first line with that name; data is NULL: there is none. */
gw_str_t gw_field_find(gw_fields_t list, gw_str_t name);

/*
 * The members of a comma-separated list, over all lines with one name (RFC
 * 9110, 5.3 and 5.6.1). Blanks around them are cut off, empty ones left out;
 * commas within a quoted string (5.6.4) do not count. A quoted string that
 * does not end makes all that follows in its line one member.
 */
typedef struct {
    gw_fields_t list;
    gw_str_t name;
    size_t line;    /* the next one to look at */
    gw_str_t rest;  /* of the current line */
} gw_members_t;

void gw_members_init(gw_members_t *m, gw_fields_t list, gw_str_t name);
bool gw_members_next(gw_members_t *m, gw_str_t *member);

/* The next member of one value, which is shortened to what follows it. */
bool gw_member_cut(gw_str_t *value, gw_str_t *member);

/* Whether one member of the field is the token, without regard to case. */
bool gw_field_lists(gw_fields_t list, gw_str_t name, gw_str_t token);

/* Without blanks and tabs at both ends. */
gw_str_t gw_http_trim(gw_str_t s);

/* Whether it is a token (RFC 9110, 5.6.2), so not empty. */
bool gw_http_token(gw_str_t s);

/* What is within the quotes of a quoted-string without a backslash; any
   other text is returned as it is. */
gw_str_t gw_http_unquote(gw_str_t s);

/*
 * delta-seconds (RFC 9111, 1.2.2): digits only. What is larger than
 * GW_DELTA_MAX becomes GW_DELTA_MAX. GW_OK, or GW_ERROR.
 */
#define GW_DELTA_MAX 2147483648u
int gw_http_delta(gw_str_t s, uint32_t *seconds);

/*
 * Entity tags (RFC 9110, 8.8.3). What servers send without quotes is taken
 * as a strong tag of these bytes, which equals no quoted one.
 */
typedef struct {
    gw_str_t tag;   /* with its quotes; data is NULL: none */
    bool weak;
} gw_etag_t;

gw_etag_t gw_etag_parse(gw_str_t s);

/* RFC 9110, 8.8.3.2. No tag equals none. */
bool gw_etag_equal_strong(gw_etag_t a, gw_etag_t b);
bool gw_etag_equal_weak(gw_etag_t a, gw_etag_t b);

#endif /* GW_HTTP_FIELD_H_INCLUDED */
