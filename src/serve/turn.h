/* turn.h - Waiting for a place at a target that has as many requests as it may
 * have: one request of each key in turn, bounded, and no longer than told.
 *
 *   target_enter() == TARGET_FULL --> turn_wait() --> WAKE_TURN --> turn_take()
 *                                          |                            |
 *                                          +--> turn_drop()             +-->
 * in, at any time      late or shut
 *
 * Who waits is put off at once when the target is drained or its breaker
 * opens. On the worker of the exchange, all of it; places come from any. */
#ifndef TG_SERVE_TURN_H
#define TG_SERVE_TURN_H

#include "serve/queue.h"
#include "serve/target.h"

struct conf_upstream;
struct exchange;
struct turn;

/* Let <x> wait for a place at <t>, which is <up>, but not past <deadline_ms>
 * (monotonic; UINT64_MAX: none) nor longer than <up> allows. QUEUE_WAITS: x is
 * woken with WAKE_TURN, and <out> is for turn_take() or turn_drop(), one of
 * which must be called before <x> ends. QUEUE_FULL, QUEUE_LATE: it would be in
 * vain, or there is no memory; <again_ms_out> is when it may not be, >= 1000.
 */
enum queue_answer turn_wait(struct exchange *x, struct target *t,
                            const struct conf_upstream *up,
                            uint64_t deadline_ms, struct turn **out,
                            uint64_t *again_ms_out);

/* What came of waiting; the turn is over and freed. TARGET_IN: <out> is as
 * target_enter() has it. TARGET_FULL: it took too long. TARGET_SHUT: nobody is
 * let in any more, or not with one of the keys left by <tried_keys>. Also
 * before WAKE_TURN: TARGET_FULL. */
enum target_answer turn_take(struct turn *turn, const struct conf_upstream *up,
                             uint64_t tried_keys, uint64_t now_ms,
                             struct target_pass *out);

/* Wait no longer; frees the turn. NULL is fine. */
void turn_drop(struct turn *turn);

#endif
