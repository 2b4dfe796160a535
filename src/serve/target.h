/* target.h - What is known of an upstream beyond one config: health, requests
 * in flight, keys that must rest. One entry per upstream name for the life of
 * the process, so that a reload forgets nothing. */
#ifndef TG_SERVE_TARGET_H
#define TG_SERVE_TARGET_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct target;
struct target_table;

/* Most upstream keys whose rest is remembered; more take turns unwatched. */
#define TARGET_KEYS_MAX 64

/* A copy of a target's state, for tables and metrics. */
struct target_view {
    struct str name;      /* lives as long as the process */
    uint64_t in_flight;   /* requests now */
    uint64_t requests;    /* attempts ever */
    uint64_t failures;    /* attempts that failed on the upstream's side */
    bool draining;        /* takes no new requests */
    char last_error[160]; /* "" when there was none */
    uint64_t last_error_wall_ms;
    uint64_t last_ok_wall_ms; /* 0 = never */
};

/* A new, empty table; NULL without memory. */
struct target_table *target_table_new(void);

/* Free the table and every target; no exchange may be alive. */
void target_table_free(struct target_table *t);

/* The target called <name>, made when new. NULL without memory. Any thread. */
struct target *target_get(struct target_table *t, struct str name);

/* The target called <name>, or NULL. Any thread. */
struct target *target_find(struct target_table *t, struct str name);

/* Copy the state of the <i>th target; false past the last. Any thread. */
bool target_view(struct target_table *t, unsigned i, struct target_view *out);

/* Let <t> take no new requests, or take them again. Any thread. */
void target_drain(struct target *t, bool draining);

/* Whether new requests may go to <t>. */
bool target_is_open(const struct target *t);

/* Count an attempt in unless <max_in_flight> (0 = none) are under way;
 * ERR_OVERLOADED then. Pair with target_leave(). */
enum err target_enter(struct target *t, uint64_t max_in_flight) MUST_CHECK;

/* Count an attempt out. <e> is ERR_OK when the upstream answered as it
 * should; <text> (may be NULL) tells what failed, for people. */
void target_leave(struct target *t, enum err e, const char *text);

/* Pick the next of <n_keys> keys in turn, passing over those that rest at
 * <now_ms> (monotonic) as long as one does not. <n_keys> >= 1. */
unsigned target_key_next(struct target *t, unsigned n_keys, uint64_t now_ms);

/* Let a key rest until <until_ms>; a rest is only ever extended. */
void target_key_rest(struct target *t, unsigned key, uint64_t until_ms);

#endif
