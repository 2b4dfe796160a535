/* control_prefix.h - Admin commands about the store of prefixes. Only what the
 * daemon alone can tell or do: files that it has not open are tollctl's. */
#ifndef TG_DAEMON_CONTROL_PREFIX_H
#define TG_DAEMON_CONTROL_PREFIX_H

#include "daemon/control.h"

/* "prefix stats": the directory of the store, its bound, who shares it, and a
 * row a model: see status_prefix_json(). */
json_t *control_prefix_stats(struct daemon *d, const json_t *args,
                             struct buf *why);

/* "prefix purge", {"model": M} or of all models: forget their prefixes, in
 * memory and on disk. Answers as "prefix stats" does, with the rows of those
 * models and the numbers of before. */
json_t *control_prefix_purge(struct daemon *d, const json_t *args,
                             struct buf *why);

#endif
