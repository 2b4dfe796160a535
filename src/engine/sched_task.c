/* sched_task.c - A job from its arrival to its last event. The memory of that
 * event is put by with the job, so that one always comes. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "engine/model.h"
#include "engine/sched_priv.h"
#include "engine/stop.h"

#define RETRY_MIN_MS     100
#define RETRY_MAX_MS     60000
#define RETRY_UNKNOWN_MS 1000

/* --- events ------------------------------------------------------------- */

void job_refuse(struct gen_job *j, enum err e, const char *why,
                int64_t retry_after_ms)
{
    struct gen_event *ev = j->last;

    j->last = NULL;
    ev->job = j->id;
    ev->kind = GEN_EV_FAIL;
    ev->stop_index = -1;
    ev->stop_id = -1;
    ev->err = e;
    ev->why = why;
    ev->retry_after_ms = retry_after_ms;
    mbox_push(j->answer, &ev->link);
    gen_job_free(j);
}

int64_t sched_retry_ms(const struct sched *s)
{
    uint64_t ahead = atomic_load_explicit(&s->n.ahead, memory_order_relaxed);
    uint64_t rate =
        atomic_load_explicit(&s->n.per_second, memory_order_relaxed);
    uint64_t ms = rate > 0 ? ahead * 1000 / rate : RETRY_UNKNOWN_MS;

    if (ms < RETRY_MIN_MS)
        return RETRY_MIN_MS;
    return ms < RETRY_MAX_MS ? (int64_t)ms : RETRY_MAX_MS;
}

void task_send(struct sched *s, struct task *t, struct gen_event *ev)
{
    struct gen_counts *c = &t->counts;
    uint64_t begun = t->job->submitted_us;

    if (t->first_us == 0) {
        c->queue_us = (int64_t)(s->now_us - begun);
    } else if (t->token_us == 0) {
        c->queue_us = (int64_t)(t->first_us - begun);
        c->prefill_us = (int64_t)(s->now_us - t->first_us);
    } else {
        c->prefill_us = (int64_t)(t->token_us - t->first_us);
        c->decode_us = (int64_t)(s->now_us - t->token_us);
    }
    ev->counts = *c;
    mbox_push(t->job->answer, &ev->link);
}

/* The event put by for the end of <t>. */
static struct gen_event *last_event(struct task *t, enum gen_event_kind kind)
{
    struct gen_event *ev = t->job->last;

    t->job->last = NULL;
    ev->job = t->job->id;
    ev->kind = kind;
    ev->stop_index = -1;
    ev->stop_id = -1;
    ev->retry_after_ms = -1;
    return ev;
}

/* --- the end ------------------------------------------------------------ */

void task_uncount(struct sched *s, struct task *t)
{
    if (!t->counted)
        return;
    t->counted = false;
    atomic_fetch_sub_explicit(&s->n.waiting, 1, memory_order_relaxed);
}

/* Take <t> out of everything and send <ev>, its last event. */
static void end_task(struct sched *s, struct task *t, struct gen_event *ev)
{
    for (unsigned i = 0; i < t->n_seqs; i++)
        if (t->seqs[i].state != SEQ_DONE)
            sched_enter(s, &t->seqs[i], SEQ_DONE);
    task_uncount(s, t);
    task_ungrant(t);
    fair_leave(&s->fair, t->key);
    HASH_DEL(s->by_id, t);
    TAILQ_REMOVE(&s->tasks, t, link);
    TAILQ_INSERT_TAIL(&s->dead, t, link);
    s->n_tasks[t->job->kind]--;
    atomic_fetch_sub_explicit(&s->n.ahead, t->left, memory_order_relaxed);
    t->over = true;
    task_send(s, t, ev);
}

void task_fail(struct sched *s, struct task *t, enum err e, const char *why)
{
    struct gen_event *ev = last_event(t, GEN_EV_FAIL);

    ev->err = e;
    ev->why = why;
    end_task(s, t, ev);
}

void task_done(struct sched *s, struct task *t)
{
    end_task(s, t, last_event(t, GEN_EV_DONE));
}

/* Remember how long outputs are, for sched_retry_ms(). */
static void learn_length(struct sched *s, size_t n_out)
{
    uint64_t was = atomic_load_explicit(&s->n.out_tokens, memory_order_relaxed);

    atomic_store_explicit(&s->n.out_tokens, (was * 15 + n_out + 15) / 16,
                          memory_order_relaxed);
}

enum err task_finish(struct sched *s, struct seq *q, enum gen_finish how,
                     int stop_index, int stop_id)
{
    struct task *t = q->task;
    struct gen_event *ev = gen_event_new(t->job, GEN_EV_FINISH, 0, 0, 0);

    if (!ev)
        return ERR_NOMEM;
    ev->choice = q->choice;
    ev->finish = how;
    ev->stop_index = stop_index;
    ev->stop_id = stop_id;
    task_send(s, t, ev);
    learn_length(s, q->n_out);
    sched_enter(s, q, SEQ_DONE);
    t->n_open--;
    if (t->n_open == 0)
        task_done(s, t);
    return ERR_OK;
}

static void free_task(struct task *t)
{
    stop_set_free(t->stops);
    free(t->lps);
    free(t->sum);
    free(t->seqs);
    gen_job_free(t->job);
    free(t);
}

void task_bury(struct sched *s)
{
    struct task *t = TAILQ_FIRST(&s->dead);

    while (t) {
        TAILQ_REMOVE(&s->dead, t, link);
        free_task(t);
        t = TAILQ_FIRST(&s->dead);
    }
}

/* --- the beginning ------------------------------------------------------ */

/* Whether the rows of the prompt of <j> are read one by one. */
static bool is_read(const struct sched *s, const struct gen_job *j)
{
    if (j->kind == GEN_EMBED)
        return s->m->p.pooling == MODEL_POOL_MEAN;
    return j->prompt_logprobs && j->n_tokens > 1;
}

/* What <t> needs besides its pages. */
static enum err fill_task(struct sched *s, struct task *t)
{
    struct gen_job *j = t->job;

    t->seqs = calloc(j->n, sizeof(*t->seqs));
    if (!t->seqs)
        return ERR_NOMEM;
    if (j->n_stops > 0) {
        t->stops = stop_set_new(j->stops, j->n_stops);
        if (!t->stops)
            return ERR_NOMEM;
    }
    if (j->kind == GEN_TEXT && is_read(s, j)) {
        t->lps = calloc(j->n_tokens - 1, sizeof(*t->lps));
        if (!t->lps)
            return ERR_NOMEM;
    }
    if (j->kind == GEN_EMBED) {
        t->sum = calloc(s->m->p.d_model, sizeof(*t->sum));
        if (!t->sum)
            return ERR_NOMEM;
    }
    t->key = fair_join(&s->fair, j->key);
    if (!t->key)
        return ERR_NOMEM;
    t->id = j->id;
    HASH_ADD(hh, s->by_id, id, sizeof(t->id), t);
    return MAP_ADDED(t) ? ERR_OK : ERR_NOMEM;
}

/* The rules of the texts of <t>. */
static struct seq_rules rules_of(const struct sched *s, const struct task *t)
{
    size_t room = s->context - t->job->n_tokens;

    return (struct seq_rules){
        .job = t->job,
        .vocab = s->m->vocab,
        .stops = t->stops,
        .most_tokens = t->job->max_tokens < room ? t->job->max_tokens : room,
        .n_vocab = s->n_vocab,
    };
}

/* Give up on <t>, which nothing refers to yet. */
static void drop_task(struct sched *s, struct task *t, struct gen_job *j)
{
    atomic_fetch_sub_explicit(&s->n.waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->n.ahead, j->cost, memory_order_relaxed);
    if (t) {
        if (t->key)
            fair_leave(&s->fair, t->key);
        t->job = NULL;
        free_task(t);
    }
    job_refuse(j, ERR_NOMEM, "out of memory", -1);
}

/* Count <t>, which is complete, and let it wait. */
static void enlist(struct sched *s, struct task *t)
{
    const struct gen_job *j = t->job;

    TAILQ_INSERT_TAIL(&s->tasks, t, link);
    s->n_tasks[j->kind]++;
    if (j->deadline_ms > 0 && j->deadline_ms < s->next_deadline_ms)
        s->next_deadline_ms = j->deadline_ms;
    atomic_fetch_add_explicit(&s->n.jobs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n.prompt_tokens, j->n_tokens,
                              memory_order_relaxed);
    fair_add(&s->fair, t->key, &t->seqs[0], false);
    t->seqs[0].queued = true;
    if (j->meter)
        s->limit_due = true; /* it may be over by now */
}

void task_accept(struct sched *s, struct gen_job *j)
{
    struct task *t = calloc(1, sizeof(*t));

    if (!t) {
        drop_task(s, NULL, j);
        return;
    }
    t->job = j;
    if (fill_task(s, t) != ERR_OK) {
        drop_task(s, t, j);
        return;
    }
    t->born = ++s->born;
    t->n_seqs = 1;
    t->n_open = j->n;
    t->counted = true;
    t->left = j->cost;
    t->page_tokens = s->page_tokens;
    t->root = prefix_root(j->scope);
    t->rules = rules_of(s, t);
    if (!is_read(s, j))
        t->n_read = j->n_tokens;
    for (unsigned i = 0; i < j->n; i++) {
        t->seqs[i].task = t;
        t->seqs[i].choice = i;
        t->seqs[i].slot = -1;
    }
    enlist(s, t);
}

/* --- on the way --------------------------------------------------------- */

void task_pause(struct sched *s, struct task *t, bool pause)
{
    if (t->paused == pause)
        return;
    t->paused = pause;
    for (unsigned i = 0; i < t->n_seqs; i++) {
        struct seq *q = &t->seqs[i];

        if (q->state == SEQ_DONE || q->is_short)
            continue;
        if (pause)
            sched_enter(s, q, SEQ_PAUSED);
        else
            sched_enter(
                s, q, q->begun || q->n_pages > 0 ? SEQ_PREEMPTED : SEQ_WAITING);
    }
}

void task_expire(struct sched *s)
{
    int64_t now_ms = (int64_t)clock_mono_ms();
    int64_t next = INT64_MAX;
    struct task *t = TAILQ_FIRST(&s->tasks);

    if (now_ms < s->next_deadline_ms)
        return;
    while (t) {
        struct task *after = TAILQ_NEXT(t, link);
        int64_t at = t->job->deadline_ms;

        if (at > 0 && at <= now_ms)
            task_fail(s, t, ERR_UP_TIMEOUT,
                      "the answer was not complete within the time allowed");
        else if (at > 0 && at < next)
            next = at;
        t = after;
    }
    s->next_deadline_ms = next;
}
