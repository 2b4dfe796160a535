/* daemon.h - The process as one struct: what boot.c sets up, what signals,
 * reload and the control socket work on. Owned by the main thread. */
#ifndef TG_DAEMON_DAEMON_H
#define TG_DAEMON_DAEMON_H

#include "conf/conf.h"
#include "daemon/watch.h"
#include "daemon/worker.h"
#include "serve/retry_budget.h"

#include <stdatomic.h>
#include <stdbool.h>

struct buf;
struct control;
struct discover;
struct cache;
struct engine;
struct engine_judged;
struct event;
struct event_base;
struct front_net;
struct health;
struct keytab;
struct ledger;
struct resolver;
struct soft;
struct throttle;
struct accounts;
struct unpriced;

/* Most worker threads. */
#define DAEMON_WORKERS_MAX CONF_WORKERS_MAX

/* How far the process has come. */
enum daemon_state {
    DAEMON_STARTING = 0,
    DAEMON_READY,
    DAEMON_DRAINING, /* no new requests; open ones finish */
    DAEMON_STOPPING, /* time is over */
};

/* Everything of the process. */
struct daemon {
    const char *conf_file;   /* read at the start and at reloads; NULL: none
                                was there; borrowed */
    struct conf *conf;       /* counted: the newest snapshot */
    struct conf *conf_start; /* counted: the one of the start, which some keys
                                keep */
    struct engine_judged *judged; /* borrowed: models for the start, or NULL */
    struct event_base *base;      /* owned: the main thread's loop */
    struct front_net *net;        /* owned: listening sockets */
    size_t n_listen;       /* addresses of `listen`, as bound at the start */
    struct ledger *ledger; /* owned */
    struct accounts *accounts;    /* owned */
    struct keytab *keys;          /* owned */
    struct soft *soft;            /* owned */
    struct throttle *throttle;    /* owned */
    struct resolver *resolver;    /* owned */
    struct discover *discover;    /* owned */
    struct health *health;        /* owned */
    struct target_table *targets; /* owned */
    struct engine *engine;        /* owned; NULL without engine models */
    struct cache *cache;          /* owned; replies kept and under way */
    struct unpriced *unpriced;    /* owned */
    struct retry_budget retries;  /* of all requests */
    struct services svc;          /* the same, as workers see it */
    struct control *control;      /* owned: the admin socket */
    struct daemon_worker *workers[DAEMON_WORKERS_MAX]; /* owned */
    unsigned n_workers;
    _Atomic int state; /* enum daemon_state; workers read it */
    int exit_code;
    uint64_t start_mono_ms;
    uint64_t start_wall_ms;
    uint64_t drain_until_ms;  /* monotonic; DAEMON_DRAINING */
    bool was_told;            /* a signal has asked for the end */
    uint64_t reloads;         /* done since the start */
    struct event *signals[8]; /* owned */
    struct event *tick;       /* owned: watchdog and drain */
    struct watch watch;       /* the watchdog's own */
    _Atomic uint64_t stalls;  /* times that a worker was found stuck */
};

/* Set everything up from d->conf and start the workers. False: the reason was
 * logged; call daemon_stop(). */
bool daemon_start(struct daemon *d);

/* Begin to drain: listeners close, open requests get drain_timeout. */
void daemon_drain(struct daemon *d);

/* Give a drain up: what is still open is ended with an error, and has a moment
 * to tell its client. */
void daemon_drain_over(struct daemon *d);

/* Leave the main loop now. */
void daemon_quit(struct daemon *d);

/* Stop the workers and free everything daemon_start() made. */
void daemon_stop(struct daemon *d);

/* Load the config again and hand it to everybody; when it is bad the old one
 * stays and false is returned. What there was to say is logged and, when
 * <report> is not NULL, appended to it a line each. */
bool daemon_reload(struct daemon *d, struct buf *report);

/* The worst loop lag of any worker since the last call, and of one that is
 * silent now, in us. */
uint64_t daemon_lag_us(struct daemon *d);

#endif
