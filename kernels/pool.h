/* pool.h - The compute threads of a context. One thread drives the pool and
 * works along; the others wait for work: awake for some ten microseconds, then
 * asleep. Items are taken one by one by whoever is free, so that a thread
 * which the system has put aside delays at most the item that it holds. */
#ifndef TG_KERNELS_POOL_H
#define TG_KERNELS_POOL_H

#include <stdbool.h>

#include "kernels/krn.h"

struct krn_pool;

/* Do item <item> of a run; <worker> is 0 .. pool_threads()-1 and no two calls
 * at one time have the same. May not call pool_run(). */
typedef void pool_fn(void *arg, unsigned item, unsigned worker);

/* Start <threads> - 1 threads (0: one for each core of the affinity mask);
 * <nice> is added to their niceness; <pin> binds each to a core of its own.
 * KRN_NOMEM: the system gives no threads. */
enum krn_status pool_open(unsigned threads, int nice, bool pin,
                          struct krn_pool **out) KRN_MUST_CHECK;

/* End the threads; NULL is fine. */
void pool_close(struct krn_pool *p);

/* Threads, the calling one included; at least 1. */
unsigned pool_threads(const struct krn_pool *p);

/* fn(arg, i, worker) for each i of 0 .. n_items-1, in any order, each once;
 * returns when all are done. What a call wrote is seen by the caller, and what
 * the caller wrote before is seen by the calls. */
void pool_run(struct krn_pool *p, pool_fn *fn, void *arg, unsigned n_items);

#endif
