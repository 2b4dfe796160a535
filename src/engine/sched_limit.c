/* sched_limit.c - Sequences whose job has a meter: each token they are about to
 * draw is asked for when its row is planned, so that none is drawn that was not
 * allowed. One that is allowed none rests with its pages, out of its slot, and
 * the worker is told; it goes on where it stopped once there are more, or ends
 * there when there will be none. */
#include "engine/meter.h"
#include "engine/sched_priv.h"

/* Tokens that are drawn when all known ones of <q> are computed. */
static unsigned draws(const struct seq *q)
{
    const struct task *t = q->task;

    if (t->job->kind != GEN_TEXT || t->rules.most_tokens == 0)
        return 0;
    return q->n_out == 0 ? t->job->n : 1;
}

bool seq_grant(struct sched *s, struct seq *q)
{
    struct task *t = q->task;
    unsigned n = draws(q);

    if (n == 0)
        return true;
    if (meter_take(t->job->meter, n)) {
        t->n_granted += n;
        return true;
    }
    q->stuck = s->step_no;
    if (q->take > 0)
        return false; /* it has rows in this step, and rests in the next */
    sched_enter(s, q, SEQ_PAUSED);
    q->is_short = true;
    t->n_short++;
    s->limit_due = true;
    return false;
}

void task_ungrant(struct task *t)
{
    meter_give(t->job->meter, t->n_granted);
    t->n_granted = 0;
}

void task_look(struct sched *s, struct task *t)
{
    if (meter_is_closed(t->job->meter)) {
        task_fail(s, t, ERR_CLIENT_GONE, "cancelled");
        return;
    }
    t->told_short = false;
    s->limit_due = true;
    if (t->n_short == 0 || meter_left(t->job->meter) == 0)
        return;
    for (unsigned i = 0; i < t->n_seqs; i++) {
        struct seq *q = &t->seqs[i];

        if (!q->is_short)
            continue;
        q->is_short = false;
        if (!t->paused)
            sched_enter(s, q, SEQ_PREEMPTED);
    }
    t->n_short = 0;
}

/* --- the end ------------------------------------------------------------ */

/* End the choice of <q> behind the tokens it has. */
static enum err cut(struct sched *s, struct seq *q)
{
    struct task *t = q->task;
    struct gen_event *ev = NULL;

    ERR_TRY(seq_text_cut(&q->text, &t->rules));
    ERR_TRY(seq_text_flush(&q->text, &t->rules, &ev));
    if (ev) {
        ev->choice = q->choice;
        task_send(s, t, ev);
    }
    return task_finish(s, q, q->text.finish, q->text.stop_index,
                       q->text.stop_id);
}

/* No choice of <t> has begun, nor will any: they end without a token. */
static enum err cut_all(struct sched *s, struct task *t)
{
    struct gen_event *ev = gen_event_new(t->job, GEN_EV_START, 0, 0, 0);
    enum err e = ERR_OK;

    if (!ev)
        return ERR_NOMEM;
    task_send(s, t, ev);
    t->n_seqs = t->job->n;
    for (unsigned i = 0; i < t->job->n && e == ERR_OK; i++)
        e = task_finish(s, &t->seqs[i], GEN_FINISH_CUT, -1, -1);
    return e;
}

/* End the choices of <t> that will not get the token they need next. */
static enum err cut_task(struct sched *s, struct task *t)
{
    struct meter *m = t->job->meter;
    enum err e = ERR_OK;

    if (draws(&t->seqs[0]) == 0)
        return ERR_OK;
    if (t->token_us == 0)
        return meter_is_over(m, t->job->n) ? cut_all(s, t) : ERR_OK;
    for (unsigned i = 0; i < t->n_seqs && e == ERR_OK; i++)
        if (t->seqs[i].state != SEQ_DONE && meter_is_over(m, 1))
            e = cut(s, &t->seqs[i]);
    return e;
}

/* Tell the worker of <t> that choices rest. */
static enum err tell(struct sched *s, struct task *t)
{
    struct gen_event *ev = gen_event_new(t->job, GEN_EV_SHORT, 0, 0, 0);

    if (!ev)
        return ERR_NOMEM;
    t->told_short = true;
    task_send(s, t, ev);
    return ERR_OK;
}

bool sched_limits(struct sched *s)
{
    struct task *t = TAILQ_FIRST(&s->tasks);
    bool any = false;

    if (!s->limit_due)
        return false;
    s->limit_due = false;
    while (t) {
        struct task *after = TAILQ_NEXT(t, link);
        enum err e = cut_task(s, t);

        if (e == ERR_OK && !t->over && t->n_short > 0 && !t->told_short)
            e = tell(s, t);
        if (e != ERR_OK)
            task_fail(s, t, e, "out of memory");
        any = any || t->over;
        t = after;
    }
    return any;
}
