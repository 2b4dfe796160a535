/* status_cache.h - What is kept of replies, and what that was good for: for
 * /metrics and for tollctl. */
#ifndef TG_DAEMON_STATUS_CACHE_H
#define TG_DAEMON_STATUS_CACHE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

struct daemon;

/* Append the metrics of the store of replies, zeros where there is none.
 * ERR_NOMEM. */
enum err status_cache_metrics(struct daemon *d, struct buf *out) MUST_CHECK;

/* The store as a new object: on (replies are kept), open (its file can be
 * used), directory, sizes and each number of struct cache_stats; requests that
 * it answered, and what that saved. */
json_t *status_cache_json(struct daemon *d);

#endif
