/* stages.h - The table of stages; see stages.c. */
#ifndef TG_DAEMON_STAGES_H
#define TG_DAEMON_STAGES_H

#include "exchange/stage.h"

/* What runs in each stage and what may follow it. */
extern const struct stage_row stage_table[STAGE_COUNT];

#endif
