/* limits.h - Requests a minute, tokens a minute and requests at once, of the
 * caller's key and of its team. The first and the last are judged from the head
 * alone; tokens when the body is in and tells its size. */
#ifndef TG_ADMIT_LIMITS_H
#define TG_ADMIT_LIMITS_H

#include "exchange/stage.h"

struct exchange;
struct key;

/* Take a place for <x>, whose caller is <key>, and count it; 429 when a limit
 * is reached. What tollgate answers itself is not counted. */
enum verdict limits_enter(struct exchange *x, const struct key *key);

/* Stage: charge the tokens that <x> may use; 429 when they do not fit. Never
 * waits. */
enum verdict hold_run(struct exchange *x);

#endif
