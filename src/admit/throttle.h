/* throttle.h - Failed authentications per address: above a limit an address
 * gets 429 for its bad keys instead of a look-up's 401; good keys pass, so that
 * nobody behind a shared address is locked out by a neighbour. */
#ifndef TG_ADMIT_THROTTLE_H
#define TG_ADMIT_THROTTLE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct throttle;

/* A new, empty table for the whole process; NULL without memory. */
struct throttle *throttle_new(void);

/* Free it; NULL is fine. */
void throttle_free(struct throttle *t);

/* Count a failure of <peer>, an address as text (of IPv6 the /64 counts, other
 * text as it is), at <now_ms> (monotonic) and tell whether it is
 * over <limit> failures within <window_ms>; limit 0 is none. When over,
 * <wait_ms_out> is the time until the window ends. Any thread. */
bool throttle_fail(struct throttle *t, struct str peer, uint64_t now_ms,
                   uint64_t limit, uint64_t window_ms, uint64_t *wait_ms_out);

#endif
