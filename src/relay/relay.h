/* relay.h - Stage 6: the reply on its way to the client. From here on nothing
 * is tried again: what was sent is sent. */
#ifndef TG_RELAY_RELAY_H
#define TG_RELAY_RELAY_H

#include "exchange/stage.h"

/* Send what is decided (an error, a local or a collected reply), or take over
 * the producer of a stream and wait for its end. */
enum verdict relay_run(struct exchange *x);

/* WAKE_DRAINED, WAKE_END, WAKE_GONE, WAKE_FAIL, WAKE_DRAIN. */
enum verdict relay_resume(struct exchange *x, enum wake why);

#endif
