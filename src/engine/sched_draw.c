/* sched_draw.c - Tokens that a device draws itself, so that rows of logits stay
 * on it: what to draw is gathered from the sequences of a step, and drawn in
 * one call behind it. */
#include <stdlib.h>

#include "engine/graph.h"
#include "engine/sched_priv.h"

/* Whether <q>, whose last row is in the step, has one token to draw behind it:
 * several choices that begin behind one prompt draw on the host. */
static bool draws_one(const struct seq *q)
{
    const struct task *t = q->task;

    return q->computed + q->take == seq_len(q) && t->rules.most_tokens > 0 &&
           (q->n_out > 0 || t->job->n == 1);
}

/* Whether every row that comes out of this step is for a token to come, and
 * they are as many as a device draws at once. */
static bool may_draw(const struct sched *s)
{
    const struct sched_rows *r = &s->rows;

    if (!graph_draws(s->g) || r->kind != GEN_TEXT ||
        r->n_placed > GRAPH_DRAW_ROWS)
        return false;
    for (size_t i = 0; i < r->n_placed; i++) {
        const struct task *t = r->placed[i]->task;

        if (t->lps && t->n_read < t->job->n_tokens)
            return false;
    }
    return true;
}

/* Memory for draws, at their first use. */
static bool room_for_draws(struct sched *s)
{
    struct sched_draws *d = &s->draws;
    const size_t n = s->o.slots;

    d->words = ((size_t)s->n_vocab + 63) / 64;
    if (!d->ask)
        d->ask = calloc(n, sizeof(*d->ask));
    if (!d->got)
        d->got = calloc(n, sizeof(*d->got));
    if (!d->masks)
        d->masks = calloc(n * d->words, sizeof(*d->masks));
    return d->ask && d->got && d->masks;
}

void sched_draws_choose(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    const bool may = may_draw(s) && room_for_draws(s);

    for (size_t i = 0; i < r->n_placed; i++)
        r->placed[i]->draws = may && draws_one(r->placed[i]);
}

/* Gather what <q> draws; its text begins with its first token. */
static enum err ask(struct sched *s, struct seq *q)
{
    struct sched_draws *d = &s->draws;
    struct task *t = q->task;
    enum err e = ERR_OK;

    if (q->n_out == 0 && !q->text.sampler)
        e = seq_text_init(&q->text, &t->rules, q->choice);
    if (e == ERR_OK)
        e = seq_text_ask(&q->text, &t->rules, d->masks + d->n * d->words,
                         &d->ask[d->n]);
    if (e != ERR_OK)
        return e;
    d->ask[d->n].row = (unsigned)q->draw_row;
    q->drawn = &d->got[d->n++];
    return ERR_OK;
}

enum err sched_draw(struct sched *s)
{
    struct sched_rows *r = &s->rows;
    struct sched_draws *d = &s->draws;

    d->n = 0;
    for (size_t i = 0; i < r->n_placed; i++) {
        struct seq *q = r->placed[i];
        enum err e;

        q->drawn = NULL;
        if (!q->draws || q->task->over)
            continue;
        e = ask(s, q);
        if (e != ERR_OK)
            return e;
    }
    return d->n > 0
               ? graph_draw(s->g, s->n_vocab, (unsigned)d->n, d->ask, d->got)
               : ERR_OK;
}

void sched_draws_free(struct sched *s)
{
    free(s->draws.ask);
    free(s->draws.got);
    free(s->draws.masks);
}
