/* blame.h - What the end of an attempt says of whom it asked: for its target,
 * the log and the counters. Decides nothing about what comes next. */
#ifndef TG_SERVE_BLAME_H
#define TG_SERVE_BLAME_H

#include "base/err.h"
#include "serve/retry.h"

struct attempt;

/* What the end of <a>, which is ENDED, is for those who look at its target. */
enum err blame_of(const struct attempt *a);

/* Judge the end of <a>, which is ENDED, and tell of it, once. */
struct retry_verdict blame_judge(struct attempt *a);

/* Nothing more comes of <a>: count it out at its target as ended with <e>,
 * unless that is no fault of the target. <text> may be NULL. Twice is harmless.
 */
void blame_leave(struct attempt *a, enum err e, const char *text);

#endif
