/* serve.h - Stage 5: route, then produce. Everything up to the first byte of
 * the reply is decided here. */
#ifndef TG_SERVE_SERVE_H
#define TG_SERVE_SERVE_H

#include "exchange/stage.h"

/* Answer locally or start an attempt; waits for its head. */
enum verdict serve_run(struct exchange *x);

/* WAKE_HEAD: to relay. WAKE_FAIL, WAKE_GONE, WAKE_DRAIN: the attempt is
 * stopped and the failure goes to relay. */
enum verdict serve_resume(struct exchange *x, enum wake why);

#endif
