/* control_args.h - Arguments of admin commands, from JSON to typed values, and
 * the values that all answers are made of. */
#ifndef TG_DAEMON_CONTROL_ARGS_H
#define TG_DAEMON_CONTROL_ARGS_H

#include "account/key.h"
#include "base/arena.h"
#include "base/buf.h"

#include <jansson.h>

/* Append a formatted sentence to <why>; what does not fit is cut. Returns
 * NULL, so that a command can `return control_fail(...)`. */
json_t *control_fail(struct buf *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* <s> as a JSON string; bytes that are no UTF-8, which a model's name that was
 * cut may end with, become '?'. New reference. */
json_t *json_text(struct str s);

/* <wall_ms> as RFC 3339 in UTC; 0 is null. New reference. */
json_t *json_time(int64_t wall_ms);

/* The string member <name>, or the empty slice when absent; borrowed. */
struct str args_str(const json_t *args, const char *name);

/* The string member <name> or, with a sentence, false when it is missing. */
bool args_need(const json_t *args, const char *name, struct str *out,
               struct buf *why);

/* Parse a span like "90s", "30d", "24h", "15m", "250ms" into ms. False when it
 * is none or too long. */
bool args_span_ms(struct str text, int64_t *ms_out);

/* Parse a point in time into Unix ms: RFC 3339 ("2026-11-21T10:00:00Z"; a
 * blank for the T, as tollctl prints it), a day ("2026-11-21"), or a span,
 * which counts back from <now_ms> when <back>, else forward. */
bool args_time_ms(struct str text, int64_t now_ms, bool back, int64_t *ms_out);

/* Read the members that describe a key or team into <spec>, with lists from
 * <a>; <fields_out> tells which were given (enum key_field). False with a
 * sentence when one is bad or unknown. <skip> (may be NULL) names one member
 * that is the command's own. */
bool args_key_spec(const json_t *args, const char *skip, struct arena *a,
                   struct key_spec *spec, unsigned *fields_out,
                   struct buf *why);

#endif
