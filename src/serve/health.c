/* health.c - See health.h. */
#include "serve/health.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/producer.h"
#include "exchange/sink.h"
#include "exchange/worker.h"
#include "serve/retry.h"
#include "serve/target.h"
#include "upstream/upstream.h"

/* A check that takes longer has failed. */
#define CHECK_MS 10000

/* Bytes of one check: the head of its reply, texts. */
#define CHECK_BYTES (256 * 1024)

/* One upstream that is checked. */
struct check {
    struct sink sink; /* first */
    LIST_ENTRY(check) link;
    struct health *h;               /* borrowed */
    struct arena *mem;              /* owned; holds this */
    const struct conf_upstream *up; /* borrowed from h->conf */
    struct target *t;               /* borrowed */
    struct event timer;
    struct arena *round;       /* owned; of the check under way, or NULL */
    struct producer *producer; /* likewise */
    struct target_pass pass;   /* likewise */
    struct retry_end end;      /* likewise: what it has met */
    bool failing;              /* the last one was no good */
};

struct health {
    struct arena *mem;          /* owned; holds this */
    struct target_table *table; /* borrowed */
    struct worker *w;           /* borrowed; NULL: stopped */
    struct conf *conf;          /* counted */
    LIST_HEAD(, check) checks;
};

/* --- one check ----------------------------------------------------------- */

static void check_arm(struct check *c)
{
    const uint64_t ms = (uint64_t)c->up->health.interval_ms;
    const struct timeval tv = {(time_t)(ms / 1000),
                               (suseconds_t)(ms % 1000 * 1000)};

    if (event_add(&c->timer, &tv) != 0)
        log_err(LOG_ROUTE, "no timer: not checked any more: upstream=%.*s",
                STR_ARG(c->up->name));
}

/* Log what has changed since the check before. */
static void check_log(struct check *c, const struct retry_verdict *v,
                      const char *text)
{
    const bool failed = v->word == BREAKER_BAD;

    if (failed != c->failing)
        log_note(LOG_ROUTE,
                 "health check %s: upstream=%.*s status=%d reason=\"%s\"",
                 failed ? "fails" : "is good again", STR_ARG(c->up->name),
                 c->end.status, text ? text : "");
    c->failing = failed;
}

static void on_head(struct sink *s, const struct reply_head *head)
{
    ((struct check *)(void *)s)->end.status = head->status;
}

static enum flow on_data(struct sink *s, struct str bytes)
{
    (void)s, (void)bytes;
    return FLOW_MORE;
}

static void on_end(struct sink *s, const struct produce_end *how)
{
    struct check *c = (struct check *)(void *)s;
    struct retry_verdict v;

    c->end.sent = xfer_was_sent(c->producer);
    c->producer = NULL;
    c->end.err = how->err;
    c->end.own_key = c->pass.key != TARGET_NO_KEY;
    v = retry_judge(&c->end);
    check_log(c, &v, how->text);
    target_checked(&c->pass, c->up, &v, clock_mono_ms());
    arena_free(c->round);
    c->round = NULL;
    check_arm(c);
}

static const struct sink_ops check_ops = {
    .head = on_head,
    .data = on_data,
    .end = on_end,
};

/* Send what is to be sent; false without memory. */
static bool check_start(struct check *c)
{
    struct conf_timeouts t = c->up->timeouts;
    struct xfer_spec spec = {
        .up = c->up,
        .key_index = c->pass.key == TARGET_NO_KEY ? 0 : c->pass.key,
        .method = STR("GET"),
        .suffix = STR("/models"),
        .timeouts = &t,
        .connect_only = c->up->health.kind == CONF_HEALTH_CONNECT,
    };

    t.first_byte_ms = t.idle_ms = t.total_ms = CHECK_MS;
    c->end = (struct retry_end){.idempotent = true};
    c->round = spec.arena = arena_new(4096, CHECK_BYTES);
    if (c->round)
        c->producer = xfer_start(c->h->w->upstreams, NULL, &spec, &c->sink);
    if (c->producer)
        return true;
    arena_free(c->round);
    c->round = NULL;
    return false;
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    static const struct retry_verdict unknown = {.kind = RETRY_KIND_OURS};
    struct check *c = arg;

    (void)fd, (void)what;
    clock_update();
    if (!target_check(c->t, c->up, clock_mono_ms(), &c->pass)) {
        check_arm(c);
        return;
    }
    if (check_start(c))
        return;
    target_checked(&c->pass, c->up, &unknown, clock_mono_ms());
    check_arm(c);
}

/* --- all of them --------------------------------------------------------- */

struct health *health_new(struct target_table *t)
{
    struct arena *mem = arena_new(sizeof(struct health) + 64, 4096);
    struct health *h = mem ? arena_alloc(mem, sizeof(*h)) : NULL;

    if (!h) {
        arena_free(mem);
        return NULL;
    }
    h->mem = mem;
    h->table = t;
    LIST_INIT(&h->checks);
    return h;
}

void health_stop(struct health *h)
{
    static const struct retry_verdict unknown = {.kind = RETRY_KIND_OURS};
    struct check *c;

    while ((c = LIST_FIRST(&h->checks)) != NULL) {
        LIST_REMOVE(c, link);
        event_del(&c->timer);
        if (c->producer) {
            c->producer->ops->cancel(c->producer);
            target_checked(&c->pass, c->up, &unknown, clock_mono_ms());
        }
        arena_free(c->round);
        arena_free(c->mem);
    }
    if (h->w)
        conf_unref(h->conf);
    h->conf = NULL;
    h->w = NULL;
}

static void check_new(struct health *h, const struct conf_upstream *up)
{
    struct arena *mem = arena_new(sizeof(struct check) + 64, 4096);
    struct check *c = mem ? arena_alloc(mem, sizeof(*c)) : NULL;
    struct target *t = c ? target_get(h->table, up->name) : NULL;

    if (!t) {
        arena_free(mem);
        log_err(LOG_ROUTE, "no memory for checks: upstream=%.*s",
                STR_ARG(up->name));
        return;
    }
    *c = (struct check){
        .sink = {&check_ops}, .h = h, .mem = mem, .up = up, .t = t};
    event_assign(&c->timer, h->w->base, -1, 0, on_due, c);
    LIST_INSERT_HEAD(&h->checks, c, link);
    check_arm(c);
}

void health_run(struct health *h, struct worker *w)
{
    health_stop(h);
    h->w = w;
    h->conf = conf_ref(w->conf);
    for (size_t i = 0; i < h->conf->n_upstreams; i++)
        if (h->conf->upstreams[i].health.interval_ms > 0)
            check_new(h, &h->conf->upstreams[i]);
}

void health_free(struct health *h)
{
    if (!h)
        return;
    health_stop(h);
    arena_free(h->mem);
}
