/* ping.h - What keeps a silent stream alive, in a shape that its clients
 * read. */
#ifndef TG_RELAY_PING_H
#define TG_RELAY_PING_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct exchange;

/* An empty chunk of <x>'s chat like the one with <data>, in the arena; empty
 * where <data> is none of a chat, or without memory. */
struct str ping_shape(struct exchange *x, struct str data);

/* Append a ping for <x>; <shape> is what ping_shape() gave, or empty.
 * ERR_NOMEM. */
enum err ping_put(const struct exchange *x, struct str shape,
                  struct buf *out) MUST_CHECK;

#endif
