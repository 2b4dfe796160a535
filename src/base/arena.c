/* arena.c - See arena.h. Blocks form a list, newest first; an object larger
 * than a quarter of a block gets a block of its own behind the newest. */
#include "base/arena.h"
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_ALIGN 16
#define ARENA_BLOCK 4096

struct block {
    struct block *next; /* owned */
    size_t used;
    size_t room;
    size_t pad; /* keeps data[] aligned to ARENA_ALIGN */
    char data[];
};

struct arena {
    struct block *head; /* owned; bumps */
    size_t used;
    size_t cap;
};

static struct block *block_new(size_t room)
{
    struct block *b = malloc(sizeof(*b) + room);

    if (!b)
        return NULL;
    b->next = NULL;
    b->used = 0;
    b->room = room;
    return b;
}

struct arena *arena_new(size_t first, size_t cap)
{
    struct arena *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->cap = cap;
    a->head = block_new(first < 64 ? 64 : first);
    if (!a->head) {
        free(a);
        return NULL;
    }
    return a;
}

void arena_free(struct arena *a)
{
    struct block *b;

    if (!a)
        return;
    b = a->head;
    while (b) {
        struct block *next = b->next;

        free(b);
        b = next;
    }
    free(a);
}

static void *alloc_own(struct arena *a, size_t len)
{
    struct block *b = block_new(len);

    if (!b)
        return NULL;
    b->used = len;
    b->next = a->head->next;
    a->head->next = b;
    return memset(b->data, 0, len);
}

void *arena_alloc(struct arena *a, size_t len)
{
    struct block *b = a->head;
    size_t padded;
    void *p;

    if (len > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    padded = (len + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (padded > a->cap - a->used)
        return NULL;
#ifdef TG_NO_ARENA
    a->used += padded;
    return alloc_own(a, len);
#endif
    if (padded > b->room - b->used) {
        if (padded > ARENA_BLOCK / 4) {
            p = alloc_own(a, padded);
            if (p)
                a->used += padded;
            return p;
        }
        b = block_new(ARENA_BLOCK);
        if (!b)
            return NULL;
        b->next = a->head;
        a->head = b;
    }
    p = b->data + b->used;
    b->used += padded;
    a->used += padded;
    return memset(p, 0, len);
}

struct str arena_dup(struct arena *a, struct str s)
{
    char *p;

    if (s.len == SIZE_MAX)
        return (struct str){NULL, 0};
    p = arena_alloc(a, s.len + 1);
    if (!p)
        return (struct str){NULL, 0};
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    return (struct str){p, s.len};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    int n;
    char *p;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    p = arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
