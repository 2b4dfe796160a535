/* rate.h - What a key or a team may do at a time: requests a minute, tokens a
 * minute, requests at once. One `struct rate` stands behind each, shared by
 * all workers and by every record that follows on another, so that a change of
 * the record, a new secret or a reload gives nothing back. A request goes by
 * the rates of its key and of its team: both or none.
 *
 * Lock: one mutex a rate, held for a few additions; rank: leaf, the key's
 * before the team's. */
#ifndef TG_ACCOUNT_RATE_H
#define TG_ACCOUNT_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_limits;
struct rate;

/* What a request is told to wait for when it is one too many at once: nobody
 * knows when another ends. */
#define RATE_PARALLEL_WAIT_MS 1000

/* What ran out. */
enum rate_kind {
    RATE_REQUESTS = 0, /* requests a minute */
    RATE_TOKENS,       /* tokens a minute */
    RATE_PARALLEL,     /* requests at once */
    RATE_KIND_COUNT
};

/* Why a request may not go on. */
struct rate_refusal {
    enum rate_kind kind;
    bool of_team;     /* the team's limit, else the key's */
    uint64_t limit;   /* which was reached */
    uint64_t asked;   /* tokens, for RATE_TOKENS */
    uint64_t wait_ms; /* from when on it fits if nobody else comes, to the
                       * millisecond; BUCKET_NEVER: more than the limit */
};

/* How much of a limit is left. */
struct rate_level {
    uint64_t limit;    /* a minute; 0: no such limit, the rest is 0 */
    uint64_t left;     /* whole units */
    uint64_t reset_ms; /* until all of it is there again */
};

/* State of the limits that a request goes by. */
struct rate_view {
    bool is_limited;         /* there is a limit of any kind */
    struct rate_level of[2]; /* by RATE_REQUESTS and RATE_TOKENS: of key and
                              * team the one of which less is left */
};

/* What a request holds of its key's and its team's rates. Zeroed holds
 * nothing, and every function is fine with that. */
struct rate_hold {
    struct rate *of[2];  /* counted; the key's, the team's; NULL: none */
    uint64_t charged[2]; /* tokens taken from each */
    uint64_t tokens;     /* that were asked for */
    bool entered;        /* has a place, and was counted */
    bool refused;        /* its tokens did not fit: it shall not count */
};

/* A rate of one reference, its buckets full; NULL without memory. */
struct rate *rate_new(const struct key_limits *limits);

/* One more reference; gives <r> back for convenience. Any thread. */
struct rate *rate_ref(struct rate *r);

/* Drop a reference; the last one frees. NULL is fine. Any thread. */
void rate_unref(struct rate *r);

/* Change the limits at <now_us>, from now on; see bucket_set(). */
void rate_set(struct rate *r, const struct key_limits *limits, uint64_t now_us);

/* Requests that have a place now. Any thread. */
uint64_t rate_running(struct rate *r);

/* State of <r> alone, which may be NULL: no limits. */
void rate_see(struct rate *r, uint64_t now_us, struct rate_view *out);

/* Begin a hold on the rates of a key and a team, whose references move here;
 * either may be NULL. It holds nothing of them yet. */
void rate_hold_init(struct rate_hold *h, struct rate *key, struct rate *team);

/* Take a place and count a request, on both rates or on none; false with the
 * reason that takes longest. Once for a hold. */
bool rate_enter(struct rate_hold *h, uint64_t now_us,
                struct rate_refusal *why_out);

/* Whether a limit of tokens stands behind <h>, so that they need counting. */
bool rate_counts_tokens(const struct rate_hold *h);

/* Take <tokens> from both rates or from none; false with the reason that takes
 * longest, and the request is given back when the hold ends. Once for a hold
 * that has entered. */
bool rate_charge(struct rate_hold *h, uint64_t tokens, uint64_t now_us,
                 struct rate_refusal *why_out);

/* State of what <h> goes by. */
void rate_view(const struct rate_hold *h, uint64_t now_us,
               struct rate_view *out);

/* The request is over and has used <tokens>: give its place back, put back what
 * was charged too much, or take what was too little even where it does not fit.
 * The references are dropped; what comes after does nothing. */
void rate_end(struct rate_hold *h, uint64_t tokens, uint64_t now_us);

#endif
