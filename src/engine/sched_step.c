/* sched_step.c - One step: the rows that were planned go through the graph, and
 * what comes out of it goes to the choices. A step that the graph fails takes
 * all its jobs with it, and no other, unless its device failed. */
#include <math.h>

#include "base/clock.h"
#include "base/panic.h"
#include "engine/graph.h"
#include "engine/model.h"
#include "engine/sample.h"
#include "engine/sched_priv.h"

/* --- rows --------------------------------------------------------------- */

/* What row <pos> of <q> is wanted for. */
static enum graph_want want_of(const struct seq *q, size_t pos)
{
    const struct task *t = q->task;
    bool is_last = pos + 1 == seq_len(q);
    bool is_read = pos < t->job->n_tokens && pos >= t->n_read;

    if (!is_last && !is_read)
        return GRAPH_NOTHING;
    if (t->job->kind == GEN_EMBED)
        return GRAPH_HIDDEN;
    return q->draws && is_last ? GRAPH_DRAW : GRAPH_LOGITS;
}

/* Write the rows of <q>. */
static void lay_out(struct sched_rows *r, struct seq *q)
{
    q->out_row = r->n_out;
    for (size_t i = 0; i < q->take; i++) {
        size_t pos = q->computed + i;

        r->seq[r->m] = q->slot;
        r->pos[r->m] = (int32_t)pos;
        r->ids[r->m] = seq_token(q, pos);
        r->want[r->m] = (uint8_t)want_of(q, pos);
        if (r->want[r->m] == GRAPH_DRAW)
            q->draw_row = r->n_wanted;
        r->n_out +=
            r->want[r->m] != GRAPH_NOTHING && r->want[r->m] != GRAPH_DRAW;
        r->n_wanted += r->want[r->m] != GRAPH_NOTHING;
        r->m++;
    }
}

/* A page that is written has one holder, and the index has it not. */
static void check_pages(const struct sched *s, const struct seq *q)
{
    size_t first = q->computed / s->page_tokens;
    size_t last = (q->computed + q->take - 1) / s->page_tokens;

    BUG_ON(!seq_runs(q->state) || last >= q->n_pages);
    for (size_t i = first; i <= last; i++)
        BUG_ON(!kvpool_is_private(&s->pool, q->pages[i]));
}

/* Remember how fast rows were of late. */
static void learn_rate(struct sched *s, uint64_t rows, uint64_t us)
{
    s->late_rows += rows;
    s->late_us += us;
    if (s->late_us > 10000000) { /* 10 s of work: the older half fades */
        s->late_rows /= 2;
        s->late_us /= 2;
    }
    if (s->late_us > 0)
        atomic_store_explicit(&s->n.per_second,
                              s->late_rows * 1000000 / s->late_us,
                              memory_order_relaxed);
}

/* Remember how fast prompts are read, of steps that do little else. */
static void learn_pace(struct sched *s, uint64_t rows, uint64_t us)
{
    uint64_t rate = rows * 1000000 / (us + 1) + 1;

    if (rows < 16 || rows < (uint64_t)s->n_slots * 2)
        return;
    s->read_rate = s->read_rate > 0 ? (s->read_rate * 3 + rate) / 4 : rate;
}

/* Run the rows. */
static enum err run(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    struct graph_step step = {.ids = r->ids, .want = r->want};
    uint64_t begin = clock_now_us();
    enum err e;

    step.rows = (struct krn_rows){.m = (unsigned)r->m,
                                  .seq = r->seq,
                                  .pos = r->pos,
                                  .n_seq = s->o.slots,
                                  .table = s->table,
                                  .max_pages = (unsigned)s->max_pages};
    e = graph_step_run(s->g, &step, r->out);
    if (e == ERR_OK)
        e = sched_draw(s);
    s->now_us = clock_now_us();
    learn_rate(s, r->m, s->now_us - begin);
    learn_pace(s, r->m, s->now_us - begin);
    sched_learn_depth(s, r->m, s->now_us - begin);
    atomic_fetch_add_explicit(&s->n.busy_us, s->now_us - begin,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n.steps, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n.rows, r->m, memory_order_relaxed);
    return e;
}

/* --- text --------------------------------------------------------------- */

/* The next token of <q> from <logits>, and its event. */
static enum err draw(struct sched *s, struct seq *q, const float *logits)
{
    struct task *t = q->task;
    struct gen_event *ev;
    int32_t id;
    enum err e;

    BUG_ON(t->n_granted == 0);
    e = q->drawn ? seq_text_take(&q->text, &t->rules, q->drawn, &id)
                 : seq_text_next(&q->text, &t->rules, &s->scratch, logits, &id);
    q->drawn = NULL;
    if (e == ERR_OK)
        e = seq_put_token(q, id);
    if (e != ERR_OK)
        return e;
    t->n_granted--;
    t->counts.output_tokens++;
    atomic_fetch_add_explicit(&s->n.output_tokens, 1, memory_order_relaxed);
    e = seq_text_flush(&q->text, &t->rules, &ev);
    if (e != ERR_OK || !ev)
        return e;
    ev->choice = q->choice;
    task_send(s, t, ev);
    return ERR_OK;
}

/* End the choice of <q>, whose text is over. */
static enum err finish(struct sched *s, struct seq *q)
{
    const struct seq_text *x = &q->text;

    return task_finish(s, q, x->finish, x->stop_index, x->stop_id);
}

/* Tell that the prompt is read. */
static enum err send_start(struct sched *s, struct task *t)
{
    size_t n = t->lps ? t->job->n_tokens - 1 : 0;
    struct gen_event *ev = gen_event_new(t->job, GEN_EV_START, 0, n, 0);

    if (!ev)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        gen_event_logprobs(ev)[i] = t->lps[i];
    task_send(s, t, ev);
    return ERR_OK;
}

/* The job wants no tokens: every choice ends here. */
static enum err finish_all(struct sched *s, struct task *t)
{
    enum err e = ERR_OK;

    t->n_seqs = t->job->n;
    for (unsigned i = 0; i < t->job->n && e == ERR_OK; i++)
        e = task_finish(s, &t->seqs[i], GEN_FINISH_LENGTH, -1, -1);
    return e;
}

/* First tokens: the prompt of <first> is read, every choice draws from its last
 * row; those after the first share its pages, so it may end only behind them.
 */
static enum err begin_choices(struct sched *s, struct seq *first,
                              const float *logits)
{
    struct task *t = first->task;
    enum err e = ERR_OK;

    for (unsigned i = 0; i < t->job->n && e == ERR_OK; i++) {
        struct seq *q = &t->seqs[i];

        t->n_seqs = i + 1;
        if (!q->drawn)
            e = seq_text_init(&q->text, &t->rules, i);
        if (e == ERR_OK)
            e = draw(s, q, logits);
        if (e != ERR_OK || i == 0)
            continue;
        e = q->text.over ? finish(s, q) : seq_fork(s, q, first);
    }
    if (e != ERR_OK)
        return e;
    if (first->text.over)
        return finish(s, first);
    sched_enter(s, first, SEQ_DECODE);
    return ERR_OK;
}

/* The prompt of <q> is read. */
static enum err end_prompt(struct sched *s, struct seq *q, const float *logits)
{
    struct task *t = q->task;
    enum err e;

    t->token_us = s->now_us;
    e = send_start(s, t);
    if (e != ERR_OK)
        return e;
    if (t->rules.most_tokens == 0)
        return finish_all(s, t);
    return begin_choices(s, q, logits);
}

/* <q> has all its tokens computed; <logits> are of the last. */
static enum err next_token(struct sched *s, struct seq *q, const float *logits)
{
    enum err e;

    if (q->n_out == 0)
        return end_prompt(s, q, logits);
    if (q->state == SEQ_PREFILL)
        sched_enter(s, q, SEQ_DECODE);
    e = draw(s, q, logits);
    if (e == ERR_OK && q->text.over)
        e = finish(s, q);
    return e;
}

/* --- embeddings --------------------------------------------------------- */

/* The vector of <t>: the mean of the rows added up, of length 1. */
static enum err send_vector(struct sched *s, struct task *t)
{
    size_t d = s->m->p.d_model;
    struct gen_event *ev = gen_event_new(t->job, GEN_EV_EMBED, 0, 0, d);
    double squares = 0;
    double scale;
    float *to;

    if (!ev)
        return ERR_NOMEM;
    for (size_t i = 0; i < d; i++)
        squares += t->sum[i] * t->sum[i];
    scale = squares > 0 ? 1 / sqrt(squares) : 0;
    to = gen_event_vector(ev);
    for (size_t i = 0; i < d; i++)
        to[i] = (float)(t->sum[i] * scale);
    task_send(s, t, ev);
    return ERR_OK;
}

/* The prompt of <q>, of which the vector is wanted, is read. */
static enum err end_embed(struct sched *s, struct seq *q)
{
    struct task *t = q->task;
    enum err e;

    t->token_us = s->now_us;
    e = send_start(s, t);
    if (e == ERR_OK)
        e = send_vector(s, t);
    if (e == ERR_OK)
        task_done(s, t);
    return e;
}

/* --- what comes out ----------------------------------------------------- */

/* Take in row <pos> of <q>, whose numbers are <row>. */
static void read_row(struct sched *s, struct seq *q, size_t pos,
                     const float *row)
{
    struct task *t = q->task;
    const struct gen_job *j = t->job;

    if (j->kind == GEN_EMBED)
        for (size_t i = 0; i < s->m->p.d_model; i++)
            t->sum[i] += row[i];
    else if (t->lps && pos + 1 < j->n_tokens)
        sample_logprobs(row, s->n_vocab, j->tokens[pos + 1], j->top_logprobs,
                        &t->lps[pos]);
    if (t->n_read < j->n_tokens)
        t->n_read = pos + 1;
}

/* Count <n> tokens of <t> as done. */
static void count_done(struct sched *s, struct task *t, size_t n)
{
    uint64_t less = n < t->left ? n : t->left;

    t->left -= less;
    atomic_fetch_sub_explicit(&s->n.ahead, less, memory_order_relaxed);
}

/* Hand out the rows of <q>. */
static enum err hand_out(struct sched *s, struct seq *q)
{
    bool is_embed = q->task->job->kind == GEN_EMBED;
    size_t width = is_embed ? s->m->p.d_model : s->m->p.n_vocab;
    const float *row = s->rows.out + q->out_row * width;
    size_t end = q->computed + q->take;
    const float *last = row;
    enum err e;

    for (size_t pos = q->computed; pos < end; pos++) {
        const enum graph_want want = want_of(q, pos);

        if (want == GRAPH_DRAW && q->n_out == 0)
            read_row(s, q, pos, NULL);
        if (want == GRAPH_NOTHING || want == GRAPH_DRAW)
            continue;
        last = row;
        row += width;
        if (q->n_out == 0)
            read_row(s, q, pos, last);
    }
    count_done(s, q->task, q->take);
    q->computed = end;
    q->asked = false; /* who loses its pages may ask again */
    e = seq_index(s, q);
    if (e != ERR_OK || end < seq_len(q))
        return e;
    return is_embed ? end_embed(s, q) : next_token(s, q, last);
}

/* The sentence for the client of a job that <e> ended. */
static void fail(struct sched *s, struct task *t, enum err e)
{
    if (e == ERR_NOMEM)
        task_fail(s, t, e, "out of memory");
    else
        task_fail(s, t, ERR_INTERNAL, "the engine failed");
}

void sched_step(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    enum err failed;
    bool lost;

    r->m = 0;
    r->n_out = 0;
    r->n_wanted = 0;
    sched_draws_choose(s);
    for (size_t i = 0; i < r->n_placed; i++) {
        check_pages(s, r->placed[i]);
        lay_out(r, r->placed[i]);
    }
    failed = run(s);
    lost = failed == ERR_IO && s->o.revive;
    for (size_t i = 0; i < r->n_placed; i++) {
        struct seq *q = r->placed[i];
        enum err e = failed;

        if (e == ERR_OK && !q->task->over)
            e = hand_out(s, q);
        q->take = 0;
        if (e != ERR_OK && !lost && !q->task->over)
            fail(s, q->task, e);
    }
    if (lost)
        sched_lose(s);
}
