/* route_none.h - What a client is told whom nobody can answer: what helps, be
 * it time, another request, or somebody who mends it. */
#ifndef TG_SERVE_ROUTE_NONE_H
#define TG_SERVE_ROUTE_NONE_H

#include "base/err.h"
#include "serve/route.h"

struct candidates;
struct exchange;

/* Say why nobody serves the model asked for by <ask>, which candidates_find()
 * told by <e>; returns <e>. */
enum err route_none_known(struct exchange *x, const struct route_ask *ask,
                          enum err e, struct route_none *out);

/* Say why none of <cs>, which is empty, can be asked; returns out->err. */
enum err route_none_open(struct exchange *x, const struct route_ask *ask,
                         const struct candidates *cs, struct route_none *out);

/* Say why none of <cs>, which is not empty, may be asked at <now_ms>; returns
 * out->err. */
enum err route_none_ready(struct exchange *x, const struct route_ask *ask,
                          const struct candidates *cs, uint64_t now_ms,
                          struct route_none *out);

/* Whether <ask> has <t> under the name <model> among the tried. */
bool route_was_tried(const struct route_ask *ask, const struct target *t,
                     struct str model);

#endif
