/* net.c - Binds every listening socket before any worker runs, and holds what
 * the workers share. Decides how port 0 becomes one port for all, when a unix
 * socket's file is stale, and that no second process slips in beside us: the
 * SO_REUSEPORT that spreads connections over workers would let it. */
#include "front/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "exchange/stats.h"
#include "front/tls.h"

#define NET_BACKLOG 4096

/* Unsent bytes the kernel takes of a connection; the rest waits with us,
 * where it is counted and can be taken back. */
#define NET_NOTSENT_BYTES (64 * 1024)

/* A client that vanished during a long reply: probed after a minute of
 * silence, given up two minutes later. */
#define NET_KEEPIDLE_S  60
#define NET_KEEPINTVL_S 30
#define NET_KEEPCNT     4

/* Descriptors left to listeners, files, the control socket and the like. */
#define NET_OWN_FDS 64

/* Clients over the limit that a worker lets read why, at once. */
#define NET_REFUSING 256

union net_sockaddr {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* ---- making sockets ----------------------------------------------------- */

static socklen_t sockaddr_fill(const struct conf_addr *a, uint16_t port,
                               union net_sockaddr *out)
{
    memset(out, 0, sizeof(*out));
    if (a->family == AF_UNIX) {
        out->un.sun_family = AF_UNIX;
        if (a->path.len >= sizeof(out->un.sun_path))
            return 0;
        memcpy(out->un.sun_path, a->path.p, a->path.len);
        return sizeof(out->un);
    }
    if (a->family == AF_INET6) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(port);
        if (inet_pton(AF_INET6, a->host.p, &out->in6.sin6_addr) != 1)
            return 0;
        return sizeof(out->in6);
    }
    out->in.sin_family = AF_INET;
    out->in.sin_port = htons(port);
    if (inet_pton(AF_INET, a->host.p, &out->in.sin_addr) != 1)
        return 0;
    return sizeof(out->in);
}

static void option_set(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof(value)) != 0)
        log_debug(LOG_NET, "socket option refused: level=%d name=%d errno=%d",
                  level, name, errno);
}

/* Options of the listening socket that accepted ones inherit. */
static void options_tcp(int fd)
{
    option_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    option_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NET_NOTSENT_BYTES);
    option_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, NET_KEEPIDLE_S);
    option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, NET_KEEPINTVL_S);
    option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, NET_KEEPCNT);
}

static enum err refused(const struct conf_addr *a, const char *what)
{
    enum err e = errno == EADDRINUSE ? ERR_EXISTS : ERR_IO;

    log_err(LOG_NET, "cannot listen: address=%.*s call=%s reason=\"%s\"",
            STR_ARG(a->text), what, strerror(errno));
    return e;
}

/* A listening TCP socket; <shared> lets others of ours bind beside it. */
static enum err tcp_listen(const struct conf_addr *a, uint16_t port,
                           bool shared, int *fd_out)
{
    union net_sockaddr sa;
    socklen_t len = sockaddr_fill(a, port, &sa);
    const char *what = "socket";
    int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum err e;

    if (fd >= 0) {
        option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (shared)
            option_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        if (a->family == AF_INET6)
            option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        options_tcp(fd);
        what = len > 0 && bind(fd, &sa.any, len) == 0 ? "listen" : "bind";
        if (what[0] == 'l' && listen(fd, NET_BACKLOG) == 0) {
            *fd_out = fd;
            return ERR_OK;
        }
    }
    e = refused(a, what);
    if (fd >= 0)
        close(fd);
    return e;
}

static uint16_t port_of(int fd)
{
    union net_sockaddr sa;
    socklen_t len = sizeof(sa);

    if (getsockname(fd, &sa.any, &len) != 0)
        return 0;
    return ntohs(sa.any.sa_family == AF_INET6 ? sa.in6.sin6_port
                                              : sa.in.sin_port);
}

static enum err tcp_open(struct front_net *net, struct net_socket *s,
                         const struct conf_addr *a)
{
    enum err e;
    int probe;

    s->port = a->port;
    if (s->port != 0) {
        e = tcp_listen(a, s->port, false, &probe);
        if (e != ERR_OK)
            return e;
        close(probe);
    }
    for (unsigned i = 0; i < net->n_workers; i++) {
        e = tcp_listen(a, s->port, true, &s->fds[i]);
        if (e != ERR_OK)
            return e;
        if (s->port == 0)
            s->port = port_of(s->fds[i]);
    }
    snprintf(s->text, sizeof(s->text),
             a->family == AF_INET6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(a->host),
             s->port);
    return ERR_OK;
}

/* Remove the socket file at <sa> if nobody answers on it. ERR_EXISTS when
 * somebody does, or when it is no socket. */
static enum err stale_remove(const struct conf_addr *a,
                             const union net_sockaddr *sa)
{
    struct stat st;
    bool answered;
    int fd;

    if (lstat(sa->un.sun_path, &st) != 0)
        return ERR_OK;
    if (!S_ISSOCK(st.st_mode)) {
        log_err(LOG_NET, "cannot listen, a file is in the way: path=%s",
                sa->un.sun_path);
        return ERR_EXISTS;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refused(a, "socket");
    answered =
        connect(fd, &sa->any, sizeof(sa->un)) == 0 || errno != ECONNREFUSED;
    close(fd);
    if (answered) {
        errno = EADDRINUSE;
        return refused(a, "bind");
    }
    if (unlink(sa->un.sun_path) != 0 && errno != ENOENT)
        return refused(a, "unlink");
    return ERR_OK;
}

/* Bind and listen at <sa>, a file with <mode>, nobody else's meanwhile. */
static bool unix_bind(int fd, const union net_sockaddr *sa, mode_t mode)
{
    mode_t before = umask(0177);
    bool ok = bind(fd, &sa->any, sizeof(sa->un)) == 0;

    umask(before);
    return ok && chmod(sa->un.sun_path, mode) == 0 &&
           listen(fd, NET_BACKLOG) == 0;
}

static enum err unix_open(struct front_net *net, struct net_socket *s,
                          const struct conf_addr *a, uint32_t mode)
{
    union net_sockaddr sa;
    struct stat st;
    enum err e;
    int fd;

    if (sockaddr_fill(a, 0, &sa) == 0) {
        errno = ENAMETOOLONG;
        return refused(a, "bind");
    }
    e = stale_remove(a, &sa);
    if (e != ERR_OK)
        return e;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refused(a, "socket");
    s->fds[0] = fd;
    if (!unix_bind(fd, &sa, (mode_t)mode))
        return refused(a, "bind");
    memcpy(s->path, sa.un.sun_path, sizeof(s->path));
    if (stat(s->path, &st) == 0) {
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    snprintf(s->text, sizeof(s->text), "unix:%s", s->path);
    for (unsigned i = 1; i < net->n_workers; i++) {
        s->fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (s->fds[i] < 0)
            return refused(a, "dup");
    }
    return ERR_OK;
}

/* Share out what the limit on open files allows. A request under way needs a
 * second descriptor for its upstream: clients get three quarters, since most of
 * them idle or read slowly what is here already, and never all, since the last
 * ones let in would leave none to serve anybody with. Those that are to read
 * why they are refused get a little of their own. Warns when that is less than
 * the <wanted> connections. */
static void descriptors_share(struct front_net *net, uint64_t wanted)
{
    struct rlimit rl;
    uint64_t most, own, spare;

    net->conns_most = UINT32_MAX;
    net->refusing_most = NET_REFUSING;
    if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
        return;
    most = rl.rlim_cur / 16 / net->n_workers;
    if (most < net->refusing_most)
        net->refusing_most = (unsigned)most;
    own = NET_OWN_FDS + (uint64_t)net->refusing_most * net->n_workers;
    spare = rl.rlim_cur > own ? rl.rlim_cur - own : 0;
    net->conns_most = spare / 4 * 3;
    if (net->conns_most < rl.rlim_cur / 4 + 1)
        net->conns_most = rl.rlim_cur / 4 + 1;
    if (net->conns_most < wanted)
        log_warn(LOG_NET,
                 "the limit on open files is low for limits.connections: "
                 "limit=%llu connections=%llu let_in=%llu; raise it with "
                 "ulimit -n",
                 (unsigned long long)rl.rlim_cur, (unsigned long long)wanted,
                 (unsigned long long)net->conns_most);
}

/* ---- the whole ---------------------------------------------------------- */

static enum err socket_open(struct front_net *net, struct net_socket *s,
                            const struct conf_addr *a, uint32_t mode)
{
    s->fds = malloc(net->n_workers * sizeof(*s->fds));
    if (!s->fds)
        return ERR_NOMEM;
    for (unsigned i = 0; i < net->n_workers; i++)
        s->fds[i] = -1;
    net->n_sockets++;
    return a->family == AF_UNIX ? unix_open(net, s, a, mode)
                                : tcp_open(net, s, a);
}

static enum err sockets_open(struct front_net *net, const struct conf *c)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->n_listen && e == ERR_OK; i++) {
        struct net_socket *s = &net->sockets[net->n_sockets];

        s->conf_at = i;
        if (c->listen[i].n_tls > 0)
            e = tls_new(&c->listen[i], net->tickets, &s->tls);
        if (e == ERR_OK)
            e = socket_open(net, s, &c->listen[i].address, c->listen[i].mode);
        else
            s->tls = NULL;
    }
    if (e == ERR_OK && c->metrics.family != AF_UNSPEC) {
        struct net_socket *s = &net->sockets[net->n_sockets];

        s->metrics = true;
        e = socket_open(net, s, &c->metrics, 0660);
    }
    return e;
}

enum err front_net_open(const struct conf *c, unsigned n_workers,
                        struct front_net **net_out)
{
    struct front_net *net = calloc(1, sizeof(*net));
    enum err e;

    BUG_ON(n_workers == 0);
    if (!net)
        return ERR_NOMEM;
    pthread_mutex_init(&net->lock, NULL);
    net->n_workers = n_workers;
    descriptors_share(net, c->limits.connections);
    net->sockets = calloc(c->n_listen + 1, sizeof(*net->sockets));
    net->stats = calloc(n_workers, sizeof(*net->stats));
    net->by_address = calloc(NET_ADDRESS_SLOTS, sizeof(*net->by_address));
    e = net->sockets && net->stats && net->by_address
            ? tls_tickets_new(&net->tickets)
            : ERR_NOMEM;
    if (e == ERR_OK)
        e = sockets_open(net, c);
    if (e != ERR_OK) {
        front_net_close(net);
        return e;
    }
    *net_out = net;
    return ERR_OK;
}

/* The listener of <c> that goes by the address of <s>, or NULL. */
static const struct conf_listen *listen_find(const struct net_socket *s,
                                             const struct conf *c)
{
    for (size_t i = 0; i < c->n_listen; i++) {
        const struct conf_addr *a = &c->listen[i].address;
        bool named =
            a->family == AF_UNIX
                ? str_eq(a->path, str_from(s->path))
                : a->port == s->port && str_starts(str_from(s->text), a->text);

        if (named || (a->family != AF_UNIX && a->port == 0 && i == s->conf_at))
            return c->listen[i].n_tls > 0 ? &c->listen[i] : NULL;
    }
    return NULL;
}

enum err front_net_reload(struct front_net *net, const struct conf *c)
{
    struct tls **fresh = calloc(net->n_sockets + 1, sizeof(struct tls *));
    enum err e = fresh ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; i < net->n_sockets && e == ERR_OK; i++) {
        const struct conf_listen *l = listen_find(&net->sockets[i], c);

        if (net->sockets[i].tls && l)
            e = tls_new(l, net->tickets, &fresh[i]);
    }
    for (size_t i = 0; fresh && i < net->n_sockets; i++) {
        struct tls *gone = fresh[i];

        if (gone && e == ERR_OK) {
            pthread_mutex_lock(&net->lock);
            gone = net->sockets[i].tls;
            net->sockets[i].tls = fresh[i];
            pthread_mutex_unlock(&net->lock);
        }
        tls_unref(gone);
    }
    free(fresh);
    return e;
}

size_t front_net_count(const struct front_net *net)
{
    return net->n_sockets;
}

void front_net_address(const struct front_net *net, size_t i,
                       char out[FRONT_ADDRESS_BYTES])
{
    BUG_ON(i >= net->n_sockets);
    memcpy(out, net->sockets[i].text, FRONT_ADDRESS_BYTES);
}

uint16_t front_net_port(const struct front_net *net, size_t i)
{
    BUG_ON(i >= net->n_sockets);
    return net->sockets[i].port;
}

/* Remove the file of a unix socket if it still is the one we made. */
static void file_remove(const struct net_socket *s)
{
    struct stat st;

    if (s->path[0] && stat(s->path, &st) == 0 && st.st_dev == s->dev &&
        st.st_ino == s->ino && unlink(s->path) != 0)
        log_warn(LOG_NET, "socket file stays: path=%s errno=%d", s->path,
                 errno);
}

void front_net_close(struct front_net *net)
{
    if (!net)
        return;
    for (size_t i = 0; i < net->n_sockets; i++) {
        struct net_socket *s = &net->sockets[i];

        for (unsigned j = 0; s->fds && j < net->n_workers; j++) {
            if (s->fds[j] >= 0)
                close(s->fds[j]);
        }
        file_remove(s);
        free(s->fds);
        tls_unref(s->tls);
    }
    tls_tickets_free(net->tickets);
    pthread_mutex_destroy(&net->lock);
    free(net->sockets);
    free(net->stats);
    free(net->by_address);
    free(net);
}

uint32_t net_address_slot(const struct sockaddr_storage *sa)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
    uint32_t hash;

    switch (sa->ss_family) {
    case AF_INET:
        hash = map_hash(&in->sin_addr, sizeof(in->sin_addr));
        break;
    case AF_INET6:
        hash = map_hash(&in6->sin6_addr, 8);
        break;
    default:
        return 0;
    }
    return hash % (NET_ADDRESS_SLOTS - 1) + 1;
}

struct tls *net_tls_get(struct front_net *net, size_t i)
{
    struct tls *t;

    pthread_mutex_lock(&net->lock);
    t = tls_ref(net->sockets[i].tls);
    pthread_mutex_unlock(&net->lock);
    return t;
}

int net_fd_take(struct front_net *net, size_t i, unsigned worker)
{
    int fd = worker < net->n_workers ? net->sockets[i].fds[worker] : -1;

    if (fd >= 0)
        net->sockets[i].fds[worker] = -1;
    return fd;
}

int64_t net_buffered_bytes(const struct front_net *net)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < net->n_workers; i++) {
        const struct stats *s =
            atomic_load_explicit(&net->stats[i], memory_order_acquire);

        if (s)
            sum += stat_level(&s->buffered_bytes);
    }
    return sum;
}

void front_net_set_short(struct front_net *net, bool short_of)
{
    atomic_store_explicit(&net->short_of, short_of, memory_order_relaxed);
}

bool net_is_short(const struct front_net *net)
{
    return atomic_load_explicit(&net->short_of, memory_order_relaxed);
}

void front_net_set_bodies(struct front_net *net, uint64_t bytes)
{
    atomic_store_explicit(&net->bodies_most, bytes, memory_order_relaxed);
}

uint64_t net_bodies_most(const struct front_net *net, uint64_t conf)
{
    uint64_t most =
        atomic_load_explicit(&net->bodies_most, memory_order_relaxed);

    return most > 0 && most < conf ? most : conf;
}
