/* merge.c - A heap of pairs over a linked list of symbols. A symbol knows the
 * rank of its pair, so that what is out of date in the heap is told by one
 * look. Long texts have few ranks and many pairs of each: there the pairs of a
 * rank stand in a row, and the heap is one of ranks. */
#include "token/merge.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
/* Children of a node of the heap. */
#define WIDE 4
/* Symbols from which on pairs stand in rows. */
#define LONG_TEXT 2048

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

/* Room for a key for each symbol, twice. */
static enum err reserve_heap(struct merge_room *r)
{
    uint64_t *grown;

    r->n_heap = 0;
    if (r->heap_cap >= 2 * r->n)
        return ERR_OK;
    grown = realloc(r->heap, 2 * r->cap * sizeof(*grown));
    if (!grown)
        return ERR_NOMEM;
    r->heap = grown;
    r->heap_cap = 2 * r->cap;
    return ERR_OK;
}

/* Fill the heap with the pairs of the chain. */
static void seed(struct merge_room *r, merge_find *find, const void *ctx)
{
    for (uint32_t i = 0; i != NONE; i = r->syms[i].next) {
        if (look_up(r, i, find, ctx))
            r->heap[r->n_heap++] = (uint64_t)r->syms[i].rank << 32 | i;
    }
    for (size_t i = r->n_heap / WIDE + 1; i-- > 0;) {
        if (i < r->n_heap)
            sink(r->heap, r->n_heap, i);
    }
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

/* Join with a heap of pairs. */
static void run_heap(struct merge_room *r, merge_find *find, const void *ctx)
{
    r->n_heap = 0;
    seed(r, find, ctx);
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
}

/* --- rows --------------------------------------------------------------- */

static enum err reserve_rows(struct merge_room *r, size_t n_ranks)
{
    struct merge_rows *w = &r->rows;

    if (w->n_ranks < n_ranks) {
        free(w->heads);
        w->n_ranks = 0;
        w->heads = malloc(n_ranks * sizeof(*w->heads));
        if (!w->heads)
            return ERR_NOMEM;
        w->n_ranks = n_ranks;
    }
    if (w->cap < 4 * r->n) {
        free(w->pairs);
        free(w->row);
        w->cap = 0;
        w->pairs = malloc(4 * r->n * sizeof(*w->pairs));
        w->row = malloc(4 * r->n * sizeof(*w->row));
        if (!w->pairs || !w->row)
            return ERR_NOMEM;
        w->cap = 4 * r->n;
    }
    memset(w->heads, 0xff, n_ranks * sizeof(*w->heads));
    w->n = 0;
    r->n_heap = 0;
    return ERR_OK;
}

/* Put the pair of <left> into the row of its rank. Pairs are never more than
 * three for a symbol: it begins one, and each join makes two. */
static void row_add(struct merge_room *r, uint32_t left)
{
    struct merge_rows *w = &r->rows;
    uint32_t rank = r->syms[left].rank;

    if (w->heads[rank] == NONE)
        heap_push(r, rank);
    w->pairs[w->n] = (uint64_t)w->heads[rank] << 32 | left;
    w->heads[rank] = (uint32_t)w->n++;
}

static int by_place(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Take the row of <rank>, leftmost first; its length. */
static size_t row_take(struct merge_rows *w, uint32_t rank)
{
    size_t n = 0;
    bool sorted = true;

    for (uint32_t i = w->heads[rank]; i != NONE;
         i = (uint32_t)(w->pairs[i] >> 32))
        w->row[n++] = (uint32_t)w->pairs[i];
    w->heads[rank] = NONE;
    for (size_t i = 0; i < n / 2; i++) {
        uint32_t other = w->row[n - 1 - i];

        w->row[n - 1 - i] = w->row[i];
        w->row[i] = other;
    }
    for (size_t i = 1; i < n; i++)
        sorted = sorted && w->row[i - 1] <= w->row[i];
    if (!sorted)
        qsort(w->row, n, sizeof(*w->row), by_place);
    return n;
}

/* Join <left> with its next; false when that makes a pair which should have
 * come before the pairs of <rank> that are left. */
static bool row_join(struct merge_room *r, uint32_t left, uint32_t rank,
                     merge_find *find, const void *ctx)
{
    uint32_t prev = r->syms[left].prev;

    join(r, left);
    if (prev != NONE && look_up(r, prev, find, ctx)) {
        if (r->syms[prev].rank <= rank)
            return false;
        row_add(r, prev);
    }
    if (look_up(r, left, find, ctx)) {
        if (r->syms[left].rank <= rank)
            return false;
        row_add(r, left);
    }
    return true;
}

/* Join row after row. False when ranks do not only rise, which lists of merges
 * that were learned never do: what is left is then for the heap of pairs. */
static bool run_rows(struct merge_room *r, merge_find *find, const void *ctx)
{
    for (size_t i = 0; i + 1 < r->n; i++) {
        if (look_up(r, (uint32_t)i, find, ctx))
            row_add(r, (uint32_t)i);
    }
    while (r->n_heap > 0) {
        uint32_t rank = (uint32_t)heap_pop(r);
        size_t n = row_take(&r->rows, rank);

        for (size_t i = 0; i < n; i++) {
            uint32_t left = r->rows.row[i];

            if (r->syms[left].rank == rank &&
                !row_join(r, left, rank, find, ctx))
                return false;
        }
    }
    return true;
}

enum err merge_run(struct merge_room *r, merge_find *find, const void *ctx,
                   size_t n_ranks)
{
    enum err e;

    if (r->n < 2)
        return ERR_OK;
    e = reserve_heap(r);
    if (!e && r->n >= LONG_TEXT) {
        e = reserve_rows(r, n_ranks);
        if (!e && run_rows(r, find, ctx))
            return ERR_OK;
    }
    if (!e)
        run_heap(r, find, ctx);
    return e;
}

void merge_room_fini(struct merge_room *r)
{
    free(r->syms);
    free(r->heap);
    free(r->rows.heads);
    free(r->rows.pairs);
    free(r->rows.row);
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
