/* fake_queue.c - The fake driver's streams and events. An operation waits in
 * its stream until chance takes it, or until somebody waits for it; then chance
 * takes others of other streams before it, too. */
#include "kernels/cuda/emu/fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct CUstream_st default_stream = {.last = &default_stream.first};
static CUstream streams = &default_stream;

/* --- operations ----------------------------------------------------------- */

struct fake_op *fake_op_new(enum fake_op_kind kind, const void *arg,
                            size_t n_arg)
{
    struct fake_op *op = calloc(1, sizeof(*op) + n_arg);

    if (!op)
        return NULL;
    op->kind = kind;
    op->n_arg = n_arg;
    if (n_arg != 0)
        memcpy(op->arg, arg, n_arg);
    return op;
}

static void mark_unref(struct fake_mark *m)
{
    if (m && --m->refs == 0)
        free(m);
}

void fake_op_free(struct fake_op *op)
{
    if (op)
        mark_unref(op->mark);
    free(op);
}

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Launch a kernel, which has <before> in front of it or NULL: 0 or -1. */
static int kernel_run(const struct fake_op *op, const struct fake_op *before);

/* The kernel in front of one that has begun. */
static int before_run(void *op)
{
    return kernel_run(op, NULL);
}

static int kernel_run(const struct fake_op *op, const struct fake_op *before)
{
    char why[512];
    int r;

    if (fake_fails(FAKE_LAUNCH)) {
        fake_break(CUDA_ERROR_LAUNCH_FAILED, "a launch was told to fail");
        return -1;
    }
    r = emu_launch_early(op->kernel, op->grid, op->block, op->smem, op->arg,
                         before ? before_run : NULL, (void *)(uintptr_t)before,
                         why, sizeof(why));
    if (r != 0)
        fake_break(CUDA_ERROR_ILLEGAL_ADDRESS, why);
    return r;
}

/* Do it. */
static void op_run(const struct fake_op *op)
{
    if (op->kind != FAKE_OP_MARK && op->kind != FAKE_OP_WAIT)
        fake_show();
    switch (op->kind) {
    case FAKE_OP_LAUNCH:
        (void)kernel_run(op, NULL);
        break;
    case FAKE_OP_COPY:
        if (fake_fails(FAKE_COPY))
            fake_break(CUDA_ERROR_ILLEGAL_ADDRESS, "a copy was told to fail");
        else
            memmove(op->dst, op->src, op->bytes);
        break;
    case FAKE_OP_MEMSET:
        memset(op->dst, op->byte, op->bytes);
        break;
    case FAKE_OP_CALL:
        op->call(op->arg);
        break;
    case FAKE_OP_MARK:
        op->mark->reached = true;
        op->mark->at_ms = now_ms();
        break;
    case FAKE_OP_WAIT:
        break;
    }
}

/* Whether the first operation of <s> may be done. */
static bool can_run(const struct CUstream_st *s)
{
    return s->first &&
           (s->first->kind != FAKE_OP_WAIT || s->first->mark->reached);
}

static struct fake_op *queue_pop(CUstream s)
{
    struct fake_op *op = s->first;

    s->first = op->next;
    if (!s->first)
        s->last = &s->first;
    return op;
}

/* Do the first operation of <s>, and with a kernel sometimes the one behind it,
 * that may begin before; of a broken context nothing is done. */
static void run_first(CUstream s)
{
    struct fake_op *op = queue_pop(s);
    struct fake_op *next = s->first;
    bool ok;

    fake_run_as(s->ctx);
    ok = fake_broken() == CUDA_SUCCESS;
    if (ok && op->kind == FAKE_OP_LAUNCH && next &&
        next->kind == FAKE_OP_LAUNCH && next->early && emu_draw(2) == 0) {
        (void)queue_pop(s);
        fake_show();
        (void)kernel_run(next, op);
        fake_op_free(next);
    } else if (ok || op->kind == FAKE_OP_MARK) {
        op_run(op);
    }
    fake_op_free(op);
    fake_run_as(NULL);
}

/* Do one operation of a stream that chance chooses; false: there is none. */
static bool run_any(void)
{
    unsigned n = 0;
    unsigned at;

    for (CUstream s = streams; s; s = s->next)
        n += can_run(s);
    if (n == 0)
        return false;
    at = emu_draw(n);
    for (CUstream s = streams; s; s = s->next) {
        if (can_run(s) && at-- == 0) {
            run_first(s);
            return true;
        }
    }
    return false;
}

void fake_poke(void)
{
    if (emu_draw(4) != 0)
        return;
    for (unsigned n = emu_draw(4); n > 0 && run_any(); n--)
        ;
}

void fake_run_all(void)
{
    while (run_any())
        ;
}

/* Do all of <s> that is queued, or all up to <m>. */
static void run_until(CUstream s, const struct fake_mark *m)
{
    while (m ? !m->reached : s->first != NULL) {
        if (s && can_run(s) && emu_draw(2) == 0)
            run_first(s);
        else if (!run_any())
            break;
    }
}

/* --- queueing ------------------------------------------------------------- */

CUstream fake_stream(CUstream s)
{
    return s ? s : &default_stream;
}

CUstream fake_capturing(void)
{
    CUstream s = streams;

    while (s && (!s->capture || s->ctx != fake_context()))
        s = s->next;
    return s;
}

/* Whether <g> forbids this thread what is not safe. */
static bool forbids(const struct CUgraph_st *g)
{
    return g->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
           (g->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL &&
            g->thread == (unsigned long)pthread_self());
}

CUstream fake_forbidding(void)
{
    CUstream s = streams;

    while (s && (!s->capture || !forbids(s->capture)))
        s = s->next;
    return s;
}

void fake_capture_leave(CUgraph g)
{
    for (CUstream s = streams; s; s = s->next) {
        if (s->capture == g)
            s->capture = NULL;
    }
}

bool fake_capture_joined(CUgraph g)
{
    for (CUstream s = streams; s; s = s->next) {
        if (s->capture == g && s != g->origin && s->seen < s->ops)
            return false;
    }
    return true;
}

CUresult fake_queue(CUstream s, struct fake_op *op)
{
    if (!op)
        return CUDA_ERROR_OUT_OF_MEMORY;
    s = fake_stream(s);
    if (s->capture && s->capture->failed) {
        fake_op_free(op);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (s->capture) {
        *s->capture->last = op;
        s->capture->last = &op->next;
        s->ops++;
        return CUDA_SUCCESS;
    }
    *s->last = op;
    s->last = &op->next;
    return CUDA_SUCCESS;
}

static void queue_drop(CUstream s)
{
    while (s->first) {
        struct fake_op *op = s->first;

        s->first = op->next;
        fake_op_free(op);
    }
    s->last = &s->first;
    s->capture = NULL;
}

void fake_streams_drop(CUcontext ctx)
{
    CUstream *at = &streams;

    while (*at) {
        CUstream s = *at;

        if (s->ctx != ctx) {
            at = &s->next;
            continue;
        }
        queue_drop(s);
        *at = s->next;
        free(s);
    }
}

/* --- streams -------------------------------------------------------------- */

CUresult cuStreamCreate(CUstream *s, unsigned int flags)
{
    CUresult r = fake_enter();
    CUstream n;

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    n = flags <= CU_STREAM_NON_BLOCKING ? calloc(1, sizeof(*n)) : NULL;
    if (!n)
        return fake_leave(flags <= CU_STREAM_NON_BLOCKING
                              ? CUDA_ERROR_OUT_OF_MEMORY
                              : CUDA_ERROR_INVALID_VALUE);
    n->last = &n->first;
    n->ctx = fake_context();
    n->next = streams;
    streams = n;
    fake_count(1);
    *s = n;
    return fake_leave(CUDA_SUCCESS);
}

/* What is queued is done all the same. */
CUresult cuStreamDestroy_v2(CUstream s)
{
    CUresult r = fake_enter();
    CUstream *at = &streams;

    while (*at && *at != s)
        at = &(*at)->next;
    if (!*at || s == &default_stream)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    run_until(s, NULL);
    *at = s->next;
    queue_drop(s);
    free(s);
    fake_count(-1);
    return fake_leave(r);
}

CUresult cuStreamSynchronize(CUstream s)
{
    CUresult r = fake_enter();

    s = fake_stream(s);
    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (s->capture) {
        s->capture->failed = true;
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    run_until(s, NULL);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuStreamQuery(CUstream s)
{
    CUresult r = fake_enter();

    s = fake_stream(s);
    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (s->capture) {
        s->capture->failed = true;
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    if (s->first && emu_draw(2) == 0)
        (void)run_any();
    return fake_leave(s->first ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}

/* A stream being captured waits for a captured event by its place in the
 * recording; another stream that does joins the recording. */
static CUresult wait_captured(CUstream s, CUevent e)
{
    CUstream of = streams;

    while (of && of->capture != e->captured)
        of = of->next;
    if (!of)
        return CUDA_ERROR_INVALID_VALUE; /* that recording is over */
    if (s->capture && s->capture != e->captured)
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    if (!s->capture && s->first)
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    if (!s->capture) {
        s->capture = e->captured;
        s->ops = 1; /* that it joined */
        s->seen = 0;
    }
    if (s == s->capture->origin && e->stream->seen < e->ops)
        e->stream->seen = e->ops;
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned int flags)
{
    CUresult r = fake_enter();
    struct fake_op *op;

    s = fake_stream(s);
    if (r != CUDA_SUCCESS || flags != 0 || !e)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_VALUE);
    if (e->captured)
        return fake_leave(wait_captured(s, e));
    if (!e->mark)
        return fake_leave(CUDA_SUCCESS);
    if (s->capture) {
        s->capture->failed = true;
        return fake_leave(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    }
    op = fake_op_new(FAKE_OP_WAIT, NULL, 0);
    if (op) {
        op->mark = e->mark;
        op->mark->refs++;
    }
    return fake_leave(fake_queue(s, op));
}

/* --- events --------------------------------------------------------------- */

CUresult cuEventCreate(CUevent *e, unsigned int flags)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS || flags > 7)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_VALUE);
    *e = calloc(1, sizeof(**e));
    if (!*e)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    fake_count(1);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuEventDestroy_v2(CUevent e)
{
    CUresult r = fake_enter();

    if (!e)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    mark_unref(e->mark);
    free(e);
    fake_count(-1);
    return fake_leave(r);
}

CUresult cuEventRecord(CUevent e, CUstream s)
{
    CUresult r = fake_enter();
    struct fake_mark *m;
    struct fake_op *op;

    s = fake_stream(s);
    if (r != CUDA_SUCCESS || !e)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (s->capture) {
        mark_unref(e->mark);
        e->mark = NULL;
        e->captured = s->capture;
        e->stream = s;
        e->ops = s->ops;
        return fake_leave(CUDA_SUCCESS);
    }
    m = calloc(1, sizeof(*m));
    op = fake_op_new(FAKE_OP_MARK, NULL, 0);
    if (!m || !op) {
        free(m);
        fake_op_free(op);
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    m->refs = 2;
    op->mark = m;
    mark_unref(e->mark);
    e->mark = m;
    e->captured = NULL;
    return fake_leave(fake_queue(s, op));
}

CUresult cuEventQuery(CUevent e)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS || !e)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (e->captured)
        return fake_leave(CUDA_ERROR_CAPTURED_EVENT);
    if (e->mark && !e->mark->reached && emu_draw(2) == 0)
        (void)run_any();
    return fake_leave(e->mark && !e->mark->reached ? CUDA_ERROR_NOT_READY
                                                   : CUDA_SUCCESS);
}

CUresult cuEventSynchronize(CUevent e)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS || !e)
        return fake_leave(r != CUDA_SUCCESS ? r : CUDA_ERROR_INVALID_HANDLE);
    if (e->captured)
        return fake_leave(CUDA_ERROR_CAPTURED_EVENT);
    if (e->mark)
        run_until(NULL, e->mark);
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
    CUresult r = fake_enter();

    if (r != CUDA_SUCCESS)
        return fake_leave(r);
    if (!from || !to || !from->mark || !to->mark)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    if (!from->mark->reached || !to->mark->reached)
        return fake_leave(CUDA_ERROR_NOT_READY);
    *ms = (float)(to->mark->at_ms - from->mark->at_ms);
    return fake_leave(CUDA_SUCCESS);
}
