/* cuda_host.c - Memory of the host that is copied from and to quickly. It is
 * mapped first and pinned then, so that it outlives the device: other threads
 * may be reading and writing it while the device is reset, which pins it again.
 * What cannot be pinned is used all the same, copies of it are slower. This is
 * the one part of a context that several threads may use at once. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kernels/cuda/cuda.h"

#define PAGE_BYTES ((size_t)4096)

/* One allocation. */
struct host_mem {
    struct host_mem *next;
    uint8_t *at;  /* owned */
    size_t bytes; /* a multiple of PAGE_BYTES */
    bool pinned;
};

/* All of a context. */
struct cuda_hosts {
    pthread_mutex_t lock;   /* guards what follows */
    struct host_mem *first; /* owned */
    CUcontext ctx;          /* to pin in; NULL while there is none */
};

enum krn_status cuda_hosts_open(struct cuda *d)
{
    struct cuda_hosts *h = calloc(1, sizeof(*h));

    if (!h)
        return KRN_NOMEM;
    pthread_mutex_init(&h->lock, NULL);
    d->hosts = h;
    return KRN_OK;
}

/* Pin <m>, or try to. The lock is held. */
static void mem_pin(struct cuda *d, struct host_mem *m)
{
    m->pinned =
        d->hosts->ctx && d->drv->ctx_set(d->hosts->ctx) == CUDA_SUCCESS &&
        d->drv->host_register(m->at, m->bytes, CU_MEMHOSTREGISTER_PORTABLE) ==
            CUDA_SUCCESS;
}

/* Let <m> be plain memory. The lock is held. */
static void mem_unpin(struct cuda *d, struct host_mem *m)
{
    if (m->pinned && d->drv->ctx_set(d->hosts->ctx) == CUDA_SUCCESS)
        (void)d->drv->host_unregister(m->at);
    m->pinned = false;
}

void cuda_hosts_pin(struct cuda *d)
{
    struct cuda_hosts *h = d->hosts;

    pthread_mutex_lock(&h->lock);
    h->ctx = d->ctx;
    for (struct host_mem *m = h->first; m; m = m->next)
        mem_pin(d, m);
    pthread_mutex_unlock(&h->lock);
}

void cuda_hosts_unpin(struct cuda *d)
{
    struct cuda_hosts *h = d->hosts;

    pthread_mutex_lock(&h->lock);
    for (struct host_mem *m = h->first; m; m = m->next)
        mem_unpin(d, m);
    h->ctx = NULL;
    pthread_mutex_unlock(&h->lock);
}

void cuda_hosts_close(struct cuda *d)
{
    struct cuda_hosts *h = d->hosts;

    if (!h)
        return;
    while (h->first) {
        struct host_mem *m = h->first;

        h->first = m->next;
        munmap(m->at, m->bytes);
        free(m);
    }
    pthread_mutex_destroy(&h->lock);
    free(h);
    d->hosts = NULL;
}

bool cuda_hosts_has(struct cuda *d, const void *p, size_t bytes)
{
    const uintptr_t at = (uintptr_t)p;
    bool has = false;

    pthread_mutex_lock(&d->hosts->lock);
    for (const struct host_mem *m = d->hosts->first; m && !has; m = m->next) {
        const uintptr_t from = (uintptr_t)m->at;

        has = m->pinned && at >= from && at - from <= m->bytes &&
              bytes <= m->bytes - (at - from);
    }
    pthread_mutex_unlock(&d->hosts->lock);
    return has;
}

void *cuda_host_alloc(struct krn_ctx *c, size_t bytes)
{
    struct cuda *d = c->cuda;
    struct host_mem *m;
    void *p;

    if (bytes > SIZE_MAX - PAGE_BYTES)
        return NULL;
    m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->bytes = bytes == 0 ? PAGE_BYTES
                          : (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    p = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        free(m);
        return NULL;
    }
    m->at = p;
    (void)madvise(p, m->bytes, MADV_HUGEPAGE);
    pthread_mutex_lock(&d->hosts->lock);
    mem_pin(d, m);
    m->next = d->hosts->first;
    d->hosts->first = m;
    pthread_mutex_unlock(&d->hosts->lock);
    return p;
}

void cuda_host_free(struct krn_ctx *c, void *p)
{
    struct cuda *d = c->cuda;
    struct host_mem *m = NULL;

    if (!p)
        return;
    pthread_mutex_lock(&d->hosts->lock);
    for (struct host_mem **at = &d->hosts->first; *at; at = &(*at)->next) {
        if ((*at)->at == p) {
            m = *at;
            *at = m->next;
            mem_unpin(d, m);
            break;
        }
    }
    pthread_mutex_unlock(&d->hosts->lock);
    if (!m)
        return;
    munmap(m->at, m->bytes);
    free(m);
}
