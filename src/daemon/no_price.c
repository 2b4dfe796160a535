/* no_price.c - See no_price.h. Globs, and what upstreams list themselves, name
 * no model until it is asked for; those are told then (settle/unpriced.c). */
#include "daemon/no_price.h"

#include <stdio.h>

#include "account/price.h"
#include "conf/conf.h"

#define LINES_MAX 20

struct telling {
    const struct conf *c;
    no_price_fn *fn;
    void *arg;
    unsigned n; /* models without a price so far */
};

static bool is_glob(struct str s)
{
    return str_find_char(s, '*') < s.len || str_find_char(s, '?') < s.len;
}

static void look_at(struct telling *t, struct str upstream, struct str model)
{
    struct price_quote q = {.marks = 0};
    char text[512];

    if (!is_glob(model))
        q = price_find(&t->c->price, upstream, model, false, 0);
    if ((q.marks & PRICE_MISSING) == 0 || ++t->n > LINES_MAX)
        return;
    snprintf(text, sizeof(text),
             "no price for the model \"%.*s\" of the upstream \"%.*s\", its "
             "cost will count as 0; add it to %s",
             STR_ARG(model), STR_ARG(upstream), t->c->price.file.p);
    t->fn(text, t->arg);
}

static void look_at_route(struct telling *t, const struct conf_route *r)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct conf_route_target *to = &r->targets[i];

        if (to->upstream >= 0)
            look_at(t, to->upstream_name,
                    to->model.len > 0 ? to->model : r->model);
    }
}

static void look_at_upstream(struct telling *t, const struct conf_upstream *u)
{
    for (size_t i = 0; i < u->n_models; i++)
        look_at(t, u->name, u->models[i]);
}

void no_price_tell(const struct conf *c, no_price_fn *fn, void *arg)
{
    struct telling t = {c, fn, arg, 0};
    char text[96];

    if (c->price.file.len == 0)
        return;
    for (size_t i = 0; c->routes_given && i < c->n_routes; i++)
        look_at_route(&t, &c->routes[i]);
    for (size_t i = 0; !c->routes_given && i < c->n_upstreams; i++)
        look_at_upstream(&t, &c->upstreams[i]);
    if (t.n <= LINES_MAX)
        return;
    snprintf(text, sizeof(text), "... and no price for %u more models",
             t.n - LINES_MAX);
    fn(text, arg);
}
