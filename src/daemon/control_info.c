/* control_info.c - See control_info.h. Reads only. */
#include "daemon/control_info.h"

#include <stdlib.h>

#include "account/keytab.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/control_budget.h"
#include "daemon/control_keys.h"
#include "daemon/control_price.h"
#include "daemon/control_target.h"
#include "daemon/daemon.h"
#include "daemon/status.h"
#include "daemon/status_engine.h"
#include "engine/engine.h"
#include "serve/route.h"

/* ---- models ------------------------------------------------------------ */

static json_t *route_targets(const struct conf *c, struct str model)
{
    const struct conf_route *r =
        c->routes_given ? conf_route_find(c, model) : NULL;
    json_t *list = json_array();
    char text[512];

    for (size_t i = 0; r && i < r->n_targets; i++) {
        const struct conf_route_target *t = &r->targets[i];
        struct str to = t->model.len ? t->model : model;
        struct str by = t->upstream >= 0 ? t->upstream_name : t->engine_name;

        snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(by), STR_ARG(to));
        json_array_append_new(list, json_text(str_from(text)));
    }
    return list;
}

struct model_walk {
    const struct daemon *d;
    const struct conf *c;
    json_t *list;
    json_t *seen;
};

/* The engine model that answers for <model>, if there is one. */
static bool model_engine(const struct model_walk *w, struct str model,
                         struct engine_view *out)
{
    const struct conf_engine_model *m = route_engine(w->c, model);

    return m && engine_find(w->d->engine, m->name, out);
}

static void add_model(struct str model, struct str owner, void *arg)
{
    struct model_walk *w = arg;
    json_t *targets, *have;
    struct engine_view v;
    char name[300], text[512];
    bool own;

    snprintf(name, sizeof(name), "%.*s", STR_ARG(model));
    have = json_object_get(w->seen, name);
    own = model_engine(w, model, &v);
    if (own && !w->c->routes_given && str_eq(owner, STR("tollgate")))
        owner = v.name;
    snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(owner), STR_ARG(model));
    if (have) {
        json_array_append_new(have, json_text(str_from(text)));
        return;
    }
    targets = route_targets(w->c, model);
    if (!w->c->routes_given)
        json_array_append_new(targets, json_text(str_from(text)));
    json_object_set(w->seen, name, targets);
    json_array_append_new(
        w->list,
        json_pack("{s:o, s:o, s:o, s:o}", "id", json_text(str_from(name)),
                  "targets", targets, "context_length",
                  own ? json_integer((json_int_t)v.context) : json_null(),
                  "engine", own ? status_engine_json(&v) : json_null()));
}

json_t *control_model_list(struct daemon *d, const json_t *args,
                           struct buf *why)
{
    struct model_walk w = {d, d->conf, json_array(), json_object()};

    (void)args;
    (void)why;
    route_models(d->conf, d->discover, add_model, &w);
    json_decref(w.seen);
    return json_pack("{s:o}", "data", w.list);
}

/* ---- config ------------------------------------------------------------ */

json_t *control_config_show(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    struct buf text;
    json_t *data = NULL;

    (void)args;
    buf_init(&text, 4 * 1024 * 1024);
    if (conf_print(d->conf, &text) == ERR_OK)
        data = json_pack("{s:o}", "yaml", json_text(buf_str(&text)));
    buf_fini(&text);
    return data ? data : control_fail(why, "out of memory");
}

/* Whether a request would be served, and why it is so. */
static bool explain(struct daemon *d, const struct key *k, struct str model,
                    const char **why_out)
{
    bool routed = d->conf->routes_given, ok = false;

    clock_update();
    if (k->spec.blocked)
        *why_out = "the key is blocked";
    else if (k->spec.expires_wall_ms > 0 &&
             k->spec.expires_wall_ms <= (int64_t)clock_wall_ms())
        *why_out = "the key has expired";
    else if (!key_may_use(k, model))
        *why_out = "the key's model list does not allow it";
    else if (!route_serves(d->conf, d->discover, model))
        *why_out = routed ? "no route matches it" : "no upstream serves it";
    else
        ok = true;
    if (ok)
        *why_out = routed                         ? "a route matches it"
                   : route_engine(d->conf, model) ? "the engine serves it"
                                                  : "an upstream serves it";
    return ok;
}

/* Targets of a model without a route, in the making. */
struct upstream_walk {
    json_t *list;
    struct str model;
};

static void add_upstream(const struct conf_upstream *up, void *arg)
{
    struct upstream_walk *w = arg;
    char text[512];

    snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(up->name),
             STR_ARG(w->model));
    json_array_append_new(w->list, json_text(str_from(text)));
}

static json_t *explain_targets(struct daemon *d, struct str model)
{
    struct upstream_walk w = {.model = model};
    const struct conf_engine_model *own;
    char text[512];

    if (d->conf->routes_given)
        return route_targets(d->conf, model);
    w.list = json_array();
    own = route_engine(d->conf, model);
    if (own) {
        snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(own->name),
                 STR_ARG(own->name));
        json_array_append_new(w.list, json_text(str_from(text)));
        return w.list;
    }
    route_upstreams(d->conf, d->discover, model, add_upstream, &w);
    return w.list;
}

/* Limits and budgets of <k> and of the team that it is in; null when it is in
 * none. */
static json_t *explain_bounds(struct daemon *d, const struct key *k)
{
    const struct team *t = keytab_find_team(d->keys, k->spec.team);
    json_t *o = json_pack(
        "{s:o, s:o, s:o, s:o}", "limits", control_limits_json(&k->spec.limits),
        "team_limits", t ? control_limits_json(&t->spec.limits) : json_null(),
        "budgets", control_budget_list(d, false, k->id, &k->spec),
        "team_budgets",
        t ? control_budget_list(d, true, t->spec.name, &t->spec) : json_null());

    team_unref(t);
    return o;
}

json_t *control_config_explain(struct daemon *d, const json_t *args,
                               struct buf *why)
{
    const struct conf_route *r;
    const struct key *k;
    struct str ref, model;
    const char *reason;
    json_t *data, *targets, *bounds;
    bool ok;

    if (!args_need(args, "key", &ref, why) ||
        !args_need(args, "model", &model, why))
        return NULL;
    k = keytab_find(d->keys, ref);
    if (!k)
        return control_fail(why, "no such key");
    ok = explain(d, k, model, &reason);
    targets = explain_targets(d, model);
    r = d->conf->routes_given ? conf_route_find(d->conf, model) : NULL;
    data = json_pack("{s:o, s:o, s:b, s:s, s:o, s:o, s:o}", "key",
                     json_text(k->id), "model", json_text(model), "allowed", ok,
                     "why", reason, "route",
                     r ? json_text(r->model) : json_null(), "targets", targets,
                     "prices", control_price_list(d->conf, targets));
    bounds = explain_bounds(d, k);
    json_object_update(data, bounds);
    json_decref(bounds);
    key_unref(k);
    return data;
}

/* ---- live -------------------------------------------------------------- */

json_t *control_top(struct daemon *d, const json_t *args, struct buf *why)
{
    struct buf text;
    json_t *data = NULL;

    (void)args;
    buf_init(&text, 16 * 1024 * 1024);
    if (status_metrics(d, d->conf, &text) == ERR_OK)
        data = json_pack(
            "{s:o, s:o, s:o}", "metrics", json_text(buf_str(&text)), "targets",
            control_target_list(d, args, why), "engine", status_engine_list(d));
    buf_fini(&text);
    return data ? data : control_fail(why, "out of memory");
}
