/* rewrite.h - The few changes a reply may need: the model's name where a
 * route renamed it, and `"usage":null` where it came of our asking. */
#ifndef TG_RELAY_REWRITE_H
#define TG_RELAY_REWRITE_H

#include "base/err.h"
#include "base/str.h"
#include "wire/endpoint.h"

#include <stdbool.h>

struct buf;
struct jscan;
struct sse_event;

/* What to change; zeroed = nothing. */
struct rewrite {
    struct str model; /* a JSON string, borrowed: the name every model gets;
                       * empty: they keep theirs */
    bool usage_null;  /* a chunk of chat loses its `"usage":null` */
};

/* Change the scanned reply or event data <scan> as <how> says. ERR_OK: the new
 * text is in <out> (initialised with a cap); ERR_NOT_FOUND: there is nothing
 * to change, use it as it is; ERR_NOMEM. */
enum err rewrite_json(const struct rewrite *how, const struct jscan *scan,
                      struct buf *out) MUST_CHECK;

/* Append <ev> with <data> for its data. Every other byte of it stays, unless
 * the data came in more than one line: those are written anew. ERR_NOMEM. */
enum err rewrite_put_event(const struct sse_event *ev, struct str data,
                           struct buf *out) MUST_CHECK;

/* Bytes of generated text in the data of an event of a <kind> of stream: the
 * string values of the members, at any depth, that carry deltas in its dialect.
 * <data> need not be JSON. An estimate, for streams that never told their
 * usage. */
size_t rewrite_text_bytes(struct str data, enum endpoint_end kind);

/* Tokens of that text: 0 where there is none, 1 where it is as short as one
 * may be, else about the most it can have: a run of letters a third of its
 * bytes, any other byte but blanks one each. */
size_t rewrite_text_tokens(struct str data, enum endpoint_end kind);

#endif
