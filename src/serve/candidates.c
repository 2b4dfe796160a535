/* candidates.c - With `routes:` in the config they alone decide; without, a
 * model goes to the engine model of that name, else to the upstreams that say
 * they serve it, and failing those to upstreams of which nobody knows yet what
 * they serve. */
#include "serve/candidates.h"

#include "account/key.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "serve/target.h"
#include "upstream/upstream.h"

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
    if (!c.passthrough && !speaks(x, c.up)) {
        cs->other_dialect = true;
        return;
    }
    c.target = target_get(table, c.up ? c.up->name : c.engine->name);
    if (!c.target) {
        cs->nomem = true;
        return;
    }
    if (!target_is_open(c.target)) {
        note_draining(cs, &c);
        return;
    }
    if (c.up || is_loaded(x, cs, c.engine))
        cs->c[cs->n++] = c;
}

const struct conf_engine_model *candidates_engine_of(
    const struct conf *c, const struct conf_route_target *t)
{
    return t->upstream < 0 && t->engine >= 0 ? &c->engine.models[t->engine]
                                             : NULL;
}

static bool is_glob(struct str s)
{
    return str_find_char(s, '*') < s.len || str_find_char(s, '?') < s.len;
}

/* A target without a name of its own is sent <model>; a fallback that is
 * written as a glob names no model, so it is sent what the client wrote. */
static void from_route(struct exchange *x, const struct conf_route *r,
                       struct str model, struct candidates *cs)
{
    const struct conf_route *asked = conf_route_find(x->conf, x->ask->model);

    if (asked != r && is_glob(model))
        model = x->ask->model;
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct conf_route_target *t = &r->targets[i];

        candidate_add(x, cs,
                      (struct candidate){
                          .up = t->upstream >= 0
                                    ? &x->conf->upstreams[t->upstream]
                                    : NULL,
                          .engine = candidates_engine_of(x->conf, t),
                          .model = t->model.len > 0 ? t->model : model,
                          .label = asked ? asked->model : r->model,
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

enum discover_answer candidates_serves(struct discover *d,
                                       const struct conf_upstream *up,
                                       struct str model)
{
    if (!up->models_given)
        return discover_serves(d, up->name, model);
    return conf_upstream_serves(up, model) ? DISCOVER_YES : DISCOVER_NO;
}

static void from_upstreams(struct exchange *x, struct str model,
                           enum discover_answer want, struct candidates *cs)
{
    for (size_t i = 0; i < x->conf->n_upstreams; i++) {
        const struct conf_upstream *up = &x->conf->upstreams[i];

        if (candidates_serves(x->w->svc->discover, up, model) != want)
            continue;
        candidate_add(x, cs,
                      (struct candidate){.up = up,
                                         .model = model,
                                         .label = label_of(up, model),
                                         .weight = 1});
    }
}

const struct conf_engine_model *candidates_engine(const struct conf *c,
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

static enum err find_passthrough(struct exchange *x, struct candidates *cs)
{
    const struct conf_upstream *up = passthrough_upstream(x);

    if (!up)
        return ERR_UNKNOWN_URL;
    candidate_add(
        x, cs,
        (struct candidate){
            .up = up, .label = STR("-"), .weight = 1, .passthrough = true});
    return ERR_OK;
}

/* What only the engine does may leave the model out where there is just one
 * that the key may use. */
static enum err find_only(struct exchange *x, struct candidates *cs)
{
    const struct conf *c = x->conf;
    const struct conf_engine_model *only = NULL;

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
    from_engine(x, only, cs);
    return ERR_OK;
}

/* Whether somebody serves the model, if not now or not in this way. */
static bool is_known(const struct candidates *cs)
{
    return cs->n > 0 || cs->other_dialect || cs->draining || cs->loading ||
           cs->failed || cs->absent || cs->nomem;
}

enum err candidates_find(struct exchange *x, struct str model,
                         struct candidates *out)
{
    const struct conf_engine_model *own;
    const struct conf_route *route;

    if (model.len == 0)
        return (x->in->ep.row->flags & ENDPOINT_ENGINE) != 0
                   ? find_only(x, out)
                   : find_passthrough(x, out);
    if (x->conf->routes_given) {
        route = conf_route_find(x->conf, model);
        if (!route)
            return ERR_MODEL_NOT_FOUND;
        from_route(x, route, model, out);
    } else if ((own = candidates_engine(x->conf, model)) != NULL) {
        from_engine(x, own, out);
    } else {
        from_upstreams(x, model, DISCOVER_YES, out);
        if (out->n == 0)
            from_upstreams(x, model, DISCOVER_UNKNOWN, out);
    }
    return is_known(out) ? ERR_OK : ERR_MODEL_NOT_FOUND;
}
