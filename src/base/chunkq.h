/* chunkq.h - Bounded FIFO of bytes on their way to a socket, kept in chunks of
 * fixed size from a pool of the thread. Small appends fill the last chunk,
 * large blocks are taken over without a copy, an empty queue holds no memory.
 * Not thread-safe. */
#ifndef TG_BASE_CHUNKQ_H
#define TG_BASE_CHUNKQ_H

#include "base/buf.h"

#include <stdint.h>
#include <sys/uio.h>

/* Bytes a pooled chunk takes, its header included. */
#define CHUNK_BYTES 4096

struct chunk;

/* Free chunks of one thread. Fields are readable, the pool's to write. */
struct chunk_pool {
    struct chunk *free; /* owned list */
    size_t free_count;
    size_t free_max; /* chunks kept for reuse; beyond it they are freed */
    size_t live;     /* chunks now in queues */
    uint64_t made;   /* chunks ever taken from the system */
    uint64_t reused; /* chunks ever taken from the free list */
};

/* Make <pool> empty; it will keep at most <free_max> free chunks. */
void chunk_pool_init(struct chunk_pool *pool, size_t free_max);

/* Free the free chunks. Every queue of the pool must be finished before. */
void chunk_pool_fini(struct chunk_pool *pool);

/* Frees a block that a queue took over. */
typedef void chunkq_free_fn(void *block, void *arg);

/* A queue. Use the functions below. */
struct chunkq {
    struct chunk *head;      /* owned list, oldest first */
    struct chunk *tail;      /* last of the list */
    struct chunk_pool *pool; /* borrowed; outlives the queue */
    size_t len;              /* bytes held */
    size_t cap;              /* most bytes held */
};

/* Make <q> empty; it will never hold more than <cap> bytes. */
void chunkq_init(struct chunkq *q, struct chunk_pool *pool, size_t cap);

/* Drop everything; <q> is empty and may be used again. */
void chunkq_fini(struct chunkq *q);

/* Append a copy of <len> bytes at <p>: all of them or, on failure, none.
 * ERR_FULL past the cap, ERR_NOMEM without memory. */
enum err chunkq_put(struct chunkq *q, const void *p, size_t len) MUST_CHECK;

/* Append a slice, as chunkq_put(). */
enum err chunkq_put_str(struct chunkq *q, struct str s) MUST_CHECK;

/* Append the <len> bytes at <p> inside <block> without a copy; <free_fn>
 * (block, <arg>) is called once they are consumed - also when this fails.
 * Errors as chunkq_put(). */
enum err chunkq_take(struct chunkq *q, void *block, struct str bytes,
                     chunkq_free_fn *free_fn, void *arg) MUST_CHECK;

/* Append the bytes of <b>, which is empty afterwards, also on failure: large
 * ones are taken over, small ones copied. Errors as chunkq_put(). */
enum err chunkq_take_buf(struct chunkq *q, struct buf *b) MUST_CHECK;

/* Point at most <max> entries of <iov> at the oldest bytes, for writev();
 * return how many were set. Borrowed until the queue changes. */
int chunkq_peek(const struct chunkq *q, struct iovec *iov, int max);

/* Drop the oldest <n> bytes (n <= length). */
void chunkq_consume(struct chunkq *q, size_t n);

/* Bytes held. */
static inline size_t chunkq_len(const struct chunkq *q)
{
    return q->len;
}

/* Bytes that still fit. */
static inline size_t chunkq_room(const struct chunkq *q)
{
    return q->cap - q->len;
}

/* Whether nothing fits any more. */
static inline bool chunkq_is_full(const struct chunkq *q)
{
    return q->len >= q->cap;
}

#endif
