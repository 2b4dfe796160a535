/* jtext.h - Strings of JSON at the level of bytes, for the scanner and its
 * readers: validation, unescaping, fast skipping. Not for other folders. */
#ifndef TG_WIRE_JTEXT_H
#define TG_WIRE_JTEXT_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first byte from <p> that a string may not hold, or not as it stands:
 * quote, backslash, control, beyond ASCII; or <end>. */
const char *jtext_find_special(const char *p, const char *end);

/* Validate a string from the byte after its opening quote. NULL: fine, *p is
 * after the closing quote. Else a static reason, *p is at the bad byte. */
const char *jtext_check_string(const char **p, const char *end);

/* The byte after the closing quote of a string whose opening quote is before
 * <p>, or <end>. For validated text; never leaves it when it was not. */
const char *jtext_skip_string(const char *p, const char *end);

/* The end of the JSON value at <p>, or <end>; as jtext_skip_string(). */
const char *jtext_skip_value(const char *p, const char *end);

/* The first byte from <p> that is no JSON white space, or <end>. */
static inline const char *jtext_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* Bytes of the UTF-8 sequence at <p>, 0 when it is not one. */
unsigned jtext_utf8_len(const char *p, const char *end);

/* A string taken apart into what it means, a character at a time. */
struct junescape {
    const char *p, *end; /* between the quotes */
};

/* Start on <raw>, a validated string with its quotes. */
void junescape_init(struct junescape *u, struct str raw);

/* Write the next character's UTF-8 to <to> and tell its length, 0 at the end.
 * Half of a surrogate pair comes as its three bytes of generalized UTF-8 when
 * <keep_half>, so that no two differ unseen, else as U+FFFD. */
unsigned junescape_next(struct junescape *u, char to[4], bool keep_half);

/* Write the UTF-8 of <cp> (below 0x110000) to <to>; its length. */
unsigned jtext_put_utf8(uint32_t cp, char to[4]);

#endif
