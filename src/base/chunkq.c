/* chunkq.c - See chunkq.h. A chunk is a header with its bytes behind it, or a
 * header alone that points at a block somebody handed over. Only pooled chunks
 * are appended to or reused. */
#include "base/chunkq.h"

#include <stdlib.h>

#include "base/panic.h"

struct chunk {
    struct chunk *next;      /* owned */
    char *p;                 /* data[], or inside <block> */
    size_t start;            /* first byte not consumed */
    size_t end;              /* one past the last byte */
    chunkq_free_fn *free_fn; /* NULL: a pooled chunk */
    void *block;             /* owned when free_fn is set */
    void *arg;               /* borrowed; for free_fn */
    char data[];
};

#define CHUNK_ROOM (CHUNK_BYTES - sizeof(struct chunk))

/* A buffer is taken over when it fills at least half of its memory and more
 * than a chunk; else it is copied. */
static bool is_worth_taking(const struct buf *b)
{
    return b->len > CHUNK_ROOM && b->len >= b->room / 2;
}

void chunk_pool_init(struct chunk_pool *pool, size_t free_max)
{
    *pool = (struct chunk_pool){.free_max = free_max};
}

void chunk_pool_fini(struct chunk_pool *pool)
{
    BUG_ON(pool->live != 0);
    while (pool->free) {
        struct chunk *c = pool->free;

        pool->free = c->next;
        free(c);
    }
    pool->free_count = 0;
}

static struct chunk *pool_get(struct chunk_pool *pool)
{
    struct chunk *c = pool->free;

    if (c) {
        pool->free = c->next;
        pool->free_count--;
        pool->reused++;
    } else {
        c = malloc(CHUNK_BYTES);
        if (!c)
            return NULL;
        pool->made++;
    }
    *c = (struct chunk){.p = c->data};
    pool->live++;
    return c;
}

static void chunk_drop(struct chunk_pool *pool, struct chunk *c)
{
    if (c->free_fn) {
        c->free_fn(c->block, c->arg);
        free(c);
        return;
    }
    pool->live--;
    if (pool->free_count >= pool->free_max) {
        free(c);
        return;
    }
    c->next = pool->free;
    pool->free = c;
    pool->free_count++;
}

static void list_drop(struct chunk_pool *pool, struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;

        chunk_drop(pool, c);
        c = next;
    }
}

void chunkq_init(struct chunkq *q, struct chunk_pool *pool, size_t cap)
{
    *q = (struct chunkq){.pool = pool, .cap = cap};
}

void chunkq_fini(struct chunkq *q)
{
    struct chunk *list = q->head;

    q->head = NULL;
    q->tail = NULL;
    q->len = 0;
    list_drop(q->pool, list);
}

static void append(struct chunkq *q, struct chunk *first, struct chunk *last)
{
    if (q->tail)
        q->tail->next = first;
    else
        q->head = first;
    q->tail = last;
}

/* New chunks for <len> bytes, linked; NULL without memory. */
static struct chunk *list_make(struct chunk_pool *pool, size_t len,
                               struct chunk **last_out)
{
    struct chunk *first = NULL, *last = NULL;

    for (size_t have = 0; have < len; have += CHUNK_ROOM) {
        struct chunk *c = pool_get(pool);

        if (!c) {
            list_drop(pool, first);
            return NULL;
        }
        if (last)
            last->next = c;
        else
            first = c;
        last = c;
    }
    *last_out = last;
    return first;
}

/* Copy into <c> what fits; return how much did. */
static size_t fill(struct chunk *c, const char *p, size_t len)
{
    size_t n = CHUNK_ROOM - c->end;

    if (n > len)
        n = len;
    memcpy(c->p + c->end, p, n);
    c->end += n;
    return n;
}

enum err chunkq_put(struct chunkq *q, const void *p, size_t len)
{
    struct chunk *first = NULL, *last = NULL, *tail = q->tail;
    const char *at = p;
    size_t here = 0, left;

    if (len > chunkq_room(q))
        return ERR_FULL;
    if (len == 0)
        return ERR_OK;
    if (tail && !tail->free_fn)
        here = CHUNK_ROOM - tail->end;
    if (len > here) {
        first = list_make(q->pool, len - here, &last);
        if (!first)
            return ERR_NOMEM;
    }
    left = len;
    if (here > 0)
        left -= fill(tail, at, left);
    for (struct chunk *c = first; c; c = c->next)
        left -= fill(c, at + (len - left), left);
    if (first)
        append(q, first, last);
    q->len += len;
    return ERR_OK;
}

enum err chunkq_put_str(struct chunkq *q, struct str s)
{
    return chunkq_put(q, s.p, s.len);
}

enum err chunkq_take(struct chunkq *q, void *block, struct str bytes,
                     chunkq_free_fn *free_fn, void *arg)
{
    struct chunk *c;

    if (bytes.len > chunkq_room(q) || bytes.len == 0) {
        free_fn(block, arg);
        return bytes.len == 0 ? ERR_OK : ERR_FULL;
    }
    c = malloc(sizeof(*c));
    if (!c) {
        free_fn(block, arg);
        return ERR_NOMEM;
    }
    *c = (struct chunk){.free_fn = free_fn,
                        .block = block,
                        .arg = arg,
                        .p = (char *)(uintptr_t)bytes.p,
                        .end = bytes.len};
    append(q, c, c);
    q->len += bytes.len;
    return ERR_OK;
}

static void free_block(void *block, void *arg)
{
    (void)arg;
    free(block);
}

enum err chunkq_take_buf(struct chunkq *q, struct buf *b)
{
    enum err e;

    if (!is_worth_taking(b)) {
        e = chunkq_put(q, b->p, b->len);
        buf_fini(b);
        return e;
    }
    e = chunkq_take(q, b->p, buf_str(b), free_block, NULL);
    buf_init(b, b->cap);
    return e;
}

int chunkq_peek(const struct chunkq *q, struct iovec *iov, int max)
{
    int n = 0;

    for (const struct chunk *c = q->head; c && n < max; c = c->next)
        iov[n++] = (struct iovec){c->p + c->start, c->end - c->start};
    return n;
}

void chunkq_consume(struct chunkq *q, size_t n)
{
    BUG_ON(n > q->len);
    q->len -= n;
    while (n > 0) {
        struct chunk *c = q->head;
        size_t have = c->end - c->start;

        if (n < have) {
            c->start += n;
            return;
        }
        n -= have;
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        chunk_drop(q->pool, c);
    }
}
