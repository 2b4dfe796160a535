/* flight.c - The life of one request to the engine: its jobs, its head, its
 * bytes, its end. flight_end() is the one place that tells a sink the end. */
#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "engine/herd.h"
#include "engine/meter.h"
#include "engine/model.h"
#include "engine/port.h"

#define JOBS_AT_ONCE 8 /* of one request, with the scheduler */

#define PIECE_BYTES 65536 /* offered to a sink at once */

/* Tokens with their probabilities that one turn may write as JSON. */
#define SLICE 4096

/* --- life --------------------------------------------------------------- */

void flight_later(struct flight *f)
{
    if (f->later)
        return;
    f->later = true;
    TAILQ_INSERT_TAIL(&f->port->todo, f, later_link);
    event_active(f->port->later_ev, EV_TIMEOUT, 0);
}

/* Forget what may still come, and have the scheduler stop. */
void flight_detach(struct flight *f)
{
    struct engine_port *p = f->port;

    for (unsigned i = 0; i < f->n_jobs; i++) {
        if (!f->jobs[i].open)
            continue;
        HASH_DEL(p->by_job, &f->jobs[i]);
        f->jobs[i].open = false;
        sched_cancel(f->jobs[i].sched, f->jobs[i].id);
    }
    if (f->away)
        atomic_store(&f->prep->cancelled, true);
    if (f->later)
        TAILQ_REMOVE(&p->todo, f, later_link);
    f->later = false;
    if (f->timer_on)
        event_del(&f->timer);
    f->timer_on = false;
    HASH_DEL(p->by_id, f);
    TAILQ_REMOVE(&p->flights, f, link);
    p->n_open--;
}

void flight_free(struct flight *f)
{
    answer_free(f->answer); /* reads the plan, which lies in <prep> */
    if (!f->away)
        prep_free(f->prep);
    while (f->held) {
        struct gen_event *ev = MBOX_ENTRY(f->held, struct gen_event, link);

        f->held = ev->link.next;
        gen_event_free(ev);
    }
    buf_fini(&f->out);
    meter_unref(f->meter);
    free(f->jobs);
    free(f);
}

/* A sink call has returned; false when the flight is gone since. */
static bool flight_back(struct flight *f)
{
    f->in_sink--;
    if (!f->dead || f->in_sink > 0)
        return !f->dead;
    flight_free(f);
    return false;
}

/* Tell the sink the end. */
static void flight_end(struct flight *f, enum err e, const char *text)
{
    struct produce_end how = {.err = e, .text = text};

    flight_meter_close(f);
    flight_detach(f);
    f->sink->ops->end(f->sink, &how);
    flight_free(f);
}

/* Tell the client why, then end. <param> may be "". */
void flight_fail(struct flight *f, enum err e, const char *param,
                 const char *text)
{
    struct exchange *x = f->x;
    const char *at = param[0] ? arena_printf(x->arena, "%s", param) : NULL;

    if (at)
        (void)exchange_fail_param(x, e, at, "%s", text);
    else
        (void)exchange_fail(x, e, "%s", text[0] ? text : err_row(e)->message);
    if (f->retry_after_ms >= 0)
        x->fail.retry_after_ms = f->retry_after_ms;
    flight_end(f, e, NULL);
}

/* --- the head ----------------------------------------------------------- */

/* "prefill;dur=12.3;tokens=40;rate=3252.0": a phase in ms. */
static char *phase(struct arena *mem, const char *before, const char *name,
                   int64_t us, unsigned tokens)
{
    double ms = (double)us / 1000;
    double rate = us > 0 ? (double)tokens * 1e6 / (double)us : 0;

    return arena_printf(mem, "%s, %s;dur=%.1f;tokens=%u;rate=%.1f", before,
                        name, ms, tokens, rate);
}

static enum err add_timings(struct flight *f, struct reply_head *h)
{
    struct gen_counts c = answer_counts(f->answer);
    struct arena *mem = f->x->arena;
    char *text = arena_printf(mem, "queue;dur=%.1f", (double)c.queue_us / 1000);

    if (text)
        text = phase(mem, text, "prefill", c.prefill_us,
                     c.prompt_tokens - c.cached_tokens);
    if (text && f->complete && c.output_tokens > 0)
        text = phase(mem, text, "decode", c.decode_us, c.output_tokens);
    return text ? headers_add(&h->headers, mem, STR("x-tollgate-timings"),
                              str_from(text))
                : ERR_NOMEM;
}

static struct reply_head *head_new(struct flight *f)
{
    struct arena *mem = f->x->arena;
    struct reply_head *h = arena_alloc(mem, sizeof(*h));
    bool stream = f->prep->plan.stream;
    enum err e;

    if (!h)
        return NULL;
    h->status = 200;
    h->length = f->complete && !stream ? (int64_t)f->out.len : -1;
    e = headers_add(&h->headers, mem, STR("Content-Type"),
                    stream ? STR("text/event-stream; charset=utf-8")
                           : STR("application/json"));
    if (e == ERR_OK && stream)
        e = headers_add(&h->headers, mem, STR("Cache-Control"),
                        STR("no-cache"));
    if (e == ERR_OK && f->answer && answer_counts(f->answer).prompt_tokens > 0)
        e = add_timings(f, h);
    return e == ERR_OK ? h : NULL;
}

/* Send the head; false when the flight is over. */
static bool flight_head(struct flight *f)
{
    struct reply_head *h = head_new(f);

    if (!h) {
        flight_fail(f, ERR_NOMEM, "", "");
        return false;
    }
    f->head_sent = true;
    if (f->timer_on)
        event_del(&f->timer);
    f->timer_on = false;
    f->in_sink++;
    f->sink->ops->head(f->sink, h);
    return flight_back(f);
}

static void on_keepalive(evutil_socket_t fd, short what, void *arg)
{
    struct flight *f = arg;

    (void)fd;
    (void)what;
    clock_update();
    f->timer_on = false;
    if (!f->head_sent)
        (void)flight_head(f);
}

/* A stream that is silent for long begins before its first event, so that
 * pings can go out. */
static void arm_keepalive(struct flight *f)
{
    const struct conf *c = f->x->conf;
    struct timeval tv = {c->keepalive_ms / 1000, c->keepalive_ms % 1000 * 1000};

    if (!f->prep->plan.stream || c->keepalive == CONF_KEEPALIVE_OFF ||
        c->keepalive_ms <= 0)
        return;
    event_assign(&f->timer, f->port->w->base, -1, 0, on_keepalive, f);
    f->timer_on = event_add(&f->timer, &tv) == 0;
}

/* --- bytes -------------------------------------------------------------- */

static void pause_jobs(struct flight *f, bool pause)
{
    for (unsigned i = 0; i < f->n_jobs; i++)
        if (f->jobs[i].open)
            sched_pause(f->jobs[i].sched, f->jobs[i].id, pause);
}

/* Offer what there is, a piece at a time, so that the sink says when it has
 * enough for this turn; false when the flight is over. */
static bool flight_offer(struct flight *f)
{
    while (!f->paused && f->out_at < f->out.len) {
        struct str piece = str_skip(buf_str(&f->out), f->out_at);
        enum flow flow;

        piece.len = piece.len < PIECE_BYTES ? piece.len : PIECE_BYTES;
        f->in_sink++;
        flow = f->sink->ops->data(f->sink, piece);
        if (!flight_back(f))
            return false;
        f->paused = flow == FLOW_PAUSE;
        if (f->paused)
            pause_jobs(f, true);
        else
            f->out_at += piece.len;
    }
    if (f->out_at == f->out.len) {
        buf_clear(&f->out);
        f->out_at = 0;
    }
    return true;
}

/* Give the sink what it may have by now. May free <f>. */
void flight_flush(struct flight *f)
{
    if (!f->complete && !f->prep->plan.stream)
        return;
    if (!f->head_sent && !flight_head(f))
        return;
    if (!flight_offer(f))
        return;
    if (!f->complete || f->out.len > 0)
        return;
    if (f->cut && f->prep->plan.stream)
        flight_fail(f, f->cut_err, "", f->cut_text);
    else
        flight_end(f, ERR_OK, NULL);
}

/* --- jobs --------------------------------------------------------------- */

static void submit_more(struct flight *f)
{
    while (f->next_job < f->n_jobs && f->open_jobs < JOBS_AT_ONCE) {
        struct flight_job *j = &f->jobs[f->next_job];
        struct gen_job *job = f->prep->jobs[f->next_job];

        f->prep->jobs[f->next_job++] = NULL; /* the scheduler's from here on */
        job->id = j->id;
        j->open = true;
        HASH_ADD(hh, f->port->by_job, id, sizeof(j->id), j);
        BUG_ON(!MAP_ADDED(j));
        f->open_jobs++;
        j->sched = herd_place(f->m->herd, job);
        sched_submit(j->sched, job);
        if (f->paused)
            sched_pause(j->sched, j->id, true);
    }
}

/* The error of the engine as a client is told it. */
static enum err told(enum err e)
{
    return err_row(e)->status >= 400 && e > ERR_REFUSED ? e
           : e == ERR_NOMEM                             ? e
                                                        : ERR_INTERNAL;
}

/* Job <j> will say nothing more. */
static void job_close(struct flight *f, struct flight_job *j)
{
    HASH_DEL(f->port->by_job, j);
    j->open = false;
    f->open_jobs--;
}

/* Write the end, or a part of it when it is long. */
static void finish_part(struct flight *f)
{
    if (answer_finish(f->answer, &f->out) != ERR_OK)
        f->err = ERR_NOMEM;
    f->complete = f->err != ERR_OK || answer_is_finished(f->answer);
    f->ending = !f->complete;
    if (f->ending)
        flight_later(f);
}

/* Write the end of a stream that has no end. */
static void break_off(struct flight *f)
{
    if (answer_break(f->answer, &f->out) != ERR_OK)
        f->err = ERR_NOMEM;
    f->ending = false;
    f->complete = true;
}

static void job_done(struct flight *f, struct flight_job *j)
{
    job_close(f, j);
    submit_more(f);
    if (f->open_jobs > 0)
        return;
    f->ending = true;
    if (f->cut && f->prep->plan.stream)
        break_off(f);
    else
        finish_part(f);
}

/* Take <ev> of <j>. May free <f>. */
static void flight_event(struct flight *f, struct flight_job *j,
                         const struct gen_event *ev)
{
    bool fails = ev->kind == GEN_EV_FAIL;

    /* What fails before it began has no counts to tell. */
    if ((!fails || ev->counts.prompt_tokens > 0) &&
        answer_event(f->answer, j->index, ev, &f->out) != ERR_OK)
        f->err = ERR_NOMEM;
    flight_meter_event(f, ev);
    if (fails) {
        job_close(f, j);
        f->retry_after_ms = ev->retry_after_ms;
        flight_fail(f, told(ev->err), "", ev->why ? ev->why : "");
        return;
    }
    if (ev->kind == GEN_EV_DONE)
        job_done(f, j);
    if (f->err != ERR_OK)
        flight_fail(f, f->err, "", "");
    else
        flight_flush(f);
}

/* --- budgets ------------------------------------------------------------ */

/* Let the jobs go once what they may take is held. May free <f>. */
static void flight_admit(struct flight *f)
{
    enum err e = flight_hold(f);

    if (e == ERR_OK) {
        arm_keepalive(f);
        submit_more(f);
    } else if (e != ERR_AGAIN) {
        flight_fail(f, e, "", "");
    }
}

/* --- large events ------------------------------------------------------- */

/* Log probabilities that one turn of the loop may write. */
static unsigned slice_of(const struct flight *f)
{
    unsigned n =
        SLICE / (f->prep->plan.best_of * (1 + f->prep->plan.top_logprobs));

    return n > 0 ? n : 1;
}

static bool is_large(const struct flight *f, const struct gen_event *ev)
{
    return ev->kind == GEN_EV_START && ev->n_logprobs > slice_of(f);
}

void flight_take(struct flight *f, struct gen_event *ev)
{
    struct flight_job *j = NULL;

    if (f->held || is_large(f, ev)) {
        ev->link.next = NULL;
        *f->held_last = &ev->link;
        f->held_last = &ev->link.next;
        flight_later(f);
        return;
    }
    HASH_FIND(hh, f->port->by_job, &ev->job, sizeof(ev->job), j);
    if (j)
        flight_event(f, j, ev);
    gen_event_free(ev);
}

/* Take the first of the events that wait, or a part of it. May free <f>. */
static void take_held(struct flight *f)
{
    struct gen_event *ev = MBOX_ENTRY(f->held, struct gen_event, link);
    struct gen_event part = *ev;
    struct flight_job *j = NULL;
    bool whole = !is_large(f, ev);

    if (!whole) {
        unsigned n = ev->n_logprobs - f->held_at;

        part.n_logprobs = n < slice_of(f) ? n : slice_of(f);
        part.logprobs += f->held_at;
        f->held_at += part.n_logprobs;
    }
    whole = whole || f->held_at == ev->n_logprobs;
    if (whole) {
        f->held_at = 0;
        f->held = ev->link.next;
        if (!f->held)
            f->held_last = &f->held;
    }
    if (f->held)
        flight_later(f);
    HASH_FIND(hh, f->port->by_job, &part.job, sizeof(part.job), j);
    if (j)
        flight_event(f, j, &part);
    if (whole)
        gen_event_free(ev);
}

/* Go on with the end. May free <f>. */
static void flight_finish(struct flight *f)
{
    finish_part(f);
    if (f->err != ERR_OK)
        flight_fail(f, f->err, "", "");
    else
        flight_flush(f);
}

void flight_work(struct flight *f)
{
    if (f->err != ERR_OK) {
        flight_fail(f, f->err, "", f->err_text ? f->err_text : "");
        return;
    }
    if (f->woken && f->asking) {
        flight_admit(f);
        return;
    }
    if (f->woken)
        flight_feed(f);
    if (f->drained) {
        f->drained = false;
        f->paused = false;
        pause_jobs(f, false);
        if (!f->held && !f->ending) {
            flight_flush(f);
            return;
        }
    }
    if (f->held)
        take_held(f);
    else if (f->ending)
        flight_finish(f);
}

/* --- from the prep threads ---------------------------------------------- */

static bool flight_jobs(struct flight *f)
{
    struct prep *prep = f->prep;
    const struct answer_who who = {
        .vocab = f->m->model->vocab,
        .model = f->x->ask->model.len > 0 ? f->x->ask->model : f->m->name,
        .fingerprint =
            atomic_load(&f->m->fingerprinted) ? f->m->fingerprint : "",
        .created_s = f->x->start_wall_ms / 1000,
    };

    f->answer = answer_new(&prep->plan, &who);
    f->jobs = calloc(prep->n_jobs, sizeof(*f->jobs));
    if (!f->answer || !f->jobs)
        return false;
    f->n_jobs = (unsigned)prep->n_jobs;
    for (unsigned i = 0; i < f->n_jobs; i++) {
        f->jobs[i].id = atomic_fetch_add(&f->port->e->next_id, 1) + 1;
        f->jobs[i].f = f;
        f->jobs[i].index = i;
    }
    return true;
}

void flight_prepared(struct flight *f)
{
    struct prep *prep = f->prep;

    f->away = false;
    exchange_drop_body(f->x);
    if (prep->err != ERR_OK) {
        flight_fail(f, told(prep->err), prep->why.param, prep->why.text);
        return;
    }
    if (prep->n_jobs == 0) {
        f->complete = true;
        f->out = prep->reply;
        buf_init(&prep->reply, 0);
        flight_flush(f);
        return;
    }
    if (flight_jobs(f))
        flight_admit(f);
    else
        flight_fail(f, ERR_NOMEM, "", "");
}
