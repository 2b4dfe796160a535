/* fold.h - A complete event stream as the plain reply that the same API would
 * have given: the aggregator of the response cache. Text, numbers and members
 * that nobody here knows keep their bytes. */
#ifndef TG_WIRE_FOLD_H
#define TG_WIRE_FOLD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/endpoint.h"
#include "wire/usage.h"

/* Append to <json_out> the plain reply of <kind> that <sse> amounts to: chat,
 * completions, responses and messages have one. <sse> is the stream as a client
 * is sent it, from its first byte to its last. <told> is the usage that is
 * known from elsewhere, for a stream of chat or completions that says none;
 * NULL or not `present`: none. Memory is bounded by a small multiple of the
 * stream. ERR_NOT_FOUND: it has no plain form (an error among its events, no
 * end, pieces that do not fit together, another endpoint); ERR_NOMEM. On
 * failure <json_out> is as before. */
enum err fold_events(enum endpoint kind, struct str sse,
                     const struct usage *told, struct buf *json_out) MUST_CHECK;

#endif
