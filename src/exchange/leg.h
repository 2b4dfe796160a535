/* leg.h - Attempts of an exchange beside the one that answers in the end: those
 * that may have cost something and were followed by another, and those that ran
 * beside another (hedges). Each leaves a row of its own in the ledger, charged
 * by itself; what an attempt that took nothing held goes to the next one.
 *
 *   one after the other   leg_part() between them
 *   side by side          leg_open() before the second begins; leg_swap() if
 *                         the first wins; leg_close() for the other
 *
 * What of x->work tells a row its target, and what is held of budgets, belongs
 * to one attempt at a time, and moves by these. All else is serve's. On the
 * exchange's worker, while relay has no part of the reply. */
#ifndef TG_EXCHANGE_LEG_H
#define TG_EXCHANGE_LEG_H

#include "exchange/exchange.h"
#include "exchange/quota.h"

/* How an attempt ended that did not answer. */
struct leg_end {
    enum err why; /* ERR_OK: it was not needed any more, and cancelled */
    int status;   /* of its reply, 0: none came */
    bool sent;    /* bytes of the request may have left, and no whole reply
                   * says that they were refused */
    const struct usage *usage; /* what a whole reply of it said; NULL: none */
    uint64_t ms;               /* it took */
};

/* One of them; in the exchange's arena, in the order of their beginning. */
struct leg {
    struct leg *next;
    char id[ID_SIZE];          /* of its row */
    bool open;                 /* leg_close() has yet to come */
    bool free;                 /* it cost nothing: no row, unless it holds */
    struct str target_name;    /* as in struct work */
    struct str label;          /* likewise */
    struct str upstream_model; /* likewise; a copy */
    bool engine;               /* likewise */
    bool sent;                 /* as in struct leg_end, and so on */
    enum err why;
    int status;
    struct usage usage;      /* usage.present: it was told */
    struct made made;        /* of the engine's */
    uint64_t ms;             /* it took */
    struct quota_part *part; /* what it held; NULL: no budgets */
};

/* The attempt of <x> under way has ended as <how> says; its producer is gone.
 * Another may follow. If it may have cost something it becomes a leg; else what
 * it held stays, for the next to use. ERR_NOMEM: all is as it was, and no other
 * may follow. */
enum err leg_part(struct exchange *x, const struct leg_end *how) MUST_CHECK;

/* The attempt of <x> goes on, and another is to begin beside it: what it holds
 * is the leg's. NULL without memory. */
struct leg *leg_open(struct exchange *x);

/* <leg> is open: its attempt is that of <x> from now on, and that of <x> the
 * leg's. Who waits for its budgets does not any more. */
void leg_swap(struct exchange *x, struct leg *leg);

/* The attempt of <leg>, which is open, has ended as <how> says. What it held is
 * given back if it cost nothing. */
void leg_close(struct exchange *x, struct leg *leg, const struct leg_end *how);

#endif
