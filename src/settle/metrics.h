/* metrics.h - The numbers of all workers as Prometheus text. */
#ifndef TG_SETTLE_METRICS_H
#define TG_SETTLE_METRICS_H

#include "base/buf.h"
#include "base/err.h"

struct stats;

/* Append counters, gauges and histograms, summed over the <n> workers' stats,
 * in the text format 0.0.4. Any thread. ERR_NOMEM past the cap of <out>. */
enum err metrics_put(struct stats *const *stats, unsigned n,
                     struct buf *out) MUST_CHECK;

/* Append one gauge or counter of the caller's: `tollgate_<name> <value>` with
 * its help and type lines. */
enum err metrics_put_one(struct buf *out, const char *name, const char *type,
                         const char *help, uint64_t value) MUST_CHECK;

#endif
