/* charge.h - What a stored reply, or one that another request is having made,
 * costs who gets it: by the rule of the configuration nothing, or what it cost
 * the one that it was made for. In the second case budgets hold exactly that
 * before the first byte goes out. */
#ifndef TG_EXCHANGE_CHARGE_H
#define TG_EXCHANGE_CHARGE_H

#include "exchange/quota.h"

struct exchange;

/* Whether the reply of <x> was made for another. */
bool charge_is_shared(const struct exchange *x);

/* Whether <x> pays in full for what was made for another. */
bool charge_is_full(const struct exchange *x);

/* Whether a hard budget of its key or team bounds <x>. At any time. */
bool charge_is_bounded(const struct exchange *x);

/* Hold what x->found->sum says, where that is charged and a hard budget bounds
 * <x>; again after WAKE_QUOTA. QUOTA_OVER, QUOTA_DOWN: <x> was failed. */
enum quota_answer charge_hit(struct exchange *x);

/* What such a reply costs <x>, in nano-dollars; false where that is not known.
 */
bool charge_cost(const struct exchange *x, int64_t *nusd_out);

/* The stored reply cannot be given after all: give back what charge_hit()
 * held, as if it had never been asked for. Before anything is sent. */
void charge_undo(struct exchange *x);

#endif
