/* pace.h - How far a stream may go on what is held of its budgets: the hold
 * grows ahead of it, a stream that is faster than that waits, and one whose
 * budget has ended is cut at the last token that it affords. */
#ifndef TG_RELAY_PACE_H
#define TG_RELAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct exchange;

/* Whether a stream may take its next event. */
enum pace {
    PACE_GO = 0,
    PACE_WAIT, /* not before WAKE_QUOTA */
};

/* Whether a budget bounds <x>'s stream, and relay counts it. */
bool pace_is_on(const struct exchange *x);

/* Have enough held for what <x>'s stream does next. */
enum pace pace_next(struct exchange *x);

/* Count <tok> tokens of an event that comes; false: the budget has no room for
 * them. None of no tokens is ever kept back. */
bool pace_take(struct exchange *x, uint64_t tok);

#endif
