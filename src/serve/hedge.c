/* hedge.c - See hedge.h. */
#include "serve/hedge.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "serve/afford.h"
#include "serve/attempt.h"
#include "serve/blame.h"
#include "serve/retry_budget.h"
#include "serve/seek.h"
#include "serve/target.h"
#include "upstream/upstream.h"
#include "wire/jscan.h"

/* --- whether ------------------------------------------------------------- */

/* Whether <m> is true, or <unsaid> where it is not said. */
static bool is_set(const struct jmember *m, bool unsaid)
{
    bool yes;

    return jval_bool(m, &yes) == ERR_OK ? yes : unsaid;
}

/* Whether the answer to <x> is all that there is to it: asked twice, it leaves
 * nothing behind. */
static bool is_question(const struct exchange *x)
{
    const struct jscan *scan = x->ask->scan;
    bool stored;

    if (x->in->mode != BODY_COLLECT || !scan || x->in->head.websocket)
        return false;
    switch (x->in->ep.row->usage) {
    case ENDPOINT_USAGE_CHAT:
    case ENDPOINT_USAGE_EMBEDDINGS:
    case ENDPOINT_USAGE_MESSAGES:
    case ENDPOINT_USAGE_COUNT:
    case ENDPOINT_USAGE_RERANK:
        stored = false;
        break;
    case ENDPOINT_USAGE_RESPONSES:
        stored = true; /* unless it says otherwise */
        break;
    default:
        return false;
    }
    return !is_set(&scan->m[JREQ_STORE], stored) &&
           !is_set(&scan->m[JREQ_BACKGROUND], false);
}

static bool may_hedge(const struct attempt *a)
{
    const struct choice *c = &a->choice;

    return c->up && !c->passthrough && c->route &&
           c->route->hedge_after_ms > 0 && !a->pass.all.probe &&
           !a->pass.own.probe && is_question(a->x);
}

/* Whether nothing of a reply to <a> has come that could be passed on. */
static bool is_slow(const struct attempt *a)
{
    return a->state == ATTEMPT_RUNS && (!a->head || a->mode == REPLY_PEEK);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *a = arg;

    (void)fd, (void)what;
    clock_update();
    exchange_wake(a->x, WAKE_RETRY);
}

static void disarm(struct hedge *h)
{
    if (h->timer_on)
        event_del(&h->timer);
    h->timer_on = false;
}

void hedge_arm(struct hedge *h, struct attempt *a)
{
    struct timeval tv;
    int64_t ms;

    disarm(h);
    if (h->done || !may_hedge(a))
        return;
    ms = a->choice.route->hedge_after_ms;
    tv = (struct timeval){ms / 1000, ms % 1000 * 1000};
    event_assign(&h->timer, a->x->w->base, -1, 0, on_timer, a);
    h->timer_on = event_add(&h->timer, &tv) == 0;
}

/* --- the end of one ------------------------------------------------------ */

/* What <o>, which does not run any more, tells the ledger. A whole reply that
 * refuses it says that it cost nothing. */
static void leg_tell(struct exchange *x, struct leg *leg,
                     const struct attempt *o)
{
    const bool ended = o->state == ATTEMPT_ENDED;
    struct usage usage = {.present = false};
    struct leg_end how = {.sent = o->sent,
                          .ms = (clock_mono_us() - o->start_us) / 1000};

    if (ended) {
        how.why = blame_of(o);
        how.status = o->end.status;
        how.sent = o->sent && o->end.err != ERR_OK;
    } else if (o->whole && o->scan && usage_from_scan(&usage, o->scan)) {
        how.usage = &usage;
    }
    leg_close(x, leg, &how);
}

/* It is cancelled in the midst of its request: libcurl may read on in it until
 * the turn is over, so that this must not be freed with the attempt. */
static void keep_request(struct attempt *o)
{
    struct exchange *x = o->x;

    if (!o->producer || !xfer_needs_body(o->producer))
        return;
    x->work->keeps_body = true;
    buf_fini(&x->work->request);
    x->work->request = o->request;
    buf_init(&o->request, 0);
}

/* The other is not needed any more, or has ended in vain. */
static void drop(struct hedge *h, struct exchange *x)
{
    struct attempt *o = h->other;
    const bool ended = o->state == ATTEMPT_ENDED;

    h->other = NULL;
    keep_request(o);
    attempt_cancel(o);
    blame_leave(o, ended ? blame_of(o) : ERR_OK, ended ? o->text : NULL);
    leg_tell(x, h->leg, o);
    attempt_free(o);
    stat_bump(
        &x->w->stats->hedges[h->is_second ? STATS_HEDGE_LOST : STATS_HEDGE_WON],
        1);
    log_info(LOG_ROUTE, "hedge is over: id=%s dropped=%.*s second=%d sent=%d",
             x->name, STR_ARG(h->choice.up->name), h->is_second, o->sent);
}

/* The other is the exchange's from now on, and <a> is beside it. */
static struct attempt *swap(struct hedge *h, struct seek *s, struct attempt *a)
{
    struct attempt *o = h->other;

    leg_swap(a->x, h->leg);
    attempt_note(o);
    seek_swap(s, &h->choice);
    h->other = a;
    h->is_second = !h->is_second;
    return o;
}

/* How far an attempt has come. */
enum far {
    FAR_WAITS = 0, /* it runs */
    FAR_VAIN,      /* it ended, and another may do better */
    FAR_THERE,     /* it has a reply, or what any other would end with */
};

static enum far far_of(struct attempt *a)
{
    if (a->state != ATTEMPT_ENDED)
        return a->state == ATTEMPT_RUNS ? FAR_WAITS : FAR_THERE;
    return retry_judge(&a->end).moves & RETRY_MOVE_TARGET ? FAR_VAIN
                                                          : FAR_THERE;
}

struct attempt *hedge_look(struct hedge *h, struct seek *s, struct attempt *a)
{
    enum far of_a, of_other;

    if (a->state != ATTEMPT_RUNS)
        disarm(h);
    if (!h->other)
        return a;
    of_a = far_of(a);
    of_other = far_of(h->other);
    if (of_a == FAR_WAITS && of_other == FAR_WAITS)
        return a;
    /* Who is there first stays; of one that ended in vain the rest is told. */
    if (of_other == FAR_THERE && of_a != FAR_THERE)
        a = swap(h, s, a);
    else if (of_a == FAR_VAIN && of_other == FAR_WAITS)
        a = swap(h, s, a);
    if (h->other->state == ATTEMPT_ENDED)
        (void)blame_judge(h->other);
    drop(h, a->x);
    return a;
}

void hedge_stop(struct hedge *h, struct exchange *x)
{
    disarm(h);
    if (h->other)
        drop(h, x);
}

/* --- the beginning ------------------------------------------------------- */

/* The exchange is <a>'s again, as if there had been no other. */
static void undo(struct exchange *x, struct leg *leg, struct attempt *a)
{
    const struct leg_end nothing = {.why = ERR_OK};

    leg_swap(x, leg);
    attempt_note(a);
    leg_close(x, leg, &nothing);
}

/* Hold what it may cost at <c>, now or not at all: a hedge waits for nobody. */
static bool afford(struct exchange *x, const struct choice *c)
{
    const struct fail was = x->fail;
    const enum verdict v = afford_run(x, c);

    x->fail = was;
    return v == VERDICT_GO;
}

/* Begin it at <c>, where it was let in with <pass>. */
static bool start(struct hedge *h, struct attempt *a, const struct choice *c,
                  struct target_pass *pass, int64_t deadline_us)
{
    struct exchange *x = a->x;
    struct leg *leg = leg_open(x);
    struct attempt *o;

    if (!leg || !afford(x, c)) {
        if (leg)
            undo(x, leg, a);
        target_leave(pass, c->up, ERR_OK, NULL, clock_mono_ms());
        return false;
    }
    if (attempt_start(x, c, pass, deadline_us, &o) != ERR_OK) {
        undo(x, leg, a);
        return false;
    }
    leg_swap(x, leg);
    attempt_note(a);
    h->other = o;
    h->choice = *c;
    h->leg = leg;
    h->is_second = true;
    return true;
}

/* Begin it at <c>, if there is room; the budget of retries has let it. */
static bool enter(struct hedge *h, struct attempt *a, const struct choice *c,
                  int64_t deadline_us)
{
    struct target_pass pass;

    return target_enter(c->target, c->up, 0, clock_mono_ms(), &pass) ==
               TARGET_IN &&
           start(h, a, c, &pass, deadline_us);
}

bool hedge_begin(struct hedge *h, struct seek *s, struct attempt *a,
                 int64_t deadline_us)
{
    struct worker *w = a->x->w;
    const uint64_t now_ms = clock_mono_ms();
    struct choice c;

    disarm(h);
    if (h->done || !is_slow(a) || !a->x->client || !seek_beside(s, &c))
        return false;
    if (w->svc->retries && !retry_budget_take(w->svc->retries, now_ms)) {
        stats_inc(w->stats, STAT_RETRIES_REFUSED);
        return false;
    }
    h->done = enter(h, a, &c, deadline_us);
    if (!h->done && w->svc->retries)
        retry_budget_give(w->svc->retries, now_ms);
    if (h->done)
        log_info(LOG_ROUTE, "hedge: id=%s slow=%.*s target=%.*s", a->x->name,
                 STR_ARG(a->choice.up->name), STR_ARG(c.up->name));
    return h->done;
}
