/* merge.c - A heap of pairs over a linked list of symbols. A symbol knows the
 * rank of its pair, so that what is out of date in the heap is told by one
 * look. */
#include "token/merge.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
/* Children of a node of the heap. */
#define WIDE 4

void merge_clear(struct merge_room *r)
{
    r->n = 0;
    r->n_heap = 0;
}

enum err merge_add(struct merge_room *r, uint32_t piece, uint32_t len)
{
    struct merge_sym *s;

    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct merge_sym *grown = realloc(r->syms, cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        r->syms = grown;
        r->cap = cap;
    }
    s = &r->syms[r->n];
    *s = (struct merge_sym){
        .piece = piece, .len = len, .prev = NONE, .next = NONE, .rank = NONE};
    if (r->n > 0) {
        s->prev = (uint32_t)r->n - 1;
        s[-1].next = (uint32_t)r->n;
        s->start = s[-1].start + s[-1].len;
    }
    r->n++;
    return ERR_OK;
}

/* Sink the key at <at> to its place. */
static void sink(uint64_t *heap, size_t n, size_t at)
{
    uint64_t key = heap[at];

    for (;;) {
        size_t first = at * WIDE + 1, best = first;

        if (first >= n)
            break;
        for (size_t c = first + 1; c < n && c < first + WIDE; c++) {
            if (heap[c] < heap[best])
                best = c;
        }
        if (heap[best] >= key)
            break;
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = key;
}

static uint64_t heap_pop(struct merge_room *r)
{
    uint64_t top = r->heap[0];

    r->heap[0] = r->heap[--r->n_heap];
    if (r->n_heap > 0)
        sink(r->heap, r->n_heap, 0);
    return top;
}

/* Never more than two keys come for one that goes, so that room for twice the
 * symbols is enough. */
static void heap_push(struct merge_room *r, uint64_t key)
{
    size_t at = r->n_heap++;

    while (at > 0 && r->heap[(at - 1) / WIDE] > key) {
        r->heap[at] = r->heap[(at - 1) / WIDE];
        at = (at - 1) / WIDE;
    }
    r->heap[at] = key;
}

/* Learn the pair of symbol <left> and its next. */
static bool look_up(struct merge_room *r, uint32_t left, merge_find *find,
                    const void *ctx)
{
    struct merge_sym *l = &r->syms[left];

    l->rank = NONE;
    if (l->next == NONE)
        return false;
    return find(ctx, l, &r->syms[l->next], &l->rank, &l->joined);
}

static enum err seed(struct merge_room *r, merge_find *find, const void *ctx)
{
    if (r->heap_cap < 2 * r->n) {
        uint64_t *grown = realloc(r->heap, 2 * r->cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        r->heap = grown;
        r->heap_cap = 2 * r->cap;
    }
    r->n_heap = 0;
    for (size_t i = 0; i + 1 < r->n; i++) {
        if (look_up(r, (uint32_t)i, find, ctx))
            r->heap[r->n_heap++] = (uint64_t)r->syms[i].rank << 32 | i;
    }
    for (size_t i = r->n_heap / WIDE + 1; i-- > 0;) {
        if (i < r->n_heap)
            sink(r->heap, r->n_heap, i);
    }
    return ERR_OK;
}

/* Join symbol <left> with its next. */
static void join(struct merge_room *r, uint32_t left)
{
    struct merge_sym *l = &r->syms[left], *gone = &r->syms[l->next];

    l->piece = l->joined;
    l->len += gone->len;
    l->next = gone->next;
    gone->rank = NONE;
    if (l->next != NONE)
        r->syms[l->next].prev = left;
}

enum err merge_run(struct merge_room *r, merge_find *find, const void *ctx)
{
    enum err e;

    if (r->n < 2)
        return ERR_OK;
    e = seed(r, find, ctx);
    if (e)
        return e;
    while (r->n_heap > 0) {
        uint64_t key = heap_pop(r);
        uint32_t left = (uint32_t)key, prev;

        if (r->syms[left].rank != key >> 32)
            continue;
        join(r, left);
        prev = r->syms[left].prev;
        if (prev != NONE && look_up(r, prev, find, ctx))
            heap_push(r, (uint64_t)r->syms[prev].rank << 32 | prev);
        if (look_up(r, left, find, ctx))
            heap_push(r, (uint64_t)r->syms[left].rank << 32 | left);
    }
    return ERR_OK;
}

void merge_room_fini(struct merge_room *r)
{
    free(r->syms);
    free(r->heap);
    *r = (struct merge_room){0};
}

enum err merges_init(struct merges *m, size_t n)
{
    size_t room = 16;

    while (room < 2 * n)
        room *= 2;
    m->slots = malloc(room * sizeof(*m->slots));
    if (!m->slots)
        return ERR_NOMEM;
    memset(m->slots, 0xff, room * sizeof(*m->slots));
    m->mask = room - 1;
    return ERR_OK;
}

void merges_fini(struct merges *m)
{
    free(m->slots);
    *m = (struct merges){0};
}

static struct merge_slot *slot_of(const struct merges *m, uint32_t left,
                                  uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;

    for (size_t i = (size_t)(h >> 32) & m->mask;; i = (i + 1) & m->mask) {
        struct merge_slot *s = &m->slots[i];

        if (s->rank == NONE || (s->left == left && s->right == right))
            return s;
    }
}

void merges_put(struct merges *m, const struct merge_slot *merge)
{
    struct merge_slot *s = slot_of(m, merge->left, merge->right);

    if (s->rank == NONE)
        *s = *merge;
}

const struct merge_slot *merges_get(const struct merges *m, uint32_t left,
                                    uint32_t right)
{
    const struct merge_slot *s;

    if (!m->slots)
        return NULL;
    s = slot_of(m, left, right);
    return s->rank == NONE ? NULL : s;
}
