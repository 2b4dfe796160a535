/* writer.h - The one thread that writes an environment. Any thread hands it
 * jobs; between them it pulls what its owner has gathered elsewhere (rows in
 * journals). Many changes share one transaction and one sync:
 *
 *   wait -> begin -> pull up to <pull_max> -> nothing more? run all jobs
 *        -> commit -> tell the owner and the jobs -> again
 *
 * A job wakes the writer at once; a kick lets <group_ms> pass first, so that
 * what is pulled travels in company. When the map is full it is grown and
 * the transaction done again. When the disk refuses, jobs fail, what is
 * pulled stays where it is, and the writer tries again by itself, after 50 ms
 * and then ever longer up to a second. A head page that could not be written
 * makes LMDB refuse everything: the file is reopened once; if the next
 * transaction fails the same way the writer is broken for good. */
#ifndef TG_STORE_WRITER_H
#define TG_STORE_WRITER_H

#include "base/mbox.h"
#include "store/env.h"

struct writer;
struct wjob;

/* What a job does inside the transaction. May be called more than once, each
 * time with nothing of the earlier calls kept. A failure undoes this job
 * alone; ERR_FULL and ERR_IO are the environment's and undo everything. */
typedef enum err wjob_run_fn(struct txn *t, struct wjob *job);

/* Told once: the job is durable (ERR_OK) or was not done. ERR_LEDGER: the
 * environment refuses. On the writer thread; <job> may be freed here. */
typedef void wjob_done_fn(struct wjob *job, enum err result);

/* A job; the caller's struct has it as a member and keeps it alive until
 * done. */
struct wjob {
    struct mbox_msg msg; /* the writer's */
    struct wjob *next;   /* the writer's */
    enum err result;     /* the writer's */
    wjob_run_fn *run;
    wjob_done_fn *done;
};

/* Whether the environment takes changes. */
enum writer_state {
    WRITER_OK = 0,
    WRITER_FAILING, /* the last transaction failed; tried again by itself */
    WRITER_BROKEN   /* reopening did not help; only a new process may */
};

/* The owner's side, all called on the writer thread. Any may be NULL. */
struct writer_ops {
    /* Whether there is anything to pull. */
    bool (*has_more)(void *owner);
    /* Put at most <max> records into <t>, adding their number to *n_out.
     * Fewer than <max> says that nothing more is there. */
    enum err (*pull)(void *owner, struct txn *t, unsigned max, unsigned *n_out);
    /* What the last pull put in is durable. */
    void (*committed)(void *owner);
    /* It is not, and will be pulled again. */
    void (*dropped)(void *owner, enum err why);
    /* Change something small, so that a commit proves that writing works
       again after a failure when there is nothing else to write. */
    enum err (*probe)(void *owner, struct txn *t);
    /* After every round, whatever its end: the state may have changed. */
    void (*round_over)(void *owner);
    /* About once a second, outside of transactions. */
    void (*tick)(void *owner);
};

/* How to start a writer; zero in a number takes the default. */
struct writer_opts {
    struct env *env;              /* borrowed; the writer's alone for writing */
    const struct writer_ops *ops; /* borrowed until writer_stop() */
    void *owner;
    const char *name;  /* of the thread; borrowed */
    uint32_t group_ms; /* default 20 */
    unsigned pull_max; /* records a transaction; default 4096 */
};

/* Counters, racy but never torn. */
struct writer_stats {
    enum writer_state state;
    uint64_t commits;
    uint64_t failures;
};

/* Start the thread. *writer_out is set before it runs, and NULL again on
 * failure: ERR_IO, ERR_NOMEM. */
enum err writer_start(const struct writer_opts *opts,
                      struct writer **writer_out) MUST_CHECK;

/* Pull and run all there is (giving up when the environment refuses), end
 * the thread, free. Nobody may submit any more. NULL is fine. */
void writer_stop(struct writer *w);

/* Hand over <job>. Any thread, never blocks. */
void writer_submit(struct writer *w, struct wjob *job);

/* Hand over <job> (its done is replaced) and wait. Any thread but the
 * writer; gives the job's result. */
enum err writer_call(struct writer *w, struct wjob *job) MUST_CHECK;

/* Say that there is something to pull. Any thread; a system call only when
 * the writer sleeps. */
void writer_kick(struct writer *w);

/* The state: one relaxed load. */
enum writer_state writer_state(const struct writer *w);

/* The counters. */
struct writer_stats writer_stats(const struct writer *w);

/* Append a sentence on why the state is not WRITER_OK. Any thread. */
void writer_trouble(struct writer *w, struct buf *out);

/* Do one round on the calling thread: for a writer that is not started yet,
 * to pull what is there at the beginning. */
enum err writer_drain_now(const struct writer_opts *opts) MUST_CHECK;

#endif
