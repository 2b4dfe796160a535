/* afford.c - See afford.h. A stream holds only its beginning: relay counts it
 * and holds more as it goes. What answers in one piece holds all of it. */
#include "serve/afford.h"

#include "account/price.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "serve/bound.h"
#include "serve/route.h"

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t all;

    return __builtin_mul_overflow(a, b, &all) ? UINT64_MAX : all;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Whether relay counts what <x> streams. */
static bool is_counted(const struct exchange *x)
{
    enum endpoint_end end = x->in->ep.row->end;

    return x->ask->stream &&
           (end == ENDPOINT_END_CHAT || end == ENDPOINT_END_RESPONSES ||
            end == ENDPOINT_END_MESSAGES);
}

static void need_of(const struct exchange *x, const struct bound *b,
                    struct quota_need *out)
{
    const struct conf_budgets *conf = &x->conf->budgets;
    uint64_t least = conf->min_output;

    if (least < b->least_tok)
        least = b->least_tok;
    *out = (struct quota_need){.input_tok = b->input_tok,
                               .output_tok = b->output_tok,
                               .first_tok = b->output_tok,
                               .extra_tok = b->extra_tok,
                               .floor_tok = times(least, b->choices),
                               .audio_ms = b->audio_ms,
                               .kinds = b->kinds};
    if (is_counted(x) && !b->unseen)
        out->first_tok =
            least_of(b->output_tok, times(conf->stream_hold, b->choices));
}

static enum verdict hold(struct exchange *x, const struct bound *b)
{
    struct quota_need need;

    need_of(x, b, &need);
    switch (quota_ask(x, &need)) {
    case QUOTA_HELD:
        if (b->cap_tok > 0) {
            x->work->cap_tok = least_of(b->cap_tok, quota_cap(x) / b->choices);
            x->work->capped = x->work->cap_tok < b->cap_tok;
            x->work->cap_added = b->caps == 0;
        }
        return VERDICT_GO;
    case QUOTA_WAIT:
        return VERDICT_WAIT;
    default:
        return VERDICT_SKIP;
    }
}

enum verdict afford_run(struct exchange *x, const struct choice *c)
{
    struct bound_rules rules = {.model = c->model,
                                .default_output =
                                    x->conf->budgets.default_output,
                                .media_tok = x->conf->budgets.media_tokens,
                                .allow = x->conf->budgets.allow_fields,
                                .n_allow = x->conf->budgets.n_allow_fields};
    const struct price_quote price =
        price_find(&x->conf->price, c->up ? c->up->name : c->engine->name,
                   c->model, !c->up, x->start_wall_ms);
    struct bound b;
    struct bound_no no;
    enum err e = quota_open(x, &price, &x->work->quota);

    if (e != ERR_OK)
        return exchange_fail(x, e, NULL);
    rules.units = quota_units(x);
    rules.priced = price.price ? price.price->given : 0;
    if (rules.units == 0 || c->engine)
        return VERDICT_GO;
    e = bound_of(x, &rules, &b, &no);
    if (e != ERR_OK) {
        stats_inc(x->w->stats, STAT_BUDGET_UNBOUNDED);
        return bound_fail(x, e, &no);
    }
    return b.free ? VERDICT_GO : hold(x, &b);
}
