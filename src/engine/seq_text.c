/* seq_text.c - See seq_text.h. Text is held back while it may be the beginning
 * of a stop string; a log probability is held back with the text of its token,
 * so that lists and texts of events always tell of the same tokens. */
#include "engine/seq_text.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"
#include "engine/stop.h"
#include "kernels/krn.h"
#include "token/grammar.h"

#define TEXT_MAX ((size_t)1 << 30) /* bytes held at once */

enum err seq_text_init(struct seq_text *t, const struct seq_rules *r,
                       unsigned choice)
{
    const struct gen_job *j = r->job;

    *t = (struct seq_text){.stop_index = -1, .stop_id = -1};
    buf_init(&t->held, TEXT_MAX);
    t->detok.begun = !j->new_text;
    t->sampler = sampler_new(&j->sampling, choice, r->n_vocab);
    if (!t->sampler)
        return ERR_NOMEM;
    for (size_t i = 0; i < j->n_tokens; i++)
        sampler_see(t->sampler, j->tokens[i], false);
    if (j->grammar) {
        t->grammar = grammar_start(j->grammar);
        if (!t->grammar)
            return ERR_NOMEM;
    }
    if (r->stops) {
        t->stop_at = calloc(j->n_stops, sizeof(*t->stop_at));
        if (!t->stop_at)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

void seq_text_fini(struct seq_text *t)
{
    sampler_free(t->sampler);
    grammar_state_free(t->grammar);
    buf_fini(&t->held);
    free(t->stop_at);
    free(t->lps);
    t->sampler = NULL;
    t->grammar = NULL;
    t->stop_at = NULL;
    t->lps = NULL;
    t->n_lps = 0;
}

/* --- the end ------------------------------------------------------------ */

static void end_text(struct seq_text *t, enum gen_finish how)
{
    t->over = true;
    t->finish = how;
}

/* Drop the text from the matched string on, and the log probabilities of the
 * tokens that show nothing else. <was> bytes were held before the piece. */
static void cut(struct seq_text *t, size_t was, const struct stop_hit *hit)
{
    size_t keep = was + hit->end - hit->len;

    t->made = t->sent + keep;
    t->held.len = keep;
    while (t->n_lps > 0 && t->lps[t->n_lps - 1].start >= t->made)
        t->n_lps--;
    t->stop_index = hit->which;
    end_text(t, GEN_FINISH_STOP);
}

/* Look for stop strings in what was appended behind the first <was> bytes. */
static void judge(struct seq_text *t, const struct seq_rules *r, size_t was)
{
    struct stop_hit hit;

    t->made = t->sent + t->held.len;
    if (t->held.len == was)
        return; /* nothing new; there may be no buffer yet */
    if (r->stops && stop_feed(r->stops, t->stop_at,
                              str_of(t->held.p + was, t->held.len - was), &hit))
        cut(t, was, &hit);
}

/* Whether <id> is one of the tokens that end this job's choices. A grammar
 * allows the model's own only where the text may end, and knows nothing that
 * could follow. */
static bool is_stop_id(const struct seq_rules *r, int32_t id)
{
    const struct gen_job *j = r->job;

    for (size_t i = 0; i < j->n_stop_ids; i++)
        if (j->stop_ids[i] == id)
            return true;
    return (!j->ignore_eos || j->grammar) && vocab_is_eog(r->vocab, id);
}

/* --- tokens ------------------------------------------------------------- */

/* A token that was chosen, and what tells its log probability: one of two. */
struct chosen {
    int32_t id;
    const float *logits;
    const struct krn_drawn *drawn;
};

static void logprob_of(const struct seq_rules *r, const struct chosen *c,
                       struct gen_logprob *out)
{
    if (c->logits) {
        sample_logprobs(c->logits, r->n_vocab, c->id, r->job->top_logprobs,
                        out);
        return;
    }
    out->id = c->id;
    out->logprob = c->drawn->logprob;
    out->n_top = c->drawn->n_top;
    for (unsigned i = 0; i < out->n_top; i++) {
        out->top[i].id = c->drawn->top[i].id;
        out->top[i].logprob = c->drawn->top[i].logprob;
    }
}

/* Put the log probability of <c> by. */
static enum err hold_logprob(struct seq_text *t, const struct seq_rules *r,
                             const struct chosen *c)
{
    struct seq_held *h;

    if (t->n_lps == t->cap_lps) {
        size_t cap = t->cap_lps ? t->cap_lps * 2 : 4;

        h = reallocarray(t->lps, cap, sizeof(*h));
        if (!h)
            return ERR_NOMEM;
        t->lps = h;
        t->cap_lps = cap;
    }
    h = &t->lps[t->n_lps++];
    logprob_of(r, c, &h->lp);
    h->start = t->made;
    h->end = UINT64_MAX;
    return ERR_OK;
}

/* The token to come, or -1. */
static int32_t pick(struct seq_text *t, const struct seq_rules *r,
                    const struct seq_scratch *room, const float *logits)
{
    const uint64_t *mask = NULL;

    memcpy(room->logits, logits, r->n_vocab * sizeof(*logits));
    if (t->grammar) {
        grammar_mask(t->grammar, room->mask);
        mask = room->mask;
    }
    return sampler_pick(t->sampler, room->logits, mask, t->n_tokens);
}

/* Show the text of <id>, an ordinary token. */
static enum err show(struct seq_text *t, const struct seq_rules *r, int32_t id)
{
    size_t was = t->held.len;
    size_t n_lps = t->n_lps;
    enum err e;

    e = detok_push(&t->detok, r->vocab, id, r->job->keep_special, &t->held);
    if (e != ERR_OK)
        return e;
    judge(t, r, was);
    if (!t->over && r->job->logprobs && n_lps > 0)
        t->lps[n_lps - 1].end = t->made + (t->detok.n_held > 0 ? 1 : 0);
    return ERR_OK;
}

/* End the text for want of more tokens: what was held back for a character
 * that is not complete is shown as a replacement. */
static enum err run_out(struct seq_text *t, const struct seq_rules *r,
                        enum gen_finish how)
{
    size_t was = t->held.len;
    enum err e = detok_finish(&t->detok, &t->held);

    if (e != ERR_OK)
        return e;
    judge(t, r, was);
    if (!t->over)
        end_text(t, how);
    return ERR_OK;
}

enum err seq_text_cut(struct seq_text *t, const struct seq_rules *r)
{
    return run_out(t, r, GEN_FINISH_CUT);
}

static enum err take_in(struct seq_text *t, const struct seq_rules *r,
                        const struct chosen *c)
{
    const int32_t id = c->id;
    bool must_end = false;
    enum err e = ERR_OK;

    t->n_tokens++;
    sampler_see(t->sampler, id, true);
    if (is_stop_id(r, id)) {
        t->stop_id = id;
        return run_out(t, r, GEN_FINISH_STOP);
    }
    if (t->grammar) {
        if (!grammar_accept(t->grammar, id))
            return ERR_INTERNAL;
        must_end = grammar_must_end(t->grammar);
    }
    if (r->job->logprobs)
        e = hold_logprob(t, r, c);
    if (e == ERR_OK)
        e = show(t, r, id);
    if (e != ERR_OK || t->over)
        return e;
    if (must_end)
        return run_out(t, r, GEN_FINISH_STOP);
    if (t->n_tokens >= r->most_tokens)
        return run_out(t, r, GEN_FINISH_LENGTH);
    return ERR_OK;
}

enum err seq_text_next(struct seq_text *t, const struct seq_rules *r,
                       const struct seq_scratch *room, const float *logits,
                       int32_t *id_out)
{
    const struct chosen c = {.id = pick(t, r, room, logits), .logits = logits};
    enum err e;

    if (c.id < 0)
        return ERR_INTERNAL;
    e = take_in(t, r, &c);
    if (e == ERR_OK)
        *id_out = c.id;
    return e;
}

enum err seq_text_ask(struct seq_text *t, const struct seq_rules *r,
                      uint64_t *mask, struct krn_draw *out)
{
    if (t->grammar)
        grammar_mask(t->grammar, mask);
    if (!sampler_ask(t->sampler, t->grammar ? mask : NULL, t->n_tokens, out))
        return ERR_NOMEM;
    out->logprobs = r->job->logprobs;
    out->n_top = r->job->top_logprobs;
    return ERR_OK;
}

enum err seq_text_take(struct seq_text *t, const struct seq_rules *r,
                       const struct krn_drawn *got, int32_t *id_out)
{
    const struct chosen c = {.id = got->id, .drawn = got};
    enum err e;

    if (c.id < 0)
        return ERR_INTERNAL;
    e = take_in(t, r, &c);
    if (e == ERR_OK)
        *id_out = c.id;
    return e;
}

/* --- events ------------------------------------------------------------- */

enum err seq_text_flush(struct seq_text *t, const struct seq_rules *r,
                        struct gen_event **out)
{
    size_t keep = t->over || !r->stops ? 0 : stop_held(r->stops, t->stop_at);
    size_t n = t->held.len - keep;
    size_t n_lps = 0;
    struct gen_event *ev;
    struct gen_logprob *to;

    while (n_lps < t->n_lps && (t->over || t->lps[n_lps].end <= t->sent + n))
        n_lps++;
    *out = NULL;
    if (n == 0 && n_lps == 0)
        return ERR_OK;
    ev = gen_event_new(r->job, GEN_EV_TEXT, n, n_lps, 0);
    if (!ev)
        return ERR_NOMEM;
    to = gen_event_logprobs(ev);
    for (size_t i = 0; i < n_lps; i++)
        to[i] = t->lps[i].lp;
    t->n_lps -= n_lps;
    if (n_lps > 0)
        memmove(t->lps, t->lps + n_lps, t->n_lps * sizeof(*t->lps));
    if (n > 0)
        memcpy(gen_event_text(ev), t->held.p, n);
    buf_consume(&t->held, n);
    t->sent += n;
    *out = ev;
    return ERR_OK;
}
