/* cuda_mem.c - Memory of the device, and copies between it and the host's. The
 * host's may be any: it goes through two pinned buffers, one of which is filled
 * while the other is copied. All copies are queued on the compute stream. */
#include <string.h>

#include "kernels/cuda/cuda.h"

enum krn_status cuda_stage_open(struct cuda *d)
{
    struct cuda_stage *g = &d->stage;
    enum krn_status st = KRN_OK;

    for (int i = 0; st == KRN_OK && i < 2; i++) {
        void *p = NULL;

        st = cuda_check(d, d->drv->host_alloc(&p, CUDA_STAGE_BYTES, 0),
                        "taking pinned memory");
        if (st != KRN_OK)
            break;
        g->host[i] = p;
        st = cuda_check(
            d, d->drv->event_create(&g->done[i], CU_EVENT_DISABLE_TIMING),
            "making an event");
    }
    return st;
}

void cuda_stage_close(struct cuda *d)
{
    struct cuda_stage *g = &d->stage;

    for (int i = 0; i < 2; i++) {
        if (g->host[i])
            (void)d->drv->host_free(g->host[i]);
        if (g->done[i])
            (void)d->drv->event_destroy(g->done[i]);
        g->host[i] = NULL;
        g->done[i] = NULL;
    }
}

CUdeviceptr cuda_alloc(struct cuda *d, size_t bytes)
{
    CUdeviceptr p = 0;

    if (cuda_enter(d) != KRN_OK)
        return 0;
    if (cuda_check(d, d->drv->mem_alloc(&p, bytes > 0 ? bytes : 1),
                   "taking memory") != KRN_OK)
        return 0;
    return p;
}

void cuda_free(struct cuda *d, CUdeviceptr p)
{
    if (p == 0 || cuda_enter(d) != KRN_OK)
        return; /* memory of a dead context goes with the process */
    cuda_record_drop(d);
    (void)cuda_check(d, d->drv->mem_free(p), "freeing memory");
}

/* Begin a copy through the buffer at *at, once what it held is over. */
static enum krn_status stage_take(struct cuda *d, unsigned *at)
{
    struct cuda_stage *g = &d->stage;

    *at = g->turn;
    g->turn ^= 1;
    /* An event that was never recorded is over. */
    return cuda_check(d, d->drv->event_sync(g->done[*at]), "copying");
}

enum krn_status cuda_put(struct cuda *d, CUdeviceptr dst, const void *host,
                         size_t bytes)
{
    const uint8_t *from = host;
    enum krn_status st = cuda_enter(d);

    for (size_t n; st == KRN_OK && bytes > 0; bytes -= n) {
        unsigned at;

        n = bytes < CUDA_STAGE_BYTES ? bytes : CUDA_STAGE_BYTES;
        st = stage_take(d, &at);
        if (st != KRN_OK)
            break;
        memcpy(d->stage.host[at], from, n);
        st = cuda_check(
            d, d->drv->to_device(dst, d->stage.host[at], n, d->compute),
            "copying to the device");
        if (st == KRN_OK)
            st = cuda_check(d,
                            d->drv->event_record(d->stage.done[at], d->compute),
                            "copying to the device");
        from += n;
        dst += n;
    }
    return st;
}

/* Bytes of the part of a copy of <bytes> that begins at <at>. */
static size_t part_bytes(size_t bytes, size_t at)
{
    return bytes - at < CUDA_STAGE_BYTES ? bytes - at : CUDA_STAGE_BYTES;
}

/* Queue the copy of <n> bytes from <src> to buffer *at. */
static enum krn_status get_begin(struct cuda *d, CUdeviceptr src, size_t n,
                                 unsigned *at)
{
    enum krn_status st = stage_take(d, at);

    if (st == KRN_OK)
        st = cuda_check(d,
                        d->drv->to_host(d->stage.host[*at], src, n, d->compute),
                        "copying to the host");
    if (st == KRN_OK)
        st = cuda_check(d, d->drv->event_record(d->stage.done[*at], d->compute),
                        "copying to the host");
    return st;
}

/* Copy to pinned memory, at once. */
static enum krn_status get_direct(struct cuda *d, void *host, CUdeviceptr src,
                                  size_t bytes)
{
    enum krn_status st =
        cuda_check(d, d->drv->to_host(host, src, bytes, d->compute),
                   "copying to the host");

    if (st == KRN_OK)
        st = cuda_check(d, d->drv->stream_sync(d->compute),
                        "copying to the host");
    return st;
}

enum krn_status cuda_get(struct cuda *d, void *host, CUdeviceptr src,
                         size_t bytes)
{
    uint8_t *to = host;
    unsigned at = 0;
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK || bytes == 0)
        return st;
    if (cuda_hosts_has(d, host, bytes))
        return get_direct(d, host, src, bytes);
    st = get_begin(d, src, part_bytes(bytes, 0), &at);
    for (size_t done = 0, n; st == KRN_OK && done < bytes; done += n) {
        const unsigned now = at;

        n = part_bytes(bytes, done);
        if (done + n < bytes)
            st = get_begin(d, src + done + n, part_bytes(bytes, done + n), &at);
        if (st == KRN_OK)
            st = cuda_check(d, d->drv->event_sync(d->stage.done[now]),
                            "copying to the host");
        if (st == KRN_OK)
            memcpy(to + done, d->stage.host[now], n);
    }
    return st;
}
