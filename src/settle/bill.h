/* bill.h - What an exchange used, in the classes of a usage row. */
#ifndef TG_SETTLE_BILL_H
#define TG_SETTLE_BILL_H

struct exchange;
struct leg;
struct usage_row;

/* Fill x->bill: exact where the upstream told its usage, else estimated from
 * the bytes that passed, else nothing. Writes tokens, source and flags into
 * <row>. */
void bill_compute(struct exchange *x, struct usage_row *row);

/* Fill what <leg> used and costs into <row>, likewise: all that it held where
 * nobody can tell, or its input. Gives enum price_mark of its price. */
unsigned bill_leg(const struct exchange *x, const struct leg *leg,
                  struct usage_row *row);

#endif
