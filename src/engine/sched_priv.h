/* sched_priv.h - What the files of the scheduler share. All of it belongs to
 * the engine's thread, but for the mailbox and what is atomic.
 *
 *   sched.c      the thread, the mailbox, submitting, numbers
 *   sched_task.c a job from its arrival to its last event
 *   sched_seq.c  moves of sequences between states; their pages
 *   sched_plan.c who gets rows in the next step
 *   sched_step.c the step, and what comes out of it
 *   sched_draw.c tokens that the device draws
 *   sched_limit.c sequences whose tokens are counted out
 *   sched_restore.c sequences that wait for the disk
 *   sched_lost.c what becomes of all when the device fails
 *   sched_stage.c pages between device and host
 *   sched_keep.c what the disk is told, without waiting */
#ifndef TG_ENGINE_SCHED_PRIV_H
#define TG_ENGINE_SCHED_PRIV_H

#include "base/map.h"
#include "base/mbox.h"
#include "base/thr.h"
#include "engine/fair.h"
#include "engine/kvpool.h"
#include "engine/kvswap.h"
#include "engine/prefix.h"
#include "engine/sched.h"
#include "engine/seq.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Depths of a text by which the time of computing is measured. */
#define SCHED_DEPTHS 12

struct stop_set;

/* Kinds of messages. */
enum sched_msg_kind {
    SCHED_JOB = 0,
    SCHED_CANCEL,
    SCHED_PAUSE,
    SCHED_RESUME,
    SCHED_LOOK,
    SCHED_PURGE,
    SCHED_LOAD, /* a struct kvswap_load */
    SCHED_STOP,
};

/* A message that is neither a job nor a load. */
struct sched_msg {
    struct gen_head head;
    uint64_t id; /* of a job */
};

/* A job under way. */
struct task {
    struct gen_job *job;  /* owned */
    uint64_t id;          /* the job's */
    struct fair_key *key; /* one of its n_jobs; NULL before */
    uint64_t born;        /* number in order of arrival */
    struct seq *seqs;     /* (job->n) owned */
    unsigned n_seqs;      /* that have begun: 1 until the prompt is read */
    unsigned n_open;      /* choices that are not over */
    bool paused;
    bool counted;       /* among those that wait */
    bool over;          /* its last event is sent */
    bool told_short;    /* GEN_EV_SHORT is sent */
    unsigned n_short;   /* sequences that rest for want of tokens */
    unsigned n_granted; /* tokens counted and not drawn yet */
    struct digest root;
    unsigned page_tokens;   /* of the scheduler */
    struct stop_set *stops; /* owned; NULL = none */
    struct seq_rules rules;
    /* Prompts whose rows are read one by one: echo and embeddings. */
    size_t n_read;           /* rows taken in, in order */
    struct gen_logprob *lps; /* (n_tokens - 1) owned, or NULL */
    double *sum;             /* (d_model) owned, or NULL */
    size_t n_restored;       /* tokens of the prompt read from the disk */
    uint64_t first_us;       /* first step; 0 = none yet */
    uint64_t token_us;       /* first token; 0 = none yet */
    struct gen_counts counts;
    uint64_t left; /* of job->cost */
    TAILQ_ENTRY(task) link;
    UT_hash_handle hh; /* by id */
};

TAILQ_HEAD(task_list, task);

/* Slots of staging memory, of a page each. */
#define STAGE_SLOTS 32

/* Staging memory, where the device has its own. */
struct stage {
    void *base;        /* (n, slot_bytes) owned; NULL = not yet */
    size_t slot_bytes; /* a page, rounded up */
    unsigned n;        /* 2 .. STAGE_SLOTS */
    bool used[STAGE_SLOTS];
};

/* What a wave is at. */
enum wave_at {
    WAVE_IDLE = 0,
    WAVE_READ, /* from the disk to its slots */
    WAVE_COPY, /* from there to the device */
};

/* Pages of a restore that go together. */
struct wave {
    enum wave_at at;
    unsigned first;    /* page of the restore */
    unsigned n_slots;  /* pages, 0 on the host */
    unsigned n_copies; /* of them, under way to the device */
    int slot[STAGE_SLOTS];
    uint64_t ticket; /* of the last copy */
};

/* A page on its way from the device. */
struct page_out {
    struct kvswap_page *p; /* the disk's: handed over in the end */
    uint64_t ticket;
    int32_t page;
    unsigned era; /* of the disk, when it was offered */
    STAILQ_ENTRY(page_out) link;
};

/* What is being brought back. */
struct restore {
    struct kvswap_load load; /* first */
    struct seq *q;           /* who waits, or NULL */
    uint64_t until_us;       /* no longer than that */
    bool overdue;            /* nobody waits any more: it took too long */
    int32_t *pages;          /* (n_pages) owned; each held once */
    unsigned n_pages;
    unsigned era; /* of the disk, when it was asked to read */
    struct wave wave[2];
    unsigned n_read;       /* leading pages that were read */
    unsigned n_ok;         /* of them, those in their places */
    bool ended;            /* no more are to be read */
    uint64_t us, cost_us;  /* time of reading, and of computing what was read */
    struct restore *ahead; /* it waits for that one: same text */
    LIST_ENTRY(restore) link;
};

/* Counters and gauges; written by the engine's thread, but for refused,
 * waiting and ahead. */
struct sched_counts {
    _Atomic uint64_t waiting, running, pages_used, pages_cached;
    _Atomic uint64_t jobs, prompt_tokens, cached_tokens, output_tokens;
    _Atomic uint64_t store_tokens, steps, rows, preemptions, cancelled, refused;
    _Atomic uint64_t busy_us;
    _Atomic uint64_t ahead;      /* tokens that jobs are expected to take */
    _Atomic uint64_t per_second; /* tokens, of late; 0 = not known */
    _Atomic uint64_t out_tokens; /* of a choice, of late */
};

/* Where rows of a step go. */
struct sched_rows {
    int32_t *seq, *pos, *ids; /* (step_tokens) owned */
    uint8_t *want;            /* (step_tokens) owned */
    float *out;               /* owned; what the graph gives back */
    size_t m;                 /* rows */
    size_t n_out;             /* rows that come out, */
    size_t n_wanted;          /* and with those that stay on the device */
    struct seq **placed;      /* (step_tokens) owned; each once, in order */
    size_t n_placed;
    size_t budget;          /* rows left */
    size_t read_budget;     /* rows left of prompts that are read one by one */
    enum gen_kind kind;     /* of the jobs of this step */
    bool closed;            /* nobody may start any more */
    struct fair_key *first; /* whose start waits for pages, or NULL */
};

/* What a device draws behind a step. */
struct sched_draws {
    struct krn_draw *ask;  /* (slots) owned */
    struct krn_drawn *got; /* (slots) owned */
    uint64_t *masks;       /* (slots, words) owned */
    size_t words, n;       /* words of a mask; draws of the step */
};

/* See sched.h. */
struct sched {
    struct graph *g;       /* borrowed */
    const struct model *m; /* borrowed */
    struct sched_opts o;   /* without zeroes */
    unsigned context;
    unsigned n_vocab;     /* logits that stand for tokens */
    unsigned page_tokens; /* tokens of a page */
    size_t max_pages;     /* of a sequence */
    size_t read_rows;     /* rows of logits of a step beside the slots' */
    struct mbox mbox;
    struct thr thr;
    bool has_mbox, stopping;
    bool lost;        /* the device failed: to be revived */
    atomic_bool down; /* it could not be */
    struct sched_msg stop;
    atomic_bool resume_all; /* a resume was lost for want of memory */
    atomic_bool look_all;   /* so was a look, or a cancel */
    bool limit_due;         /* sched_limits() has something to do */

    struct kvpool pool;
    struct prefix prefix;
    struct fair fair;
    struct task *by_id;      /* uthash */
    struct task_list tasks;  /* in order of arrival */
    struct task_list dead;   /* over, freed at the end of the turn */
    struct seq_list running; /* by age */
    struct seq_list idle;    /* paused and preempted, by age */
    unsigned n_slots;        /* in use */
    int32_t *table;          /* (slots, max_pages) owned; -1 = no page */
    bool *slot_used;         /* (slots) owned */
    unsigned n_tasks[2];     /* open, by enum gen_kind */
    struct sched_rows rows;
    struct sched_draws draws;
    struct seq_scratch scratch; /* owned */
    uint64_t born;
    uint64_t now_us;
    int64_t next_deadline_ms; /* INT64_MAX = none */
    uint64_t step_no;
    uint64_t late_rows, late_us; /* of late, for per_second */
    uint64_t read_rate; /* rows of prompts a second, of late; 0 = not known */
    _Atomic(struct kvswap *) swap; /* borrowed; NULL = no disk (yet) */
    unsigned *kept;                /* (n_pages) owned: the era in which the disk
                                    * got it, 0 = never */
    uint8_t *copying; /* (n_pages) owned: copies out of it that are under way;
                       * it is in the index and not given up meanwhile */
    LIST_HEAD(, restore) restores; /* under way */
    struct stage stage;
    STAILQ_HEAD(, page_out) outs;  /* under way, oldest first */
    unsigned n_overdue;            /* of them, given up */
    double row_us;                 /* time of a row of the last step */
    double depth_us[SCHED_DEPTHS]; /* likewise of late, by depth; 0 = none */
    uint64_t n_unworthy;           /* restores that would have taken longer */
    struct sched_counts n;
};

/* --- sched.c ------------------------------------------------------------ */

/* A scheduler without a thread, for those that call sched_turn() themselves.
 * Errors as sched_new(). */
enum err sched_make(struct graph *g, const struct model *m,
                    const struct sched_opts *o, struct sched **out) MUST_CHECK;

/* Take in what is in the mailbox and run one step; whether anything ran. */
bool sched_turn(struct sched *s);

/* --- sched_task.c ------------------------------------------------------- */

/* Send <ev> with the counts of <t> as of now. */
void task_send(struct sched *s, struct task *t, struct gen_event *ev);

/* Take over <j>. */
void task_accept(struct sched *s, struct gen_job *j);

/* Fail <t>, with its last event. */
void task_fail(struct sched *s, struct task *t, enum err e, const char *why);

/* Choice <q> is over: tell, and end the task with its last choice. */
enum err task_finish(struct sched *s, struct seq *q, enum gen_finish how,
                     int stop_index, int stop_id) MUST_CHECK;

/* Every choice of <t> is over: its last event. */
void task_done(struct sched *s, struct task *t);

/* Pause <t>, or let it go on. */
void task_pause(struct sched *s, struct task *t, bool pause);

/* Fail those whose time is up. */
void task_expire(struct sched *s);

/* Free those that are over. */
void task_bury(struct sched *s);

/* It no longer waits. */
void task_uncount(struct sched *s, struct task *t);

/* Fail <j>, of which there is no task, and free it. Any thread. */
void job_refuse(struct gen_job *j, enum err e, const char *why,
                int64_t retry_after_ms);

/* Milliseconds after which it is worth to try again. Any thread. */
int64_t sched_retry_ms(const struct sched *s);

/* --- sched_seq.c -------------------------------------------------------- */

/* Move <q> to <to>, with all that goes with it. Going to a state that runs
 * needs a free slot. */
void sched_enter(struct sched *s, struct seq *q, enum seq_state to);

/* Take the cached pages of the beginning of <q> behind those it holds, all of
 * which are full and cached: at most those of its first <most> tokens.
 * ERR_NOMEM. */
enum err seq_take_cached(struct sched *s, struct seq *q,
                         size_t most) MUST_CHECK;

/* Pages that can be had without taking any from a sequence. */
size_t sched_room(const struct sched *s);

/* A page for <q>, or -1: a free one, the oldest cached one, or one taken from a
 * sequence that does not run. */
int32_t sched_page(struct sched *s);

/* Take the pages of the youngest sequence that does not run, of those paused
 * first, but not those of <except>; false when there are none. */
bool sched_reclaim(struct sched *s, const struct seq *except);

/* Append <page> to those of <q>, or give it back: ERR_NOMEM. */
enum err seq_add_page(struct sched *s, struct seq *q, int32_t page) MUST_CHECK;

/* Give back all pages of <q>. */
void seq_drop_pages(struct sched *s, struct seq *q);

/* Pages for the first <n> tokens of <q>, as many as can be had by sched_page();
 * the tokens that have room then, at most <n>. */
size_t seq_grow(struct sched *s, struct seq *q, size_t n);

/* Enter the full pages of <q> into the prefix index. ERR_NOMEM. */
enum err seq_index(struct sched *s, struct seq *q) MUST_CHECK;

/* Let <q>, in WAITING, begin behind the prompt that <from> has read. */
enum err seq_fork(struct sched *s, struct seq *q,
                  const struct seq *from) MUST_CHECK;

/* Forget the cached pages. */
void sched_forget(struct sched *s);

/* --- sched_limit.c ------------------------------------------------------ */

/* <q> is about to get its last row, behind which tokens are drawn: count them.
 * False when they are not allowed: then it rests, or has to wait for the next
 * step when it has rows in this one. */
bool seq_grant(struct sched *s, struct seq *q);

/* What was granted to <t> will not be drawn: it is over. */
void task_ungrant(struct task *t);

/* The meter of <t> may allow more, or nothing any more. May end <t>. */
void task_look(struct sched *s, struct task *t);

/* End choices that will get no more tokens, tell of those that rest; whether a
 * task ended. Not between plan and step. */
bool sched_limits(struct sched *s);

/* --- sched_restore.c ---------------------------------------------------- */

/* Have the disk asked for what of the first <most> tokens of <q> is not in
 * memory; then it is in RESTORING. False when there is nothing to ask for. */
bool seq_restore(struct sched *s, struct seq *q, size_t most);

/* An answer came. */
void sched_on_load(struct sched *s, struct kvswap_load *l);

/* Look after copies of restores, and those that wait for staging memory. */
void sched_reads(struct sched *s);

/* Let those go on whose answer takes too long. */
void sched_give_up(struct sched *s);

/* Whether answers are still to come. */
bool sched_has_restores(const struct sched *s);

/* Pages that sequences in RESTORING will still ask for. */
size_t sched_restoring(const struct sched *s);

/* Learn that a step of <rows> took <us>. */
void sched_learn_depth(struct sched *s, uint64_t rows, uint64_t us);

/* Microseconds that computing page <page> of a text takes as a part of a
 * prompt, also where it was generated, token by token. */
uint32_t sched_page_us(const struct sched *s, size_t page);

/* --- sched_draw.c ------------------------------------------------------- */

/* Say of each sequence of the step whether the device draws its token. */
void sched_draws_choose(struct sched *s);

/* Draw: q->drawn of those. ERR_NOMEM, or as graph_draw(). */
enum err sched_draw(struct sched *s) MUST_CHECK;

/* Free their memory. */
void sched_draws_free(struct sched *s);

/* --- sched_lost.c ------------------------------------------------------- */

/* The device failed, and it can be revived: fail all that had begun. */
void sched_lose(struct sched *s);

/* Revive it; false while answers are to come. */
bool sched_revive(struct sched *s);

/* --- sched_stage.c ------------------------------------------------------ */

/* Have the pages of <r> read, all from the first on. */
void sched_read_begin(struct sched *s, struct restore *r);

/* The disk's answer to the last of it came. */
void sched_read_answer(struct sched *s, struct restore *r);

/* Let <r> go on; whether all of it is over, r->n_ok pages being good. */
bool sched_read_over(struct sched *s, struct restore *r);

/* Copy <page>, which is full, to <room> and hand <p> to the disk when it is
 * there; that is at once on the host. On failure <p> stays the caller's. */
enum err sched_page_out(struct sched *s, int32_t page, struct kvswap_page *p,
                        void *room, unsigned era) MUST_CHECK;

/* Hand over what is there. */
void sched_outs(struct sched *s);

/* Whether copies are under way, which have to be looked at. */
bool sched_has_copies(const struct sched *s);

/* Free staging memory. No restore is under way. */
void sched_stage_close(struct sched *s);

/* --- sched_keep.c -------------------------------------------------------- */

/* <q> leaves RESTORING: its restore has nobody who waits. */
void seq_leave_restore(struct seq *q);

/* Offer the pages of <q> from <from> on that the index has to the disk. */
void seq_keep(struct sched *s, const struct seq *q, size_t from);

/* <q> is over: tell the disk what of it was used. */
void seq_used(struct sched *s, const struct seq *q);

/* --- sched_plan.c ------------------------------------------------------- */

/* Choose the rows of the next step into s->rows; whether there are any. */
bool sched_plan(struct sched *s);

/* --- sched_step.c ------------------------------------------------------- */

/* Run what was planned and hand out what comes of it. */
void sched_step(struct sched *s);

#endif
