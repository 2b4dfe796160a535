/* grammar.h - Constrained decoding: an automaton over bytes, made from a JSON
 * schema or from a list of tools, says which tokens of a vocabulary may come
 * next. Grammars are immutable and counted; a state belongs to one choice. */
#ifndef TG_TOKEN_GRAMMAR_H
#define TG_TOKEN_GRAMMAR_H

#include "base/err.h"
#include "base/str.h"
#include "token/toolcall.h"
#include "token/vocab.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct grammar;
struct grammar_state;
struct vocab_index;

/* Why a schema was refused: <param> is the JSON path within it, such as
 * "properties.age.multipleOf". */
struct grammar_fault {
    char param[160];
    char text[256];
};

/* --- the vocabulary's side ---------------------------------------------- */

/* A trie over the bytes of all tokens of <v> (borrowed); once a model. NULL
 * without memory. */
struct vocab_index *vocab_index_new(const struct vocab *v);

/* Free; no grammar made with it is alive. NULL is fine. */
void vocab_index_free(struct vocab_index *ix);

/* --- grammars ----------------------------------------------------------- */

/* Any JSON object (response_format json_object). NULL without memory. */
struct grammar *grammar_json_object(const struct vocab_index *ix);

/* Values of <schema>, as compact or lightly spaced JSON (between values
 * nothing, a space, or a line break with at most 32 blanks), members in the
 * order of `properties`. What is written is always valid; not every valid
 * value can be written: numbers have at most 18 whole digits (more where a
 * bound does), 16 of fraction and exponents of two; an object that names
 * properties and is silent about others has no others; members without a name
 * come last; tuples end with their list.
 *
 * Keywords: type, enum, const, properties, required, additionalProperties,
 * items, prefixItems, minItems, maxItems, minLength, maxLength, pattern (see
 * schema_regex.h), format (date-time, date, time, duration, email, hostname,
 * ipv4, ipv6, uuid, uri, password), minimum, maximum, exclusiveMinimum,
 * exclusiveMaximum, anyOf, oneOf (when its branches show that they exclude each
 * other), allOf and keywords beside $ref or anyOf (when they can be merged
 * into one schema), $ref within the schema, $defs, definitions, nullable;
 * notes such as title, description, default and examples are passed over.
 *
 * ERR_REFUSED: a keyword that is not supported, <why> names it and its place;
 * ERR_SYNTAX: no sound schema, or no value is of it; ERR_FULL: too large;
 * ERR_NOMEM. */
enum err grammar_from_schema(const struct vocab_index *ix, const json_t *schema,
                             struct grammar_fault *why,
                             struct grammar **out) MUST_CHECK;

/* Which calls are allowed. */
struct grammar_tools {
    enum toolcall_style style;
    const json_t *tools; /* OpenAI's list of {type, function} */
    struct str only;     /* the one that must be called; empty = any */
    bool required;       /* at least one call, and no text before it */
    bool parallel;       /* more than one call */
};

/* Calls of <t>, in its style, each with arguments of its schema. When not
 * required, free text is allowed until a call begins: where its marker is
 * complete (as text or as a control token), or with TOOLCALL_LLAMA3 when the
 * text begins with {"name". A schema that is not supported counts as any object
 * unless the tool says strict. Errors as grammar_from_schema(), places begin
 * with the tool's index; ERR_NOT_FOUND: no tool is called <only>. */
enum err grammar_from_tools(const struct vocab_index *ix,
                            const struct grammar_tools *t,
                            struct grammar_fault *why,
                            struct grammar **out) MUST_CHECK;

/* One more reference; returns <g>. Any thread. */
struct grammar *grammar_ref(struct grammar *g);

/* Drop a reference; NULL is fine. Any thread. */
void grammar_unref(struct grammar *g);

/* --- states ------------------------------------------------------------- */

/* The beginning of <g>, which it keeps a reference of. NULL without memory. */
struct grammar_state *grammar_start(struct grammar *g);

/* A state of its own at the same place; NULL without memory. */
struct grammar_state *grammar_state_copy(const struct grammar_state *s);

/* Free; NULL is fine. */
void grammar_state_free(struct grammar_state *s);

/* Set in <mask> (one bit a token, n_vocab rounded up to 64) the tokens that
 * may come next, tokens that end a generation included when the text may end
 * here; all others are cleared. There is always one where the vocabulary has a
 * token for every byte; without memory there is none. */
void grammar_mask(const struct grammar_state *s, uint64_t *mask);

/* Go on with token <id>; false when it is not allowed (nothing changes). */
bool grammar_accept(struct grammar_state *s, int32_t id);

/* Whether the text may end here; whether it must. */
bool grammar_may_end(const struct grammar_state *s);
bool grammar_must_end(const struct grammar_state *s);

#endif
