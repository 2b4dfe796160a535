/* affinity.h - Which prompts belong together: those that begin alike, so that
 * the target that has read one has most of the next in its prefix cache. Reads
 * the request as it was sent; makes no choice. Pure; any thread. */
#ifndef TG_SERVE_AFFINITY_H
#define TG_SERVE_AFFINITY_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct jscan;

/* The key for pick_target() of the prompt in <scan>, a request of any dialect
 * that was scanned for jscan_request, or NULL, for <model>. It is of the first
 * blocks of the prompt: what comes before the messages (`system`,
 * `instructions`), then the messages up to the first one of the user. Later
 * ones do not count, so that a conversation keeps its key as it goes on, short
 * as its beginning may be. False: there is no prompt; <key_out> is untouched
 * then. */
bool affinity_key(const struct jscan *scan, struct str model,
                  uint64_t *key_out);

#endif
