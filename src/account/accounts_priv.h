/* accounts_priv.h - What accounts*.c share: an owner's cells and its lease. All
 * of it is guarded by the lock of the accounts. */
#ifndef TG_ACCOUNT_ACCOUNTS_PRIV_H
#define TG_ACCOUNT_ACCOUNTS_PRIV_H

#include "account/accounts.h"
#include "account/ledger_spend.h"

#include <pthread.h>

/* Cells of an owner: each window with each unit. */
#define ACCOUNT_CELLS (BUDGET_WINDOW_COUNT * BUDGET_UNIT_COUNT)

/* How fast an owner takes: since <since_ms>, for a second or less, and in a
 * second before that. */
struct burn {
    int64_t since_ms;
    struct budget_amounts now, last;
};

TAILQ_HEAD(waiter_list, accounts_waiter);

/* A key or a team. */
struct account {
    UT_hash_handle hh;
    char name[SPEND_NAME_MAX];
    size_t name_len;
    struct accounts *of; /* borrowed: its owner */
    /* By window and unit; <spec> is of the last request that asked: soft, but
     * where a hard budget stands. */
    struct budget cells[ACCOUNT_CELLS];
    struct burn burn;
    struct ledger_lease lease; /* the writer's while <leasing> */
    bool leasing;
    int64_t leased_ms;          /* when the last was asked for */
    struct budget_amounts step; /* how much more than was needed that was */
    struct waiter_list for_lease;
    struct waiter_list for_room; /* the one that waits longest first */
    unsigned n_for_room;
    struct budget_amounts offered; /* to those woken that did not ask yet */
};

/* All owners that were seen. */
struct accounts {
    struct ledger *l; /* borrowed */
    pthread_mutex_t lock;
    pthread_cond_t quiet;    /* n_leasing fell to 0 */
    struct account *by_name; /* uthash, owned */
    unsigned n_leasing;
    int64_t now_ms; /* the latest time that was told */
    uint64_t turns; /* the last that was given to one that waits */
    struct accounts_totals totals;
};

/* The accounts of a request. */
struct account_pair {
    struct account *key, *team; /* NULL: it has none */
};

/* --- accounts.c ----------------------------------------------------------- */

/* The time, which does not go back. */
int64_t account_now(struct accounts *a);

/* Find the accounts of <ask>, read from the ledger where they are new (the lock
 * is let go meanwhile). ERR_LEDGER when one cannot be read. */
enum err account_pair_of(struct accounts *a, const struct accounts_ask *ask,
                         struct account_pair *out) MUST_CHECK;

/* The cell that <spec> stands in. */
struct budget *account_cell(struct account *it, const struct budget_spec *spec);

/* All cells, as functions of budget.h want them. */
void account_cells(struct account *it, struct budget *list[ACCOUNT_CELLS]);

/* Renew what is over at <now_ms>. */
void account_roll(struct account *it, int64_t now_ms);

/* Set the budgets of <ask> on the cells of <p>, as of <now_ms>; how many of
 * them are hard. */
size_t account_bind(const struct account_pair *p,
                    const struct accounts_ask *ask, int64_t now_ms);

/* Whether ask->most fits no hard budget in place of <old>; tells the first.
 * With <ever>, what others hold does not count. */
bool account_is_over(const struct account_pair *p,
                     const struct accounts_ask *ask,
                     const struct budget_hold *old, bool ever,
                     struct accounts_no *no);

/* In all, <more> is held in place of <less>. */
void account_total(struct accounts *a, const struct budget_amounts *more,
                   const struct budget_amounts *less);

/* Put <hold> of <ask>, its <change>th change, into the journal of <lw>; without
 * the lock. */
enum err account_write_hold(struct ledger_worker *lw,
                            const struct accounts_ask *ask,
                            const struct budget_hold *hold,
                            uint32_t change) MUST_CHECK;

/* --- accounts_lease.c ----------------------------------------------------- */

/* <took> was taken at <now_ms>. */
void account_burn(struct account *it, int64_t now_ms,
                  const struct budget_amounts *took);

/* Have leases for <most>, and some more, written where <it> has hard budgets;
 * those who wait for one are woken then. */
void account_lease(struct account *it, const struct budget_amounts *most);

/* Whether more is spent than leased, since an upstream took beyond its hold. */
bool account_passed_lease(const struct account *it);

/* Whether a lease is missing for <most> in place of <old>: then it is being
 * written for both of <p>, and <w> waits for it. */
bool account_waits_lease(const struct account_pair *p,
                         const struct budget_hold *old,
                         const struct budget_amounts *most,
                         struct accounts_waiter *w);

/* --- accounts_room.c ------------------------------------------------------ */

/* <w> waits at <it> until others gave back so much that <most> may fit. */
void account_wait_room(struct account *it, const struct budget_amounts *most,
                       struct accounts_waiter *w);

/* Something was given back to <it>: wake those that may fit now, and those
 * that never will. */
void account_offer(struct account *it);

/* <w> waits at <it> from now on, as the <next> or the last one of <list>. */
void account_wait(struct account *it, struct waiter_list *list,
                  struct accounts_waiter *w, struct accounts_waiter *next);

/* <w> asks again: it waits nowhere now, but keeps its turn and its offer. */
void account_unwait(struct accounts_waiter *w);

/* <w> took what it was offered, or will not: others may have what is left. */
void account_offer_over(struct accounts_waiter *w);

#endif
