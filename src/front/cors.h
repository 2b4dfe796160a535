/* cors.h - Which browser origins may read replies, and the preflight. Private
 * to front/. */
#ifndef TG_FRONT_CORS_H
#define TG_FRONT_CORS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct buf;
struct exchange;

/* Whether <x> is a preflight that is to be answered here: CORS is configured,
 * and OPTIONS comes with Origin and Access-Control-Request-Method. */
bool cors_is_preflight(const struct exchange *x);

/* Fill x->local with the answer to the preflight <x>: 204, with permission if
 * the origin has it. */
enum err cors_preflight(struct exchange *x) MUST_CHECK;

/* Whether <name> in the reply to <x> is ours to set, so that an upstream's
 * field of that name is left out: two permissions are none to a browser. */
bool cors_is_ours(const struct exchange *x, struct str name);

/* Append to the reply head <b> what lets the origin of <x> read it; nothing
 * when CORS is off or <x> came from no browser. */
enum err cors_put(const struct exchange *x, struct buf *b) MUST_CHECK;

#endif
