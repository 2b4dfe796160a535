/* status_retry.h - What attempts after the first are made for, for metrics. */
#ifndef TG_DAEMON_STATUS_RETRY_H
#define TG_DAEMON_STATUS_RETRY_H

#include "base/buf.h"
#include "base/err.h"

struct daemon;

/* Append the counts of attempts after the first, by why the one before ended,
 * and what their budget has at hand. Any thread. ERR_NOMEM. */
enum err status_retry_metrics(struct daemon *d, struct buf *out) MUST_CHECK;

#endif
