/* route_none.c - See route_none.h. */
#include "serve/route_none.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/candidates.h"
#include "serve/target.h"

#define RETRY_LOADING_MS 2000
#define RETRY_DRAINED_MS 10000

/* Most bytes of the client's text in a message. */
#define SHOWN_MAX 256

static int shown(struct str s)
{
    return (int)(s.len > SHOWN_MAX ? SHOWN_MAX : s.len);
}

/* Fill <out>; without memory for the text, the table's is taken. */
__attribute__((format(printf, 5, 6))) static enum err tell(
    struct exchange *x, enum err e, const char *param, struct route_none *out,
    const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    *out = (struct route_none){
        .err = e, .param = param, .text = arena_dup(x->arena, str_from(text))};
    if (!out->text.p)
        out->text = STR("");
    return e;
}

/* A model is there, but it does not do what the URL asks. */
static enum err tell_url(struct exchange *x, struct str model,
                         struct route_none *out)
{
    const struct str path = x->in->head.path;

    if (route_engine(x->conf, model))
        return tell(x, ERR_BAD_PARAM, "model", out,
                    "The model '%.*s' runs in the built-in engine, which "
                    "does not serve %.*s. It serves "
                    "/v1/chat/completions, /v1/completions, "
                    "/v1/embeddings, /tokenize and /detokenize.",
                    shown(model), model.p, shown(path), path.p);
    if ((x->in->ep.row->flags & ENDPOINT_ENGINE) != 0)
        return tell(x, ERR_BAD_PARAM, "model", out,
                    "The model '%.*s' is an upstream's; %.*s is for "
                    "models of the built-in engine.",
                    shown(model), model.p, shown(path), path.p);
    return tell(x, ERR_BAD_PARAM, "model", out,
                "The model '%.*s' is not served in the dialect of this "
                "URL.",
                shown(model), model.p);
}

enum err route_none_known(struct exchange *x, const struct route_ask *ask,
                          enum err e, struct route_none *out)
{
    const struct http1_head *head = &x->in->head;

    switch (e) {
    case ERR_MODEL_NOT_FOUND:
        return tell(x, e, "model", out,
                    "The model '%.*s' does not exist or you do not have "
                    "access to it.",
                    shown(ask->model), ask->model.p);
    case ERR_UNKNOWN_URL:
        return tell(x, e, NULL, out,
                    "Unknown request URL: %.*s %.*s. No passthrough upstream "
                    "is configured for it.",
                    STR_ARG(head->method_text), shown(head->path),
                    head->path.p);
    case ERR_BAD_PARAM:
        return tell(x, e, "model", out, "You must provide a model parameter.");
    default:
        *out = (struct route_none){.err = e};
        return e;
    }
}

static enum err tell_loading(struct exchange *x, const struct candidates *cs,
                             struct route_none *out)
{
    (void)tell(x, ERR_OVERLOADED, NULL, out,
               "The model is still loading (%u %%). Please try again soon.",
               cs->percent);
    out->retry_after_ms = RETRY_LOADING_MS;
    return out->err;
}

static enum err tell_drained(struct exchange *x, const struct candidates *cs,
                             struct route_none *out)
{
    (void)tell(
        x, cs->drained_engine ? ERR_OVERLOADED : ERR_UP_UNAVAILABLE, NULL, out,
        "This model takes no new requests at present: its target '%.*s' was "
        "drained by an operator.",
        STR_ARG(cs->drained));
    out->retry_after_ms = RETRY_DRAINED_MS;
    return out->err;
}

enum err route_none_open(struct exchange *x, const struct route_ask *ask,
                         const struct candidates *cs, struct route_none *out)
{
    if (cs->loading)
        return tell_loading(x, cs, out);
    if (cs->draining)
        return tell_drained(x, cs, out);
    if (cs->failed)
        return tell(x, ERR_MODEL_DOWN, NULL, out,
                    "The model could not be loaded; the operator's log says "
                    "why.");
    if (cs->absent)
        return tell(x, ERR_MODEL_DOWN, NULL, out,
                    "The model is new in the configuration and waits for a "
                    "restart of the server.");
    if (cs->nomem)
        return route_none_known(x, ask, ERR_NOMEM, out);
    return tell_url(x, ask->model, out);
}

bool route_was_tried(const struct route_ask *ask, const struct target *t,
                     struct str model)
{
    for (unsigned i = 0; ask->tried && i < ask->tried->n; i++)
        if (ask->tried->v[i].t == t && str_eq(ask->tried->v[i].model, model))
            return true;
    return false;
}

/* Why those that were not tried let nobody in. */
struct tally {
    unsigned n;                     /* of them */
    unsigned by[TARGET_SHUT_COUNT]; /* by reason */
    uint64_t wait_ms;               /* until the first is back; 0: not known */
    struct str name;                /* of the first */
};

static void tally_take(struct tally *y, const struct route_ask *ask,
                       const struct candidates *cs, uint64_t now_ms)
{
    *y = (struct tally){.n = 0};
    for (unsigned i = 0; i < cs->n; i++) {
        const struct candidate *c = &cs->c[i];
        uint64_t wait_ms = 0;

        if (route_was_tried(ask, c->target, c->model))
            continue;
        y->by[target_why(c->target, c->up, 0, now_ms, &wait_ms)]++;
        if (y->n++ == 0)
            y->name = c->up ? c->up->name : c->engine->name;
        if (wait_ms > 0 && (y->wait_ms == 0 || wait_ms < y->wait_ms))
            y->wait_ms = wait_ms;
    }
}

/* One that has become ready meanwhile may be asked at once. */
enum err route_none_ready(struct exchange *x, const struct route_ask *ask,
                          const struct candidates *cs, uint64_t now_ms,
                          struct route_none *out)
{
    struct tally y;
    char who[128];
    enum err e = ERR_UP_UNAVAILABLE;

    tally_take(&y, ask, cs, now_ms);
    if (y.n == 0)
        return tell(x, e, NULL, out,
                    "There is no other upstream for this model.");
    if (y.n == 1)
        snprintf(who, sizeof(who), "The upstream '%.*s'", STR_ARG(y.name));
    else
        snprintf(who, sizeof(who), "Each of %u upstreams", y.n);
    if (y.by[TARGET_SPENT] == y.n)
        return tell(x, ERR_UP_SPENT, NULL, out,
                    "%s has an account of the gateway that is used up.", who);
    if (y.by[TARGET_REFUSED_KEY] == y.n)
        return tell(x, ERR_UP_AUTH, NULL, out,
                    "%s refuses the key of the gateway.", who);
    if (y.by[TARGET_LIMITED] + y.by[TARGET_SPENT] == y.n)
        e = ERR_UP_LIMIT;
    (void)tell(x, e, NULL, out,
               e == ERR_UP_LIMIT
                   ? "%s limits how much the gateway may ask. Please try again "
                     "later."
                   : "%s has failed too often and is left alone for a while. "
                     "Please try again later.",
               who);
    out->retry_after_ms = y.wait_ms > 0 ? y.wait_ms : 1;
    return e;
}

enum verdict route_fail(struct exchange *x, const struct route_none *none)
{
    if (none->text.len == 0)
        (void)exchange_fail(x, none->err, NULL);
    else
        (void)exchange_fail_param(x, none->err, none->param, "%.*s",
                                  STR_ARG(none->text));
    if (none->retry_after_ms > 0 && x->fail.err == none->err)
        x->fail.retry_after_ms = (int64_t)none->retry_after_ms;
    return VERDICT_SKIP;
}
