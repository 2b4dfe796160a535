/* queue.h - Who waits for a place at a target that has as many requests as it
 * may have, and who is next: one request of each key in turn, whoever has many
 * waits for them longer. Bounded, and so that no key can fill it: each may have
 * as many places as it leaves free. Who cannot have its turn in time is not let
 * in, and who was not in time is told so at once.
 *
 *     ring:   key A ---> key B ---> key C     whose turn it is, then whose
 *               |          |          |
 *             oldest     oldest     oldest    leads the others of its key
 *               |
 *             others of A, by age
 *
 * The memory is the waiters' own: nothing is allocated. Putting and taking take
 * O(log n) for the order of deadlines, all else is O(1).
 *
 * Knows no clock (times are monotonic milliseconds, given by the caller) and no
 * lock: a queue stands behind the lock of its target, held for each call. Who
 * is taken out belongs to the caller again; when it is another thread's, that
 * one is told by message, and until then must not go away: while it may be in a
 * queue a waiter is let go by queue_drop() under that lock, and nothing else.
 */
#ifndef TG_SERVE_QUEUE_H
#define TG_SERVE_QUEUE_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Lists that the keys of a queue are found in. */
#define QUEUE_BUCKETS 128

/* A waiter; embed it in your own. Zeroed, it waits nowhere. Nothing is touched
 * from outside. */
struct queue_waiter {
    struct str key;       /* borrowed while it waits */
    uint64_t deadline_ms; /* too late from here on */
    uint64_t since_ms;    /* when it came */
    bool waits;           /* it is in a queue */

    struct queue_waiter *prev, *next; /* circle of its key, by age */
    unsigned bucket;                  /* of its key */

    /* Of the oldest of a key alone. */
    bool leads;
    size_t count; /* of its key, itself included */
    TAILQ_ENTRY(queue_waiter) ring;
    LIST_ENTRY(queue_waiter) same_bucket;

    /* Heap of deadlines: first child, next sibling, and who points here. */
    struct queue_waiter *child, *sibling, *back;
};

TAILQ_HEAD(queue_ring, queue_waiter);
LIST_HEAD(queue_bucket, queue_waiter);

/* A queue. */
struct queue {
    struct queue_ring ring; /* the oldest of each key; the first has its turn */
    struct queue_bucket buckets[QUEUE_BUCKETS];
    struct queue_waiter *first_late; /* the earliest deadline; root */
    size_t n, n_keys;
    uint64_t gap_us;  /* between two turns, of late */
    uint64_t last_ms; /* the last turn, or when the first began to wait */
    bool has_gap;     /* gap_us is known */
};

/* What comes of an attempt to wait. */
enum queue_answer {
    QUEUE_WAITS = 0, /* it will be taken out */
    QUEUE_FULL,      /* there is no place, or none for this key */
    QUEUE_LATE,      /* it would not have its turn before its deadline */
};

/* A queue in which nobody waits. */
void queue_init(struct queue *q);

/* Let <w> wait for a turn of <key>, before <deadline_ms>, in a queue of <limit>
 * places. Whether it will be in time is not asked where nobody waits: its wait
 * tells. */
enum queue_answer queue_put(struct queue *q, struct queue_waiter *w,
                            struct str key, uint64_t deadline_ms, size_t limit,
                            uint64_t now_ms);

/* Take out who is to be told something now, NULL when nobody is: first each
 * whose deadline has come, <late_out> is true then; and where there is <room>
 * for a request, who is next. */
struct queue_waiter *queue_take(struct queue *q, bool room, uint64_t now_ms,
                                bool *late_out);

/* Take <w> out if it waits: its client has left. */
void queue_drop(struct queue *q, struct queue_waiter *w);

/* The earliest deadline; UINT64_MAX when nobody waits. */
uint64_t queue_deadline_ms(const struct queue *q);

/* How long a newcomer of <key> would wait, as turns have come of late: an
 * honest time to come again for who is refused. 0 when that is not known. */
uint64_t queue_expect_ms(const struct queue *q, struct str key,
                         uint64_t now_ms);

#endif
