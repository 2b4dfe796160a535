/* schema.h - From a JSON schema to a part of a program. Only for grammar*.c. */
#ifndef TG_TOKEN_SCHEMA_H
#define TG_TOKEN_SCHEMA_H

#include "token/automaton.h"
#include "token/grammar.h"

/* The values of <schema>, then <next>; AUTO_FAIL in <out> when there are none.
 * Errors and <why> as grammar_from_schema(). */
enum err schema_build(struct automaton *a, const json_t *schema,
                      struct grammar_fault *why, uint32_t next,
                      uint32_t *out) MUST_CHECK;

#endif
