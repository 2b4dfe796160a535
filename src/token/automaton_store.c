/* automaton_store.c - Stacks and places by number; hash tables find the one
 * that is there already. */
#include "token/automaton_store.h"

#include <stdlib.h>
#include <string.h>

#define HEADS_FIRST 256

/* Room for <more> beyond <n> of <size> bytes in *p; false without memory. */
static bool room_for(void **p, uint32_t n, uint32_t more, uint32_t *cap,
                     size_t size)
{
    uint32_t to = *cap ? *cap : 64;
    void *q;

    if (n + more <= *cap)
        return true;
    while (to < n + more)
        to *= 2;
    q = realloc(*p, to * size);
    if (!q)
        return false;
    *p = q;
    *cap = to;
    return true;
}

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 2654435761u;
    return h ^ h >> 15;
}

static uint32_t stack_hash(uint32_t node, uint32_t count, uint32_t parent)
{
    return mix(mix(mix(7, node), count), parent);
}

/* Make the hash tables fit what they hold. */
static bool fit_heads(struct run_store *s)
{
    uint32_t want = s->heads ? s->heads : HEADS_FIRST;
    uint32_t *a, *b;

    while (want < s->n_stacks || want < s->n_places)
        want *= 2;
    if (want == s->heads)
        return true;
    a = calloc(want, sizeof(*a));
    b = calloc(want, sizeof(*b));
    if (!a || !b) {
        free(a);
        free(b);
        return false;
    }
    free(s->stack_heads);
    free(s->place_heads);
    s->stack_heads = a;
    s->place_heads = b;
    s->heads = want;
    for (uint32_t i = 1; i < s->n_stacks; i++) {
        struct run_stack *k = &s->stacks[i];
        uint32_t h = stack_hash(k->node, k->count, k->parent) & (want - 1);
        k->chain = a[h];
        a[h] = i;
    }
    for (uint32_t i = 1; i < s->n_places; i++) {
        uint32_t h = s->places[i].hash & (want - 1);
        s->places[i].chain = b[h];
        b[h] = i;
    }
    return true;
}

uint32_t store_stack(struct run_store *s, uint32_t node, uint32_t count,
                     uint32_t parent)
{
    uint32_t hash = stack_hash(node, count, parent), i, id = s->n_stacks;
    void *p = s->stacks;

    for (i = s->stack_heads[hash & (s->heads - 1)]; i; i = s->stacks[i].chain)
        if (s->stacks[i].node == node && s->stacks[i].count == count &&
            s->stacks[i].parent == parent)
            return i;
    if (!room_for(&p, id, 1, &s->stacks_cap, sizeof(*s->stacks)))
        return 0;
    s->stacks = p;
    if (!fit_heads(s))
        return 0;
    hash &= s->heads - 1;
    s->stacks[id] = (struct run_stack){.node = node,
                                       .count = count,
                                       .parent = parent,
                                       .depth = s->stacks[parent].depth + 1,
                                       .chain = s->stack_heads[hash]};
    s->stack_heads[hash] = id;
    s->n_stacks++;
    return id;
}

/* Room for one more place with its row of next[]. */
static bool place_room(struct run_store *s, unsigned n_classes)
{
    uint32_t had = s->places_cap;
    void *p = s->places, *q;

    if (!room_for(&p, s->n_places, 1, &s->places_cap, sizeof(*s->places)))
        return false;
    s->places = p;
    if (s->places_cap == had)
        return true;
    q = realloc(s->next, (size_t)s->places_cap * n_classes * sizeof(*s->next));
    if (!q) {
        s->places_cap = had;
        return false;
    }
    s->next = q;
    return true;
}

uint32_t store_place(struct run_store *s, unsigned n_classes,
                     const struct run_thread *threads, uint32_t n, bool accepts)
{
    uint32_t hash = accepts ? 77 : 33, i, id = s->n_places;
    void *p = s->threads;

    for (i = 0; i < n; i++)
        hash = mix(mix(hash, threads[i].node), threads[i].stack);
    for (i = s->place_heads[hash & (s->heads - 1)]; i; i = s->places[i].chain)
        if (s->places[i].hash == hash && s->places[i].n == n &&
            s->places[i].accepts == accepts &&
            memcmp(s->threads + s->places[i].first, threads,
                   n * sizeof(*threads)) == 0)
            return i;
    if (!room_for(&p, s->n_threads, n, &s->threads_cap, sizeof(*threads)))
        return 0;
    s->threads = p;
    if (!place_room(s, n_classes) || !fit_heads(s))
        return 0;
    memcpy(s->threads + s->n_threads, threads, n * sizeof(*threads));
    memset(s->next + (size_t)id * n_classes, 0, n_classes * sizeof(*s->next));
    i = hash & (s->heads - 1);
    s->places[id] = (struct run_place){.first = s->n_threads,
                                       .n = n,
                                       .hash = hash,
                                       .chain = s->place_heads[i],
                                       .accepts = accepts};
    s->place_heads[i] = id;
    s->n_threads += n;
    s->n_places++;
    return id;
}

bool store_init(struct run_store *s, unsigned n_classes)
{
    void *p = NULL;

    memset(s, 0, sizeof(*s));
    if (!fit_heads(s) ||
        !room_for(&p, 0, 1, &s->stacks_cap, sizeof(*s->stacks)))
        return false;
    s->stacks = p;
    memset(s->stacks, 0, sizeof(*s->stacks));
    s->n_stacks = 1;
    if (!place_room(s, n_classes))
        return false;
    memset(s->places, 0, sizeof(*s->places));
    memset(s->next, 0, n_classes * sizeof(*s->next));
    for (unsigned i = 0; i < n_classes; i++)
        s->next[i] = 1; /* from the dead one to itself */
    s->n_places = 1;
    return true;
}

void store_fini(struct run_store *s)
{
    free(s->stacks);
    free(s->places);
    free(s->threads);
    free(s->next);
    free(s->stack_heads);
    free(s->place_heads);
    memset(s, 0, sizeof(*s));
}

/* --- copying what is in use --------------------------------------------- */

/* <stack> of <from> in <out>; 0 for the bottom, or without memory, which
 * <ok> tells. */
static uint32_t copy_stack(struct run_store *out, const struct run_store *from,
                           uint32_t stack, bool *ok)
{
    uint32_t path[AUTO_DEPTH_MAX + 1], n = 0, copy = 0;

    for (; stack; stack = from->stacks[stack].parent)
        path[n++] = stack;
    while (n > 0) {
        const struct run_stack *f = &from->stacks[path[--n]];
        copy = store_stack(out, f->node, f->count, copy);
        if (!copy) {
            *ok = false;
            return 0;
        }
    }
    return copy;
}

/* <place> of <from> in <out>; 0 without memory. */
static uint32_t copy_place(struct run_store *out, const struct run_store *from,
                           unsigned n_classes, uint32_t place)
{
    const struct run_place *p = &from->places[place];
    struct run_thread *t = malloc((p->n + 1) * sizeof(*t));
    uint32_t copy = 0;
    bool ok = t != NULL;

    for (uint32_t i = 0; ok && i < p->n; i++) {
        struct run_thread had = from->threads[p->first + i];
        t[i].node = had.node;
        t[i].stack = copy_stack(out, from, had.stack, &ok);
    }
    if (ok)
        copy = store_place(out, n_classes, t, p->n, p->accepts);
    free(t);
    return copy;
}

bool store_copy(struct run_store *out, const struct run_store *from,
                unsigned n_classes, uint32_t **roots, size_t n)
{
    uint32_t *copies = calloc(n + 1, sizeof(*copies));
    bool ok = copies && store_init(out, n_classes);

    for (size_t i = 0; ok && i < n; i++) {
        if (*roots[i] == RUN_DEAD)
            continue;
        copies[i] = copy_place(out, from, n_classes, *roots[i]);
        ok = copies[i] != 0;
    }
    for (size_t i = 0; ok && i < n; i++)
        *roots[i] = copies[i];
    if (!ok && copies)
        store_fini(out);
    free(copies);
    return ok;
}
