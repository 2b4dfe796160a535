/* ring.c - See ring.h. Records lie in the ring one after the other:
 *
 *   | head u32 | unused u32 | bytes, padded to 8 | head ...
 *
 * A sender reserves room by moving <head> on, copies, and then finishes the
 * record by storing its head; the consumer stops at a head of 0. Memory behind
 * <tail> is zero again before <tail> moves on, so a reserved record reads as
 * unfinished. A record is never split: where it would be, a filler record
 * takes the end of the ring. */
#include "base/ring.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/panic.h"

#define HEAD_BYTES 8
#define DONE       0x80000000u /* the record is finished */
#define FILLER     0x40000000u /* it holds nothing */
#define LEN_MASK   0x3fffffffu

struct ring {
    _Alignas(64) _Atomic uint64_t head; /* bytes ever reserved */
    _Alignas(64) _Atomic uint64_t tail; /* bytes ever given free */
    _Alignas(64) size_t taken;          /* of the first record; consumer's */
    size_t size;
    char *data; /* owned */
};

struct ring *ring_new(size_t bytes)
{
    struct ring *r;

    BUG_ON(bytes < 4096 || (bytes & (bytes - 1)) != 0 || bytes > LEN_MASK);
    r = aligned_alloc(64, sizeof(*r));
    if (!r)
        return NULL;
    memset(r, 0, sizeof(*r));
    r->size = bytes;
    r->data = calloc(1, bytes);
    if (!r->data) {
        free(r);
        return NULL;
    }
    return r;
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    free(r->data);
    free(r);
}

static _Atomic uint32_t *head_at(const struct ring *r, uint64_t pos)
{
    return (_Atomic uint32_t *)(void *)(r->data + (pos & (r->size - 1)));
}

static size_t record_bytes(size_t len)
{
    return HEAD_BYTES + ((len + 7) & ~(size_t)7);
}

/* Reserve <need> bytes that are not split; false when they do not fit. */
static bool reserve(struct ring *r, size_t need, size_t spare, uint64_t *pos)
{
    uint64_t head, tail, filler, end;

    do {
        /* In this order, so that <tail> is never ahead of <head>. */
        tail = atomic_load_explicit(&r->tail, memory_order_acquire);
        head = atomic_load(&r->head);
        end = r->size - (head & (r->size - 1));
        filler = end < need ? end : 0;
        if (head + filler + need + spare - tail > r->size)
            return false;
    } while (
        !atomic_compare_exchange_weak(&r->head, &head, head + filler + need));
    if (filler > 0)
        atomic_store_explicit(head_at(r, head),
                              DONE | FILLER | (uint32_t)filler,
                              memory_order_release);
    *pos = head + filler;
    return true;
}

bool ring_push(struct ring *r, struct str a, struct str b, size_t spare)
{
    size_t len = a.len + b.len;
    uint64_t pos;
    char *at;

    if (len == 0 || len > r->size / 2 ||
        !reserve(r, record_bytes(len), spare, &pos))
        return false;
    at = r->data + (pos & (r->size - 1)) + HEAD_BYTES;
    if (a.len > 0)
        memcpy(at, a.p, a.len);
    if (b.len > 0)
        memcpy(at + a.len, b.p, b.len);
    atomic_store_explicit(head_at(r, pos), DONE | (uint32_t)len,
                          memory_order_release);
    return true;
}

bool ring_is_empty(struct ring *r)
{
    return atomic_load(&r->head) == atomic_load(&r->tail);
}

/* The head of the record at <pos>, and in <bytes_out> what it takes of the
 * ring; 0 when it is not finished. */
static uint32_t look(const struct ring *r, uint64_t pos, size_t *bytes_out)
{
    uint32_t head = atomic_load_explicit(head_at(r, pos), memory_order_acquire);

    *bytes_out =
        head & FILLER ? head & LEN_MASK : record_bytes(head & LEN_MASK);
    return head;
}

int ring_peek(struct ring *r, struct iovec *iov, int max)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t pos = tail;
    size_t skip = r->taken, bytes;
    int n = 0;

    while (n < max && pos - tail < r->size) {
        uint32_t head = look(r, pos, &bytes);

        if (head == 0)
            break;
        if (!(head & FILLER)) {
            char *at = r->data + (pos & (r->size - 1)) + HEAD_BYTES;

            iov[n++] = (struct iovec){at + skip, (head & LEN_MASK) - skip};
            skip = 0;
        }
        pos += bytes;
    }
    return n;
}

/* Zero what lies before <pos> and give it free. */
static void release(struct ring *r, uint64_t tail, uint64_t pos)
{
    size_t from = tail & (r->size - 1), len = (size_t)(pos - tail);
    size_t end = r->size - from;

    memset(r->data + from, 0, len < end ? len : end);
    if (len > end)
        memset(r->data, 0, len - end);
    atomic_store(&r->tail, pos);
}

size_t ring_consume(struct ring *r, size_t len)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t pos = tail;
    size_t n = 0, bytes;

    for (;;) {
        uint32_t head = pos - tail < r->size ? look(r, pos, &bytes) : 0;
        size_t left = (head & LEN_MASK) - r->taken;

        if (head == 0)
            break;
        if (head & FILLER) {
            pos += bytes;
            continue;
        }
        if (len < left) {
            r->taken += len;
            len = 0;
            break;
        }
        len -= left;
        r->taken = 0;
        pos += bytes;
        n++;
        if (len == 0)
            break;
    }
    BUG_ON(len != 0);
    if (pos != tail)
        release(r, tail, pos);
    return n;
}

bool ring_drop_torn(struct ring *r)
{
    struct iovec iov;

    if (r->taken == 0 || ring_peek(r, &iov, 1) == 0)
        return false;
    ring_consume(r, iov.iov_len);
    return true;
}

uint64_t ring_mark(struct ring *r)
{
    return atomic_load(&r->head);
}

bool ring_is_past(struct ring *r, uint64_t mark)
{
    return atomic_load(&r->tail) >= mark;
}
