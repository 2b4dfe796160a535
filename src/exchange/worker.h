/* worker.h - What one event-loop thread owns and lends to its exchanges. */
#ifndef TG_EXCHANGE_WORKER_H
#define TG_EXCHANGE_WORKER_H

#include "base/mbox.h"
#include "exchange/stage.h"
#include "exchange/stats.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct accounts;
struct cache;
struct chunk_pool;
struct conf;
struct discover;
struct engine;
struct engine_port;
struct event;
struct event_base;
struct exchange;
struct keytab;
struct ledger;
struct ledger_worker;
struct retry_budget;
struct soft;
struct target_table;
struct throttle;
struct unpriced;
struct upstream_pool;
struct worker;

TAILQ_HEAD(exchange_list, exchange);
TAILQ_HEAD(quota_list, quota_wait);

/* What any thread may send a worker's inbox. */
struct worker_mail {
    struct mbox_msg link;
    /* On the worker's thread: <m> is its to free. <w> is NULL when the worker
     * has ended. */
    void (*take)(struct worker_mail *m, struct worker *w);
};

/* Process-wide services, set up at boot, shared by all workers. */
struct services {
    struct keytab *keys;          /* borrowed from daemon for its life */
    struct ledger *ledger;        /* borrowed; NULL in unit tests */
    struct accounts *accounts;    /* borrowed; NULL in unit tests */
    struct soft *soft;            /* borrowed; soft budgets told, or NULL */
    struct throttle *throttle;    /* borrowed; failed-auth counters */
    struct target_table *targets; /* borrowed; health of upstreams */
    struct discover *discover;    /* borrowed; models that upstreams list */
    struct retry_budget *retries; /* borrowed; NULL: unbounded */
    struct engine *engine;        /* borrowed; NULL: no model of our own */
    struct cache *cache;       /* borrowed; NULL: nothing is kept or shared */
    struct unpriced *unpriced; /* borrowed; models told of, or NULL */
    /* Answer an endpoint that tollgate itself serves: fills x->local or
     * fails the exchange. */
    void (*local)(struct exchange *x);
};

/* One event loop and its belongings. Only its own thread touches it, but for
 * stats (relaxed reads) and inbox (any thread pushes). */
struct worker {
    unsigned index;                  /* 0.. */
    struct event_base *base;         /* owned */
    const struct stage_row *stages;  /* static table of daemon/stages.c */
    struct conf *conf;               /* counted; swapped by CONF_NEW */
    const struct services *svc;      /* borrowed for the process's life */
    struct stats *stats;             /* owned */
    struct chunk_pool *chunks;       /* owned; socket output */
    struct upstream_pool *upstreams; /* owned */
    struct engine_port *engine;      /* owned; NULL without engine models */
    struct ledger_worker *ledger;    /* owned; NULL in unit tests */
    struct exchange_list by_stage[STAGE_COUNT];
    uint32_t exchange_gen;   /* last generation given out */
    unsigned exchanges;      /* alive now */
    unsigned streams;        /* replies being streamed now */
    struct quota_list waits; /* exchanges that wait for budgets, by deadline */
    bool draining;           /* no new exchanges */
    struct mbox inbox;       /* of struct worker_mail */
    struct event *inbox_ev;  /* owned */
    char *scratch;           /* owned; WORKER_SCRATCH bytes for one read */
};

/* Bytes of a worker's read buffer, shared by all its connections. */
#define WORKER_SCRATCH (64 * 1024)

#endif
