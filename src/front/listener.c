/* listener.c - See listener.h. Decides what happens when descriptors or
 * connections run out: a shortage of descriptors spends the reserve one to
 * accept and close a client, then pauses accepting for 100 ms; a client over
 * the connection limit reads a 503. Log lines about it come once a second. */
#include "front/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "front/conn.h"
#include "front/net.h"
#include "front/tls.h"

#define ACCEPT_BATCH  64
#define PAUSE_MS      100
#define SAY_EVERY_US  (1000ull * 1000)
#define DRAIN_ACCEPTS 65536

/* What became of one try to accept. */
enum accepted {
    ACCEPTED_ONE = 0,
    ACCEPTED_NONE,     /* nobody waits */
    ACCEPTED_SHORTAGE, /* no descriptor or memory */
};

static int accept_fd(struct listener *l, struct sockaddr_storage *sa,
                     socklen_t *len)
{
    return accept4(l->fd, (struct sockaddr *)sa, len,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static enum accepted accept_one(struct listener *l)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd = accept_fd(l, &sa, &len);

    if (fd >= 0) {
        conn_accept(l, fd, &sa);
        return ACCEPTED_ONE;
    }
    switch (errno) {
    case EAGAIN:
    case EINVAL:
    case EBADF:
        return ACCEPTED_NONE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return ACCEPTED_SHORTAGE;
    default:
        return ACCEPTED_ONE; /* that client is gone; the next may be there */
    }
}

/* Let one client in by the reserve descriptor, just to close it: it learns at
 * once, and the queue moves on. */
static void spend_reserve(struct listener *l)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd;

    if (l->f->reserve_fd < 0)
        return;
    close(l->f->reserve_fd);
    fd = accept_fd(l, &sa, &len);
    if (fd >= 0) {
        stats_inc(l->f->w->stats, STAT_CONNS_REFUSED);
        close(fd);
    }
    l->f->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_shortage(struct listener *l)
{
    const struct timeval pause = {0, PAUSE_MS * 1000};
    uint64_t now = clock_mono_us();
    int why = errno;

    spend_reserve(l);
    l->unsaid++;
    if (l->said_us == 0 || now - l->said_us >= SAY_EVERY_US) {
        log_err(LOG_NET,
                "cannot accept, pausing: reason=\"%s\" times=%llu conns=%u",
                strerror(why), (unsigned long long)l->unsaid, l->f->n_conns);
        l->said_us = now;
        l->unsaid = 0;
    }
    event_del(&l->ev);
    if (evtimer_add(&l->pause, &pause) != 0)
        event_add(&l->ev, NULL);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)fd;   /* a timer has none */
    (void)what; /* always EV_TIMEOUT */
    if (l->fd >= 0 && event_add(&l->ev, NULL) != 0)
        log_err(LOG_NET, "listener stays paused: fd=%d", l->fd);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)fd;   /* l->fd */
    (void)what; /* always EV_READ */
    clock_update();
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        enum accepted a = accept_one(l);

        if (a == ACCEPTED_SHORTAGE)
            on_shortage(l);
        if (a != ACCEPTED_ONE)
            return;
    }
}

enum err listener_open(struct listener *l, struct front *f, size_t at)
{
    struct front_net *net = f->net;

    *l = (struct listener){.f = f, .at = at, .fd = -1};
    l->fd = net_fd_take(net, at, f->w->index);
    if (l->fd < 0)
        return ERR_OK;
    l->metrics = net->sockets[at].metrics;
    l->tls = net_tls_get(net, at);
    evtimer_assign(&l->pause, f->w->base, on_pause_over, l);
    event_assign(&l->ev, f->w->base, l->fd, EV_READ | EV_PERSIST, on_acceptable,
                 l);
    if (event_add(&l->ev, NULL) == 0)
        return ERR_OK;
    log_err(LOG_NET, "listener cannot be watched: fd=%d", l->fd);
    close(l->fd);
    l->fd = -1;
    tls_unref(l->tls);
    l->tls = NULL;
    return ERR_IO;
}

void listener_reconf(struct listener *l)
{
    if (l->fd < 0)
        return;
    tls_unref(l->tls);
    l->tls = net_tls_get(l->f->net, l->at);
}

void listener_close(struct listener *l, bool drain)
{
    if (l->fd < 0)
        return;
    for (int i = 0; drain && i < DRAIN_ACCEPTS; i++) {
        if (accept_one(l) != ACCEPTED_ONE)
            break;
    }
    event_del(&l->ev);
    event_del(&l->pause);
    close(l->fd);
    l->fd = -1;
    tls_unref(l->tls);
    l->tls = NULL;
}
