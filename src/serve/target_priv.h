/* target_priv.h - What the files of target.h share. */
#ifndef TG_SERVE_TARGET_PRIV_H
#define TG_SERVE_TARGET_PRIV_H

#include "serve/breaker.h"
#include "serve/pick.h"
#include "serve/queue.h"
#include "serve/target.h"

#include <pthread.h>
#include <stdatomic.h>

/* A way in: that of a target, or of one of its keys. */
struct target_gate {
    struct breaker breaker;
    _Atomic uint64_t rest_until_ms; /* others go first until then */
    _Atomic unsigned opened_by;     /* enum retry_kind: what opened it last */
    _Atomic unsigned why; /* enum target_shut: of the last rest or failure */
};

/* A key that was used. */
struct target_key {
    _Atomic uint64_t id; /* hash of the secret; 0: of none any more */
    _Atomic uint64_t
        used_ms; /* last let in; who was not for long is replaced */
    struct target_gate gate;
};

/* A target. */
struct target {
    struct target *next; /* owned by the table; never unlinked */
    char *name;          /* owned, NUL-terminated */
    uint64_t seed;       /* of hashes of keys, random */
    _Atomic uint64_t in_flight;
    _Atomic uint64_t requests;
    _Atomic uint64_t failures;
    _Atomic uint64_t last_ok_wall_ms;
    _Atomic unsigned turn; /* of keys */
    _Atomic bool draining;
    struct target_gate gate; /* of all keys together */
    struct pick_pace pace;
    _Atomic(struct target_key *) keys[TARGET_KEYS_MAX]; /* owned; only grow */
    _Atomic unsigned n_keys;
    pthread_mutex_t lock; /* guards what follows, and writes of <keys> */
    char last_error[160];
    uint64_t last_error_wall_ms;

    _Atomic uint64_t checks;        /* of its health */
    _Atomic uint64_t checks_failed; /* likewise */

    _Atomic uint64_t limit;     /* of in_flight, as last heard; 0: none */
    _Atomic uint64_t waiting;   /* in <queue> now */
    _Atomic uint64_t waits;     /* that were ever */
    _Atomic uint64_t waited_ms; /* all of them together */
    _Atomic uint64_t refused; /* that could not wait, or had to for too long */
    pthread_mutex_t queue_lock; /* guards what follows; a leaf */
    struct queue queue;         /* of struct turn */
};

/* How long ago a key was used last that gives way to another. */
#define TARGET_KEY_IDLE_MS 600000

/* What is known of key number <key> of <up>; NULL: nothing. */
struct target_key *target_key_find(const struct target *t,
                                   const struct conf_upstream *up,
                                   unsigned key);

/* The same, and begins to watch it; NULL: there is no room. */
struct target_key *target_key_get(struct target *t,
                                  const struct conf_upstream *up, unsigned key,
                                  uint64_t now_ms);

/* Free all keys of <t>. */
void target_keys_free(struct target *t);

/* target_enter() for an attempt that is counted in flight already; it is
 * counted out where it is not let in. */
enum target_answer target_enter_placed(struct target *t,
                                       const struct conf_upstream *up,
                                       uint64_t tried_keys, uint64_t now_ms,
                                       struct target_pass *out);

/* A place at <t> was given back: hand it to who waits for one. */
void target_hand_on(struct target *t, uint64_t now_ms);

/* <most> may be in flight at <t> now: a reload has changed it. */
void target_set_limit(struct target *t, uint64_t most, uint64_t now_ms);

/* <t> is shut: nobody needs to wait for it any more. */
void target_put_off(struct target *t, uint64_t now_ms);

#endif
