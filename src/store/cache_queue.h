/* cache_queue.h - What waits for the writer of the store of replies: replies,
 * in the order in which they came and found by key until they are on disk;
 * entries to be deleted; purges. Bounded in bytes. Any thread, but what is the
 * writer's. */
#ifndef TG_STORE_CACHE_QUEUE_H
#define TG_STORE_CACHE_QUEUE_H

#include "store/cache_priv.h"

#include <pthread.h>

/* Buckets of replies by their key. */
#define CACHE_BUCKETS 1024

/* Entries that wait to be deleted; more are deleted when they are met again. */
#define CACHE_BAD_MAX 1024

/* Most replies of one transaction. */
#define CACHE_BATCH_MAX 512

/* Purges that are remembered; a reply asked for before more than these is not
 * kept. */
#define CACHE_PURGES 64

/* What the writer is asked to do, and waited for. */
struct cache_job {
    enum err (*fn)(struct cache_db *d, struct cache_job *j);
    const struct cache_purge *purge;
    struct cache_purged *purged;
    const struct cache_proof *proof;
    enum err result;
    bool is_done;
    struct cache_job *next;
};

/* A purge that was. */
struct cache_past {
    uint64_t epoch; /* what it made of it */
    bool is_any;    /* all */
    struct digest what;
    uint8_t fields; /* bits: key id, team, model are given */
};

/* The queue. */
struct cache_queue {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the writer: there is some, or the end */
    pthread_cond_t state; /* for those who wait for it */
    uint64_t max_bytes;
    uint64_t bytes;
    _Atomic unsigned n_pending; /* replies in the buckets */
    struct cache_put *first, *last;
    struct cache_put *buckets[CACHE_BUCKETS];
    struct cache_bad bad[CACHE_BAD_MAX];
    unsigned n_bad;
    struct cache_key drops[CACHE_BAD_MAX];
    unsigned n_drops;
    struct cache_job *jobs;
    struct cache_past past[CACHE_PURGES];
    _Atomic uint64_t epoch;
    bool is_tried; /* the file was opened, or cannot be */
    bool is_over;
};

/* What the writer takes at once. */
struct cache_take {
    struct cache_put *puts[CACHE_BATCH_MAX];
    unsigned n;
    struct cache_bad bad[64];
    unsigned n_bad;
    struct cache_key drops[64];
    unsigned n_drops;
    struct cache_job *job;
    bool is_over;
};

/* Set up, take down. Whatever waits is freed. */
void cache_queue_init(struct cache_queue *q, uint64_t max_bytes);
void cache_queue_fini(struct cache_queue *q);

/* Add <p>, a reference of which moves. ERR_FULL; ERR_REFUSED: a purge meant
 * it. */
enum err cache_queue_put(struct cache_queue *q, struct cache_put *p) MUST_CHECK;

/* The newest reply to <key> that waits and is not over, with a reference, or
 * NULL. */
struct cache_put *cache_queue_find(struct cache_queue *q,
                                   const struct cache_key *key,
                                   enum cache_how how, int64_t now_wall_ms);

/* The reply <id> to exactly <key>, if it waits, with a reference. */
struct cache_put *cache_queue_find_id(struct cache_queue *q,
                                      const struct cache_key *key, uint64_t id);

/* Have entries deleted, if there is room for the wish. */
void cache_queue_bad(struct cache_queue *q, const struct cache_bad *bad);
void cache_queue_drop(struct cache_queue *q, const struct cache_key *key);

/* Note a purge: replies that wait are found no more and not stored. */
void cache_queue_purge(struct cache_queue *q, const struct cache_purge *what);

/* Have the writer do <j>, and wait. */
void cache_queue_run(struct cache_queue *q, struct cache_job *j);

/* Wait until the file was opened, or cannot be, for <wait_ms>. */
void cache_queue_wait(struct cache_queue *q, uint32_t wait_ms);

/* Writer: wait for something to do, <wait_ms> at most, and take it: replies of
 * <max_pages> together at most, but for one that is larger. */
void cache_queue_take(struct cache_queue *q, uint64_t max_pages,
                      uint32_t wait_ms, struct cache_take *out);

/* Writer: what was taken is on disk, or given up. */
void cache_queue_done(struct cache_queue *q, struct cache_take *t);

/* Writer: the file was opened, or cannot be. */
void cache_queue_tried(struct cache_queue *q);

/* Tell the writer to end once nothing is left. */
void cache_queue_end(struct cache_queue *q);

/* Bytes of replies that wait. */
uint64_t cache_queue_bytes(struct cache_queue *q);

/* Let go of a reference. */
void cache_put_unref(struct cache_put *p);

#endif
