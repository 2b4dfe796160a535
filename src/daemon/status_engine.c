/* status_engine.c - The engine's numbers as metrics. Samples of a family stand
 * together: the models are looked at once, and each family walks the views. */
#include "daemon/status_engine.h"

#include "base/arena.h"
#include "daemon/daemon.h"
#include "daemon/status_prefix.h"
#include "engine/engine.h"
#include "settle/metrics.h"

/* Bytes of all models' views, at most. */
#define VIEWS_MAX (1UL << 20)

/* A number of one model. */
typedef double number_fn(const struct engine_view *v);

static double queue_of(const struct engine_view *v)
{
    return (double)v->stats.waiting;
}

static double batch_of(const struct engine_view *v)
{
    return (double)v->stats.running;
}

static double rate_of(const struct engine_view *v)
{
    return v->tokens_per_s;
}

static double slots_of(const struct engine_view *v)
{
    return (double)v->slots;
}

static double ready_of(const struct engine_view *v)
{
    return v->ready;
}

static double used_of(const struct engine_view *v)
{
    return v->stats.pages_all > 0
               ? (double)v->stats.pages_used / (double)v->stats.pages_all
               : 0;
}

static double steps_of(const struct engine_view *v)
{
    return (double)v->stats.steps;
}

static double busy_of(const struct engine_view *v)
{
    return (double)v->stats.busy_us / 1e6;
}

static double preempted_of(const struct engine_view *v)
{
    return (double)v->stats.preemptions;
}

static double generated_of(const struct engine_view *v)
{
    return (double)v->stats.output_tokens;
}

static double refused_of(const struct engine_view *v)
{
    return (double)v->stats.refused;
}

static double cancelled_of(const struct engine_view *v)
{
    return (double)v->stats.cancelled;
}

/* The families with one sample a model. */
static const struct {
    const char *name, *type, *help;
    number_fn *number;
} families[] = {
    {"engine_ready", "gauge", "Whether the model is loaded", ready_of},
    {"engine_slots", "gauge", "Sequences that may run at once", slots_of},
    {"engine_queue", "gauge", "Jobs that wait for a slot", queue_of},
    {"engine_batch", "gauge", "Sequences that run now", batch_of},
    {"engine_tokens_per_second", "gauge", "Tokens generated lately", rate_of},
    {"engine_kv_used_ratio", "gauge", "Share of the pages in use", used_of},
    {"engine_steps_total", "counter", "Passes over the layers", steps_of},
    {"engine_generated_tokens_total", "counter", "Tokens generated",
     generated_of},
    {"engine_busy_seconds_total", "counter", "Time spent in steps", busy_of},
    {"engine_preemptions_total", "counter",
     "Sequences put back to be computed anew", preempted_of},
    {"engine_refused_total", "counter", "Jobs turned away", refused_of},
    {"engine_cancelled_total", "counter", "Jobs whose client left",
     cancelled_of},
};

static enum err put_family(const struct engine_view *views, unsigned n,
                           struct buf *out, size_t f)
{
    enum err e = buf_printf(out,
                            "# HELP tollgate_%s %s.\n"
                            "# TYPE tollgate_%s %s\n",
                            families[f].name, families[f].help,
                            families[f].name, families[f].type);

    for (unsigned i = 0; e == ERR_OK && i < n; i++)
        e = buf_printf(out, "tollgate_%s{model=\"%.*s\"} %.10g\n",
                       families[f].name, STR_ARG(views[i].name),
                       families[f].number(&views[i]));
    return e;
}

enum err status_engine_metrics(struct daemon *d, struct buf *out)
{
    const size_t most = d->conf_start->engine.n_models;
    struct engine_view *views;
    struct arena *mem;
    enum err e = ERR_OK;
    unsigned n = 0;

    if (!d->engine)
        return ERR_OK;
    mem = arena_new(16384, VIEWS_MAX);
    views = mem ? arena_alloc(mem, (most + 1) * sizeof(*views)) : NULL;
    e = views ? ERR_OK : ERR_NOMEM;
    while (views && n < most && engine_view(d->engine, n, &views[n]))
        n++;
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
        if (e == ERR_OK)
            e = put_family(views, n, out, f);
    if (e == ERR_OK)
        e = status_prefix_metrics(views, n, out);
    arena_free(mem);
    return e;
}

json_t *status_engine_json(const struct engine_view *v)
{
    const char *state = v->failed ? "failed" : v->ready ? "ready" : "loading";

    return json_pack(
        "{s:s, s:i, s:o, s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, "
        "s:I, s:s, s:o}",
        "state", state, "percent", (int)v->percent, "reason",
        v->why[0] ? json_string(v->why) : json_null(), "device", v->device,
        "context_length", (json_int_t)v->context, "slots", (json_int_t)v->slots,
        "queue", (json_int_t)v->stats.waiting, "running",
        (json_int_t)v->stats.running, "tokens_per_second", v->tokens_per_s,
        "weight_bytes", (json_int_t)v->weight_bytes, "kv_bytes",
        (json_int_t)v->kv_bytes, "kv_blocks", (json_int_t)v->stats.pages_all,
        "kv_blocks_used", (json_int_t)v->stats.pages_used, "kv_blocks_cached",
        (json_int_t)v->stats.pages_cached, "fingerprint", v->fingerprint,
        "prefix", status_prefix_json(v));
}

json_t *status_engine_list(struct daemon *d)
{
    json_t *list = json_array();
    struct engine_view v;

    for (unsigned i = 0; engine_view(d->engine, i, &v); i++) {
        json_t *o =
            json_pack("{s:o}", "name", json_stringn(v.name.p, v.name.len));
        json_t *more = status_engine_json(&v);

        json_object_update(o, more);
        json_decref(more);
        json_array_append_new(list, o);
    }
    return list;
}
