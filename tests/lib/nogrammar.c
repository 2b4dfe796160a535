/* nogrammar.c - Stands in for grammars in tests that have none. */
#include "token/grammar.h"

#define WEAK __attribute__((weak))

WEAK struct grammar_state *grammar_start(struct grammar *g)
{
    (void)g;
    return NULL;
}

WEAK void grammar_state_free(struct grammar_state *s)
{
    (void)s;
}

WEAK void grammar_mask(const struct grammar_state *s, uint64_t *mask)
{
    (void)s;
    (void)mask;
}

WEAK bool grammar_accept(struct grammar_state *s, int32_t id)
{
    (void)s;
    (void)id;
    return false;
}

WEAK bool grammar_must_end(const struct grammar_state *s)
{
    (void)s;
    return false;
}
