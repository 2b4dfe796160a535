/* conn.c - See conn.h. Decides how a connection begins, which state may follow
 * which, when its time is over, and how it ends. */
#include "front/conn.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "front/listener.h"
#include "front/net.h"
#include "front/tls.h"

#define US_PER_MS     1000
#define HANDSHAKE_MS  10000
#define LINGER_MS     2000
#define DROP_MS       2000
#define DRAIN_IDLE_MS 1000 /* for a request on its way when a drain begins */
#define RESET_LOOK_MS 20   /* between looks whether all is sent */
#define WATCHERS      16   /* beyond the limit, on the metrics listener */

#define BIT(s) (1u << (s))

/* Which states may follow; the drawing is in conn.h. Every state may end in
 * CLOSED. */
static const uint32_t next_states[CONN_STATE_COUNT] = {
    [CONN_HANDSHAKE] = BIT(CONN_IDLE) | BIT(CONN_CLOSED),
    [CONN_IDLE] =
        BIT(CONN_HEAD) | BIT(CONN_FLUSH) | BIT(CONN_LINGER) | BIT(CONN_CLOSED),
    [CONN_HEAD] =
        BIT(CONN_BODY) | BIT(CONN_WAIT) | BIT(CONN_FLUSH) | BIT(CONN_CLOSED),
    [CONN_BODY] =
        BIT(CONN_WAIT) | BIT(CONN_REPLY) | BIT(CONN_FLUSH) | BIT(CONN_CLOSED),
    [CONN_WAIT] = BIT(CONN_REPLY) | BIT(CONN_FLUSH) | BIT(CONN_CLOSED),
    [CONN_REPLY] = BIT(CONN_FLUSH) | BIT(CONN_TUNNEL) | BIT(CONN_CLOSED),
    [CONN_FLUSH] = BIT(CONN_IDLE) | BIT(CONN_LINGER) | BIT(CONN_CLOSED),
    [CONN_LINGER] = BIT(CONN_CLOSED),
    [CONN_TUNNEL] = BIT(CONN_FLUSH) | BIT(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

static const char *const state_names[CONN_STATE_COUNT] = {
    "handshake", "idle",  "head",   "body",   "wait",
    "reply",     "flush", "linger", "tunnel", "closed",
};

const char *conn_state_name(enum conn_state s)
{
    return (unsigned)s < CONN_STATE_COUNT ? state_names[s] : "?";
}

bool conn_may_enter(enum conn_state from, enum conn_state to)
{
    return (unsigned)from < CONN_STATE_COUNT &&
           (unsigned)to < CONN_STATE_COUNT &&
           (next_states[from] & BIT(to)) != 0;
}

/* ---- the end ------------------------------------------------------------ */

/* On entry of CLOSED: give everything back but the object itself. */
static void release(struct conn *c)
{
    struct front *f = c->f;

    BUG_ON(c->x != NULL);
    event_del(&c->io);
    event_del(&c->timer);
    tls_session_free(c->ssl);
    c->ssl = NULL;
    tls_unref(c->tls);
    c->tls = NULL;
    close(c->fd);
    c->fd = -1;
    f->out_bytes -= (int64_t)chunkq_len(&c->out);
    chunkq_fini(&c->out);
    buf_fini(&c->in);
    gate_forget(c);
    if (c->queued) {
        TAILQ_REMOVE(&f->todo, c, work);
        f->n_todo--;
        c->queued = false;
    }
    TAILQ_REMOVE(&f->live, c, live);
    TAILQ_INSERT_TAIL(&f->dead, c, live);
    f->n_conns--;
    f->n_watchers -= c->metrics;
    stat_shift(&f->w->stats->conns, -1);
    if (c->counted) {
        atomic_fetch_sub(&f->net->conns, 1);
        atomic_fetch_sub(&f->net->by_address[c->address], 1);
    } else {
        f->n_refusing--;
    }
}

/* Have the end of the turn come. */
static void turn_set(struct front *f)
{
    if (f->turn_set)
        return;
    f->turn_set = true;
    event_active(&f->turn_ev, EV_TIMEOUT, 0);
}

void conn_turn(struct front *f, bool later)
{
    const struct timeval now = {0, 0};

    if (!later && !f->in_turn)
        turn_set(f);
    else if (!evtimer_pending(&f->later_ev, NULL) &&
             evtimer_add(&f->later_ev, &now) != 0)
        turn_set(f);
}

void conn_enter(struct conn *c, enum conn_state to)
{
    if (!conn_may_enter(c->state, to))
        PANIC("connection: %s may not be followed by %s",
              conn_state_name(c->state), conn_state_name(to));
    log_debug(LOG_NET, "connection: fd=%d from=%s to=%s", c->fd,
              conn_state_name(c->state), conn_state_name(to));
    c->state = to;
    c->since_us = (int64_t)clock_mono_us();
    if (to == CONN_CLOSED) {
        release(c);
        turn_set(c->f);
        return;
    }
    conn_arm(c);
}

void conn_lose(struct conn *c, const char *why)
{
    struct exchange *x = c->x;

    if (c->state == CONN_CLOSED)
        return;
    log_debug(LOG_NET, "connection closed: fd=%d state=%s reason=%s", c->fd,
              conn_state_name(c->state), why);
    c->x = NULL;
    conn_enter(c, CONN_CLOSED);
    if (x)
        exchange_gone(x);
}

void conn_kill(struct conn *c, const char *why)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (c->state == CONN_CLOSED)
        return;
    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) != 0)
        log_debug(LOG_NET, "no reset possible: fd=%d", c->fd);
    conn_lose(c, why);
}

/* Whether the kernel has delivered all that it took. */
static bool is_delivered(const struct conn *c)
{
    int unsent = 0;

    return ioctl(c->fd, SIOCOUTQ, &unsent) != 0 || unsent == 0;
}

void conn_shut(struct conn *c)
{
    if (c->reset) {
        if (is_delivered(c)) {
            conn_kill(c, "reply broke off");
            return;
        }
        conn_enter(c, CONN_LINGER);
        return;
    }
    if (c->ssl)
        tls_close_notify(c->ssl);
    if (!c->linger && c->in.len == 0 && !c->readable) {
        conn_enter(c, CONN_CLOSED);
        return;
    }
    if (shutdown(c->fd, SHUT_WR) != 0) {
        conn_enter(c, CONN_CLOSED);
        return;
    }
    c->rest_raw = true;
    buf_fini(&c->in);
    conn_enter(c, CONN_LINGER);
    if (c->readable) {
        c->look = true;
        conn_mark(c, true);
    }
}

void conn_free_dead(struct front *f)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&f->dead)) != NULL) {
        TAILQ_REMOVE(&f->dead, c, live);
        slab_put(&f->conns, c);
    }
}

/* ---- deadlines ---------------------------------------------------------- */

/* Make <at> the nearest deadline if it is. */
static void nearer(int64_t at, enum conn_due due, int64_t *at_out,
                   enum conn_due *due_out)
{
    if (*due_out != DUE_NOTHING && at >= *at_out)
        return;
    *at_out = at;
    *due_out = due;
}

void conn_body_clock_start(struct conn *c)
{
    c->body_us = (int64_t)clock_mono_us();
    c->body_last_us = c->body_us;
    c->body_seen = 0;
    c->pause_us = 0;
    conn_arm(c);
}

/* When the body will have been too slow: the mean rate is kept up to by what
 * has come so far, and a burst at the start buys no endless silence. */
static void body_due(const struct conn *c, const struct conf_limits *l,
                     int64_t *at, enum conn_due *due)
{
    uint64_t bought_us;

    if (l->body_min_rate_bps == 0 || c->pause_us != 0)
        return;
    bought_us = c->body_seen > UINT64_MAX / 1000000
                    ? INT32_MAX
                    : c->body_seen * 1000000 / l->body_min_rate_bps;
    nearer(c->body_us + l->body_grace_ms * US_PER_MS + (int64_t)bought_us,
           DUE_BODY, at, due);
    nearer(c->body_last_us +
               (l->idle_timeout_ms + l->body_grace_ms) * US_PER_MS,
           DUE_BODY, at, due);
}

/* The deadline of the state alone. */
static void state_due(const struct conn *c, const struct conf_limits *l,
                      int64_t *at, enum conn_due *due)
{
    int64_t since = c->since_us;

    switch (c->state) {
    case CONN_HANDSHAKE:
        nearer(since + HANDSHAKE_MS * US_PER_MS, DUE_HANDSHAKE, at, due);
        return;
    case CONN_IDLE:
        nearer(since + US_PER_MS * (c->requests == 0 ? l->header_timeout_ms
                                                     : l->idle_timeout_ms),
               DUE_IDLE, at, due);
        if (c->f->draining && !c->metrics)
            nearer(c->f->drain_us + DRAIN_IDLE_MS * US_PER_MS, DUE_IDLE, at,
                   due);
        return;
    case CONN_HEAD:
        if (c->held)
            return;
        nearer(since + l->header_timeout_ms * US_PER_MS, DUE_HEAD, at, due);
        return;
    case CONN_BODY:
    case CONN_REPLY:
        if (c->mode != BODY_IDLE && !c->rest_raw &&
            !http1_body_is_done(&c->body))
            body_due(c, l, at, due);
        return;
    case CONN_FLUSH:
        if (!http1_body_is_done(&c->body) && !c->must_close)
            nearer(since + DROP_MS * US_PER_MS, DUE_DROP, at, due);
        return;
    case CONN_LINGER:
        nearer(since + LINGER_MS * US_PER_MS, DUE_LINGER, at, due);
        return;
    default:
        return;
    }
}

/* The nearest deadline; false when there is none. */
static bool deadline(const struct conn *c, int64_t *at, enum conn_due *due)
{
    const struct conf_limits *l = &c->f->w->conf->limits;

    *due = DUE_NOTHING;
    *at = 0;
    state_due(c, l, at, due);
    if (chunkq_len(&c->out) > 0 && l->write_stall_ms > 0)
        nearer(c->write_us + l->write_stall_ms * US_PER_MS, DUE_WRITE, at, due);
    if (c->state == CONN_LINGER && c->reset)
        nearer((int64_t)clock_mono_us() + RESET_LOOK_MS * US_PER_MS, DUE_RESET,
               at, due);
    return *due != DUE_NOTHING;
}

void conn_arm(struct conn *c)
{
    struct timeval tv;
    enum conn_due due;
    int64_t at, wait;

    if (!deadline(c, &at, &due) || (c->timer_us != 0 && c->timer_us <= at))
        return;
    wait = at - (int64_t)clock_mono_us();
    if (wait < US_PER_MS)
        wait = US_PER_MS;
    tv.tv_sec = (time_t)(wait / 1000000);
    tv.tv_usec = (suseconds_t)(wait % 1000000);
    if (event_add(&c->timer, &tv) == 0)
        c->timer_us = at;
}

/* The time for <due> is over. */
static void expire(struct conn *c, enum conn_due due)
{
    stats_inc(c->f->w->stats, STAT_CONN_DEADLINE);
    switch (due) {
    case DUE_HANDSHAKE:
        stats_inc(c->f->w->stats, STAT_TLS_FAILED);
        conn_lose(c, "handshake timeout");
        return;
    case DUE_IDLE:
        conn_lose(c, "idle timeout");
        return;
    case DUE_HEAD:
        conn_in_refuse(c, ERR_REQUEST_TIMEOUT);
        return;
    case DUE_BODY:
        conn_body_fail(c, ERR_REQUEST_TIMEOUT);
        return;
    case DUE_DROP:
        c->must_close = true;
        c->rest_raw = true;
        c->linger = true;
        conn_mark(c, false);
        return;
    case DUE_WRITE:
        conn_kill(c, "write stalled");
        return;
    default:
        if (c->reset)
            conn_kill(c, "reply broke off");
        else
            conn_lose(c, "lingered enough");
        return;
    }
}

void conn_check_deadline(struct conn *c)
{
    enum conn_due due;
    int64_t at;

    if (c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_LINGER && c->reset && is_delivered(c)) {
        conn_kill(c, "reply broke off");
        return;
    }
    if (deadline(c, &at, &due) && at <= (int64_t)clock_mono_us())
        expire(c, due);
    else
        conn_arm(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;   /* a timer has none */
    (void)what; /* always EV_TIMEOUT */
    clock_update();
    c->timer_us = 0;
    conn_check_deadline(c);
}

/* ---- events ------------------------------------------------------------- */

void conn_mark(struct conn *c, bool later)
{
    struct front *f = c->f;

    if (!c->queued) {
        c->queued = true;
        TAILQ_INSERT_TAIL(&f->todo, c, work);
        f->n_todo++;
    }
    conn_turn(f, later);
}

void conn_handshake(struct conn *c)
{
    struct stats *stats = c->f->w->stats;

    switch (tls_handshake(c->ssl)) {
    case ERR_OK:
        stats_inc(stats, STAT_TLS_HANDSHAKES);
        conn_enter(c, CONN_IDLE);
        c->look = true;
        conn_mark(c, false);
        return;
    case ERR_AGAIN:
        return;
    default:
        stats_inc(stats, STAT_TLS_FAILED);
        conn_lose(c, "handshake failed");
        return;
    }
}

bool conn_serves_half_closed(const struct conn *c)
{
    if (c->held)
        return c->f->w->conf->limits.half_close;
    return c->f->w->conf->limits.half_close && c->x &&
           (c->state == CONN_WAIT || c->state == CONN_REPLY) &&
           http1_body_is_done(&c->body) && !c->x->in->head.websocket;
}

/* Something happened on the socket while we do not read: look whether the
 * client has left, since the edge will not come again. */
static void look_for_end(struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

    if (conn_serves_half_closed(c)) {
        if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0)
            conn_lose(c, "client left");
        return;
    }
    if (!c->hup && poll(&p, 1, 0) == 1)
        c->hup = true;
    if (c->hup && (c->x || c->held) && c->state != CONN_TUNNEL)
        conn_lose(c, "client left");
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd; /* c->fd */
    clock_update();
    if (c->state == CONN_CLOSED)
        return;
    if (what & EV_CLOSED)
        c->hup = true;
    if (c->ssl || (what & (EV_READ | EV_CLOSED)))
        c->readable = true;
    if (c->ssl || (what & EV_WRITE))
        c->writable = true;
    if (c->state == CONN_HANDSHAKE) {
        gate_hold_shake(c);
        return;
    }
    if (conn_in_is_wanted(c))
        conn_in_read(c);
    else if (what & (EV_READ | EV_CLOSED))
        look_for_end(c);
    if (c->state != CONN_CLOSED && c->writable && chunkq_len(&c->out) > 0)
        conn_mark(c, false);
}

/* ---- the beginning ------------------------------------------------------ */

static void peer_name(struct conn *c, const struct sockaddr_storage *sa)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

    switch (sa->ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, c->peer, sizeof(c->peer));
        c->local_peer = ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, c->peer, sizeof(c->peer));
        c->local_peer = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
        return;
    default:
        memcpy(c->peer, "unix", 5);
        c->local_peer = true;
        return;
    }
}

/* Count <c> among the process's connections and those of its address, if there
 * is room among both. On the metrics listener there is some more: who watches
 * us must get in when clients do not. */
static void count_in(struct conn *c)
{
    const struct conf_limits *l = &c->f->w->conf->limits;
    struct front_net *net = c->f->net;
    atomic_uint *own = &net->by_address[c->address];
    uint64_t most = l->connections, most_own = UINT64_MAX;

    if (most > net->conns_most)
        most = net->conns_most;
    if (c->metrics)
        most += WATCHERS;
    else if (c->address != 0 && l->connections_per_address > 0)
        most_own = l->connections_per_address;
    c->counted = atomic_fetch_add(&net->conns, 1) < most;
    if (atomic_fetch_add(own, 1) >= most_own)
        c->counted = false;
    if (c->counted)
        return;
    atomic_fetch_sub(&net->conns, 1);
    atomic_fetch_sub(own, 1);
}

/* An open connection in its first state, watched; NULL without memory. */
static struct conn *conn_new(struct listener *l, int fd)
{
    struct front *f = l->f;
    struct conn *c = slab_get(&f->conns);

    if (!c)
        return NULL;
    c->client.ops = &conn_ops;
    c->f = f;
    c->fd = fd;
    c->writable = true;
    c->metrics = l->metrics;
    c->since_us = (int64_t)clock_mono_us();
    chunkq_init(&c->out, f->w->chunks, SIZE_MAX / 2);
    buf_init(&c->in, f->w->conf->limits.header_bytes + 2 * WORKER_SCRATCH);
    event_assign(&c->io, f->w->base, fd,
                 EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_io, c);
    evtimer_assign(&c->timer, f->w->base, on_timer, c);
    c->state = CONN_IDLE;
    if (l->tls) {
        c->state = CONN_HANDSHAKE;
        c->tls = tls_ref(l->tls);
        c->ssl = tls_session_new(l->tls, fd);
    }
    if ((!l->tls || c->ssl) && event_add(&c->io, NULL) == 0)
        return c;
    tls_session_free(c->ssl);
    tls_unref(c->tls);
    slab_put(&f->conns, c);
    return NULL;
}

void conn_accept(struct listener *l, int fd, const struct sockaddr_storage *sa)
{
    struct front *f = l->f;
    struct conn *c = NULL;

    if (!l->tls || l->metrics || !gate_is_shut(f))
        c = conn_new(l, fd);
    if (!c) {
        stats_inc(f->w->stats, STAT_CONNS_REFUSED);
        close(fd);
        return;
    }
    peer_name(c, sa);
    c->address = net_address_slot(sa);
    count_in(c);
    TAILQ_INSERT_TAIL(&f->live, c, live);
    f->n_conns++;
    f->n_watchers += c->metrics;
    stat_shift(&f->w->stats->conns, 1);
    if (c->counted) {
        stats_inc(f->w->stats, STAT_CONNS_ACCEPTED);
        conn_arm(c);
        return;
    }
    stats_inc(f->w->stats, STAT_CONNS_REFUSED);
    f->n_refusing++;
    if (c->ssl || f->n_refusing > f->net->refusing_most) {
        conn_lose(c, "too many connections");
        return;
    }
    reply_refused_send(c);
    conn_enter(c, CONN_FLUSH);
}
