/* arena.h - Bump allocator: many small objects with one lifetime. One per
 * exchange; freed as a whole, last. Not thread-safe. With --disable-arena
 * every object is a malloc of its own, so that sanitizers see its bounds. */
#ifndef TG_BASE_ARENA_H
#define TG_BASE_ARENA_H

#include "base/str.h"

struct arena;

/* A new arena that never hands out more than <cap> bytes in all; its first
 * block holds <first> bytes. NULL when there is no memory. */
struct arena *arena_new(size_t first, size_t cap);

/* Free every object and the arena; NULL is fine. */
void arena_free(struct arena *a);

/* <len> zeroed bytes aligned to 16, owned by the arena. NULL past the cap or
 * without memory. */
void *arena_alloc(struct arena *a, size_t len);

/* A copy of <s> with a NUL after it (not counted); p is NULL on failure. */
struct str arena_dup(struct arena *a, struct str s);

/* printf into the arena; NULL on failure. */
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Bytes handed out so far, padding included. */
size_t arena_used(const struct arena *a);

#endif
