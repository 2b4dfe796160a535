/* schema_regex.h - `pattern` and `format`: regular expressions as ECMA-262
 * writes them, over code points, as parts of a program. Supported: literals,
 * classes with ranges and \d \w \s and their opposites, dot, groups (of any
 * kind but look-around), alternatives, quantifiers (lazy ones, too), escapes,
 * ^ at the beginning and $ at the end of a branch of the whole. Without these
 * anchors a pattern matches anywhere. All else is refused. */
#ifndef TG_TOKEN_SCHEMA_REGEX_H
#define TG_TOKEN_SCHEMA_REGEX_H

#include "token/automaton.h"

/* The texts that <pattern> matches, of min_max[0] .. min_max[1] characters, as
 * they stand within the quotes of a JSON string, then <next>; AUTO_FAIL in
 * <out> when there are none. ERR_REFUSED, ERR_SYNTAX, ERR_FULL, ERR_NOMEM with
 * a sentence in <why> (static). */
enum err regex_build(struct automaton *a, struct str pattern,
                     const uint32_t min_max[2], uint32_t next, const char **why,
                     uint32_t *out) MUST_CHECK;

/* The pattern that <format> stands for, in <out>; empty when it says nothing
 * about text. False for formats that are not supported. */
bool regex_format(struct str format, struct str *out);

#endif
