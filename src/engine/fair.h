/* fair.h - Whose turn it is to have prompts read: deficit round robin by tokens
 * over the keys that have something to read. A key's turn is worth
 * FAIR_QUANTUM tokens, whoever has many jobs gets no more of them. */
#ifndef TG_ENGINE_FAIR_H
#define TG_ENGINE_FAIR_H

#include "base/map.h"
#include "engine/gen.h"
#include "engine/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* Tokens of one turn. */
#define FAIR_QUANTUM 128

/* One key that has jobs. */
struct fair_key {
    char id[sizeof(((struct gen_job *)NULL)->key)];
    unsigned n_jobs;         /* jobs that refer to it */
    unsigned n_running;      /* sequences that run */
    long deficit;            /* tokens left of its turn */
    bool in_ring;            /* has something to read */
    struct seq_list waiting; /* first come first served */
    struct seq_list reading; /* in PREFILL, oldest first */
    TAILQ_ENTRY(fair_key) ring;
    UT_hash_handle hh;
};

TAILQ_HEAD(fair_ring, fair_key);

/* All keys. The head of the ring has its turn. */
struct fair {
    struct fair_key *keys; /* owned */
    struct fair_ring ring;
    unsigned n_ring;
};

/* No keys. */
void fair_init(struct fair *f);

/* The key called <id> for one more job; NULL without memory. */
struct fair_key *fair_join(struct fair *f, const char *id);

/* A job of <k> is over; the last one frees it. */
void fair_leave(struct fair *f, struct fair_key *k);

/* Add <q> to those of <k> that wait, by age, or to those that read. */
void fair_add(struct fair *f, struct fair_key *k, struct seq *q, bool reads);

/* Take <q> out again. */
void fair_remove(struct fair *f, struct fair_key *k, struct seq *q, bool reads);

/* The key whose turn it is, or NULL. */
struct fair_key *fair_turn(struct fair *f);

/* End the turn of the head of the ring. */
void fair_next(struct fair *f);

/* Make <k>, which is in the ring, its head. */
void fair_first(struct fair *f, struct fair_key *k);

/* How many of <want> tokens <k> may have now; at least one. */
size_t fair_grant(struct fair_key *k, size_t want);

/* <n> tokens of <k> are read; ends its turn when they were its last. */
void fair_spend(struct fair *f, struct fair_key *k, size_t n);

/* Whether <k> runs no more sequences than any other key that waits. */
bool fair_may_start(const struct fair *f, const struct fair_key *k);

#endif
