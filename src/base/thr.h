/* thr.h - Threads: start with a name and with every signal blocked, join, and
 * know which one runs. Signals are the main thread's business alone. */
#ifndef TG_BASE_THR_H
#define TG_BASE_THR_H

#include "base/err.h"

#include <pthread.h>
#include <stdint.h>

/* Most threads alive at once, the main thread included; thr_index() stays
 * below it. */
#define THR_MAX 256

/* Bytes of a thread's name with its NUL; longer ones are cut. */
#define THR_NAME_SIZE 16

/* A thread's body. */
typedef void thr_fn(void *arg);

/* One thread; the starter owns it until thr_join() or thr_leave(). Must not
 * move while the thread runs. */
struct thr {
    pthread_t id;
    char name[THR_NAME_SIZE];
    unsigned index;
    bool running; /* started, not joined nor left; only the starter looks */
    thr_fn *fn;
    void *arg; /* borrowed; passed to fn */
};

/* Start <fn>(<arg>) as a thread called <name>, with every signal blocked.
 * ERR_FULL when THR_MAX threads live, ERR_IO when the system refuses. */
enum err thr_start(struct thr *t, const char *name, thr_fn *fn,
                   void *arg) MUST_CHECK;

/* Wait until <t> has returned. Does nothing when it was never started or was
 * joined before. */
void thr_join(struct thr *t);

/* Give up on <t>, which may never return: the system frees it when it does.
 * <t> and what it uses must live as long as the process; its index is not
 * used again. */
void thr_leave(struct thr *t);

/* Index of the calling thread: unique among the living threads of
 * thr_start(), starting at 1; 0 for the main thread and for threads that a
 * library made. Freed for reuse by thr_join(). */
unsigned thr_index(void);

/* Name of the calling thread; "main" for those that thr_start() did not make.
 * Borrowed for the thread's life. */
const char *thr_name(void);

/* Ask the system that the calling thread, which works for moments only, gets
 * the processor as soon as it has something to do: it then may run for
 * <slice_us> (100 to 100000) before others of its priority. Its priority and
 * its share stay as they are. A hint: does nothing where the system knows no
 * such thing (Linux before 6.12). */
void thr_set_slice(uint32_t slice_us);

#endif
