/* cache_dir.h - The files of stored replies, seen from outside: by a tool,
 * while no daemon has them open. What might end a process, a damaged file, is
 * only looked at by a child, as the owner of the files. */
#ifndef TG_STORE_CACHE_DIR_H
#define TG_STORE_CACHE_DIR_H

#include "store/cache_store.h"

/* What stands there. */
struct cache_dir_stats {
    uint64_t entries;
    uint64_t bytes;      /* of the pages in use */
    uint64_t file_bytes; /* of the file, 0: there is none */
};

/* Count; nothing is changed. A directory that does not exist has nothing. On
 * failure a sentence is appended to <why>, here and below: ERR_CORRUPT, ERR_IO.
 */
enum err cache_dir_stats(const char *dir, struct cache_dir_stats *out,
                         struct buf *why) MUST_CHECK;

/* As cache_store_purge(). ERR_CORRUPT: the file was damaged as a whole and is
 * begun anew, so that nothing is left either. */
enum err cache_dir_purge(const char *dir, const struct cache_purge *what,
                         struct cache_purged *out, struct buf *why) MUST_CHECK;

/* As cache_store_verify(). ERR_CORRUPT as above. */
enum err cache_dir_verify(const char *dir, struct cache_verified *out,
                          struct buf *why) MUST_CHECK;

#endif
