/* pace.c - Tokens of a stream are known when it has ended. Until then events
 * are counted: providers send one token in each. Where events are so long that
 * this cannot be, bytes tell. */
#include "relay/pace.h"

#include "conf/conf.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"

#define LONG_EVENT 24 /* bytes of text in an event: more than one token */
#define USUAL_TOK  3  /* bytes of a token of most text */

/* Whether an event of <out> has more than a token. */
static bool is_bundled(const struct reply *out)
{
    return out->text_bytes / LONG_EVENT > out->events;
}

/* Have more held for what comes. Of tokens in bundles nobody knows how many
 * come at once: then all there may be is held, if there is room for it. */
static void hold_more(struct exchange *x)
{
    const uint64_t held = quota_output(x), cap = quota_cap(x);
    const uint64_t ahead = x->conf->budgets.stream_hold * x->ask->n;

    if (held >= cap)
        return;
    if (is_bundled(x->out))
        (void)quota_grow(x, cap);
    else if (cost_guess_output(x->out) + ahead / 2 >= held)
        (void)quota_grow(x, held + ahead);
}

/* Tokens seen so far. A byte may be one: where the budget, and not the
 * upstream's own cap, is the end, that is how bundles count. */
static uint64_t seen_tokens(const struct exchange *x)
{
    if (!is_bundled(x->out))
        return x->out->events;
    return quota_output(x) < quota_cap(x) ? x->out->text_bytes
                                          : x->out->text_bytes / USUAL_TOK;
}

enum pace pace_next(struct exchange *x)
{
    /* the engine counts for itself */
    if (quota_output(x) == UINT64_MAX || x->work->engine)
        return PACE_GO;
    hold_more(x);
    if (seen_tokens(x) < quota_output(x))
        return PACE_GO;
    /* The upstream goes on while others are waited for: there was time for that
     * since the last half of what is held ahead began. */
    return quota_waits_for_lease(x) ? PACE_WAIT : PACE_END;
}
