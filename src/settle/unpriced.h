/* unpriced.h - Says once for each model and target that its costs are not to
 * be relied on. */
#ifndef TG_SETTLE_UNPRICED_H
#define TG_SETTLE_UNPRICED_H

struct exchange;
struct unpriced;

/* What has been said; all workers share one. NULL without memory. */
struct unpriced *unpriced_new(void);

/* Free it; NULL is fine. */
void unpriced_free(struct unpriced *u);

/* Forget what has been said: there are other prices now. Any thread. */
void unpriced_reset(struct unpriced *u);

/* Log what the bill of <x>, which is computed, says about its price, unless it
 * is all well or was said before. Any worker; <u> NULL: nothing is said. */
void unpriced_note(struct unpriced *u, const struct exchange *x);

#endif
