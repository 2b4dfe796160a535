/* enginerig.h - A scheduler, jobs described by plain structs, and their events
 * put together. The test calls the turns, or there is a thread. */
#ifndef TG_TESTS_LIB_ENGINERIG_H
#define TG_TESTS_LIB_ENGINERIG_H

#include "base/buf.h"
#include "base/mbox.h"
#include "engine/gen.h"
#include "engine/model.h"
#include "engine/sched.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIG_JOBS    256
#define RIG_CHOICES 8

/* A job. Pointers are borrowed for the call of rig_submit(). */
struct rig_ask {
    enum gen_kind kind;
    const int32_t *tokens;
    size_t n_tokens;
    unsigned n, max_tokens;
    float temperature;
    float frequency_penalty;
    uint64_t seed;
    const char *stops[4];
    int32_t stop_id; /* 0 = none */
    bool ignore_eos, logprobs, prompt_logprobs;
    unsigned top;
    uint8_t scope; /* every byte of the job's */
    const char *key;
    int64_t deadline_ms;
    struct grammar *grammar; /* a reference is taken of it; or NULL */
    struct meter *meter;     /* likewise */
};

/* One choice of a reply. */
struct rig_choice {
    struct buf text;
    struct gen_logprob *lps; /* (n_lps) owned */
    size_t n_lps;
    size_t n_events; /* of text */
    bool over;
    enum gen_finish finish;
    int stop_index, stop_id;
};

/* What came for a job. */
struct rig_reply {
    bool asked;
    bool over; /* DONE or FAIL came */
    enum err err;
    int64_t retry_after_ms;
    bool started;
    struct gen_logprob *prompt_lps; /* owned */
    size_t n_prompt_lps;
    float *vector; /* owned */
    size_t n_vector;
    unsigned n_short; /* times that it was told so */
    struct gen_counts counts;
    struct rig_choice choices[RIG_CHOICES];
    unsigned turn; /* of its end */
};

struct rig {
    struct graph *g; /* borrowed, */
    struct model *m; /* so is this */
    struct sched *s;
    struct mbox answer;
    unsigned turns;
    struct rig_reply replies[RIG_JOBS]; /* by job id */
};

/* A scheduler with <o> over <g> and <m>, both borrowed; with a thread of its
 * own, or without. */
struct rig *rig_open(struct graph *g, struct model *m,
                     const struct sched_opts *o, bool has_thread);

/* Free it and the replies. */
void rig_close(struct rig *r);

/* Submit <ask> as job <id> < RIG_JOBS. */
void rig_submit(struct rig *r, uint64_t id, const struct rig_ask *ask);

/* The two halves of it: make ready for the reply; submit, from any thread. */
void rig_expect(struct rig *r, uint64_t id);
void rig_send(struct rig *r, uint64_t id, const struct rig_ask *ask);

/* One turn, then take in the events; whether anything ran. */
bool rig_turn(struct rig *r);

/* Take in the events that are there. */
void rig_collect(struct rig *r);

/* Turns until all that were asked are over; fails after <most>. */
void rig_finish(struct rig *r, unsigned most);

/* Wait for the end of all, when there is a thread. */
void rig_wait(struct rig *r);

/* Assert that <a> and <b> hold the same texts, numbers and ends. */
void rig_same(const struct rig_reply *a, const struct rig_reply *b);

/* Free what <reply> owns. */
void rig_reply_fini(struct rig_reply *reply);

#endif
