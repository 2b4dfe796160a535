/* signals.c - What the outside says, and the watchdog over the workers. */
#include "daemon/signals.h"

#include <event2/event.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "account/ledger.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"

#define TICK_MS 50

void signals_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    int fd;

    if (len == 0 || len >= sizeof(sa.sun_path))
        return;
    memcpy(sa.sun_path, path, len);
    if (sa.sun_path[0] == '@')
        sa.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        log_debug(LOG_MAIN, "the service manager does not listen");
    close(fd);
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
    struct daemon *d = arg;

    (void)sig;
    (void)what;
    signals_notify("RELOADING=1");
    (void)daemon_reload(d, NULL);
    signals_notify("READY=1");
}

static void on_usr1(evutil_socket_t sig, short what, void *arg)
{
    (void)sig;
    (void)what;
    (void)arg;
    log_reopen();
    log_note(LOG_MAIN, "logs reopened");
}

static void on_term(evutil_socket_t sig, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    if (d->was_told && atomic_load(&d->state) == DAEMON_DRAINING) {
        log_note(LOG_MAIN, "stopping at once: signal=%d", (int)sig);
        daemon_drain_over(d);
        return;
    }
    if (d->was_told) {
        daemon_quit(d);
        return;
    }
    /* The first signal after `tollctl drain` is no second one: the drain goes
     * on. */
    d->was_told = true;
    daemon_drain(d);
}

static bool all_idle(const struct daemon *d)
{
    for (unsigned i = 0; i < d->n_workers; i++)
        if (atomic_load(&d->workers[i]->busy) != 0)
            return false;
    return true;
}

static void drain_tick(struct daemon *d, uint64_t now_ms)
{
    if (all_idle(d)) {
        log_note(LOG_MAIN, "drained");
        daemon_quit(d);
        return;
    }
    if (now_ms < d->drain_until_ms)
        return;
    if (atomic_load(&d->state) == DAEMON_STOPPING) {
        daemon_quit(d);
        return;
    }
    log_warn(LOG_MAIN, "drain time is over, open requests are ended");
    daemon_drain_over(d);
}

/* A ledger that cannot be opened again will not heal by itself: end well, and
 * let the service manager try anew. */
static void watch_ledger(struct daemon *d)
{
    if (ledger_state(d->ledger) != LEDGER_FATAL || d->exit_code != 0)
        return;
    log_err(LOG_MAIN, "the ledger is broken, stopping");
    d->exit_code = 1;
    daemon_drain(d);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    clock_update();
    watch_ledger(d);
    if (atomic_load(&d->state) >= DAEMON_DRAINING)
        drain_tick(d, clock_mono_ms());
    watch_tick(d);
}

enum err signals_open(struct daemon *d)
{
    static const struct {
        int number;
        event_callback_fn fn;
    } rows[] = {{SIGHUP, on_hup},
                {SIGTERM, on_term},
                {SIGINT, on_term},
                {SIGUSR1, on_usr1}};
    struct timeval tv = {0, TICK_MS * 1000};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        d->signals[i] = evsignal_new(d->base, rows[i].number, rows[i].fn, d);
        if (!d->signals[i] || event_add(d->signals[i], NULL) != 0)
            return ERR_NOMEM;
    }
    d->tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
    if (!d->tick || event_add(d->tick, &tv) != 0)
        return ERR_NOMEM;
    return ERR_OK;
}

void signals_close(struct daemon *d)
{
    for (size_t i = 0; i < sizeof(d->signals) / sizeof(d->signals[0]); i++)
        if (d->signals[i])
            event_free(d->signals[i]);
    if (d->tick)
        event_free(d->tick);
}
