/* quota_fit.c - The arithmetic of what a request takes and what fits. */
#include "exchange/quota_priv.h"

static int64_t clamp(uint64_t v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct price_bound quota_bound(const struct quota *q, uint64_t output_tok)
{
    return (struct price_bound){
        .input_tok = q->p.need.input_tok,
        .output_tok = add(output_tok, q->p.need.extra_tok),
        .audio_ms = q->p.need.audio_ms,
        .kinds = q->p.need.kinds,
    };
}

struct budget_amounts quota_amounts(const struct quota *q, uint64_t output_tok)
{
    const struct price_bound b = quota_bound(q, output_tok);

    return (struct budget_amounts){
        .of = {[BUDGET_TOKENS] = clamp(add(b.input_tok, b.output_tok)),
               [BUDGET_INPUT_TOKENS] = clamp(b.input_tok),
               [BUDGET_OUTPUT_TOKENS] = clamp(b.output_tok),
               [BUDGET_NUSD] = price_worst_case(&q->p.price, &b).nusd}};
}

/* <limit> less <used>, which <most> bounds from above. */
static bool fit_tokens(int64_t limit, uint64_t used, uint64_t *most)
{
    if (limit == INT64_MAX)
        return true;
    if (used > (uint64_t)limit)
        return false;
    if ((uint64_t)limit - used < *most)
        *most = (uint64_t)limit - used;
    return true;
}

bool quota_fit(const struct quota *q, const struct budget_amounts *room,
               uint64_t *most)
{
    const uint64_t in = q->p.need.input_tok, extra = q->p.need.extra_tok;
    struct price_bound b;
    uint64_t out;

    if ((uint64_t)room->of[BUDGET_INPUT_TOKENS] < in ||
        !fit_tokens(room->of[BUDGET_TOKENS], add(in, extra), most) ||
        !fit_tokens(room->of[BUDGET_OUTPUT_TOKENS], extra, most))
        return false;
    if (room->of[BUDGET_NUSD] == INT64_MAX)
        return true;
    b = quota_bound(q, *most);
    if (!price_fit_output(&q->p.price, &b, room->of[BUDGET_NUSD], &out) ||
        out < extra)
        return false;
    *most = out - extra;
    return true;
}

static bool is_same_need(const struct quota_need *a, const struct quota_need *b)
{
    return a->input_tok == b->input_tok && a->output_tok == b->output_tok &&
           a->first_tok == b->first_tok && a->extra_tok == b->extra_tok &&
           a->floor_tok == b->floor_tok && a->audio_ms == b->audio_ms &&
           a->kinds == b->kinds;
}

bool quota_keep(struct quota *q, const struct quota_need *need)
{
    const bool is_same = is_same_need(need, &q->p.wish);
    const uint64_t least = is_same ? q->p.output_tok : need->first_tok;
    uint64_t most = is_same ? least : need->output_tok;
    struct quota new = *q;
    struct price_bound b;

    if (!is_same)
        new.p.need = *need;
    b = quota_bound(&new, least);
    if (((q->units & QUOTA_UNIT(BUDGET_NUSD)) != 0 &&
         price_worst_case(&q->p.price, &b).marks != 0) ||
        !quota_fit(&new, &q->p.hold.hold.most, &most) || most < least)
        return false;
    q->p.need = new.p.need;
    q->p.wish = *need;
    q->p.output_tok = most;
    return true;
}
