/* serve.c - Chooses a target and runs attempts until one commits. Today there
 * is one attempt; a failed one ends in an error that says what happened. What
 * it may cost is held before it is sent. */
#include "serve/serve.h"

#include "base/log.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "serve/afford.h"
#include "serve/attempt.h"
#include "serve/route.h"

/* Send <x> where <c> says, once its cost is held. */
static enum verdict begin(struct exchange *x, const struct choice *c)
{
    enum verdict v = afford_run(x, c);
    enum err e;

    if (v != VERDICT_GO)
        return v;
    e = attempt_start(x, c);
    if (e == ERR_OK)
        return VERDICT_WAIT;
    (void)exchange_fail(x, e, NULL);
    x->fail.retry_after_ms = 1000;
    return VERDICT_SKIP;
}

enum verdict serve_run(struct exchange *x)
{
    const struct route_ask ask = {.model = x->ask->model};
    struct route_none none;
    struct choice *c;

    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) != 0) {
        x->w->svc->local(x);
        return VERDICT_GO;
    }
    c = arena_alloc(x->arena, sizeof(*c));
    if (!c)
        return exchange_fail(x, ERR_NOMEM, NULL);
    if (route_choose(x, &ask, c, &none) != ERR_OK)
        return route_fail(x, &none);
    x->stage_data = c;
    return begin(x, c);
}

/* What the budgets were waited for may be there: it may be sent, or go on; or
 * nobody reads on any more for a client that has left. */
static enum verdict quota_resume(struct exchange *x)
{
    struct producer *p = x->work->producer;

    if (x->work->attempts == 0)
        return begin(x, x->stage_data);
    if (quota_is_lonely(x)) {
        attempt_cancel(x);
        return VERDICT_SKIP;
    }
    if (p && p->ops->quota_ready)
        p->ops->quota_ready(p);
    return VERDICT_WAIT;
}

static enum verdict gone(struct exchange *x)
{
    (void)exchange_fail(x, ERR_CLIENT_GONE, NULL);
    if (x->work->producer && quota_linger(x))
        return VERDICT_WAIT;
    attempt_cancel(x);
    return VERDICT_SKIP;
}

enum verdict serve_resume(struct exchange *x, enum wake why)
{
    switch (why) {
    case WAKE_HEAD:
        attempt_drop_request(x);
        return VERDICT_GO;
    case WAKE_FAIL:
        attempt_cancel(x);
        return VERDICT_SKIP;
    case WAKE_GONE:
        return gone(x);
    case WAKE_QUOTA:
        return quota_resume(x);
    case WAKE_DRAIN:
        attempt_cancel(x);
        return exchange_fail(x, ERR_DRAINING, NULL);
    default:
        return VERDICT_WAIT;
    }
}
