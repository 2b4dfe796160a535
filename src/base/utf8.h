/* utf8.h - UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing
 * above U+10FFFF. */
#ifndef TG_BASE_UTF8_H
#define TG_BASE_UTF8_H

#include "base/str.h"

/* Whether all of <s> is valid. */
bool utf8_is_valid(struct str s);

/* Length of the longest valid prefix of <s>. */
size_t utf8_valid_len(struct str s);

/* Length of <s> without an unfinished code point at its end: where a stream
 * may be cut. Looks at the last three bytes only; invalid bytes count as
 * finished. */
size_t utf8_whole_len(struct str s);

/* Length in bytes (1..4) of the code point that <s> begins with, stored in
 * <cp_out>; 0 when <s> is empty or begins with none. */
size_t utf8_next(struct str s, uint32_t *cp_out);

/* Write <cp> into <out> and return its length in bytes; 0 for surrogates and
 * beyond U+10FFFF. */
size_t utf8_put(uint32_t cp, char out[4]);

#endif
