/* route.h - Which upstream or engine model a request goes to, under which model
 * name: by the strategy of its route, among those that can be asked now. */
#ifndef TG_SERVE_ROUTE_H
#define TG_SERVE_ROUTE_H

#include "base/err.h"
#include "base/str.h"
#include "exchange/stage.h"
#include "serve/retry.h"

#include <stdbool.h>
#include <stdint.h>

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
    const struct conf_route *route; /* that the client's model names, also where
                                     * a fallback answers; NULL: there are no
                                     * routes, or no model is named */
    unsigned fallback; /* 0: the route itself; else which of its fallbacks,
                        * counted from 1 */
    struct target *target;
    struct str model; /* name sent there; empty: none is named */
    struct str label; /* config text for metrics: of <route>, if there is one */
    bool passthrough; /* no model was named */
};

/* Who was asked already, under which model name. */
struct route_tried {
    unsigned n;
    struct {
        const struct target *t;
        struct str model; /* choice.model */
    } v[RETRY_ATTEMPTS_MAX];
};

/* What is to be chosen. */
struct route_ask {
    struct str model; /* x->ask->model, or one of its route's fallbacks */
    const struct route_tried *tried; /* not to be asked again; NULL: nobody */
    bool beside; /* only an upstream that is sound and has room: one that need
                  * not be asked */
};

/* Why nobody was chosen: what to tell the client. */
struct route_none {
    enum err err;            /* what route_choose() gave */
    const char *param;       /* static: OpenAI `param`, or NULL */
    struct str text;         /* arena or static; empty: the table's sentence */
    uint64_t retry_after_ms; /* when it is worth coming back; 0: unsaid */
};

/* Choose for <x>. Passed over are those that drain, that are left alone by
 * their breaker, or whose keys all rest. Those that rest on suspicion alone (a
 * refused key; a limit of unsaid length) are asked when there is nobody else.
 * Fails nothing: what to tell the client goes to <none>, which is written on
 * failure only. ERR_MODEL_NOT_FOUND: nobody serves the model;
 * ERR_UNKNOWN_URL: no model is named and there is no passthrough upstream;
 * ERR_BAD_PARAM: the model is served only by those that do not speak the
 * dialect of the route called, or no model is named where one must be.
 * Nobody can be asked now: ERR_UP_UNAVAILABLE (drained, or their breakers are
 * open, or all were tried), ERR_UP_LIMIT (all rest as they limit us),
 * ERR_UP_SPENT (the accounts there are used up), ERR_OVERLOADED (an engine
 * model loads, or is drained), ERR_MODEL_DOWN (it is not to be loaded). */
enum err route_choose(struct exchange *x, const struct route_ask *ask,
                      struct choice *out, struct route_none *none) MUST_CHECK;

/* Fail <x> as <none> says. */
enum verdict route_fail(struct exchange *x, const struct route_none *none);

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
