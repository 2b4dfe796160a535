/* accounts.h - What keys and teams may still take: budgets are asked and held
 * here before a request is sent, and settled once with what it took. All that
 * bounds a request is held in one step or not at all, by any number of workers;
 * a lease on the disk always covers it. See budget.h for the arithmetic and
 * ledger_spend.h for what survives.
 *
 * Threads: any. One short lock guards all of it; nothing waits for the disk
 * under it. */
#ifndef TG_ACCOUNT_ACCOUNTS_H
#define TG_ACCOUNT_ACCOUNTS_H

#include "account/budget.h"
#include "account/ledger.h"
#include "account/spend.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct account;
struct accounts;

/* How a request fits. */
enum accounts_answer {
    ACCOUNTS_HELD = 0, /* it may be sent; accounts_settle() must come */
    ACCOUNTS_WAIT,     /* a lease is being written: the waiter is woken */
    ACCOUNTS_BUSY,     /* others hold what it needs: the waiter is woken when
                        * it may fit */
    ACCOUNTS_OVER,     /* a hard budget would be passed */
    ACCOUNTS_DOWN,     /* leases or holds cannot be written now */
};

/* Who wants to be woken once a lease is written, or was not, or once others
 * gave back what they held. Zeroed but for <wake>; at an end of its own, or
 * when it asks no more after it was woken, accounts_leave(). */
struct accounts_waiter {
    TAILQ_ENTRY(accounts_waiter) link; /* all of these are the accounts' */
    struct account *at;                /* NULL: not waiting */
    bool for_room;                     /* waits for what others hold */
    uint64_t turn;                     /* the smaller, the longer it waits */
    struct budget_amounts most;        /* what it asked for */
    struct account *offered_by;        /* woken for room there, not yet asked */
    struct budget_amounts offered;
    /* Called once a wait, on any thread, also inside of a call by its own;
     * asks nothing of the accounts itself. */
    void (*wake)(struct accounts_waiter *w);
};

/* Budgets of one owner. */
struct accounts_owner {
    struct str name; /* key id or team name; empty: there is none */
    const struct budget_spec *budgets;
    size_t n_budgets;
};

/* A request. All is borrowed for the call. */
struct accounts_ask {
    struct str id;     /* of the hold: ROW_ID_LEN bytes */
    struct str parent; /* where that is not the request's: the request's */
    uint32_t change;   /* of accounts_ask(): holds of this id there were */
    struct accounts_owner key, team;
    struct budget_amounts most; /* it takes no more */
    int64_t at_ms;              /* accounts_now_ms() when it asks */
};

/* What is held for a request. Zeroed holds nothing. The row of one that holds
 * has hold.at_ms as its budget_ms. */
struct accounts_hold {
    struct account *key, *team; /* the accounts'; NULL: not held */
    struct budget_hold hold;
    uint32_t changes; /* ask->change, and accounts_grow() that held */
};

/* Which budget a request does not fit. */
struct accounts_no {
    bool is_team;
    struct budget_spec spec;
    int64_t left;      /* of it, neither spent nor held; >= 0 but where what is
                        * spent passed a soft one: then by how much, below 0 */
    int64_t resets_ms; /* Unix time; INT64_MAX: never */
};

/* Accounts over <l>, borrowed. NULL without memory. */
struct accounts *accounts_new(struct ledger *l);

/* Wait for leases that are being written, and free; no request is alive. NULL
 * is fine. */
void accounts_free(struct accounts *a);

/* The time of budgets: the wall clock's, but it never goes back. */
int64_t accounts_now_ms(struct accounts *a);

/* Have key <key> and team <team> (either may be empty) known before the first
 * row of theirs is put, so that what rows add is counted once: accounts_ask()
 * does it, too. */
void accounts_meet(struct accounts *a, struct str key, struct str team);

/* Ask for <ask> and hold it, with its hold in the journal of <lw>, of which the
 * caller is the owner. With ACCOUNTS_OVER and ACCOUNTS_BUSY <no_out> tells why;
 * with ACCOUNTS_WAIT and ACCOUNTS_BUSY ask again when <w> is woken. It may be
 * asked earlier, too; a new window, for one, wakes nobody. An owner without
 * hard budgets is only counted. */
enum accounts_answer accounts_ask(struct accounts *a, struct ledger_worker *lw,
                                  const struct accounts_ask *ask,
                                  struct accounts_waiter *w,
                                  struct accounts_hold *hold_out,
                                  struct accounts_no *no_out);

/* <hold> holds: hold ask->most in its place, in the windows of now, with a new
 * hold of the same id in the journal; or leave all as it was. Never BUSY. What
 * is less or the same in every unit stays in its windows, and always fits. A
 * zeroed <hold> stays that. With ACCOUNTS_OVER <no_out> tells why. */
enum accounts_answer accounts_grow(struct accounts *a, struct ledger_worker *lw,
                                   const struct accounts_ask *ask,
                                   struct accounts_waiter *w,
                                   struct accounts_hold *hold,
                                   struct accounts_no *no_out);

/* Nothing was taken of <hold>, be it zeroed: give it back, and have the journal
 * say so, that a start after a crash charges nothing. hold->changes is then
 * the ask->change for the same id. ERR_LEDGER: all is as it was. */
enum err accounts_give(struct accounts *a, struct ledger_worker *lw,
                       const struct accounts_ask *ask,
                       struct accounts_hold *hold) MUST_CHECK;

/* <w> does not wait any more; it is not woken from then on. Fine for one that
 * never waited. */
void accounts_leave(struct accounts *a, struct accounts_waiter *w);

/* What hard budgets leave, by unit, each >= 0; INT64_MAX where none bounds. */
struct accounts_room {
    struct budget_amounts now;  /* neither spent nor held */
    struct budget_amounts ever; /* not spent */
    unsigned waiting; /* others that wait at the key or the team, whichever are
                       * more */
};

/* The least that the hard budgets of <ask> leave. ask->most is not looked
 * at. */
void accounts_left(struct accounts *a, const struct accounts_ask *ask,
                   struct accounts_room *out);

/* Whether more was spent of a soft budget of <ask> than its amount; the first
 * of them, those of the key before those of the team. */
bool accounts_soft(struct accounts *a, const struct accounts_ask *ask,
                   struct accounts_no *out);

/* The request of <row>, whose row was put just now, is over: it took what the
 * row says, be that nothing. <hold> is what accounts_ask() gave, or NULL; of
 * one that holds, hold.at_ms is the row's budget_ms. */
void accounts_settle(struct accounts *a, struct accounts_hold *hold,
                     const struct usage_row *row);

/* The budgets of a key or team were changed: wake those who wait there for what
 * others hold. */
void accounts_changed(struct accounts *a, bool is_team, struct str name);

/* How one budget of <owner> stands now. */
struct accounts_state {
    int64_t spent, held;
    int64_t resets_ms; /* Unix time; INT64_MAX: never */
};

/* Tell it for <spec> of a key or team. False: the ledger cannot be read, and
 * nobody knows. */
bool accounts_read(struct accounts *a, bool is_team, struct str name,
                   const struct budget_spec *spec, struct accounts_state *out);

/* Take <less>, by window, back from what key <name> or team <name> lost when
 * the machine went down, in the ledger and here. As ledger_take_back(). */
enum err accounts_take_back(
    struct accounts *a, bool is_team, struct str name,
    const struct budget_amounts less[BUDGET_WINDOW_COUNT],
    struct spend *taken_out) MUST_CHECK;

/* All accounts together. */
struct accounts_totals {
    uint64_t holds;             /* requests that hold something */
    struct budget_amounts held; /* by them, each counted once */
    uint64_t waiting;           /* requests, for a lease or for others */
    uint64_t leases;            /* written, ever; each shares a sync */
    uint64_t leases_failed;
};

/* Tell them. */
void accounts_totals(struct accounts *a, struct accounts_totals *out);

#endif
