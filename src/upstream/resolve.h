/* resolve.h - Names to addresses without ever blocking a loop: a process-wide
 * cache, filled by a few threads. The threads also take other small jobs that
 * would hold a loop up. */
#ifndef TG_UPSTREAM_RESOLVE_H
#define TG_UPSTREAM_RESOLVE_H

#include "base/err.h"
#include "base/mbox.h"
#include "base/str.h"

#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct arena;
struct resolver;
struct trust;

/* How old, in ms, an answer may get: fresh enough to be used as it is; still
 * used while it is fetched anew; still used when fetching it fails. And how
 * long a failure is remembered. */
#define RESOLVE_FRESH_MS 30000
#define RESOLVE_USED_MS  60000
#define RESOLVE_STALE_MS 600000
#define RESOLVE_FAIL_MS  1000

/* Most threads, and most addresses kept of one name. */
#define RESOLVE_THREADS   4
#define RESOLVE_ADDRESSES 16

/* Addresses of a name; immutable, counted. */
struct addrs {
    _Atomic unsigned refs;
    struct arena *mem; /* owned; holds this */
    uint64_t gen;      /* differs from every other list of the process */
    const char *text;  /* "192.0.2.1,[2001:db8::1]" in order of preference */
};

/* One more reference; returns <a>. */
struct addrs *addrs_ref(struct addrs *a);

/* Drop a reference; NULL is fine. */
void addrs_unref(struct addrs *a);

/* What a pool that waited is told. */
struct resolve_answer {
    struct mbox_msg link;
    struct arena *mem;   /* owned; holds this */
    struct str host;     /* in <mem> */
    struct addrs *addrs; /* one reference, or NULL: there are none */
};

/* Free an answer and its reference. */
void resolve_answer_free(struct resolve_answer *a);

/* Addresses of <host>, which is no literal. ERR_OK: <addrs_out> has a
 * reference for the caller. ERR_AGAIN: an answer comes to <to>. ERR_NOT_FOUND:
 * it was asked for just now and there are none. ERR_NOMEM. Any thread. */
enum err resolver_lookup(struct resolver *r, struct str host, struct mbox *to,
                         struct addrs **addrs_out) MUST_CHECK;

/* No answer comes to <to> after this; what has come must still be drained.
 * Any thread. */
void resolver_forget(struct resolver *r, struct mbox *to);

/* Whether <host> needs no lookup: an address, or localhost. */
bool resolve_is_literal(struct str host);

/* A job for a thread; stands inside the caller's struct. */
struct resolver_job {
    TAILQ_ENTRY(resolver_job) link;
    void (*run)(struct resolver_job *job); /* on some thread, once */
};

/* Have <job> run soon, by a thread of <r>. When no thread can be started it
 * runs at once, here. It is the caller's again when run() begins. */
void resolver_submit(struct resolver *r, struct resolver_job *job);

/* The certificate authorities of the system; borrowed from <r>. */
struct trust *resolver_trust(struct resolver *r);

/* Tests: look names up by <fn> instead of getaddrinfo(), whose results it
 * must give. Before the first lookup. */
void resolver_set_lookup(struct resolver *r,
                         int (*fn)(const char *, const char *,
                                   const struct addrinfo *,
                                   struct addrinfo **));

#endif
