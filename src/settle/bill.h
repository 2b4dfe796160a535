/* bill.h - What an exchange used, in the classes of a usage row. */
#ifndef TG_SETTLE_BILL_H
#define TG_SETTLE_BILL_H

struct exchange;
struct usage_row;

/* Fill x->bill: exact where the upstream told its usage, else estimated from
 * the bytes that passed, else nothing. Writes tokens, source and flags into
 * <row>. */
void bill_compute(struct exchange *x, struct usage_row *row);

#endif
