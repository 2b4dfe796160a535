/* sched.h - The engine's own thread for one model: continuous batching over
 * one graph. Decides who runs in the next step (decodes first, then chunks of
 * prompts under a budget, fair among keys), which pages hold what, what a
 * prefix hit saves, and who waits, is preempted or is turned away. */
#ifndef TG_ENGINE_SCHED_H
#define TG_ENGINE_SCHED_H

#include "base/err.h"
#include "engine/gen.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct graph;
struct kvswap;
struct model;
struct sched;

/* Bounds. Zeroed members take the defaults. */
struct sched_opts {
    unsigned context;     /* most tokens of a sequence, prompt and output */
    unsigned slots;       /* most sequences that run at once, 16 */
    unsigned n_pages;     /* pages of the graph's pool, >= 1 */
    unsigned page_tokens; /* tokens of a page, KRN_PAGE_TOKENS */
    unsigned step_tokens; /* most rows of a step, 512; at most the graph's
                           * max_rows */
    unsigned step_ms;     /* what a step should take at most while sequences
                           * decode, 250: fewer rows of prompts are read on a
                           * slow device. Four times that while none does;
                           * UINT32_MAX = as long as it takes */
    unsigned queue;       /* most jobs that wait, 256 */
    unsigned restore_min; /* a beginning shorter than that is not asked of the
                           * disk: a device computes a few rows as fast as one;
                           * 0 = any */
    /* The device failed (a step answered ERR_IO), and nothing of it is in use
     * any more: make the graph fit for use again, with nothing in its pages.
     * False: it cannot be; all jobs fail with ERR_MODEL_DOWN from then on. On
     * the engine's thread. NULL: a step that fails takes its jobs with it, and
     * no more. */
    bool (*revive)(void *arg);
    void *revive_arg;
};

/* A copy of the gauges and counters, for metrics and tables. */
struct sched_stats {
    uint64_t waiting, running, pages_used, pages_cached, pages_all;
    uint64_t jobs, prompt_tokens, cached_tokens, output_tokens;
    uint64_t store_tokens; /* of cached_tokens, brought back from disk */
    uint64_t steps, rows, preemptions, cancelled, refused;
    uint64_t busy_us; /* time spent in steps */
};

/* A scheduler with a thread of its own over <g> and <m>, both borrowed. ERR_IO
 * or ERR_NOMEM. */
enum err sched_new(struct graph *g, const struct model *m,
                   const struct sched_opts *o, struct sched **out) MUST_CHECK;

/* Use the disk <w> (borrowed until sched_free()) from now on. Once; any thread.
 */
void sched_attach(struct sched *s, struct kvswap *w);

/* Fail what is under way with ERR_DRAINING, stop the thread, free. */
void sched_free(struct sched *s);

/* Hand over <j>; events come to j->answer, at least one DONE or FAIL. What can
 * never run fails at once: ERR_CONTEXT_LENGTH, ERR_BAD_PARAM for ids that are
 * none; and ERR_RATE_REQUESTS while too many wait. Any thread. */
void sched_submit(struct sched *s, struct gen_job *j);

/* Stop job <id> at the next step; its last event still comes (FAIL with
 * ERR_CLIENT_GONE), unless it was sent already. Any thread. */
void sched_cancel(struct sched *s, uint64_t id);

/* Let job <id> rest after the step under way, or go on: its reader is slow.
 * Any thread. */
void sched_pause(struct sched *s, uint64_t id, bool pause);

/* The meter of job <id> allows more, or was ended: see to choices that rest for
 * it. Any thread. */
void sched_look(struct sched *s, uint64_t id);

/* Forget every cached prefix that no sequence uses; any thread, soon. */
void sched_purge(struct sched *s);

/* Most tokens of a sequence, prompt and output: of the model, of the options
 * and of the pool, whichever is the least. A job needs a prompt shorter than
 * that, or as long when it generates nothing. */
unsigned sched_context(const struct sched *s);

/* Tokens that jobs, waiting and under way, are expected to take; any thread. */
uint64_t sched_ahead(const struct sched *s);

/* Whether the device failed for good and all jobs are refused; any thread. */
bool sched_is_down(const struct sched *s);

/* Add the numbers of <more> to <sum>. */
void sched_stats_add(struct sched_stats *sum, const struct sched_stats *more);

/* Numbers as of now; any thread. */
void sched_read(const struct sched *s, struct sched_stats *out);

#endif
