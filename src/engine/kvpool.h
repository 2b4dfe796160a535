/* kvpool.h - Pages of keys and values: who counts on each, which are free, and
 * which are cached (nobody uses them, but the prefix index knows them) in the
 * order they are to be given up. Knows nothing of what stands in them. */
#ifndef TG_ENGINE_KVPOOL_H
#define TG_ENGINE_KVPOOL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* One page. */
struct kvpage {
    uint32_t refs;      /* sequences that hold it */
    bool indexed;       /* the prefix index has it */
    int32_t prev, next; /* free: next alone; cached: older and newer */
};

/* The pages 0 .. n_pages-1, of each exactly one is true: held, cached, free.
 * Fields are readable, the pool's to write. */
struct kvpool {
    struct kvpage *pages; /* owned */
    unsigned n_pages;
    unsigned n_free;
    unsigned n_cached;
    int32_t free_head;      /* -1 = none */
    int32_t oldest, newest; /* cached; -1 = none */
};

/* A pool of <n_pages> >= 1 free pages. ERR_NOMEM. */
enum err kvpool_init(struct kvpool *p, unsigned n_pages) MUST_CHECK;

/* Free the table of pages. */
void kvpool_fini(struct kvpool *p);

/* A free page with one reference, or -1 when none is free. */
int32_t kvpool_take(struct kvpool *p);

/* One more reference on <page>, which is held or cached. */
void kvpool_ref(struct kvpool *p, int32_t page);

/* Drop a reference; with the last one the page is cached as the newest when it
 * is indexed, else free. */
void kvpool_unref(struct kvpool *p, int32_t page);

/* Say that the index has <page>, which is held. */
void kvpool_mark(struct kvpool *p, int32_t page);

/* Say that the index has <page> no more; a cached one becomes free. */
void kvpool_unmark(struct kvpool *p, int32_t page);

/* Whether <page> may be written: one holder, not indexed. */
bool kvpool_is_private(const struct kvpool *p, int32_t page);

#endif
