/* exchange.c - The only loop over stages and the only setter of a stage. It
 * decides what runs after what, by the table it is given, and when an
 * exchange is freed; it must never know what a stage does. */
#include "exchange/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "account/key.h"
#include "account/rate.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "exchange/quota.h"

static const char *const stage_names[STAGE_COUNT] = {
    "front", "admit", "prompt", "hold", "recall",
    "serve", "relay", "settle", "done",
};

const char *stage_name(enum stage s)
{
    return (unsigned)s < STAGE_COUNT ? stage_names[s] : "?";
}

struct str recall_name(enum recall_how how)
{
    static const char *const names[RECALL_HOW_COUNT] = {"bypass", "miss", "hit",
                                                        "joined"};

    return str_from((unsigned)how < RECALL_HOW_COUNT ? names[how] : names[0]);
}

/* All sub-structs stand in one arena object, so that a stage never meets a
 * NULL pointer. */
struct parts {
    struct exchange x;
    struct request in;
    struct caller who;
    struct ask ask;
    struct recall found;
    struct work work;
    struct made made;
    struct reply out;
    struct bill bill;
};

static void parts_join(struct parts *p)
{
    p->x.in = &p->in;
    p->x.who = &p->who;
    p->x.ask = &p->ask;
    p->x.found = &p->found;
    p->x.work = &p->work;
    p->x.made = &p->made;
    p->x.out = &p->out;
    p->x.bill = &p->bill;
}

struct exchange *exchange_new(struct worker *w, struct client *client)
{
    struct arena *a = arena_new(EXCHANGE_ARENA, EXCHANGE_ARENA_CAP);
    struct parts *p;
    struct exchange *x;

    if (!a)
        return NULL;
    p = arena_alloc(a, sizeof(*p));
    if (!p) {
        arena_free(a);
        return NULL;
    }
    parts_join(p);
    x = &p->x;
    x->arena = a;
    x->w = w;
    x->client = client;
    x->conf = conf_ref(w->conf);
    x->id = (struct xid){w->index, ++w->exchange_gen};
    id_new(x->name);
    x->start_us = (int64_t)clock_mono_us();
    x->start_wall_ms = (int64_t)clock_wall_ms();
    x->stage_us[STAGE_FRONT] = x->start_us;
    x->fail.retry_after_ms = -1;
    x->ask->n = 1;
    chunkq_init(&x->in->stream, w->chunks, EXCHANGE_STREAM_CAP);
    buf_init(&x->in->body, (size_t)x->conf->limits.body_bytes);
    buf_init(&x->work->body, 0);
    TAILQ_INSERT_TAIL(&w->by_stage[STAGE_FRONT], x, link);
    w->exchanges++;
    stat_shift(&w->stats->in_flight, 1);
    return x;
}

/* The only setter of x->stage. */
static void exchange_enter(struct exchange *x, enum stage to)
{
    const struct stage_row *row = &x->w->stages[x->stage];

    if ((row->next & STAGE_BIT(to)) == 0)
        PANIC("exchange %s: %s may not be followed by %s", x->name, row->name,
              stage_name(to));
    TAILQ_REMOVE(&x->w->by_stage[x->stage], x, link);
    x->stage = to;
    /* The loop's cached time is as old as the turn; what we add ourselves is
     * measured against the real one. */
    if (to == STAGE_SERVE || to == STAGE_SETTLE ||
        (to == STAGE_RELAY && x->stage_us[STAGE_SERVE] == 0))
        clock_update();
    x->stage_us[to] = (int64_t)clock_mono_us();
    x->stage_data = NULL;
    TAILQ_INSERT_TAIL(&x->w->by_stage[to], x, link);
    log_debug(LOG_HTTP, "exchange enters stage: id=%s stage=%s", x->name,
              stage_name(to));
}

void exchange_release(struct exchange *x)
{
    if (x->work->release)
        x->work->release(x);
    x->work->release = NULL;
}

static void exchange_free(struct exchange *x)
{
    struct worker *w = x->w;

    exchange_release(x);
    if (x->found->release)
        x->found->release(x);
    quota_close(x);
    TAILQ_REMOVE(&w->by_stage[x->stage], x, link);
    w->exchanges--;
    stat_shift(&w->stats->in_flight, -1);
    stat_shift(&w->stats->buffered_bytes, -x->in->held_bytes);
    chunkq_fini(&x->in->stream);
    buf_fini(&x->in->body);
    buf_fini(&x->work->body);
    buf_fini(&x->work->request);
    buf_fini(&x->local.body);
    if (x->who->rate)
        rate_end(x->who->rate, x->who->rate->tokens, clock_mono_us());
    key_unref(x->who->key);
    conf_unref(x->conf);
    arena_free(x->arena);
}

static enum stage next_stage(const struct exchange *x, enum verdict v)
{
    if (x->stage == STAGE_SETTLE)
        return STAGE_DONE;
    if (v == VERDICT_SKIP)
        return x->stage == STAGE_RELAY ? STAGE_SETTLE : STAGE_RELAY;
    return (enum stage)(x->stage + 1);
}

/* Take the most urgent pending wake; the order of the enum is the order of
 * delivery, except that a client's leaving comes first. */
static bool pending_take(struct exchange *x, enum wake *out)
{
    if (x->pending & (1u << WAKE_GONE)) {
        x->pending &= ~(1u << WAKE_GONE);
        *out = WAKE_GONE;
        return true;
    }
    for (unsigned i = 0; i < 32 && x->pending; i++) {
        if (x->pending & (1u << i)) {
            x->pending &= ~(1u << i);
            *out = (enum wake)i;
            return true;
        }
    }
    return false;
}

/* Bodies may wake these two stages as often as they like; those steps must not
 * count against the stage that comes after either. */
static void step_check(struct exchange *x)
{
    if (x->stage == STAGE_RELAY || x->stage == STAGE_SERVE)
        return;
    if (++x->steps > EXCHANGE_MAX_STEPS)
        PANIC("exchange %s: over %d steps in %s", x->name, EXCHANGE_MAX_STEPS,
              stage_name(x->stage));
}

/* Obey <v> and everything pending until a stage waits or the end. */
static void exchange_loop(struct exchange *x, enum verdict v)
{
    enum wake why;

    for (;;) {
        const struct stage_row *row;

        if (v != VERDICT_WAIT) {
            exchange_enter(x, next_stage(x, v));
            if (x->stage == STAGE_DONE)
                return;
            step_check(x);
            v = x->w->stages[x->stage].run(x);
            continue;
        }
        if (!pending_take(x, &why))
            return;
        row = &x->w->stages[x->stage];
        step_check(x);
        v = row->resume ? row->resume(x, why) : VERDICT_WAIT;
    }
}

static void exchange_go(struct exchange *x, enum verdict v)
{
    x->running = true;
    exchange_loop(x, v);
    x->running = false;
    if (x->stage == STAGE_DONE)
        exchange_free(x);
}

void exchange_run(struct exchange *x)
{
    BUG_ON(x->running || x->stage != STAGE_FRONT);
    x->running = true;
    exchange_go(x, x->w->stages[STAGE_FRONT].run(x));
}

void exchange_run_unasked(struct exchange *x)
{
    BUG_ON(x->running || x->stage != STAGE_FRONT || x->client);
    exchange_go(x, VERDICT_GO);
}

void exchange_discard(struct exchange *x)
{
    BUG_ON(x->running || x->stage != STAGE_FRONT);
    exchange_free(x);
}

void exchange_wake(struct exchange *x, enum wake why)
{
    x->pending |= 1u << why;
    if (!x->running)
        exchange_go(x, VERDICT_WAIT);
}

void exchange_gone(struct exchange *x)
{
    x->client = NULL;
    exchange_wake(x, WAKE_GONE);
}

/* Copy the names that are slices of the body; false without memory. */
static bool names_keep(struct exchange *x)
{
    struct str model = arena_dup(x->arena, x->ask->model);

    if (!model.p)
        return false;
    if (x->work->upstream_model.p == x->ask->model.p)
        x->work->upstream_model = model;
    x->ask->model = model;
    x->ask->scan = NULL;
    return true;
}

enum err exchange_take_body(struct exchange *x, struct buf *out)
{
    size_t cap = x->in->body.cap;

    if (!names_keep(x))
        return ERR_NOMEM;
    *out = x->in->body;
    buf_init(&x->in->body, cap);
    return ERR_OK;
}

void exchange_drop_body(struct exchange *x)
{
    if (!names_keep(x))
        return;
    buf_fini(&x->in->body);
    stat_shift(&x->w->stats->buffered_bytes, -x->in->held_bytes);
    x->in->held_bytes = 0;
}

__attribute__((format(printf, 2, 0))) static struct str fail_text(
    struct exchange *x, const char *fmt, va_list ap)
{
    char text[512];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (len >= sizeof(text))
        len = sizeof(text) - 1;
    return arena_dup(x->arena, str_of(text, len));
}

enum verdict exchange_fail(struct exchange *x, enum err e, const char *fmt, ...)
{
    va_list ap;

    if (x->fail.err != ERR_OK)
        return VERDICT_SKIP;
    x->fail.err = e;
    if (fmt) {
        va_start(ap, fmt);
        x->fail.text = fail_text(x, fmt, ap);
        va_end(ap);
    }
    if (!x->fail.text.p)
        x->fail.text = str_from(err_row(e)->message);
    return VERDICT_SKIP;
}

enum verdict exchange_fail_param(struct exchange *x, enum err e,
                                 const char *param, const char *fmt, ...)
{
    va_list ap;

    if (x->fail.err != ERR_OK)
        return VERDICT_SKIP;
    x->fail.err = e;
    x->fail.param = param;
    va_start(ap, fmt);
    x->fail.text = fail_text(x, fmt, ap);
    va_end(ap);
    if (!x->fail.text.p)
        x->fail.text = str_from(err_row(e)->message);
    return VERDICT_SKIP;
}
