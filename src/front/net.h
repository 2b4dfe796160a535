/* net.h - What the workers' fronts share: the bound sockets, certificates and
 * process-wide counts. Private to front/; the public part is front.h. */
#ifndef TG_FRONT_NET_H
#define TG_FRONT_NET_H

#include "front/front.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>

struct sockaddr_storage;
struct stats;
struct tls;
struct tls_tickets;

/* Bytes of a unix socket's path with its NUL. */
#define NET_PATH_BYTES 108

/* Slots that count connections by address; the first is for those that have
 * none. */
#define NET_ADDRESS_SLOTS 65536

/* One bound address. */
struct net_socket {
    char text[FRONT_ADDRESS_BYTES];
    char path[NET_PATH_BYTES]; /* unix: to remove at the end; "" otherwise */
    dev_t dev;                 /* unix: the file that is ours */
    ino_t ino;
    uint16_t port;   /* TCP */
    bool metrics;    /* serves /metrics and health only */
    size_t conf_at;  /* index in conf.listen, unless <metrics> */
    int *fds;        /* owned: one a worker, -1 once it is closed */
    struct tls *tls; /* counted; NULL = plain; under front_net.lock */
};

/* The process's part of front/. */
struct front_net {
    struct net_socket *sockets; /* owned */
    size_t n_sockets;
    unsigned n_workers;
    struct tls_tickets *tickets;          /* owned */
    pthread_mutex_t lock;                 /* guards sockets[].tls; a leaf */
    _Atomic(const struct stats *) *stats; /* owned: by worker, borrowed */
    uint64_t conns_most;                  /* that descriptors allow */
    unsigned refusing_most;               /* over the limit, of a worker */
    atomic_uint conns;                    /* open client connections */
    atomic_uint *by_address;              /* owned: of them, by slot */
    atomic_llong out_bytes;               /* queued replies, about */
    _Atomic uint64_t bodies_most;         /* bytes; 0 = by the config alone */
    atomic_bool short_of;                 /* memory: nothing new is begun */
};

/* The slot in by_address of who connects from <sa>: the same for one IPv4
 * address or one IPv6 /64, and seldom for others; 0 for unix sockets. */
uint32_t net_address_slot(const struct sockaddr_storage *sa);

/* The certificates of socket <i> now: a new reference, or NULL. */
struct tls *net_tls_get(struct front_net *net, size_t i);

/* Take the listening descriptor of <worker> for socket <i>, which is the
 * caller's to close from now on; -1 when there is none. */
int net_fd_take(struct front_net *net, size_t i, unsigned worker);

/* Whether memory is short now. */
bool net_is_short(const struct front_net *net);

/* Request-body bytes that all workers may hold, if the config allows <conf>. */
uint64_t net_bodies_most(const struct front_net *net, uint64_t conf);

/* Request-body bytes that all workers hold, about. */
int64_t net_buffered_bytes(const struct front_net *net);

#endif
