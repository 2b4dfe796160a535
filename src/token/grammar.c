/* grammar.c - References to grammars. */
#include "token/grammar.h"

void grammar_unref(struct grammar *g)
{
    (void)g;
}
