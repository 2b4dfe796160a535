/* route_list.c - What can be listed and asked of the configuration without a
 * request: names of models, and who serves them. */
#include "serve/route.h"

#include "conf/conf.h"
#include "serve/candidates.h"
#include "upstream/upstream.h"

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
        return candidates_engine(c, model);
    r = conf_route_find(c, model);
    for (size_t i = 0; r && i < r->n_targets; i++)
        if (candidates_engine_of(c, &r->targets[i]))
            return candidates_engine_of(c, &r->targets[i]);
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
            if (candidates_serves(d, &c->upstreams[i], model) != wanted[k])
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
    if (candidates_engine(c, model))
        return true;
    for (size_t i = 0; i < c->n_upstreams; i++)
        if (candidates_serves(d, &c->upstreams[i], model) != DISCOVER_NO)
            return true;
    return false;
}
