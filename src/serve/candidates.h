/* candidates.h - Everybody who may answer a request, by the configuration and
 * by what upstreams were found to serve; not which of them does. */
#ifndef TG_SERVE_CANDIDATES_H
#define TG_SERVE_CANDIDATES_H

#include "base/err.h"
#include "base/str.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct conf_engine_model;
struct conf_route;
struct conf_route_target;
struct conf_upstream;
struct exchange;
struct target;

/* Most of one request; a route has no more targets. */
#define CANDIDATES_MAX 64

/* One who may answer; borrowed from x->conf, the process table or the
 * exchange's arena. */
struct candidate {
    const struct conf_upstream *up;         /* or */
    const struct conf_engine_model *engine; /* this */
    struct target *target;
    struct str model; /* name sent there; empty: none is named */
    struct str label; /* config text for metrics */
    uint64_t weight;
    bool passthrough; /* no model was named */
};

/* All of them, and why others are not among them. Zeroed is empty. */
struct candidates {
    struct candidate c[CANDIDATES_MAX];
    unsigned n;
    bool other_dialect;  /* some were left out for their dialect */
    bool draining;       /* some were left out since they drain */
    bool loading;        /* some engine models were, since they load */
    bool failed;         /* some, since they cannot be loaded */
    bool absent;         /* some, since only a restart loads them */
    bool nomem;          /* some, for want of memory */
    unsigned percent;    /* <loading>: how far the furthest is */
    struct str drained;  /* <draining>: the first */
    bool drained_engine; /* <draining>: the first is an engine model */
};

/* Gather into <out>, which is empty, who may answer <x> under the model name
 * <model>: the client's, or that of a fallback. ERR_MODEL_NOT_FOUND: nobody
 * serves it; ERR_UNKNOWN_URL: none is named and there is no passthrough
 * upstream; ERR_BAD_PARAM: none is named where one must be. */
enum err candidates_find(struct exchange *x, struct str model,
                         struct candidates *out) MUST_CHECK;

/* The engine model called <name>, or NULL. */
const struct conf_engine_model *candidates_engine(const struct conf *c,
                                                  struct str name);

/* The engine model of <t>, or NULL: it is an upstream's, or waits for a
 * restart. */
const struct conf_engine_model *candidates_engine_of(
    const struct conf *c, const struct conf_route_target *t);

/* Whether <up> serves <model>: it says so, or it was found to list it. */
enum discover_answer candidates_serves(struct discover *d,
                                       const struct conf_upstream *up,
                                       struct str model);

#endif
