/* fakerig.h - A rig over the double of fakegraph.h, with a vocabulary made for
 * it: pieces that overlap, so that stop strings begin and end inside of them.
 */
#ifndef TG_TESTS_LIB_FAKERIG_H
#define TG_TESTS_LIB_FAKERIG_H

#include "lib/enginerig.h"
#include "lib/fakegraph.h"

/* Tokens of the vocabulary that tests name; the 256 bytes begin at RIG_BYTES,
 * the pieces behind them. */
enum { RIG_UNK, RIG_BOS, RIG_EOS, RIG_BYTES };

/* A rig with <o> and a model of context <context>; turns are the test's. */
struct rig *rig_new(const struct sched_opts *o, unsigned context);

/* The same with a thread of the scheduler's own. */
struct rig *rig_start(const struct sched_opts *o, unsigned context);

/* Free a rig of these two. */
void rig_free(struct rig *r);

/* The reply to <ask> in an engine of its own with room for everything; free
 * with rig_reply_fini(). */
void rig_alone(const struct rig_ask *ask, struct rig_reply *out);

#endif
