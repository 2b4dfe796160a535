/* bill.c - Outcome classes: E exact usage is known; Z nothing was started or
 * it was refused in full; C a part passed and is estimated; H the upstream may
 * have worked and nobody can tell. */
#include "settle/bill.h"

#include <string.h>

#include "exchange/charge.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "exchange/quota.h"
#include "exchange/tape.h"
#include "store/row.h"

#define BYTES_PER_TOK 4 /* of plain English; estimates only */

static uint64_t tok_of_bytes(uint64_t bytes)
{
    return (bytes + BYTES_PER_TOK - 1) / BYTES_PER_TOK;
}

/* Whether the replies are generated text: vectors, ranks and pictures are many
 * bytes of no output tokens that bytes could tell. */
static bool is_text(enum endpoint_usage u)
{
    return u == ENDPOINT_USAGE_CHAT || u == ENDPOINT_USAGE_RESPONSES ||
           u == ENDPOINT_USAGE_MESSAGES || u == ENDPOINT_USAGE_AUDIO;
}

/* Bytes of a collected reply, which the client may have taken over. */
static uint64_t collected_bytes(const struct exchange *x)
{
    return x->out->bytes > x->work->body.len ? x->out->bytes
                                             : x->work->body.len;
}

static void at_least(uint64_t *tok, uint64_t least)
{
    if (*tok < least)
        *tok = least;
}

static void estimate(const struct exchange *x, struct usage_row *row)
{
    if ((x->out->usage.said & USAGE_INPUT) == 0)
        at_least(&row->tok[ROW_TOK_INPUT], tok_of_bytes(x->in->body_bytes));
    if (x->out->streaming)
        at_least(&row->tok[ROW_TOK_OUTPUT], cost_guess_output(x->out));
    else if (x->work->collected && is_text(x->in->ep.row->usage) &&
             (x->out->usage.said & USAGE_OUTPUT) == 0)
        at_least(&row->tok[ROW_TOK_OUTPUT], tok_of_bytes(collected_bytes(x)));
    row->usage_source = ROW_SOURCE_ESTIMATED;
    row->flags |= ROW_ESTIMATED;
}

/* Whether the model may have worked for this request. An error that is all a
 * stream says is a refusal, whatever its status. */
static bool was_served(const struct exchange *x)
{
    if (x->out->end == REPLY_INCOMPLETE && !exchange_has_failed(x) &&
        x->out->events == 0 && !x->out->usage.present)
        return false;
    if (x->out->streaming)
        return true;
    return x->work->head && x->work->head->status < 300;
}

/* Whether the reply said all that it used: it came whole, or its usage came
 * with its end, be that a failure. */
static bool is_exact(const struct exchange *x)
{
    const bool is_lost = x->work->told && x->work->told->present;

    return cost_is_told(x) &&
           (x->out->end == REPLY_COMPLETE || x->out->usage_final ||
            x->work->collected || is_lost);
}

static enum outcome outcome_of(const struct exchange *x)
{
    if (x->work->attempts == 0)
        return OUTCOME_Z;
    if (is_exact(x) || x->made->counted)
        return OUTCOME_E;
    if (was_served(x))
        return OUTCOME_C;
    if (x->work->head || !x->work->sent)
        return OUTCOME_Z; /* a complete error reply; or nobody was asked */
    if (x->fail.err == ERR_CLIENT_GONE || x->fail.err == ERR_DRAINING)
        return OUTCOME_H;
    return err_row(x->fail.err)->outcome;
}

/* Under a hard budget what nobody can tell is what was held for it: no guess
 * could be sure not to be below the truth, nor within the budget. Counts that
 * were said stay where they are more. */
static void charge_held(const struct quota_held *held, struct usage_row *row)
{
    const uint64_t in = row_input_tokens(row->tok);
    const uint64_t out = row_output_tokens(row->tok);

    if (held->input_tok > in)
        row->tok[ROW_TOK_INPUT] += held->input_tok - in;
    if (held->output_tok > out)
        row->tok[ROW_TOK_OUTPUT] += held->output_tok - out;
    row->usage_source = ROW_SOURCE_ESTIMATED;
    row->flags |= ROW_ESTIMATED;
}

/* Whether tokens are counted for this operation at all. */
static bool is_metered(const struct exchange *x)
{
    enum endpoint_usage u = x->in->ep.row->usage;

    /* Counting tokens generates none and is free at every provider. */
    return u != ENDPOINT_USAGE_NONE && u != ENDPOINT_USAGE_COUNT;
}

/* Note what it costs, and what its price lacks. */
static void put_cost(struct usage_row *row, const struct price_cost *c)
{
    row->cost_nusd = c->nusd;
    if ((c->marks & (PRICE_MISSING | PRICE_PART)) != 0)
        row->flags |= ROW_UNPRICED;
    if ((c->marks & PRICE_STALE) != 0)
        row->flags |= ROW_STALE_PRICE;
}

/* What is charged: nothing where nothing was begun. */
static void charge(struct exchange *x, struct cost_use *use,
                   struct usage_row *row)
{
    struct price_cost c;

    if (x->bill->outcome == OUTCOME_Z)
        return;
    memcpy(use->tok, row->tok, sizeof(use->tok));
    c = cost_of(x, use, x->bill->estimated);
    x->bill->price_marks = c.marks;
    put_cost(row, &c);
}

/* What was paid for the reply of <x> by whom it was made for. Who leaves a call
 * that goes on had what was seen of it, at a price that nobody knows yet. */
static struct tape_sum sum_of(const struct exchange *x)
{
    struct tape_sum sum = {.flags = ROW_UNPRICED};
    struct cost_use use;

    if (x->found->sum)
        return *x->found->sum;
    sum.usage_source = (uint8_t)cost_use_of(x, &use);
    memcpy(sum.tok, use.tok, sizeof(sum.tok));
    if (row_input_tokens(sum.tok) + row_output_tokens(sum.tok) > 0)
        return sum;
    sum.flags = 0;
    if (x->out->events == 0 || !is_metered(x))
        return sum;
    sum.tok[ROW_TOK_INPUT] = tok_of_bytes(x->in->body_bytes);
    sum.tok[ROW_TOK_OUTPUT] = cost_guess_output(x->out);
    sum.usage_source = ROW_SOURCE_ESTIMATED;
    sum.flags = ROW_UNPRICED | ROW_ESTIMATED;
    return sum;
}

/* A reply that was made for another saves what it cost; what is charged for it
 * is the rule's affair. One that did not come saves nothing. */
static void bill_shared(struct exchange *x, struct usage_row *row)
{
    const struct tape_sum sum = sum_of(x);
    const bool is_lost = exchange_has_failed(x) && x->out->end != REPLY_GONE;

    x->bill->outcome = is_lost ? OUTCOME_Z : OUTCOME_E;
    if (is_lost)
        return;
    row->usage_source = sum.usage_source;
    row->saved_input_tok = row_input_tokens(sum.tok);
    row->saved_output_tok = row_output_tokens(sum.tok);
    row->saved_nusd = sum.cost_nusd;
    if (!charge_is_full(x))
        return;
    memcpy(row->tok, sum.tok, sizeof(row->tok));
    row->cost_nusd = sum.cost_nusd;
    row->flags |= sum.flags & (ROW_ESTIMATED | ROW_UNPRICED | ROW_STALE_PRICE);
}

/* What the row says in short. */
static void sum_up(struct bill *b, const struct usage_row *row)
{
    b->estimated = (row->flags & ROW_ESTIMATED) != 0;
    b->cost_nusd = row->cost_nusd;
    b->input_tok = row_input_tokens(row->tok);
    b->cached_tok = row->tok[ROW_TOK_CACHE_READ];
    b->output_tok = row_output_tokens(row->tok);
}

static enum row_cache cache_of(const struct exchange *x)
{
    static const enum row_cache of[RECALL_HOW_COUNT] = {
        [RECALL_BYPASS] = ROW_CACHE_NONE,
        [RECALL_MISS] = ROW_CACHE_MISS,
        [RECALL_HIT] = ROW_CACHE_HIT,
        [RECALL_JOINED] = ROW_CACHE_JOINED,
    };

    return of[x->found->how];
}

void bill_compute(struct exchange *x, struct usage_row *row)
{
    struct bill *b = x->bill;
    struct quota_held held = {.cost_nusd = 0};
    struct cost_use use;

    row->cache = (uint8_t)cache_of(x);
    if (charge_is_shared(x)) {
        bill_shared(x, row);
        sum_up(b, row);
        return;
    }
    b->outcome = outcome_of(x);
    row->usage_source = (uint8_t)cost_use_of(x, &use);
    memcpy(row->tok, use.tok, sizeof(row->tok));
    row->audio_ms = use.audio_ms;
    if (b->outcome == OUTCOME_H)
        row->flags |= ROW_IN_DOUBT;
    if (b->outcome == OUTCOME_C || b->outcome == OUTCOME_H) {
        if (quota_held(x, &held))
            charge_held(&held, row);
        else if (is_metered(x))
            estimate(x, row);
    }
    b->estimated = (row->flags & ROW_ESTIMATED) != 0;
    charge(x, &use, row);
    if (b->estimated && row->cost_nusd < held.cost_nusd)
        row->cost_nusd = held.cost_nusd;
    sum_up(b, row);
}

/* What may have been worked for is all that was held, or else the input: of the
 * output nothing was seen. */
static void doubt_leg(const struct exchange *x, const struct leg *leg,
                      struct quota_held *held, struct usage_row *row)
{
    row->flags |= ROW_IN_DOUBT;
    if (quota_part_held(leg->part, held)) {
        charge_held(held, row);
    } else if (is_metered(x)) {
        if ((leg->usage.said & USAGE_INPUT) == 0)
            at_least(&row->tok[ROW_TOK_INPUT], tok_of_bytes(x->in->body_bytes));
        row->usage_source = ROW_SOURCE_ESTIMATED;
        row->flags |= ROW_ESTIMATED;
    }
}

unsigned bill_leg(const struct exchange *x, const struct leg *leg,
                  struct usage_row *row)
{
    struct quota_held held = {.cost_nusd = 0};
    struct price_cost c;
    struct cost_use use;

    if (leg->free)
        return 0;
    row->usage_source = (uint8_t)cost_use_of_leg(x, leg, &use);
    memcpy(row->tok, use.tok, sizeof(row->tok));
    row->audio_ms = use.audio_ms;
    if (!cost_is_told_of_leg(x, leg))
        doubt_leg(x, leg, &held, row);
    memcpy(use.tok, row->tok, sizeof(use.tok));
    c = cost_of_leg(x, leg, &use, (row->flags & ROW_ESTIMATED) != 0);
    put_cost(row, &c);
    if (row->cost_nusd < held.cost_nusd)
        row->cost_nusd = held.cost_nusd;
    return c.marks;
}
