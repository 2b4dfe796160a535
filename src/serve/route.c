/* route.c - Chooses among the candidates of a request: by the strategy of
 * their route, and without routes at random. Who is not to be asked is left
 * out of the choice, so that the rest share what would have gone there. */
#include "serve/route.h"

#include "base/clock.h"
#include "base/digest.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/affinity.h"
#include "serve/candidates.h"
#include "serve/pick.h"
#include "serve/route_none.h"
#include "serve/target.h"

static uint64_t random_bits(void)
{
    uint64_t r;

    digest_random(&r, sizeof(r));
    return r;
}

/* The route whose targets are chosen from; NULL when there are no routes. */
static const struct conf_route *route_of(const struct exchange *x,
                                         const struct route_ask *ask)
{
    return x->conf->routes_given && ask->model.len > 0
               ? conf_route_find(x->conf, ask->model)
               : NULL;
}

/* What names <c> for good, on every machine. */
static uint64_t id_of(const struct candidate *c)
{
    const struct str name = c->up ? c->up->name : c->engine->name;

    return pick_hash(pick_hash(0, name), c->model);
}

/* See all of <cs>. Those at rest are left out as long as one is not. */
static void view_fill(const struct candidates *cs, const struct route_ask *ask,
                      uint64_t now_ms, struct pick_view *v)
{
    bool ready[CANDIDATES_MAX], any = false;

    for (unsigned i = 0; i < cs->n; i++) {
        const struct candidate *c = &cs->c[i];

        v[i] = (struct pick_view){.weight = c->weight, .id = id_of(c)};
        target_see(c->target, c->up, now_ms, &v[i]);
        v[i].out = route_was_tried(ask, c->target, c->model) ||
                   !target_is_last_resort(c->target, c->up, 0, now_ms);
        v[i].out =
            v[i].out || (ask->beside &&
                         !(c->up && target_is_sound(c->target, c->up, now_ms)));
        ready[i] = !v[i].out && target_is_ready(c->target, c->up, 0, now_ms);
        any |= ready[i];
    }
    for (unsigned i = 0; any && i < cs->n; i++)
        v[i].out = !ready[i];
}

/* The strategy that <r> has for <x>, and for the prefix strategy the key: what
 * has no prompt goes anywhere. */
static enum conf_strategy strategy_of(const struct exchange *x,
                                      const struct route_ask *ask,
                                      const struct conf_route *r,
                                      uint64_t *key_out)
{
    if (!r)
        return CONF_STRATEGY_WEIGHTED;
    if (r->strategy == CONF_STRATEGY_PREFIX &&
        !affinity_key(x->ask->scan, ask->model, key_out))
        return CONF_STRATEGY_WEIGHTED;
    return r->strategy;
}

/* One of <cs>, or NULL: nobody may be asked now. */
static const struct candidate *candidate_pick(struct exchange *x,
                                              const struct route_ask *ask,
                                              const struct candidates *cs,
                                              uint64_t now_ms)
{
    const struct conf_route *r = route_of(x, ask);
    struct pick_view v[CANDIDATES_MAX];
    uint64_t key = 0;
    enum conf_strategy how =
        cs->n > 1 ? strategy_of(x, ask, r, &key) : CONF_STRATEGY_WEIGHTED;
    size_t i;

    view_fill(cs, ask, now_ms, v);
    i = pick_target(how, v, cs->n, key, random_bits());
    return i < cs->n ? &cs->c[i] : NULL;
}

/* Which fallback of <first> is called <model>, counted from 1; 0: none. */
static unsigned fallback_of(const struct exchange *x,
                            const struct conf_route *first, struct str model)
{
    if (!first || str_eq(model, x->ask->model))
        return 0;
    for (size_t i = 0; i < first->n_fallbacks; i++)
        if (str_eq(first->fallbacks[i], model))
            return (unsigned)i + 1;
    return 0;
}

static void choice_fill(const struct exchange *x, const struct route_ask *ask,
                        const struct candidate *c, struct choice *out)
{
    const struct route_ask own = {.model = x->ask->model};
    const struct conf_route *first = route_of(x, &own);

    *out = (struct choice){.up = c->up,
                           .engine = c->engine,
                           .route = first,
                           .fallback = fallback_of(x, first, ask->model),
                           .target = c->target,
                           .model = c->model,
                           .label = c->label,
                           .passthrough = c->passthrough};
}

enum err route_choose(struct exchange *x, const struct route_ask *ask,
                      struct choice *out, struct route_none *none)
{
    const uint64_t now_ms = clock_mono_ms();
    struct candidates cs = {.n = 0};
    const struct candidate *c;
    enum err e = candidates_find(x, ask->model, &cs);

    if (e != ERR_OK)
        return route_none_known(x, ask, e, none);
    if (cs.n == 0)
        return route_none_open(x, ask, &cs, none);
    c = candidate_pick(x, ask, &cs, now_ms);
    if (!c)
        return route_none_ready(x, ask, &cs, now_ms, none);
    choice_fill(x, ask, c, out);
    return ERR_OK;
}
