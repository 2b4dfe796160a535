/* pool.h - What the files of this folder know of a worker's pool: libcurl's
 * multi handles on the loop, work put off until libcurl has returned, addresses
 * fed to libcurl, spare easy handles. */
#ifndef TG_UPSTREAM_POOL_H
#define TG_UPSTREAM_POOL_H

#include "base/map.h"
#include "base/mbox.h"
#include "base/slab.h"
#include "base/str.h"
#include "upstream/lanes.h"
#include "upstream/resolve.h"

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct arena;
struct pool_sock;
struct worker;
struct x509_store_st;
struct xfer;

TAILQ_HEAD(xfer_list, xfer);

/* Easy handles kept for the next transfers, about 6 KiB each. */
#define POOL_SPARE_MAX 64

/* A name whose addresses this pool's handles have been given. */
struct pool_host {
    UT_hash_handle hh;
    struct arena *mem; /* owned; holds this */
    char *key;         /* "host:port", as CURLOPT_RESOLVE begins */
    uint64_t fed_gen;  /* addrs.gen that libcurl surely has, 0 = none */
};

/* A URL that transfers begin with, parsed once. */
struct pool_url {
    UT_hash_handle hh;
    struct arena *mem; /* owned; holds this */
    char *text;        /* "https://host:port/"; keyed without the slash */
    CURLU *url;        /* owned; never changed */
};

/* The pool of a worker. */
struct upstream_pool {
    struct arena *mem;            /* owned; holds this */
    struct worker *w;             /* borrowed */
    struct resolver *resolver;    /* borrowed */
    struct lane lanes[LANES_MAX]; /* owned: libcurl's multi handles */
    unsigned n_lanes;
    CURLSH *share; /* owned; addresses and TLS sessions of all handles */
    struct x509_store_st *trust; /* owned; the system\'s, or NULL */
    uint64_t trust_gen;          /* trust_gen() of <trust> */
    struct event later;          /* work put off */
    struct event answers_ev;     /* <answers> has some */
    struct mbox answers;         /* from the resolver */
    struct slab xfers;           /* struct xfer */
    struct slab socks;           /* struct pool_sock */
    struct xfer_list open;       /* all transfers */
    struct xfer_list todo;       /* those with work put off */
    unsigned n_todo;             /* length of <todo> */
    unsigned n_open;             /* length of <open> */
    unsigned in_curl;            /* depth of calls that may call back */
    bool settling;               /* work put off is being done */
    bool listening;              /* <answers_ev> was added */
    bool freeing;                /* upstream_pool_free() is at work */
    struct pool_host *hosts;     /* owned */
    struct pool_url *urls;       /* owned */
    struct pool_sock *by_fd;     /* owned; sockets the loop knows */
    CURL *spare[POOL_SPARE_MAX]; /* owned; as new */
    unsigned n_spare;
    CURL *plain[POOL_SPARE_MAX]; /* owned; set up for plain transfers */
    unsigned n_plain;
};

/* Bracket every libcurl call that may run callbacks. The last leave does the
 * work that was put off meanwhile. */
void pool_enter(struct upstream_pool *p);
void pool_leave(struct upstream_pool *p);

/* Put <xf> on the list of those with work put off; its todo bits tell what.
 * With <first> it comes before all others and within this turn. */
void pool_defer(struct upstream_pool *p, struct xfer *xf, bool first);

/* Take <xf> off that list, if it is on it. */
void pool_undefer(struct upstream_pool *p, struct xfer *xf);

/* An easy handle, or NULL without memory. With *plain_io, one of a plain
 * transfer if there is any: *plain_io tells whether it is, and still has what
 * all such transfers share. Else it is as new. */
CURL *pool_easy_take(struct upstream_pool *p, bool *plain_io);

/* Give a handle back that is in no multi handle; <plain>: of a plain transfer
 * that set nothing else. */
void pool_easy_give(struct upstream_pool *p, CURL *easy, bool plain);

/* The record of "host:port", made if need be; NULL without memory. */
struct pool_host *pool_host_get(struct upstream_pool *p, struct str host,
                                uint16_t port);

/* The URL of <origin>, "https://host:port"; it lives as long as the pool. NULL
 * without memory, or when it is none to libcurl. */
const struct pool_url *pool_url_get(struct upstream_pool *p, struct str origin);

/* Free what both keep. */
void pool_origins_free(struct upstream_pool *p);

/* libcurl's CURLOPT_SSL_CTX_FUNCTION for upstreams that the authorities of the
 * system vouch for; <arg> is the pool. */
CURLcode pool_set_trust(CURL *easy, void *ctx, void *arg);

/* libcurl's CURLMOPT_SOCKETFUNCTION; <arg> is the lane. */
int pool_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                      void *sock);

/* libcurl's CURLOPT_OPENSOCKETFUNCTION; <arg> is the pool. */
curl_socket_t pool_open_socket(void *arg, curlsocktype purpose,
                               struct curl_sockaddr *addr);

/* libcurl's CURLOPT_CLOSESOCKETFUNCTION; <arg> is the pool. */
int pool_close_socket(void *arg, curl_socket_t fd);

#endif
