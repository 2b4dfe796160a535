/* canon_text.h - The canonical form of a number and of a string, and lines
 * that are left out by their word. For canon.c alone. */
#ifndef TG_WIRE_CANON_TEXT_H
#define TG_WIRE_CANON_TEXT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct jmember;

/* Append the number <raw>, validated, by its value: digits that neither begin
 * nor end with 0, then what power of ten they count, as "7e-1"; up to two zeros
 * are written out ("1", "20", "300", "4e3"). A power of more than 17 digits
 * stays as it was written. ERR_NOMEM. */
enum err canon_put_number(struct str raw, struct buf *out) MUST_CHECK;

/* Append the string <raw>, validated and with its quotes: what must be escaped
 * is, in the shortest way; everything else is itself. ERR_BAD_JSON: it has no
 * quotes; ERR_NOMEM. */
enum err canon_put_string(struct str raw, struct buf *out) MUST_CHECK;

/* Whether <v> is a string of one line that begins with <words>, which are not
 * within a longer word, and has at most CANON_LINE bytes, or an object whose
 * `text` is such a line. */
bool canon_is_line(const struct jmember *v, struct str words);

#endif
