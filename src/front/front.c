/* front.c - Stage 1 itself and one worker's set of listeners and connections.
 * Decides which requests are refused before anybody asks who sent them, and
 * when the work that a loop turn left behind is done: at its end, once. */
#include "front/front.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "front/conn.h"
#include "front/cors.h"
#include "front/listener.h"
#include "front/net.h"

/* Longest reply head. */
#define HEAD_BYTES (256 * 1024)

/* ---- one worker --------------------------------------------------------- */

/* Do the work of the turn: each connection once. What is marked meanwhile
 * waits for the next turn. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;   /* no descriptor */
    (void)what; /* activated or a zero timer */
    clock_update();
    event_del(&f->turn_ev); /* once, though both may have come due */
    event_del(&f->later_ev);
    gate_run(f);
    f->turn_set = false;
    f->in_turn = true;
    for (unsigned n = f->n_todo; n > 0 && f->n_todo > 0; n--) {
        struct conn *c = TAILQ_FIRST(&f->todo);

        TAILQ_REMOVE(&f->todo, c, work);
        f->n_todo--;
        c->queued = false;
        conn_out_work(c);
    }
    f->in_turn = false;
    conn_out_publish(f);
    conn_free_dead(f);
}

static enum err listeners_open(struct front *f)
{
    for (size_t i = 0; i < f->net->n_sockets; i++) {
        enum err e = listener_open(&f->listeners[i], f, i);

        if (e != ERR_OK)
            return e;
        f->n_listeners = i + 1;
    }
    return ERR_OK;
}

/* Whether the loop can watch sockets as conn.h says. */
static bool base_is_fit(const struct worker *w)
{
    const int want = EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE;

    if ((event_base_get_features(w->base) & want) == want)
        return true;
    log_err(LOG_NET, "event loop lacks edge-triggered events: method=%s",
            event_base_get_method(w->base));
    return false;
}

enum err front_open(struct worker *w, struct front_net *net,
                    struct front **front_out)
{
    struct front *f = calloc(1, sizeof(*f));
    enum err e = ERR_NOMEM;

    if (!f)
        return ERR_NOMEM;
    f->w = w;
    f->net = net;
    TAILQ_INIT(&f->live);
    TAILQ_INIT(&f->dead);
    TAILQ_INIT(&f->todo);
    gate_init(&f->gate);
    slab_init(&f->conns, "conn", sizeof(struct conn), UINT32_MAX);
    buf_init(&f->head, HEAD_BYTES);
    f->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    event_assign(&f->turn_ev, w->base, -1, 0, on_turn, f);
    evtimer_assign(&f->later_ev, w->base, on_turn, f);
    f->listeners = calloc(net->n_sockets + 1, sizeof(*f->listeners));
    if (f->listeners)
        e = base_is_fit(w) ? listeners_open(f) : ERR_IO;
    if (e != ERR_OK) {
        front_close(f);
        return e;
    }
    BUG_ON(w->index >= net->n_workers);
    atomic_store(&net->stats[w->index], w->stats);
    *front_out = f;
    return ERR_OK;
}

void front_reconf(struct front *f)
{
    for (size_t i = 0; i < f->n_listeners; i++)
        listener_reconf(&f->listeners[i]);
}

void front_drain(struct front *f)
{
    struct conn *c, *next;

    clock_update();
    f->draining = true;
    f->drain_us = (int64_t)clock_mono_us();
    for (size_t i = 0; i < f->n_listeners; i++) {
        if (!f->listeners[i].metrics)
            listener_close(&f->listeners[i], true);
    }
    for (c = TAILQ_FIRST(&f->live); c; c = next) {
        next = TAILQ_NEXT(c, live);
        if (c->state != CONN_IDLE || c->metrics)
            continue;
        if (c->requests > 0 && !c->queued) {
            conn_lose(c, "draining");
            continue;
        }
        conn_arm(c);
    }
}

unsigned front_conns(const struct front *f)
{
    return f->n_conns;
}

unsigned front_clients(const struct front *f)
{
    return f->n_conns - f->n_watchers;
}

void front_note_lag(struct front *f, uint64_t lag_us, uint64_t busy_us)
{
    gate_note_lag(f, lag_us, busy_us);
}

void front_check_deadlines(struct front *f)
{
    struct conn *c, *next;

    clock_update();
    for (c = TAILQ_FIRST(&f->live); c; c = next) {
        next = TAILQ_NEXT(c, live);
        conn_check_deadline(c);
    }
}

void front_close(struct front *f)
{
    struct conn *c;

    if (!f)
        return;
    for (size_t i = 0; i < f->n_listeners; i++)
        listener_close(&f->listeners[i], false);
    while ((c = TAILQ_FIRST(&f->live)) != NULL)
        conn_kill(c, "stopping");
    conn_out_publish(f);
    conn_free_dead(f);
    event_del(&f->turn_ev);
    event_del(&f->later_ev);
    if (f->reserve_fd >= 0)
        close(f->reserve_fd);
    slab_fini(&f->conns);
    buf_fini(&f->head);
    if (f->w->index < f->net->n_workers)
        atomic_store(&f->net->stats[f->w->index], NULL);
    free(f->listeners);
    free(f);
}

/* ---- the stage ---------------------------------------------------------- */

/* The sentence for an unknown URL shows it, within reason. */
static enum verdict fail_url(struct exchange *x, enum err e)
{
    const struct http1_head *h = &x->in->head;
    const char *allow = x->in->ep.row->allow;
    struct str path = h->path;

    if (path.len > 200)
        path.len = 200;
    if (e == ERR_METHOD && allow) {
        exchange_fail(x, e, "%.*s is not allowed for %.*s; use %s.",
                      STR_ARG(h->method_text), STR_ARG(path), allow);
        x->fail.allow = str_from(allow);
        return VERDICT_SKIP;
    }
    return exchange_fail(x, e,
                         "Unknown request URL: %.*s %.*s. Check the path for "
                         "typos.",
                         STR_ARG(h->method_text), STR_ARG(path));
}

/* Whether a body comes in a coding that we would have to undo. What is passed
 * on unread may be in any; prompt/ looks at what it reads of the rest. */
static bool is_encoded(const struct exchange *x)
{
    return x->in->has_body && (x->in->ep.row->flags & ENDPOINT_PASS) == 0 &&
           http1_is_encoded(&x->in->head);
}

/* Whether <x> may see what it asks for on the listener it came by: figures
 * have their own, or are for local peers. */
static bool is_listener_right(const struct exchange *x, const struct conn *c)
{
    switch (x->in->ep.row->kind) {
    case ENDPOINT_METRICS:
        return c->metrics || (x->conf->metrics.family == 0 && c->local_peer);
    case ENDPOINT_ROOT:
    case ENDPOINT_HEALTHZ:
    case ENDPOINT_READYZ:
    case ENDPOINT_HEALTH:
    case ENDPOINT_LIVELINESS:
    case ENDPOINT_READINESS:
        return true;
    default:
        return !c->metrics;
    }
}

/* Both dialects ask for models by one URL; a header tells them apart. */
static bool is_anthropic_list(const struct request *in)
{
    return (in->ep.row->kind == ENDPOINT_MODELS ||
            in->ep.row->kind == ENDPOINT_MODEL) &&
           http1_find(&in->head, STR("anthropic-version")) != NULL;
}

/* Find the endpoint; ERR_OK when there is one. */
static enum err classify(struct exchange *x, const struct conn *c)
{
    struct request *in = x->in;
    enum err e = endpoint_lookup(in->head.method, in->head.path, &in->ep);

    if (is_anthropic_list(in))
        in->ep.shape = ENDPOINT_SHAPE_ANTHROPIC;
    if (e == ERR_OK && !is_listener_right(x, c))
        e = ERR_UNKNOWN_URL;
    return e;
}

/* Whether the request of <c> came after the drain had begun. */
static bool is_new(const struct conn *c)
{
    return !c->metrics && (c->held_us == 0 || c->held_us > c->f->drain_us);
}

enum verdict front_run(struct exchange *x)
{
    const struct conn *c = (const struct conn *)x->client;
    enum err e;

    if (c->head_err != ERR_OK && c->head_err != ERR_TOO_LARGE)
        return exchange_fail(x, c->head_err, NULL);
    e = classify(x, c); /* also for the shape of errors */
    if (e == ERR_OK && c->head_err != ERR_OK)
        return exchange_fail(x, c->head_err, NULL);
    if (e == ERR_OK && x->w->draining && is_new(c))
        return exchange_fail(x, ERR_DRAINING, NULL);
    if (c->shed) {
        gate_fail(x);
        return VERDICT_SKIP;
    }
    if (cors_is_preflight(x)) {
        if (cors_preflight(x) != ERR_OK)
            return exchange_fail(x, ERR_NOMEM, NULL);
        return VERDICT_SKIP;
    }
    if (e != ERR_OK)
        return fail_url(x, e);
    if (is_encoded(x))
        return exchange_fail(x, ERR_ENCODING, NULL);
    return VERDICT_GO;
}

enum verdict front_resume(struct exchange *x, enum wake why)
{
    if (why == WAKE_GONE)
        return exchange_fail(x, ERR_CLIENT_GONE, NULL);
    return VERDICT_WAIT;
}
