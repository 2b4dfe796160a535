/* sched.c - The engine's thread: it sleeps while there is nothing to do, else
 * takes in its mailbox and runs one step, and so on. What may be refused at a
 * glance is refused on the submitter's thread, so that the answer does not wait
 * for the step under way. */
#include "engine/sched.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "engine/graph.h"
#include "engine/model.h"
#include "engine/sched_priv.h"

#define SLOTS       16
#define STEP_TOKENS 512
#define STEP_MS     250
#define QUEUE       256

/* Logits of prompts that are read one by one: most bytes of a step. */
#define READ_BYTES ((size_t)16 << 20)

/* How long the thread waits when memory is short and nothing can run. */
#define SHORT_MS 10

/* How often it looks whether the disk takes too long. */
#define RESTORE_MS 100

/* Tokens of an output as long as none has been seen. */
#define OUT_TOKENS 128

/* --- messages ----------------------------------------------------------- */

/* Fail all jobs: the engine is about to end. */
static void drain(struct sched *s)
{
    struct task *t = TAILQ_FIRST(&s->tasks);

    while (t) {
        task_fail(s, t, ERR_DRAINING, "the server is shutting down");
        t = TAILQ_FIRST(&s->tasks);
    }
}

static struct task *find(struct sched *s, uint64_t id)
{
    struct task *t;

    HASH_FIND(hh, s->by_id, &id, sizeof(id), t);
    return t;
}

static void cancel(struct sched *s, uint64_t id)
{
    struct task *t = find(s, id);

    if (!t)
        return;
    atomic_fetch_add_explicit(&s->n.cancelled, 1, memory_order_relaxed);
    task_fail(s, t, ERR_CLIENT_GONE, "cancelled");
}

static void pause_job(struct sched *s, uint64_t id, bool pause)
{
    struct task *t = find(s, id);

    if (t)
        task_pause(s, t, pause);
}

static void look_at(struct sched *s, uint64_t id)
{
    struct task *t = find(s, id);

    if (t)
        task_look(s, t);
}

/* A job arrives. */
static void receive_job(struct sched *s, struct gen_job *j)
{
    if (!s->stopping && !s->down) {
        task_accept(s, j);
        return;
    }
    atomic_fetch_sub_explicit(&s->n.waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->n.ahead, j->cost, memory_order_relaxed);
    if (s->stopping)
        job_refuse(j, ERR_DRAINING, "the server is shutting down", -1);
    else
        job_refuse(j, ERR_MODEL_DOWN, "the device of this model failed", -1);
}

static void on_msg(struct mbox_msg *m, void *arg)
{
    struct gen_head *head = MBOX_ENTRY(m, struct gen_head, link);
    struct sched_msg *msg = (struct sched_msg *)(void *)head;
    struct sched *s = arg;

    switch (head->kind) {
    case SCHED_JOB:
        receive_job(s, (struct gen_job *)(void *)head);
        return;
    case SCHED_CANCEL:
        cancel(s, msg->id);
        break;
    case SCHED_PAUSE:
    case SCHED_RESUME:
        pause_job(s, msg->id, head->kind == SCHED_PAUSE);
        break;
    case SCHED_LOOK:
        look_at(s, msg->id);
        break;
    case SCHED_PURGE:
        sched_forget(s);
        break;
    case SCHED_LOAD:
        sched_on_load(s, (struct kvswap_load *)(void *)head);
        return;
    default:
        s->stopping = true;
        drain(s);
        return; /* a part of <s> */
    }
    free(msg);
}

/* Send a message about job <id>; false without memory. */
static bool send_msg(struct sched *s, enum sched_msg_kind kind, uint64_t id)
{
    struct sched_msg *msg = calloc(1, sizeof(*msg));

    if (!msg)
        return false;
    msg->head.kind = kind;
    msg->id = id;
    mbox_push(&s->mbox, &msg->head.link);
    return true;
}

/* --- turns -------------------------------------------------------------- */

/* Let everybody go on: whose message was lost is not known. A reader that is
 * still slow pauses its job again. */
static void resume_all(struct sched *s)
{
    struct task *t;

    if (!atomic_exchange(&s->resume_all, false))
        return;
    TAILQ_FOREACH(t, &s->tasks, link)
    task_pause(s, t, false);
}

/* The same for looks, and for cancels of jobs whose meter is closed. */
static void look_all(struct sched *s)
{
    struct task *t = TAILQ_FIRST(&s->tasks);

    if (!atomic_exchange(&s->look_all, false))
        return;
    while (t) {
        struct task *after = TAILQ_NEXT(t, link);

        task_look(s, t);
        t = after;
    }
}

static void publish(struct sched *s)
{
    unsigned used = s->pool.n_pages - s->pool.n_free - s->pool.n_cached;

    atomic_store_explicit(&s->n.running, s->n_slots, memory_order_relaxed);
    atomic_store_explicit(&s->n.pages_used, used, memory_order_relaxed);
    atomic_store_explicit(&s->n.pages_cached, s->pool.n_cached,
                          memory_order_relaxed);
}

/* Plan a step and run it; false when there is nothing to run. */
static bool run_step(struct sched *s)
{
    if (!sched_plan(s))
        return false;
    sched_step(s);
    return true;
}

bool sched_turn(struct sched *s)
{
    bool ran;

    clock_update();
    s->now_us = clock_mono_us();
    mbox_drain(&s->mbox, 0, on_msg, s);
    resume_all(s);
    look_all(s);
    task_expire(s);
    sched_outs(s);
    sched_reads(s);
    sched_give_up(s);
    sched_limits(s);
    ran = s->lost ? sched_revive(s) : run_step(s);
    if (sched_limits(s))
        ran = true; /* others may have its room */
    task_bury(s);
    publish(s);
    return ran;
}

/* Milliseconds that the thread may sleep when nothing ran; -1 = for ever. */
static int sleep_ms(const struct sched *s)
{
    int64_t left = s->next_deadline_ms - (int64_t)clock_mono_ms();

    if (s->fair.n_ring > 0)
        return SHORT_MS;
    if (sched_has_copies(s))
        return 1;
    if (sched_has_restores(s))
        left = left < RESTORE_MS ? left : RESTORE_MS;
    else if (s->next_deadline_ms == INT64_MAX)
        return -1;
    if (left < 1)
        return 1;
    return left < 60000 ? (int)left : 60000;
}

static void run(void *arg)
{
    struct sched *s = arg;

    while (!s->stopping) {
        struct pollfd p = {.fd = mbox_fd(&s->mbox), .events = POLLIN};

        if (sched_turn(s) || s->stopping)
            continue;
        if (poll(&p, 1, sleep_ms(s)) == -1)
            BUG_ON(errno != EINTR);
    }
}

/* --- life --------------------------------------------------------------- */

/* Replace zeroes by defaults and fit the sizes into each other. */
static void settle_opts(struct sched *s)
{
    struct sched_opts *o = &s->o;
    size_t room;

    BUG_ON(o->n_pages == 0);
    if (o->slots == 0)
        o->slots = SLOTS;
    if (o->step_tokens == 0)
        o->step_tokens = STEP_TOKENS;
    if (o->step_ms == 0)
        o->step_ms = STEP_MS;
    if (o->queue == 0)
        o->queue = QUEUE;
    if (o->page_tokens == 0)
        o->page_tokens = KRN_PAGE_TOKENS;
    s->page_tokens = o->page_tokens;
    if (o->slots > o->step_tokens)
        o->slots = o->step_tokens;
    room = (size_t)o->n_pages * s->page_tokens;
    s->context = s->m->p.context;
    if (o->context > 0 && o->context < s->context)
        s->context = o->context;
    if (s->context > room)
        s->context = (unsigned)room;
    s->max_pages = (s->context + s->page_tokens - 1) / s->page_tokens;
    s->n_vocab = s->m->p.n_vocab;
    if (vocab_size(s->m->vocab) < s->n_vocab)
        s->n_vocab = vocab_size(s->m->vocab);
    s->read_rows = READ_BYTES / sizeof(float) / s->m->p.n_vocab;
    if (s->read_rows > o->step_tokens)
        s->read_rows = o->step_tokens;
    if (s->read_rows == 0)
        s->read_rows = 1;
}

/* The memory of steps. */
static enum err make_rows(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    size_t m = s->o.step_tokens;
    size_t logits = (s->o.slots + s->read_rows) * s->m->p.n_vocab;
    size_t hidden = m * s->m->p.d_model;

    r->seq = calloc(m, sizeof(*r->seq));
    r->pos = calloc(m, sizeof(*r->pos));
    r->ids = calloc(m, sizeof(*r->ids));
    r->want = calloc(m, sizeof(*r->want));
    r->placed = calloc(m, sizeof(*r->placed));
    r->out =
        reallocarray(NULL, logits > hidden ? logits : hidden, sizeof(*r->out));
    s->scratch.logits = calloc(s->n_vocab, sizeof(float));
    s->scratch.mask = calloc((size_t)s->n_vocab / 64 + 1, sizeof(uint64_t));
    if (!r->seq || !r->pos || !r->ids || !r->want || !r->placed || !r->out ||
        !s->scratch.logits || !s->scratch.mask)
        return ERR_NOMEM;
    return ERR_OK;
}

/* The tables. */
static enum err make_tables(struct sched *s)
{
    size_t n = s->o.slots * s->max_pages;
    enum err e;

    s->table = reallocarray(NULL, n, sizeof(*s->table));
    s->slot_used = calloc(s->o.slots, sizeof(*s->slot_used));
    s->kept = calloc(s->o.n_pages, sizeof(*s->kept));
    s->copying = calloc(s->o.n_pages, sizeof(*s->copying));
    if (!s->table || !s->slot_used || !s->kept || !s->copying)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        s->table[i] = -1;
    e = kvpool_init(&s->pool, s->o.n_pages);
    if (e != ERR_OK)
        return e;
    return prefix_init(&s->prefix, s->o.n_pages, s->page_tokens);
}

enum err sched_make(struct graph *g, const struct model *m,
                    const struct sched_opts *o, struct sched **out)
{
    struct sched *s = calloc(1, sizeof(*s));
    enum err e;

    if (!s)
        return ERR_NOMEM;
    s->g = g;
    s->m = m;
    s->o = *o;
    settle_opts(s);
    fair_init(&s->fair);
    TAILQ_INIT(&s->tasks);
    TAILQ_INIT(&s->dead);
    TAILQ_INIT(&s->running);
    TAILQ_INIT(&s->idle);
    LIST_INIT(&s->restores);
    STAILQ_INIT(&s->outs);
    s->next_deadline_ms = INT64_MAX;
    atomic_init(&s->n.out_tokens, OUT_TOKENS);
    s->stop.head.kind = SCHED_STOP;
    s->mbox.fd = -1;
    e = mbox_init(&s->mbox);
    if (e == ERR_OK)
        e = make_rows(s);
    if (e == ERR_OK)
        e = make_tables(s);
    if (e != ERR_OK) {
        sched_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

enum err sched_new(struct graph *g, const struct model *m,
                   const struct sched_opts *o, struct sched **out)
{
    struct sched *s;
    enum err e = sched_make(g, m, o, &s);

    if (e != ERR_OK)
        return e;
    e = thr_start(&s->thr, "engine", run, s);
    if (e != ERR_OK) {
        sched_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void sched_attach(struct sched *s, struct kvswap *w)
{
    atomic_store(&s->swap, w);
}

/* Wait for messages, and take them in; so with copies. */
static void await(struct sched *s)
{
    struct pollfd p = {.fd = mbox_fd(&s->mbox), .events = POLLIN};

    if (poll(&p, 1, sched_has_copies(s) ? 1 : -1) == -1)
        BUG_ON(errno != EINTR);
    mbox_drain(&s->mbox, 0, on_msg, s);
    sched_outs(s);
    sched_reads(s);
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    if (s->mbox.fd != -1) {
        mbox_push(&s->mbox, &s->stop.head.link);
        thr_join(&s->thr);
        mbox_drain(&s->mbox, 0, on_msg, s);
    }
    while (sched_has_restores(s) || sched_has_copies(s))
        await(s);
    sched_stage_close(s);
    task_bury(s);
    mbox_fini(&s->mbox);
    kvpool_fini(&s->pool);
    prefix_fini(&s->prefix);
    free(s->table);
    free(s->slot_used);
    free(s->kept);
    free(s->copying);
    free(s->rows.seq);
    free(s->rows.pos);
    free(s->rows.ids);
    free(s->rows.want);
    free(s->rows.placed);
    free(s->rows.out);
    sched_draws_free(s);
    free(s->scratch.logits);
    free(s->scratch.mask);
    free(s);
}

/* --- any thread --------------------------------------------------------- */

/* Whether <j> could ever run; else why not. */
static enum err judge(const struct sched *s, const struct gen_job *j,
                      const char **why)
{
    bool makes = j->kind == GEN_TEXT && j->max_tokens > 0;

    if (j->n_tokens == 0 || j->n == 0 || j->n > GEN_CHOICES_MAX) {
        *why = "the prompt is empty or the number of choices is out of range";
        return ERR_BAD_PARAM;
    }
    if (j->n_tokens + (makes ? 1 : 0) > s->context) {
        *why = "the prompt is longer than the model's context";
        return ERR_CONTEXT_LENGTH;
    }
    for (size_t i = 0; i < j->n_tokens; i++)
        if (j->tokens[i] < 0 || (unsigned)j->tokens[i] >= s->m->p.n_vocab) {
            *why = "a token of the prompt is not in the vocabulary";
            return ERR_BAD_PARAM;
        }
    return ERR_OK;
}

/* Tokens that <j> is expected to take. */
static uint64_t cost_of(const struct sched *s, const struct gen_job *j)
{
    uint64_t out = atomic_load_explicit(&s->n.out_tokens, memory_order_relaxed);

    if (out > j->max_tokens)
        out = j->max_tokens;
    return j->n_tokens + (j->kind == GEN_TEXT ? out * j->n : 0);
}

void sched_submit(struct sched *s, struct gen_job *j)
{
    const char *why;
    enum err e = judge(s, j, &why);

    if (e == ERR_OK && atomic_fetch_add(&s->n.waiting, 1) >= s->o.queue) {
        atomic_fetch_sub(&s->n.waiting, 1);
        e = ERR_RATE_REQUESTS;
        why = "too many requests wait for this model";
    }
    if (e != ERR_OK) {
        atomic_fetch_add_explicit(&s->n.refused, 1, memory_order_relaxed);
        job_refuse(j, e, why, e == ERR_RATE_REQUESTS ? sched_retry_ms(s) : -1);
        return;
    }
    j->head.kind = SCHED_JOB;
    j->submitted_us = clock_now_us();
    j->cost = cost_of(s, j);
    j->key[sizeof(j->key) - 1] = '\0';
    atomic_fetch_add_explicit(&s->n.ahead, j->cost, memory_order_relaxed);
    mbox_push(&s->mbox, &j->head.link);
}

void sched_cancel(struct sched *s, uint64_t id)
{
    /* without memory a job runs to its end, which nobody reads, unless its
     * meter is closed */
    if (!send_msg(s, SCHED_CANCEL, id))
        atomic_store(&s->look_all, true);
}

void sched_pause(struct sched *s, uint64_t id, bool pause)
{
    if (!send_msg(s, pause ? SCHED_PAUSE : SCHED_RESUME, id) && !pause)
        atomic_store(&s->resume_all, true);
}

void sched_look(struct sched *s, uint64_t id)
{
    if (!send_msg(s, SCHED_LOOK, id))
        atomic_store(&s->look_all, true);
}

void sched_purge(struct sched *s)
{
    /* without memory, the cache stays: memory is short, and asked again */
    send_msg(s, SCHED_PURGE, 0);
}

unsigned sched_context(const struct sched *s)
{
    return s->context;
}

static uint64_t get(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

uint64_t sched_ahead(const struct sched *s)
{
    return get(&s->n.ahead);
}

bool sched_is_down(const struct sched *s)
{
    return atomic_load_explicit(&s->down, memory_order_relaxed);
}

void sched_read(const struct sched *s, struct sched_stats *out)
{
    *out = (struct sched_stats){
        .waiting = get(&s->n.waiting),
        .running = get(&s->n.running),
        .pages_used = get(&s->n.pages_used),
        .pages_cached = get(&s->n.pages_cached),
        .pages_all = s->o.n_pages,
        .jobs = get(&s->n.jobs),
        .prompt_tokens = get(&s->n.prompt_tokens),
        .cached_tokens = get(&s->n.cached_tokens),
        .store_tokens = get(&s->n.store_tokens),
        .output_tokens = get(&s->n.output_tokens),
        .steps = get(&s->n.steps),
        .rows = get(&s->n.rows),
        .preemptions = get(&s->n.preemptions),
        .cancelled = get(&s->n.cancelled),
        .refused = get(&s->n.refused),
        .busy_us = get(&s->n.busy_us),
    };
}

void sched_stats_add(struct sched_stats *sum, const struct sched_stats *more)
{
    sum->waiting += more->waiting;
    sum->running += more->running;
    sum->pages_used += more->pages_used;
    sum->pages_cached += more->pages_cached;
    sum->pages_all += more->pages_all;
    sum->jobs += more->jobs;
    sum->prompt_tokens += more->prompt_tokens;
    sum->cached_tokens += more->cached_tokens;
    sum->output_tokens += more->output_tokens;
    sum->store_tokens += more->store_tokens;
    sum->steps += more->steps;
    sum->rows += more->rows;
    sum->preemptions += more->preemptions;
    sum->cancelled += more->cancelled;
    sum->refused += more->refused;
    sum->busy_us += more->busy_us;
}
