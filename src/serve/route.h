/* route.h - Which upstream or engine model a request goes to, under which model
 * name. */
#ifndef TG_SERVE_ROUTE_H
#define TG_SERVE_ROUTE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct conf;
struct conf_engine_model;
struct conf_route;
struct conf_upstream;
struct discover;
struct exchange;
struct target;

/* One answer to "who serves this". Everything is borrowed from x->conf, the
 * process table or the exchange's arena. */
struct choice {
    const struct conf_upstream *up;         /* NULL: <engine> answers */
    const struct conf_engine_model *engine; /* NULL: <up> answers */
    const struct conf_route *route;         /* NULL: by what upstreams serve */
    struct target *target;
    struct str model; /* name sent there; empty: none is named */
    struct str label; /* config text for metrics */
    bool passthrough; /* no model was named */
};

/* Choose for <x>, at random by weight among the targets that are open.
 * ERR_MODEL_NOT_FOUND: nobody serves the model; ERR_UNKNOWN_URL: no model is
 * named and there is no passthrough upstream; ERR_UP_UNAVAILABLE,
 * ERR_OVERLOADED, ERR_MODEL_DOWN: no target can be asked now, and <x> has been
 * failed with what is so: drained, loading, not to be loaded; ERR_BAD_PARAM:
 * the model is served only by those that do not speak the dialect of the route
 * called, or no model is named where one must be. */
enum err route_choose(struct exchange *x, struct choice *out) MUST_CHECK;

/* Called for each concrete model name that <c> serves: <owner> is the
 * upstream's or "tollgate" (routes, engine models). Names may come more than
 * once. */
typedef void route_model_fn(struct str model, struct str owner, void *arg);

/* Walk over every model that can be listed: routes without globs, names that
 * upstreams state, and what they were found to list. */
void route_models(const struct conf *c, struct discover *d, route_model_fn *fn,
                  void *arg);

/* Called with an upstream; borrowed from the configuration. */
typedef void route_upstream_fn(const struct conf_upstream *up, void *arg);

/* The engine model that requests for <model> may go to in <c>, the first one
 * of several; NULL if there is none. */
const struct conf_engine_model *route_engine(const struct conf *c,
                                             struct str model);

/* Walk over the upstreams one of which a request for <model> goes to when <c>
 * has no routes; those that drain too. Any thread. */
void route_upstreams(const struct conf *c, struct discover *d, struct str model,
                     route_upstream_fn *fn, void *arg);

/* Whether a request for <model> would find a target in <c>. */
bool route_serves(const struct conf *c, struct discover *d, struct str model);

#endif
