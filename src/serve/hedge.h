/* hedge.h - A second attempt beside one that is slow to answer: whichever
 * answers first is the request's, and the other is cancelled.
 *
 *   hedge_arm --> routes[].hedge_after --> hedge_begin: two attempts run
 *                                             |
 *       one of them has a reply, or an end that it would have anywhere,
 *       or all have ended: hedge_look gives it, and no other runs
 *
 * The loop's own attempt stays what it was for the exchange; the one beside it
 * holds what it may cost as a leg, and leaves a row of its own in the ledger.
 * Only one is begun for a request, out of the budget of retries, at a target
 * that is sound and has room. Never for what is no mere question: streamed
 * bodies, stored replies, what is passed through; nor for a probe, nor with an
 * engine's model. */
#ifndef TG_SERVE_HEDGE_H
#define TG_SERVE_HEDGE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "serve/route.h"

struct attempt;
struct exchange;
struct leg;
struct seek;

/* What runs beside an attempt. Zeroed: nothing does. */
struct hedge {
    struct attempt *other; /* arena; NULL: none runs */
    struct choice choice;  /* whom it asks */
    struct leg *leg;       /* what it holds */
    bool is_second;        /* <other> was begun as the second of the two */
    bool done;             /* one was begun: there will be no other */
    struct event timer;    /* when it is time; wakes with WAKE_RETRY */
    bool timer_on;         /* it was set up */
};

/* The attempt <a> has begun: it will be slow when WAKE_RETRY comes. */
void hedge_arm(struct hedge *h, struct attempt *a);

/* It is slow: begin another beside <a>, the attempt at s->choice, to be over at
 * <deadline_us> as attempt_start() has it. False: none was begun. */
bool hedge_begin(struct hedge *h, struct seek *s, struct attempt *a,
                 int64_t deadline_us);

/* Which attempt is the exchange's now, of <a>, which was, and the other: where
 * it is READY or ENDED, the other is gone; s->choice is whom it asks. */
struct attempt *hedge_look(struct hedge *h, struct seek *s, struct attempt *a);

/* Nothing is to run beside the attempt of <x> any more. */
void hedge_stop(struct hedge *h, struct exchange *x);

#endif
