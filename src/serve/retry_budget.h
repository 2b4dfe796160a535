/* retry_budget.h - How many attempts after the first all requests together may
 * make: a share of the live traffic of the last seconds, so that a provider in
 * trouble is not asked twice as often by those who want to help. What clients
 * say that they try again counts as well, so that their retries and ours do not
 * multiply. Hedges are such attempts, too.
 *
 * One for the process. Any thread: what each request does is one atomic step,
 * what a retry does one short lock. Times are monotonic milliseconds, given by
 * the caller. */
#ifndef TG_SERVE_RETRY_BUDGET_H
#define TG_SERVE_RETRY_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Seconds of traffic that are looked at, the present one among them. */
#define RETRY_BUDGET_WINDOW_S 10

/* Of so many live requests in a hundred there may be a retry, */
#define RETRY_BUDGET_PERCENT 10

/* or so many in a window, where that is more: with little traffic a share of it
 * is nothing. */
#define RETRY_BUDGET_FLOOR 100

/* Retries of one second. */
struct retry_budget_slot {
    uint64_t at_s;
    uint64_t spent;
};

/* A budget; retry_budget_init() makes one. No field is touched from outside. */
struct retry_budget {
    uint64_t percent;
    uint64_t floor;
    _Atomic uint64_t live[RETRY_BUDGET_WINDOW_S]; /* second, and its requests */
    pthread_mutex_t lock;                         /* guards what follows */
    struct retry_budget_slot slots[RETRY_BUDGET_WINDOW_S];
};

/* What a budget has in its window. */
struct retry_budget_view {
    uint64_t live;    /* first requests */
    uint64_t spent;   /* retries of clients and of ours */
    uint64_t allowed; /* retries, by what is live */
};

/* A budget of <percent> of the traffic, or <floor> retries in a window. */
void retry_budget_init(struct retry_budget *b, uint64_t percent,
                       uint64_t floor);

/* Nobody uses <b> any more. */
void retry_budget_fini(struct retry_budget *b);

/* A request has come in of which the client says that it is its <count>th
 * retry. The first is live traffic. Others are served as any, but they are
 * spent of the budget, even when nothing is left. */
void retry_budget_note(struct retry_budget *b, unsigned count, uint64_t now_ms);

/* Whether an attempt after the first may be made now; it is spent then. */
bool retry_budget_take(struct retry_budget *b, uint64_t now_ms);

/* One that was taken at <then_ms> was not made after all. */
void retry_budget_give(struct retry_budget *b, uint64_t then_ms);

/* Copy what <b> has at <now_ms>. */
void retry_budget_see(struct retry_budget *b, uint64_t now_ms,
                      struct retry_budget_view *out);

#endif
