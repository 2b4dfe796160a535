/* grammar_priv.h - From a finished program to a grammar. Only for the parts of
 * grammar.h. */
#ifndef TG_TOKEN_GRAMMAR_PRIV_H
#define TG_TOKEN_GRAMMAR_PRIV_H

#include "token/automaton.h"
#include "token/grammar.h"

/* A grammar of the program that begins at <start>; takes what <a> holds and
 * leaves it empty, whatever happens. Errors as auto_finish(). */
enum err grammar_make(const struct vocab_index *ix, struct automaton *a,
                      uint32_t start, struct grammar **out) MUST_CHECK;

#endif
