/* vocab_index.h - Every token of a vocabulary in two trees of bytes: those
 * that go inside of any JSON string as they are, and the rest. A tree is one
 * array in the order of a walk. Only for grammar.c. */
#ifndef TG_TOKEN_VOCAB_INDEX_H
#define TG_TOKEN_VOCAB_INDEX_H

#include "token/grammar.h"

#include <stddef.h>

/* One byte on the way to a token. */
struct trie_node {
    uint32_t skip;  /* index behind all that goes on from here */
    int32_t token;  /* first token that ends here, -1 = none */
    uint16_t depth; /* bytes before this one */
    uint8_t byte;
};

/* A tree. */
struct trie {
    struct trie_node *nodes;
    uint32_t n;
};

/* All of a vocabulary. */
struct vocab_index {
    const struct vocab *v;
    uint32_t n_vocab;
    size_t n_words;    /* words of a mask */
    uint32_t longest;  /* bytes of the longest token, >= 1 */
    struct trie plain; /* whole UTF-8 without quotes, backslashes, controls;
                        * the last character may be unfinished */
    struct trie other;
    int32_t *twin;        /* (n_vocab) next token of the same bytes, or -1 */
    int32_t *plain_ids;   /* tokens of <plain>, those of few characters first */
    uint32_t *plain_upto; /* (longest + 1) how many have at most so many */
    uint64_t *plain_set;  /* masks: the tokens of <plain>, */
    uint64_t *control;    /* control tokens that do not end a generation, */
    uint64_t *eog;        /* tokens that do */
};

/* Tokens longer than this are never chosen. */
#define VOCAB_INDEX_LONGEST 512

/* Whether <id> is set in <mask>. */
static inline bool mask_has(const uint64_t *mask, int32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}

/* Set <id> in <mask>. */
static inline void mask_put(uint64_t *mask, int32_t id)
{
    mask[id / 64] |= (uint64_t)1 << id % 64;
}

#endif
