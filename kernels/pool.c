/* pool.c - Threads that take the items of a run one by one.
 *
 * A run is published as one word, its number above and how many items are left
 * below. A thread takes an item by counting that down; it read what to call
 * before, and since the caller changes that only after the count has come to
 * zero, a successful exchange proves that what it read belongs to the run.
 * The caller waits for items, not for threads: one that sleeps through a run
 * is not missed.
 *
 *      caller                       worker
 *      fn, arg, items = ...         (no items left: spin, yield, sleep)
 *      ticket = run+1 | items
 *      wake the sleepers            ticket -> one less, fn(), done + 1
 *      take items, too              the last one wakes the caller, if asleep
 *      wait for done == items
 */
#include "kernels/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    POOL_MAX_THREADS = 1024,
    SPIN_NS = 4000,      /* watching without giving way */
    YIELD_ROUNDS = 64,   /* then giving way to whoever waits for the core */
    YIELD_PAUSE_NS = 400 /* and watching a little between */
};

struct worker {
    struct krn_pool *pool;
    pthread_t thread;
    unsigned index;
    int nice;
    int cpu; /* -1: any */
};

struct krn_pool {
    _Alignas(64) _Atomic uint64_t ticket; /* run << 32 | items left */
    _Alignas(64) _Atomic uint32_t done;   /* items of this run */
    _Alignas(64) _Atomic(pool_fn *) fn;
    _Atomic(void *) arg;
    _Atomic uint32_t items;
    _Atomic uint32_t sleepers;
    _Atomic bool caller_sleeps;
    _Atomic bool ends;
    pthread_mutex_t lock;
    pthread_cond_t work;     /* a run was published */
    pthread_cond_t finished; /* its last item is done */
    uint32_t run;
    unsigned spins;       /* pauses in SPIN_NS */
    unsigned yield_spins; /* pauses in YIELD_PAUSE_NS */
    unsigned threads;
    struct worker *workers; /* (threads - 1), owned */
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* A pause takes 10 to 150 cycles, by the make of the processor. */
static void measure_pause(struct krn_pool *p)
{
    enum { ROUNDS = 5, PAUSES = 200 };
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t begin = now_ns();

        for (int k = 0; k < PAUSES; k++)
            pause_briefly();
        begin = now_ns() - begin;
        best = begin < best ? begin : best;
    }
    best = best < PAUSES ? PAUSES : best;
    p->spins = (unsigned)(SPIN_NS * PAUSES / best);
    p->yield_spins = (unsigned)(YIELD_PAUSE_NS * PAUSES / best) + 1;
}

/* Take an item and do it; false: there is none left. */
static bool item_run(struct krn_pool *p, unsigned worker)
{
    uint64_t ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);

    while ((uint32_t)ticket != 0) {
        pool_fn *fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        uint32_t n = atomic_load_explicit(&p->items, memory_order_relaxed);

        if (!atomic_compare_exchange_weak_explicit(
                &p->ticket, &ticket, ticket - 1, memory_order_acq_rel,
                memory_order_acquire))
            continue;
        fn(arg, n - (uint32_t)ticket, worker);
        if (atomic_fetch_add(&p->done, 1) + 1 == n &&
            atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->finished);
            pthread_mutex_unlock(&p->lock);
        }
        return true;
    }
    return false;
}

static bool work_is_there(struct krn_pool *p)
{
    return (uint32_t)atomic_load(&p->ticket) != 0 || atomic_load(&p->ends);
}

static bool run_is_done(struct krn_pool *p)
{
    return atomic_load(&p->done) == p->items;
}

/* Watch <is> for some ten microseconds, giving way in the later ones. */
static bool watch(struct krn_pool *p, bool (*is)(struct krn_pool *))
{
    for (unsigned i = 0; i < p->spins; i++) {
        if (is(p))
            return true;
        pause_briefly();
    }
    for (unsigned i = 0; i < YIELD_ROUNDS; i++) {
        sched_yield();
        for (unsigned k = 0; k < p->yield_spins; k++) {
            if (is(p))
                return true;
            pause_briefly();
        }
    }
    return false;
}

static void work_await(struct krn_pool *p)
{
    if (watch(p, work_is_there))
        return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!work_is_there(p))
        pthread_cond_wait(&p->work, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct krn_pool *p = w->pool;

    if (w->nice != 0) {
        /* On Linux this is the thread's own; errno tells -1 from a failure,
         * and either way the threads work. */
        int nice_now = getpriority(PRIO_PROCESS, 0);

        (void)setpriority(PRIO_PROCESS, 0, nice_now + w->nice);
    }
    if (w->cpu >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((unsigned)w->cpu, &set);
        (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    for (;;) {
        while (item_run(p, w->index))
            continue;
        if (atomic_load(&p->ends))
            return NULL;
        work_await(p);
    }
}

/* The <n>th core of the mask, counted round; -1 when it cannot be told. */
static int core_at(unsigned n)
{
    cpu_set_t set;
    int count;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return -1;
    count = CPU_COUNT(&set);
    if (count == 0)
        return -1;
    n %= (unsigned)count;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set) && n-- == 0)
            return cpu;
    }
    return -1;
}

static unsigned core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    return 1;
}

enum krn_status pool_open(unsigned threads, int nice, bool pin,
                          struct krn_pool **out)
{
    struct krn_pool *p = aligned_alloc(64, sizeof(*p));
    unsigned want = threads != 0 ? threads : core_count();

    if (!p)
        return KRN_NOMEM;
    memset(p, 0, sizeof(*p));
    want = want > POOL_MAX_THREADS ? POOL_MAX_THREADS : want;
    p->workers = calloc(want, sizeof(*p->workers));
    if (!p->workers) {
        free(p);
        return KRN_NOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->finished, NULL);
    measure_pause(p);
    for (p->threads = 1; p->threads < want; p->threads++) {
        struct worker *w = &p->workers[p->threads - 1];

        *w = (struct worker){.pool = p,
                             .index = p->threads,
                             .nice = nice,
                             .cpu = pin ? core_at(p->threads) : -1};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pool_close(p);
            return KRN_NOMEM;
        }
    }
    *out = p;
    return KRN_OK;
}

void pool_close(struct krn_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->ends, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i + 1 < p->threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->finished);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

unsigned pool_threads(const struct krn_pool *p)
{
    return p->threads;
}

static void run_await(struct krn_pool *p)
{
    if (watch(p, run_is_done))
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (!run_is_done(p))
        pthread_cond_wait(&p->finished, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct krn_pool *p, pool_fn *fn, void *arg, unsigned n_items)
{
    if (p->threads == 1 || n_items <= 1) {
        for (unsigned i = 0; i < n_items; i++)
            fn(arg, i, 0);
        return;
    }
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->items, n_items, memory_order_relaxed);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    p->run++;
    atomic_store(&p->ticket, (uint64_t)p->run << 32 | n_items);
    if (atomic_load(&p->sleepers) != 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
    }
    while (item_run(p, 0))
        continue;
    run_await(p);
}
