/* retry.h - What becomes of a request whose attempt has ended: whether another
 * may be made, at whom, and after which pause; and what the end says of who was
 * asked. In two steps: retry_judge() says what an end means, retry_plan() what
 * to do about it.
 *
 * Nothing is tried again once the client has been sent a byte, or when the
 * request's body is gone. What provably was not served may be tried again as
 * often as there is time; what may have been served once in all, and only a
 * whole reply that says so is taken for that unless the configuration allows
 * more. All attempts share one deadline.
 *
 * Pure; any thread. Times are monotonic milliseconds, given by the caller. */
#ifndef TG_SERVE_RETRY_H
#define TG_SERVE_RETRY_H

#include "base/err.h"
#include "base/str.h"
#include "serve/breaker.h"
#include "serve/delay.h"

#include <stdbool.h>
#include <stdint.h>

struct conf_retries;

/* --- what an end means --------------------------------------------------- */

/* How an attempt ended. Zeroed members are sensible. */
struct retry_end {
    enum err err;         /* ERR_OK: a whole reply came, or its first byte */
    int status;           /* of the reply; 0: none came. Of a stream that begins
                           * with an error: retry_status_of_error() */
    bool sent;            /* bytes of the request may have left */
    bool told;            /* the client has been sent a byte */
    bool body_gone;       /* the request cannot be sent again */
    bool idempotent;      /* it may be served twice: GET, HEAD */
    bool own_key;         /* a key of ours went with it */
    struct str type;      /* of its error object, as `code` and `message`; */
    struct str code;      /* empty when there is none */
    struct str message;   /* likewise */
    enum retry_hint hint; /* x-should-retry of the reply */
    struct delay delay;   /* when to come again, as it says */
};

/* What it means. */
enum retry_kind {
    RETRY_KIND_DONE = 0, /* good: there is nothing to better */
    RETRY_KIND_OURS,     /* no matter of the upstream: the client left, a budget
                          * ended, we are out of memory */
    RETRY_KIND_CALLER,   /* what was asked is wrong: it would be anywhere */
    RETRY_KIND_CONTEXT,  /* it is too long for this model */
    RETRY_KIND_FILTER,   /* its content is refused */
    RETRY_KIND_KEY,      /* our key is refused */
    RETRY_KIND_LIMIT,    /* our key asks too often */
    RETRY_KIND_SPENT,    /* our account is used up: waiting does not help */
    RETRY_KIND_FULL,     /* no room at this target, by our own bounds */
    RETRY_KIND_BUSY,     /* not served, for now */
    RETRY_KIND_UNREACHED, /* nobody there, or not in time; nothing was sent */
    RETRY_KIND_CERT,      /* no TLS with it; nothing was sent */
    RETRY_KIND_FAILED,    /* it says that it failed: may have been served */
    RETRY_KIND_BROKEN,    /* lost without a whole answer: likewise */
    RETRY_KIND_COUNT
};

/* Where else a request may go, as bits. */
enum retry_move {
    RETRY_MOVE_SAME = 1,     /* the same target, the same key */
    RETRY_MOVE_KEY = 2,      /* another key of the same target */
    RETRY_MOVE_TARGET = 4,   /* another target of the route */
    RETRY_MOVE_FALLBACK = 8, /* a route that this one falls back to */
};

/* Whom an end puts to rest. */
enum retry_rest {
    RETRY_REST_NONE = 0,
    RETRY_REST_KEY,
    RETRY_REST_TARGET,
};

/* What an end means for the request and for who was asked. */
struct retry_verdict {
    enum retry_kind kind;
    unsigned moves;         /* enum retry_move bits that make sense */
    bool doubtful;          /* it may have been served */
    bool trip;              /* the target's breaker opens at once */
    enum breaker_word word; /* what the target's breaker is told */
    enum retry_rest rest;   /* who is left alone, */
    uint64_t rest_ms;       /* at least so long */
    bool said;              /* as the reply says */
    uint64_t after_ms;      /* the same target may be asked again after it */
};

/* How long a key rests that was refused. */
#define RETRY_REFUSED_REST_MS 60000

/* The same for one that asks too often, where the reply does not say. */
#define RETRY_LIMIT_REST_MS 1000

/* The same for one whose account is used up. */
#define RETRY_SPENT_REST_MS 900000

/* Say what <end> means. */
struct retry_verdict retry_judge(const struct retry_end *end);

/* "done", "busy", ...: a label of metrics and logs. */
const char *retry_kind_name(enum retry_kind k);

/* The status that an error object with <type> and <code> would have come with,
 * when it comes as the first event of a stream with status 200; 500 when
 * neither is known. */
int retry_status_of_error(struct str type, struct str code);

/* --- what to do about it ------------------------------------------------- */

/* Most attempts of one request, whatever there is to try. */
#define RETRY_ATTEMPTS_MAX 16

/* A limit is waited for at its own target at most so long. */
#define RETRY_LIMIT_WAIT_MS 2000

/* How far a request has come with its attempts. */
struct retry {
    uint64_t deadline_ms; /* of all attempts; UINT64_MAX: none */
    unsigned attempts;    /* made in all */
    unsigned here;        /* made at the present target */
    bool doubted;         /* one that may have been served was tried again */
    uint64_t latest_ms;   /* the longest of the verdicts' after_ms */
};

/* What is there to be tried; the caller knows who is drained, shut or at rest,
 * and what was tried already. */
struct retry_room {
    bool key;          /* another key of the present target */
    bool target;       /* another target of the route, now */
    bool fallback;     /* a route to fall back to */
    bool fall_context; /* also when the prompt is too long */
    bool fall_filter;  /* also when its content is refused */
    bool same_shut;    /* the breaker of the present target or key has opened,
                        * or somebody drains it; a rest is just waited for */
};

/* What to do next. */
enum retry_step {
    RETRY_STOP = 0, /* give the client what there is */
    RETRY_SAME,
    RETRY_NEXT_KEY,
    RETRY_NEXT_TARGET,
    RETRY_FALL_BACK,
    RETRY_STEP_COUNT
};

/* A step. */
struct retry_plan {
    enum retry_step step;
    uint64_t wait_ms; /* before it; 0 but for RETRY_SAME */
    bool costs;       /* it needs leave of the budget of retries */
};

/* Begin: the first attempt of a request, before <deadline_ms>, is made. */
void retry_begin(struct retry *r, uint64_t deadline_ms);

/* Decide on the step after an end that means <v>, with the rules <conf> of the
 * target that was asked and 64 random bits. <r> is as before until
 * retry_made(). */
struct retry_plan retry_plan(struct retry *r, const struct retry_verdict *v,
                             const struct conf_retries *conf,
                             const struct retry_room *room, uint64_t now_ms,
                             uint64_t random);

/* The step <step> after <v> was made: another attempt begins. */
void retry_made(struct retry *r, const struct retry_verdict *v,
                enum retry_step step);

/* The pause before attempt <n> + 1 at the same target, n >= 1: full jitter, any
 * time up to <base_ms> doubled <n> - 1 times, at most <max_ms>; with a delay
 * of <after_ms> that and up to <base_ms> more, so that nobody comes back before
 * it and not all at once. */
uint64_t retry_pause_ms(uint64_t base_ms, uint64_t max_ms, unsigned n,
                        uint64_t after_ms, uint64_t random);

/* How often a client says that it has tried already, of the value of its
 * x-stainless-retry-count; 0 when it says nothing, or nonsense. */
unsigned retry_count_of(struct str value);

/* "stop", "same", ...: for logs. */
const char *retry_step_name(enum retry_step s);

#endif
