/* sched_plan.c - Who gets rows in the next step: first one row for every
 * sequence that decodes, oldest first; then, under what is left of the budget,
 * prompts in the keys' turns, those under way before those that wait.
 *
 * Why nobody waits for ever: the oldest sequence that runs is never preempted
 * for another and so comes to its end; a start that lacks pages keeps its turn
 * and closes the door to all others until it has them; a key that has nothing
 * running takes a slot from the one that has most. */
#include "base/panic.h"
#include "engine/meter.h"
#include "engine/sched_priv.h"

/* Rows of a step before it is known how long they take, and always. */
#define FIRST_ROWS 128
#define LEAST_ROWS 32

/* --- slots -------------------------------------------------------------- */

/* The youngest sequence of <k> that runs. */
static struct seq *youngest_of(struct sched *s, const struct fair_key *k)
{
    struct seq *q;

    TAILQ_FOREACH_REVERSE(q, &s->running, seq_list, run)
    if (q->task->key == k)
        return q;
    return NULL;
}

/* When all slots are taken and a key that waits has none of them, take one
 * from a key that has several. Its sequence keeps its pages. */
static void share_slots(struct sched *s)
{
    struct fair_key *poor = NULL;
    struct fair_key *k;
    struct seq *q;
    struct fair_key *rich = NULL;

    if (s->n_slots < s->o.slots)
        return;
    TAILQ_FOREACH(k, &s->fair.ring, ring)
    if (k->n_running == 0 && !TAILQ_EMPTY(&k->waiting))
        poor = k;
    if (!poor)
        return;
    TAILQ_FOREACH(q, &s->running, run)
    if (!rich || q->task->key->n_running > rich->n_running)
        rich = q->task->key;
    if (rich && rich->n_running > 1)
        sched_enter(s, youngest_of(s, rich), SEQ_PREEMPTED);
}

/* --- rows --------------------------------------------------------------- */

/* Tokens of <q> that are known and neither computed nor planned. */
static size_t left(const struct seq *q)
{
    return seq_len(q) - q->computed - q->take;
}

/* Give <n> rows to <q>, which has pages for them. */
static void place(struct sched *s, struct seq *q, size_t n)
{
    struct sched_rows *r = &s->rows;

    if (q->take == 0)
        r->placed[r->n_placed++] = q;
    q->take += n;
    r->budget -= n;
    if (q->task->lps && q->task->n_read < q->task->job->n_tokens)
        r->read_budget -= n;
}

/* Preempt the youngest sequence that runs and has no rows; false when none is
 * younger than <than>. */
static bool preempt(struct sched *s, const struct seq *than)
{
    struct seq *q;

    TAILQ_FOREACH_REVERSE(q, &s->running, seq_list, run)
    if (q->take == 0)
        break;
    if (!q || !seq_is_younger(q, than))
        return false;
    sched_enter(s, q, SEQ_PREEMPTED);
    seq_drop_pages(s, q);
    atomic_fetch_add_explicit(&s->n.preemptions, 1, memory_order_relaxed);
    return true;
}

/* Pages for <want> more tokens of <q>; how many of them have room. */
static size_t make_room(struct sched *s, struct seq *q, size_t want)
{
    size_t base = q->computed + q->take;
    size_t end = seq_grow(s, q, base + want);

    while (end <= base && preempt(s, q))
        end = seq_grow(s, q, base + want);
    return end > base ? end - base : 0;
}

/* One row for each sequence that decodes. */
static void plan_decodes(struct sched *s)
{
    struct seq *q = TAILQ_FIRST(&s->running);

    while (q) {
        /* what make_room() preempts is younger than <q>, comes behind it */
        bool may = q->state == SEQ_DECODE && s->rows.kind == GEN_TEXT &&
                   make_room(s, q, 1) > 0;
        struct seq *after = TAILQ_NEXT(q, run);

        if (may && seq_grant(s, q))
            place(s, q, 1);
        q = after;
    }
}

/* --- starts ------------------------------------------------------------- */

/* Pages that sequences under way will still ask for. */
static size_t pledged(const struct sched *s)
{
    const struct seq *q;
    size_t n = 0;

    TAILQ_FOREACH(q, &s->running, run)
    {
        size_t want = (seq_len(q) + s->page_tokens - 1) / s->page_tokens;

        if (q->state == SEQ_PREFILL && want > q->n_pages)
            n += want - q->n_pages;
    }
    return n + sched_restoring(s);
}

/* How many leading tokens of <q> may come from the index: at least the last
 * one is computed, and so is each that is to be read. */
static size_t most_cached(const struct seq *q)
{
    const struct task *t = q->task;
    size_t most = seq_len(q) - 1;

    return t->n_read < t->job->n_tokens && t->n_read < most ? t->n_read : most;
}

/* Whether all of <q>, which has its cached pages, will find room. */
static bool fits(struct sched *s, const struct seq *q)
{
    size_t want = (seq_len(q) + s->page_tokens - 1) / s->page_tokens;
    size_t need = want - q->n_pages + pledged(s);

    while (sched_room(s) < need)
        if (!sched_reclaim(s, q))
            return false;
    return true;
}

/* Count the first start of <t>. */
static void count_start(struct sched *s, struct task *t, size_t cached)
{
    t->first_us = s->now_us;
    meter_begin(t->job->meter, t->job->n_tokens, cached);
    t->counts.prompt_tokens = (unsigned)t->job->n_tokens;
    t->counts.cached_tokens = (unsigned)cached;
    atomic_fetch_add_explicit(&s->n.cached_tokens, cached,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n.store_tokens,
                              t->n_restored < cached ? t->n_restored : cached,
                              memory_order_relaxed);
    task_uncount(s, t);
}

/* What became of a sequence that waits. */
enum admission {
    ADMIT_RUNS = 0,
    ADMIT_AWAY, /* it waits for the disk */
    ADMIT_FULL, /* there is no room for it now */
};

/* Whether <q> holds nothing but full pages of the index. */
static bool is_cached(const struct sched *s, const struct seq *q)
{
    return q->n_pages == q->n_indexed &&
           q->computed == q->n_pages * s->page_tokens;
}

/* Let <q>, which waits, run. */
static enum admission admit(struct sched *s, struct seq *q)
{
    struct task *t = q->task;
    size_t most = most_cached(q);
    bool is_first = !q->begun;

    if ((is_cached(s, q) && seq_take_cached(s, q, most) != ERR_OK) ||
        !fits(s, q)) {
        seq_drop_pages(s, q);
        return ADMIT_FULL;
    }
    if (seq_restore(s, q, most))
        return ADMIT_AWAY;
    if (is_first && t->first_us == 0)
        count_start(s, t, q->computed);
    seq_keep(s, q, 0);
    sched_enter(s, q, q->n_out > 0 && left(q) == 1 ? SEQ_DECODE : SEQ_PREFILL);
    return ADMIT_RUNS;
}

/* The first of <k> that waits and is of the kind of this step. */
static struct seq *first_waiting(const struct sched *s,
                                 const struct fair_key *k)
{
    struct seq *q;

    TAILQ_FOREACH(q, &k->waiting, work)
    if (q->task->job->kind == s->rows.kind)
        return q;
    return NULL;
}

/* Let the first of <k> run; NULL when it may not. */
static struct seq *start_of(struct sched *s, struct fair_key *k)
{
    struct seq *q = first_waiting(s, k);
    enum admission how = ADMIT_AWAY;

    while (q && !s->rows.closed && q->stuck != s->step_no &&
           fair_may_start(&s->fair, k)) {
        if (s->n_slots < s->o.slots)
            how = admit(s, q);
        else
            s->rows.closed = true;
        if (how == ADMIT_RUNS)
            return q;
        if (how == ADMIT_FULL) {
            s->rows.closed = true;
            s->rows.first = k;
        }
        q = first_waiting(s, k);
    }
    return NULL;
}

/* --- turns -------------------------------------------------------------- */

/* What <k> may have read now, or NULL. */
static struct seq *work_of(struct sched *s, struct fair_key *k)
{
    struct seq *q;

    TAILQ_FOREACH(q, &k->reading, work)
    if (q->task->job->kind == s->rows.kind && q->stuck != s->step_no &&
        left(q) > 0)
        return q;
    return start_of(s, k);
}

/* How many rows of <q> may be in this step. */
static size_t most_rows(const struct sched *s, const struct seq *q)
{
    const struct task *t = q->task;
    size_t most = left(q) < s->rows.budget ? left(q) : s->rows.budget;

    if (t->lps && t->n_read < t->job->n_tokens && most > s->rows.read_budget)
        most = s->rows.read_budget;
    return most;
}

/* Give <q> of <k>, whose turn it is, rows. */
static void serve(struct sched *s, struct fair_key *k, struct seq *q)
{
    size_t most = most_rows(s, q);
    size_t n = most > 0 ? make_room(s, q, fair_grant(k, most)) : 0;

    if (n == 0) {
        q->stuck = s->step_no;
        return;
    }
    if (n == left(q) && !seq_grant(s, q))
        return;
    place(s, q, n);
    fair_spend(&s->fair, k, n);
}

/* Read prompts. */
static void plan_reads(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    unsigned n_dry = 0; /* keys in a row that had nothing */

    while (r->budget > 0 && n_dry < s->fair.n_ring) {
        struct fair_key *k = fair_turn(&s->fair);
        struct seq *q = work_of(s, k);

        if (q) {
            n_dry = 0;
            serve(s, k, q);
        } else {
            n_dry++;
            if (k->in_ring)
                fair_next(&s->fair);
        }
    }
    if (r->first && r->first->in_ring)
        fair_first(&s->fair, r->first);
}

/* How many rows the next step may have, so that it takes no longer than it
 * should: those that decode wait for it, and so does a cancel. */
static size_t paced_rows(const struct sched *s)
{
    uint64_t most_ms = (uint64_t)s->o.step_ms * 4;
    uint64_t rows = FIRST_ROWS;
    const struct seq *q;

    TAILQ_FOREACH(q, &s->running, run)
    if (q->state == SEQ_DECODE)
        most_ms = s->o.step_ms;
    if (s->o.step_ms == UINT32_MAX)
        return s->o.step_tokens;
    if (s->read_rate > 0)
        rows = s->read_rate * most_ms / 1000;
    if (rows < LEAST_ROWS)
        rows = LEAST_ROWS;
    if (rows < s->o.slots)
        rows = s->o.slots;
    return rows < s->o.step_tokens ? rows : s->o.step_tokens;
}

/* Choose rows for jobs of <kind>. */
static void plan_kind(struct sched *s, enum gen_kind kind)
{
    struct sched_rows *r = &s->rows;

    r->kind = kind;
    r->n_placed = 0;
    r->budget = paced_rows(s);
    r->read_budget = s->read_rows;
    r->closed = false;
    r->first = NULL;
    s->step_no++;
    plan_decodes(s);
    plan_reads(s);
}

bool sched_plan(struct sched *s)
{
    enum gen_kind kind = s->rows.kind == GEN_TEXT ? GEN_EMBED : GEN_TEXT;

    share_slots(s);
    if (s->n_tasks[kind] == 0)
        kind = kind == GEN_TEXT ? GEN_EMBED : GEN_TEXT;
    plan_kind(s, kind);
    if (s->rows.n_placed == 0)
        plan_kind(s, kind == GEN_TEXT ? GEN_EMBED : GEN_TEXT);
    return s->rows.n_placed > 0;
}
