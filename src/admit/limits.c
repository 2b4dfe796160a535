/* limits.c - Decides what counts and what the refused client is told. The
 * place, the count and the charge go back in settle, or with the exchange. */
#include "admit/limits.h"

#include <inttypes.h>

#include "account/bucket.h"
#include "account/key.h"
#include "account/keytab.h"
#include "account/rate.h"
#include "admit/weigh.h"
#include "base/clock.h"
#include "base/log.h"
#include "exchange/exchange.h"

static const char *whose(const struct rate_refusal *why)
{
    return why->of_team ? "this key's team" : "this key";
}

/* What never fits is an error that no wait mends. */
static enum verdict refuse_size(struct exchange *x,
                                const struct rate_refusal *why)
{
    return exchange_fail(x, ERR_RATE_SIZE,
                         "The request counts as %" PRIu64 " tokens, and %s may "
                         "use %" PRIu64 " a minute: it can never be sent. Ask "
                         "for less output or shorten the input.",
                         why->asked, whose(why), why->limit);
}

static enum verdict refuse_wait(struct exchange *x,
                                const struct rate_refusal *why)
{
    char span[CLOCK_SPAN_SIZE];

    clock_format_span(why->wait_ms, span);
    switch (why->kind) {
    case RATE_TOKENS:
        return exchange_fail(x, ERR_RATE_TOKENS,
                             "Rate limit of %s reached: %" PRIu64 " tokens a "
                             "minute, and the request counts as %" PRIu64 ". "
                             "Please try again in %s.",
                             whose(why), why->limit, why->asked, span);
    case RATE_PARALLEL:
        return exchange_fail(x, ERR_RATE_PARALLEL,
                             "Rate limit of %s reached: %" PRIu64 " requests "
                             "at once. Please try again when one has ended.",
                             whose(why), why->limit);
    default:
        return exchange_fail(x, ERR_RATE_REQUESTS,
                             "Rate limit of %s reached: %" PRIu64 " requests a "
                             "minute. Please try again in %s.",
                             whose(why), why->limit, span);
    }
}

static enum verdict refuse(struct exchange *x, const struct rate_refusal *why)
{
    enum verdict v;

    stat_bump(&x->w->stats->rate_refused[why->kind], 1);
    if (why->wait_ms == BUCKET_NEVER)
        return refuse_size(x, why);
    v = refuse_wait(x, why);
    x->fail.retry_after_ms = (int64_t)why->wait_ms;
    return v;
}

enum verdict limits_enter(struct exchange *x, const struct key *key)
{
    struct rate_hold *h;
    struct rate_refusal why;
    struct rate *team;

    if (!key->rate)
        return VERDICT_GO;
    h = arena_alloc(x->arena, sizeof(*h));
    if (!h)
        return exchange_fail(x, ERR_NOMEM, NULL);
    team = keytab_team_rate(x->w->svc->keys, key->spec.team);
    rate_hold_init(h, rate_ref(key->rate), team);
    x->who->rate = h;
    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) != 0 ||
        rate_enter(h, clock_mono_us(), &why))
        return VERDICT_GO;
    return refuse(x, &why);
}

enum verdict hold_run(struct exchange *x)
{
    struct rate_hold *h = x->who->rate;
    struct rate_refusal why;

    if (!h || !h->entered || !rate_counts_tokens(h) || !weigh_is_metered(x) ||
        rate_charge(h, weigh_tokens(x), clock_mono_us(), &why))
        return VERDICT_GO;
    return refuse(x, &why);
}
