/* control_cache.h - Admin commands about stored replies. Only what the daemon
 * that has them open can do; files that it has not open are tollctl's. */
#ifndef TG_DAEMON_CONTROL_CACHE_H
#define TG_DAEMON_CONTROL_CACHE_H

#include "daemon/control.h"

/* "cache stats": see status_cache_json(). */
json_t *control_cache_stats(struct daemon *d, const json_t *args,
                            struct buf *why);

/* "cache purge", {"key": ID, "model": M} or of all: delete what was stored for
 * that key and under that model, and whatever was asked for so far. Answers
 * with on and directory as above, and what was deleted: entries, bytes. */
json_t *control_cache_purge(struct daemon *d, const json_t *args,
                            struct buf *why);

/* "cache verify": read every reply and prove it; damaged ones are deleted.
 * Answers with on and directory, and how many were read and were damaged. */
json_t *control_cache_verify(struct daemon *d, const json_t *args,
                             struct buf *why);

#endif
