/* pool.c - libcurl's multi handle on a worker's loop. libcurl says which
 * sockets and which time it waits for; the loop calls it back.
 *
 * Two rules keep it safe. Nothing of libcurl that changes a transfer is called
 * inside one of its callbacks: such work goes on the todo list and is done
 * when the outermost call has returned (pool_leave). And what a transfer's
 * end may free is touched by nobody after xfer_end(). */
#include "upstream/pool.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "exchange/worker.h"
#include "upstream/trust.h"
#include "upstream/upstream.h"
#include "upstream/xfer.h"

/* Most transfers of a worker; admission keeps far below it. */
#define POOL_XFERS 65536u

/* A socket of libcurl. It stays known, and registered for reading, while its
 * connection is idle: most requests come on a connection that was used just
 * before, and need no system call to watch it again. */
struct pool_sock {
    UT_hash_handle hh;
    struct event ev;
    struct lane *lane; /* borrowed */
    int fd;
    short want;   /* EV_READ, EV_WRITE: what libcurl waits for; 0 = idle */
    short loaded; /* what <ev> is registered for; 0 = it is not */
};

/* --- work put off ------------------------------------------------------- */

static void pool_settle(struct upstream_pool *p);

void pool_enter(struct upstream_pool *p)
{
    p->in_curl++;
}

void pool_leave(struct upstream_pool *p)
{
    BUG_ON(p->in_curl == 0);
    if (--p->in_curl == 0 && !p->freeing && !p->settling)
        pool_settle(p);
}

void pool_defer(struct upstream_pool *p, struct xfer *xf, bool first)
{
    if (first)
        pool_undefer(p, xf);
    if (!xf->queued) {
        if (first)
            TAILQ_INSERT_HEAD(&p->todo, xf, todo_link);
        else
            TAILQ_INSERT_TAIL(&p->todo, xf, todo_link);
        xf->queued = true;
        p->n_todo++;
    }
    if (p->in_curl == 0 && !p->settling)
        event_active(&p->later, EV_TIMEOUT, 0);
}

void pool_undefer(struct upstream_pool *p, struct xfer *xf)
{
    if (!xf->queued)
        return;
    TAILQ_REMOVE(&p->todo, xf, todo_link);
    xf->queued = false;
    p->n_todo--;
}

/* Hand on what libcurl has finished in <multi>. */
static void read_messages(CURLM *multi)
{
    int left;

    for (;;) {
        CURLMsg *msg = curl_multi_info_read(multi, &left);
        char *arg = NULL;

        if (!msg)
            return;
        if (msg->msg != CURLMSG_DONE)
            continue;
        if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &arg) !=
            CURLE_OK)
            continue;
        xfer_done((struct xfer *)(void *)arg, msg->data.result);
    }
}

/* Everything that had to wait for libcurl to return. What comes up meanwhile
 * waits for the next turn of the loop, but cancelled transfers go at once:
 * what they point to may be freed at the end of this turn. */
static void pool_settle(struct upstream_pool *p)
{
    unsigned n;

    p->settling = true;
    for (unsigned i = 0; i < p->n_lanes; i++)
        read_messages(p->lanes[i].multi);
    n = p->n_todo;
    for (;;) {
        struct xfer *xf = TAILQ_FIRST(&p->todo);

        if (!xf || (n == 0 && !(xf->todo & XFER_WORK_DROP)))
            break;
        if (n > 0)
            n--;
        pool_undefer(p, xf);
        xfer_work(xf);
    }
    p->settling = false;
    if (p->n_todo > 0)
        event_active(&p->later, EV_TIMEOUT, 0);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct upstream_pool *p = arg;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    pool_settle(p);
}

/* --- libcurl and the loop ----------------------------------------------- */

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct pool_sock *s = arg;

    if (s->want == 0) {
        /* The peer closed an idle connection; libcurl sees that when it wants
         * to use it again. */
        event_del(&s->ev);
        s->loaded = 0;
        return;
    }
    lane_act(s->lane, fd,
             ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
                 ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0));
}

/* --- sockets ------------------------------------------------------------ */

static struct pool_sock *sock_find(struct upstream_pool *p, int fd)
{
    struct pool_sock *s = NULL;

    HASH_FIND_INT(p->by_fd, &fd, s);
    return s;
}

static struct pool_sock *sock_new(struct lane *l, int fd)
{
    struct upstream_pool *p = l->pool;
    struct pool_sock *s = slab_get(&p->socks);

    if (!s)
        return NULL;
    s->lane = l;
    s->fd = fd;
    HASH_ADD_INT(p->by_fd, fd, s);
    if (MAP_ADDED(s))
        return s;
    slab_put(&p->socks, s);
    return NULL;
}

/* Have the loop watch <s> for s->want; false when it cannot. */
static bool sock_load(struct pool_sock *s)
{
    if (s->loaded == s->want)
        return true;
    if (s->loaded != 0)
        event_del(&s->ev);
    s->loaded = 0;
    event_assign(&s->ev, s->lane->pool->w->base, s->fd,
                 (short)(s->want | EV_PERSIST), on_socket, s);
    if (event_add(&s->ev, NULL) != 0)
        return false;
    s->loaded = s->want;
    return true;
}

/* Forget <s>. May run inside its own event's callback: libevent does not touch
 * a persistent event without a timeout after its callback. */
static void sock_drop(struct upstream_pool *p, struct pool_sock *s)
{
    if (s->loaded != 0)
        event_del(&s->ev);
    HASH_DEL(p->by_fd, s);
    slab_put(&p->socks, s);
}

int pool_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                      void *sock)
{
    struct lane *l = arg;
    struct upstream_pool *p = l->pool;
    struct pool_sock *s = sock_find(p, fd);
    char *xf = NULL;

    (void)sock; /* forgotten by libcurl while a connection is idle */
    if (what == CURL_POLL_REMOVE) {
        if (s)
            s->want = 0;
        /* Registered for writing it would wake the loop for nothing. */
        if (s && (s->loaded & EV_WRITE))
            sock_drop(p, s);
        if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &xf) == CURLE_OK && xf)
            xfer_socket_closed((struct xfer *)(void *)xf);
        return 0;
    }
    if (!s)
        s = sock_new(l, fd);
    if (!s)
        return -1;
    s->want = (short)(((what & CURL_POLL_IN) ? EV_READ : 0) |
                      ((what & CURL_POLL_OUT) ? EV_WRITE : 0));
    return sock_load(s) ? 0 : -1;
}

curl_socket_t pool_open_socket(void *arg, curlsocktype purpose,
                               struct curl_sockaddr *addr)
{
    struct upstream_pool *p = arg;
    struct pool_sock *old;
    int on = 1;
    int fd;

    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                addr->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    /* libcurl closes some sockets that never were connected without a word:
     * the kernel has forgotten the old one of this number, the loop has not. */
    old = sock_find(p, fd);
    if (old)
        sock_drop(p, old);
    /* Best effort: a connection without keepalive probes works, too. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    stats_inc(p->w->stats, STAT_UP_CONNECTS);
    return fd;
}

int pool_close_socket(void *arg, curl_socket_t fd)
{
    struct upstream_pool *p = arg;
    struct pool_sock *s = sock_find(p, fd);

    if (s)
        sock_drop(p, s);
    return close(fd);
}

/* --- certificates ------------------------------------------------------- */

CURLcode pool_set_trust(CURL *easy, void *ctx, void *arg)
{
    struct upstream_pool *p = arg;
    struct trust *t = resolver_trust(p->resolver);

    (void)easy; /* all of them trust the same */
    if (!p->trust || p->trust_gen != trust_gen(t)) {
        X509_STORE *fresh = trust_store_new(t, &p->trust_gen);

        if (!fresh)
            return CURLE_OUT_OF_MEMORY;
        X509_STORE_free(p->trust);
        p->trust = fresh;
    }
    SSL_CTX_set1_cert_store(ctx, p->trust);
    return CURLE_OK;
}

/* --- answers of the resolver -------------------------------------------- */

static void on_answer(struct mbox_msg *m, void *arg)
{
    struct resolve_answer *a = MBOX_ENTRY(m, struct resolve_answer, link);
    struct upstream_pool *p = arg;
    struct xfer *xf;

    TAILQ_FOREACH(xf, &p->open, link)
    if (xf->state == XFER_RESOLVE && str_eq(xf->host, a->host))
        xfer_resolved(xf, a->addrs);
    resolve_answer_free(a);
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
    struct upstream_pool *p = arg;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    mbox_drain(&p->answers, 0, on_answer, p);
    pool_settle(p);
}

static void drop_answer(struct mbox_msg *m, void *arg)
{
    (void)arg; /* nothing to tell anybody */
    resolve_answer_free(MBOX_ENTRY(m, struct resolve_answer, link));
}

/* --- easy handles ------------------------------------------------------- */

CURL *pool_easy_take(struct upstream_pool *p, bool *plain_io)
{
    bool plain = *plain_io && p->n_plain > 0;

    *plain_io = plain;
    if (plain)
        return p->plain[--p->n_plain];
    if (p->n_spare > 0)
        return p->spare[--p->n_spare];
    return curl_easy_init();
}

void pool_easy_give(struct upstream_pool *p, CURL *easy, bool plain)
{
    if (plain && p->n_plain < POOL_SPARE_MAX && !p->freeing &&
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL) == CURLE_OK) {
        p->plain[p->n_plain++] = easy;
        return;
    }
    curl_easy_reset(easy);
    /* A handle that shared its connection with others (HTTP/2) keeps its
     * receive buffer, and then refuses to have the size of it set. Its send
     * buffer goes when the size is set. */
    if (p->n_spare == POOL_SPARE_MAX || p->freeing ||
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1024L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L) != CURLE_OK) {
        curl_easy_cleanup(easy);
        return;
    }
    p->spare[p->n_spare++] = easy;
}

/* --- life --------------------------------------------------------------- */

enum err upstream_boot(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    /* OpenSSL writes to sockets without MSG_NOSIGNAL. */
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        return ERR_IO;
    /* A thread that resolver_free() left behind may be inside OpenSSL when the
     * process ends, so nothing is taken down under it. */
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
        return ERR_IO;
    return curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK ? ERR_OK : ERR_IO;
}

/* Set what lives in libcurl up; false when it refuses. The lanes share the
 * addresses that libcurl was fed, and TLS sessions. */
static bool pool_setup_curl(struct upstream_pool *p)
{
    p->share = curl_share_init();
    return p->share &&
           curl_share_setopt(p->share, CURLSHOPT_SHARE,
                             CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK &&
           curl_share_setopt(p->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) ==
               CURLSHE_OK &&
           lanes_open(p);
}

struct upstream_pool *upstream_pool_new(struct worker *w, struct resolver *r)
{
    struct arena *mem = arena_new(sizeof(struct upstream_pool) + 64, 65536);
    struct upstream_pool *p = mem ? arena_alloc(mem, sizeof(*p)) : NULL;

    if (!p) {
        arena_free(mem);
        return NULL;
    }
    p->mem = mem;
    p->w = w;
    p->resolver = r;
    TAILQ_INIT(&p->open);
    TAILQ_INIT(&p->todo);
    slab_init(&p->xfers, "xfer", sizeof(struct xfer), POOL_XFERS);
    slab_init(&p->socks, "upstream socket", sizeof(struct pool_sock),
              POOL_XFERS);
    event_assign(&p->later, w->base, -1, 0, on_later, p);
    p->answers.fd = -1;
    if (!pool_setup_curl(p) || mbox_init(&p->answers) != ERR_OK) {
        upstream_pool_free(p);
        return NULL;
    }
    event_assign(&p->answers_ev, w->base, mbox_fd(&p->answers),
                 EV_READ | EV_PERSIST, on_answers, p);
    p->listening = event_add(&p->answers_ev, NULL) == 0;
    if (!p->listening) {
        upstream_pool_free(p);
        return NULL;
    }
    return p;
}

/* Drop transfers, handles and what libcurl still holds. */
static void pool_free_curl(struct upstream_pool *p)
{
    struct xfer *xf;

    BUG_ON(p->in_curl > 0);
    while ((xf = TAILQ_FIRST(&p->open)) != NULL)
        xfer_drop(xf);
    while (p->n_spare > 0)
        curl_easy_cleanup(p->spare[--p->n_spare]);
    while (p->n_plain > 0)
        curl_easy_cleanup(p->plain[--p->n_plain]);
    lanes_close(p);
    if (p->share)
        curl_share_cleanup(p->share);
    X509_STORE_free(p->trust);
}

void upstream_pool_free(struct upstream_pool *p)
{
    if (!p)
        return;
    p->freeing = true;
    resolver_forget(p->resolver, &p->answers);
    pool_free_curl(p);
    if (p->listening)
        event_del(&p->answers_ev);
    event_del(&p->later);
    if (p->answers.fd >= 0) {
        mbox_drain(&p->answers, 0, drop_answer, NULL);
        mbox_fini(&p->answers);
    }
    pool_origins_free(p);
    slab_fini(&p->socks);
    slab_fini(&p->xfers);
    arena_free(p->mem);
}

unsigned upstream_pool_open(const struct upstream_pool *p)
{
    return p->n_open;
}

void upstream_pool_check_deadlines(struct upstream_pool *p)
{
    unsigned n = p->n_open;

    /* Ends may start new transfers, which go to the tail of the list; each
     * one looked at moves there, too. */
    for (; n > 0 && !TAILQ_EMPTY(&p->open); n--) {
        struct xfer *xf = TAILQ_FIRST(&p->open);

        TAILQ_REMOVE(&p->open, xf, link);
        TAILQ_INSERT_TAIL(&p->open, xf, link);
        xfer_check_deadline(xf);
    }
}
