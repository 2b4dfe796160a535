/* pinned.c - See pinned.h. Free slots are chained through an array beside the
 * memory, which the processor need not touch. */
#include "engine/pinned.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/panic.h"
#include "kernels/krn.h"

#define SLOT_ALIGN ((size_t)4096)
#define SLOTS_MAX  4096

struct pinned {
    struct krn_ctx *c; /* borrowed */
    char *base;        /* (n, slot_bytes), krn_host_alloc() */
    size_t slot_bytes;
    unsigned n, n_free;
    pthread_mutex_t lock; /* guards what follows */
    unsigned *spare;      /* (n_free) owned: slots that are free */
};

struct pinned *pinned_new(struct krn_ctx *c, size_t slot_bytes, size_t bytes)
{
    struct pinned *p = calloc(1, sizeof(*p));
    size_t n;

    BUG_ON(slot_bytes == 0);
    if (!p)
        return NULL;
    slot_bytes = (slot_bytes + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
    n = bytes / slot_bytes;
    n = n < 2 ? 2 : n < SLOTS_MAX ? n : SLOTS_MAX;
    pthread_mutex_init(&p->lock, NULL);
    p->c = c;
    p->slot_bytes = slot_bytes;
    p->n = p->n_free = (unsigned)n;
    p->spare = calloc(n, sizeof(*p->spare));
    p->base = krn_host_alloc(c, n * slot_bytes);
    if (!p->spare || !p->base) {
        pinned_free(p);
        return NULL;
    }
    for (unsigned i = 0; i < p->n; i++)
        p->spare[i] = i;
    return p;
}

size_t pinned_bytes(const struct pinned *p)
{
    return p->n * p->slot_bytes;
}

void pinned_free(struct pinned *p)
{
    if (!p)
        return;
    BUG_ON(p->base && p->n_free != p->n);
    if (p->base)
        krn_host_free(p->c, p->base);
    pthread_mutex_destroy(&p->lock);
    free(p->spare);
    free(p);
}

static void *slot_get(void *arg, size_t bytes)
{
    struct pinned *p = arg;
    void *slot = NULL;

    BUG_ON(bytes > p->slot_bytes);
    pthread_mutex_lock(&p->lock);
    if (p->n_free > 0)
        slot = p->base + p->spare[--p->n_free] * p->slot_bytes;
    pthread_mutex_unlock(&p->lock);
    return slot;
}

static void slot_put(void *arg, void *slot)
{
    struct pinned *p = arg;
    const size_t at = (size_t)((char *)slot - p->base);

    BUG_ON(at % p->slot_bytes != 0 || at / p->slot_bytes >= p->n);
    pthread_mutex_lock(&p->lock);
    p->spare[p->n_free++] = (unsigned)(at / p->slot_bytes);
    pthread_mutex_unlock(&p->lock);
}

const struct kvswap_memory pinned_memory = {.get = slot_get, .put = slot_put};
