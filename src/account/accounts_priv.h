/* accounts_priv.h - What accounts*.c share: an owner's cells and its lease. All
 * of it is guarded by the lock of the accounts. */
#ifndef TG_ACCOUNT_ACCOUNTS_PRIV_H
#define TG_ACCOUNT_ACCOUNTS_PRIV_H

#include "account/accounts.h"
#include "account/ledger_spend.h"

#include <pthread.h>

/* Cells of an owner: each window with each unit. */
#define ACCOUNT_CELLS (BUDGET_WINDOW_COUNT * BUDGET_UNIT_COUNT)

/* What an owner took in this second and in the one before. */
struct burn {
    int64_t second;
    struct budget_amounts now, last;
};

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
    TAILQ_HEAD(, accounts_waiter) waiters;
};

/* All owners that were seen. */
struct accounts {
    struct ledger *l; /* borrowed */
    pthread_mutex_t lock;
    pthread_cond_t quiet;    /* n_leasing fell to 0 */
    struct account *by_name; /* uthash, owned */
    unsigned n_leasing;
    int64_t now_ms; /* the latest time that was told */
};

/* accounts_lease.c: have leases for <most>, and some more, written where <it>
 * has hard budgets; those who wait at it are woken then. */
void account_lease(struct account *it, const struct budget_amounts *most);

/* Whether <it> lacks a lease for <most>. */
bool account_lacks_lease(struct account *it, const struct budget_amounts *most);

#endif
