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

bool quota_has_patience(struct exchange *x)
{
    struct quota *q = x->work->quota;
    const uint64_t now_ms = clock_mono_ms();

    if (q->patience_ms == 0) {
        q->patience_ms = now_ms + (uint64_t)x->conf->budgets.wait_ms;
        if (x->conf->budgets.wait_ms > 0)
            stats_inc(x->w->stats, STAT_BUDGET_WAITS);
    }
    return !q->waited && now_ms < q->patience_ms;
}

void quota_tick(struct worker *w)
{
    const uint64_t now_ms = clock_mono_ms();
    struct quota_wait *qw = TAILQ_FIRST(&w->waits), *next;
    struct quota_list due = TAILQ_HEAD_INITIALIZER(due);

    for (; qw; qw = next) {
        next = TAILQ_NEXT(qw, link);
        if (qw->until_ms > now_ms)
            continue;
        TAILQ_REMOVE(&w->waits, qw, link);
        TAILQ_INSERT_TAIL(&due, qw, link);
    }
    while ((qw = TAILQ_FIRST(&due)) != NULL) {
        struct quota *q = qw->x->work->quota;

        TAILQ_REMOVE(&due, qw, link);
        qw->on = false;
        accounts_leave(q->a, &qw->waiter);
        q->waited = q->waited || q->kind == WAIT_ROOM;
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
