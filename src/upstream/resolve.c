/* resolve.c - The resolver: entries by name under one mutex, threads that call
 * getaddrinfo(), answers by mailbox.
 *
 *   age of an entry   0 ....... FRESH ........ USED ............ STALE
 *   a lookup gives    addresses | addresses,  | waits; on failure | waits
 *                               | refetched   | the old ones, and then
 *                                             | they are used as before
 *
 * getaddrinfo() tells no TTL, so these bounds stand in for it. A lookup that
 * hangs holds one thread; its callers give up by their own deadlines. */
#include "upstream/resolve.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/thr.h"
#include "upstream/trust.h"
#include "upstream/upstream.h"

/* Bound of one entry or answer; names are at most 253 bytes. */
#define ENTRY_BYTES 8192

/* A pool that waits for an entry. */
struct waiter {
    struct waiter *next;
    struct mbox *to;            /* borrowed until resolver_forget() */
    struct resolve_answer *msg; /* owned; made ahead: answering cannot fail */
};

/* One name. Never removed: names come from the configuration only. */
struct entry {
    UT_hash_handle hh;
    struct resolver_job job; /* in use while <busy> */
    struct resolver *owner;
    struct arena *mem;
    char *host;
    size_t len;
    bool busy;           /* a lookup is queued or running */
    struct addrs *addrs; /* one reference, or NULL */
    uint64_t got_us;     /* when <addrs> was confirmed last */
    uint64_t failed_us;  /* when a lookup failed last, 0 = after success */
    struct waiter *waiting;
};

/* The resolver. <lock> guards everything below it; it is the only lock held
 * while it is held, but for those of malloc. */
struct resolver {
    struct arena *mem;   /* owned; holds this */
    struct trust *trust; /* owned */
    int (*lookup)(const char *, const char *, const struct addrinfo *,
                  struct addrinfo **);
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or <stop> */
    pthread_cond_t left; /* a thread has ended */
    struct entry *entries;
    TAILQ_HEAD(, resolver_job) jobs;
    struct thr threads[RESOLVE_THREADS];
    unsigned n_threads;
    unsigned n_idle;
    unsigned n_jobs; /* in <jobs> */
    unsigned n_ended;
    uint64_t gen;
    bool stop;
};

struct addrs *addrs_ref(struct addrs *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void addrs_unref(struct addrs *a)
{
    if (a && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        arena_free(a->mem);
}

void resolve_answer_free(struct resolve_answer *a)
{
    addrs_unref(a->addrs);
    arena_free(a->mem);
}

bool resolve_is_literal(struct str host)
{
    struct in6_addr any;
    char name[64];

    if (str_ieq(host, STR("localhost")))
        return true;
    if (host.len > 10 &&
        str_ieq(str_skip(host, host.len - 10), STR(".localhost")))
        return true;
    if (host.len >= sizeof(name))
        return false;
    memcpy(name, host.p, host.len);
    name[host.len] = '\0';
    if (inet_pton(AF_INET, name, &any) == 1)
        return true;
    return str_find_char(host, ':') < host.len;
}

/* --- addresses ---------------------------------------------------------- */

/* Append the address of <ai> to <text>, unless it stands there already. */
static void text_add(struct buf *text, const struct addrinfo *ai)
{
    char one[INET6_ADDRSTRLEN + 3];
    char num[INET6_ADDRSTRLEN];
    const void *at;
    struct str rest = buf_str(text), have;

    if (ai->ai_family == AF_INET)
        at = &((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr;
    else if (ai->ai_family == AF_INET6)
        at = &((const struct sockaddr_in6 *)(const void *)ai->ai_addr)
                  ->sin6_addr;
    else
        return;
    if (!inet_ntop(ai->ai_family, at, num, sizeof(num)))
        return;
    snprintf(one, sizeof(one), ai->ai_family == AF_INET6 ? "[%s]" : "%s", num);
    while (str_split(&rest, ',', &have))
        if (str_eq(have, str_from(one)))
            return;
    if (buf_printf(text, "%s%s", text->len > 0 ? "," : "", one) != ERR_OK)
        text->cap = text->len; /* full: keep those that are in */
}

/* A list of the addresses of <list>, gen unset; NULL without any. */
static struct addrs *addrs_make(const struct addrinfo *list)
{
    struct arena *mem = arena_new(512, ENTRY_BYTES);
    struct addrs *a = mem ? arena_alloc(mem, sizeof(*a)) : NULL;
    struct buf text;
    unsigned n = 0;

    buf_init(&text, 1024);
    for (; list && n < RESOLVE_ADDRESSES; list = list->ai_next, n++)
        text_add(&text, list);
    if (a && text.len > 0) {
        atomic_init(&a->refs, 1);
        a->mem = mem;
        a->text = arena_dup(mem, buf_str(&text)).p;
    }
    buf_fini(&text);
    if (!a || !a->text) {
        arena_free(mem);
        return NULL;
    }
    return a;
}

/* --- threads ------------------------------------------------------------ */

static void resolver_thread(void *arg)
{
    struct resolver *r = arg;

    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        struct resolver_job *job = TAILQ_FIRST(&r->jobs);

        if (!job) {
            r->n_idle++;
            pthread_cond_wait(&r->work, &r->lock);
            r->n_idle--;
            continue;
        }
        TAILQ_REMOVE(&r->jobs, job, link);
        r->n_jobs--;
        pthread_mutex_unlock(&r->lock);
        job->run(job);
        pthread_mutex_lock(&r->lock);
    }
    r->n_ended++;
    pthread_cond_signal(&r->left);
    pthread_mutex_unlock(&r->lock);
}

/* Queue <job>, with the lock held. False when there is no thread at all. */
static bool submit_locked(struct resolver *r, struct resolver_job *job)
{
    TAILQ_INSERT_TAIL(&r->jobs, job, link);
    r->n_jobs++;
    if (r->n_idle < r->n_jobs && r->n_threads < RESOLVE_THREADS) {
        if (thr_start(&r->threads[r->n_threads], "resolver", resolver_thread,
                      r) == ERR_OK)
            r->n_threads++;
    }
    if (r->n_threads == 0) {
        TAILQ_REMOVE(&r->jobs, job, link);
        r->n_jobs--;
        return false;
    }
    pthread_cond_signal(&r->work);
    return true;
}

void resolver_submit(struct resolver *r, struct resolver_job *job)
{
    bool queued;

    pthread_mutex_lock(&r->lock);
    queued = submit_locked(r, job);
    pthread_mutex_unlock(&r->lock);
    if (!queued)
        job->run(job);
}

/* --- lookups ------------------------------------------------------------ */

/* Tell everyone who waits for <e>; with the lock held. */
static void entry_answer(struct entry *e)
{
    while (e->waiting) {
        struct waiter *w = e->waiting;

        e->waiting = w->next;
        if (e->addrs)
            w->msg->addrs = addrs_ref(e->addrs);
        mbox_push(w->to, &w->msg->link);
    }
}

/* Drop addresses that are too old to be used any more. */
static void entry_expire(struct entry *e, uint64_t now_us)
{
    if (!e->addrs || now_us - e->got_us <= RESOLVE_STALE_MS * UINT64_C(1000))
        return;
    addrs_unref(e->addrs);
    e->addrs = NULL;
}

static void entry_update(struct entry *e, struct addrs *fresh, int why)
{
    uint64_t now_us = clock_now_us();

    e->busy = false;
    if (!fresh) {
        e->failed_us = now_us;
        entry_expire(e, now_us);
        log_warn(LOG_UPSTREAM, "name lookup failed: host=%s reason=\"%s\"%s",
                 e->host, why ? gai_strerror(why) : "no address",
                 e->addrs ? " using=old" : "");
    } else {
        e->failed_us = 0;
        e->got_us = now_us;
        if (e->addrs && strcmp(e->addrs->text, fresh->text) == 0) {
            addrs_unref(fresh);
        } else {
            fresh->gen = ++e->owner->gen;
            addrs_unref(e->addrs);
            e->addrs = fresh;
        }
    }
    entry_answer(e);
}

static void entry_run(struct resolver_job *job)
{
    struct entry *e = MBOX_ENTRY(job, struct entry, job);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct addrs *fresh;
    int rc = e->owner->lookup(e->host, NULL, &hints, &list);

    fresh = rc == 0 ? addrs_make(list) : NULL;
    if (list)
        freeaddrinfo(list);
    pthread_mutex_lock(&e->owner->lock);
    entry_update(e, fresh, rc);
    pthread_mutex_unlock(&e->owner->lock);
}

static struct entry *entry_get(struct resolver *r, struct str host)
{
    struct entry *e = NULL;
    struct arena *mem;

    HASH_FIND(hh, r->entries, host.p, host.len, e);
    if (e)
        return e;
    mem = arena_new(1024, ENTRY_BYTES);
    e = mem ? arena_alloc(mem, sizeof(*e)) : NULL;
    if (e)
        e->host = arena_printf(mem, "%.*s", STR_ARG(host));
    if (!e || !e->host) {
        arena_free(mem);
        return NULL;
    }
    e->mem = mem;
    e->len = host.len;
    e->owner = r;
    e->job.run = entry_run;
    HASH_ADD_KEYPTR(hh, r->entries, e->host, e->len, e);
    if (!MAP_ADDED(e)) {
        arena_free(mem);
        return NULL;
    }
    return e;
}

/* Have <to> told about <e>, once. */
static enum err entry_wait(struct entry *e, struct mbox *to)
{
    struct arena *mem;
    struct waiter *w;

    for (w = e->waiting; w; w = w->next)
        if (w->to == to)
            return ERR_AGAIN;
    mem = arena_new(512, ENTRY_BYTES);
    w = mem ? arena_alloc(mem, sizeof(*w)) : NULL;
    if (w)
        w->msg = arena_alloc(mem, sizeof(*w->msg));
    if (w && w->msg)
        w->msg->host = arena_dup(mem, str_of(e->host, e->len));
    if (!w || !w->msg || !w->msg->host.p) {
        arena_free(mem);
        return ERR_NOMEM;
    }
    w->msg->mem = mem;
    w->to = to;
    w->next = e->waiting;
    e->waiting = w;
    return ERR_AGAIN;
}

static bool entry_failed_lately(const struct entry *e, uint64_t now_us)
{
    return e->failed_us != 0 &&
           now_us - e->failed_us < RESOLVE_FAIL_MS * UINT64_C(1000);
}

/* The decision of resolver_lookup(), with the lock held. */
static enum err entry_use(struct resolver *r, struct entry *e, struct mbox *to,
                          struct addrs **addrs_out)
{
    uint64_t now_us = clock_now_us();
    uint64_t age_ms = e->addrs ? (now_us - e->got_us) / 1000 : UINT64_MAX;
    bool usable = age_ms <= RESOLVE_STALE_MS;
    bool lately = entry_failed_lately(e, now_us);
    bool wanted = age_ms >= RESOLVE_FRESH_MS && !lately;
    enum err err = ERR_OK;

    if (!usable && lately)
        return ERR_NOT_FOUND;
    if (!usable || (age_ms > RESOLVE_USED_MS && e->failed_us == 0))
        err = entry_wait(e, to);
    if (err == ERR_NOMEM)
        return err;
    if (err == ERR_OK)
        *addrs_out = addrs_ref(e->addrs);
    if (wanted && !e->busy) {
        e->busy = true;
        if (!submit_locked(r, &e->job))
            entry_update(e, NULL, EAI_AGAIN);
    }
    return err;
}

enum err resolver_lookup(struct resolver *r, struct str host, struct mbox *to,
                         struct addrs **addrs_out)
{
    struct entry *e;
    enum err err = ERR_NOMEM;

    pthread_mutex_lock(&r->lock);
    e = entry_get(r, host);
    if (e)
        err = entry_use(r, e, to, addrs_out);
    pthread_mutex_unlock(&r->lock);
    return err;
}

/* Drop who waits for <e> at <to>, or everyone when <to> is NULL. */
static void entry_forget(struct entry *e, const struct mbox *to)
{
    struct waiter **at = &e->waiting;

    while (*at) {
        struct waiter *w = *at;

        if (to && w->to != to) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        resolve_answer_free(w->msg);
    }
}

void resolver_forget(struct resolver *r, struct mbox *to)
{
    struct entry *e, *tmp;

    pthread_mutex_lock(&r->lock);
    HASH_ITER(hh, r->entries, e, tmp)
    entry_forget(e, to);
    pthread_mutex_unlock(&r->lock);
}

/* --- life --------------------------------------------------------------- */

struct resolver *resolver_new(void)
{
    struct arena *mem = arena_new(sizeof(struct resolver) + 64, ENTRY_BYTES);
    struct resolver *r = mem ? arena_alloc(mem, sizeof(*r)) : NULL;

    if (!r) {
        arena_free(mem);
        return NULL;
    }
    r->trust = trust_new();
    if (!r->trust) {
        arena_free(mem);
        return NULL;
    }
    r->mem = mem;
    r->lookup = getaddrinfo;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->left, NULL);
    TAILQ_INIT(&r->jobs);
    return r;
}

struct trust *resolver_trust(struct resolver *r)
{
    return r->trust;
}

void resolver_refresh_trust(struct resolver *r)
{
    trust_refresh(r->trust, r);
}

void resolver_set_lookup(struct resolver *r,
                         int (*fn)(const char *, const char *,
                                   const struct addrinfo *, struct addrinfo **))
{
    r->lookup = fn;
}

/* Stop the threads; false when one hangs in a lookup for too long. */
static bool resolver_stop(struct resolver *r)
{
    struct timespec until;
    bool ended;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    while (r->n_ended < r->n_threads)
        if (pthread_cond_timedwait(&r->left, &r->lock, &until) != 0)
            break;
    ended = r->n_ended == r->n_threads;
    pthread_mutex_unlock(&r->lock);
    return ended;
}

void resolver_free(struct resolver *r)
{
    struct entry *e, *tmp;

    if (!r)
        return;
    if (!resolver_stop(r)) {
        /* Its thread still uses <r>; the process is about to end anyway. */
        log_note(LOG_UPSTREAM,
                 "a thread that looks names up or reads certificates "
                 "hangs, left behind");
        for (unsigned i = 0; i < r->n_threads; i++)
            thr_leave(&r->threads[i]);
        return;
    }
    for (unsigned i = 0; i < r->n_threads; i++)
        thr_join(&r->threads[i]);
    HASH_ITER(hh, r->entries, e, tmp)
    {
        HASH_DEL(r->entries, e);
        entry_forget(e, NULL);
        addrs_unref(e->addrs);
        arena_free(e->mem);
    }
    trust_free(r->trust);
    pthread_cond_destroy(&r->left);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    arena_free(r->mem);
}
