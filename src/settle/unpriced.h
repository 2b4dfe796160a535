/* unpriced.h - Says once for each model and target that its costs are not to
 * be relied on. */
#ifndef TG_SETTLE_UNPRICED_H
#define TG_SETTLE_UNPRICED_H

#include "base/str.h"

struct exchange;
struct unpriced;

/* What has been said; all workers share one. NULL without memory. */
struct unpriced *unpriced_new(void);

/* Free it; NULL is fine. */
void unpriced_free(struct unpriced *u);

/* Forget what has been said: there are other prices now. Any thread. */
void unpriced_reset(struct unpriced *u);

/* Log what <marks> (enum price_mark) say about the price that an attempt of <x>
 * was charged by, that of <model> at <target>, unless it is all well or was
 * said before. Any worker; <u> NULL: nothing is said. */
void unpriced_note(struct unpriced *u, const struct exchange *x, unsigned marks,
                   struct str target, struct str model);

#endif
