/* status.h - The process's own numbers, for /metrics and the control socket. */
#ifndef TG_DAEMON_STATUS_H
#define TG_DAEMON_STATUS_H

#include "base/buf.h"
#include "base/err.h"

struct conf;
struct daemon;

/* Append all metrics as Prometheus text; <c> is a snapshot that the caller
 * holds. Any thread. ERR_NOMEM. */
enum err status_metrics(struct daemon *d, const struct conf *c,
                        struct buf *out) MUST_CHECK;

/* Resident memory of the process in bytes; 0 when the system does not tell. */
uint64_t status_resident_bytes(void);

#endif
