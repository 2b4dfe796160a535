/* worker.h - A worker thread: its loop, its mailbox, its end. */
#ifndef TG_DAEMON_WORKER_H
#define TG_DAEMON_WORKER_H

#include "base/err.h"
#include "base/thr.h"
#include "exchange/worker.h"

#include <stdatomic.h>

struct daemon;
struct front;

/* What the main thread tells a worker. */
enum worker_order {
    WORKER_CONF = 0,   /* take <conf> from now on */
    WORKER_DRAIN,      /* no new requests */
    WORKER_DRAIN_OVER, /* end what is still open with an error */
    WORKER_STOP,       /* leave the loop */
};

/* A worker and its thread. */
struct daemon_worker {
    struct worker w;     /* first; the thread's own */
    struct daemon *d;    /* borrowed */
    struct front *front; /* owned by the thread */
    struct thr thr;
    struct event *tick;       /* owned by the thread */
    int tick_fd;              /* a timer; owned by the thread */
    uint64_t tick_due_us;     /* when the next tick should run */
    _Atomic uint64_t beat_ms; /* last tick, monotonic; the watchdog reads */
    _Atomic unsigned busy;    /* connections and exchanges open; main reads */
};

/* Make worker <index> of <d> and start its thread. The reason of a failure
 * has been logged. */
enum err worker_start(struct daemon *d, unsigned index,
                      struct daemon_worker **out) MUST_CHECK;

/* Tell a worker something; any thread. <conf> (WORKER_CONF) is referenced. */
void worker_tell(struct daemon_worker *dw, enum worker_order order,
                 struct conf *conf);

/* Wait for the thread's end after WORKER_STOP. The worker stays readable:
 * others still sum its counters. */
void worker_join(struct daemon_worker *dw);

/* Free a worker; every thread must have been joined. NULL is fine. */
void worker_free(struct daemon_worker *dw);

#endif
