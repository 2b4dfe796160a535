/* recall.h - Stage 4: whether something stored may answer. */
#ifndef TG_RECALL_RECALL_H
#define TG_RECALL_RECALL_H

#include "exchange/stage.h"

/* Nothing is stored yet: every request goes on to serve. */
enum verdict recall_run(struct exchange *x);

#endif
