/* admit.h - Stage 2: who asks. The key and how often it asks are judged from
 * the head alone, before any of the body is taken in, so that strangers and
 * callers past their limits cost no memory. */
#ifndef TG_ADMIT_ADMIT_H
#define TG_ADMIT_ADMIT_H

#include "exchange/stage.h"

/* Find the caller's key; 401 when there is no valid one, 429 when it has
 * reached a limit, 503 when usage cannot be recorded. Never waits. */
enum verdict admit_run(struct exchange *x);

#endif
