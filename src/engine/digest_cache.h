/* digest_cache.h - Digests of weights, so that gigabytes need not be read at
 * every start: a small file of rows, found by what tells that a model's files
 * are still the ones that were digested. It is a cache: whatever is wrong with
 * it, digests are computed.
 *
 * Any thread; programs of one host may share a file. */
#ifndef TG_ENGINE_DIGEST_CACHE_H
#define TG_ENGINE_DIGEST_CACHE_H

#include "base/buf.h"
#include "base/digest.h"
#include "engine/model.h"

/* Digests that are kept; the one longest unused makes room. */
#define DIGEST_CACHE_ROWS 64

/* A row. */
struct digest_row {
    struct digest files;   /* of what identifies the files */
    struct digest weights; /* what model_digest() makes of them */
};

/* Rows, the latest used first. */
struct digest_rows {
    struct digest_row v[DIGEST_CACHE_ROWS];
    unsigned n;
};

/* Fill m->digest from the file in <dir>. ERR_NOT_FOUND: no row is of these
 * files (same device, inode, size, times, and config.json), or they changed
 * since <m> was opened, or no row can be read. */
enum err digest_cache_get(const char *dir, struct model *m) MUST_CHECK;

/* Keep m->digest, which is known, in the file in <dir> (made 0700 when it is
 * missing). ERR_REFUSED: it must not be kept, for the files are in memory,
 * have changed, or were written within two seconds before they were opened, so
 * that a further change might not show in their times. ERR_IO. */
enum err digest_cache_put(const char *dir, const struct model *m) MUST_CHECK;

/* Fill m->digest: from the file in <dir>, or by model_digest(), and then keep
 * it, with a line in the log where that fails. Errors as model_digest(). */
enum err digest_cache_fill(const char *dir, struct model *m) MUST_CHECK;

/* Read the text of a file. ERR_CORRUPT: it is not whole. */
enum err digest_cache_parse(struct str text,
                            struct digest_rows *out) MUST_CHECK;

/* Append the text of a file. ERR_NOMEM. */
enum err digest_cache_write(const struct digest_rows *rows,
                            struct buf *out) MUST_CHECK;

#endif
