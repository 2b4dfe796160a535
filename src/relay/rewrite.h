/* rewrite.h - The few changes a reply may need: the model's name where a
 * route renamed it. */
#ifndef TG_RELAY_REWRITE_H
#define TG_RELAY_REWRITE_H

#include "base/err.h"
#include "base/str.h"

struct buf;
struct exchange;
struct jscan;

/* Give every model name in the scanned reply or event data <scan> the name the
 * client used. ERR_OK: the new text is in <out> (initialised with a cap);
 * ERR_NOT_FOUND: it names no model, use it as it is; ERR_NOMEM. */
enum err rewrite_model(struct exchange *x, const struct jscan *scan,
                       struct buf *out) MUST_CHECK;

/* Bytes of generated text in event data: the string values of the members that
 * carry deltas in the dialects we know. An estimate, for streams that never
 * told their usage. */
size_t rewrite_text_bytes(struct str data);

#endif
