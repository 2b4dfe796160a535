/* status_target.h - The numbers of targets for the metrics. */
#ifndef TG_DAEMON_STATUS_TARGET_H
#define TG_DAEMON_STATUS_TARGET_H

#include "base/buf.h"
#include "base/err.h"

struct conf;
struct daemon;

/* Append what is counted of each target, as Prometheus text. <c> is the
 * configuration in use. ERR_NOMEM past the cap of <out>. */
enum err status_target_metrics(struct daemon *d, const struct conf *c,
                               struct buf *out) MUST_CHECK;

#endif
