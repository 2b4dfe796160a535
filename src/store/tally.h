/* tally.h - Sums of usage rows by counter key, in memory, and the bytes of a
 * key and of a sum on disk. One thread at a time. */
#ifndef TG_STORE_TALLY_H
#define TG_STORE_TALLY_H

#include "store/row.h"

/* Milliseconds of a day. */
#define TALLY_DAY_MS 86400000

/* What a counter is kept for. Slices are borrowed. */
struct tally_key {
    uint32_t day; /* days since 1970-01-01 UTC */
    struct str key_id;
    struct str team;
    struct str model;
    struct str target;
    struct str target_model;
};

/* A counter: sums over requests and their legs. A leg adds to what was used,
 * and to <estimated>, <unpriced> and <stale_price>, but is no request. */
struct tally {
    uint64_t requests;
    uint64_t errors; /* status >= 400, or the reply broke off */
    uint64_t estimated;
    uint64_t tok[ROW_TOK_COUNT];
    int64_t cost_nusd;
    uint64_t ms_total;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t unpriced;    /* ROW_UNPRICED: cost_nusd may be too low */
    uint64_t stale_price; /* ROW_STALE_PRICE */
    uint64_t legs;        /* ROW_LEG */
    uint64_t misses;      /* requests of ROW_CACHE_MISS */
    uint64_t hits;        /* of ROW_CACHE_HIT */
    uint64_t joined;      /* of ROW_CACHE_JOINED */
    uint64_t saved_input_tok, saved_output_tok;
    int64_t saved_nusd;
};

/* Bytes of the longest encoded key: day, and per text a length and bytes. */
#define TALLY_KEY_MAX (4 + 5 + 2 * ROW_NAME_MAX + ROW_TARGET_MAX + 2 * 96)

/* Bytes of an encoded sum, at most. */
#define TALLY_BYTES_MAX 208

/* The day <wall_ms> falls in; times before 1970 count as day 0. */
uint32_t tally_day(int64_t wall_ms);

/* The key <row> is counted under. A model nobody serves is counted under
 * "", so that clients cannot make counters without bound. */
struct tally_key tally_key_of(const struct usage_row *row);

/* Encode into <out> of TALLY_KEY_MAX bytes; gives the length. Encoded keys
 * sort by day first. Model names are cut to 96 bytes here. */
size_t tally_key_encode(const struct tally_key *k, void *out);

/* Decode; slices borrow from <bytes>. ERR_CORRUPT. */
enum err tally_key_decode(struct str bytes,
                          struct tally_key *key_out) MUST_CHECK;

/* Encode into <out> of TALLY_BYTES_MAX bytes; gives the length. */
size_t tally_encode(const struct tally *t, void *out);

/* Decode; fields of newer versions are skipped. ERR_CORRUPT. */
enum err tally_decode(struct str bytes, struct tally *tally_out) MUST_CHECK;

/* Add one row to <t>. Sums stay at their maximum rather than wrap. */
void tally_add_row(struct tally *t, const struct usage_row *row);

/* Add <more> to <t>. */
void tally_add(struct tally *t, const struct tally *more);

/* Whether both hold the same sums. */
bool tally_is_same(const struct tally *a, const struct tally *b);

/* One entry of a map; the name is <name_len> bytes behind it. */
struct tally_item {
    struct tally_item *next; /* in its bucket */
    struct tally sum;
    size_t name_len;
    char name[]; /* any bytes: an encoded key, or a group's name */
};

/* Sums by name. Zeroed is empty. */
struct tally_map {
    struct tally_item **buckets; /* owned */
    size_t n_buckets;
    size_t n;
};

/* Free every entry; <m> is empty again. */
void tally_map_fini(struct tally_map *m);

/* The sum under <name>, made with zeros when missing. NULL without memory. */
struct tally *tally_map_at(struct tally_map *m, struct str name);

/* The entry after <prev> in no order, NULL to begin and at the end. */
struct tally_item *tally_map_next(const struct tally_map *m,
                                  const struct tally_item *prev);

#endif
