/* prefix.h - Which page holds the keys and values of which text: an index over
 * full pages whose key is a chain of hashes from a scope to the page's tokens.
 * A find compares tokens, place and the hash before it as well, so that no
 * collision can show one text's page to another. */
#ifndef TG_ENGINE_PREFIX_H
#define TG_ENGINE_PREFIX_H

#include "base/digest.h"
#include "base/err.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stdint.h>

/* What a page is known by. */
struct prefix_key {
    struct digest hash;    /* prefix_chain() of the rest */
    struct digest before;  /* hash of the page before, or the scope's root */
    uint32_t index;        /* of the page in its text, from 0 */
    const int32_t *tokens; /* (page_tokens), borrowed */
};

struct prefix_entry;

/* The index over pages 0 .. n_pages-1 of one pool. Fields are its own. */
struct prefix {
    struct prefix_entry *entries; /* (n_pages), owned */
    int32_t *buckets;             /* (mask + 1), owned */
    uint32_t mask;
    int32_t *tokens; /* (n_pages, page_tokens), owned */
    unsigned n_pages;
    unsigned page_tokens;
    unsigned n; /* pages in the index */
};

/* An empty index of pages of <page_tokens>, at most KRN_PAGE_TOKENS_MAX.
 * ERR_NOMEM. */
enum err prefix_init(struct prefix *ix, unsigned n_pages,
                     unsigned page_tokens) MUST_CHECK;

/* Free. */
void prefix_fini(struct prefix *ix);

/* The hash that the chains of <scope> begin with. */
struct digest prefix_root(const uint8_t scope[32]);

/* The hash of page <index> with <tokens> (page_tokens) behind <before>. */
struct digest prefix_chain(const struct digest *before, uint32_t index,
                           const int32_t *tokens, unsigned page_tokens);

/* The page of <key>, or -1. */
int32_t prefix_find(const struct prefix *ix, const struct prefix_key *key);

/* Enter <page> under <key>, behind <parent> (-1: the first page of its text),
 * which is in the index and stays at least as long. False when another page
 * has the same hash already. */
bool prefix_put(struct prefix *ix, const struct prefix_key *key, int32_t parent,
                int32_t page);

/* Take <page>, which no page of the index stands behind, out of it. */
void prefix_drop(struct prefix *ix, int32_t page);

#endif
