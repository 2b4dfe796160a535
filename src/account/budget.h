/* budget.h - How budgets stand, and what a request may still take of them. Pure
 * arithmetic: the caller locks, tells the time and makes leases durable.
 *
 * Of each budget, what is spent and what is held for requests under way never
 * pass the lease, and the lease never passes the budget. A lease counts once it
 * stands on the disk: what may have been spent when the machine goes down is
 * then known to be no more. Times are those of a clock that never goes back;
 * a budget is renewed by looking at it in a later window. */
#ifndef TG_ACCOUNT_BUDGET_H
#define TG_ACCOUNT_BUDGET_H

#include "account/budget_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Amounts of each unit: what a request may take at most, or what it took; each
 * >= 0. */
struct budget_amounts {
    int64_t of[BUDGET_UNIT_COUNT];
};

/* A budget. Fields are readable, budget.c's to write. */
struct budget {
    struct budget_spec spec;
    int64_t window;           /* number of the one that all below is of */
    int64_t begin_ms, end_ms; /* of it */
    int64_t spent; /* settled; may pass the amount only when <soft>, or by
                    * what an upstream took beyond its hold */
    int64_t held;  /* for requests under way */
    int64_t lease; /* durable; >= spent + held but for what passed it */
};

/* What is held for one request in every budget that bounds it. */
struct budget_hold {
    struct budget_amounts most; /* held */
    int64_t at_ms;              /* when: tells the windows */
};

/* How a request fits. */
enum budget_answer {
    BUDGET_FITS = 0,
    BUDGET_LEASE, /* it does, once leases are larger */
    BUDGET_OVER,  /* it does not */
};

/* A budget of which nothing is known: nothing is spent at <now_ms>. */
void budget_init(struct budget *b, const struct budget_spec *spec,
                 int64_t now_ms);

/* Renew <b> if <now_ms> is in a later window than what it holds. */
void budget_roll(struct budget *b, int64_t now_ms);

/* What is left: the amount less what is spent and held, >= 0. */
int64_t budget_left(const struct budget *b);

/* Whether <most> fits all of <n> budgets, each rolled. *which_out (may be
 * NULL) is the first that it does not fit, or that lacks a lease. Soft budgets
 * fit anything, and nothing fits any. */
enum budget_answer budget_ask(struct budget *const *list, size_t n,
                              const struct budget_amounts *most,
                              size_t *which_out);

/* The same for <most> in place of what <h> holds of them. */
enum budget_answer budget_ask_grow(struct budget *const *list, size_t n,
                                   const struct budget_hold *h,
                                   const struct budget_amounts *most,
                                   size_t *which_out);

/* What <b> must hold beside what <h> holds of it, so that it holds <most>. */
int64_t budget_lacks(const struct budget *b, const struct budget_hold *h,
                     const struct budget_amounts *most);

/* The lease that <b> needs for <most>, and <more> for those to come; at most
 * its amount. Make it durable, then budget_set_lease(). */
int64_t budget_lease_for(const struct budget *b,
                         const struct budget_amounts *most, int64_t more);

/* Tell that <lease>, of window <window>, is on the disk. Of no effect in a
 * later window, or when there is a larger one. */
void budget_set_lease(struct budget *b, int64_t window, int64_t lease);

/* Hold <most> of all, for which budget_ask() just said BUDGET_FITS. */
void budget_take(struct budget *const *list, size_t n,
                 const struct budget_amounts *most, int64_t now_ms,
                 struct budget_hold *out);

/* Hold what is more of <old>, which is held, and <new>, whose at_ms is now, or
 * that of <old> where nothing of it is more; budget_ask_grow() just said
 * BUDGET_FITS. Once it is certain, budget_keep() one of both: a hold goes into
 * the window of now without ever being nowhere. */
void budget_grow(struct budget *const *list, size_t n,
                 const struct budget_hold *old, const struct budget_hold *new);

/* After budget_grow(): hold <kept>, and not <other>. */
void budget_keep(struct budget *const *list, size_t n,
                 const struct budget_hold *kept,
                 const struct budget_hold *other);

/* The request took <took>, which may be less or more than was held: spent,
 * and the hold is gone. A budget in a later window than the hold is left
 * alone. */
void budget_settle(struct budget *const *list, size_t n,
                   const struct budget_hold *h,
                   const struct budget_amounts *took);

/* <less> of what was spent in window <window> was not; of no effect in a later
 * one. */
void budget_take_back(struct budget *b, int64_t window, int64_t less);

/* Where <b> stands after a start: <spent> and the holds that were never
 * settled, <open>, were found in a journal that is whole (<trusted>), or
 * maybe not: then the <lease> found counts as spent if it is more. All of
 * window <window>. */
void budget_recover(struct budget *b, int64_t window, int64_t spent,
                    int64_t open, int64_t lease, bool trusted);

#endif
