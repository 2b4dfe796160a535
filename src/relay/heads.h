/* heads.h - Heads of replies: the upstream's fields plus our own. */
#ifndef TG_RELAY_HEADS_H
#define TG_RELAY_HEADS_H

#include "base/err.h"
#include "exchange/sink.h"

struct exchange;

/* The head for the reply that <x>->work committed, with <length> body bytes
 * (-1 = unknown). Fields of <out> live in the arena. ERR_NOMEM. */
enum err heads_relayed(struct exchange *x, int64_t length,
                       struct reply_head *out) MUST_CHECK;

/* Add x-request-id and its kin to a head of our own making. ERR_NOMEM. */
enum err heads_own(struct exchange *x, struct reply_head *out) MUST_CHECK;

/* The head of the error reply that x->fail asks for, <length> body bytes. */
enum err heads_error(struct exchange *x, int64_t length,
                     struct reply_head *out) MUST_CHECK;

#endif
