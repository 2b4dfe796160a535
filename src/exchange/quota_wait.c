/* quota_wait.c - See quota_priv.h. What wakes a request comes from the thread
 * that gave something back, by its worker's inbox. */
#include <stdlib.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"

/* On whichever thread gives something back or has written a lease. */
static void wake(struct accounts_waiter *waiter)
{
    struct quota_wait *qw = (struct quota_wait *)(void *)waiter;

    qw->posted = true;
    mbox_push(&qw->w->inbox, &qw->mail.link);
}

/* The exchange does not wait any more. */
static void take_off(struct quota_wait *qw)
{
    if (!qw->on)
        return;
    qw->on = false;
    TAILQ_REMOVE(&qw->w->waits, qw, link);
}

static void take(struct worker_mail *mail, struct worker *w)
{
    struct quota_wait *qw = MBOX_ENTRY(mail, struct quota_wait, mail);

    if (!w || !qw->x) {
        free(qw);
        return;
    }
    qw->posted = false;
    if (!qw->on) /* its time was over meanwhile */
        return;
    take_off(qw);
    exchange_wake(qw->x, WAKE_QUOTA);
}

enum quota_answer quota_wait_until(struct quota *q, uint64_t until_ms,
                                   enum wait_kind kind)
{
    struct quota_wait *qw = q->wait;

    q->kind = kind;
    qw->until_ms = until_ms;
    qw->on = true;
    TAILQ_INSERT_TAIL(&qw->w->waits, qw, link);
    return QUOTA_WAIT;
}

bool quota_may_wait(struct exchange *x, uint64_t most_ms)
{
    struct quota *q = x->work->quota;
    const uint64_t now_ms = clock_mono_ms();

    if (q->beside > 0)
        return false;
    if (q->began_ms == 0) {
        q->began_ms = now_ms;
        if (most_ms > 0)
            stats_inc(x->w->stats, STAT_BUDGET_WAITS);
    }
    return now_ms < q->began_ms + most_ms;
}

/* The first of <w> that has waited long enough, or NULL. */
static struct quota_wait *first_due(struct worker *w, uint64_t now_ms)
{
    struct quota_wait *qw = TAILQ_FIRST(&w->waits);

    while (qw && qw->until_ms > now_ms)
        qw = TAILQ_NEXT(qw, link);
    return qw;
}

void quota_tick(struct worker *w)
{
    const uint64_t now_ms = clock_mono_ms();
    struct quota_wait *qw;

    while ((qw = first_due(w, now_ms)) != NULL) {
        struct quota *q = qw->x->work->quota;

        quota_wait_end(q);
        q->late = q->late || q->kind == WAIT_LEASE;
        exchange_wake(qw->x, WAKE_QUOTA);
    }
}

struct quota_wait *quota_wait_new(struct exchange *x)
{
    struct quota_wait *qw = calloc(1, sizeof(*qw));

    if (!qw)
        return NULL;
    qw->waiter.wake = wake;
    qw->mail.take = take;
    qw->w = x->w;
    qw->x = x;
    return qw;
}

void quota_wait_end(struct quota *q)
{
    if (!q->wait->on)
        return;
    take_off(q->wait);
    accounts_leave(q->a, &q->wait->waiter);
}

void quota_wait_free(struct accounts *a, struct quota_wait *qw)
{
    take_off(qw);
    accounts_leave(a, &qw->waiter);
    qw->x = NULL;
    if (!qw->posted)
        free(qw);
}
