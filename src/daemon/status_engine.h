/* status_engine.h - What the engine's models are doing, for /metrics and for
 * tollctl. */
#ifndef TG_DAEMON_STATUS_ENGINE_H
#define TG_DAEMON_STATUS_ENGINE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

struct daemon;
struct engine_view;

/* Append the engine's metrics, nothing without engine models. ERR_NOMEM. */
enum err status_engine_metrics(struct daemon *d, struct buf *out) MUST_CHECK;

/* <v> as a new object: state, percent, reason, device, context_length, slots,
 * queue, running, tokens_per_second, weight_bytes, kv_bytes, kv_blocks (all,
 * _used, _cached), fingerprint, prefix (see status_prefix_json()). */
json_t *status_engine_json(const struct engine_view *v);

/* A new array of such objects, each with its name. */
json_t *status_engine_list(struct daemon *d);

#endif
