/* cuda_copy.c - Pages between device and host, on a stream for each direction
 * beside the steps, and from page to page. Both directions wait for what the
 * compute stream had queued at the time: a copy out reads what a step wrote, a
 * copy in may write over what a step reads. Of a copy of either direction its
 * event tells the end; events are a ring, the oldest is waited for when all are
 * in use. A ticket is twice a number that counts from 1, plus the direction. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

/* Copies of one direction that may be under way. */
#define RING 256

enum way {
    WAY_OUT = 0,
    WAY_IN,
};

/* One direction. Copies [over + 1, queued] are under way. */
struct lane {
    CUstream stream; /* of struct cuda */
    uint64_t queued; /* copies ever queued */
    uint64_t over;   /* of them those known to be over */
    CUevent done[RING];
};

/* Pages under way. */
struct cuda_copy {
    CUevent before;  /* what the compute stream had queued */
    uint64_t joined; /* copies in that the compute stream waits for */
    struct lane lane[2];
};

enum krn_status cuda_copy_open(struct cuda *d)
{
    struct cuda_copy *k = calloc(1, sizeof(*k));
    enum krn_status st;

    if (!k)
        return KRN_NOMEM;
    d->copy = k;
    k->lane[WAY_OUT].stream = d->copy_out;
    k->lane[WAY_IN].stream = d->copy_in;
    for (int i = 0; i < 2; i++)
        k->lane[i].queued = k->lane[i].over = d->copies_lost[i];
    k->joined = k->lane[WAY_IN].over;
    st =
        cuda_check(d, d->drv->event_create(&k->before, CU_EVENT_DISABLE_TIMING),
                   "making an event");
    for (unsigned i = 0; st == KRN_OK && i < 2 * RING; i++)
        st = cuda_check(d,
                        d->drv->event_create(&k->lane[i / RING].done[i % RING],
                                             CU_EVENT_DISABLE_TIMING),
                        "making an event");
    return st;
}

void cuda_copy_close(struct cuda *d)
{
    struct cuda_copy *k = d->copy;

    if (!k)
        return;
    for (int i = 0; i < 2; i++) {
        d->copies_over[i] = k->lane[i].over;
        d->copies_lost[i] = k->lane[i].queued;
    }
    if (k->before)
        (void)d->drv->event_destroy(k->before);
    for (unsigned i = 0; i < 2 * RING; i++) {
        if (k->lane[i / RING].done[i % RING])
            (void)d->drv->event_destroy(k->lane[i / RING].done[i % RING]);
    }
    free(k);
    d->copy = NULL;
}

/* --- copies -------------------------------------------------------------- */

/* Where page <page> of <kv> lies. */
static CUdeviceptr page_at(const struct krn_kv *kv, unsigned page)
{
    return (CUdeviceptr)(uintptr_t)kv->pages +
           (CUdeviceptr)page * krn_kv_page_bytes(kv);
}

/* The event of copy <n> of <l>. */
static CUevent event_of(const struct lane *l, uint64_t n)
{
    return l->done[n % RING];
}

/* Let the next copy of <l> come after what the compute stream has queued, and
 * have an event for it. */
static enum krn_status lane_begin(struct cuda *d, struct lane *l)
{
    const struct drv *v = d->drv;
    CUresult r = CUDA_SUCCESS;

    if (l->queued - l->over == RING) {
        r = v->event_sync(event_of(l, l->over + 1));
        if (r == CUDA_SUCCESS)
            l->over++;
    }
    if (r == CUDA_SUCCESS)
        r = v->event_record(d->copy->before, d->compute);
    if (r == CUDA_SUCCESS)
        r = v->stream_wait(l->stream, d->copy->before, 0);
    return cuda_check(d, r, "ordering copies");
}

/* Close the copy that was queued on <l>: its ticket goes to *ticket_out. */
static enum krn_status lane_end(struct cuda *d, enum way way, CUresult r,
                                uint64_t *ticket_out)
{
    struct lane *l = &d->copy->lane[way];

    if (r == CUDA_SUCCESS)
        r = d->drv->event_record(event_of(l, l->queued + 1), l->stream);
    if (r != CUDA_SUCCESS)
        return cuda_check(d, r, "copying a page");
    l->queued++;
    *ticket_out = l->queued * 2 + (uint64_t)way;
    return KRN_OK;
}

enum krn_status cuda_page_out(struct krn_ctx *c, const struct krn_kv *kv,
                              unsigned page, void *host, uint64_t *ticket_out)
{
    struct cuda *d = c->cuda;
    struct lane *l = &d->copy->lane[WAY_OUT];
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK)
        return st;
    if (page >= kv->n_pages)
        return KRN_BAD_SHAPE;
    st = cuda_copy_join(d);
    if (st == KRN_OK)
        st = lane_begin(d, l);
    if (st != KRN_OK)
        return st;
    return lane_end(d, WAY_OUT,
                    d->drv->to_host(host, page_at(kv, page),
                                    krn_kv_page_bytes(kv), l->stream),
                    ticket_out);
}

enum krn_status cuda_page_in(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned page, const void *host,
                             uint64_t *ticket_out)
{
    struct cuda *d = c->cuda;
    struct lane *l = &d->copy->lane[WAY_IN];
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK)
        return st;
    if (page >= kv->n_pages)
        return KRN_BAD_SHAPE;
    st = lane_begin(d, l);
    if (st != KRN_OK)
        return st;
    return lane_end(d, WAY_IN,
                    d->drv->to_device(page_at(kv, page), host,
                                      krn_kv_page_bytes(kv), l->stream),
                    ticket_out);
}

bool cuda_page_done(struct krn_ctx *c, uint64_t ticket, bool *failed)
{
    struct cuda *d = c->cuda;
    struct lane *l = &d->copy->lane[ticket & 1];
    const uint64_t n = ticket / 2;
    CUresult r;

    *failed = n > d->copies_over[ticket & 1] && n <= d->copies_lost[ticket & 1];
    if (n <= l->over || n > l->queued)
        return true;
    r = cuda_enter(d) == KRN_OK ? d->drv->event_query(event_of(l, n))
                                : CUDA_ERROR_INVALID_CONTEXT;
    if (r == CUDA_ERROR_NOT_READY)
        return false;
    if (r == CUDA_SUCCESS) {
        l->over = n;
        return true;
    }
    *failed = true;
    (void)cuda_check(d, r, "copying a page");
    return true;
}

enum krn_status cuda_copy_join(struct cuda *d)
{
    struct cuda_copy *k = d->copy;
    const struct lane *l = &k->lane[WAY_IN];
    enum krn_status st;

    if (k->joined == l->over)
        return KRN_OK;
    /* The event of the last of them is of a later copy when its place in the
     * ring has been used again; that one's end would be too late, and copies so
     * long past need no order. */
    st = l->queued - l->over >= RING
             ? KRN_OK
             : cuda_check(
                   d, d->drv->stream_wait(d->compute, event_of(l, l->over), 0),
                   "ordering copies");
    if (st == KRN_OK)
        k->joined = l->over;
    return st;
}

enum krn_status cuda_kv_copy(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned to, unsigned from)
{
    struct cuda *d = c->cuda;
    enum krn_status st = cuda_enter(d);

    if (st != KRN_OK)
        return st;
    if (to >= kv->n_pages || from >= kv->n_pages)
        return KRN_BAD_SHAPE;
    st = cuda_copy_join(d);
    if (st != KRN_OK || to == from)
        return st;
    return cuda_check(d,
                      d->drv->on_device(page_at(kv, to), page_at(kv, from),
                                        krn_kv_page_bytes(kv), d->compute),
                      "copying a page");
}
