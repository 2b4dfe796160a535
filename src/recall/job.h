/* job.h - Within recall/: how far one request is with what is stored and what
 * is under way. */
#ifndef TG_RECALL_JOB_H
#define TG_RECALL_JOB_H

#include "exchange/exchange.h"
#include "exchange/tape.h"
#include "recall/demand.h"
#include "recall/reqkey.h"
#include "store/cache_store.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct cache;

/* Where a request stands in recall/. */
enum job_state {
    JOB_LOOK = 0, /* not waiting */
    JOB_READ,     /* a stored reply is being read, piece by piece */
    JOB_FOLLOW,   /* another call is waited for */
    JOB_PAY,      /* a reply is there, and its price is waited for */
    JOB_OVER,     /* recall has done what it can */
};

/* One request; in its arena, as x->found->job. */
struct job {
    struct exchange *x;  /* borrowed */
    struct cache *cache; /* borrowed */
    enum job_state state;
    struct demand demand;
    struct reqkey key;
    int64_t ttl_ms;            /* of replies of its route */
    struct cache_found found;  /* the stored reply */
    struct buf bytes;          /* owned: what was read of it */
    bool has_stale;            /* one is there for when the call fails */
    bool renews;               /* what is replayed is to be made anew */
    struct event timer;        /* JOB_READ: the next piece */
    bool timer_on;             /* it was set up */
    struct tape_reader reader; /* JOB_FOLLOW */
    struct tape *tape;         /* counted: what it leads or plays; or NULL */
    unsigned failures;         /* of calls that it followed */
    bool fills;                /* <tape> is its own to fill */
    bool leads;                /* and others find it */
    uint64_t epoch;            /* of the store, when the call began */
};

/* --- recall.c ------------------------------------------------------------ */

/* The job of <x>, or NULL. */
static inline struct job *job_of(const struct exchange *x)
{
    return x->found->job;
}

/* Whether all of what was found was read. */
static inline bool job_has_all(const struct job *j)
{
    return j->found.bytes_read >= j->found.bytes_total;
}

/* Free what the job of <x> holds; the end of its flight, if it has one. */
void job_release(struct exchange *x);

/* --- renew.c ------------------------------------------------------------- */

/* Have what is stored for <j> made anew, unless somebody is at it. */
void renew_begin(const struct job *j);

/* --- lead.c -------------------------------------------------------------- */

/* Let relay write the reply of j->x to its tape, for those who follow and to
 * be stored; settle ends it. */
void lead_begin(struct job *j);

/* The tape of <j> ends, if it has not: nobody may join any more. */
void lead_end(struct job *j);

/* --- replay.c ------------------------------------------------------------ */

/* Make the stored reply in j->bytes the reply of j->x. False: it is of no use
 * (damaged, or of the other mode and cannot be translated). */
bool replay_bytes(struct job *j);

/* Make the reply that somebody else is given, of which the head is there and
 * in case of a body that is no stream all of it, the reply of j->x. False: it
 * cannot be had any more. */
bool replay_tape(struct job *j);

/* As replay_bytes(), in place of how the call of j->x failed: what that may
 * have cost becomes a row of its own. */
bool replay_rescue(struct job *j);

#endif
