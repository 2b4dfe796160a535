/* cache.h - What the process keeps of replies: those that are stored, those
 * that are being made, and the secret that their keys are made with. */
#ifndef TG_RECALL_CACHE_H
#define TG_RECALL_CACHE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/key_file.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct cache_skip;
struct cache_store;
struct canon_skip;
struct conf;
struct flights;

/* One a process; any thread. */
struct cache {
    struct cache_store *store; /* owned; NULL: replies are not stored */
    struct flights *flights;   /* owned */
    uint8_t secret[KEY_FILE_BYTES];
    struct digest weights; /* of the engine's models */
    unsigned n_workers;
    pthread_mutex_t skips_lock;         /* who adds to <skips>; no other is
                                         * taken while it is held */
    _Atomic(struct cache_skip *) skips; /* owned: one for each list that
                                         * cache.ignore has been */
};

/* Open what <conf> asks for, for workers with an index below <n_workers>. A
 * store that cannot be opened is logged, and then replies are not stored.
 * ERR_NOMEM; ERR_IO or ERR_CORRUPT with a sentence appended to <why>: there is
 * no secret. */
enum err cache_open(const struct conf *conf, unsigned n_workers,
                    struct cache **out, struct buf *why) MUST_CHECK;

/* What <conf> has left out of bodies, parsed; lives as long as <c>. NULL
 * without memory, or where the list is none. */
const struct canon_skip *cache_skip(struct cache *c, const struct conf *conf);

/* Write what is to be stored and close; all workers have ended. NULL is
 * fine. */
void cache_close(struct cache *c);

#endif
