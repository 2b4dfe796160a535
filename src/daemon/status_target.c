/* status_target.c - See status_target.h. */
#include "daemon/status_target.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "serve/target.h"

/* One family of numbers, a line for each target. */
struct family {
    const char *name, *type, *help;
    uint64_t (*of)(const struct target_view *v);
    double unit; /* what one of it counts */
};

static uint64_t in_flight(const struct target_view *v)
{
    return v->in_flight;
}

static uint64_t attempts(const struct target_view *v)
{
    return v->requests;
}

static uint64_t failures(const struct target_view *v)
{
    return v->failures;
}

static uint64_t state(const struct target_view *v)
{
    return v->breaker.state;
}

static uint64_t opened(const struct target_view *v)
{
    return v->breaker.opened;
}

static uint64_t probes(const struct target_view *v)
{
    return v->breaker.probes;
}

static uint64_t checks(const struct target_view *v)
{
    return v->checks;
}

static uint64_t checks_failed(const struct target_view *v)
{
    return v->checks_failed;
}

static uint64_t queued(const struct target_view *v)
{
    return v->queued;
}

static uint64_t waits(const struct target_view *v)
{
    return v->waits;
}

static uint64_t waited_ms(const struct target_view *v)
{
    return v->waited_ms;
}

static uint64_t refused(const struct target_view *v)
{
    return v->refused;
}

static const struct family families[] = {
    {"target_in_flight", "gauge", "Attempts under way", in_flight, 1},
    {"target_attempts_total", "counter", "Attempts made", attempts, 1},
    {"target_failures_total", "counter", "Attempts that failed", failures, 1},
    {"breaker_state", "gauge",
     "Whether requests go there: 0 closed, they do; 1 open; 2 half open", state,
     1},
    {"breaker_opened_total", "counter",
     "Times the breaker opened, but for failed probes", opened, 1},
    {"breaker_probes_total", "counter", "Probes let through", probes, 1},
    {"health_checks_total", "counter", "Checks without a request", checks, 1},
    {"health_failures_total", "counter", "Checks that failed", checks_failed,
     1},
    {"queue_waiting", "gauge", "Requests that wait for a place", queued, 1},
    {"queue_waits_total", "counter", "Requests that had to", waits, 1},
    {"queue_wait_seconds_total", "counter", "How long they did", waited_ms,
     1e-3},
    {"queue_refused_total", "counter",
     "Requests that could not wait, or had to for too long", refused, 1},
};

static enum err put_family(struct daemon *d, const struct family *f,
                           struct buf *out)
{
    const uint64_t now_ms = clock_mono_ms();
    struct target_view v;
    enum err e =
        buf_printf(out, "# HELP tollgate_%s %s.\n# TYPE tollgate_%s %s\n",
                   f->name, f->help, f->name, f->type);

    for (unsigned i = 0; e == ERR_OK && target_view(d->targets, i, now_ms, &v);
         i++)
        e = buf_printf(out, "tollgate_%s{target=\"%.*s\"} %.*f\n", f->name,
                       STR_ARG(v.name), f->unit < 1 ? 3 : 0,
                       (double)f->of(&v) * f->unit);
    return e;
}

/* Of each key whether requests go with it. */
static enum err put_key_states(struct daemon *d, const struct conf_upstream *up,
                               uint64_t now_ms, struct buf *out)
{
    struct target *t = target_find(d->targets, up->name);
    struct target_key_view v;
    enum err e = ERR_OK;

    for (unsigned i = 0; t && i < up->n_keys && e == ERR_OK; i++) {
        target_key_view(t, up, i, now_ms, &v);
        e = buf_printf(out,
                       "tollgate_breaker_key_state{target=\"%.*s\","
                       "key=\"%u\"} %u\n",
                       STR_ARG(up->name), i, (unsigned)v.breaker.state);
    }
    return e;
}

/* How many of the keys of <up> may not be used now. */
static unsigned keys_out(struct daemon *d, const struct conf_upstream *up,
                         uint64_t now_ms)
{
    struct target *t = target_find(d->targets, up->name);
    struct target_key_view v;
    unsigned n = 0;

    for (unsigned i = 0; t && i < up->n_keys; i++) {
        target_key_view(t, up, i, now_ms, &v);
        n += v.why != TARGET_OPEN;
    }
    return n;
}

static enum err put_keys(struct daemon *d, const struct conf *c,
                         struct buf *out)
{
    const uint64_t now_ms = clock_mono_ms();
    enum err e = buf_printf(
        out, "# HELP tollgate_target_keys_out Keys that are limited, refused, "
             "used up or failing.\n# TYPE tollgate_target_keys_out gauge\n");

    for (size_t i = 0; i < c->n_upstreams && e == ERR_OK; i++)
        e = buf_printf(out, "tollgate_target_keys_out{target=\"%.*s\"} %u\n",
                       STR_ARG(c->upstreams[i].name),
                       keys_out(d, &c->upstreams[i], now_ms));
    if (e == ERR_OK)
        e = buf_printf(out, "# HELP tollgate_breaker_key_state The same of "
                            "each key.\n"
                            "# TYPE tollgate_breaker_key_state gauge\n");
    for (size_t i = 0; i < c->n_upstreams && e == ERR_OK; i++)
        e = put_key_states(d, &c->upstreams[i], now_ms, out);
    return e;
}

enum err status_target_metrics(struct daemon *d, const struct conf *c,
                               struct buf *out)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (e == ERR_OK)
            e = put_family(d, &families[i], out);
    return e == ERR_OK ? put_keys(d, c, out) : e;
}
