/* boot.c - The ordered start and stop of everything. Start goes down the list,
 * stop goes up it:
 *
 *   log, sockets (ports are taken before anything is changed on disk), ledger,
 *   keys, accounts, throttle, targets, resolver, discovery, engine, cache,
 * workers, control socket
 */
#include <event2/event.h>
#include <sys/resource.h>
#include <unistd.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "account/ledger.h"
#include "account/ledger_spend.h"
#include "admit/throttle.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/local.h"
#include "daemon/reload.h"
#include "daemon/signals.h"
#include "engine/engine.h"
#include "exchange/soft.h"
#include "front/front.h"
#include "recall/cache.h"
#include "serve/health.h"
#include "serve/target.h"
#include "settle/unpriced.h"
#include "upstream/upstream.h"

#define LAST_WORDS_MS 2000 /* for error events after the drain time */

static void raise_fd_limit(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
        return;
    rl.rlim_cur = rl.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
        log_warn(LOG_MAIN, "cannot raise the limit on open files");
}

static unsigned worker_count(const struct conf *c)
{
    long n = c->workers ? (long)c->workers : sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1)
        n = 1;
    return n > DAEMON_WORKERS_MAX ? DAEMON_WORKERS_MAX : (unsigned)n;
}

static bool start_ledger(struct daemon *d)
{
    struct ledger_opts opts = {.state_dir = d->conf->state_dir.p,
                               .workers = worker_count(d->conf)};
    struct buf why;
    enum err e;

    buf_init(&why, 4096);
    e = ledger_open(&opts, &d->ledger, &why);
    if (e == ERR_OK)
        e = keytab_open(d->ledger, &d->keys, &why);
    if (e == ERR_OK) {
        d->accounts = accounts_new(d->ledger);
        e = d->accounts ? ERR_OK : ERR_NOMEM;
    }
    if (e != ERR_OK)
        log_err(LOG_LEDGER, "%.*s", STR_ARG(buf_str(&why)));
    buf_fini(&why);
    return e == ERR_OK;
}

static bool start_cache(struct daemon *d)
{
    struct buf why;
    enum err e;

    buf_init(&why, 8192);
    e = cache_open(d->conf, worker_count(d->conf), &d->cache, &why);
    if (e != ERR_OK)
        log_err(LOG_MAIN, "%.*s", STR_ARG(buf_str(&why)));
    buf_fini(&why);
    return e == ERR_OK;
}

static bool start_services(struct daemon *d)
{
    d->throttle = throttle_new();
    d->targets = target_table_new();
    d->resolver = resolver_new();
    d->unpriced = unpriced_new();
    d->soft = soft_new();
    retry_budget_init(&d->retries, RETRY_BUDGET_PERCENT, RETRY_BUDGET_FLOOR);
    if (!d->throttle || !d->targets || !d->resolver || !d->unpriced || !d->soft)
        return false;
    resolver_refresh_trust(d->resolver);
    d->discover = discover_new(d->resolver);
    d->health = health_new(d->targets);
    if (!d->discover || !d->health)
        return false;
    if (engine_open(d->conf, d->judged, &d->engine) != ERR_OK ||
        !start_cache(d))
        return false;
    for (size_t i = 0; i < d->conf->n_upstreams; i++)
        (void)target_get(d->targets, d->conf->upstreams[i].name);
    for (size_t i = 0; i < d->conf->engine.n_models; i++)
        (void)target_get(d->targets, d->conf->engine.models[i].name);
    d->svc = (struct services){.keys = d->keys,
                               .ledger = d->ledger,
                               .accounts = d->accounts,
                               .soft = d->soft,
                               .throttle = d->throttle,
                               .targets = d->targets,
                               .discover = d->discover,
                               .retries = &d->retries,
                               .engine = d->engine,
                               .cache = d->cache,
                               .unpriced = d->unpriced,
                               .local = local_answer};
    return true;
}

static bool start_workers(struct daemon *d)
{
    unsigned n = worker_count(d->conf);

    for (unsigned i = 0; i < n; i++) {
        if (worker_start(d, i, &d->workers[i]) != ERR_OK)
            return false;
        d->n_workers++; /* only those that run are told and joined */
    }
    return true;
}

static void announce(struct daemon *d)
{
    char text[FRONT_ADDRESS_BYTES];

    for (size_t i = 0; i < front_net_count(d->net); i++) {
        front_net_address(d->net, i, text);
        log_note(LOG_MAIN, "listening: address=%s", text);
    }
    if (keytab_count(d->keys) == 0 && d->conf->auth.required)
        log_note(LOG_MAIN, "no key exists yet; make one with: tollctl "
                           "key create --name me");
}

bool daemon_start(struct daemon *d)
{
    clock_update();
    d->start_mono_ms = clock_mono_ms();
    d->start_wall_ms = clock_wall_ms();
    d->n_listen = d->conf->n_listen;
    raise_fd_limit();
    if (front_net_open(d->conf, worker_count(d->conf), &d->net) != ERR_OK)
        return false;
    if (!start_ledger(d) || !start_services(d) || !start_workers(d))
        return false;
    if (control_open(d, &d->control) != ERR_OK)
        return false;
    atomic_store(&d->state, DAEMON_READY);
    announce(d);
    reload_tell_prices(d->conf, NULL);
    return true;
}

void daemon_drain(struct daemon *d)
{
    if (atomic_load(&d->state) >= DAEMON_DRAINING)
        return;
    clock_update();
    d->drain_until_ms = clock_mono_ms() + (uint64_t)d->conf->drain_timeout_ms;
    atomic_store(&d->state, DAEMON_DRAINING);
    signals_notify("STOPPING=1");
    log_note(LOG_MAIN, "draining: timeout_ms=%lld",
             (long long)d->conf->drain_timeout_ms);
    for (unsigned i = 0; i < d->n_workers; i++) {
        /* Until the worker has counted anew it is as busy as can be. */
        atomic_store(&d->workers[i]->busy, UINT32_MAX);
        worker_tell(d->workers[i], WORKER_DRAIN, NULL);
    }
}

void daemon_drain_over(struct daemon *d)
{
    clock_update();
    d->drain_until_ms = clock_mono_ms() + LAST_WORDS_MS;
    atomic_store(&d->state, DAEMON_STOPPING);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_DRAIN_OVER, NULL);
}

void daemon_quit(struct daemon *d)
{
    event_base_loopexit(d->base, NULL);
}

/* Nobody holds anything any more: what was leased need not be kept. */
static void stop_ledger(struct daemon *d)
{
    accounts_free(d->accounts);
    if (d->ledger && ledger_spend_close(d->ledger) != ERR_OK)
        log_warn(LOG_LEDGER, "leases could not be ended: if the machine went "
                             "down, they would count as spent");
    ledger_close(d->ledger);
}

void daemon_stop(struct daemon *d)
{
    control_close(d->control);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_STOP, NULL);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_join(d->workers[i]);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_free(d->workers[i]);
    d->n_workers = 0;
    engine_close(d->engine);
    cache_close(d->cache);
    health_free(d->health);
    discover_free(d->discover);
    resolver_free(d->resolver);
    target_table_free(d->targets);
    retry_budget_fini(&d->retries);
    throttle_free(d->throttle);
    unpriced_free(d->unpriced);
    soft_free(d->soft);
    keytab_close(d->keys);
    stop_ledger(d);
    front_net_close(d->net);
}

uint64_t daemon_lag_us(struct daemon *d)
{
    uint64_t worst = watch_silent_ms(d) * 1000;

    for (unsigned i = 0; i < d->n_workers; i++) {
        struct stats *s = d->workers[i]->w.stats;
        uint64_t lag_us = atomic_exchange(&s->loop_lag_us, 0);

        if (lag_us > worst)
            worst = lag_us;
    }
    return worst;
}
