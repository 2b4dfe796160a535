/* attempt.h - One try at one upstream: starts the transfer, watches its head,
 * and decides whether the reply is collected, streamed or refused. The seat of
 * retries: until the head is committed to the client nothing has been said. */
#ifndef TG_SERVE_ATTEMPT_H
#define TG_SERVE_ATTEMPT_H

#include "base/err.h"
#include "serve/route.h"

/* Start an attempt of <x> at <c>; its outcome comes as WAKE_HEAD (a reply is
 * ready for relay) or WAKE_FAIL (x->fail tells). ERR_NOMEM, ERR_OVERLOADED
 * (too many in flight there): nothing was started. */
enum err attempt_start(struct exchange *x, const struct choice *c) MUST_CHECK;

/* A reply flows and nothing will be tried again: let go of the request, when
 * all of it is sent. */
void attempt_drop_request(struct exchange *x);

/* Stop the attempt under way, if any. Not from inside its own callbacks. */
void attempt_cancel(struct exchange *x);

#endif
