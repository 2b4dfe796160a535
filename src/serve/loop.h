/* loop.h - The attempts of one request: at whom they are made, one after the
 * other, until one is answered or none is left to make. All of them share one
 * deadline and come before the first byte to the client.
 *
 *                 +-----------------------------------------------+
 *                 v                                               |
 *   choose --> HOLD --> enter --> TRY ---> judge ---> PAUSE ------+
 *              (budget)   |        |         |
 *                         |        |         +--> give up: the last end
 *                         |        +--> a good reply: relay
 *                         +--> shut or full: choose again
 */
#ifndef TG_SERVE_LOOP_H
#define TG_SERVE_LOOP_H

#include "exchange/stage.h"
#include "serve/route.h"

struct exchange;

/* Begin to serve <x>. Where nobody can be asked it has failed. */
enum verdict loop_begin(struct exchange *x);

/* Go on. The reasons are those of serve_resume(). */
enum verdict loop_resume(struct exchange *x, enum wake why);

#endif
