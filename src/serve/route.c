/* route.c - With `routes:` in the config they alone decide; without, a model
 * goes to the engine model of that name, else to the upstreams that say they
 * serve it, and failing those to upstreams of which nobody knows yet what they
 * serve. */
#include "serve/route.h"

#include "account/key.h"
#include "base/digest.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "serve/target.h"
#include "upstream/upstream.h"

#define CANDIDATES_MAX   64
#define RETRY_LOADING_MS 2000
#define RETRY_DRAINED_MS 10000

struct candidate {
    const struct conf_upstream *up;         /* or */
    const struct conf_engine_model *engine; /* this */
    struct target *target;
    struct str model;
    struct str label;
    uint64_t weight;
};

struct candidates {
    struct candidate c[CANDIDATES_MAX];
    unsigned n;
    bool other_dialect;  /* some were left out for their dialect */
    bool draining;       /* some were left out since they drain */
    bool loading;        /* some engine models were, since they load */
    bool failed;         /* some, since they cannot be loaded */
    bool absent;         /* some, since only a restart loads them */
    unsigned percent;    /* <loading>: how far the furthest is */
    struct str drained;  /* <draining>: the first */
    bool drained_engine; /* <draining>: the first is an engine model */
};

static bool engine_speaks(enum endpoint kind)
{
    switch (kind) {
    case ENDPOINT_CHAT:
    case ENDPOINT_COMPLETIONS:
    case ENDPOINT_EMBEDDINGS:
    case ENDPOINT_TOKENIZE:
    case ENDPOINT_DETOKENIZE:
        return true;
    default:
        return false;
    }
}

/* Whether upstream <up>, or an engine model if it is NULL, can be asked. */
static bool speaks(const struct exchange *x, const struct conf_upstream *up)
{
    enum endpoint kind = x->in->ep.row->kind;

    if (!up)
        return engine_speaks(kind);
    if ((x->in->ep.row->flags & ENDPOINT_ENGINE) != 0)
        return false;
    if (kind == ENDPOINT_MESSAGES || kind == ENDPOINT_COUNT_TOKENS)
        return up->dialect == CONF_DIALECT_ANTHROPIC;
    return true;
}

static void note_draining(struct candidates *cs, const struct candidate *c)
{
    if (cs->draining)
        return;
    cs->draining = true;
    cs->drained = c->up ? c->up->name : c->engine->name;
    cs->drained_engine = !c->up;
}

/* Whether the engine can answer for <m> now; else it is noted why not. */
static bool is_loaded(const struct exchange *x, struct candidates *cs,
                      const struct conf_engine_model *m)
{
    unsigned percent = 0;

    switch (engine_stage_of(x->w->svc->engine, m->name, &percent)) {
    case ENGINE_STAGE_READY:
        return true;
    case ENGINE_STAGE_LOADING:
        cs->loading = true;
        cs->percent = percent > cs->percent ? percent : cs->percent;
        return false;
    default:
        cs->failed = true;
        return false;
    }
}

static void candidate_add(struct exchange *x, struct candidates *cs,
                          struct candidate c)
{
    struct target_table *table = x->w->svc->targets;

    if (cs->n == CANDIDATES_MAX)
        return;
    if (!c.up && !c.engine) {
        cs->absent = true;
        return;
    }
    if (!speaks(x, c.up)) {
        cs->other_dialect = true;
        return;
    }
    c.target = target_get(table, c.up ? c.up->name : c.engine->name);
    if (!c.target)
        return;
    if (!target_is_open(c.target)) {
        note_draining(cs, &c);
        return;
    }
    if (c.up || is_loaded(x, cs, c.engine))
        cs->c[cs->n++] = c;
}

/* The engine model of <t>, or NULL: it is an upstream's, or waits for a
 * restart. */
static const struct conf_engine_model *engine_of(
    const struct conf *c, const struct conf_route_target *t)
{
    return t->upstream < 0 && t->engine >= 0 ? &c->engine.models[t->engine]
                                             : NULL;
}

static void from_route(struct exchange *x, const struct conf_route *r,
                       struct candidates *cs)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct conf_route_target *t = &r->targets[i];

        candidate_add(x, cs,
                      (struct candidate){
                          .up = t->upstream >= 0
                                    ? &x->conf->upstreams[t->upstream]
                                    : NULL,
                          .engine = engine_of(x->conf, t),
                          .model = t->model.len > 0 ? t->model : x->ask->model,
                          .label = r->model,
                          .weight = t->weight,
                      });
    }
}

/* The configured text that <model> matches, as a label with few values. */
static struct str label_of(const struct conf_upstream *up, struct str model)
{
    for (size_t i = 0; i < up->n_models; i++)
        if (str_glob(up->models[i], model))
            return up->models[i];
    return STR("*");
}

/* Whether <up> serves <model>: it says so, or it was found to list it. */
static enum discover_answer serves(struct discover *d,
                                   const struct conf_upstream *up,
                                   struct str model)
{
    if (!up->models_given)
        return discover_serves(d, up->name, model);
    return conf_upstream_serves(up, model) ? DISCOVER_YES : DISCOVER_NO;
}

static void from_upstreams(struct exchange *x, enum discover_answer want,
                           struct candidates *cs)
{
    for (size_t i = 0; i < x->conf->n_upstreams; i++) {
        const struct conf_upstream *up = &x->conf->upstreams[i];

        if (serves(x->w->svc->discover, up, x->ask->model) != want)
            continue;
        candidate_add(x, cs,
                      (struct candidate){.up = up,
                                         .model = x->ask->model,
                                         .label = label_of(up, x->ask->model),
                                         .weight = 1});
    }
}

/* The engine model called <name>, or NULL. */
static const struct conf_engine_model *engine_called(const struct conf *c,
                                                     struct str name)
{
    for (size_t i = 0; i < c->engine.n_models; i++)
        if (str_eq(c->engine.models[i].name, name))
            return &c->engine.models[i];
    return NULL;
}

static void from_engine(struct exchange *x, const struct conf_engine_model *m,
                        struct candidates *cs)
{
    candidate_add(
        x, cs,
        (struct candidate){
            .engine = m, .model = m->name, .label = m->name, .weight = 1});
}

static uint64_t random_below(uint64_t bound)
{
    uint64_t r;

    digest_random(&r, sizeof(r));
    return (uint64_t)(((unsigned __int128)r * bound) >> 64);
}

static const struct candidate *candidate_pick(const struct candidates *cs)
{
    uint64_t sum = 0, at;

    if (cs->n == 1)
        return &cs->c[0];
    for (unsigned i = 0; i < cs->n; i++)
        sum += cs->c[i].weight;
    if (sum == 0)
        return &cs->c[0];
    at = random_below(sum);
    for (unsigned i = 0; i < cs->n; i++) {
        if (at < cs->c[i].weight)
            return &cs->c[i];
        at -= cs->c[i].weight;
    }
    return &cs->c[0];
}

static const struct conf_upstream *passthrough_upstream(
    const struct exchange *x)
{
    const struct conf *c = x->conf;
    const struct conf_upstream *named =
        c->passthrough >= 0 ? &c->upstreams[c->passthrough] : NULL;

    if (x->in->ep.shape != ENDPOINT_SHAPE_ANTHROPIC)
        return named;
    if (named && named->dialect == CONF_DIALECT_ANTHROPIC)
        return named;
    for (size_t i = 0; i < c->n_upstreams; i++)
        if (c->upstreams[i].dialect == CONF_DIALECT_ANTHROPIC)
            return &c->upstreams[i];
    return named;
}

/* Tell the client why none of the targets in <cs> can be asked, which differs
 * in what helps: time, or somebody who mends it. */
static enum err none_is_open(struct exchange *x, const struct candidates *cs)
{
    enum err e = ERR_MODEL_DOWN;

    if (cs->draining)
        e = cs->drained_engine ? ERR_OVERLOADED : ERR_UP_UNAVAILABLE;
    if (cs->loading)
        e = ERR_OVERLOADED;
    if (cs->loading)
        (void)exchange_fail(x, e,
                            "The model is still loading (%u %%). Please try "
                            "again soon.",
                            cs->percent);
    else if (cs->draining)
        (void)exchange_fail(x, e,
                            "This model takes no new requests at present: its "
                            "target '%.*s' was drained by an operator.",
                            STR_ARG(cs->drained));
    else if (cs->failed)
        (void)exchange_fail(x, e,
                            "The model could not be loaded; the operator's log "
                            "says why.");
    else
        (void)exchange_fail(x, e,
                            "The model is new in the configuration and waits "
                            "for a restart of the server.");
    if (cs->loading || cs->draining)
        x->fail.retry_after_ms =
            cs->loading ? RETRY_LOADING_MS : RETRY_DRAINED_MS;
    return e;
}

static enum err choose_passthrough(struct exchange *x, struct choice *out)
{
    const struct conf_upstream *up = passthrough_upstream(x);
    struct candidates cs = {.n = 0};
    struct target *t;

    if (!up)
        return ERR_UNKNOWN_URL;
    t = target_get(x->w->svc->targets, up->name);
    if (!t)
        return ERR_NOMEM;
    if (!target_is_open(t)) {
        note_draining(&cs, &(struct candidate){.up = up});
        return none_is_open(x, &cs);
    }
    *out = (struct choice){
        .up = up, .target = t, .label = STR("-"), .passthrough = true};
    return ERR_OK;
}

static enum err none_error(struct exchange *x, const struct candidates *cs)
{
    if (cs->loading || cs->draining || cs->failed || cs->absent)
        return none_is_open(x, cs);
    return cs->other_dialect ? ERR_BAD_PARAM : ERR_MODEL_NOT_FOUND;
}

/* What only the engine does may leave the model out where there is just one
 * that the key may use. */
static enum err choose_only(struct exchange *x, struct choice *out)
{
    const struct conf *c = x->conf;
    const struct conf_engine_model *only = NULL;
    struct candidates cs = {.n = 0};

    for (size_t i = 0; i < c->engine.n_models; i++) {
        const struct conf_engine_model *m = &c->engine.models[i];

        if (x->who->key && !key_may_use(x->who->key, m->name))
            continue;
        if (only)
            return ERR_BAD_PARAM;
        only = m;
    }
    if (!only)
        return c->engine.n_models > 0 ? ERR_BAD_PARAM : ERR_UNKNOWN_URL;
    from_engine(x, only, &cs);
    if (cs.n == 0)
        return none_error(x, &cs);
    *out = (struct choice){.engine = only,
                           .target = cs.c[0].target,
                           .model = only->name,
                           .label = only->name};
    return ERR_OK;
}
enum err route_choose(struct exchange *x, struct choice *out)
{
    struct candidates cs = {.n = 0};
    const struct conf_engine_model *own;
    const struct conf_route *route = NULL;
    const struct candidate *c;

    if (x->ask->model.len == 0)
        return (x->in->ep.row->flags & ENDPOINT_ENGINE) != 0
                   ? choose_only(x, out)
                   : choose_passthrough(x, out);
    if (x->conf->routes_given) {
        route = conf_route_find(x->conf, x->ask->model);
        if (!route)
            return ERR_MODEL_NOT_FOUND;
        from_route(x, route, &cs);
    } else if ((own = engine_called(x->conf, x->ask->model)) != NULL) {
        from_engine(x, own, &cs);
    } else {
        from_upstreams(x, DISCOVER_YES, &cs);
        if (cs.n == 0)
            from_upstreams(x, DISCOVER_UNKNOWN, &cs);
    }
    if (cs.n == 0)
        return none_error(x, &cs);
    c = candidate_pick(&cs);
    *out = (struct choice){.up = c->up,
                           .engine = c->engine,
                           .route = route,
                           .target = c->target,
                           .model = c->model,
                           .label = c->label};
    return ERR_OK;
}

static bool is_glob(struct str s)
{
    return str_find_char(s, '*') < s.len || str_find_char(s, '?') < s.len;
}

static void list_upstream(struct discover *d, const struct conf_upstream *up,
                          route_model_fn *fn, void *arg)
{
    const struct discover_list *l;

    for (size_t k = 0; k < up->n_models; k++)
        if (!is_glob(up->models[k]))
            fn(up->models[k], up->name, arg);
    if (up->models_given)
        return;
    l = discover_list_get(d, up->name);
    for (size_t k = 0; l && k < l->count; k++)
        fn(l->ids[k], up->name, arg);
    discover_list_unref(l);
}

/* Whether not all targets of <r> wait for a restart. */
static bool leads_somewhere(const struct conf_route *r)
{
    for (size_t i = 0; i < r->n_targets; i++)
        if (r->targets[i].upstream >= 0 || r->targets[i].engine >= 0)
            return true;
    return false;
}

void route_models(const struct conf *c, struct discover *d, route_model_fn *fn,
                  void *arg)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (!is_glob(c->routes[i].model) && leads_somewhere(&c->routes[i]))
            fn(c->routes[i].model, STR("tollgate"), arg);
    if (c->routes_given)
        return;
    for (size_t i = 0; i < c->engine.n_models; i++)
        fn(c->engine.models[i].name, STR("tollgate"), arg);
    for (size_t i = 0; i < c->n_upstreams; i++)
        list_upstream(d, &c->upstreams[i], fn, arg);
}

const struct conf_engine_model *route_engine(const struct conf *c,
                                             struct str model)
{
    const struct conf_route *r;

    if (!c->routes_given)
        return engine_called(c, model);
    r = conf_route_find(c, model);
    for (size_t i = 0; r && i < r->n_targets; i++)
        if (engine_of(c, &r->targets[i]))
            return engine_of(c, &r->targets[i]);
    return NULL;
}

void route_upstreams(const struct conf *c, struct discover *d, struct str model,
                     route_upstream_fn *fn, void *arg)
{
    static const enum discover_answer wanted[] = {DISCOVER_YES,
                                                  DISCOVER_UNKNOWN};
    bool found = false;

    for (size_t k = 0; k < 2 && !found; k++) {
        for (size_t i = 0; i < c->n_upstreams; i++) {
            if (serves(d, &c->upstreams[i], model) != wanted[k])
                continue;
            fn(&c->upstreams[i], arg);
            found = true;
        }
    }
}

bool route_serves(const struct conf *c, struct discover *d, struct str model)
{
    const struct conf_route *r;

    if (c->routes_given) {
        r = conf_route_find(c, model);
        return r && leads_somewhere(r);
    }
    if (engine_called(c, model))
        return true;
    for (size_t i = 0; i < c->n_upstreams; i++)
        if (serves(d, &c->upstreams[i], model) != DISCOVER_NO)
            return true;
    return false;
}
