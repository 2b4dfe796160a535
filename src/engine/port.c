/* port.c - A worker's mailboxes and what comes in by them; how a flight starts
 * and what a producer is told. */
#include "engine/port.h"

#include <event2/event.h>
#include <stdlib.h>

#include "account/key.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "wire/jscan.h"

#define EVENTS_A_TURN 64 /* of one mailbox, so that a turn stays short */

/* JSON values of a body; each becomes an object while it is read. Room for
 * every token of many prompts. */
#define VALUES_MAX (4u << 20)

/* --- messages ----------------------------------------------------------- */

static void on_event_msg(struct mbox_msg *link, void *arg)
{
    struct gen_event *ev = MBOX_ENTRY(link, struct gen_event, link);
    struct engine_port *p = arg;
    struct flight_job *j = NULL;

    HASH_FIND(hh, p->by_job, &ev->job, sizeof(ev->job), j);
    if (j)
        flight_take(j->f, ev);
    else
        gen_event_free(ev);
}

static void on_done_msg(struct mbox_msg *link, void *arg)
{
    struct prep *prep = MBOX_ENTRY(link, struct prep, link);
    struct engine_port *p = arg;
    struct flight *f = NULL;

    HASH_FIND(hh, p->by_id, &prep->id, sizeof(prep->id), f);
    if (f)
        flight_prepared(f);
    else
        prep_free(prep);
}

/* --- the loop's callbacks ----------------------------------------------- */

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct engine_port *p = arg;

    (void)fd;
    (void)what;
    clock_update();
    mbox_drain(&p->done, EVENTS_A_TURN, on_done_msg, p);
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
    struct engine_port *p = arg;

    (void)fd;
    (void)what;
    clock_update();
    mbox_drain(&p->events, EVENTS_A_TURN, on_event_msg, p);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct engine_port *p = arg;
    struct flight *f;
    unsigned n = p->n_open;

    (void)fd;
    (void)what;
    clock_update();
    while (n-- > 0 && (f = TAILQ_FIRST(&p->todo)) != NULL) {
        TAILQ_REMOVE(&p->todo, f, later_link);
        f->later = false;
        flight_work(f);
    }
}

/* --- the producer ------------------------------------------------------- */

static void flight_resume(struct producer *pr)
{
    struct flight *f = (struct flight *)(void *)pr;

    if (!f->paused)
        return;
    f->drained = true;
    flight_later(f);
}

static void flight_body_ready(struct producer *pr)
{
    (void)pr; /* bodies are collected */
}

static void flight_redirect(struct producer *pr, struct sink *s)
{
    ((struct flight *)(void *)pr)->sink = s;
}

static void flight_cancel(struct producer *pr)
{
    struct flight *f = (struct flight *)(void *)pr;

    BUG_ON(f->dead);
    flight_meter_close(f);
    flight_detach(f);
    f->dead = true;
    if (f->in_sink == 0)
        flight_free(f);
}

static void flight_quota_ready(struct producer *pr)
{
    struct flight *f = (struct flight *)(void *)pr;

    f->woken = true;
    flight_later(f);
}

static const struct producer_ops flight_ops = {
    .resume = flight_resume,
    .body_ready = flight_body_ready,
    .redirect = flight_redirect,
    .cancel = flight_cancel,
    .quota_ready = flight_quota_ready,
};

/* --- the start ---------------------------------------------------------- */

static struct flight *flight_new(struct engine_port *p, struct exchange *x,
                                 struct sink *s)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->prep = prep_new();
    if (!f->prep) {
        free(f);
        return NULL;
    }
    f->producer.ops = &flight_ops;
    f->port = p;
    f->x = x;
    f->sink = s;
    f->retry_after_ms = -1;
    f->held_last = &f->held;
    buf_init(&f->out, SIZE_MAX / 2);
    f->id = atomic_fetch_add(&p->e->next_id, 1) + 1;
    HASH_ADD(hh, p->by_id, id, sizeof(f->id), f);
    if (!MAP_ADDED(f)) {
        prep_free(f->prep);
        free(f);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&p->flights, f, link);
    p->n_open++;
    return f;
}

/* Fail in a later turn. */
static void flight_refuse(struct flight *f, enum err e, const char *text)
{
    f->err = e;
    f->err_text = text;
    flight_later(f);
}

static void flight_launch(struct flight *f)
{
    struct exchange *x = f->x;
    struct prep *prep = f->prep;
    struct str id = x->who->key_id;

    prep->answer = &f->port->done;
    prep->events = &f->port->events;
    prep->id = f->id;
    prep->m = f->m;
    prep->kind = x->in->ep.row->kind;
    prep->stream = x->ask->stream;
    prep->include_usage = x->ask->stream && !x->ask->add_usage;
    memcpy(prep->key, id.p ? id.p : "",
           id.len < sizeof(prep->key) ? id.len : sizeof(prep->key) - 1);
    engine_scope(f->port->e, id, x->who->team, prep->scope);
    if (x->ask->scan && x->ask->scan->values > VALUES_MAX) {
        flight_refuse(f, ERR_BAD_REQUEST,
                      "The request body has more than 4194304 JSON values.");
        return;
    }
    if (exchange_take_body(x, &prep->body) != ERR_OK) {
        flight_refuse(f, ERR_NOMEM, NULL);
        return;
    }
    f->away = true;
    prep_pool_push(f->port->e->preps, prep);
}

struct producer *engine_start(struct engine_port *p, struct exchange *x,
                              struct str name, struct sink *s)
{
    struct flight *f = flight_new(p, x, s);

    if (!f)
        return NULL;
    f->m = engine_model_of(p->e, name);
    BUG_ON(!f->m || atomic_load(&f->m->state) != ENGINE_READY);
    flight_launch(f);
    return &f->producer;
}

/* --- the port ----------------------------------------------------------- */

static bool port_events(struct engine_port *p)
{
    struct event_base *base = p->w->base;

    p->done_ev =
        event_new(base, mbox_fd(&p->done), EV_READ | EV_PERSIST, on_done, p);
    p->events_ev = event_new(base, mbox_fd(&p->events), EV_READ | EV_PERSIST,
                             on_events, p);
    p->later_ev = event_new(base, -1, 0, on_later, p);
    return p->done_ev && p->events_ev && p->later_ev &&
           event_add(p->done_ev, NULL) == 0 &&
           event_add(p->events_ev, NULL) == 0;
}

struct engine_port *engine_port_new(struct worker *w, struct engine *e)
{
    struct engine_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->w = w;
    p->e = e;
    p->done.fd = p->events.fd = -1;
    TAILQ_INIT(&p->flights);
    TAILQ_INIT(&p->todo);
    if (mbox_init(&p->done) == ERR_OK && mbox_init(&p->events) == ERR_OK &&
        port_events(p))
        return p;
    engine_port_free(p);
    return NULL;
}

static void event_drop(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void engine_port_free(struct engine_port *p)
{
    struct flight *f;

    if (!p)
        return;
    while ((f = TAILQ_FIRST(&p->flights)) != NULL) {
        flight_detach(f);
        flight_free(f);
    }
    event_drop(p->done_ev);
    event_drop(p->events_ev);
    event_drop(p->later_ev);
    /* What is under way may still send: the mailboxes live on. */
    pthread_mutex_lock(&p->e->lock);
    LIST_INSERT_HEAD(&p->e->gone, p, link);
    pthread_mutex_unlock(&p->e->lock);
}

void engine_port_bury(struct engine_port *p)
{
    LIST_REMOVE(p, link);
    if (p->done.fd >= 0)
        mbox_drain(&p->done, 0, on_done_msg, p);
    if (p->events.fd >= 0)
        mbox_drain(&p->events, 0, on_event_msg, p);
    mbox_fini(&p->done);
    mbox_fini(&p->events);
    free(p);
}
