/* prompt.h - Stage 3: what is asked for. Takes the body in where something in
 * it decides the way, finds the model and the few members we use, and checks
 * that the key may use that model. The bytes themselves are never changed
 * here; serve/ splices them for the target it chooses. */
#ifndef TG_PROMPT_PROMPT_H
#define TG_PROMPT_PROMPT_H

#include "exchange/stage.h"

/* Decide whether the body must be collected; waits for it if so. */
enum verdict prompt_run(struct exchange *x);

/* The body has come (WAKE_BODY), could not be taken in (WAKE_FAIL), or the
 * client has gone (WAKE_GONE). */
enum verdict prompt_resume(struct exchange *x, enum wake why);

#endif
