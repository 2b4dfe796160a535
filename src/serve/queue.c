/* queue.c - See queue.h. The order of deadlines is a pairing heap (Fredman,
 * Sedgewick, Sleator and Tarjan, 1986): little code, no memory of its own, and
 * any element can be taken out. */
#include "serve/queue.h"

#include "base/map.h"
#include "base/panic.h"

/* A new gap between turns moves the mean by one part in so many. */
#define GAP_STEP 8

/* --- deadlines ----------------------------------------------------------- */

static struct queue_waiter *heap_join(struct queue_waiter *a,
                                      struct queue_waiter *b)
{
    struct queue_waiter *swap;

    if (!a || !b)
        return a ? a : b;
    if (b->deadline_ms < a->deadline_ms) {
        swap = a;
        a = b;
        b = swap;
    }
    b->sibling = a->child;
    if (b->sibling)
        b->sibling->back = b;
    b->back = a;
    a->child = b;
    return a;
}

/* Join <w> and its siblings: two by two, then all, from the last pair on. */
static struct queue_waiter *heap_join_all(struct queue_waiter *w)
{
    struct queue_waiter *pairs = NULL, *all = NULL;

    while (w) {
        struct queue_waiter *second = w->sibling;
        struct queue_waiter *rest = second ? second->sibling : NULL;
        struct queue_waiter *pair;

        w->sibling = NULL;
        if (second)
            second->sibling = NULL;
        pair = heap_join(w, second);
        pair->sibling = pairs;
        pairs = pair;
        w = rest;
    }
    while (pairs) {
        struct queue_waiter *rest = pairs->sibling;

        pairs->sibling = NULL;
        all = heap_join(all, pairs);
        pairs = rest;
    }
    if (all)
        all->back = NULL;
    return all;
}

static void heap_add(struct queue *q, struct queue_waiter *w)
{
    w->child = w->sibling = w->back = NULL;
    q->first_late = heap_join(q->first_late, w);
}

static void heap_remove(struct queue *q, struct queue_waiter *w)
{
    struct queue_waiter *below = heap_join_all(w->child);

    if (q->first_late == w) {
        q->first_late = below;
        return;
    }
    if (w->back->child == w)
        w->back->child = w->sibling;
    else
        w->back->sibling = w->sibling;
    if (w->sibling)
        w->sibling->back = w->back;
    q->first_late = heap_join(q->first_late, below);
}

/* --- keys ---------------------------------------------------------------- */

static unsigned bucket_of(struct str key)
{
    return map_hash(key.p, key.len) % QUEUE_BUCKETS;
}

/* The oldest waiter of <key>, or NULL. */
static struct queue_waiter *leader_of(const struct queue *q, struct str key,
                                      unsigned bucket)
{
    struct queue_waiter *w;

    LIST_FOREACH(w, &q->buckets[bucket], same_bucket)
    if (str_eq(w->key, key))
        return w;
    return NULL;
}

static void key_add(struct queue *q, struct queue_waiter *w)
{
    struct queue_waiter *leader = leader_of(q, w->key, w->bucket);

    if (leader) { /* before the oldest is behind the youngest */
        w->next = leader;
        w->prev = leader->prev;
        leader->prev->next = w;
        leader->prev = w;
        leader->count++;
        return;
    }
    w->prev = w->next = w;
    w->leads = true;
    w->count = 1;
    TAILQ_INSERT_TAIL(&q->ring, w, ring);
    LIST_INSERT_HEAD(&q->buckets[w->bucket], w, same_bucket);
    q->n_keys++;
}

/* Take <w>, the oldest of its key, out: the next oldest takes its place. */
static void key_inherit(struct queue *q, struct queue_waiter *w)
{
    struct queue_waiter *heir = w->next;

    if (heir != w) {
        heir->leads = true;
        heir->count = w->count - 1;
        TAILQ_INSERT_BEFORE(w, heir, ring);
        LIST_INSERT_BEFORE(w, heir, same_bucket);
    } else {
        q->n_keys--;
    }
    TAILQ_REMOVE(&q->ring, w, ring);
    LIST_REMOVE(w, same_bucket);
    w->leads = false;
}

static void key_remove(struct queue *q, struct queue_waiter *w)
{
    struct queue_waiter *leader =
        w->leads ? w : leader_of(q, w->key, w->bucket);

    BUG_ON(!leader);
    if (leader == w)
        key_inherit(q, w);
    else
        leader->count--;
    w->prev->next = w->next;
    w->next->prev = w->prev;
    w->prev = w->next = NULL;
}

static void take_out(struct queue *q, struct queue_waiter *w)
{
    heap_remove(q, w);
    key_remove(q, w);
    w->waits = false;
    q->n--;
}

/* --- turns --------------------------------------------------------------- */

/* Who has the turn, which is over for its key then. */
static struct queue_waiter *next_turn(struct queue *q)
{
    struct queue_waiter *w = TAILQ_FIRST(&q->ring);
    struct queue_waiter *heir = w->next;

    take_out(q, w);
    if (heir != w) {
        TAILQ_REMOVE(&q->ring, heir, ring);
        TAILQ_INSERT_TAIL(&q->ring, heir, ring);
    }
    return w;
}

static uint64_t since(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static void note_turn(struct queue *q, uint64_t now_ms)
{
    const uint64_t gap_us = since(q->last_ms, now_ms) * 1000;

    if (!q->has_gap)
        q->gap_us = gap_us;
    else if (gap_us > q->gap_us)
        q->gap_us += (gap_us - q->gap_us) / GAP_STEP;
    else
        q->gap_us -= (q->gap_us - gap_us) / GAP_STEP;
    q->has_gap = true;
    q->last_ms = now_ms;
}

/* --- for others ---------------------------------------------------------- */

void queue_init(struct queue *q)
{
    *q = (struct queue){.n = 0};
    TAILQ_INIT(&q->ring);
    for (size_t i = 0; i < QUEUE_BUCKETS; i++)
        LIST_INIT(&q->buckets[i]);
}

uint64_t queue_expect_ms(const struct queue *q, struct str key, uint64_t now_ms)
{
    const struct queue_waiter *leader = leader_of(q, key, bucket_of(key));
    const size_t own = leader ? leader->count : 0;
    const size_t others = q->n_keys - (leader ? 1 : 0);
    uint64_t gap_us = q->gap_us, ahead = own + (own + 1) * others;

    if (!q->has_gap)
        return 0;
    if (ahead > q->n)
        ahead = q->n;
    /* Who hangs tells by taking longer than ever. */
    if (q->n > 0 && since(q->last_ms, now_ms) * 1000 > gap_us)
        gap_us = since(q->last_ms, now_ms) * 1000;
    return (ahead + 1) * gap_us / 1000;
}

enum queue_answer queue_put(struct queue *q, struct queue_waiter *w,
                            struct str key, uint64_t deadline_ms, size_t limit,
                            uint64_t now_ms)
{
    const unsigned bucket = bucket_of(key);
    const struct queue_waiter *leader = leader_of(q, key, bucket);

    BUG_ON(w->waits);
    if (now_ms >= deadline_ms)
        return QUEUE_LATE;
    if (q->n >= limit || (leader && leader->count >= limit - q->n))
        return QUEUE_FULL;
    if (q->n > 0 && queue_expect_ms(q, key, now_ms) > deadline_ms - now_ms)
        return QUEUE_LATE;
    if (q->n == 0)
        q->last_ms = now_ms;
    *w = (struct queue_waiter){.key = key,
                               .deadline_ms = deadline_ms,
                               .since_ms = now_ms,
                               .waits = true,
                               .bucket = bucket};
    heap_add(q, w);
    key_add(q, w);
    q->n++;
    return QUEUE_WAITS;
}

struct queue_waiter *queue_take(struct queue *q, bool room, uint64_t now_ms,
                                bool *late_out)
{
    struct queue_waiter *w = q->first_late;

    if (!w)
        return NULL;
    if (w->deadline_ms <= now_ms) {
        take_out(q, w);
        *late_out = true;
        return w;
    }
    if (!room)
        return NULL;
    w = next_turn(q);
    note_turn(q, now_ms);
    *late_out = false;
    return w;
}

void queue_drop(struct queue *q, struct queue_waiter *w)
{
    if (w->waits)
        take_out(q, w);
}

uint64_t queue_deadline_ms(const struct queue *q)
{
    return q->first_late ? q->first_late->deadline_ms : UINT64_MAX;
}
