/* loop.c - See loop.h. What an end means and what to do about it is decided in
 * retry.c, who may be asked in target.c and route.c; here it is done. The last
 * end is what the client is told, when nothing comes of it. */
#include "serve/loop.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "exchange/quota.h"
#include "serve/afford.h"
#include "serve/attempt.h"
#include "serve/blame.h"
#include "serve/hedge.h"
#include "serve/retry.h"
#include "serve/retry_budget.h"
#include "serve/route_none.h"
#include "serve/seek.h"
#include "serve/target.h"
#include "serve/turn.h"

/* When to come again where nobody can say; most that a pause is drawn out. */
#define AGAIN_MS     1000
#define DRAWN_OUT_MS 500

/* Where the attempts of a request stand. */
enum loop_state {
    LOOP_HOLD = 0, /* waits for budget, or is about to begin an attempt */
    LOOP_TRY,      /* an attempt is under way */
    LOOP_PAUSE,    /* waits before the next */
    LOOP_TURN,     /* waits for a place at the target */
    LOOP_OVER,     /* nothing will be tried any more */
};

/* The attempts of one request; in its arena, as x->work->loop: relay has its
 * own x->stage_data while what is left of them is closed. */
struct loop {
    struct exchange *x; /* borrowed */
    enum loop_state state;
    struct seek seek; /* whom it asks, and may ask next */
    struct retry retry;
    struct retry_verdict verdict; /* of the last attempt */
    struct attempt *last;         /* the last one begun; arena, or NULL */
    struct hedge hedge;           /* what runs beside it */
    struct fail clean;            /* what x->fail is without a failure */
    struct fail fail;             /* of <last>, where it has told itself */
    uint64_t said_ms;             /* longest wait that an upstream asked for */
    uint64_t pause_end_ms;        /* monotonic: no pause is drawn out past it */
    int64_t deadline_us;          /* monotonic, of all attempts; 0: none */
    struct event timer;           /* ends LOOP_PAUSE */
    bool timer_on;                /* it was set up */
    struct turn *turn;            /* LOOP_TURN; owned */
    uint64_t again_ms;            /* when there may be a place; 0: unknown */
    bool parted; /* what <last> may have cost is a leg: <x> owes no more */
};

static uint64_t random_bits(void)
{
    uint64_t r;

    digest_random(&r, sizeof(r));
    return r;
}

/* The rules of the target at hand; the engine's models have the defaults of
 * somebody who is asked once. */
static const struct conf_retries *rules_of(const struct loop *l)
{
    static const struct conf_retries once = {.attempts = 1};

    return l->seek.choice.up ? &l->seek.choice.up->retries : &once;
}

/* Whether anybody waits for the reply: the client, or others who asked the
 * same. */
static bool is_wanted(struct exchange *x)
{
    return x->client || (x->found->wanted && x->found->wanted(x));
}

/* --- the end ------------------------------------------------------------- */

/* Nobody waits for a place any more. */
static void turn_end(struct loop *l)
{
    turn_drop(l->turn);
    l->turn = NULL;
}

/* The last word on <x>, be it served or not. */
static void loop_release(struct exchange *x)
{
    struct loop *l = x->work->loop;
    struct attempt *a = l->last;

    if (l->timer_on)
        event_del(&l->timer);
    l->timer_on = false;
    turn_end(l);
    hedge_stop(&l->hedge, x);
    if (!a)
        return;
    /* An error reply that was passed on says how it ended, too. */
    if (a->state == ATTEMPT_ENDED || a->end.status >= 400)
        blame_leave(a, blame_of(a), a->text);
    else
        blame_leave(a, x->fail.err, NULL);
    attempt_free(a);
}

/* Stop what is under way: nothing more is tried. */
static void loop_cancel(struct loop *l)
{
    struct attempt *a = l->state == LOOP_TRY ? l->last : NULL;

    l->state = LOOP_OVER;
    turn_end(l);
    hedge_stop(&l->hedge, l->x);
    if (!a)
        return;
    attempt_cancel(a);
    l->x->work->sent = a->sent;
}

/* --- giving up ----------------------------------------------------------- */

/* When it may be worth coming back: what upstreams said, or when a breaker lets
 * through; -1: nobody knows. */
static int64_t wait_of(const struct loop *l)
{
    const struct choice *c = &l->seek.choice;
    uint64_t wait_ms = 0;

    if (target_why(c->target, c->up, 0, clock_mono_ms(), &wait_ms) !=
        TARGET_BROKEN)
        wait_ms = 0;
    if (l->retry.latest_ms > wait_ms)
        wait_ms = l->retry.latest_ms;
    return wait_ms > 0 ? (int64_t)wait_ms : -1;
}

static void fail_with(struct loop *l, enum err e, const char *text)
{
    struct exchange *x = l->x;

    (void)exchange_fail(x, e, "%s%s%s%s", err_row(e)->message, text ? " (" : "",
                        text ? text : "", text ? ")" : "");
    x->fail.upstream_status = l->last->end.status;
    if (x->fail.retry_after_ms < 0 && err_row(e)->status != 502)
        x->fail.retry_after_ms = wait_of(l);
}

/* Whether the reply that an attempt ended with can be passed on: it is here or
 * still flows, and says something that clients can read. */
static bool is_readable(const struct attempt *a)
{
    if (!a->head || a->end.err != ERR_OK)
        return false;
    if (a->mode == REPLY_COLLECT)
        return a->whole && (a->scan || a->end.status < 500);
    return a->producer != NULL;
}

/* What the error reply of the last attempt says of when to come again, in place
 * of what it says itself; 0: nothing. */
static int64_t wait_instead(const struct loop *l)
{
    const struct retry_end *end = &l->last->end;
    int64_t wait_ms;

    if (l->said_ms > end->delay.ms)
        return (int64_t)l->said_ms;
    if (end->delay.from != DELAY_UNSAID ||
        (end->status != 503 && end->status != 529))
        return 0;
    wait_ms = wait_of(l);
    return wait_ms > 0 ? wait_ms : AGAIN_MS;
}

/* Pass on the error reply of the last attempt. */
static enum verdict pass_on(struct loop *l)
{
    struct exchange *x = l->x;
    struct attempt *a = l->last;

    x->work->retry_after_ms = wait_instead(l);
    x->work->no_retry = l->verdict.kind == RETRY_KIND_SPENT;
    x->work->badly = a->end.status >= 500;
    attempt_commit(a);
    return VERDICT_GO;
}

/* Tell the client how the last attempt ended. */
static enum verdict give_up(struct loop *l)
{
    struct exchange *x = l->x;
    struct attempt *a = l->last;

    l->state = LOOP_OVER;
    x->work->sent = a->sent && !l->parted;
    x->work->told = l->parted ? NULL : &a->told;
    if (l->fail.err != ERR_OK)
        x->fail = l->fail;
    else if (l->verdict.kind == RETRY_KIND_KEY)
        fail_with(l, ERR_UP_AUTH, a->text);
    else if (is_readable(a))
        return pass_on(l);
    else if (a->end.err == ERR_OK)
        fail_with(l, reply_err_of(a->end.status), a->text);
    else
        fail_with(l, a->end.err, a->text);
    if (a->end.err == ERR_OK) /* what it said in full cost nothing */
        x->work->head = a->head;
    attempt_cancel(a);
    return VERDICT_SKIP;
}

/* There is nobody to ask, and nobody was asked. */
static enum verdict refuse(struct loop *l, enum target_answer why)
{
    l->state = LOOP_OVER;
    if (why == TARGET_FULL) {
        (void)exchange_fail(l->x, ERR_OVERLOADED,
                            "As many requests for this model are under way as "
                            "may be. Please try again later.");
        l->x->fail.retry_after_ms =
            l->again_ms > AGAIN_MS ? (int64_t)l->again_ms : AGAIN_MS;
        return VERDICT_SKIP;
    }
    return route_fail(l->x, &l->seek.none);
}

/* --- beginning an attempt ------------------------------------------------ */

static enum verdict begin(struct loop *l, const struct target_pass *pass)
{
    struct exchange *x = l->x;
    struct attempt *a;
    enum err e;

    if (l->last)
        attempt_free(l->last);
    l->last = NULL;
    x->work->release = loop_release;
    e = attempt_start(x, &l->seek.choice, pass, l->deadline_us, &a);
    if (e != ERR_OK) {
        l->state = LOOP_OVER;
        (void)exchange_fail(x, e, NULL);
        x->fail.retry_after_ms = AGAIN_MS;
        return VERDICT_SKIP;
    }
    l->last = a;
    l->parted = false;
    l->state = LOOP_TRY;
    hedge_arm(&l->hedge, a);
    return VERDICT_WAIT;
}

/* Hold what an attempt at the present choice may take; what is held already, of
 * which nothing was taken, stays if it is enough. */
static enum verdict hold(struct loop *l)
{
    struct exchange *x = l->x;
    enum verdict v;

    l->state = LOOP_HOLD;
    v = afford_run(x, &l->seek.choice);
    if (v != VERDICT_SKIP)
        return v;
    /* No budget for another attempt: how the last one ended is more use. */
    if (l->last) {
        x->fail = l->clean;
        return give_up(l);
    }
    return exchange_has_failed(x) ? v : refuse(l, TARGET_FULL);
}

/* Wait for a place at the target of the present choice. False: in vain. */
static bool wait_turn(struct loop *l)
{
    struct exchange *x = l->x;
    const struct choice *c = &l->seek.choice;

    if (turn_wait(x, c->target, c->up, l->retry.deadline_ms, &l->turn,
                  &l->again_ms) != QUEUE_WAITS)
        return false;
    x->work->release = loop_release;
    l->state = LOOP_TURN;
    return true;
}

/* Ask the present choice, or whoever can be in its place. */
static enum verdict go(struct loop *l)
{
    bool again = l->last != NULL;
    struct target_pass pass;
    enum target_answer t;

    for (;;) {
        enum verdict v = hold(l);

        if (v != VERDICT_GO || l->state == LOOP_OVER)
            return v;
        t = target_enter(l->seek.choice.target, l->seek.choice.up,
                         l->seek.tried_keys, clock_mono_ms(), &pass);
        if (t == TARGET_IN)
            return begin(l, &pass);
        if (t == TARGET_FULL && !again) { /* somebody else was quicker */
            again = true;
            if (seek_again(&l->seek))
                continue;
        }
        if (t == TARGET_FULL && wait_turn(l))
            return VERDICT_WAIT;
        if (!seek_other(&l->seek))
            return l->last ? give_up(l) : refuse(l, t);
    }
}

/* Its turn has come, or will not. */
static enum verdict turn_resume(struct loop *l)
{
    struct turn *turn = l->turn;
    struct target_pass pass;
    enum target_answer t;

    if (l->state != LOOP_TURN || !is_wanted(l->x))
        return VERDICT_WAIT;
    l->turn = NULL;
    t = turn_take(turn, l->seek.choice.up, l->seek.tried_keys, clock_mono_ms(),
                  &pass);
    if (t == TARGET_IN)
        return begin(l, &pass);
    if (seek_other(&l->seek))
        return go(l);
    return l->last ? give_up(l) : refuse(l, t);
}

/* --- after an attempt ---------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;

    (void)fd, (void)what;
    clock_update();
    exchange_wake(l->x, WAKE_RETRY);
}

static enum verdict pause_for(struct loop *l, uint64_t ms)
{
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    if (!l->timer_on)
        event_assign(&l->timer, l->x->w->base, -1, 0, on_timer, l);
    l->timer_on = true;
    l->state = LOOP_PAUSE;
    if (event_add(&l->timer, &tv) != 0)
        return give_up(l);
    return VERDICT_WAIT;
}

/* The pause is over, unless others were told of a later time meanwhile, or the
 * timer was early. */
static enum verdict unpause(struct loop *l)
{
    const uint64_t ms = seek_limit_ms(&l->seek);
    const bool fits = clock_mono_ms() + ms <= l->pause_end_ms;

    return ms > 0 && fits ? pause_for(l, ms) : go(l);
}

/* The last attempt is over, and another is to follow: what it may have cost is
 * charged by itself. A whole reply that refuses it says that it was nothing. */
static bool part(struct loop *l)
{
    const struct attempt *a = l->last;
    const struct leg_end how = {.why = a->end.err,
                                .status = a->end.status,
                                .sent = a->sent && a->end.err != ERR_OK,
                                .usage = &a->told,
                                .ms = (clock_mono_us() - a->start_us) / 1000};

    l->parted = leg_part(l->x, &how) == ERR_OK;
    return l->parted;
}

/* Make the step <plan>. */
static enum verdict step(struct loop *l, const struct retry_plan *plan,
                         const struct seek_next *next)
{
    struct attempt *a = l->last;
    const struct retry_verdict *v = &l->verdict;

    attempt_cancel(a);
    blame_leave(a, blame_of(a), a->text);
    if (!part(l))
        return give_up(l);
    retry_made(&l->retry, v, plan->step);
    seek_step(&l->seek, plan->step, next, a->pass.key);
    stat_bump(&l->x->w->stats->retries[v->kind], 1);
    log_info(LOG_ROUTE,
             "attempt again: id=%s after=%s step=%s target=%.*s attempt=%u "
             "wait_ms=%llu",
             l->x->name, retry_kind_name(v->kind), retry_step_name(plan->step),
             STR_ARG(seek_name(&l->seek)), l->retry.attempts,
             (unsigned long long)plan->wait_ms);
    l->pause_end_ms = clock_mono_ms() + plan->wait_ms + DRAWN_OUT_MS;
    return plan->wait_ms > 0 ? pause_for(l, plan->wait_ms) : go(l);
}

/* Whether the budget of retries lets <plan> be. */
static bool is_granted(const struct loop *l, const struct retry_plan *plan)
{
    struct worker *w = l->x->w;

    if (!plan->costs || !w->svc->retries ||
        retry_budget_take(w->svc->retries, clock_mono_ms()))
        return true;
    stats_inc(w->stats, STAT_RETRIES_REFUSED);
    log_info(LOG_ROUTE, "no attempt again, too many are made: id=%s",
             l->x->name);
    return false;
}

/* The last attempt has ended. */
static enum verdict judge(struct loop *l)
{
    struct attempt *a = l->last;
    struct retry_plan plan;
    struct seek_next next;
    uint64_t now_ms = clock_mono_ms();

    if (!a->choice.up && l->x->fail.err != ERR_OK)
        a->end.err = l->x->fail.err;
    l->verdict = blame_judge(a);
    l->fail = l->x->fail;
    if (a->end.delay.from != DELAY_UNSAID && a->end.delay.ms > l->said_ms)
        l->said_ms = a->end.delay.ms;
    seek_look(&l->seek, &l->verdict, a->pass.key, &next);
    plan = retry_plan(&l->retry, &l->verdict, rules_of(l), &next.room, now_ms,
                      random_bits());
    if (plan.step == RETRY_STOP || !is_wanted(l->x) || !is_granted(l, &plan))
        return give_up(l);
    l->x->fail = l->clean;
    return step(l, &plan, &next);
}

/* The last attempt has a reply. */
static enum verdict commit(struct loop *l)
{
    struct attempt *a = l->last;
    const struct retry_end good = {.status = a->head->status};
    const struct retry_verdict v = retry_judge(&good);
    const uint64_t now_ms = clock_mono_ms();
    /* A stream begins with its first event. */
    const uint64_t us = a->mode == REPLY_PEEK ? clock_mono_us() : a->head_us;

    target_tell(&a->pass, a->choice.up, &v, now_ms);
    target_pace_note(&a->pass, us - a->start_us, now_ms);
    attempt_commit(a);
    attempt_drop_request(a);
    l->state = LOOP_OVER;
    return VERDICT_GO;
}

/* --- the way in ---------------------------------------------------------- */

/* The deadline of all attempts is that of the first; the engine has its own. */
static void set_deadline(struct loop *l)
{
    const struct conf_upstream *up = l->seek.choice.up;
    uint64_t deadline_ms = UINT64_MAX;

    if (up && up->timeouts.total_ms > 0) {
        l->deadline_us =
            (int64_t)clock_mono_us() + up->timeouts.total_ms * 1000;
        deadline_ms = (uint64_t)l->deadline_us / 1000;
    }
    retry_begin(&l->retry, deadline_ms);
}

enum verdict loop_begin(struct exchange *x)
{
    struct loop *l = arena_alloc(x->arena, sizeof(*l));
    const struct http1_header *again =
        http1_find(&x->in->head, STR("x-stainless-retry-count"));

    if (!l)
        return exchange_fail(x, ERR_NOMEM, NULL);
    *l = (struct loop){.x = x, .clean = x->fail};
    x->work->loop = l;
    if (x->w->svc->retries)
        retry_budget_note(x->w->svc->retries,
                          again ? retry_count_of(again->value) : 0,
                          clock_mono_ms());
    if (!seek_first(&l->seek, x))
        return refuse(l, TARGET_SHUT);
    set_deadline(l);
    return go(l);
}

/* What the budgets were waited for may be there: an attempt may begin, or go
 * on; or nobody reads on any more for a client that has left. */
static enum verdict quota_resume(struct loop *l)
{
    struct exchange *x = l->x;
    struct producer *p = x->work->producer;

    if (l->state == LOOP_HOLD)
        return go(l);
    if (quota_is_lonely(x)) {
        loop_cancel(l);
        return VERDICT_SKIP;
    }
    if (p && p->ops->quota_ready)
        p->ops->quota_ready(p);
    return VERDICT_WAIT;
}

static enum verdict gone(struct loop *l)
{
    struct exchange *x = l->x;

    if (is_wanted(x))
        return VERDICT_WAIT;
    (void)exchange_fail(x, ERR_CLIENT_GONE, NULL);
    hedge_stop(&l->hedge, x);
    if (l->state == LOOP_TRY && x->work->producer && quota_linger(x))
        return VERDICT_WAIT;
    loop_cancel(l);
    return VERDICT_SKIP;
}

/* The time to drain is over. */
static enum verdict drain(struct loop *l)
{
    turn_end(l);
    if (l->last && (l->state == LOOP_PAUSE || l->state == LOOP_TURN))
        return give_up(l);
    loop_cancel(l);
    return exchange_fail(l->x, ERR_DRAINING, NULL);
}

/* The last attempt, or one beside it, has come further. */
static enum verdict look(struct loop *l, enum wake why)
{
    const bool beside = l->hedge.other != NULL;
    enum attempt_state stands = ATTEMPT_RUNS;

    if (l->state == LOOP_TRY) {
        l->last = hedge_look(&l->hedge, &l->seek, l->last);
        stands = l->last->state;
    }
    if (why == WAKE_HEAD)
        return stands == ATTEMPT_READY ? commit(l) : VERDICT_WAIT;
    if (stands == ATTEMPT_ENDED)
        return judge(l);
    if (beside)
        return VERDICT_WAIT;
    loop_cancel(l); /* the client's own body broke off */
    return VERDICT_SKIP;
}

/* The last attempt is slow: another may do better. */
static enum verdict hasten(struct loop *l)
{
    if (hedge_begin(&l->hedge, &l->seek, l->last, l->deadline_us))
        l->retry.attempts++;
    return VERDICT_WAIT;
}

enum verdict loop_resume(struct exchange *x, enum wake why)
{
    struct loop *l = x->work->loop;

    switch (why) {
    case WAKE_HEAD:
    case WAKE_FAIL:
        return look(l, why);
    case WAKE_GONE:
    case WAKE_READERS:
        return x->client ? VERDICT_WAIT : gone(l);
    case WAKE_QUOTA:
        return quota_resume(l);
    case WAKE_RETRY:
        if (l->state == LOOP_TRY)
            return hasten(l);
        return l->state == LOOP_PAUSE ? unpause(l) : VERDICT_WAIT;
    case WAKE_TURN:
        return turn_resume(l);
    case WAKE_DRAIN:
        return drain(l);
    default:
        return VERDICT_WAIT;
    }
}
