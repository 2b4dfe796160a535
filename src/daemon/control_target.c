/* control_target.c - See control_target.h. */
#include "daemon/control_target.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"
#include "daemon/status_engine.h"
#include "engine/engine.h"
#include "serve/target.h"

/* What is known of a target besides its own state. */
struct about {
    const struct conf_upstream *up; /* NULL: none of that name */
    bool engine;                    /* <own> holds */
    struct engine_view own;
    enum target_shut why;
    uint64_t wait_ms; /* goes with <why> */
};

static const char *state_of(const struct target_view *v, const struct about *a)
{
    if (!a->up && !a->engine)
        return "removed";
    if (v->draining)
        return "draining";
    if (a->engine && a->own.failed)
        return "failed";
    if (a->engine && !a->own.ready)
        return "loading";
    if (a->why != TARGET_OPEN)
        return target_shut_name(a->why);
    return v->last_error_wall_ms > v->last_ok_wall_ms ? "failing" : "up";
}

/* A time to wait as people read it; null for none. */
static json_t *span_json(uint64_t ms)
{
    char text[CLOCK_SPAN_SIZE];

    if (ms == 0)
        return json_null();
    clock_format_span(ms, text);
    return json_string(text);
}

static json_t *key_json(struct target *t, const struct conf_upstream *up,
                        unsigned key, uint64_t now_ms)
{
    struct target_key_view v;

    target_key_view(t, up, key, now_ms, &v);
    return json_pack(
        "{s:I, s:o, s:s, s:s, s:I, s:I, s:I}", "key", (json_int_t)key, "source",
        up->keys[key].source.len ? json_text(up->keys[key].source)
                                 : json_null(),
        "state", v.why == TARGET_OPEN ? "up" : target_shut_name(v.why),
        "breaker", breaker_state_name(v.breaker.state), "retry_in_ms",
        (json_int_t)v.wait_ms, "window_failures",
        (json_int_t)v.breaker.failures, "window_attempts",
        (json_int_t)v.breaker.attempts);
}

/* The keys of <up>, and in words how many of them may be used. */
static json_t *keys_json(struct target *t, const struct conf_upstream *up,
                         uint64_t now_ms, json_t **words_out)
{
    json_t *list = json_array();
    unsigned n = 0;
    char text[48];

    *words_out = json_null();
    if (!up || up->n_keys == 0)
        return list;
    for (unsigned i = 0; i < up->n_keys; i++) {
        json_t *key = key_json(t, up, i, now_ms);

        n += json_integer_value(json_object_get(key, "retry_in_ms")) == 0;
        json_array_append_new(list, key);
    }
    snprintf(text, sizeof(text), "%u/%zu", n, up->n_keys);
    *words_out = json_string(text);
    return list;
}

static json_t *target_json(const struct target_view *v, const struct about *a,
                           json_t *keys, json_t *keys_ready)
{
    const char *error = a->engine && a->own.failed ? a->own.why : v->last_error;

    return json_pack(
        "{s:o, s:s, s:o, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, "
        "s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
        "name", json_text(v->name), "kind", a->engine ? "engine" : "upstream",
        "engine", a->engine ? status_engine_json(&a->own) : json_null(),
        "state", state_of(v, a), "breaker",
        breaker_state_name(v->breaker.state), "retry_in", span_json(a->wait_ms),
        "retry_in_ms", (json_int_t)a->wait_ms, "window_failures",
        (json_int_t)v->breaker.failures, "window_attempts",
        (json_int_t)v->breaker.attempts, "opened",
        (json_int_t)v->breaker.opened, "probes", (json_int_t)v->breaker.probes,
        "keys", keys, "keys_ready", keys_ready, "queued", (json_int_t)v->queued,
        "in_flight", (json_int_t)v->in_flight, "requests",
        (json_int_t)v->requests, "failures", (json_int_t)v->failures,
        "last_error", error[0] ? json_text(str_from(error)) : json_null(),
        "last_error_time", json_time((int64_t)v->last_error_wall_ms),
        "last_ok_time", json_time((int64_t)v->last_ok_wall_ms));
}

static json_t *target_tell_of(struct daemon *d, const struct target_view *v,
                              uint64_t now_ms)
{
    struct target *t = target_find(d->targets, v->name);
    const int i = conf_upstream_find(d->conf, v->name);
    struct about a = {.up = i >= 0 ? &d->conf->upstreams[i] : NULL};
    json_t *keys, *ready;

    a.engine = !a.up && engine_find(d->engine, v->name, &a.own);
    if (a.up || a.engine)
        a.why = target_why(t, a.up, 0, now_ms, &a.wait_ms);
    keys = keys_json(t, a.up, now_ms, &ready);
    return target_json(v, &a, keys, ready);
}

json_t *control_target_list(struct daemon *d, const json_t *args,
                            struct buf *why)
{
    const uint64_t now_ms = clock_mono_ms();
    json_t *list = json_array();
    struct target_view v;

    (void)args;
    (void)why;
    for (unsigned i = 0; target_view(d->targets, i, now_ms, &v); i++)
        json_array_append_new(list, target_tell_of(d, &v, now_ms));
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
    if (!drain)
        target_reset(t, clock_mono_ms());
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
