/* control_info.c - See control_info.h. Reads only, but for target drain. */
#include "daemon/control_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "account/keytab.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/control_keys.h"
#include "daemon/daemon.h"
#include "daemon/status.h"
#include "daemon/status_engine.h"
#include "engine/engine.h"
#include "serve/route.h"
#include "serve/target.h"

#define EXPORT_ROWS 1000 /* of one answer */

static json_t *js_or_null(struct str s)
{
    return s.len ? json_text(s) : json_null();
}

static json_t *usd_json(int64_t nusd)
{
    char text[40];

    snprintf(text, sizeof(text), "%" PRId64 ".%09" PRId64, nusd / 1000000000,
             nusd % 1000000000);
    return json_string(text);
}

/* ---- usage ------------------------------------------------------------- */

/* Members that name a group. */
static const char *const usage_by_names[USAGE_BY_COUNT] = {
    "none", "key", "team", "model", "day", "target",
};

static bool usage_by(struct str name, enum usage_by *out)
{
    *out = USAGE_BY_NONE;
    if (name.len == 0)
        return true;
    for (int i = 1; i < USAGE_BY_COUNT; i++) {
        if (str_eq(name, str_from(usage_by_names[i]))) {
            *out = (enum usage_by)i;
            return true;
        }
    }
    return false;
}

static json_t *sum_json(struct daemon *d, const struct usage_sum *s,
                        enum usage_by by)
{
    json_t *o = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "requests",
        (json_int_t)s->requests, "errors", (json_int_t)s->errors,
        "input_tokens", (json_int_t)row_input_tokens(s->tok), "cached_tokens",
        (json_int_t)s->tok[ROW_TOK_CACHE_READ], "output_tokens",
        (json_int_t)row_output_tokens(s->tok), "ms_total",
        (json_int_t)s->ms_total, "cost_usd", usd_json(s->cost_nusd));

    if (by != USAGE_BY_NONE)
        json_object_set_new(o, usage_by_names[by],
                            json_text(str_from(s->name)));
    if (by == USAGE_BY_KEY) {
        const struct key *k = keytab_find(d->keys, str_from(s->name));

        json_object_set_new(o, "name",
                            k ? json_text(k->spec.name) : json_null());
        key_unref(k);
    }
    return o;
}

static bool usage_times(const json_t *args, struct usage_query *q,
                        struct buf *why)
{
    struct str since = args_str(args, "since"), until = args_str(args, "until");
    int64_t now_ms;

    clock_update();
    now_ms = (int64_t)clock_wall_ms();
    if (since.len > 0 &&
        !args_time_ms(since, now_ms, true, &q->since_wall_ms)) {
        control_fail(why,
                     "since '%.*s' is no time; write e.g. 7d or "
                     "2026-11-01",
                     STR_ARG(since));
        return false;
    }
    if (until.len > 0 &&
        !args_time_ms(until, now_ms, true, &q->until_wall_ms)) {
        control_fail(why,
                     "until '%.*s' is no time; write e.g. 1d or "
                     "2026-11-21",
                     STR_ARG(until));
        return false;
    }
    if (until.len > 0 && q->until_wall_ms <= 0)
        q->until_wall_ms = 1; /* 0 would mean no end */
    return true;
}

static json_t *usage_answer(struct daemon *d, const struct usage_query *q,
                            struct buf *why)
{
    struct usage_report r = {0};
    json_t *list;

    if (ledger_usage(d->ledger, q, &r) != ERR_OK)
        return control_fail(why, "the ledger cannot be read; see the log");
    list = json_array();
    for (size_t i = 0; i < r.n_sums; i++)
        json_array_append_new(list, sum_json(d, &r.sums[i], q->by));
    usage_report_fini(&r);
    return json_pack("{s:o, s:b, s:b}", "data", list, "rounded", r.rounded,
                     "behind", r.behind);
}

json_t *control_usage(struct daemon *d, const json_t *args, struct buf *why)
{
    struct usage_query q = {.team = args_str(args, "team")};
    struct str ref = args_str(args, "key");
    const struct key *k = NULL;
    json_t *data;

    if (!usage_by(args_str(args, "by"), &q.by))
        return control_fail(why, "by must be key, team, model, day or target");
    if (!usage_times(args, &q, why))
        return NULL;
    if (ref.len > 0) {
        k = keytab_find(d->keys, ref);
        q.key_id = k ? k->id : ref;
        /* The rows of a deleted key, and of everybody, go by their id. */
        if (!k && !str_starts(ref, STR("key_")) &&
            !str_eq(ref, STR("anonymous")))
            return control_fail(why, "no such key; name a deleted one by its "
                                     "id");
    }
    data = usage_answer(d, &q, why);
    key_unref(k);
    return data;
}

/* ---- targets ----------------------------------------------------------- */

static const char *target_state(const struct target_view *v, bool configured,
                                const struct engine_view *own)
{
    if (!configured)
        return "removed";
    if (v->draining)
        return "draining";
    if (own && own->failed)
        return "failed";
    if (own && !own->ready)
        return "loading";
    return v->last_error_wall_ms > v->last_ok_wall_ms ? "failing" : "up";
}

static json_t *target_json(const struct daemon *d, const struct target_view *v)
{
    bool upstream = conf_upstream_find(d->conf, v->name) >= 0;
    struct engine_view own;
    bool engine = !upstream && engine_find(d->engine, v->name, &own);
    const char *state =
        target_state(v, upstream || engine, engine ? &own : NULL);
    const char *error = engine && own.failed ? own.why : v->last_error;

    return json_pack(
        "{s:o, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "name",
        json_text(v->name), "kind", engine ? "engine" : "upstream", "engine",
        engine ? status_engine_json(&own) : json_null(), "state", state,
        "breaker", "closed", "in_flight", (json_int_t)v->in_flight, "requests",
        (json_int_t)v->requests, "failures", (json_int_t)v->failures,
        "last_error", error[0] ? json_text(str_from(error)) : json_null(),
        "last_error_time", json_time((int64_t)v->last_error_wall_ms),
        "last_ok_time", json_time((int64_t)v->last_ok_wall_ms));
}

json_t *control_target_list(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    json_t *list = json_array();
    struct target_view v;

    (void)args;
    (void)why;
    for (unsigned i = 0; target_view(d->targets, i, &v); i++)
        json_array_append_new(list, target_json(d, &v));
    return json_pack("{s:o}", "data", list);
}

static json_t *target_set(struct daemon *d, const json_t *args, bool drain,
                          struct buf *why)
{
    struct target *t;
    struct str name;

    if (!args_need(args, "name", &name, why))
        return NULL;
    t = target_find(d->targets, name);
    if (!t)
        return control_fail(why, "no such target; see: tollctl target list");
    target_drain(t, drain);
    return json_pack("{s:o, s:s}", "name", json_text(name), "state",
                     drain ? "draining" : "up");
}

json_t *control_target_drain(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    return target_set(d, args, true, why);
}

json_t *control_target_resume(struct daemon *d, const json_t *args,
                              struct buf *why)
{
    return target_set(d, args, false, why);
}

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

json_t *control_config_explain(struct daemon *d, const json_t *args,
                               struct buf *why)
{
    const struct conf_route *r;
    const struct key *k;
    struct str ref, model;
    const char *reason;
    json_t *data;
    bool ok;

    if (!args_need(args, "key", &ref, why) ||
        !args_need(args, "model", &model, why))
        return NULL;
    k = keytab_find(d->keys, ref);
    if (!k)
        return control_fail(why, "no such key");
    ok = explain(d, k, model, &reason);
    r = d->conf->routes_given ? conf_route_find(d->conf, model) : NULL;
    data =
        json_pack("{s:o, s:o, s:b, s:s, s:o, s:o, s:o}", "key",
                  json_text(k->id), "model", json_text(model), "allowed", ok,
                  "why", reason, "route", r ? json_text(r->model) : json_null(),
                  "targets", explain_targets(d, model), "limits",
                  control_limits_json(&k->spec.limits));
    key_unref(k);
    return data;
}

/* ---- ledger ------------------------------------------------------------ */

json_t *control_ledger_verify(struct daemon *d, const json_t *args,
                              struct buf *why)
{
    struct buf report;
    json_t *data = NULL;
    enum err e;

    (void)args;
    buf_init(&report, 64 * 1024);
    e = ledger_verify(d->ledger, &report);
    if (e == ERR_OK)
        data = json_pack("{s:b, s:o}", "ok", 1, "report",
                         json_text(buf_str(&report)));
    else if (report.len > 0)
        control_fail(why, "%.*s", STR_ARG(buf_str(&report)));
    else
        control_fail(why, "the ledger cannot be %s now; see the log",
                     e == ERR_LEDGER ? "written" : "read");
    buf_fini(&report);
    return data;
}

static json_t *row_json(const struct usage_row *r)
{
    static const char *const sources[ROW_SOURCE_COUNT] = {
        "none", "upstream", "engine", "estimated"};
    json_t *o = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "id",
        json_text(r->id), "time", json_time(r->time_wall_ms), "key",
        json_text(r->key_id), "team", js_or_null(r->team), "endpoint",
        json_text(r->endpoint), "model", js_or_null(r->model), "target",
        js_or_null(r->target), "target_model", js_or_null(r->target_model),
        "status", (int)r->status, "attempts", (int)r->attempts);
    json_t *more = json_pack(
        "{s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, "
        "s:o, s:o}",
        "stream", (r->flags & ROW_STREAM) != 0, "client_gone",
        (r->flags & ROW_CLIENT_GONE) != 0, "incomplete",
        (r->flags & ROW_INCOMPLETE) != 0, "usage_source",
        sources[r->usage_source < ROW_SOURCE_COUNT ? r->usage_source : 0],
        "input_tokens", (json_int_t)row_input_tokens(r->tok), "cached_tokens",
        (json_int_t)r->tok[ROW_TOK_CACHE_READ], "output_tokens",
        (json_int_t)row_output_tokens(r->tok), "audio_ms",
        (json_int_t)r->audio_ms, "cost_usd", usd_json(r->cost_nusd), "ms_total",
        (json_int_t)r->ms_total, "ms_first_byte", (json_int_t)r->ms_first_byte,
        "bytes_in", (json_int_t)r->bytes_in, "bytes_out",
        (json_int_t)r->bytes_out, "finish", js_or_null(r->finish), "reason",
        js_or_null(r->reason));

    json_object_update(o, more);
    json_decref(more);
    return o;
}

/* A page of rows in the making. */
struct export
{
    json_t *list;
    int64_t after_ms; /* time and id of the last row of the page before */
    struct str after; /* empty for the first page */
    int64_t last_ms;  /* of the last row in <list> */
    char last[ROW_ID_LEN + 1];
};

static enum err export_row(void *arg, const struct usage_row *row)
{
    struct export *e = arg;

    /* Rows of the same time stand in the order of their ids. */
    if (row->time_wall_ms == e->after_ms && e->after.len == row->id.len &&
        memcmp(row->id.p, e->after.p, row->id.len) <= 0)
        return ERR_OK;
    if (json_array_size(e->list) >= EXPORT_ROWS)
        return ERR_FULL;
    json_array_append_new(e->list, row_json(row));
    e->last_ms = row->time_wall_ms;
    snprintf(e->last, sizeof(e->last), "%.*s", STR_ARG(row->id));
    return ERR_OK;
}

/* Where to go on: "TIME/ID", as control_ledger_export() gave it. */
static bool export_after(struct export *e, struct str text)
{
    size_t slash = str_find_char(text, '/');
    uint64_t ms;

    if (text.len == 0)
        return true;
    e->after = str_skip(text, slash + 1);
    if (!str_to_u64(str_of(text.p, slash), &ms) || ms > INT64_MAX ||
        e->after.len != ROW_ID_LEN)
        return false;
    e->after_ms = (int64_t)ms;
    return true;
}

json_t *control_ledger_export(struct daemon *d, const json_t *args,
                              struct buf *why)
{
    struct usage_query q = {.by = USAGE_BY_NONE};
    struct export x = {.after_ms = -1};
    json_t *next = json_null();
    char text[64];
    enum err e;

    if (!usage_times(args, &q, why))
        return NULL;
    if (!export_after(&x, args_str(args, "after")))
        return control_fail(why, "after is no place in the ledger");
    if (q.since_wall_ms < x.after_ms)
        q.since_wall_ms = x.after_ms;
    x.list = json_array();
    e = ledger_export(d->ledger, q.since_wall_ms, q.until_wall_ms, export_row,
                      &x);
    if (e != ERR_OK && e != ERR_FULL) {
        json_decref(x.list);
        return control_fail(why, "the ledger cannot be %s now; see the log",
                            e == ERR_LEDGER ? "written" : "read");
    }
    if (e == ERR_FULL) {
        snprintf(text, sizeof(text), "%" PRId64 "/%s", x.last_ms, x.last);
        next = json_string(text);
    }
    return json_pack("{s:o, s:o}", "data", x.list, "next", next);
}

json_t *control_request_show(struct daemon *d, const json_t *args,
                             struct buf *why)
{
    struct usage_row row;
    struct buf room;
    struct str id;
    json_t *data = NULL;

    if (!args_need(args, "id", &id, why))
        return NULL;
    buf_init(&room, 64 * 1024);
    if (ledger_flush(d->ledger) == ERR_OK &&
        ledger_row_find(d->ledger, id, &room, &row) == ERR_OK)
        data = row_json(&row);
    buf_fini(&room);
    return data ? data : control_fail(why, "no row of that id");
}

/* ---- live -------------------------------------------------------------- */

json_t *control_top(struct daemon *d, const json_t *args, struct buf *why)
{
    struct buf text;
    json_t *data = NULL;

    (void)args;
    buf_init(&text, 16 * 1024 * 1024);
    if (status_metrics(d, &text) == ERR_OK)
        data = json_pack(
            "{s:o, s:o, s:o}", "metrics", json_text(buf_str(&text)), "targets",
            control_target_list(d, args, why), "engine", status_engine_list(d));
    buf_fini(&text);
    return data ? data : control_fail(why, "out of memory");
}
