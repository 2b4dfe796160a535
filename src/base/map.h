/* map.h - Hash maps: uthash with a hash that is seeded anew in each process,
 * so that nobody outside can choose colliding keys. Include this, never
 * <uthash.h>. Lists are those of <sys/queue.h>. */
#ifndef TG_BASE_MAP_H
#define TG_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* Seeded hash of <len> bytes at <p>; differs from process to process, so it
 * must never be stored. */
uint32_t map_hash(const void *p, size_t len);

/* Without memory HASH_ADD leaves the element out instead of exiting: check
 * MAP_ADDED() afterwards. */
#define HASH_NONFATAL_OOM               1
#define HASH_FUNCTION(p, len, hash_out) (hash_out) = map_hash((p), (len))
#include <uthash.h>

/* Whether the last HASH_ADD of <elt> (with handle `hh`) put it in. */
#define MAP_ADDED(elt) ((elt)->hh.tbl != NULL)

#endif
