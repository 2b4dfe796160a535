/* status_prefix.h - What the store of prefixes holds, finds and saves, a model
 * at a time: for /metrics and for tollctl. */
#ifndef TG_DAEMON_STATUS_PREFIX_H
#define TG_DAEMON_STATUS_PREFIX_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

struct engine_view;

/* Append the metrics of <n> models, zeros for those without a store.
 * ERR_NOMEM. */
enum err status_prefix_metrics(const struct engine_view *views, unsigned n,
                               struct buf *out) MUST_CHECK;

/* The store of <v> as a new object: on, reason (a sentence why not, or null),
 * namespace (or null), and each number of struct kvswap_stats, with the ratios
 * and rates that people ask for; null where nothing was counted yet. */
json_t *status_prefix_json(const struct engine_view *v);

#endif
