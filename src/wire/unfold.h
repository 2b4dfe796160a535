/* unfold.h - A plain reply as the event stream that the same API would have
 * given: the other way of fold.h. */
#ifndef TG_WIRE_UNFOLD_H
#define TG_WIRE_UNFOLD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/endpoint.h"

#include <stdbool.h>

/* Append to <sse_out> the stream of <kind> that gives the reply <json> event by
 * event: chat, completions, responses and messages have one. Text comes in
 * pieces of about a KiB. <include_usage>: as the client of chat or completions
 * asked in stream_options. ERR_NOT_FOUND: it cannot be told in events (not
 * JSON, an error, not finished, another endpoint); ERR_NOMEM. On failure
 * <sse_out> is as before. */
enum err unfold_reply(enum endpoint kind, struct str json, bool include_usage,
                      struct buf *sse_out) MUST_CHECK;

/* Cut the next event, its blank line included, off <rest>, a stream of
 * unfold_reply(). False at the end. */
bool unfold_next(struct str *rest, struct str *event_out);

#endif
