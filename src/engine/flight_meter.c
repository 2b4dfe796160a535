/* flight_meter.c - What a request may make, and what it made, to the token and
 * at any moment: events only tell later.
 *
 * Under hard budgets its input and a first part of its output are held before
 * its jobs are submitted, and its meter allows what is held and no more. With
 * half a part left the next one is held, so that choices rest only where a
 * budget, or its disk, is slow to answer. All choices of all prompts draw on
 * one meter, token by token, as the scheduler comes to them: at the end of a
 * budget each has got about as much as the others, and all together exactly
 * what was held. When there is no more they end where they are: a stream by an
 * error event, a whole reply as if it had been asked for that many tokens. */
#include "conf/conf.h"
#include "engine/meter.h"
#include "engine/port.h"
#include "exchange/quota.h"

/* Tokens of a choice that are held at once. */
#define PART_TOKENS 256

/* --- what is made ------------------------------------------------------- */

/* Give the jobs of <f> their meter, which allows <most> tokens. */
static enum err meter_open(struct flight *f, uint64_t most)
{
    f->meter = meter_new(most);
    if (!f->meter)
        return ERR_NOMEM;
    for (unsigned i = 0; i < f->n_jobs; i++)
        f->prep->jobs[i]->meter = meter_ref(f->meter);
    return ERR_OK;
}

void flight_meter_note(struct flight *f)
{
    struct made *made = f->x->made;
    struct meter_counts n;

    if (!f->meter)
        return;
    meter_read(f->meter, &n);
    if (n.prompt_tok == 0 && !f->head_sent)
        return; /* nothing was begun, nor said to be */
    made->counted = true;
    made->input_tok = n.prompt_tok - n.cached_tok;
    made->cached_tok = n.cached_tok;
    made->output_tok = n.output_tok;
}

void flight_meter_close(struct flight *f)
{
    if (!f->meter)
        return;
    meter_close(f->meter);
    flight_meter_note(f);
}

/* --- what may be made --------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What <f> needs of the budgets: its prompts are known to the token. */
static struct quota_need need_of(struct flight *f)
{
    const uint64_t worth = f->x->conf->budgets.min_output;
    struct quota_need need = {.kinds = PRICE_KIND(ROW_TOK_INPUT) |
                                       PRICE_KIND(ROW_TOK_CACHE_READ) |
                                       PRICE_KIND(ROW_TOK_OUTPUT)};

    f->n_choices = 0;
    for (unsigned i = 0; i < f->n_jobs; i++) {
        const struct gen_job *j = f->prep->jobs[i];

        need.input_tok += j->n_tokens;
        if (j->kind != GEN_TEXT || j->max_tokens == 0)
            continue;
        f->n_choices += j->n;
        need.output_tok += (uint64_t)j->max_tokens * j->n;
        need.first_tok += least(j->max_tokens, PART_TOKENS) * j->n;
        need.floor_tok += least(j->max_tokens, worth > 0 ? worth : 1) * j->n;
    }
    f->most_tok = need.output_tok;
    f->first_tok = need.first_tok;
    f->feed_tok = need.first_tok / 2;
    return need;
}

enum err flight_hold(struct flight *f)
{
    struct quota_need need;

    f->asking = false;
    f->woken = false;
    if (quota_units(f->x) == 0)
        return meter_open(f, METER_ANY);
    need = need_of(f);
    switch (quota_ask(f->x, &need)) {
    case QUOTA_HELD:
        return meter_open(f, quota_output(f->x));
    case QUOTA_WAIT:
        f->asking = true;
        return ERR_AGAIN;
    default: /* what a second attempt does not afford fails nothing yet */
        return exchange_has_failed(f->x) ? f->x->fail.err : ERR_QUOTA;
    }
}

/* Have the scheduler see what the meter allows now. */
static void look(struct flight *f)
{
    f->is_short = false;
    for (unsigned i = 0; i < f->n_jobs; i++)
        if (f->jobs[i].open)
            sched_look(f->jobs[i].sched, f->jobs[i].id);
}

/* There is no more: <why>. What is allowed is still made. */
static void stop_feeding(struct flight *f, enum err e, const char *why)
{
    f->feed_tok = 0;
    f->cut_err = e;
    f->cut_text = why;
    meter_end(f->meter);
    look(f);
}

/* What is held has become more, by nothing maybe. */
static void feed(struct flight *f)
{
    meter_raise(f->meter, quota_output(f->x));
    f->feed_tok = f->first_tok / 2;
    if (f->is_short)
        look(f);
}

void flight_feed(struct flight *f)
{
    uint64_t held, left;

    if (f->woken)
        f->growing = false;
    f->woken = false;
    if (!f->meter || f->growing || f->cut_text || f->most_tok == 0)
        return;
    held = quota_output(f->x);
    left = meter_left(f->meter);
    if (!f->is_short && (left > f->feed_tok || held >= f->most_tok))
        return;
    switch (quota_grow(f->x, least(held + f->first_tok, f->most_tok))) {
    case QUOTA_HELD:
        feed(f);
        break;
    case QUOTA_WAIT:
        f->growing = true;
        break;
    case QUOTA_OVER:
        if (f->is_short)
            stop_feeding(f, ERR_BUDGET_CUT, quota_cut_text(f->x));
        else
            f->feed_tok = left / 2; /* others may give back until then */
        break;
    default:
        if (f->is_short)
            stop_feeding(f, ERR_LEDGER, err_row(ERR_LEDGER)->message);
        break;
    }
}

void flight_meter_event(struct flight *f, const struct gen_event *ev)
{
    flight_meter_note(f);
    if (ev->kind == GEN_EV_FINISH && ev->finish == GEN_FINISH_CUT)
        f->cut = true;
    /* One that was sent before more was held is out of date. */
    if (ev->kind == GEN_EV_SHORT) {
        f->is_short = true;
        if (meter_left(f->meter) >= f->n_choices)
            look(f);
    }
    flight_feed(f);
}
