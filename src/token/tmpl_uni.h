/* tmpl_uni.h - What a chat template needs to know of Unicode: characters,
 * Python's white space, case. Bytes that are no UTF-8 count as characters that
 * have no case. */
#ifndef TG_TOKEN_TMPL_UNI_H
#define TG_TOKEN_TMPL_UNI_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Length in bytes of the character at the beginning of <s> (not empty), its
 * code point in <cp_out>; 1 and UINT32_MAX where there is none. */
size_t tmpl_uni_next(struct str s, uint32_t *cp_out);

/* Length in bytes of the last character of <s>, likewise. */
size_t tmpl_uni_last(struct str s, uint32_t *cp_out);

/* What str.isspace() of Python says of <cp>. */
bool tmpl_uni_space(uint32_t cp);

/* Bytes of white space that <s> begins with, and ends with. */
size_t tmpl_uni_spaces(struct str s);
size_t tmpl_uni_spaces_end(struct str s);

/* Case. */
uint32_t tmpl_uni_upper(uint32_t cp);
uint32_t tmpl_uni_lower(uint32_t cp);
bool tmpl_uni_is_upper(uint32_t cp);
bool tmpl_uni_is_lower(uint32_t cp);

/* Letters, and decimal digits. */
bool tmpl_uni_is_alpha(uint32_t cp);
bool tmpl_uni_is_digit(uint32_t cp);

#endif
