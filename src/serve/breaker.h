/* breaker.h - Whether a target, or one of its keys, is left alone, and when it
 * is tried again.
 *
 *               too many failures
 *     CLOSED -------------------------> OPEN <-------+
 *       ^                                | time      | the probe failed,
 *       |                                v           | or ended unheard
 *       +--- the probe was answered -- HALF_OPEN ----+
 *
 * Open it lets nothing through; half open one request, the probe, whose fate
 * decides. An attempt takes a pass when it begins and hands it in when it is
 * known how it went; a pass from before the last change of state says nothing
 * any more, so that what was sent before a fall does not judge what came after
 * it. Besides, whatever its state, a breaker may be told to rest for a time
 * that the upstream named. Times to wait are only ever extended.
 *
 * A breaker decides; it never logs, never waits and never reads a clock: times
 * are monotonic milliseconds, given by the caller. Any thread: one short lock
 * in each breaker, which breaker_is_ready() and the way in while it is closed
 * do without. */
#ifndef TG_SERVE_BREAKER_H
#define TG_SERVE_BREAKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Where a breaker stands. */
enum breaker_state {
    BREAKER_CLOSED = 0, /* lets everything through, and counts */
    BREAKER_OPEN,       /* lets nothing through until its time comes */
    BREAKER_HALF_OPEN,  /* waits for what its probe meets */
    BREAKER_STATE_COUNT
};

/* What an attempt says of the upstream. */
enum breaker_word {
    BREAKER_SILENT = 0, /* nothing: the client left, or we gave up */
    BREAKER_ALIVE,      /* it answered, but the caller asked amiss or too much:
                         * counts for nothing but a probe */
    BREAKER_GOOD,       /* it did as it should */
    BREAKER_BAD,        /* it failed, and it was its own fault */
};

/* What changed by what was told: for the log and the counters. */
enum breaker_event {
    BREAKER_SAME = 0,
    BREAKER_OPENED,   /* it was closed */
    BREAKER_REOPENED, /* its probe failed, or was not heard of */
    BREAKER_RECOVERED /* its probe was answered */
};

/* When a breaker opens and for how long; of the configuration at hand. All
 * zeros never opens. */
struct breaker_rules {
    uint64_t failures;  /* in a row, within the window; 0: it never opens */
    uint64_t window_ms; /* >= 1 */
    uint64_t open_ms;   /* before a probe is let through */
};

/* Failures need not come in a row: a breaker opens as well when, within the
 * window, at least so many attempts of which so many percent failed, and not
 * fewer failures than the rules say. */
#define BREAKER_SHARE_ATTEMPTS 20
#define BREAKER_SHARE_PERCENT  50

/* Parts of the window that age together. */
#define BREAKER_SLOTS 10

/* One part of the window. */
struct breaker_slot {
    uint64_t at; /* its number since the clock began, in parts */
    uint32_t all, bad;
};

/* A breaker; zeroed memory is none: breaker_init() makes one. No field is
 * touched from outside. */
struct breaker {
    _Atomic uint64_t stand;       /* era and state in one word */
    _Atomic uint64_t until_ms;    /* shut before it: open, or at rest */
    _Atomic uint64_t probe_by_ms; /* half open: when the probe is given up */
    pthread_mutex_t lock;         /* guards what follows, and writes above */
    uint64_t slot_ms;             /* length of a part; another: begin anew */
    struct breaker_slot slots[BREAKER_SLOTS];
    uint64_t run;        /* failures since the last success */
    uint64_t now_ms;     /* the latest time it was told */
    uint64_t changed_ms; /* when the state changed last, 0: never */
    uint64_t opened;     /* times it went from closed to open */
    uint64_t probes;     /* let through ever */
};

/* What an attempt was let through with. By value. */
struct breaker_pass {
    uint64_t era; /* of the breaker when it was */
    bool probe;
};

/* A copy of what a breaker knows, for tables and metrics. */
struct breaker_view {
    enum breaker_state state; /* half open also when a probe may come */
    uint64_t wait_ms;         /* until anything is let through, 0: now */
    uint64_t failures;        /* within the window */
    uint64_t attempts;        /* within the window that told something */
    uint64_t run;             /* failures since the last success */
    uint64_t opened;          /* times it opened, but for failed probes */
    uint64_t probes;          /* let through ever */
    uint64_t changed_ms;      /* when the state changed last, 0: never */
};

/* A closed breaker that has seen nothing. */
void breaker_init(struct breaker *b);

/* Nobody uses <b> any more. */
void breaker_fini(struct breaker *b);

/* Whether breaker_enter() would let an attempt through at <now_ms>, as far as
 * can be told without a lock: for choosing among targets. */
bool breaker_is_ready(const struct breaker *b, uint64_t now_ms);

/* Whether <b> is closed, so that what is let through is no probe. No lock. */
bool breaker_is_closed(const struct breaker *b);

/* Milliseconds from <now_ms> until one may be let through; 0 when it is ready.
 * While a probe is under way that is when it will have had its time, which is
 * that of being open; its end may come before. No lock. */
uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms);

/* Let an attempt through, or not. True: <pass_out> is for breaker_leave(),
 * which must be called once. */
bool breaker_enter(struct breaker *b, const struct breaker_rules *r,
                   uint64_t now_ms, struct breaker_pass *pass_out);

/* Tell what the attempt with <pass> met. Of a stream that is known with its
 * first byte, and a probe should say it then. */
enum breaker_event breaker_leave(struct breaker *b,
                                 const struct breaker_rules *r,
                                 const struct breaker_pass *pass,
                                 enum breaker_word word, uint64_t now_ms);

/* Open it at once, however little was counted: a certificate that has expired
 * is no matter of chance. Nothing where the rules never open. */
enum breaker_event breaker_trip(struct breaker *b,
                                const struct breaker_rules *r, uint64_t now_ms);

/* Let nothing through before <until_ms>, as the upstream asked; a time before
 * the one that holds changes nothing. The state stays: a closed one is at rest
 * and needs no probe afterwards. */
void breaker_rest(struct breaker *b, uint64_t until_ms);

/* Close it and forget all failures and rests: an operator knows better. */
void breaker_reset(struct breaker *b, uint64_t now_ms);

/* Copy what is known of <b> at <now_ms>. */
void breaker_see(struct breaker *b, uint64_t now_ms, struct breaker_view *out);

/* "closed", "open", "half_open". */
const char *breaker_state_name(enum breaker_state s);

#endif
