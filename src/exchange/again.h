/* again.h - A request made once more by itself, with nobody who waits for its
 * reply: what is stored of it is to be made anew. */
#ifndef TG_EXCHANGE_AGAIN_H
#define TG_EXCHANGE_AGAIN_H

struct exchange;

/* A copy of the request of <x>, whose body was collected and is still there,
 * without a client, in STAGE_FRONT on the same worker. NULL without memory. */
struct exchange *exchange_copy(const struct exchange *x);

/* Run <x>, an exchange_copy() that was not run yet, from a later turn of the
 * loop on, behind STAGE_FRONT. */
void exchange_run_later(struct exchange *x);

#endif
