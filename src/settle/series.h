/* series.h - Metrics with labels: one entry per model label, target and
 * worker, where labels come from the config alone. */
#ifndef TG_SETTLE_SERIES_H
#define TG_SETTLE_SERIES_H

#include "base/map.h"
#include "base/str.h"
#include "exchange/stats.h"

#include <pthread.h>

struct exchange;
struct usage_row;

/* Different statuses kept apart in one entry; more fall into the last. */
#define SERIES_STATUSES 24

/* Most entries of a worker; more are counted under "other". */
#define SERIES_MAX 1024

/* One entry. */
struct series {
    UT_hash_handle hh;
    char *key; /* owned: "model\ntarget", <key_len> bytes */
    size_t key_len;
    struct str model;  /* slice of <key> */
    struct str target; /* slice of <key> */
    unsigned status[SERIES_STATUSES];
    uint64_t requests[SERIES_STATUSES];
    unsigned n_statuses;
    struct hist seconds;    /* whole requests */
    struct hist overhead;   /* our part before the upstream was asked */
    struct hist first_byte; /* to the first byte of the reply */
    uint64_t tok_input, tok_cached, tok_output;
    int64_t cost_nusd;
    uint64_t unpriced, stale_price; /* requests */
    uint64_t hits, misses, joined;  /* requests, by where they came from */
    uint64_t saved_tok;
    int64_t saved_nusd;
};

/* All entries of a worker.
 * Lock: guards the map and its entries; rank: leaf. */
struct series_table {
    pthread_mutex_t lock;
    struct series *map; /* uthash, owned */
};

/* A new, empty table; NULL without memory. */
struct series_table *series_table_new(void);

/* Free it; NULL is fine. */
void series_table_free(struct series_table *t);

/* The entry of <key>, "model\ntarget" with <model_len> bytes before the
 * newline; made if need be, NULL without memory. Under the table's lock. */
struct series *series_at(struct series_table *t, struct str key,
                         size_t model_len);

/* What the cache did, of all models together. */
struct series_cache {
    uint64_t hits, misses, joined; /* requests */
    uint64_t saved_tok;
    int64_t saved_nusd;
};

/* Add what is counted in <t>, which may be NULL. Any thread. */
void series_cache_add(struct series_table *t, struct series_cache *sum);

/* Count one settled exchange in its worker's table. */
void series_count(struct exchange *x, const struct usage_row *row);

/* Add what a leg of it used and cost, which was asked for as <label>. */
void series_count_leg(struct exchange *x, struct str label,
                      const struct usage_row *row);

#endif
