/* sched_fixture.h - What the tests of the scheduler's promises share: a prompt,
 * jobs over its beginnings, a scheduler of a given size. */
#ifndef TG_TESTS_UNIT_SCHED_FIXTURE_H
#define TG_TESTS_UNIT_SCHED_FIXTURE_H

#include "lib/fakerig.h"

#include "engine/meter.h"
#include "engine/sched_priv.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>

/* Tokens of a sequence. */
#define CONTEXT 256

/* A prompt of 256 tokens, of which tests take the beginning. */
static int32_t prompt[CONTEXT];

/* Fill it; a group's setup. */
static inline int fill_prompt(void **state)
{
    (void)state;
    for (int i = 0; i < CONTEXT; i++)
        prompt[i] = RIG_BYTES + (i * 37 + i * i * 11) % 256;
    return 0;
}

/* A greedy job over the first <n> tokens. */
static inline struct rig_ask ask_of(size_t n, unsigned max_tokens)
{
    return (struct rig_ask){.tokens = prompt,
                            .n_tokens = n,
                            .max_tokens = max_tokens,
                            .ignore_eos = true};
}

/* A scheduler of that size. */
static inline struct rig *rig_of(unsigned slots, unsigned step_tokens,
                                 unsigned pages)
{
    struct sched_opts o = {
        .slots = slots, .step_tokens = step_tokens, .n_pages = pages};

    return rig_new(&o, CONTEXT);
}

/* Run <ask> as job <id> to its end; its cached tokens. */
static inline unsigned cached(struct rig *r, uint64_t id,
                              const struct rig_ask *ask)
{
    rig_submit(r, id, ask);
    rig_finish(r, 1000);
    assert_int_equal(r->replies[id].err, ERR_OK);
    return r->replies[id].counts.cached_tokens;
}

/* Pages that sequences hold. */
static inline uint64_t pages_used(struct rig *r)
{
    struct sched_stats st;

    sched_read(r->s, &st);
    return st.pages_used;
}

/* Tokens made so far. */
static inline uint64_t made(struct meter *m)
{
    struct meter_counts c;

    meter_read(m, &c);
    return c.output_tok;
}

/* Turns until nothing runs. */
static inline void settle(struct rig *r)
{
    for (unsigned i = 0; rig_turn(r); i++)
        assert_in_range(i, 0, 2000);
}

/* The job's only or first sequence. */
static inline const struct seq *first_seq(struct rig *r, uint64_t id)
{
    struct task *t;

    TAILQ_FOREACH(t, &r->s->tasks, link)
    if (t->id == id)
        return &t->seqs[0];
    fail();
    abort();
}

#endif
