/* recall.h - Stage 4: whether something stored may answer. */
#ifndef TG_RECALL_RECALL_H
#define TG_RECALL_RECALL_H

#include "exchange/stage.h"

/* Answer with what is kept, follow a call that is under way, or go on to serve
 * with a call of its own. */
enum verdict recall_run(struct exchange *x);

/* WAKE_TAPE, WAKE_QUOTA: what it waits for has come further. */
enum verdict recall_resume(struct exchange *x, enum wake why);

#endif
