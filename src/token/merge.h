/* merge.h - Joining neighbours, best pair first: what SPM and BPE share. Texts
 * are rows of symbols; of all neighbours that may be joined the one of lowest
 * rank is, the leftmost of equals, until none is left. */
#ifndef TG_TOKEN_MERGE_H
#define TG_TOKEN_MERGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A symbol; those that were swallowed are no longer in the chain. */
struct merge_sym {
    uint32_t piece; /* what it is, by number */
    uint32_t start; /* bytes before it */
    uint32_t len;   /* bytes */
    uint32_t prev;  /* neighbours, UINT32_MAX at the ends */
    uint32_t next;
    uint32_t rank;   /* of joining with the next; UINT32_MAX: never */
    uint32_t joined; /* the piece which that gives */
};

/* Pairs of long texts by rank. */
struct merge_rows {
    uint32_t *heads; /* by rank: the last of its pairs, or UINT32_MAX */
    size_t n_ranks;
    uint64_t *pairs; /* the one before it << 32 | left symbol */
    size_t n;
    size_t cap;
    uint32_t *row; /* (cap) the left symbols of one rank */
};

/* Symbols and the heap of pairs; zeroed is empty. */
struct merge_room {
    struct merge_rows rows;
    struct merge_sym *syms;
    size_t n;
    size_t cap;
    uint64_t *heap; /* rank << 32 | left symbol */
    size_t n_heap;
    size_t heap_cap;
};

/* Whether <left> and <right> may be joined, at what rank, into what. */
typedef bool merge_find(const void *ctx, const struct merge_sym *left,
                        const struct merge_sym *right, uint32_t *rank_out,
                        uint32_t *joined_out);

/* Forget the symbols. */
void merge_clear(struct merge_room *r);

/* Append a symbol of <len> bytes right of the others. ERR_NOMEM. */
enum err merge_add(struct merge_room *r, uint32_t piece,
                   uint32_t len) MUST_CHECK;

/* Join what can be joined; the result is the chain from symbol 0. Ranks are
 * less than <n_ranks>. n log n. ERR_NOMEM. */
enum err merge_run(struct merge_room *r, merge_find *find, const void *ctx,
                   size_t n_ranks) MUST_CHECK;

/* Free the room. */
void merge_room_fini(struct merge_room *r);

/* A merge: piece <left> before piece <right> is piece <joined>. */
struct merge_slot {
    uint32_t left, right, rank, joined; /* rank UINT32_MAX: free */
};

/* Which pairs of pieces join: BPE's merges. Zeroed joins nothing. */
struct merges {
    struct merge_slot *slots;
    size_t mask;
};

/* Room for <n> merges. ERR_NOMEM. */
enum err merges_init(struct merges *m, size_t n) MUST_CHECK;

/* Free the table. */
void merges_fini(struct merges *m);

/* Put a merge; one that is there already stays as it is. */
void merges_put(struct merges *m, const struct merge_slot *merge);

/* The merge of two pieces, or NULL. */
const struct merge_slot *merges_get(const struct merges *m, uint32_t left,
                                    uint32_t right);

#endif
