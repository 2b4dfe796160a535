/* grammar_kit.h - Small vocabularies and walks through grammars, for tests. */
#ifndef TG_TESTS_GRAMMAR_KIT_H
#define TG_TESTS_GRAMMAR_KIT_H

#include "lib/bytevocab.h"
#include "token/grammar.h"

/* Ids of every kit, see bytevocab.h. */
enum {
    KIT_EOS = BYTEVOCAB_EOS,
    KIT_TOOL_CALLS = BYTEVOCAB_TOOL_CALLS,
    KIT_PYTHON = BYTEVOCAB_PYTHON,
};

/* A vocabulary and its index. */
struct kit {
    struct vocab *v;
    struct vocab_index *ix;
};

/* A vocabulary of all bytes and <words> (n, any bytes). */
void kit_init(struct kit *k, const struct str *words, size_t n);

/* The same with words that cross JSON's borders in many ways. */
void kit_init_usual(struct kit *k);

/* Free. */
void kit_fini(struct kit *k);

/* The grammar of schema text; NULL when it is refused, <why> says it then. */
struct grammar *kit_schema(const struct kit *k, const char *schema,
                           struct grammar_fault *why, enum err *err);

/* Whether <text> is of <g> from its start: byte by byte, asking the mask, too.
 * 1: it is whole, 0: it is a beginning, -1: not even that. */
int kit_reads(const struct kit *k, struct grammar *g, struct str text);

/* Write a text of <g> by choosing among the tokens of the mask at random from
 * <seed>, those that end with a chance of one in four; past <soft> bytes, only
 * the likely shortest way. NUL-terminated in <out> (cap). False when it did
 * not end. */
bool kit_write(const struct kit *k, struct grammar *g, uint64_t seed, char *out,
               size_t cap, size_t soft);

/* A number of a fixed generator. */
uint32_t kit_random(uint64_t *state);

#endif
