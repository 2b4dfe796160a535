/* seq.h - One choice of a job: its tokens, its pages and where it stands.
 *
 *              +--------------------+-------------------+
 *              |                    v                   |
 *   WAITING -> PREFILL -> DECODE -> PREEMPTED -> PREFILL | DECODE
 *      |          |          |          |
 *      +----------+----------+----------+--> PAUSED -> WAITING | PREEMPTED
 *   WAITING or PREEMPTED -> RESTORING -> WAITING, PREEMPTED or PAUSED
 *   any of them -> DONE
 *
 * In RESTORING nothing is computed: the beginning of the text is being brought
 * back from the disk. WAITING may also go to DECODE and PREEMPTED: so a choice
 * begins whose prompt a sibling has read. The scheduler moves sequences; the
 * table of legal moves stands here. */
#ifndef TG_ENGINE_SEQ_H
#define TG_ENGINE_SEQ_H

#include "base/digest.h"
#include "base/err.h"
#include "engine/seq_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct krn_drawn;
struct restore;
struct task;

/* Where a sequence stands. */
enum seq_state {
    SEQ_WAITING = 0, /* nothing was done for it */
    SEQ_PREFILL,     /* runs: tokens that are known are read */
    SEQ_DECODE,      /* runs: one token a step */
    SEQ_PAUSED,      /* its reader is slow, or its job is short of tokens; may
                      * hold pages */
    SEQ_PREEMPTED,   /* was under way, waits for room; may hold pages */
    SEQ_RESTORING,   /* pages are being read from the disk; may hold some */
    SEQ_DONE,        /* over: holds nothing */
    SEQ_COUNT
};

/* A sequence. */
struct seq {
    struct task *task; /* borrowed: its owner */
    unsigned choice;
    enum seq_state state; /* set by sched_enter() alone */
    int slot;             /* row of the table of pages while it runs, or -1 */
    bool queued;          /* in its key's list of those that wait */
    bool begun;           /* was admitted once */
    bool is_short;        /* rests until it may make tokens */
    uint64_t stuck;       /* number of the step that has no page for it */
    size_t computed;      /* tokens whose keys and values are in pages */
    size_t take;          /* rows of the step that is planned */
    size_t out_row;       /* its first among those that come out of the step */
    bool draws;           /* the device draws its token in this step: */
    size_t draw_row;      /* its row among all that are wanted, */
    const struct krn_drawn *drawn; /* borrowed: what it drew; NULL = nothing */

    int32_t *pages; /* (n_pages) owned; page i holds the tokens
                     * from i * page_tokens on */
    size_t n_pages, cap_pages;
    struct digest *chain; /* (n_chain) owned; hash of each full page */
    size_t n_chain, cap_chain;
    size_t n_indexed; /* leading pages that the prefix index has */
    bool unindexed;   /* a hash is taken by another text: no more of them */
    bool asked;       /* the disk was asked for its beginning */
    struct restore *restore; /* borrowed: what it waits for in RESTORING */

    int32_t *out; /* (n_out) owned; what was generated */
    size_t n_out, cap_out;
    struct seq_text text;

    TAILQ_ENTRY(seq) work; /* of its key: waiting, or in PREFILL */
    TAILQ_ENTRY(seq) run;  /* running by age, or idle: paused, preempted */
};

TAILQ_HEAD(seq_list, seq);

/* Whether a sequence may go from <from> to <to>. */
bool seq_may(enum seq_state from, enum seq_state to);

/* Whether <state> has a row of the table of pages. */
static inline bool seq_runs(enum seq_state state)
{
    return state == SEQ_PREFILL || state == SEQ_DECODE;
}

/* Whether <a> is younger than <b>: of a later job, or a later choice. */
bool seq_is_younger(const struct seq *a, const struct seq *b);

/* Tokens known: of the prompt and generated. */
size_t seq_len(const struct seq *q);

/* Token <i> < seq_len(). */
int32_t seq_token(const struct seq *q, size_t i);

/* Copy tokens <from> .. <from> + <n> - 1 to <out>. */
void seq_tokens(const struct seq *q, size_t from, size_t n, int32_t *out);

/* Append a generated token, a page. ERR_NOMEM. */
enum err seq_put_token(struct seq *q, int32_t id) MUST_CHECK;
enum err seq_put_page(struct seq *q, int32_t page) MUST_CHECK;

/* Compute the hashes of the first <n> pages, whose tokens are all known, as
 * far as they are missing. ERR_NOMEM. */
enum err seq_hash(struct seq *q, size_t n) MUST_CHECK;

/* Give <q>, which has none, the hashes that <from> has of the prompt that both
 * share. ERR_NOMEM. */
enum err seq_share_hashes(struct seq *q, const struct seq *from) MUST_CHECK;

/* The hash before page <i>; pages 0 .. i-1 are hashed. */
const struct digest *seq_before(const struct seq *q, size_t i);

/* Free what <q> owns but for its pages, of which it holds none. */
void seq_fini(struct seq *q);

#endif
