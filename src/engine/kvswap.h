/* kvswap.h - A model's pages of keys and values between the engine and the
 * disk: a thread that stores what the scheduler offers, and a thread that
 * brings back what a prompt begins with. Neither ever holds the scheduler up:
 * what does not fit into the queue is not stored.
 *
 * Threads: any; schedulers offer and ask, answers go to their mailboxes. */
#ifndef TG_ENGINE_KVSWAP_H
#define TG_ENGINE_KVSWAP_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "engine/gen.h"
#include "engine/kvadmit.h"
#include "store/kv_page.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct kvswap;

/* Most threads that bring pages back. */
#define KVSWAP_READERS_MAX 16

/* Where pages wait to be stored. Any thread. */
struct kvswap_memory {
    void *(*get)(void *arg, size_t bytes); /* aligned to 4096, or NULL */
    void (*put)(void *arg, void *p);
};

/* How to open. All is copied. */
struct kvswap_opts {
    struct str name;      /* of the model, for the log */
    const char *root;     /* directory of all namespaces */
    struct digest ns;     /* of all that a page's numbers depend on */
    struct str about;     /* JSON for people: what <ns> was made of */
    size_t page_bytes;    /* of a page of keys and values */
    unsigned page_tokens; /* tokens of a page, 1 .. KRN_PAGE_TOKENS_MAX */
    uint64_t max_bytes;   /* of this namespace's file; hard */
    uint64_t root_bytes;  /* of all namespaces; older ones make room */
    uint64_t write_bytes; /* written an hour at most; 0 = as many as come */
    enum kvadmit_rule admission;
    uint64_t queue_bytes; /* of pages that wait to be stored, 64 MiB; at least
                           * some pages */
    unsigned readers;     /* threads that bring pages back, 1; at most
                           * KVSWAP_READERS_MAX */
    const struct kvswap_memory *memory; /* of pages that wait; static; NULL =
                                         * the process's */
    void *memory_arg;                   /* borrowed until kvswap_close() */
};

/* Numbers since the start, and levels. */
struct kvswap_stats {
    uint64_t pages, max_pages;  /* stored now, and at most */
    uint64_t bytes, max_bytes;  /* of the file now, and at most */
    uint64_t lookups;           /* prompts that were looked for */
    uint64_t hits;              /* of them with a page to bring back */
    uint64_t asked_tokens;      /* tokens that were looked for */
    uint64_t found_tokens;      /* of them stored */
    uint64_t restored_tokens;   /* of them brought back */
    uint64_t recomputed_tokens; /* found, but faster computed anew */
    uint64_t restores;          /* prompts of which tokens were brought back */
    uint64_t recomputes;        /* prompts found, but computed anew */
    uint64_t restored_bytes;    /* payloads read */
    uint64_t restored_us;       /* time of reading them */
    uint64_t saved_us; /* prefill that took no time, less restored_us */
    uint64_t failed;   /* pages that were damaged: misses, dropped */
    uint64_t stored_pages, stored_bytes;
    uint64_t evicted, unused;   /* given up; of them, never read */
    uint64_t dropped_queue;     /* pages not stored: the queue was full */
    uint64_t dropped_budget;    /* likewise: write_bytes were written */
    uint64_t dropped_admission; /* likewise: seen for the first time */
    uint64_t write_errors;      /* transactions that failed */
    uint64_t queued_bytes;      /* waiting to be stored */
    double warm_bytes_s;        /* measured rates of reading, 0 = unknown */
    double cold_bytes_s;
};

/* Open the namespace and start the threads. A process may have a namespace open
 * once only: see kvswap_share(). On failure a sentence is appended to <why>;
 * errors as kv_db_open(), ERR_IO for a thread. */
enum err kvswap_open(const struct kvswap_opts *o, struct kvswap **out,
                     struct buf *why) MUST_CHECK;

/* <w> once more, when it is of namespace <ns>; else NULL. */
struct kvswap *kvswap_share(struct kvswap *w, const struct digest *ns);

/* Give it back; the last one has what waits stored, and closes. No load may be
 * under way. NULL is fine. */
void kvswap_close(struct kvswap *w);

/* Numbers as of now. */
void kvswap_read(struct kvswap *w, struct kvswap_stats *out);

/* Forget all pages, soon; what waits to be stored is dropped as well. */
void kvswap_purge(struct kvswap *w);

/* --- storing ------------------------------------------------------------- */

/* A number from 1 on that changes when pages that were pushed before may not
 * be stored any more, but for those that are given up as the longest unused:
 * then they may be offered again. */
unsigned kvswap_era(struct kvswap *w);

/* A page that is about to be stored. */
struct kvswap_page;

/* Offer the page of <key>, of page_tokens. NULL: it is not wanted now, but
 * may be at its next use. Else there is room for its payload at *room_out; then
 * kvswap_push() it. */
struct kvswap_page *kvswap_offer(struct kvswap *w, const struct kv_key *key,
                                 void **room_out);

/* Hand a filled page over. */
void kvswap_push(struct kvswap *w, struct kvswap_page *p);

/* Give a page back that could not be filled, or was written. */
void kvswap_page_done(struct kvswap *w, struct kvswap_page *p);

/* Say that a text of <n> pages was used, of which the first <n_hit> were there
 * before. Lost when the queue is full. */
void kvswap_touch(struct kvswap *w, const struct digest *chain, unsigned n,
                  unsigned n_hit);

/* --- bringing back ------------------------------------------------------- */

/* What a load is at. */
enum kvswap_stage {
    KVSWAP_FIND = 0, /* how many pages are there? */
    KVSWAP_READ,     /* copy them */
};

/* A load: pages first .. first+n-1 of a text. Made and freed by a scheduler,
 * which hands it over to find them, and then to read them, once or piece by
 * piece; it comes back each time as a message. */
struct kvswap_load {
    struct gen_head head;          /* the scheduler's kind */
    TAILQ_ENTRY(kvswap_load) link; /* the loader's */
    struct mbox *answer;           /* borrowed; outlives the load */
    enum kvswap_stage stage;
    _Atomic bool cancelled; /* nobody waits any more */
    unsigned first, n;
    struct digest before; /* hash before page <first> */
    struct digest *chain; /* (n) hashes */
    int32_t *tokens;      /* (n, page_tokens) */
    unsigned found;       /* FIND out: leading pages that are stored */
    unsigned warm;        /* FIND out: of them in memory */
    void **to;            /* READ in: (n) where each page goes */
    unsigned from;        /* READ in: the first page to read */
    unsigned n_to;        /* READ in: pages to read, from + n_to <= found */
    unsigned done;        /* READ out: leading ones of these that are proven */
    unsigned bad;         /* READ out: pages that were damaged */
    uint64_t us;          /* READ out: time it took */
    uint64_t cost_us;     /* READ out: time that computing them took */
};

/* Hand <l> over; it comes back in any case. */
void kvswap_load(struct kvswap *w, struct kvswap_load *l);

/* The expected time of reading <pages> of which <warm> are in memory, in
 * seconds; 0 = not known. */
double kvswap_expect_s(struct kvswap *w, unsigned pages, unsigned warm);

/* Tell what became of a load: <restored> tokens of <found> were brought back,
 * which saved <saved_us> of computing. */
void kvswap_count(struct kvswap *w, unsigned found, unsigned restored,
                  uint64_t saved_us);

#endif
