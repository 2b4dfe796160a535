/* sched_lost.c - When the device fails: everything that stood on it is gone, so
 * all that had begun is failed and forgotten, and the device is begun anew,
 * while what waits goes on waiting. When that cannot be, nothing is served any
 * more. */
#include "engine/sched_priv.h"

/* Whether <t> has anything on the device. */
static bool has_begun(const struct task *t)
{
    for (unsigned i = 0; i < t->n_seqs; i++)
        if (t->seqs[i].begun || t->seqs[i].n_pages > 0 ||
            t->seqs[i].state == SEQ_RESTORING)
            return true;
    return false;
}

/* Fail all, or all that had begun. */
static void fail_tasks(struct sched *s, bool all)
{
    struct task *t = TAILQ_FIRST(&s->tasks);

    while (t) {
        struct task *after = TAILQ_NEXT(t, link);

        if (all || has_begun(t))
            task_fail(s, t, ERR_MODEL_DOWN, "the device of this model failed");
        t = after;
    }
}

void sched_lose(struct sched *s)
{
    s->lost = true;
    fail_tasks(s, false);
}

bool sched_revive(struct sched *s)
{
    /* those that come back with what is lost; copies end at once */
    if (sched_has_restores(s) || sched_has_copies(s))
        return false;
    sched_stage_close(s);
    sched_forget(s);
    if (!s->o.revive(s->o.revive_arg)) {
        atomic_store(&s->down, true);
        fail_tasks(s, true);
    }
    s->lost = false;
    return true;
}
