/* pace.c - Tokens of a stream are known when it has ended. Until then events
 * are counted: providers send one token in each. Where events are so long that
 * this cannot be, bytes tell. */
#include "relay/pace.h"

#include "conf/conf.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"

#define LONG_EVENT 12 /* bytes of text in an event: more than one token */

/* Tokens seen so far: what a stream is cut by. */
static uint64_t seen_tokens(const struct reply *out)
{
    if (out->text_bytes / LONG_EVENT > out->events)
        return cost_guess_output(out);
    return out->events;
}

enum pace pace_next(struct exchange *x)
{
    const uint64_t held = quota_output(x);
    const uint64_t ahead = x->conf->budgets.stream_hold * x->ask->n;
    uint64_t guess;
    enum quota_answer answer;

    if (held == UINT64_MAX || x->work->engine) /* that counts for itself */
        return PACE_GO;
    guess = cost_guess_output(x->out);
    if (guess + ahead / 2 < held)
        return PACE_GO;
    answer = held < quota_cap(x) ? quota_grow(x, held + ahead) : QUOTA_OVER;
    if (seen_tokens(x->out) < quota_output(x))
        return PACE_GO;
    return answer == QUOTA_WAIT ? PACE_WAIT : PACE_END;
}
