/* settle.h - Stage 7: metered, billed, logged, exactly once for every exchange
 * that got a head, however it ended. */
#ifndef TG_SETTLE_SETTLE_H
#define TG_SETTLE_SETTLE_H

#include "exchange/stage.h"

/* Write the usage row, the access line and the metrics of <x>. The row is in
 * the journal before the loop flushes the last bytes to the client. */
enum verdict settle_run(struct exchange *x);

#endif
