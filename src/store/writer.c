/* writer.c - Group commit. Decides when a transaction begins and ends, and
 * what a failed one means for those waiting. Must never drop what it was
 * given: a job is told its result, a pulled record stays with its owner.
 *
 * Sleep and wake: the writer stores asleep = true, looks once more whether
 * there is something to pull, then polls. A kicker publishes first, then
 * takes `asleep`. Both are sequentially consistent, so one of them sees the
 * other. */
#include "store/writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/thr.h"

/* First and longest wait after a failure, in ms. */
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS   1000

/* Between two calls of the owner's tick, in ms. */
#define TICK_MS 1000

/* Longest sentence kept about a failure. */
#define TROUBLE_MAX 512

struct writer {
    struct writer_opts opts;
    struct thr thr;
    struct mbox box;      /* jobs, and the eventfd that wakes */
    struct wjob *first;   /* jobs taken from the box, oldest first */
    struct wjob **last;   /* where the next one is linked */
    _Atomic(bool) asleep; /* a kick must write to the eventfd */
    _Atomic(bool) stop;
    _Atomic(int) state;
    _Atomic(uint64_t) commits;
    _Atomic(uint64_t) failures;
    bool reopened;         /* since the last commit that worked */
    unsigned retry_ms;     /* 0: the last round worked */
    uint64_t next_try_ms;  /* not before, unless a job comes */
    uint64_t next_tick_ms; /* for the owner */
    pthread_mutex_t lock;  /* guards trouble; innermost */
    char trouble[TROUBLE_MAX];
};

static void set_trouble(struct writer *w, struct str text)
{
    const size_t n =
        text.len < TROUBLE_MAX - 1 ? text.len : (size_t)TROUBLE_MAX - 1;

    pthread_mutex_lock(&w->lock);
    if (n > 0)
        memcpy(w->trouble, text.p, n);
    w->trouble[n] = 0;
    pthread_mutex_unlock(&w->lock);
}

void writer_trouble(struct writer *w, struct buf *out)
{
    pthread_mutex_lock(&w->lock);
    env_say(out, "%s", w->trouble);
    pthread_mutex_unlock(&w->lock);
}

static void take_job(struct mbox_msg *m, void *arg)
{
    struct writer *w = arg;
    struct wjob *job = MBOX_ENTRY(m, struct wjob, msg);

    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
}

static bool is_env_failure(enum err e)
{
    return e == ERR_FULL || e == ERR_IO || e == ERR_NOMEM;
}

/* Run one job in a transaction of its own inside <t>. */
static enum err run_job(struct txn *t, struct wjob *job)
{
    struct txn part;
    enum err err = txn_begin_child(t, &part);

    if (err != ERR_OK)
        return err;
    job->result = job->run(&part, job);
    if (job->result == ERR_OK)
        return txn_commit(&part);
    txn_end(&part);
    return is_env_failure(job->result) ? job->result : ERR_OK;
}

/* One transaction. *n_out: records pulled; *ran_out: jobs were run. */
static enum err run_once(struct writer *w, unsigned *n_out, bool *ran_out)
{
    const struct writer_ops *ops = w->opts.ops;
    struct txn t;
    enum err err = txn_begin_write(w->opts.env, &t);

    *n_out = 0;
    *ran_out = false;
    if (err != ERR_OK)
        return err;
    if (ops->pull)
        err = ops->pull(w->opts.owner, &t, w->opts.pull_max, n_out);
    if (err == ERR_OK && *n_out < w->opts.pull_max) {
        *ran_out = w->first != NULL;
        for (struct wjob *j = w->first; err == ERR_OK && j; j = j->next)
            err = run_job(&t, j);
    }
    bool is_change = *n_out > 0 || *ran_out;
    if (err == ERR_OK && *n_out == 0 && w->retry_ms != 0 && ops->probe) {
        err = ops->probe(w->opts.owner, &t);
        is_change = true;
    }
    if (err == ERR_OK && is_change)
        err = txn_commit(&t);
    txn_end(&t);
    if (err != ERR_OK && ops->dropped)
        ops->dropped(w->opts.owner, err);
    return err;
}

static void break_down(struct writer *w, struct str why)
{
    atomic_store(&w->state, WRITER_BROKEN);
    set_trouble(w, why);
    log_err(LOG_STORE, "%.*s", STR_ARG(why));
}

/* LMDB refuses everything: open the file anew, but only once in a row. */
static enum err reopen(struct writer *w)
{
    struct buf why;

    if (w->reopened) {
        break_down(w, STR("reopening the ledger did not help"));
        return ERR_IO;
    }
    w->reopened = true;
    log_warn(LOG_STORE, "reopening after a failed head page: file=%s error=%s",
             env_path(w->opts.env), env_last_error(w->opts.env));
    buf_init(&why, TROUBLE_MAX);
    const enum err err = env_reopen(w->opts.env, true, &why);
    if (err != ERR_OK)
        break_down(w, buf_str(&why));
    buf_fini(&why);
    return err;
}

/* One transaction, with the map grown or the file reopened where that is
 * what stands in its way. Bounded: the map doubles up to its maximum. */
static enum err run_through(struct writer *w, unsigned *n_out, bool *ran_out)
{
    enum err err = run_once(w, n_out, ran_out);

    while (err == ERR_FULL) {
        if (env_grow(w->opts.env) != ERR_OK)
            return ERR_FULL;
        err = run_once(w, n_out, ran_out);
    }
    if (err == ERR_OK || !env_is_panicked(w->opts.env))
        return err;
    if (reopen(w) != ERR_OK)
        return ERR_IO;
    err = run_once(w, n_out, ran_out);
    if (err != ERR_OK && env_is_panicked(w->opts.env))
        break_down(w, STR("the ledger fails right after being reopened"));
    return err;
}

static void finish_jobs(struct writer *w, enum err err)
{
    struct wjob *j = w->first;

    w->first = NULL;
    w->last = &w->first;
    while (j) {
        struct wjob *next = j->next;

        j->done(j, err == ERR_OK ? j->result : err);
        j = next;
    }
}

static void note_success(struct writer *w)
{
    w->reopened = false;
    w->retry_ms = 0;
    if (atomic_load(&w->state) != WRITER_FAILING)
        return;
    atomic_store(&w->state, WRITER_OK);
    set_trouble(w, (struct str){"", 0});
    log_note(LOG_STORE, "writing again: file=%s", env_path(w->opts.env));
}

static void note_failure(struct writer *w, enum err err)
{
    struct buf text;

    atomic_fetch_add(&w->failures, 1);
    w->retry_ms = w->retry_ms == 0 ? RETRY_FIRST_MS : w->retry_ms * 2;
    if (w->retry_ms > RETRY_MAX_MS)
        w->retry_ms = RETRY_MAX_MS;
    w->next_try_ms = clock_mono_ms() + w->retry_ms;
    if (atomic_load(&w->state) != WRITER_OK)
        return;
    buf_init(&text, TROUBLE_MAX);
    env_say(&text, "%s cannot be written: %s", env_path(w->opts.env),
            err == ERR_CORRUPT ? "a record in it is damaged"
                               : env_last_error(w->opts.env));
    atomic_store(&w->state, WRITER_FAILING);
    set_trouble(w, buf_str(&text));
    log_err(LOG_STORE, "%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
}

/* Pull everything and run every job taken. */
static enum err run_all(struct writer *w)
{
    for (;;) {
        unsigned n;
        bool ran;
        const enum err err = run_through(w, &n, &ran);

        if (err != ERR_OK) {
            note_failure(w, err);
            finish_jobs(w, ERR_LEDGER);
            return err;
        }
        if (n > 0 || ran)
            atomic_fetch_add(&w->commits, 1);
        if (n > 0 && w->opts.ops->committed)
            w->opts.ops->committed(w->opts.owner);
        if (n < w->opts.pull_max) {
            finish_jobs(w, ERR_OK);
            return ERR_OK;
        }
    }
}

static bool has_more(const struct writer *w)
{
    return w->opts.ops->has_more && w->opts.ops->has_more(w->opts.owner);
}

static void wait_ms(struct writer *w, uint64_t ms)
{
    struct pollfd p = {.fd = mbox_fd(&w->box), .events = POLLIN};

    if (ms > TICK_MS)
        ms = TICK_MS;
    const int n = poll(&p, 1, (int)ms);
    BUG_ON(n < 0 && errno != EINTR && errno != EAGAIN);
    mbox_drain(&w->box, 0, take_job, w);
    clock_update();
}

/* Wait until there is something to do, or a tick is due. */
static void rest(struct writer *w)
{
    const uint64_t now = clock_mono_ms();
    const uint64_t tick = w->next_tick_ms > now ? w->next_tick_ms - now : 0;

    if (w->retry_ms != 0) {
        const uint64_t due = w->next_try_ms > now ? w->next_try_ms - now : 0;
        wait_ms(w, due < tick ? due : tick);
        return;
    }
    atomic_store(&w->asleep, true);
    if (!has_more(w) && !atomic_load(&w->stop))
        wait_ms(w, tick);
    atomic_store(&w->asleep, false);
    if (!w->first && has_more(w) && !atomic_load(&w->stop))
        wait_ms(w, w->opts.group_ms);
}

static bool may_try(const struct writer *w)
{
    if (atomic_load(&w->state) == WRITER_BROKEN)
        return false;
    return w->first || w->retry_ms == 0 || atomic_load(&w->stop) ||
           clock_mono_ms() >= w->next_try_ms;
}

static void turn(struct writer *w)
{
    rest(w);
    if (atomic_load(&w->state) == WRITER_BROKEN)
        finish_jobs(w, ERR_LEDGER);
    if (may_try(w) && (w->first || w->retry_ms != 0 || has_more(w))) {
        if (run_all(w) == ERR_OK)
            note_success(w);
        if (w->opts.ops->round_over)
            w->opts.ops->round_over(w->opts.owner);
    }
    if (clock_mono_ms() < w->next_tick_ms)
        return;
    w->next_tick_ms = clock_mono_ms() + TICK_MS;
    if (w->opts.ops->tick)
        w->opts.ops->tick(w->opts.owner);
}

static void writer_main(void *arg)
{
    struct writer *w = arg;

    clock_update();
    while (!atomic_load(&w->stop))
        turn(w);
    mbox_drain(&w->box, 0, take_job, w);
    if (atomic_load(&w->state) == WRITER_BROKEN)
        finish_jobs(w, ERR_LEDGER);
    else if (run_all(w) != ERR_OK)
        log_err(LOG_STORE, "stopped with changes not written: file=%s",
                env_path(w->opts.env));
    if (w->opts.ops->round_over)
        w->opts.ops->round_over(w->opts.owner);
}

static void set_defaults(struct writer *w, const struct writer_opts *opts)
{
    w->opts = *opts;
    if (w->opts.group_ms == 0)
        w->opts.group_ms = 20;
    if (w->opts.pull_max == 0)
        w->opts.pull_max = 4096;
    w->last = &w->first;
    if (pthread_mutex_init(&w->lock, NULL) != 0)
        PANIC("pthread_mutex_init failed");
}

enum err writer_start(const struct writer_opts *opts,
                      struct writer **writer_out)
{
    struct writer *w = calloc(1, sizeof(*w));

    if (!w)
        return ERR_NOMEM;
    set_defaults(w, opts);
    enum err err = mbox_init(&w->box);
    *writer_out = w; /* the owner's callbacks may look there at once */
    if (err == ERR_OK)
        err = thr_start(&w->thr, opts->name, writer_main, w);
    if (err != ERR_OK) {
        mbox_fini(&w->box);
        pthread_mutex_destroy(&w->lock);
        free(w);
        *writer_out = NULL;
        return err;
    }
    return ERR_OK;
}

static void wake(struct writer *w)
{
    const uint64_t one = 1;
    ssize_t n;

    do {
        n = write(mbox_fd(&w->box), &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    BUG_ON(n < 0 && errno != EAGAIN);
}

void writer_stop(struct writer *w)
{
    if (!w)
        return;
    atomic_store(&w->stop, true);
    wake(w);
    thr_join(&w->thr);
    mbox_fini(&w->box);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void writer_submit(struct writer *w, struct wjob *job)
{
    mbox_push(&w->box, &job->msg);
}

/* A job somebody waits for. */
struct waiter {
    struct wjob job;
    struct wjob *inner;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

static enum err run_inner(struct txn *t, struct wjob *job)
{
    struct waiter *wait = (struct waiter *)(void *)job;

    return wait->inner->run(t, wait->inner);
}

static void wake_waiter(struct wjob *job, enum err result)
{
    struct waiter *wait = (struct waiter *)(void *)job;

    pthread_mutex_lock(&wait->lock);
    wait->inner->result = result;
    wait->over = true;
    pthread_cond_signal(&wait->cond);
    pthread_mutex_unlock(&wait->lock);
}

enum err writer_call(struct writer *w, struct wjob *job)
{
    struct waiter wait = {.job = {.run = run_inner, .done = wake_waiter},
                          .inner = job};

    if (pthread_mutex_init(&wait.lock, NULL) != 0 ||
        pthread_cond_init(&wait.cond, NULL) != 0)
        PANIC("no mutex");
    writer_submit(w, &wait.job);
    pthread_mutex_lock(&wait.lock);
    while (!wait.over)
        pthread_cond_wait(&wait.cond, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    pthread_mutex_destroy(&wait.lock);
    pthread_cond_destroy(&wait.cond);
    return job->result;
}

void writer_kick(struct writer *w)
{
    if (atomic_load(&w->asleep) && atomic_exchange(&w->asleep, false))
        wake(w);
}

enum writer_state writer_state(const struct writer *w)
{
    return (enum writer_state)atomic_load_explicit(&w->state,
                                                   memory_order_relaxed);
}

struct writer_stats writer_stats(const struct writer *w)
{
    return (struct writer_stats){.state = writer_state(w),
                                 .commits = atomic_load(&w->commits),
                                 .failures = atomic_load(&w->failures)};
}

enum err writer_drain_now(const struct writer_opts *opts)
{
    struct writer w = {0};

    set_defaults(&w, opts);
    const enum err err = run_all(&w);
    pthread_mutex_destroy(&w.lock);
    return err;
}
