/* ctl_text.h - Values of answers as people read them. */
#ifndef TG_CTL_CTL_TEXT_H
#define TG_CTL_CTL_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* Bytes that the text of a table's cell may have. */
#define CELL_BYTES 256

/* <v> as people read it, into <out> of <room> bytes: grouped digits, lists
 * joined, times cut to seconds, nothing that a terminal would obey. */
void ctl_text(const json_t *v, char *out, size_t room);

/* Budget <b> without its use: "500,000 tokens/day", "$25.00/month (soft)". */
void ctl_text_budget(const json_t *b, char *out, size_t room);

/* What <member> of budget <b> says: "$9.41", "12,345"; "-" for what was not
 * told. */
void ctl_text_amount(const json_t *b, const char *member, char *out,
                     size_t room);

/* How much of budget <b> is spent, rounded down: 100% is reached, not near. */
void ctl_text_percent(const json_t *b, char *out, size_t room);

#endif
