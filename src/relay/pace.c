/* pace.c - Tokens of a stream are known when it has ended. Until then events
 * are counted: providers send one token in each. Where events are so long that
 * this cannot be, bytes tell: what is held ahead is reckoned by as many tokens
 * as text may have, the end of a budget by as many as it mostly has. */
#include "relay/pace.h"

#include "conf/conf.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"

#define LONG_EVENT 24 /* bytes of text in an event: more than one token */
#define DENSE_TOK  2  /* bytes of a token where there are many */
#define USUAL_TOK  3  /* of most */

/* Tokens seen so far, if one of a long event has <bytes>. */
static uint64_t seen_tokens(const struct reply *out, uint64_t bytes)
{
    if (out->text_bytes / LONG_EVENT > out->events)
        return out->text_bytes / bytes;
    return out->events;
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

enum pace pace_next(struct exchange *x)
{
    const uint64_t held = quota_output(x);
    const uint64_t ahead = x->conf->budgets.stream_hold * x->ask->n;
    uint64_t guess;

    if (held == UINT64_MAX || x->work->engine) /* that counts for itself */
        return PACE_GO;
    guess = most_of(cost_guess_output(x->out), seen_tokens(x->out, DENSE_TOK));
    if (guess + ahead / 2 < held)
        return PACE_GO;
    if (held < quota_cap(x))
        (void)quota_grow(x, held + ahead);
    if (seen_tokens(x->out, USUAL_TOK) < quota_output(x))
        return PACE_GO;
    /* The upstream goes on while others are waited for: there was time for that
     * since the last half of what is held ahead began. */
    return quota_waits_for_lease(x) ? PACE_WAIT : PACE_END;
}
