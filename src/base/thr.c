/* thr.c - See thr.h. Indexes are handed out from a bit set; a thread keeps its
 * own in thread-local memory. */
#include "base/thr.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/panic.h"

/* One bit an index; bit 0 of word 0 is the main thread's. */
static _Atomic uint64_t taken[THR_MAX / 64] = {1};

static _Thread_local struct thr *self; /* borrowed from the starter */

/* The lowest free index, now taken; 0 when there is none. */
static unsigned index_take(void)
{
    for (unsigned w = 0; w < THR_MAX / 64; w++) {
        uint64_t was = atomic_load(&taken[w]);

        while (was != UINT64_MAX) {
            unsigned bit = (unsigned)__builtin_ctzll(~was);

            if (atomic_compare_exchange_weak(&taken[w], &was,
                                             was | (uint64_t)1 << bit))
                return w * 64 + bit;
        }
    }
    return 0;
}

static void index_give(unsigned index)
{
    atomic_fetch_and(&taken[index / 64], ~((uint64_t)1 << index % 64));
}

static void *body(void *arg)
{
    struct thr *t = arg;

    self = t;
    pthread_setname_np(pthread_self(), t->name);
    t->fn(t->arg);
    return NULL;
}

enum err thr_start(struct thr *t, const char *name, thr_fn *fn, void *arg)
{
    sigset_t all, before;
    unsigned index = index_take();
    int rc;

    if (index == 0)
        return ERR_FULL;
    *t = (struct thr){.index = index, .fn = fn, .arg = arg};
    snprintf(t->name, sizeof(t->name), "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&t->id, NULL, body, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        index_give(index);
        return ERR_IO;
    }
    t->running = true;
    return ERR_OK;
}

void thr_join(struct thr *t)
{
    if (!t->running)
        return;
    BUG_ON(pthread_join(t->id, NULL) != 0);
    t->running = false;
    index_give(t->index);
}

void thr_leave(struct thr *t)
{
    if (!t->running)
        return;
    BUG_ON(pthread_detach(t->id) != 0);
    t->running = false;
}

unsigned thr_index(void)
{
    return self ? self->index : 0;
}

const char *thr_name(void)
{
    return self ? self->name : "main";
}

/* What sched_setattr() of Linux takes, in its first version. */
struct sched_wish {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* of an ordinary thread: its slice */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

void thr_set_slice(uint32_t slice_us)
{
#ifdef SYS_sched_setattr
    struct sched_wish wish = {
        .size = sizeof(wish),
        .policy = SCHED_OTHER,
        .runtime_ns = (uint64_t)slice_us * 1000,
    };

    errno = 0;
    wish.nice = getpriority(PRIO_PROCESS, 0); /* on Linux, the thread's */
    if (errno == 0 && sched_getscheduler(0) == SCHED_OTHER)
        (void)syscall(SYS_sched_setattr, 0, &wish, 0);
#else
    (void)slice_us;
#endif
}
