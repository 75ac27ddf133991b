/*
 * JSON from outside, strictly: what tokens and key sets are read with.
 * Internal to the JWT files.
 *
 * Acceptable is what both the scanner and the tree library take. But a tree
 * costs more than hashing the token, and most tokens need none: so a document
 * that the library is sure to take (short numbers, no escapes, few members) is
 * read where it stands, and its tree is built when somebody asks for it. Any
 * other document gets its tree, and with it the verdict, at once.
 */

#ifndef GW_JWT_JSON_H_INCLUDED
#define GW_JWT_JSON_H_INCLUDED

#include <jansson.h>

#include "gw.h"
#include "json_scan.h"

/*
 * Parses an object. NULL: not JSON, not an object, not UTF-8, nested deeper
 * than depth, a duplicate member anywhere, U+0000 in a string, a number out
 * of range; or no memory. The caller frees the result with json_decref().
 * line (may be NULL) is then the line where that was found, or 0.
 */
json_t *gw_jwt_json_object(gw_str_t text, unsigned depth, unsigned *line);

/* An object as text, with its tree where there is one yet. */
typedef struct {
    gw_str_t text;  /* borrowed, and needed for as long as this is */
    gw_json_t root; /* validated: to be walked with gw_json_next() */
    json_t *tree;   /* NULL until needed */
} gw_jwt_json_t;

/*
 * Accepts just what gw_jwt_json_object() does. GW_OK, and json is released
 * with gw_jwt_json_close(), or GW_ERROR.
 */
int gw_jwt_json_open(gw_jwt_json_t *json, gw_str_t text, unsigned depth);

/* The tree, borrowed; NULL: no memory. */
json_t *gw_jwt_json_tree(gw_jwt_json_t *json);

/* Frees the tree. A zeroed one may be closed. */
void gw_jwt_json_close(gw_jwt_json_t *json);

/* A member that is a string, else an empty span with data NULL. Borrowed. */
gw_str_t gw_jwt_json_string(const json_t *object, const char *name);

#endif /* GW_JWT_JSON_H_INCLUDED */
