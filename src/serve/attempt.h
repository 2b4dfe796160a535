/* attempt.h - One try at one target: starts the transfer, watches how its reply
 * begins, and tells how it went. Until it is committed nothing has been said to
 * the client, and another may be made: loop.c decides that.
 *
 *            +--> READY ---> committed: relay takes the producer over
 *   RUNS ----+
 *            +--> ENDED ---> committed all the same, where the end is a reply
 */
#ifndef TG_SERVE_ATTEMPT_H
#define TG_SERVE_ATTEMPT_H

#include "base/buf.h"
#include "base/err.h"
#include "exchange/sink.h"
#include "serve/reply.h"
#include "serve/retry.h"
#include "serve/route.h"
#include "serve/target.h"
#include "wire/sse.h"
#include "wire/usage.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct exchange;
struct producer;

/* Where an attempt stands. */
enum attempt_state {
    ATTEMPT_RUNS = 0, /* nobody knows yet */
    ATTEMPT_READY,    /* its reply is good, or may still be: commit it */
    ATTEMPT_ENDED,    /* <end> says how; with <head> it is a reply */
    ATTEMPT_COMMITTED /* the exchange has its reply */
};

/* An attempt; in the arena of its exchange. */
struct attempt {
    struct sink sink;              /* first: what the producer knows of us */
    struct exchange *x;            /* borrowed */
    struct choice choice;          /* by value */
    struct target_pass pass;       /* what it was let in with */
    struct producer *producer;     /* NULL once it has ended */
    const struct reply_head *head; /* arena; NULL before it came */
    enum attempt_state state;
    enum reply_mode mode;
    bool whole;               /* <body> is all of the reply */
    bool sent;                /* bytes of the request may have left */
    struct buf request;       /* owned: the body sent, while needed */
    struct buf body;          /* owned: bytes of the reply taken so far */
    const struct jscan *scan; /* arena: of <body>, where it is JSON; or NULL */
    struct usage told;        /* ENDED: what a reply that is not whole says that
                               * it used, all the same */
    struct sse_in events;     /* REPLY_PEEK: up to the first */
    struct event timer;       /* REPLY_PEEK: how long that is waited for */
    bool timer_on;            /* <timer> was set up */
    uint64_t start_us;        /* monotonic */
    uint64_t head_us;         /* monotonic; 0: it has not come */
    struct retry_end end;     /* ENDED: how */
    const char *text; /* ENDED: what happened, for people; static or arena, or
                       * NULL */
};

/* Start an attempt of <x> at <c>, which was entered with <pass>, to be over at
 * <deadline_us> (monotonic; 0: as the target's timeouts say). When its state
 * changes x is woken: WAKE_HEAD for READY, WAKE_FAIL for ENDED. ERR_NOMEM:
 * nothing was started, and the target was left. */
enum err attempt_start(struct exchange *x, const struct choice *c,
                       const struct target_pass *pass, int64_t deadline_us,
                       struct attempt **out) MUST_CHECK;

/* Tell the exchange that <a> is who answers it, as far as is known. */
void attempt_note(struct attempt *a);

/* The exchange gets the reply of <a>, which is READY, or ENDED with a head. */
void attempt_commit(struct attempt *a);

/* Stop <a> if it runs. */
void attempt_cancel(struct attempt *a);

/* Nothing more comes of <a>: its target is left. <e> and <text> are for those
 * who look at that. Twice is harmless. */
void attempt_leave(struct attempt *a, enum err e, const char *text);

/* Free what <a> holds; it was left, and does not run. Twice is harmless. */
void attempt_free(struct attempt *a);

/* A reply flows and nothing will be tried again: let go of the request, when
 * all of it is sent. */
void attempt_drop_request(struct attempt *a);

/* Whether it was one of our keys that was used. */
bool attempt_has_key(const struct attempt *a);

#endif
