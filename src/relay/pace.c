/* pace.c - Tokens of a stream are known when it has ended. Until then they are
 * reckoned: providers mostly send one in each event, and of longer events the
 * text tells how many there may be. */
#include "relay/pace.h"

#include "conf/conf.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"

#define LARGE_TOK 16 /* bytes: no text has tokens as large on average */

bool pace_is_on(const struct exchange *x)
{
    /* the engine counts for itself */
    return !x->work->engine && quota_output(x) != UINT64_MAX;
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

enum pace pace_next(struct exchange *x)
{
    const uint64_t held = quota_output(x);
    const uint64_t ahead = x->conf->budgets.stream_hold * x->ask->n;
    const uint64_t guess = most_of(cost_guess_output(x->out), x->out->text_tok);

    if (held < quota_cap(x) && guess + ahead / 2 >= held)
        (void)quota_grow(x, most_of(held, guess) + ahead);
    /* For others only a lease is waited for, since the upstream goes on
     * meanwhile: there was time for them since the last half of what is held
     * ahead began. */
    if (x->out->text_tok < quota_output(x))
        return PACE_GO;
    return quota_waits_for_lease(x) ? PACE_WAIT : PACE_GO;
}

/* Whether <tok> tokens more are too many. Where all that the upstream was
 * allowed is held, its own count is the end, and only what cannot be within it
 * is cut; else what may have as many tokens as that. */
static bool is_past(const struct exchange *x, uint64_t tok)
{
    const struct reply *out = x->out;
    const uint64_t held = quota_output(x);

    if (held < quota_cap(x))
        return out->text_tok + tok > held;
    return most_of(out->events + 1, out->text_bytes / LARGE_TOK) > held;
}

bool pace_take(struct exchange *x, uint64_t tok)
{
    if (tok > 0 && is_past(x, tok) && !quota_waits_for_lease(x))
        return false;
    x->out->text_tok += tok;
    return true;
}
