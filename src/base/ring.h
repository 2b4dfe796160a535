/* ring.h - Bounded ring of records between threads: many push, one takes.
 * Pushing takes no lock and never waits; a record that does not fit is
 * refused. */
#ifndef TG_BASE_RING_H
#define TG_BASE_RING_H

#include "base/str.h"

#include <sys/uio.h>

struct ring;

/* A ring of <bytes>, a power of two from 4096 up; NULL without memory. */
struct ring *ring_new(size_t bytes);

/* Free <r>; nobody may use it any more. NULL is fine. */
void ring_free(struct ring *r);

/* Push <a> followed by <b> as one record, leaving at least <spare> bytes of
 * the ring free. False when that does not fit. Any thread. */
bool ring_push(struct ring *r, struct str a, struct str b, size_t spare);

/* Whether nothing was pushed that is not consumed; a push that is under way
 * counts as pushed. Any thread. */
bool ring_is_empty(struct ring *r);

/* Consumer only: point at most <max> entries of <iov> at the oldest finished
 * records, the first without the bytes already consumed; return how many.
 * Borrowed until ring_consume(). */
int ring_peek(struct ring *r, struct iovec *iov, int max);

/* Consumer only: drop <len> of the bytes that ring_peek() showed; a record
 * may be consumed in parts. Return the number of records finished. */
size_t ring_consume(struct ring *r, size_t len);

/* Consumer only: drop the rest of a record consumed in part, if there is one;
 * whether there was. */
bool ring_drop_torn(struct ring *r);

/* Where the ring stands: everything pushed before the call is consumed once
 * ring_is_past() the mark. Any thread. */
uint64_t ring_mark(struct ring *r);

/* Whether everything pushed before <mark> is consumed. Any thread. */
bool ring_is_past(struct ring *r, uint64_t mark);

#endif
