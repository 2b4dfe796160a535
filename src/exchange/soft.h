/* soft.h - Soft budgets, which bound nothing: who looks after them is told
 * once a window that one is passed, and clients while it is. */
#ifndef TG_EXCHANGE_SOFT_H
#define TG_EXCHANGE_SOFT_H

#include "base/buf.h"

struct exchange;
struct soft;

/* What was told; all workers share one. NULL without memory. */
struct soft *soft_new(void);

/* Free it; NULL is fine. */
void soft_free(struct soft *s);

/* Append what a header says of the soft budgets of the caller of <x> and of
 * its team that are passed now, and count that it was said; nothing when none
 * is. A list as structured fields have it:
 *   key;budget="$25/month";spent="25.41";resets="2026-12-01T00:00:00.000Z"
 * What <out> has no room for is left out. */
void soft_warning(struct exchange *x, struct buf *out);

/* The request <x> is counted in its budgets: log each soft one that is passed,
 * unless that was said in this window. */
void soft_note(struct exchange *x);

#endif
