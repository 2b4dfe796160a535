/* kind.h - Whether a reply is an event stream: what its head says of it, and
 * where that does not tell, its first bytes. */
#ifndef TG_RELAY_KIND_H
#define TG_RELAY_KIND_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;

/* Bytes of an event with an image. */
#define STREAM_MEDIA_MAX (32u * 1024 * 1024)

/* Whether the head of <x>'s reply says that it is one. */
bool stream_is_events(const struct exchange *x);

/* Whether the reply's type does not say that it is no event stream, though one
 * was asked for where text is streamed in no other way. */
bool stream_may_be_events(const struct exchange *x);

/* Whether an event stream may begin with <s>: a comment or a field. */
bool stream_begins_events(struct str s);

/* Most bytes of one event of <x>'s reply; 0: what sse.h says. */
size_t stream_event_bound(const struct exchange *x);

#endif
