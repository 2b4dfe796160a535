/* krn_mem.c - Where weights lie. Small ones share chunks, so that large pages
 * pay for them, too, and cost no memory beyond what is used; a large one has a
 * mapping of its own, whose last, partly used large page is left to small
 * ones. */
#include "kernels/krn_priv.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    HUGE_BYTES = 2 << 20,
    CHUNK_BYTES = 32 << 20,
    ALIGN_BYTES = 64,
};

struct krn_chunk {
    uint8_t *map; /* as mmap() gave it */
    size_t map_bytes;
    uint8_t *base; /* aligned to HUGE_BYTES */
    size_t bytes;
    size_t used;
    size_t live; /* weights in it */
};

static struct krn_chunk *chunk_new(size_t bytes, size_t huge_bytes)
{
    struct krn_chunk *k = calloc(1, sizeof(*k));
    void *map;

    if (!k)
        return NULL;
    k->map_bytes = bytes + HUGE_BYTES;
    map = mmap(NULL, k->map_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        free(k);
        return NULL;
    }
    k->map = map;
    k->base = k->map + (HUGE_BYTES - (uintptr_t)k->map % HUGE_BYTES);
    k->bytes = bytes;
    if (huge_bytes != 0)
        (void)madvise(k->base, huge_bytes, MADV_HUGEPAGE);
    return k;
}

static void chunk_free(struct krn_chunk *k)
{
    munmap(k->map, k->map_bytes);
    free(k);
}

bool krn_weight_mem_get(struct krn_ctx *c, struct krn_weight *w)
{
    size_t bytes = (w->bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    struct krn_chunk *k = c->chunk;

    if (bytes > CHUNK_BYTES / 4) {
        k = chunk_new(bytes, bytes / HUGE_BYTES * HUGE_BYTES);
    } else if (!k || k->bytes - k->used < bytes) {
        k = chunk_new(CHUNK_BYTES, CHUNK_BYTES);
        if (k) {
            krn_weight_mem_close(c);
            c->chunk = k;
        }
    }
    if (!k)
        return false;
    w->chunk = k;
    w->data = k->base + k->used;
    k->used += bytes;
    k->live++;
    return true;
}

void krn_weight_mem_put(struct krn_ctx *c, struct krn_weight *w)
{
    struct krn_chunk *k = w->chunk;

    if (--k->live == 0 && k != c->chunk)
        chunk_free(k);
}

void krn_weight_mem_close(struct krn_ctx *c)
{
    if (c->chunk && c->chunk->live == 0)
        chunk_free(c->chunk);
    c->chunk = NULL;
}
