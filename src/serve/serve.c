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

/* A model is there, but it does not do what the URL asks. */
static enum verdict refuse_url(struct exchange *x, int len, const char *model)
{
    int path_len =
        (int)(x->in->head.path.len > 256 ? 256 : x->in->head.path.len);

    if (route_engine(x->conf, x->ask->model))
        return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                                   "The model '%.*s' runs in the built-in "
                                   "engine, which does not serve %.*s. It "
                                   "serves /v1/chat/completions, "
                                   "/v1/completions, /v1/embeddings, /tokenize "
                                   "and /detokenize.",
                                   len, model, path_len, x->in->head.path.p);
    if ((x->in->ep.row->flags & ENDPOINT_ENGINE) != 0)
        return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                                   "The model '%.*s' is an upstream's; %.*s is "
                                   "for models of the built-in engine.",
                                   len, model, path_len, x->in->head.path.p);
    return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                               "The model '%.*s' is not served in the dialect "
                               "of this URL.",
                               len, model);
}

static enum verdict refuse_model(struct exchange *x, enum err e)
{
    int len = (int)(x->ask->model.len > 256 ? 256 : x->ask->model.len);
    const char *model = x->ask->model.p;

    switch (e) {
    case ERR_MODEL_NOT_FOUND:
        return exchange_fail_param(x, e, "model",
                                   "The model '%.*s' does not exist or you do "
                                   "not have access to it.",
                                   len, model);
    case ERR_UNKNOWN_URL:
        return exchange_fail(
            x, e,
            "Unknown request URL: %.*s %.*s. No passthrough "
            "upstream is configured for it.",
            STR_ARG(x->in->head.method_text),
            (int)(x->in->head.path.len > 256 ? 256 : x->in->head.path.len),
            x->in->head.path.p);
    case ERR_BAD_PARAM:
        if (x->ask->model.len == 0)
            return exchange_fail_param(x, e, "model",
                                       "You must provide a model parameter.");
        return refuse_url(x, len, model);
    default:
        return exchange_fail(x, e, NULL);
    }
}

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
    struct choice *c;
    enum err e;

    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) != 0) {
        x->w->svc->local(x);
        return VERDICT_GO;
    }
    c = arena_alloc(x->arena, sizeof(*c));
    e = c ? route_choose(x, c) : ERR_NOMEM;
    if (e != ERR_OK)
        return refuse_model(x, e);
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
