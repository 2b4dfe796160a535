/* target.h - What is known of an upstream beyond one config: health, requests
 * in flight, keys that must rest. One entry per upstream name for the life of
 * the process, so that a reload forgets nothing.
 *
 * An attempt is let in by target_enter(), says by target_tell() what it met,
 * and is counted out by target_leave(). Two things keep others out meanwhile:
 *
 *   shut    the breaker of the target, or those of all its keys, let nothing
 *           through: too many failures, or the upstream said when to come
 *           again. Nobody is let in.
 *   rests   it asks for some peace without saying how long, or refuses our
 *           key: others go first, but where there are none it is asked all the
 *           same.
 *
 * A target whose breaker never opens (`failures: 0`) is never shut: what would
 * shut it makes it rest. An upstream's keys are known by what they are, not by
 * their place in the configuration. Any thread. */
#ifndef TG_SERVE_TARGET_H
#define TG_SERVE_TARGET_H

#include "base/err.h"
#include "base/str.h"
#include "serve/breaker.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct conf_upstream;
struct pick_view;
struct retry_verdict;
struct target;
struct target_table;

/* Most keys of one upstream that are watched; more take turns unwatched. */
#define TARGET_KEYS_MAX 64

/* No key goes with an attempt. */
#define TARGET_NO_KEY UINT_MAX

/* --- the table ----------------------------------------------------------- */

/* A copy of a target's state, for tables and metrics. */
struct target_view {
    struct str name;      /* lives as long as the process */
    uint64_t in_flight;   /* requests now */
    uint64_t requests;    /* attempts ever */
    uint64_t failures;    /* attempts that failed on the upstream's side */
    bool draining;        /* takes no new requests */
    char last_error[160]; /* "" when there was none */
    uint64_t last_error_wall_ms;
    uint64_t last_ok_wall_ms;    /* 0 = never */
    struct breaker_view breaker; /* of all its keys together */
    uint64_t rest_ms;            /* it rests so long, 0: it does not */
    uint64_t queued;             /* requests that wait for a place there */
    uint64_t waits;              /* the same, ever, */
    uint64_t waited_ms;          /* and how long, all together */
    uint64_t checks;             /* of its health, ever */
    uint64_t checks_failed;      /* of these */
    uint64_t refused;            /* that found no place, or not in time */
};

/* A new, empty table; NULL without memory. */
struct target_table *target_table_new(void);

/* Free the table and every target; no exchange may be alive. */
void target_table_free(struct target_table *t);

/* The target called <name>, made when new. NULL without memory. Any thread. */
struct target *target_get(struct target_table *t, struct str name);

/* The target called <name>, or NULL. Any thread. */
struct target *target_find(struct target_table *t, struct str name);

/* Copy the state of the <i>th target at <now_ms>; false past the last. */
bool target_view(struct target_table *t, unsigned i, uint64_t now_ms,
                 struct target_view *out);

/* Let <t> take no new requests, or take them again. */
void target_drain(struct target *t, bool draining);

/* Whether nobody drains <t>. */
bool target_is_open(const struct target *t);

/* Forget failures and rests of <t> and all its keys. */
void target_reset(struct target *t, uint64_t now_ms);

/* --- attempts ------------------------------------------------------------ */

/* What an attempt was let in with; by value. Zeroed: it is not in. */
struct target_pass {
    struct target *t;
    unsigned key;            /* which of the upstream's, or TARGET_NO_KEY */
    struct breaker_pass all; /* of the target */
    struct breaker_pass own; /* of the key */
    bool in;                 /* it is counted in */
    bool watched;            /* <all> holds */
    bool key_watched;        /* <own> holds */
    bool told;               /* it was told what the attempt met */
    bool good;               /* and that was good */
};

/* What comes of wanting in. */
enum target_answer {
    TARGET_IN = 0,
    TARGET_SHUT, /* drained, or no way through its breakers */
    TARGET_FULL, /* as many requests there as there may be */
};

/* Let an attempt in at <t>, which is the upstream <up>, or an engine model if
 * that is NULL. Keys whose index is a bit of <tried_keys> are not used; those
 * that rest only when all others are out. Pair with target_leave(). <out> is
 * untouched but for TARGET_IN. */
enum target_answer target_enter(struct target *t,
                                const struct conf_upstream *up,
                                uint64_t tried_keys, uint64_t now_ms,
                                struct target_pass *out);

/* Whether <t> is neither drained, nor shut, nor at rest, and has a key that may
 * be used; whether there is room is not asked. */
bool target_is_ready(const struct target *t, const struct conf_upstream *up,
                     uint64_t tried_keys, uint64_t now_ms);

/* The same, but it or its keys may be at rest: for when nobody is ready. */
bool target_is_last_resort(const struct target *t,
                           const struct conf_upstream *up, uint64_t tried_keys,
                           uint64_t now_ms);

/* Whether it is ready, its breaker is closed, and it has room. */
bool target_is_sound(const struct target *t, const struct conf_upstream *up,
                     uint64_t now_ms);

/* Why a target lets nobody in. */
enum target_shut {
    TARGET_OPEN = 0,    /* it does */
    TARGET_DRAINED,     /* by an operator */
    TARGET_BROKEN,      /* it failed too often */
    TARGET_LIMITED,     /* it, or its keys, are asked too often */
    TARGET_SPENT,       /* our account there is used up */
    TARGET_REFUSED_KEY, /* it refuses our keys */
    TARGET_BUSY,        /* it is, and said how long; it does not fail */
    TARGET_SHUT_COUNT
};

/* Why target_is_ready() is false, and after which time it may be true, 0: not
 * known. Of several keys the one that is back first tells. */
enum target_shut target_why(struct target *t, const struct conf_upstream *up,
                            uint64_t tried_keys, uint64_t now_ms,
                            uint64_t *wait_ms_out);

/* "open", "drained", "broken", "limited", "spent", "refused_key",
 * "busy". */
const char *target_shut_name(enum target_shut s);

/* Tell what the attempt with <p> met: breakers, rests, the log. Once; later
 * calls do nothing, nor does one without a pass. */
void target_tell(struct target_pass *p, const struct conf_upstream *up,
                 const struct retry_verdict *v, uint64_t now_ms);

/* Count an attempt out; twice is harmless. <e> is ERR_OK when the upstream
 * answered as it should; <text> (may be NULL) tells what failed, for people.
 * Where nothing was told nothing is known; what broke off after it was told
 * good counts as a failure, besides. */
void target_leave(struct target_pass *p, const struct conf_upstream *up,
                  enum err e, const char *text, uint64_t now_ms);

/* --- checks -------------------------------------------------------------- */

/* Whether <t> may be checked now as up->health says, without a request; <out>
 * is for target_checked() then. One that has failed with requests is not, nor
 * is one that is drained or never shut. */
bool target_check(struct target *t, const struct conf_upstream *up,
                  uint64_t now_ms, struct target_pass *out);

/* Tell what the check with <p> met. What goes well closes a breaker, and counts
 * for nothing else. */
void target_checked(struct target_pass *p, const struct conf_upstream *up,
                    const struct retry_verdict *v, uint64_t now_ms);

/* --- what strategies go by ----------------------------------------------- */

/* A good reply to the attempt with <p> began <latency_us> after it was sent. */
void target_pace_note(const struct target_pass *p, uint64_t latency_us,
                      uint64_t now_ms);

/* Fill in_flight, limit, latency_us and load of <out>; <up> may be NULL. */
void target_see(const struct target *t, const struct conf_upstream *up,
                uint64_t now_ms, struct pick_view *out);

/* --- keys ---------------------------------------------------------------- */

/* A copy of what is known of one key. */
struct target_key_view {
    struct breaker_view breaker;
    enum target_shut why; /* TARGET_OPEN: it may be used */
    uint64_t wait_ms;     /* shut or at rest so long */
};

/* Copy what is known of key number <key> of <up> at <now_ms>. */
void target_key_view(struct target *t, const struct conf_upstream *up,
                     unsigned key, uint64_t now_ms,
                     struct target_key_view *out);

#endif
