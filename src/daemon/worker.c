/* worker.c - Everything a worker owns is made and freed on its own thread, so
 * that no other thread ever touches it but for the mailbox and the counters. */
#include "daemon/worker.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "account/ledger.h"
#include "base/chunkq.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/stages.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "front/front.h"
#include "serve/health.h"
#include "settle/series.h"
#include "upstream/upstream.h"

#define TICK_MS     100
#define TICK_US     (UINT64_C(1000) * TICK_MS)
#define CHUNKS_KEPT 1024 /* free chunks a worker keeps: 4 MiB */
#define SLICE_US    100  /* a loop works for moments, and should not wait */

struct worker_msg {
    struct worker_mail mail; /* first */
    enum worker_order order;
    struct conf *conf; /* counted, or NULL */
};

static void obey(struct worker_mail *mail, struct worker *w);

void worker_tell(struct daemon_worker *dw, enum worker_order order,
                 struct conf *conf)
{
    struct worker_msg *m = calloc(1, sizeof(*m));

    if (!m) {
        log_err(LOG_MAIN, "no memory to tell a worker: order=%d", order);
        return;
    }
    m->mail.take = obey;
    m->order = order;
    m->conf = conf ? conf_ref(conf) : NULL;
    mbox_push(&dw->w.inbox, &m->mail.link);
}

/* ---- orders ------------------------------------------------------------ */

/* What one worker does for all: it asks upstreams how they are. */
static void checks_run(struct daemon_worker *dw)
{
    discover_run(dw->d->discover, &dw->w);
    health_run(dw->d->health, &dw->w);
}

static void take_conf(struct daemon_worker *dw, struct conf *conf)
{
    struct conf *old = dw->w.conf;

    dw->w.conf = conf_ref(conf);
    conf_unref(old);
    front_reconf(dw->front);
    if (dw->w.index == 0)
        checks_run(dw);
}

/* End everything that is still open with an error. The list changes while it
 * is walked, so each pass takes the head of a copy. */
static void end_exchanges(struct worker *w)
{
    for (unsigned s = 0; s < STAGE_COUNT; s++) {
        struct exchange *x = TAILQ_FIRST(&w->by_stage[s]);

        while (x) {
            struct exchange *next = TAILQ_NEXT(x, link);

            exchange_wake(x, WAKE_DRAIN);
            x = next;
        }
    }
}

static void follow(struct daemon_worker *dw, const struct worker_msg *m)
{
    switch (m->order) {
    case WORKER_CONF:
        take_conf(dw, m->conf);
        break;
    case WORKER_DRAIN:
        dw->w.draining = true;
        front_drain(dw->front);
        break;
    case WORKER_DRAIN_OVER:
        end_exchanges(&dw->w);
        break;
    case WORKER_STOP:
        event_base_loopexit(dw->w.base, NULL);
        break;
    }
}

static void obey(struct worker_mail *mail, struct worker *w)
{
    struct worker_msg *m = (struct worker_msg *)(void *)mail;

    if (w)
        follow((struct daemon_worker *)(void *)w, m);
    conf_unref(m->conf);
    free(m);
}

static void take_mail(struct mbox_msg *link, void *arg)
{
    struct worker_mail *m = MBOX_ENTRY(link, struct worker_mail, link);

    m->take(m, arg);
}

static void on_inbox(evutil_socket_t fd, short what, void *arg)
{
    struct daemon_worker *dw = arg;

    (void)fd;
    (void)what;
    clock_update();
    mbox_drain(&dw->w.inbox, 0, take_mail, &dw->w);
}

/* ---- the tick ---------------------------------------------------------- */

static uint64_t time_us(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
}

/* A timer of the system: the moments of libevent's own are as coarse as the
 * delays that are measured here. */
static bool tick_open(struct daemon_worker *dw)
{
    const struct itimerspec every = {.it_interval.tv_nsec = TICK_MS * 1000000,
                                     .it_value.tv_nsec = TICK_MS * 1000000};
    struct timespec now;

    dw->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (dw->tick_fd == -1)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    dw->tick_due_us = time_us(&now) + TICK_US;
    return timerfd_settime(dw->tick_fd, 0, &every, NULL) == 0;
}

/* How late this tick is, in us. */
static uint64_t note_delay(struct daemon_worker *dw)
{
    struct timespec now;
    uint64_t delay_us;

    clock_gettime(CLOCK_MONOTONIC, &now);
    delay_us = time_us(&now);
    delay_us = delay_us > dw->tick_due_us ? delay_us - dw->tick_due_us : 0;

    hist_observe(&dw->w.stats->loop_delay, delay_us);
    if (delay_us > stat_read(&dw->w.stats->loop_lag_us))
        atomic_store(&dw->w.stats->loop_lag_us, delay_us);
    return delay_us;
}

/* What this thread has had of a processor. */
static uint64_t busy_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return time_us(&ts);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct daemon_worker *dw = arg;
    uint64_t n, delay_us;

    (void)what;
    if (read(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
        return;
    delay_us = note_delay(dw);
    dw->tick_due_us += n * TICK_US;
    clock_update();
    front_note_lag(dw->front, delay_us, busy_us());
    atomic_store(&dw->beat_ms, clock_mono_ms());
    atomic_store(&dw->busy, front_clients(dw->front) + dw->w.exchanges);
    quota_tick(&dw->w);
}

/* ---- the thread -------------------------------------------------------- */

static struct event_base *base_new(void)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base = NULL;

    if (!cfg)
        return NULL;
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    event_config_require_features(cfg, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return base;
}

static bool worker_events(struct daemon_worker *dw)
{
    struct worker *w = &dw->w;

    w->inbox_ev = event_new(w->base, mbox_fd(&w->inbox), EV_READ | EV_PERSIST,
                            on_inbox, dw);
    if (!tick_open(dw))
        return false;
    dw->tick =
        event_new(w->base, dw->tick_fd, EV_READ | EV_PERSIST, on_tick, dw);
    if (!w->inbox_ev || !dw->tick)
        return false;
    clock_update();
    atomic_store(&dw->beat_ms, clock_mono_ms());
    event_add(w->inbox_ev, NULL);
    event_add(dw->tick, NULL);
    return true;
}

static bool worker_parts(struct daemon_worker *dw)
{
    struct worker *w = &dw->w;
    struct daemon *d = dw->d;

    w->base = base_new();
    w->chunks = calloc(1, sizeof(*w->chunks));
    w->scratch = malloc(WORKER_SCRATCH);
    if (!w->base || !w->chunks || !w->scratch)
        return false;
    chunk_pool_init(w->chunks, CHUNKS_KEPT);
    if (!worker_events(dw))
        return false;
    w->upstreams = upstream_pool_new(w, d->resolver);
    if (!w->upstreams)
        return false;
    if (d->engine) {
        w->engine = engine_port_new(w, d->engine);
        if (!w->engine)
            return false;
    }
    if (ledger_worker_open(d->ledger, w->index, &w->ledger) != ERR_OK)
        return false;
    return front_open(w, d->net, &dw->front) == ERR_OK;
}

static void worker_unparts(struct daemon_worker *dw)
{
    struct worker *w = &dw->w;

    front_close(dw->front);
    end_exchanges(w); /* whose clients had left before */
    if (w->index == 0) {
        discover_stop(dw->d->discover);
        health_stop(dw->d->health);
    }
    upstream_pool_free(w->upstreams);
    engine_port_free(w->engine);
    ledger_worker_close(w->ledger);
    if (dw->tick)
        event_free(dw->tick);
    if (dw->tick_fd >= 0)
        close(dw->tick_fd);
    if (w->inbox_ev)
        event_free(w->inbox_ev);
    if (w->chunks)
        chunk_pool_fini(w->chunks);
    free(w->chunks);
    free(w->scratch);
    if (w->base)
        event_base_free(w->base);
}

static void worker_main(void *arg)
{
    struct daemon_worker *dw = arg;

    thr_set_slice(SLICE_US);
    if (!worker_parts(dw)) {
        log_err(LOG_MAIN, "worker cannot start: index=%u", dw->w.index);
        dw->d->exit_code = 1;
        daemon_quit(dw->d);
    } else {
        if (dw->w.index == 0)
            checks_run(dw);
        event_base_dispatch(dw->w.base);
    }
    worker_unparts(dw);
}

enum err worker_start(struct daemon *d, unsigned index,
                      struct daemon_worker **out)
{
    struct daemon_worker *dw = calloc(1, sizeof(*dw));
    char name[THR_NAME_SIZE];
    enum err e;

    if (!dw)
        return ERR_NOMEM;
    dw->d = d;
    dw->w.index = index;
    dw->w.stages = stage_table;
    dw->w.svc = &d->svc;
    dw->w.inbox.fd = -1;
    TAILQ_INIT(&dw->w.waits);
    dw->tick_fd = -1;
    for (unsigned s = 0; s < STAGE_COUNT; s++)
        TAILQ_INIT(&dw->w.by_stage[s]);
    dw->w.stats = calloc(1, sizeof(*dw->w.stats));
    if (dw->w.stats)
        dw->w.stats->series = series_table_new();
    e = dw->w.stats && dw->w.stats->series ? mbox_init(&dw->w.inbox)
                                           : ERR_NOMEM;
    dw->w.conf = conf_ref(d->conf);
    snprintf(name, sizeof(name), "worker-%u", index);
    if (e == ERR_OK)
        e = thr_start(&dw->thr, name, worker_main, dw);
    if (e != ERR_OK) {
        worker_free(dw);
        return e;
    }
    *out = dw;
    return ERR_OK;
}

void worker_join(struct daemon_worker *dw)
{
    thr_join(&dw->thr);
}

void worker_free(struct daemon_worker *dw)
{
    if (!dw)
        return;
    if (dw->w.inbox.fd >= 0)
        mbox_drain(&dw->w.inbox, 0, take_mail, NULL);
    mbox_fini(&dw->w.inbox);
    conf_unref(dw->w.conf);
    if (dw->w.stats)
        series_table_free(dw->w.stats->series);
    free(dw->w.stats);
    free(dw);
}
